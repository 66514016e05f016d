//! UpdateService, and from its answer the id of the deployment that is ours.

use crate::clock;
use crate::error::{call_failed, sentence};
use crate::events::Event;
use crate::lease::Lease;
use crate::ports::CallErrorKind;
use crate::release_context::ReleaseContext;
use crate::rollout_in_progress::RolloutInProgress;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState};
use fargate_deploy_core::plan::{ServicePlan, Settings};
use fargate_deploy_core::rollout::Target;
use fargate_deploy_core::service::Service;
use std::time::Duration;
use tokio::time::sleep;

/// How often a service is read after the answer of UpdateService was lost, and how long apart.
const LOOKS: u32 = 6;
const APART: Duration = Duration::from_secs(5);

/// Starts the deployment of one revision. `None`: ECS made no deployment of it, since nothing changed.
///
/// # Errors
/// `locked`: another run took the lease over. `permission`. The service keeps its revision.
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
    let since = clock::now();
    let send = async || {
        context.set_state(&service.key, ServiceState::Updating);
        context.aws.services.update_service(&service.service, to, force).await
    };
    let answer = match lease {
        Some(lease) => lease.order("ecs:UpdateService", context.aws, send).await?,
        None => send().await,
    };
    let after = match answer {
        Ok(after) => after,
        Err(e) => {
            let found = match e.kind {
                CallErrorKind::Unreachable => find_out(service, to, context).await,
                _ => Found::NotTaken,
            };
            match found {
                Found::Taken(after) => *after,
                found => {
                    // Where nothing can be read either, the record keeps saying that the effect is unknown.
                    if matches!(found, Found::NotTaken) {
                        context.set_state(&service.key, ServiceState::Untouched);
                    }
                    let failure = call_failed(&format!("updating {}", service.service), &e);
                    step.emit(Event::RolloutRefused { service: of(), error: sentence(&e) });
                    return Err(failure);
                }
            }
        }
    };
    // Whoever lost the lease meanwhile says nothing of the service: the run that took it over does.
    if let Some(lease) = lease
        && let Err(lost) = lease.check(context.aws).await
        && lost.reason == Reason::Locked
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
async fn find_out(service: &ServicePlan, to: &TaskDefinitionArn, context: &ReleaseContext<'_>) -> Found {
    let before = service.before.primary().map(|p| &p.id);
    let mut found = Found::Unknown;
    for _ in 0..LOOKS {
        sleep(APART).await;
        let read = context.aws.services.services(std::slice::from_ref(&service.service)).await;
        let Some(now) = read.ok().and_then(|mut all| all.pop().flatten()) else { continue };
        found = match now.primary() {
            Some(primary) if Some(&primary.id) == before => Found::NotTaken,
            Some(primary) if primary.task_definition == *to => return Found::Taken(Box::new(now)),
            _ => Found::Unknown,
        };
    }
    found
}
