//! Finding an Engine, agreeing on a version, and failures that only another Engine has.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use fargate_deploy_engine::{Endpoint, Engine, EngineError, PushEvent, PushTarget, PushedImage};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};

use crate::fake_engine::FakeEngine;
use crate::support::{BUSYBOX, Context, Removal, engine, env};

fn at(socket: &Path) -> BTreeMap<String, String> {
    let host = ("DOCKER_HOST".to_owned(), format!("unix://{}", socket.display()));
    BTreeMap::from([host, ("DOCKER_CONFIG".to_owned(), "/nonexistent".to_owned())])
}

async fn image_only(api: &'static str, minimum: &'static str) -> (FakeEngine, Engine) {
    let fake = FakeEngine::start(api, minimum, Box::new(|_| Some((404, r#"{"message":"no such image"}"#.to_owned()))));
    let engine = Engine::connect(&at(&fake.socket())).await.unwrap();
    (fake, engine)
}

#[tokio::test]
async fn requests_name_the_older_of_both_versions_and_never_one_below_the_engines_minimum() {
    for (api, minimum, ours) in [("1.41", "1.12", "1.41"), ("1.52", "1.44", "1.47"), ("1.60", "1.50", "1.50")] {
        let (fake, engine) = image_only(api, minimum).await;
        assert_eq!(engine.inspect("x").await.unwrap(), None);
        assert_eq!(engine.info().api_version, ours);
        assert_eq!(engine.info().platform(), "linux/arm64");
        assert_eq!(fake.seen.lock().unwrap().last().unwrap(), &format!("GET /v{ours}/images/x/json"));
    }
}

#[tokio::test]
async fn an_engine_from_before_buildkit_is_refused() {
    let fake = FakeEngine::start("1.30", "1.12", Box::new(|_| None));
    let error = Engine::connect(&at(&fake.socket())).await.unwrap_err();
    assert!(matches!(error, EngineError::Config { .. }));
    assert!(error.to_string().ends_with("its API is older than 1.40 (Docker 19.03)"), "{error}");
}

#[tokio::test]
async fn a_broken_docker_configuration_stops_nothing_that_needs_no_login() {
    let (fake, _) = image_only("1.41", "1.12").await;
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.json"), "{ not json").unwrap();
    let mut env = at(&fake.socket());
    env.insert("DOCKER_CONFIG".to_owned(), home.path().to_str().unwrap().to_owned());
    let engine = Engine::connect(&env).await.unwrap();
    assert_eq!(engine.inspect("x").await.unwrap(), None);
    let needed = engine.registry_digest("r.example/web:v1").await.unwrap_err().to_string();
    assert!(needed.ends_with("config.json`: not a docker configuration, line 1"), "{needed}");
}

#[tokio::test]
async fn an_absent_engine_is_one_error_with_the_fix() {
    let error = Engine::connect(&at(Path::new("/nonexistent/docker.sock"))).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot reach the Docker Engine at `unix:///nonexistent/docker.sock`: No such file or directory (os error 2)"
    );
    assert!(error.hint().unwrap().starts_with("start Docker"));
}

#[tokio::test]
async fn an_engine_that_comes_up_meanwhile_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    // A bound socket that nobody listens on any more refuses connections, as during a restart of the Engine.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let connecting = tokio::spawn({
        let env = at(&socket);
        async move { Engine::connect(&env).await }
    });
    tokio::task::yield_now().await;
    let fake = FakeEngine::start("1.41", "1.12", Box::new(|_| None));
    std::fs::rename(fake.socket(), &socket).unwrap();
    assert_eq!(connecting.await.unwrap().unwrap().info().version, "99.0");
}

#[tokio::test]
async fn an_engine_behind_tcp_builds_as_well() {
    let Endpoint::Unix(socket) = engine().await.info().endpoint.clone() else {
        panic!("these tests use a local Engine")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut engine = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut engine).await });
        }
    });
    let mut env = env();
    env.insert("DOCKER_HOST".to_owned(), host.clone());
    let remote = Engine::connect(&env).await.unwrap();
    assert_eq!(remote.info().endpoint.to_string(), host);
    let context = Context::new(BUSYBOX);
    let image = remote.build(&context.request(), &mut |_| {}).await.unwrap();
    let _removal = Removal::of(&engine().await, &image.id);
    assert!(remote.inspect(&image.id).await.unwrap().is_some());
}

