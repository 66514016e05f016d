//! The last lines of a terminal: what is going on now, and for how long. Steps that overlap have a line each. Everything
//! else is written above them, as in any log.

use crate::events::{Event, Step, Wait};
use crate::render::sentences::{Line, Mark};
use crate::render::step_names::name;
use fargate_deploy_core::rollout::RolloutEvent;
use std::time::Duration;
use tokio::time::Instant;

/// More at once than this are counted: a screen is not high.
const MOST: usize = 8;

/// What has begun and not ended.
struct Activity {
    subject: String,
    step: Step,
    text: String,
    /// What stays while the text changes: how near the circuit breaker is.
    note: String,
    since: Instant,
}

#[derive(Default)]
pub(super) struct Live {
    activities: Vec<Activity>,
    /// How many lines of ours are the screen's last ones.
    drawn: usize,
}

impl Live {
    /// Takes an event into account, with what the log says of it: `clean` is how its text is written.
    pub(super) fn note(&mut self, event: &Event, line: Option<&Line>, clean: impl Fn(&str) -> String) {
        let (Some(subject), Some(line)) = (subject(event), line) else { return };
        let known = self.activities.iter().position(|activity| activity.subject == subject);
        match (line.mark, known) {
            (Mark::Done | Mark::Skipped | Mark::Failed, Some(at)) => {
                self.activities.remove(at);
            }
            (Mark::Started, None) => self.activities.push(Activity {
                subject,
                step: line.step,
                text: clean(&line.text),
                note: String::new(),
                since: Instant::now(),
            }),
            (Mark::Started | Mark::Progress | Mark::Detail | Mark::Heartbeat, Some(at)) => {
                let activity = &mut self.activities[at];
                activity.step = line.step;
                match breaker(event) {
                    Some(note) => activity.note = note,
                    None => activity.text = clean(&line.text),
                }
            }
            _ => {}
        }
    }

    /// Nothing goes on any more.
    pub(super) fn clear(&mut self) {
        self.activities.clear();
    }

