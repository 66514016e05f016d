//! One service: its deployments, the revisions they run, the history of its service deployments, and its events.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::configuration::Configuration;
use super::history::ServiceDeployment;
use crate::ecs::task::{Definition, TaskSpec};
use crate::request::{number, random_hex, text};

/// `services[].events` keeps this many.
const EVENTS: usize = 100;

/// `services[].status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceStatus {
    Active,
    /// Deleted, with tasks that still run.
    Draining,
    /// Deleted.
    Inactive,
}

/// A service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub arn: String,
    pub name: String,
    pub cluster_arn: String,
    pub status: ServiceStatus,
    pub desired: usize,
    /// The request's members that do not make a revision, as they came: tags, grace period, propagateTags and so on.
    pub settings: Map<String, Value>,
    pub configuration: Configuration,
    /// The PRIMARY one first. Empty for a service whose deployments somebody else controls.
    pub deployments: Vec<Deployment>,
    pub revisions: Vec<Revision>,
    /// Oldest first.
    pub history: Vec<ServiceDeployment>,
    /// What a rollback goes back to: the most recent deployment that is COMPLETED now.
    pub last_completed: Option<Deployment>,
    /// Newest first.
    pub events: VecDeque<Event>,
    pub created_at: f64,
    pub created_by: String,
    /// What the scheduler remembers of each task, by ARN.
    pub watched: HashMap<String, Watch>,
    /// Whether "has reached a steady state" has been said of the present state.
    pub is_steady: bool,
    /// Whether deployments that shift traffic show a `rolloutState`.
    pub shows_native_rollout: bool,
}

/// `rolloutState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rollout {
    InProgress,
    Completed,
    Failed,
}

/// An item of `deployments[]`.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    /// `ecs-svc/` and 19 digits; the `startedBy` of its tasks.
    pub id: String,
    /// ARN of its service revision.
    pub revision: String,
    /// How many tasks it should have: the service's count for the PRIMARY one, what is left of it for the others.
    pub desired: usize,
    pub running: usize,
    pub pending: usize,
    pub rollout: Rollout,
    pub reason: String,
    pub failed_tasks: usize,
    pub created_at: f64,
    pub updated_at: f64,
    pub pace: Pace,
}

/// When a deployment may start tasks, and what was said about that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    /// Whether it went back to an earlier revision.
    pub is_rollback: bool,
    /// One of its tasks was healthy: from then on only failed health checks count.
    pub had_healthy_task: bool,
    /// Failures since the last healthy task, which lengthen the pause before the next start.
    pub failures_in_a_row: u32,
    pub not_before: Option<Instant>,
    pub failed_at: Option<Instant>,
    /// Since when every task is there and healthy.
    pub whole_since: Option<Instant>,
    pub reported_unable_to_start: bool,
    pub reported_stuck: bool,
}

/// A service revision: what a deployment runs. <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-revision.html>
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub arn: String,
    pub definition: Arc<Definition>,
    /// Members of the request that make a revision, `taskDefinition` aside.
    pub members: Map<String, Value>,
    pub pins: Pins,
    /// The task definition's tags.
    pub tags: Vec<Value>,
    pub created_at: f64,
}

/// The digests that a revision's image tags stand for.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html#deployment-container-image-stability>
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pins {
    Unknown,
    Asked,
    /// Digest by container name; what could not be resolved is missing and is asked for again with the next task.
    Known(Vec<(String, String)>),
}

/// An item of `events[]`.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub id: String,
    pub created_at: f64,
    pub message: String,
}

/// What the scheduler remembers of a task.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub id: String,
    pub deployment: String,
    pub was_healthy: bool,
    /// Started while new tasks are to answer no health check.
    pub is_made_to_fail: bool,
    /// Its end has been dealt with.
    pub is_closed: bool,
    /// Target groups that it is registered in.
    pub groups: Vec<String>,
    pub retiring: Option<Retiring>,
}

/// A task on its way out: first its connections drain, then it is stopped.
#[derive(Clone, Debug)]
pub(crate) struct Retiring {
    pub reason: String,
    pub is_stopped: bool,
}

