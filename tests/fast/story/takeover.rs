//! Two runs that each believe for a moment that the service is theirs: one was cut off, or suspended. What is newer stays, and
//! who lost the lease says so.

use super::lease::{claim_of, put, seconds, take};
use super::owed::killed;
use crate::story::fake::cloud::{Moment, WAY, error};
use crate::story::fake::definition_arn;
use crate::story::fake::rollout::Ending;
use crate::story::fake::suspend;
use crate::story::fake::task::Run;
use crate::story::scene::{Ended, Scene, migration, order};
use fargate_deploy::config::{ImageSource, ReleaseCommand, When};
use fargate_deploy::fence::may_send;
use fargate_deploy::lease;
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy::release::Order;
use fargate_deploy::steps::release::RunKey;
use fargate_deploy_core::outcome::{Reason, Success};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A run that deploys an image of its own.
fn run_of(scene: &Scene, run: &str) -> Order {
    let mut order = Order { config: scene.order.config.clone(), ..order(run, "1", run) };
    order.config.images[0].source = ImageSource::Existing(format!("ghcr.io/org/shop:{run}"));
    order
}

/// The older run 1001, and the newer 1002 a second later.
async fn both(scene: &Scene) -> (Ended, Ended) {
    let (older, newer) = (run_of(scene, "1001"), run_of(scene, "1002"));
    let later = async {
        sleep(seconds(1)).await;
        scene.deploy_order(&newer).await
    };
    tokio::join!(scene.deploy_order(&older), later)
}

