//! Puts the previous revision back where ECS does not do it by itself.

use crate::clock;
use crate::error::sentence;
use crate::events::{Event, Wait};
use crate::lease::{self, Lease};
use crate::poll::History;
use crate::ports::{Aws, Call, CallErrorKind};
use crate::release_context::{ReleaseContext, StepLog};
use crate::retry;
use crate::rollout_in_progress::RolloutInProgress;
use fargate_deploy_core::names::{ServiceRef, TaskDefinitionArn};
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState};
use fargate_deploy_core::plan::ServicePlan;
use fargate_deploy_core::rollback::{MayGoBack, Restore, Seen, may_go_back};
use fargate_deploy_core::rollout::Target;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long the previous revision may take to serve again.
const WAIT: Duration = Duration::from_secs(15 * 60);

/// A service that cannot be read is tried again for this long before it is left as it is.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
const APART: Duration = Duration::from_secs(5);
/// Before an order that AWS did not take is given again.
const PAUSE: Duration = Duration::from_secs(2);
/// The list only adds to the service: it does not keep it waiting.
const LISTED: Duration = Duration::from_secs(5);

/// What became of the order.
#[derive(Debug)]
pub enum Ordered {
    /// It serves already.
    AlreadyBack,
    /// ECS rolls its own deployment back: keep watching the deployment that was started.
    WatchOurs,
    /// A deployment of the previous revision was started: watch that one.
    Watch(Box<RolloutInProgress>),
    /// A newer deployment owns the service: nothing was ordered.
    Superseded,
    /// Another run took the lease over: nothing was ordered.
    LeaseLost,
    /// Nothing was ordered, and why.
    Left(String),
}

/// Orders the restore that was decided, of what `moving` had deployed, while this run is known to hold the lease.
pub async fn roll_back(
    service: &ServicePlan,
    restore: &Restore,
    moving: &RolloutInProgress,
    lease: Option<&Lease>,
    context: &ReleaseContext<'_>,
) -> Ordered {
    match restore {
        Restore::AlreadyBack => Ordered::AlreadyBack,
        Restore::Leave(why) => Ordered::Left((*why).to_owned()),
        Restore::UpdateService(previous) => update(service, previous, moving, lease, context).await,
        Restore::StopServiceDeployment { deployment, otherwise } => {
            let of = || service.service.clone();
            let step = context.begin(Event::RollbackStarted { service: of(), revision: otherwise.clone() });
            let ordered =
                order(lease, &step, context, async || context.aws.services.stop_service_deployment(deployment).await);
            let answer = match ordered.await {
                Ok(answer) => answer,
                Err(lost) => return not_ours(service, &lost, &step),
            };
            match answer {
                Ok(()) => {
                    context.set_state(&service.key, ServiceState::RollingBack);
                    step.emit(Event::RollbackRequested { service: of() });
                    Ordered::WatchOurs
                }
                // It ended in between, is not stoppable, or the role may not: the other way always works.
                Err(e) => {
                    step.emit(Event::RollbackByUpdate {
                        service: of(),
                        revision: otherwise.clone(),
                        error: e.to_string(),
                    });
                    update(service, otherwise, moving, lease, context).await
                }
            }
        }
    }
}

async fn update(
    service: &ServicePlan,
    previous: &TaskDefinitionArn,
    moving: &RolloutInProgress,
    lease: Option<&Lease>,
    context: &ReleaseContext<'_>,
) -> Ordered {
    let of = || service.service.clone();
    let step = context.begin(Event::RollbackStarted { service: of(), revision: previous.clone() });
    let (since, began) = (clock::now(), Instant::now());
    let mut may_have_arrived = false;
    let ordered = loop {
        context.aws.services.update_turn().await;
        // Before each order: it overwrites what somebody has deployed since the one before.
        let arrived = may_have_arrived.then_some(previous);
        if let Some(ordered) =
            stops(service, look(&service.service, moving, PATIENCE, context.aws).await, arrived, &step)
        {
            return ordered;
        }
        let looked = (context.clock)();
        let answer = lease::order(lease, Some(previous), context, async || {
            if (context.clock)().saturating_sub(looked) >= retry::JUST_READ {
                let found = look(&service.service, moving, PATIENCE, context.aws).await;
                if let Some(ordered) = stops(service, found, arrived, &step) {
                    return Ok(Err(ordered));
                }
            }
            let update = context.aws.services.update_service(&service.service, previous, false);
            retry::once_within(retry::ORDER, update).await.map(Ok)
        });
        let answer = answer.await;
        if !is_given_again(&answer, began, &step) {
            break answer;
        }
        may_have_arrived |= matches!(&answer, Ok(Err(e)) if e.kind == CallErrorKind::Unreachable);
        sleep(PAUSE).await;
    };
    let after = match ordered {
        Err(lost) => return not_ours(service, &lost, &step),
        Ok(Ok(Ok(after))) => after,
        Ok(Ok(Err(ordered))) => return ordered,
        Ok(Err(e)) => {
            step.emit(Event::RollbackRefused { service: of(), error: e.to_string() });
            return Ordered::Left(format!("UpdateService to {} failed: {e}", previous.short()));
        }
    };
    context.set_state(&service.key, ServiceState::RollingBack);
    let Some(primary) = after.primary() else {
        return Ordered::Left("ECS shows no primary deployment".to_owned());
    };
    step.emit(Event::RollbackRolloutStarted {
        service: of(),
        deployment: primary.id.clone(),
        revision: previous.clone(),
    });
    let target = Target {
        deployment: primary.id.clone(),
        created_at: primary.created_at,
        task_definition: previous.clone(),
        before: None,
        breaker: service.before.breaker,
        wait: WAIT,
    };
    let seen = after.events.iter().map(|e| e.id.clone()).collect();
    Ordered::Watch(Box::new(RolloutInProgress::new(target, seen, since)))
}

