//! The services' rollouts: each starts when those that it comes after serve and answer, and all go on or none.

use super::Release;
use super::cancellation::{cancelled, run_alongside};
use crate::config::{OnCancel, OnFailure};
use crate::events::{Event, Notice};
use crate::lease::{Lease, ReleaseRecord};
use crate::poll::Poll;
use crate::rollout_in_progress::RolloutInProgress;
use crate::steps::register::Revision;
use crate::steps::{roll_out, smoke, verify, watch};
use fargate_deploy_core::names::ServiceKey;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState, Success};
use fargate_deploy_core::plan::ServicePlan;
use fargate_deploy_core::rollout::Verdict;
use fargate_deploy_core::service::Counts;
use futures_util::future::{FutureExt as _, join_all};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch::Sender;

/// The runner kills 10 s after the first signal.
const LAST_CALLS: Duration = Duration::from_secs(4);

/// A service that was told to run another revision, and how that ended.
pub(super) struct ServiceRollout<'a> {
    pub service: &'a ServicePlan,
    pub revision: &'a Revision,
    /// `None`: ECS made no deployment of it.
    pub moving: Option<RolloutInProgress>,
    /// `None`: it was still rolling out when the release was given up.
    pub verdict: Option<Verdict>,
    /// It is why the release cannot stay.
    pub caused_failure: bool,
}

/// What the services of a release know of each other.
#[derive(Default)]
struct Progress {
    completed: BTreeSet<ServiceKey>,
    stop: StopMode,
    /// In the order in which they happened.
    failures: Vec<Failure>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum StopMode {
    #[default]
    GoOn,
    /// What is rolling out is followed to its end; nothing else starts.
    StartNothing,
    /// What is rolling out goes back.
    Abort,
}

/// How one service's turn ended.
enum Turn<'a> {
    /// The release was over before it.
    NotStarted,
    Ended(Box<ServiceRollout<'a>>),
}

impl Release<'_> {
    /// Rolls out every service that changes.
    ///
    /// # Errors
    /// The failure that came first, after what had changed went back as `on-failure` says; `cancelled`.
    pub(super) async fn move_services(&self) -> Result<Success, Failure> {
        let plan = self.plan();
        let revisions = self.revisions.borrow().clone();
        let pairs = plan.services.iter().filter_map(|s| Some((s, revisions.iter().find(|r| r.key == s.key)?)));
        let (going, staying): (Vec<_>, Vec<_>) =
            pairs.partition(|(_, r)| !r.is_unchanged || self.plan().settings.force);
        let completed = staying.iter().map(|(service, _)| service.key.clone()).collect();
        let poll = Poll::default();
        let progress = Sender::new(Progress { completed, ..Progress::default() });
        let all = join_all(going.into_iter().map(|(s, r)| self.run_service(s, r, &progress, &poll)));
        let turns = match self.plan().settings.on_cancel {
            OnCancel::Leave => all.await,
            OnCancel::Rollback => {
                self.answers_interrupt.set(true);
                let cancelling = self.interrupt.clone().map(|()| stop(&progress, StopMode::Abort, cancelled()));
                run_alongside(all, cancelling).await
            }
        };
        let ended = |turn| match turn {
            Turn::NotStarted => None,
            Turn::Ended(rollout) => Some(*rollout),
        };
        let rollouts: Vec<ServiceRollout<'_>> = turns.into_iter().filter_map(ended).collect();
        let Some(failure) = first_failure(progress.borrow().failures.clone()) else {
            self.answers_interrupt.set(false);
            if self.order.is_unwatched {
                return Ok(Success::Started);
            }
            let is_empty =
                |r: &ServiceRollout<'_>| matches!(r.verdict, Some(Verdict::Stable(Counts { desired: 0, .. })));
            return Ok(match rollouts.iter().any(is_empty) {
                true => Success::DeployedNotVerified,
                false => Success::Deployed,
            });
        };
        if failure.reason == Reason::Cancelled {
            let requested = join_all(rollouts.into_iter().map(|r| self.request_rollback(r)));
            // Whatever has not been ordered by then is said to be unknown.
            let _ = tokio::time::timeout(LAST_CALLS, requested).await;
            return Err(failure);
        }
        self.answers_interrupt.set(false);
        Err(self.roll_back_services(failure, rollouts).await)
    }

