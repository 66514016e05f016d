//! How rollouts end, what is put back, and what is said about it.

use crate::story::fake::rollout::Ending;
use crate::story::fake::{definition_arn, digest_of, is_settled};
use crate::story::scene::{Scene, definition, old_image};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy_core::names::DeploymentId;
use fargate_deploy_core::outcome::{Reason, Success};
use fargate_deploy_core::service::{Breaker, Role, Service, State};
use std::time::Duration;

const NO_BREAKER: Breaker = Breaker { is_enabled: false, rolls_back: false };
const NO_ROLLBACK: Breaker = Breaker { is_enabled: true, rolls_back: false };

fn rolls_out(ending: Ending) -> Scene {
    Scene::without_migration().next_rollouts("web", [ending])
}

fn runs_before(scene: &Scene) -> bool {
    let aws = scene.cloud.aws();
    let web = &aws.services["web"];
    web.task_definition.as_str() == definition_arn("web:41") && is_settled(web)
}

#[tokio::test(start_paused = true)]
async fn a_rollback_by_ecs_is_a_failure_with_the_evidence_of_its_tasks() {
    for reuses_id in [false, true] {
        let scene = rolls_out(Ending::RolledBack { reuses_id });
        let ended = scene.deploy().await;
        assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
        let failure = ended.failure();
        assert_eq!(failure.what, "shop/web: container `app` ended with exit code 1; it said: crash 3: no such table");
        assert!(failure.evidence[0].contains("web:42 was rolled back to web:41"), "{:?}", failure.evidence);
        assert_eq!(
            failure.evidence[1..],
            ["3 tasks stopped: EssentialContainerExited: Essential container in task exited; \
              container `app`: exit code 1"]
        );
        assert_eq!(failure.log.len(), 1, "{:?}", failure.log);
        assert!(failure.log[0].contains("no such table"));
        assert_eq!(ended.state()[0], "shop/web: r7 (web:41) serves again, confirmed");
        assert_eq!(scene.journal.count("ecs:UpdateService"), 1, "ECS did it by itself");
        assert!(runs_before(&scene));
    }
}

#[tokio::test(start_paused = true)]
async fn the_rollback_is_confirmed_before_the_run_ends() {
    let scene = rolls_out(Ending::RolledBack { reuses_id: false });
    let began = tokio::time::Instant::now();
    scene.deploy().await;
    assert!(began.elapsed() >= Duration::from_secs(45), "the previous revision serves from second 45 on");
    assert!(runs_before(&scene));
}

#[tokio::test(start_paused = true)]
async fn after_a_migration_the_state_says_that_it_stays_applied() {
    let scene = Scene::new().next_rollouts("web", [Ending::RolledBack { reuses_id: false }]);
    let ended = scene.deploy().await;
    assert!(ended.state()[1].contains("release command `migrate` was applied"), "{:?}", ended.state());
}

