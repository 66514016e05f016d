//! An Engine without BuildKit: the same contexts through the classic builder.

use fargate_deploy_core::redact::Secret;
use fargate_deploy_engine::{BuildEvent, Endpoint, EngineError, StepState};

use crate::support::{Context, Leftovers, ask, build, engine_without_buildkit, run, unique};

#[tokio::test]
async fn a_classic_build_has_the_same_options_and_respects_the_ignore_file() {
    let engine = engine_without_buildkit().await;
    assert!(!engine.info().buildkit);
    let script = "cd /w; /bin/busybox test ! -e secret.txt; /bin/busybox test -e docs/keep; /bin/busybox test ! -e docs/gone; \
                  /bin/busybox test ! -e Dockerfile; /bin/busybox test -x tool; /bin/busybox test -d empty";
    let (_leftovers, busybox) = Leftovers::of(&engine);
    let context = Context::new(&format!("{busybox}ARG V\nLABEL v=$V\nCOPY . /w\n{}", run(script)))
        .write(".dockerignore", "secret.txt\ndocs/*\n!docs/keep\nDockerfile\n")
        .write("secret.txt", "x")
        .write("docs/keep", "x")
        .write("docs/gone", "x");
    std::fs::copy("/bin/busybox", context.path().join("tool")).unwrap();
    std::fs::create_dir(context.path().join("empty")).unwrap();
    let tag = format!("{}:v1", unique());
    let mut request = context.request();
    request.args.insert("V".to_owned(), "9".to_owned());
    request.tags = vec![tag.clone()];
    let built = build(&engine, &request).await.unwrap();
    let image = engine.inspect(&tag).await.unwrap().unwrap();
    assert_eq!((image.id, image.labels["v"].as_str()), (built.image.id.clone(), "9"));
    assert!(built.image.sent > 1 << 20);
    let first = built.events.iter().find_map(|event| match event {
        BuildEvent::Step { name, state, .. } => Some((name.clone(), state.clone())),
        _ => None,
    });
    let (name, state) = first.unwrap();
    assert!(name.starts_with("Step 1/") && name.ends_with(" : FROM scratch"), "{name}");
    assert_eq!(state, StepState::Started);
}

#[tokio::test]
async fn a_failing_classic_run_names_its_step_and_leaves_no_container() {
    let engine = engine_without_buildkit().await;
    let marker = unique();
    let (_leftovers, busybox) = Leftovers::of(&engine);
    let context = Context::new(&format!("{busybox}{}", run(&format!("echo {marker}; exit 3"))));
    let error = build(&engine, &context.request()).await.map(|built| built.image).unwrap_err();
    let EngineError::Build { step, why, log_tail } = error else { panic!("{error:?}") };
    assert!(step.unwrap().contains("RUN"));
    assert!(why.contains("returned a non-zero code: 3"), "{why}");
    assert_eq!(log_tail, [marker.as_str()]);
    let Endpoint::Unix(socket) = &engine.info().endpoint else { panic!("these tests use a local Engine") };
    assert!(!ask(socket, "GET", "/containers/json?all=1").contains(&marker));
}

#[tokio::test]
async fn a_dockerfile_outside_the_context_is_used_and_not_copied() {
    let engine = engine_without_buildkit().await;
    let script = "cd /w; /bin/busybox test -e app; /bin/busybox test -z \"$(/bin/busybox ls -A | /bin/busybox grep dockerfile)\"";
    let (_leftovers, busybox) = Leftovers::of(&engine);
    let elsewhere = Context::new("").write("Other", &format!("{busybox}COPY . /w\n{}", run(script)));
    let context = Context::new("not a Dockerfile").write("app", "x");
    std::fs::remove_file(context.path().join("Dockerfile")).unwrap();
    let mut request = context.request();
    request.dockerfile = Some(elsewhere.path().join("Other"));
    build(&engine, &request).await.unwrap();
}

#[tokio::test]
async fn a_build_secret_is_refused_because_it_would_end_in_the_image() {
    let context = Context::new("FROM scratch\nCOPY busybox /\n");
    let mut request = context.request();
    request.secrets = vec![("tok".to_owned(), Secret::new(b"x".to_vec()))];
    let refusal = engine_without_buildkit().await.build(&request, &mut |_| {}).await.unwrap_err();
    assert!(matches!(refusal, EngineError::Config { .. }));
    assert!(refusal.to_string().starts_with("build secret `tok`: this Engine has no BuildKit"), "{refusal}");
}