/// Why nothing is ordered, if it is not: by what was `found`, where an earlier order to the revision that `arrived` may have
/// been taken.
fn stops(
    service: &ServicePlan,
    found: MayGoBack,
    arrived: Option<&TaskDefinitionArn>,
    step: &StepLog<'_>,
) -> Option<Ordered> {
    let of = || service.service.clone();
    match found {
        MayGoBack::Yes => None,
        MayGoBack::Superseded { by } if arrived == Some(&by) => None,
        MayGoBack::Superseded { by } => {
            step.emit(Event::RollbackSuperseded { service: of(), by });
            Some(Ordered::Superseded)
        }
        MayGoBack::AlreadyGoing => {
            step.emit(Event::RollbackUnderWay { service: of() });
            Some(Ordered::WatchOurs)
        }
        MayGoBack::Unknown(why) => {
            step.emit(Event::RollbackRefused { service: of(), error: why.to_string() });
            Some(Ordered::Left(format!("{why}: nothing was put back")))
        }
    }
}

/// Gives an order that has the same effect a second time, again and again for as long as going back is tried.
async fn order<T>(
    lease: Option<&Lease>,
    step: &StepLog<'_>,
    context: &ReleaseContext<'_>,
    send: impl AsyncFn() -> Call<T>,
) -> Result<Call<T>, Failure> {
    let began = Instant::now();
    loop {
        let answer = lease::order(lease, None, context, async || retry::each_within(retry::ORDER, send()).await).await;
        if !is_given_again(&answer, began, step) {
            return answer;
        }
        sleep(PAUSE).await;
    }
}

fn is_given_again<T>(answer: &Result<Call<T>, Failure>, began: Instant, step: &StepLog<'_>) -> bool {
    let is_in_time = began.elapsed() < retry::GOING_BACK;
    match answer {
        Ok(Err(e)) if e.may_pass() && is_in_time => {
            step.waiting(Wait::Order { action: e.action.clone(), error: sentence(e) });
            true
        }
        Err(failure) => failure.reason == Reason::Unavailable && is_in_time,
        Ok(_) => false,
    }
}

fn not_ours(service: &ServicePlan, lost: &Failure, step: &StepLog<'_>) -> Ordered {
    step.emit(Event::RollbackRefused { service: service.service.clone(), error: lost.what.clone() });
    match lost.reason {
        Reason::Locked => Ordered::LeaseLost,
        _ => Ordered::Left(format!("{}: nothing was put back", lost.what)),
    }
}

/// Whether what an UpdateService would replace is still ours, by both sources as they are now. Tried again until the
/// service can be read, or `patience` is over.
pub async fn look(service: &ServiceRef, moving: &RolloutInProgress, patience: Duration, aws: Aws<'_>) -> MayGoBack {
    let history = History::new(moving.since);
    let began = Instant::now();
    loop {
        let listed = timeout(LISTED, history.read(service, &moving.target, aws)).await.ok().and_then(Result::ok);
        let read = retry::each_within(retry::POLL, aws.services.services(std::slice::from_ref(service))).await;
        let shown = read.ok().and_then(|mut all| all.pop().flatten());
        let seen = Seen { service: shown.as_ref(), listed: listed.as_ref() };
        match may_go_back(&moving.target, seen) {
            MayGoBack::Unknown(_) if shown.is_none() && began.elapsed() < patience => sleep(APART).await,
            decided => return decided,
        }
    }
}
