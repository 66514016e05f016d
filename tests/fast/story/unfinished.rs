//! A service that shows no deployment in progress, and is not done all the same.

use super::lease::seconds;
use crate::story::scene::{Scene, order};
use fargate_deploy::config::{Lock, OnFailure};
use fargate_deploy::release::Order;
use fargate_deploy_core::outcome::Success;
use fargate_deploy_core::service::{ServiceDeploymentStatus, Strategy};
use tokio::time::Instant;

fn other_run(scene: &Scene) -> Order {
    Order { config: scene.order.config.clone(), ..order("1002", "1", "token-2") }
}

/// Blue/green, and the newest deployment bakes for that long; the service says nothing of it.
fn bakes(scene: &Scene, lasts: u64) {
    let mut aws = scene.cloud.aws();
    aws.services.get_mut("web").unwrap().strategy = Strategy::Shifting("BLUE_GREEN".to_owned());
    aws.service_deployments[0].1.status = ServiceDeploymentStatus::InProgress;
    aws.after(seconds(lasts), |aws| aws.service_deployments[0].1.status = ServiceDeploymentStatus::Successful);
}

#[tokio::test(start_paused = true)]
async fn another_commit_migrates_only_when_a_blue_green_deployment_has_baked() {
    let scene = Scene::new();
    bakes(&scene, 120);
    let began = Instant::now();
    let migrates = async {
        while scene.journal.count("ecs:RunTask") == 0 {
            tokio::time::sleep(seconds(1)).await;
        }
        began.elapsed()
    };
    let (ended, migrated) = tokio::join!(scene.deploy(), migrates);
    assert!(migrated >= seconds(120), "{migrated:?}");
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_commit_again_follows_a_blue_green_deployment_that_still_bakes() {
    let scene = Scene::without_migration();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    bakes(&scene, 120);
    let began = Instant::now();
    assert_eq!(scene.deploy_order(&other_run(&scene)).await.success(), Success::Unchanged);
    assert!(began.elapsed() >= seconds(120), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_completed_deployment_of_which_nothing_runs_is_not_nothing_to_do() {
    let scene = Scene::without_migration();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    scene.cloud.aws().services.get_mut("web").unwrap().deployments[0].counts.running = 0;
    let again = scene.deploy_order(&other_run(&scene)).await;
    assert!(again.result.is_err(), "{again:?}");
}

/// Nothing records that the release was bad, so its smoke checks are asked again.
#[tokio::test(start_paused = true)]
async fn without_a_lease_a_release_that_does_not_answer_is_not_green_at_the_second_run() {
    let mut scene = Scene::without_migration().with_smoke();
    scene.order.config.lock = Lock::None;
    scene.order.config.on_failure = OnFailure::Leave;
    scene.web.answers.borrow_mut().extend(vec![Ok((503, String::new())); 100]);
    assert!(scene.deploy().await.result.is_err());
    let again = scene.deploy_order(&other_run(&scene)).await;
    assert!(again.result.is_err(), "{again:?}");
    scene.web.answers.borrow_mut().clear();
    let third = scene.deploy_order(&Order { token: "token-3".to_owned(), ..other_run(&scene) }).await;
    assert_eq!(third.success(), Success::Unchanged, "{third:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_without_any_check_is_said_to_have_started_and_no_more() {
    let scene = Scene::without_migration().change_service("web", |web| web.target_groups.clear());
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed);
    let said = fargate_deploy::render::ending::success(Success::Deployed, &ended.record);
    assert!(!said.iter().any(|line| line.contains("verified")), "{said:?}");
}
