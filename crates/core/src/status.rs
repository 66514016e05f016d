//! How a service is, by what is seen of it now: one word for people, and an exit code for a health check.

use crate::cause::Cause;
use crate::history::Now;
use crate::names::{ServiceKey, ServiceRef, TaskDefinitionArn};
use crate::service::{Service, ServiceDeployment, ServiceDeploymentStatus, State};
use serde::Serialize;

/// What was seen of one service.
#[derive(Clone, Debug)]
pub struct Seen {
    pub key: ServiceKey,
    pub service: ServiceRef,
    pub now: Now,
    /// The release of the revision that it is to run.
    pub release: Option<u64>,
    /// `None`: it is of a release, or that could not be read.
    pub drift: Option<Drift>,
    /// The newest, with the revision that it deploys and the release of that.
    pub newest: Option<Newest>,
    /// AWS did not tell how its deployments go.
    pub is_newest_unread: bool,
    /// What could not be read, and why: a sentence each.
    pub unread: Vec<String>,
    pub last_stop: Option<LastStop>,
    /// A person's lock: by whom, since when and why.
    pub locked: Option<String>,
    /// The run that releases it now, or died while it did.
    pub released_by: Option<String>,
    pub command: Option<RunningCommand>,
    /// Healthy targets of its load balancer, of all.
    pub targets: Option<(usize, usize)>,
    pub url: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Newest {
    pub deployment: ServiceDeployment,
    pub revision: Option<TaskDefinitionArn>,
    pub release: Option<u64>,
}

/// A service runs what no release has brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Drift {
    /// Its revision is of no release.
    Foreign { registered_by: Option<String> },
    /// Its revision is of another release than the last one.
    Other { last: String },
}

/// The last task that ended by itself.
#[derive(Clone, Debug)]
pub struct LastStop {
    pub task: String,
    /// Seconds since the epoch.
    pub at: Option<f64>,
    /// As AWS tells it.
    pub ending: String,
    pub cause: Option<Cause>,
    /// So many ended like it in the last hour.
    pub alike: usize,
}

/// A release command that runs now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunningCommand {
    pub name: String,
    /// `None`: it starts just now.
    pub task: Option<String>,
}

/// How a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    Steady,
    /// It is steady, and its desired count is 0.
    Empty,
    RollingOut,
    RollingBack,
    /// A rollout waits for a person.
    Paused,
    /// The last rollout was rolled back.
    RolledBack,
    /// What should run runs, and how its last rollout went could not be read.
    Unread,
    /// What should run does not.
    Unsteady,
    /// It is being deleted.
    Draining,
    Gone,
    /// It may not be read.
    Unknown,
}

impl Condition {
    pub fn word(self) -> &'static str {
        match self {
            Self::Steady => "serving",
            Self::Empty => "desired count is 0",
            Self::RollingOut => "ROLLING",
            Self::RollingBack => "ROLLING BACK",
            Self::Paused => "PAUSED",
            Self::RolledBack => "serving, the last rollout was ROLLED BACK",
            Self::Unread => "serving, the last rollout is NOT KNOWN",
            Self::Unsteady => "UNSTEADY",
            Self::Draining => "BEING DELETED",
            Self::Gone => "GONE",
            Self::Unknown => "?",
        }
    }

    /// As of a run that ended so: 6 `rolled-back`, 7 `unsteady`, 9 `timeout`, 10 `unavailable`, 3 `permission`; 0 where nothing is wrong.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Steady | Self::Empty => 0,
            Self::Unknown => 3,
            Self::RolledBack => 6,
            Self::Unsteady | Self::Draining | Self::Gone => 7,
            Self::Unread => 10,
            Self::RollingOut | Self::RollingBack | Self::Paused => 9,
        }
    }
}

/// The exit code of all services together: what needs a person before what is over, and that before what goes on.
#[must_use]
pub fn exit_code(services: &[Seen]) -> u8 {
    let codes: Vec<u8> = services.iter().map(|seen| seen.condition().exit_code()).collect();
    [7, 6, 9, 10, 3].into_iter().find(|code| codes.contains(code)).unwrap_or(0)
}

impl Seen {
    pub fn condition(&self) -> Condition {
        use ServiceDeploymentStatus as Status;
        let service = match &self.now {
            Now::Gone => return Condition::Gone,
            Now::Unknown => return Condition::Unknown,
            Now::Known(service) if service.status == "DRAINING" => return Condition::Draining,
            Now::Known(service) => service,
        };
        let newest = self.newest.as_ref().map(|newest| &newest.deployment);
        if let Some(newest) = newest.filter(|newest| newest.status.is_ongoing()) {
            return match newest.status {
                _ if newest.awaiting_hook.is_some() => Condition::Paused,
                Status::RollbackRequested | Status::RollbackInProgress => Condition::RollingBack,
                _ => Condition::RollingOut,
            };
        }
        let by_service = of_service(service);
        match newest.map(|newest| &newest.status) {
            Some(Status::RollbackSuccessful) if by_service == Condition::Steady => Condition::RolledBack,
            Some(Status::RollbackFailed) => Condition::Unsteady,
            _ if self.is_newest_unread && by_service.exit_code() == 0 => Condition::Unread,
            _ => by_service,
        }
    }
}

/// By what the service says of itself.
fn of_service(service: &Service) -> Condition {
    // Other controllers than ECS's tell of no deployments.
    let Some(primary) = service.primary() else {
        let is_full = service.counts.running >= service.counts.desired;
        return if is_full { Condition::Steady } else { Condition::Unsteady };
    };
    let counts = primary.counts;
    let is_going_back = primary.reason.as_deref().is_some_and(|reason| reason.contains("rolling back"));
    match primary.state {
        State::Failed => Condition::Unsteady,
        State::InProgress if is_going_back => Condition::RollingBack,
        State::InProgress => Condition::RollingOut,
        State::Completed | State::Unreported if counts.desired == 0 => Condition::Empty,
        State::Completed | State::Unreported if counts.running >= counts.desired => Condition::Steady,
        State::Completed | State::Unreported => Condition::Unsteady,
    }
}
