//! Bad releases: the previous one answers before, meanwhile and after, and the log says why.

use crate::scene::{Scene, Setting};
use aws_stage::behavior::{Behavior, RollbackPrimary};
use serde_json::json;
use test_support::Behaviour;

/// `r1` serves, `r2` crashes.
async fn crash(setting: Setting) -> Scene {
    let scene = Scene::open(setting).await;
    scene.commit("r1", Behaviour::Serves);
    let good = scene.deploy(&[]).await;
    good.succeeded("deployed");
    scene.serves("r1", good.digest()).await;

    scene.commit("r2", Behaviour::Crashes);
    let bad = scene.deploy(&[]).await;
    bad.failed(6, "rolled-back");
    assert_eq!(bad.last_line(), "KeyError: STRIPE_KEY (r2)", "{}", bad.log);
    assert!(bad.log.contains("EssentialContainerExited") && bad.log.contains("exit code 1"), "{}", bad.log);
    assert!(bad.log.contains("serves again, confirmed"), "{}", bad.log);
    assert!(bad.log.contains("release command `migrate` was applied"), "{}", bad.log);
    assert_eq!(bad.json["rolled-back"], true);
    assert_eq!(bad.outputs["rolled-back"], "true");
    assert_eq!(bad.json["previous-task-definition-arn"], good.json["task-definition-arn"]);
    assert_eq!(scene.service().await["taskDefinition"], good.json["task-definition-arn"]);
    scene.serves("r1", good.digest()).await;
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_rolled_back_by_ecs_under_the_old_deployments_id() {
    let behavior = Behavior { rollback_primary: RollbackPrimary::ReusedId, ..Behavior::impatient() };
    crash(Setting { behavior, ..Setting::default() }).await.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_rolled_back_by_ecs_under_a_fresh_deployments_id() {
    let behavior = Behavior { rollback_primary: RollbackPrimary::FreshId, ..Behavior::impatient() };
    crash(Setting { behavior, ..Setting::default() }).await.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_circuit_breaker_a_crash_loop_is_stopped_by_us() {
    let service = json!({"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": false, "rollback": false},
        "minimumHealthyPercent": 100, "maximumPercent": 200}});
    let scene = crash(Setting { service, ..Setting::default() }).await;
    let stops = scene.calls_since(0, |call| call.operation == "StopServiceDeployment" && call.status == 200);
    assert_eq!(stops.len(), 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_read_service_deployments_is_told_the_truth_as_well() {
    let scene = Scene::open(Setting::default()).await;
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Resource": "*", "Action": ["ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments",
            "ecs:DescribeServiceRevisions", "ecs:StopServiceDeployment"]},
    ]});
    let body = json!({"RoleName": "shop-deploy", "PolicyName": "deploy", "PolicyDocument": policy.to_string()});
    scene.call("iam", "PutRolePolicy", body).await;

    scene.commit("r1", Behaviour::Serves);
    let good = scene.deploy(&[]).await;
    good.succeeded("deployed");
    scene.serves("r1", good.digest()).await;
    scene.commit("r2", Behaviour::Crashes);
    let bad = scene.deploy(&[]).await;
    bad.failed(6, "rolled-back");
    assert_eq!(bad.last_line(), "KeyError: STRIPE_KEY (r2)", "{}", bad.log);
    scene.serves("r1", good.digest()).await;
    let denied = scene.calls_since(0, |call| call.error.as_deref() == Some("AccessDeniedException"));
    assert!(denied.iter().any(|call| call.contains("ServiceDeployments")), "{denied:?}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_migration_leaves_the_service_untouched() {
    let scene = Scene::open(Setting::default()).await;
    let before = scene.service().await;
    scene.commit("r1", Behaviour::Serves);
    scene.app.migrates(3);
    let mark = scene.mark();
    let bad = scene.deploy(&[]).await;
    bad.failed(5, "release-command");
    assert_eq!(bad.last_line(), "ERROR: relation does not exist", "{}", bad.log);
    assert_eq!(bad.json["migration-exit-code"], 3);
    assert!(bad.log.contains("what it did before that may be applied"), "{}", bad.log);
    assert!(!scene.mutations_since(mark).contains(&"ecs:UpdateService".to_owned()));
    let after = scene.service().await;
    assert_eq!(after["deployments"][0]["id"], before["deployments"][0]["id"]);
    assert_eq!(scene.answer().await.as_deref(), Some("r0"));
    assert_eq!(scene.lease().await["isReleased"], true);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_never_becomes_healthy_is_rolled_back() {
    let scene = Scene::open(Setting::default()).await;
    let before = scene.running_digests().await;
    scene.commit("r1", Behaviour::Serves);
    scene.app.write("app/check", "exit 1\n");
    let bad = scene.deploy(&[]).await;
    bad.failed(6, "rolled-back");
    assert!(bad.log.contains("health check"), "{}", bad.log);
    assert_eq!(scene.answer().await.as_deref(), Some("r0"));
    assert_eq!(scene.running_digests().await, before);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_its_smoke_check_is_put_back_by_us() {
    let scene = Scene::open(Setting::default()).await;
    let before = scene.service().await["taskDefinition"].clone();
    let digests = scene.running_digests().await;
    scene.commit("r1", Behaviour::Serves);
    std::fs::remove_file(scene.app.path().join("app/www/health")).unwrap();
    let mark = scene.mark();
    let bad = scene.deploy(&[]).await;
    bad.failed(6, "rolled-back");
    assert!(bad.log.contains("smoke check failed") && bad.log.contains("404"), "{}", bad.log);
    let updates = scene.mutations_since(mark);
    assert_eq!(updates.iter().filter(|call| *call == "ecs:UpdateService").count(), 2, "{updates:?}");
    assert_eq!(scene.service().await["taskDefinition"], before);
    assert_eq!(scene.answer().await.as_deref(), Some("r0"));
    assert_eq!(scene.running_digests().await, digests);
    scene.close().await;
}
