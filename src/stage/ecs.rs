//! ECS: task definitions, tasks as real containers, services with AWS's rolling deployments.

pub mod clusters;
pub mod definitions;
pub mod oneoff;
pub mod services;
pub mod task;
pub mod tasks;

use std::sync::Arc;

use serde_json::{Value, json};

use super::api::{AwsError, Caller, Reply};
use super::elb::Elb;
use super::logs::Logs;
use super::members::{list, text};
use super::play::Play;
use super::registry::Registry;
use super::secrets::Secrets;
use super::ssm::Parameters;
use clusters::Clusters;
use definitions::Definitions;
use services::Services;
use task::{Status, TaskView};
use tasks::{TaskDeps, Tasks};

/// What ECS needs of the rest of the stage.
pub struct Deps {
    pub account: String,
    pub region: String,
    pub play: Play,
    pub engine: bollard::Docker,
    /// Name of the Docker network that tasks join.
    pub network: String,
    /// Value of the label `fargate-deploy.stage` on every container.
    pub label: String,
    pub logs: Arc<Logs>,
    pub elb: Arc<Elb>,
    pub parameters: Arc<Parameters>,
    pub secrets: Arc<Secrets>,
    pub images: Arc<Registry>,
}

/// Elastic Container Service.
pub struct Ecs {
    tasks: Arc<Tasks>,
    definitions: Arc<Definitions>,
    clusters: Arc<Clusters>,
    services: Arc<Services>,
}

impl Ecs {
    /// An ECS without clusters. Runs its schedulers on the present runtime until [`Ecs::shutdown`].
    pub fn new(deps: Arc<Deps>) -> Self {
        let tasks = Tasks::new(TaskDeps {
            account: deps.account.clone(),
            region: deps.region.clone(),
            play: deps.play.clone(),
            engine: deps.engine.clone(),
            network: deps.network.clone(),
            label: deps.label.clone(),
            logs: deps.logs.clone(),
            parameters: deps.parameters.clone(),
            secrets: deps.secrets.clone(),
            images: deps.images.clone(),
        });
        let definitions = Arc::new(Definitions::new(&deps.account, &deps.region));
        let clusters = Arc::new(Clusters::new(&deps.account, &deps.region));
        let services = Services::new(deps, tasks.clone(), definitions.clone(), clusters.clone());
        Self { tasks, definitions, clusters, services }
    }

    /// One call.
    pub async fn call(&self, caller: &Caller, operation: &str, body: Value) -> Reply {
        if operation == "DeleteCluster" {
            self.refuse_used_cluster(&body)?;
        }
        if let Some(reply) = self.services.call(caller, operation, &body) {
            return reply;
        }
        if let Some(reply) = self.clusters.call(caller, operation, body.clone()).await {
            return reply.map(|reply| self.with_counts(reply));
        }
        if let Some(reply) = self.definitions.call(caller, operation, body.clone()).await {
            return reply;
        }
        let oneoff = oneoff::call(&self.tasks, &self.definitions, &self.clusters, caller, operation, body).await;
        oneoff.unwrap_or_else(|| Err(AwsError::unknown_operation(operation)))
    }

    /// Ends every schedule, then every task, and removes their containers.
    pub async fn shutdown(&self) {
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
        let arns: Vec<String> =
            list(&reply, "clusters").iter().filter_map(|cluster| text(cluster, "clusterArn")).map(str::to_owned).collect();
        for (position, arn) in arns.iter().enumerate() {
            let cluster = &mut reply["clusters"][position];
            cluster["activeServicesCount"] = json!(self.services.count_in(arn));
            let running = self.tasks_in(arn).filter(|task| task.status == Status::Running).count();
            cluster["runningTasksCount"] = json!(running);
            let pending = self.tasks_in(arn).filter(|task| task.status < Status::Running).count();
            cluster["pendingTasksCount"] = json!(pending);
        }
        reply
    }

    fn tasks_in(&self, cluster_arn: &str) -> impl Iterator<Item = TaskView> {
        let unstopped = self.tasks.all().into_iter().filter(|task| task.status != Status::Stopped);
        unstopped.filter(move |task| task.spec.cluster_arn == cluster_arn)
    }
}
