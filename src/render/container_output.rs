//! The lines of the container that `run` follows, byte for byte on standard output; everything else goes on to the log.
//!
//! On GitHub Actions they stand between `::stop-commands::`, since the runner would otherwise take a line for a command.
//! <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions#stopping-and-starting-workflow-commands>

use crate::events::{Event, Sink, Step};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

pub struct ContainerOutput<W: Write> {
    inner: Arc<dyn Sink + Send + Sync>,
    out: Mutex<Out<W>>,
}

struct Out<W: Write> {
    /// `None`: the lines are told elsewhere.
    out: Option<W>,
    /// The token that ends the fence, where there is to be one.
    fence: Option<String>,
    is_fenced: bool,
    unwritten: Option<std::io::Error>,
}

impl<W: Write> ContainerOutput<W> {
    pub fn new(out: Option<W>, fence: Option<String>, inner: Arc<dyn Sink + Send + Sync>) -> Self {
        Self { inner, out: Mutex::new(Out { out, fence, is_fenced: false, unwritten: None }) }
    }

    /// Why lines are missing, where some could not be written.
    pub fn unwritten(&self) -> Option<std::io::Error> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).unwritten.take()
    }
}

impl<W: Write> Out<W> {
    /// What cannot be written is lost, and ends no task; a reader that has seen enough is no failure.
    fn line(&mut self, line: &str) {
        let Some(out) = &mut self.out else { return };
        if let Some(token) = self.fence.as_ref().filter(|_| !self.is_fenced) {
            let _ = writeln!(out, "::stop-commands::{token}");
            self.is_fenced = true;
        }
        let written = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
        if let Err(error) = written
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            self.unwritten.get_or_insert(error);
        }
    }

    fn unfence(&mut self) {
        if let (true, Some(out), Some(token)) = (self.is_fenced, &mut self.out, &self.fence) {
            let _ = writeln!(out, "::{token}::").and_then(|()| out.flush());
            self.is_fenced = false;
        }
    }
}

impl<W: Write> Sink for ContainerOutput<W> {
    fn emit(&self, event: Event) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Output { step: Step::Run, line, .. } => out.line(&line),
            // What the log says by a command of the runner, within a fence, would be no command.
            Event::Mask(_) | Event::Warning(_) | Event::Notice(_) | Event::RunEnded { .. } => {
                out.unfence();
                drop(out);
                self.inner.emit(event);
            }
            other => {
                drop(out);
                self.inner.emit(other);
            }
        }
    }

    fn redacted(&self, text: &str) -> String {
        self.inner.redacted(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Warning;
    use crate::render::log::{Detail, Log, Style};
    use test_support::Lines;

    fn output(line: &str) -> Event {
        Event::Output { step: Step::Run, source: "app".to_owned(), line: line.to_owned() }
    }

    fn told(fence: Option<&str>) -> (String, String) {
        let (out, log) = (Lines::default(), Lines::default());
        let inner = Arc::new(Log::new(log.clone(), Style { detail: Detail::Normal, fence: fence.map(str::to_owned) }));
        let sink = ContainerOutput::new(Some(out.clone()), fence.map(str::to_owned), inner);
        sink.emit(output("\u{1b}[1m\tone "));
        sink.emit(output("::set-env name=A::b"));
        sink.emit(Event::Warning(Warning::WordForShell { word: "&&".to_owned() }));
        sink.emit(output(""));
        sink.emit(Event::RunEnded { exit_code: 0, failure_reason: None });
        (out.text(), log.text())
    }

    #[test]
    fn lines_are_written_byte_for_byte_and_our_own_are_not_among_them() {
        let (out, log) = told(None);
        assert_eq!(out, "\u{1b}[1m\tone \n::set-env name=A::b\n\n");
        assert!(log.starts_with("! warning: `&&`") && !log.contains("set-env"), "{log}");
    }

    #[test]
    fn a_full_disk_is_remembered_and_a_reader_that_went_away_is_not() {
        struct Failing(std::io::ErrorKind);
        impl Write for Failing {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        use std::io::ErrorKind::{BrokenPipe, StorageFull};
        for (kind, expected) in [(StorageFull, Some(StorageFull)), (BrokenPipe, None)] {
            let log = Log::new(Lines::default(), Style { detail: Detail::Normal, fence: None });
            let sink = ContainerOutput::new(Some(Failing(kind)), None, Arc::new(log));
            sink.emit(output("one"));
            assert_eq!(sink.unwritten().map(|error| error.kind()), expected);
        }
    }

    #[test]
    fn on_actions_no_line_is_outside_of_a_fence_and_no_command_of_ours_within() {
        let (out, log) = told(Some("t0ken"));
        let expected = "::stop-commands::t0ken\n\u{1b}[1m\tone \n::set-env name=A::b\n::t0ken::\n\
            ::stop-commands::t0ken\n\n::t0ken::\n";
        assert_eq!(out, expected);
        assert!(log.starts_with("::warning::"), "{log}");
    }
}
