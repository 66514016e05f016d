//! What follows from what has been seen, and what must be read before anything follows.
//!
//! The strategy decides which source is the truth: of a rolling deployment DescribeServices, of the others the
//! ServiceDeployments API, whose word on a rolling one is waited for up to [`SETTLE`]. Nothing bad is concluded before
//! the list of service deployments, where it can be read, shows that nobody has deployed since.

use super::{Ask, Completed, Phase, Rollout, RolloutEvent, Verdict, evidence};
use crate::service::{Counts, Deployment, Service, ServiceDeploymentStatus as Status, State, Strategy};
use crate::wording::counted;
use std::time::Duration;

/// Right after UpdateService a read can still show the world before it, and not only the first read.
const STALE_READS: Duration = Duration::from_secs(60);
/// How long the two sources may contradict each other before the one that is the truth is believed.
pub(super) const SETTLE: Duration = Duration::from_secs(30);
/// After our deployment failed, ECS switches to the rollback within this time, or there is nothing to go back to.
pub(super) const ROLLBACK_STARTS: Duration = Duration::from_secs(60);
/// The list of service deployments may lag by this much before the service alone decides who replaced ours.
const LISTED: Duration = Duration::from_secs(10);
/// After a task of a completed deployment ended by itself, none may for this long.
pub(super) const QUIET: Duration = Duration::from_secs(60);
/// A completed deployment without enough tasks has this long to get them.
const SHORT: Duration = Duration::from_secs(5 * 60);
/// What the service showed this long ago is read again before it is a verdict.
const RECENT: Duration = Duration::from_secs(1);
/// So is the list; less often, so that two slow calls do not wait for each other.
const LISTED_RECENTLY: Duration = Duration::from_secs(5);
/// And so is how its tasks have ended.
const LOOKED_RECENTLY: Duration = Duration::from_secs(11);
/// Between the first and the third read that show another deployment, where nothing tells which it is.
const UNNAMED: Duration = Duration::from_secs(2);

impl Rollout {
    pub(super) fn judge(&mut self, at: Duration, news: &mut Vec<RolloutEvent>) {
        if self.verdict().is_some() {
            return;
        }
        if let Some(newer) = &self.api.newer {
            let by = newer.task_definition.clone();
            return self.finish(Verdict::Superseded { by });
        }
        let Some((seen, service)) = self.shown.take() else {
            if matches!(self.api.ended, Some((_, Status::RollbackFailed))) && self.nobody_since(at) {
                self.finish(Verdict::Unsteady { reason: self.failure_reason("ECS gives no reason") });
            }
            return;
        };
        if let Some(primary) = service.primary() {
            let read = Read { at, seen, service: &service, primary };
            if primary.id == self.target.deployment {
                self.judge_ours(&read, news);
            } else {
                self.judge_other(&read, news);
            }
        }
        self.shown = Some((seen, service));
    }

    fn judge_ours(&mut self, read: &Read<'_>, news: &mut Vec<RolloutEvent>) {
        let (at, ours) = (read.at, read.primary);
        if ours.failed_tasks > 0 {
            self.reported.failed_tasks(ours.failed_tasks, None, news);
        }
        if let Some(reason) = self.crash_loop.clone() {
            return self.failed(read, reason);
        }
        if self.says_completed(read) {
            return self.judge_completed(read, news);
        }
        self.completed = None;
        match self.api.ended.clone() {
            // It was told to stop, failed, or was replaced; a read that shows the newer one can be late.
            Some((since, Status::Stopped)) if ours.state != State::Failed || self.phase == Phase::RollingBack => {
                let reason = self.api.read.as_ref().and_then(|(_, d)| d.reason.clone());
                let reason = reason.unwrap_or_else(|| self.failure_reason("the deployment was stopped"));
                if at.saturating_sub(since) >= SETTLE {
                    self.failed(read, reason);
                }
            }
            Some((_, Status::RollbackFailed)) => self.unsteady(read, self.failure_reason("ECS gives no reason")),
            _ if self.phase == Phase::RollingBack => {}
            _ if ours.state == State::Failed => self.judge_failed(read),
            _ if self.is_crashing_unwatched(read) => {
                let failed = counted(ours.failed_tasks, "task");
                self.failed(read, format!("{failed} in a row failed to start, and no circuit breaker is on"));
            }
            _ => self.progress(ours.counts, news),
        }
    }

