//! One step of a service's scheduler: look at tasks and targets, start, stop, judge.

use super::Services;
use super::state::{Deployment, Role, Rollout, Service};
use crate::stage::ecs::task::{Health, Status, TaskSpec, TaskView};
use crate::stage::elb::TargetState;
use crate::stage::members::epoch_seconds;
use crate::stage::play::RollbackPrimary;
use serde_json::{Value, json};
use std::time::Instant;

/// AWS counts a task without any check as healthy this long after it runs, in seconds.
const UNCHECKED: f64 = 40.0;
/// Between two starts of a deployment whose tasks fail, in seconds.
const BACK_OFF: f64 = 30.0;

pub(super) fn step(services: &Services, service: &mut Service) {
    let tasks = services.of_service(service);
    register_targets(services, service, &tasks);
    leave(services, service, &tasks);
    judge_tasks(services, service, &tasks);
    break_circuit(services, service);
    move_tasks(services, service, &tasks);
    finish(services, service, &tasks);
}

/// The tasks of one deployment that nobody has asked to stop.
fn wanted<'a>(
    service: &'a Service,
    deployment: &'a Deployment,
    tasks: &'a [TaskView],
) -> impl Iterator<Item = &'a TaskView> {
    tasks.iter().filter(move |t| is_of(t, deployment) && t.is_wanted && !service.leaving.contains_key(&t.arn))
}

fn is_of(task: &TaskView, deployment: &Deployment) -> bool {
    task.spec.started_by.as_deref() == Some(deployment.id.as_str())
}

/// Running tasks join their target groups.
fn register_targets(services: &Services, service: &mut Service, tasks: &[TaskView]) {
    for task in tasks.iter().filter(|t| t.status == Status::Running && t.is_wanted) {
        if service.registered.contains_key(&task.arn) {
            continue;
        }
        let mut groups = vec![];
        for (group, container, port) in service.target_groups() {
            let found = task.containers.iter().find(|c| c.name == container);
            if let Some((_, address)) = found.and_then(|c| c.ports.iter().find(|(p, _)| *p == port)) {
                services.elb.register(&group, &task.id, *address);
                groups.push(group);
            }
        }
        if !groups.is_empty() {
            service.say(format!("registered 1 targets in (target-group {})", groups[0]));
        }
        service.registered.insert(task.arn.clone(), groups);
    }
}

/// Tasks that were told to go: out of their target groups first, then stopped.
fn leave(services: &Services, service: &mut Service, tasks: &[TaskView]) {
    let is_out = |task: &TaskView, service: &Service| {
        service
            .registered
            .get(&task.arn)
            .into_iter()
            .flatten()
            .all(|group| services.elb.health(group, &task.id).is_none())
    };
    for task in tasks {
        if task.status == Status::Stopped {
            service.leaving.remove(&task.arn);
        }
        // One that ended by itself leaves at once.
        if task.status >= Status::Stopping
            && let Some(groups) = service.registered.get(&task.arn)
        {
            for group in groups
                .iter()
                .filter(|g| services.elb.health(g, &task.id).is_some_and(|h| h.state != TargetState::Draining))
            {
                services.elb.deregister(group, &task.id);
            }
        }
        if let Some(reason) = service.leaving.get(&task.arn)
            && task.is_wanted
            && is_out(task, service)
        {
            services.tasks.stop(&task.arn, "ServiceSchedulerInitiated", reason);
        }
    }
}

fn dismiss(services: &Services, service: &mut Service, task: &TaskView, reason: String) {
    if !task.is_wanted || service.leaving.contains_key(&task.arn) {
        return;
    }
    let groups = service.registered.get(&task.arn).cloned().unwrap_or_default();
    if !groups.is_empty() {
        service.say(format!("has begun draining connections on 1 tasks. (task {})", task.id));
    }
    for group in &groups {
        services.elb.deregister(group, &task.id);
    }
    service.leaving.insert(task.arn.clone(), reason);
    if groups.is_empty() {
        let reason = service.leaving.get(&task.arn).cloned().unwrap_or_default();
        services.tasks.stop(&task.arn, "ServiceSchedulerInitiated", &reason);
    }
}

/// Healthy: its container checks pass, its targets are healthy, and without either it has run for a while.
fn is_healthy(services: &Services, service: &Service, task: &TaskView) -> bool {
    if task.status != Status::Running || !task.is_wanted || service.leaving.contains_key(&task.arn) {
        return false;
    }
    let has_check = task.containers.iter().any(|c| c.health != Health::Unknown) || has_health_check(task);
    let groups = service.registered.get(&task.arn).cloned().unwrap_or_default();
    let targets_are =
        groups.iter().all(|g| services.elb.health(g, &task.id).is_some_and(|h| h.state == TargetState::Healthy));
    if has_check && task.health != Health::Healthy {
        return false;
    }
    if groups.len() < service.target_groups().len() || !targets_are {
        return false;
    }
    has_check
        || !groups.is_empty()
        || task.running_since.is_some_and(|since| since.elapsed() >= services.play.waiting(UNCHECKED))
}

