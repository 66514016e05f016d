//! When a release is bad: say why it failed, put back what it changed, confirm that it serves.

use super::Release;
use super::progress::{Progress, is_in_progress_elsewhere};
use super::service_rollout::{Assignment, Evidence, STILL_MOVING, ServiceRollout, Turn, WayBack, state_of};
use crate::config::{OnCancel, OnFailure};
use crate::evidence;
use crate::explanation::Deployment;
use crate::poll::Poll;
use crate::retry;
use crate::rollout_in_progress::RolloutInProgress;
use crate::steps::roll_back::{Ordered, roll_back};
use crate::steps::watch;
use fargate_deploy_core::names::ServiceKey;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState};
use fargate_deploy_core::plan::ServicePlan;
use fargate_deploy_core::rollback::{Restore, RollbackCause, decide};
use fargate_deploy_core::rollout::Verdict;
use tokio::sync::watch::Sender;

impl Release<'_> {
    /// What AWS still has to say of a service that did not come to serve.
    pub(super) fn evidence_of<'s>(
        &'s self,
        bad: &ServiceRollout<'s>,
    ) -> impl Future<Output = evidence::Evidence> + use<'s> {
        let (aws, service, definition) = (self.context.aws, bad.service, &bad.revision.definition);
        let target = bad.moving.as_ref().map(|moving| moving.target.clone());
        let reason = bad.verdict.as_ref().and_then(Verdict::reason);
        let alarms = bad.moving.as_ref().map(|moving| moving.rollout.triggered_alarms()).unwrap_or_default();
        // ECS's own words do not name them.
        let reason = reason.map(|reason| match alarms {
            [] => reason.to_owned(),
            alarms => format!("{reason} (alarms that went off: {})", alarms.join(", ")),
        });
        let wanted = bad.evidence;
        retry::all_within(retry::EVIDENCE, async move {
            match (wanted, target) {
                (Evidence::StoppedTasks, Some(target)) => {
                    let deployment = Deployment {
                        service: &service.service,
                        definition,
                        since: target.created_at,
                        reason: reason.as_deref(),
                        is_over: true,
                    };
                    Box::pin(evidence::of_deployment(aws, &target, &deployment)).await
                }
                (Evidence::RunningTask, _) => {
                    let arns = aws.tasks.running_tasks(&service.service).await.unwrap_or_default();
                    let named = service.containers.first().map(|(container, _)| container.clone());
                    let task = arns.first().zip(named.or_else(|| definition.sole_container()));
                    let Some((task, container)) = task else { return Default::default() };
                    let log = evidence::last_lines(aws, definition, &container, task).await;
                    evidence::Evidence { log, ..Default::default() }
                }
                _ => Default::default(),
            }
        })
    }

    /// Goes back where the release does: at once where it is bad itself, else when what comes after it is back, so that an
    /// older service never meets a newer one that was deployed to come after it.
    pub(super) async fn go_back_in_order<'p>(
        &self,
        mut rollout: ServiceRollout<'p>,
        all: &[Assignment],
        progress: &Sender<Progress>,
        poll: &Poll,
    ) -> Turn<'p> {
        let key = rollout.service.key.clone();
        if progress.borrow().is_given_up() && !rollout.caused_failure {
            let comes_after = |other: &&Assignment| other.service.after.contains(&key);
            let are_back =
                |p: &Progress| all.iter().filter(comes_after).all(|other| p.back.contains(&other.service.key));
            let _ = progress.subscribe().wait_for(are_back).await;
        }
        let goes_back = self.goes_back(&rollout, &progress.borrow());
        let turn = match goes_back {
            true => {
                let back = self.go_back(&mut rollout, poll).await;
                Turn::WentBack(Box::new(rollout), back)
            }
            false => Turn::Stays(Box::new(rollout)),
        };
        progress.send_modify(|p| {
            p.back.insert(key);
        });
        turn
    }

    fn goes_back(&self, rollout: &ServiceRollout<'_>, progress: &Progress) -> bool {
        let settings = &self.plan().settings;
        // What ECS, or somebody newer, works on is left alone; so is what cannot be read: it may well be good.
        let is_elsewhere = matches!(rollout.verdict, Some(Verdict::TimedOut { .. } | Verdict::Superseded { .. }));
        let is_lost = matches!(rollout.verdict, Some(Verdict::Lost { .. }));
        let is_asked_for = match settings.on_failure {
            OnFailure::RollbackAll => progress.takes_all_back(),
            OnFailure::RollbackFailed => rollout.caused_failure && !is_elsewhere,
            OnFailure::Leave => false,
        } || progress.is_cancelled && settings.on_cancel == OnCancel::Rollback;
        is_asked_for && rollout.moving.is_some() && rollout.can_go_back && !is_lost
    }

    /// A failure with the state that it leaves: what its reason promises holds for every service.
    pub(super) fn ending(&self, mut failure: Failure, turns: &[Turn<'_>]) -> Failure {
        let on_failure = self.plan().settings.on_failure;
        let (mut went_back, mut unconfirmed, mut lost, mut not_started) = (vec![], vec![], vec![], vec![]);
        for turn in turns {
            match turn {
                Turn::NotStarted(service) => not_started.push(service.service.to_string()),
                Turn::WentBack(rollout, back) => {
                    went_back.push(&rollout.service.key);
                    if let WayBack::Unconfirmed(why) = back {
                        unconfirmed.push(why.clone());
                    }
                }
                Turn::Stays(rollout) if matches!(rollout.verdict, Some(Verdict::Lost { .. })) => {
                    lost.push(format!("{}: the service cannot be read", rollout.service.service));
                }
                Turn::Stays(rollout) if rollout.caused_failure && !rollout.can_go_back => {
                    let (service, runs) = (&rollout.service.service, rollout.revision.arn.short());
                    unconfirmed.push(format!("{service}: {runs} ran before this release too, and is left as it is"));
                }
                Turn::Stays(_) => {}
            }
        }
        if is_in_progress_elsewhere(&failure) && went_back.is_empty() {
            unconfirmed.clear();
        } else if on_failure == OnFailure::Leave {
            failure = leave_as_is(failure, turns);
        } else if !went_back.is_empty() {
            // Whatever stopped the release, this is the state that it leaves.
            let are_superseded = went_back.iter().all(|key| self.is_superseded(key));
            failure.reason = if are_superseded { Reason::Superseded } else { Reason::RolledBack };
            unconfirmed.extend(lost);
        }
        let deleted = self.deleted();
        if !deleted.is_empty() || !unconfirmed.is_empty() {
            failure.reason = Reason::Unsteady;
            failure.next = Some(match unconfirmed.is_empty() {
                true => "a person is needed: create the service again, or take it out of the config, and run this again".to_owned(),
                false => "a person is needed: see why it does not serve (fargate-deploy status), and put back what did (fargate-deploy rollback)".to_owned(),
            });
            let is_told = |line: &String| failure.what.starts_with(line.as_str());
            unconfirmed.extend(deleted.into_iter().filter(|line| !is_told(line)));
            failure.evidence.extend(unconfirmed);
        }
        if promises_untouched(failure.reason) && self.has_moved_something() {
            failure.reason = Reason::Unsteady;
        }
        if !not_started.is_empty() {
            let names = not_started.join(", ");
            let is_newer = matches!(failure.reason, Reason::Superseded | Reason::Locked);
            let next = failure.next.take().filter(|next| is_newer || !next.starts_with("nothing"));
            let again = match is_newer {
                true => format!(
                    "{names} not started: to deploy this release all the same, and replace what is newer, run this again"
                ),
                false => format!("{names} not started: run this again to go on with what is left"),
            };
            failure.next = Some(next.map_or_else(|| again.clone(), |next| format!("{next}; {again}")));
        }
        failure
    }

    /// Services of which nothing serves any more.
    fn deleted(&self) -> Vec<String> {
        let record = self.context.record.borrow();
        let gone = record.services.iter().filter(|s| s.state == ServiceState::Gone);
        gone.map(|s| format!("{}: the service was deleted", s.service)).collect()
    }

    fn has_moved_something(&self) -> bool {
        use ServiceState::{Gone, RolledBack, Superseded, Untouched};
        let record = self.context.record.borrow();
        record.services.iter().any(|s| !matches!(s.state, Untouched | RolledBack | Superseded | Gone))
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
        if *runs != rollout.revision.arn && runs != service.previous() && *runs != service.before.task_definition {
            rollout.verdict = Some(Verdict::Superseded { by: runs.clone() });
        } else if rollout.verdict.is_none() && primary.id != moving.target.deployment {
            // ECS has put another one there: what that means, the state machine tells.
            rollout.verdict =
                Some(watch::watch(&service.service, &rollout.revision.definition, moving, poll, &self.context).await);
        }
    }

    /// Puts one service back. A run that is told to end meanwhile has ordered it, and does not see it through.
    async fn go_back(&self, rollout: &mut ServiceRollout<'_>, poll: &Poll) -> WayBack {
        self.answers_interrupt.set(true);
        let going = match retry::each_within(retry::GOING_BACK, self.order_back(rollout, poll)).await {
            Going::Ended(back) => return back,
            going => going,
        };
        tokio::select! {
            biased;
            () = self.interrupt.clone() => WayBack::Unconfirmed("the run was told to end".to_owned()),
            back = retry::each_within(retry::GOING_BACK, self.see_through(rollout.service, going, poll)) => back,
        }
    }

    async fn order_back(&self, rollout: &mut ServiceRollout<'_>, poll: &Poll) -> Going {
        let (service, context) = (rollout.service, &self.context);
        self.read_again(rollout, poll).await;
        // A newer deployment decides what serves; ours changes nothing any more.
        if let Some(verdict @ Verdict::Superseded { .. }) = &rollout.verdict {
            context.set_state(&service.key, state_of(verdict));
            return Going::Ended(WayBack::Confirmed);
        }
        let lease = self.lease_of(service);
        let arn = rollout.moving.as_ref().and_then(RolloutInProgress::service_deployment);
        let decided = decide(trouble(rollout), service.previous(), arn, service.last_completed().is_none());
        let why = rollout.verdict.as_ref().map_or_else(|| STILL_MOVING.to_owned(), ToString::to_string);
        let Some(moving) = rollout.moving.take() else { return Going::Ended(WayBack::Confirmed) };
        match roll_back(service, &decided, &moving, lease.as_deref(), context).await {
            Ordered::AlreadyBack => Going::Ended(self.rolled_back(service)),
            Ordered::Superseded | Ordered::LeaseLost => Going::Ended(self.superseded(service)),
            Ordered::Left(why) => Going::Ended(WayBack::Unconfirmed(format!("{}: {why}", service.service))),
            Ordered::WatchOurs => Going::ByEcs(Box::new(moving.going_back(&why))),
            Ordered::Watch(going) => Going::ByUs(going),
        }
    }

    /// Watches a service on its way back until its previous revision serves again.
    async fn see_through(&self, service: &ServicePlan, going: Going, poll: &Poll) -> WayBack {
        let context = &self.context;
        let watched = async |moving: &mut RolloutInProgress| {
            watch::watch(&service.service, &service.running, moving, poll, context).await
        };
        let back = match going {
            Going::Ended(back) => return back,
            // The deployment of the previous revision: here only its own completion means that it serves.
            Going::ByUs(mut moving) => watched(&mut moving).await,
            Going::ByEcs(mut moving) => match watched(&mut moving).await {
                Verdict::RolledBack { .. } => return self.rolled_back(service),
                // It completed, or failed for good, in the moment in which it was told to go back.
                ended @ (Verdict::Stable(_) | Verdict::Failed { .. }) => {
                    let again = Restore::UpdateService(service.previous().clone());
                    let lease = self.lease_of(service);
                    match roll_back(service, &again, &moving, lease.as_deref(), context).await {
                        Ordered::Superseded | Ordered::LeaseLost => return self.superseded(service),
                        Ordered::Watch(mut going) => watched(&mut going).await,
                        _ => return self.not_back(service, &ended),
                    }
                }
                Verdict::Superseded { .. } => return self.superseded(service),
                ended => return self.not_back(service, &ended),
            },
        };
        match back {
            Verdict::Stable(_) => self.rolled_back(service),
            Verdict::Superseded { .. } => self.superseded(service),
            ended => self.not_back(service, &ended),
        }
    }

    fn not_back(&self, service: &ServicePlan, ended: &Verdict) -> WayBack {
        self.context.set_state(&service.key, ServiceState::Unsteady);
        let to = service.previous().short();
        WayBack::Unconfirmed(format!("{}: going back to {to} {ended}", service.service))
    }

    fn superseded(&self, service: &ServicePlan) -> WayBack {
        self.context.set_state(&service.key, ServiceState::Superseded);
        WayBack::Confirmed
    }

    fn is_superseded(&self, key: &ServiceKey) -> bool {
        let mut record = self.context.record.borrow_mut();
        record.service_mut(key).is_some_and(|noted| noted.state == ServiceState::Superseded)
    }

    fn rolled_back(&self, service: &ServicePlan) -> WayBack {
        self.context.set_state(&service.key, ServiceState::RolledBack);
        WayBack::Confirmed
    }
}

