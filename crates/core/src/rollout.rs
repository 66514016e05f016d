//! What the observations of a deployment mean: a state machine without a clock or a network.
//!
//! A deployment is followed by its id, never by "the service looks stable": after a circuit-breaker rollback the
//! service *is* stable, on the old revision. Two sources are read in turn. The ServiceDeployments API says how our
//! deployment ended, since a rollback happens inside it; DescribeServices says who serves, and is all there is where
//! the role may not read the first. Reads may lag the write, the primary of a rollback may carry the old id or a new
//! one, and the id of a superseded deployment may stay in progress for ever: every rule below holds either way.

mod evidence;
#[cfg(test)]
mod tests;

use super::names::{DeploymentId, ServiceDeploymentArn, TaskDefinitionArn};
use super::service::{Breaker, Counts, Deployment, Service, ServiceDeployment, ServiceDeploymentStatus, State};
use super::wording::counted;
use std::time::Duration;

/// Right after UpdateService a read can still show the world before it.
const STALE_READS: Duration = Duration::from_secs(60);
/// How long DescribeServices may contradict a ServiceDeployment that has ended before the latter is believed.
const SETTLE: Duration = Duration::from_secs(30);
/// After our deployment failed, ECS switches to the rollback within this time, or there is nothing to go back to.
const ROLLBACK_STARTS: Duration = Duration::from_secs(60);
/// Between two reads while the end can come at any moment: half of it is the mean lateness.
const NEAR: Duration = Duration::from_millis(2700);
/// A rollback is watched this much longer than the deployment may take.
const ROLLBACK_ENDS: Duration = Duration::from_secs(15 * 60);
/// Reads that fail for this long leave us blind.
const BLIND: Duration = Duration::from_secs(5 * 60);

/// What is being followed.
#[derive(Clone, Debug)]
pub struct Target {
    /// The primary's id in the answer of UpdateService.
    pub deployment: DeploymentId,
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
    /// Find the service deployment whose target is our task definition.
    Locate,
    ServiceDeployment(ServiceDeploymentArn),
}

/// What was read.
#[derive(Clone, Debug)]
pub enum Observation {
    /// `None`: DescribeServices answered `MISSING`.
    Service(Option<Box<Service>>),
    /// `None`: not listed yet.
    Located(Option<ServiceDeployment>),
    ServiceDeployment(Option<ServiceDeployment>),
    /// The role may not read the ServiceDeployments API.
    Denied,
    /// Throttled, lost, 5xx: counted, not believed.
    Unreadable(String),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Our deployment is the primary one and completed. With `desired` 0 nothing was started, so nothing was verified.
    Stable(Counts),
    /// ECS went back by itself, and the previous revision serves again.
    RolledBack { reason: String, to: TaskDefinitionArn },
    /// Ours failed, and ECS does not go back.
    Failed { reason: String },
    /// Somebody else's deployment replaced ours.
    Superseded { by: TaskDefinitionArn },
    /// We stop waiting; AWS goes on.
    TimedOut { last: Counts, awaiting_hook: Option<String> },
    /// Ours failed, and so did going back.
    Unsteady { reason: String },
    /// The service could not be read any more.
    Lost { error: String },
}

/// Where the deployment stands.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// UpdateService was accepted; our deployment has not been seen yet.
    Scheduled,
    /// Seen; tasks are moving.
    Progressing(Counts),
    /// Ours failed and ECS is putting the previous revision back.
    RollingBack,
    Finished(Verdict),
}

/// A deployment under observation.
#[derive(Clone, Debug)]
pub struct Rollout {
    target: Target,
    phase: Phase,
    source: Source,
    /// Why ours is known to have failed, and since when.
    failed: Option<(Duration, String)>,
    /// The ServiceDeployments API says that it has ended.
    ended: Option<(Duration, ServiceDeploymentStatus)>,
    /// Consecutive reads in which another deployment was primary and nothing told of a failure of ours.
    replaced: u32,
    missing: u32,
    /// Since when no read has worked.
    blind: Option<Duration>,
    /// Reads of the service deployment since the service itself was read.
    since_service: u32,
    awaiting_hook: Option<String>,
    told: Told,
}

/// The ServiceDeployments API, as far as it can be used.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// Not found yet; the number of tries.
    Unlocated(u32),
    Located(ServiceDeploymentArn),
    /// Denied, or never listed: DescribeServices alone.
    Unavailable,
}

/// What has been said already, so that each change is said once.
#[derive(Clone, Debug, Default)]
struct Told {
    counts: Option<Counts>,
    failures: Option<i64>,
    rolling_back: bool,
    stage: Option<String>,
    hook: Option<String>,
    events: Vec<String>,
}

