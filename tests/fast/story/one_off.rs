//! `run`: one task with a command of a person's own, from its start to its exit code.

use crate::story::fake::clock;
use crate::story::fake::cloud::Outage;
use crate::story::fake::task::Run;
use crate::story::scene::{Scene, container, definition, old_image};
use fargate_deploy::commands::run::{Asked, Following, run_with};
use fargate_deploy::events::{Event, StopReason, Wait, Warning};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy::release_context::ReleaseContext;
use fargate_deploy::steps::one_off::{Order, started_by};
use fargate_deploy_core::invocation::Invocation;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::{OneOffRecord, Outcome, Reason, Record, Success};
use serde_json::json;
use std::cell::RefCell;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

fn web() -> ServiceRef {
    ServiceRef { cluster: "shop".into(), name: "web".into() }
}

fn order(words: &[&str]) -> Order {
    Order {
        service: web(),
        container: None,
        release: None,
        image: None,
        invocation: Invocation {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            environment: vec![],
            cpu: None,
            memory: None,
        },
        is_spot: false,
        enables_exec: false,
        started_by: started_by("ada@example.com"),
        client_token: "once".to_owned(),
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Runs it with signals at these times.
async fn run(scene: &Scene, asked: &Asked, following: &Following, at: &[u64]) -> Outcome {
    let record = RefCell::new(Record { one_off: Some(OneOffRecord::default()), ..Record::default() });
    let context = ReleaseContext {
        aws: scene.cloud.ports(),
        builder: &scene.builder,
        web: &scene.web,
        sink: &scene.told,
        clock,
        record: &record,
    };
    let (send, signals) = watch::channel(0);
    let signalling = async {
        let began = Instant::now();
        for at in at {
            tokio::time::sleep_until(began + seconds(*at)).await;
            send.send_modify(|count| *count += 1);
        }
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = run_with(asked, following, signals, &context) => result,
        () = signalling => unreachable!("it waits"),
    };
    Outcome { result, record: record.into_inner() }
}

async fn started(scene: &Scene, order: Order) -> Outcome {
    run(scene, &asked(order), &following(), &[]).await
}

fn asked(order: Order) -> Asked {
    Asked::Start { order, image: None }
}

fn following() -> Following {
    Following { attach: "fargate-deploy run --attach".to_owned(), ..Following::default() }
}

fn lines(scene: &Scene) -> Vec<String> {
    let events = scene.told.events();
    events.into_iter().filter_map(|e| if let Event::Output { line, .. } = e { Some(line) } else { None }).collect()
}

fn warnings(scene: &Scene) -> Vec<Warning> {
    let events = scene.told.events();
    events.into_iter().filter_map(|e| if let Event::Warning(warning) = e { Some(warning) } else { None }).collect()
}

#[tokio::test(start_paused = true)]
async fn its_lines_are_told_in_order_and_its_exit_code_is_the_runs() {
    let says = (0..50).fold(Run::exits(7), |run, n| run.says(f64::from(n) / 10.0, &format!("line {n}")));
    // The last line arrives after the exit.
    let scene = Scene::new().next_runs([says.says(31.0, "bye")]);
    let ended = started(&scene, order(&["seq", "50"])).await;
    assert_eq!(ended.result.as_ref().unwrap(), &Success::Exited);
    assert_eq!(ended.exit_code(), 7);
    let expected: Vec<_> = (0..50).map(|n| format!("line {n}")).chain(["bye".to_owned()]).collect();
    assert_eq!(lines(&scene), expected);
    let asked = scene.cloud.aws().asked_tasks.clone();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].overrides, json!({"containerOverrides": [{"name": "app", "command": ["seq", "50"]}]}));
    assert_eq!(asked[0].started_by, "fargate-deploy/run/ada-example-com");
    assert_eq!((asked[0].client_token.as_str(), asked[0].is_spot), ("once", false));
    assert_eq!(scene.journal.count("ssm:PutParameter"), 0, "no lease is taken");
    assert_eq!(
        ended.record.state(),
        [format!("task {} has stopped", ended.record.one_off.unwrap().task.unwrap().id())]
    );
}

