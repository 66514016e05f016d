//! The release graph: how far the wall time of a release is from its critical path, how soon a bad service is told to go back
//! whatever its siblings do, and how many calls 50 services take.
//! First on a simulated clock: builds, the migration and rollouts take what is set here, each AWS call 80 ms. Then, where a
//! Docker Engine is, on the stage with real containers.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time, as a person would")]
#![allow(dead_code, reason = "the stories use more of their scene")]

#[path = "../tests/fast/story/fake/mod.rs"]
mod fake;
#[path = "../tests/fast/story/known_bad.rs"]
mod known_bad;
#[path = "../tests/e2e/program.rs"]
mod program;
#[path = "../tests/e2e/scene.rs"]
mod real;
#[path = "../tests/fast/recorded_events.rs"]
mod recorded_events;
#[path = "../tests/fast/story/scene.rs"]
mod scene;

use fake::task::Run;
use fargate_deploy::commands::deploy::{self as commands, Options};
use fargate_deploy::config::{Answers, OnFailure, Request, draft};
use fargate_deploy::context::RunContext;
use fargate_deploy::events::{Event, Sink, Step};
use fargate_deploy::release::Release;
use fargate_deploy::release_context::ReleaseContext;
use fargate_deploy_core::outcome::Record;
use known_bad::{ALL_KNOWN_BY, ALL_MEANWHILE, KnownBy, Meanwhile, ordered_back};
use scene::Scene;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    println!("2 images, 1 migration, 3 services     wall  critical path   difference");
    for (app, front, migration) in [(20, 5, 30), (5, 60, 30), (40, 40, 10), (3, 3, 300)] {
        runtime.block_on(release(app, front, migration));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if bollard::Docker::connect_with_defaults().is_ok_and(|engine| runtime.block_on(engine.ping()).is_ok()) {
        runtime.block_on(on_stage());
    }
    println!();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    println!("a service is bad since      alone   another rolls out   what explains it hangs   49 others roll out");
    for known_by in ALL_KNOWN_BY {
        let words = match known_by {
            KnownBy::SmokeCheck => "its smoke check gave up",
            KnownBy::Ecs => "ECS called it failed",
            KnownBy::CrashLoop => "`fail-fast` saw a crash loop",
            KnownBy::Digest => "it ran another digest",
        };
        let took = ALL_MEANWHILE.map(|meanwhile| runtime.block_on(told_to_go_back(known_by, meanwhile)));
        let [alone, rolls, hangs, many] = took.map(|took| took.as_secs_f64());
        println!("{words:<30} {alone:>4.1} s {rolls:>17.1} s {hangs:>22.1} s {many:>18.1} s");
    }
    println!();
    println!("services   calls   calls per service   reads while rolling out   per service");
    for services in [1, 10, 50] {
        runtime.block_on(many(services));
    }
}

/// When each step began and ended, by step and by what it is about.
struct Watch {
    began: Instant,
    seen: Mutex<Vec<(Step, String, bool, f64)>>,
}

impl Sink for Watch {
    fn emit(&self, event: Event) {
        let (step, of, is_end) = match event {
            Event::PreflightStarted { .. } => (Step::Preflight, String::new(), false),
            Event::ServicesRead { .. } => (Step::Preflight, String::new(), true),
            Event::BuildStarted { image, .. } => (Step::Build, image.to_string(), false),
            Event::ImageBuilt { image, .. } => (Step::Build, image.to_string(), true),
            Event::PushStarted { image, .. } => (Step::Push, image.to_string(), false),
            Event::ImagePushed { image, .. } => (Step::Push, image.to_string(), true),
            Event::LeaseRequested { service } => (Step::Lease, service.to_string(), false),
            Event::LeaseAcquired { service, .. } => (Step::Lease, service.to_string(), true),
            Event::CommandStarting { command, .. } => (Step::Release, command, false),
            Event::CommandEnded { command, .. } => (Step::Release, command, true),
            Event::RolloutRequested { service, .. } => (Step::RollOut, service.to_string(), false),
            Event::RolloutEnded { service, .. } => (Step::RollOut, service.to_string(), true),
            _ => return,
        };
        self.seen.lock().unwrap().push((step, of, is_end, self.began.elapsed().as_secs_f64()));
    }
}

impl Watch {
    /// The first begin, or the last end, of a step about `of`.
    fn at(&self, wanted: Step, of: &str, end: bool) -> f64 {
        let seen = self.seen.lock().unwrap();
        let mut all = seen.iter().filter(|(step, about, is_end, _)| *step == wanted && about == of && *is_end == end);
        let found = if end { all.next_back() } else { all.next() };
        found.map_or_else(|| panic!("no {wanted:?} {of}"), |(.., at)| *at)
    }

    fn took(&self, step: Step, of: &str) -> f64 {
        self.at(step, of, true) - self.at(step, of, false)
    }
}

/// `web` and `worker` of one image, `front` of another; the migration runs from the first.
async fn release(app: u64, front: u64, migration: u64) {
    let scene = Scene::new().with_worker().with_front(front).next_runs([Run::exits(0).after(migration)]);
    scene.builder.takes.borrow_mut().insert("/src".to_owned(), Duration::from_secs(app));
    let watch = Watch { began: Instant::now(), seen: Mutex::default() };
    run(&scene, &watch).await;
    show(&format!("simulated: {app} s, {front} s, {migration} s"), &watch);
}