/// An item of `loadBalancers`.
#[derive(Clone, Debug)]
pub(crate) struct LoadBalancer {
    pub target_group: String,
    /// `advancedConfiguration.alternateTargetGroupArn`.
    pub alternate: Option<String>,
    pub container: String,
    pub port: u16,
}

impl Service {
    /// The revision with that ARN.
    pub(crate) fn revision(&self, arn: &str) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.arn == arn)
    }

    /// The revision that a deployment runs.
    pub(crate) fn deployment_revision(&self, id: &str) -> Option<&Revision> {
        let deployment = self.deployments.iter().find(|deployment| deployment.id == id)?;
        self.revision(&deployment.revision)
    }

    /// Where the tasks of a deployment are registered. While traffic is shifted, the new ones are in the alternate target
    /// group until they get production traffic, and the old ones in none once they get none.
    pub(crate) fn load_balancers(&self, deployment: &str) -> Vec<LoadBalancer> {
        let all = self.deployment_revision(deployment).map(Revision::load_balancers).unwrap_or_default();
        let Some(lifecycle) = self.traffic_shift() else { return all };
        let is_new = self.primary().is_some_and(|primary| primary.id == deployment);
        match (is_new, lifecycle.weight) {
            (true, weight) if weight > 0.0 => all,
            (true, _) => {
                let alternate = |of: LoadBalancer| Some(LoadBalancer { target_group: of.alternate.clone()?, ..of });
                all.into_iter().filter_map(alternate).collect()
            }
            (false, weight) if weight >= 100.0 => Vec::new(),
            (false, _) => all,
        }
    }

    /// A task of a deployment that runs the revision.
    pub(crate) fn task_spec(
        &self,
        revision: &str,
        deployment: &str,
        digests: Vec<(String, String)>,
    ) -> Option<TaskSpec> {
        let revision = self.revision(revision)?;
        let member = |name: &str| revision.members.get(name);
        let word = |name: &str| member(name).and_then(Value::as_str).map(str::to_owned);
        Some(TaskSpec {
            cluster_arn: self.cluster_arn.clone(),
            definition: revision.definition.clone(),
            overrides: json!({}),
            started_by: Some(deployment.to_owned()),
            group: format!("service:{}", self.name),
            launch_type: word("launchType"),
            capacity_provider: revision.capacity_provider(),
            platform_version: word("platformVersion").unwrap_or_else(|| "LATEST".to_owned()),
            network_configuration: member("networkConfiguration").cloned().unwrap_or(Value::Null),
            tags: self.task_tags(&revision.tags),
            resolved_images: digests,
            enable_execute_command: self.settings.get("enableExecuteCommand").and_then(Value::as_bool) == Some(true),
        })
    }

    /// What `propagateTags` and `enableECSManagedTags` give a task.
    fn task_tags(&self, of_definition: &[Value]) -> Vec<Value> {
        let setting = |name: &str| self.settings.get(name);
        let mut tags = match setting("propagateTags").and_then(Value::as_str) {
            Some("SERVICE") => setting("tags").and_then(Value::as_array).cloned().unwrap_or_default(),
            Some("TASK_DEFINITION") => of_definition.to_vec(),
            _ => Vec::new(),
        };
        if setting("enableECSManagedTags").and_then(Value::as_bool) == Some(true) {
            let cluster = self.cluster_arn.rsplit('/').next().unwrap_or_default();
            tags.push(json!({ "key": "aws:ecs:clusterName", "value": cluster }));
            tags.push(json!({ "key": "aws:ecs:serviceName", "value": self.name }));
        }
        tags
    }

    /// The PRIMARY deployment.
    pub(crate) fn primary(&self) -> Option<&Deployment> {
        self.deployments.first()
    }

    /// The revision of the PRIMARY deployment, or the latest where there are no deployments.
    pub(crate) fn current_revision(&self) -> Option<&Revision> {
        self.primary().map_or_else(|| self.revisions.last(), |primary| self.revision(&primary.revision))
    }

    /// `healthCheckGracePeriodSeconds`.
    pub(crate) fn grace_seconds(&self) -> f64 {
        self.settings.get("healthCheckGracePeriodSeconds").and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// Adds `(service NAME) message` to the events.
    pub(crate) fn add_event(&mut self, epoch: f64, message: &str) {
        let message = format!("(service {}) {message}", self.name);
        self.events.push_front(Event { id: uuid(), created_at: epoch, message });
        self.events.truncate(EVENTS);
    }
}

