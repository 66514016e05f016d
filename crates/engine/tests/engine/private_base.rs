//! Private base images: the builder asks us for credentials.

use std::collections::BTreeMap;

use fargate_deploy_engine::{Engine, EngineError, PushTarget, RegistryCredentials};

use crate::support::{BUSYBOX, Context, Registry, Removal, build, engine, env};

/// Pushes a base and forgets it locally, so that a build has to fetch it. The classic builder leaves what it fetched, so
/// its removal comes along.
async fn pushed_base(engine: &Engine, registry: &Registry) -> (String, Removal) {
    let repository = registry.repository(engine);
    let base = build(engine, &Context::new(BUSYBOX).request()).await.unwrap();
    let target = PushTarget::new(&repository, "v1");
    let pushed = engine.push(&base.image.id, &target, Some(&registry.credentials()), &mut |_| {}).await.unwrap();
    (format!("{repository}@{}", pushed.digest), Removal::of(engine, &base.image.id))
}

#[tokio::test]
async fn credentials_given_with_the_build_fetch_a_private_base() {
    let (engine, registry) = (engine().await, Registry::start().await);
    let (base, _removal) = pushed_base(&engine, &registry).await;
    let context = Context::new(&format!("FROM {base}\nCOPY app /app\n")).write("app", "x");
    let mut request = context.request();
    request.credentials = BTreeMap::from([(registry.host.clone(), registry.credentials())]);
    build(&engine, &request).await.unwrap();
}

#[tokio::test]
async fn the_docker_configuration_fetches_a_private_base() {
    let registry = Registry::start().await;
    let (base, _removal) = pushed_base(&engine().await, &registry).await;
    let home = tempfile::tempdir().unwrap();
    let config = serde_json::json!({"auths": {registry.host.as_str(): {
        "username": registry.credentials().username, "password": registry.credentials().password.expose(),
    }}});
    std::fs::write(home.path().join("config.json"), config.to_string()).unwrap();
    let mut env = env();
    env.insert("DOCKER_CONFIG".to_owned(), home.path().to_str().unwrap().to_owned());
    let context = Context::new(&format!("FROM {base}\nCOPY app /app\n")).write("app", "x");
    for buildkit in ["1", "0"] {
        env.insert("DOCKER_BUILDKIT".to_owned(), buildkit.to_owned());
        let engine = Engine::connect(&env).await.unwrap();
        assert_eq!(engine.info().buildkit, buildkit == "1");
        build(&engine, &context.request()).await.unwrap();
    }
    assert_eq!(std::fs::read_to_string(home.path().join("config.json")).unwrap(), config.to_string());
}

#[tokio::test]
async fn a_private_base_without_the_right_password_fails_the_build() {
    let (engine, registry) = (engine().await, Registry::start().await);
    let (base, _removal) = pushed_base(&engine, &registry).await;
    let context = Context::new(&format!("FROM {base}\nCOPY app /app\n")).write("app", "x");
    let mut request = context.request();
    let wrong = RegistryCredentials::new("deploy", "wrong");
    request.credentials = BTreeMap::from([(registry.host.clone(), wrong)]);
    let error = build(&engine, &request).await.map(|built| built.image).unwrap_err();
    assert!(matches!(&error, EngineError::Build { .. }), "{error:?}");
    assert!(error.to_string().contains(&registry.host), "{error}");
}
