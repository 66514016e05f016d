//! UpdateService, and from its answer the id of the deployment that is ours.

use crate::clock;
use crate::error::{call_failed, sentence};
use crate::events::{Event, Wait};
use crate::lease::{self, Lease};
use crate::ports::CallErrorKind;
use crate::release_context::ReleaseContext;
use crate::retry;
use crate::rollout_in_progress::RolloutInProgress;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState};
use fargate_deploy_core::plan::{ServicePlan, Settings};
use fargate_deploy_core::rollout::Target;
use fargate_deploy_core::service::Service;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a service is read after the answer of UpdateService was lost, where another one may not be sent before that
/// is known; and how long apart.
const LOOKS: u32 = 6;
const APART: Duration = Duration::from_secs(5);
/// Before an order that AWS did not take is given again.
const PAUSE: Duration = Duration::from_secs(2);

/// Starts the deployment of one revision. `None`: ECS made no deployment of it, since nothing changed.
///
/// # Errors
/// `locked`: another run took the lease over. `permission`. `unavailable`: AWS did not take it for as long as a call is
/// repeated. The service keeps its revision.
pub async fn roll_out(
    service: &ServicePlan,
    to: &TaskDefinitionArn,
    force: bool,
    settings: &Settings,
    lease: Option<&Lease>,
    context: &ReleaseContext<'_>,
) -> Result<Option<RolloutInProgress>, Failure> {
    let of = || service.service.clone();
    let step = context.begin(Event::RolloutRequested { service: of(), revision: to.clone() });
    let (since, began) = (clock::now(), Instant::now());
    // Whether an earlier one of these orders may have arrived.
    let mut is_known = true;
    let after = loop {
        let ordered = lease::order(lease, context, async || {
            context.set_state(&service.key, ServiceState::Updating);
            let update = context.aws.services.update_service(&service.service, to, force);
            retry::each_within(retry::ORDER, update).await
        });
        let answer = ordered.await.inspect_err(|lost| {
            if is_known {
                context.set_state(&service.key, ServiceState::Untouched);
            }
            step.emit(Event::RolloutRefused { service: of(), error: lost.what.clone() });
        })?;
        let e = match answer {
            Ok(after) => break after,
            Err(e) => e,
        };
        let is_in_time = e.may_pass() && began.elapsed() < retry::CALL;
        // The same revision once more makes no second deployment, unless it is forced.
        let looks = if is_in_time && !force { 1 } else { LOOKS };
        let found = match e.kind {
            CallErrorKind::Unreachable => find_out(service, to, looks, context).await,
            _ => Found::NotTaken,
        };
        if let Found::Taken(after) = found {
            if let Some(lease) = lease {
                lease.order_has_arrived();
            }
            break *after;
        }
        // Where nothing can be read either, the record keeps saying that the effect is unknown.
        is_known = matches!(found, Found::NotTaken);
        if is_known {
            if let Some(lease) = lease {
                lease.order_was_not_taken();
            }
            context.set_state(&service.key, ServiceState::Untouched);
        }
        if is_in_time && (is_known || !force) {
            step.waiting(Wait::Order { action: e.action.clone(), error: sentence(&e) });
            sleep(PAUSE).await;
            continue;
        }
        let failure = call_failed(&format!("updating {}", service.service), &e);
        step.emit(Event::RolloutRefused { service: of(), error: sentence(&e) });
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

enum Found {
    Taken(Box<Service>),
    NotTaken,
    Unknown,
}

/// The answer was lost. What the service shows tells whether ECS took the update; reads may lag the write.
async fn find_out(service: &ServicePlan, to: &TaskDefinitionArn, looks: u32, context: &ReleaseContext<'_>) -> Found {
    let before = service.before.primary().map(|p| &p.id);
    let mut found = Found::Unknown;
    for _ in 0..looks {
        sleep(APART).await;
        let read = context.aws.services.services(std::slice::from_ref(&service.service));
        let read = retry::each_within(retry::POLL, read).await;
        let Some(now) = read.ok().and_then(|mut all| all.pop().flatten()) else { continue };
        found = match now.primary() {
            Some(primary) if Some(&primary.id) == before => Found::NotTaken,
            Some(primary) if primary.task_definition == *to => return Found::Taken(Box::new(now)),
            _ => Found::Unknown,
        };
    }
    found
}
