//! A release of several services: what others do meanwhile, who is bad, and in which order and how soon it goes back.

use super::known_bad::{ALL_KNOWN_BY, ALL_MEANWHILE, ordered_back};
use super::lease::seconds;
use crate::story::fake::rollout::Ending;
use crate::story::fake::{digest_of, is_settled, task::Run};
use crate::story::scene::{Ended, Scene, definition, migration, old_image, order, service_config};
use fargate_deploy::config::{ImageSource, OnCancel, OnFailure, ReleaseCommand, When};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy::release::Order;
use fargate_deploy_core::outcome::{Reason, Success};
use fargate_deploy_core::service::{Breaker, Counts, State};
use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const NO_ROLLBACK: Breaker = Breaker { is_enabled: true, rolls_back: false };

/// A person registers another revision of a service and deploys it.
fn person_deploys(scene: &Scene, service: &str) -> String {
    let mut aws = scene.cloud.aws();
    let arn = aws.add_definition(&definition(service, &format!("{}-by-hand", old_image("shop-app"))), None);
    aws.update(service, &arn, false);
    arn.to_string()
}

async fn when(scene: &Scene, is_time: impl Fn(&Scene) -> bool) {
    while !is_time(scene) {
        sleep(Duration::from_millis(100)).await;
    }
}

fn runs(scene: &Scene, service: &str) -> String {
    scene.cloud.aws().services[service].task_definition.short().to_owned()
}

fn next_attempt(scene: &Scene) -> Order {
    Order { config: scene.order.config.clone(), ..order("1001", "2", "token-2") }
}

/// `worker` comes after `web`.
fn worker_after_web() -> Scene {
    let mut scene = Scene::without_migration().with_worker();
    scene.order.config.services[1].after = vec!["web".into()];
    scene
}

/// `front` runs what it should already, and has a smoke check.
fn front_stays(scene: Scene) -> Scene {
    let mut scene = scene.with_front(0);
    scene.cloud.push("shop-front", &digest_of("old"), "old", "linux/amd64");
    let at = scene.order.config.services.len() - 1;
    scene.order.config.images[1].source = ImageSource::Existing(old_image("shop-front"));
    scene.order.config.services[at].smoke =
        vec![fargate_deploy::config::SmokeCheck { url: "https://front.example/health".into(), ..smoke_of_web() }];
    scene
}

fn smoke_of_web() -> fargate_deploy::config::SmokeCheck {
    fargate_deploy::config::SmokeCheck {
        url: "https://shop.example/health".into(),
        status: 200,
        within: seconds(30),
        contains: None,
    }
}

