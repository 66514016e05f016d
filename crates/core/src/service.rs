//! An ECS service and its deployments, in our words. Only the adapters build these from AWS's answers.

use super::names::{DeploymentId, ServiceDeploymentArn, ServiceRevisionArn, TaskDefinitionArn};
use serde::Serialize;
use serde_json::Value;

/// A service as `DescribeServices` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub arn: String,
    pub name: String,
    pub cluster_arn: String,
    /// `ACTIVE`, `DRAINING` or `INACTIVE`: a deleted service can still be described.
    pub status: String,
    /// What the service should run; flips back to the old revision when ECS rolls back.
    pub task_definition: TaskDefinitionArn,
    pub counts: Counts,
    pub controller: Controller,
    pub strategy: Strategy,
    /// `resourceManagementType: ECS`: an Express Mode service, which plain UpdateService must not touch.
    pub is_express: bool,
    pub breaker: Breaker,
    pub alarms: Alarms,
    pub minimum_healthy_percent: Option<i64>,
    pub maximum_percent: Option<i64>,
    /// The raw `networkConfiguration`, handed on to RunTask as it is.
    pub network_configuration: Option<Value>,
    pub platform_version: Option<String>,
    pub launch_type: Option<String>,
    /// The raw `volumeConfigurations` of its primary deployment: volumes that are configured at launch.
    pub volume_configurations: Vec<Value>,
    /// `enableECSManagedTags`.
    pub has_managed_tags: bool,
    /// Target group ARNs behind the service.
    pub target_groups: Vec<String>,
    /// The container and the port of it that a load balancer sends requests to.
    pub load_balanced: Option<(String, u16)>,
    /// `healthCheckGracePeriodSeconds`.
    pub grace_seconds: Option<u64>,
    pub deployments: Vec<Deployment>,
    /// Newest first, as AWS sends them.
    pub events: Vec<ServiceEvent>,
    /// May still point to the deployment before ours right after UpdateService.
    pub current_service_deployment: Option<ServiceDeploymentArn>,
}

impl Service {
    pub fn primary(&self) -> Option<&Deployment> {
        self.deployments.iter().find(|d| d.role == Role::Primary)
    }

    /// The revision that answers: while a rollout goes on, or has failed, what it was to replace.
    pub fn serving(&self) -> &TaskDefinitionArn {
        let is_open = |d: &Deployment| matches!(d.state, State::InProgress | State::Failed);
        let Some(primary) = self.primary().filter(|primary| is_open(primary)) else { return &self.task_definition };
        let others = self.deployments.iter().filter(|d| d.id != primary.id && d.counts.running > 0);
        let replaced = others.filter(|d| d.state != State::Failed).max_by_key(|d| d.counts.running);
        replaced.map_or(&self.task_definition, |d| &d.task_definition)
    }

    pub fn deployment(&self, id: &DeploymentId) -> Option<&Deployment> {
        self.deployments.iter().find(|d| &d.id == id)
    }
}

/// One entry of `deployments[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    pub id: DeploymentId,
    pub role: Role,
    pub state: State,
    pub counts: Counts,
    /// Consecutive failures; resets to zero once a task runs, so zero proves nothing.
    pub failed_tasks: i64,
    pub reason: Option<String>,
    pub task_definition: TaskDefinitionArn,
    /// Seconds since the epoch, AWS's clock. A deployment that ECS goes back to may keep the time of its first start.
    pub created_at: Option<f64>,
    /// The same, of its last change.
    pub updated_at: Option<f64>,
}

/// `deployments[].status`. AWS's type is an open string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    Active,
    /// `INACTIVE`, `DRAINING` and whatever comes next: not serving as the current deployment.
    Other(String),
}

/// `deployments[].rolloutState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    InProgress,
    Completed,
    Failed,
    /// Absent: behind a Classic Load Balancer, or another controller.
    Unreported,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub desired: i64,
    pub running: i64,
    pub pending: i64,
}

impl Counts {
    pub fn is_full(&self) -> bool {
        self.running == self.desired && self.pending == 0
    }
}

/// `deploymentController.type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controller {
    Ecs,
    CodeDeploy,
    External,
    Unknown(String),
}

/// `deploymentConfiguration.strategy`, for the ECS controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    Rolling,
    /// `BLUE_GREEN`, `LINEAR`, `CANARY`: followed through the ServiceDeployments API only, since `rolloutState` is
    /// promised for rolling deployments alone.
    Shifting(String),
}

/// `deploymentConfiguration.deploymentCircuitBreaker`.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    pub is_enabled: bool,
    pub rolls_back: bool,
}

/// `deploymentConfiguration.alarms`: CloudWatch alarms that fail a deployment.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    pub is_enabled: bool,
    pub rolls_back: bool,
    pub names: Vec<String>,
}

/// One line of `services[].events`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceEvent {
    pub id: String,
    /// Seconds since the epoch, AWS's clock.
    pub created_at: f64,
    pub message: String,
}

/// A deployment as the ServiceDeployments API shows it: the preferred truth, since a rollback happens inside it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceDeployment {
    pub arn: ServiceDeploymentArn,
    pub status: ServiceDeploymentStatus,
    pub reason: Option<String>,
    pub target_revision: Option<ServiceRevisionArn>,
    pub counts: Counts,
    /// `deploymentCircuitBreaker.failureCount` and `.threshold`.
    pub failures: Option<(i64, i64)>,
    /// `rollback.reason`.
    pub rollback_reason: Option<String>,
    pub lifecycle_stage: Option<String>,
    /// A pause hook waits for a person (`AWAITING_ACTION`): its id.
    pub awaiting_hook: Option<String>,
    /// `alarms.triggeredAlarmNames`.
    pub triggered_alarms: Vec<String>,
    /// Seconds since the epoch, AWS's clock.
    pub created_at: f64,
    /// The same, where ECS has begun with it.
    pub started_at: Option<f64>,
    /// The same, where it has ended.
    pub finished_at: Option<f64>,
}

/// `ServiceDeploymentStatus`; only `Successful` is success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceDeploymentStatus {
    Pending,
    InProgress,
    Successful,
    /// Failed with rollback off, stopped by hand, or (unconfirmed by AWS's documentation) superseded.
    Stopped,
    StopRequested,
    RollbackRequested,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
    Unknown(String),
}

impl ServiceDeploymentStatus {
    /// As AWS writes it.
    pub fn word(&self) -> &str {
        match self {
            Self::Pending => "PENDING",
            Self::InProgress => "IN_PROGRESS",
            Self::Successful => "SUCCESSFUL",
            Self::Stopped => "STOPPED",
            Self::StopRequested => "STOP_REQUESTED",
            Self::RollbackRequested => "ROLLBACK_REQUESTED",
            Self::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Self::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
            Self::RollbackFailed => "ROLLBACK_FAILED",
            Self::Unknown(word) => word,
        }
    }

    /// ECS is at work on it; a status that is new to us is taken for that too.
    pub fn is_ongoing(&self) -> bool {
        !matches!(self, Self::Successful | Self::Stopped | Self::RollbackSuccessful | Self::RollbackFailed)
    }
}

/// What a service revision really runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceRevision {
    pub arn: ServiceRevisionArn,
    pub task_definition: TaskDefinitionArn,
    /// Container name and the digest that AWS resolved for it.
    pub images: Vec<(String, Option<String>)>,
}
