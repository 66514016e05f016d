//! The real watch in a model of ECS, on virtual time: thousands of random worlds, in which a verdict must never be wrong.
//! `MODEL_WORLDS` says how many, `MODEL_SEED` with which to begin.

mod check;
mod ecs;
mod reads;
mod setting;
mod unused;

use check::Ended;
use ecs::{Ecs, Moment, OURS, UPDATED, revision};
use fargate_deploy::events::{Event, Sink};
use fargate_deploy::poll::Poll;
use fargate_deploy::ports::Aws;
use fargate_deploy::release_context::ReleaseContext;
use fargate_deploy::render::sentences;
use fargate_deploy::rollout_in_progress::RolloutInProgress;
use fargate_deploy::steps::{roll_back, watch};
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::Record;
use fargate_deploy_core::rollback::MayGoBack;
use fargate_deploy_core::rollout::{Target, Verdict};
use fargate_deploy_core::task_definition::TaskDefinition;
use reads::Reads;
use setting::{CallKind, Setting};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use unused::Unused;

const WORLDS: u64 = 20_000;

#[derive(Debug)]
struct Wrong {
    why: &'static str,
    setting: Setting,
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn a_verdict_is_right_in_every_world() {
    let (first, worlds) = (number("MODEL_SEED", 1), number("MODEL_WORLDS", WORLDS));
    let began = std::time::Instant::now();
    let next = AtomicU64::new(first);
    let found: Mutex<Vec<Wrong>> = Mutex::default();
    let verdicts: Mutex<BTreeMap<&'static str, u64>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let runtime = runtime();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + worlds {
                        return;
                    }
                    let setting = Setting::of(seed);
                    let (why, ended) = try_one(&setting, &runtime);
                    *verdicts.lock().unwrap().entry(name(&ended.verdict)).or_default() += 1;
                    if let Some(why) = why {
                        found.lock().unwrap_or_else(PoisonError::into_inner).push(Wrong { why, setting });
                    }
                }
            });
        }
    });
    println!("{worlds} worlds from seed {first} in {:?}: {:?}", began.elapsed(), verdicts.lock().unwrap());
    report(found.into_inner().unwrap(), worlds);
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Stable(_) => "stable",
        Verdict::RolledBack { .. } => "rolled back",
        Verdict::Failed { .. } => "failed",
        Verdict::Superseded { .. } => "superseded",
        Verdict::TimedOut { .. } => "timed out",
        Verdict::Unsteady { .. } => "unsteady",
        Verdict::Lost { .. } => "lost",
        Verdict::Gone { .. } => "gone",
    }
}

fn report(mut found: Vec<Wrong>, worlds: u64) {
    if found.is_empty() {
        return;
    }
    found.sort_by_key(|wrong| (wrong.why, wrong.setting.seed));
    let mut kinds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for wrong in &found {
        kinds.entry(wrong.why).or_default().push(wrong.setting.seed);
    }
    for (why, seeds) in &kinds {
        println!("{:>6} x {why}: seeds {:?}", seeds.len(), &seeds[..seeds.len().min(8)]);
    }
    let runtime = runtime();
    for why in kinds.keys() {
        let wrong = found.iter().find(|wrong| wrong.why == *why).unwrap();
        let small = shrink(wrong, &runtime);
        print_table(&small, why, &runtime);
    }
    panic!("{} of {worlds} worlds were judged wrongly", found.len());
}

/// Takes away whatever the failure does not need.
fn shrink(wrong: &Wrong, runtime: &Runtime) -> Setting {
    let mut small = wrong.setting.clone();
    while let Some(smaller) = small.simpler().into_iter().find(|s| try_one(s, runtime).0 == Some(wrong.why)) {
        small = smaller;
    }
    small
}

fn print_table(setting: &Setting, why: &str, runtime: &Runtime) {
    let moments = Ecs::play(setting);
    let (ended, log, news) = watched(setting, &moments, runtime);
    println!("\n{why}: {:?} at {:.1} s\n{setting:?}", ended.verdict, ended.at);
    let mut lines: Vec<(f64, String)> = moments.iter().map(|m| (m.from, format!("truth  {}", line(m)))).collect();
    lines.extend(log.iter().map(|(at, call, shown)| match shown {
        Some(shown) => (*at, format!("  read {call:?} as of {shown:.1}: {}", seen(reads::at(&moments, *shown), *call))),
        None => (*at, format!("  read {call:?}: refused")),
    }));
    lines.extend(news.into_iter().map(|(at, text)| (at, format!("    said {text}"))));
    lines.retain(|(at, _)| *at <= ended.at + 0.1);
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at, line) in lines.iter().take(250) {
        println!("{at:>7.1}  {line}");
    }
}