    /// What takes our lines off the screen again: the cursor goes to the first of them, and all below it is cleared.
    pub(super) fn erased(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\u{1b}[{lines}A\u{1b}[J"),
        }
    }

    /// What puts them there. A terminal cuts a line that is too long for it by itself, whatever script it is in, since
    /// it is told not to wrap.
    pub(super) fn drawn(&mut self) -> String {
        let mut lines: Vec<String> = self.activities.iter().take(MOST).map(Activity::line).collect();
        if self.activities.len() > MOST {
            lines.push(format!("  and {} more", self.activities.len() - MOST));
        }
        self.drawn = lines.len();
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        if text.is_empty() { text } else { format!("\u{1b}[?7l{text}\u{1b}[?7h") }
    }
}

impl Activity {
    fn line(&self) -> String {
        let note = if self.note.is_empty() { String::new() } else { format!(", {}", self.note) };
        format!("> {:>10}  {:<9} {}{note}", elapsed(self.since.elapsed()), name(self.step), self.text)
    }
}

/// `42 s`, `3 min 05 s`.
fn elapsed(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

fn breaker(event: &Event) -> Option<String> {
    match event {
        Event::RolloutNews { news: RolloutEvent::TaskFailures { failures, threshold }, .. } => Some(match threshold {
            Some(threshold) => format!("breaker {failures} of {threshold}"),
            None => format!("{failures} failed"),
        }),
        _ => None,
    }
}

/// What an event is about: the events of one thing that goes on have one subject.
fn subject(event: &Event) -> Option<String> {
    use Event as E;
    Some(match event {
        E::IdentityRequested { .. } | E::IdentityFound { .. } => "identity".to_owned(),
        E::PreflightStarted { .. } | E::ServicesRead { .. } => "preflight".to_owned(),
        E::ReferencesRequested { .. } | E::ReferencesRead { .. } => "references".to_owned(),
        E::BuildStarted { image, .. }
        | E::BuildStep { image, .. }
        | E::ContextSent { image, .. }
        | E::ImageBuilt { image, .. }
        | E::ImageReused { image, .. }
        | E::PushStarted { image, .. }
        | E::LayerPushed { image, .. }
        | E::ImagePushed { image, .. }
        | E::TaggingStarted { image, .. }
        | E::TagsPushed { image, .. } => format!("image {image}"),
        E::LeaseRequested { service } | E::LeaseWaiting { service, .. } | E::LeaseAcquired { service, .. } => {
            format!("lease {service}")
        }
        E::Waiting(
            Wait::Lease { service, .. } | Wait::EarlierTask { service, .. } | Wait::EarlierOrder { service },
        ) => {
            format!("lease {service}")
        }
        E::CommandStarting { command, .. }
        | E::CommandTaskStarted { command, .. }
        | E::CommandAttached { command, .. }
        | E::CommandEnded { command, .. }
        | E::CommandSucceededEarlier { command, .. }
        | E::Waiting(Wait::Command { command, .. } | Wait::CommandUnreadable { command, .. }) => {
            format!("command {command}")
        }
        E::RolloutRequested { service, .. }
        | E::RolloutStarted { service, .. }
        | E::RolloutUnneeded { service, .. }
        | E::RolloutRefused { service, .. }
        | E::RolloutWatched { service, .. }
        | E::RolloutNews { service, .. }
        | E::RolloutEnded { service, .. }
        | E::RollbackStarted { service, .. }
        | E::RollbackRequested { service }
        | E::RollbackUnderWay { service }
        | E::RollbackRefused { service, .. }
        | E::Waiting(Wait::Rollout { service, .. }) => format!("service {service}"),
        E::SmokeStarted { url } | E::SmokePassed { url, .. } | E::Waiting(Wait::Smoke { url, .. }) => {
            format!("smoke {url}")
        }
        E::SmokeFailed(failure) => format!("smoke {}", failure.url),
        E::StageOpened { .. } | E::StageReady { .. } | E::Waiting(Wait::StageBuild { .. }) => "stage".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{BuildStepState, Sink as _, Took};
    use crate::render::log::{Detail, Log, Style};
    use fargate_deploy_core::names::ServiceRef;
    use fargate_deploy_core::rollout::Verdict;

    /// What a terminal of 24 lines shows: as far as this program speaks to one.
    fn screen(bytes: &str) -> Vec<String> {
        let (mut lines, mut at) = (vec![String::new()], 0);
        let mut rest = bytes.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\u{1b}' => {
                    let sequence: String = std::iter::from_fn(|| rest.next_if(|c| !c.is_ascii_alphabetic())).collect();
                    match (rest.next(), sequence.trim_start_matches('[')) {
                        (Some('A'), up) => at -= up.parse::<usize>().unwrap(),
                        (Some('J'), _) => lines.truncate(at),
                        _ => {}
                    }
                    lines.resize(lines.len().max(at + 1), String::new());
                }
                '\r' => {}
                '\n' => {
                    at += 1;
                    lines.resize(lines.len().max(at + 1), String::new());
                }
                c => lines[at].push(c),
            }
        }
        lines.retain(|line| !line.is_empty());
        lines
    }

    fn service(name: &str) -> ServiceRef {
        ServiceRef { cluster: "shop".into(), name: name.into() }
    }

    fn shown(events: Vec<Event>) -> Vec<String> {
        let log = Log::new(vec![], Style { detail: Detail::Normal, fence: None }).on_terminal(false);
        events.into_iter().for_each(|event| log.emit(event));
        screen(&log.text())
    }

    fn build(image: &str) -> Event {
        Event::BuildStarted { image: image.into(), platform: "linux/arm64".to_owned() }
    }

    fn watched(name: &str) -> Event {
        Event::RolloutWatched { service: service(name), deployment: "ecs-svc/1".into() }
    }

    fn news(name: &str, news: RolloutEvent) -> Event {
        Event::RolloutNews { service: service(name), news }
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_at_once_has_a_line_each_below_what_has_happened() {
        let step = Event::BuildStep {
            image: "front".into(),
            name: "[2/4] RUN make".to_owned(),
            state: BuildStepState::Completed,
        };
        let built = Event::ImageBuilt {
            image: "app".into(),
            id: "sha256:0123456789abcdef".to_owned(),
            took: Took(Duration::from_secs(2)),
        };
        let all = shown(vec![build("app"), build("front"), step, built]);
        assert_eq!(all.last().unwrap(), ">        0 s  build     front: [2/4] RUN make");
        assert_eq!(all.iter().filter(|line| line.starts_with('>')).count(), 1, "{all:#?}");
        assert!(all.contains(&"✓ build     app is sha256:0123456789ab  2.0 s".to_owned()), "{all:#?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rollout_shows_its_counts_and_how_near_the_breaker_is() {
        let failures = RolloutEvent::TaskFailures { failures: 2, threshold: Some(3) };
        let tasks = RolloutEvent::Tasks { running: 1, desired: 2, pending: 1 };
        let all = shown(vec![watched("web"), news("web", failures), news("web", tasks)]);
        assert_eq!(all.last().unwrap(), ">        0 s  rollout   web: 1/2 running, 1 pending, breaker 2 of 3");
    }

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_while_nothing_happens() {
        let log = Log::new(vec![], Style { detail: Detail::Normal, fence: None }).on_terminal(false);
        log.emit(watched("заказы"));
        tokio::time::advance(Duration::from_secs(65)).await;
        log.tick();
        assert_eq!(screen(&log.text()).last().unwrap(), "> 1 min 05 s  rollout   watching shop/заказы");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_of_it_is_left_when_the_run_ends() {
        let ended = Event::RolloutEnded {
            service: service("web"),
            revision: "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:42".into(),
            verdict: Verdict::Superseded { by: "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:43".into() },
            took: Took::default(),
        };
        let log = Log::new(vec![], Style { detail: Detail::Normal, fence: None }).on_terminal(true);
        for event in [watched("web"), watched("worker"), ended] {
            log.emit(event);
        }
        log.finish(&["✗ superseded".to_owned()]);
        let text = log.text();
        assert!(!screen(&text).iter().any(|line| line.starts_with('>')), "{text}");
        assert!(text.ends_with("\u{1b}[31m✗\u{1b}[0m superseded\n"), "{text:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn fifty_services_do_not_fill_the_screen() {
        let all = shown((0..50).map(|n| watched(&format!("s{n}"))).collect());
        assert_eq!(all.iter().filter(|line| line.starts_with('>')).count(), MOST);
        assert_eq!(all.last().unwrap(), "  and 42 more");
    }
}
