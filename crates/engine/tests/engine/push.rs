//! Pushes to a real registry: digests, names left behind, refusals.

use std::collections::BTreeMap;

use fargate_deploy_engine::{Engine, EngineError, PushEvent, PushTarget, RegistryCredentials};

use crate::support::{BUSYBOX, Built, Context, Registry, build, engine, unique};

/// An image that has a name already, as a build with tags leaves it.
async fn named_image(engine: &Engine) -> (Built, String) {
    let name = format!("{}:local", unique());
    let context = Context::new(BUSYBOX);
    let mut request = context.request();
    request.tags = vec![name.clone()];
    (build(engine, &request).await.unwrap(), name)
}

/// An image's id is its configuration's digest, or its manifest's with the containerd image store.
fn is_of(manifest: &serde_json::Value, digest: &str, id: &str) -> bool {
    manifest["config"]["digest"] == id || digest == id
}

async fn push(
    engine: &Engine,
    image: &str,
    target: &PushTarget,
    credentials: Option<&RegistryCredentials>,
) -> (Result<fargate_deploy_engine::PushedImage, EngineError>, Vec<PushEvent>) {
    let mut events = Vec::new();
    let result = engine.push(image, target, credentials, &mut |event| events.push(event)).await;
    (result, events)
}

#[tokio::test]
async fn the_digest_is_the_registrys_and_the_manifest_is_a_plain_one() {
    let (engine, registry) = (engine().await, Registry::start().await);
    let (built, _name) = named_image(&engine).await;
    let repository = registry.repository(&engine);
    let target = PushTarget::new(&repository, "v1");
    let (pushed, events) = push(&engine, &built.image.id, &target, Some(&registry.credentials())).await;
    let pushed = pushed.unwrap();

    let (digest, media_type, manifest) = registry.get(&repository, "manifests/v1").await;
    assert_eq!(pushed.digest, digest);
    assert!(pushed.size > 0);
    assert!(!media_type.contains("index") && !media_type.contains("list"), "{media_type}");
    assert!(is_of(&manifest, &digest, &built.image.id), "{manifest}");
    let layers: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            PushEvent::Layer { layer, status, .. } => Some((layer.as_str(), status.as_str())),
            PushEvent::Retrying { .. } => None,
        })
        .collect();
    assert!(layers.iter().any(|(layer, status)| !layer.is_empty() && *status == "Pushed"), "{layers:?}");

    let (again, events) = push(&engine, &built.image.id, &target, Some(&registry.credentials())).await;
    assert_eq!(again.unwrap(), pushed);
    let exists =
        |event: &PushEvent| matches!(event, PushEvent::Layer { status, .. } if status == "Layer already exists");
    assert!(events.iter().any(exists), "{events:?}");
}

#[tokio::test]
async fn a_push_leaves_no_name_behind_unless_it_is_the_only_one() {
    let (engine, registry) = (engine().await, Registry::start().await);
    let credentials = registry.credentials();
    let (built, name) = named_image(&engine).await;
    let target = PushTarget::new(registry.repository(&engine), "v1");
    push(&engine, &built.image.id, &target, Some(&credentials)).await.0.unwrap();
    assert_eq!(engine.inspect(&built.image.id).await.unwrap().unwrap().repo_tags, [name]);

    let unnamed = build(&engine, &Context::new(BUSYBOX).request()).await.unwrap();
    let target = PushTarget::new(registry.repository(&engine), "v1");
    for _ in 0..2 {
        push(&engine, &unnamed.image.id, &target, Some(&credentials)).await.0.unwrap();
        assert_eq!(engine.inspect(&unnamed.image.id).await.unwrap().unwrap().repo_tags, [target.reference()]);
    }
}

#[tokio::test]
async fn a_name_that_another_image_had_is_given_back() {
    let (engine, registry) = (engine().await, Registry::start().await);
    let ((old, _), (new, _)) = (named_image(&engine).await, named_image(&engine).await);
    let repository = registry.repository(&engine);
    engine.tag(&old.image.id, &repository, "v1").await.unwrap();
    let target = PushTarget::new(&repository, "v1");
    push(&engine, &new.image.id, &target, Some(&registry.credentials())).await.0.unwrap();
    assert_eq!(engine.inspect(&target.reference()).await.unwrap().unwrap().id, old.image.id);
    let (digest, _, manifest) = registry.get(&repository, "manifests/v1").await;
    assert!(is_of(&manifest, &digest, &new.image.id), "{manifest}");
}

#[tokio::test]
async fn the_inline_cache_is_in_the_pushed_image_only_when_asked_for() {
    let (engine, registry) = (engine().await, Registry::start().await);
    for inline_cache in [true, false] {
        let context = Context::new(BUSYBOX);
        let mut request = context.request();
        request.inline_cache = inline_cache;
        let built = build(&engine, &request).await.unwrap();
        let repository = registry.repository(&engine);
        let target = PushTarget::new(&repository, "v1");
        push(&engine, &built.image.id, &target, Some(&registry.credentials())).await.0.unwrap();
        let (_, _, manifest) = registry.get(&repository, "manifests/v1").await;
        let config = manifest["config"]["digest"].as_str().unwrap();
        let (_, _, config) = registry.get(&repository, &format!("blobs/{config}")).await;
        assert_eq!(config.get("moby.buildkit.cache.v0").is_some(), inline_cache);

        request.cache_from = vec![target.reference(), format!("{}/none:v1", registry.host)];
        request.credentials = BTreeMap::from([(registry.host.clone(), registry.credentials())]);
        build(&engine, &request).await.unwrap();
    }
}

#[tokio::test]
async fn wrong_and_missing_credentials_are_an_auth_failure_and_not_retried() {
    let (engine, registry) = (engine().await, Registry::start().await);
    let (built, _name) = named_image(&engine).await;
    let target = PushTarget::new(registry.repository(&engine), "v1");
    for credentials in [None, Some(RegistryCredentials::new("deploy", "wrong"))] {
        let (result, events) = push(&engine, &built.image.id, &target, credentials.as_ref()).await;
        let error = result.unwrap_err();
        assert!(matches!(&error, EngineError::Auth { registry: named, .. } if *named == registry.host), "{error:?}");
        assert!(!events.iter().any(|event| matches!(event, PushEvent::Retrying { .. })));
        assert_eq!(engine.inspect(&target.reference()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_registry_that_is_gone_is_tried_three_times() {
    let (engine, mut registry) = (engine().await, Registry::start().await);
    let (built, _name) = named_image(&engine).await;
    let target = PushTarget::new(registry.repository(&engine), "v1");
    registry.stop();
    let (result, events) = push(&engine, &built.image.id, &target, Some(&registry.credentials())).await;
    let error = result.unwrap_err();
    assert!(matches!(error, EngineError::Push { .. }), "{error:?}");
    let retries: Vec<_> = events
        .iter()
        .filter_map(|event| if let PushEvent::Retrying { attempt, .. } = event { Some(*attempt) } else { None })
        .collect();
    assert_eq!(retries, [1, 2]);
}

#[tokio::test]
async fn an_image_that_the_engine_does_not_have_cannot_be_pushed() {
    let target = PushTarget::new("127.0.0.1:1/web", "v1");
    let error = push(&engine().await, "sha256:0123456789abcdef", &target, None).await.0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot push `127.0.0.1:1/web:v1`: the Engine has no image `sha256:0123456789abcdef`"
    );
}