    /// The source that is the truth says that ours has completed; of its counts it says nothing.
    fn says_completed(&mut self, read: &Read<'_>) -> bool {
        let (ours, at) = (read.primary, read.at);
        let is_full = ours.counts.running >= ours.counts.desired;
        let successful = self.api.ended.as_ref().filter(|(_, status)| *status == Status::Successful).map(|(at, _)| *at);
        let is_known = self.is_api_usable() && (self.api.ours.is_some() || read.is_shifting());
        match ours.state {
            _ if read.is_shifting() && (successful.is_some() || is_known) => successful.is_some(),
            // Without a source that says so: nothing else is left of the service, and stays so.
            _ if read.is_shifting() => {
                let is_over = matches!(ours.state, State::Completed | State::Unreported);
                is_over && is_full && self.is_alone_for(read, SETTLE)
            }
            State::Completed => true,
            // DescribeServices lags, and lags no longer than this. With fewer tasks than desired it is no lag.
            State::InProgress => is_full && successful.is_some_and(|since| at.saturating_sub(since) >= SETTLE),
            // Behind a Classic Load Balancer no state is told.
            State::Unreported if is_known => is_full && successful.is_some(),
            State::Unreported => ours.counts.is_full() && self.is_alone_for(read, Duration::from_secs(1)),
            State::Failed => false,
        }
    }

    /// The primary deployment has been the only one, with full counts, in reads over this time.
    fn is_alone_for(&mut self, read: &Read<'_>, long: Duration) -> bool {
        if read.service.deployments.len() != 1 || !read.primary.counts.is_full() {
            self.alone = None;
            return false;
        }
        let known = self.alone.take().filter(|(_, id)| *id == read.primary.id);
        let (since, id) = known.unwrap_or_else(|| (read.seen, read.primary.id.clone()));
        self.alone = Some((since, id));
        read.seen.saturating_sub(since) >= long
    }

    /// A completed deployment serves when the other source agrees, its tasks run, and none of them ends.
    fn judge_completed(&mut self, read: &Read<'_>, news: &mut Vec<RolloutEvent>) {
        let (at, counts) = (read.at, read.primary.counts);
        let completed = self.completed.get_or_insert_with(|| Completed { since: at, ..Completed::default() });
        let since = completed.since;
        self.phase = match &self.phase {
            Phase::RollingBack => Phase::RollingBack,
            _ => Phase::Progressing(counts),
        };
        let has_died = completed.deaths > 0;
        if let Some(how) = completed.how.clone().filter(|_| dies_on(completed.deaths, counts)) {
            let reason = format!("ECS says completed, and its tasks end one after the other: {how}");
            return self.failed(read, reason);
        }
        if counts.running < counts.desired {
            completed.short = Some(at);
            let short_since = *completed.short_since.get_or_insert(at);
            completed.empty_since = (counts.running == 0).then(|| completed.empty_since.unwrap_or(at));
            let empty_for = completed.empty_since.map(|since| at.saturating_sub(since));
            self.reported.short(counts, news);
            // Nothing serves: that is not left as slow when there is no more time to wait.
            let is_empty = at >= self.target.wait && empty_for.is_some_and(|long| long >= QUIET);
            if is_empty || at.saturating_sub(short_since) >= SHORT && (has_died || counts.running == 0) {
                let reason = format!("ECS says completed, and {} of {} tasks run", counts.running, counts.desired);
                return self.failed(read, reason);
            }
            self.need = Some(Ask::Tasks);
            return;
        }
        (completed.short_since, completed.empty_since) = (None, None);
        if self.is_contradicted(read, since) || self.has_tasks_that_end(at, counts) {
            return;
        }
        if self.is_recent(read) {
            self.finish(Verdict::Stable(counts));
        }
    }

    /// The ServiceDeployments API does not say that ours has succeeded. Of a rolling deployment that counts for a while.
    fn is_contradicted(&mut self, read: &Read<'_>, since: Duration) -> bool {
        if !self.is_api_usable() || matches!(self.api.ended, Some((_, Status::Successful))) {
            return false;
        }
        if !read.is_shifting() && read.at.saturating_sub(since) >= SETTLE {
            return false;
        }
        match &self.api.ours {
            Some(arn) if self.api.ended.is_none() => self.need = Some(Ask::ServiceDeployment(arn.clone())),
            Some(_) => {}
            None if !read.is_shifting() && self.api.listed.is_some_and(|listed| listed >= since) => return false,
            None => self.need = Some(Ask::List),
        }
        true
    }

    /// Tasks of ours have ended since it completed, and it is not yet quiet; or that has not been looked at.
    fn has_tasks_that_end(&mut self, at: Duration, counts: Counts) -> bool {
        let Some(completed) = self.completed.as_ref().filter(|_| counts.desired > 0) else { return false };
        let looked = self.asked.tasks.filter(|_| completed.has_looked);
        // A look of before the service could not be read for a while is none.
        let has_looked = looked.is_some_and(|looked| {
            at.saturating_sub(looked) <= LOOKED_RECENTLY && completed.short.is_none_or(|short| looked > short)
        });
        let must_look = !has_looked;
        let is_loud = |since: Option<Duration>| since.is_some_and(|since| at.saturating_sub(since) < QUIET);
        let is_unquiet = is_loud(completed.died) || completed.is_unreadable && is_loud(completed.short);
        if must_look || is_unquiet {
            self.need = Some(Ask::Tasks);
        }
        must_look || is_unquiet
    }

