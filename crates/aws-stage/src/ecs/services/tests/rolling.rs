//! Rolling deployments that go well, and how many tasks they take.

use super::*;

#[test]
fn a_first_deployment_is_in_progress_until_its_tasks_are_healthy() {
    let mut r = Rehearsal::new(2, "good:1", json!({}));
    assert_eq!(r.service.describe(false)["deployments"][0]["rolloutState"], "IN_PROGRESS");
    r.until("both tasks run", |r| r.running("good:1") == 2);
    assert_eq!(r.primary().rollout, Rollout::InProgress);
    r.until("the deployment completes", |r| r.is_settled("good:1"));
    let id = r.primary().id.clone();
    assert_eq!(r.primary().reason, format!("ECS deployment {id} completed."));
    assert_eq!(r.record_status(), "SUCCESSFUL");
    assert!(r.says("(service web) has started 2 tasks: (task "));
    assert!(r.says(&format!("(deployment {id}) deployment completed.")));
    assert_eq!(r.messages().last(), Some(&"(service web) has reached a steady state."));
}

#[test]
fn a_rollout_never_has_fewer_healthy_or_more_tasks_than_configured() {
    for (minimum, maximum, least, most) in [(100, 200, 4, 8), (50, 100, 2, 4), (100, 150, 4, 6), (0, 100, 0, 4)] {
        let mut r = Rehearsal::steady(4, json!({ "minimumHealthyPercent": minimum, "maximumPercent": maximum }));
        r.deploy("good:2");
        r.until_with(
            "the new revision is rolled out",
            |r| r.is_settled("good:2"),
            |r| {
                let running = r.running("good:1") + r.running("good:2");
                let taken = r.tasks.iter().filter(|task| task.status <= Status::Running).count();
                assert!(running >= least, "{minimum}/{maximum}: {running} run");
                assert!(taken <= most, "{minimum}/{maximum}: {taken} pending or running");
            },
        );
        assert_eq!((r.running("good:1"), r.running("good:2")), (0, 4));
    }
}

#[test]
fn old_tasks_stay_until_new_ones_have_settled() {
    let mut r = Rehearsal::steady(1, json!({}));
    r.deploy("good:2");
    r.until("the new task runs", |r| r.running("good:2") == 1);
    r.tick();
    assert_eq!(r.running("good:1"), 1);
    let described = r.service.describe(false);
    assert_eq!(described["deployments"][0]["status"], "PRIMARY");
    assert_eq!(described["deployments"][1]["status"], "ACTIVE");
    assert_eq!(described["runningCount"], 2);
}

#[test]
fn replaced_tasks_are_stopped_by_the_scheduler_on_behalf_of_the_new_deployment() {
    let mut r = Rehearsal::steady(1, json!({}));
    r.deploy("good:2");
    r.until("the new revision is rolled out", |r| r.is_settled("good:2"));
    let old = &r.tasks[0];
    let reason = format!("Scaling activity initiated by (deployment {})", r.primary().id);
    assert_eq!(old.stopped_reason.as_deref(), Some(reason.as_str()));
    assert_eq!(r.tasks[1].spec.started_by.as_deref(), Some(r.primary().id.as_str()));
}

#[test]
fn a_deployment_of_no_tasks_completes_at_once() {
    let mut r = Rehearsal::new(0, "crash:1", breaker(true));
    r.tick();
    assert!(r.is_settled("crash:1"));
    assert_eq!(r.started, 0);
}

#[test]
fn percentages_that_leave_no_room_are_told_and_nothing_moves() {
    let mut r = Rehearsal::steady(1, json!({ "minimumHealthyPercent": 50, "maximumPercent": 150 }));
    r.deploy("good:2");
    r.ticks(200);
    assert_eq!((r.running("good:1"), r.running("good:2")), (1, 0));
    let told = "was unable to stop or start tasks during a deployment because of the service deployment configuration";
    assert_eq!(r.messages().iter().filter(|message| message.contains(told)).count(), 1);
}

