//! The Action's shim around the program itself: what a runner starts, sees and passes on. The shim alone is tested in
//! `action/test/shim.test.js`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// Node as the runner has it, 20 or newer.
fn node() -> Command {
    let version = Command::new("node").arg("--version").output();
    let version = version.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    assert!(major.is_some_and(|major| major >= 20), "these tests need node 20 or newer on PATH; found `{version}`");
    Command::new("node")
}

/// A workspace whose name has a space, as the runner hands it over.
struct Step {
    workspace: TempDir,
    script: &'static str,
}

impl Step {
    fn new(script: &'static str) -> Self {
        Self { workspace: tempfile::Builder::new().prefix("work space ").tempdir().unwrap(), script }
    }

    fn path(&self) -> &Path {
        self.workspace.path()
    }

    fn run(&self, variables: &[(&str, &str)]) -> Output {
        let mut command = node();
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(self.script)).current_dir(self.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_OUTPUT", self.path().join("outputs"));
        command.env("GITHUB_STATE", self.path().join("state"));
        command.env("FARGATE_DEPLOY_BINARY", env!("CARGO_BIN_EXE_fargate-deploy"));
        command.envs(variables.iter().copied()).output().unwrap()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn inputs_choose_the_command_and_success_is_the_steps() {
    let output = Step::new("action/main.js").run(&[("INPUT_COMMAND", "version")]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains(concat!("fargate-deploy ", env!("CARGO_PKG_VERSION"))), "{}", text(&output));
}

#[test]
fn a_bad_input_fails_the_step_with_2_one_error_and_its_outputs() {
    let step = Step::new("action/main.js");
    let output = step.run(&[("INPUT_COMMAND", "deploy"), ("INPUT_DRY-RUN", "yes"), ("INPUT_WAIT", "soon")]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let said = text(&output);
    assert_eq!(said.matches("::error ").count(), 1, "{said}");
    assert!(said.contains("input `dry-run`: expected `true` or `false`, found `yes`"), "{said}");
    let outputs = fs::read_to_string(step.path().join("outputs")).unwrap();
    assert!(outputs.contains("failure-reason") && outputs.contains("config"), "{outputs}");
}

#[test]
fn a_bad_config_fails_the_step_with_2_one_error_and_its_outputs() {
    let step = Step::new("action/main.js");
    fs::create_dir(step.path().join("my app")).unwrap();
    fs::write(step.path().join("my app/fargate-deploy.yml"), "cluster: c\nservces: {}\n").unwrap();
    let output = step.run(&[("INPUT_COMMAND", "deploy"), ("INPUT_WORKING-DIRECTORY", "my app")]);
    let log = text(&output);
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(log.contains("fargate-deploy.yml:2:1"), "{log}");
    assert_eq!(log.lines().filter(|line| line.starts_with("::error")).count(), 1, "{log}");
    let outputs = fs::read_to_string(step.path().join("outputs")).unwrap();
    assert!(outputs.contains("failure-reason<<") && outputs.contains("\nconfig\n"), "{outputs}");
}

#[test]
fn every_line_of_a_list_input_arrives() {
    let step = Step::new("action/main.js");
    let inputs = [
        ("INPUT_COMMAND", "deploy"),
        ("INPUT_CLUSTER", "shop"),
        ("INPUT_SERVICE", "web"),
        ("INPUT_IMAGE", "first=a:1\n second=b:2\n"),
        ("INPUT_DRY-RUN", "true"),
    ];
    let log = text(&step.run(&inputs));
    assert!(log.contains("`first`") && log.contains("`second`"), "{log}");
}

#[test]
fn a_switch_that_is_neither_true_nor_false_stops_before_anything_is_done() {
    let output = Step::new("action/main.js").run(&[("INPUT_COMMAND", "deploy"), ("INPUT_DRY-RUN", "yes")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("expected `true` or `false`"), "{}", text(&output));
}

#[test]
fn post_finds_the_binary_that_the_step_ran() {
    let step = Step::new("action/main.js");
    step.run(&[("INPUT_COMMAND", "version")]);
    let state = fs::read_to_string(step.path().join("state")).unwrap();
    let binary = state.trim().strip_prefix("binary=").unwrap();
    let output = Step::new("action/post.js").run(&[("STATE_binary", binary)]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!text(&output).contains("::warning"), "{}", text(&output));
}
