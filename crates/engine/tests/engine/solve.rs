//! Builds by BuildKit's own API: the Engine's own, behind a port.

use fargate_deploy_core::redact::Secret;
use fargate_deploy_engine::{BuildEvent, BuildKit, BuildRequest, BuiltImage, EngineError, StepState};

use crate::cancel::{is_sleeping, odd_sleep};
use crate::remote_builder::{Machine, at};
use crate::support::{BUSYBOX, Context, engine, env, run, unique, until};

async fn kit() -> (BuildKit, Machine) {
    let machine = Machine::start("127.0.0.1", None).await;
    (BuildKit::connect(&at(machine.address, None), &env()).await.unwrap(), machine)
}

pub async fn solve(kit: &BuildKit, request: &BuildRequest) -> (Result<BuiltImage, EngineError>, Vec<BuildEvent>) {
    let mut events = vec![];
    let built = kit.build(request, &mut |event| events.push(event)).await;
    (built, events)
}

/// Steps of the Dockerfile that ran, and those that came from the cache.
pub fn steps(events: &[BuildEvent], wanted: &StepState) -> usize {
    let is_step = |event: &&BuildEvent| matches!(event, BuildEvent::Step { name, state, .. } if name.contains("] ") && !name.contains("[internal]") && state == wanted);
    events.iter().filter(is_step).count()
}

#[tokio::test]
async fn arguments_target_and_secrets_arrive_and_the_second_build_runs_no_step() {
    let (kit, _machine) = kit().await;
    assert_eq!(kit.platform(), Some(engine().await.info().platform().as_str()));
    let script = "/bin/busybox test $(/bin/busybox cat /run/secrets/token) = hidden; /bin/busybox test -n $VERSION";
    let dockerfile = format!(
        "{BUSYBOX}ARG VERSION\nCOPY app /app\n{}FROM scratch AS other\n",
        run(script).replace("RUN ", "RUN --mount=type=secret,id=token ")
    );
    let context = Context::new(&dockerfile.replacen("FROM scratch", "FROM scratch AS first", 1)).write("app", "app");
    let mut request = context.request();
    request.target = Some("first".to_owned());
    request.args.insert("VERSION".to_owned(), unique());
    request.secrets.push(("token".to_owned(), Secret::new(b"hidden".to_vec())));
    let (built, events) = solve(&kit, &request).await;
    let built = built.unwrap();
    assert!(built.sent > 3, "{}", built.sent);
    assert!(steps(&events, &StepState::Completed) >= 1, "{events:?}");

    let (again, events) = solve(&kit, &request).await;
    again.unwrap();
    assert_eq!((steps(&events, &StepState::Completed), steps(&events, &StepState::Cached)), (0, 3), "{events:?}");
}

#[tokio::test]
async fn a_failing_step_is_named_with_its_last_lines() {
    let (kit, _machine) = kit().await;
    let context = Context::new(&format!("{BUSYBOX}{}", run("echo about to fail; exit 3")));
    let error = solve(&kit, &context.request()).await.0.unwrap_err();
    let EngineError::Build { step: Some(step), why, log_tail } = &error else { panic!("{error:?}") };
    assert!(step.contains("RUN") && why.contains("exit code: 3"), "{error}");
    assert_eq!(log_tail, &["about to fail"]);
    assert!(!why.starts_with("failed to solve"), "{why}");
}

#[tokio::test]
async fn dropping_it_ends_the_running_step() {
    let (kit, _machine) = kit().await;
    let seconds = odd_sleep(3);
    let context = Context::new(&format!("{BUSYBOX}{}", run(&format!("exec /bin/busybox sleep {seconds}"))));
    let request = context.request();
    let building = tokio::spawn(async move { kit.build(&request, &mut |_: BuildEvent| {}).await });
    until("the step runs", async || is_sleeping(&seconds)).await;
    building.abort();
    until("the step is gone", async || !is_sleeping(&seconds)).await;
}
