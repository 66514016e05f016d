//! Service deployments: the record of each deployment from its start to its end, a rollback included.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html>

use serde_json::{Value, json};

use super::traffic::Lifecycle;
use crate::request::random_hex;

/// `serviceDeployments[].status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeploymentStatus {
    Pending,
    InProgress,
    RollbackRequested,
    RollbackInProgress,
    Successful,
    /// Failed where nothing rolls back, or ended by somebody.
    Stopped,
    RollbackSuccessful,
    RollbackFailed,
}

impl DeploymentStatus {
    /// AWS's spelling.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InProgress => "IN_PROGRESS",
            Self::RollbackRequested => "ROLLBACK_REQUESTED",
            Self::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Self::Successful => "SUCCESSFUL",
            Self::Stopped => "STOPPED",
            Self::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
            Self::RollbackFailed => "ROLLBACK_FAILED",
        }
    }

    /// Whether the deployment has not ended yet.
    pub(crate) fn is_ongoing(self) -> bool {
        matches!(self, Self::Pending | Self::InProgress | Self::RollbackRequested | Self::RollbackInProgress)
    }
}

/// A service deployment. A rollback happens inside of it and makes no record of its own.
#[derive(Clone, Debug)]
pub(crate) struct ServiceDeployment {
    pub arn: String,
    pub status: DeploymentStatus,
    pub reason: Option<String>,
    /// ARNs of the revisions that ran before.
    pub sources: Vec<String>,
    /// ARN of the revision that it brings.
    pub target: String,
    pub rollback: Option<Rollback>,
    pub breaker: BreakerMonitor,
    pub alarms: AlarmMonitor,
    /// Where a deployment that shifts traffic is.
    pub lifecycle: Option<Lifecycle>,
    /// How a rollback that succeeds ends the deployment.
    pub rolled_back: DeploymentStatus,
    pub configuration: Value,
    /// Tasks that the target revision has, as far as this record follows them.
    pub counts: Counts,
    pub created_at: f64,
    pub started_at: Option<f64>,
    pub updated_at: f64,
    pub finished_at: Option<f64>,
    pub stopped_at: Option<f64>,
}

/// `rollback` of a service deployment.
#[derive(Clone, Debug)]
pub(crate) struct Rollback {
    pub reason: String,
    pub started_at: f64,
    /// ARN of the revision gone back to.
    pub revision: String,
}

/// `deploymentCircuitBreaker` of a service deployment.
#[derive(Clone, Debug)]
pub(crate) struct BreakerMonitor {
    pub status: &'static str,
    pub failure_count: usize,
    pub threshold: usize,
}

/// `alarms` of a service deployment.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlarmMonitor {
    pub names: Vec<String>,
    pub triggered: Vec<String>,
    /// One was in ALARM when the deployment began: then AWS looks at none of them.
    pub are_ignored: bool,
}

/// Tasks of one revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub requested: usize,
    pub running: usize,
    pub pending: usize,
}

impl ServiceDeployment {
    /// One that has been asked for. `service` is the service's ARN.
    pub(crate) fn new(service: &str, sources: Vec<String>, target: &str, configuration: Value, epoch: f64) -> Self {
        Self {
            arn: format!("{}/{}", service.replacen(":service/", ":service-deployment/", 1), &random_hex(11)),
            status: DeploymentStatus::Pending,
            reason: None,
            sources,
            target: target.to_owned(),
            rollback: None,
            breaker: BreakerMonitor { status: "DISABLED", failure_count: 0, threshold: 0 },
            alarms: AlarmMonitor::default(),
            lifecycle: None,
            rolled_back: DeploymentStatus::RollbackSuccessful,
            configuration,
            counts: Counts::default(),
            created_at: epoch,
            started_at: None,
            updated_at: epoch,
            finished_at: None,
            stopped_at: None,
        }
    }

