//! Events -> lines: one per change of state, a heartbeat when it is quiet, no spinners.
//!
//! In GitHub Actions raw output of containers and builds goes into a group of its own and is fenced by
//! `::stop-commands::`, since the runner would otherwise take a line of a user's container for a command.
//! <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions#stopping-and-starting-workflow-commands>

use crate::events::{Event, Sink, Step, Wait};
use crate::render::live::Live;
use crate::render::sentences::{self, Line, Mark};
use crate::render::step_names::name;
use crate::render::warnings;
use fargate_deploy_core::markdown::stripped;
use fargate_deploy_core::redact::Redaction;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Nothing said for this long, and the run says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// So many lines wait for an open group to end, not more.
const MANY: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// `-q`: warnings and failures.
    Quiet,
    Normal,
    /// `-v`: every progress line of builds and pushes too.
    Verbose,
}

#[derive(Clone, Debug)]
pub struct Style {
    pub detail: Detail,
    /// The token that ends a fence; `None` outside GitHub Actions. Must be random: whoever knows it can end the fence.
    pub fence: Option<String>,
}

/// Writes events to `out`. What cannot be written is lost: telling is never worth failing for.
pub struct Log<W: Write> {
    inner: Mutex<Inner<W>>,
}

struct Inner<W: Write> {
    out: W,
    style: Style,
    begun: Instant,
    last_line: Instant,
    /// What the run was last said to be at.
    at: Option<Line>,
    /// The group that is open, by what it shows.
    open: Option<String>,
    /// Output that came while another group was open, by its group.
    waiting: Vec<(String, Vec<String>)>,
    redaction: Redaction,
    /// On a terminal: its last lines.
    live: Option<Live>,
    /// Marks have their colours.
    is_colored: bool,
}

impl<W: Write> Log<W> {
    pub fn new(out: W, style: Style) -> Self {
        let inner = Inner {
            out,
            style,
            begun: Instant::now(),
            last_line: Instant::now(),
            at: None,
            open: None,
            waiting: vec![],
            redaction: Redaction::default(),
            live: None,
            is_colored: false,
        };
        Self { inner: Mutex::new(inner) }
    }

    /// For a person who watches: what goes on now stands below everything else. [`Log::tick`] keeps its times right.
    #[must_use]
    pub fn on_terminal(self, is_colored: bool) -> Self {
        {
            let mut inner = self.lock();
            inner.live = Some(Live::default());
            inner.is_colored = is_colored;
        }
        self
    }

    /// Since the run began.
    pub fn elapsed(&self) -> Duration {
        self.lock().begun.elapsed()
    }

    /// Another second has passed: a terminal is drawn again, and a run that is quiet for too long says what it is at.
    pub fn tick(&self) {
        let mut inner = self.lock();
        inner.erase();
        inner.beat();
        inner.draw();
    }

    /// Lines that are no event: the ending, which comes last and outside of any group.
    pub fn finish(&self, lines: &[String]) {
        let mut inner = self.lock();
        inner.erase();
        inner.live.iter_mut().for_each(Live::clear);
        inner.close_group();
        for line in lines {
            inner.line(line);
        }
    }

    /// Lines of a container after the ending, fenced like all others.
    pub fn quote(&self, lines: &[String]) {
        let mut inner = self.lock();
        inner.close_group();
        inner.fence();
        for line in lines {
            let line = inner.clean(line);
            inner.line(&format!("    {line}"));
        }
        inner.unfence();
    }

    /// A panic elsewhere must not silence what is left to say.
    fn lock(&self) -> MutexGuard<'_, Inner<W>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn text(self) -> String
    where
        W: Into<Vec<u8>>,
    {
        String::from_utf8_lossy(&self.inner.into_inner().unwrap().out.into()).into_owned()
    }
}

impl<W: Write> Sink for Log<W> {
    fn emit(&self, event: Event) {
        let mut inner = self.lock();
        inner.erase();
        inner.event(event);
        inner.draw();
    }

    fn redacted(&self, text: &str) -> String {
        self.lock().redaction.apply(text)
    }
}

