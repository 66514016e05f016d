//! Which tasks are healthy, which fail, and what a failure does to a deployment.

use super::cluster_view::{ClusterView, Target};
use super::model::{Rollout, Service};
use super::scheduler::Action;
use crate::ecs::task::{Health, Status, TaskView};

/// From RUNNING to the registration with the target groups.
const REGISTRATION_SECONDS: f64 = 10.0;
/// The pause after the first failure; it doubles with every further one.
const FIRST_PAUSE_SECONDS: f64 = 10.0;
const LONGEST_PAUSE_SECONDS: f64 = 60.0;
/// Failures in a row after which the service says that it cannot start tasks.
const CONSISTENT_FAILURES: u32 = 3;

impl Service {
    /// `is_health` tells a failed health check from a task that did not stay up by itself.
    pub(super) fn count_failure(
        &mut self,
        deployment: &str,
        was_healthy: bool,
        is_health: bool,
        cluster: &ClusterView,
    ) {
        let is_primary = self.primary().is_some_and(|primary| primary.id == deployment);
        let Some(deployment) = self.deployments.iter_mut().find(|candidate| candidate.id == deployment) else { return };
        let is_counted = is_health || !deployment.pace.had_healthy_task;
        if is_primary && deployment.rollout == Rollout::InProgress && is_counted {
            deployment.failed_tasks += 1;
            deployment.updated_at = cluster.epoch;
        }
        if was_healthy {
            return;
        }
        let pace = &mut deployment.pace;
        let pause = FIRST_PAUSE_SECONDS * f64::from(2_u32.pow(pace.failures_in_a_row.min(8)));
        pace.failures_in_a_row += 1;
        pace.not_before = Some(cluster.now + cluster.behavior.waiting(pause.min(LONGEST_PAUSE_SECONDS)));
        if pace.failures_in_a_row >= CONSISTENT_FAILURES && !pace.reported_unable_to_start {
            pace.reported_unable_to_start = true;
            self.add_event(
                cluster.epoch,
                "is unable to consistently start tasks successfully. For more information, see the Troubleshooting \
                 section of the Amazon ECS Developer Guide.",
            );
        }
    }

    pub(super) fn register_targets(&mut self, cluster: &ClusterView, actions: &mut Vec<Action>) {
        let mut registered: Vec<(String, usize)> = Vec::new();
        let delay = cluster.behavior.waiting(REGISTRATION_SECONDS);
        for view in cluster.tasks.iter().filter(|view| view.is_wanted && view.status == Status::Running) {
            let Some(watch) = self.watched.get(&view.arn).filter(|watch| watch.is_live()) else { continue };
            if view.running_since.is_none_or(|since| cluster.now < since + delay) {
                continue;
            }
            for balancer in self.load_balancers(&watch.deployment) {
                let address = view.containers.iter().find(|container| container.name == balancer.container);
                let address =
                    address.and_then(|container| container.ports.iter().find(|(port, _)| *port == balancer.port));
                let Some((_, address)) = address else { continue };
                let Some(watch) = self.watched.get_mut(&view.arn) else { continue };
                if watch.groups.contains(&balancer.target_group) {
                    continue;
                }
                watch.groups.push(balancer.target_group.clone());
                match registered.iter_mut().find(|(group, _)| *group == balancer.target_group) {
                    Some((_, count)) => *count += 1,
                    None => registered.push((balancer.target_group.clone(), 1)),
                }
                let (group, task) = (balancer.target_group, view.id.clone());
                actions.push(Action::Register { group, task, address: *address });
            }
        }
        for (group, count) in registered {
            self.add_event(cluster.epoch, &format!("registered {count} targets in (target-group {group})"));
        }
    }

