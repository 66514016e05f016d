//! What a run that came to an end too early still owes: the next one of the same commit does it, and ends as the first one would
//! have.

use super::lease::seconds;
use crate::story::fake::rollout::Ending;
use crate::story::fake::task::{Run, container};
use crate::story::scene::{Ended, Scene, definition, migration, old_image, order};
use fargate_deploy::config::{ImageSource, OnFailure, ReleaseCommand, When};
use fargate_deploy::release::Order;
use fargate_deploy_core::outcome::{Reason, Success};
use fargate_deploy_core::resolved::Resolved;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// With a smoke check, and a command that comes after.
fn scene() -> Scene {
    let mut scene = Scene::without_migration().with_smoke();
    scene.order.config.release = vec![ReleaseCommand { name: "reindex".to_owned(), when: When::After, ..migration() }];
    scene
}

/// The same commit by another run.
fn other_run(scene: &Scene) -> Order {
    Order { config: scene.order.config.clone(), ..order("1002", "1", "token-2") }
}

fn next_attempt(scene: &Scene) -> Order {
    Order { config: scene.order.config.clone(), ..order("1001", "2", "token-2") }
}

fn does_not_answer(scene: &Scene) {
    scene.web.answers.borrow_mut().extend(vec![Ok((503, String::new())); 100]);
}

/// Nothing is rolled out again, and what was owed is done, once.
async fn pays(scene: &Scene) {
    scene.journal.clear();
    let again = scene.deploy_order(&other_run(scene)).await;
    assert_eq!(again.success(), Success::Deployed, "{again:?}");
    assert_eq!(scene.journal.count("ecs:UpdateService"), 0);
    assert_eq!((scene.journal.count("GET "), scene.journal.count("ecs:RunTask")), (1, 1), "{:?}", scene.changes());
    assert!(again.state().iter().any(|line| line.starts_with("release command `reindex` was applied")));
    scene.journal.clear();
    let third = scene.deploy_order(&Order { token: "token-3".to_owned(), ..other_run(scene) }).await;
    assert_eq!(third.success(), Success::Unchanged, "{third:?}");
    assert_eq!(scene.changes(), [""; 0]);
    assert_eq!(scene.journal.count("GET "), 0);
}

