//! What a step is given: the ports, the teller, and the record of what has been done.

use crate::clock::Elapsed;
use crate::events::{Event, Sink, Took, Wait, Warning};
use crate::ports::{Aws, Builder, Web};
use fargate_deploy_core::names::{ServiceKey, ServiceRef};
use fargate_deploy_core::outcome::{Record, ServiceState};
use std::cell::RefCell;
use tokio::time::Instant;

/// Everything outside a release. Shared by steps that overlap in one task, never sent across threads.
#[derive(Clone, Copy)]
pub struct ReleaseContext<'a> {
    pub aws: Aws<'a>,
    pub builder: &'a dyn Builder,
    pub web: &'a dyn Web,
    pub sink: &'a dyn Sink,
    /// How long ago something was: [`crate::clock::since_boot`].
    pub clock: Elapsed,
    /// Written before and after each effect, so that a run which is cut off can still say what it left behind.
    pub record: &'a RefCell<Record>,
}

impl ReleaseContext<'_> {
    /// Begins a step with its first event.
    pub fn begin(&self, event: Event) -> StepLog<'_> {
        self.emit(event);
        StepLog { began: Instant::now(), sink: self.sink }
    }

    pub fn emit(&self, event: Event) {
        self.sink.emit(event);
    }

    /// Notes where a service stands.
    pub fn set_state(&self, key: &ServiceKey, state: ServiceState) {
        if let Some(noted) = self.record.borrow_mut().service_mut(key) {
            noted.state = state;
        }
    }

    /// Notes the stage that a deployment which goes on has reached.
    pub fn set_stage(&self, service: &ServiceRef, stage: &str) {
        let mut record = self.record.borrow_mut();
        if let Some(noted) = record.services.iter_mut().find(|noted| noted.service == *service)
            && noted.state.is_rolling_out()
        {
            noted.state = ServiceState::rolling_out(Some(stage));
        }
    }

    pub fn warn(&self, warning: Warning) {
        self.emit(Event::Warning(warning));
    }
}

/// One step while it runs.
#[derive(Clone, Copy)]
pub struct StepLog<'a> {
    began: Instant,
    sink: &'a dyn Sink,
}

impl StepLog<'_> {
    pub fn emit(&self, event: Event) {
        self.sink.emit(event);
    }

    /// Shown to a person only when nothing else was said for a while.
    pub fn waiting(&self, wait: Wait) {
        self.emit(Event::Waiting(wait));
    }

    /// Since the step began.
    pub fn took(&self) -> Took {
        Took(self.began.elapsed())
    }
}
