//! A service on its way to another revision.

use fargate_deploy_core::names::ServiceDeploymentArn;
use fargate_deploy_core::rollout::{Rollout, Target};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A deployment that ECS accepted.
#[derive(Debug)]
pub struct Moving {
    pub rollout: Rollout,
    pub target: Target,
    pub began: Instant,
    /// Our clock when UpdateService was sent, in seconds since the epoch.
    pub since: f64,
    /// A crash loop is a failure, whatever the circuit breaker's threshold.
    pub fails_fast: bool,
}

impl Moving {
    pub fn new(target: Target, seen_events: Vec<String>, since: f64) -> Self {
        Self {
            rollout: Rollout::new(target.clone(), seen_events),
            target,
            began: Instant::now(),
            since,
            fails_fast: false,
        }
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

/// Our clock, in seconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "compared with the times in AWS's answers, with a margin")]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