#[test]
fn a_change_of_the_desired_count_starts_no_deployment() {
    let mut r = Rehearsal::steady(2, json!({}));
    let id = r.primary().id.clone();
    for desired in [5, 1, 0] {
        r.update(&json!({ "desiredCount": desired }), None).expect("accepted");
        r.until("the count is reached", |r| r.running("good:1") == desired && r.service.is_steady);
    }
    assert_eq!((r.primary().id.as_str(), r.service.history.len()), (id.as_str(), 1));
}

#[test]
fn the_same_revision_is_deployed_again_only_by_force() {
    let mut r = Rehearsal::steady(1, json!({}));
    let id = r.primary().id.clone();
    r.deploy("good:1");
    assert_eq!(r.primary().id, id);
    r.update(&json!({ "forceNewDeployment": true }), None).expect("accepted");
    assert_ne!(r.primary().id, id);
    r.until("the forced deployment completes", |r| r.is_settled("good:1"));
    assert_eq!(r.started, 2);
}

#[test]
fn a_second_update_supersedes_the_first() {
    for (behavior, status) in [
        (SupersededServiceDeployment::Stopped, "STOPPED"),
        (SupersededServiceDeployment::InProgressForever, "IN_PROGRESS"),
    ] {
        let mut r = Rehearsal::steady(2, json!({}));
        r.behavior.superseded_service_deployment = behavior;
        r.deploy("slow:2");
        r.until("the first new tasks are pending", |r| r.tasks.len() == 4);
        r.deploy("good:3");
        r.until("the second update is rolled out", |r| r.is_settled("good:3"));
        let statuses: Vec<_> = r.service.history.iter().map(|record| record.status.word()).collect();
        assert_eq!(statuses, ["SUCCESSFUL", status, "SUCCESSFUL"]);
        assert!(r.tasks.iter().all(|task| task.status == Status::Stopped || task.spec.definition.family == "good"));
    }
}

#[test]
fn a_task_that_exits_later_is_replaced_and_fails_nothing() {
    let mut r = Rehearsal::steady(2, breaker(true));
    for round in 1..=4 {
        r.kill_one();
        r.until("the task is replaced", |r| r.started == 2 + round && r.running("good:1") == 2);
        r.until("the service is steady again", |r| r.service.is_steady);
    }
    assert_eq!(r.primary().rollout, Rollout::Completed);
    assert_eq!(r.primary().failed_tasks, 0);
}

#[test]
fn an_old_task_that_exits_during_a_deployment_is_replaced_by_its_own_revision() {
    let mut r = Rehearsal::steady(2, json!({}));
    r.deploy("slow:2");
    r.until("the new tasks are pending", |r| r.tasks.len() == 4);
    r.kill_one();
    r.until("the old revision has both tasks again", |r| r.running("good:1") == 2);
    assert_eq!(r.started, 5);
}

#[test]
fn every_task_of_a_deployment_runs_the_digest_that_the_first_one_found() {
    let mut r = Rehearsal::steady(1, json!({}));
    r.digest = Some("sha256:bb".to_owned());
    r.update(&json!({ "desiredCount": 2 }), None).expect("accepted");
    r.until("the second task is started", |r| r.started == 2);
    assert_eq!(r.tasks[1].spec.resolved_images, [("app".to_owned(), "sha256:aa".to_owned())]);
    r.update(&json!({ "forceNewDeployment": true }), None).expect("accepted");
    r.until("a task of the new deployment is started", |r| r.started > 2);
    assert_eq!(r.tasks[2].spec.resolved_images, [("app".to_owned(), "sha256:bb".to_owned())]);
    let revision = r.service.current_revision().expect("a revision");
    let described = r.service.describe_revision(revision);
    assert_eq!(described["containerImages"][0]["imageDigest"], "sha256:bb");
}

#[test]
fn a_deleted_service_drains_and_is_inactive_once_its_tasks_are_gone() {
    let mut r = Rehearsal::steady(2, json!({}));
    let refusal = r.service.delete(false, 0.0).expect_err("tasks are wanted");
    assert_eq!(refusal.message, "The service cannot be stopped while it is scaled above 0.");
    r.service.delete(true, 0.0).expect("forced");
    assert_eq!(r.service.describe(false)["status"], "DRAINING");
    r.until("the service is gone", |r| r.service.describe(false)["status"] == "INACTIVE");
    assert!(r.tasks.iter().all(|task| task.status == Status::Stopped));
}