    /// Replaces tasks whose health checks fail once their grace period is over, and notices the healthy ones.
    pub(super) fn judge_health(&mut self, cluster: &ClusterView, actions: &mut Vec<Action>) {
        for view in cluster.tasks {
            let Some(watch) = self.watched.get(&view.arn).filter(|watch| watch.is_live() && view.is_wanted) else {
                continue;
            };
            let (deployment, was_healthy) = (watch.deployment.clone(), watch.was_healthy);
            if self.is_healthy(view, cluster) {
                self.note_healthy(&view.arn, &deployment);
            } else if let Some((event, reason)) = self.failed_check(view, cluster) {
                self.add_event(cluster.epoch, &event);
                self.count_failure(&deployment, was_healthy, true, cluster);
                if self.retire(&view.arn, &reason, actions) {
                    self.add_event(cluster.epoch, "has begun draining connections on 1 tasks.");
                }
            }
        }
    }

    fn note_healthy(&mut self, task: &str, deployment: &str) {
        let Some(watch) = self.watched.get_mut(task) else { return };
        if std::mem::replace(&mut watch.was_healthy, true) {
            return;
        }
        let resets = self.configuration.breaker.reset_on_healthy_task;
        if let Some(deployment) = self.deployments.iter_mut().find(|candidate| candidate.id == *deployment) {
            deployment.pace.had_healthy_task = true;
            deployment.pace.failures_in_a_row = 0;
            deployment.pace.not_before = None;
            if resets && deployment.rollout == Rollout::InProgress {
                deployment.failed_tasks = 0;
            }
        }
    }

    /// The event and the stopped reason for a task that fails a health check.
    fn failed_check(&self, view: &TaskView, cluster: &ClusterView) -> Option<(String, String)> {
        let grace = cluster.behavior.patience(self.grace_seconds());
        let watch = self.watched.get(&view.arn)?;
        let is_in_grace = view.running_since.is_none_or(|since| cluster.now < since + grace);
        // A failure that was asked for need not be waited for.
        if is_in_grace && !watch.is_made_to_fail {
            return None;
        }
        let balancers = self.load_balancers(&watch.deployment);
        let has_check = self.deployment_revision(&watch.deployment).is_some_and(|revision| revision.has_health_check());
        let is_unhealthy = view.health == Health::Unhealthy;
        if is_unhealthy && (has_check || balancers.is_empty()) {
            let event = format!("(task {}) failed container health checks.", view.id);
            return Some((event, "Task failed container health checks".to_owned()));
        }
        balancers.into_iter().find_map(|balancer| {
            let group = &balancer.target_group;
            let why = match (cluster.target)(group, &view.id) {
                Target::Unhealthy(why) => why,
                Target::Healthy if watch.is_made_to_fail => "Health checks failed".to_owned(),
                _ if is_unhealthy => "Health checks failed".to_owned(),
                _ => return None,
            };
            let (id, port) = (&view.id, balancer.port);
            Some((
                format!("(task {id}) (port {port}) is unhealthy in (target-group {group}) due to (reason {why})."),
                format!("Task failed ELB health checks in (target-group {group})"),
            ))
        })
    }

    /// Healthy in every target group and by its own checks; without either, settled after RUNNING.
    pub(super) fn is_healthy(&self, view: &TaskView, cluster: &ClusterView) -> bool {
        let Some(watch) = self.watched.get(&view.arn).filter(|watch| watch.is_live()) else { return false };
        if watch.is_made_to_fail
            || !view.is_wanted
            || view.status != Status::Running
            || view.health == Health::Unhealthy
        {
            return false;
        }
        let balancers = self.load_balancers(&watch.deployment);
        let has_check = self.deployment_revision(&watch.deployment).is_some_and(|revision| revision.has_health_check());
        if balancers.is_empty() && !has_check {
            return view.running_since.is_some_and(|since| cluster.now >= since + cluster.behavior.settling);
        }
        let is_balanced =
            balancers.iter().all(|balancer| (cluster.target)(&balancer.target_group, &view.id) == Target::Healthy);
        is_balanced && (!has_check || view.health == Health::Healthy)
    }
}
