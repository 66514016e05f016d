//! Services played without containers: a fake runner of tasks, and time that passes when the test says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster_view::{ClusterView, Target};
use super::model::{Rollout, Service};
use super::request::{Chosen, Origin, create};
use super::scheduler::Action;
use crate::behavior::{Behavior, InjectedFailure, RollbackPrimary, SupersededServiceDeployment};
use crate::ecs::task::{ContainerView, Definition, Health, Status, TaskSpec, TaskView};
use crate::error::AwsError;
use crate::request::random_hex;

mod breaker;
mod native;
mod requests;
mod rolling;
mod targets;

const TICK: Duration = Duration::from_millis(50);
const GROUP: &str = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/web/1";

/// A service and what surrounds it.
struct Rehearsal {
    service: Service,
    behavior: Behavior,
    now: Instant,
    epoch: f64,
    tasks: Vec<TaskView>,
    /// Ticks until a deregistered target has drained.
    targets: BTreeMap<(String, String), u32>,
    registered: BTreeMap<(String, String), SocketAddr>,
    /// What resolving an image answers.
    digest: Option<String>,
    started: usize,
}

/// The family says what becomes of a task: `good`, `crash` (exits soon after RUNNING), `unstartable`, `sick` (its
/// health checks fail), `slow` (stays PENDING).
fn chosen(name: &str) -> Chosen {
    let (family, revision) = name.split_once(':').expect("FAMILY:REVISION");
    let mut container = json!({ "name": "app", "image": "app:1", "portMappings": [{ "containerPort": 80 }] });
    if revision.starts_with('9') {
        container["healthCheck"] = json!({ "command": ["CMD", "true"] });
    }
    let body = json!({
        "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "containerDefinitions": [container],
    });
    let definition = Definition {
        arn: format!("arn:aws:ecs:eu-central-1:111122223333:task-definition/{name}"),
        family: family.to_owned(),
        body: body.as_object().cloned().unwrap_or_default(),
    };
    Chosen { definition: Arc::new(definition), tags: Vec::new() }
}

fn creation(desired: usize, configuration: Value) -> Value {
    json!({
        "serviceName": "web",
        "desiredCount": desired,
        "launchType": "FARGATE",
        "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"] } },
        "deploymentConfiguration": configuration,
    })
}

fn breaker(rollback: bool) -> Value {
    json!({ "deploymentCircuitBreaker": { "enable": true, "rollback": rollback } })
}

fn made(body: &Value, name: &str, behavior: &Behavior) -> Result<Service, AwsError> {
    let origin = Origin {
        arn_prefix: "arn:aws:ecs:eu-central-1:111122223333",
        cluster_arn: "arn:aws:ecs:eu-central-1:111122223333:cluster/main",
        caller_arn: "arn:aws:iam::111122223333:root",
        epoch: 1_000_000.0,
    };
    create(&origin, body, chosen(name), &|group| group == GROUP, behavior)
}

impl Rehearsal {
    fn of(body: &Value, name: &str, behavior: Behavior) -> Self {
        let service = made(body, name, &behavior).expect("the service is created");
        Self {
            service,
            behavior,
            now: Instant::now(),
            epoch: 1_000_000.0,
            tasks: Vec::new(),
            targets: BTreeMap::new(),
            registered: BTreeMap::new(),
            digest: Some("sha256:aa".to_owned()),
            started: 0,
        }
    }

    fn new(desired: usize, name: &str, configuration: Value) -> Self {
        Self::of(&creation(desired, configuration), name, Behavior::impatient())
    }

    /// A service whose first deployment has completed.
    fn steady(desired: usize, configuration: Value) -> Self {
        let mut rehearsal = Self::new(desired, "good:1", configuration);
        rehearsal.until("the first deployment completes", |r| r.is_settled("good:1"));
        rehearsal
    }

    fn deploy(&mut self, name: &str) {
        self.update(&json!({}), Some(name)).expect("the update is accepted");
    }

    fn update(&mut self, body: &Value, name: Option<&str>) -> Result<(), AwsError> {
        self.service.update(body, name.map(chosen), &|group| group == GROUP, &self.behavior, self.epoch)
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        self.until_with(what, holds, |_| {});
    }

    /// Lets time pass until the condition holds; `always` is asserted after every step.
    fn until_with(&mut self, what: &str, holds: impl Fn(&Self) -> bool, always: impl Fn(&Self)) {
        for _ in 0..4000 {
            if holds(self) {
                return;
            }
            self.tick();
            always(self);
        }
        panic!("{what}: never\n{:#?}\n{:#?}", self.service.describe(false), self.messages());
    }