fn has_health_check(task: &TaskView) -> bool {
    let containers =
        task.spec.definition.body.get("containerDefinitions").and_then(Value::as_array).into_iter().flatten();
    containers.into_iter().any(|c| c.get("healthCheck").is_some() && c.get("essential") != Some(&json!(false)))
}

/// Notes who was healthy, counts who failed, replaces who is unhealthy.
fn judge_tasks(services: &Services, service: &mut Service, tasks: &[TaskView]) {
    let grace = services.play.patience(service.members["healthCheckGracePeriodSeconds"].as_f64().unwrap_or(0.0));
    for task in tasks {
        let Some(at) = service.deployments.iter().position(|d| is_of(task, d)) else { continue };
        if is_healthy(services, service, task) {
            let resets = service.resets_on_healthy_task();
            let deployment = &mut service.deployments[at];
            if deployment.proven.insert(task.arn.clone()) && resets {
                deployment.failures = 0;
            }
            continue;
        }
        if task.status == Status::Stopped {
            let was_told = task.stop_code.as_deref() == Some("ServiceSchedulerInitiated")
                || task.stop_code.as_deref() == Some("UserInitiated");
            let deployment = &service.deployments[at];
            if !was_told && !deployment.proven.contains(&task.arn) {
                count_failure(service, at, &task.arn);
            }
            continue;
        }
        if task.status != Status::Running || task.running_since.is_none_or(|since| since.elapsed() < grace) {
            continue;
        }
        let unhealthy_target = service.registered.get(&task.arn).into_iter().flatten().find_map(|group| {
            let health = services.elb.health(group, &task.id)?;
            (health.state == TargetState::Unhealthy).then(|| (group.clone(), health))
        });
        if task.health == Health::Unhealthy {
            service.say(format!("(task {}) failed container health checks.", task.id));
            count_failure(service, at, &task.arn);
            dismiss(services, service, task, "Task failed container health checks".to_owned());
        } else if let Some((group, health)) = unhealthy_target {
            let port = task.containers.iter().find_map(|c| c.ports.first()).map_or(0, |(port, _)| *port);
            let why = health.description.unwrap_or_default();
            service.say(format!("(port {port}) is unhealthy in (target-group {group}) due to (reason {why})"));
            count_failure(service, at, &task.arn);
            dismiss(services, service, task, format!("Task failed ELB health checks in (target-group {group})"));
        }
    }
}

fn count_failure(service: &mut Service, at: usize, arn: &str) {
    let deployment = &mut service.deployments[at];
    if deployment.counted.insert(arn.to_owned()) {
        deployment.failures += 1;
        deployment.last_failure = Some(Instant::now());
        deployment.updated_at = epoch_seconds();
        let (failures, id) = (deployment.failures, deployment.service_deployment.clone());
        if let Some(found) = service.service_deployments.iter_mut().find(|d| Some(&d.arn) == id.as_ref()) {
            found.failures = failures;
            found.updated_at = epoch_seconds();
        }
    }
}

/// The circuit breaker: enough failures of the primary deployment end it.
fn break_circuit(services: &Services, service: &mut Service) {
    let threshold = service.threshold();
    let is_enabled = service.breaker()["enable"] == json!(true);
    let Some(primary) = service.primary() else { return };
    if !is_enabled || primary.rollout != Rollout::InProgress || primary.failures < threshold {
        return;
    }
    let rolls_back = service.breaker()["rollback"] == json!(true);
    let reason = "ECS deployment circuit breaker: tasks failed to start.".to_owned();
    fail_primary(services, service, &reason, rolls_back, true);
}

