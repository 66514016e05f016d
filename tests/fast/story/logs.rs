//! `logs`: lines of many tasks as one, each once, whatever comes late.

use crate::story::fake::cloud::Outage;
use crate::story::fake::task::{RunningTask, container as ended};
use crate::story::fake::{ACCOUNT, REGION, definition_arn};
use crate::story::scene::{Scene, container, definition, old_image, service_config};
use fargate_deploy::commands::logs::{Asked, logs_of};
use fargate_deploy::commands::scope::ScopedService;
use fargate_deploy::events::{Event, Warning};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy::render::log_lines::{LogStyle, Printer};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task::Task;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use test_support::Lines;
use tokio::time::{Instant, sleep};

const EPOCH: f64 = 1_764_000_000.0;

thread_local! {
    static START: Instant = Instant::now();
}

/// Our clock and AWS's, on the test's own time.
fn now() -> f64 {
    EPOCH + START.with(|start| start.elapsed()).as_secs_f64()
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

fn web() -> Vec<ScopedService> {
    vec![ScopedService::of(service_config("web"))]
}

fn stream(id: &str) -> String {
    format!("app/app/{id}")
}

/// A task of `web`, with the log stream of its container `app`.
fn starts(scene: &Scene, id: &str, revision: &str) {
    let mut aws = scene.cloud.aws();
    let task = Task {
        arn: format!("arn:aws:ecs:{REGION}:{ACCOUNT}:task/shop/{id}").as_str().into(),
        task_definition: definition_arn(revision).into(),
        last_status: "RUNNING".to_owned(),
        desired_status: "RUNNING".to_owned(),
        started_by: None,
        stop_code: None,
        stopped_reason: None,
        health: None,
        containers: vec![],
        stopped_at: None,
        started_at: Some(now()),
    };
    aws.logs.entry(stream(id)).or_default();
    aws.tasks.push(RunningTask { task, service: Some("web".to_owned()), known_from: Instant::now() });
}

fn ends(scene: &Scene, id: &str, code: i64) {
    let mut aws = scene.cloud.aws();
    let arn = format!("arn:aws:ecs:{REGION}:{ACCOUNT}:task/shop/{id}").as_str().into();
    aws.stop(&arn, "EssentialContainerExited", "Essential container in task exited", vec![ended("app", Some(code))]);
    aws.tasks.iter_mut().find(|known| known.task.arn == arn).unwrap().task.stopped_at = Some(now());
}

fn write(scene: &Scene, id: &str, text: &str) {
    scene.cloud.aws().write(&stream(id), milliseconds(now()), text);
}

/// What is printed as objects until `lasts` is over, or the command is.
async fn printed(scene: &Scene, asked: &Asked, lasts: Duration) -> (Vec<Value>, Result<(), Failure>) {
    let out = Lines::default();
    let mut printer = Printer::new(out.clone(), LogStyle { is_json: true, ..LogStyle::default() });
    let services = web();
    let reading = logs_of(asked, &services, scene.cloud.ports(), &scene.told, now, &mut printer);
    let result = tokio::time::timeout(lasts, reading).await.unwrap_or(Ok(()));
    (out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect(), result)
}

async fn history(scene: &Scene, asked: &Asked) -> Vec<String> {
    let (lines, result) = printed(scene, asked, Duration::from_secs(600)).await;
    result.unwrap();
    lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_lines_a_second_of_four_tasks_are_told_once_each_also_what_comes_late_or_twice() {
    let scene = Scene::without_migration();
    scene.cloud.limit_rates();
    let ids = ["aaaa0", "bbbb1", "cccc2", "dddd3"];
    ids.iter().for_each(|id| starts(&scene, id, "web:41"));
    let seconds = 6;
    let writing = async {
        // What is there before following begins is what it leaves out.
        sleep(Duration::from_secs(3)).await;
        let mut late = vec![];
        for tick in 0..seconds * 10 {
            for (at, id) in ids.iter().enumerate() {
                for n in 0..250 {
                    let number = tick * 250 + n;
                    // Every line of one task says the same, many of them in the same millisecond.
                    let text = if at == 0 { "same".to_owned() } else { format!("{id} {number}") };
                    let time = milliseconds(now());
                    match number % 50 {
                        7 => late.push((tick + 10 + number % 40, *id, time, text)),
                        _ => scene.cloud.aws().write(&stream(id), time, &text),
                    }
                }
            }
            for (_, id, time, text) in late.extract_if(.., |(due, ..)| *due <= tick) {
                scene.cloud.aws().write(&stream(id), time, &text);
            }
            sleep(Duration::from_millis(100)).await;
        }
        for (_, id, time, text) in late {
            scene.cloud.aws().write(&stream(id), time, &text);
        }
    };
    let asked = Asked { follows: true, lines: Some(0), ..Asked::default() };
    let lasts = Duration::from_secs(seconds as u64 + 40);
    let ((lines, result), ()) = tokio::join!(printed(&scene, &asked, lasts), writing);
    result.unwrap();
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in &lines {
        let text = |member: &str| line[member].as_str().unwrap().to_owned();
        *counts.entry((text("task"), text("message"))).or_default() += 1;
    }
    let each = seconds * 10 * 250;
    assert_eq!(counts.remove(&("aaaa0".to_owned(), "same".to_owned())), Some(each));
    assert_eq!(counts.len(), 3 * each, "some were lost");
    assert!(counts.values().all(|count| *count == 1), "some were told twice");
    assert_eq!(scene.cloud.refused(), 0, "AWS's limits are kept");
}

#[tokio::test(start_paused = true)]
async fn new_tasks_are_followed_from_their_first_line_however_short_they_live() {
    let scene = Scene::without_migration();
    starts(&scene, "old", "web:41");
    let seen = Lines::default();
    let mut printer = Printer::new(seen.clone(), LogStyle { is_json: true, ..LogStyle::default() });
    let (asked, services) = (Asked { follows: true, ..Asked::default() }, web());
    let following = logs_of(&asked, &services, scene.cloud.ports(), &scene.told, now, &mut printer);
    let story = async {
        sleep(Duration::from_secs(20)).await;
        for n in 0..5 {
            let id = format!("new{n}");
            starts(&scene, &id, "web:41");
            write(&scene, &id, &format!("hello of {id}"));
            if n % 2 == 0 {
                sleep(Duration::from_millis(300)).await;
                write(&scene, &id, &format!("bye of {id}"));
                ends(&scene, &id, 1);
            }
            sleep(Duration::from_secs(3)).await;
            assert!(seen.text().contains(&format!("hello of {id}")), "{id}: {}", seen.text());
        }
        // What a task that has stopped says is late.
        write(&scene, "new4", "the last words of new4");
        sleep(Duration::from_secs(3)).await;
    };
    tokio::select! {
        ended = following => panic!("{ended:?}"),
        () = story => {}
    }
    let text = seen.text();
    for n in 0..5 {
        assert_eq!(text.matches(&format!("hello of new{n}")).count(), 1, "{text}");
        assert_eq!(text.matches(&format!("bye of new{n}")).count(), usize::from(n % 2 == 0), "{text}");
    }
    assert_eq!(text.matches("the last words of new4").count(), 1, "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_last_lines_of_all_tasks_are_merged_by_time() {
    let scene = Scene::without_migration();
    starts(&scene, "one", "web:41");
    starts(&scene, "two", "web:41");
    for n in 0..300 {
        write(&scene, if n % 3 == 0 { "one" } else { "two" }, &n.to_string());
        sleep(Duration::from_millis(10)).await;
    }
    let numbers = |from: usize, to: usize| (from..to).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(history(&scene, &Asked::default()).await, numbers(200, 300));
    assert_eq!(history(&scene, &Asked { lines: Some(5), ..Asked::default() }).await, numbers(295, 300));
    let of_one = Asked { task: Some("on".to_owned()), lines: Some(2), ..Asked::default() };
    assert_eq!(history(&scene, &of_one).await, ["294", "297"]);
    // Everything since, a page at a time.
    scene.cloud.aws().events_per_page = 7;
    let since = Asked { since: Some(milliseconds(EPOCH)), ..Asked::default() };
    assert_eq!(history(&scene, &since).await, numbers(0, 300));
    let grep = Some(regex_lite::Regex::new("^1.7$").unwrap());
    let found = ["107", "117", "127", "137", "147", "157", "167", "177", "187", "197"];
    assert_eq!(history(&scene, &Asked { grep, ..since.clone() }).await, found);
    let filter = Asked { filter: Some("\"29\"".to_owned()), since: Some(milliseconds(EPOCH)), ..Asked::default() };
    let expected: Vec<_> = [29, 129, 229].into_iter().chain(290..300).map(|n: usize| n.to_string()).collect();
    assert_eq!(history(&scene, &filter).await, expected);
}

#[tokio::test(start_paused = true)]
async fn following_begins_with_the_last_lines_and_tells_none_of_them_twice() {
    let scene = Scene::without_migration();
    starts(&scene, "one", "web:41");
    for n in 0..200 {
        write(&scene, "one", &format!("before {n}"));
        sleep(Duration::from_millis(100)).await;
    }
    let asked = Asked { follows: true, lines: Some(150), ..Asked::default() };
    let writing = async {
        for n in 0..50 {
            sleep(Duration::from_millis(100)).await;
            write(&scene, "one", &format!("after {n}"));
        }
    };
    let ((lines, result), ()) = tokio::join!(printed(&scene, &asked, Duration::from_secs(15)), writing);
    result.unwrap();
    let told: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    let all: Vec<_> = (0..200).map(|n| format!("before {n}")).chain((0..50).map(|n| format!("after {n}"))).collect();
    // What was written while the first lines were read is among the 150.
    assert!((190..=200).contains(&told.len()), "{}", told.len());
    let expected = &all[all.len() - told.len()..];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn the_last_dead_tasks_are_one_flag_away_with_how_they_ended() {
    let scene = Scene::without_migration();
    starts(&scene, "dead", "web:41");
    write(&scene, "dead", "KeyError: STRIPE_KEY");
    ends(&scene, "dead", 1);
    sleep(Duration::from_secs(1)).await;
    starts(&scene, "alive", "web:41");
    write(&scene, "alive", "fine");
    assert_eq!(history(&scene, &Asked { is_previous: true, ..Asked::default() }).await, ["KeyError: STRIPE_KEY"]);
    let endings: Vec<_> = scene.told.events().into_iter().filter(|e| matches!(e, Event::TaskEnded { .. })).collect();
    assert!(
        matches!(endings.as_slice(), [Event::TaskEnded { ending, .. }] if ending.contains("exit code 1")),
        "{endings:?}"
    );
    assert_eq!(history(&scene, &Asked::default()).await, ["KeyError: STRIPE_KEY", "fine"], "both without it");
}

#[tokio::test(start_paused = true)]
async fn containers_and_releases_are_told_apart_and_what_logs_elsewhere_is_said_to() {
    let scene = Scene::without_migration();
    let mut body = definition("web", &old_image("shop-app"));
    let mut proxy = container("proxy", "nginx:1");
    proxy["logConfiguration"] =
        json!({"logDriver": "splunk", "options": {"splunk-url": "https://logs", "splunk-token": "t0ken"}});
    body["containerDefinitions"].as_array_mut().unwrap().push(proxy);
    scene.cloud.aws().add_definition(&body, Some(8));
    starts(&scene, "seven", "web:41");
    write(&scene, "seven", "of r7");
    starts(&scene, "eight", "web:42");
    write(&scene, "eight", "of r8");
    assert_eq!(history(&scene, &Asked { release: Some(8), ..Asked::default() }).await, ["of r8"]);
    let told = scene.told.warnings();
    assert!(told.iter().any(|w| w.contains("`proxy` logs by `splunk`") && w.contains("https://logs")), "{told:?}");
    assert!(!format!("{:?}", scene.told.events()).contains("t0ken"));
    let nothing = history(&scene, &Asked { container: Some("proxy".into()), ..Asked::default() }).await;
    assert!(nothing.is_empty());
    // Its task runs, and where its lines are is said.
    let no_tasks = |e: &Event| matches!(e, Event::Warning(Warning::NoTasks { .. }));
    assert!(!scene.told.events().iter().any(no_tasks));
    for (wrong, known) in [
        (Asked { release: Some(3), ..Asked::default() }, "r8"),
        (Asked { container: Some("nope".into()), ..Asked::default() }, "`app`, `proxy`"),
    ] {
        let (lines, result) = printed(&scene, &wrong, Duration::from_secs(60)).await;
        let failure = result.unwrap_err();
        assert!(lines.is_empty() && failure.reason == Reason::Config, "{failure:?}");
        assert!(failure.next.as_deref().unwrap().contains(known), "{failure:?}");
    }
    assert!(!scene.told.events().iter().any(no_tasks));
    // Without a task there is nothing to name.
    assert!(history(&Scene::without_migration(), &Asked { release: Some(3), ..Asked::default() }).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_named_and_a_moment_of_throttling_ends_nothing() {
    let scene = Scene::without_migration();
    starts(&scene, "one", "web:41");
    scene.cloud.deny("logs:GetLogEvents");
    let (_, result) = printed(&scene, &Asked::default(), Duration::from_secs(60)).await;
    let failure = result.unwrap_err();
    assert_eq!((failure.reason, failure.reason.exit_code()), (Reason::Permission, 3));
    assert!(failure.what.contains("logs:GetLogEvents"), "{failure:?}");
    scene.cloud.recover();
    let (_, result) =
        printed(&scene, &Asked { task: Some("nope".to_owned()), ..Asked::default() }, Duration::from_secs(9)).await;
    assert_eq!(result.unwrap_err().reason, Reason::Config);

    let outage = Duration::from_secs(30);
    scene.cloud.trouble("logs:FilterLogEvents", Outage::Says(CallErrorKind::Throttled), 2, outage);
    let asked = Asked { follows: true, ..Asked::default() };
    let writing = async {
        for n in 0..40 {
            write(&scene, "one", &n.to_string());
            sleep(Duration::from_secs(1)).await;
        }
    };
    let ((lines, result), ()) = tokio::join!(printed(&scene, &asked, Duration::from_secs(80)), writing);
    result.unwrap();
    let told: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
}
