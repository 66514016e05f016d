//! How a deployment begins, completes, fails and goes back.

use std::time::Instant;

use super::history::AlarmMonitor;
use super::history::{DeploymentStatus, Rollback, ServiceDeployment};
use super::model::{Deployment, Rollout, Service};
use super::traffic::Lifecycle;
use crate::behavior::{Behavior, RollbackPrimary, StoppedOnRequest, SupersededServiceDeployment};

/// Why a deployment does not go on.
pub(super) enum Cause {
    CircuitBreaker,
    /// The names of those in ALARM.
    Alarms(Vec<String>),
    /// StopServiceDeployment.
    Request,
    /// Somebody, or a time-out, ended it at a PAUSE hook.
    Hook,
}

/// How AWS says so.
struct Words {
    /// `rolloutStateReason` of the failed deployment.
    state: &'static str,
    /// Of the event; empty where there is none.
    event: &'static str,
    /// `statusReason` and `rollback.reason`.
    rollback: &'static str,
    /// In the `rolloutStateReason` of the deployment gone back to.
    cause: &'static str,
    /// `statusReason` where nothing is gone back to.
    end: &'static str,
}

impl Cause {
    fn words(&self) -> Words {
        match self {
            Self::CircuitBreaker => Words {
                state: "ECS deployment circuit breaker: tasks failed to start.",
                event: "deployment failed: tasks failed to start.",
                rollback: "Service deployment rolled back because the circuit breaker threshold was exceeded.",
                cause: "circuit breaker",
                end: "ECS deployment circuit breaker: tasks failed to start.",
            },
            Self::Alarms(_) => Words {
                state: "ECS deployment failed: alarm detected.",
                event: "deployment failed: alarm detected.",
                rollback: "Service deployment rolled back because alarms were detected.",
                cause: "alarm detected",
                end: "Service deployment stopped because alarms were detected.",
            },
            Self::Request => Words {
                state: "ECS deployment stopped by request.",
                event: "",
                rollback: "Service deployment rolled back because of a StopServiceDeployment request.",
                cause: "rollback requested",
                end: "Service deployment stopped by request.",
            },
            Self::Hook => Words {
                state: "ECS deployment ended at a lifecycle hook.",
                event: "deployment failed: lifecycle hook failed.",
                rollback: "Service deployment rolled back because a lifecycle hook failed.",
                cause: "lifecycle hook",
                end: "Service deployment stopped because a lifecycle hook failed.",
            },
        }
    }
}

impl Service {
    /// A new PRIMARY deployment of `revision`. One that was still under way is superseded by it.
    pub(crate) fn begin_deployment(&mut self, revision: &str, behavior: &Behavior, epoch: f64) {
        if let Some(previous) = self.history.last_mut().filter(|previous| previous.status.is_ongoing())
            && behavior.superseded_service_deployment == SupersededServiceDeployment::Stopped
        {
            let reason = "Service deployment was superseded by a newer service deployment.".to_owned();
            previous.enter(DeploymentStatus::Stopped, Some(reason), epoch);
        }
        let mut sources: Vec<String> = self.deployments.iter().map(|deployment| deployment.revision.clone()).collect();
        sources.dedup();
        let mut record = ServiceDeployment::new(&self.arn, sources, revision, self.configuration.describe(), epoch);
        if let Some(rule) = &self.configuration.alarms {
            let are_ignored = !behavior.alarms.triggered(&rule.names).is_empty();
            record.alarms = AlarmMonitor { names: rule.names.clone(), triggered: Vec::new(), are_ignored };
        }
        // A first deployment has nothing to shift traffic from.
        let shifts = self.configuration.is_native() && !self.deployments.is_empty();
        record.lifecycle = shifts.then(Lifecycle::default);
        self.history.push(record);
        self.retire_primary();
        self.deployments.insert(0, Deployment::new(revision, self.desired, epoch));
        self.is_steady = false;
    }

    /// What the present PRIMARY deployment leaves behind when another takes its place.
    fn retire_primary(&mut self) {
        if let Some(primary) = self.deployments.first()
            && primary.rollout == Rollout::Completed
        {
            self.last_completed = Some(primary.clone());
        }
    }

