//! `run`: one-off tasks with real containers, as a person types it and as a job has it.

use crate::scene::{CONFIG, Scene, Setting, docker};
use aws_stage::LABEL;
use serde_json::json;
use std::time::Duration;
use test_support::eventually;

/// A service that is scaled to nothing: what runs is what `run` starts.
async fn open() -> Scene {
    let config = CONFIG.lines().filter(|line| !line.starts_with("role:")).map(|line| format!("{line}\n")).collect();
    Scene::open(Setting { config, is_signed_in: true, desired: 0, ..Setting::default() }).await
}

async fn run(scene: &Scene, arguments: &[&str]) -> (i32, String, String) {
    scene.typed(&[&["run"], arguments].concat()).ended().await
}

/// Ids of the containers of the stage that run now.
fn containers(scene: &Scene) -> Vec<String> {
    let label = format!("label={LABEL}={}", scene.stage.id());
    docker(&["ps", "-q", "--filter", &label]).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_arrives_in_order_and_the_commands_exit_code_is_the_programs() {
    let scene = open().await;
    let (code, out, err) = run(&scene, &["--", "sh", "-c", "seq 100000; exit 7"]).await;
    assert_eq!(code, 7, "{err}");
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(out == expected, "{} lines: {err}", out.lines().count());
    assert!(err.contains("exit 7") && err.contains("log /ecs/web web/app/"), "{err}");

    // A lone string is a shell's, and variables are the task's: nobody sees their values.
    std::fs::write(scene.app.path().join("one.env"), "# ours\nFROM_FILE=f1le\n").unwrap();
    let arguments =
        ["--env", "TOKEN=s3cret", "--env-file", "one.env", "printf '%s,%s' \"$TOKEN\" \"$FROM_FILE\"; exit 0"];
    let (code, out, err) = run(&scene, &arguments).await;
    assert_eq!((code, out.as_str()), (0, "s3cret,f1le\n"), "{err}");
    assert!(!err.contains("s3cret") && !err.contains("f1le"), "{err}");
    // All ran from one derived definition, that was registered once.
    let listed = scene.call("ecs", "ListTaskDefinitions", json!({"familyPrefix": "web-run"})).await;
    assert_eq!(listed["taskDefinitionArns"].as_array().unwrap().len(), 1, "{listed}");
    let tasks = scene.tasks("STOPPED").await;
    let ours: Vec<_> = tasks.iter().filter(|task| task["startedBy"] == "fargate-deploy/run/ada").collect();
    assert_eq!(ours.len(), 2, "{tasks:?}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_starts_is_125_with_the_reason_and_what_is_not_there_127() {
    let scene = open().await;
    let (code, out, err) = run(&scene, &["--", "/no/such/program", "&&", "true"]).await;
    assert_eq!((code, out.as_str()), (127, ""), "{err}");
    assert!(err.contains("`&&` is an argument of the command"), "{err}");
    assert_eq!(err.matches("entry point").count(), 1, "{err}");
    let (code, _, err) = run(&scene, &["--container", "wbe", "--", "true"]).await;
    assert!(code == 125 && err.contains("has none of that name") && err.contains("no task was started"), "{err}");
    let (code, _, err) = run(&scene, &["--no-such-flag", "--", "true"]).await;
    assert_eq!(code, 125, "{err}");
    scene.call("logs", "DeleteLogGroup", json!({"logGroupName": "/ecs/web"})).await;
    let (code, out, err) = run(&scene, &["--", "echo", "hello"]).await;
    assert_eq!((code, out.as_str()), (125, ""), "{err}");
    assert!(err.contains("✗ task: ") && err.contains("log group") && err.contains("  next   "), "{err}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_the_container_a_second_one_leaves_it_and_it_can_be_followed_again() {
    let scene = open().await;
    let polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let running = scene.typed(&["run", polite]);
    running.prints("up\n").await;
    assert_eq!(containers(&scene).len(), 1);
    running.signal("INT");
    let (code, out, err) = running.ended().await;
    assert_eq!((code, out.as_str()), (130, "up\nbye\n"), "{err}");
    assert!(err.contains("interrupted: the task was stopped"), "{err}");
    assert_eq!(containers(&scene), Vec::<String>::new(), "it goes on");

    let deaf = "trap '' TERM; echo up; n=0; while [ $n -lt 80 ]; do sleep 0.1; n=$((n+1)); done; echo late; exit 3";
    let running = scene.typed(&["run", deaf]);
    running.prints("up\n").await;
    running.signal("TERM");
    running.says("is told to stop").await;
    // A signal that a parent passes on as well is not the second one.
    tokio::time::sleep(Duration::from_millis(700)).await;
    running.signal("TERM");
    let (code, _, err) = running.ended().await;
    assert_eq!(code, 130, "{err}");
    assert_eq!(containers(&scene).len(), 1, "it was left to itself: {err}");
    let line = err.lines().find_map(|line| line.split("to follow it again: fargate-deploy ").nth(1)).unwrap().trim();
    let (code, out, err) = scene.typed(&line.split(' ').collect::<Vec<_>>()).ended().await;
    assert_eq!(out, "up\nlate\n", "from its first line: {err}");
    assert_eq!(code, 125, "somebody had stopped it: {err}");

    let (code, arn, err) = run(&scene, &["--detach", "--", "sh", "-c", "seq 3; sleep 1; echo end; exit 4"]).await;
    assert_eq!(code, 0, "{err}");
    let arn = arn.strip_suffix('\n').unwrap();
    assert!(arn.starts_with("arn:aws:ecs:eu-central-1:111122223333:task/shop/") && !arn.contains('\n'), "{arn}");
    let (code, out, err) = run(&scene, &["--attach", arn]).await;
    assert_eq!((code, out.as_str()), (4, "1\n2\n3\nend\n"), "{err}");
    eventually("nothing is left", || async { containers(&scene).is_empty().then_some(()) }).await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_has_its_outputs_and_no_line_of_the_container_is_a_command_to_the_runner() {
    let scene = open().await;
    let hostile = "echo '::set-env name=A::b'; echo '::error::owned'; exit 9";
    let outputs = scene.app.path().join("outputs");
    std::fs::write(&outputs, "").unwrap();
    let inputs = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_OUTPUT", outputs.to_str().unwrap()),
        ("INPUT_COMMAND", "run"),
        ("INPUT_SERVICE", "web"),
        ("INPUT_RUN-COMMAND", hostile),
    ];
    let (code, out, err) = scene.typed_with(&[], &inputs).ended().await;
    assert_eq!(code, 9, "{err}");
    let lines: Vec<_> = out.lines().collect();
    let token = lines[0].strip_prefix("::stop-commands::").unwrap();
    assert_eq!(lines[1..], ["::set-env name=A::b", "::error::owned", &format!("::{token}::")]);
    assert_eq!(err.matches("::error").count(), 1, "{err}");
    let set = std::fs::read_to_string(&outputs).unwrap();
    assert!(set.contains("task/shop/") && set.contains("exited"), "{set}");
    assert!(set.lines().any(|line| line == "9" || line == "exit-code=9"), "{set}");

    let (code, out, _) = scene.typed(&["run", "--json", "--", "sh", "-c", "echo one; exit 2"]).ended().await;
    let events: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = events.iter().find(|event| event["event"] == "output").unwrap();
    assert_eq!((code, &line["line"], &line["source"]), (2, &json!("one"), &json!("app")));
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["exit-code"]), (&json!("run-ended"), &json!(2)));
    scene.close().await;
}