#[tokio::test(start_paused = true)]
async fn a_breaker_without_rollback_makes_us_put_the_previous_revision_back() {
    let scene = rolls_out(Ending::Failed).change_service("web", |s| s.breaker = NO_ROLLBACK);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!(ended.state()[0], "shop/web: r7 (web:41) serves again, confirmed");
    assert_eq!(scene.effects().last().unwrap(), "ecs:UpdateService web -> web:41");
    assert!(runs_before(&scene));
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_without_a_breaker_is_stopped_through_its_own_deployment() {
    let scene = rolls_out(Ending::CrashLoops).change_service("web", |s| s.breaker = NO_BREAKER);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    let failure = ended.failure();
    assert!(failure.what.contains("it said: crash"), "the headline is the cause: {}", failure.what);
    assert!(
        failure.evidence[0].contains("tasks in a row failed to start, and no circuit breaker is on"),
        "{:?}",
        failure.evidence
    );
    assert_eq!(scene.effects().last().unwrap(), "ecs:StopServiceDeployment");
    assert_eq!(ended.state()[0], "shop/web: r7 (web:41) serves again, confirmed");
    assert!(runs_before(&scene));
}

#[tokio::test(start_paused = true)]
async fn where_stopping_the_deployment_is_refused_the_revision_is_put_back_by_an_update() {
    let scene = rolls_out(Ending::CrashLoops).change_service("web", |s| s.breaker = NO_BREAKER);
    scene.cloud.deny("ecs:StopServiceDeployment");
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!(
        scene.effects()[scene.effects().len() - 2..],
        ["ecs:StopServiceDeployment", "ecs:UpdateService web -> web:41"]
    );
    assert!(runs_before(&scene));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_is_unsteady_and_asks_for_a_person() {
    let ended = rolls_out(Ending::RollbackFails).deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert_eq!(ended.reason().exit_code(), 7);
    assert!(ended.failure().next.as_ref().unwrap().contains("a person is needed"));
    assert!(ended.state()[0].contains("could not be confirmed"), "{:?}", ended.state());
}

#[tokio::test(start_paused = true)]
async fn our_own_way_back_that_crashes_too_is_unsteady() {
    let scene = Scene::without_migration()
        .next_rollouts("web", [Ending::Failed, Ending::Failed])
        .change_service("web", |s| s.breaker = NO_ROLLBACK);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert!(ended.failure().evidence.iter().any(|e| e.contains("going back to web:41 failed")), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_way_back_that_ecs_rolls_back_to_the_bad_release_is_not_called_back() {
    let scene = Scene::without_migration()
        .with_smoke()
        .next_rollouts("web", [Ending::Succeeds, Ending::RolledBack { reuses_id: false }]);
    never_answers(&scene);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert!(ended.state()[0].contains("could not be confirmed"), "{:?}", ended.state());
}

#[tokio::test(start_paused = true)]
async fn an_update_that_is_denied_on_the_way_back_is_unsteady() {
    let scene = rolls_out(Ending::Failed).change_service("web", |s| s.breaker = NO_ROLLBACK);
    scene.cloud.fail("ecs:UpdateService", CallErrorKind::Denied, 1, usize::MAX);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert!(ended.failure().evidence.iter().any(|e| e.contains("UpdateService to web:41 failed")), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_newer_deployment_supersedes_ours_and_nothing_is_put_back() {
    let scene = rolls_out(Ending::SupersededBy("web:77"));
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Superseded, "{ended:?}");
    assert_eq!(ended.reason().exit_code(), 8);
    assert_eq!(scene.journal.count("ecs:UpdateService"), 1);
    assert_eq!(scene.journal.count("ecs:StopServiceDeployment"), 0);
    assert_eq!(ended.state()[0], "shop/web: a newer deployment owns it");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_says_that_ecs_goes_on_and_puts_nothing_back() {
    let scene = rolls_out(Ending::Hangs);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Timeout, "{ended:?}");
    assert_eq!(scene.effects().last().unwrap(), "ecs:UpdateService web -> web:42");
    assert!(ended.state()[0].contains("still rolling out web:42"), "{:?}", ended.state());
    assert!(ended.failure().next.as_ref().unwrap().contains("fargate-deploy status -s web"));
}

fn never_answers(scene: &Scene) {
    *scene.web.answers.borrow_mut() = (0..100).map(|_| Ok((502, "bad gateway".to_owned()))).collect();
}

#[tokio::test(start_paused = true)]
async fn a_smoke_check_that_fails_puts_the_previous_revision_back() {
    let scene = Scene::without_migration().with_smoke();
    never_answers(&scene);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert!(ended.failure().what.contains("answered 502, expected 200"), "{}", ended.failure().what);
    assert_eq!(scene.effects().last().unwrap(), "ecs:UpdateService web -> web:41");
    assert_eq!(ended.state()[0], "shop/web: r7 (web:41) serves again, confirmed");
    assert!(runs_before(&scene));
}

#[tokio::test(start_paused = true)]
async fn going_back_is_not_confirmed_by_an_older_deployment_of_the_same_revision() {
    // web:41 was deployed a minute ago, successfully, and its service deployment is listed before the new one is.
    let scene = Scene::without_migration().with_smoke().next_rollouts("web", [Ending::Succeeds, Ending::Hangs]);
    scene.cloud.aws().listing_lag = Duration::from_secs(60);
    never_answers(&scene);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_smoke_check_that_passes_late_but_in_time_is_a_success() {
    let scene = Scene::without_migration().with_smoke();
    *scene.web.answers.borrow_mut() = [Err("connection refused".to_owned()), Ok((503, String::new()))].into();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("GET"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_serves_goes_back_when_another_one_of_the_release_fails() {
    let scene =
        Scene::without_migration().with_worker().next_rollouts("worker", [Ending::RolledBack { reuses_id: false }]);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!(
        ended.state()[..2],
        ["shop/web: r7 (web:41) serves again, confirmed", "shop/worker: r7 (worker:41) serves again, confirmed"]
    );
    assert!(runs_before(&scene));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_still_moving_is_stopped_when_another_one_fails() {
    let scene = Scene::without_migration()
        .with_worker()
        .next_rollouts("web", [Ending::Hangs])
        .next_rollouts("worker", [Ending::RolledBack { reuses_id: false }]);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:StopServiceDeployment"), 1);
    assert!(runs_before(&scene));
}

#[tokio::test(start_paused = true)]
async fn a_superseded_service_does_not_keep_a_failed_one_from_going_back() {
    let scene = Scene::without_migration()
        .with_worker()
        .next_rollouts("web", [Ending::SupersededBy("web:77")])
        .next_rollouts("worker", [Ending::Failed])
        .change_service("worker", |s| s.breaker = NO_ROLLBACK);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!(
        ended.state()[..2],
        ["shop/web: a newer deployment owns it", "shop/worker: r7 (worker:41) serves again, confirmed"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_update_of_the_second_service_puts_the_first_one_back() {
    let scene = Scene::without_migration().with_worker();
    scene.cloud.fail("ecs:UpdateService", CallErrorKind::Denied, 1, 1);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert!(ended.failure().what.contains("updating shop/worker"), "{}", ended.failure().what);
    assert_eq!(
        ended.state()[..2],
        ["shop/web: r7 (web:41) serves again, confirmed", "shop/worker: untouched, r7 (worker:41) serves"]
    );
    assert!(runs_before(&scene));
}

#[tokio::test(start_paused = true)]
async fn an_update_whose_answer_is_lost_is_followed_when_ecs_took_it() {
    let scene = Scene::without_migration();
    scene.cloud.lose_answer("ecs:UpdateService", 0);
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:UpdateService"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forced_update_whose_answer_is_lost_is_not_sent_twice_because_of_a_read_that_lags() {
    let forced = async || {
        let mut scene = Scene::without_migration();
        scene.deploy().await;
        scene.journal.clear();
        scene.order.config.force = true;
        scene
    };
    for lag in [0, 3, 8] {
        let scene = forced().await;
        scene.cloud.service_lag.set(Duration::from_secs(lag));
        scene.cloud.lose_answer("ecs:UpdateService", 0);
        // That it could not be looked at first says nothing either.
        scene.cloud.fail("ecs:DescribeServices", CallErrorKind::Unreachable, 3, 1);
        let ended = scene.deploy().await;
        assert_eq!(ended.success(), Success::Deployed, "{lag} s: {ended:?}");
        assert_eq!(scene.effects(), ["ecs:UpdateService web -> web:42 by force"], "{lag} s");
        assert_eq!(scene.journal.count("ecs:UpdateService"), 1, "{lag} s");
    }
    let scene = forced().await;
    scene.cloud.fail("ecs:UpdateService", CallErrorKind::Unreachable, 0, 1);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:UpdateService"), 2, "one that never arrived is sent again");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_never_arrived_leaves_the_service_and_says_so() {
    let scene = Scene::without_migration();
    scene.cloud.fail("ecs:UpdateService", CallErrorKind::Unreachable, 0, usize::MAX);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unavailable, "{ended:?}");
    assert!(ended.state()[0].contains("untouched, r7 (web:41) serves"), "{:?}", ended.state());
}

#[tokio::test(start_paused = true)]
async fn tasks_that_run_another_digest_than_was_pushed_are_no_success() {
    let other = digest_of("somebody else's");
    let scene = rolls_out(Ending::RunsDigest(other.as_str().to_owned()));
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert!(ended.failure().what.contains(&format!("runs {other}, not ")), "{}", ended.failure().what);
    assert!(runs_before(&scene));
}

#[tokio::test(start_paused = true)]
async fn without_the_service_deployments_api_describe_services_is_enough() {
    for ending in [Ending::Succeeds, Ending::RolledBack { reuses_id: true }, Ending::RolledBack { reuses_id: false }] {
        let scene = rolls_out(ending.clone());
        scene.cloud.deny("ecs:ListServiceDeployments");
        let ended = scene.deploy().await;
        match ending {
            Ending::Succeeds => assert_eq!(ended.success(), Success::Deployed),
            _ => {
                assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
                assert!(runs_before(&scene));
            }
        }
        assert_eq!(scene.journal.count("ecs:ListServiceDeployments"), 1, "asked once");
        let warnings = scene.told.warnings();
        let said = warnings.iter().filter(|line| line.contains("may not be read (`ecs:ListServiceDeployments`)"));
        assert_eq!(said.count(), 1, "{warnings:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_api_a_crash_loop_is_put_back_by_an_update() {
    let scene = rolls_out(Ending::CrashLoops).change_service("web", |s| s.breaker = NO_BREAKER);
    scene.cloud.deny("ecs:ListServiceDeployments");
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:StopServiceDeployment"), 0);
    assert!(runs_before(&scene));
}

#[tokio::test(start_paused = true)]
async fn evidence_that_may_not_be_read_does_not_hide_the_failure() {
    let scene = rolls_out(Ending::RolledBack { reuses_id: false });
    scene.cloud.deny("ecs:ListTasks");
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert!(ended.failure().evidence.iter().any(|e| e.contains("could not be listed")), "{ended:?}");
    assert!(ended.failure().evidence.iter().any(|e| e.contains("web:42 was rolled back to web:41")), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_first_deployment_fails_has_nothing_to_go_back_to() {
    let scene = rolls_out(Ending::Failed).change_service("web", |s| {
        s.breaker = NO_ROLLBACK;
        s.deployments[0].state = fargate_deploy_core::service::State::Failed;
    });
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert!(ended.failure().evidence.iter().any(|e| e.contains("nothing to go back to")), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_while_the_rollout_is_watched_keeps_us_from_putting_anything_back() {
    let scene = Scene::without_migration().with_smoke();
    never_answers(&scene);
    let taken = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let name = "/fargate-deploy/shop/web/lease/2".to_owned();
        scene.cloud.aws().parameters.insert(name, "{}".to_owned());
    };
    let (ended, ()) = tokio::join!(scene.deploy(), taken);
    assert_eq!(scene.journal.count("ecs:UpdateService"), 1, "{ended:?}");
    assert_eq!(ended.state()[0], "shop/web: a newer deployment owns it");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_revision_that_was_rolled_out_before_stays_the_one_to_go_back_to() {
    let scene = rolls_out(Ending::RolledBack { reuses_id: false });
    let hand_made = scene.cloud.aws().add_definition(&definition("web", "by-hand"), None);
    scene.cloud.aws().add_service("web", &hand_made);
    let ended = scene.deploy().await;
    assert_eq!(ended.state()[0], "shop/web: web:42 serves again, confirmed");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_be_read_any_more_has_not_failed_and_aws_is_unavailable() {
    let scene = rolls_out(Ending::Succeeds);
    scene.cloud.fail("ecs:DescribeServices", CallErrorKind::Unreachable, 3, usize::MAX);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unavailable, "{ended:?}");
    assert!(ended.failure().what.contains("what serves is unknown"), "{}", ended.failure().what);
    let state = &ended.state()[0];
    assert!(state.contains("what serves is not known") && !state.contains("failed"), "{state}");
    assert_eq!(scene.journal.count("ecs:UpdateService"), 1, "nothing is put back over what is not known");
}

/// Somebody's deployment crash-loops beside the revision that serves, and ours is bad too.
#[tokio::test(start_paused = true)]
async fn what_is_put_back_is_the_revision_that_last_came_to_serve() {
    let scene = Scene::without_migration().with_smoke();
    let bad = scene.cloud.aws().add_definition(&definition("web", &old_image("shop-app")), Some(8));
    let scene = scene.change_service("web", |web| {
        let mut crashing = web.deployments[0].clone();
        web.deployments[0].role = Role::Active;
        crashing.id = DeploymentId::new("ecs-svc/crashing");
        crashing.task_definition = bad.clone();
        crashing.state = State::Failed;
        crashing.failed_tasks = 9;
        web.task_definition = crashing.task_definition.clone();
        web.deployments.insert(0, crashing);
    });
    scene.web.answers.borrow_mut().extend(vec![Ok((503, String::new())); 100]);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!(ended.state()[0], "shop/web: web:41 serves again, confirmed");
    assert_eq!(scene.cloud.aws().services["web"].task_definition.short(), "web:41");
}

/// What AWS shows right after an update can be from before it.
const OLD_ANSWERS: [fn(Service, Service) -> Service; 4] = [
    |before, _| before,
    |before, after| Service { task_definition: after.task_definition, ..before },
    |before, _| Service { deployments: vec![], ..before },
    |before, after| Service { deployments: vec![], task_definition: after.task_definition, ..before },
];

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_older_than_its_own_effect_says_nothing_of_how_the_rollout_ends() {
    for answer in OLD_ANSWERS {
        for lag in [0, 4, 25] {
            let scene = Scene::without_migration();
            scene.cloud.update_answer.set(answer);
            scene.cloud.service_lag.set(Duration::from_secs(lag));
            let ended = scene.deploy().await;
            assert_eq!(ended.success(), Success::Deployed, "{lag}: {ended:?}");
            assert_eq!(scene.journal.count("ecs:UpdateService"), 1);
            let scene = Scene::without_migration().next_rollouts("web", [Ending::RolledBack { reuses_id: false }]);
            scene.cloud.update_answer.set(answer);
            scene.cloud.service_lag.set(Duration::from_secs(lag));
            let ended = scene.deploy().await;
            assert_eq!(ended.reason(), Reason::RolledBack, "{lag}: {ended:?}");
        }
    }
}

/// An earlier release, of which nothing runs any more.
#[tokio::test(start_paused = true)]
async fn a_release_of_which_no_task_runs_is_not_said_to_roll_out_or_to_serve() {
    let mut scene = rolls_out(Ending::Succeeds);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    scene.order.config.wait = Duration::from_secs(20);
    let running = |running| {
        let mut aws = scene.cloud.aws();
        let web = aws.services.get_mut("web").unwrap();
        web.counts.running = running;
        web.deployments[0].counts.running = running;
    };
    running(0);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert_eq!(ended.failure().what, "shop/web: web:42 failed: ECS says completed, and 0 of 2 tasks run");
    assert_eq!(ended.state()[0], "shop/web: web:42 failed, and nothing else is known to serve");
    running(1);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Timeout, "{ended:?}");
    assert_eq!(ended.failure().what, "shop/web: web:42 has completed, and 1 of its 2 tasks run");
    assert_eq!(ended.state()[0], "shop/web: web:42 serves, with 1 of its 2 tasks");
}

#[tokio::test(start_paused = true)]
async fn credentials_that_end_while_a_release_rolls_out_are_said_to_have_ended() {
    let scene = rolls_out(Ending::Hangs);
    for (call, skip) in
        [("ecs:DescribeServices", 4), ("ecs:ListServiceDeployments", 0), ("ecs:DescribeServiceDeployments", 0)]
    {
        scene.cloud.fail(call, CallErrorKind::Identity, skip, usize::MAX);
    }
    let began = tokio::time::Instant::now();
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unavailable, "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    let next = ended.failure().next.as_deref().unwrap_or_default();
    assert!(next.contains("get new credentials (with `role` they are renewed as needed)"), "{next}");
    assert!(ended.state()[0].contains("what serves is not known"), "{:?}", ended.state());
}
