//! What the observations of a deployment mean: a state machine without a clock or a network.
//!
//! A deployment is followed by its id, never by "the service looks stable": after a circuit-breaker rollback the
//! service *is* stable, on the old revision. Two sources are read. DescribeServices says who serves, and how far a
//! rolling deployment is. The ServiceDeployments API says how ours ended, since a rollback happens inside it, whether
//! somebody has deployed since, and is the only truth of blue/green, linear and canary deployments. Each may be late,
//! go backwards, or not be readable; the primary of a rollback may carry its old id or a new one, and the service
//! deployment of a superseded one may be stopped or stay in progress: every rule holds either way.
//!
//! What the two show is kept in [`Rollout`]; [`judge`] concludes from it, or says what to read before anything can be
//! concluded.

mod deaths;
mod event;
mod evidence;
mod history;
mod judge;
mod news;
mod pace;
#[cfg(test)]
pub(crate) mod tests;

pub use deaths::{Death, deaths_of};
pub use event::RolloutEvent;
pub(super) use evidence::{newer_in, of_rollback};
pub use history::{Listed, Newer, sort_out};

use super::names::{DeploymentId, ServiceDeploymentArn, TaskDefinitionArn};
use super::service::{Breaker, Counts, Service, ServiceDeployment, ServiceDeploymentStatus};
use crate::kinds;
use news::Reported;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Reads that fail for this long leave us blind.
const BLIND: Duration = Duration::from_secs(5 * 60);
/// So long AWS may take to know new credentials everywhere; those that it refuses for longer are over.
const SIGNED_OUT: Duration = Duration::from_secs(30);
/// A rollback is watched this much longer than the deployment may take.
const ROLLBACK_ENDS: Duration = Duration::from_secs(15 * 60);
/// After a call to the ServiceDeployments API failed, it is tried again after this time, beside the other reads.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// ListServiceDeployments that shows nothing of ours for this often never will (stand-ins, old revisions).
const TRIES: u32 = 20;

/// What is being followed.
#[derive(Clone, Debug)]
pub struct Target {
    /// The primary's id in the answer of UpdateService.
    pub deployment: DeploymentId,
    /// Its `createdAt` in that answer: what is newer is somebody else's. Seconds since the epoch, AWS's clock.
    pub created_at: Option<f64>,
    pub task_definition: TaskDefinitionArn,
    /// The primary before UpdateService: a stale read, or a rollback that reuses ids, shows it again.
    pub before: Option<(DeploymentId, TaskDefinitionArn)>,
    pub breaker: Breaker,
    /// When to stop waiting.
    pub wait: Duration,
}

/// What to read next.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    Service,
    /// The service deployments since ours: which is ours, and whether somebody has deployed since.
    List,
    ServiceDeployment(ServiceDeploymentArn),
    /// How tasks of ours have ended.
    Tasks,
}

/// What was read.
#[derive(Clone, Debug)]
pub enum Observation {
    /// `None`: DescribeServices answered `MISSING`.
    Service(Option<Box<Service>>),
    Listed(Listed),
    /// `None`: it is not known (yet).
    ServiceDeployment(Option<ServiceDeployment>),
    /// `None`: they could not be read, and nothing depends on it.
    Tasks(Option<Vec<Death>>),
    /// Tasks of ours end alike, one after the other, and that is to be taken for a failure.
    CrashLoop(String),
    /// The role may not read the ServiceDeployments API.
    Denied,
    /// DescribeServices was throttled, lost, 5xx: counted, not believed.
    Unreadable(String),
    /// AWS does not take our credentials any more, and they are not renewed.
    SignedOut(String),
    /// The same of the ServiceDeployments API: the service is read instead.
    ApiUnreadable(String),
}

