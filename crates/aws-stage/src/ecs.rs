//! ECS: task definitions, tasks as real containers, services with AWS's rolling deployments.

pub(crate) mod clusters;
pub(crate) mod definitions;
pub(crate) mod exec;
mod oneoff;
mod placement;
pub(crate) mod services;
mod tags;
pub(crate) mod task;
pub(crate) mod tasks;

use super::api::Caller;
use super::behavior::Behavior;
use super::elb::Elb;
use super::error::{AwsError, Reply};
use super::iam::Iam;
use super::logs::Logs;
use super::registry::Registry;
use super::request::text;
use super::s3::Objects;
use super::secrets::Secrets;
use super::ssm::Parameters;
use clusters::Clusters;
use definitions::Definitions;
use exec::Sessions;
use oneoff::OneOffs;
use serde_json::{Value, json};
use services::Services;
use std::sync::Arc;
use tags::Tags;
use task::{Status, TaskView};
pub(crate) use tasks::task_role;
use tasks::{TaskDeps, Tasks};

/// What ECS leans on.
pub(crate) struct Deps {
    pub account: String,
    pub region: String,
    pub behavior: Behavior,
    pub engine: bollard::Docker,
    /// The Docker network of the stage.
    pub network: String,
    /// `NAME=VALUE`, on every container.
    pub label: String,
    pub logs: Arc<Logs>,
    pub elb: Arc<Elb>,
    pub parameters: Arc<Parameters>,
    pub secrets: Arc<Secrets>,
    pub images: Arc<Registry>,
    pub iam: Arc<Iam>,
    pub objects: Arc<Objects>,
    /// See [`TaskDeps::task_endpoint`].
    pub task_endpoint: String,
}

pub(crate) struct Ecs {
    clusters: Arc<Clusters>,
    definitions: Arc<Definitions>,
    tasks: Arc<Tasks>,
    one_offs: OneOffs,
    services: Arc<Services>,
    tags: Tags,
    sessions: Arc<Sessions>,
}

impl Ecs {
    pub(crate) fn new(deps: Arc<Deps>) -> Self {
        let tasks = Tasks::new(TaskDeps {
            region: deps.region.clone(),
            task_endpoint: deps.task_endpoint.clone(),
            objects: deps.objects.clone(),
            behavior: deps.behavior.clone(),
            engine: deps.engine.clone(),
            network: deps.network.clone(),
            label: deps.label.clone(),
            logs: deps.logs.clone(),
            parameters: deps.parameters.clone(),
            secrets: deps.secrets.clone(),
            images: deps.images.clone(),
            iam: deps.iam.clone(),
        });
        let sessions = Sessions::new(
            deps.engine.clone(),
            &deps.region,
            deps.images.address(),
            deps.behavior.clone(),
            deps.iam.clone(),
        );
        let clusters = Arc::new(Clusters::new(&deps.account, &deps.region));
        let definitions = Arc::new(Definitions::new(&deps.account, &deps.region));
        Self {
            one_offs: OneOffs::new(tasks.clone()),
            services: Services::new(deps, tasks.clone(), definitions.clone(), clusters.clone()),
            tags: Tags::default(),
            sessions: Arc::new(sessions),
            clusters,
            definitions,
            tasks,
        }
    }

    pub(crate) async fn call(&self, caller: &Caller, operation: &str, body: Value) -> Reply {
        if operation == "DeleteCluster" {
            self.refuse_used_cluster(&body)?;
        }
        if let Some(reply) = self.clusters.call(operation, &body) {
            return reply.map(|reply| self.with_counts(reply));
        }
        if operation == "ExecuteCommand" {
            let task = self.one_offs.find_in(&self.clusters, &body)?;
            return self.sessions.execute(&task, &body);
        }
        if let Some(reply) = self.definitions.call(caller, operation, &body) {
            return reply;
        }
        if let Some(reply) = self.one_offs.call(&self.definitions, &self.clusters, operation, &body) {
            return reply;
        }
        if let Some(reply) = self.services.call(caller, operation, &body) {
            return reply;
        }
        if let Some(reply) = self.tags.call(&self.definitions, operation, &body) {
            return reply;
        }
        Err(AwsError::unknown_operation(operation))
    }

    /// The task with that id, whatever its cluster.
    pub(crate) fn task(&self, id: &str) -> Option<TaskView> {
        self.tasks.all().into_iter().find(|task| task.id == id)
    }

    /// Of ECS Exec.
    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Stops scheduling and removes every container.
    pub(crate) async fn shutdown(&self) {
        self.sessions.shutdown();
        self.services.shutdown();
        self.tasks.shutdown().await;
    }

    fn refuse_used_cluster(&self, body: &Value) -> Result<(), AwsError> {
        let cluster = self.clusters.find(text(body, "cluster"))?;
        if self.services.count_in(&cluster.arn) > 0 {
            let message = "The Cluster cannot be deleted while Services are active.";
            return Err(AwsError::client("ClusterContainsServicesException", message));
        }
        if self.tasks_in(&cluster.arn).next().is_some() {
            let message = "The Cluster cannot be deleted while Tasks are active.";
            return Err(AwsError::client("ClusterContainsTasksException", message));
        }
        Ok(())
    }

    /// A cluster's counts of services and tasks, which the clusters themselves do not know.
    fn with_counts(&self, mut reply: Value) -> Value {
        for cluster in reply.get_mut("clusters").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(arn) = text(cluster, "clusterArn").map(str::to_owned) else { continue };
            let running = self.tasks_in(&arn).filter(|task| task.status == Status::Running).count();
            let pending = self.tasks_in(&arn).filter(|task| task.status < Status::Running).count();
            cluster["activeServicesCount"] = json!(self.services.count_in(&arn));
            cluster["runningTasksCount"] = json!(running);
            cluster["pendingTasksCount"] = json!(pending);
        }
        reply
    }

    fn tasks_in(&self, cluster_arn: &str) -> impl Iterator<Item = TaskView> {
        let unstopped = self.tasks.all().into_iter().filter(|task| task.status != Status::Stopped);
        unstopped.filter(move |task| task.spec.cluster_arn == cluster_arn)
    }
}
