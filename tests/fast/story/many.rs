//! As many services as fit into AWS's limits, and more than fit in without pacing.

use super::lease::seconds;
use crate::story::scene::{Scene, migration, service_config};
use fargate_deploy::config::{ReleaseCommand, When};
use fargate_deploy_core::outcome::Success;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_hundred_services_are_deployed_within_aws_s_limits() {
    let mut scene = Scene::of_services(100);
    scene.order.config.release.push(ReleaseCommand { name: "reindex".to_owned(), when: When::After, ..migration() });
    scene.cloud.limit_rates();
    let began = Instant::now();
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:UpdateService"), 100);
    assert_eq!(scene.journal.count("ecs:RunTask"), 2);
    let (took, calls) = (began.elapsed(), scene.journal.count(""));
    println!(
        "100 services: {:.0} s on AWS's clock, {calls} calls, of them {} of the leases; {} refused for their rate",
        took.as_secs_f64(),
        scene.journal.count("ssm:"),
        scene.cloud.refused()
    );
    // Three writes a second are what it waits for most: a hundred leases are taken, written before each order, and released.
    assert!(took <= seconds(480), "{took:?}");
    let of_order = ["ecs:RegisterTaskDefinition", "ecs:UpdateService", "ecs:DescribeServices"];
    assert!(of_order.iter().all(|action| scene.journal.count(action) <= 400), "{calls} calls");
    assert!(ended.record.services.iter().all(|s| scene.lease(s.service.name.as_str())["isReleased"] == true));
}

/// However many services it holds.
#[tokio::test(start_paused = true)]
async fn a_release_is_renewed_by_one_write_for_all_of_its_leases() {
    let scene = Scene::of_services(20);
    let written = async {
        while scene.journal.count("ecs:RunTask") == 0 {
            tokio::time::sleep(seconds(1)).await;
        }
        let before = scene.journal.count("ssm:PutParameter");
        tokio::time::sleep(seconds(25)).await;
        scene.journal.count("ssm:PutParameter") - before
    };
    let (ended, written) = tokio::join!(scene.deploy(), written);
    assert_eq!(ended.success(), Success::Deployed);
    assert!((1..=4).contains(&written), "{written} writes in 25 s");
}

/// Revisions of a family that nothing tells apart are one.
#[tokio::test(start_paused = true)]
async fn equal_revisions_of_a_family_are_registered_once() {
    let mut scene = Scene::without_migration();
    let arn = scene.cloud.aws().services["web"].task_definition.clone();
    for name in ["blue", "green"] {
        scene.cloud.aws().add_service(name, &arn);
        scene.order.config.services.push(service_config(name));
    }
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RegisterTaskDefinition"), 1, "{:?}", scene.effects());
    let aws = scene.cloud.aws();
    assert!(["web", "blue", "green"].iter().all(|name| aws.services[*name].task_definition.short() == "web:42"));
}