kinds! {
/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Verdict {
    /// Our deployment is the primary one and completed, and as many of its tasks run as should. With `desired` 0 nothing
    /// was started, so nothing was verified.
    Stable(Counts),
    /// ECS went back by itself, and the previous revision serves again.
    RolledBack { reason: String, to: TaskDefinitionArn },
    /// Ours failed, and ECS does not go back.
    Failed { reason: String },
    /// Somebody else's deployment replaced ours.
    Superseded { by: TaskDefinitionArn },
    /// We stop waiting; AWS goes on. `is_completed`: it has replaced what ran before it, and some of its tasks are missing.
    TimedOut { last: Counts, awaiting_hook: Option<String>, stage: Option<String>, is_completed: bool },
    /// Ours failed, and so did going back.
    Unsteady { reason: String },
    /// The service could not be read any more: what serves is unknown, and nothing is known to have failed. `is-signed-out`: AWS
    /// does not take the credentials any more.
    Lost { error: String, is_signed_out: bool },
    /// The service was deleted meanwhile.
    Gone { why: String },
}
}

impl Verdict {
    /// Why ECS ended the deployment, in its own words.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::RolledBack { reason, .. } | Self::Failed { reason } | Self::Unsteady { reason } => Some(reason),
            _ => None,
        }
    }
}

/// The predicate of a sentence about the deployment.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stable(_) => f.write_str("serves"),
            Self::RolledBack { reason, to } => write!(f, "was rolled back to {}: {reason}", to.short()),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::Superseded { by } => write!(f, "was replaced by a newer deployment of {}", by.short()),
            Self::TimedOut { awaiting_hook: Some(hook), .. } => {
                write!(f, "is paused by hook {hook}, which waits for a person")
            }
            Self::TimedOut { last, is_completed: true, .. } => {
                write!(f, "has completed, and {} of its {} tasks run", last.running, last.desired)
            }
            Self::TimedOut { last, stage: Some(stage), .. } => {
                let traffic = if has_shifted(stage) { "it has the traffic already, " } else { "" };
                write!(f, "is still rolling out: {traffic}stage {stage}, {}/{} running", last.running, last.desired)
            }
            Self::TimedOut { last, .. } => write!(f, "is still rolling out: {}/{} running", last.running, last.desired),
            Self::Unsteady { reason } => write!(f, "failed, and so did going back: {reason}"),
            Self::Lost { error, .. } => write!(f, "could not be followed to its end, what serves is unknown: {error}"),
            Self::Gone { why } => write!(f, "could not be followed to its end: {why}"),
        }
    }
}

/// From here on the new revision has the production traffic.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-how-it-works.html>
pub(super) fn has_shifted(stage: &str) -> bool {
    matches!(stage, "POST_PRODUCTION_TRAFFIC_SHIFT" | "BAKE_TIME" | "CLEAN_UP")
}

/// Where the deployment stands.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// UpdateService was accepted; our deployment has not been seen yet.
    Scheduled,
    /// Seen; tasks are moving.
    Progressing(Counts),
    /// Ours failed, and the previous revision is being put back.
    RollingBack,
    Finished(Verdict),
}

/// A deployment under observation.
#[derive(Clone, Debug)]
pub struct Rollout {
    target: Target,
    phase: Phase,
    /// The newest read of the service that is not known to be stale, and when.
    shown: Option<(Duration, Box<Service>)>,
    /// AWS's time of the newest event that any read has shown: a read that ends before is stale.
    newest_event: f64,
    api: Api,
    /// Why ours is known to have failed, and since when.
    failed: Option<(Duration, String)>,
    /// Since when, and in how many reads in a row, another deployment was the primary one.
    replaced: Option<(Duration, u32)>,
    completed: Option<Completed>,
    /// Since when which primary deployment has been the only one, with full counts.
    alone: Option<(Duration, DeploymentId)>,
    /// The deployment that ECS went back to.
    back_to: Option<DeploymentId>,
    /// Since when the rollback looks over.
    back: Option<Duration>,
    missing: Option<(Duration, u32)>,
    /// Since when DescribeServices has not worked.
    blind: Option<Duration>,
    crash_loop: Option<String>,
    /// How long before second 0 of this clock UpdateService was sent.
    age: Duration,
    now: Duration,
    /// What must be read before anything can be concluded.
    need: Option<Ask>,
    asked: Asked,
    reported: Reported,
}