impl Rollout {
    /// `seen_events` are the ids of service events from before, which are not news.
    pub fn new(target: Target, seen_events: Vec<String>) -> Self {
        Self {
            target,
            phase: Phase::Scheduled,
            source: Source::Unlocated(0),
            failed: None,
            ended: None,
            replaced: 0,
            missing: 0,
            blind: None,
            since_service: 0,
            awaiting_hook: None,
            told: Told { events: seen_events, ..Told::default() },
        }
    }

    /// The same deployment, after ECS was told to roll it back: only the way back is watched now.
    #[must_use]
    pub fn going_back(self, reason: &str) -> Self {
        let failed = self.failed.or_else(|| Some((Duration::ZERO, reason.to_owned())));
        let told = Told { rolling_back: true, ..self.told };
        Self {
            phase: Phase::RollingBack,
            failed: failed.map(|(_, reason)| (Duration::ZERO, reason)),
            ended: None,
            replaced: 0,
            blind: None,
            told,
            ..self
        }
    }

    pub fn verdict(&self) -> Option<&Verdict> {
        match &self.phase {
            Phase::Finished(verdict) => Some(verdict),
            _ => None,
        }
    }

    pub fn service_deployment(&self) -> Option<&ServiceDeploymentArn> {
        match &self.source {
            Source::Located(arn) => Some(arn),
            _ => None,
        }
    }

    /// A deployment that shows failures: worth reading its stopped tasks now.
    pub fn failures(&self) -> i64 {
        self.told.failures.unwrap_or_default()
    }

    pub fn counts(&self) -> Counts {
        match self.phase {
            Phase::Progressing(counts) => counts,
            _ => Counts::default(),
        }
    }

    /// What to read next, and how long after the last read. One call each time.
    pub fn next(&self, at: Duration) -> (Duration, Ask) {
        let second = Duration::from_secs(1);
        let ask = match &self.source {
            Source::Unlocated(_) if self.since_service > 0 => Ask::Service,
            Source::Unlocated(_) => Ask::Locate,
            // The service is read now and then as well: a superseded service deployment may never end.
            Source::Located(arn) if self.ended.is_none() && self.since_service < 4 => {
                Ask::ServiceDeployment(arn.clone())
            }
            Source::Located(_) | Source::Unavailable => Ask::Service,
        };
        let pause = match &self.phase {
            _ if self.ended.is_some() && self.since_service > 0 => Duration::ZERO,
            _ if self.blind.is_some() => 5 * second,
            _ if at < 2 * second => second,
            _ if self.ended.is_some() => second,
            _ if at < 12 * second => NEAR,
            // Before the tasks run, the end is not near; once they do, it can come at any moment.
            Phase::Progressing(counts) if counts.running < counts.desired => 9 * second / 2,
            _ => NEAR,
        };
        (pause, ask)
    }

    /// Takes one observation, `at` after UpdateService, and tells what is new in it. Finished is final.
    pub fn observe(&mut self, at: Duration, observation: Observation) -> Vec<String> {
        let mut news = vec![];
        if self.verdict().is_some() {
            return news;
        }
        if matches!(observation, Observation::Unreadable(_)) {
            self.blind.get_or_insert(at);
        } else {
            self.blind = None;
        }
        match observation {
            Observation::Service(service) => {
                self.since_service = 0;
                self.judge(at, service.as_deref(), &mut news);
            }
            Observation::Located(found) => {
                self.since_service += 1;
                match (found, &mut self.source) {
                    (Some(deployment), _) => {
                        self.source = Source::Located(deployment.arn.clone());
                        self.follow(at, &deployment, &mut news);
                    }
                    (None, Source::Unlocated(tries)) if *tries < 20 => *tries += 1,
                    (None, source) => *source = Source::Unavailable,
                }
            }
            Observation::ServiceDeployment(found) => {
                self.since_service += 1;
                match found {
                    Some(deployment) => self.follow(at, &deployment, &mut news),
                    None => self.source = Source::Unavailable,
                }
            }
            Observation::Denied => self.source = Source::Unavailable,
            Observation::Unreadable(error) => {
                if self.blind.is_some_and(|since| at.saturating_sub(since) >= BLIND) {
                    self.finish(Verdict::Lost { error });
                }
            }
        }
        self.expire(at);
        news
    }

