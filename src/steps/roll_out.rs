//! UpdateService, and from its answer the id of the deployment that is ours.

use crate::clock;
use crate::error::{call_failed, sentence};
use crate::events::{Event, Wait};
use crate::lease::{self, Lease};
use crate::ports::{Call, CallError, CallErrorKind};
use crate::release_context::ReleaseContext;
use crate::retry;
use crate::rollout_in_progress::RolloutInProgress;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState};
use fargate_deploy_core::plan::{ServicePlan, Settings};
use fargate_deploy_core::rollout::Target;
use fargate_deploy_core::service::Service;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a service is read after the answer of UpdateService was lost, and how long before each: where another one may
/// not be sent before that is known, and where it may.
const LOOKS: (u32, Duration) = (6, Duration::from_secs(5));
const LOOK: (u32, Duration) = (1, Duration::from_secs(5));
/// The same where ECS took it, and its answer does not show that yet.
const SOON: (u32, Duration) = (60, Duration::from_millis(500));
/// Before an order that AWS did not take is given again: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Starts the deployment of one revision of a service that was read just now as `seen`, or takes the one that is there already:
/// an earlier attempt's. `None`: ECS made no deployment of it, since nothing changed.
///
/// # Errors
/// `locked`: another run took the lease over. `superseded`: somebody deployed it by another way. `permission`.
/// `unavailable`: AWS did not take it for as long as a call is repeated. The service keeps its revision.
pub async fn roll_out(
    (service, seen): (&ServicePlan, Service),
    to: &TaskDefinitionArn,
    force: bool,
    settings: &Settings,
    lease: Option<&Lease>,
    context: &ReleaseContext<'_>,
) -> Result<Option<RolloutInProgress>, Failure> {
    let of = || service.service.clone();
    let step = context.begin(Event::RolloutRequested { service: of(), revision: to.clone() });
    let (since, began) = (clock::now(), Instant::now());
    // Whether no earlier one of these orders can have arrived.
    let mut is_known = true;
    let mut pause = FIRST_PAUSE;
    let (asked, is_repeated) = ((context.clock)(), Cell::new(false));
    let taken = match (Before { service, to, may_have_moved: false }.judge(seen)) {
        Found::Taken(seen) if !force => Some(*seen),
        _ => None,
    };
    let after = loop {
        if let Some(taken) = taken {
            break taken;
        }
        let before = Before { service, to, may_have_moved: !is_known };
        let ordered = lease::order(lease, Some(to).filter(|_| !force), context, async || {
            context.aws.services.update_turn().await;
            // It would replace what somebody has deployed since the service was read.
            if is_repeated.replace(true) || (context.clock)().saturating_sub(asked) >= retry::JUST_READ {
                match before.look(context).await {
                    Ok(Found::NotTaken) => {}
                    Ok(found) => return Ok(found),
                    Err(e) => return Ok(Found::Unreadable(e)),
                }
            }
            context.set_state(&service.key, ServiceState::Updating);
            let update = context.aws.services.update_service(&service.service, to, force);
            retry::once_within(retry::ORDER, update).await.map(|after| before.judge_answer(after, force))
        });
        let answer = ordered.await.inspect_err(|lost| {
            if is_known {
                context.set_state(&service.key, ServiceState::Untouched);
            }
            step.emit(Event::RolloutRefused { service: of(), error: lost.what.clone() });
        })?;
        let (found, mut error) = match answer {
            // The answer can be older than its own effect, as any read can.
            Ok(Found::Accepted) => {
                is_known = false;
                (Before { may_have_moved: true, ..before }.find_out(SOON, context).await, unclear(service))
            }
            Ok(found) => (found, unclear(service)),
            Err(e) if e.kind != CallErrorKind::Unreachable => (Found::NotTaken, e),
            Err(e) => {
                // The same revision once more makes no second deployment, unless it is forced.
                let is_last = force || !e.may_pass() || began.elapsed() >= retry::CALL;
                let before = Before { may_have_moved: true, ..before };
                let found = before.find_out(if is_last { LOOKS } else { LOOK }, context).await;
                // Where nothing can be read either, the record keeps saying that the effect is unknown.
                is_known = matches!(found, Found::NotTaken);
                (found, e)
            }
        };
        match found {
            Found::Taken(after) => {
                if let Some(lease) = lease {
                    lease.order_has_arrived();
                }
                break *after;
            }
            Found::Newer(now) => {
                let failure = superseded(service, &now, context);
                step.emit(Event::RolloutRefused { service: of(), error: failure.what.clone() });
                if let Some(lease) = lease {
                    lease.order_has_arrived();
                    lease.look_again(context).await?;
                }
                return Err(failure);
            }
            Found::Unreadable(e) => error = e,
            Found::NotTaken | Found::Unknown | Found::Accepted => {}
        }
        if is_known {
            context.set_state(&service.key, ServiceState::Untouched);
        }
        if error.may_pass() && began.elapsed() < retry::CALL && (is_known || !force) {
            step.waiting(Wait::Order { action: error.action.clone(), error: sentence(&error) });
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            continue;
        }
        let failure = call_failed(&format!("updating {}", service.service), &error);
        step.emit(Event::RolloutRefused { service: of(), error: sentence(&error) });
        if let Some(lease) = lease {
            lease.is_still_ours(context).await?;
        }
        return Err(failure);
    };
    // Whoever lost the lease meanwhile says nothing of the service: the run that took it over does.
    if let Some(lease) = lease
        && let Err(lost) = lease.is_still_ours(context).await
    {
        context.set_state(&service.key, ServiceState::Superseded);
        step.emit(Event::RolloutTakenOver { service: of() });
        return Err(lost);
    }
    let Some(ours) = after.primary() else {
        return Err(Failure::new(
            Reason::Unsteady,
            format!("{}: ECS took the update and shows no primary deployment", service.service),
        ));
    };
    let before = service.before.primary().map(|p| (p.id.clone(), p.task_definition.clone()));
    if before.as_ref().is_some_and(|(id, _)| *id == ours.id) {
        context.set_state(&service.key, ServiceState::Serving);
        step.emit(Event::RolloutUnneeded { service: of(), revision: to.clone(), took: step.took() });
        return Ok(None);
    }
    context.set_state(&service.key, ServiceState::RollingOut);
    let target = Target {
        deployment: ours.id.clone(),
        created_at: ours.created_at,
        task_definition: to.clone(),
        before,
        breaker: service.before.breaker,
        wait: settings.wait,
    };
    step.emit(Event::RolloutStarted { service: of(), deployment: target.deployment.clone(), revision: to.clone() });
    let seen = service.before.events.iter().map(|e| e.id.clone()).collect();
    Ok(Some(RolloutInProgress { fails_fast: settings.fail_fast, ..RolloutInProgress::new(target, seen, since) }))
}

