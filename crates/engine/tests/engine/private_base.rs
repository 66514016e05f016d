//! Private base images: the builder asks us for credentials.

use std::collections::BTreeMap;

use fargate_deploy_engine::{BuildEvent, Engine, EngineError, PushTarget, RegistryCredentials};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

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

/// A registry without images that answers requests for a manifest with `status` for three seconds, and says then that there
/// is none.
async fn busy_registry(status: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let began = Instant::now();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(move |request: Request<Incoming>| {
                let is_manifest = request.uri().path().contains("/manifests/");
                let status = match is_manifest {
                    true if began.elapsed() < Duration::from_secs(3) => status,
                    true => 404,
                    false => 200,
                };
                async move { Response::builder().status(status).body(String::new()) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    host
}

#[tokio::test]
async fn a_busy_registry_of_a_base_image_is_asked_again() {
    for status in [429, 503] {
        let host = busy_registry(status).await;
        let context = Context::new(&format!("FROM {host}/base:v1\nCOPY busybox /\n"));
        let mut warnings = Vec::new();
        let mut sink = |event| {
            if let BuildEvent::Warning { text } = event {
                warnings.push(text);
            }
        };
        let error = engine().await.build(&context.request(), &mut sink).await.unwrap_err().to_string();
        assert!(error.contains("not found"), "{status}: {error}");
        assert!(warnings.iter().any(|text| text.ends_with("; trying again")), "{status}: {warnings:?}");
    }
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
