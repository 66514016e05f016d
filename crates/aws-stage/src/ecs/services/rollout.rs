//! How a deployment begins, completes, fails and goes back.

use std::time::Instant;

use super::history::{DeploymentStatus, Rollback, ServiceDeployment};
use super::model::{Deployment, Rollout, Service};
use crate::behavior::{Behavior, RollbackPrimary, SupersededServiceDeployment};

/// `rolloutStateReason` of a deployment that the circuit breaker ended.
const FAILED: &str = "ECS deployment circuit breaker: tasks failed to start.";

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
        self.history.push(ServiceDeployment::new(&self.arn, sources, revision, self.configuration.describe(), epoch));
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
                true => record.enter(DeploymentStatus::RollbackSuccessful, None, epoch),
            }
        }
    }

    /// The circuit breaker tripped. Where there is nothing to go back to, the deployment stalls: what runs is left
    /// running and nothing is started for it any more.
    pub(super) fn trip(&mut self, behavior: &Behavior, now: Instant, epoch: f64) {
        let rolls_back = self.configuration.breaker.rollback;
        let Some(primary) = self.deployments.first_mut() else { return };
        let was_rollback = primary.pace.is_rollback;
        fail(primary, FAILED, now, epoch);
        let message = format!("(deployment {}) deployment failed: tasks failed to start.", primary.id);
        self.add_event(epoch, &message);
        if let Some(record) = self.history.last_mut() {
            record.breaker.status = "TRIGGERED";
        }
        if rolls_back && !was_rollback && self.last_completed.is_some() {
            let reason = "Service deployment rolled back because the circuit breaker threshold was exceeded.";
            self.roll_back(reason, "circuit breaker", behavior, epoch);
        } else if let Some(record) = self.history.last_mut() {
            let end = if was_rollback { DeploymentStatus::RollbackFailed } else { DeploymentStatus::Stopped };
            record.enter(end, Some(FAILED.to_owned()), epoch);
        }
    }

    /// Somebody asked for the end of the deployment (StopServiceDeployment).
    pub(super) fn abandon(&mut self, behavior: &Behavior, now: Instant, epoch: f64) {
        let Some(primary) = self.deployments.first_mut() else { return };
        fail(primary, "ECS deployment stopped by request.", now, epoch);
        let reason = "Service deployment rolled back because of a StopServiceDeployment request.";
        if self.last_completed.is_some() {
            self.roll_back(reason, "rollback requested", behavior, epoch);
        } else if let Some(record) = self.history.last_mut() {
            record.enter(DeploymentStatus::Stopped, Some("Service deployment stopped by request.".to_owned()), epoch);
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
