//! What is said twice is generated, and this keeps it in step.

use fargate_deploy::cli::{INPUTS, OUTPUTS, action_yml};
use fargate_deploy::render::outputs::outputs;
use fargate_deploy_core::outcome::{Reason, Record, Success};
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `UPDATE=1 cargo test --test fast spec::action_yml` writes it.
#[test]
fn action_yml_is_what_the_command_line_says() {
    let path = root().join("action.yml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, action_yml()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), action_yml());
}

#[test]
fn every_output_of_the_action_is_set_and_no_other() {
    let set: Vec<_> = outputs(&Ok(Success::Deployed), &Record::default()).into_iter().map(|(name, _)| name).collect();
    let promised: Vec<_> = OUTPUTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(set, promised);
}

#[test]
fn the_readme_names_every_exit_code_and_its_reason() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for reason in Reason::ALL {
        let row = readme.lines().find(|l| l.starts_with('|') && l.contains(&format!("`{}`", reason.word())));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for `{}`", reason.word()));
        assert!(row.contains(&reason.exit_code().to_string()), "{row}");
    }
}

#[test]
fn the_docs_name_every_input_and_output_of_the_action() {
    let docs = std::fs::read_to_string(root().join("docs/github-actions.md")).unwrap();
    for name in INPUTS.iter().map(|i| i.name).chain(OUTPUTS.iter().map(|(name, _)| *name)) {
        assert!(docs.contains(&format!("`{name}`")), "docs/github-actions.md does not name `{name}`");
    }
}
