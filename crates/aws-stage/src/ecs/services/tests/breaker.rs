//! Deployments that fail: the circuit breaker, rollbacks, and requests to stop.

use super::*;
use crate::ecs::services::history::DeploymentStatus;

#[test]
fn the_breaker_rolls_back_to_the_completed_deployment_under_its_own_id() {
    for bad in ["crash:2", "unstartable:2"] {
        let mut r = Rehearsal::steady(2, breaker(true));
        let good = r.primary().id.clone();
        r.deploy(bad);
        let failed = r.primary().id.clone();
        r.until_with(
            "the breaker trips",
            |r| r.says("rolling back"),
            |r| {
                assert!(r.running("good:1") >= 2, "the old tasks serve on");
            },
        );
        let described = r.service.describe(false);
        let (primary, old) = (&described["deployments"][0], &described["deployments"][1]);
        assert_eq!(primary["id"], json!(good));
        assert_eq!(primary["rolloutState"], "IN_PROGRESS");
        let reason = format!("ECS deployment circuit breaker: rolling back to deploymentId {good}.");
        assert_eq!(primary["rolloutStateReason"], json!(reason));
        assert_eq!(old["id"], json!(failed));
        assert_eq!(old["rolloutState"], "FAILED");
        assert_eq!(old["rolloutStateReason"], "ECS deployment circuit breaker: tasks failed to start.");
        assert!(described["taskDefinition"].as_str().is_some_and(|arn| arn.ends_with("/good:1")));
        assert_eq!(r.record_status(), "ROLLBACK_IN_PROGRESS");
        r.until("the rollback completes", |r| r.is_settled("good:1"));
        assert_eq!(r.record_status(), "ROLLBACK_SUCCESSFUL");
        assert_eq!(r.service.history.len(), 2, "a rollback is no service deployment of its own");
        assert!(r.says(&format!("(service web) (deployment {failed}) deployment failed: tasks failed to start.")));
        assert!(r.says(&format!("(service web) rolling back to deployment {good}.")));
        assert!(r.says(&format!("(service web) (deployment {good}) deployment completed.")));
        let record = r.service.history.last().expect("a record");
        assert_eq!((record.breaker.status, record.breaker.failure_count >= 3), ("TRIGGERED", true));
        assert_eq!(record.breaker.threshold, 3);
    }
}

#[test]
fn the_breaker_can_also_roll_back_to_a_deployment_with_a_fresh_id() {
    let mut r = Rehearsal::steady(2, breaker(true));
    r.behavior.rollback_primary = RollbackPrimary::FreshId;
    let good = r.primary().id.clone();
    r.deploy("crash:2");
    let failed = r.primary().id.clone();
    r.until_with("the rollback completes", |r| r.is_settled("good:1"), |r| assert!(r.running("good:1") >= 2));
    assert_ne!(r.primary().id, good);
    assert_ne!(r.primary().id, failed);
    assert_eq!(r.record_status(), "ROLLBACK_SUCCESSFUL");
}

#[test]
fn a_rollback_works_where_the_old_tasks_were_stopped_first() {
    let mut configuration = breaker(true);
    configuration["minimumHealthyPercent"] = json!(0);
    configuration["maximumPercent"] = json!(100);
    let mut r = Rehearsal::steady(1, configuration);
    let good = r.primary().id.clone();
    r.deploy("crash:2");
    r.until("the old task is gone", |r| r.running("good:1") == 0);
    r.until("the rollback completes", |r| r.is_settled("good:1"));
    assert_eq!((r.primary().id.clone(), r.running("good:1")), (good, 1));
}

#[test]
fn a_first_deployment_that_fails_stalls_without_a_rollback() {
    let mut r = Rehearsal::new(1, "crash:1", breaker(true));
    r.until("the deployment fails", |r| r.primary().rollout == Rollout::Failed);
    assert_eq!(r.started, 3);
    r.ticks(200);
    assert_eq!(r.started, 3, "no further task is started");
    assert!(!r.says("rolling back"));
    assert_eq!(r.service.deployments.len(), 1);
    assert_eq!(r.record_status(), "STOPPED");
}

#[test]
fn without_rollback_the_old_tasks_serve_on_beside_the_failed_deployment() {
    let mut r = Rehearsal::steady(2, breaker(false));
    r.deploy("crash:2");
    r.until("the deployment fails", |r| r.primary().rollout == Rollout::Failed);
    r.ticks(200);
    assert_eq!((r.running("good:1"), r.service.deployments.len()), (2, 2));
    assert_eq!(r.record_status(), "STOPPED");
    r.kill_one();
    r.until("the old revision is whole again", |r| r.running("good:1") == 2);
    r.deploy("good:3");
    r.until("a good revision is rolled out over it", |r| r.is_settled("good:3"));
}

