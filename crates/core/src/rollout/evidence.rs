//! What one answer of DescribeServices proves: that ours failed, that ECS goes back, that somebody else has deployed, or
//! that the answer is newer than our UpdateService at all. Texts are no API contract, so they only ever add to what ids,
//! states and times say.

use super::Target;
use crate::names::TaskDefinitionArn;
use crate::service::{Deployment, Role, Service, ServiceEvent, State};

/// Why ours failed, if anything says so: its own state, or an event that names its id.
pub(super) fn of_failure(target: &Target, service: &Service) -> Option<String> {
    let ours = service.deployment(&target.deployment);
    if let Some(ours) = ours.filter(|d| d.state == State::Failed) {
        return Some(ours.reason.clone().unwrap_or_else(|| "ECS gives no reason".to_owned()));
    }
    let event = events_about(service, target, "deployment failed").next()?;
    let why = event.message.split("deployment failed:").nth(1);
    Some(why.map_or(event.message.as_str(), str::trim).to_owned())
}

/// AWS's time of our deployment's completion: the first, where ECS went back to it later.
pub(super) fn completed_at(target: &Target, service: &Service) -> Option<f64> {
    events_about(service, target, "deployment completed").last().map(|e| e.created_at)
}

fn events_about<'a>(service: &'a Service, target: &Target, what: &'a str) -> impl Iterator<Item = &'a ServiceEvent> {
    let names_ours = format!("(deployment {})", target.deployment);
    service.events.iter().filter(move |e| e.message.contains(&names_ours) && e.message.contains(what))
}

/// The answer cannot be of the world before UpdateService, although another deployment than ours is primary in it.
pub(super) fn is_fresh(target: &Target, service: &Service, primary: &Deployment) -> bool {
    let is_after = |time: Option<f64>| time.zip(target.created_at).is_some_and(|(time, ours)| time > ours);
    service.deployment(&target.deployment).is_some()
        || is_after(primary.created_at)
        || is_after(primary.updated_at)
        || says_rolling_back(target, service, primary)
        // Where AWS gives no times: an id that was never seen before.
        || primary.created_at.is_none() && target.before.as_ref().is_some_and(|(id, _)| *id != primary.id)
}

/// The primary deployment is one that ECS went back to. Asked of a fresh answer only.
pub(crate) fn of_rollback(target: &Target, service: &Service, primary: &Deployment) -> bool {
    let is_before = target.before.as_ref().is_some_and(|(id, _)| *id == primary.id);
    // Whatever somebody deploys after us is created after ours.
    let is_older = primary.created_at.zip(target.created_at).is_some_and(|(theirs, ours)| theirs < ours);
    is_before || is_older || says_rolling_back(target, service, primary)
}

fn says_rolling_back(target: &Target, service: &Service, primary: &Deployment) -> bool {
    let by_reason = primary.reason.as_deref().is_some_and(|r| r.contains("rolling back"));
    let is_since = |e: &ServiceEvent| target.created_at.is_none_or(|ours| e.created_at >= ours);
    by_reason || service.events.iter().any(|e| goes_back_to(target, service, e, primary) && is_since(e))
}

/// ECS says that it goes back to `primary`: by its id, or, where what it goes back to gets a new one, by the id that its
/// revision had before. Which of the two is no contract.
fn goes_back_to(target: &Target, service: &Service, event: &ServiceEvent, primary: &Deployment) -> bool {
    let Some(to) = named_by_rollback(event) else { return false };
    if to == primary.id.as_str() {
        return true;
    }
    if is_in_progress(primary) || has_gone_elsewhere(target, service, primary) {
        return false;
    }
    let listed = service.deployments.iter().map(|d| (&d.id, &d.task_definition));
    let before = target.before.iter().map(|(id, revision)| (id, revision));
    match listed.chain(before).find(|(id, _)| to == id.as_str()) {
        Some((_, revision)) => *revision == primary.task_definition,
        // Of what it does not list any more, ECS goes back to what was registered before ours.
        None => primary.task_definition.revision() < target.task_definition.revision(),
    }
}

/// The id that the event of a rollback names.
fn named_by_rollback(event: &ServiceEvent) -> Option<&str> {
    let (_, to) = event.message.split_once("rolling back to deployment ")?;
    Some(to.split_whitespace().next()?.trim_end_matches('.'))
}

/// What ECS went back to from ours has completed under the id that it had before: the primary deployment is another.
pub(super) fn has_gone_elsewhere(target: &Target, service: &Service, primary: &Deployment) -> bool {
    let since = service.events.iter().filter(|e| target.created_at.is_none_or(|ours| e.created_at >= ours));
    since.clone().filter_map(named_by_rollback).filter(|to| *to != primary.id.as_str()).any(|to| {
        let completed = format!("(deployment {to}) deployment completed");
        since.clone().any(|e| e.message.contains(&completed))
    })
}

/// So ECS says of an ordinary deployment, and of no rollback.
pub(super) fn is_in_progress(deployment: &Deployment) -> bool {
    deployment.reason.as_deref().is_some_and(|reason| reason.contains("in progress"))
}

/// ECS says of the primary deployment that it is an ordinary one, or that it went back to another.
pub(super) fn is_said_to_be_new(target: &Target, service: &Service, primary: &Deployment) -> bool {
    let is_since = |e: &&ServiceEvent| target.created_at.is_some_and(|ours| e.created_at >= ours);
    let events: Vec<&ServiceEvent> = service.events.iter().filter(is_since).collect();
    // ECS says of what it goes back to that it does.
    let is_told_of = events.iter().any(|e| e.message.contains(primary.id.as_str()));
    let goes_to_it = events.iter().any(|e| goes_back_to(target, service, e, primary));
    let goes_elsewhere = events.iter().any(|e| named_by_rollback(e).is_some());
    is_in_progress(primary) || !goes_to_it && (is_told_of || goes_elsewhere)
}

/// The revision of somebody else's deployment since ours, where the answer shows one that is not primary any more, or an
/// event of its failure: what ECS goes back from then is not ours.
#[must_use]
pub fn newer_in(target: &Target, service: &Service) -> Option<TaskDefinitionArn> {
    let began = target.created_at?;
    let primary = service.primary().filter(|p| p.id != target.deployment)?;
    let is_known = |id: &str| {
        id == target.deployment.as_str()
            || id == primary.id.as_str()
            || target.before.as_ref().is_some_and(|(before, _)| before.as_str() == id)
    };
    let listed = service.deployments.iter().find(|d| {
        d.role != Role::Primary && !is_known(d.id.as_str()) && d.created_at.is_some_and(|created| created > began)
    });
    if let Some(newer) = listed {
        return Some(newer.task_definition.clone());
    }
    let mut failures =
        service.events.iter().filter(|e| e.created_at > began && e.message.contains("deployment failed"));
    let is_foreign = failures.any(|e| {
        let named = e.message.split("(deployment ").nth(1).and_then(|rest| rest.split(')').next());
        named.is_some_and(|id| !is_known(id))
    });
    is_foreign.then(|| primary.task_definition.clone())
}
