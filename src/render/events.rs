//! Events -> JSON, one object a line, as they happen: `--events FILE`. Documented in `docs/events.md`.

use crate::events::{Event, Sink, Warning};
use crate::render::log::no_command_in_json;
use serde::Serialize;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Tells the time of a line: RFC 3339, UTC, with milliseconds.
pub type Clock = Box<dyn Fn() -> String + Send + Sync>;

/// Writes each event, then tells it to `inner`. A file that cannot be written is one warning, and the deploy goes on.
pub struct EventLog<W: Write + Send> {
    inner: Arc<dyn Sink + Send + Sync>,
    name: String,
    clock: Clock,
    /// `None`: it could not be written.
    out: Mutex<Option<W>>,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    #[serde(flatten)]
    event: &'a Event,
}

impl<W: Write + Send> EventLog<W> {
    /// `name` is what a warning calls `out`.
    pub fn new(out: W, name: &str, clock: Clock, inner: Arc<dyn Sink + Send + Sync>) -> Self {
        Self { inner, name: name.to_owned(), clock, out: Mutex::new(Some(out)) }
    }

    /// The error that ends the writing.
    fn write(&self, event: &Event) -> Option<String> {
        if matches!(event, Event::Mask(_) | Event::ShowAs { .. }) {
            return None;
        }
        let mut open = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let out = open.as_mut()?;
        let line = serde_json::to_value(Line { at: (self.clock)(), event });
        let written = line.map_err(|e| e.to_string()).and_then(|mut line| {
            self.inner.redact_json(&mut line);
            let line = no_command_in_json(&line.to_string());
            // One write: a reader never meets half a line.
            out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).map_err(|e| e.to_string())
        });
        let error = written.err()?;
        *open = None;
        Some(error)
    }
}

impl<W: Write + Send> Sink for EventLog<W> {
    fn emit(&self, event: Event) {
        let failed = self.write(&event);
        self.inner.emit(event);
        if let Some(error) = failed {
            self.inner.emit(Event::Warning(Warning::EventsNotWritten { file: self.name.clone(), error }));
        }
    }

    fn redacted(&self, text: &str) -> String {
        self.inner.redacted(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Step;
    use crate::render::log::{Detail, Log, Style};
    use fargate_deploy_core::redact::Secret;
    use std::io;
    use test_support::Lines;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("no space left on device"))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log() -> (Lines, Arc<dyn Sink + Send + Sync>) {
        let out = Lines::default();
        (out.clone(), Arc::new(Log::new(out, Style { detail: Detail::Normal, fence: None })))
    }

    fn clock() -> Clock {
        Box::new(|| "2026-01-02T03:04:05.678Z".to_owned())
    }

    fn output(line: &str) -> Event {
        Event::Output { step: Step::Release, source: "migrate".to_owned(), line: line.to_owned() }
    }

    #[test]
    fn each_event_is_one_line_with_its_time_masked_and_without_control_characters() {
        let out = Lines::default();
        let events = EventLog::new(out.clone(), "-", clock(), log().1);
        events.emit(Event::Mask(Secret::new("hun\"ter2")));
        events.emit(output("\u{1b}[31mpass\nhun\"ter2"));
        assert_eq!(
            out.text(),
            "{\"at\":\"2026-01-02T03:04:05.678Z\",\"event\":\"output\",\"step\":\"release\",\"source\":\"migrate\",\
            \"line\":\"\\u001b[31mpass\\n***\"}\n"
        );
    }

    #[test]
    fn the_token_of_a_lease_is_not_written() {
        let out = Lines::default();
        let events = EventLog::new(out.clone(), "-", clock(), log().1);
        let service = fargate_deploy_core::names::ServiceRef { cluster: "shop".into(), name: "web".into() };
        let (parameter, token) = ("/p/1".to_owned(), Secret::new("t0ken"));
        events.emit(Event::LeaseAcquired { service, parameter, generation: 1, token, took: Default::default() });
        assert!(out.text().contains("lease-acquired") && !out.text().contains("t0ken"), "{}", out.text());
    }

    #[test]
    fn what_cannot_be_written_is_one_warning_and_the_log_goes_on() {
        let (shown, inner) = log();
        let events = EventLog::new(Full, "events.jsonl", clock(), inner);
        events.emit(output("one"));
        events.emit(output("two"));
        assert_eq!(
            shown.text(),
            "  migrate | one\n! warning: `--events`: `events.jsonl` cannot be written, and gets no further events: \
            no space left on device\n  migrate | two\n"
        );
    }
}
