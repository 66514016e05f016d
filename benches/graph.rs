//! The release graph: how far the wall time of a release is from its critical path, and how many calls 50 services take.
//! Time is simulated: builds, the migration and rollouts take what is set here, each AWS call 80 ms.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints its figures")]
#![allow(dead_code, reason = "the stories use more of their scene")]

#[path = "../tests/story/fake/mod.rs"]
mod fake;
#[path = "../tests/story/scene.rs"]
mod scene;

use fake::task::Run;
use fargate_deploy::deploy::deploy;
use fargate_deploy::domain::outcome::Record;
use fargate_deploy::events::{Event, Sink, Step};
use fargate_deploy::world::World;
use scene::{Scene, definition, old_image, service_config};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    println!("2 images, 1 migration, 3 services   wall      critical path   difference");
    for (app, front, migration) in [(20, 5, 30), (5, 60, 30), (40, 40, 10), (3, 3, 300)] {
        runtime.block_on(release(app, front, migration));
    }
    println!();
    println!("services   calls   calls per service   reads while rolling out   per service");
    for services in [1, 10, 50] {
        runtime.block_on(many(services));
    }
}

/// When each step began and ended, by step and the first word of what is said about it.
struct Watch {
    began: Instant,
    seen: RefCell<Vec<(Step, String, bool, f64)>>,
}

impl Sink for Watch {
    fn emit(&self, event: Event) {
        let (step, text, is_end) = match event {
            Event::Started { step, subject } => (step, subject, false),
            Event::Finished { step, text } => (step, text, true),
            _ => return,
        };
        self.seen.borrow_mut().push((step, text, is_end, self.began.elapsed().as_secs_f64()));
    }
}

impl Watch {
    /// The first begin, or the last end, of a step whose line starts so.
    fn at(&self, wanted: Step, start: &str, end: bool) -> f64 {
        let seen = self.seen.borrow();
        let mut all =
            seen.iter().filter(|(step, text, is_end, _)| *step == wanted && text.starts_with(start) && *is_end == end);
        let found = if end { all.next_back() } else { all.next() };
        found.map_or_else(|| panic!("no {wanted:?} {start}"), |(.., at)| *at)
    }

    fn took(&self, step: Step, start: &str) -> f64 {
        self.at(step, start, true) - self.at(step, start, false)
    }
}

/// `web` and `worker` of one image, `front` of another; the migration runs from the first.
async fn release(app: u64, front: u64, migration: u64) {
    let scene = Scene::new().with_worker().with_front(front).next_runs([Run::exits(0).after(migration)]);
    scene.builder.takes.borrow_mut().insert("/src".to_owned(), Duration::from_secs(app));
    let watch = Watch { began: Instant::now(), seen: RefCell::default() };
    run(&scene, &watch).await;
    let wall = watch.began.elapsed().as_secs_f64();
    // Each step's own time, put together along the edges of docs/adr/0007.
    let image = |key: &str| watch.took(Step::Build, key) + watch.took(Step::Push, key);
    let before = watch.at(Step::Preflight, "", false) + first_preflight(&watch);
    let lease: f64 = ["front", "web", "worker"].iter().map(|s| watch.took(Step::Lease, &format!("shop/{s}"))).sum();
    let again = watch.took(Step::Preflight, "") - (watch.at(Step::Lease, "", false) - before).max(0.0);
    let _ = again;
    let migrated = image("app") + lease + watch.took(Step::Release, "migrate");
    let rollout =
        ["front", "web", "worker"].iter().map(|s| watch.took(Step::RollOut, &format!("shop/{s}"))).fold(0.0, f64::max);
    let path = before + migrated.max(image("front")) + rollout;
    let difference = 100.0 * (wall - path) / path;
    println!(
        "images {app:>2} s and {front:>2} s, {migration:>3} s      {wall:>7.1} s {path:>12.1} s   {difference:>8.1} %"
    );
}

fn first_preflight(watch: &Watch) -> f64 {
    let seen = watch.seen.borrow();
    let end = seen.iter().find(|(step, _, is_end, _)| *step == Step::Preflight && *is_end).unwrap().3;
    let begin = seen.iter().find(|(step, _, is_end, _)| *step == Step::Preflight && !*is_end).unwrap().3;
    end - begin
}

async fn run(scene: &Scene, sink: &dyn Sink) {
    let record = RefCell::new(Record::default());
    let world = World { cloud: &*scene.cloud, builder: &scene.builder, web: &scene.web, sink, record: &record };
    deploy(&scene.order, &world).await.unwrap();
}

async fn many(services: usize) {
    let mut scene = Scene::new();
    for n in 1..services {
        let name = format!("web{n}");
        let arn = scene.cloud.aws().add_definition(&definition(&name, &old_image("shop-app")), Some(7));
        scene.cloud.aws().add_service(&name, &arn);
        scene.order.config.services.push(service_config(&name));
    }
    let watch = Watch { began: Instant::now(), seen: RefCell::default() };
    run(&scene, &watch).await;
    let all: BTreeMap<&str, usize> =
        ["ecs:", "ecr:", "ssm:", "sts:", "logs:"].map(|s| (s, scene.journal.count(s))).into();
    let calls: usize = all.values().sum();
    let reads = scene.journal.count("ecs:DescribeServices ") + scene.journal.count("ecs:DescribeServiceDeployments");
    let per = |n: usize| n as f64 / services as f64;
    println!("{services:>8} {calls:>7} {:>19.1} {reads:>25} {:>13.1}", per(calls), per(reads));
}