/// What the ServiceDeployments API says.
#[derive(Clone, Debug, Default)]
struct Api {
    is_denied: bool,
    /// Lists without ours.
    tries: u32,
    ours: Option<ServiceDeploymentArn>,
    read: Option<(Duration, ServiceDeployment)>,
    ended: Option<(Duration, ServiceDeploymentStatus)>,
    /// When the list was last read.
    listed: Option<Duration>,
    newer: Option<Newer>,
    /// It does not answer; when it was tried last.
    dark: Option<Duration>,
}

/// When each was asked last.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    service: Option<Duration>,
    api: Option<Duration>,
    list: Option<Duration>,
    tasks: Option<Duration>,
}

/// Ours is said to have completed.
#[derive(Clone, Debug, Default)]
struct Completed {
    since: Duration,
    /// The last read in which fewer of its tasks ran than should.
    short: Option<Duration>,
    short_since: Option<Duration>,
    /// Since when none of them ran.
    empty_since: Option<Duration>,
    /// How many of its tasks have ended by themselves since, and when that was last news.
    deaths: usize,
    died: Option<Duration>,
    how: Option<String>,
    has_looked: bool,
    is_unreadable: bool,
}

impl Rollout {
    /// `seen_events` are the ids of service events from before, which are not news.
    pub fn new(target: Target, seen_events: Vec<String>) -> Self {
        Self {
            target,
            phase: Phase::Scheduled,
            shown: None,
            newest_event: 0.0,
            api: Api::default(),
            failed: None,
            replaced: None,
            completed: None,
            alone: None,
            back_to: None,
            back: None,
            missing: None,
            blind: None,
            crash_loop: None,
            age: Duration::ZERO,
            now: Duration::ZERO,
            need: None,
            asked: Asked::default(),
            reported: Reported::new(seen_events),
        }
    }

    /// The same deployment, after ECS was told to roll it back: only the way back is watched now, on a new clock.
    #[must_use]
    pub fn going_back(self, reason: &str) -> Self {
        let failed = self.failed.map_or_else(|| reason.to_owned(), |(_, reason)| reason);
        let api = Api { read: None, ended: None, listed: None, dark: None, ..self.api };
        Self {
            phase: Phase::RollingBack,
            failed: Some((Duration::ZERO, failed)),
            newest_event: self.newest_event,
            age: self.age + self.now,
            api,
            reported: self.reported.of_going_back(),
            ..Self::new(self.target, vec![])
        }
    }

    pub fn verdict(&self) -> Option<&Verdict> {
        match &self.phase {
            Phase::Finished(verdict) => Some(verdict),
            _ => None,
        }
    }

    pub fn service_deployment(&self) -> Option<&ServiceDeploymentArn> {
        self.api.ours.as_ref()
    }

    /// How many tasks are seen to have failed, by ECS's count or by what it started in their place: worth reading the stopped
    /// tasks now.
    pub fn failures(&self) -> i64 {
        self.reported.failures().max(self.reported.replaced())
    }

    /// The names of the alarms that went off.
    pub fn triggered_alarms(&self) -> &[String] {
        self.reported.alarms()
    }

    pub fn counts(&self) -> Counts {
        match self.phase {
            Phase::Progressing(counts) => counts,
            _ => Counts::default(),
        }
    }

    /// Takes one observation, `at` after UpdateService, and tells what is new in it. Finished is final.
    pub fn observe(&mut self, at: Duration, observation: Observation) -> Vec<RolloutEvent> {
        let mut news = vec![];
        if self.verdict().is_some() {
            return news;
        }
        self.now = at;
        self.need = None;
        match observation {
            Observation::Service(found) => self.take_service(at, found, &mut news),
            Observation::Listed(listed) => self.take_list(at, listed, &mut news),
            Observation::ServiceDeployment(found) => self.take_deployment(at, found, &mut news),
            Observation::Tasks(deaths) => {
                self.asked.tasks = Some(at);
                self.take_deaths(at, deaths);
            }
            Observation::CrashLoop(reason) => self.crash_loop = Some(reason),
            Observation::Denied => self.api.is_denied = true,
            Observation::ApiUnreadable(_) => self.api.dark = Some(at),
            Observation::Unreadable(error) => {
                self.asked.service = Some(at);
                self.take_blindness(at, error, false);
            }
            Observation::SignedOut(error) => {
                self.asked.service = Some(at);
                self.take_blindness(at, error, true);
            }
        }
        self.judge(at, &mut news);
        self.expire(at);
        news
    }