/// A service that was told to go back.
enum Going {
    Ended(WayBack),
    /// ECS rolls the release's own deployment back.
    ByEcs(Box<RolloutInProgress>),
    /// By a deployment of the previous revision.
    ByUs(Box<RolloutInProgress>),
}

/// Reasons that say of a run that it has touched no service.
pub(super) fn promises_untouched(reason: Reason) -> bool {
    use Reason::{Build, Config, Identity, Permission, PlanStale, Push, ReleaseCommand};
    matches!(reason, Build | Config | Identity | Permission | PlanStale | Push | ReleaseCommand)
}

/// `on-failure: leave`: only what ECS itself put back is back.
fn leave_as_is(mut failure: Failure, turns: &[Turn<'_>]) -> Failure {
    let is_back = |r: &ServiceRollout<'_>| r.moving.is_none() || matches!(r.verdict, Some(Verdict::RolledBack { .. }));
    let mut bad = turns.iter().filter_map(|turn| match turn {
        Turn::Stays(rollout) if rollout.caused_failure => Some(rollout),
        _ => None,
    });
    if failure.reason != Reason::Unavailable && !bad.all(|rollout| is_back(rollout)) {
        failure.reason = Reason::Unsteady;
        failure.next =
            Some("`on-failure` is `leave`: push a release that works, or go back: fargate-deploy rollback".to_owned());
    }
    failure
}

fn trouble<'r>(rollout: &'r ServiceRollout<'_>) -> RollbackCause<'r> {
    match &rollout.verdict {
        Some(Verdict::Stable(_)) => RollbackCause::Unwanted,
        None | Some(Verdict::TimedOut { .. }) => RollbackCause::UnwantedYetMoving,
        Some(verdict) => RollbackCause::Verdict(verdict),
    }
}
