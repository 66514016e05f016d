//! The shape of the code, where the compiler does not keep it.

use serde_json::Value;
use std::path::{Path, PathBuf};

pub fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    let mut left = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// What a crate could not do without naming the dependency is held by `crates/core/Cargo.toml`; the standard library is
/// everybody's.
#[test]
fn the_core_is_pure() {
    for (path, text) in sources("crates/core/src") {
        for word in ["std::env", "std::fs", "std::net", "std::process", "Instant::now", "SystemTime", "async fn"] {
            assert!(!text.contains(word), "{} names `{word}`", path.display());
        }
    }
}

#[test]
fn steps_never_call_steps() {
    for (path, text) in sources("src/steps") {
        assert!(!text.contains("crate::steps::"), "{} uses another step", path.display());
        assert!(!text.contains("super::"), "{} reaches over to its neighbours", path.display());
    }
}

#[test]
fn sdk_types_stop_in_the_adapters() {
    for (path, text) in sources("src") {
        let name = path.to_string_lossy().replace('\\', "/");
        if name.contains("/src/adapters") {
            continue;
        }
        // A URL is parsed by the library that will ask for it.
        let text = text.replace("reqwest::Url", "");
        for word in ["aws_sdk_", "aws_config", "bollard::", "reqwest::"] {
            assert!(!text.contains(word), "{name} names `{word}`");
        }
    }
}

/// What compiles with an older toolchain than its dependencies ask for compiles by luck, and cargo refuses it anyway.
#[test]
fn no_dependency_wants_a_newer_rust_than_we_say_is_enough() {
    let cargo = |arguments: &[&str]| {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        let ran = cargo.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    // Of other platforms nothing has been downloaded.
    let about = cargo(&["-vV"]);
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = cargo(&["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let version = |text: &str| text.split('.').map(|n| n.parse().unwrap()).collect::<Vec<u32>>();
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    for package in metadata["packages"].as_array().unwrap() {
        if let Some(wanted) = package["rust_version"].as_str() {
            assert!(version(wanted) <= ours, "{} wants Rust {wanted}", package["name"]);
        }
    }
}

/// About 400 lines is when to look for the second idea in a file; this is where it must have been found.
#[test]
fn no_file_grows_beyond_its_second_idea() {
    let folders = [
        "src",
        "crates/core/src",
        "crates/engine/src",
        "crates/aws-stage/src",
        "crates/import/src",
        "crates/test-support/src",
    ];
    for (path, text) in folders.into_iter().flat_map(sources) {
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        assert!(lines <= 600, "{} has {lines} lines before its tests", path.display());
    }
}

/// An event names what happened; the sentence about it is made in `src/render`.
#[test]
fn steps_tell_data_and_never_sentences() {
    let told = ["Event::", "Warning::", "Wait::", "WrongAnswer::", "SnapshotState::"];
    let mut checked = 0;
    for (path, text) in sources("src") {
        let name = path.to_string_lossy().replace('\\', "/");
        if !["/src/steps/", "/src/release/", "/src/release.rs", "/src/lease"].iter().any(|part| name.contains(part)) {
            continue;
        }
        for start in told.iter().flat_map(|word| text.match_indices(word)).map(|(at, word)| at + word.len()) {
            let fields = fields(&text[start..]);
            checked += 1;
            for forbidden in ["format!", "concat!", "\""] {
                assert!(!fields.contains(forbidden), "{name} words an event: {fields}");
            }
        }
    }
    assert!(checked > 50, "only {checked} events were found");
}

/// What follows the name of a kind: `{ .. }` or `( .. )`, or nothing.
fn fields(text: &str) -> &str {
    let name = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    let rest = &text[name..];
    if !rest.trim_start().starts_with(['{', '(']) {
        return "";
    }
    let mut depth = 0;
    for (at, c) in rest.char_indices() {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return &rest[..=at];
        }
    }
    rest
}
