//! A person's lock, by the command line and without a config file.

use crate::scene::{Scene, Setting};
use serde_json::Value;
use test_support::Behaviour;

const ROLE: &str = "arn:aws:iam::111122223333:role/shop-deploy";

async fn lock(scene: &Scene, arguments: &[&str]) -> (i32, Value) {
    let run = scene.run("lock", arguments).await;
    (run.code, run.json)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_service_refuses_deploys_until_it_is_released() {
    let scene = Scene::open(Setting { desired: 0, ..Setting::default() }).await;
    scene.commit("r1", Behaviour::Serves);
    let (code, free) = lock(&scene, &["status"]).await;
    assert_eq!((code, &free[0]["locked"], &free[0]["deploying"]), (0, &Value::Null, &Value::Null));

    let (code, locked) = lock(&scene, &["acquire", "--reason", "demo at noon"]).await;
    assert_eq!(code, 0, "{locked}");
    assert!(locked[0]["locked"].as_str().unwrap().ends_with(": demo at noon"), "{locked}");
    let mark = scene.mark();
    let refused = scene.deploy(&[]).await;
    refused.failed(8, "locked");
    assert!(refused.log.contains("demo at noon"), "{}", refused.log);
    assert!(!scene.mutations_since(mark).iter().any(|call| call.starts_with("ecs:")));

    let (code, second) = lock(&scene, &["acquire", "--reason", "mine"]).await;
    assert_eq!((code, second["failure-reason"].as_str()), (8, Some("locked")), "{second}");
    let (_, released) = lock(&scene, &["release"]).await;
    assert_eq!(released[0]["done"], "released");
    scene.deploy(&[]).await.succeeded("deployed-not-verified");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_config_the_service_is_named_and_nothing_else_is_guessed() {
    let scene = Scene::open(Setting { desired: 0, ..Setting::default() }).await;
    std::fs::remove_file(scene.app.path().join("fargate-deploy.yml")).unwrap();
    let (code, nobody) = lock(&scene, &["status"]).await;
    assert_eq!((code, nobody["failure-reason"].as_str()), (2, Some("config")), "{nobody}");
    let (code, status) = lock(&scene, &["status", "--cluster", "shop", "--service", "web", "--role", ROLE]).await;
    assert_eq!((code, status[0]["service"].as_str()), (0, Some("web")), "{status}");
    let (code, missing) = lock(&scene, &["acquire"]).await;
    assert_eq!(code, 2, "a lock without a reason helps nobody: {missing}");
    scene.close().await;
}