    /// Takes the next status; the first ongoing one is its start, one that is not ongoing its end.
    pub(crate) fn enter(&mut self, status: DeploymentStatus, reason: Option<String>, epoch: f64) {
        self.status = status;
        self.updated_at = epoch;
        if reason.is_some() {
            self.reason = reason;
        }
        if status != DeploymentStatus::Pending && self.started_at.is_none() {
            self.started_at = Some(epoch);
        }
        if status == DeploymentStatus::Stopped {
            self.stopped_at = Some(epoch);
        }
        if !status.is_ongoing() {
            self.finished_at = Some(epoch);
            if self.breaker.status == "MONITORING" {
                self.breaker.status = "MONITORING_COMPLETE";
            }
        }
    }

    /// The item of ListServiceDeployments.
    pub(crate) fn brief(&self, service: &str, cluster: &str) -> Value {
        let mut brief = json!({
            "serviceDeploymentArn": self.arn,
            "serviceArn": service,
            "clusterArn": cluster,
            "createdAt": self.created_at,
            "targetServiceRevisionArn": self.target,
            "status": self.status.word(),
        });
        set(&mut brief, "statusReason", self.reason.as_deref());
        set(&mut brief, "startedAt", self.started_at);
        set(&mut brief, "finishedAt", self.finished_at);
        brief
    }

    /// The item of DescribeServiceDeployments. `sources` is how many tasks each revision before it has left.
    pub(crate) fn describe(&self, service: &str, cluster: &str, sources: &[(String, Counts)]) -> Value {
        let weight = self.lifecycle.as_ref().map(|lifecycle| lifecycle.weight);
        let source = |arn: &String| {
            let counts = sources.iter().find(|(of, _)| of == arn).map_or_else(Counts::default, |(_, counts)| *counts);
            let mut source = summary(arn, counts);
            set(&mut source, "requestedProductionTrafficWeight", weight.map(|weight| 100.0 - weight));
            source
        };
        let mut target = summary(&self.target, self.counts);
        set(&mut target, "requestedProductionTrafficWeight", weight);
        let test = self.lifecycle.as_ref().map(|lifecycle| lifecycle.test_weight);
        set(&mut target, "requestedTestTrafficWeight", test);
        let mut described = json!({
            "serviceDeploymentArn": self.arn,
            "serviceArn": service,
            "clusterArn": cluster,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "sourceServiceRevisions": self.sources.iter().map(source).collect::<Vec<_>>(),
            "targetServiceRevision": target,
            "status": self.status.word(),
            "deploymentConfiguration": self.configuration,
            "deploymentCircuitBreaker": {
                "status": self.breaker.status,
                "failureCount": self.breaker.failure_count,
                "threshold": self.breaker.threshold,
            },
            "alarms": self.alarms.describe(self.status.is_ongoing()),
        });
        if let Some(lifecycle) = &self.lifecycle {
            described["lifecycleStage"] = json!(lifecycle.stage.word());
            described["lifecycleHookDetails"] = lifecycle.describe_hooks();
        }
        set(&mut described, "statusReason", self.reason.as_deref());
        set(&mut described, "startedAt", self.started_at);
        set(&mut described, "finishedAt", self.finished_at);
        set(&mut described, "stoppedAt", self.stopped_at);
        let rollback = self.rollback.as_ref().map(|rollback| {
            json!({
                "reason": rollback.reason,
                "startedAt": rollback.started_at,
                "serviceRevisionArn": rollback.revision,
            })
        });
        set(&mut described, "rollback", rollback);
        described
    }
}

impl AlarmMonitor {
    fn describe(&self, is_ongoing: bool) -> Value {
        if self.names.is_empty() {
            return json!({ "status": "DISABLED" });
        }
        let status = match (self.triggered.is_empty(), is_ongoing) {
            (false, _) => "TRIGGERED",
            (true, true) => "MONITORING",
            (true, false) => "MONITORING_COMPLETE",
        };
        json!({ "status": status, "alarmNames": self.names, "triggeredAlarmNames": self.triggered })
    }
}

/// A ServiceRevisionSummary.
pub(crate) fn summary(arn: &str, counts: Counts) -> Value {
    json!({
        "arn": arn,
        "requestedTaskCount": counts.requested,
        "runningTaskCount": counts.running,
        "pendingTaskCount": counts.pending,
    })
}

/// Sets a member that AWS leaves out when there is no value.
pub(crate) fn set(shape: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        shape[name] = value.into();
    }
}