impl<W: Write> Inner<W> {
    fn event(&mut self, event: Event) {
        let detail = self.style.detail;
        match event {
            Event::Mask(secret) => {
                // One command a line: a secret of several lines is masked line by line.
                self.redaction.hide(&secret);
                for part in secret.expose().lines().map(str::trim).filter(|p| p.len() >= 4) {
                    if self.style.fence.is_some() {
                        self.close_group();
                        let _ = writeln!(self.out, "::add-mask::{}", escape(part));
                    }
                }
            }
            Event::ShowAs { value, written } => self.redaction.show_as(&value, &written),
            Event::Output { step, source, line } => {
                if detail != Detail::Quiet {
                    self.output(step, &source, &line);
                }
            }
            Event::Warning(warning) => {
                self.close_group();
                let text = self
                    .redaction
                    .apply(&warnings::warning(&warning))
                    .lines()
                    .map(clean)
                    .collect::<Vec<_>>()
                    .join("\n");
                match self.style.fence {
                    Some(_) => self.line(&format!("::warning::{}", escape(&text))),
                    None => self.line(&format!("! warning: {text}")),
                }
            }
            Event::Notice(notice) => self.notice(&warnings::notice(&notice)),
            other => {
                let mut line = sentences::line(&other);
                if let (Event::Waiting(Wait::Answer { .. }), Some(line), Some(at)) = (&other, &mut line, &self.at) {
                    line.step = at.step;
                }
                if let Some(live) = &mut self.live {
                    live.note(&other, line.as_ref(), |text| clean(&self.redaction.apply(text)));
                }
                if let Some(line) = line {
                    self.say(&line);
                }
            }
        }
    }

    fn erase(&mut self) {
        let erased = self.live.as_mut().map(Live::erased).unwrap_or_default();
        let _ = self.out.write_all(erased.as_bytes());
    }

    fn draw(&mut self) {
        if let Some(live) = &mut self.live {
            let drawn = live.drawn();
            let _ = self.out.write_all(drawn.as_bytes());
            let _ = self.out.flush();
        }
    }

    /// The first character says how it is: in green, red or yellow.
    fn painted(&self, text: String) -> String {
        let color = match text.chars().next() {
            Some('✓') => 32,
            Some('✗') => 31,
            Some('!') => 33,
            _ => return text,
        };
        let mark = text.chars().next().map_or(0, char::len_utf8);
        match self.is_colored {
            true => format!("\u{1b}[{color}m{}\u{1b}[0m{}", &text[..mark], &text[mark..]),
            false => text,
        }
    }

    fn beat(&mut self) {
        let line = self.at.clone().unwrap_or(Line {
            mark: Mark::Heartbeat,
            step: Step::Identity,
            text: "still at it".to_owned(),
            took: None,
        });
        self.say(&line);
    }

    fn say(&mut self, line: &Line) {
        let text = if line.mark == Mark::Done { "still at it".to_owned() } else { line.text.clone() };
        self.at = Some(Line { mark: Mark::Heartbeat, step: line.step, text, took: None });
        let detail = self.style.detail;
        let is_shown = match line.mark {
            Mark::Failed => true,
            Mark::Detail => detail == Detail::Verbose,
            // On a terminal it is seen that the run is still there.
            Mark::Heartbeat => detail != Detail::Quiet && self.live.is_none() && self.last_line.elapsed() >= HEARTBEAT,
            Mark::Started | Mark::Progress | Mark::Done | Mark::Skipped => detail != Detail::Quiet,
        };
        if is_shown {
            self.status(line);
        }
    }

    fn notice(&mut self, text: &str) {
        self.close_group();
        match self.style.fence {
            Some(_) => self.line(&format!("::notice::{}", escape(&self.clean(text)))),
            None if self.style.detail != Detail::Quiet => self.line(&format!("! note: {}", self.clean(text))),
            None => {}
        }
    }

