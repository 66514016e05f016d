//! AWS has a bad day, or answers late: the release ends as it should, and its migration ran once.

use crate::program::Run;
use crate::scene::{Scene, Setting};
use aws_stage::behavior::{Behavior, CurrentServiceDeployment, ReadLags};
use aws_stage::faults::{FaultAction, FaultPlan, FaultRule};
use std::time::Duration;
use test_support::Behaviour;

/// A part of AWS's calls goes wrong. The registry's bad days are Docker's to deal with, and have tests of their own.
pub fn sometimes(probability: f64, seed: u64, action: FaultAction) -> FaultPlan {
    let rule = |service: &str| FaultRule {
        service: Some(service.to_owned()),
        operation: None,
        after: 0,
        times: None,
        probability: Some(probability),
        action: action.clone(),
    };
    FaultPlan { seed, rules: ["ecs", "ecr", "logs", "ssm", "sts"].map(rule).to_vec() }
}

/// `r1` is deployed while a part of all calls goes wrong.
async fn deployed_while(probability: f64, action: FaultAction) {
    let scene = Scene::open(Setting::default()).await;
    let before = scene.migrations().await.len();
    scene.stage.set_faults(sometimes(probability, 7, action));
    scene.commit("r1", Behaviour::Serves);
    let mark = scene.mark();
    let run = scene.deploy(&[]).await;
    scene.stage.set_faults(FaultPlan::default());
    run.succeeded("deployed");
    let spoiled = scene.calls_since(mark, |call| call.status == 0 || call.error.is_some());
    assert!(!spoiled.is_empty(), "nothing went wrong");
    assert_eq!(scene.migrations().await.len(), before + 1, "{}", run.log);
    scene.serves("r1", run.digest()).await;
    assert_eq!(scene.service().await["taskDefinition"], run.json["task-definition-arn"]);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_delays_a_release_and_changes_nothing_else() {
    deployed_while(0.3, FaultAction::Throttle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_awss_own_making_are_tried_again() {
    deployed_while(0.25, FaultAction::Status(503)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_get_lost_after_the_effect_start_no_second_migration() {
    deployed_while(0.2, FaultAction::DropAfterEffect).await;
}

/// `r1` is deployed, `r2` crashes: neither is mistaken for the other.
async fn told_apart(behavior: Behavior) {
    let scene = Scene::open(Setting { behavior, ..Setting::default() }).await;
    scene.commit("r1", Behaviour::Serves);
    let good: Run = scene.deploy(&[]).await;
    good.succeeded("deployed");
    scene.serves("r1", good.digest()).await;
    scene.commit("r2", Behaviour::Crashes);
    let bad = scene.deploy(&[]).await;
    bad.failed(6, "rolled-back");
    scene.serves("r1", good.digest()).await;
    assert_eq!(scene.migrations().await.len(), 3);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_lag_behind_update_service_are_no_false_green() {
    let read_lags = ReadLags { services: Duration::from_secs(5), ..ReadLags::default() };
    told_apart(Behavior { read_lags, ..Behavior::impatient() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_current_service_deployment_in_the_answer_is_not_ours() {
    let stale = CurrentServiceDeployment::Stale;
    told_apart(Behavior { current_service_deployment_in_update: stale, ..Behavior::impatient() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_missing_right_after_run_task_is_waited_for() {
    told_apart(Behavior { missing_right_after_run_task: true, ..Behavior::impatient() }).await;
}
