//! A task to be run, and where its lines are.

use fargate_deploy_core::names::{ClusterName, ContainerName, TaskArn, TaskDefinitionArn};
use fargate_deploy_core::service::Service;
use fargate_deploy_core::task::Task;
use fargate_deploy_core::task_definition::{TaskDefinition, launch_volumes};
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct RunTask {
    pub cluster: ClusterName,
    pub task_definition: TaskDefinitionArn,
    /// `awsvpcConfiguration` and all, as DescribeServices gave it.
    pub network_configuration: Option<Value>,
    pub platform_version: Option<String>,
    pub overrides: Value,
    /// What volumes that are `configuredAtLaunch` are made like; RunTask refuses a definition that has some without.
    pub volume_configurations: Vec<Value>,
    /// At most 50; they need `ecs:TagResource`.
    pub tags: Vec<(String, String)>,
    /// `enableECSManagedTags`: AWS adds the cluster's name, for cost reports.
    pub has_managed_tags: bool,
    /// At most 128 of `[A-Za-z0-9-_/]`.
    pub started_by: String,
    /// At most 64 of ASCII 33-126.
    pub client_token: String,
    /// On Fargate Spot, which AWS may end at any time; else on demand.
    pub is_spot: bool,
    /// The agent of ECS Exec runs beside its containers.
    pub enables_exec: bool,
}

impl RunTask {
    /// One like the tasks of a service, on demand, whose starter and token are still to be named.
    pub fn like_those_of(
        service: &Service,
        cluster: &ClusterName,
        definition: &TaskDefinition,
        arn: TaskDefinitionArn,
    ) -> Self {
        Self {
            cluster: cluster.clone(),
            task_definition: arn,
            network_configuration: service.network_configuration.clone(),
            platform_version: service.platform_version.clone(),
            overrides: Value::Null,
            volume_configurations: launch_volumes::of_task(definition, &service.volume_configurations),
            tags: definition.registrable().tags,
            has_managed_tags: service.has_managed_tags,
            started_by: String::new(),
            client_token: String::new(),
            is_spot: false,
            enables_exec: false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct RunTaskAnswer {
    pub tasks: Vec<Task>,
    /// Reason and detail of each failure.
    pub failures: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStream {
    pub group: String,
    pub stream: String,
    /// `awslogs-region`, where it differs from the cluster's.
    pub region: Option<String>,
}

impl LogStream {
    /// Where a container of a task logs to, if that is CloudWatch.
    pub fn of(definition: &TaskDefinition, container: &ContainerName, task: &TaskArn) -> Option<Self> {
        let (group, prefix, region) = definition.log_destination(container)?;
        Some(Self { group, stream: format!("{prefix}/{container}/{}", task.id()), region })
    }
}

/// What is looked for in a log group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    pub group: String,
    /// `awslogs-region`, where it differs from the cluster's.
    pub region: Option<String>,
    /// At most 100, by their names.
    pub streams: Vec<String>,
    /// Milliseconds since the epoch: `from` is in it, `until` is not.
    pub from: Option<i64>,
    pub until: Option<i64>,
    /// CloudWatch's own filter pattern.
    pub pattern: Option<String>,
}

/// A page, sorted by time.
#[derive(Clone, Debug, Default)]
pub struct FoundEvents {
    pub events: Vec<FoundEvent>,
    /// Give it to the next call; `None` at the end.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundEvent {
    /// Tells it from every other event.
    pub id: String,
    pub stream: String,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    pub message: String,
}

#[derive(Clone, Debug)]
pub struct LogPage {
    pub events: Vec<LogEvent>,
    /// Give it to the next call. The end is reached when it equals the one that was sent.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LogEvent {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    pub message: String,
}
