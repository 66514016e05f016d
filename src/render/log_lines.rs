//! Lines of `logs`, as they are printed.

use super::log::{no_command, no_command_in_json};
use crate::logs::LogLine;
use fargate_deploy_core::log_lines::{coloured, short_id};
use fargate_deploy_core::markdown::stripped;
use fargate_deploy_core::names::TaskArn;
use jiff::tz::TimeZone;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;

/// How lines look.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogStyle {
    pub is_json: bool,
    pub has_prefix: bool,
    /// Times in UTC instead of the zone of this machine.
    pub is_utc: bool,
    /// Standard output is a terminal: the lines keep their colours.
    pub is_terminal: bool,
    /// Each task has a colour of its own.
    pub is_coloured: bool,
    /// The runner reads along: no line may be a command to it.
    pub is_in_actions: bool,
}

const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// Prints lines as one log.
pub struct Printer<W: Write> {
    out: W,
    style: LogStyle,
    /// In the order in which they came.
    tasks: BTreeMap<TaskArn, usize>,
    unwritten: Option<std::io::Error>,
}

impl<W: Write> Printer<W> {
    pub fn new(out: W, style: LogStyle) -> Self {
        Self { out, style, tasks: BTreeMap::new(), unwritten: None }
    }

    /// Why lines are missing, where some could not be written.
    ///
    /// # Errors
    /// Of the write that failed.
    pub fn ended(&mut self) -> std::io::Result<()> {
        self.unwritten.take().map_or(Ok(()), Err)
    }

    /// False when nobody reads any more, or nothing can be written.
    pub fn print(&mut self, lines: Vec<LogLine>) -> bool {
        let mut text = String::new();
        for line in &lines {
            match self.style.is_json {
                true => text.push_str(&json_line(line)),
                false => self.write(line, &mut text),
            }
        }
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written {
            self.unwritten.get_or_insert(error);
        }
        self.unwritten.is_none()
    }

    fn write(&mut self, line: &LogLine, text: &mut String) {
        let prefix = if self.style.has_prefix { self.prefix(line) } else { String::new() };
        for part in line.message.trim_end_matches(['\n', '\r']).split('\n') {
            let part = match self.style.is_terminal {
                true => coloured(part),
                false => stripped(part),
            };
            let whole = format!("{prefix}{}", part.replace('\n', " "));
            text.push_str(&if self.style.is_in_actions { no_command(&whole) } else { whole });
            text.push('\n');
        }
    }

    /// `web/9c1e app 14:03:22 | `.
    fn prefix(&mut self, line: &LogLine) -> String {
        let count = self.tasks.len();
        let number = *self.tasks.entry(line.source.task.clone()).or_insert(count);
        let id = short_id(line.source.task.id(), self.tasks.keys().map(TaskArn::id));
        let name = stripped(&format!("{}/{id} {}", line.source.service, line.source.container));
        let time = time(line.timestamp, self.style.is_utc);
        match self.style.is_coloured {
            true => format!("\u{1b}[{}m{name}\u{1b}[0m {time} | ", COLOURS[number % COLOURS.len()]),
            false => format!("{name} {time} | "),
        }
    }
}

fn json_line(line: &LogLine) -> String {
    let timestamp = jiff::Timestamp::from_millisecond(line.timestamp).map(|at| format!("{at:.3}")).unwrap_or_default();
    let object = json!({
        "timestamp": timestamp, "service": line.source.service, "task": line.source.task.id(),
        "container": line.source.container,
        "message": line.message,
    });
    format!("{}\n", no_command_in_json(&object.to_string()))
}

fn time(milliseconds: i64, is_utc: bool) -> String {
    let Ok(at) = jiff::Timestamp::from_millisecond(milliseconds) else { return milliseconds.to_string() };
    let zone = if is_utc { TimeZone::UTC } else { TimeZone::system() };
    at.to_zoned(zone).strftime(if is_utc { "%H:%M:%SZ" } else { "%H:%M:%S" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Source;
    use crate::ports::LogStream;
    use std::rc::Rc;
    use test_support::Lines;

    fn line(task: &str, message: &str) -> LogLine {
        LogLine {
            timestamp: 1_764_511_402_123,
            source: Rc::new(Source {
                service: "web".into(),
                task: format!("arn:aws:ecs:eu-central-1:111122223333:task/shop/{task}").as_str().into(),
                container: "app".into(),
                stream: LogStream { group: String::new(), stream: String::new(), region: None },
                stopped_at: None,
            }),
            message: message.to_owned(),
        }
    }

    fn printed(style: LogStyle, lines: Vec<LogLine>) -> String {
        let out = Lines::default();
        assert!(Printer::new(out.clone(), style).print(lines));
        out.text()
    }

    #[test]
    fn a_full_disk_is_an_error_at_the_end_also_where_nothing_more_was_to_be_written() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut printer = Printer::new(Full, LogStyle::default());
        assert!(!printer.print(vec![line("9c1e40aa", "one")]));
        printer.print(vec![]);
        assert_eq!(printer.ended().unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }

    #[test]
    fn each_line_says_whose_it_is_and_when() {
        let style = LogStyle { has_prefix: true, is_utc: true, ..LogStyle::default() };
        let hostile = "\u{1b}[31mred\u{1b}[0m\u{7}\tx";
        let lines = vec![line("9c1e40aa", hostile), line("ab00cc11", "two\nlines\n"), line("9c1e77aa", "")];
        let expected = "web/9c1e app 14:03:22Z | red\tx\nweb/ab00 app 14:03:22Z | two\nweb/ab00 app 14:03:22Z | lines\n\
            web/9c1e7 app 14:03:22Z | \n";
        assert_eq!(printed(style, lines), expected);
    }

    #[test]
    fn a_terminal_keeps_colours_and_a_runner_gets_no_command() {
        let terminal = LogStyle { is_terminal: true, ..LogStyle::default() };
        let hostile = "\u{1b}[31mred\u{1b}[0m\u{1b}[2J";
        assert_eq!(printed(terminal, vec![line("9c1e", hostile)]), "\u{1b}[31mred\u{1b}[0m\n");
        let actions = LogStyle { is_in_actions: true, ..LogStyle::default() };
        let text = printed(actions, vec![line("9c1e", "::error::owned\n  ::add-mask::x\n##[error]y")]);
        assert!(text.lines().all(|line| !line.trim_start().starts_with("::") && !line.contains("##[")), "{text}");
    }

    #[test]
    fn json_is_an_object_a_line() {
        let style = LogStyle { is_json: true, ..LogStyle::default() };
        let text = printed(style, vec![line("9c1e40aa", "a \"b\"\n")]);
        let expected = "{\"timestamp\":\"2025-11-30T14:03:22.123Z\",\"service\":\"web\",\"task\":\"9c1e40aa\",\"container\":\"app\",\
            \"message\":\"a \\\"b\\\"\\n\"}\n";
        assert_eq!(text, expected);
    }
}