    /// So many steps, for what must not happen.
    fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.epoch += TICK.as_secs_f64();
        self.live();
        let tasks = self.tasks.clone();
        let registered = self.registered.clone();
        let targets = self.targets.clone();
        let target = |group: &str, id: &str| {
            let key = (group.to_owned(), id.to_owned());
            match (registered.contains_key(&key), targets.contains_key(&key)) {
                (_, true) => Target::Undecided,
                (false, false) => Target::Absent,
                (true, false) => match tasks.iter().find(|task| task.id == id).map(fate) {
                    Some("sick") => Target::Unhealthy("Health checks failed with these codes: [500]".to_owned()),
                    _ => Target::Healthy,
                },
            }
        };
        let cluster = ClusterView {
            behavior: &self.behavior,
            now: self.now,
            epoch: self.epoch,
            tasks: &self.tasks,
            target: &target,
        };
        let actions = self.service.step(&cluster);
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Resolve { revision, images } => {
                let digest = self.digest.clone();
                let known = images.into_iter().filter_map(|(name, _)| Some((name, digest.clone()?))).collect();
                self.service.resolved(&revision, known);
            }
            Action::Start(spec) => self.start(*spec),
            Action::Stop { task, reason } => {
                let task = self.tasks.iter_mut().find(|view| view.arn == task).expect("a known task");
                task.is_wanted = false;
                task.status = Status::Stopping;
                task.stop_code = Some("ServiceSchedulerInitiated".to_owned());
                task.stopped_reason = Some(reason);
            }
            Action::Register { group, task, address } => {
                let was = self.registered.insert((group, task), address);
                assert_eq!(was, None, "registered twice");
            }
            Action::Deregister { group, task } => {
                assert!(self.registered.contains_key(&(group.clone(), task.clone())), "was registered");
                self.targets.insert((group, task), 6);
            }
        }
    }

    fn start(&mut self, spec: TaskSpec) {
        self.started += 1;
        let id = random_hex(16);
        self.tasks.push(TaskView {
            arn: format!("arn:aws:ecs:eu-central-1:111122223333:task/main/{id}"),
            id,
            spec: Arc::new(spec),
            status: Status::Provisioning,
            is_wanted: true,
            health: Health::Unknown,
            containers: vec![ContainerView {
                name: "app".to_owned(),
                container_id: None,
                image: "app:1".to_owned(),
                image_digest: None,
                status: Status::Pending,
                exit_code: None,
                reason: None,
                health: Health::Unknown,
                ports: Vec::new(),
            }],
            stop_code: None,
            stopped_reason: None,
            created_at: self.epoch,
            started_at: None,
            stopping_at: None,
            stopped_at: None,
            running_since: None,
        });
    }

    /// What tasks and targets do by themselves in one tick.
    fn live(&mut self) {
        let now = self.now;
        for task in &mut self.tasks {
            let fate = fate(task).to_owned();
            let has_check = task.spec.definition.body["containerDefinitions"][0].get("healthCheck").is_some();
            match (task.status, fate.as_str()) {
                (Status::Provisioning, _) => task.status = Status::Pending,
                (Status::Pending, "slow") => {}
                (Status::Pending, "unstartable") => end(task, "TaskFailedToStart", "CannotPullContainerError: no"),
                (Status::Pending, _) => {
                    task.status = Status::Running;
                    task.running_since = Some(now);
                    task.containers[0].ports = vec![(80, SocketAddr::from(([127, 0, 0, 1], 40_000)))];
                }
                (Status::Running, "crash") => {
                    end(task, "EssentialContainerExited", "Essential container in task exited");
                }
                (Status::Running, "sick") if has_check => task.health = Health::Unhealthy,
                (Status::Running, _) if has_check => task.health = Health::Healthy,
                (Status::Stopping, _) => task.status = Status::Stopped,
                _ => {}
            }
        }
        let registered = &mut self.registered;
        self.targets.retain(|key, left| {
            *left -= 1;
            if *left == 0 {
                registered.remove(key);
            }
            *left > 0
        });
    }

    /// A running task exits, long after it was healthy.
    fn kill_one(&mut self) {
        let is_running = |task: &&mut TaskView| task.status == Status::Running;
        let task = self.tasks.iter_mut().find(is_running).expect("a running task");
        end(task, "EssentialContainerExited", "Essential container in task exited");
    }

    fn primary(&self) -> &super::model::Deployment {
        self.service.primary().expect("a primary deployment")
    }

    fn primary_runs(&self, name: &str) -> bool {
        let revision = self.service.current_revision().expect("a revision");
        revision.definition.arn.ends_with(&format!("/{name}"))
    }

    fn is_settled(&self, name: &str) -> bool {
        self.primary_runs(name) && self.service.deployments.len() == 1 && self.primary().rollout == Rollout::Completed
    }

    /// The same of a service whose deployments show no rollout state.
    fn is_settled_natively(&self, name: &str) -> bool {
        self.is_settled(name) && self.running(name) == self.service.desired
    }

    fn running(&self, name: &str) -> usize {
        let of = |task: &&TaskView| task.spec.definition.arn.ends_with(&format!("/{name}"));
        self.tasks.iter().filter(of).filter(|task| task.status == Status::Running).count()
    }

    fn messages(&self) -> Vec<&str> {
        self.service.events.iter().rev().map(|event| event.message.as_str()).collect()
    }

    fn says(&self, part: &str) -> bool {
        self.messages().iter().any(|message| message.contains(part))
    }

    fn record_status(&self) -> &'static str {
        self.service.history.last().expect("a service deployment").status.word()
    }
}

fn fate(task: &TaskView) -> &str {
    &task.spec.definition.family
}

fn end(task: &mut TaskView, code: &str, reason: &str) {
    task.status = Status::Stopped;
    task.is_wanted = false;
    task.stop_code = Some(code.to_owned());
    task.stopped_reason = Some(reason.to_owned());
}
