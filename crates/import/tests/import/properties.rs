//! Whatever stands in a file: no panic, and what is proposed is sound and holds no secret.

use fargate_deploy_core::task_definition::{TaskDefinition, validate};
use fargate_deploy_import::{Folder as _, Kind, Options, Proposal, Refusal, propose};
use proptest::collection::vec;
use proptest::prelude::any;
use std::collections::BTreeMap;

const FILES: [&str; 14] = [
    ".env.production",
    "Dockerfile",
    "Dockerrun.aws.json",
    "Procfile",
    "api/Dockerfile",
    "app.json",
    "compose.yaml",
    "config/deploy.yml",
    "copilot/.workspace",
    "copilot/web/manifest.yml",
    "ecs-params.yml",
    "fly.toml",
    "heroku.yml",
    "railway.json",
];

fn folder() -> BTreeMap<String, String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    let read = |name: &str| (name.to_owned(), std::fs::read_to_string(root.join(name)).unwrap());
    FILES.iter().chain(&["render.yaml"]).map(|name| read(name)).collect()
}

const SOURCES: [(Kind, &str); 12] = [
    (Kind::Compose, "compose.yaml"),
    (Kind::Procfile, "Procfile"),
    (Kind::Procfile, "app.json"),
    (Kind::HerokuYml, "heroku.yml"),
    (Kind::Fly, "fly.toml"),
    (Kind::Render, "render.yaml"),
    (Kind::Railway, "railway.json"),
    (Kind::Copilot, "copilot/web/manifest.yml"),
    (Kind::EcsParams, "ecs-params.yml"),
    (Kind::Dockerrun, "Dockerrun.aws.json"),
    (Kind::Kamal, "config/deploy.yml"),
    (Kind::Dockerfile, "Dockerfile"),
];

fn options() -> Options {
    Options { name: "the shop".to_owned(), region: None, account: None, cluster: None }
}

fn of(kind: Kind, path: &str, files: &BTreeMap<String, String>) -> Result<Proposal, Refusal> {
    let mut files = files.clone();
    if kind == Kind::EcsParams {
        let compose = files["compose.yaml"].clone();
        files.insert("docker-compose.yml".to_owned(), compose);
    }
    propose(&files, kind, path, &options())
}

/// Problems of the task definitions that would be written.
fn problems(proposal: &Proposal) -> Vec<String> {
    let definitions = proposal.files.iter().filter(|file| file.path.ends_with(".json"));
    definitions
        .flat_map(|file| {
            let definition = TaskDefinition::from_json(&file.text).unwrap();
            let found = validate::findings(&definition, &[]).problems;
            found.into_iter().map(|problem| format!("{}: {problem}", file.path)).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_kind_of_file_leads_to_sound_task_definitions_and_to_no_secret() {
    let files = folder();
    for (kind, path) in SOURCES {
        let proposal = of(kind, path, &files).unwrap_or_else(|refusal| panic!("{path}: {refusal:?}"));
        assert_eq!(problems(&proposal), Vec::<String>::new(), "{path}");
        assert_eq!(proposal.missing, Vec::<String>::new(), "{path}");
        let everything = format!("{proposal:?}");
        assert!(!everything.contains("hunter2"), "{path}: {everything}");
        // What is secret is read from somewhere, or was said to be left out.
        assert!(everything.contains("valueFrom") || matches!(path, "railway.json" | "Dockerfile"), "{path}");
    }
}

/// One change of a text: where, what, with what.
type Change = (u16, u8, u8);

const PIECES: [&str; 20] = [
    "${A:-${B}}",
    "$$",
    "*common",
    "&x ",
    "<<: ",
    "null",
    "[",
    "{",
    "\"",
    "'",
    ": ",
    "- ",
    "\n",
    "\t",
    "99999999999999999999",
    "-1",
    "é\u{1F980}",
    "\u{feff}",
    "\0",
    "postgres://u:p@h",
];

fn changed(text: &str, changes: &[Change]) -> String {
    let mut lines: Vec<Vec<char>> = text.split('\n').map(|line| line.chars().collect()).collect();
    for (at, what, with) in changes {
        let index = usize::from(*at) % lines.len();
        let column = usize::from(*with) % (lines[index].len() + 1);
        match what % 8 {
            0 => drop(lines.remove(index)),
            1 => lines.insert(index, lines[usize::from(*with) % lines.len()].clone()),
            2 => lines[index].truncate(column),
            3 => lines[index].splice(column..column, PIECES[usize::from(*with) % PIECES.len()].chars()).for_each(drop),
            4 => lines.swap(index, 0),
            5 => lines[index].splice(0..0, "  ".chars()).for_each(drop),
            6 if column < lines[index].len() => drop(lines[index].remove(column)),
            _ => lines.truncate(index + 1),
        }
        if lines.is_empty() {
            lines.push(vec![]);
        }
    }
    lines.into_iter().map(|line| line.into_iter().collect::<String>()).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_change_of_a_file_makes_it_panic_or_propose_what_aws_refuses() {
    let files = folder();
    for (kind, path) in SOURCES {
        let original = files.text(path).unwrap();
        test_support::fuzz(500, vec((any::<u16>(), any::<u8>(), any::<u8>()), 1..6), |changes| {
            let mut files = files.clone();
            files.insert(path.to_owned(), changed(&original, &changes));
            if let Ok(proposal) = of(kind, path, &files) {
                assert_eq!(problems(&proposal), Vec::<String>::new());
            }
        });
    }
}
