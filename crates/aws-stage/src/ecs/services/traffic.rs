//! Where a deployment that shifts traffic is: its stage, the weights, and the hooks that it has reached.

use std::time::Instant;

use serde_json::{Value, json};

use super::cluster_view::ClusterView;
use super::configuration::Hook;
use crate::request::random_hex;

/// A hook before each shift of production traffic, which is no stage of its own.
pub(super) const BEFORE_PRODUCTION: &str = "PRE_PRODUCTION_TRAFFIC_SHIFT";

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

    pub(super) fn next(self) -> Self {
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
    pub(super) since: Option<Instant>,
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
    pub(super) fn passes(&mut self, stage: &str, hooks: &[Hook], cluster: &ClusterView) -> Gate {
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

pub(super) enum Gate {
    Open,
    Waiting,
    Closed,
}
