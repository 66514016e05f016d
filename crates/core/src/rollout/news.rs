//! What has been said already, so that each change is said once.

use super::RolloutEvent;
use crate::service::{Counts, Service, ServiceDeployment};

#[derive(Clone, Debug, Default)]
pub(super) struct Reported {
    counts: Option<Counts>,
    failures: Option<i64>,
    is_rolling_back: bool,
    stage: Option<String>,
    hook: Option<String>,
    alarms: Vec<String>,
    completed: Option<Counts>,
    events: Vec<String>,
    /// Tasks that ECS said it started.
    started: i64,
}

impl Reported {
    pub(super) fn new(events: Vec<String>) -> Self {
        Self { events, ..Self::default() }
    }

    pub(super) fn of_going_back(self) -> Self {
        Self { is_rolling_back: true, ..self }
    }

    pub(super) fn failures(&self) -> i64 {
        self.failures.unwrap_or_default()
    }

    pub(super) fn alarms(&self) -> &[String] {
        &self.alarms
    }

    /// How many tasks were started beyond those that are wanted: each takes the place of one that ended. ECS counts no task
    /// as failed that ended after it was RUNNING where nothing checks its health.
    pub(super) fn replaced(&self) -> i64 {
        self.counts.map_or(0, |counts| (self.started - counts.desired).max(0))
    }

    /// A stage or a pause: then the ServiceDeployments API is worth a read more often.
    pub(super) fn has_stages(&self) -> bool {
        self.stage.is_some() || self.hook.is_some()
    }

    pub(super) fn progress(&mut self, counts: Counts, news: &mut Vec<RolloutEvent>) {
        if self.counts != Some(counts) {
            let Counts { running, desired, pending, .. } = counts;
            news.push(RolloutEvent::Tasks { running, desired, pending });
            self.counts = Some(counts);
        }
    }

    pub(super) fn rolling_back(&mut self, reason: &str, news: &mut Vec<RolloutEvent>) {
        if !self.is_rolling_back {
            news.push(RolloutEvent::RollingBack { reason: reason.to_owned() });
            self.is_rolling_back = true;
        }
    }

    /// ECS says that it completed, and it does not serve.
    pub(super) fn short(&mut self, counts: Counts, news: &mut Vec<RolloutEvent>) {
        if self.completed != Some(counts) {
            self.completed = Some(counts);
            news.push(RolloutEvent::CompletedShort { running: counts.running, desired: counts.desired });
        }
    }

    pub(super) fn deployment(&mut self, deployment: &ServiceDeployment, news: &mut Vec<RolloutEvent>) {
        if let Some((failures, threshold)) = deployment.failures.filter(|(failures, _)| *failures > 0) {
            self.failed_tasks(failures, Some(threshold), news);
        }
        if let Some(stage) = deployment.lifecycle_stage.clone().filter(|stage| self.stage.as_ref() != Some(stage)) {
            self.stage = Some(stage.clone());
            news.push(RolloutEvent::LifecycleStage { stage });
        }
        if let Some(hook) = deployment.awaiting_hook.clone().filter(|hook| self.hook.as_ref() != Some(hook)) {
            self.hook = Some(hook.clone());
            news.push(RolloutEvent::PausedByHook { hook });
        }
        for alarm in &deployment.triggered_alarms {
            if !self.alarms.contains(alarm) {
                self.alarms.push(alarm.clone());
                news.push(RolloutEvent::AlarmTriggered { alarm: alarm.clone() });
            }
        }
    }

    pub(super) fn failed_tasks(&mut self, failures: i64, threshold: Option<i64>, news: &mut Vec<RolloutEvent>) {
        if self.failures.is_none_or(|reported| reported < failures) {
            self.failures = Some(failures);
            news.push(RolloutEvent::TaskFailures { failures, threshold });
        }
    }

    pub(super) fn events(&mut self, service: &Service, news: &mut Vec<RolloutEvent>) {
        for event in service.events.iter().rev() {
            if !self.events.contains(&event.id) {
                self.events.push(event.id.clone());
                self.started += started(&event.message);
                news.push(RolloutEvent::ServiceEvent { message: event.message.clone() });
            }
        }
    }
}

/// Of `(service web) has started 2 tasks: (task 1f) (task 2e).`
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html>
fn started(message: &str) -> i64 {
    let number = || message.split_once(" has started ")?.1.split_once(" task")?.0.parse().ok();
    number().unwrap_or(0)
}