/// Ends the primary deployment as FAILED, and goes back to the last completed one where there is one.
pub(super) fn fail_primary(
    services: &Services,
    service: &mut Service,
    reason: &str,
    rolls_back: bool,
    by_breaker: bool,
) {
    let completed =
        service.deployments.iter().find(|d| d.role != Role::Primary && d.rollout == Rollout::Completed).cloned();
    let Some(failed) = service.primary_mut() else { return };
    failed.rollout = Rollout::Failed;
    failed.reason = reason.to_owned();
    failed.updated_at = epoch_seconds();
    let (failed_id, service_deployment) = (failed.id.clone(), failed.service_deployment.clone());
    service.say(format!("(deployment {failed_id}) deployment failed: tasks failed to start."));
    let target = completed.filter(|_| rolls_back);
    if let Some(found) = service.service_deployments.iter_mut().find(|d| Some(&d.arn) == service_deployment.as_ref()) {
        if by_breaker {
            found.breaker_status = "TRIGGERED";
        }
        found.updated_at = epoch_seconds();
        match &target {
            Some(target) => {
                found.status = "ROLLBACK_IN_PROGRESS";
                found.reason = Some(reason.to_owned());
                found.rollback = Some(
                    json!({"reason": if by_breaker { "Service deployment rolled back because the circuit breaker threshold was exceeded." } else { "Service deployment rolled back because a rollback was requested." },
                    "startedAt": epoch_seconds(), "serviceRevisionArn": target.revision_arn}),
                );
            }
            None => {
                found.status = "STOPPED";
                found.reason = Some(reason.to_owned());
                found.finished_at = Some(epoch_seconds());
            }
        }
    }
    let Some(target) = target else { return };
    service.say(format!("rolling back to deployment {}.", target.id));
    let text = format!("ECS deployment circuit breaker: rolling back to deploymentId {}.", target.id);
    match services.play.rollback_primary {
        RollbackPrimary::ReusedId => {
            for deployment in &mut service.deployments {
                deployment.role = if deployment.id == target.id { Role::Primary } else { Role::Active };
                if deployment.id == target.id {
                    deployment.rollout = Rollout::InProgress;
                    deployment.reason.clone_from(&text);
                    deployment.failures = 0;
                    deployment.service_deployment.clone_from(&service_deployment);
                    deployment.updated_at = epoch_seconds();
                }
            }
            service.is_steady = false;
        }
        RollbackPrimary::FreshId => {
            service.deploy(target.definition, target.resolved_images, target.revision_arn, service_deployment, |_| {
                text.clone()
            });
        }
    }
}

/// Starts and stops within minimumHealthyPercent and maximumPercent.
fn move_tasks(services: &Services, service: &mut Service, tasks: &[TaskView]) {
    let desired = service.desired;
    let minimum = (desired * service.percent("minimumHealthyPercent", 100) + 99) / 100;
    let maximum = (desired * service.percent("maximumPercent", 200) / 100).max(if desired > 0 { 1 } else { 0 });
    let alive = tasks.iter().filter(|t| t.status < Status::Stopping).count() as i64;
    let healthy = tasks.iter().filter(|t| is_healthy(services, service, t)).count() as i64;
    let Some(primary) = service.primary().cloned() else { return };
    let ours: Vec<TaskView> = wanted(service, &primary, tasks).cloned().collect();
    let others: Vec<TaskView> = tasks
        .iter()
        .filter(|t| !is_of(t, &primary) && t.is_wanted && !service.leaving.contains_key(&t.arn))
        .cloned()
        .collect();
    let failed_ids: Vec<String> =
        service.deployments.iter().filter(|d| d.rollout == Rollout::Failed).map(|d| d.id.clone()).collect();

    // Too many of the current revision: scaled in.
    for extra in ours.iter().skip(usize::try_from(desired).unwrap_or(0)) {
        dismiss(services, service, extra, format!("Scaling activity initiated by (deployment {})", primary.id));
    }
    if primary.rollout == Rollout::Failed {
        // Nothing new is started, and what served before goes on serving; what failed is not tried again.
        for task in &ours {
            if !primary.proven.contains(&task.arn) {
                dismiss(services, service, task, format!("Scaling activity initiated by (deployment {})", primary.id));
            }
        }
        return;
    }
    let waits = primary.last_failure.is_some_and(|at| at.elapsed() < services.play.waiting(BACK_OFF));
    let missing = desired - ours.len() as i64;
    let room = maximum - alive;
    let starts = missing.min(room).max(0);
    if starts > 0 && !waits {
        let started: Vec<TaskView> = (0..starts).map(|_| services.tasks.start(spec(service, &primary))).collect();
        let ids: Vec<String> = started.iter().map(|t| format!("(task {})", t.id)).collect();
        service.say(format!("has started {} tasks: {}.", started.len(), ids.join(" ")));
        service.is_steady = false;
    }
    // Tasks of a failed deployment don't count for availability: they go first.
    let (doomed, old): (Vec<TaskView>, Vec<TaskView>) = others.into_iter().partition(|t| {
        t.spec.started_by.as_ref().is_some_and(|by| failed_ids.contains(by)) || !is_healthy(services, service, t)
    });
    let reason = format!("Scaling activity initiated by (deployment {})", primary.id);
    for task in &doomed {
        dismiss(services, service, task, reason.clone());
    }
    let doomed_healthy =
        doomed.iter().filter(|t| service.deployments.iter().any(|d| d.proven.contains(&t.arn))).count() as i64;
    let spare = (healthy - doomed_healthy.min(healthy) - minimum).max(0);
    let ours_healthy = ours.iter().filter(|t| is_healthy(services, service, t)).count() as i64;
    // Once the new revision is complete the old one goes, whatever the minimum says.
    let stops = if ours_healthy >= desired { old.len() as i64 } else { spare };
    for task in old.iter().take(usize::try_from(stops).unwrap_or(0)) {
        dismiss(services, service, task, reason.clone());
    }
    let is_stuck =
        missing > 0 && room <= 0 && stops == 0 && !old.is_empty() && alive == old.len() as i64 && healthy <= minimum;
    if is_stuck && !service.said_stuck {
        service.said_stuck = true;
        service.say("was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again.");
    }
}

