//! One moment of a cluster.

use std::time::Instant;

use crate::behavior::Behavior;
use crate::ecs::task::TaskView;

/// What the scheduler sees.
pub(crate) struct ClusterView<'a> {
    pub behavior: &'a Behavior,
    pub now: Instant,
    /// The same moment in epoch seconds.
    pub epoch: f64,
    /// Tasks of the service's group; others are not looked at.
    pub tasks: &'a [TaskView],
    /// Health of a task (by id) in a target group (by ARN).
    pub target: &'a dyn Fn(&str, &str) -> Target,
}

/// Health of a task in one target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Not registered, or no longer: its connections have drained.
    Absent,
    /// Not decided yet, or draining.
    Undecided,
    Healthy,
    /// With the reason, as DescribeTargetHealth words it.
    Unhealthy(String),
}
