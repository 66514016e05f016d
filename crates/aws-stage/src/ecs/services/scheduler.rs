//! The service scheduler: given the tasks and the health of their targets at one moment, what to start and what to stop.
//!
//! No clock, no containers and no network in here: [`Service::step`] turns a [`ClusterView`] into [`Action`]s.

use std::net::SocketAddr;

use super::cluster_view::{ClusterView, Target};
use super::history::{Counts, DeploymentStatus};
use super::model::{Pins, Retiring, Rollout, Service, ServiceStatus, Watch};
use super::rollout::Cause;
use super::traffic::Stage;
use crate::behavior::InjectedFailure;
use crate::ecs::task::{Status, TaskSpec, TaskView};

/// A deployment that failed stays visible for about this long.
const FAILED_VISIBLE_SECONDS: f64 = 60.0;

/// AWS computes how long it watches the alarms of a deployment after its last task is healthy; minutes.
const BAKE_SECONDS: f64 = 300.0;

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Ask which digests the images of the revision stand for, and answer with [`Service::resolved`].
    Resolve {
        revision: String,
        images: Vec<(String, String)>,
    },
    Start(Box<TaskSpec>),
    Stop {
        task: String,
        reason: String,
    },
    Register {
        group: String,
        task: String,
        address: SocketAddr,
    },
    Deregister {
        group: String,
        task: String,
    },
}

/// A task as the scheduler judges it.
struct Judged<'a> {
    view: &'a TaskView,
    is_healthy: bool,
}