fn spec(service: &Service, deployment: &Deployment) -> TaskSpec {
    let member = |name: &str| service.members[name].as_str().map(str::to_owned);
    let strategy = service.members["capacityProviderStrategy"]
        .as_array()
        .and_then(|s| s.first()?["capacityProvider"].as_str().map(str::to_owned));
    TaskSpec {
        cluster_arn: service.cluster_arn.clone(),
        definition: deployment.definition.clone(),
        overrides: json!({"containerOverrides": [], "inferenceAcceleratorOverrides": []}),
        started_by: Some(deployment.id.clone()),
        group: format!("service:{}", service.name),
        launch_type: if strategy.is_some() {
            None
        } else {
            member("launchType").or_else(|| Some("FARGATE".to_owned()))
        },
        capacity_provider: strategy,
        platform_version: member("platformVersion").filter(|v| v != "LATEST").unwrap_or_else(|| "1.4.0".to_owned()),
        network_configuration: service.members["networkConfiguration"].clone(),
        tags: vec![],
        resolved_images: deployment.resolved_images.clone(),
    }
}

/// A deployment completes when all its tasks are healthy and nothing of the others is left.
fn finish(services: &Services, service: &mut Service, tasks: &[TaskView]) {
    let ids: Vec<String> =
        service.deployments.iter().filter(|d| d.role != Role::Primary).map(|d| d.id.clone()).collect();
    let is_left =
        |id: &String| tasks.iter().any(|t| t.spec.started_by.as_ref() == Some(id) && t.status != Status::Stopped);
    let primary_failed = service.primary().is_some_and(|p| p.rollout == Rollout::Failed);
    let gone: Vec<String> = ids.iter().filter(|id| !is_left(id)).cloned().collect();
    if service.status == "DRAINING" && tasks.iter().all(|t| t.status == Status::Stopped) {
        service.status = "INACTIVE";
        service.deployments.clear();
        return;
    }
    let Some(primary) = service.primary().cloned() else { return };
    let healthy = wanted(service, &primary, tasks).filter(|t| is_healthy(services, service, t)).count() as i64;
    let is_complete = healthy == service.desired
        && wanted(service, &primary, tasks).count() as i64 == service.desired
        && gone.len() == ids.len();
    if !primary_failed && (is_complete || primary.rollout == Rollout::Completed) {
        service.deployments.retain(|d| d.role == Role::Primary || !gone.contains(&d.id));
    } else {
        // The last completed one stays listed: it is what a rollback goes to.
        service
            .deployments
            .retain(|d| d.role == Role::Primary || !gone.contains(&d.id) || d.rollout == Rollout::Completed);
    }
    if !is_complete || primary.rollout == Rollout::Failed {
        return;
    }
    if primary.rollout == Rollout::InProgress {
        if let Some(primary) = service.primary_mut() {
            primary.rollout = Rollout::Completed;
            primary.reason = format!("ECS deployment {} completed.", primary.id);
            primary.updated_at = epoch_seconds();
        }
        let id = primary.service_deployment.clone();
        if let Some(found) = service.service_deployments.iter_mut().find(|d| Some(&d.arn) == id.as_ref()) {
            found.status = if found.rollback.is_some() { "ROLLBACK_SUCCESSFUL" } else { "SUCCESSFUL" };
            if found.breaker_status == "MONITORING" {
                found.breaker_status = "MONITORING_COMPLETE";
            }
            found.finished_at = Some(epoch_seconds());
            found.updated_at = epoch_seconds();
        }
        service.say(format!("(deployment {}) deployment completed.", primary.id));
    }
    if !service.is_steady {
        service.is_steady = true;
        service.say("has reached a steady state.");
    }
}
