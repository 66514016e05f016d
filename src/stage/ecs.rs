//! ECS: task definitions, tasks as real containers, services with AWS's rolling deployments.

pub mod clusters;
pub mod definitions;
mod oneoff;
pub mod services;
mod tags;
pub mod task;
pub mod tasks;

use super::api::{AwsError, Caller, Reply};
use super::elb::Elb;
use super::logs::Logs;
use super::play::Play;
use super::registry::Registry;
use super::secrets::Secrets;
use super::ssm::Parameters;
use clusters::Clusters;
use definitions::Definitions;
use oneoff::OneOffs;
use serde_json::Value;
use services::Services;
use std::sync::Arc;
use tags::Tags;
use tasks::{TaskDeps, Tasks};

/// What ECS leans on.
pub struct Deps {
    pub account: String,
    pub region: String,
    pub play: Play,
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
}

pub struct Ecs {
    clusters: Clusters,
    definitions: Definitions,
    tasks: Arc<Tasks>,
    one_offs: OneOffs,
    services: Arc<Services>,
    tags: Tags,
}

impl Ecs {
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
        Self {
            clusters: Clusters::new(&deps.account, &deps.region),
            definitions: Definitions::new(&deps.account, &deps.region),
            one_offs: OneOffs::new(tasks.clone()),
            services: Services::new(&deps.account, &deps.region, deps.play.clone(), tasks.clone(), deps.elb.clone()),
            tags: Tags::default(),
            tasks,
        }
    }

    pub async fn call(&self, caller: &Caller, operation: &str, body: Value) -> Reply {
        if let Some(reply) = self.clusters.call(operation, &body) {
            return reply;
        }
        if let Some(reply) = self.definitions.call(caller, operation, &body) {
            return reply;
        }
        if let Some(reply) = self.one_offs.call(&self.definitions, &self.clusters, operation, &body) {
            return reply;
        }
        if let Some(reply) = self.services.call(&self.definitions, &self.clusters, operation, &body).await {
            return reply;
        }
        if let Some(reply) = self.tags.call(&self.definitions, operation, &body) {
            return reply;
        }
        Err(AwsError::unknown_operation(operation))
    }

    /// Stops scheduling and removes every container.
    pub async fn shutdown(&self) {
        self.services.shutdown();
        self.tasks.shutdown().await;
    }
}
