//! What a task is started with, and what it shows: the interface between tasks (containers) and services (deployments).

use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A registered revision, as tasks need it.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// `arn:...:task-definition/FAMILY:REVISION`.
    pub arn: String,
    pub family: String,
    /// RegisterTaskDefinition's members as they came.
    pub body: Map<String, Value>,
}

/// A task to start.
#[derive(Clone, Debug)]
pub(crate) struct TaskSpec {
    pub cluster_arn: String,
    pub definition: Arc<Definition>,
    /// `overrides` of RunTask, `{}` for services.
    pub overrides: Value,
    /// `ecs-svc/N` for tasks of a service.
    pub started_by: Option<String>,
    /// `service:NAME` or `family:FAMILY`.
    pub group: String,
    pub launch_type: Option<String>,
    pub capacity_provider: Option<String>,
    pub platform_version: String,
    pub network_configuration: Value,
    pub tags: Vec<Value>,
    /// Digest by container name that the service's deployment has resolved already (version consistency).
    pub resolved_images: Vec<(String, String)>,
    /// The agent of ECS Exec runs beside its containers.
    pub enable_execute_command: bool,
}

/// `lastStatus`, in the order of a task's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Provisioning,
    Pending,
    Activating,
    Running,
    Deactivating,
    Stopping,
    Deprovisioning,
    Stopped,
}

impl Status {
    /// AWS's spelling.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Status::Provisioning => "PROVISIONING",
            Status::Pending => "PENDING",
            Status::Activating => "ACTIVATING",
            Status::Running => "RUNNING",
            Status::Deactivating => "DEACTIVATING",
            Status::Stopping => "STOPPING",
            Status::Deprovisioning => "DEPROVISIONING",
            Status::Stopped => "STOPPED",
        }
    }
}

/// `healthStatus`, of a task and of each container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Unknown,
    Healthy,
    Unhealthy,
}

/// A task at one moment.
#[derive(Clone, Debug)]
pub(crate) struct TaskView {
    pub arn: String,
    /// 32 hex digits.
    pub id: String,
    pub spec: Arc<TaskSpec>,
    pub status: Status,
    /// `RUNNING` or `STOPPED`.
    pub is_wanted: bool,
    /// UNHEALTHY if an essential container is, HEALTHY if all with a check are, else UNKNOWN.
    pub health: Health,
    pub containers: Vec<ContainerView>,
    pub stop_code: Option<String>,
    pub stopped_reason: Option<String>,
    /// Epoch seconds.
    pub created_at: f64,
    pub started_at: Option<f64>,
    pub stopping_at: Option<f64>,
    pub stopped_at: Option<f64>,
    /// For the scheduler's own waiting.
    pub running_since: Option<Instant>,
}

impl TaskView {
    /// Whether nothing can be written to a container's own files: the agent of ECS Exec does that.
    pub(crate) fn is_read_only(&self, container: &str) -> bool {
        let all = self.spec.definition.body.get("containerDefinitions").and_then(Value::as_array);
        let found = all.into_iter().flatten().find(|definition| definition["name"] == container);
        found.is_some_and(|definition| definition["readonlyRootFilesystem"] == true)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ContainerView {
    pub name: String,
    /// The Docker container, once there is one.
    pub container_id: Option<String>,
    /// As the task definition names it.
    pub image: String,
    pub image_digest: Option<String>,
    pub status: Status,
    pub exit_code: Option<i64>,
    pub reason: Option<String>,
    pub health: Health,
    /// Container port -> where the host reaches it (`127.0.0.1:PORT`).
    pub ports: Vec<(u16, SocketAddr)>,
}