#[tokio::test(start_paused = true)]
async fn silence_is_no_hang() {
    let scene = Scene::new().next_runs([Run::exits(0).after(700).says(1.0, "begun").says(690.0, "done")]);
    let began = Instant::now();
    assert_eq!(started(&scene, order(&["work"])).await.exit_code(), 0);
    // CloudWatch shows lines late: the log is read until it has been quiet for ten seconds.
    assert!(began.elapsed() >= seconds(700) && began.elapsed() < seconds(715), "{:?}", began.elapsed());
    assert_eq!(lines(&scene), ["begun", "done"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_commands_own_end_is_125_with_the_reason() {
    for (run, said) in [
        (Run::never_starts(), "CannotPullContainerError"),
        (
            Run::fails_to_start("ResourceInitializationError: unable to pull secrets", None),
            "ResourceInitializationError",
        ),
        (Run::taken_by_spot(), "SpotInterruption"),
        (Run::killed(), "UserInitiated"),
        (Run::without_exit_code(), "without an exit code"),
        (Run::refused("RESOURCE:FARGATE"), "RunTask started nothing"),
    ] {
        let scene = Scene::new().next_runs([run]);
        let ended = started(&scene, order(&["work"])).await;
        let failure = ended.result.clone().unwrap_err();
        assert_eq!((ended.exit_code(), failure.reason), (125, Reason::Task), "{failure:?}");
        let told = std::iter::once(&failure.what).chain(&failure.evidence).any(|text| text.contains(said));
        assert!(told && failure.next.is_some(), "{said}: {failure:?}");
    }
    let mut missing = order(&["work"]);
    missing.container = Some("web".into());
    let ended = started(&Scene::new(), missing).await;
    assert_eq!((ended.exit_code(), ended.result.unwrap_err().reason), (125, Reason::Config));
    assert_eq!(ended.record.state(), ["no task was started"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_run_is_126_or_127_and_the_entry_point_is_named_once() {
    let not_found =
        "CannotStartContainerError: Error response from daemon: exec: \"nope\": executable file not found in $PATH";
    let denied = "CannotStartContainerError: exec: \"/app\": permission denied";
    for (run, code) in [
        (Run::fails_to_start(not_found, None), 127),
        (Run::fails_to_start(denied, None), 126),
        (Run::exits(127), 127),
        (Run::exits(126), 126),
    ] {
        let scene = Scene::new().next_runs([run]);
        {
            let mut body = definition("web", &old_image("shop-app"));
            body["containerDefinitions"][0]["entryPoint"] = json!(["tini", "--"]);
            let mut aws = scene.cloud.aws();
            let arn = aws.add_definition(&body, Some(8));
            aws.services.get_mut("web").unwrap().task_definition = arn;
        }
        let ended = started(&scene, order(&["nope"])).await;
        assert_eq!(ended.exit_code(), code);
        let said: Vec<_> = warnings(&scene);
        let expected = "tini --";
        assert!(
            matches!(said.as_slice(), [Warning::CommandNotRunnable { exit_code, entrypoint: Some(found) }]
            if *exit_code == code && found == expected),
            "{said:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_signal_stops_the_task_and_is_waited_for() {
    let scene = Scene::new().next_runs([Run::hangs().says(3.0, "working").says(22.0, "stopping")]);
    let began = Instant::now();
    let ended = run(&scene, &asked(order(&["work"])), &following(), &[20]).await;
    assert_eq!((ended.exit_code(), ended.result.clone().unwrap_err().reason), (130, Reason::Cancelled));
    assert!(began.elapsed() >= seconds(25) && began.elapsed() < seconds(35), "{:?}", began.elapsed());
    assert_eq!(scene.journal.count("ecs:StopTask"), 1);
    assert_eq!(lines(&scene), ["working", "stopping"]);
    assert!(ended.record.state()[0].ends_with("has stopped"), "{:?}", ended.record.state());
}

#[tokio::test(start_paused = true)]
async fn the_second_signal_leaves_it_and_says_how_to_follow_it_again() {
    let scene = Scene::new().next_runs([Run::hangs(), Run::hangs()]);
    let ended = run(&scene, &asked(order(&["work"])), &following(), &[20, 22]).await;
    assert_eq!((ended.exit_code(), ended.result.unwrap_err().reason), (130, Reason::Cancelled));
    let id = ended.record.one_off.unwrap().task.unwrap().id().to_owned();
    let line = format!("fargate-deploy run --attach {id}");
    let events = scene.told.events();
    assert!(events.iter().any(|e| matches!(e, Event::OneOffDetached { attach, .. } if *attach == line)), "{line}");

    let task = format!("arn:aws:ecs:eu-central-1:111122223333:task/shop/{id}");
    let attached = Asked::Attach { service: web(), task, container: None };
    let again = run(&scene, &attached, &following(), &[]).await;
    assert_eq!(again.exit_code(), 125, "it was told to stop: {again:?}");
    let failure = again.result.clone().unwrap_err();
    assert!(!format!("{failure:?}").contains("CloudTrail"), "nobody else did: {failure:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 1, "attaching starts nothing");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_stops_the_task() {
    let scene = Scene::new().next_runs([Run::hangs()]);
    let began = Instant::now();
    let limited = Following { timeout: Some(seconds(60)), ..following() };
    let ended = run(&scene, &asked(order(&["work"])), &limited, &[]).await;
    assert_eq!((ended.exit_code(), ended.result.unwrap_err().reason), (125, Reason::Timeout));
    // Five seconds until it has stopped, and ten in which its log stays quiet.
    assert!(began.elapsed() >= seconds(60) && began.elapsed() < seconds(80), "{:?}", began.elapsed());
    let stops = |e: &Event| matches!(e, Event::OneOffStopping { why: StopReason::Timeout, .. });
    assert!(scene.told.events().iter().any(stops));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_stop_in_time_is_said_to_go_on() {
    let scene = Scene::new().next_runs([Run::hangs()]);
    scene.cloud.ignores_stops.set(true);
    let began = Instant::now();
    let ended = run(&scene, &asked(order(&["work"])), &following(), &[20]).await;
    let failure = ended.result.unwrap_err();
    assert_eq!(failure.reason, Reason::Cancelled);
    assert!(failure.next.unwrap().contains("fargate-deploy run --attach"));
    assert!(began.elapsed() < seconds(55), "{:?}", began.elapsed());
    assert!(ended.record.state()[0].ends_with("has not stopped yet"), "{:?}", ended.record.state());
}

#[tokio::test(start_paused = true)]
async fn detached_it_returns_as_soon_as_the_task_is_there() {
    let scene = Scene::new().next_runs([Run::hangs()]);
    let detached = Following { is_detached: true, ..following() };
    let began = Instant::now();
    let ended = run(&scene, &asked(order(&["work"])), &detached, &[]).await;
    assert_eq!((ended.exit_code(), ended.result.unwrap()), (0, Success::Detached));
    assert!(began.elapsed() < seconds(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_definition_is_derived_as_a_release_commands_is_and_registered_once() {
    let scene = Scene::new().next_runs([Run::exits(0), Run::exits(0)]);
    {
        let mut body = definition("web", &old_image("shop-app"));
        body["containerDefinitions"][0]["restartPolicy"] = json!({"enabled": true});
        body["containerDefinitions"][0]["logConfiguration"]["options"]["mode"] = json!("non-blocking");
        body["containerDefinitions"].as_array_mut().unwrap().push(container("proxy", "nginx:1"));
        body["containerDefinitions"][1]["dependsOn"] = json!([{"containerName": "app", "condition": "START"}]);
        let mut aws = scene.cloud.aws();
        let arn = aws.add_definition(&body, Some(8));
        aws.services.get_mut("web").unwrap().task_definition = arn;
    }
    let mut order = order(&["work"]);
    order.container = Some("app".into());
    for _ in 0..2 {
        assert_eq!(started(&scene, order.clone()).await.exit_code(), 0);
    }
    assert_eq!(scene.journal.count("ecs:RegisterTaskDefinition web-run"), 1);
    let derived = scene.cloud.aws().definition("web-run").unwrap().clone();
    let containers = &derived.body["containerDefinitions"];
    assert_eq!(containers.as_array().unwrap().len(), 1, "what waits for it is left out");
    assert_eq!(containers[0].get("restartPolicy"), None);
    assert_eq!(containers[0]["logConfiguration"]["options"]["mode"], "blocking");
    let asked = scene.cloud.aws().asked_tasks.clone();
    assert!(asked.iter().all(|asked| asked.task_definition.family() == "web-run"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn it_runs_what_serves_while_a_rollout_goes_on_and_an_older_release_where_that_is_asked_for() {
    let scene = Scene::new().next_runs([Run::exits(0), Run::exits(0)]);
    let (old, new) = {
        let mut aws = scene.cloud.aws();
        let old = aws.services["web"].task_definition.clone();
        let new = aws.add_definition(&definition("web", &old_image("shop-app")), Some(8));
        aws.update("web", &new, false);
        (old, new)
    };
    assert_eq!(started(&scene, order(&["work"])).await.exit_code(), 0);
    let mut of_release = order(&["work"]);
    of_release.release = Some(8);
    assert_eq!(started(&scene, of_release.clone()).await.exit_code(), 0);
    let ran: Vec<_> = scene.cloud.aws().asked_tasks.iter().map(|asked| asked.task_definition.clone()).collect();
    assert_eq!(ran, [old, new]);
    of_release.release = Some(3);
    let failure = started(&scene, of_release).await.result.unwrap_err();
    assert!(failure.reason == Reason::Config && failure.what.contains("release r3"), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_may_not_tag_starts_it_without_tags() {
    let scene = Scene::new().next_runs([Run::exits(0)]);
    scene.cloud.refuses_tags.set(true);
    assert_eq!(started(&scene, order(&["work"])).await.exit_code(), 0);
    assert!(scene.cloud.aws().asked_tasks[0].tags.is_empty());
    assert!(matches!(warnings(&scene).as_slice(), [Warning::TaskWithoutTags { .. }]));
}

#[tokio::test(start_paused = true)]
async fn a_size_that_fargate_does_not_have_and_a_line_that_is_too_long_start_nothing() {
    let scene = Scene::new();
    let mut sized = order(&["work"]);
    sized.invocation.cpu = Some("256".to_owned());
    sized.invocation.memory = Some("8192".to_owned());
    let mut long = order(&["work"]);
    long.invocation.environment = vec![("TOKEN".to_owned(), "s3cret".repeat(2000))];
    for (order, said) in [(sized, "`memory` is"), (long, "8192")] {
        let failure = started(&scene, order).await.result.unwrap_err();
        assert_eq!(failure.reason, Reason::Config, "{failure:?}");
        assert!(failure.what.contains(said) && !format!("{failure:?}").contains("s3cret"), "{failure:?}");
    }
    assert_eq!(scene.journal.count("ecs:RunTask"), 0);
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("line {n}")).collect()
}

/// Two lines a page, and a page takes 80 ms.
#[tokio::test(start_paused = true)]
async fn what_a_log_still_holds_at_the_end_is_read_however_long_that_takes() {
    let lines = numbered(1500);
    let says = lines.iter().fold(Run::exits(7), |run, line| run.says(29.9, line));
    let scene = Scene::new().next_runs([says]);
    let began = Instant::now();
    assert_eq!(started(&scene, order(&["dump"])).await.exit_code(), 7);
    assert!(began.elapsed() > seconds(80), "it was slow: {:?}", began.elapsed());
    assert!(self::lines(&scene) == lines, "{} of {}", self::lines(&scene).len(), lines.len());
    assert!(warnings(&scene).is_empty(), "{:?}", warnings(&scene));
}

#[tokio::test(start_paused = true)]
async fn lines_that_show_late_after_the_end_are_read_as_long_as_the_log_is_not_quiet_for_ten_seconds() {
    for late in [[3.0, 6.0], [8.0, 16.0], [9.0, 18.5]] {
        let says = late.iter().fold(Run::exits(0).says(1.0, "first"), |run, at| run.says(30.0 + at, &format!("{at}")));
        let scene = Scene::new().next_runs([says]);
        assert_eq!(started(&scene, order(&["work"])).await.exit_code(), 0);
        assert_eq!(lines(&scene), ["first".to_owned(), late[0].to_string(), late[1].to_string()]);
    }
    // A log that is not there yet though its container has run is waited for longer.
    let scene = Scene::new().next_runs([Run::exits(0).says(55.0, "all of it")]);
    assert_eq!(started(&scene, order(&["work"])).await.exit_code(), 0);
    assert_eq!(lines(&scene), ["all of it"]);
    // One that never comes is said.
    let scene = Scene::new().next_runs([Run::exits(0).without_log()]);
    assert_eq!(started(&scene, order(&["work"])).await.exit_code(), 0);
    let is_said = |w: &Warning| matches!(w, Warning::LogAbsent { again, .. } if again.contains("run --attach task"));
    assert!(warnings(&scene).iter().any(is_said), "{:?}", warnings(&scene));
    // One that says nothing keeps nobody longer.
    let (scene, began) = (Scene::new().next_runs([Run::exits(0)]), Instant::now());
    assert_eq!(started(&scene, order(&["true"])).await.exit_code(), 0);
    assert!(began.elapsed() < seconds(45) && warnings(&scene).is_empty(), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_throttled_around_the_end_is_read_and_a_person_is_told() {
    for outage in [Outage::Says(CallErrorKind::Throttled), Outage::Says(CallErrorKind::Unreachable), Outage::Hangs] {
        let lines = numbered(40);
        let says = lines.iter().fold(Run::exits(0).after(10), |run, line| run.says(5.0, line));
        let scene = Scene::new().next_runs([says]);
        scene.cloud.trouble("logs:GetLogEvents", outage, 0, seconds(40));
        assert_eq!(started(&scene, order(&["work"])).await.exit_code(), 0);
        assert_eq!(self::lines(&scene), lines, "{outage:?}");
        if outage != Outage::Hangs {
            assert!(matches!(warnings(&scene).as_slice(), [Warning::LinesNotRead { .. }]), "{:?}", warnings(&scene));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lines_that_could_not_be_read_are_no_success_and_the_way_to_them_is_named() {
    for (outage, reason) in [
        (Outage::Says(CallErrorKind::Denied), Reason::Permission),
        (Outage::Says(CallErrorKind::Throttled), Reason::Unavailable),
        (Outage::Hangs, Reason::Unavailable),
    ] {
        let scene = Scene::new().next_runs([Run::exits(0).after(300).says(1.0, "12043")]);
        scene.cloud.trouble("logs:GetLogEvents", outage, 0, seconds(9000));
        let began = Instant::now();
        let ended = started(&scene, order(&["count"])).await;
        let failure = ended.result.clone().unwrap_err();
        assert_eq!((ended.exit_code(), failure.reason), (125, reason), "{failure:?}");
        let next = failure.next.unwrap();
        assert!(next.contains("fargate-deploy run --attach task") && next.contains("logs --task task"), "{next}");
        assert_eq!(next.contains("logs:GetLogEvents"), reason == Reason::Permission, "{next}");
        assert!(!next.contains("run it again"), "the command has run: {next}");
        assert!(began.elapsed() < seconds(380), "{:?}", began.elapsed());
        let events = scene.told.events();
        let at = |wanted: fn(&Event) -> bool| events.iter().position(wanted).unwrap();
        let said = at(|e| matches!(e, Event::Warning(Warning::LinesNotRead { .. })));
        assert!(said < at(|e| matches!(e, Event::OneOffEnded { .. })), "it is said while the task runs");

        // The command's own failure is told by its own code.
        let scene = Scene::new().next_runs([Run::exits(7).says(1.0, "why")]);
        scene.cloud.trouble("logs:GetLogEvents", outage, 0, seconds(9000));
        assert_eq!(started(&scene, order(&["work"])).await.exit_code(), 7);
        let is_said = |w: &Warning| matches!(w, Warning::LinesLost { again, .. } if again.contains("--attach task"));
        assert!(warnings(&scene).iter().any(is_said), "{:?}", warnings(&scene));
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_the_reading_of_a_log_that_does_not_come() {
    let scene = Scene::new().next_runs([Run::exits(0).says(1.0, "first")]);
    scene.cloud.trouble("logs:GetLogEvents", Outage::Hangs, 20, seconds(9000));
    let began = Instant::now();
    let ended = run(&scene, &asked(order(&["work"])), &following(), &[40]).await;
    let failure = ended.result.clone().unwrap_err();
    assert_eq!((ended.exit_code(), failure.reason), (130, Reason::Cancelled), "{failure:?}");
    assert!(began.elapsed() < seconds(42) && failure.next.unwrap().contains("--attach"), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_be_stopped_or_looked_at_is_left_with_the_line_that_follows_it_and_no_advice_to_start_another()
 {
    use CallErrorKind::{Denied, Identity, Throttled};
    for (action, kind, at, reason, code) in [
        ("ecs:StopTask", Throttled, Some(20), Reason::Cancelled, 130),
        ("ecs:StopTask", Denied, Some(20), Reason::Cancelled, 130),
        ("ecs:StopTask", Denied, None, Reason::Timeout, 125),
        ("ecs:DescribeTasks", Denied, None, Reason::Permission, 125),
        ("ecs:DescribeTasks", Identity, None, Reason::Identity, 125),
    ] {
        let scene = Scene::new().next_runs([Run::hangs()]);
        scene.cloud.trouble(action, Outage::Says(kind), 0, seconds(9000));
        let limited = Following { timeout: Some(seconds(60)), ..following() };
        let signals: Vec<u64> = at.into_iter().collect();
        let ended = run(&scene, &asked(order(&["work"])), &limited, &signals).await;
        let failure = ended.result.clone().unwrap_err();
        assert_eq!((failure.reason, ended.exit_code()), (reason, code), "{action} {kind:?}: {failure:?}");
        let next = failure.next.unwrap();
        assert!(next.contains("fargate-deploy run --attach task") && !next.contains("run it again"), "{next}");
        assert_eq!(next.contains(action), kind == Denied, "{next}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_aws_does_not_show_any_more_is_not_said_to_run() {
    let scene = Scene::new().next_runs([Run::hangs()]);
    let vanishing = async {
        tokio::time::sleep(seconds(20)).await;
        scene.cloud.aws().tasks.clear();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = started(&scene, order(&["work"])) => ended,
        () = vanishing => unreachable!("it waits"),
    };
    assert!(ended.record.state()[0].ends_with("whether it has ended is not known"), "{:?}", ended.record.state());
    assert!(ended.result.unwrap_err().next.unwrap().contains("logs --task task"));
    let says_running = |e: &Event| matches!(e, Event::Waiting(Wait::OneOff { status, .. }) if status == "PENDING");
    let events = scene.told.events();
    let last = events.iter().rfind(|e| matches!(e, Event::Waiting(_))).unwrap();
    assert!(!says_running(last), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_code_that_has_more_than_eight_bits_is_no_success() {
    for (code, expected) in [(256, 1), (3_221_225_477, 5), (-1, 255), (512, 1)] {
        let scene = Scene::new().next_runs([Run::exits(code)]);
        assert_eq!(started(&scene, order(&["work"])).await.exit_code(), expected, "{code}");
    }
}
