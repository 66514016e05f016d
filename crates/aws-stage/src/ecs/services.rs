//! ECS services: the loop that carries out what each service's scheduler decides, and the API over them.

mod cluster_view;
pub(crate) mod configuration;
mod describe;
mod health;
pub(crate) mod history;
mod lifecycle;
pub(crate) mod model;
mod operations;
mod request;
mod rollout;
pub(crate) mod scheduler;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::Deps;
use super::clusters::Clusters;
use super::definitions::Definitions;
use super::task::TaskView;
use super::tasks::Tasks;
use crate::elb::TargetState;
use crate::request::{epoch_seconds, lock};
use cluster_view::{ClusterView, Target};
use model::{Service, ServiceStatus};
use scheduler::Action;

/// The scheduler looks at least this often, for what is due by the clock alone.
const TICK: Duration = Duration::from_millis(40);

/// Every service of the stage.
pub(crate) struct Services {
    deps: Arc<Deps>,
    tasks: Arc<Tasks>,
    definitions: Arc<Definitions>,
    clusters: Arc<Clusters>,
    /// By cluster ARN and service name.
    book: Mutex<Book>,
    /// Earlier states of each service by its ARN, oldest first, as far back as reads lag.
    past: Mutex<BTreeMap<String, States>>,
    wake: Arc<Notify>,
    scheduler: Mutex<Option<JoinHandle<()>>>,
}

type Key = (String, String);
type Book = BTreeMap<Key, Service>;
/// With the moment of each.
type States = VecDeque<(Instant, Arc<Service>)>;

impl Services {
    /// No services, and the loop that will schedule them.
    pub(crate) fn new(
        deps: Arc<Deps>,
        tasks: Arc<Tasks>,
        definitions: Arc<Definitions>,
        clusters: Arc<Clusters>,
    ) -> Arc<Services> {
        let services = Arc::new(Services {
            deps,
            tasks,
            definitions,
            clusters,
            book: Mutex::default(),
            past: Mutex::default(),
            wake: Arc::default(),
            scheduler: Mutex::default(),
        });
        let changes = (services.tasks.changed(), services.deps.elb.changed());
        let run = run(Arc::downgrade(&services), services.wake.clone(), changes);
        *lock(&services.scheduler) = Some(tokio::spawn(run));
        services
    }

    /// Ends the scheduling. Tasks are left to whoever runs them.
    pub(crate) fn shutdown(&self) {
        if let Some(scheduler) = lock(&self.scheduler).take() {
            scheduler.abort();
        }
    }

    /// How many services of the cluster are not INACTIVE.
    pub(crate) fn count_in(&self, cluster_arn: &str) -> usize {
        let book = lock(&self.book);
        let there = book.values().filter(|service| service.cluster_arn == cluster_arn);
        there.filter(|service| service.status != ServiceStatus::Inactive).count()
    }

    /// One look at every service, and what follows from it.
    fn turn(self: &Arc<Self>) {
        let tasks = self.tasks.all();
        let mut due = Vec::new();
        for (key, service) in lock(&self.book).iter_mut() {
            let group = format!("service:{}", service.name);
            let is_own = |view: &&TaskView| view.spec.group == group && view.spec.cluster_arn == service.cluster_arn;
            let own: Vec<TaskView> = tasks.iter().filter(is_own).cloned().collect();
            let cluster = ClusterView {
                behavior: &self.deps.behavior,
                now: Instant::now(),
                epoch: epoch_seconds(),
                tasks: &own,
                target: &|group, task| self.target(group, task),
            };
            due.extend(service.step(&cluster).into_iter().map(|action| (key.clone(), action)));
            self.remember(service);
        }
        for (key, action) in due {
            self.carry_out(key, action);
        }
    }

    /// Keeps the present state for reads that lag.
    fn remember(&self, service: &Service) {
        let longest = self.deps.behavior.read_lags.longest_of_services();
        if longest.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut past = lock(&self.past);
        let states = past.entry(service.arn.clone()).or_default();
        states.push_back((now, Arc::new(service.clone())));
        // The newest state that is old enough is still needed.
        while states.get(1).is_some_and(|(at, _)| now.duration_since(*at) > longest) {
            states.pop_front();
        }
    }

    /// The service as a read that is `lag` behind sees it: as it was then, or as it was first.
    fn as_of<'a>(&self, service: &'a Service, lag: Duration) -> Seen<'a> {
        if lag.is_zero() {
            return Seen::Now(service);
        }
        let (now, past) = (Instant::now(), lock(&self.past));
        let states = past.get(&service.arn);
        let then = states.and_then(|states| states.iter().rev().find(|(at, _)| now.duration_since(*at) >= lag));
        let first = || states.and_then(|states| states.front());
        then.or_else(first).map_or(Seen::Now(service), |(_, state)| Seen::Then(state.clone()))
    }

    fn target(&self, group: &str, task: &str) -> Target {
        let Some(health) = self.deps.elb.health(group, task) else { return Target::Absent };
        match health.state {
            TargetState::Healthy => Target::Healthy,
            TargetState::Unhealthy => {
                let why = health.description.or(health.reason);
                Target::Unhealthy(why.unwrap_or_else(|| "Health checks failed".to_owned()))
            }
            TargetState::Initial | TargetState::Draining => Target::Undecided,
        }
    }

    fn carry_out(self: &Arc<Self>, key: Key, action: Action) {
        match action {
            Action::Start(spec) => {
                self.tasks.start(*spec);
            }
            Action::Stop { task, reason } => self.tasks.stop(&task, "ServiceSchedulerInitiated", &reason),
            Action::Register { group, task, address } => self.deps.elb.register(&group, &task, address),
            Action::Deregister { group, task } => self.deps.elb.deregister(&group, &task),
            Action::Resolve { revision, images } => {
                let digest = |image: &str| self.tasks.resolve_image(image).ok().flatten();
                let known = images.into_iter().filter_map(|(container, image)| Some((container, digest(&image)?)));
                let known = known.collect();
                if let Some(service) = lock(&self.book).get_mut(&key) {
                    service.resolved(&revision, known);
                }
                self.wake.notify_one();
            }
        }
    }
}

/// A service at the moment that a read sees.
enum Seen<'a> {
    Now(&'a Service),
    Then(Arc<Service>),
}

impl std::ops::Deref for Seen<'_> {
    type Target = Service;

    fn deref(&self) -> &Service {
        match self {
            Self::Now(service) => service,
            Self::Then(service) => service,
        }
    }
}

async fn run(
    services: Weak<Services>,
    wake: Arc<Notify>,
    (mut tasks, mut targets): (watch::Receiver<u64>, watch::Receiver<u64>),
) {
    while let Some(services) = services.upgrade() {
        services.turn();
        drop(services);
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(TICK) => {}
            Ok(()) = tasks.changed() => {}
            Ok(()) = targets.changed() => {}
        }
    }
}
