//! The stages of a deployment that shifts traffic: BLUE_GREEN, LINEAR and CANARY.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-stages.html>. Both revisions run at full
//! size from SCALE_UP until CLEAN_UP. At a PAUSE hook the deployment waits for ContinueServiceDeployment.

use super::cluster_view::ClusterView;
use super::configuration::Strategy;
use super::history::DeploymentStatus;
use super::model::Service;
use super::rollout::Cause;
use super::traffic::{BEFORE_PRODUCTION, Gate, Lifecycle, Stage};
use crate::behavior::Behavior;

/// What AWS itself takes for a stage in which nothing is waited for.
const STAGE_SECONDS: f64 = 10.0;

impl Service {
    /// The shift of traffic that is under way. A rollback and a first deployment shift nothing.
    pub(crate) fn traffic_shift(&self) -> Option<&Lifecycle> {
        let record = self.history.last()?;
        let is_shifting = matches!(
            record.status,
            DeploymentStatus::Pending | DeploymentStatus::InProgress | DeploymentStatus::RollbackRequested
        );
        record.lifecycle.as_ref().filter(|_| is_shifting)
    }

    /// Takes the deployment to its next stage, if it is time.
    pub(super) fn follow_lifecycle(&mut self, cluster: &ClusterView) {
        let is_scaled_up = self.is_scaled_up(cluster);
        let (strategy, bake_minutes, hooks) =
            (self.configuration.strategy, self.configuration.bake_minutes, self.configuration.hooks.clone());
        let Some(record) = self.history.last_mut().filter(|last| last.status == DeploymentStatus::InProgress) else {
            return;
        };
        let Some(lifecycle) = &mut record.lifecycle else { return };
        let since = *lifecycle.since.get_or_insert(cluster.now);
        let stage = lifecycle.stage;
        let passes = |seconds: f64, behavior: &Behavior| cluster.now >= since + behavior.waiting(seconds);
        let is_done = match stage {
            Stage::ScaleUp => is_scaled_up,
            Stage::ProductionTrafficShift => {
                let (step, minutes) = match strategy {
                    Strategy::Linear { percent, bake_minutes } => (percent, bake_minutes),
                    Strategy::Canary { percent, bake_minutes } if lifecycle.weight == 0.0 => (percent, bake_minutes),
                    Strategy::Canary { bake_minutes, .. } => (100.0, bake_minutes),
                    Strategy::BlueGreen | Strategy::Rolling => (100.0, 0.0),
                };
                let is_due = lifecycle.weight == 0.0 || passes(minutes * 60.0, cluster.behavior);
                if lifecycle.weight < 100.0 && is_due {
                    match lifecycle.passes(BEFORE_PRODUCTION, &hooks, cluster) {
                        Gate::Open => {
                            lifecycle.weight = (lifecycle.weight + step).min(100.0);
                            lifecycle.since = Some(cluster.now);
                        }
                        Gate::Waiting => {}
                        Gate::Closed => return self.trip(&Cause::Hook, cluster.behavior, cluster.now, cluster.epoch),
                    }
                    return;
                }
                lifecycle.weight >= 100.0 && passes(STAGE_SECONDS, cluster.behavior)
            }
            Stage::BakeTime => passes(bake_minutes * 60.0, cluster.behavior),
            Stage::CleanUp => false,
            _ => passes(STAGE_SECONDS, cluster.behavior),
        };
        if !is_done {
            return;
        }
        match lifecycle.passes(stage.word(), &hooks, cluster) {
            Gate::Open => {}
            Gate::Waiting => return,
            Gate::Closed => return self.trip(&Cause::Hook, cluster.behavior, cluster.now, cluster.epoch),
        }
        lifecycle.stage = stage.next();
        lifecycle.since = Some(cluster.now);
        if lifecycle.stage == Stage::TestTrafficShift {
            lifecycle.test_weight = 100.0;
        }
    }

    /// Every task of the new revision is there and healthy.
    fn is_scaled_up(&self, cluster: &ClusterView) -> bool {
        let Some(primary) = self.primary() else { return false };
        let of_primary = cluster.tasks.iter().filter(|view| view.spec.started_by.as_deref() == Some(&primary.id));
        of_primary.filter(|view| self.is_healthy(view, cluster)).count() >= self.desired
    }
}