impl Service {
    /// One look at the cluster.
    pub(crate) fn step(&mut self, cluster: &ClusterView) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.status == ServiceStatus::Inactive {
            return actions;
        }
        self.notice_new_tasks(cluster);
        self.notice_ended_tasks(cluster, &mut actions);
        self.register_targets(cluster, &mut actions);
        self.judge_health(cluster, &mut actions);
        if self.status == ServiceStatus::Active {
            self.follow_record(cluster);
            self.schedule(cluster, &mut actions);
            self.scale_in(cluster, &mut actions);
        } else {
            self.retire_where(cluster, &mut actions, usize::MAX, |_| true);
        }
        self.stop_drained(cluster, &mut actions);
        self.count(cluster);
        self.forget_replaced(cluster);
        self.settle(cluster);
        actions
    }

    /// The answer to [`Action::Resolve`]: digest by container name of what could be resolved.
    pub(crate) fn resolved(&mut self, revision: &str, digests: Vec<(String, String)>) {
        if let Some(revision) = self.revisions.iter_mut().find(|candidate| candidate.arn == revision) {
            revision.pins = Pins::Known(digests);
        }
    }

    fn notice_new_tasks(&mut self, cluster: &ClusterView) {
        let mut started = Vec::new();
        let is_made_to_fail = cluster.behavior.failure_injection.get() == InjectedFailure::UnhealthyNewTasks;
        for view in cluster.tasks {
            let Some(deployment) = &view.spec.started_by else { continue };
            let is_ours = self.deployments.iter().any(|candidate| candidate.id == *deployment);
            if is_ours && !self.watched.contains_key(&view.arn) {
                self.watched.insert(view.arn.clone(), Watch::new(&view.id, deployment, is_made_to_fail));
                started.push(format!("(task {})", view.id));
            }
        }
        if !started.is_empty() {
            self.add_event(cluster.epoch, &format!("has started {} tasks: {}.", started.len(), started.join(" ")));
        }
    }

    fn notice_ended_tasks(&mut self, cluster: &ClusterView, actions: &mut Vec<Action>) {
        for view in cluster.tasks.iter().filter(|view| !view.is_wanted || view.status > Status::Running) {
            let Some(watch) = self.watched.get_mut(&view.arn) else { continue };
            for group in watch.groups.drain(..) {
                if watch.retiring.is_none() {
                    actions.push(Action::Deregister { group, task: view.id.clone() });
                }
            }
            if view.status == Status::Stopped && !watch.is_closed {
                watch.is_closed = true;
                if watch.retiring.is_none() && view.stop_code.as_deref() != Some("UserInitiated") {
                    let (deployment, was_healthy) = (watch.deployment.clone(), watch.was_healthy);
                    self.count_failure(&deployment, was_healthy, false, cluster);
                }
            }
        }
    }

    /// Keeps the service deployment's record, and acts on what was asked of it or found by the breaker.
    fn follow_record(&mut self, cluster: &ClusterView) {
        let Some(primary) = self.primary() else { return };
        let (failed, rollout) = (primary.failed_tasks, primary.rollout);
        let breaker = &self.configuration.breaker;
        let (threshold, is_enabled) = (breaker.threshold(self.desired), breaker.enable);
        if let Some(record) = self.history.last_mut().filter(|record| record.status.is_ongoing()) {
            if record.status == DeploymentStatus::Pending {
                record.enter(DeploymentStatus::InProgress, None, cluster.epoch);
            }
            if record.status != DeploymentStatus::RollbackInProgress {
                record.breaker.failure_count = failed;
                record.breaker.threshold = threshold;
                record.breaker.status = if is_enabled { "MONITORING" } else { "DISABLED" };
            }
            if record.status == DeploymentStatus::RollbackRequested {
                self.trip(&Cause::Request, cluster.behavior, cluster.now, cluster.epoch);
                return;
            }
        }
        let is_in_progress = rollout == Rollout::InProgress;
        // The circuit breaker is one of rolling deployments only.
        if is_in_progress && is_enabled && failed >= threshold && !self.configuration.is_native() {
            return self.trip(&Cause::CircuitBreaker, cluster.behavior, cluster.now, cluster.epoch);
        }
        let triggered = self.triggered_alarms(cluster);
        if is_in_progress && !triggered.is_empty() {
            return self.trip(&Cause::Alarms(triggered), cluster.behavior, cluster.now, cluster.epoch);
        }
        self.follow_lifecycle(cluster);
    }

    /// Alarms that end the present deployment. Those that were in ALARM from its start end nothing, and a rollback is not
    /// watched.
    fn triggered_alarms(&self, cluster: &ClusterView) -> Vec<String> {
        let record = self.history.last().filter(|record| record.status == DeploymentStatus::InProgress);
        match (&self.configuration.alarms, record) {
            (Some(rule), Some(record)) if !record.alarms.are_ignored => cluster.behavior.alarms.triggered(&rule.names),
            _ => Vec::new(),
        }
    }

    /// Starts what is missing and takes away what has been replaced, within minimum and maximum.
    fn schedule(&mut self, cluster: &ClusterView, actions: &mut Vec<Action>) {
        let Some(primary) = self.primary().cloned() else { return };
        let shift = self.traffic_shift().map(|lifecycle| lifecycle.stage);
        let (minimum, maximum) = match shift {
            Some(_) => (self.desired, self.desired * 2),
            None => (self.configuration.minimum(self.desired), self.configuration.maximum(self.desired)),
        };
        let occupied = cluster
            .tasks
            .iter()
            .filter(|view| view.status <= Status::Running && self.watched.contains_key(&view.arn))
            .count();
        let room = maximum.saturating_sub(occupied);
        if primary.rollout == Rollout::Failed {
            self.replace_old(cluster, room, actions);
            return;
        }
        let live = self.judged(cluster);
        let of_primary = live.iter().filter(|task| deployment_of(task.view) == primary.id).count();
        let healthy = live.iter().filter(|task| task.is_healthy).count();
        let healthy_of_primary =
            live.iter().filter(|task| task.is_healthy && deployment_of(task.view) == primary.id).count();
        let all_are_healthy = healthy == live.len();
        drop(live);

        let may_start = shift.is_none_or(|stage| stage >= Stage::ScaleUp);
        let may_retire = shift.is_none_or(|stage| stage == Stage::CleanUp);
        let missing = if may_start { self.desired.saturating_sub(of_primary) } else { 0 };
        let starting = missing.min(room);
        if primary.pace.not_before.is_none_or(|at| cluster.now >= at) && starting > 0 {
            self.start(&primary.id, starting, actions);
        }
        let mut retired = 0;
        if !may_retire {
            self.replace_old(cluster, room - starting, actions);
            return;
        }
        if healthy_of_primary >= self.desired {
            self.deployments.iter_mut().skip(1).for_each(|old| old.desired = 0);
            retired += self.retire_where(cluster, actions, usize::MAX, |task| deployment_of(task.view) != primary.id);
        } else {
            let unsound = self.unsound_deployments();
            retired += self.retire_where(cluster, actions, usize::MAX, |task| {
                !task.is_healthy && unsound.iter().any(|id| id == deployment_of(task.view))
            });
            if missing > 0 && room == 0 {
                retired += self.retire_where(cluster, actions, missing, |task| {
                    !task.is_healthy && deployment_of(task.view) != primary.id
                });
            }
            let surplus = healthy.saturating_sub(minimum);
            retired += self.retire_where(cluster, actions, surplus, |task| {
                task.is_healthy && deployment_of(task.view) != primary.id
            });
            self.replace_old(cluster, room - starting, actions);
        }
        if missing > 0 && starting == 0 && retired == 0 && all_are_healthy && !self.is_anything_retiring(cluster) {
            self.tell_stuck(cluster);
        }
    }

    fn tell_stuck(&mut self, cluster: &ClusterView) {
        let Some(primary) = self.deployments.first_mut() else { return };
        if !std::mem::replace(&mut primary.pace.reported_stuck, true) {
            self.add_event(
                cluster.epoch,
                "was unable to stop or start tasks during a deployment because of the service deployment \
                 configuration. Update the minimumHealthyPercent or maximumPercent value and try again.",
            );
        }
    }

    /// Tasks of an old deployment that end by themselves are replaced by tasks of the same revision.
    fn replace_old(&mut self, cluster: &ClusterView, mut room: usize, actions: &mut Vec<Action>) {
        let live: Vec<String> = self.judged(cluster).iter().map(|task| deployment_of(task.view).to_owned()).collect();
        let sound: Vec<_> =
            self.deployments.iter().skip(1).filter(|old| old.rollout == Rollout::Completed).cloned().collect();
        for old in sound {
            let missing = old.desired.saturating_sub(live.iter().filter(|id| **id == old.id).count()).min(room);
            if missing > 0 && old.pace.not_before.is_none_or(|at| cluster.now >= at) {
                self.start(&old.id, missing, actions);
                room -= missing;
            }
        }
    }

    /// Old deployments that never completed: their tasks are worth nothing until they are healthy.
    fn unsound_deployments(&self) -> Vec<String> {
        let olds = self.deployments.iter().skip(1);
        olds.filter(|old| old.rollout != Rollout::Completed).map(|old| old.id.clone()).collect()
    }

    /// Takes away tasks beyond the desired count, those that are not healthy first.
    fn scale_in(&mut self, cluster: &ClusterView, actions: &mut Vec<Action>) {
        let desired = self.desired;
        let Some(primary) = self.deployments.first_mut() else { return };
        primary.desired = desired;
        let id = primary.id.clone();
        let of_primary = self.judged(cluster).iter().filter(|task| deployment_of(task.view) == id).count();
        let excess = of_primary.saturating_sub(desired);
        let unhealthy =
            self.retire_where(cluster, actions, excess, |task| !task.is_healthy && deployment_of(task.view) == id);
        self.retire_where(cluster, actions, excess - unhealthy, |task| deployment_of(task.view) == id);
    }

    fn start(&mut self, deployment: &str, count: usize, actions: &mut Vec<Action>) {
        let Some(arn) =
            self.deployments.iter().find(|candidate| candidate.id == deployment).map(|d| d.revision.clone())
        else {
            return;
        };
        let Some(revision) = self.revisions.iter_mut().find(|revision| revision.arn == arn) else { return };
        match revision.pins.clone() {
            Pins::Asked => {}
            Pins::Unknown => {
                revision.pins = Pins::Asked;
                actions.push(Action::Resolve { images: revision.pinned_images(), revision: arn });
            }
            Pins::Known(digests) => {
                if digests.len() < revision.pinned_images().len() {
                    revision.pins = Pins::Unknown;
                }
                let spec = self.task_spec(&arn, deployment, digests);
                actions.extend(spec.into_iter().flat_map(|spec| vec![Action::Start(Box::new(spec)); count]));
            }
        }
    }

    /// Lets up to `limit` live tasks that fit drain and stop, and answers how many.
    fn retire_where(
        &mut self,
        cluster: &ClusterView,
        actions: &mut Vec<Action>,
        limit: usize,
        fits: impl Fn(&Judged) -> bool,
    ) -> usize {
        let judged = self.judged(cluster);
        let chosen: Vec<String> =
            judged.iter().filter(|task| fits(task)).take(limit).map(|task| task.view.arn.clone()).collect();
        let reason = match self.primary() {
            Some(primary) => format!("Scaling activity initiated by (deployment {})", primary.id),
            None => "Scaling activity initiated by service scheduler".to_owned(),
        };
        let mut draining = 0;
        for task in &chosen {
            let Some(watch) = self.watched.get(task) else { continue };
            let id = watch.deployment.clone();
            if let Some(old) = self.deployments.iter_mut().skip(1).find(|old| old.id == id) {
                old.desired = old.desired.saturating_sub(1);
            }
            draining += usize::from(self.retire(task, &reason, actions));
        }
        if draining > 0 {
            self.add_event(cluster.epoch, &format!("has begun draining connections on {draining} tasks."));
        }
        chosen.len()
    }

    /// Answers whether there are connections to drain.
    pub(super) fn retire(&mut self, task: &str, reason: &str, actions: &mut Vec<Action>) -> bool {
        let Some(watch) = self.watched.get_mut(task) else { return false };
        watch.retiring = Some(Retiring { reason: reason.to_owned(), is_stopped: false });
        let deregister = |group: &String| Action::Deregister { group: group.clone(), task: watch.id.clone() };
        actions.extend(watch.groups.iter().map(deregister));
        !watch.groups.is_empty()
    }

    /// Stops the tasks that no target group sends connections to any more.
    fn stop_drained(&mut self, cluster: &ClusterView, actions: &mut Vec<Action>) {
        let mut stopped = Vec::new();
        let deregistered_now: Vec<String> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Deregister { task, .. } => Some(task.clone()),
                _ => None,
            })
            .collect();
        for view in cluster.tasks {
            let Some(watch) = self.watched.get_mut(&view.arn).filter(|watch| !watch.is_closed) else { continue };
            let Some(retiring) = watch.retiring.as_mut().filter(|retiring| !retiring.is_stopped) else { continue };
            let is_drained = watch.groups.iter().all(|group| (cluster.target)(group, &view.id) == Target::Absent);
            if is_drained && !deregistered_now.contains(&view.id) {
                retiring.is_stopped = true;
                actions.push(Action::Stop { task: view.arn.clone(), reason: retiring.reason.clone() });
                stopped.push(format!("(task {})", view.id));
            }
        }
        if !stopped.is_empty() {
            self.add_event(
                cluster.epoch,
                &format!("has stopped {} running tasks: {}.", stopped.len(), stopped.join(" ")),
            );
        }
    }

    fn count(&mut self, cluster: &ClusterView) {
        let live: Vec<_> =
            self.judged(cluster).iter().map(|task| (deployment_of(task.view).to_owned(), task.view.status)).collect();
        for deployment in &mut self.deployments {
            let of_this = || live.iter().filter(|(id, _)| *id == deployment.id);
            deployment.running = of_this().filter(|(_, status)| *status == Status::Running).count();
            deployment.pending = of_this().filter(|(_, status)| *status < Status::Running).count();
        }
        for unsound in self.deployments.iter_mut().skip(1).filter(|old| old.rollout != Rollout::Completed) {
            unsound.desired = unsound.running + unsound.pending;
        }
        let Some(record) = self.history.last_mut().filter(|record| record.status.is_ongoing()) else { return };
        let target = self.deployments.iter().find(|deployment| deployment.revision == record.target);
        record.counts = target.map_or_else(Counts::default, |deployment| Counts {
            requested: deployment.desired,
            running: deployment.running,
            pending: deployment.pending,
        });
    }

    /// Drops deployments that have been replaced and have no task left, and the memory of tasks that are no longer shown.
    fn forget_replaced(&mut self, cluster: &ClusterView) {
        let unfinished = self.unfinished(cluster);
        let is_stalled = self.primary().is_some_and(|primary| primary.rollout == Rollout::Failed);
        let visible = cluster.behavior.waiting(FAILED_VISIBLE_SECONDS);
        let mut position = 0;
        self.deployments.retain(|deployment| {
            position += 1;
            let is_fresh_failure = deployment.pace.failed_at.is_some_and(|at| cluster.now < at + visible);
            let is_kept = deployment.rollout == Rollout::Completed && (deployment.desired > 0 || is_stalled);
            position == 1 || is_kept || is_fresh_failure || unfinished.contains(&deployment.id)
        });
        self.watched.retain(|arn, _| cluster.tasks.iter().any(|view| view.arn == *arn));
        if self.status == ServiceStatus::Draining && unfinished.is_empty() {
            self.status = ServiceStatus::Inactive;
            self.deployments.clear();
        }
    }

    /// Completes the PRIMARY deployment once it is alone and whole, and says when the service is steady.
    fn settle(&mut self, cluster: &ClusterView) {
        if self.status != ServiceStatus::Active {
            return;
        }
        let Some(primary) = self.primary() else { return };
        let (id, rollout) = (primary.id.clone(), primary.rollout);
        let live: Vec<_> = self.judged(cluster).iter().map(|task| task.is_healthy).collect();
        let is_whole = live.len() == self.desired && live.iter().all(|is_healthy| *is_healthy);
        let is_alone = self.deployments.len() == 1 && self.unfinished(cluster).iter().all(|of| *of == id);
        if !is_whole || !is_alone {
            self.is_steady = false;
            return;
        }
        if rollout == Rollout::InProgress && !self.is_baking(cluster) {
            self.complete(cluster.epoch);
        }
        if rollout != Rollout::Failed && !std::mem::replace(&mut self.is_steady, true) {
            self.add_event(cluster.epoch, "has reached a steady state.");
        }
    }

    /// With alarms, a rolling deployment that is whole is watched for a while longer.
    fn is_baking(&mut self, cluster: &ClusterView) -> bool {
        let has_alarms = self.configuration.alarms.is_some() && !self.configuration.is_native();
        let Some(primary) = self.deployments.first_mut().filter(|primary| has_alarms && !primary.pace.is_rollback)
        else {
            return false;
        };
        let since = *primary.pace.whole_since.get_or_insert(cluster.now);
        cluster.now < since + cluster.behavior.waiting(BAKE_SECONDS)
    }

    /// Deployments of tasks that have not stopped yet.
    fn unfinished(&self, cluster: &ClusterView) -> Vec<String> {
        let unstopped = cluster.tasks.iter().filter(|view| view.status != Status::Stopped);
        unstopped.filter_map(|view| self.watched.get(&view.arn)).map(|watch| watch.deployment.clone()).collect()
    }

    fn is_anything_retiring(&self, cluster: &ClusterView) -> bool {
        let unstopped = cluster.tasks.iter().filter(|view| view.status != Status::Stopped);
        unstopped.filter_map(|view| self.watched.get(&view.arn)).any(|watch| watch.retiring.is_some())
    }

    /// Tasks that the service has and wants to keep.
    fn judged<'a>(&self, cluster: &ClusterView<'a>) -> Vec<Judged<'a>> {
        let live = cluster.tasks.iter().filter(|view| {
            let is_live = self.watched.get(&view.arn).is_some_and(Watch::is_live);
            is_live && view.is_wanted && view.status <= Status::Running
        });
        live.map(|view| Judged { view, is_healthy: self.is_healthy(view, cluster) }).collect()
    }
}

fn deployment_of(view: &TaskView) -> &str {
    view.spec.started_by.as_deref().unwrap_or_default()
}
