//! All or nothing, and the other two policies; crash loops that end before the circuit breaker does.

use crate::story::fake::rollout::Ending;
use crate::story::scene::Scene;
use fargate_deploy::config::OnFailure;
use fargate_deploy_core::outcome::Reason;
use fargate_deploy_core::service::Breaker;

const NO_BREAKER: Breaker = Breaker { is_enabled: false, rolls_back: false };

/// `web` succeeds, `worker` crashes.
fn scene(policy: OnFailure) -> Scene {
    let mut scene = Scene::new().with_worker().next_rollouts("worker", [Ending::RolledBack { reuses_id: false }]);
    scene.order.config.on_failure = policy;
    scene
}

#[tokio::test(start_paused = true)]
async fn all_services_go_back_when_one_fails() {
    let ended = scene(OnFailure::RollbackAll).deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!(
        ended.state(),
        [
            "shop/web: r7 (web:41) serves again, confirmed",
            "shop/worker: r7 (worker:41) serves again, confirmed",
            "release command `migrate` was applied (task task3)",
            "nothing undoes `migrate`: the older code now meets what it changed",
        ]
    );
    assert!(ended.failure().what.starts_with("shop/worker"), "{}", ended.failure().what);
    assert!(ended.failure().evidence.iter().any(|l| l.contains("exit code 1")), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn only_the_failed_service_goes_back_where_that_is_asked() {
    let ended = scene(OnFailure::RollbackFailed).deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    assert_eq!(ended.state()[..2], ["shop/web: web:42 serves", "shop/worker: r7 (worker:41) serves again, confirmed"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_put_back_where_that_is_asked() {
    let mut scene = Scene::without_migration().with_worker().next_rollouts("worker", [Ending::CrashLoops]);
    scene.order.config.on_failure = OnFailure::Leave;
    let scene = scene.change_service("worker", |s| s.breaker = NO_BREAKER);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Unsteady, "{ended:?}");
    assert_eq!(scene.effects().iter().filter(|l| l.starts_with("ecs:Update")).count(), 2, "{:?}", scene.effects());
    assert_eq!(scene.journal.count("ecs:StopServiceDeployment"), 0);
    assert_eq!(ended.state()[0], "shop/web: web:42 serves");
    assert!(ended.failure().next.as_ref().unwrap().contains("`on-failure` is `leave`"), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_comes_after_a_failed_one_is_not_touched() {
    let mut scene =
        Scene::without_migration().with_worker().next_rollouts("web", [Ending::RolledBack { reuses_id: false }]);
    scene.order.config.services[1].after = vec!["web".into()];
    for policy in [OnFailure::RollbackAll, OnFailure::RollbackFailed, OnFailure::Leave] {
        scene.order.config.on_failure = policy;
        let scene = &scene;
        scene.cloud.aws().endings.insert("web".to_owned(), [Ending::RolledBack { reuses_id: false }].into());
        scene.journal.clear();
        let ended = scene.deploy().await;
        assert_eq!(ended.reason(), Reason::RolledBack, "{policy:?}: {ended:?}");
        assert_eq!(scene.journal.count("ecs:UpdateService worker"), 0, "{policy:?}");
        assert_eq!(ended.state()[1], "shop/worker: untouched, r7 (worker:41) serves", "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_taken_back_before_the_breaker_trips_where_that_is_asked() {
    let slow = |fail_fast: bool| {
        let mut scene = Scene::without_migration().next_rollouts("web", [Ending::CrashLoops]);
        scene.order.config.fail_fast = fail_fast;
        scene.change_service("web", |s| s.breaker = Breaker { is_enabled: true, rolls_back: true })
    };
    let scene = slow(true);
    let began = tokio::time::Instant::now();
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::RolledBack, "{ended:?}");
    let told = &ended.failure().evidence;
    assert!(told.iter().any(|e| e.contains("tasks in a row ended alike: container `app` exited with 1")), "{ended:?}");
    assert_eq!(scene.journal.count("ecs:StopServiceDeployment"), 1);
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    let mut scene = slow(false);
    scene.order.config.wait = std::time::Duration::from_secs(600);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Timeout, "the breaker of this ECS never trips: {ended:?}");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_deployed_since_is_not_overwritten_by_going_back() {
    let scene = Scene::without_migration()
        .with_worker()
        .next_rollouts("web", [Ending::SupersededBy("web:77")])
        .next_rollouts("worker", [Ending::RolledBack { reuses_id: false }]);
    let ended = scene.deploy().await;
    assert_eq!(ended.state()[0], "shop/web: a newer deployment owns it", "{ended:?}");
    assert_eq!(scene.journal.count("ecs:UpdateService web"), 1, "{:?}", scene.effects());
}
