//! Signals: the program ends in the time that a runner gives it, says what it leaves running, and breaks nothing.

use crate::program::Run;
use crate::scene::{Scene, Setting};
use aws_stage::behavior::InjectedFailure;
use serde_json::json;
use std::time::{Duration, Instant};
use test_support::{Behaviour, eventually};

/// GitHub kills 10 s after the first signal, and the program promises 5: printed, since a machine may be busy.
pub async fn ends(at: &str, run: impl Future<Output = Run>) -> Run {
    let signalled = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(15), run).await;
    println!("{at}: ended {:.1} s after the signal", signalled.elapsed().as_secs_f64());
    ended.unwrap_or_else(|_| panic!("{at}: it goes on after the signal"))
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_leaves_the_migration_running_and_the_lease_claimed_until_it_ends() {
    let scene = Scene::open(Setting::default()).await;
    scene.app.write("app/migrate", "echo migrating\nwhile [ ! -e /tmp/go ]; do sleep 0.1; done\necho migrated\n");
    scene.commit("r1", Behaviour::Serves);
    let mark = scene.mark();
    let running = scene.start(&[]);
    running.says("migrating\n").await;
    running.signal("TERM");
    let cancelled = ends("migration", running.ended()).await;
    cancelled.failed(130, "cancelled");
    assert!(cancelled.log.contains("release command `migrate` is still running"), "{}", cancelled.log);
    assert!(!scene.mutations_since(mark).contains(&"ecs:StopTask".to_owned()));

    let task = cancelled.json["migration-task-arn"].as_str().unwrap().to_owned();
    let status = || async {
        let found = scene.call("ecs", "DescribeTasks", json!({"cluster": "shop", "tasks": [&task]})).await;
        found["tasks"][0]["lastStatus"].as_str().unwrap().to_owned()
    };
    assert_eq!(status().await, "RUNNING");
    let lease = scene.lease().await;
    assert_eq!(lease["isReleased"], false);
    assert_eq!(lease["task"]["arn"], task);
    assert_eq!(scene.answer().await.as_deref(), Some("r0"));

    // Its time has come: nobody killed it.
    let label = format!("label={}={}", aws_stage::LABEL, scene.stage.id());
    for container in crate::scene::docker(&["ps", "-q", "--filter", &label]).lines() {
        crate::scene::docker(&["exec", container, "/bin/sh", "-c", "mkdir -p /tmp && echo > /tmp/go"]);
    }
    eventually("the migration ends", || async { (status().await == "STOPPED").then_some(()) }).await;
    let found = scene.call("ecs", "DescribeTasks", json!({"cluster": "shop", "tasks": [task]})).await;
    assert_eq!(found["tasks"][0]["containers"][0]["exitCode"], 0);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_during_a_rollout_lets_ecs_go_on_and_the_next_run_in() {
    let scene = Scene::open(Setting::default()).await;
    scene.stage.failure_injection().set(InjectedFailure::SlowStarts);
    scene.commit("r1", Behaviour::Serves);
    let mark = scene.mark();
    let running = scene.start(&["--skip-release-commands"]);
    scene.asked("UpdateService", mark).await;
    running.says("deployment ecs-svc/").await;
    running.signal("INT");
    let cancelled = ends("rollout", running.ended()).await;
    cancelled.failed(130, "cancelled");
    assert!(cancelled.log.contains("ECS is still rolling out"), "{}", cancelled.log);
    assert_eq!(scene.lease().await["isReleased"], true);
    let updates = scene.mutations_since(mark);
    assert_eq!(updates.iter().filter(|call| *call == "ecs:UpdateService").count(), 1, "{updates:?}");

    scene.stage.failure_injection().set(InjectedFailure::None);
    // It follows what goes on, and ends as an undisturbed run would have.
    let again = scene.deploy(&["--skip-release-commands"]).await;
    again.succeeded("deployed");
    assert_eq!(scene.answer().await.as_deref(), Some("r1"));
    scene.close().await;
}
