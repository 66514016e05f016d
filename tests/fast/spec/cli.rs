//! The binary as a person or a runner starts it.

use super::config::repository;
use insta::assert_snapshot;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The program in `directory`, without anything that the surroundings could tell it.
pub(super) fn program(directory: &Path) -> Command {
    const OURS: [&str; 7] = ["GITHUB_", "ACTIONS_", "AWS_", "RUNNER_", "INPUT_", "FARGATE_DEPLOY_", "DOCKER_"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_fargate-deploy"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OURS.iter().any(|prefix| text.starts_with(prefix)) || text == "CI" || text == "NO_COLOR" {
            command.env_remove(&name);
        }
    }
    command.current_dir(directory);
    command
}

pub(super) fn run(directory: &Path, arguments: &[&str]) -> (Output, String, String) {
    outcome(program(directory).args(arguments))
}

fn outcome(command: &mut Command) -> (Output, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn version_names_the_release_and_the_commit() {
    let folder = repository();
    for arguments in [["version"], ["--version"]] {
        let (output, out, _) = run(folder.path(), &arguments);
        assert!(output.status.success());
        let start = concat!("fargate-deploy ", env!("CARGO_PKG_VERSION"), " (");
        assert!(out.starts_with(start) && out.ends_with(")\n"), "{out}");
    }
}

#[test]
fn the_schema_command_prints_the_published_schema() {
    let (_, out, _) = run(repository().path(), &["schema"]);
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("fargate-deploy.schema.json");
    assert!(out == fs::read_to_string(published).unwrap(), "they differ");
}

/// A command's standard output is a pipe that nobody reads any more, or a disk that is full.
#[test]
fn no_command_panics_where_nobody_reads_and_where_nothing_can_be_written() {
    let folder = repository();
    let commands: [&[&str]; 12] = [
        &["version"],
        &["--version"],
        &["--help"],
        &["schema"],
        &["completions", "bash"],
        &["completions", "fish"],
        &["plan", "--offline", "--format", "json"],
        &["plan", "--offline", "--format", "markdown"],
        &["plan", "--offline", "--json", "--events", "-"],
        &["deploy", "--json", "--config", "no-such-file.yml"],
        &["lock", "status", "--json", "--config", "no-such-file.yml"],
        &["rehearse", "--config", "no-such-file.yml"],
    ];
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for arguments in commands {
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        for (what, output) in [
            ("a closed pipe", program(folder.path()).args(arguments).stdout(closed()).output().unwrap()),
            (
                "closed pipes",
                program(folder.path()).args(arguments).stdout(closed()).stderr(closed()).output().unwrap(),
            ),
            ("a full disk", program(folder.path()).args(arguments).stdout(full()).output().unwrap()),
            (
                "a full disk twice",
                program(folder.path()).args(arguments).stdout(full()).stderr(full()).output().unwrap(),
            ),
        ] {
            let said = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            assert!(
                code.is_some_and(|code| code != 101) && !said.contains("panicked"),
                "{arguments:?}, {what}: {said}"
            );
        }
    }
}

#[test]
fn data_that_a_full_disk_does_not_take_is_an_error_and_a_reader_that_has_seen_enough_is_none() {
    let folder = repository();
    for arguments in [&["version"][..], &["--help"], &["schema"], &["completions", "zsh"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program(folder.path()).args(arguments).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(1) && said.contains("standard output: No space left"),
            "{arguments:?}: {said}"
        );
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program(folder.path()).args(arguments).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (output, out, _) = run(repository().path(), &["completions", shell]);
        assert!(output.status.success() && out.contains("rehearse"), "{shell}");
    }
}

#[test]
fn a_mistyped_flag_or_command_ends_with_2_and_a_suggestion() {
    let folder = repository();
    let (output, _, err) = run(folder.path(), &["deploy", "--clustr", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("--cluster"), "{err}");
    let (output, _, err) = run(folder.path(), &["depoly"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("deploy"), "{err}");
}

#[test]
fn a_bad_duration_is_refused_with_the_flag_and_the_form() {
    let (output, _, err) = run(repository().path(), &["deploy", "--wait", "soon"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("--wait") && err.contains("`15m`"), "{err}");
}

#[test]
fn a_bad_config_ends_with_2_and_the_place_and_touches_nothing() {
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), "cluster: c\nservces: {}\n").unwrap();
    let (output, out, err) = run(folder.path(), &["deploy"]);
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!((out + &err).trim(), @r"
    ✗ config: fargate-deploy.yml:2:1: unknown key `servces`
      state  nothing was changed in ECS
      next   did you mean `services`?
    ");
}

#[test]
fn json_prints_one_object_also_for_a_bad_config() {
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), "cluster: [").unwrap();
    let (output, out, _) = run(folder.path(), &["deploy", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["failure-reason"], "config", "{out}");
}

#[test]
fn inputs_of_the_action_run_the_same_command_and_set_outputs_on_failure() {
    let folder = repository();
    let outputs = folder.path().join("outputs");
    fs::write(&outputs, "").unwrap();
    let mut command = program(folder.path());
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_OUTPUT", &outputs).env("INPUT_COMMAND", "deploy");
    command.env("INPUT_CLUSTER", "shop").env("INPUT_SERVICE", "web").env("INPUT_IMAGE", "UPPER\nCASE");
    let (output, out, err) = outcome(&mut command);
    assert_eq!(output.status.code(), Some(2), "{out}{err}");
    let errors = out.lines().chain(err.lines()).filter(|line| line.starts_with("::error")).count();
    assert_eq!(errors, 1, "{out}{err}");
    let set = fs::read_to_string(outputs).unwrap();
    assert!(set.contains("failure-reason") && set.contains("config"), "{set}");
}

/// A step of a job with these inputs: the exit code, and everything it prints.
fn step(folder: &Path, inputs: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = program(folder);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", folder);
    for (name, value) in inputs {
        command.env(format!("INPUT_{name}"), value);
    }
    let (output, out, err) = outcome(&mut command);
    (output.status.code(), out + &err)
}

#[test]
fn an_empty_command_is_the_default_one() {
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), "servces: {}\n").unwrap();
    for command in ["", " "] {
        let (code, printed) = step(folder.path(), &[("COMMAND", command)]);
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains("unknown key `servces`"), "{printed}");
    }
}

