//! `verify --offline`: nothing is found in the examples, and each planted mistake is.

use super::cli::run;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

pub(super) fn example(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn nothing_is_found_in_the_examples() {
    for (name, environments) in [
        ("000-nextjs", ["dev", "stage", "prod"].as_slice()),
        ("001-django-next", &[]),
        ("002-api-workers", &[]),
        ("003-caddy-ghcr", &[]),
        ("004-nestjs", &[]),
    ] {
        let folder = example(name);
        let arguments = |environment: Option<&&'static str>| -> Vec<&str> {
            let chosen = environment.map_or(vec![], |environment| vec!["-e", environment]);
            [vec!["verify", "--offline"], chosen].concat()
        };
        let runs = if environments.is_empty() { vec![None] } else { environments.iter().map(Some).collect() };
        for environment in runs {
            let (output, out, err) = run(folder.path(), &arguments(environment));
            assert!(output.status.success(), "{name} {environment:?}: {out}{err}");
            assert!(out.contains(" 0 warnings, 0 failed, 0 skipped"), "{name} {environment:?}: {out}");
        }
    }
}

/// One mistake in the NestJS example: the file, what stands there, what is written instead, and what is found.
fn planted(file: &str, from: &str, to: &str, found: &str) {
    let folder = example("004-nestjs");
    let path = folder.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let (output, out, err) = run(folder.path(), &["verify", "--offline"]);
    assert!(format!("{out}{err}").contains(found), "{found}: {out}{err}");
    let is_warning = out.lines().any(|line| line.starts_with("warning") && line.contains(found));
    assert_eq!(output.status.code(), Some(if is_warning { 0 } else { 2 }), "{out}{err}");
}

