//! Builds through BuildKit: what arrives in the image, what is told, and how failures read.

use std::collections::BTreeMap;

use fargate_deploy_core::redact::Secret;
use fargate_deploy_engine::{BuildEvent, BuildRequest, EngineError, StepState};

use crate::support::{BUSYBOX, Built, Context, build, engine, run, unique};

fn step(error: EngineError) -> (String, String, String) {
    match error {
        EngineError::Build { step, why, log_tail } => (step.unwrap_or_default(), why, log_tail.join("\n")),
        other => panic!("not a build failure: {other:?}"),
    }
}

async fn failure(request: &BuildRequest) -> EngineError {
    build(&engine().await, request).await.map(|built| built.image).expect_err("the build succeeded")
}

#[tokio::test]
async fn arguments_target_labels_and_tags_arrive() {
    let engine = engine().await;
    let dockerfile = format!(
        "{BUSYBOX}FROM scratch AS web\nARG VERSION\nLABEL version=$VERSION\nCOPY app /app\nFROM web AS last\nLABEL last=1\n"
    );
    let context = Context::new(&dockerfile).write("app", "app");
    let (one, two) = (format!("{}:one", unique()), format!("{}:two", unique()));
    let mut request = context.request();
    request.target = Some("web".to_owned());
    request.args = BTreeMap::from([("VERSION".to_owned(), "7 & é".to_owned())]);
    request.labels.insert("commit".to_owned(), "abc".to_owned());
    request.tags = vec![one.clone(), two.clone()];
    let built = build(&engine, &request).await.unwrap();

    let image = engine.inspect(&one).await.unwrap().unwrap();
    assert_eq!(image.id, built.image.id);
    assert_eq!(engine.inspect(&two).await.unwrap().unwrap().id, built.image.id);
    assert_eq!(image.labels["version"], "7 & é");
    assert_eq!(image.labels["commit"], "abc");
    assert!(!image.labels.contains_key("last"));
    assert_eq!(format!("{}/{}", image.os, image.architecture), engine.info().platform());
}

#[tokio::test]
async fn another_platform_is_written_into_the_image() {
    let engine = engine().await;
    let context = Context::new("FROM scratch\nCOPY app /app\n").write("app", "app");
    let mut request = context.request();
    request.platform = Some("linux/arm64".to_owned());
    let built = build(&engine, &request).await.unwrap();
    assert_eq!(engine.inspect(&built.image.id).await.unwrap().unwrap().architecture, "arm64");
}

#[tokio::test]
async fn a_secret_reaches_the_step_and_not_the_image() {
    let secret = "s3cret \u{0} bytes";
    let dockerfile = format!(
        "{BUSYBOX}{}{}",
        run("/bin/busybox test $(/bin/busybox wc -c < /run/secrets/tok) = 14")
            .replace("RUN ", "RUN --mount=type=secret,id=tok,required=true "),
        run("! /bin/busybox test -s /run/secrets/tok"),
    );
    let context = Context::new(&dockerfile);
    let mut request = context.request();
    request.secrets = vec![("tok".to_owned(), Secret::new(secret.as_bytes().to_vec()))];
    build(&engine().await, &request).await.unwrap();

    request.secrets.clear();
    request.no_cache = true;
    let (_, why, _) = step(failure(&request).await);
    assert!(why.contains("tok"), "{why}");
}

#[tokio::test]
async fn steps_logs_and_the_cache_are_told() {
    let engine = engine().await;
    let marker = unique();
    let context = Context::new(&format!("{BUSYBOX}{}", run(&format!("/bin/busybox sleep 2; echo {marker}"))));
    let states = |built: &Built| -> Vec<StepState> {
        let mut states = Vec::new();
        for event in &built.events {
            match event {
                BuildEvent::Step { name, state, .. } if name.contains(&marker) => states.push(state.clone()),
                _ => {}
            }
        }
        states
    };
    let first = build(&engine, &context.request()).await.unwrap();
    assert_eq!(states(&first), [StepState::Started, StepState::Completed]);
    let logged: Vec<u8> = first
        .events
        .iter()
        .filter_map(|e| if let BuildEvent::Log { bytes, .. } = e { Some(bytes.clone()) } else { None })
        .flatten()
        .collect();
    assert_eq!(String::from_utf8(logged).unwrap(), format!("{marker}\n"));
    assert!(matches!(
        first.events.iter().rev().find(|e| matches!(e, BuildEvent::Sent { .. })),
        Some(BuildEvent::Sent { bytes }) if *bytes == first.image.sent
    ));

    let second = build(&engine, &context.request()).await.unwrap();
    assert_eq!(states(&second), [StepState::Cached]);
    let mut request = context.request();
    request.no_cache = true;
    let third = build(&engine, &request).await.unwrap();
    assert_eq!(states(&third), [StepState::Started, StepState::Completed]);
}

#[tokio::test]
async fn a_failing_run_names_its_step_and_its_last_lines() {
    let context = Context::new(&format!("{BUSYBOX}{}", run("echo compiling; echo 'no such crate' >&2; exit 7")));
    let (step, why, tail) = step(failure(&context.request()).await);
    assert!(step.contains("RUN") && step.contains("busybox"), "{step}");
    assert!(why.contains("exit code: 7"), "{why}");
    assert!(!why.contains("failed to solve"), "{why}");
    assert!(tail.contains("compiling") && tail.contains("no such crate"), "{tail}");
}

#[tokio::test]
async fn mistakes_in_the_dockerfile_are_told_in_the_builders_words() {
    for (dockerfile, expected) in [
        ("FROM scratch\nFRM x\n", "unknown instruction"),
        ("FROM scratch\nCOPY missing /\n", "missing"),
        ("FROM 127.0.0.1:1/no/such:image\nCOPY busybox /\n", "127.0.0.1:1/no/such"),
        ("", "empty"),
    ] {
        let error = failure(&Context::new(dockerfile).request()).await;
        assert!(matches!(error, EngineError::Build { .. }), "{dockerfile:?}: {error:?}");
        assert!(error.to_string().contains(expected), "{dockerfile:?}: {error}");
    }
}

#[tokio::test]
async fn a_step_that_wants_an_ssh_agent_says_what_to_use_instead() {
    for (mount, script) in [("type=ssh", "exit 128"), ("type=ssh,required=true", "true")] {
        let ssh = run(script).replace("RUN ", &format!("RUN --mount={mount} "));
        let error = failure(&Context::new(&format!("{BUSYBOX}{ssh}")).request()).await;
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("no SSH agent") && hint.contains("type=secret"), "{mount}: {error}: {hint}");
    }
}

#[tokio::test]
async fn an_unknown_target_is_told() {
    let context = Context::new("FROM scratch AS web\nCOPY busybox /\n");
    let mut request = context.request();
    request.target = Some("wbe".to_owned());
    let (_, why, _) = step(failure(&request).await);
    assert!(why.contains("wbe"), "{why}");
}

#[tokio::test]
async fn a_missing_context_and_a_bad_platform_are_refused_before_the_engine_is_asked() {
    let engine = engine().await;
    let mut request = BuildRequest::new("/nonexistent/context");
    let refusal = engine.build(&request, &mut |_| {}).await.unwrap_err();
    assert_eq!(refusal.to_string(), "build context `/nonexistent/context`: does not exist");
    request.platform = Some("linux/amd64,linux/arm64".to_owned());
    let refusal = engine.build(&request, &mut |_| {}).await.unwrap_err();
    assert!(matches!(refusal, EngineError::Config { .. }), "{refusal:?}");
}
