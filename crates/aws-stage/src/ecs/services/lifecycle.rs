//! The stages of a deployment that shifts traffic: BLUE_GREEN, LINEAR and CANARY.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-stages.html>. Both revisions run at full
//! size from SCALE_UP until CLEAN_UP. At a PAUSE hook the deployment waits for ContinueServiceDeployment.

use std::time::Instant;

use serde_json::{Value, json};

use super::configuration::{Hook, Strategy};
use super::history::DeploymentStatus;
use super::model::Service;
use super::rollout::Cause;
use super::scheduler::ClusterView;
use crate::behavior::Behavior;
use crate::request::random_hex;

/// What AWS itself takes for a stage in which nothing is waited for.
const STAGE_SECONDS: f64 = 10.0;
/// A hook before each shift of production traffic, which is no stage of its own.
const BEFORE_PRODUCTION: &str = "PRE_PRODUCTION_TRAFFIC_SHIFT";

/// `lifecycleStage`, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Stage {
    #[default]
    ReconcileService,
    PreScaleUp,
    ScaleUp,
    PostScaleUp,
    TestTrafficShift,
    PostTestTrafficShift,
    ProductionTrafficShift,
    PostProductionTrafficShift,
    BakeTime,
    CleanUp,
}

impl Stage {
    const ALL: [(Stage, &'static str); 10] = [
        (Stage::ReconcileService, "RECONCILE_SERVICE"),
        (Stage::PreScaleUp, "PRE_SCALE_UP"),
        (Stage::ScaleUp, "SCALE_UP"),
        (Stage::PostScaleUp, "POST_SCALE_UP"),
        (Stage::TestTrafficShift, "TEST_TRAFFIC_SHIFT"),
        (Stage::PostTestTrafficShift, "POST_TEST_TRAFFIC_SHIFT"),
        (Stage::ProductionTrafficShift, "PRODUCTION_TRAFFIC_SHIFT"),
        (Stage::PostProductionTrafficShift, "POST_PRODUCTION_TRAFFIC_SHIFT"),
        (Stage::BakeTime, "BAKE_TIME"),
        (Stage::CleanUp, "CLEAN_UP"),
    ];

    /// AWS's spelling.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(stage, _)| *stage == self).map_or("", |(_, word)| word)
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|(stage, _)| *stage == self).unwrap_or_default();
        Self::ALL.get(at + 1).map_or(Self::CleanUp, |(stage, _)| *stage)
    }
}

/// Where the deployment is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifecycle {
    pub stage: Stage,
    /// Percent of the production traffic that the new revision gets.
    pub weight: f64,
    /// Percent of the test traffic.
    pub test_weight: f64,
    since: Option<Instant>,
    /// Every hook that has been reached, the last one possibly still waiting.
    hooks: Vec<ReachedHook>,
}

/// An item of `lifecycleHookDetails`.
#[derive(Clone, Debug)]
struct ReachedHook {
    id: String,
    /// The hook's stage, and the production weight at which it was reached.
    at: (String, f64),
    status: &'static str,
    expires: Instant,
    expires_at: f64,
    continues: bool,
}

impl Lifecycle {
    pub(crate) fn describe_hooks(&self) -> Value {
        let hook = |hook: &ReachedHook| {
            json!({
                "hookId": hook.id, "targetType": "PAUSE", "status": hook.status, "expiresAt": hook.expires_at,
                "timeoutAction": if hook.continues { "CONTINUE" } else { "ROLLBACK" },
            })
        };
        self.hooks.iter().map(hook).collect()
    }

    /// A rollback gives all traffic back to the old revision.
    pub(crate) fn take_back(&mut self) {
        (self.weight, self.test_weight) = (0.0, 0.0);
        for hook in self.hooks.iter_mut().filter(|hook| hook.status == "AWAITING_ACTION") {
            hook.status = "FAILED";
        }
    }

    /// Ends the wait at a hook. False: no hook of that id waits.
    pub(crate) fn act_on(&mut self, hook_id: &str, continues: bool) -> bool {
        let waiting = self.hooks.iter_mut().find(|hook| hook.id == hook_id && hook.status == "AWAITING_ACTION");
        waiting.map(|hook| hook.status = if continues { "SUCCEEDED" } else { "FAILED" }).is_some()
    }

    /// Whether the hooks of `stage` let the deployment go on; reaches them if they have not been.
    fn passes(&mut self, stage: &str, hooks: &[Hook], cluster: &ClusterView) -> Gate {
        let Some(hook) = hooks.iter().find(|hook| hook.stages.iter().any(|of| of == stage)) else { return Gate::Open };
        let at = (stage.to_owned(), if stage == BEFORE_PRODUCTION { self.weight } else { 0.0 });
        let seconds = hook.timeout_minutes * 60.0;
        let Some(reached) = self.hooks.iter_mut().find(|reached| reached.at == at) else {
            self.hooks.push(ReachedHook {
                id: random_hex(11),
                at,
                status: "AWAITING_ACTION",
                expires: cluster.now + cluster.behavior.waiting(seconds),
                expires_at: cluster.epoch + seconds,
                continues: hook.continues,
            });
            return Gate::Waiting;
        };
        if reached.status == "AWAITING_ACTION" && cluster.now >= reached.expires {
            reached.status = "TIMED_OUT";
        }
        match (reached.status, reached.continues) {
            ("SUCCEEDED", _) | ("TIMED_OUT", true) => Gate::Open,
            ("AWAITING_ACTION", _) => Gate::Waiting,
            _ => Gate::Closed,
        }
    }
}

enum Gate {
    Open,
    Waiting,
    Closed,
}

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
