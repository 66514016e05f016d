//! SIGINT and SIGTERM: what is done at each point, and what is said about what is left.

use crate::story::fake::cloud::Moment;
use crate::story::fake::rollout::Ending;
use crate::story::fake::task::Run;
use crate::story::scene::{Ended, Scene, migration, order};
use fargate_deploy::config::{OnCancel, ReleaseCommand, When};
use fargate_deploy::release::Order;
use fargate_deploy_core::outcome::{Failure, Reason};
use std::time::Duration;
use tokio::time::Instant;

/// Everything that is called after the signal, and how long it takes.
async fn cancel(scene: &Scene, at: &str) -> (Ended, Vec<String>, Duration) {
    let seen = std::cell::Cell::new(None);
    let ended = scene
        .deploy_until(|scene| {
            let is_time = scene.journal.count(at) > 0;
            if is_time {
                seen.set(Some((scene.journal.lines().len(), Instant::now())));
            }
            is_time
        })
        .await;
    let (before, signalled) = seen.get().unwrap();
    (ended, scene.journal.lines().split_off(before), signalled.elapsed())
}

#[tokio::test(start_paused = true)]
async fn every_point_ends_within_five_seconds_and_changes_nothing_but_the_lease() {
    for (at, run, state) in [
        ("build", Run::exits(0), "shop/web: untouched, r7 (web:41) serves"),
        ("ecs:RunTask", Run::hangs(), "shop/web: untouched, r7 (web:41) serves"),
        (
            "ecs:UpdateService",
            Run::exits(0),
            "shop/web: ECS is still rolling out web:42; r7 (web:41) serves until it is replaced",
        ),
    ] {
        let scene = Scene::new().next_runs([run]).next_rollouts("web", [Ending::Hangs]);
        scene.builder.takes.borrow_mut().insert("/src".to_owned(), Duration::from_secs(20));
        let (ended, calls, took) = cancel(&scene, at).await;
        assert_eq!(ended.reason(), Reason::Cancelled, "{at}: {ended:?}");
        assert!(took <= Duration::from_secs(5), "{at}: {took:?}");
        let is_change = |l: &&String| !["Describe", "Get", "List"].iter().any(|verb| l.contains(verb));
        let changes: Vec<_> = calls.iter().filter(is_change).collect();
        assert!(changes.len() <= 2 && changes.iter().all(|l| l.starts_with("ssm:")), "{at}: {calls:?}");
        assert_eq!(ended.state()[0], state, "{at}");
        assert!(ended.failure().next.is_some(), "{at}: how to go on");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_network_it_ends_within_five_seconds_too() {
    let scene = Scene::without_migration();
    scene.cloud.freeze("1001", "ecs:UpdateService", Moment::OnItsWay, 0, Duration::from_secs(1000));
    let (ended, _, took) = cancel(&scene, "ecs:UpdateService").await;
    assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
    assert!(took <= Duration::from_secs(5), "{took:?}");
    assert!(ended.state()[0].contains("whether ECS took it is not known"), "{:?}", ended.state());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_migration_is_said_to_run_on_and_keeps_the_lease() {
    let scene = Scene::new().next_runs([Run::hangs()]);
    let (ended, _, _) = cancel(&scene, "ecs:RunTask").await;
    assert!(ended.state()[1].starts_with("release command `migrate` is still running (task "), "{:?}", ended.state());
    assert_eq!(scene.lease("web")["isReleased"], false);
}

#[tokio::test(start_paused = true)]
async fn rollouts_are_told_to_go_back_where_that_is_asked() {
    let mut scene = Scene::without_migration().next_rollouts("web", [Ending::Hangs]);
    scene.order.config.on_cancel = OnCancel::Rollback;
    let seen = std::cell::Cell::new(false);
    let ended = scene
        .deploy_until(|scene| {
            // When the deployment has been found.
            seen.set(scene.journal.count("ecs:DescribeServiceDeployments") > 1);
            seen.get()
        })
        .await;
    assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:StopServiceDeployment"), 1, "{:?}", scene.effects());
    assert_eq!(ended.state()[0], "shop/web: ECS is still going back to r7 (web:41)");
    assert_eq!(scene.lease("web")["isReleased"], true);
}

/// What it does may be what the older release cannot live with, and it is not stopped.
#[tokio::test(start_paused = true)]
async fn a_release_whose_command_runs_after_it_is_not_taken_back() {
    let mut scene = Scene::without_migration().next_runs([Run::exits(0).after(60)]);
    scene.order.config.on_cancel = OnCancel::Rollback;
    scene.order.config.release = vec![ReleaseCommand { when: When::After, ..migration() }];
    let (ended, _, took) = cancel(&scene, "ecs:RunTask").await;
    assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
    assert!(took <= Duration::from_secs(5), "{took:?}");
    assert_eq!(scene.cloud.aws().services["web"].task_definition.short(), "web:42", "{:?}", scene.effects());
    assert_eq!(ended.state()[0], "shop/web: web:42 serves", "{:?}", ended.state());
    assert!(ended.state()[1].starts_with("release command `migrate` is still running (task "), "{:?}", ended.state());
    let Order { config, tags, provenance, .. } = scene.order.clone();
    let again = scene.deploy_order(&Order { config, tags, provenance, ..order("1001", "2", "token-2") }).await;
    assert!(again.result.is_ok(), "{again:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 1, "attached to, not run again");
    assert_eq!(scene.lease("web")["isReleased"], true);
}

/// It was bad before anybody told it to end.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_while_ecs_rolls_back_says_so_and_does_not_advise_to_deploy_the_same_again() {
    for reuses_id in [true, false] {
        let scene = Scene::without_migration().next_rollouts("web", [Ending::RolledBack { reuses_id }]);
        let seen = std::cell::Cell::new(None);
        let ended = scene
            .deploy_until(|scene| {
                let web = scene.cloud.aws().services["web"].clone();
                let is_going_back = scene.journal.count("ecs:UpdateService") > 0
                    && web.primary().is_some_and(|primary| primary.task_definition.short() == "web:41");
                if is_going_back && seen.get().is_none() {
                    seen.set(Some(Instant::now()));
                }
                seen.get().is_some_and(|since| since.elapsed() >= Duration::from_secs(4))
            })
            .await;
        assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
        assert_eq!(ended.state()[0], "shop/web: ECS is still going back to r7 (web:41)");
        let Failure { evidence, next, .. } = ended.failure();
        let is_said = |line: &String| line.contains("web:42") && line.contains("circuit breaker");
        assert!(evidence.iter().any(is_said), "{evidence:?}");
        let next = next.as_deref().unwrap();
        assert!(!next.contains("run it again"), "{next}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_while_it_waits_for_a_second_lease_lets_the_first_one_go() {
    let scene = Scene::without_migration().with_worker();
    // Somebody else holds `worker`, and beats.
    let held = super::lease::claim_of("9").to_string();
    scene.cloud.aws().parameters.insert("/fargate-deploy/shop/worker/lease/1".to_owned(), held);
    let is_waiting = |scene: &Scene| scene.journal.count("ssm:GetParametersByPath worker") > 1;
    let ended = scene.deploy_until(is_waiting).await;
    assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
    assert_eq!(scene.lease("web")["isReleased"], true);
    assert_eq!(scene.journal.count("ecs:"), scene.journal.count("ecs:D"), "nothing of ECS was changed");
}
