//! The services' rollouts: each starts when those that it comes after serve and answer, and all go on or none. A service
//! that is known to be bad goes back at once, whatever the others do.

use super::Release;
use super::cancellation::cancelled;
use super::progress::{Progress, first_failure};
use super::service_rollout::{
    Assignment, Evidence, ServiceRollout, Turn, failure_of, failure_of_smoke, follow, note, state_of,
};
use crate::config::OnCancel;
use crate::error::call_failed;
use crate::events::{Event, Notice};
use crate::lease::{Lease, ReleaseRecord, SucceededCommand};
use crate::poll::Poll;
use crate::rollout_in_progress::RolloutInProgress;
use crate::steps::register::Revision;
use crate::steps::{roll_out, smoke, verify, watch};
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::outcome::{CommandState, Failure, Reason, ServiceState, Success};
use fargate_deploy_core::plan::ServicePlan;
use fargate_deploy_core::rollout::Verdict;
use fargate_deploy_core::service::{Counts, Service, State};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::sync::watch::Sender;
use tokio::time::Instant;

/// The runner kills 10 s after the first signal.
const LAST_CALLS: Duration = Duration::from_secs(4);
/// A read can be of the world before the one that was read last: what it shows is looked at this often, so long apart.
const LOOKS: u32 = 3;
const APART: Duration = Duration::from_secs(2);

