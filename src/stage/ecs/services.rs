//! Services: a scheduler that rolls deployments as AWS documents it.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html>

mod api;
mod schedule;
mod shape;
mod state;

use super::clusters::Clusters;
use super::definitions::Definitions;
use super::task::TaskView;
use super::tasks::Tasks;
use crate::stage::api::{AwsError, Reply};
use crate::stage::elb::Elb;
use crate::stage::members::lock;
use crate::stage::play::Play;
use serde_json::Value;
use state::Service;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// All services of the stage.
pub struct Services {
    account: String,
    region: String,
    play: Play,
    tasks: Arc<Tasks>,
    elb: Arc<Elb>,
    /// By cluster ARN and name.
    known: Mutex<BTreeMap<(String, String), Service>>,
    scheduler: Mutex<Option<AbortHandle>>,
}

impl Services {
    pub fn new(account: &str, region: &str, play: Play, tasks: Arc<Tasks>, elb: Arc<Elb>) -> Arc<Self> {
        Arc::new(Self {
            account: account.to_owned(),
            region: region.to_owned(),
            play,
            tasks,
            elb,
            known: Mutex::default(),
            scheduler: Mutex::default(),
        })
    }

    pub async fn call(
        self: &Arc<Self>,
        definitions: &Definitions,
        clusters: &Clusters,
        operation: &str,
        body: &Value,
    ) -> Option<Reply> {
        self.wake();
        api::call(self, definitions, clusters, operation, body)
    }

    pub fn shutdown(&self) {
        if let Some(scheduler) = lock(&self.scheduler).take() {
            scheduler.abort();
        }
    }

    /// Starts the scheduler with the first call: before it there is no runtime for sure.
    fn wake(self: &Arc<Self>) {
        let mut scheduler = lock(&self.scheduler);
        if scheduler.is_none() {
            *scheduler = Some(tokio::spawn(schedule_forever(self.clone())).abort_handle());
        }
    }

    fn of_service(&self, service: &Service) -> Vec<TaskView> {
        let group = format!("service:{}", service.name);
        self.tasks
            .all()
            .into_iter()
            .filter(|t| t.spec.cluster_arn == service.cluster_arn && t.spec.group == group)
            .collect()
    }
}

/// Steps every service at each change of a task or target, and a few times a second for what depends on time.
async fn schedule_forever(services: Arc<Services>) {
    let mut tasks = services.tasks.changed();
    let mut targets = services.elb.changed();
    loop {
        {
            let mut known = lock(&services.known);
            for service in known.values_mut() {
                schedule::step(&services, service);
            }
            known.retain(|_, service| !service.is_gone());
        }
        tokio::select! {
            _ = tasks.changed() => {}
            _ = targets.changed() => {}
            () = sleep(Duration::from_millis(100)) => {}
        }
    }
}

fn client(code: &str, message: impl Into<String>) -> AwsError {
    AwsError::client(code, message)
}
