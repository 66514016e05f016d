//! What a command's container says, while it runs and after.

use crate::events::{Event, Step, Warning};
use crate::ports::{Aws, Call, CallErrorKind, LogStream};
use crate::release_context::StepLog;
use crate::retry;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between two looks at the log of a task that has stopped.
const DRAIN_PAUSE: Duration = Duration::from_millis(500);

/// The container's own lines, in order, each once.
pub(super) struct Follow<'a> {
    stream: Option<&'a LogStream>,
    next: Option<String>,
    told: usize,
}

impl<'a> Follow<'a> {
    pub(super) fn new(stream: Option<&'a LogStream>) -> Self {
        Self { stream, next: None, told: 0 }
    }

    /// It had something to say.
    pub(super) fn has_told(&self) -> bool {
        self.told > 0
    }

    /// Reads what is new; how many lines that were. Dropped while it waits for an answer, it has told what it read.
    pub(super) async fn follow(&mut self, source: &str, step: &StepLog<'_>, aws: Aws<'_>) -> Call<usize> {
        let Some(stream) = self.stream else { return Ok(0) };
        let mut lines = 0;
        loop {
            let page = match aws.logs.log_events(stream, self.next.as_deref()).await {
                // Until the first line is there.
                Err(e) if e.kind == CallErrorKind::NotFound => return Ok(lines),
                page => page?,
            };
            lines += page.events.len();
            self.told += page.events.len();
            for event in page.events {
                step.emit(Event::Output { step: Step::Release, source: source.to_owned(), line: event.message });
            }
            // The end is reached when the token does not change.
            let is_end = page.next.is_none() || page.next == self.next;
            self.next = page.next.or(self.next.take());
            if is_end {
                return Ok(lines);
            }
        }
    }

    /// Lines arrive after the exit: reads until it stays quiet, longer where the lines tell why it failed. What cannot be
    /// read keeps the release waiting no longer than that.
    pub(super) async fn drain(&mut self, source: &str, is_success: bool, step: &StepLog<'_>, aws: Aws<'_>) {
        if self.stream.is_none() {
            return;
        }
        let quiet_for = if is_success {
            2
        } else if self.told > 0 {
            4
        } else {
            10
        };
        let limit = quiet_for * DRAIN_PAUSE;
        let mut quiet = 0;
        for _ in 0..40 {
            let read = timeout(limit, retry::all_within(limit, self.follow(source, step, aws))).await;
            let why = match read {
                Ok(Ok(0)) => {
                    quiet += 1;
                    None
                }
                Ok(Ok(_)) => {
                    quiet = 0;
                    None
                }
                Ok(Err(e)) => Some(e.to_string()),
                Err(_) => Some(format!("no answer within {} s", limit.as_secs())),
            };
            if let Some(why) = why {
                step.emit(Event::Warning(Warning::LogNotRead { command: source.to_owned(), error: why }));
                return;
            }
            if quiet >= quiet_for {
                return;
            }
            sleep(DRAIN_PAUSE).await;
        }
    }
}
