//! What has been said already, so that each change is said once.

use crate::service::{Counts, Service, ServiceDeployment};
use crate::wording::counted;

#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    counts: Option<Counts>,
    failures: Option<i64>,
    is_rolling_back: bool,
    stage: Option<String>,
    hook: Option<String>,
    alarms: Vec<String>,
    completed: Option<Counts>,
    events: Vec<String>,
}

impl Told {
    pub(super) fn new(events: Vec<String>) -> Self {
        Self { events, ..Self::default() }
    }

    pub(super) fn of_going_back(self) -> Self {
        Self { is_rolling_back: true, ..self }
    }

    pub(super) fn failures(&self) -> i64 {
        self.failures.unwrap_or_default()
    }

    /// A stage or a pause: then the ServiceDeployments API is worth a read more often.
    pub(super) fn has_stages(&self) -> bool {
        self.stage.is_some() || self.hook.is_some()
    }

    pub(super) fn progress(&mut self, counts: Counts, news: &mut Vec<String>) {
        if self.counts != Some(counts) {
            news.push(format!("{}/{} running, {} pending", counts.running, counts.desired, counts.pending));
            self.counts = Some(counts);
        }
    }

    pub(super) fn rolling_back(&mut self, reason: &str, news: &mut Vec<String>) {
        if !self.is_rolling_back {
            news.push(format!("ECS rolls back: {reason}"));
            self.is_rolling_back = true;
        }
    }

    /// ECS says that it completed, and it does not serve.
    pub(super) fn short(&mut self, counts: Counts, news: &mut Vec<String>) {
        if self.completed != Some(counts) {
            self.completed = Some(counts);
            news.push(format!("ECS says completed, and {} of {} tasks run", counts.running, counts.desired));
        }
    }

    pub(super) fn deployment(&mut self, deployment: &ServiceDeployment, news: &mut Vec<String>) {
        if let Some((failures, threshold)) = deployment.failures.filter(|(failures, _)| *failures > 0) {
            self.failed_tasks(failures, Some(threshold), news);
        }
        if deployment.lifecycle_stage.is_some() && deployment.lifecycle_stage != self.stage {
            self.stage = deployment.lifecycle_stage.clone();
            news.push(format!("stage {}", self.stage.as_deref().unwrap_or_default()));
        }
        if deployment.awaiting_hook.is_some() && deployment.awaiting_hook != self.hook {
            self.hook = deployment.awaiting_hook.clone();
            news.push(format!("paused by hook {}: it waits for a person", self.hook.as_deref().unwrap_or_default()));
        }
        for alarm in &deployment.triggered_alarms {
            if !self.alarms.contains(alarm) {
                self.alarms.push(alarm.clone());
                news.push(format!("alarm {alarm} went off"));
            }
        }
    }

    pub(super) fn failed_tasks(&mut self, failures: i64, threshold: Option<i64>, news: &mut Vec<String>) {
        if self.failures.is_none_or(|told| told < failures) {
            self.failures = Some(failures);
            news.push(match threshold {
                Some(threshold) => format!("{failures} of {threshold} task failures that trip the circuit breaker"),
                None => format!("{} failed", counted(failures, "task")),
            });
        }
    }

    pub(super) fn events(&mut self, service: &Service, news: &mut Vec<String>) {
        for event in service.events.iter().rev() {
            if !self.events.contains(&event.id) {
                self.events.push(event.id.clone());
                news.push(event.message.clone());
            }
        }
    }
}
