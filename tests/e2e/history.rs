//! Releases of two services with real containers: which is which, the right one again, and none that is not whole.

use crate::program::Run;
use crate::scene::{CONFIG, Scene, Setting, definition};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use test_support::{Behaviour, eventually};

/// `web` behind its load balancer, and `worker` of the same image after it.
async fn shop() -> Scene {
    let scene = Scene::open(Setting::default()).await;
    let runs = scene.service().await["taskDefinition"].clone();
    let web = scene.call("ecs", "DescribeTaskDefinition", json!({"taskDefinition": runs})).await;
    let mut worker = definition();
    worker["family"] = "worker".into();
    worker["containerDefinitions"][0]["image"] = web["taskDefinition"]["containerDefinitions"][0]["image"].clone();
    let registered = scene.call("ecs", "RegisterTaskDefinition", worker).await;
    let service = json!({
        "cluster": "shop", "serviceName": "worker", "desiredCount": 1, "launchType": "FARGATE",
        "taskDefinition": registered["taskDefinition"]["taskDefinitionArn"],
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}},
        "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true},
            "minimumHealthyPercent": 100, "maximumPercent": 200},
    });
    scene.call("ecs", "CreateService", service).await;
    let config = CONFIG.replace("wait: 3m", "  worker: { containers: { app: app }, after: web }\nwait: 3m");
    scene.app.write("fargate-deploy.yml", &config);
    eventually("the worker runs", || async {
        let found = scene.call("ecs", "DescribeServices", json!({"cluster": "shop", "services": ["worker"]})).await;
        (found["services"][0]["deployments"][0]["rolloutState"] == "COMPLETED").then_some(())
    })
    .await;
    scene
}

async fn release(scene: &Scene, name: &str) -> Run {
    scene.commit(name, Behaviour::Serves);
    let run = scene.deploy(&[]).await;
    run.succeeded("deployed");
    run
}

/// The digests that the tasks of both services run.
async fn digests(scene: &Scene) -> BTreeSet<String> {
    let tasks = scene.tasks("RUNNING").await;
    let of_services = tasks.iter().filter(|t| t["group"].as_str().is_some_and(|group| group.starts_with("service:")));
    let containers = of_services.flat_map(|t| t["containers"].as_array().cloned().unwrap_or_default());
    containers.filter_map(|c| c["imageDigest"].as_str().map(str::to_owned)).collect()
}

/// What `releases` says of each.
async fn outcomes(scene: &Scene) -> BTreeMap<String, String> {
    let (code, all) = scene.begin("releases", &[], &[]).objects().await;
    assert_eq!(code, 0);
    let name = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    all.iter().map(|release| (name(&release["release"]), name(&release["outcome"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_release_of_both_services_serves_again_and_one_whose_image_is_gone_is_refused() {
    let scene = shop().await;
    let one = release(&scene, "one").await;
    let two = release(&scene, "two").await;
    scene.commit("bad", Behaviour::Crashes);
    scene.deploy(&[]).await.failed(6, "rolled-back");
    release(&scene, "three").await;
    let of = |all: &BTreeMap<String, String>, name: &str| all.get(name).cloned().unwrap_or_default();
    let all = outcomes(&scene).await;
    let each = ["r5", "r4", "r3", "r2"].map(|name| of(&all, name));
    assert_eq!(each, ["serving", "rolled-back", "superseded", "superseded"], "{all:?}");

    // Its image was removed from the registry meanwhile.
    let image = json!({"repositoryName": "shop/web", "imageIds": [{"imageDigest": two.digest()}]});
    scene.call("ecr", "BatchDeleteImage", image).await;
    let mark = scene.mark();
    let refused = scene.run("rollback", &[]).await;
    refused.failed(2, "config");
    assert!(refused.log.contains("r3 cannot be gone back to") && refused.log.contains(two.digest()), "{}", refused.log);
    assert!(refused.log.contains("fargate-deploy rollback --to r2"), "{}", refused.log);
    assert_eq!(scene.mutations_since(mark), [] as [&str; 0], "nothing is touched");
    assert_eq!(scene.answer().await.as_deref(), Some("three"));

    let back = scene.run("rollback", &["--to", "r2", "--reason", "orders fail", "--hold", "until it is fixed"]).await;
    back.succeeded("deployed");
    assert_eq!((&back.json["release"], back.digest()), (&json!("r6"), one.digest()));
    assert_eq!(scene.answer().await.as_deref(), Some("one"));
    assert_eq!(digests(&scene).await, BTreeSet::from([one.digest().to_owned()]));
    for line in ["`migrate` of r5 stays applied", "`migrate` of r4 stays applied", "rollback --to r5"] {
        assert!(back.log.contains(line), "{line}: {}", back.log);
    }
    assert_eq!(scene.migrations().await.len(), 5, "a rollback runs no release command");
    let all = outcomes(&scene).await;
    assert_eq!(["r6", "r5"].map(|name| of(&all, name)), ["serving", "rolled-back"], "{all:?}");
    // The next push does not undo it.
    scene.commit("four", Behaviour::Serves);
    let held = scene.deploy(&[]).await;
    held.failed(8, "locked");
    assert!(held.log.contains("until it is fixed"), "{}", held.log);
    let (code, services) = scene.begin("status", &["--exit-code"], &[]).objects().await;
    let conditions: Vec<_> = services.iter().map(|service| service["condition"].clone()).collect();
    assert_eq!((code, conditions), (0, vec![json!("steady"), json!("steady")]), "{services:?}");
    assert!(services[0]["locked"].as_str().unwrap().contains("until it is fixed"), "{services:?}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_at_a_pause_hook_is_shown_and_goes_on_when_a_person_says_so() {
    let scene = Scene::open(Setting::default()).await;
    let hook = json!([{"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}]);
    let shifting = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "lifecycleHooks": hook,
        "minimumHealthyPercent": 100, "maximumPercent": 200});
    let change = json!({"cluster": "shop", "service": "web", "deploymentConfiguration": shifting});
    scene.call("ecs", "UpdateService", change).await;
    scene.commit("one", Behaviour::Serves);
    let deploying = scene.start(&[]);
    deploying.says("it waits for a person: fargate-deploy continue --hook").await;
    let (code, services) = scene.begin("status", &["--exit-code"], &[]).objects().await;
    assert_eq!((code, &services[0]["condition"]), (9, &json!("paused")), "{services:?}");
    assert_eq!(scene.answer().await.as_deref(), Some("r0"), "nothing has moved");
    let hook = services[0]["deployment"]["hook"].as_str().unwrap();
    let (code, done) = scene.begin("continue", &["--hook", hook, "--reason", "it looks well"], &[]).objects().await;
    assert_eq!((code, &done[0]["done"]), (0, &json!("goes on")), "{done:?}");
    deploying.ended().await.succeeded("deployed");
    assert_eq!(scene.answer().await.as_deref(), Some("one"));

    scene.commit("two", Behaviour::Serves);
    let deploying = scene.start(&[]);
    deploying.says("it waits for a person: fargate-deploy continue --hook").await;
    let (code, done) = scene.begin("abort", &["-s", "web", "--reason", "orders fail"], &[]).objects().await;
    assert_eq!((code, &done[0]["done"]), (0, &json!("goes back")), "{done:?}");
    deploying.ended().await.failed(6, "rolled-back");
    assert_eq!(scene.answer().await.as_deref(), Some("one"));
    scene.close().await;
}