#[test]
fn a_step_that_would_only_explain_itself_fails_and_says_so() {
    let folder = repository();
    for command in [
        "deploy --help",
        "deploy -h",
        "--help",
        "-h",
        "--version",
        "-V",
        "plan --help",
        "lock --help",
        "help",
        "help deploy",
    ] {
        let (code, printed) = step(folder.path(), &[("COMMAND", command)]);
        assert_eq!(code, Some(2), "{command}: {printed}");
        assert_eq!(printed.matches("::error").count(), 1, "{command}: {printed}");
    }
    let (_, printed) = step(folder.path(), &[("COMMAND", "deploy --help")]);
    assert!(
        printed.contains("input `command`: `deploy --help` only explains itself, and nothing was done"),
        "{printed}"
    );
    let (output, out, _) = run(folder.path(), &["deploy", "--help"]);
    assert!(output.status.success() && out.contains("--skip-release-commands"), "a person is helped: {out}");
}

#[test]
fn what_somebody_outside_of_the_repository_can_start_does_not_deploy() {
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), "servces: {}\n").unwrap();
    let event = folder.path().join("event.json");
    let deploy = |name: &str, payload: Option<serde_json::Value>| {
        let _ = fs::remove_file(&event);
        if let Some(payload) = payload {
            fs::write(&event, payload.to_string()).unwrap();
        }
        let mut command = program(folder.path());
        command.env("GITHUB_ACTIONS", "true").env("INPUT_COMMAND", "deploy").env("GITHUB_REPOSITORY", "org/app");
        command.env("GITHUB_EVENT_NAME", name).env("GITHUB_EVENT_PATH", &event);
        let (output, out, err) = outcome(&mut command);
        assert_eq!(output.status.code(), Some(2), "{name}: {out}{err}");
        (out + &err)
            .contains(&format!("`deploy` on `{name}`: this run belongs to a pull request whose files are not known"))
    };
    let head = |name: &str, state: &str, merged: bool| {
        let head = json!({"sha": "cafe", "repo": {"full_name": name}});
        Some(json!({"pull_request": {"number": 7, "state": state, "merged": merged, "head": head}}))
    };
    let followed = |name: &str| Some(json!({"workflow_run": {"head_repository": {"full_name": name}}}));
    let comment = |pull: serde_json::Value| Some(json!({"issue": {"number": 7, "pull_request": pull}}));
    for (event, payload, is_refused) in [
        ("pull_request", head("fork/app", "open", false), true),
        ("pull_request_target", head("fork/app", "open", false), true),
        ("workflow_run", followed("fork/app"), true),
        ("issue_comment", comment(json!({})), true),
        ("pull_request_target", head("fork/app", "closed", true), false),
        ("pull_request", head("org/app", "open", false), false),
        ("workflow_run", followed("org/app"), false),
        ("issue_comment", comment(json!(null)), false),
        ("push", Some(json!({})), false),
        ("push", None, false),
        ("workflow_dispatch", None, false),
        // The event's file is not there, or says nothing of the pull request.
        ("pull_request", None, true),
        ("pull_request_target", None, true),
        ("pull_request_review", Some(json!({})), true),
        ("workflow_run", None, true),
        ("workflow_run", Some(json!({"workflow_run": {}})), true),
        ("issue_comment", Some(json!({})), true),
    ] {
        assert_eq!(deploy(event, payload.clone()), is_refused, "{event}: {payload:?}");
    }
}

