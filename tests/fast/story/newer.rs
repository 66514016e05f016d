//! An older and a newer run at once: service by service, the newer commit stays.

use super::lease::seconds;
use crate::story::fake::rollout::Ending;
use crate::story::scene::{Ended, Scene, definition, old_image, order};
use fargate_deploy::config::{ImageSource, OnFailure};
use fargate_deploy::release::Order;
use fargate_deploy_core::outcome::{Reason, Success};
use serde_json::json;
use tokio::time::sleep;

/// A run of `services` that deploys an image of its own.
fn run_of(scene: &Scene, run: &str, services: &[&str]) -> Order {
    let mut order = Order { config: scene.order.config.clone(), ..order(run, "1", run) };
    order.config.services.retain(|s| services.contains(&s.key.as_str()));
    order.config.images[0].source = ImageSource::Existing(format!("ghcr.io/org/shop:{run}"));
    order
}

/// Run 1001, and 1002 which is ahead of it at the leases.
async fn newer_first(scene: &Scene, older: &Order, newer: &Order) -> (Ended, Ended) {
    let later = async {
        sleep(seconds(1)).await;
        scene.deploy_order(older).await
    };
    tokio::join!(later, scene.deploy_order(newer))
}

/// The run whose revision a service runs.
fn run_that_serves(scene: &Scene, service: &str) -> String {
    let aws = scene.cloud.aws();
    let runs = aws.services[service].task_definition.clone();
    let run = aws.definition(runs.as_str()).unwrap().run().unwrap_or_default().to_owned();
    run.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn an_older_run_leaves_the_service_of_a_newer_one_alone_and_deploys_the_others() {
    let scene = Scene::without_migration().with_worker();
    let (older, newer) = (run_of(&scene, "1001", &["web", "worker"]), run_of(&scene, "1002", &["worker"]));
    let (older, newer) = newer_first(&scene, &older, &newer).await;
    assert_eq!(newer.success(), Success::Deployed, "{newer:?}");
    assert_eq!(older.reason(), Reason::Superseded, "{older:?}");
    assert_eq!((run_that_serves(&scene, "web"), run_that_serves(&scene, "worker")), ("1001".into(), "1002".into()));
    assert!(older.state()[0].contains("web:42 serves"), "{:?}", older.state());
    assert_eq!(older.state()[1], "shop/worker: a newer deployment owns it");
}

#[tokio::test(start_paused = true)]
async fn an_older_run_of_nothing_else_changes_nothing() {
    let scene = Scene::without_migration();
    let (older, newer) = (run_of(&scene, "1001", &["web"]), run_of(&scene, "1002", &["web"]));
    let (older, _) = newer_first(&scene, &older, &newer).await;
    assert_eq!(older.reason(), Reason::Superseded, "{older:?}");
    assert_eq!(run_that_serves(&scene, "web"), "1002");
    assert_eq!(scene.journal.count("ecs:UpdateService"), 1);
}

/// What serves has no tag that names its run: the lease does.
#[tokio::test(start_paused = true)]
async fn an_older_run_changes_nothing_where_there_is_no_room_for_the_tags_of_a_release() {
    for own in [47, 50] {
        let scene = Scene::without_migration();
        {
            let mut body = definition("web", &old_image("shop-app"));
            body["tags"] = (0..own).map(|n| json!({"key": format!("k{n}"), "value": "v"})).collect();
            let mut aws = scene.cloud.aws();
            let arn = aws.add_definition(&body, None);
            aws.add_service("web", &arn);
        }
        let (older, newer) = (run_of(&scene, "1001", &["web"]), run_of(&scene, "1002", &["web"]));
        let (older, newer) = newer_first(&scene, &older, &newer).await;
        assert_eq!(newer.success(), Success::Deployed, "{newer:?}");
        assert_eq!(older.reason(), Reason::Superseded, "{own}: {older:?}");
        assert_eq!(scene.journal.count("ecs:UpdateService"), 1, "{own}");
    }
}

/// It waits for the lease of `web` first, and a newer run deploys `worker` meanwhile, whose lease nobody holds when its turn comes.
#[tokio::test(start_paused = true)]
async fn a_run_waits_from_its_beginning_not_from_each_lease() {
    let scene = Scene::without_migration().with_worker().next_rollouts("web", [Ending::Hangs]);
    let mut first = run_of(&scene, "1000", &["web"]);
    first.config.wait = seconds(120);
    let older = run_of(&scene, "1001", &["web", "worker"]);
    let newer = run_of(&scene, "1002", &["worker"]);
    let later = async |order: &Order, after: u64| {
        sleep(seconds(after)).await;
        scene.deploy_order(order).await
    };
    let (_, older, newer) = tokio::join!(scene.deploy_order(&first), later(&older, 1), later(&newer, 2));
    assert_eq!(newer.success(), Success::Deployed, "{newer:?}");
    assert!(older.result.is_err(), "{older:?}");
    assert_eq!(run_that_serves(&scene, "worker"), "1002");
}

/// Its run ended badly, and what it deployed serves.
#[tokio::test(start_paused = true)]
async fn what_a_newer_run_deployed_counts_however_its_run_ended() {
    let mut scene = Scene::without_migration().with_worker();
    scene.order.config.on_failure = OnFailure::RollbackFailed;
    let scene = scene.next_rollouts("worker", [Ending::RolledBack { reuses_id: false }]);
    let (older, newer) = (run_of(&scene, "1001", &["web", "worker"]), run_of(&scene, "1002", &["web", "worker"]));
    let (older, newer) = newer_first(&scene, &older, &newer).await;
    assert_eq!(newer.reason(), Reason::RolledBack, "{newer:?}");
    assert_eq!(older.reason(), Reason::Superseded, "{older:?}");
    assert_eq!(run_that_serves(&scene, "web"), "1002", "it serves");
    assert_eq!(run_that_serves(&scene, "worker"), "1001", "the newer one went back");
}

/// Started again on purpose: whoever does that wants this commit.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_started_again_gives_way_to_nobody() {
    let scene = Scene::without_migration();
    let older = Order { run: order("1001", "2", "").run, ..run_of(&scene, "1001", &["web"]) };
    let newer = run_of(&scene, "1002", &["web"]);
    let (older, _) = newer_first(&scene, &older, &newer).await;
    assert_eq!(older.success(), Success::Deployed, "{older:?}");
    assert_eq!(run_that_serves(&scene, "web"), "1001");
}

/// An old run that somebody starts when the newer one has ended is how people go back.
#[tokio::test(start_paused = true)]
async fn a_run_that_began_after_the_newer_one_had_deployed_gives_way_to_nobody() {
    let scene = Scene::without_migration();
    assert_eq!(scene.deploy_order(&run_of(&scene, "1002", &["web"])).await.success(), Success::Deployed);
    assert_eq!(scene.deploy_order(&run_of(&scene, "1001", &["web"])).await.success(), Success::Deployed);
    assert_eq!(run_that_serves(&scene, "web"), "1001");
}

/// What is older is replaced as ever.
#[tokio::test(start_paused = true)]
async fn a_newer_run_that_waits_for_an_older_one_deploys() {
    let scene = Scene::without_migration();
    let (older, newer) = (run_of(&scene, "1002", &["web"]), run_of(&scene, "1001", &["web"]));
    let (newer, older) = newer_first(&scene, &older, &newer).await;
    assert_eq!((older.success(), newer.success()), (Success::Deployed, Success::Deployed));
    assert_eq!(run_that_serves(&scene, "web"), "1002");
}
