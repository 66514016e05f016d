//! The release command: one task, once, and what is said about it.

use crate::story::fake::digest_of;
use crate::story::fake::task::Run;
use crate::story::scene::{Ended, Scene, definition, migration, old_image, one_off, order};
use fargate_deploy::config::{ImageSource, Lock, ReleaseCommand};
use fargate_deploy::lease::{ReleaseResult, release_left};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy::release::Order;
use fargate_deploy::steps::release::RunKey;
use fargate_deploy::steps::resume::resume;
use fargate_deploy_core::outcome::{CommandState, Reason, Success};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn command(ended: &Ended) -> &CommandState {
    &ended.record.commands[0].state
}

/// Fails with `release-command`, and the service is as it was.
async fn fails(scene: &Scene, expected: &str) -> Ended {
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::ReleaseCommand, "{ended:?}");
    assert_eq!(ended.reason().exit_code(), 5);
    // The headline is the cause where there is one; how the task ended is evidence then.
    let failure = ended.failure();
    let told = std::iter::once(&failure.what).chain(&failure.evidence).any(|text| text.contains(expected));
    assert!(told, "{expected}: {failure:?}");
    assert_eq!(scene.journal.count("ecs:UpdateService"), 0);
    assert!(ended.state()[0].contains("untouched, r7 (web:4"), "{:?}", ended.state());
    ended
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_exits_with_1_stops_the_release_and_says_its_last_lines() {
    let run = Run::exits(1).says(2.0, "migrating 0007").says(29.9, "relation already exists");
    let scene = Scene::new().next_runs([run]);
    let ended = fails(&scene, "failed: exit code 1").await;
    assert_eq!(ended.failure().log, ["migrating 0007", "relation already exists"]);
    let failure = ended.failure();
    assert_eq!(failure.what, "release command `migrate` ended with exit code 1; it said: relation already exists");
    assert!(failure.evidence.iter().any(|e| e.contains("container `app`: exit code 1")), "{failure:?}");
    assert_eq!(*command(&ended), CommandState::Failed { exit_code: Some(1) });
    assert!(ended.state()[1].contains("exited with 1"), "{:?}", ended.state());
    assert!(ended.state()[1].contains("may be applied"), "{:?}", ended.state());
    assert_eq!(scene.lease("web")["isReleased"], true);
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_never_started_is_said_to_have_applied_nothing() {
    let scene = Scene::new().next_runs([Run::never_starts()]);
    let ended = fails(&scene, "never started: CannotPullContainerError").await;
    assert!(ended.state()[1].contains("nothing of it was applied"), "{:?}", ended.state());
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_was_killed_as_its_task_failed_to_start_may_be_applied_in_part() {
    let why = "container ordering dependency [app] for target [nginx] has timed out";
    let runs = [Run::fails_to_start(why, Some(137)), Run::fails_to_start(why, None).says(2.0, "step 7 of 9")];
    for run in runs {
        let scene = Scene::new().next_runs([run]);
        let ended = fails(&scene, "was killed before it ended, it may be applied in part").await;
        assert!(ended.failure().evidence.iter().any(|e| e.ends_with(why)), "{:?}", ended.failure());
        assert!(ended.state()[1].contains("may be applied in part"), "{:?}", ended.state());
        assert!(matches!(command(&ended), CommandState::Killed { .. }), "{:?}", command(&ended));
        assert!(!format!("{ended:?}").contains("nothing of it was applied"), "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_exits_with_0_when_it_is_stopped_is_not_said_to_have_no_exit_code() {
    let scene = Scene::new().next_runs([Run::killed()]);
    let ended = fails(&scene, "was stopped before it ended").await;
    assert!(ended.state()[1].contains("was killed before it ended and exited with 137"), "{:?}", ended.state());
    assert!(ended.failure().next.as_ref().unwrap().contains("look at what it has applied"), "{:?}", ended.failure());
}

#[tokio::test(start_paused = true)]
async fn what_aws_did_not_provide_in_time_is_tried_again_with_another_token() {
    let late = "Timeout waiting for network interface provisioning to complete.";
    let scene = Scene::new().next_runs([Run::fails_to_start(late, None), Run::exits(0)]);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let tokens = scene.cloud.aws().asked_tokens.clone();
    assert!(tokens.len() == 2 && tokens[0] != tokens[1], "{tokens:?}");

    let scene = Scene::new().next_runs((0..5).map(|_| Run::fails_to_start(late, None)));
    let ended = fails(&scene, "never started: Timeout waiting for network interface").await;
    assert_eq!(scene.journal.count("ecs:RunTask"), 3);
    assert!(ended.failure().next.as_ref().unwrap().contains("run this again"), "{:?}", ended.failure());
}

#[tokio::test(start_paused = true)]
async fn commands_that_run_the_same_words_are_two_tasks() {
    let mut scene = Scene::new();
    let again = ReleaseCommand { name: "migrate-again".to_owned(), ..migration() };
    scene.order.config.release.push(again);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let aws = scene.cloud.aws();
    assert_eq!(aws.asked_tokens.len(), 2);
    assert_ne!(aws.asked_tokens[0], aws.asked_tokens[1], "AWS would answer with the first command's task");
    assert_eq!(aws.tasks.iter().filter(|t| t.service.is_none()).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_command_has_run_no_reason_promises_that_nothing_was_touched() {
    let cases = [
        ("ecs:UpdateService", CallErrorKind::Denied, 0),
        ("ecs:UpdateService", CallErrorKind::Invalid, 0),
        ("ecs:RunTask", CallErrorKind::Denied, 1),
        ("ecs:RunTask", CallErrorKind::Invalid, 1),
    ];
    for (action, kind, skip) in cases {
        let mut scene = Scene::new();
        let mut second = scene.order.config.release[0].clone();
        second.name = "seed".to_owned();
        scene.order.config.release.push(second);
        scene.cloud.fail(action, kind, skip, usize::MAX);
        let ended = scene.deploy().await;
        assert_eq!(ended.reason(), Reason::ReleaseCommand, "{action} {kind:?}: {ended:?}");
        assert!(ended.state()[0].contains("untouched"), "{:?}", ended.state());
        assert!(ended.state().iter().any(|line| line.starts_with("release command `migrate` was applied")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_run_task_does_not_promise_that_nothing_was_touched() {
    let scene = Scene::new();
    scene.cloud.fail("ecs:RunTask", CallErrorKind::Invalid, 0, 1);
    let ended = fails(&scene, "release command `migrate` did not start: starting the task").await;
    assert!(
        ended.state().iter().any(|line| line.contains("registered, not used by any service")),
        "{:?}",
        ended.state()
    );
    let scene = Scene::new().next_runs([Run::refused("")]);
    fails(&scene, "did not start: RunTask started nothing, and AWS gives no reason").await;
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_ended_badly_beside_a_good_migration_is_told() {
    let scene = Scene::new().next_runs([Run::exits(0).with_sidecar(1)]);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(
        scene.told.warnings(),
        ["release command `migrate` exited with 0, and container `proxy` beside it with 1"]
    );
    // How ECS ends the others afterwards.
    let scene = Scene::new().next_runs([Run::exits(0).with_sidecar(137)]);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert!(scene.told.warnings().is_empty(), "{:?}", scene.told.warnings());
    let scene = Scene::new().next_runs([Run::exits(0).with_sidecar_out_of_memory()]);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(
        scene.told.warnings(),
        ["release command `migrate` exited with 0, and container `proxy` beside it with 137: OutOfMemoryError: \
          Container killed due to memory usage"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_has_the_tags_and_the_launch_volumes_of_its_service() {
    let volume = json!({"name": "data", "managedEBSVolume": {"roleArn": "r", "sizeInGiB": 20}});
    let change = {
        let volume = volume.clone();
        move |s: &mut fargate_deploy_core::service::Service| {
            s.volume_configurations = vec![volume];
            s.has_managed_tags = true;
        }
    };
    let scene = Scene::new();
    {
        let mut body = definition("web", &old_image("shop-app"));
        body["volumes"] = json!([{"name": "data", "configuredAtLaunch": true}]);
        body["tags"] =
            json!([{"key": "team", "value": "shop"}, {"key": "aws:cloudformation:stack-name", "value": "s"}]);
        let mut aws = scene.cloud.aws();
        let arn = aws.add_definition(&body, Some(7));
        aws.add_service("web", &arn);
    }
    let scene = scene.change_service("web", change);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let asked = scene.cloud.aws().asked_tasks[0].clone();
    assert_eq!((asked.volume_configurations, asked.has_managed_tags), (vec![volume], true));
    let keys: Vec<_> = asked.tags.iter().map(|(key, _)| key.as_str()).collect();
    assert!(keys.contains(&"team") && keys.contains(&"fargate-deploy:release"), "{keys:?}");
    assert!(!keys.iter().any(|key| key.starts_with("aws:")), "{keys:?}");
}

#[tokio::test(start_paused = true)]
async fn a_launch_volume_that_the_service_does_not_configure_is_refused_before_anything_is_built() {
    let scene = Scene::new();
    {
        let mut body = definition("web", &old_image("shop-app"));
        body["volumes"] = json!([{"name": "data", "configuredAtLaunch": true}]);
        let mut aws = scene.cloud.aws();
        let arn = aws.add_definition(&body, Some(7));
        aws.add_service("web", &arn);
    }
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Config);
    assert!(ended.failure().what.contains("the volume `data` is `configuredAtLaunch`"), "{:?}", ended.failure());
    assert_eq!(scene.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn fifty_tags_of_the_running_revision_leave_no_room_for_ours_and_are_deployed() {
    let scene = Scene::without_migration();
    {
        let mut body = definition("web", &old_image("shop-app"));
        body["tags"] = (0..50).map(|n| json!({"key": format!("k{n}"), "value": "v"})).collect();
        let mut aws = scene.cloud.aws();
        let arn = aws.add_definition(&body, None);
        aws.add_service("web", &arn);
    }
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let said = scene.told.json().iter().any(|event| event.to_string().contains("it has 50 tags, and AWS takes 50"));
    assert!(said, "{:?}", scene.told.json());
    let aws = scene.cloud.aws();
    let newest = aws.definition("web").unwrap();
    assert_eq!(newest.tags.len(), 50);
    assert!(newest.tags.iter().all(|(key, _)| key.starts_with('k')), "{:?}", newest.tags);
}

#[tokio::test(start_paused = true)]
async fn a_missing_exit_code_is_not_a_zero() {
    let scene = Scene::new().next_runs([Run::without_exit_code()]);
    let ended = fails(&scene, "ended without an exit code").await;
    assert!(ended.state()[1].contains("may be applied in part"), "{:?}", ended.state());
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_a_person_stopped_is_said_to_have_been_stopped() {
    let scene = Scene::new().next_runs([Run::killed()]);
    fails(&scene, "was stopped before it ended: UserInitiated: Task stopped by user").await;
}

/// It was seen, and then AWS shows it no more.
#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_be_seen_when_its_time_is_over_is_not_said_to_be_running() {
    let mut scene = Scene::new().next_runs([Run::hangs()]);
    scene.order.config.release[0].timeout = Duration::from_secs(60);
    let vanishes = async {
        while scene.journal.count("ecs:DescribeTasks") == 0 {
            sleep(Duration::from_secs(1)).await;
        }
        sleep(Duration::from_secs(5)).await;
        scene.cloud.aws().tasks.retain(|task| task.service.is_some());
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! { ended = scene.deploy() => ended, () = vanishes => unreachable!() };
    assert_eq!(ended.reason(), Reason::Unavailable, "{ended:?}");
    assert!(ended.failure().what.contains("whether it has ended is unknown"), "{ended:?}");
    assert!(ended.state().iter().any(|line| line.contains("whether it has ended is not known")), "{:?}", ended.state());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_describe_tasks_does_not_know_yet_is_waited_for() {
    let scene = Scene::new().next_runs([Run::exits(0).missing_for(25)]);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_was_terminated_does_not_make_a_good_migration_bad() {
    let scene = Scene::new().next_runs([Run::exits(0).with_sidecar(143)]);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_exited_with_0_does_not_make_a_bad_migration_good() {
    let scene = Scene::new().next_runs([Run::exits(3).with_sidecar(0)]);
    fails(&scene, "exit code 3").await;
}

#[tokio::test(start_paused = true)]
async fn missing_capacity_is_tried_again_with_another_token() {
    let full = "Capacity is unavailable at this time. Please try again later";
    let scene = Scene::new().next_runs([Run::refused(full), Run::refused(full), Run::exits(0)]);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 3);
    let aws = scene.cloud.aws();
    assert_eq!(aws.asked_tokens.len(), 3);
    let different: std::collections::BTreeSet<_> = aws.asked_tokens.iter().collect();
    assert_eq!(different.len(), 3, "the same token replays the same failure: {:?}", aws.asked_tokens);
    assert!(aws.asked_tokens.iter().all(|t| t.len() <= 64));
}

#[tokio::test(start_paused = true)]
async fn capacity_that_stays_missing_fails_at_the_timeout() {
    let runs = (0..200).map(|_| Run::refused("Capacity is unavailable at this time"));
    let scene = Scene::new().next_runs(runs);
    fails(&scene, "did not start: RunTask started nothing: Fargate has no free capacity").await;
    assert_eq!(scene.lease("web")["isReleased"], true);
}

#[tokio::test(start_paused = true)]
async fn any_other_failure_of_run_task_is_final() {
    let scene = Scene::new().next_runs([Run::refused("INACTIVE")]);
    let ended = fails(&scene, "RunTask started nothing: INACTIVE").await;
    assert_eq!(scene.journal.count("ecs:RunTask"), 1);
    assert_eq!(*command(&ended), CommandState::NeverStarted);
    assert_eq!(scene.lease("web")["isReleased"], true);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_leaves_the_task_running_and_the_lease_closed() {
    let scene = Scene::new().next_runs([Run::hangs()]);
    let ended = fails(&scene, "is still running after 900 s: it was not stopped").await;
    assert!(ended.state()[1].contains("is still running (task "), "{:?}", ended.state());
    let lease = scene.lease("web");
    assert_eq!(lease["isReleased"], false);
    assert!(lease["task"]["arn"].is_string(), "{lease}");
}

#[tokio::test(start_paused = true)]
async fn nobody_starts_a_second_migration_while_one_that_was_left_behind_runs() {
    let scene = Scene::new().next_runs([Run::exits(0).after(2000)]);
    fails(&scene, "is still running").await;
    let mut other = scene.order.clone();
    other.run.key = "1002".to_owned();
    other.token = "token-2".to_owned();
    let ended = scene.deploy_order(&other).await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.cloud.aws().most_at_once, 1);
    assert_eq!(scene.journal.count("ecs:RunTask"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_of_the_run_attaches_to_the_task_of_the_first() {
    let scene = Scene::new().next_runs([Run::exits(0).after(1000).says(950.0, "done")]);
    fails(&scene, "is still running").await;
    let mut again = scene.order.clone();
    again.run.attempt = "2".to_owned();
    again.token = "token-2".to_owned();
    let began = tokio::time::Instant::now();
    let ended = scene.deploy_order(&again).await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 1);
    assert!(began.elapsed() < Duration::from_secs(200), "it does not wait for the first attempt's lease to go stale");
    assert!(ended.state()[1].contains("was applied"), "{:?}", ended.state());
}

/// A matrix, or two services of a monorepo in one workflow: the run, the command's name and the attempt are the same.
#[tokio::test(start_paused = true)]
async fn another_job_of_the_same_run_runs_its_own_migration() {
    for (attempt, theirs) in [("1", "other:1"), ("2", "other:1"), ("1", "web:42"), ("2", "web:42")] {
        let mut scene = Scene::new();
        scene.order.run.attempt = attempt.to_owned();
        let theirs = scene.cloud.aws().start_one_off(&one_off(theirs, "theirs"));
        let ended = scene.deploy().await;
        assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
        assert_eq!(scene.journal.count("ecs:RunTask"), 1, "attempt {attempt}: ours was run");
        assert_ne!(ended.record.commands[0].task.as_ref(), Some(&theirs.tasks[0].arn));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_takes_the_success_of_a_task_that_nobody_watched() {
    let scene = Scene::new().next_runs([Run::exits(0).after(1000)]);
    fails(&scene, "is still running").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let mut again = scene.order.clone();
    again.run.attempt = "2".to_owned();
    again.token = "token-2".to_owned();
    let ended = scene.deploy_order(&again).await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 1);
}

/// The note of the intent is the last that could be written: neither the task nor its good end is in the lease.
#[tokio::test(start_paused = true)]
async fn a_second_attempt_finds_the_success_that_could_not_be_noted() {
    let scene = Scene::new();
    scene.cloud.fail("ssm:PutParameter", CallErrorKind::Unreachable, 2, usize::MAX);
    assert_eq!(scene.deploy().await.reason(), Reason::Unavailable);
    scene.cloud.recover();
    let began = Instant::now();
    assert_eq!(scene.deploy_order(&order("1001", "2", "token-2")).await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 1);
    assert!(began.elapsed() < Duration::from_secs(120), "nobody waits for a task that may still start");
}

/// ECS never took the order: the release has not begun to serve, and its migration is done.
#[tokio::test(start_paused = true)]
async fn after_an_update_that_never_arrived_a_second_attempt_does_not_migrate_again() {
    let scene = Scene::new();
    scene.cloud.fail("ecs:UpdateService", CallErrorKind::Unreachable, 0, usize::MAX);
    assert_eq!(scene.deploy().await.reason(), Reason::Unavailable);
    scene.cloud.recover();
    assert_eq!(scene.deploy_order(&order("1001", "2", "token-2")).await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 1);
}

/// What the task of a run was that is not this one cannot be told from its starter: another one may start just now.
#[tokio::test(start_paused = true)]
async fn another_run_does_not_take_the_success_for_the_end_of_a_task_that_may_still_start() {
    let scene = Scene::new();
    scene.cloud.fail("ssm:PutParameter", CallErrorKind::Unreachable, 2, usize::MAX);
    assert_eq!(scene.deploy().await.reason(), Reason::Unavailable);
    scene.cloud.recover();
    let began = Instant::now();
    assert_eq!(scene.deploy_order(&order("1002", "1", "token-2")).await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 2, "its own");
    assert!(began.elapsed() >= Duration::from_secs(299), "{:?}", began.elapsed());
}

/// Nothing is recorded, and AWS knows for an hour.
#[tokio::test(start_paused = true)]
async fn without_a_lease_a_second_attempt_finds_the_success_of_the_first() {
    let mut scene = Scene::new();
    scene.order.config.lock = Lock::None;
    scene.cloud.fail("ecs:UpdateService", CallErrorKind::Denied, 0, 1);
    assert_eq!(scene.deploy().await.reason(), Reason::ReleaseCommand);
    let again = Order { config: scene.order.config.clone(), ..order("1001", "2", "token-2") };
    assert_eq!(scene.deploy_order(&again).await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 1);
}

/// Killed while it watched; the job's post step found the task stopped, and gave the lease back.
#[tokio::test(start_paused = true)]
async fn a_success_that_the_post_step_found_is_not_run_again() {
    for (exit_code, runs) in [(0, 1), (1, 2)] {
        let scene = Scene::new().next_runs([Run::exits(exit_code).after(20), Run::exits(0)]);
        let is_time = async {
            while scene.lease("web")["task"]["arn"].is_null() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            ended = scene.deploy() => unreachable!("{ended:?}"),
            () = is_time => {}
        }
        sleep(Duration::from_secs(30)).await;
        let (parameter, token) = ("/fargate-deploy/shop/web/lease/1", scene.lease("web")["token"].clone());
        let released = release_left(parameter, token.as_str().unwrap(), scene.cloud.ports()).await;
        assert_eq!(released.unwrap(), ReleaseResult::Released);
        assert_eq!(scene.deploy_order(&order("1001", "2", "token-2")).await.success(), Success::Deployed);
        assert_eq!(scene.journal.count("ecs:RunTask"), runs, "exit code {exit_code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_runs_a_migration_again_that_failed_unwatched() {
    let scene = Scene::new().next_runs([Run::exits(1).after(1000), Run::exits(0)]);
    fails(&scene, "is still running").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let mut again = scene.order.clone();
    again.run.attempt = "2".to_owned();
    again.token = "token-2".to_owned();
    assert_eq!(scene.deploy_order(&again).await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 2);
    assert_eq!(scene.cloud.aws().most_at_once, 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_runs_its_own_task_after_the_first_one_failed() {
    let scene = Scene::new().next_runs([Run::exits(1), Run::exits(0)]);
    fails(&scene, "exit code 1").await;
    let mut again = scene.order.clone();
    again.run.attempt = "2".to_owned();
    assert_eq!(scene.deploy_order(&again).await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 2);
}

#[tokio::test(start_paused = true)]
async fn the_lost_answer_of_run_task_is_said_to_be_unknown_and_the_lease_keeps_the_intent() {
    let scene = Scene::new();
    scene.cloud.lose_answers("ecs:RunTask", 0, usize::MAX);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unavailable);
    let what = "did not start: starting the task: `ecs:RunTask` gave no answer";
    assert!(ended.failure().what.contains(what), "{ended:?}");
    assert!(ended.state()[1].contains("whether it started is not known"), "{:?}", ended.state());
    let lease = scene.lease("web");
    assert_eq!(lease["isReleased"], false);
    assert!(lease["task"]["startedBy"].as_str().unwrap().starts_with("fargate-deploy/migrate/1001/"), "{lease}");
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_finds_the_task_whose_answer_was_lost() {
    let scene = Scene::new().next_runs([Run::exits(0).after(300).missing_for(20)]);
    scene.cloud.lose_answers("ecs:RunTask", 0, usize::MAX);
    assert_eq!(scene.deploy().await.reason(), Reason::Unavailable);
    scene.cloud.recover();
    scene.journal.clear();
    let mut again = scene.order.clone();
    again.run.attempt = "2".to_owned();
    again.token = "token-2".to_owned();
    let ended = scene.deploy_order(&again).await;
    assert!(ended.result.is_ok(), "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 0);
    assert_eq!(scene.cloud.aws().tasks.iter().filter(|t| t.service.is_none()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_lost_answer_of_run_task_is_asked_for_again_and_nothing_starts_twice() {
    let scene = Scene::new();
    scene.cloud.lose_answer("ecs:RunTask", 0);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.cloud.aws().tasks.iter().filter(|t| t.service.is_none()).count(), 1);
}

fn drops_lines() -> Value {
    let mut body = definition("web", &old_image("shop-app"));
    body["containerDefinitions"][0]["logConfiguration"]["options"]["mode"] = json!("non-blocking");
    body
}

fn unsafe_to_run_once() -> Scene {
    let scene = Scene::new();
    {
        let mut aws = scene.cloud.aws();
        let arn = aws.add_definition(&drops_lines(), Some(7));
        aws.add_service("web", &arn);
    }
    scene
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_would_lose_lines_gets_a_one_off_of_its_own() {
    let scene = unsafe_to_run_once();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RegisterTaskDefinition web-migrate"), 1);
    assert_eq!(scene.journal.count("ecs:RunTask web-migrate:41"), 1);
    let aws = scene.cloud.aws();
    let options = |name: &str| {
        aws.definition(name).unwrap().container(&"app".into()).unwrap()["logConfiguration"]["options"]["mode"].clone()
    };
    assert_eq!(options("web-migrate:41"), "blocking");
    assert_eq!(options("web:43"), "non-blocking", "the service keeps what it had");
}

#[tokio::test(start_paused = true)]
async fn an_equal_one_off_of_an_earlier_run_is_taken_again() {
    let scene = unsafe_to_run_once().next_runs([Run::exits(1), Run::exits(0)]);
    fails(&scene, "exit code 1").await;
    let mut again = scene.order.clone();
    again.run.key = "1002".to_owned();
    assert_eq!(scene.deploy_order(&again).await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RegisterTaskDefinition web-migrate"), 1);
}

#[tokio::test(start_paused = true)]
async fn lines_of_the_container_are_told_once_and_in_order_even_those_that_come_after_the_end() {
    let mut run = Run::exits(0);
    for n in 0..7 {
        run = run.says(5.0 + f64::from(n) * 0.3, &format!("line {n}"));
    }
    run = run.says(29.9, "line 7").says(30.6, "line 8");
    let scene = Scene::new().next_runs([run]);
    scene.deploy().await;
    let expected: Vec<_> = (0..9).map(|n| format!("line {n}")).collect();
    assert_eq!(scene.told.output(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_failure_is_waited_for_longer() {
    let scene = Scene::new().next_runs([Run::exits(1).says(33.0, "why it failed")]);
    let ended = fails(&scene, "exit code 1").await;
    assert_eq!(ended.failure().log, ["why it failed"]);
}

#[tokio::test(start_paused = true)]
async fn reads_that_fail_while_the_migration_runs_do_not_end_it() {
    let scene = Scene::new();
    scene.cloud.fail("ecs:DescribeTasks", CallErrorKind::Throttled, 3, 5);
    scene.cloud.fail("logs:GetLogEvents", CallErrorKind::Denied, 0, usize::MAX);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_vanished_is_unknown_and_never_a_success() {
    let scene = Scene::new().next_runs([Run::exits(0).missing_for(10_000)]);
    fails(&scene, "how it ended is unknown").await;
    assert_eq!(scene.lease("web")["isReleased"], false);
}

#[tokio::test(start_paused = true)]
async fn two_commands_run_one_after_the_other() {
    let mut scene = Scene::new();
    let mut seed = migration();
    seed.name = "seed".to_owned();
    scene.order.config.release.push(seed);
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 2);
    assert_eq!(scene.cloud.aws().most_at_once, 1);
    assert_eq!(ended.record.commands.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_there_before_the_first_command_runs_and_a_second_attempt_takes_the_same_one() {
    let mut scene = Scene::new().next_runs([Run::exits(1)]);
    scene.order.config.snapshot = Some("shop-db".to_owned());
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::ReleaseCommand, "{ended:?}");
    let lines = scene.journal.lines();
    let at = |start: &str| lines.iter().position(|l| l.starts_with(start)).unwrap();
    assert!(scene.journal.count("rds:DescribeDBSnapshots") >= 3, "it is waited for");
    assert!(at("ecs:RegisterTaskDefinition") < at("rds:CreateDBSnapshot"), "AWS took the definition first");
    assert!(at("rds:CreateDBSnapshot") < at("ecs:RunTask") && at("rds:DescribeDBSnapshots") < at("ecs:RunTask"));
    assert!(
        ended.state().iter().any(|l| l.starts_with("snapshot fargate-deploy-shop-db-1001 of shop-db")),
        "{:?}",
        ended.state()
    );
    let run = RunKey { attempt: "2".to_owned(), ..scene.order.run.clone() };
    let again = Order { run, ..scene.order.clone() };
    let ended = scene.deploy_order(&again).await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.cloud.aws().snapshots.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_command_there_is_no_snapshot() {
    let mut scene = Scene::without_migration();
    scene.order.config.snapshot = Some("shop-db".to_owned());
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("rds:"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_taken_stops_the_release_before_anything_runs() {
    for (kind, reason) in [
        (CallErrorKind::Denied, Reason::Permission),
        (CallErrorKind::NotFound, Reason::Config),
        (CallErrorKind::Invalid, Reason::ReleaseCommand),
    ] {
        let mut scene = Scene::new();
        scene.order.config.snapshot = Some("shop-db".to_owned());
        scene.cloud.fail("rds:CreateDBSnapshot", kind, 0, 1);
        let ended = scene.deploy().await;
        assert_eq!(ended.reason(), reason, "{ended:?}");
        assert_eq!(scene.journal.count("ecs:RunTask"), 0);
        assert_eq!(scene.journal.count("ecs:UpdateService"), 0);
    }
}

/// The context is another one by then: what runs is what was pushed.
#[tokio::test(start_paused = true)]
async fn a_release_whose_migration_failed_is_resumed_with_its_own_images_and_no_build() {
    let mut scene = Scene::new().next_runs([Run::exits(1)]);
    assert_eq!(scene.deploy().await.reason(), Reason::ReleaseCommand);
    let left = resume(&scene.order.config, Some("abc123"), scene.cloud.ports()).await.unwrap();
    assert_eq!((left.len(), left[0].seen_in.as_str()), (1, "web:42"));
    scene.order.config.images[0].source = ImageSource::Existing(left[0].reference.to_string());
    scene.builder.content.replace("edited since".to_owned());
    scene.journal.clear();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(
        scene.effects(),
        ["ecs:RegisterTaskDefinition web", "ecs:RunTask web:43", "ecs:UpdateService web -> web:43"]
    );
    let image = scene.cloud.aws().definition("web:43").unwrap().container(&"app".into()).unwrap()["image"].clone();
    assert_eq!(image.as_str().unwrap().split_once('@').unwrap().1, digest_of("/src new").as_str());
}

#[tokio::test(start_paused = true)]
async fn there_is_nothing_to_resume_after_a_good_release_or_of_another_commit() {
    let scene = Scene::new();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let failure = resume(&scene.order.config, Some("abc123"), scene.cloud.ports()).await.unwrap_err();
    assert!(failure.what.contains("no release of service `web` stopped before it moved"), "{failure:?}");
    let scene = Scene::new().next_runs([Run::exits(1)]);
    scene.deploy().await;
    let failure = resume(&scene.order.config, Some("def456"), scene.cloud.ports()).await.unwrap_err();
    assert!(failure.what.contains("web:42 is of commit abc123, and this is def456"), "{failure:?}");
}

/// `web` serves the release, `worker` does not.
#[tokio::test(start_paused = true)]
async fn a_release_that_moved_some_of_its_services_is_resumed_too() {
    let mut scene = Scene::without_migration().with_worker();
    scene.order.config.services[1].after = vec!["web".into()];
    tokio::select! {
        ended = scene.deploy() => panic!("{ended:?}"),
        () = async {
            while scene.journal.count("ecs:UpdateService web") == 0 {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        } => {}
    }
    let left = resume(&scene.order.config, Some("abc123"), scene.cloud.ports()).await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(left[0].reference.as_str().contains("@sha256:"), "{left:?}");
}