    fn status(&mut self, line: &Line) {
        self.close_group();
        let mark = match line.mark {
            Mark::Started => " ",
            Mark::Progress | Mark::Detail => "·",
            Mark::Done => "✓",
            Mark::Skipped => "-",
            Mark::Failed => "✗",
            Mark::Heartbeat => "…",
        };
        let took = line.took.map(|took| format!("  {:.1} s", took.0.as_secs_f64())).unwrap_or_default();
        // Texts come from AWS and from Dockerfiles too.
        self.line(&format!("{mark} {:<9} {}{took}", name(line.step), self.clean(&line.text)));
    }

    /// Groups of steps that run at once are not torn into each other: while one is open, the others' lines wait for the
    /// next line of state, or until they are many.
    fn output(&mut self, step: Step, source: &str, line: &str) {
        let line = format!("  {} | {}", self.clean(source), self.clean(line));
        if self.style.fence.is_none() {
            return self.line(&line);
        }
        let title = self.clean(&format!("{} output of {source}", name(step)));
        if self.open.as_ref().is_some_and(|open| *open != title) {
            match self.waiting.iter_mut().find(|(of, _)| *of == title) {
                Some((_, lines)) => lines.push(line),
                None => self.waiting.push((title, vec![line])),
            }
            if self.waiting.iter().any(|(_, lines)| lines.len() >= MANY) {
                self.close_group();
            }
            return;
        }
        if self.open.is_none() {
            self.open_group(title);
        }
        self.line(&line);
    }

    fn open_group(&mut self, title: String) {
        let _ = writeln!(self.out, "::group::{title}");
        self.fence();
        self.open = Some(title);
    }

    /// Closes the open group, and shows what waited for that.
    fn close_group(&mut self) {
        self.end_group();
        for (title, lines) in std::mem::take(&mut self.waiting) {
            self.open_group(title);
            for line in lines {
                self.line(&line);
            }
            self.end_group();
        }
    }

    fn end_group(&mut self) {
        if self.open.take().is_some() {
            self.unfence();
            let _ = writeln!(self.out, "::endgroup::");
        }
    }

    fn fence(&mut self) {
        if let Some(token) = &self.style.fence {
            let _ = writeln!(self.out, "::stop-commands::{token}");
        }
    }

    fn unfence(&mut self) {
        if let Some(token) = &self.style.fence {
            let _ = writeln!(self.out, "::{token}::");
        }
    }

    /// Without secrets first: of one that was cleaned or escaped another text is left. [`Inner::line`] looks for those that
    /// cleaning brings to light.
    fn clean(&self, text: &str) -> String {
        clean(&self.redaction.apply(text))
    }

    fn line(&mut self, text: &str) {
        // Whoever wrote it has cleaned what is not ours; here nothing moves the cursor, whatever it was.
        let text = stripped(&self.redaction.apply(text).replace('\r', " "));
        let mut lines = text.split('\n');
        let first = lines.next().unwrap_or_default().to_owned();
        // A line that only a line break began is no command.
        let text = self.painted(lines.fold(first, |text, line| format!("{text}\n{}", no_command(line))));
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
        self.last_line = Instant::now();
    }
}

/// One line without terminal control, without what turns text around, and without the runner's command forms.
pub fn clean(text: &str) -> String {
    no_command(&stripped(text).replace('\n', "").replace('\t', " "))
}

/// A line that the runner takes for text: neither the old command form `##[` nor a beginning of `::` is in it.
pub fn no_command(line: &str) -> String {
    let line = line.replace("##[", "# #[");
    if line.trim_start().starts_with("::") { line.replacen("::", ": :", 1) } else { line }
}

/// Markdown for standard output, in which no line is a command to a runner: an invisible character stands in its way.
pub fn no_commands_in_markdown(text: &str) -> String {
    let defused = |line: &str| {
        let line = line.replace("##[", "##\u{200b}[");
        if line.trim_start().starts_with("::") { format!("\u{200b}{line}") } else { line }
    };
    text.split_inclusive(['\n', '\r']).map(defused).collect()
}

/// JSON in one line for standard output: the old command form `##[` counts anywhere in a line, and can be written otherwise.
pub fn no_command_in_json(text: &str) -> String {
    text.replace("##[", "##\\u005b")
}

