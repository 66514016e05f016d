//! Health checks and load balancers.

use super::*;

fn balanced(desired: usize, name: &str, configuration: Value) -> Rehearsal {
    let mut body = creation(desired, configuration);
    body["loadBalancers"] = json!([{ "targetGroupArn": GROUP, "containerName": "app", "containerPort": 80 }]);
    Rehearsal::of(&body, name, Behavior::impatient())
}

#[test]
fn tasks_are_registered_and_drain_before_they_are_stopped() {
    let mut r = balanced(1, "good:1", json!({}));
    r.until("the deployment completes", |r| r.is_settled("good:1"));
    assert_eq!(r.registered.len(), 1);
    assert!(r.says(&format!("registered 1 targets in (target-group {GROUP})")));
    r.deploy("good:2");
    r.until("the old target drains", |r| !r.targets.is_empty());
    assert_eq!(r.running("good:1"), 1, "it is stopped after its connections");
    assert_eq!(r.service.describe(false)["runningCount"], 1, "a draining task is not counted any more");
    assert_eq!(r.primary().rollout, Rollout::InProgress);
    r.until("the new revision is rolled out", |r| r.is_settled("good:2"));
    assert_eq!(r.registered.len(), 1);
    assert!(r.says("has begun draining connections on 1 tasks."));
}

#[test]
fn unhealthy_targets_are_replaced_and_trip_the_breaker() {
    let mut r = balanced(1, "good:1", breaker(true));
    r.until("the first deployment completes", |r| r.is_settled("good:1"));
    r.deploy("sick:2");
    r.until_with("the rollback completes", |r| r.says("rolling back"), |r| assert_eq!(r.running("good:1"), 1));
    let why = "is unhealthy in (target-group arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/web/1) \
               due to (reason Health checks failed with these codes: [500]).";
    assert!(r.says(why), "{:#?}", r.messages());
    let reason = format!("Task failed ELB health checks in (target-group {GROUP})");
    assert!(r.tasks.iter().any(|task| task.stopped_reason.as_deref() == Some(reason.as_str())));
    r.until("the rollback completes", |r| r.is_settled("good:1"));
}

#[test]
fn a_failing_container_check_is_told_and_trips_the_breaker() {
    let mut r = Rehearsal::new(1, "sick:91", breaker(true));
    r.until("the deployment fails", |r| r.primary().rollout == Rollout::Failed);
    assert!(r.says("failed container health checks."));
    assert_eq!(r.tasks[0].stopped_reason.as_deref(), Some("Task failed container health checks"));
}

#[test]
fn a_deployment_with_a_container_check_waits_for_healthy() {
    let mut r = Rehearsal::new(1, "good:91", breaker(true));
    r.until("the task runs", |r| r.running("good:91") == 1);
    assert_eq!(r.primary().rollout, Rollout::InProgress);
    r.until("the deployment completes", |r| r.is_settled("good:91"));
}

#[test]
fn failed_checks_are_ignored_during_the_grace_period() {
    let mut body = creation(1, breaker(true));
    body["healthCheckGracePeriodSeconds"] = json!(60);
    let mut r = Rehearsal::of(&body, "sick:91", Behavior::impatient());
    r.until("the task is unhealthy", |r| r.tasks.iter().any(|task| task.health == Health::Unhealthy));
    let began = r.now;
    r.until("the check is told to have failed", |r| r.says("failed container health checks."));
    assert!(r.now >= began + r.behavior.patience(59.0), "6 s of the stage");
}

#[test]
fn once_a_task_was_healthy_only_failed_checks_count() {
    let mut r = Rehearsal::new(2, "slow:1", breaker(true));
    r.until("both tasks are pending", |r| r.tasks.iter().filter(|t| t.status == Status::Pending).count() == 2);
    let now = r.now;
    (r.tasks[0].status, r.tasks[0].running_since) = (Status::Running, Some(now));
    r.until("the first task is healthy", |r| r.primary().pace.had_healthy_task);
    for _ in 0..4 {
        r.until("the other task is pending", |r| r.tasks.iter().any(|task| task.status == Status::Pending));
        let pending = r.tasks.iter_mut().find(|task| task.status == Status::Pending).expect("pending");
        end(pending, "EssentialContainerExited", "Essential container in task exited");
        r.tick();
    }
    assert_eq!((r.primary().rollout, r.primary().failed_tasks), (Rollout::InProgress, 0));
}

#[test]
fn a_task_that_crashes_at_once_behind_a_load_balancer_fails_its_deployment() {
    let mut r = balanced(1, "crash:1", breaker(true));
    r.until("the deployment fails", |r| r.primary().rollout == Rollout::Failed);
    assert_eq!((r.started, r.registered.len()), (3, 0));
}

#[test]
fn a_sabotaged_task_is_not_healthy_whatever_its_target_answers() {
    let mut r = balanced(1, "good:1", breaker(true));
    r.until("the first deployment completes", |r| r.is_settled("good:1"));
    r.behavior.failure_injection.set(InjectedFailure::UnhealthyNewTasks);
    r.deploy("good:2");
    r.until("the rollback begins", |r| r.says("rolling back"));
    r.behavior.failure_injection.set(InjectedFailure::None);
    r.until("the rollback completes", |r| r.is_settled("good:1"));
}
