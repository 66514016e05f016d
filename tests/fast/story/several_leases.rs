//! The leases of a release of several services: one order, one deadline, and none goes stale while another is waited for.

use super::lease::{claim_of, put, seconds, take, take_of, web};
use crate::story::scene::Scene;
use fargate_deploy::config::Lock;
use fargate_deploy::lease::{ClaimedTask, LeaseRequest, ManualLock, hold, in_order, set};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy::release::Order;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::{Reason, Success};
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn of(name: &str) -> ServiceRef {
    ServiceRef { cluster: "shop".into(), name: name.into() }
}

#[tokio::test(start_paused = true)]
async fn leases_are_taken_in_one_order_however_the_services_are_written() {
    let scene = Scene::new();
    let as_arn = |name: &str| of(&format!("arn:aws:ecs:eu-central-1:111122223333:service/shop/{name}"));
    for services in [[of("able"), as_arn("aaa")], [as_arn("able"), of("aaa")], [of("aaa"), of("able")]] {
        let record = RefCell::default();
        let context = scene.context(&record);
        let Order { owner, run, token, .. } = &scene.order;
        let request = LeaseRequest { owner, run, token, first: None };
        let mut line = in_order(services.iter(), scene.cloud.ports()).await.unwrap();
        let mut taken = vec![];
        while let Some(lease) = line.acquire_next(request, Instant::now() + seconds(60), &context).await.unwrap() {
            taken.push(lease.service().to_string());
            lease.release(scene.cloud.ports()).await;
        }
        assert_eq!(taken, ["shop/aaa", "shop/able"]);
    }
}

