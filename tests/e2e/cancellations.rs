//! A signal at every point of a deploy. What is said about the state is compared with the stage.

use crate::interrupts::ends;
use crate::program::Running;
use crate::scene::{CONFIG, Scene, Setting};
use aws_stage::behavior::InjectedFailure;
use aws_stage::faults::{FaultAction, FaultPlan, FaultRule};
use serde_json::{Value, json};
use test_support::{Behaviour, eventually};

/// Calls of this operation take that long on their way to AWS.
fn slow(scene: &Scene, service: &str, operation: &str, seconds: u64) {
    let rule = FaultRule {
        service: Some(service.to_owned()),
        operation: Some(operation.to_owned()),
        after: 0,
        times: None,
        probability: None,
        action: FaultAction::Delay { milliseconds: seconds * 1000 },
    };
    scene.stage.set_faults(FaultPlan { seed: 0, rules: vec![rule] });
}

/// Signals it, and what it said when it had ended; the world's faults end as well.
async fn cancel(scene: &Scene, at: &str, running: Running, signal: &str) -> String {
    running.signal(signal);
    let run = ends(at, running.ended()).await;
    scene.stage.set_faults(FaultPlan::default());
    run.failed(130, "cancelled");
    assert!(run.log.contains("  next   run it again: it goes on from what is there"), "{at}: {}", run.log);
    run.log
}

