//! Tasks: every one of them real containers, from PROVISIONING to STOPPED.

mod container;
mod environment;
mod execution_role;
mod images;
mod life;
mod prepare;
mod shape;
mod volumes;

pub(crate) use environment::role as task_role;
pub(crate) use shape::describe;

use super::task::{ContainerView, Health, Status, TaskSpec, TaskView};
use crate::behavior::{Behavior, InjectedFailure};
use crate::containers::Containers;
use crate::iam::Iam;
use crate::logs::Logs;
use crate::registry::Registry;
use crate::request::{epoch_seconds, lock, random_hex};
use crate::s3::Objects;
use crate::secrets::Secrets;
use crate::ssm::Parameters;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use tokio::sync::{OnceCell, watch};
use tokio::task::AbortHandle;

/// What tasks lean on.
pub(crate) struct TaskDeps {
    pub region: String,
    /// The address that containers reach the stage's metadata and credentials under.
    pub task_endpoint: String,
    pub objects: Arc<Objects>,
    pub behavior: Behavior,
    pub engine: bollard::Docker,
    /// The Docker network of the stage.
    pub network: String,
    /// `NAME=VALUE`, on every container.
    pub label: String,
    pub logs: Arc<Logs>,
    pub parameters: Arc<Parameters>,
    pub secrets: Arc<Secrets>,
    pub images: Arc<Registry>,
    pub iam: Arc<Iam>,
}

/// Every task of the stage; a stopped one can be described for an hour.
pub(crate) struct Tasks {
    deps: TaskDeps,
    containers: Containers,
    known: Mutex<BTreeMap<String, Entry>>,
    /// One pull for each reference, that all who want it wait for.
    pulls: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
    changes: watch::Sender<u64>,
    lives: Mutex<Vec<AbortHandle>>,
}

struct Entry {
    view: TaskView,
    /// Stop code and reason, once somebody wants it stopped.
    stop: Option<(String, String)>,
    /// The container that holds the task's network.
    pause_container: Option<String>,
    failure_injection: InjectedFailure,
}

/// How long a stopped task is remembered, in seconds.
const REMEMBERED: f64 = 3600.0;

impl Tasks {
    pub(crate) fn new(deps: TaskDeps) -> Arc<Self> {
        let containers = Containers::new(deps.engine.clone(), deps.network.clone());
        let (changes, _) = watch::channel(0);
        Arc::new(Self {
            deps,
            containers,
            known: Mutex::default(),
            pulls: Mutex::default(),
            changes,
            lives: Mutex::default(),
        })
    }

    /// Starts a task; its life goes on by itself.
    pub(crate) fn start(self: &Arc<Self>, spec: TaskSpec) -> TaskView {
        let id = random_hex(16);
        let cluster = spec.cluster_arn.rsplit('/').next().unwrap_or_default();
        let arn = format!("{}:task/{cluster}/{id}", spec.cluster_arn.split(":cluster/").next().unwrap_or_default());
        let containers = container::containers(&spec.definition).map(|c| ContainerView {
            name: container::name(c).to_owned(),
            container_id: None,
            image: container::text(c, "image").to_owned(),
            image_digest: None,
            status: Status::Pending,
            exit_code: None,
            reason: None,
            health: Health::Unknown,
            ports: vec![],
        });
        let view = TaskView {
            arn: arn.clone(),
            id,
            containers: containers.collect(),
            spec: Arc::new(spec),
            status: Status::Provisioning,
            is_wanted: true,
            health: Health::Unknown,
            stop_code: None,
            stopped_reason: None,
            created_at: epoch_seconds(),
            started_at: None,
            stopping_at: None,
            stopped_at: None,
            running_since: None,
        };
        let entry = Entry {
            view: view.clone(),
            stop: None,
            pause_container: None,
            failure_injection: self.deps.behavior.failure_injection.get(),
        };
        lock(&self.known).insert(arn.clone(), entry);
        let life = tokio::spawn(life::live(self.clone(), arn));
        lock(&self.lives).push(life.abort_handle());
        self.bump();
        view
    }

