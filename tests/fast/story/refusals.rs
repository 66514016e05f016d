//! What is refused before anything changes.

use crate::story::fake::builder::tagged;
use crate::story::fake::digest_of;
use crate::story::scene::{Scene, build_config, definition, old_image};
use fargate_deploy::config::{ImageConfig, ImageSource};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy_core::outcome::{Failure, Reason, Success};
use fargate_deploy_core::service::Controller;
use serde_json::{Value, json};

/// Deploys, and sees that nothing but reads happened.
async fn refused(scene: &Scene) -> Failure {
    let ended = scene.deploy().await;
    assert_eq!(scene.changes(), [""; 0], "{:?}", ended.result);
    ended.failure().clone()
}

async fn refused_as_config(scene: Scene, expected: &str) {
    let failure = refused(&scene).await;
    assert_eq!(failure.reason, Reason::Config, "{failure:?}");
    assert!(failure.what.contains(expected), "{expected}: {failure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_exist_is_named_with_its_cluster_and_region() {
    let scene = Scene::new();
    scene.cloud.aws().services.clear();
    refused_as_config(scene, "service `web` does not exist in cluster `shop` in eu-central-1").await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_exist_is_named() {
    let scene = Scene::new();
    scene.cloud.fail("ecs:DescribeServices", CallErrorKind::NotFound, 0, 1);
    refused_as_config(scene, "cluster `shop` does not exist in eu-central-1").await;
}

#[tokio::test(start_paused = true)]
async fn services_that_update_service_cannot_deploy_are_refused_with_the_reason() {
    type Change = fn(&mut fargate_deploy_core::service::Service);
    let cases: [(&str, Change); 6] = [
        ("does not exist", |s| s.status = "INACTIVE".to_owned()),
        ("is DRAINING", |s| s.status = "DRAINING".to_owned()),
        ("is deployed by CodeDeploy", |s| s.controller = Controller::CodeDeploy),
        // Their task sets and resources are others': the service names no task definition.
        ("has the EXTERNAL controller", |s| {
            s.controller = Controller::External;
            s.task_definition = "".into();
        }),
        ("is an Express Mode service", |s| {
            s.is_express = true;
            s.task_definition = "".into();
        }),
        ("has no task definition of its own", |s| s.task_definition = "".into()),
    ];
    for (expected, change) in cases {
        refused_as_config(Scene::new().change_service("web", change), expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_not_in_the_task_definition_is_named_beside_those_that_are() {
    let mut scene = Scene::new();
    scene.order.config.services[0].containers[0].0 = Some("web".into());
    refused_as_config(scene, "container `web` is not in the task definition, which has app").await;
}

fn running(change: impl FnOnce(&mut Value)) -> Scene {
    let scene = Scene::new();
    {
        let mut body = definition("web", &old_image("shop-app"));
        change(&mut body);
        let mut aws = scene.cloud.aws();
        let arn = aws.add_definition(&body, None);
        aws.add_service("web", &arn);
    }
    scene
}

/// `web` from a file in git, which lies in the folder.
fn from_file(change: impl FnOnce(&mut Value)) -> (Scene, tempfile::TempDir) {
    let mut scene = Scene::new();
    let mut body = definition("web", &old_image("shop-app"));
    change(&mut body);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.json");
    std::fs::write(&path, body.to_string()).unwrap();
    scene.order.config.services[0].task_definition = Some(path);
    (scene, folder)
}

#[tokio::test(start_paused = true)]
async fn a_task_definition_that_fargate_would_refuse_is_refused() {
    let (scene, _folder) = from_file(|d| d["memory"] = json!("999"));
    refused_as_config(scene, "task definition: `memory` is 999").await;
    let (scene, _folder) = from_file(|d| {
        d["containerDefinitions"][0]["environment"] =
            json!([{"name": "A", "value": ""}, {"name": "PORT", "value": 80}]);
    });
    refused_as_config(scene, "`containerDefinitions[0].environment[1].value` is a number").await;
}

#[tokio::test(start_paused = true)]
async fn all_problems_are_told_together() {
    let (mut scene, _folder) = from_file(|d| d["memory"] = json!("999"));
    scene.order.config.services[0].containers[0].0 = Some("web".into());
    let failure = refused(&scene).await;
    assert!(failure.evidence.iter().any(|e| e.contains("`memory` is 999")), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_service_runs_is_deployed_whatever_our_tables_say() {
    let scene = running(|d| {
        d["cpu"] = json!("65536");
        d["memory"] = json!("999424");
        d["runtimePlatform"] = json!({"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX_OF_TOMORROW"});
        d["containerDefinitions"][0]["stopTimeout"] = json!(600);
        d["containerDefinitions"][0]["ulimits"] = json!([{"name": "nproc", "softLimit": 1, "hardLimit": 1}]);
    });
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.told.warnings(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_aws_may_refuse_or_nobody_means_is_a_warning_and_is_deployed() {
    let (scene, _folder) = from_file(|d| {
        d["cpu"] = json!("65536");
        d["memory"] = json!("999424");
        d["containerDefinitions"][0]["environment"] = json!([{"name": "DB", "value": "${DATABASE_URL}"}]);
        // The release sets it.
        d["containerDefinitions"][0]["image"] = json!("<IMAGE1_NAME>");
    });
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let warnings = scene.told.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("task definition: `cpu` is 65536: a size of Fargate that is not known"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].contains("`containerDefinitions[0].environment[0].value` has the placeholder `${DATABASE_URL}`"),
        "{warnings:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_image_for_another_architecture_than_the_task_definition_is_refused() {
    let mut scene = running(|d| d["runtimePlatform"] = json!({"cpuArchitecture": "ARM64"}));
    if let ImageSource::Build(build) = &mut scene.order.config.images[0].source {
        build.platform = Some("linux/amd64".to_owned());
    }
    refused_as_config(scene, "image `app` is for linux/amd64, but a task definition that uses it runs on linux/arm64")
        .await;
}

#[tokio::test(start_paused = true)]
async fn one_image_for_services_of_two_architectures_is_refused() {
    let scene = Scene::new().with_worker();
    {
        let mut body = definition("worker", &old_image("shop-app"));
        body["runtimePlatform"] = json!({"cpuArchitecture": "ARM64"});
        let mut aws = scene.cloud.aws();
        let arn = aws.add_definition(&body, None);
        aws.add_service("worker", &arn);
    }
    refused_as_config(scene, "image `app` is for linux/amd64, but a task definition that uses it runs on linux/arm64")
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_image_is_built_for_the_service_that_uses_it_not_for_the_first_one() {
    let mut scene = Scene::without_migration().with_worker();
    {
        let mut body = definition("worker", &old_image("shop-app"));
        body["runtimePlatform"] = json!({"cpuArchitecture": "ARM64"});
        let mut aws = scene.cloud.aws();
        let arn = aws.add_definition(&body, None);
        aws.add_service("worker", &arn);
    }
    let config = &mut scene.order.config;
    config
        .images
        .push(ImageConfig { key: "jobs".into(), source: ImageSource::Build(Box::new(build_config("shop-app"))) });
    config.services[1].containers[0].1 = "jobs".into();
    scene.order.tags.push(("jobs".into(), vec!["jobs".to_owned()]));
    scene.deploy().await;
    assert_eq!(scene.journal.count("build /src for linux/arm64"), 1);
    let tags: Vec<_> = scene.cloud.aws().images.iter().flat_map(|(_, i)| i.tags.clone()).collect();
    let content = tags.iter().filter(|t| t.starts_with("content-")).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(content.len(), 2, "the platform is part of what is found again: {tags:?}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_repository_is_refused_with_the_command_that_creates_it() {
    let scene = Scene::new();
    scene.cloud.aws().repositories.clear();
    let failure = refused(&scene).await;
    assert_eq!(failure.reason, Reason::Config);
    assert!(failure.next.unwrap().contains("aws ecr create-repository --repository-name shop-app"));
}

#[tokio::test(start_paused = true)]
async fn an_archived_image_is_refused() {
    let mut scene = Scene::new();
    tagged(&mut scene.cloud.aws().images, "shop-app", &digest_of("cold"), "v1", "linux/amd64");
    scene.cloud.aws().images[0].1.is_active = false;
    let reference = old_image("shop-app").replace(&format!("@{}", digest_of("old")), ":v1");
    scene.order.config.images[0].source = ImageSource::Existing(reference);
    refused_as_config(scene, "is archived").await;
}

#[tokio::test(start_paused = true)]
async fn an_image_by_reference_that_does_not_exist_is_refused() {
    let mut scene = Scene::new();
    let reference = old_image("shop-app").replace(&format!("@{}", digest_of("old")), ":nowhere");
    scene.order.config.images[0].source = ImageSource::Existing(reference);
    refused_as_config(scene, "does not exist in its repository").await;
}

#[tokio::test(start_paused = true)]
async fn a_command_of_a_service_without_network_is_refused() {
    let scene = Scene::new().change_service("web", |s| s.network_configuration = None);
    refused_as_config(scene, "has no network configuration").await;
}

#[tokio::test(start_paused = true)]
async fn a_denied_read_names_the_action_and_touches_nothing() {
    let actions =
        ["ecs:DescribeServices", "ecs:DescribeTaskDefinition", "ecr:DescribeRepositories", "ecr:DescribeImages"];
    for action in actions {
        let scene = Scene::new();
        scene.cloud.deny(action);
        let failure = refused(&scene).await;
        assert_eq!(failure.reason, Reason::Permission, "{action}");
        assert_eq!(failure.reason.exit_code(), 3);
        assert!(failure.next.unwrap().contains(&format!("`{action}`")), "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_write_names_the_action_and_leaves_the_services_alone() {
    let actions = ["ecr:GetAuthorizationToken", "ecs:RegisterTaskDefinition", "ecs:RunTask", "ecs:UpdateService"];
    for action in actions {
        let scene = Scene::new();
        scene.cloud.deny(action);
        let ended = scene.deploy().await;
        // `permission` would promise that nothing was touched, and the release command has run.
        let reason = if action == "ecs:UpdateService" { Reason::ReleaseCommand } else { Reason::Permission };
        assert_eq!(ended.reason(), reason, "{action}: {:?}", ended.result);
        assert!(ended.failure().next.as_ref().unwrap().contains(&format!("`{action}`")), "{action}");
        assert!(ended.state()[0].contains("untouched, r7 (web:41) serves"), "{:?}", ended.state());
        assert_ne!(scene.lease("web")["isReleased"], false, "{action}: the lease is given back");
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_does_not_hold_is_the_first_thing_found() {
    let scene = Scene::new();
    scene.cloud.fail("sts:GetCallerIdentity", CallErrorKind::Identity, 0, 1);
    let failure = refused(&scene).await;
    assert_eq!(failure.reason, Reason::Identity);
    assert_eq!(scene.journal.lines(), ["sts:GetCallerIdentity"]);
}

#[tokio::test(start_paused = true)]
async fn without_an_engine_nothing_is_touched_in_ecs() {
    let scene = Scene::new();
    scene.builder.is_down.set(true);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Build);
    assert_eq!(ended.failure().next.as_deref(), Some("start Docker"));
    assert_eq!(scene.effects(), ["build /src for linux/amd64"]);
    assert_eq!(scene.journal.count("ssm:"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_build_for_the_wrong_platform_is_not_pushed() {
    let scene = Scene::new();
    *scene.builder.builds_for.borrow_mut() = Some("linux/arm64".to_owned());
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Build);
    assert_eq!(scene.journal.count("push"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_of_somebody_else_that_moves_on_is_waited_for() {
    let scene = Scene::new();
    let foreign = scene.cloud.aws().add_definition(&definition("web", "foreign"), None);
    scene.cloud.aws().update("web", &foreign, false);
    let ended = scene.deploy().await;
    assert!(ended.result.is_ok(), "{ended:?}");
    assert!(ended.state()[0].contains("web:43 serves"), "{:?}", ended.state());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_of_somebody_else_that_does_not_end_is_locked() {
    let scene = Scene::new().next_rollouts("web", [crate::story::fake::rollout::Ending::Hangs]);
    let foreign = scene.cloud.aws().add_definition(&definition("web", "foreign"), None);
    scene.cloud.aws().update("web", &foreign, false);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Locked, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:"), scene.journal.count("ecs:Describe"), "only reads");
}

#[tokio::test(start_paused = true)]
async fn a_service_of_another_account_is_refused_by_its_arn() {
    for account in ["999999999999", "111122223333"] {
        let mut scene = Scene::without_migration();
        let arn = format!("arn:aws:ecs:eu-central-1:{account}:service/shop/web");
        let web = scene.cloud.aws().services["web"].clone();
        scene.cloud.aws().services.insert(arn.clone(), web);
        scene.order.config.services[0].name = arn.as_str().into();
        match account {
            "999999999999" => refused_as_config(scene, "is of account 999999999999, and this run is in account").await,
            _ => assert!(scene.deploy().await.result.is_ok(), "the run's own"),
        }
    }
}