macro_rules! each {
    ($($name:ident: $file:expr, $from:expr => $to:expr, $found:expr;)*) => {
        $(#[test] fn $name() { planted($file, $from, $to, $found); })*
    };
}

const CONFIG: &str = "fargate-deploy.yml";
const TASK: &str = "infra/task-definition.json";

each! {
    a_key_that_is_unknown: CONFIG, "cluster:" => "clustr:", "clustr";
    a_task_definition_that_is_not_there: CONFIG, "infra/task-definition.json" => "infra/other.json", "there is no such file";
    a_service_that_a_command_names_and_nobody_has: CONFIG, "    service: web" => "    service: wbe", "did you mean `web`";
    a_container_that_the_task_does_not_have: CONFIG, "{ app: app }" => "{ web: app }", "container `web` is not in it";
    an_image_for_another_processor: CONFIG, "PLATFORM:-linux/arm64" => "PLATFORM:-linux/amd64", "is for linux/amd64, and its tasks run on linux/arm64";
    a_dockerfile_that_is_not_there: CONFIG, "DOCKERFILE:-Dockerfile" => "DOCKERFILE:-Dockerfile.prod", "Dockerfile.prod";
    a_context_that_is_not_there: CONFIG, "context: ." => "context: app", "app";
    an_image_that_no_service_has: CONFIG, "images:\n" => "images:\n  other: { repository: other, context: . }\n", "no service has it";
    a_secret_as_a_build_argument: CONFIG, "    context: .\n" => "    context: .\n    build-args: { NPM_TOKEN: \"${env:NPM_TOKEN:-x}\" }\n", "`NPM_TOKEN` stays in the image's history";
    a_command_in_a_container_that_is_not_there: CONFIG, "    command: bin/migrate" => "    command: bin/migrate\n    container: job", "container `job` is not in its task definition";
    a_role_of_another_account: CONFIG, "iam::111122223333:role/gengar-deploy" => "iam::444455556666:role/gengar-deploy", "is a role of account 111122223333";
    logs_in_another_region: TASK, "\"awslogs-region\": \"eu-central-1\"" => "\"awslogs-region\": \"us-east-1\"", "logs to us-east-1";
    a_secret_in_another_region: TASK, "\"/gengar/DATABASE_URL\"" => "\"arn:aws:ssm:us-east-1:111122223333:parameter/x\"", "a secret is in us-east-1";
    a_health_check_of_another_port: TASK, "[\"CMD\", \"/app/bin/healthcheck\"]" => "[\"CMD-SHELL\", \"curl localhost:8080/health\"]", "asks port 8080, and it maps 3000";
    a_health_check_that_waits_longer_than_its_interval: TASK, "\"timeout\": 3" => "\"timeout\": 9", "waits longer for an answer";
    a_size_that_fargate_does_not_have: TASK, "\"cpu\": \"512\"" => "\"cpu\": \"300\"", "300";
    memory_that_does_not_go_with_the_cpu: TASK, "\"memory\": \"1024\"" => "\"memory\": \"9999\"", "9999";
    a_network_that_fargate_does_not_have: TASK, "\"awsvpc\"" => "\"bridge\"", "needs `awsvpc`";
    a_launch_type_that_is_another: TASK, "[\"FARGATE\"]" => "[\"EC2\"]", "does not name `FARGATE`";
    no_execution_role: TASK, "  \"executionRoleArn\": \"arn:aws:iam::111122223333:role/gengar-execution\",\n" => "", "executionRoleArn";
    a_family_with_a_space: TASK, "\"family\": \"gengar\"" => "\"family\": \"gen gar\"", "`family` is `gen gar`";
    a_port_that_is_no_port: TASK, "\"containerPort\": 3000" => "\"containerPort\": 70000", "70000";
    a_host_port_that_differs: TASK, "\"containerPort\": 3000" => "\"containerPort\": 3000, \"hostPort\": 80", "left out or the same";
    a_number_as_a_variable: TASK, "\"value\": \"3000\"" => "\"value\": 3000", "is a number";
    a_variable_that_is_a_secret_too: TASK, "\"name\": \"PORT\"" => "\"name\": \"DATABASE_URL\"", "AWS takes one of the two";
    a_placeholder_that_nobody_fills_in: TASK, "\"value\": \"3000\"" => "\"value\": \"${PORT}\"", "nothing replaces it";
    a_container_without_which_the_task_goes_on: TASK, "\"essential\": true" => "\"essential\": false", "no container is essential";
    a_log_stream_without_a_prefix: TASK, ",\n          \"awslogs-stream-prefix\": \"gengar\"" => "", "awslogs-stream-prefix";
    a_stop_that_takes_too_long: TASK, "\"stopTimeout\": 30" => "\"stopTimeout\": 500", "500";
    a_container_that_waits_for_nobody: TASK, "\"essential\": true" => "\"essential\": true, \"dependsOn\": [{\"containerName\": \"db\", \"condition\": \"START\"}]", "`db`";
    a_volume_that_is_not_there: TASK, "\"essential\": true" => "\"essential\": true, \"mountPoints\": [{\"sourceVolume\": \"data\", \"containerPath\": \"/data\"}]", "`data` is not in `volumes`";
    a_container_that_wants_the_host: TASK, "\"essential\": true" => "\"essential\": true, \"privileged\": true", "privileged";
}

#[test]
fn a_document_for_code_scanning_has_each_finding_with_its_file() {
    let folder = example("004-nestjs");
    let path = folder.path().join(TASK);
    let text = fs::read_to_string(&path).unwrap().replace("\"awsvpc\"", "\"bridge\"");
    fs::write(&path, text).unwrap();
    let (output, out, _) = run(folder.path(), &["verify", "--offline", "--format", "sarif"]);
    assert_eq!(output.status.code(), Some(2));
    let document: Value = serde_json::from_str(&out).unwrap();
    let result = &document["runs"][0]["results"][0];
    assert_eq!(result["level"], "error");
    assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], TASK);
    let (_, out, _) = run(folder.path(), &["verify", "--offline", "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert!(document.as_array().unwrap().iter().any(|check| check["verdict"] == "failed"), "{out}");
}