impl Release<'_> {
    /// What is to be done about each service: those that a newer run has deployed are left to it.
    pub(super) async fn assignments(&self) -> Vec<Assignment> {
        let (plan, revisions) = (self.plan(), self.revisions.borrow().clone());
        let left = self.left_to_newer.borrow().clone();
        let services = plan.services.iter().filter(|s| !left.iter().any(|(key, _)| *key == s.key));
        let each = services.filter_map(|s| Some((s, revisions.iter().find(|r| r.key == s.key)?)));
        let each =
            each.map(async |(service, revision)| match revision.is_unchanged && !self.is_to_be_forced(service) {
                true => self.staying(service).await,
                false => Assignment {
                    service: service.clone(),
                    revision: revision.clone(),
                    stays: false,
                    is_owed: true,
                    can_go_back: true,
                },
            });
        join_all(each).await
    }

    /// A deployment that an earlier attempt of this run has made of what runs now is the one that was to be forced.
    fn is_to_be_forced(&self, service: &ServicePlan) -> bool {
        let release = self.lease_of(service).and_then(|lease| lease.release_record());
        let primary = service.before.primary().map(|primary| primary.id.to_string());
        let is_made = release.is_some_and(|release| {
            self.earlier_attempt().is_some()
                && release.run.as_deref() == self.earlier_attempt()
                && release.revision == service.before.task_definition.as_str()
                && release.replaces.is_some()
                && release.replaces != primary
        });
        self.plan().settings.force && !is_made
    }

    /// Rolls out every service that changes, and sees that the others serve and answer.
    ///
    /// # Errors
    /// The failure that came first, after what had changed went back as `on-failure` says; `cancelled`.
    pub(super) async fn move_services<'p>(
        &self,
        assignments: &'p [Assignment],
    ) -> Result<Vec<ServiceRollout<'p>>, Failure> {
        let poll = Poll::default();
        let mut progress = Progress::default();
        progress.completed.extend(self.left_to_newer.borrow().iter().map(|(key, _)| key.clone()));
        let progress = Sender::new(progress);
        self.answers_interrupt.set(self.plan().settings.on_cancel == OnCancel::Rollback);
        let all = assignments.iter().map(|one| self.run_service(one, assignments, &progress, &poll));
        let turns = self.answering_interrupt(&progress, join_all(all)).await;
        self.conclude(&progress, turns)
    }

    /// What services serve, as the whole release's success.
    pub(super) fn success_of(&self, rollouts: &[ServiceRollout<'_>]) -> Success {
        if self.order.is_unwatched {
            return Success::Started;
        }
        let is_empty = |r: &ServiceRollout<'_>| matches!(r.verdict, Some(Verdict::Stable(Counts { desired: 0, .. })));
        if rollouts.iter().all(is_empty) {
            return Success::DeployedNotVerified;
        }
        for empty in rollouts.iter().filter(|r| is_empty(r)) {
            self.context.emit(Event::Notice(Notice::NothingStarted { service: empty.service.service.clone() }));
        }
        Success::Deployed
    }

    /// Goes on with `work` when the run is told to end, where that is answered by orders to go back, as long as there is
    /// time for them. `None`: there was not; whatever has not been ordered by then is said to be unknown.
    pub(super) async fn answering_interrupt<T>(
        &self,
        progress: &Sender<Progress>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let time_is_over = async {
            self.interrupt.clone().await;
            if self.answers_interrupt.get() {
                progress.send_modify(|p| p.is_cancelled = true);
            }
            tokio::time::sleep(LAST_CALLS).await;
        };
        tokio::select! {
            biased;
            () = time_is_over => None,
            ended = work => Some(ended),
        }
    }

    /// What the turns come to.
    ///
    /// # Errors
    /// As of [`Self::move_services`].
    pub(super) fn conclude<'p>(
        &self,
        progress: &Sender<Progress>,
        turns: Option<Vec<Turn<'p>>>,
    ) -> Result<Vec<ServiceRollout<'p>>, Failure> {
        self.answers_interrupt.set(false);
        let failures = progress.borrow().failures();
        if turns.is_none() || progress.borrow().is_cancelled {
            return Err(cancelled().with_evidence(failures.into_iter().map(|failure| failure.what).collect()));
        }
        let turns = turns.unwrap_or_default();
        match first_failure(failures) {
            Some(failure) => Err(self.ending(failure, &turns)),
            None => {
                let serving = |turn| match turn {
                    Turn::Stays(rollout) | Turn::WentBack(rollout, _) => Some(*rollout),
                    Turn::NotStarted(_) => None,
                };
                Ok(turns.into_iter().filter_map(serving).collect())
            }
        }
    }

    /// Waits for its turn, rolls out, says whether the service came to serve, and goes back where the release does.
    async fn run_service<'p>(
        &self,
        assignment: &'p Assignment,
        all: &[Assignment],
        progress: &Sender<Progress>,
        poll: &Poll,
    ) -> Turn<'p> {
        let service = &assignment.service;
        let is_turn = |p: &Progress| p.is_over() || service.after.iter().all(|key| p.completed.contains(key));
        // The sender is borrowed: it cannot be gone.
        let _ = progress.subscribe().wait_for(is_turn).await;
        if progress.borrow().is_over() {
            progress.send_modify(|p| {
                p.is_dropped(&service.key);
                p.back.insert(service.key.clone());
            });
            return Turn::NotStarted(service);
        }
        let mut rollout = ServiceRollout::of(assignment);
        let deploying = Box::pin(self.deploy_service(assignment, &mut rollout, progress, poll));
        let given_up = async {
            let _ = progress.subscribe().wait_for(|p| p.is_given_up_of(&service.key)).await;
        };
        let worked = self.unless(given_up, deploying, |release| release.is_updating(service)).await;
        if let (Some(Ok(())), Some(lease), false) = (&worked, self.lease_of(service), self.order.is_unwatched) {
            lease.note_verified();
        }
        self.end_turn(rollout, worked, all, progress, poll).await
    }

    /// Says how it went, waits until that is known of all or one goes back, and goes back with it.
    pub(super) async fn end_turn<'p>(
        &self,
        mut rollout: ServiceRollout<'p>,
        worked: Option<Result<(), Failure>>,
        all: &[Assignment],
        progress: &Sender<Progress>,
        poll: &Poll,
    ) -> Turn<'p> {
        let key = &rollout.service.key;
        match worked {
            Some(Ok(())) => progress.send_modify(|p| p.has_come_to_serve(key)),
            Some(Err(failure)) => {
                rollout.caused_failure = true;
                let on_failure = self.plan().settings.on_failure;
                progress.send_modify(|p| p.has_failed(key, failure, on_failure));
            }
            None => progress.send_modify(|p| p.is_dropped(key)),
        }
        if !rollout.caused_failure {
            let _ = progress.subscribe().wait_for(|p| p.is_given_up() || p.has_decided(all.len())).await;
        }
        // Nobody is kept from going back by what only explains it.
        let (key, service, found) = (key.clone(), &rollout.service.service, self.evidence_of(&rollout));
        let found = async {
            tokio::select! {
                biased;
                () = self.interrupt.clone() => Default::default(),
                found = found => found,
            }
        };
        let (turn, found) = tokio::join!(Box::pin(self.go_back_in_order(rollout, all, progress, poll)), found);
        progress.send_modify(|p| p.adds_evidence(&key, service, &found));
        turn
    }

    fn is_updating(&self, service: &ServicePlan) -> bool {
        let mut record = self.context.record.borrow_mut();
        record.service_mut(&service.key).is_some_and(|noted| noted.state == ServiceState::Updating)
    }

    async fn deploy_service(
        &self,
        assignment: &Assignment,
        rollout: &mut ServiceRollout<'_>,
        progress: &Sender<Progress>,
        poll: &Poll,
    ) -> Result<(), Failure> {
        match (assignment.stays, self.order.is_unwatched) {
            (true, true) => rollout.verdict = Some(Verdict::Stable(assignment.service.before.counts)),
            (true, false) => self.look_at_staying(assignment, rollout, progress, poll).await?,
            (false, _) => self.roll_out_and_watch(assignment, rollout, progress, poll).await?,
        }
        if self.order.is_unwatched { Ok(()) } else { self.check_deployed(rollout).await }
    }

    /// Right before a service is told to move: whoever has deployed it since the plan was made is newer, unless what was deployed
    /// is the very revision that it is to get, which an earlier attempt has ordered: reads may lag that.
    ///
    /// # Errors
    /// `superseded`; `unsteady`: it was deleted. Nothing of it was changed.
    pub(super) async fn still_as_planned(
        &self,
        service: &ServicePlan,
        to: Option<&TaskDefinitionArn>,
        poll: &Poll,
    ) -> Result<Service, Failure> {
        let (of, context) = (&service.service, &self.context);
        let mut found = None;
        for look in 0..LOOKS {
            // Those that start together are read together, once each of them has said so.
            poll.services.wait(of, Instant::now() + if look == 0 { Duration::ZERO } else { APART }).await;
            tokio::task::yield_now().await;
            let read = poll.service(of, context.aws).await;
            found = read.map_err(|e| call_failed(&format!("reading {of} before it is moved"), &e))?;
            let is_there = found.as_ref().is_some_and(|now| now.status == "ACTIVE");
            let primary = found.as_ref().and_then(|now| now.primary());
            let is_as_planned = primary.map(|p| &p.id) == service.before.primary().map(|p| &p.id);
            if is_there && (is_as_planned || primary.is_some_and(|p| Some(&p.task_definition) == to)) {
                break;
            }
            if look + 1 == LOOKS {
                return Err(self.moved_meanwhile(service, found.filter(|_| is_there)));
            }
        }
        found.ok_or_else(|| self.moved_meanwhile(service, None))
    }

    fn moved_meanwhile(&self, service: &ServicePlan, now: Option<Service>) -> Failure {
        let (of, context) = (&service.service, &self.context);
        match now {
            Some(now) => roll_out::superseded(service, &now, context),
            None => {
                context.set_state(&service.key, ServiceState::Gone);
                Failure::new(
                    Reason::Unsteady,
                    format!("{of}: the service was deleted while this release was under way"),
                )
                .with_next("create the service again, or take it out of the config, and run this again")
            }
        }
    }

    /// UpdateService, and to the end of the deployment.
    async fn roll_out_and_watch(
        &self,
        assignment: &Assignment,
        rollout: &mut ServiceRollout<'_>,
        progress: &Sender<Progress>,
        poll: &Poll,
    ) -> Result<(), Failure> {
        let ServiceRollout { service, revision, .. } = *rollout;
        let (context, settings) = (&self.context, &self.plan().settings);
        // A revision that runs already is rolled only by force.
        let force = revision.is_unchanged;
        let seen = self.still_as_planned(service, Some(&revision.arn).filter(|_| !force), poll).await?;
        let lease = self.lease_of(service);
        let lease = lease.as_deref();
        let earlier = lease.and_then(Lease::release_record);
        if let Some(lease) = lease {
            lease.note_release(Some(self.release_of(service, revision)));
        }
        let moved = roll_out::roll_out((service, seen), &revision.arn, force, settings, lease, context).await;
        if let Some(lease) = lease.filter(|_| moved.is_err() && !self.may_have_moved(service)) {
            lease.note_release(earlier);
        }
        rollout.moving = moved?;
        if self.order.is_unwatched {
            rollout.verdict = Some(Verdict::Stable(service.before.counts));
            return Ok(());
        }
        // No new deployment: the one that is there has to be seen to serve.
        let Some(moving) = rollout.moving.as_mut() else {
            return self.look_at_staying(assignment, rollout, progress, poll).await;
        };
        rollout.verdict = Some(self.watch(service, revision, moving, progress, poll).await);
        Ok(())
    }

    /// A service that is not told to move serves too, or the release does not.
    async fn look_at_staying(
        &self,
        assignment: &Assignment,
        rollout: &mut ServiceRollout<'_>,
        progress: &Sender<Progress>,
        poll: &Poll,
    ) -> Result<(), Failure> {
        let (service, context) = (&assignment.service, &self.context);
        let now = self.still_as_planned(service, None, poll).await?;
        let Some(primary) = now.primary() else { return Ok(()) };
        let serves = matches!(primary.state, State::Completed | State::Unreported)
            && primary.counts.running >= primary.counts.desired;
        let moving = rollout.moving.insert(follow(service, primary, &self.plan().settings));
        if assignment.is_owed || assignment.can_go_back || !serves {
            note(service, moving, context);
        }
        let verdict = match serves && !assignment.is_owed {
            true => Verdict::Stable(primary.counts),
            false => self.watch(service, rollout.revision, moving, progress, poll).await,
        };
        if assignment.can_go_back {
            context.set_state(&service.key, state_of(&verdict));
        }
        rollout.verdict = Some(verdict);
        Ok(())
    }

    /// The others hear of it when ECS begins to take the service back.
    async fn watch(
        &self,
        service: &ServicePlan,
        revision: &Revision,
        moving: &mut RolloutInProgress,
        progress: &Sender<Progress>,
        poll: &Poll,
    ) -> Verdict {
        let on_failure = self.plan().settings.on_failure;
        let goes_back = |reason: &str| {
            self.note_going_back(service, revision, reason);
            progress.send_modify(|p| p.is_going_back(&service.key, on_failure));
        };
        let (of, definition) = (&service.service, &revision.definition);
        let verdict = watch::watch_and_tell(of, definition, moving, poll, &self.context, &goes_back).await;
        self.context.set_state(&service.key, state_of(&verdict));
        verdict
    }

    /// ECS takes a service back: a run that is told to end meanwhile says so.
    pub(super) fn note_going_back(&self, service: &ServicePlan, revision: &Revision, reason: &str) {
        self.context.set_state(&service.key, ServiceState::RollingBack);
        let line = format!("{}: {} failed: {reason}", service.service, revision.arn.short());
        self.going_back.borrow_mut().push(line);
    }

    /// What this run tells a service to run, and what it owes of that until it is done.
    fn release_of(&self, service: &ServicePlan, revision: &Revision) -> ReleaseRecord {
        ReleaseRecord {
            revision: revision.arn.to_string(),
            previous: service.previous().to_string(),
            replaces: service.before.primary().map(|primary| primary.id.to_string()),
            run: self.order.provenance.run_url.clone(),
            owes_verification: true,
            owes_commands: self.names_of_commands_after(),
            ran: self.commands_that_ran(service),
        }
    }

    /// Of those that run from a service, each with its task.
    fn commands_that_ran(&self, service: &ServicePlan) -> Vec<SucceededCommand> {
        let (plan, record) = (self.plan(), self.context.record.borrow());
        let is_of = |name: &str| plan.commands.iter().any(|c| c.service == service.key && c.command.name == name);
        let ran = record.commands.iter().filter(|ran| ran.state == CommandState::Succeeded && is_of(&ran.name));
        ran.filter_map(|ran| {
            Some(SucceededCommand { command: ran.name.clone(), task: ran.task.as_ref()?.id().to_owned() })
        })
        .collect()
    }

    fn may_have_moved(&self, service: &ServicePlan) -> bool {
        let mut record = self.context.record.borrow_mut();
        record.service_mut(&service.key).is_none_or(|noted| noted.state != ServiceState::Untouched)
    }

    /// Whether what was deployed serves: its deployment ended well, runs our digests, and answers.
    ///
    /// # Errors
    /// How its deployment ended, or what is wrong with what serves now.
    pub(super) async fn check_deployed(&self, rollout: &mut ServiceRollout<'_>) -> Result<(), Failure> {
        let (service, context) = (rollout.service, &self.context);
        let counts = match &rollout.verdict {
            None => return Ok(()),
            Some(Verdict::Stable(counts)) => counts,
            Some(_) => return Err(failure_of(rollout)),
        };
        let Some(moving) = &rollout.moving else { return Ok(()) };
        let definition = &rollout.revision.definition;
        if rollout.is_new {
            let manifests: Vec<_> =
                context.record.borrow().images.iter().filter(|i| i.is_new).map(|i| i.digest.clone()).collect();
            let deployment = &moving.target.deployment;
            let verified = verify::verify(&service.service, deployment, definition, &manifests, *counts, context);
            let (verified, looked) = tokio::join!(verified, self.confirm_lease(service));
            looked?;
            verified.map_err(|why| {
                Failure::new(Reason::RolledBack, format!("{}: {why}", service.service))
                    .with_next("find out who moved the tag or pushed the image, and deploy again")
            })?;
        }
        if counts.desired == 0 {
            return Ok(());
        }
        let is_checked = definition.has_health_check() || !service.before.target_groups.is_empty();
        if rollout.is_new && service.smoke.is_empty() && !is_checked {
            context.emit(Event::Notice(Notice::Unverified { service: service.service.clone() }));
            if let Some(noted) = context.record.borrow_mut().service_mut(&service.key) {
                noted.is_unchecked = true;
            }
        }
        for check in &service.smoke {
            if let Err(why) = smoke::smoke(check, context).await {
                rollout.evidence = Evidence::RunningTask;
                return Err(failure_of_smoke(service, &why));
            }
        }
        Ok(())
    }
}