    /// The PRIMARY deployment has all of its tasks, and no other is left.
    pub(super) fn complete(&mut self, epoch: f64) {
        let Some(primary) = self.deployments.first_mut() else { return };
        primary.rollout = Rollout::Completed;
        primary.reason = format!("ECS deployment {} completed.", primary.id);
        primary.updated_at = epoch;
        let message = format!("(deployment {}) deployment completed.", primary.id);
        let is_rollback = std::mem::take(&mut primary.pace.is_rollback);
        self.last_completed = Some(primary.clone());
        self.add_event(epoch, &message);
        if let Some(record) = self.history.last_mut().filter(|record| record.status.is_ongoing()) {
            match is_rollback {
                false => record.enter(DeploymentStatus::Successful, None, epoch),
                true => record.enter(record.rolled_back, None, epoch),
            }
        }
    }

    /// The circuit breaker tripped, or an alarm went off. Where there is nothing to go back to, the deployment stalls: what
    /// runs is left running and nothing is started for it any more.
    pub(super) fn trip(&mut self, cause: &Cause, behavior: &Behavior, now: Instant, epoch: f64) {
        let words = cause.words();
        let rolls_back = match cause {
            Cause::CircuitBreaker => self.configuration.breaker.rollback,
            Cause::Alarms(_) => self.configuration.alarms.as_ref().is_some_and(|alarms| alarms.rollback),
            Cause::Request | Cause::Hook => true,
        };
        let Some(primary) = self.deployments.first_mut() else { return };
        let was_rollback = primary.pace.is_rollback;
        fail(primary, words.state, now, epoch);
        let message = format!("(deployment {}) {}", primary.id, words.event);
        if !words.event.is_empty() {
            self.add_event(epoch, &message);
        }
        if let Some(record) = self.history.last_mut() {
            match cause {
                Cause::CircuitBreaker => record.breaker.status = "TRIGGERED",
                Cause::Alarms(names) => record.alarms.triggered.clone_from(names),
                Cause::Request if behavior.stopped_on_request == StoppedOnRequest::Stopped => {
                    record.rolled_back = DeploymentStatus::Stopped;
                }
                Cause::Request | Cause::Hook => {}
            }
        }
        if rolls_back && !was_rollback && self.last_completed.is_some() {
            self.roll_back(words.rollback, words.cause, behavior, epoch);
        } else if let Some(record) = self.history.last_mut() {
            let end = if was_rollback { DeploymentStatus::RollbackFailed } else { DeploymentStatus::Stopped };
            record.enter(end, Some(words.end.to_owned()), epoch);
        }
    }

    /// Makes the last completed deployment the PRIMARY one again: under its own id, or as a new one of its revision.
    fn roll_back(&mut self, reason: &str, cause: &str, behavior: &Behavior, epoch: f64) {
        let Some(good) = self.last_completed.take() else { return };
        let mut back = match behavior.rollback_primary {
            RollbackPrimary::FreshId => Deployment::new(&good.revision, self.desired, epoch),
            RollbackPrimary::ReusedId => {
                self.deployments.retain(|deployment| deployment.id != good.id);
                Deployment { pace: Default::default(), failed_tasks: 0, ..good }
            }
        };
        back.rollout = Rollout::InProgress;
        back.desired = self.desired;
        back.updated_at = epoch;
        back.pace.is_rollback = true;
        back.reason = format!("ECS deployment {cause}: rolling back to deploymentId {}.", back.id);
        self.add_event(epoch, &format!("rolling back to deployment {}.", back.id));
        if let Some(record) = self.history.last_mut() {
            record.rollback =
                Some(Rollback { reason: reason.to_owned(), started_at: epoch, revision: back.revision.clone() });
            record.enter(DeploymentStatus::RollbackInProgress, Some(reason.to_owned()), epoch);
            if let Some(lifecycle) = &mut record.lifecycle {
                lifecycle.take_back();
            }
        }
        self.deployments.insert(0, back);
        self.is_steady = false;
    }
}

fn fail(deployment: &mut Deployment, reason: &str, now: Instant, epoch: f64) {
    deployment.rollout = Rollout::Failed;
    reason.clone_into(&mut deployment.reason);
    deployment.updated_at = epoch;
    deployment.pace.failed_at = Some(now);
}
