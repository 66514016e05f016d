//! A service on its way to another revision.

use fargate_deploy_core::cause::Cause;
use fargate_deploy_core::names::ServiceDeploymentArn;
use fargate_deploy_core::rollout::{Rollout, Target};
use tokio::time::Instant;

/// A deployment that ECS accepted.
#[derive(Debug)]
pub struct RolloutInProgress {
    pub rollout: Rollout,
    pub target: Target,
    pub began: Instant,
    /// Our clock when UpdateService was sent, in seconds since the epoch.
    pub since: f64,
    /// A crash loop is a failure, whatever the circuit breaker's threshold.
    pub fails_fast: bool,
    /// Why its tasks end, once that was said.
    pub explained: Option<Cause>,
}

impl RolloutInProgress {
    pub fn new(target: Target, seen_events: Vec<String>, since: f64) -> Self {
        Self {
            rollout: Rollout::new(target.clone(), seen_events),
            target,
            began: Instant::now(),
            since,
            fails_fast: false,
            explained: None,
        }
    }

    /// The same deployment once more, from its beginning: how it ended is no answer any more. `seen_events` are no news.
    #[must_use]
    pub fn again(&self, seen_events: Vec<String>) -> Self {
        Self { fails_fast: self.fails_fast, ..Self::new(self.target.clone(), seen_events, self.since) }
    }

    /// Where the ServiceDeployments API has shown it.
    pub fn service_deployment(&self) -> Option<&ServiceDeploymentArn> {
        self.rollout.service_deployment()
    }

    /// The same deployment, after ECS was told to take it back.
    #[must_use]
    pub fn going_back(self, reason: &str) -> Self {
        Self { rollout: self.rollout.going_back(reason), began: Instant::now(), fails_fast: false, ..self }
    }
}
