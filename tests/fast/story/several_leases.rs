//! The leases of a release of several services: one order, one deadline, and none goes stale while another is waited for.

use super::lease::{claim_of, put, seconds, take, take_of, web};
use crate::story::scene::Scene;
use fargate_deploy::config::Lock;
use fargate_deploy::lease::{ClaimedTask, ManualLock, hold, in_order, set};
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::Reason;
use serde_json::json;
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
        let ordered = in_order(services.iter(), scene.cloud.ports()).await.unwrap();
        assert_eq!(ordered.iter().map(|next| next.service.to_string()).collect::<Vec<_>>(), ["shop/aaa", "shop/able"]);
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