const ANSWERS: &str =
    "{\"status\":\"Pushed\",\"id\":\"l1\"}\r\n{\"aux\":{\"Tag\":\"v1\",\"Digest\":\"sha256:ab\",\"Size\":9}}\r\n";

/// An Engine with the image `x` whose pushes answer `answers`, one after the other.
fn pushing(answers: &'static [Option<(u16, &'static str)>]) -> FakeEngine {
    let left = Mutex::new(answers.iter());
    FakeEngine::start(
        "1.41",
        "1.12",
        Box::new(move |line| match line {
            "GET /v1.41/images/x/json" => Some((200, r#"{"Id":"sha256:1","RepoTags":["a:b"]}"#.to_owned())),
            line if line.ends_with("/push") => {
                let answer = left.lock().unwrap().next().copied().flatten();
                answer.map(|(status, body)| (status, body.to_owned()))
            }
            line if line.starts_with("GET ") => Some((404, "{}".to_owned())),
            _ => Some((201, String::new())),
        }),
    )
}

async fn push(fake: &FakeEngine) -> (Result<PushedImage, EngineError>, usize) {
    let engine = Engine::connect(&at(&fake.socket())).await.unwrap();
    let mut retries = 0;
    let target = PushTarget::new("r.example/web", "v1");
    let result = engine
        .push("x", &target, None, &mut |event| retries += usize::from(matches!(event, PushEvent::Retrying { .. })))
        .await;
    (result, retries)
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_overloaded_for_a_minute_delays_a_push_and_does_not_end_it() {
    let failing = [
        r#"{"errorDetail":{"message":"received unexpected HTTP status: 500 Internal Server Error"}}"#,
        r#"{"errorDetail":{"message":"toomanyrequests: Rate exceeded"}}"#,
    ];
    let answers = (0..7).map(|n| Some((200, failing[n % 2]))).chain([Some((200, ANSWERS))]);
    let answers: &'static [_] = Vec::leak(answers.collect());
    let (result, retries) = push(&pushing(answers)).await;
    assert_eq!((result.unwrap().digest.as_str(), retries), ("sha256:ab", 7));
}

#[tokio::test]
async fn a_push_survives_two_passing_failures_of_the_registry() {
    let failing = r#"{"errorDetail":{"message":"received unexpected HTTP status: 503 Service Unavailable"}}"#;
    let answers: &'static [_] =
        Vec::leak(vec![Some((200, failing)), Some((500, r#"{"message":"unexpected EOF"}"#)), Some((200, ANSWERS))]);
    let (result, retries) = push(&pushing(answers)).await;
    assert_eq!(result.unwrap(), PushedImage { digest: "sha256:ab".to_owned(), size: 9 });
    assert_eq!(retries, 2);
}

#[tokio::test]
async fn a_missing_repository_and_an_immutable_tag_are_their_own_errors() {
    let fake = pushing(&[Some((
        200,
        r#"{"errorDetail":{"message":"name unknown: The repository with name 'web' does not exist"}}"#,
    ))]);
    let (result, retries) = push(&fake).await;
    assert!(matches!(&result, Err(EngineError::RepositoryMissing { repository, .. }) if repository == "r.example/web"));
    assert_eq!(retries, 0);
    assert!(fake.seen.lock().unwrap().iter().any(|line| line == "DELETE /v1.41/images/r.example/web:v1"));

    let fake = pushing(&[Some((
        200,
        r#"{"errorDetail":{"message":"tag invalid: The image tag 'v1' already exists and cannot be overwritten because the tag is immutable."}}"#,
    ))]);
    assert!(matches!(push(&fake).await.0, Err(EngineError::TagImmutable { .. })));
}

#[tokio::test]
async fn an_engine_that_hangs_up_is_unreachable() {
    let error = push(&pushing(&[None])).await.0.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
}