    fn take_service(&mut self, at: Duration, found: Option<Box<Service>>, news: &mut Vec<RolloutEvent>) {
        self.asked.service = Some(at);
        self.blind = None;
        let Some(service) = found else {
            let (since, reads) = self.missing.unwrap_or((at, 0));
            self.missing = Some((since, reads + 1));
            if reads + 1 >= 3 {
                self.finish(Verdict::Gone { why: "the service is missing".to_owned() });
            }
            return;
        };
        self.missing = None;
        if service.status != "ACTIVE" {
            return self.finish(Verdict::Gone { why: format!("the service is {}", service.status) });
        }
        let newest = service.events.iter().map(|e| e.created_at).fold(0.0, f64::max);
        if newest < self.newest_event {
            return;
        }
        self.newest_event = newest;
        self.reported.events(&service, news);
        if let Some(reason) = evidence::of_failure(&self.target, &service) {
            self.fail(at, reason);
        }
        match service.primary() {
            Some(primary) if primary.id == self.target.deployment => self.replaced = None,
            Some(_) => {
                let (since, reads) = self.replaced.unwrap_or((at, 0));
                self.replaced = Some((since, reads + 1));
            }
            None => {}
        }
        self.shown = Some((at, service));
    }

    fn take_list(&mut self, at: Duration, listed: Listed, news: &mut Vec<RolloutEvent>) {
        self.asked.list = Some(at);
        self.api.dark = None;
        self.api.listed = Some(at);
        if listed.newer.is_some() {
            self.api.newer = listed.newer;
        }
        match listed.ours {
            Some(deployment) => {
                self.api.ours = Some(deployment.arn.clone());
                self.follow(at, deployment, news);
            }
            None if self.api.ours.is_none() => self.api.tries += 1,
            None => {}
        }
    }

    fn take_deployment(&mut self, at: Duration, found: Option<ServiceDeployment>, news: &mut Vec<RolloutEvent>) {
        self.asked.api = Some(at);
        self.api.dark = None;
        if let Some(deployment) = found {
            self.follow(at, deployment, news);
        }
    }

    /// Takes the ServiceDeployments API's account of our deployment. An end is final: a later read that shows less is
    /// stale.
    fn follow(&mut self, at: Duration, deployment: ServiceDeployment, news: &mut Vec<RolloutEvent>) {
        use ServiceDeploymentStatus as Status;
        self.asked.api = Some(at);
        if self.api.ended.is_some() {
            return;
        }
        self.reported.deployment(&deployment, news);
        let first = deployment.rollback_reason.clone().or_else(|| deployment.reason.clone());
        let reason = first.unwrap_or_else(|| match deployment.triggered_alarms.as_slice() {
            [] => "ECS gives no reason".to_owned(),
            alarms => format!("alarm {}", alarms.join(", ")),
        });
        match &deployment.status {
            Status::Pending | Status::InProgress | Status::StopRequested | Status::Unknown(_) => {}
            Status::RollbackRequested | Status::RollbackInProgress => {
                self.fail(at, reason);
                self.roll_back(news);
            }
            Status::RollbackSuccessful | Status::RollbackFailed => {
                self.fail(at, reason);
                self.roll_back(news);
                self.api.ended = Some((at, deployment.status.clone()));
            }
            Status::Successful | Status::Stopped => self.api.ended = Some((at, deployment.status.clone())),
        }
        self.api.read = Some((at, deployment));
    }