/// The data of a workflow command.
pub fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{BuildStepState, Warning};
    use fargate_deploy_core::names::ServiceRef;
    use fargate_deploy_core::redact::Secret;

    fn log(fence: Option<&str>) -> Log<Vec<u8>> {
        Log::new(vec![], Style { detail: Detail::Normal, fence: fence.map(str::to_owned) })
    }

    fn output(line: &str) -> Event {
        Event::Output { step: Step::Release, source: "migrate".to_owned(), line: line.to_owned() }
    }

    fn step(name: &str) -> Event {
        Event::BuildStep { image: "app".into(), name: name.to_owned(), state: BuildStepState::Completed }
    }

    fn warning(service: &str) -> Event {
        let service = ServiceRef { cluster: "shop".into(), name: service.into() };
        Event::Warning(Warning::LeaseNotRenewed { service, error: "no".to_owned() })
    }

    #[test]
    fn container_output_is_fenced_and_grouped_so_that_it_cannot_issue_commands() {
        let log = log(Some("t0ken"));
        log.emit(output("::set-output name=x::y"));
        log.emit(output("##[error]no"));
        log.emit(Event::CommandEnded {
            command: "migrate".to_owned(),
            task: "arn:aws:ecs:eu-central-1:111122223333:task/shop/1".into(),
            verdict: fargate_deploy_core::task::TaskVerdict::Succeeded,
            took: crate::events::Took(Duration::from_millis(1500)),
        });
        let text = log.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "::group::release output of migrate",
                "::stop-commands::t0ken",
                "  migrate | : :set-output name=x::y",
                "  migrate | # #[error]no",
                "::t0ken::",
                "::endgroup::",
                "✓ release   migrate exited with 0 (task 1)  1.5 s",
            ]
        );
    }

    #[test]
    fn output_of_two_at_once_is_two_groups_and_not_torn_into_lines() {
        let log = log(Some("t0ken"));
        let line = |source: &str, line: &str| Event::Output {
            step: Step::Build,
            source: source.to_owned(),
            line: line.to_owned(),
        };
        for event in [line("app", "1"), line("front", "1"), line("app", "2"), line("front", "2")] {
            log.emit(event);
        }
        log.emit(step("done"));
        let text = log.text();
        let shown: Vec<_> = text.lines().filter(|l| !l.contains("t0ken")).collect();
        assert_eq!(
            shown,
            [
                "::group::build output of app",
                "  app | 1",
                "  app | 2",
                "::endgroup::",
                "::group::build output of front",
                "  front | 1",
                "  front | 2",
                "::endgroup::",
                "· build     app: done",
            ]
        );
    }

    #[test]
    fn outside_of_actions_there_are_no_commands() {
        let log = log(None);
        log.emit(Event::Mask(Secret::new("hunter2")));
        log.emit(output("password is hunter2"));
        log.emit(warning("web"));
        assert_eq!(
            log.text(),
            "  migrate | password is ***\n! warning: the lease of shop/web could not be renewed: no\n"
        );
    }

    #[test]
    fn secrets_are_masked_for_the_runner_before_any_line_shows_them() {
        let log = log(Some("t0ken"));
        log.emit(Event::Mask(Secret::new("line one\nline%two")));
        log.emit(step("line one and line%two"));
        let text = log.text();
        assert_eq!(text, "::add-mask::line one\n::add-mask::line%25two\n· build     app: *** and ***\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_quiet_says_every_half_minute_what_it_is_at() {
        let log = log(None);
        let seconds = async |count: u64| {
            for _ in 0..count {
                tokio::time::advance(Duration::from_secs(1)).await;
                log.tick();
            }
        };
        seconds(35).await;
        let region = "eu-central-1".to_owned();
        log.emit(Event::IdentityRequested { region: region.clone() });
        seconds(65).await;
        log.emit(Event::IdentityFound { arn: "me".to_owned(), region, took: Default::default() });
        let service = ServiceRef { cluster: "shop".into(), name: "web".into() };
        log.emit(Event::LeaseRequested { service });
        seconds(20).await;
        let (of, error) = ("ssm:GetParametersByPath".to_owned(), "ssm:GetParametersByPath: Rate exceeded".to_owned());
        log.emit(Event::Waiting(Wait::Answer { of, error }));
        seconds(20).await;
        assert_eq!(
            log.text(),
            "… identity  still at it\n  identity  eu-central-1\n… identity  eu-central-1\n… identity  eu-central-1\n\
             ✓ identity  me in eu-central-1  0.0 s\n  lease     shop/web\n\
             … lease     ssm:GetParametersByPath: Rate exceeded: asking again\n"
        );
    }

    #[test]
    fn the_longest_secret_goes_first_in_whatever_order_they_were_told_of() {
        let log = log(None);
        log.emit(Event::Mask(Secret::new("hunter2")));
        log.emit(Event::Mask(Secret::new("hunter2-and-more")));
        log.emit(Event::ShowAs { value: Secret::new("shop-blue"), written: "${env:CLUSTER}".to_owned() });
        log.finish(&["hunter2-and-more hunter2 shop-blue postgres://u:p@db/x https://a/?token=t".to_owned()]);
        assert_eq!(log.redacted("hunter2-and-more"), "***");
        let mut json = serde_json::json!({"a": ["hunter2-and-more"]});
        log.redact_json(&mut json);
        assert_eq!(json, serde_json::json!({"a": ["***"]}));
        assert_eq!(log.text(), "*** *** ${env:CLUSTER} postgres://***@db/x https://a/?token=***\n");
    }

    #[test]
    fn whatever_is_written_no_line_moves_the_cursor_or_begins_a_command() {
        let log = log(Some("t0ken"));
        log.finish(&["next\r::error::a\n::error::b \u{1b}]0;title\u{7}\u{202e}x\n##[error]c".to_owned()]);
        assert_eq!(log.text(), "next ::error::a\n: :error::b x\n# #[error]c\n");
        assert_eq!(clean("a\u{1b}]8;;https://evil\u{1b}\\b\u{202e}c\u{2066}d\u{9b}1me"), "abcde");
    }

    #[test]
    fn data_on_standard_output_is_no_command_to_the_runner() {
        let json = serde_json::json!({"a": "##[error]x"});
        let line = no_command_in_json(&json.to_string());
        assert!(!line.contains("##[") && serde_json::from_str::<serde_json::Value>(&line).unwrap() == json, "{line}");
        let text = no_commands_in_markdown("a\n  ::error::x\n- ##[add-mask]y\r::z");
        assert!(!text.contains("##[") && !text.lines().any(|line| line.trim_start().starts_with("::")), "{text}");
        assert_eq!(text.replace('\u{200b}', ""), "a\n  ::error::x\n- ##[add-mask]y\r::z");
    }

    #[test]
    fn terminal_control_does_not_reach_the_log() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m\r\u{7}"), "red");
    }

    #[test]
    fn a_warning_of_several_lines_is_one_command_and_each_line_is_clean() {
        let text = "lacks:\n  a: \u{1b}[1mwrite\n::error::no";
        let in_actions = log(Some("t0ken"));
        in_actions.emit(warning(text));
        assert_eq!(
            in_actions.text(),
            "::warning::the lease of shop/lacks:%0A  a: write%0A: :error::no could not be renewed: no\n"
        );
        let outside = log(None);
        outside.emit(warning(text));
        assert_eq!(
            outside.text(),
            "! warning: the lease of shop/lacks:\n  a: write\n: :error::no could not be renewed: no\n"
        );
    }

    #[test]
    fn quiet_keeps_failures_and_warnings() {
        let log = Log::new(vec![], Style { detail: Detail::Quiet, fence: None });
        log.emit(step("app"));
        log.emit(output("noise"));
        log.emit(Event::RollbackRefused {
            service: fargate_deploy_core::names::ServiceRef { cluster: "shop".into(), name: "web".into() },
            error: "no".to_owned(),
        });
        log.emit(warning("web"));
        assert_eq!(log.text(), "✗ rollback  shop/web: no\n! warning: the lease of shop/web could not be renewed: no\n");
    }
}