fn line(moment: &Moment) -> String {
    format!("{} | {} | {:?}", seen(moment, CallKind::Services), seen(moment, CallKind::List), moment.truth)
}

fn seen(moment: &Moment, call: CallKind) -> String {
    match (call, &moment.service) {
        (CallKind::Services, Some(service)) => {
            let one = |d: &fargate_deploy_core::service::Deployment| {
                let (id, revision) = (d.id.as_str().trim_start_matches("ecs-svc/"), d.task_definition.short());
                format!("{id} {revision} {:?} {:?} {}/{}", d.role, d.state, d.counts.running, d.counts.desired)
            };
            let all: Vec<_> = service.deployments.iter().map(one).collect();
            format!("{} [{}]", service.status, all.join(", "))
        }
        (CallKind::Services, None) => "missing".to_owned(),
        (CallKind::List | CallKind::Deployments, _) => {
            let one = |d: &fargate_deploy_core::service::ServiceDeployment| {
                format!("{} {:?}", d.arn.as_str().rsplit('/').next().unwrap(), d.status)
            };
            format!("[{}]", moment.deployments.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        (CallKind::Tasks, _) => format!("{} stopped", moment.stopped.len()),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn try_one(setting: &Setting, runtime: &Runtime) -> (Option<&'static str>, Ended) {
    let moments = Ecs::play(setting);
    let (ended, ..) = watched(setting, &moments, runtime);
    (check::wrong(setting, &moments, &ended), ended)
}

type Log = Vec<(f64, CallKind, Option<f64>)>;

struct Heard<'a>(&'a RefCell<Vec<(f64, String)>>, tokio::time::Instant);

impl Sink for Heard<'_> {
    fn emit(&self, event: Event) {
        if matches!(event, Event::RolloutNews { .. } | Event::RolloutEvidence { .. })
            && let Some(line) = sentences::line(&event)
        {
            self.0.borrow_mut().push((self.1.elapsed().as_secs_f64(), line.text));
        }
    }
}

fn aws<'a>(reads: &'a Reads<'a>) -> Aws<'a> {
    Aws {
        identity: &Unused,
        services: reads,
        task_definitions: &Unused,
        tasks: reads,
        logs: &Unused,
        repositories: &Unused,
        parameters: &Unused,
        snapshots: &Unused,
        outputs: &Unused,
        surroundings: &Unused,
    }
}

/// The real loop, from the answer of UpdateService to its verdict.
fn watched(setting: &Setting, moments: &[Moment], runtime: &Runtime) -> (Ended, Log, Vec<(f64, String)>) {
    runtime.block_on(async {
        let cloud = Reads::new(setting, moments);
        let (record, heard) = (RefCell::new(Record::default()), RefCell::default());
        let sink = Heard(&heard, cloud.began);
        let context = ReleaseContext {
            aws: aws(&cloud),
            builder: &Unused,
            web: &Unused,
            sink: &sink,
            clock: fargate_deploy::clock::since_boot,
            record: &record,
        };
        let service = ServiceRef { cluster: "shop".into(), name: "web".into() };
        let before = moments[0].service.as_ref().unwrap();
        let primary = before.primary().unwrap();
        let target = Target {
            deployment: OURS.into(),
            created_at: Some(UPDATED),
            task_definition: revision(if setting.is_same_revision { 41 } else { 42 }),
            before: Some((primary.id.clone(), primary.task_definition.clone())),
            breaker: before.breaker,
            wait: Duration::from_secs(setting.wait),
        };
        let seen = before.events.iter().map(|e| e.id.clone()).collect();
        let mut moving = RolloutInProgress::new(target, seen, reads::our_clock(setting));
        let definition = TaskDefinition { body: serde_json::Map::new(), tags: vec![] };
        let verdict = watch::watch(&service, &definition, &mut moving, &Poll::default(), &context).await;
        let (at, calls) = (cloud.now(), cloud.log.borrow().len());
        let mut looks = vec![];
        for after in [0, setting.seed % 50] {
            tokio::time::sleep(Duration::from_secs(after)).await;
            let decided = roll_back::look(&service, &moving, Duration::ZERO, context.aws).await;
            looks.push((cloud.now(), decided == MayGoBack::Yes));
        }
        let ended = Ended { verdict, at, calls, looks };
        let log = cloud.log.take();
        (ended, log, heard.take())
    })
}
