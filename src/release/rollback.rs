//! When a release is bad: say why it failed, put back what it changed, confirm that it serves.

use super::Release;
use super::rollouts::{ServiceRollout, is_in_progress_elsewhere, state_of};
use crate::config::OnFailure;
use crate::evidence;
use crate::poll::Poll;
use crate::retry;
use crate::rollout_in_progress::RolloutInProgress;
use crate::steps::roll_back::{Ordered, roll_back};
use crate::steps::watch;
use fargate_deploy_core::names::ServiceKey;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState};
use fargate_deploy_core::plan::ServicePlan;
use fargate_deploy_core::rollback::{Restore, Trouble, decide};
use fargate_deploy_core::rollout::Verdict;
use fargate_deploy_core::service::State;
use fargate_deploy_core::smoke::SmokeFailure;
use futures_util::future::join_all;

const STILL_MOVING: &str = "was still rolling out when the release was given up";

impl Release<'_> {
    /// Why a service did not come to serve, with the evidence that AWS still has.
    pub(super) async fn failure_of(&self, bad: &ServiceRollout<'_>) -> Failure {
        let revision = bad.revision.arn.short();
        let ended = bad.verdict.as_ref().map_or_else(|| STILL_MOVING.to_owned(), ToString::to_string);
        let what = format!("{}: {revision} {ended}", bad.service.service);
        let reason = match bad.verdict {
            Some(Verdict::Superseded { .. }) => Reason::Superseded,
            Some(Verdict::TimedOut { .. }) => Reason::Timeout,
            Some(Verdict::Unsteady { .. } | Verdict::Gone { .. }) => Reason::Unsteady,
            Some(Verdict::Lost { .. }) => Reason::Unavailable,
            _ => Reason::RolledBack,
        };
        let mut failure = Failure::new(reason, what);
        if matches!(reason, Reason::RolledBack | Reason::Unsteady | Reason::Timeout)
            && let Some(moving) = &bad.moving
        {
            let found = evidence::of_deployment(
                self.context.aws,
                &bad.service.service,
                &moving.target.deployment,
                &bad.revision.definition,
            );
            let found = retry::all_within(retry::EVIDENCE, found).await;
            failure = failure.with_evidence(found.lines).with_log(found.log);
        }
        failure.with_next(match reason {
            Reason::Superseded => "nothing: the newer deployment decides what serves".to_owned(),
            Reason::Timeout => format!(
                "ECS goes on; look again with: aws ecs describe-services --cluster {} --services {}, or raise `wait`",
                bad.service.service.cluster, bad.service.service.name
            ),
            Reason::Unavailable => format!(
                "ECS goes on; look at it with: aws ecs describe-services --cluster {} --services {}, and run this again when \
                 that answers: it follows what goes on, and verifies it",
                bad.service.service.cluster, bad.service.service.name
            ),
            Reason::Unsteady => format!(
                "look at the service now: aws ecs describe-services --cluster {} --services {}",
                bad.service.service.cluster, bad.service.service.name
            ),
            _ => "mend what the lines above show and push again".to_owned(),
        })
    }

    /// The release serves, and does not answer as it should.
    pub(super) async fn failure_of_smoke(&self, done: &ServiceRollout<'_>, why: &SmokeFailure) -> Failure {
        let mut log = vec![];
        let running = self.context.aws.tasks.running_tasks(&done.service.service);
        if let Ok(arns) = retry::each_within(retry::EVIDENCE, running).await
            && let (Some(task), Some((container, _))) = (arns.first(), done.service.containers.first())
        {
            let lines = evidence::last_lines(self.context.aws, &done.revision.definition, container, task);
            log = retry::all_within(retry::EVIDENCE, lines).await;
        }
        Failure::new(Reason::RolledBack, format!("{}: smoke check failed: {why}", done.service.service))
            .with_log(log)
            .with_next("find out why the new release does not answer, and push again")
    }

    /// Puts back what `on-failure` says of the services that changed, and watches each until it serves again.
    pub(super) async fn roll_back_services(&self, mut failure: Failure, rollouts: Vec<ServiceRollout<'_>>) -> Failure {
        let policy = self.plan().settings.on_failure;
        if is_in_progress_elsewhere(&failure) {
            return failure;
        }
        if policy == OnFailure::Leave {
            return leave_as_is(failure, &rollouts);
        }
        let goes_back =
            |r: &ServiceRollout<'_>| r.moving.is_some() && (policy == OnFailure::RollbackAll || r.caused_failure);
        // Nothing is put back over what cannot be read, and it may well be good.
        let is_lost = |r: &ServiceRollout<'_>| matches!(r.verdict, Some(Verdict::Lost { .. }));
        let (lost, going): (Vec<_>, Vec<_>) = rollouts.into_iter().filter(goes_back).partition(is_lost);
        if going.is_empty() && !lost.is_empty() {
            return failure;
        }
        let keys: Vec<_> = going.iter().map(|r| r.service.key.clone()).collect();
        let poll = Poll::default();
        let has_changed = !going.is_empty();
        let endings =
            join_all(going.into_iter().map(|r| retry::each_within(retry::GOING_BACK, self.restore(r, &poll)))).await;
        if has_changed {
            // Whatever stopped the release, this is the state that it leaves.
            let are_superseded = keys.iter().all(|key| self.is_superseded(key));
            failure.reason = if are_superseded { Reason::Superseded } else { Reason::RolledBack };
        }
        let mut unconfirmed: Vec<String> = endings.into_iter().filter_map(Result::err).collect();
        unconfirmed.extend(lost.iter().map(|r| format!("{}: the service cannot be read", r.service.service)));
        if !unconfirmed.is_empty() {
            failure.reason = Reason::Unsteady;
            failure.next =
                Some("a person is needed: put the previous revision back and see why it does not serve".to_owned());
            failure.evidence.extend(unconfirmed);
        }
        failure
    }

    /// What a cancelled run can still do with `on-cancel: rollback`: one order a service, whose end it does not see.
    pub(super) async fn request_rollback(&self, rollout: ServiceRollout<'_>) {
        let (service, Some(moving)) = (rollout.service, &rollout.moving) else { return };
        let decided =
            decide(trouble(&rollout), &service.before.task_definition, moving.service_deployment(), is_first(service));
        let lease = self.lease_of(service);
        match roll_back(service, &decided, moving, lease.as_deref(), &self.context).await {
            Ordered::AlreadyBack => self.context.set_state(&service.key, ServiceState::RolledBack),
            Ordered::LeaseLost => self.context.set_state(&service.key, ServiceState::Superseded),
            _ => {}
        }
    }

    /// Minutes can have passed since ours was seen to be the primary deployment.
    async fn read_again(&self, rollout: &mut ServiceRollout<'_>, poll: &Poll) {
        let service = rollout.service;
        let Some(moving) = &mut rollout.moving else { return };
        let read = self.context.aws.services.services(std::slice::from_ref(&service.service));
        let read = retry::each_within(retry::POLL, read).await;
        let Some(now) = read.ok().and_then(|mut all| all.pop().flatten()) else { return };
        let Some(primary) = now.primary() else { return };
        let runs = &primary.task_definition;
        if *runs != rollout.revision.arn && *runs != service.before.task_definition {
            rollout.verdict = Some(Verdict::Superseded { by: runs.clone() });
        } else if rollout.verdict.is_none() && primary.id != moving.target.deployment {
            // ECS has put another one there: what that means, the state machine tells.
            rollout.verdict =
                Some(watch::watch(&service.service, &rollout.revision.definition, moving, poll, &self.context).await);
        }
    }

    /// Puts one service back.
    ///
    /// # Errors
    /// Why it could not be confirmed.
    async fn restore(&self, mut rollout: ServiceRollout<'_>, poll: &Poll) -> Result<(), String> {
        let (service, context) = (rollout.service, &self.context);
        self.read_again(&mut rollout, poll).await;
        // A newer deployment decides what serves; ours changes nothing any more.
        if let Some(verdict @ Verdict::Superseded { .. }) = &rollout.verdict {
            context.set_state(&service.key, state_of(verdict));
            return Ok(());
        }
        let lease = self.lease_of(service);
        let lease = lease.as_deref();
        let arn = rollout.moving.as_ref().and_then(RolloutInProgress::service_deployment);
        let decided = decide(trouble(&rollout), &service.before.task_definition, arn, is_first(service));
        let why = rollout.verdict.as_ref().map_or_else(|| STILL_MOVING.to_owned(), ToString::to_string);
        let Some(mut moving) = rollout.moving else { return Ok(()) };
        let (watched, is_ours) = match roll_back(service, &decided, &moving, lease, context).await {
            Ordered::AlreadyBack => {
                return self.rolled_back(service);
            }
            Ordered::Superseded | Ordered::LeaseLost => {
                context.set_state(&service.key, ServiceState::Superseded);
                return Ok(());
            }
            Ordered::Left(why) => {
                context.set_state(&service.key, ServiceState::Unsteady);
                return Err(format!("{}: {why}", service.service));
            }
            Ordered::WatchOurs => {
                moving = moving.going_back(&why);
                (watch::watch(&service.service, &service.running, &mut moving, poll, context).await, true)
            }
            Ordered::Watch(mut going) => {
                (watch::watch(&service.service, &service.running, &mut going, poll, context).await, false)
            }
        };
        let (back, is_back) = match watched {
            Verdict::RolledBack { .. } if is_ours => return self.rolled_back(service),
            Verdict::Superseded { .. } => {
                context.set_state(&service.key, ServiceState::Superseded);
                return Ok(());
            }
            // It completed, or failed for good, in the moment in which it was told to go back.
            Verdict::Stable(_) | Verdict::Failed { .. } if is_ours => {
                let again = Restore::UpdateService(service.before.task_definition.clone());
                match roll_back(service, &again, &moving, lease, context).await {
                    Ordered::Superseded | Ordered::LeaseLost => {
                        context.set_state(&service.key, ServiceState::Superseded);
                        return Ok(());
                    }
                    Ordered::Watch(mut going) => {
                        let back = watch::watch(&service.service, &service.running, &mut going, poll, context).await;
                        let is_back = matches!(back, Verdict::Stable(_));
                        (back, is_back)
                    }
                    _ => (watched, false),
                }
            }
            // The deployment of the previous revision: here only its own completion means that it serves.
            back => {
                let is_back = matches!(back, Verdict::Stable(_));
                (back, is_back)
            }
        };
        if is_back {
            return self.rolled_back(service);
        }
        context.set_state(&service.key, ServiceState::Unsteady);
        Err(format!("{}: going back to {} {}", service.service, service.before.task_definition.short(), back))
    }

    fn is_superseded(&self, key: &ServiceKey) -> bool {
        let mut record = self.context.record.borrow_mut();
        record.service_mut(key).is_some_and(|noted| noted.state == ServiceState::Superseded)
    }

    fn rolled_back(&self, service: &ServicePlan) -> Result<(), String> {
        self.context.set_state(&service.key, ServiceState::RolledBack);
        Ok(())
    }
}

/// `on-failure: leave`: only what ECS itself put back is back.
fn leave_as_is(mut failure: Failure, rollouts: &[ServiceRollout<'_>]) -> Failure {
    let is_back = |r: &ServiceRollout<'_>| r.moving.is_none() || matches!(r.verdict, Some(Verdict::RolledBack { .. }));
    if failure.reason != Reason::Unavailable && !rollouts.iter().filter(|r| r.caused_failure).all(is_back) {
        failure.reason = Reason::Unsteady;
        failure.next =
            Some("`on-failure` is `leave`: push a release that works, or put the previous one back".to_owned());
    }
    failure
}

/// Before us nothing had completed: the same state that keeps ECS itself from rolling back.
fn is_first(service: &ServicePlan) -> bool {
    service.before.primary().is_none_or(|p| !matches!(p.state, State::Completed | State::Unreported))
}

fn trouble<'r>(rollout: &'r ServiceRollout<'_>) -> Trouble<'r> {
    match &rollout.verdict {
        Some(Verdict::Stable(_)) => Trouble::Unwanted,
        None | Some(Verdict::TimedOut { .. }) => Trouble::UnwantedYetMoving,
        Some(verdict) => Trouble::Verdict(verdict),
    }
}