impl Deployment {
    /// A new one that has started nothing.
    pub(crate) fn new(revision: &str, desired: usize, epoch: f64) -> Self {
        let id = format!("ecs-svc/{}", digits());
        Self {
            reason: format!("ECS deployment {id} in progress."),
            id,
            revision: revision.to_owned(),
            desired,
            running: 0,
            pending: 0,
            rollout: Rollout::InProgress,
            failed_tasks: 0,
            created_at: epoch,
            updated_at: epoch,
            pace: Pace::default(),
        }
    }
}

impl Revision {
    /// `loadBalancers` with a target group.
    pub(crate) fn load_balancers(&self) -> Vec<LoadBalancer> {
        let Some(items) = self.members.get("loadBalancers").and_then(Value::as_array) else { return Vec::new() };
        items
            .iter()
            .filter_map(|item| {
                Some(LoadBalancer {
                    target_group: text(item, "targetGroupArn")?.to_owned(),
                    alternate: text(&item["advancedConfiguration"], "alternateTargetGroupArn").map(str::to_owned),
                    container: text(item, "containerName")?.to_owned(),
                    port: u16::try_from(number(item, "containerPort")?).ok()?,
                })
            })
            .collect()
    }

    /// Whether an essential container has a health check, so that tasks have a health of their own.
    pub(crate) fn has_health_check(&self) -> bool {
        self.containers().iter().any(|container| {
            let is_essential = container.get("essential").and_then(Value::as_bool).unwrap_or(true);
            is_essential && container.get("healthCheck").is_some_and(Value::is_object)
        })
    }

    /// Container name and image of those whose tag is pinned: all that have not opted out.
    pub(crate) fn pinned_images(&self) -> Vec<(String, String)> {
        self.containers()
            .iter()
            .filter(|container| text(container, "versionConsistency") != Some("disabled"))
            .filter_map(|container| Some((text(container, "name")?.to_owned(), text(container, "image")?.to_owned())))
            .collect()
    }

    /// The task definition's containers.
    pub(crate) fn containers(&self) -> &[Value] {
        self.definition.body.get("containerDefinitions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The provider that its tasks run on, where a strategy is in use: the one with the greatest weight.
    pub(crate) fn capacity_provider(&self) -> Option<String> {
        let strategy = self.members.get("capacityProviderStrategy")?.as_array()?;
        let weight = |item: &Value| number(item, "weight").unwrap_or(0);
        let heaviest = strategy.iter().rev().max_by_key(|item| weight(item))?;
        text(heaviest, "capacityProvider").map(str::to_owned)
    }
}

impl Watch {
    /// A task that has just been started.
    pub(crate) fn new(id: &str, deployment: &str, is_made_to_fail: bool) -> Self {
        Self {
            id: id.to_owned(),
            deployment: deployment.to_owned(),
            was_healthy: false,
            is_made_to_fail,
            is_closed: false,
            groups: Vec::new(),
            retiring: None,
        }
    }

    /// Neither gone nor on its way out.
    pub(crate) fn is_live(&self) -> bool {
        !self.is_closed && self.retiring.is_none()
    }
}

/// Nineteen random digits, as deployments and service revisions are numbered.
pub(crate) fn digits() -> String {
    let number = u64::from_str_radix(&random_hex(8), 16).unwrap_or_default();
    (number % 9_000_000_000_000_000_000 + 1_000_000_000_000_000_000).to_string()
}

fn uuid() -> String {
    let hex = random_hex(16);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