    /// Waits for its turn, rolls out, and says whether the service came to serve.
    async fn run_service<'p>(
        &self,
        service: &'p ServicePlan,
        revision: &'p Revision,
        progress: &Sender<Progress>,
        poll: &Poll,
    ) -> Turn<'p> {
        let is_turn =
            |p: &Progress| p.stop != StopMode::GoOn || service.after.iter().all(|key| p.completed.contains(key));
        // The sender is borrowed: it cannot be gone.
        let _ = progress.subscribe().wait_for(is_turn).await;
        if progress.borrow().stop != StopMode::GoOn {
            return Turn::NotStarted;
        }
        let mut rollout = ServiceRollout { service, revision, moving: None, verdict: None, caused_failure: false };
        let checked = match self.roll_out_and_watch(&mut rollout, progress, poll).await {
            Ok(()) if !self.order.is_unwatched => self.check_deployed(&rollout).await,
            other => other,
        };
        match checked {
            Err(failure) => {
                rollout.caused_failure = true;
                stop(progress, consequence(&failure, self.plan().settings.on_failure), failure);
            }
            Ok(()) if rollout.verdict.is_some() => {
                if let Some(lease) = self.lease_of(service).filter(|_| !self.order.is_unwatched) {
                    lease.note_verified();
                }
                progress.send_modify(|p| {
                    p.completed.insert(service.key.clone());
                });
            }
            Ok(()) => {}
        }
        Turn::Ended(Box::new(rollout))
    }

    /// UpdateService, and to the end of the deployment, or until the release is given up.
    async fn roll_out_and_watch(
        &self,
        rollout: &mut ServiceRollout<'_>,
        progress: &Sender<Progress>,
        poll: &Poll,
    ) -> Result<(), Failure> {
        let ServiceRollout { service, revision, .. } = *rollout;
        let (context, settings) = (&self.context, &self.plan().settings);
        // A revision that runs already is rolled only by force.
        let force = revision.is_unchanged;
        let lease = self.lease_of(service);
        let lease = lease.as_deref();
        let earlier = lease.and_then(Lease::release_record);
        if let Some(lease) = lease {
            lease.note_release(Some(self.release_of(service, revision)));
        }
        let moved = roll_out::roll_out(service, &revision.arn, force, settings, lease, context).await;
        if let Some(lease) = lease.filter(|_| moved.is_err() && !self.may_have_moved(service)) {
            lease.note_release(earlier);
        }
        rollout.moving = moved?;
        let Some(moving) = rollout.moving.as_mut().filter(|_| !self.order.is_unwatched) else {
            rollout.verdict = Some(Verdict::Stable(service.before.counts));
            return Ok(());
        };
        let aborted = async {
            let _ = progress.subscribe().wait_for(|p| p.stop == StopMode::Abort).await;
        };
        rollout.verdict = tokio::select! {
            biased;
            verdict = watch::watch(&service.service, &revision.definition, moving, poll, context) => Some(verdict),
            () = aborted => None,
        };
        if let Some(verdict) = &rollout.verdict {
            context.set_state(&service.key, state_of(verdict));
        }
        Ok(())
    }

    /// What this run tells a service to run, and what it owes of that until it is done.
    fn release_of(&self, service: &ServicePlan, revision: &Revision) -> ReleaseRecord {
        ReleaseRecord {
            revision: revision.arn.to_string(),
            previous: service.before.task_definition.to_string(),
            owes_verification: true,
            owes_commands: self.names_of_commands_after(),
        }
    }

    fn may_have_moved(&self, service: &ServicePlan) -> bool {
        let mut record = self.context.record.borrow_mut();
        record.service_mut(&service.key).is_none_or(|noted| noted.state != ServiceState::Untouched)
    }

    /// Whether what was deployed serves: its deployment ended well, runs our digests, and answers.
    ///
    /// # Errors
    /// How its deployment ended, or what is wrong with what serves now.
    pub(super) async fn check_deployed(&self, rollout: &ServiceRollout<'_>) -> Result<(), Failure> {
        let (service, context) = (rollout.service, &self.context);
        let counts = match &rollout.verdict {
            None => return Ok(()),
            Some(Verdict::Stable(counts)) => counts,
            Some(_) => return Err(self.failure_of(rollout).await),
        };
        let Some(moving) = &rollout.moving else { return Ok(()) };
        let manifests: Vec<_> =
            context.record.borrow().images.iter().filter(|i| i.is_new).map(|i| i.digest.clone()).collect();
        let (id, definition) = (&moving.target.deployment, &rollout.revision.definition);
        let verified = verify::verify(&service.service, id, definition, &manifests, context);
        let (verified, looked) = tokio::join!(verified, self.confirm_lease(service));
        looked?;
        verified.map_err(|why| {
            Failure::new(Reason::RolledBack, format!("{}: {why}", service.service))
                .with_next("find out who moved the tag or pushed the image, and deploy again")
        })?;
        if counts.desired == 0 {
            return Ok(());
        }
        let is_checked = definition.has_health_check() || !service.before.target_groups.is_empty();
        if service.smoke.is_empty() && !is_checked {
            context.emit(Event::Notice(Notice::Unverified { service: service.service.clone() }));
        }
        for check in &service.smoke {
            if let Err(why) = smoke::smoke(check, context).await {
                return Err(self.failure_of_smoke(rollout, &why).await);
            }
        }
        Ok(())
    }
}

fn stop(progress: &Sender<Progress>, mode: StopMode, failure: Failure) {
    progress.send_modify(|p| {
        p.stop = p.stop.max(mode);
        p.failures.push(failure);
    });
}

/// What a failure means for the others.
fn consequence(failure: &Failure, on_failure: OnFailure) -> StopMode {
    match on_failure {
        OnFailure::RollbackAll if !is_in_progress_elsewhere(failure) => StopMode::Abort,
        _ => StopMode::StartNothing,
    }
}

/// Slow or replaced is not bad: what ECS, or somebody newer, is working on is left alone.
pub(super) fn is_in_progress_elsewhere(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Timeout | Reason::Superseded | Reason::Locked)
}

/// The first that is bad, else the first; what else happened is evidence.
pub(super) fn first_failure(mut failures: Vec<Failure>) -> Option<Failure> {
    let at = failures.iter().position(|f| !is_in_progress_elsewhere(f)).unwrap_or(0);
    if failures.is_empty() {
        return None;
    }
    let first = failures.remove(at);
    Some(first.with_evidence(failures.into_iter().map(|other| other.what).collect()))
}

pub(super) fn state_of(verdict: &Verdict) -> ServiceState {
    match verdict {
        Verdict::Stable(_) => ServiceState::Serving,
        Verdict::RolledBack { .. } => ServiceState::RolledBack,
        Verdict::Superseded { .. } => ServiceState::Superseded,
        Verdict::TimedOut { .. } => ServiceState::RollingOut,
        Verdict::Lost { .. } => ServiceState::Unknown,
        Verdict::Failed { .. } | Verdict::Unsteady { .. } | Verdict::Gone { .. } => ServiceState::Unsteady,
    }
}
