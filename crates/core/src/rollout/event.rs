//! What is new in an observation, as data.

use crate::kinds;

kinds! {
/// A change of a deployment that is followed. Each is told once.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "news", rename_all = "kebab-case")]
pub enum RolloutEvent {
    /// Tasks started or ended.
    Tasks { running: i64, desired: i64, pending: i64 },
    /// Tasks failed to start; `threshold` of them trip the circuit breaker, where that is known.
    TaskFailures { failures: i64, threshold: Option<i64> },
    /// ECS puts the previous revision back.
    RollingBack { reason: String },
    /// A deployment with lifecycle stages reached one.
    LifecycleStage { stage: String },
    /// A hook waits for a person.
    PausedByHook { hook: String },
    /// An alarm of the deployment went off.
    AlarmTriggered { alarm: String },
    /// ECS says that the deployment completed, and fewer tasks run than should.
    CompletedShort { running: i64, desired: i64 },
    /// A message in the service's events.
    ServiceEvent { message: String },
}
}