/// Each step's own time, put together along the edges of docs/adr/0007, beside what it took altogether.
fn show(name: &str, watch: &Watch) {
    let wall = watch.began.elapsed().as_secs_f64();
    let services = ["front", "web", "worker"].map(|s| format!("shop/{s}"));
    let image = |key: &str| watch.took(Step::Build, key) + watch.took(Step::Push, key);
    let before = watch.at(Step::Preflight, "", false) + first_preflight(watch);
    let lease: f64 = services.iter().map(|s| watch.took(Step::Lease, s)).sum();
    let migrated = image("app") + lease + watch.took(Step::Release, "migrate");
    let rollout = services.iter().map(|s| watch.took(Step::RollOut, s)).fold(0.0, f64::max);
    let path = before + migrated.max(image("front")) + rollout;
    let difference = 100.0 * (wall - path) / path;
    println!("{name:<32} {wall:>7.1} s {path:>12.1} s   {:>6.1} s {difference:>8.1} %", wall - path);
}

fn first_preflight(watch: &Watch) -> f64 {
    let seen = watch.seen.lock().unwrap();
    let end = seen.iter().find(|(step, _, is_end, _)| *step == Step::Preflight && *is_end).unwrap().3;
    let begin = seen.iter().find(|(step, _, is_end, _)| *step == Step::Preflight && !*is_end).unwrap().3;
    end - begin
}

async fn run(scene: &Scene, sink: &dyn Sink) {
    let record = RefCell::new(Record::default());
    let context = ReleaseContext { sink, ..scene.context(&record) };
    Release::until(std::future::pending(), &scene.order, context).run().await.unwrap();
}

/// The longest of both policies.
async fn told_to_go_back(known_by: KnownBy, meanwhile: Meanwhile) -> Duration {
    let all = ordered_back(known_by, meanwhile, OnFailure::RollbackAll).await;
    all.max(ordered_back(known_by, meanwhile, OnFailure::RollbackFailed).await)
}

async fn many(services: usize) {
    let scene = Scene::of_services(services);
    let watch = Watch { began: Instant::now(), seen: Mutex::default() };
    run(&scene, &watch).await;
    let all: BTreeMap<&str, usize> =
        ["ecs:", "ecr:", "ssm:", "sts:", "logs:"].map(|s| (s, scene.journal.count(s))).into();
    let calls: usize = all.values().sum();
    let reads = scene.journal.count("ecs:DescribeServices ") + scene.journal.count("ecs:DescribeServiceDeployments");
    let per = |n: usize| n as f64 / services as f64;
    println!("{services:>8} {calls:>7} {:>19.1} {reads:>25} {:>13.1}", per(calls), per(reads));
}

const CONFIG: &str = r#"
region: eu-central-1
role: arn:aws:iam::111122223333:role/shop-deploy
cluster: shop
images:
  app: { repository: shop/web, context: ., platform: linux/amd64 }
  front: { repository: shop/proxy, context: front, platform: linux/amd64 }
release:
  - { name: migrate, service: web, command: [/bin/sh, /app/migrate] }
services:
  web: { containers: { app: app } }
  worker: { containers: { app: app } }
  front: { containers: { app: front } }
wait: 3m
"#;

async fn on_stage() {
    let scene = real::Scene::open(real::Setting { desired: 1, ..real::Setting::default() }).await;
    let front = |name: &str| {
        scene.app.write(
            "front/Dockerfile",
            "FROM scratch\nCOPY busybox /bin/sh\nCOPY app /app\nCMD [\"/bin/sh\", \"/app/serve\"]\n",
        );
        for file in ["busybox", "app/serve", "app/check", "app/www/index.html"] {
            let to = scene.app.write(&format!("front/{file}"), name);
            std::fs::copy(scene.app.path().join(file), to).unwrap();
        }
    };
    for name in ["worker", "front"] {
        let mut definition = real::definition();
        definition["family"] = json!(name);
        let registered = scene.call("ecs", "RegisterTaskDefinition", definition).await;
        let service = json!({
            "cluster": "shop", "serviceName": name, "desiredCount": 0, "launchType": "FARGATE",
            "taskDefinition": registered["taskDefinition"]["taskDefinitionArn"],
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}},
        });
        scene.call("ecs", "CreateService", service).await;
    }
    scene.app.write("fargate-deploy.yml", CONFIG);
    scene.commit("r1", test_support::Behaviour::Serves);
    front("r1");
    let first = scene.deploy(&[]).await;
    assert_eq!(first.code, 0, "{}", first.log);
    for name in ["worker", "front"] {
        scene.call("ecs", "UpdateService", json!({"cluster": "shop", "service": name, "desiredCount": 1})).await;
        test_support::eventually("it is scaled up", || async {
            let body = json!({"cluster": "shop", "services": [name]});
            let found = scene.call("ecs", "DescribeServices", body).await;
            (found["services"][0]["runningCount"] == 1).then_some(())
        })
        .await;
    }
    scene.commit("r2", test_support::Behaviour::Serves);
    scene.app.write("app/migrate", "sleep 5\n");
    front("r2");
    let env = scene.env();
    let config = draft(&Request::default(), env, scene.app.path()).and_then(|draft| draft.finish(&Answers::default()));
    let config = config.unwrap();
    let context = RunContext { sha: Some("c".repeat(40)), ..RunContext::default() };
    let watch = Arc::new(Watch { began: Instant::now(), seen: Mutex::default() });
    let ended =
        commands::deploy(config, Options::default(), &context, env, watch.clone(), std::future::pending()).await;
    ended.result.unwrap();
    show("on the stage, migration 5 s", &watch);
    scene.close().await;
}