    /// Reads the ServiceDeployments API's account of our deployment.
    fn follow(&mut self, at: Duration, deployment: &ServiceDeployment, news: &mut Vec<String>) {
        use ServiceDeploymentStatus as Status;
        self.awaiting_hook = deployment.awaiting_hook.clone();
        self.tell_deployment(deployment, news);
        let reason = || {
            let first = deployment.rollback_reason.clone().or_else(|| deployment.reason.clone());
            first.unwrap_or_else(|| "ECS gives no reason".to_owned())
        };
        match &deployment.status {
            Status::Pending | Status::InProgress | Status::Unknown(_) => {
                if self.phase != Phase::RollingBack {
                    self.progress(deployment.counts, news);
                }
            }
            Status::StopRequested => {}
            Status::RollbackRequested | Status::RollbackInProgress => {
                self.fail(at, reason());
                self.roll_back(news);
            }
            Status::RollbackFailed => {
                self.finish(Verdict::Unsteady { reason: reason() });
            }
            Status::RollbackSuccessful => {
                self.fail(at, reason());
                self.roll_back(news);
                self.ended.get_or_insert((at, Status::RollbackSuccessful));
            }
            ended @ (Status::Successful | Status::Stopped) => {
                self.ended.get_or_insert((at, ended.clone()));
            }
        }
    }

    /// Reads DescribeServices: who is primary, and what that says about ours.
    fn judge(&mut self, at: Duration, service: Option<&Service>, news: &mut Vec<String>) {
        let Some(service) = service else {
            self.missing += 1;
            if self.missing >= 3 {
                self.finish(Verdict::Lost { error: "the service is missing".to_owned() });
            }
            return;
        };
        self.missing = 0;
        if service.status != "ACTIVE" {
            return self.finish(Verdict::Lost { error: format!("the service is {}", service.status) });
        }
        self.tell_events(service, news);
        if let Some(reason) = evidence::of_failure(&self.target, service) {
            self.fail(at, reason);
        }
        let Some(primary) = service.primary() else { return };
        if primary.id == self.target.deployment {
            self.replaced = 0;
            self.judge_ours(at, primary, service, news);
        } else {
            self.judge_other(at, primary, news);
        }
    }

    fn judge_ours(&mut self, at: Duration, ours: &Deployment, service: &Service, news: &mut Vec<String>) {
        if let Some(failures) = Some(ours.failed_tasks).filter(|n| *n > 0) {
            self.tell_failures(failures, None, news);
        }
        match (ours.state, self.ended_for(at)) {
            (State::Completed, _) => self.finish(Verdict::Stable(ours.counts)),
            (_, Some((Status::Successful, true))) => self.finish(Verdict::Stable(ours.counts)),
            // Stopped, and ours is still the primary one: nothing replaces it.
            (_, Some((Status::Stopped, _))) => {
                let reason = self.failure_reason("the deployment was stopped");
                self.finish(Verdict::Failed { reason });
            }
            // ECS says that it went back, and a lagging read still shows ours.
            (_, Some((Status::RollbackSuccessful, is_old))) => {
                if is_old && let Some((_, to)) = self.target.before.clone() {
                    let reason = self.failure_reason("ECS gives no reason");
                    self.finish(Verdict::RolledBack { reason, to });
                }
            }
            // Told to go back: ours stays primary until ECS switches.
            _ if self.phase == Phase::RollingBack => {}
            (State::Failed, _) => self.judge_failed(at),
            (State::Unreported, _)
                if ours.counts.is_full() && service.deployments.len() == 1 && self.source == Source::Unavailable =>
            {
                // No rolloutState behind a Classic Load Balancer: full counts of a lone deployment, twice.
                match self.phase {
                    Phase::Progressing(counts) if counts == ours.counts => self.finish(Verdict::Stable(ours.counts)),
                    _ => self.progress(ours.counts, news),
                }
            }
            _ if !self.target.breaker.is_enabled && ours.failed_tasks >= threshold(ours.counts.desired) => {
                let failed = counted(ours.failed_tasks, "task");
                let reason = format!("{failed} in a row failed to start, and no circuit breaker is on");
                self.finish(Verdict::Failed { reason });
            }
            _ => self.progress(ours.counts, news),
        }
    }

    /// Ours is FAILED and still the primary one: ECS goes back soon, or never.
    fn judge_failed(&mut self, at: Duration) {
        let since = self.failed.as_ref().map_or(at, |(since, _)| *since);
        let rolls_back = self.target.breaker.rolls_back && self.target.before.is_some();
        if !rolls_back || at.saturating_sub(since) >= ROLLBACK_STARTS {
            let reason = self.failure_reason("ECS gives no reason");
            self.finish(Verdict::Failed { reason });
        }
    }