/// What a service shows of an order.
enum Found {
    /// A deployment of its revision.
    Taken(Box<Service>),
    /// ECS has taken it, and shows nothing of it yet.
    Accepted,
    /// The deployment that was there before.
    NotTaken,
    /// Somebody else's.
    Newer(Box<Service>),
    /// Neither: it cannot be told yet.
    Unknown,
    Unreadable(CallError),
}

/// A service as it was before an order.
#[derive(Clone, Copy)]
struct Before<'a> {
    service: &'a ServicePlan,
    to: &'a TaskDefinitionArn,
    /// The order, or one before it, may have arrived.
    may_have_moved: bool,
}

impl Before<'_> {
    async fn look(self, context: &ReleaseContext<'_>) -> Call<Found> {
        let read = context.aws.services.services(std::slice::from_ref(&self.service.service));
        let read = retry::each_within(retry::POLL, read).await?.pop().flatten();
        Ok(read.map_or(Found::Unknown, |now| self.judge(now)))
    }

    /// No new deployment is made only of what the primary one runs already, and never by force.
    fn judge_answer(self, after: Service, force: bool) -> Found {
        let before = self.service.before.primary().map(|before| &before.id);
        let runs_it = after.primary().is_some_and(|p| p.task_definition == *self.to);
        let is_the_same = after.primary().map(|p| &p.id) == before;
        match runs_it && !(is_the_same && force) {
            true => Found::Taken(Box::new(after)),
            false => Found::Accepted,
        }
    }

    /// A read that lags shows what was there even earlier: only what is newer than the deployment before is somebody's.
    fn judge(self, now: Service) -> Found {
        let before = self.service.before.primary();
        let Some(primary) = now.primary() else { return Found::Unknown };
        if before.is_some_and(|before| before.id == primary.id) {
            return Found::NotTaken;
        }
        if primary.task_definition == *self.to {
            return Found::Taken(Box::new(now));
        }
        let times = before.and_then(|before| primary.created_at.zip(before.created_at));
        let is_older = times.is_some_and(|(now, then)| now <= then);
        // ECS may have taken the order, and have gone back since.
        let may_be_a_rollback =
            self.may_have_moved && before.is_some_and(|before| before.task_definition == primary.task_definition);
        match is_older || may_be_a_rollback {
            true => Found::Unknown,
            false => Found::Newer(Box::new(now)),
        }
    }

    /// The answer was lost. What the service shows tells whether ECS took the update; reads may lag the write.
    async fn find_out(self, (looks, apart): (u32, Duration), context: &ReleaseContext<'_>) -> Found {
        let mut last = Found::Unknown;
        for _ in 0..looks {
            sleep(apart).await;
            match self.look(context).await {
                Ok(found @ (Found::Taken(_) | Found::Newer(_))) => return found,
                Ok(found) => last = found,
                Err(_) => {}
            }
        }
        last
    }
}

/// Whoever deployed the service is newer than this release.
pub fn superseded(service: &ServicePlan, now: &Service, context: &ReleaseContext<'_>) -> Failure {
    context.set_state(&service.key, ServiceState::Superseded);
    let by = now.primary().map_or(now.task_definition.short(), |p| p.task_definition.short());
    Failure::new(Reason::Superseded, format!("{}: {by} was deployed while this release was under way", service.service))
        .with_next("nothing: the newer deployment decides what serves")
}

fn unclear(service: &ServicePlan) -> CallError {
    let why = format!("{} shows neither the deployment before nor this one", service.service);
    CallError::lost("ecs:UpdateService", why)
}
