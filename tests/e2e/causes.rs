//! Causes that real containers can produce: each is found, is the headline, and is said while the rollout still goes on,
//! within a minute of the first task that died.

use crate::scene::{Scene, Setting, definition};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use test_support::Behaviour;

/// The code, and what differs in the container's definition.
fn cases() -> Vec<(&'static str, Value)> {
    let says =
        |line: &str, code: i32| json!({"command": ["/bin/sh", "-c", format!("echo \"{line}\" >&2; exit {code}")]});
    let runs = |script: &str| json!({"command": ["/bin/sh", "-c", script]});
    vec![
        ("missing-variable", says("KeyError: 'STRIPE_KEY'", 1)),
        ("missing-module", says("Error: Cannot find module '/app/dist/main.js'", 1)),
        ("missing-file", says("FileNotFoundError: [Errno 2] No such file or directory: '/app/config.yml'", 1)),
        ("host-unknown", says("Error: getaddrinfo ENOTFOUND db", 1)),
        ("connection-refused", says("Error: connect ECONNREFUSED 10.0.3.17:5432", 1)),
        ("table-missing", says("no such table: orders", 1)),
        ("port-privileged", says("nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)", 1)),
        ("application-error", says("Error: the licence has expired", 1)),
        ("ended-without-words", runs("exit 3")),
        ("container-finished", runs("exit 0")),
        ("command-not-found", runs("bundle exec puma")),
        ("segmentation-fault", runs("/bin/sh -c 'kill -SEGV $$'; exit 139")),
        ("start-file-missing", json!({"command": ["/entrypoint.sh"]})),
        ("file-not-executable", json!({"command": ["/app/serve"]})),
        ("interpreter-missing", json!({"command": ["/app/with-bash"]})),
        // Which of the two it is would be told by ECR; the stand-in's registry has another name.
        ("exec-format-error", json!({"command": ["/app/without-first-line"]})),
        (
            "wrong-port",
            runs(
                "trap 'exit 0' TERM; echo 'listening on port 4000'; httpd -p 4000 -h /app/www; while :; do sleep 0.2; done",
            ),
        ),
        (
            "health-path-not-found",
            runs("trap 'exit 0' TERM; httpd -p 3000 -h /app/nothing; while :; do sleep 0.2; done"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cause_is_said_within_a_minute_of_the_first_dead_task() {
    let furnish = |app: &test_support::App| {
        app.write("app/nothing/other", "\n");
        for (name, text) in [("app/with-bash", "#!/bin/bash\n:\n"), ("app/without-first-line", "echo hello\n")] {
            let path = app.write(name, text);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    };
    let config = crate::scene::CONFIG
        .replace("release:\n", "")
        .replace("  - { name: migrate, service: web, command: [/bin/sh, /app/migrate], timeout: 2m }\n", "");
    let scene = Scene::open_with(Setting { config, ..Setting::default() }, furnish).await;
    let (mut wrong, mut latest) = (vec![], Duration::ZERO);
    for (number, (code, container)) in cases().into_iter().enumerate() {
        let mut body = definition();
        for (member, value) in container.as_object().unwrap() {
            body["containerDefinitions"][0][member] = value.clone();
        }
        scene.app.write("task-definition.json", &body.to_string());
        scene.commit(&format!("r{number}"), Behaviour::Serves);
        let events = scene.app.path().join(format!("events-{number}.jsonl"));
        let bad = scene.deploy(&["--events", events.to_str().unwrap()]).await;
        let found = bad.json["failure"]["cause"]["code"].as_str().unwrap_or_default().to_owned();
        let told: Vec<Value> =
            std::fs::read_to_string(&events).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let said: Vec<&Value> = told.iter().filter(|e| e["event"] == "rollout-explained").collect();
        let mut dead: Vec<f64> = scene
            .tasks("STOPPED")
            .await
            .iter()
            .filter(|t| t["taskDefinitionArn"] == bad.json["task-definition-arn"])
            .filter_map(|t| t["stoppedAt"].as_f64())
            .collect();
        dead.sort_by(f64::total_cmp);
        let took = said.first().zip(dead.first()).map(|(said, dead)| {
            let at: jiff::Timestamp = said["at"].as_str().unwrap().parse().unwrap();
            (at.as_millisecond() as f64 / 1000.0 - dead).max(0.0)
        });
        println!("{code}: {took:?} s after the first dead task: {}", bad.json["failure"]["what"]);
        let what = bad.json["failure"]["what"].as_str().unwrap_or_default();
        let is_of_its_port = code != "wrong-port" || what.contains("asks port 3000");
        if found != code || bad.code != 6 || !is_of_its_port {
            wrong.push(format!("{code}: {found}: {}\n{}", bad.json["failure"], bad.log));
        }
        match took {
            Some(took) => latest = latest.max(Duration::from_secs_f64(took)),
            None => wrong.push(format!("{code}: it was not said while the rollout went on: {said:?} {dead:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(latest < Duration::from_secs(60), "{latest:?}");
    scene.close().await;
}