    fn take_deaths(&mut self, at: Duration, deaths: Option<Vec<Death>>) {
        let since = self.completed_at();
        let Some(completed) = &mut self.completed else { return };
        completed.has_looked = true;
        completed.is_unreadable = deaths.is_none();
        let after: Vec<Death> =
            deaths.unwrap_or_default().into_iter().filter(|d| since.is_none_or(|since| d.at > since)).collect();
        if after.len() > completed.deaths {
            completed.deaths = after.len();
            completed.died = Some(at);
            completed.how = after.last().map(|d| d.how.clone());
        }
    }

    /// AWS's time of our deployment's completion, where anything says it.
    fn completed_at(&self) -> Option<f64> {
        let by_event = self.shown.as_ref().and_then(|(_, service)| evidence::completed_at(&self.target, service));
        by_event.or_else(|| self.api.read.as_ref().and_then(|(_, d)| d.finished_at))
    }

    fn take_blindness(&mut self, at: Duration, error: String, is_signed_out: bool) {
        let since = *self.blind.get_or_insert(at);
        if at.saturating_sub(since) < if is_signed_out { SIGNED_OUT } else { BLIND } {
            return;
        }
        // The other source goes on telling what ECS does with ours: that is not being lost.
        let is_told = self.is_api_usable() && self.api.read.as_ref().is_some_and(|(_, d)| d.status.is_ongoing());
        if !is_told {
            self.finish(Verdict::Lost { error, is_signed_out });
        }
    }

    /// It may be read, answers, and shows (or may yet show) ours.
    fn is_api_usable(&self) -> bool {
        !self.api.is_denied && self.api.dark.is_none() && (self.api.ours.is_some() || self.api.tries < TRIES)
    }

    fn expire(&mut self, at: Duration) {
        let wait = self.target.wait;
        let limit = match (&self.phase, &self.failed) {
            (Phase::Finished(_), _) => return,
            (Phase::RollingBack, _) => wait + ROLLBACK_ENDS,
            // A failure that is known is said as one, when it is known whether ECS goes back.
            (_, Some((since, _))) => wait.max(*since + judge::ROLLBACK_STARTS + judge::SETTLE),
            // So is one that shows in having no task at all.
            _ => match self.empty_since() {
                Some(since) => wait.max(since + judge::QUIET + judge::SETTLE),
                None => wait,
            },
        };
        if at < limit {
            return;
        }
        if self.phase == Phase::RollingBack {
            return self.finish(Verdict::Unsteady { reason: "the rollback has not ended".to_owned() });
        }
        let read = self.api.read.as_ref().map(|(_, d)| d);
        let awaiting_hook = read.and_then(|d| d.awaiting_hook.clone());
        let stage = read.and_then(|d| d.lifecycle_stage.clone());
        let is_completed = self.completed.as_ref().is_some_and(|completed| completed.short_since.is_some());
        self.finish(Verdict::TimedOut { last: self.counts(), awaiting_hook, stage, is_completed });
    }

    /// Since when a completed deployment has been seen without any of its tasks.
    fn empty_since(&self) -> Option<Duration> {
        self.completed.as_ref().and_then(|completed| completed.empty_since)
    }

    /// The first reason stays: later ones are consequences. A vague one gives way to what ECS says.
    fn fail(&mut self, at: Duration, reason: String) {
        match &mut self.failed {
            Some((_, known)) if known.contains("no reason") => *known = reason,
            Some(_) => {}
            None => self.failed = Some((at, reason)),
        }
    }

    fn failure_reason(&self, otherwise: &str) -> String {
        self.failed.as_ref().map_or_else(|| otherwise.to_owned(), |(_, reason)| reason.clone())
    }

    fn progress(&mut self, counts: Counts, news: &mut Vec<RolloutEvent>) {
        self.reported.progress(counts, news);
        self.phase = Phase::Progressing(counts);
    }

    fn roll_back(&mut self, news: &mut Vec<RolloutEvent>) {
        let reason = self.failure_reason("no reason given");
        self.reported.rolling_back(&reason, news);
        self.phase = Phase::RollingBack;
    }

    fn finish(&mut self, verdict: Verdict) {
        self.phase = Phase::Finished(verdict);
    }
}