#[tokio::test(start_paused = true)]
async fn every_write_is_a_sign_of_life() {
    let scene = Scene::without_migration();
    let lease = take(&scene, &scene.order, seconds(1)).await.unwrap();
    let mut seen = vec![];
    for _ in 0..3 {
        lease
            .note_task(ClaimedTask { cluster: "shop".to_owned(), ..Default::default() }, scene.cloud.ports())
            .await
            .unwrap();
        seen.push(scene.lease("web").to_string());
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_keeps_no_other_lease_from_being_renewed() {
    let scene = Scene::without_migration().with_worker();
    let record = Default::default();
    let context = scene.context(&record);
    let mut leases = vec![];
    for name in ["web", "worker"] {
        leases.push(Rc::new(take_of(&of(name), &scene.order, seconds(1), &context).await.unwrap()));
    }
    scene.cloud.slow_puts.borrow_mut().push_back(seconds(110));
    hold(|| leases.clone(), &context, sleep(seconds(105))).await;
    let beats = |service: &str| scene.lease(service)["beat"].as_u64().unwrap();
    assert_eq!(beats("web"), 0);
    assert!(beats("worker") >= 4, "{}", beats("worker"));
}

/// `worker` is held by somebody who lives, and `web` for so long.
async fn held_for(scene: &Scene, web_for: Duration) {
    let began = Instant::now();
    let mut claim = claim_of("9");
    loop {
        claim["beat"] = json!(claim["beat"].as_u64().unwrap() + 1);
        scene.cloud.aws().parameters.insert("/fargate-deploy/shop/worker/lease/1".to_owned(), claim.to_string());
        let mut of_web = claim.clone();
        of_web["isReleased"] = json!(began.elapsed() >= web_for);
        if scene.lease("web")["token"] != json!("token-1") {
            put(scene, 1, &of_web);
        }
        sleep(seconds(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_lock_timeout_is_for_the_whole_release() {
    let mut scene = Scene::without_migration().with_worker();
    scene.order.config.lock = Lock::Lease { wait: seconds(30) };
    let began = Instant::now();
    let ended = tokio::select! {
        ended = scene.deploy() => ended,
        () = held_for(&scene, seconds(20)) => unreachable!(),
    };
    assert_eq!(ended.reason(), Reason::Locked, "{ended:?}");
    assert!(began.elapsed() <= seconds(35), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_persons_lock_on_any_service_is_seen_before_another_ones_lease_is_waited_for() {
    let scene = Scene::without_migration().with_worker();
    let worker = ServiceRef { name: "worker".into(), ..web() };
    let lock = ManualLock { reason: "demo".to_owned(), ..ManualLock::default() };
    set(&worker, &lock, scene.cloud.ports()).await.unwrap();
    let began = Instant::now();
    let ended = tokio::select! {
        ended = scene.deploy() => ended,
        () = held_for(&scene, seconds(60)) => unreachable!(),
    };
    assert!(ended.failure().what.contains("demo"), "{ended:?}");
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
}

/// Ten services of a run that was killed when it held them all: each lease names the first one as what renews it.
fn of_a_dead_run(services: usize) -> Scene {
    let mut scene = Scene::of_services(services);
    scene.order.config.release.clear();
    let names: Vec<_> = scene.order.config.services.iter().map(|service| service.name.to_string()).collect();
    let parameter = |name: &str| format!("/fargate-deploy/shop/{name}/lease/1");
    for name in &names {
        let mut claim = claim_of("9");
        claim["renewedBy"] = json!((*name != names[0]).then(|| parameter(&names[0])));
        scene.cloud.aws().parameters.insert(parameter(name), claim.to_string());
    }
    scene
}

#[tokio::test(start_paused = true)]
async fn the_leases_of_a_holder_that_died_are_waited_for_once() {
    for services in [2, 10, 50] {
        let mut scene = of_a_dead_run(services);
        scene.order.config.lock = Lock::Lease { wait: seconds(240) };
        scene.cloud.limit_rates();
        let began = Instant::now();
        let taken = async {
            while !scene.parameters().keys().filter(|name| name.ends_with("/2")).count().eq(&services) {
                sleep(seconds(1)).await;
            }
            began.elapsed()
        };
        let (ended, taken) = tokio::join!(scene.deploy(), taken);
        assert_eq!(ended.result.unwrap(), Success::Deployed);
        // Three writes a second.
        assert!(taken >= seconds(90) && taken <= seconds(100 + services as u64), "{services}: {taken:?}");
    }
}

/// What was silent when it was first seen, and is alive when its turn comes, is waited for.
#[tokio::test(start_paused = true)]
async fn a_holder_that_wakes_while_another_ones_lease_is_waited_for_is_not_taken_over() {
    for own in [true, false] {
        let mut scene = of_a_dead_run(3);
        scene.order.config.lock = Lock::Lease { wait: seconds(300) };
        let began = Instant::now();
        let wakes = async {
            // Its own lease, or the one that renews it.
            let woken = if own { "/fargate-deploy/shop/web2/lease/1" } else { "/fargate-deploy/shop/web/lease/1" };
            sleep(seconds(85)).await;
            let mut claim: serde_json::Value = serde_json::from_str(&scene.parameters()[woken]).unwrap();
            claim["beat"] = json!(2);
            scene.cloud.aws().parameters.insert(woken.to_owned(), claim.to_string());
            while scene.lease("web2")["token"] != json!("token-1") {
                sleep(seconds(1)).await;
            }
            began.elapsed()
        };
        let (ended, taken) = tokio::join!(scene.deploy(), wakes);
        assert_eq!(ended.result.unwrap(), Success::Deployed);
        assert!(taken >= seconds(85 + 90), "its own: {own}: {taken:?}");
    }
}

/// A look that failed has not seen the holder silent.
#[tokio::test(start_paused = true)]
async fn a_lease_that_could_not_be_watched_is_waited_for_when_its_turn_comes() {
    let scene = of_a_dead_run(2);
    let fails = async {
        sleep(seconds(30)).await;
        scene.cloud.fail("ssm:GetParametersByPath web1", CallErrorKind::Unreachable, 0, 1);
    };
    let began = Instant::now();
    let taken = async {
        while scene.lease("web1")["token"] != json!("token-1") {
            sleep(seconds(1)).await;
        }
        began.elapsed()
    };
    let (ended, (), taken) = tokio::join!(scene.deploy(), fails, taken);
    assert_eq!(ended.result.unwrap(), Success::Deployed);
    assert!(taken >= seconds(120), "{taken:?}");
}