    /// Wants a task stopped. The first to want it gives the reason.
    pub(crate) fn stop(&self, arn: &str, stop_code: &str, reason: &str) {
        self.change(arn, |entry| {
            if entry.view.status == Status::Stopped {
                return;
            }
            entry.view.is_wanted = false;
            entry.view.stopping_at.get_or_insert_with(epoch_seconds);
            entry.stop.get_or_insert_with(|| (stop_code.to_owned(), reason.to_owned()));
        });
    }

    pub(crate) fn get(&self, arn: &str) -> Option<TaskView> {
        lock(&self.known).get(arn).map(|entry| entry.view.clone())
    }

    pub(crate) fn all(&self) -> Vec<TaskView> {
        let now = epoch_seconds();
        let mut known = lock(&self.known);
        known.retain(|_, entry| entry.view.stopped_at.is_none_or(|at| now - at < REMEMBERED));
        known.values().map(|entry| entry.view.clone()).collect()
    }

    /// Moves at every change of any task.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn behavior(&self) -> &Behavior {
        &self.deps.behavior
    }

    /// Ends every life, and removes every container.
    pub(crate) async fn shutdown(&self) {
        for life in lock(&self.lives).drain(..) {
            life.abort();
        }
        let made = |e: &Entry| -> Vec<String> {
            e.view.containers.iter().filter_map(|c| c.container_id.clone()).chain(e.pause_container.clone()).collect()
        };
        let ids: Vec<String> = lock(&self.known).values().flat_map(made).collect();
        futures_util::future::join_all(ids.iter().map(|id| self.containers.remove(id))).await;
        self.containers.remove_pause_image().await;
    }

    fn pause_container(&self, arn: &str) -> Option<String> {
        lock(&self.known).get(arn)?.pause_container.clone()
    }

    fn labels(&self) -> HashMap<String, String> {
        let (label, value) = self.deps.label.split_once('=').unwrap_or((&self.deps.label, ""));
        HashMap::from([(label.to_owned(), value.to_owned())])
    }

    fn change(&self, arn: &str, how: impl FnOnce(&mut Entry)) {
        if let Some(entry) = lock(&self.known).get_mut(arn) {
            how(entry);
        }
        self.bump();
    }

    fn change_container(&self, arn: &str, name: &str, how: impl FnOnce(&mut ContainerView)) {
        self.change(arn, |entry| {
            if let Some(container) = entry.view.containers.iter_mut().find(|c| c.name == name) {
                how(container);
            }
            entry.view.health = overall(&entry.view);
        });
    }

    fn bump(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn stop_wanted(&self, arn: &str) -> Option<(String, String)> {
        lock(&self.known).get(arn)?.stop.clone()
    }

    fn failure_injection(&self, arn: &str) -> InjectedFailure {
        lock(&self.known).get(arn).map_or(InjectedFailure::None, |entry| entry.failure_injection)
    }
}

/// UNHEALTHY if an essential container is, HEALTHY if all essential ones with a check are, else UNKNOWN.
fn overall(view: &TaskView) -> Health {
    let definition = &view.spec.definition;
    let essential = |c: &&ContainerView| container::container(definition, &c.name).is_none_or(container::is_essential);
    let healths: Vec<Health> = view.containers.iter().filter(essential).map(|c| c.health).collect();
    let checked =
        |c: &&ContainerView| container::container(definition, &c.name).is_some_and(|c| c.get("healthCheck").is_some());
    if healths.contains(&Health::Unhealthy) {
        return Health::Unhealthy;
    }
    let mut with_check = view.containers.iter().filter(checked).peekable();
    if with_check.peek().is_some() && with_check.all(|c| c.health == Health::Healthy) {
        Health::Healthy
    } else {
        Health::Unknown
    }
}
