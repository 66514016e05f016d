//! What is said twice is generated, and this keeps it in step.

use clap::CommandFactory as _;
use fargate_deploy::cli::Arguments;
use fargate_deploy::cli::inputs::{INPUTS, InputKind};
use fargate_deploy::render::outputs::outputs;
use fargate_deploy_core::outcome::{Outcome, Reason, Record, Success};
use std::path::Path;

/// The outputs of `action.yml`, in the order in which they are set.
pub const OUTPUTS: &[(&str, &str)] = &[
    ("outcome", "deployed, deployed-not-verified, started, unchanged, planned, exited, detached or failed"),
    ("failure-reason", "The word of the exit code when it failed, else empty"),
    ("release", "The release, such as r41"),
    ("image", "The (first) image by digest"),
    ("digest", "The (first) image's digest"),
    ("task-definition-arn", "The revision of the (first) service that was rolled out"),
    ("previous-task-definition-arn", "The revision that ran before"),
    ("migration-task-arn", "The task of the (last) release command"),
    ("migration-exit-code", "Its exit code"),
    ("rolled-back", "Whether a service was put back to its previous revision"),
    ("url", "The URL of the first smoke check"),
    ("plan-changes", "How many services a plan would change"),
    ("task-arn", "The task of `run`"),
    ("exit-code", "What the program ended with; of `run` and `exec` the command's own exit code"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The help of a flag, for the table of inputs.
pub fn help_of(name: &str) -> Option<String> {
    let command = Arguments::command();
    let found = |c: &clap::Command| {
        c.get_arguments().find(|a| a.get_long() == Some(name)).and_then(|a| Some(a.get_help()?.to_string()))
    };
    let first = ["plan", "lock", "run", "logs"].into_iter().find_map(|name| found(command.find_subcommand(name)?));
    first.or_else(|| found(&command)).or_else(|| command.get_subcommands().find_map(found))
}

/// `action.yml`, from the tables above.
fn action_yml() -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut text = String::from(
        "# Generated from src/cli.rs by `UPDATE=1 cargo test --test fast spec::action_yml`.\n\
         name: fargate-deploy\n\
         description: From Dockerfile to a healthy ECS Fargate release, and back when the release is bad\n\
         branding: { icon: upload-cloud, color: orange }\n\
         inputs:\n",
    );
    for input in INPUTS {
        let help = input.help.map(str::to_owned).or_else(|| help_of(input.name)).unwrap_or_default();
        let help = match input.kind {
            InputKind::List => format!("{help} (one a line)"),
            _ => help,
        };
        text.push_str(&format!("  {}:\n    description: {}\n    required: false\n", input.name, quoted(&help)));
        if input.kind == InputKind::Command {
            text.push_str("    default: deploy\n");
        }
        if input.kind == InputKind::Token {
            text.push_str("    default: ${{ github.token }}\n");
        }
    }
    text.push_str("outputs:\n");
    for (name, help) in OUTPUTS {
        text.push_str(&format!("  {name}:\n    description: {}\n", quoted(help)));
    }
    text.push_str("runs:\n  using: node24\n  main: action/main.js\n  post: action/post.js\n  post-if: always()\n");
    text
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
    let set: Vec<_> = outputs(&Outcome { result: Ok(Success::Deployed), record: Record::default() })
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let promised: Vec<_> = OUTPUTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(set, promised);
}

#[test]
fn the_docs_name_every_exit_code_and_its_reason() {
    let page = std::fs::read_to_string(root().join("docs/commands.md")).unwrap();
    for reason in Reason::ALL {
        let row = page.lines().find(|l| l.starts_with('|') && l.contains(&format!("`{}`", reason.word())));
        let row = row.unwrap_or_else(|| panic!("docs/commands.md has no row for `{}`", reason.word()));
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

#[test]
fn every_input_has_a_flag_and_a_help() {
    for input in INPUTS {
        assert!(input.help.is_some() || help_of(input.name).is_some(), "{}", input.name);
    }
}