fn does_not_answer(scene: &Scene) {
    scene.web.answers.borrow_mut().extend(vec![Ok((503, String::new())); 200]);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_deployed_while_a_service_waited_for_its_turn_is_not_overwritten() {
    let scene = worker_after_web();
    let person = async {
        when(&scene, |s| s.journal.count("ecs:UpdateService web") > 0).await;
        person_deploys(&scene, "worker")
    };
    let (ended, theirs) = tokio::join!(scene.deploy(), person);
    assert_eq!(ended.reason(), Reason::Superseded, "{ended:?}");
    assert_eq!(scene.cloud.aws().services["worker"].task_definition.as_str(), theirs);
    assert_eq!(scene.journal.count("ecs:UpdateService worker"), 0);
    assert_eq!(ended.state()[1], "shop/worker: a newer deployment owns it");
}

/// Run again, the release would be deployed over it.
#[tokio::test(start_paused = true)]
async fn who_was_replaced_is_not_advised_to_go_on_without_a_word_of_what_that_replaces() {
    let scene = worker_after_web();
    let person = async {
        when(&scene, |s| s.journal.count("ecs:DescribeServiceDeployments") > 0).await;
        person_deploys(&scene, "web")
    };
    let (ended, _) = tokio::join!(scene.deploy(), person);
    assert_eq!(ended.reason(), Reason::Superseded, "{ended:?}");
    let next = ended.failure().next.clone().unwrap();
    assert!(next.contains("shop/worker not started"), "{next}");
    assert!(next.contains("replace"), "what it would do to the newer one: {next}");
    assert!(!next.contains("to go on"), "{next}");
}

#[tokio::test(start_paused = true)]
async fn what_a_person_deployed_while_the_migration_ran_is_not_overwritten() {
    for is_settled in [false, true] {
        let scene = Scene::new().next_runs([Run::exits(0).after(if is_settled { 60 } else { 6 })]);
        let person = async {
            when(&scene, |s| s.journal.count("ecs:RunTask") > 0).await;
            sleep(seconds(3)).await;
            person_deploys(&scene, "web")
        };
        let (ended, theirs) = tokio::join!(scene.deploy(), person);
        assert_eq!(ended.reason(), Reason::Superseded, "{ended:?}");
        assert_eq!(scene.cloud.aws().services["web"].task_definition.as_str(), theirs);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_deleted_before_its_turn_is_said_to_be() {
    let scene = worker_after_web();
    let deletes = async {
        when(&scene, |s| s.journal.count("ecs:UpdateService web") > 0).await;
        scene.cloud.aws().services.get_mut("worker").unwrap().status = "INACTIVE".to_owned();
    };
    let (ended, ()) = tokio::join!(scene.deploy(), deletes);
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert_eq!(ended.state()[1], "shop/worker: the service was deleted");
    let failure = ended.failure();
    assert!(failure.next.as_deref().unwrap_or_default().contains("create the service again"), "{failure:?}");
    assert!(!failure.evidence.iter().any(|line| line.contains("was deleted")), "it is said once: {failure:?}");
    assert_eq!(runs(&scene, "web"), "web:41");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_replaced_while_another_one_rolls_out_is_not_said_to_serve() {
    let scene = worker_after_web();
    let person = async {
        when(&scene, |s| s.journal.count("ecs:UpdateService worker") > 0).await;
        person_deploys(&scene, "web")
    };
    let (ended, theirs) = tokio::join!(scene.deploy(), person);
    assert_eq!(ended.reason(), Reason::Superseded, "{ended:?}");
    assert_eq!(ended.state()[0], "shop/web: a newer deployment owns it");
    assert_eq!(scene.cloud.aws().services["web"].task_definition.as_str(), theirs);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_replaced_while_a_command_runs_after_it_is_not_said_to_serve() {
    let mut scene = Scene::without_migration();
    scene.order.config.release.push(ReleaseCommand { name: "reindex".to_owned(), when: When::After, ..migration() });
    let person = async {
        when(&scene, |s| s.journal.count("ecs:RunTask") > 0).await;
        person_deploys(&scene, "web")
    };
    let (ended, _) = tokio::join!(scene.deploy(), person);
    assert_eq!(ended.reason(), Reason::Superseded, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_dies_while_another_one_rolls_out_takes_the_release_back() {
    let scene = worker_after_web();
    let dies = async {
        when(&scene, |s| s.journal.count("ecs:UpdateService worker") > 0).await;
        let mut aws = scene.cloud.aws();
        let ours = &mut aws.services.get_mut("web").unwrap().deployments[0];
        ours.state = State::Failed;
        ours.reason = Some("tasks failed to start".to_owned());
        ours.counts = Counts { desired: 2, running: 0, pending: 0 };
    };
    let (ended, ()) = tokio::join!(scene.deploy(), dies);
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!((runs(&scene, "web").as_str(), runs(&scene, "worker").as_str()), ("web:41", "worker:41"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_change_serves_too_or_the_release_does_not() {
    let scene = front_stays(Scene::without_migration());
    does_not_answer(&scene);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert!(ended.failure().what.starts_with("shop/front: smoke check failed"), "{ended:?}");
    assert_eq!(runs(&scene, "web"), "web:41", "what the release changed is back");
    assert_eq!(scene.journal.count("ecs:UpdateService front"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_a_service_that_does_not_change_waits_until_it_answers() {
    let mut scene = front_stays(Scene::without_migration());
    scene.order.config.services[0].after = vec!["front".into()];
    scene.web.answers.borrow_mut().extend(vec![Ok((503, String::new())); 5]);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let lines = scene.journal.lines();
    let answered = lines.iter().rposition(|l| l.starts_with("GET https://front")).unwrap();
    assert!(answered < lines.iter().position(|l| l.starts_with("ecs:UpdateService web")).unwrap(), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_change_and_still_rolls_out_is_followed() {
    let scene = front_stays(Scene::without_migration()).change_service("front", |front| {
        front.deployments[0].counts = Counts { desired: 2, running: 1, pending: 1 };
    });
    let recovers = async {
        when(&scene, |s| s.journal.count("ecs:UpdateService web") > 0).await;
        sleep(seconds(60)).await;
        let full = Counts { desired: 2, running: 2, pending: 0 };
        scene.cloud.aws().services.get_mut("front").unwrap().deployments[0].counts = full;
    };
    let began = Instant::now();
    let (ended, ()) = tokio::join!(scene.deploy(), recovers);
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert!(began.elapsed() >= seconds(60), "{:?}", began.elapsed());
}

/// When the way back of `web` was ordered, and when it was known that it must go back.
async fn back_after_known(scene: &Scene) -> (Ended, Duration) {
    let (known, ordered) = (Cell::new(None), Cell::new(None));
    let watches = async {
        when(scene, |s| {
            let web = &s.cloud.aws().services["web"];
            web.deployments.iter().any(|d| d.state == State::Failed && d.task_definition.short() == "web:42")
        })
        .await;
        known.set(Some(Instant::now()));
        when(scene, |s| s.journal.count("ecs:UpdateService web -> web:41") > 0).await;
        ordered.set(Some(Instant::now()));
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = scene.deploy() => ended,
        () = watches => unreachable!(),
    };
    (ended, ordered.get().unwrap() - known.get().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_bad_service_goes_back_at_once_whatever_the_others_do() {
    for on_failure in [OnFailure::RollbackAll, OnFailure::RollbackFailed] {
        let mut scene = Scene::without_migration().with_worker();
        scene.order.config.on_failure = on_failure;
        scene.order.config.wait = seconds(1800);
        let scene = scene.next_rollouts("web", [Ending::Failed]).next_rollouts("worker", [Ending::Hangs]);
        let scene = scene.change_service("web", |web| web.breaker = NO_ROLLBACK);
        let (ended, took) = back_after_known(&scene).await;
        // Since AWS shows it: until it is read, and from there on.
        assert!(took <= seconds(2 + 3), "{on_failure:?}: {took:?}");
        assert!(ended.state()[0].contains("web:41) serves again"), "{on_failure:?}: {:?}", ended.state());
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_known_to_be_bad_is_told_to_go_back_within_three_seconds() {
    for (known_by, meanwhile) in ALL_KNOWN_BY.into_iter().flat_map(|by| ALL_MEANWHILE.map(|meanwhile| (by, meanwhile)))
    {
        for on_failure in [OnFailure::RollbackAll, OnFailure::RollbackFailed] {
            let took = ordered_back(known_by, meanwhile, on_failure).await;
            println!("{known_by:?}, {meanwhile:?}, {on_failure:?}: {took:?}");
            assert!(took <= seconds(3), "{known_by:?}, {meanwhile:?}, {on_failure:?}: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_answer_goes_back_within_three_seconds_while_another_one_rolls_out() {
    for on_failure in [OnFailure::RollbackAll, OnFailure::RollbackFailed] {
        let mut scene = Scene::without_migration().with_worker().with_smoke();
        scene.order.config.on_failure = on_failure;
        let scene = scene.next_rollouts("worker", [Ending::Hangs]);
        does_not_answer(&scene);
        let began = Instant::now();
        let ordered = Cell::new(None);
        let watches = async {
            when(&scene, |s| s.journal.count("GET ") > 20).await;
            // What only explains the failure is slow.
            scene.cloud.trouble("ecs:ListTasks", crate::story::fake::cloud::Outage::Hangs, 0, seconds(60));
            when(&scene, |s| s.journal.count("ecs:UpdateService web -> web:41") > 0).await;
            ordered.set(Some(began.elapsed()));
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! { ended = scene.deploy() => ended, () = watches => unreachable!() };
        assert!(ended.result.is_err());
        // Built in no time, 20 s of rollout and what is read of it, 30 s of smoke checks.
        assert!(ordered.get().unwrap() <= seconds(60), "{on_failure:?}: {:?}", ordered.get());
    }
}

/// ECS takes twenty seconds to put the bad one back.
#[tokio::test(start_paused = true)]
async fn the_others_go_back_when_ecs_begins_to_take_one_back_not_when_it_has() {
    let scene = Scene::without_migration().with_worker();
    let scene = scene.next_rollouts("web", [Ending::RolledBack { reuses_id: false }]);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert!(ended.state().iter().all(|line| line.contains("serves again, confirmed")), "{:?}", ended.state());
    let updates = scene.cloud.aws().updates.clone();
    let when = |name: &str, to: &str| updates.iter().find(|u| u.1 == name && u.3.short() == to).unwrap().0;
    let took = when("worker", "worker:41") - when("web", "web:42");
    assert!(took <= seconds(35 + 5), "known to be bad after 35 s: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_once_ecs_takes_a_service_of_the_release_back() {
    for on_failure in [OnFailure::RollbackAll, OnFailure::RollbackFailed, OnFailure::Leave] {
        let mut scene = worker_after_web().with_front(0).with_smoke();
        scene.order.config.on_failure = on_failure;
        let scene = scene.next_rollouts("front", [Ending::RolledBack { reuses_id: false }]);
        // `web` answers when `front` is known to be bad, and before that is back.
        scene.web.answers.borrow_mut().extend(vec![Ok((503, String::new())); 18]);
        let ended = scene.deploy().await;
        assert!(ended.result.is_err(), "{ended:?}");
        assert_eq!(scene.journal.count("ecs:UpdateService worker"), 0, "{on_failure:?}: {:#?}", scene.journal.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn services_go_back_in_the_reverse_of_the_order_in_which_they_came() {
    let mut scene = worker_after_web();
    let mut last = service_config("last");
    last.after = vec!["worker".into()];
    let arn = scene.cloud.aws().add_definition(&definition("last", &old_image("shop-app")), Some(7));
    scene.cloud.aws().add_service("last", &arn);
    scene.order.config.services.push(last);
    let scene = scene.next_rollouts("last", [Ending::RolledBack { reuses_id: false }]);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    let lines = scene.journal.lines();
    let at = |start: &str| lines.iter().position(|l| l.starts_with(start)).unwrap_or_else(|| panic!("{lines:#?}"));
    let (worker, web) = (at("ecs:UpdateService worker -> worker:41"), at("ecs:UpdateService web -> web:41"));
    assert!(worker < web, "{lines:#?}");
    let between = &lines[worker..web];
    assert!(between.iter().filter(|l| l.starts_with("ecs:Describe")).count() > 2, "it serves by then: {between:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_told_to_end_while_smoke_checks_run_goes_back_at_once() {
    let mut scene = Scene::without_migration().with_smoke();
    scene.order.config.on_cancel = OnCancel::Rollback;
    does_not_answer(&scene);
    let signalled = Cell::new(None);
    let ended = scene
        .deploy_until(|scene| {
            let is_time = scene.journal.count("GET ") > 1;
            if is_time {
                signalled.set(Some(Instant::now()));
            }
            is_time
        })
        .await;
    assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
    assert!(signalled.get().unwrap().elapsed() <= seconds(5), "{:?}", signalled.get().unwrap().elapsed());
    assert_eq!(runs(&scene, "web"), "web:41", "{:?}", scene.effects());
    assert_eq!(scene.lease("web")["isReleased"], true);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_told_to_end_when_the_release_is_known_to_be_bad_still_orders_the_way_back() {
    for on_cancel in [OnCancel::Leave, OnCancel::Rollback] {
        let mut scene = Scene::without_migration().with_smoke();
        scene.order.config.on_cancel = on_cancel;
        does_not_answer(&scene);
        let ended =
            scene.deploy_until(|scene| scene.told.json().iter().any(|event| event["event"] == "smoke-failed")).await;
        assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
        assert_eq!(runs(&scene, "web"), "web:41", "{on_cancel:?}: {:?}", scene.effects());
        assert!(ended.failure().evidence.iter().any(|l| l.contains("smoke check failed")), "{on_cancel:?}: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_deployed_since_is_not_overwritten_by_a_run_that_is_told_to_end() {
    let mut scene = Scene::without_migration().next_rollouts("web", [Ending::SupersededBy("web:77")]);
    scene.order.config.on_cancel = OnCancel::Rollback;
    let is_superseded = |scene: &Scene| runs(scene, "web") == "web:77";
    let ended = scene.deploy_until(is_superseded).await;
    assert!(ended.result.is_err());
    assert_eq!(runs(&scene, "web"), "web:77", "{:?}", scene.effects());
}

/// Killed when `web` serves the new release, and `worker` has not moved.
async fn killed_half_way(scene: &Scene) {
    tokio::select! {
        ended = scene.deploy() => panic!("{ended:?}"),
        () = when(scene, |s| s.journal.count("ecs:UpdateService worker") > 0) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_attempt_puts_back_what_the_first_one_moved_too() {
    let scene = worker_after_web().next_rollouts("worker", [Ending::RolledBack { reuses_id: false }]);
    tokio::select! {
        ended = scene.deploy() => panic!("{ended:?}"),
        () = async {
            when(&scene, |s| is_settled(&s.cloud.aws().services["web"]) && runs(s, "web") == "web:42").await;
        } => {}
    }
    let ended = scene.deploy_order(&next_attempt(&scene)).await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!((runs(&scene, "web").as_str(), runs(&scene, "worker").as_str()), ("web:41", "worker:41"));
    assert_eq!(ended.state()[0], "shop/web: r7 (web:41) serves again, confirmed");
}

#[tokio::test(start_paused = true)]
async fn the_second_attempt_checks_what_the_first_one_moved_and_is_the_same_release() {
    let mut scene = worker_after_web().with_smoke();
    scene.order.config.release = vec![
        migration(),
        ReleaseCommand { name: "seed".to_owned(), ..migration() },
        ReleaseCommand { name: "reindex".to_owned(), when: When::After, ..migration() },
    ];
    killed_half_way(&scene).await;
    let before = scene.journal.count("GET ");
    let ended = scene.deploy_order(&next_attempt(&scene)).await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 3, "each command once: {:?}", scene.effects());
    assert_eq!(scene.journal.count("ecs:RegisterTaskDefinition"), 2, "{:?}", scene.effects());
    assert_eq!(ended.record.release, Some(8));
    assert!(scene.journal.count("GET ") > before, "it answers, or the release does not serve");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_the_release_mended_and_that_cannot_go_back_is_not_said_to_have_failed() {
    let scene = Scene::without_migration().with_worker();
    let scene = scene.next_rollouts("worker", [Ending::RolledBack { reuses_id: false }]);
    // What it ran never came to serve.
    let scene = scene.change_service("web", |web| {
        web.deployments[0].state = State::Failed;
        web.deployments[0].failed_tasks = 5;
    });
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert_eq!(ended.state()[0], "shop/web: web:42 serves");
}

#[tokio::test(start_paused = true)]
async fn no_reason_that_promises_that_nothing_was_touched_is_given_when_half_is_moved() {
    let mut scene = worker_after_web();
    scene.order.config.on_failure = OnFailure::Leave;
    scene.cloud.fail("ecs:UpdateService", CallErrorKind::Denied, 1, usize::MAX);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert_eq!(ended.state()[0], "shop/web: web:42 serves");
}

#[tokio::test(start_paused = true)]
async fn services_that_were_not_started_are_named_with_how_to_go_on() {
    let scene = worker_after_web().next_rollouts("web", [Ending::SupersededBy("web:77")]);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Superseded, "{ended:?}");
    let next = ended.failure().next.clone().unwrap();
    assert!(next.contains("shop/worker") && next.contains("run this again"), "{next}");
}

#[tokio::test(start_paused = true)]
async fn one_service_that_wants_no_tasks_leaves_the_others_verified() {
    let nothing = Counts { desired: 0, running: 0, pending: 0 };
    let scene = Scene::without_migration().with_worker().change_service("worker", |worker| {
        worker.counts = nothing;
        worker.deployments[0].counts = nothing;
    });
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let notes = scene.told.json().iter().any(|event| event.to_string().contains("nothing-started"));
    assert!(notes, "it is said which was not");
}

#[tokio::test(start_paused = true)]
async fn no_wait_is_refused_where_services_wait_for_each_other() {
    let mut scene = worker_after_web();
    scene.order.is_unwatched = true;
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Config, "{ended:?}");
    assert!(ended.failure().what.contains("`--no-wait`: service `worker` comes after `web`"), "{ended:?}");
    assert_eq!(scene.journal.count(""), 0);
}

#[tokio::test(start_paused = true)]
async fn what_no_wait_leaves_out_is_said() {
    let mut scene = Scene::without_migration();
    scene.order.config.release.push(ReleaseCommand { name: "reindex".to_owned(), when: When::After, ..migration() });
    scene.order.is_unwatched = true;
    assert_eq!(scene.deploy().await.success(), Success::Started);
    let said = scene.told.json().iter().any(|e| e.to_string().contains("commands-left-out"));
    assert!(said, "{:?}", scene.told.json());
}

#[tokio::test(start_paused = true)]
async fn the_cluster_that_is_not_there_is_named() {
    let mut scene = Scene::without_migration().with_worker();
    scene.order.config.services[0].cluster = "other".into();
    // Clusters are read in the order of their names.
    scene.cloud.fail("ecs:DescribeServices", CallErrorKind::NotFound, 1, 1);
    let ended = scene.deploy().await;
    assert!(ended.failure().what.starts_with("cluster `shop` does not exist"), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_held_against_the_one_that_was_reviewed() {
    let mut scene = Scene::without_migration();
    scene.order.is_dry_run = true;
    scene.order.required_plan = fargate_deploy::release::RequiredPlan::Shown(Default::default());
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::PlanStale, "{ended:?}");
    assert!(ended.record.plan.is_some(), "it is shown all the same");
}
