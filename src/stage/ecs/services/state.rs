//! What a service consists of.

use crate::stage::ecs::task::Definition;
use crate::stage::members::{epoch_seconds, number, random_hex};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    Active,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    InProgress,
    Completed,
    Failed,
}

/// One entry of `deployments[]`.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub id: String,
    pub role: Role,
    pub rollout: Rollout,
    pub reason: String,
    pub definition: Arc<Definition>,
    pub revision_arn: String,
    /// The service deployment that it belongs to, a rollback to the one that failed.
    pub service_deployment: Option<String>,
    pub failures: i64,
    /// Tasks whose failure has been counted.
    pub counted: HashSet<String>,
    /// Tasks that were healthy once: what they do later is no failure of the deployment.
    pub proven: HashSet<String>,
    pub last_failure: Option<Instant>,
    pub resolved_images: Vec<(String, String)>,
    pub created_at: f64,
    pub updated_at: f64,
}

/// `ServiceDeployment` of the API.
#[derive(Clone, Debug)]
pub struct ServiceDeployment {
    pub arn: String,
    pub deployment_id: String,
    pub status: &'static str,
    pub reason: Option<String>,
    pub source_revision: Option<String>,
    pub target_revision: String,
    pub rollback: Option<Value>,
    pub breaker_status: &'static str,
    pub failures: i64,
    pub created_at: f64,
    pub updated_at: f64,
    pub finished_at: Option<f64>,
}

impl ServiceDeployment {
    pub fn is_ongoing(&self) -> bool {
        matches!(
            self.status,
            "PENDING" | "IN_PROGRESS" | "STOP_REQUESTED" | "ROLLBACK_REQUESTED" | "ROLLBACK_IN_PROGRESS"
        )
    }
}

/// Container -> the digest that its image stood for when the deployment started.
pub type Digests = Vec<(String, String)>;

#[derive(Clone, Debug)]
pub struct Service {
    pub arn: String,
    pub name: String,
    pub cluster_arn: String,
    pub status: &'static str,
    /// CreateService's members, kept up to date by UpdateService.
    pub members: Value,
    pub desired: i64,
    pub deployments: Vec<Deployment>,
    pub service_deployments: Vec<ServiceDeployment>,
    /// Revision ARN -> its task definition and the digests that its deployment resolved.
    pub revisions: BTreeMap<String, (Arc<Definition>, Digests)>,
    pub events: Vec<Value>,
    pub created_at: f64,
    /// Task id -> target groups it is registered with.
    pub registered: BTreeMap<String, Vec<String>>,
    /// Tasks that leave their target groups before they are stopped, and why they are.
    pub leaving: BTreeMap<String, String>,
    pub is_steady: bool,
    pub said_stuck: bool,
    /// What DescribeServices showed before the last update, and since when that is over.
    pub before: Option<(Instant, Value)>,
}

impl Service {
    pub fn primary(&self) -> Option<&Deployment> {
        self.deployments.iter().find(|d| d.role == Role::Primary)
    }

    pub fn primary_mut(&mut self) -> Option<&mut Deployment> {
        self.deployments.iter_mut().find(|d| d.role == Role::Primary)
    }

    pub fn is_gone(&self) -> bool {
        self.status == "INACTIVE" && self.deployments.is_empty() && epoch_seconds() - self.created_at > 3600.0
    }

    pub fn breaker(&self) -> &Value {
        &self.members["deploymentConfiguration"]["deploymentCircuitBreaker"]
    }

    /// Half of the desired count, between 3 and 200; or what `thresholdConfiguration` says.
    pub fn threshold(&self) -> i64 {
        let configuration = &self.breaker()["thresholdConfiguration"];
        let value = number(configuration, "value").unwrap_or(50);
        let percent = (self.desired * value + 99) / 100;
        match configuration["type"].as_str() {
            Some("COUNT") => value,
            Some("UNBOUNDED_PERCENT") => percent.max(1),
            _ => percent.clamp(3, 200),
        }
    }

    pub fn resets_on_healthy_task(&self) -> bool {
        self.breaker()["resetOnHealthyTask"] != json!(false)
    }

    pub fn percent(&self, member: &str, default: i64) -> i64 {
        number(&self.members["deploymentConfiguration"], member).unwrap_or(default)
    }

    pub fn target_groups(&self) -> Vec<(String, String, u16)> {
        let balancers = self.members["loadBalancers"].as_array().cloned().unwrap_or_default();
        let of = |b: &Value, member: &str| b[member].as_str().unwrap_or_default().to_owned();
        balancers
            .iter()
            .map(|b| {
                (of(b, "targetGroupArn"), of(b, "containerName"), number(b, "containerPort").unwrap_or_default() as u16)
            })
            .collect()
    }

    /// Newest first, at most a hundred.
    pub fn say(&mut self, text: impl AsRef<str>) {
        let message = format!("(service {}) {}", self.name, text.as_ref());
        let id = format!("{}-{}", random_hex(4), random_hex(6));
        self.events.insert(0, json!({"id": id, "createdAt": epoch_seconds(), "message": message}));
        self.events.truncate(100);
    }

    /// A deployment of a revision, as the primary one; the one before stays until its tasks are replaced.
    pub fn deploy(
        &mut self,
        definition: Arc<Definition>,
        resolved: Vec<(String, String)>,
        revision_arn: String,
        service_deployment: Option<String>,
        reason: impl Fn(&str) -> String,
    ) -> String {
        let id = deployment_id();
        for deployment in &mut self.deployments {
            deployment.role = Role::Active;
        }
        self.revisions.insert(revision_arn.clone(), (definition.clone(), resolved.clone()));
        let now = epoch_seconds();
        let deployment = Deployment {
            reason: reason(&id),
            id: id.clone(),
            role: Role::Primary,
            rollout: Rollout::InProgress,
            definition,
            revision_arn,
            service_deployment,
            failures: 0,
            counted: HashSet::new(),
            proven: HashSet::new(),
            last_failure: None,
            resolved_images: resolved,
            created_at: now,
            updated_at: now,
        };
        self.deployments.insert(0, deployment);
        self.is_steady = false;
        self.said_stuck = false;
        id
    }
}

/// `ecs-svc/` and 19 digits.
pub fn deployment_id() -> String {
    let number = u64::from_str_radix(&random_hex(8), 16).unwrap_or_default();
    format!("ecs-svc/{:019}", number % 10_000_000_000_000_000_000)
}