    fn judge_other(&mut self, at: Duration, primary: &Deployment, news: &mut Vec<String>) {
        let is_before = self.target.before.as_ref().is_some_and(|(id, _)| *id == primary.id);
        let runs_before = self.target.before.as_ref().is_some_and(|(_, revision)| *revision == primary.task_definition);
        if is_before && self.phase == Phase::Scheduled && self.failed.is_none() && at < STALE_READS {
            return;
        }
        let names_rollback = primary.reason.as_deref().is_some_and(|r| r.contains("rolling back"));
        if names_rollback {
            self.fail(at, "ECS rolls back and gives no reason".to_owned());
        }
        if self.failed.is_some()
            && (runs_before
                || is_before
                || names_rollback
                || self.phase == Phase::RollingBack && !self.is_foreign(primary))
        {
            self.roll_back(news);
            match primary.state {
                State::Completed => {
                    let reason = self.failure_reason("ECS gives no reason");
                    self.finish(Verdict::RolledBack { reason, to: primary.task_definition.clone() });
                }
                State::Failed => {
                    let reason = primary.reason.clone().unwrap_or_else(|| "the rollback failed".to_owned());
                    self.finish(Verdict::Unsteady { reason });
                }
                State::Unreported if primary.counts.is_full() => {
                    let reason = self.failure_reason("ECS gives no reason");
                    self.finish(Verdict::RolledBack { reason, to: primary.task_definition.clone() });
                }
                _ => {}
            }
            return;
        }
        // One read can be torn, and the event that tells of a failure can lag the deployment list.
        self.replaced += 1;
        if self.replaced < 3 {
            return;
        }
        if is_before {
            self.fail(at, "ECS put the previous deployment back and gives no reason".to_owned());
        } else {
            self.finish(Verdict::Superseded { by: primary.task_definition.clone() });
        }
    }

    /// Neither ours nor the one before: somebody deployed while ECS was going back.
    fn is_foreign(&self, primary: &Deployment) -> bool {
        primary.task_definition != self.target.task_definition
            && self.target.before.as_ref().is_none_or(|(_, revision)| *revision != primary.task_definition)
    }

    /// The end by the ServiceDeployments API, and whether it is old enough to be believed against other reads.
    fn ended_for(&self, at: Duration) -> Option<(ServiceDeploymentStatus, bool)> {
        self.ended.as_ref().map(|(since, status)| (status.clone(), at.saturating_sub(*since) >= SETTLE))
    }

    fn expire(&mut self, at: Duration) {
        let limit = if self.phase == Phase::RollingBack { self.target.wait + ROLLBACK_ENDS } else { self.target.wait };
        if self.verdict().is_some() || at < limit {
            return;
        }
        let last = self.counts();
        if self.phase == Phase::RollingBack {
            self.finish(Verdict::Unsteady { reason: "the rollback has not ended".to_owned() });
        } else {
            self.finish(Verdict::TimedOut { last, awaiting_hook: self.awaiting_hook.clone() });
        }
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

    fn progress(&mut self, counts: Counts, news: &mut Vec<String>) {
        if self.told.counts != Some(counts) {
            news.push(format!("{}/{} running, {} pending", counts.running, counts.desired, counts.pending));
            self.told.counts = Some(counts);
        }
        self.phase = Phase::Progressing(counts);
    }

    fn roll_back(&mut self, news: &mut Vec<String>) {
        if !self.told.rolling_back {
            news.push(format!("ECS rolls back: {}", self.failure_reason("no reason given")));
            self.told.rolling_back = true;
        }
        self.phase = Phase::RollingBack;
    }

    fn finish(&mut self, verdict: Verdict) {
        self.phase = Phase::Finished(verdict);
    }

    fn tell_deployment(&mut self, deployment: &ServiceDeployment, news: &mut Vec<String>) {
        if let Some((failures, threshold)) = deployment.failures.filter(|(failures, _)| *failures > 0) {
            self.tell_failures(failures, Some(threshold), news);
        }
        if deployment.lifecycle_stage.is_some() && deployment.lifecycle_stage != self.told.stage {
            self.told.stage = deployment.lifecycle_stage.clone();
            news.push(format!("stage {}", self.told.stage.as_deref().unwrap_or_default()));
        }
        if deployment.awaiting_hook.is_some() && deployment.awaiting_hook != self.told.hook {
            self.told.hook = deployment.awaiting_hook.clone();
            news.push(format!(
                "paused by hook {}: it waits for a person",
                self.told.hook.as_deref().unwrap_or_default()
            ));
        }
    }

    fn tell_failures(&mut self, failures: i64, threshold: Option<i64>, news: &mut Vec<String>) {
        if self.told.failures.is_none_or(|told| told < failures) {
            self.told.failures = Some(failures);
            news.push(match threshold {
                Some(threshold) => format!("{failures} of {threshold} task failures that trip the circuit breaker"),
                None => format!("{} failed", counted(failures, "task")),
            });
        }
    }

    fn tell_events(&mut self, service: &Service, news: &mut Vec<String>) {
        for event in service.events.iter().rev() {
            if !self.told.events.contains(&event.id) {
                self.told.events.push(event.id.clone());
                news.push(event.message.clone());
            }
        }
    }
}

use ServiceDeploymentStatus as Status;

/// The breaker's own default: half of the desired count, at least 3 and at most 200.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>
fn threshold(desired: i64) -> i64 {
    ((desired + 1) / 2).clamp(3, 200)
}
