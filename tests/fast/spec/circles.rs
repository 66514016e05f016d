//! Files know each other in one direction only. A module and the files below it are one whole: what a parent takes from its
//! own children is not looked at.

use super::architecture::sources;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// `a::b` of `src/a/b.rs`, empty of `lib.rs`.
type Module = Vec<String>;

#[test]
fn no_file_leads_back_to_itself() {
    for root in ["src", "crates/core/src", "crates/engine/src", "crates/aws-stage/src", "crates/import/src"] {
        let files: BTreeMap<Module, String> = sources(root)
            .into_iter()
            .filter(|(path, _)| !path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests")))
            .map(|(path, text)| (module(&path, root), without_tests(&text)))
            .collect();
        let uses: BTreeMap<&Module, BTreeSet<Module>> =
            files.iter().map(|(module, text)| (module, used(module, text, &files))).collect();
        assert!(uses.values().map(BTreeSet::len).sum::<usize>() > files.len(), "{root}: too few uses were found");
        for module in files.keys() {
            if let Some(path) = way_back(module, &uses) {
                let path: Vec<_> = path.iter().map(|module| module.join("::")).collect();
                panic!("{root}: files go in a circle: {}", path.join(" -> "));
            }
        }
    }
}

fn module(path: &Path, root: &str) -> Module {
    let within = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join(root)).unwrap().with_extension("");
    let mut parts: Module = within.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("lib" | "main" | "mod")) {
        parts.pop();
    }
    parts
}

fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The files that the `use` lines of a module lead to, through what others only hand on.
fn used(module: &Module, text: &str, files: &BTreeMap<Module, String>) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    for path in imports(text, "use ") {
        let Some(path) = absolute(module, &path) else { continue };
        let Some((owner, item)) = owner_of(&path, files) else { continue };
        let target = item.and_then(|item| handed_on(&owner, item, files)).unwrap_or(owner);
        if target != *module {
            found.insert(target);
        }
    }
    found
}

/// Every path that a `use` line of this beginning names, its braces taken apart.
fn imports(text: &str, beginning: &str) -> Vec<Module> {
    let mut found = vec![];
    let statements = text.match_indices(beginning).filter(|(at, _)| text[..*at].ends_with(['\n', ' ']) || *at == 0);
    for (at, _) in statements {
        let Some(end) = text[at..].find(';') else { continue };
        expand("", &text[at + beginning.len()..at + end], &mut found);
    }
    found
}

fn expand(prefix: &str, text: &str, found: &mut Vec<Module>) {
    let mut depth = 0;
    let parts = text.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once("::{") {
            Some((head, rest)) => expand(&format!("{prefix}{head}::"), rest.trim_end().trim_end_matches('}'), found),
            None => {
                let path = format!("{prefix}{}", part.split(" as ").next().unwrap_or_default());
                found.push(path.split("::").map(|part| part.trim().to_owned()).collect());
            }
        }
    }
}

/// From the root of the crate; `None` for another crate's, and for what a parent takes from its children.
fn absolute(module: &Module, path: &Module) -> Option<Module> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            let base = &module[..module.len().checked_sub(up)?];
            Some(base.iter().chain(&path[up..]).cloned().collect())
        }
        _ => None,
    }
}

fn owner_of<'p>(path: &'p Module, files: &BTreeMap<Module, String>) -> Option<(Module, Option<&'p String>)> {
    (0..=path.len()).rev().find(|n| files.contains_key(&path[..*n])).map(|n| (path[..n].to_vec(), path.get(n)))
}

/// The file that an item comes from which `owner` only hands on with `pub use`.
fn handed_on(owner: &Module, item: &str, files: &BTreeMap<Module, String>) -> Option<Module> {
    imports(&files[owner], "pub use ").into_iter().find(|path| path.last().is_some_and(|last| last == item)).and_then(
        |path| {
            let path = absolute(owner, &path).unwrap_or_else(|| owner.iter().chain(&path).cloned().collect());
            owner_of(&path, files).map(|(target, _)| target).filter(|target| target != owner)
        },
    )
}

/// The files from `start` back to it.
fn way_back<'a>(start: &'a Module, uses: &'a BTreeMap<&Module, BTreeSet<Module>>) -> Option<Vec<&'a Module>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![start]];
    while let Some(way) = ways.pop() {
        for next in way.last().and_then(|last| uses.get(*last)).into_iter().flatten() {
            if next == start {
                return Some([way, vec![next]].concat());
            }
            if seen.insert(next) {
                ways.push([way.clone(), vec![next]].concat());
            }
        }
    }
    None
}
