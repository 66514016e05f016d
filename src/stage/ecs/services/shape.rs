//! The shapes of the API: service, deployment, service deployment, service revision.

use super::state::{Deployment, Role, Rollout, Service, ServiceDeployment};
use crate::stage::ecs::task::{Status, TaskView};
use serde_json::{Value, json};

pub(super) fn service(service: &Service, tasks: &[TaskView]) -> Value {
    let mut shown = json!({
        "serviceArn": service.arn, "serviceName": service.name, "clusterArn": service.cluster_arn, "status": service.status,
        "desiredCount": service.desired, "runningCount": count(tasks, |t| t.status == Status::Running),
        "pendingCount": count(tasks, |t| t.status < Status::Running), "createdAt": service.created_at, "events": service.events,
        "deployments": service.deployments.iter().map(|d| deployment(service, d, tasks)).collect::<Vec<_>>(),
        "schedulingStrategy": "REPLICA", "deploymentController": {"type": "ECS"}, "placementConstraints": [], "placementStrategy": [],
        "loadBalancers": [], "serviceRegistries": [], "enableECSManagedTags": false, "propagateTags": "NONE", "enableExecuteCommand": false,
        "availabilityZoneRebalancing": "ENABLED", "platformFamily": "Linux",
    });
    let kept = [
        "networkConfiguration",
        "deploymentConfiguration",
        "launchType",
        "capacityProviderStrategy",
        "loadBalancers",
        "platformVersion",
        "healthCheckGracePeriodSeconds",
        "deploymentController",
        "roleArn",
        "resourceManagementType",
    ];
    for member in kept {
        if let Some(value) = service.members.get(member).filter(|v| !v.is_null()) {
            shown[member] = value.clone();
        }
    }
    if let Some(primary) = service.primary() {
        shown["taskDefinition"] = json!(primary.definition.arn);
        shown["currentServiceDeployment"] = json!(service.service_deployments.first().map(|d| &d.arn));
        shown["currentServiceRevisions"] = json!([{"arn": primary.revision_arn}]);
    }
    shown
}

fn deployment(service: &Service, deployment: &Deployment, tasks: &[TaskView]) -> Value {
    let is_mine = |t: &TaskView| t.spec.started_by.as_deref() == Some(deployment.id.as_str());
    let is_draining = deployment.role != Role::Primary
        && deployment.rollout == Rollout::Failed
        && !tasks.iter().any(|t| is_mine(t) && t.is_wanted);
    let mut shown = json!({
        "id": deployment.id,
        "status": match deployment.role { Role::Primary => "PRIMARY", Role::Active if is_draining => "DRAINING", Role::Active => "ACTIVE" },
        "taskDefinition": deployment.definition.arn,
        "desiredCount": if deployment.role == Role::Primary && deployment.rollout != Rollout::Failed { service.desired } else { 0 },
        "pendingCount": count(tasks, |t| is_mine(t) && t.status < Status::Running),
        "runningCount": count(tasks, |t| is_mine(t) && t.status == Status::Running),
        "failedTasks": deployment.failures, "createdAt": deployment.created_at, "updatedAt": deployment.updated_at,
        "rolloutState": match deployment.rollout { Rollout::InProgress => "IN_PROGRESS", Rollout::Completed => "COMPLETED", Rollout::Failed => "FAILED" },
        "rolloutStateReason": deployment.reason, "platformFamily": "Linux",
    });
    for member in ["networkConfiguration", "launchType", "capacityProviderStrategy", "platformVersion"] {
        if let Some(value) = service.members.get(member).filter(|v| !v.is_null()) {
            shown[member] = value.clone();
        }
    }
    shown
}

pub(super) fn brief(service: &Service, deployment: &ServiceDeployment) -> Value {
    let mut shown = json!({
        "serviceDeploymentArn": deployment.arn, "serviceArn": service.arn, "clusterArn": service.cluster_arn,
        "startedAt": deployment.created_at, "createdAt": deployment.created_at, "targetServiceRevisionArn": deployment.target_revision,
        "status": deployment.status,
    });
    if let Some(at) = deployment.finished_at {
        shown["finishedAt"] = json!(at);
    }
    if let Some(reason) = &deployment.reason {
        shown["statusReason"] = json!(reason);
    }
    shown
}

pub(super) fn service_deployment(service: &Service, deployment: &ServiceDeployment, tasks: &[TaskView]) -> Value {
    let is_mine = |t: &TaskView| t.spec.started_by.as_deref() == Some(deployment.deployment_id.as_str());
    let mut shown = brief(service, deployment);
    let own = shown.as_object_mut();
    if let Some(own) = own {
        own.shift_remove("targetServiceRevisionArn");
    }
    shown["targetServiceRevision"] = json!({
        "arn": deployment.target_revision, "requestedTaskCount": service.desired,
        "runningTaskCount": count(tasks, |t| is_mine(t) && t.status == Status::Running),
        "pendingTaskCount": count(tasks, |t| is_mine(t) && t.status < Status::Running),
    });
    let sources: Vec<Value> = deployment.source_revision.iter().map(|arn| json!({"arn": arn})).collect();
    shown["sourceServiceRevisions"] = json!(sources);
    shown["updatedAt"] = json!(deployment.updated_at);
    shown["deploymentConfiguration"] = service.members["deploymentConfiguration"].clone();
    shown["deploymentCircuitBreaker"] = json!({"status": deployment.breaker_status, "failureCount": deployment.failures, "threshold": service.threshold()});
    shown["alarms"] = json!({"status": "DISABLED", "alarmNames": [], "triggeredAlarmNames": []});
    if let Some(rollback) = &deployment.rollback {
        shown["rollback"] = rollback.clone();
    }
    shown
}

pub(super) fn revision(service: &Service, arn: &str) -> Option<Value> {
    let (definition, resolved) = service.revisions.get(arn)?;
    let containers = definition.body.get("containerDefinitions").and_then(Value::as_array).into_iter().flatten();
    let images: Vec<Value> = containers
        .map(|c| {
            let name = c["name"].as_str().unwrap_or_default();
            let mut shown = json!({"containerName": name, "image": c["image"]});
            if let Some((_, digest)) = resolved.iter().find(|(n, _)| n == name) {
                shown["imageDigest"] = json!(digest);
            }
            shown
        })
        .collect();
    Some(json!({
        "serviceRevisionArn": arn, "serviceArn": service.arn, "clusterArn": service.cluster_arn, "taskDefinition": definition.arn,
        "containerImages": images, "networkConfiguration": service.members["networkConfiguration"],
        "loadBalancers": service.members["loadBalancers"], "launchType": service.members["launchType"], "createdAt": service.created_at,
    }))
}

fn count(tasks: &[TaskView], which: impl Fn(&TaskView) -> bool) -> usize {
    tasks.iter().filter(|t| which(t)).count()
}