    /// Ours is FAILED and still the primary one: ECS goes back soon, or never.
    fn judge_failed(&mut self, read: &Read<'_>) {
        let since = self.failed.as_ref().map_or(read.at, |(since, _)| *since);
        let goes_back = self.target.breaker.rolls_back || read.service.alarms.rolls_back;
        // A rollback is a part of the service deployment that it takes back: one that is over has none before it.
        let is_over = matches!(self.api.ended, Some((_, Status::Stopped)));
        let may_switch = goes_back && self.target.before.is_some() && !is_over;
        if !may_switch || read.at.saturating_sub(since) >= ROLLBACK_STARTS {
            self.failed(read, self.failure_reason("ECS gives no reason"));
        }
    }

    /// Nothing of ECS's own ends a deployment whose tasks do not start, unless an alarm does.
    fn is_crashing_unwatched(&self, read: &Read<'_>) -> bool {
        let is_watched = self.target.breaker.is_enabled || read.service.alarms.rolls_back;
        !is_watched && read.primary.failed_tasks >= threshold(read.primary.counts.desired)
    }

    fn judge_other(&mut self, read: &Read<'_>, news: &mut Vec<RolloutEvent>) {
        let (at, primary) = (read.at, read.primary);
        self.completed = None;
        let by = || primary.task_definition.clone();
        if let Some(by) = evidence::newer_in(&self.target, read.service) {
            return self.finish(Verdict::Superseded { by });
        }
        let (since, reads) = self.replaced.unwrap_or((at, 1));
        // By then no read is stale; and what the rollback has ended with looks like the world before.
        let is_late = self.age + read.seen >= STALE_READS && (self.failed.is_some() || reads >= 3);
        let has_gone_back = matches!(self.api.ended, Some((_, Status::RollbackSuccessful)));
        if !is_late && !has_gone_back && !evidence::is_fresh(&self.target, read.service, primary) {
            if matches!(self.api.ended, Some((_, Status::RollbackFailed))) {
                self.unsteady(read, self.failure_reason("ECS gives no reason"));
            }
            return;
        }
        // Ours has succeeded: nothing goes back from it.
        if matches!(self.api.ended, Some((_, Status::Successful))) {
            if reads >= 2 {
                self.finish(Verdict::Superseded { by: by() });
            }
            return;
        }
        if self.is_rollback(read) {
            return self.judge_going_back(read, news);
        }
        if self.is_api_usable() && at.saturating_sub(since) < LISTED {
            self.need = Some(Ask::List);
            return;
        }
        let long = at.saturating_sub(since);
        // The list has had its time, and shows nobody: what ECS says that it went back to is this.
        let is_another =
            evidence::is_in_progress(primary) || evidence::has_gone_elsewhere(&self.target, read.service, primary);
        if has_gone_back && self.is_api_usable() && !is_another {
            if self.api.listed.is_none_or(|listed| listed < since + LISTED) {
                self.need = Some(Ask::List);
                return;
            }
            return self.judge_going_back(read, news);
        }
        let is_enough = match () {
            () if evidence::is_said_to_be_new(&self.target, read.service, primary) => reads >= 2,
            () if self.could_be_rollback(read) => reads >= 3 && long >= SETTLE,
            () => reads >= 3 && long >= UNNAMED,
        };
        if is_enough {
            self.finish(Verdict::Superseded { by: by() });
        } else if !self.could_be_rollback(read) {
            self.need = Some(Ask::Service);
        }
    }

    /// From here on the primary deployment is the one that ECS went back to.
    fn judge_going_back(&mut self, read: &Read<'_>, news: &mut Vec<RolloutEvent>) {
        self.back_to = Some(read.primary.id.clone());
        self.fail(read.at, "ECS rolls back and gives no reason".to_owned());
        self.roll_back(news);
        self.judge_rollback(read);
    }

