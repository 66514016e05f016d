//! What a step is given: the ports, the teller, and the record of what has been done.

use crate::events::{Event, Sink, Step};
use crate::ports::{Aws, Builder, Web};
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
    /// Written before and after each effect, so that a run which is cut off can still say what it left behind.
    pub record: &'a RefCell<Record>,
}

impl ReleaseContext<'_> {
    /// Begins a step of the log.
    pub fn start(&self, step: Step, subject: impl Into<String>) -> StepLog<'_> {
        self.sink.emit(Event::Started { step, subject: subject.into() });
        StepLog { step, of: "", began: Instant::now(), sink: self.sink }
    }

    pub fn skip(&self, step: Step, why: impl Into<String>) {
        self.sink.emit(Event::Skipped { step, why: why.into() });
    }

    /// Notes where a service stands.
    pub fn set_state(&self, key: &str, state: ServiceState) {
        if let Some(noted) = self.record.borrow_mut().service_mut(key) {
            noted.state = state;
        }
    }

    pub fn warn(&self, text: impl Into<String>) {
        self.sink.emit(Event::Warning(text.into()));
    }
}

/// One step of the log while it runs.
#[derive(Clone, Copy)]
pub struct StepLog<'a> {
    step: Step,
    /// Whose step it is, where several of one step run at once.
    of: &'a str,
    began: Instant,
    sink: &'a dyn Sink,
}

impl<'a> StepLog<'a> {
    /// Says of each line of progress whose it is.
    #[must_use]
    pub fn of(self, of: &'a str) -> Self {
        Self { of, ..self }
    }

    pub fn progress(&self, text: impl Into<String>) {
        let text = match self.of {
            "" => text.into(),
            of => format!("{of}: {}", text.into()),
        };
        self.sink.emit(Event::Progress { step: self.step, text });
    }

    /// Lines of containers and builds: fenced by whoever prints them.
    pub fn output(&self, source: &str, line: impl Into<String>) {
        self.sink.emit(Event::Output { step: self.step, source: source.to_owned(), line: line.into() });
    }

    /// Printed only when nothing else was said for a while.
    pub fn heartbeat(&self, text: impl Into<String>) {
        self.sink.emit(Event::Heartbeat { step: self.step, text: text.into() });
    }

    pub fn done(&self, text: impl Into<String>) {
        self.sink.emit(Event::Finished { step: self.step, text: text.into(), took: Some(self.began.elapsed()) });
    }

    pub fn failed(&self, text: impl Into<String>) {
        self.sink.emit(Event::Failed { step: self.step, text: text.into() });
    }
}