/// Nor does anything else that changes something, or that their file could have this run's identity asked for.
#[test]
fn what_somebody_outside_of_the_repository_can_start_changes_nothing() {
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), "servces: {}\n").unwrap();
    let event = folder.path().join("event.json");
    let head = json!({"sha": "cafe", "repo": {"full_name": "fork/app"}});
    fs::write(&event, json!({"pull_request": {"number": 7, "state": "open", "head": head}}).to_string()).unwrap();
    for (name, arguments) in [
        ("deploy", "deploy"),
        ("rollback", "rollback"),
        ("run", "run -- migrate"),
        ("exec", "exec --yes -- sh"),
        ("continue", "continue"),
        ("abort", "abort"),
        ("lock acquire", "lock acquire --reason demo"),
        ("lock release", "lock release"),
    ] {
        let mut command = program(folder.path());
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_REPOSITORY", "org/app");
        command.env("GITHUB_EVENT_NAME", "pull_request_target").env("GITHUB_EVENT_PATH", &event);
        let (_, out, err) = outcome(command.args(arguments.split(' ')));
        let refused = format!("`{name}` on `pull_request_target`: this run belongs to a pull request whose files");
        assert!((out.clone() + &err).contains(&refused), "{name}: {out}{err}");
    }
}

#[test]
fn what_a_plan_from_the_files_alone_cannot_do_is_refused_and_not_left_out() {
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), "cluster: shop\nservices: { web: {} }\n").unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    for (arguments, named) in [
        (&["--require-plan", &digest][..], "`--require-plan` cannot be done with `--offline`"),
        (&["--build"], "`--build` cannot be done with `--offline`"),
        (&["--detailed-exitcode"], "`--detailed-exitcode` cannot be done with `--offline`"),
        (&["--terraform-plan", "none.json"], "Terraform plan `none.json`"),
    ] {
        let (output, out, err) = run(folder.path(), &[&["plan", "--offline"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {out}{err}");
        assert!((out.clone() + &err).contains(named), "{arguments:?}: {out}{err}");
    }
    let (output, out, err) = run(folder.path(), &["plan", "--offline", "--build=false"]);
    assert!(output.status.success(), "{out}{err}");
}

/// Such a run is given no secrets, and no step before it may have written what the config takes from a file.
#[test]
fn a_fork_s_pull_request_lacks_what_surrounds_a_run_and_is_planned_all_the_same() {
    let folder = repository();
    let event = folder.path().join("event.json");
    let head = json!({"sha": "cafe", "repo": {"full_name": "fork/app"}});
    fs::write(&event, json!({"pull_request": {"number": 7, "state": "open", "head": head}}).to_string()).unwrap();
    for cluster in ["cluster: ${env:CLUSTER}", "cluster: ${tf:cluster}\nterraform: outputs.json"] {
        fs::write(folder.path().join("fargate-deploy.yml"), format!("{cluster}\nservices: {{ web: }}\n")).unwrap();
        let mut command = program(folder.path());
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_REPOSITORY", "org/app");
        command.env("GITHUB_EVENT_NAME", "pull_request").env("GITHUB_EVENT_PATH", &event);
        let (output, out, err) = outcome(command.arg("plan"));
        assert_eq!(output.status.code(), Some(0), "{cluster}: {out}{err}");
        assert_eq!((out.clone() + &err).matches("::notice").count(), 1, "{cluster}: {out}{err}");
        let (output, out, err) = run(folder.path(), &["plan", "--offline"]);
        assert_eq!(output.status.code(), Some(2), "a person can mend it: {cluster}: {out}{err}");
    }
}

#[test]
fn an_input_of_another_command_is_named_with_the_command_that_it_is_for() {
    let folder = repository();
    for (command, input, value, said) in [
        ("deploy", "COMMENT", "true", "input `comment` is for `plan`, and `command` is `deploy`"),
        (
            "deploy",
            "REASON",
            "x",
            "input `reason` is for `rollback`, `continue`, `abort` and `lock`, and `command` is `deploy`",
        ),
        ("lock status", "IMAGE", "a=b", "input `image` is for `deploy`, `plan` and `run`, and `command` is `lock`"),
        ("version", "WAIT", "1m", "input `wait` is for `deploy`, `plan` and `rollback`, and `command` is `version`"),
    ] {
        let (code, printed) = step(folder.path(), &[("COMMAND", command), (input, value)]);
        assert_eq!(code, Some(2), "{command}: {printed}");
        assert!(printed.contains(said), "{command}: {printed}");
        assert_eq!(printed.matches("::error").count(), 1, "{printed}");
    }
    let (code, printed) = step(folder.path(), &[("COMMAND", "version"), ("COMMENT", "false"), ("WAIT", "")]);
    assert_eq!(code, Some(0), "{printed}");
}

#[test]
fn an_annotation_names_the_file_from_the_workspace_and_nothing_empty_is_fenced() {
    let folder = repository();
    let sub = folder.path().join("apps/api");
    fs::create_dir_all(&sub).unwrap();
    fs::write(sub.join("fargate-deploy.yml"), "servces: {}\n").unwrap();
    let inputs = [("COMMAND", "deploy"), ("WORKING-DIRECTORY", "apps/api")];
    let (_, printed) = step(folder.path(), &inputs);
    assert!(printed.contains("file=apps/api/fargate-deploy.yml,line=1"), "{printed}");
    assert!(!printed.contains("::stop-commands::"), "{printed}");
    let mut inside = program(&sub);
    inside.env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", folder.path()).env("INPUT_COMMAND", "deploy");
    let (_, out, err) = outcome(&mut inside);
    assert!((out + &err).contains("file=apps/api/fargate-deploy.yml,line=1"));
}

#[test]
fn post_succeeds_also_when_there_is_nothing_to_put_away() {
    let (output, _, err) = run(repository().path(), &["post"]);
    assert!(output.status.success(), "{err}");
}

#[test]
fn events_are_written_to_a_file_or_to_standard_output_beside_the_log_and_end_with_the_exit_code() {
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), "cluster: 1\nregon: x\n").unwrap();
    let last = |text: &str| serde_json::from_str::<serde_json::Value>(text.lines().last().unwrap()).unwrap();

    let (output, out, _) = run(folder.path(), &["deploy", "--events", "events.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    let ended = last(&fs::read_to_string(folder.path().join("events.jsonl")).unwrap());
    assert_eq!((&ended["event"], &ended["exit-code"]), (&json!("run-ended"), &json!(2)), "{ended}");
    assert_eq!(ended["failure-reason"], "config");
    assert!(ended["at"].as_str().is_some_and(|at| at.ends_with('Z')) && out.contains("regon"), "{ended} {out}");

    let (output, out, err) = run(folder.path(), &["deploy", "--events", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(last(&out)["event"], "run-ended");
    assert!(err.contains("regon") && !out.contains("regon:"), "{out} {err}");

    let (output, out, _) = run(folder.path(), &["deploy", "--events", "no/such/folder/events.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(out.contains("! warning: `--events`: `no/such/folder/events.jsonl` cannot be written"), "{out}");
}