    /// What is primary now is what ECS went back to from ours.
    fn is_rollback(&self, read: &Read<'_>) -> bool {
        let primary = read.primary;
        // What it was once, it stays: what is said of a deployment that has completed is said of any.
        if self.back_to.as_ref() == Some(&primary.id) || evidence::of_rollback(&self.target, read.service, primary) {
            return true;
        }
        let Some((since, _)) = self.failed else { return false };
        if evidence::is_said_to_be_new(&self.target, read.service, primary) {
            return false;
        }
        let goes_back = self.api.read.as_ref().is_some_and(|(_, d)| {
            matches!(d.status, Status::RollbackRequested | Status::RollbackInProgress | Status::RollbackSuccessful)
        });
        let nobody_else = self.api.listed.is_some_and(|listed| listed >= since);
        self.runs_before(primary) || goes_back && nobody_else
    }

    fn runs_before(&self, primary: &Deployment) -> bool {
        self.target.before.as_ref().is_some_and(|(_, revision)| *revision == primary.task_definition)
    }

    fn could_be_rollback(&self, read: &Read<'_>) -> bool {
        let goes_back = self.target.breaker.rolls_back || read.service.alarms.rolls_back;
        goes_back && self.runs_before(read.primary)
    }

    fn judge_rollback(&mut self, read: &Read<'_>) {
        let (at, primary) = (read.at, read.primary);
        if let Some((_, Status::RollbackFailed)) = self.api.ended {
            return self.unsteady(read, self.failure_reason("ECS gives no reason"));
        }
        if primary.state == State::Failed {
            let reason = primary.reason.clone().unwrap_or_else(|| "the rollback failed".to_owned());
            return self.unsteady(read, reason);
        }
        let is_full = primary.counts.running >= primary.counts.desired;
        let is_over = match primary.state {
            State::Completed | State::Unreported => is_full,
            State::InProgress | State::Failed => false,
        };
        if !is_over {
            self.back = None;
            return;
        }
        let since = *self.back.get_or_insert(at);
        let is_settled = at.saturating_sub(since) >= SETTLE;
        let has_gone_back = matches!(self.api.ended, Some((_, Status::RollbackSuccessful)));
        let is_shifting = read.is_shifting();
        let told = self.api.ours.clone().filter(|_| self.is_api_usable());
        if let Some(arn) = told.filter(|_| !has_gone_back && (is_shifting || !is_settled)) {
            // What replaced ours can be somebody's, and the list lags: it is asked again while the other is waited for.
            let may_end_now = self.api.ended.is_none() && !is_shifting;
            if self.nobody_since(at.saturating_sub(LISTED_RECENTLY)) && may_end_now {
                self.need = Some(Ask::ServiceDeployment(arn));
            }
            return;
        }
        if is_shifting && !has_gone_back && !self.is_alone_for(read, SETTLE) {
            return;
        }
        if self.nobody_since(since.max(at.saturating_sub(LISTED_RECENTLY))) && self.is_recent(read) {
            let reason = self.failure_reason("ECS gives no reason");
            self.finish(Verdict::RolledBack { reason, to: primary.task_definition.clone() });
        }
    }

    /// Ours is the primary one and failed. Nothing is said before the list shows that nobody has deployed meanwhile.
    fn failed(&mut self, read: &Read<'_>, reason: String) {
        if self.nobody_since(read.at.saturating_sub(LISTED_RECENTLY)) && self.is_recent(read) {
            self.finish(Verdict::Failed { reason });
        }
    }

    fn unsteady(&mut self, read: &Read<'_>, reason: String) {
        if self.nobody_since(read.at.saturating_sub(LISTED_RECENTLY)) && self.is_recent(read) {
            self.finish(Verdict::Unsteady { reason });
        }
    }

    /// The list, read since then, shows nobody else's deployment; or it cannot be read.
    fn nobody_since(&mut self, since: Duration) -> bool {
        let is_known = !self.is_api_usable() || self.api.listed.is_some_and(|listed| listed >= since);
        if !is_known {
            self.need = Some(Ask::List);
        }
        is_known
    }

    fn is_recent(&mut self, read: &Read<'_>) -> bool {
        let is_recent = read.at.saturating_sub(read.seen) <= RECENT;
        if !is_recent {
            self.need = Some(Ask::Service);
        }
        is_recent
    }
}

/// The newest answer of DescribeServices, and when it came.
struct Read<'a> {
    at: Duration,
    seen: Duration,
    service: &'a Service,
    primary: &'a Deployment,
}

impl Read<'_> {
    /// Blue/green, linear or canary.
    fn is_shifting(&self) -> bool {
        matches!(self.service.strategy, Strategy::Shifting(_))
    }
}

/// More tasks have ended than could once for one reason: the next ones will too.
fn dies_on(deaths: usize, counts: Counts) -> bool {
    deaths > usize::try_from(counts.desired).unwrap_or_default().max(2)
}

/// The breaker's own default: half of the desired count, at least 3 and at most 200.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>
fn threshold(desired: i64) -> i64 {
    ((desired + 1) / 2).clamp(3, 200)
}