/// "untouched" is true: the service runs what it ran, nobody updated it, and no task was started.
async fn is_untouched(scene: &Scene, at: &str, said: &str, before: &Value, mark: usize) {
    let revision = before["taskDefinition"].as_str().unwrap().rsplit('/').next().unwrap();
    assert!(said.contains(&format!("shop/web: untouched, r1 ({revision}) serves")), "{at}: {said}");
    let service = scene.service().await;
    assert_eq!(service["deployments"][0]["id"], before["deployments"][0]["id"], "{at}: {service}");
    assert_eq!(scene.answer().await.as_deref(), Some("r0"), "{at}");
    let changes = scene.mutations_since(mark);
    assert!(!changes.iter().any(|c| c == "ecs:UpdateService" || c == "ecs:RunTask"), "{at}: {changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_anything_moves_a_cancelled_run_has_touched_nothing() {
    let scene = Scene::open(Setting::default()).await;
    let (before, lease) = (scene.service().await, scene.lease().await);
    let dockerfile = std::fs::read_to_string(scene.app.path().join("Dockerfile")).unwrap();

    scene.commit("r1", Behaviour::Serves);
    let step = "RUN [\"/bin/sh\", \"-c\", \"echo building; sleep 600\"]\n";
    scene.app.write("Dockerfile", &dockerfile.replace("CMD", &format!("{step}CMD")));
    let mark = scene.mark();
    let running = scene.start(&[]);
    running.says("building").await;
    let said = cancel(&scene, "build", running, "INT").await;
    is_untouched(&scene, "build", &said, &before, mark).await;
    assert!(!said.contains("pushed and kept"), "{said}");
    assert_eq!(scene.lease().await, lease);
    scene.app.write("Dockerfile", &dockerfile);

    slow(&scene, "registry", "PutImage", 600);
    let mark = scene.mark();
    let running = scene.start(&[]);
    running.says("push      app to").await;
    let said = cancel(&scene, "push", running, "TERM").await;
    is_untouched(&scene, "push", &said, &before, mark).await;
    assert!(!said.contains("pushed and kept"), "{said}");
    assert_eq!(scene.lease().await, lease);

    // Somebody else's claim, the newest.
    let listed = scene.call("ssm", "GetParametersByPath", json!({"Path": "/fargate-deploy/shop/web/lease"})).await;
    let next = listed["Parameters"].as_array().unwrap().len() + 1;
    let name = format!("/fargate-deploy/shop/web/lease/{next}");
    let theirs = json!({"token": "theirs", "owner": {"run": "laptop", "actor": "ada"}, "isReleased": false});
    let put = json!({"Name": name, "Value": theirs.to_string(), "Type": "String"});
    scene.call("ssm", "PutParameter", put).await;
    let mark = scene.mark();
    let running = scene.start(&[]);
    running.says("waiting for laptop (ada)").await;
    let said = cancel(&scene, "waiting for the lease", running, "INT").await;
    is_untouched(&scene, "waiting for the lease", &said, &before, mark).await;
    assert!(said.contains("pushed and kept for the next run: "), "{said}");
    assert_eq!(scene.lease().await, theirs);
    scene.call("ssm", "DeleteParameter", json!({"Name": name})).await;

    slow(&scene, "ecs", "RegisterTaskDefinition", 600);
    let mark = scene.mark();
    let running = scene.start(&[]);
    running.says("register  web").await;
    let said = cancel(&scene, "registering", running, "TERM").await;
    is_untouched(&scene, "registering", &said, &before, mark).await;
    assert_eq!(scene.lease().await["isReleased"], true);

    // Each of them can be gone on from.
    let run = scene.deploy(&[]).await;
    run.succeeded("deployed");
    scene.serves("r1", run.digest()).await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_run_task_is_under_way_its_answer_is_waited_for_and_else_said_to_be_unknown() {
    let scene = Scene::open(Setting::default()).await;
    let before = scene.service().await;
    scene.app.write("app/migrate", "echo migrating\nwhile [ ! -e /tmp/go ]; do sleep 0.1; done\n");
    scene.commit("r1", Behaviour::Serves);
    let intent = |lease: &Value| lease["isReleased"] == false && lease["task"]["startedBy"].is_string();

    slow(&scene, "ecs", "RunTask", 600);
    let running = scene.start(&[]);
    eventually("the intent is noted", || async { intent(&scene.lease().await).then_some(()) }).await;
    running.says("release   migrate").await;
    // The request is on its way when the lease has been looked at again.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let said = cancel(&scene, "RunTask without an answer", running, "TERM").await;
    assert!(said.contains("release command `migrate`: RunTask was sent, whether it started is not known"), "{said}");
    let lease = scene.lease().await;
    assert!(intent(&lease) && lease["task"]["arn"].is_null(), "{lease}");
    assert_eq!(scene.migrations().await.iter().filter(|t| t["lastStatus"] != "STOPPED").count(), 0);

    // As if five minutes had passed: the next run is let in.
    let listed = scene.call("ssm", "GetParametersByPath", json!({"Path": "/fargate-deploy/shop/web/lease"})).await;
    let name = format!("/fargate-deploy/shop/web/lease/{}", listed["Parameters"].as_array().unwrap().len());
    scene.call("ssm", "DeleteParameter", json!({"Name": name})).await;

    slow(&scene, "ecs", "RunTask", 2);
    let running = scene.start(&[]);
    eventually("the intent is noted", || async { intent(&scene.lease().await).then_some(()) }).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let said = cancel(&scene, "RunTask with a late answer", running, "INT").await;
    let started: Vec<Value> = scene.migrations().await.into_iter().filter(|t| t["lastStatus"] != "STOPPED").collect();
    assert_eq!(started.len(), 1, "{started:?}");
    let arn = started[0]["taskArn"].as_str().unwrap();
    let id = arn.rsplit('/').next().unwrap();
    assert!(said.contains(&format!("release command `migrate` is still running (task {id})")), "{said}");
    let lease = scene.lease().await;
    assert_eq!((&lease["isReleased"], &lease["task"]["arn"]), (&json!(false), &json!(arn)));
    assert_eq!(scene.service().await["deployments"][0]["id"], before["deployments"][0]["id"]);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_rollout_the_new_release_serves_and_on_the_way_back_ecs_is_said_to_go_on() {
    let scene = Scene::open(Setting::default()).await;
    let smokes_in_vain = |within: &str| {
        let text = CONFIG.replace("/health\", within: 5s", &format!("/missing\", within: {within}"));
        assert_ne!(text, CONFIG);
        scene.app.write("fargate-deploy.yml", &text);
    };
    let previous = scene.service().await["taskDefinition"].clone();

    smokes_in_vain("600s");
    scene.commit("r1", Behaviour::Serves);
    let running = scene.start(&["--skip-release-commands"]);
    running.says("  smoke     ").await;
    let said = cancel(&scene, "smoke", running, "INT").await;
    let service = scene.service().await;
    let revision = service["taskDefinition"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert!(said.contains(&format!("shop/web: {revision} serves")), "{said}");
    assert_ne!(service["taskDefinition"], previous);
    assert_eq!(service["deployments"][0]["rolloutState"], "COMPLETED", "{service}");
    assert_eq!(scene.answer().await.as_deref(), Some("r1"));
    assert_eq!(scene.lease().await["isReleased"], true);

    smokes_in_vain("1s");
    scene.commit("r2", Behaviour::Serves);
    let mark = scene.mark();
    let running = scene.start(&["--skip-release-commands"]);
    running.says("  smoke     ").await;
    scene.stage.failure_injection().set(InjectedFailure::SlowStarts);
    running.says("rollback  web: deployment ecs-svc/").await;
    let said = cancel(&scene, "going back", running, "TERM").await;
    assert!(said.contains(&format!("shop/web: ECS is still going back to r2 ({revision})")), "{said}");
    let service = scene.service().await;
    assert_eq!(service["taskDefinition"].as_str().unwrap().rsplit('/').next(), Some(revision.as_str()));
    assert_eq!(service["deployments"][0]["rolloutState"], "IN_PROGRESS", "{service}");
    assert_eq!(scene.lease().await["isReleased"], true);
    assert!(!scene.mutations_since(mark).contains(&"ecs:StopServiceDeployment".to_owned()));
    scene.stage.failure_injection().set(InjectedFailure::None);
    eventually("ECS goes back as it was told", || async {
        (scene.answer().await.as_deref() == Some("r1")).then_some(())
    })
    .await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_run_at_once_without_a_statement() {
    let scene = Scene::open(Setting::default()).await;
    scene.commit("r1", Behaviour::Serves);
    slow(&scene, "ecs", "UpdateService", 600);
    let running = scene.start(&["--skip-release-commands"]);
    running.says("rollout   shop/web to").await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    // A terminal and the Action's shim both pass it on: that is one signal.
    running.signal("INT");
    running.signal("TERM");
    tokio::time::sleep(std::time::Duration::from_millis(1000)).await;
    running.signal("TERM");
    let (code, log) = running.cut_off().await;
    assert_eq!(code, Some(130), "{log}");
    assert!(log.contains("✗ cancelled: a second signal ended this run at once"), "{log}");
    assert!(!log.contains("is not known"), "{log}");
    scene.close().await;
}