#[test]
fn without_a_breaker_tasks_are_started_for_ever() {
    let mut r = Rehearsal::steady(1, json!({}));
    r.deploy("crash:2");
    r.until("ten tasks have failed", |r| r.primary().failed_tasks >= 10);
    assert_eq!(r.primary().rollout, Rollout::InProgress);
    assert!(r.says("is unable to consistently start tasks successfully"));
    assert_eq!(r.running("good:1"), 1);
    assert_eq!(r.service.history.last().map(|record| record.breaker.status), Some("DISABLED"));
}

#[test]
fn pauses_between_failing_tasks_grow() {
    let mut r = Rehearsal::new(1, "unstartable:1", json!({}));
    let mut starts = Vec::new();
    for count in 1..=4 {
        r.until("a further task is started", |r| r.started == count);
        starts.push(r.epoch);
    }
    let pauses: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] < pauses[1] && pauses[1] < pauses[2], "{pauses:?}");
}

#[test]
fn the_threshold_grows_with_the_desired_count() {
    let mut r = Rehearsal::new(10, "crash:1", breaker(true));
    r.until("the deployment fails", |r| r.primary().rollout == Rollout::Failed);
    assert_eq!(r.service.history.last().map(|record| record.breaker.threshold), Some(5));
}

#[test]
fn a_healthy_task_resets_the_count_unless_it_is_cumulative() {
    for (resets, expected) in [(true, 0), (false, 2)] {
        let mut configuration = breaker(true);
        configuration["deploymentCircuitBreaker"]["resetOnHealthyTask"] = json!(resets);
        let mut r = Rehearsal::new(1, "slow:1", configuration);
        for killed in 0..2 {
            r.until("a task is pending", |r| r.tasks.iter().any(|task| task.status == Status::Pending));
            let pending = r.tasks.iter_mut().find(|task| task.status == Status::Pending).expect("pending");
            end(pending, "TaskFailedToStart", "CannotPullContainerError: no");
            r.until("the failure is counted", |r| r.primary().failed_tasks == killed + 1);
        }
        r.until("a third task is pending", |r| r.tasks.iter().any(|task| task.status == Status::Pending));
        let now = r.now;
        let pending = r.tasks.iter_mut().find(|task| task.status == Status::Pending).expect("pending");
        (pending.status, pending.running_since) = (Status::Running, Some(now));
        r.until("the deployment completes", |r| r.is_settled("slow:1"));
        assert_eq!(r.primary().failed_tasks, expected);
    }
}

#[test]
fn a_deployment_begun_during_a_rollback_has_nothing_to_go_back_to() {
    let mut r = Rehearsal::steady(2, breaker(true));
    r.deploy("crash:2");
    r.until("the rollback begins", |r| r.says("rolling back"));
    r.deploy("crash:3");
    r.until("the third deployment fails", |r| r.primary().rollout == Rollout::Failed);
    r.ticks(100);
    assert!(r.primary_runs("crash:3"));
    assert_eq!(r.messages().iter().filter(|message| message.contains("rolling back")).count(), 1);
}

#[test]
fn a_rollback_that_fails_itself_ends_the_service_deployment() {
    let mut r = Rehearsal::steady(
        1,
        json!({
            "minimumHealthyPercent": 0, "maximumPercent": 100,
            "deploymentCircuitBreaker": { "enable": true, "rollback": true },
        }),
    );
    r.deploy("crash:2");
    r.until("the rollback begins", |r| r.says("rolling back"));
    for failures in 1..=3 {
        r.until("a task of the old revision is pending", |r| r.tasks.iter().any(|task| task.status == Status::Pending));
        let pending = r.tasks.iter_mut().find(|task| task.status == Status::Pending).expect("pending");
        end(pending, "TaskFailedToStart", "CannotPullContainerError: the digest is gone");
        r.until("the failure is counted", |r| r.primary().failed_tasks == failures);
    }
    r.until("the rollback fails", |r| r.record_status() == "ROLLBACK_FAILED");
    assert_eq!(r.primary().rollout, Rollout::Failed);
}

#[test]
fn a_stopped_deployment_goes_back_even_where_no_breaker_is_configured() {
    let mut r = Rehearsal::steady(2, json!({}));
    let good = r.primary().id.clone();
    r.deploy("slow:2");
    r.until("new tasks are pending", |r| r.tasks.len() == 4);
    let epoch = r.epoch;
    let record = r.service.history.last_mut().expect("a record");
    record.enter(DeploymentStatus::RollbackRequested, None, epoch);
    r.until_with("the old revision is back", |r| r.is_settled("good:1"), |r| assert_eq!(r.running("good:1"), 2));
    assert_eq!((r.primary().id.clone(), r.started), (good, 4));
    assert_eq!(r.record_status(), "ROLLBACK_SUCCESSFUL");
}