/// The newer one deployed, nothing came over it, and the older one does not say that it did.
fn newer_stays(scene: &Scene, older: &Ended, newer: &Ended, updates: usize) {
    assert_eq!(newer.success(), Success::Deployed, "{newer:?}");
    assert_eq!(older.reason(), Reason::Locked, "{older:?}");
    let sent: Vec<_> = scene.effects().into_iter().filter(|l| l.starts_with("ecs:UpdateService")).collect();
    assert_eq!(sent.len(), updates, "{sent:?}");
    let newest = newer.record.services[0].target.as_ref();
    assert_eq!(newest, Some(&scene.cloud.aws().services["web"].task_definition));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_was_cut_off_before_its_update_deploys_nothing_over_the_newer_release() {
    for lasts in [97, 400] {
        let scene = Scene::without_migration();
        scene.cloud.freeze("1001", "ecs:UpdateService", Moment::BeforeSending, 0, seconds(lasts));
        let (older, newer) = both(&scene).await;
        newer_stays(&scene, &older, &newer, 1);
        assert_eq!(older.state()[0], "shop/web: a newer deployment owns it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_suspended_between_check_and_call_deploys_nothing_when_it_wakes() {
    for lasts in [150, 400] {
        let scene = Scene::without_migration();
        // The list that shows that the lease is its own.
        scene.cloud.freeze("1001", "ssm:GetParametersByPath", Moment::BeforeTheAnswer, 2, seconds(lasts));
        let (older, newer) = both(&scene).await;
        newer_stays(&scene, &older, &newer, 1);
    }
}

/// The network holds it up for longer than the lease lasts: the newer run waits until it must have arrived.
#[tokio::test(start_paused = true)]
async fn an_update_that_arrives_late_is_followed_by_the_newer_run_s() {
    let scene = Scene::without_migration();
    let (older, newer) = (run_of(&scene, "1001"), run_of(&scene, "1002"));
    let dies = async {
        let update = async {
            while scene.journal.count("ecs:UpdateService") == 0 {
                sleep(seconds(1)).await;
            }
        };
        tokio::select! {
            ended = scene.deploy_order(&older) => panic!("{ended:?}"),
            () = update => {}
        }
        let first = scene.cloud.aws().definition("web:42").and_then(|d| d.arn()).unwrap();
        sleep(seconds(140)).await;
        scene.cloud.aws().update("web", &first, false);
    };
    scene.cloud.freeze("1001", "ecs:UpdateService", Moment::OnItsWay, 0, seconds(10_000));
    let later = async {
        sleep(seconds(1)).await;
        scene.deploy_order(&newer).await
    };
    let ((), newer) = tokio::join!(dies, later);
    assert_eq!(newer.success(), Success::Deployed, "{newer:?}");
    let newest = newer.record.services[0].target.as_ref();
    assert_eq!(newest, Some(&scene.cloud.aws().services["web"].task_definition));
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_update_is_answered_when_the_lease_is_gone_does_not_say_that_it_deployed() {
    let scene = Scene::without_migration();
    scene.cloud.freeze("1001", "ecs:UpdateService", Moment::BeforeTheAnswer, 0, seconds(300));
    let (older, newer) = both(&scene).await;
    newer_stays(&scene, &older, &newer, 2);
}

/// It sleeps while its rollout is watched, and wakes when somebody else has deployed the same.
#[tokio::test(start_paused = true)]
async fn a_holder_that_lost_the_lease_while_it_watched_does_not_say_that_it_deployed() {
    let scene = Scene::without_migration();
    let taken = async {
        while scene.journal.count("ecs:DescribeServiceDeployments") == 0 {
            sleep(seconds(1)).await;
        }
        put(&scene, 2, &claim_of("9"));
    };
    let (ended, ()) = tokio::join!(scene.deploy(), taken);
    assert_eq!(ended.reason(), Reason::Locked, "{ended:?}");
    assert_eq!(ended.state()[0], "shop/web: a newer deployment owns it");
}

/// Nobody took the lease: who deploys by hand asks for none.
#[tokio::test(start_paused = true)]
async fn a_holder_that_is_suspended_before_its_update_sends_nothing_over_a_deployment_by_hand() {
    let scene = Scene::without_migration();
    scene.cloud.freeze("1001", "ecs:UpdateService", Moment::BeforeSending, 0, seconds(97));
    let fix = definition_arn("web:77").as_str().into();
    let by_hand = scene.deploy_by_hand(&fix, "ecs:RegisterTaskDefinition", 1, seconds(30));
    let order = run_of(&scene, "1001");
    let (ended, ()) = tokio::join!(scene.deploy_order(&order), by_hand);
    assert_eq!(scene.cloud.aws().services["web"].task_definition, fix, "{:?}", scene.journal.lines());
    assert_eq!(ended.reason(), Reason::Superseded, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_suspended_before_run_task_starts_nothing_when_it_wakes() {
    for lasts in [97, 250, 600] {
        let scene = Scene::new().next_runs([Run::exits(0).after(120), Run::exits(0).after(120)]);
        scene.cloud.freeze("1001", "ecs:RunTask", Moment::BeforeSending, 0, seconds(lasts));
        let (older, newer) = both(&scene).await;
        assert_eq!(scene.cloud.aws().most_at_once, 1);
        assert_eq!(newer.success(), Success::Deployed, "{newer:?}");
        // An intent is believed for 300 s.
        if lasts > 90 + 300 {
            assert_eq!(older.reason(), Reason::Locked, "{older:?}");
            assert_eq!(scene.journal.count("ecs:RunTask"), 1);
            assert!(older.state()[1].contains("never started"), "{:?}", older.state());
        }
    }
}

/// It read the services under its lease, and then it slept.
#[tokio::test(start_paused = true)]
async fn a_holder_that_lost_the_lease_before_it_registered_registers_nothing_and_takes_no_snapshot() {
    for lasts in [150, 400] {
        let mut scene = Scene::new();
        scene.order.config.snapshot = Some("shop-db".to_owned());
        scene.cloud.freeze("1001", "ecs:DescribeServices", Moment::BeforeTheAnswer, 1, seconds(lasts));
        let (older, newer) = both(&scene).await;
        newer_stays(&scene, &older, &newer, 1);
        assert_eq!(scene.journal.count("ecs:RegisterTaskDefinition"), 1, "{:?}", scene.effects());
        assert_eq!(scene.journal.count("rds:CreateDBSnapshot"), 1);
        assert_eq!(older.record.registered, []);
    }
}

/// Its definition is registered, and the answer is late: the newer run has begun.
#[tokio::test(start_paused = true)]
async fn a_holder_that_lost_the_lease_before_its_snapshot_takes_none() {
    let mut scene = Scene::new();
    scene.order.config.snapshot = Some("shop-db".to_owned());
    scene.cloud.freeze("1001", "ecs:RegisterTaskDefinition", Moment::BeforeTheAnswer, 0, seconds(400));
    let (older, newer) = both(&scene).await;
    newer_stays(&scene, &older, &newer, 1);
    assert_eq!(scene.cloud.aws().snapshots.len(), 1);
    assert!(scene.cloud.aws().snapshots.contains_key("fargate-deploy-shop-db-1002"));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_lost_the_lease_while_its_task_was_started_moves_no_service() {
    for suspended in [false, true] {
        let scene = Scene::new().next_runs([Run::exits(0).after(400)]);
        let taken = async {
            while scene.journal.count("ecs:RunTask") == 0 {
                sleep(WAY / 4).await;
            }
            put(&scene, 2, &claim_of("9"));
            if suspended {
                suspend(seconds(200));
            }
        };
        let began = Instant::now();
        let (ended, ()) = tokio::join!(scene.deploy(), taken);
        assert_eq!(ended.reason(), Reason::Locked, "{ended:?}");
        assert_eq!(scene.journal.count("ecs:UpdateService"), 0);
        if suspended {
            assert!(began.elapsed() < seconds(20), "it is said at once: {:?}", began.elapsed());
            assert!(ended.state()[1].contains("is still running"), "{:?}", ended.state());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_lost_the_lease_puts_nothing_back() {
    for breaker in [true, false] {
        let scene = Scene::without_migration().with_smoke();
        let scene = scene.change_service("web", |web| web.breaker.is_enabled = breaker);
        scene.web.answers.borrow_mut().extend(vec![Ok((503, String::new())); 100]);
        let taken = async {
            while scene.journal.count("GET ") == 0 {
                sleep(seconds(1)).await;
            }
            put(&scene, 2, &claim_of("9"));
        };
        let (ended, ()) = tokio::join!(scene.deploy(), taken);
        assert_eq!(scene.journal.count("ecs:UpdateService"), 1, "{:?}", scene.effects());
        assert_eq!(scene.journal.count("ecs:StopServiceDeployment"), 0);
        assert_eq!(ended.reason(), Reason::Superseded, "{ended:?}");
        assert_eq!(ended.state()[0], "shop/web: a newer deployment owns it");
    }
}

/// Suspended between its look and the order to go back.
#[tokio::test(start_paused = true)]
async fn a_holder_that_sleeps_before_it_puts_something_back_leaves_the_newer_release_alone() {
    let scene = Scene::without_migration().next_rollouts("web", [Ending::Failed]);
    let scene = scene.change_service("web", |web| web.breaker.rolls_back = false);
    scene.cloud.freeze("1001", "ecs:UpdateService web -> web:41", Moment::BeforeSending, 0, seconds(300));
    let (older, newer) = both(&scene).await;
    assert_eq!(newer.success(), Success::Deployed, "{newer:?}");
    assert_eq!(scene.journal.count("ecs:UpdateService web -> web:41"), 0, "{:?}", scene.effects());
    assert_eq!(older.reason(), Reason::Superseded, "{older:?}");
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_waits_until_an_order_of_the_one_before_must_have_arrived() {
    let scene = Scene::without_migration();
    let mut dying = claim_of("9");
    dying["isUpdating"] = json!(true);
    put(&scene, 1, &dying);
    let began = Instant::now();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert!(began.elapsed() >= seconds(180), "{:?}", began.elapsed());
}

/// Its UpdateService is on its way when it dies, and arrives so long after that.
async fn dies_while_it_orders(scene: &Scene, first: &Order, again: &Order, arrives: u64) -> Ended {
    killed(scene, first, |scene| scene.journal.count("ecs:UpdateService") > 0).await;
    let ordered = scene.cloud.aws().definition("web:42").and_then(|d| d.arn()).unwrap();
    assert!(scene.lease("web")["isUpdating"].as_bool().unwrap());
    let late = async {
        sleep(seconds(arrives)).await;
        scene.cloud.aws().update("web", &ordered, false);
    };
    tokio::join!(scene.deploy_order(again), late).0
}

fn second_attempt(first: &Order) -> Order {
    let number = || "2".to_owned();
    Order { run: RunKey { attempt: number(), ..first.run.clone() }, token: number(), ..first.clone() }
}

/// Whenever it arrives, it does no harm.
#[tokio::test(start_paused = true)]
async fn a_later_attempt_does_not_wait_for_an_order_of_the_same_revision() {
    for arrives in [0, 1, 5, 12] {
        let scene = Scene::without_migration();
        let began = Instant::now();
        let again = dies_while_it_orders(&scene, &scene.order, &second_attempt(&scene.order), arrives).await;
        assert_eq!(again.success(), Success::Deployed, "{again:?}");
        assert!(began.elapsed() < seconds(60), "{:?}", began.elapsed());
        assert_eq!(scene.cloud.aws().updates.len(), 1, "one deployment");
    }
}

/// The workflow builds another image, or a person has changed what it deploys.
#[tokio::test(start_paused = true)]
async fn a_later_attempt_waits_until_an_order_of_another_revision_must_have_arrived() {
    for arrives in [1, 12, 60] {
        let scene = Scene::without_migration();
        let again = Order { provenance: scene.order.provenance.clone(), ..run_of(&scene, "1001") };
        let again = dies_while_it_orders(&scene, &scene.order, &second_attempt(&again), arrives).await;
        assert_eq!(again.success(), Success::Deployed, "{again:?}");
        let newest = again.record.services[0].target.as_ref();
        assert_eq!(newest, Some(&scene.cloud.aws().services["web"].task_definition), "after {arrives} s");
    }
}

/// What it told the service is not known.
#[tokio::test(start_paused = true)]
async fn a_later_attempt_waits_for_an_order_that_is_not_described() {
    let scene = Scene::without_migration();
    let mut dead = claim_of("1001");
    dead["isUpdating"] = json!(true);
    put(&scene, 1, &dead);
    let began = Instant::now();
    assert_eq!(scene.deploy_order(&order("1001", "2", "token-2")).await.success(), Success::Deployed);
    assert!(began.elapsed() >= seconds(90), "{:?}", began.elapsed());
}

/// A run that is told to end while it waits for such an order has not settled it.
#[tokio::test(start_paused = true)]
async fn an_order_on_its_way_is_waited_for_after_a_run_that_was_cancelled_while_it_waited() {
    let scene = Scene::without_migration();
    let mut dying = claim_of("9");
    dying["isUpdating"] = json!(true);
    put(&scene, 1, &dying);
    let ended = scene.deploy_until(|scene| !scene.lease("web").is_null() && scene.lease("web")["run"]["key"] == "1001");
    assert_eq!(ended.await.reason(), Reason::Cancelled);
    let began = Instant::now();
    assert_eq!(scene.deploy_order(&order("1001", "2", "token-2")).await.success(), Success::Deployed);
    assert!(began.elapsed() >= seconds(89), "{:?}", began.elapsed());
}

/// It sleeps while its migration runs, and the next commit deploys everything.
#[tokio::test(start_paused = true)]
async fn who_lost_the_lease_says_of_no_service_that_it_is_untouched_and_does_not_advise_to_go_on() {
    for call in ["ecs:UpdateService", "ecs:RunTask", "ecs:RegisterTaskDefinition"] {
        let mut scene = Scene::new().with_worker();
        scene.order.config.services[1].after = vec!["web".into()];
        scene.cloud.freeze("1001", call, Moment::BeforeTheAnswer, 0, seconds(600));
        let (older, newer) = both(&scene).await;
        assert_eq!(newer.success(), Success::Deployed, "{newer:?}");
        assert_eq!(older.reason(), Reason::Locked, "{call}: {older:?}");
        let services: Vec<_> = older.state().into_iter().filter(|line| line.starts_with("shop/")).collect();
        let owned = |name: &str| format!("shop/{name}: a newer deployment owns it");
        assert_eq!(services, [owned("web"), owned("worker")], "{call}");
        let next = older.failure().next.clone().unwrap();
        assert!(!next.contains("run this again to go on") && !next.contains("run it again"), "{call}: {next}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_of_an_order_asks_whether_it_may_still_go_out() {
    let scene = Scene::new();
    let record = Default::default();
    let context = scene.context(&record);
    let lease = take(&scene, &scene.order, seconds(1)).await.unwrap();
    let sent = std::cell::RefCell::new(vec![]);
    // As the SDK does: several attempts in one call.
    let send = async || {
        for attempt in 1..=4 {
            sent.borrow_mut().push(may_send());
            if attempt == 2 {
                suspend(seconds(70));
            }
        }
        Err::<(), _>(error("ecs:UpdateService", CallErrorKind::Invalid))
    };
    let answer = lease::order(Some(&lease), None, &context, send).await.unwrap();
    assert_eq!(sent.into_inner(), [true, true, false, false]);
    assert_eq!(answer.unwrap_err().kind, CallErrorKind::Unreachable, "what the first two did is not known");
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_lease_says_nothing_of_what_serves() {
    let mut scene = Scene::without_migration();
    scene.order.config.release = vec![ReleaseCommand { when: When::After, ..migration() }];
    let taken = async {
        while scene.journal.count("ssm:PutParameter web 1 with intent") == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        put(&scene, 2, &claim_of("9"));
    };
    let (ended, ()) = tokio::join!(scene.deploy(), taken);
    assert_eq!(ended.reason(), Reason::Locked, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 0);
    assert_eq!(ended.state()[0], "shop/web: a newer deployment owns it");
}