#[tokio::test(start_paused = true)]
async fn after_no_wait_the_next_run_checks_and_runs_what_comes_after() {
    let mut scene = scene();
    scene.order.is_unwatched = true;
    assert_eq!(scene.deploy().await.success(), Success::Started);
    assert_eq!(scene.journal.count("GET "), 0);
    sleep(seconds(60)).await;
    pays(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_timeout_the_next_run_follows_the_rollout_and_does_the_rest() {
    let mut scene = scene();
    scene.order.config.wait = seconds(5);
    assert_eq!(scene.deploy().await.reason(), Reason::Timeout);
    scene.order.config.wait = seconds(600);
    pays(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_cancelled_rollout_the_next_run_does_the_rest() {
    let scene = scene();
    let ended = scene.deploy_until(|scene| scene.journal.count("ecs:DescribeServiceDeployments") > 0).await;
    assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
    pays(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_command_that_failed_only_that_is_run_again() {
    let scene = scene().next_runs([Run::exits(1), Run::exits(0)]);
    let first = scene.deploy().await;
    assert!(first.result.is_err());
    scene.journal.clear();
    let again = scene.deploy_order(&other_run(&scene)).await;
    assert_eq!(again.success(), Success::Deployed, "{again:?}");
    assert_eq!(again.record.release, first.record.release, "it is the release that serves");
    assert_eq!((scene.journal.count("GET "), scene.journal.count("ecs:RunTask")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_does_not_answer_is_as_bad_at_the_second_run() {
    let mut scene = scene();
    scene.order.config.on_failure = OnFailure::Leave;
    does_not_answer(&scene);
    let first = scene.deploy().await;
    assert_eq!(first.reason(), Reason::Unsteady, "{first:?}");
    let second = scene.deploy_order(&other_run(&scene)).await;
    assert_eq!(second.reason(), first.reason(), "{second:?}");
    assert!(second.failure().what.contains("smoke check failed"), "{}", second.failure().what);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_was_not_watched_and_does_not_answer_is_put_back_by_the_next_run() {
    let mut scene = scene();
    scene.order.is_unwatched = true;
    assert_eq!(scene.deploy().await.success(), Success::Started);
    sleep(seconds(60)).await;
    scene.order.is_unwatched = false;
    does_not_answer(&scene);
    let second = scene.deploy_order(&other_run(&scene)).await;
    assert_eq!(second.reason(), Reason::RolledBack, "{second:?}");
    assert!(scene.cloud.aws().services["web"].task_definition.as_str().ends_with("web:41"));
    assert_eq!(second.state()[0], "shop/web: r7 (web:41) serves again, confirmed");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_fails_after_the_run_was_cancelled_is_put_back_by_the_next_run() {
    let scene = scene().next_rollouts("web", [Ending::CrashLoops]);
    let scene = scene.change_service("web", |web| web.breaker = Default::default());
    let ended = scene.deploy_until(|scene| scene.journal.count("ecs:DescribeServiceDeployments") > 0).await;
    assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
    let mut again = other_run(&scene);
    again.config.fail_fast = true;
    again.config.wait = seconds(600);
    let second = scene.deploy_order(&again).await;
    assert_eq!(second.reason(), Reason::RolledBack, "{second:?}");
    assert_eq!(second.state()[0], "shop/web: r7 (web:41) serves again, confirmed");
}

fn with_seed() -> Scene {
    let mut scene = Scene::new().with_front(300);
    scene.order.config.release.push(ReleaseCommand { name: "seed".to_owned(), ..migration() });
    scene
}

#[tokio::test(start_paused = true)]
async fn a_command_that_ended_well_before_the_run_did_is_not_run_again() {
    for is_killed in [false, true] {
        let scene = with_seed().next_runs([Run::exits(0), Run::hangs()]);
        let is_time = |scene: &Scene| scene.journal.count("ecs:RunTask") == 2;
        if is_killed {
            let seen = async {
                while !is_time(&scene) {
                    sleep(seconds(1)).await;
                }
                sleep(seconds(5)).await;
            };
            tokio::select! {
                ended = scene.deploy() => panic!("{ended:?}"),
                () = seen => {}
            }
        } else {
            assert_eq!(scene.deploy_until(is_time).await.reason(), Reason::Cancelled);
        }
        ends_well(&scene);
        let ended = scene.deploy_order(&next_attempt(&scene)).await;
        assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
        assert_eq!(scene.journal.count("ecs:RunTask"), 2, "killed: {is_killed}");
        assert_eq!(ended.state().iter().filter(|line| line.contains("was applied")).count(), 2, "{:?}", ended.state());
    }
}

/// What one image has migrated, another one has not.
#[tokio::test(start_paused = true)]
async fn a_command_that_ended_well_is_run_again_from_another_image() {
    let scene = with_seed().next_runs([Run::exits(0), Run::hangs()]);
    assert_eq!(scene.deploy_until(|scene| scene.journal.count("ecs:RunTask") == 2).await.reason(), Reason::Cancelled);
    ends_well(&scene);
    let mut again = next_attempt(&scene);
    again.config.images[0].source = ImageSource::Existing("ghcr.io/org/shop:moved".to_owned());
    let ended = scene.deploy_order(&again).await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 4, "{:#?}", scene.journal.lines());
}

/// Two jobs of one run, for a tenant each, whose command is written in the same words.
#[tokio::test(start_paused = true)]
async fn a_command_that_ended_well_is_run_again_with_another_value() {
    let of = |tenant: &str| vec![Resolved::of("./migrate ${env:TENANT}", format!("./migrate {tenant}"))];
    let mut scene = with_seed().next_runs([Run::exits(0), Run::hangs()]);
    scene.order.config.release[0].command = of("globex");
    assert_eq!(scene.deploy_until(|scene| scene.journal.count("ecs:RunTask") == 2).await.reason(), Reason::Cancelled);
    ends_well(&scene);
    let mut again = next_attempt(&scene);
    again.config.release.truncate(1);
    again.config.release[0].command = of("acme");
    let ended = scene.deploy_order(&again).await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 3, "{:#?}", scene.journal.lines());
}

/// The task that runs ends well while nobody looks.
fn ends_well(scene: &Scene) {
    let mut aws = scene.cloud.aws();
    let arn = aws.tasks.iter().find(|t| t.service.is_none() && !t.task.is_stopped()).unwrap().task.arn.clone();
    let ended = vec![container("app", Some(0))];
    aws.stop(&arn, "EssentialContainerExited", "Essential container in task exited", ended);
}

/// Its images are slow: the migration has ended long before anything moves.
#[tokio::test(start_paused = true)]
async fn a_migration_that_ended_while_an_image_was_built_is_not_run_again_by_the_next_attempt() {
    let scene = Scene::new().with_front(300);
    let is_done = |scene: &Scene| {
        scene.cloud.aws().tasks.iter().any(|t| t.service.is_none() && t.task.is_stopped())
            && scene.lease("web")["task"].is_null()
    };
    let ended = scene.deploy_until(is_done).await;
    assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
    let ended = scene.deploy_order(&next_attempt(&scene)).await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 1);
    assert_eq!(registered(&scene, "web"), 1, "the revision of the first attempt will do");
    assert_eq!(ended.record.release, Some(8));
    // It was this release's: another run has one of its own.
    let mut other = other_run(&scene);
    scene.builder.content.replace("newer".to_owned());
    other.tags.iter_mut().for_each(|(_, tags)| *tags = vec!["def456".to_owned()]);
    other.provenance.sha = Some("def456".to_owned());
    other.tags.push(("front".into(), vec!["def456".to_owned()]));
    assert_eq!(scene.deploy_order(&other).await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 2);
}

/// The process is gone when `is_time`.
pub async fn killed(scene: &Scene, order: &Order, is_time: impl Fn(&Scene) -> bool) {
    let seen = async {
        while !is_time(scene) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = scene.deploy_order(order) => panic!("{ended:?}"),
        () = seen => {}
    }
}

/// ECS shows a task for an hour after it has stopped.
fn forgets_stopped_tasks(scene: &Scene) {
    scene.cloud.aws().tasks.retain(|t| !t.task.is_stopped());
}

fn has_recorded(scene: &Scene) -> bool {
    scene.lease("web")["succeeded"].is_array()
}

fn attempt(scene: &Scene, number: u64) -> Order {
    let (number, token) = (number.to_string(), format!("token-{number}"));
    Order { config: scene.order.config.clone(), ..order("1001", &number, &token) }
}

/// Whatever had been written into its lease by then.
#[tokio::test(start_paused = true)]
async fn a_command_that_ended_well_is_not_run_again_after_an_attempt_that_died_with_a_new_lease() {
    for writes in 2..=4 {
        for is_killed in [true, false] {
            let mut scene = Scene::new().with_front(300);
            killed(&scene, &attempt(&scene, 1), has_recorded).await;
            forgets_stopped_tasks(&scene);
            let before = scene.journal.count("ssm:PutParameter");
            let is_time = |scene: &Scene| {
                let has_lease = scene.parameters().contains_key("/fargate-deploy/shop/web/lease/2");
                has_lease && scene.journal.count("ssm:PutParameter") >= before + writes
            };
            scene.order = attempt(&scene, 2);
            match is_killed {
                true => killed(&scene, &scene.order, is_time).await,
                false => assert_eq!(scene.deploy_until(is_time).await.reason(), Reason::Cancelled),
            }
            let ended = scene.deploy_order(&attempt(&scene, 3)).await;
            assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
            assert_eq!(scene.journal.count("ecs:RunTask"), 1, "{writes} writes, killed: {is_killed}");
        }
    }
}

/// By the lease alone: ECS has forgotten the task.
async fn runs_no_command_again(scene: &Scene, number: u64, ran: usize) {
    assert_eq!(scene.journal.count("ecs:RunTask"), ran, "{:?}", scene.effects());
    forgets_stopped_tasks(scene);
    let ended = scene.deploy_order(&attempt(scene, number)).await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), ran, "{:?}", scene.effects());
}

#[tokio::test(start_paused = true)]
async fn a_command_that_ended_well_is_not_run_again_where_a_person_has_deployed_a_service_before_its_turn() {
    let mut scene = Scene::new().with_worker();
    scene.order.config.services[1].after = vec!["web".into()];
    let person = async {
        while scene.journal.count("ecs:UpdateService web") == 0 {
            sleep(seconds(1)).await;
        }
        let mut aws = scene.cloud.aws();
        let arn = aws.add_definition(&definition("worker", &format!("{}-by-hand", old_image("shop-app"))), None);
        aws.update("worker", &arn, false);
    };
    let (first, ()) = tokio::join!(scene.deploy(), person);
    assert_eq!(first.reason(), Reason::Superseded, "{first:?}");
    runs_no_command_again(&scene, 2, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_ended_well_is_not_run_again_after_the_release_went_back() {
    let scene = Scene::new().next_rollouts("web", [Ending::RolledBack { reuses_id: false }]);
    let first = scene.deploy().await;
    assert_eq!(first.reason(), Reason::RolledBack, "{first:?}");
    runs_no_command_again(&scene, 2, 1).await;
}

/// A newer commit was deployed in between: starting an old run again is how people go back.
#[tokio::test(start_paused = true)]
async fn a_command_that_ended_well_is_not_run_again_by_a_retry_after_a_newer_release() {
    for fails in [true, false] {
        let mut scene = Scene::new();
        scene.order.config.release.push(ReleaseCommand {
            name: "reindex".to_owned(),
            when: When::After,
            ..migration()
        });
        let reindex = if fails { Run::exits(1) } else { Run::exits(0) };
        let scene = scene.next_runs([Run::exits(0), reindex]);
        let first = scene.deploy().await;
        assert_eq!(first.result.is_err(), fails, "{first:?}");
        let mut newer = other_run(&scene);
        newer.config.images[0].source = ImageSource::Existing("ghcr.io/org/shop:newer".to_owned());
        assert_eq!(scene.deploy_order(&newer).await.success(), Success::Deployed);
        assert_eq!(scene.journal.count("ecs:RunTask"), 4);
        forgets_stopped_tasks(&scene);
        let again = scene.deploy_order(&attempt(&scene, 2)).await;
        assert_eq!(again.success(), Success::Deployed, "{again:?}");
        let runs = scene.journal.count("ecs:RunTask") - 4;
        assert_eq!(runs, usize::from(fails), "the one that failed, and no other: {:?}", scene.effects());
    }
}

/// Its attempt died before it had noted the end, and another run took the lease over.
#[tokio::test(start_paused = true)]
async fn a_command_whose_end_nobody_has_noted_is_asked_for_in_ecs() {
    let scene = Scene::new().with_front(300).next_runs([Run::exits(0).after(60)]);
    let has_started = |scene: &Scene| scene.lease("web")["task"]["arn"].is_string();
    killed(&scene, &attempt(&scene, 1), has_started).await;
    let mut newer = other_run(&scene);
    newer.config.images.truncate(1);
    newer.config.services.truncate(1);
    newer.config.images[0].source = ImageSource::Existing("ghcr.io/org/shop:newer".to_owned());
    assert_eq!(scene.deploy_order(&newer).await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 2);
    assert_eq!(scene.deploy_order(&attempt(&scene, 2)).await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 2, "{:?}", scene.effects());
}

/// DescribeServices shows for a while what was before an order.
#[tokio::test(start_paused = true)]
async fn a_revision_that_the_attempt_before_has_ordered_is_not_called_a_newer_deployment() {
    for lag in (1..=50).map(|tenths| Duration::from_millis(100 * tenths)) {
        let scene = scene();
        scene.cloud.service_lag.set(lag);
        let is_ordered = |scene: &Scene| scene.cloud.aws().services["web"].task_definition.short() == "web:42";
        killed(&scene, &scene.order, is_ordered).await;
        let again = scene.deploy_order(&attempt(&scene, 2)).await;
        assert_eq!(again.result.as_ref().ok(), Some(&Success::Deployed), "{lag:?}: {again:?}");
        assert_eq!(again.state()[0], "shop/web: web:42 serves");
        assert_eq!((scene.journal.count("GET "), scene.journal.count("ecs:RunTask")), (1, 1), "{lag:?}");
    }
}

/// Of a revision that it replaces, and of the one that runs already.
#[tokio::test(start_paused = true)]
async fn a_deployment_that_the_attempt_before_has_forced_is_not_made_again() {
    for changes in [true, false] {
        let mut scene = Scene::without_migration();
        if !changes {
            assert_eq!(scene.deploy_order(&other_run(&scene)).await.success(), Success::Deployed);
        }
        scene.order.config.force = true;
        let before = scene.journal.count("ecs:UpdateService");
        let has_begun = |scene: &Scene| scene.cloud.aws().services["web"].deployments.len() == 2;
        killed(&scene, &scene.order, has_begun).await;
        let began = Instant::now();
        let again = scene.deploy_order(&attempt(&scene, 2)).await;
        assert_eq!(again.success(), Success::Deployed, "{again:?}");
        // What names a revision that did not run does the same twice, and needs no force.
        assert_eq!(began.elapsed() < seconds(60), changes, "{:?}", began.elapsed());
        assert_eq!(scene.journal.count("ecs:UpdateService") - before, 1, "{:?}", scene.effects());
        assert_eq!(again.state()[0], "shop/web: web:42 serves");
        // A run of its own is asked to force one of its own.
        let another = Order { config: scene.order.config.clone(), ..order("1003", "1", "token-3") };
        assert_eq!(scene.deploy_order(&another).await.success(), Success::Deployed);
        assert_eq!(scene.journal.count("ecs:UpdateService") - before, 2, "{:?}", scene.effects());
    }
}

/// Its order never arrived.
#[tokio::test(start_paused = true)]
async fn a_deployment_that_was_to_be_forced_and_never_began_is_forced_by_the_next_attempt() {
    let mut scene = Scene::without_migration();
    assert_eq!(scene.deploy_order(&other_run(&scene)).await.success(), Success::Deployed);
    scene.order.config.force = true;
    let before = scene.journal.count("ecs:UpdateService");
    killed(&scene, &scene.order, |scene| scene.journal.count("ecs:UpdateService") > before).await;
    assert_eq!(scene.cloud.aws().services["web"].deployments.len(), 1);
    let again = scene.deploy_order(&attempt(&scene, 2)).await;
    assert_eq!(again.success(), Success::Deployed, "{again:?}");
    assert_eq!(scene.journal.count("ecs:UpdateService") - before, 2, "{:?}", scene.effects());
}

fn registered(scene: &Scene, family: &str) -> usize {
    scene.journal.count(&format!("ecs:RegisterTaskDefinition {family}"))
}

#[tokio::test(start_paused = true)]
async fn an_intent_whose_task_was_never_asked_for_is_taken_back_when_the_run_is_cancelled() {
    let scene = Scene::new();
    scene.cloud.slow_puts.borrow_mut().push_back(seconds(10));
    let ended = scene.deploy_until(|scene| scene.cloud.slow_puts.borrow().is_empty()).await;
    assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 0);
    assert_eq!(scene.lease("web")["isReleased"], true);
    let began = Instant::now();
    assert_eq!(scene.deploy_order(&next_attempt(&scene)).await.success(), Success::Deployed);
    assert!(began.elapsed() < seconds(100), "{:?}", began.elapsed());
}

/// Its log is still read when the signal comes.
#[tokio::test(start_paused = true)]
async fn a_task_that_has_ended_is_not_said_to_be_running_by_a_cancelled_run() {
    let another_failed = || Run::fails_to_start("CannotPullContainerError: manifest unknown", None).after(30);
    for (run, expected) in [
        (Run::exits(0), "was applied"),
        (Run::exits(3), "exited with 3"),
        (another_failed(), "never started"),
        (another_failed().says(1.0, "ALTER TABLE 3 of 9"), "may be applied in part"),
    ] {
        let scene = Scene::new().next_runs([run]);
        let has_ended =
            |scene: &Scene| scene.cloud.aws().tasks.iter().any(|t| t.service.is_none() && t.task.is_stopped());
        let ended: Ended = scene.deploy_until(has_ended).await;
        assert_eq!(ended.reason(), Reason::Cancelled, "{ended:?}");
        assert!(ended.state()[1].contains(expected), "{:?}", ended.state());
        assert_eq!(scene.lease("web")["isReleased"], true);
    }
}

/// A parameter of SSM holds 4 KiB.
#[tokio::test(start_paused = true)]
async fn a_release_of_many_commands_is_remembered_within_what_a_parameter_holds() {
    let mut scene = Scene::without_migration();
    let named = |n: usize, when: When| ReleaseCommand {
        name: format!("{n:02}-a-command-with-quite-a-long-name-of-its-own"),
        when,
        ..migration()
    };
    scene.order.config.release = (0..30).map(|n| named(n, if n < 20 { When::Before } else { When::After })).collect();
    // Killed while the last of those before the services runs.
    let seen = async {
        while scene.journal.count("ecs:RunTask") < 20 {
            sleep(seconds(1)).await;
        }
    };
    tokio::select! {
        ended = scene.deploy() => panic!("{ended:?}"),
        () = seen => {}
    }
    let ended = scene.deploy_order(&next_attempt(&scene)).await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 30, "each once");
}

/// Of a service without tasks nothing can be asked.
#[tokio::test(start_paused = true)]
async fn what_is_owed_of_a_service_without_tasks_is_not_said_to_be_verified() {
    let mut scene = Scene::without_migration().with_smoke().change_service("web", |web| {
        web.counts.desired = 0;
        web.counts.running = 0;
        web.deployments[0].counts = web.counts;
    });
    scene.order.is_unwatched = true;
    assert_eq!(scene.deploy().await.success(), Success::Started);
    sleep(seconds(60)).await;
    let again = scene.deploy_order(&other_run(&scene)).await;
    assert_eq!(again.success(), Success::DeployedNotVerified, "{again:?}");
    assert_eq!(scene.journal.count("GET "), 0);
}
