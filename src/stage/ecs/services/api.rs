//! The calls on services.

use super::state::{Rollout, Service, ServiceDeployment};
use super::{Services, client, schedule, shape};
use crate::stage::api::{AwsError, Reply, partition};
use crate::stage::ecs::clusters::Clusters;
use crate::stage::ecs::definitions::Definitions;
use crate::stage::ecs::task::Definition;
use crate::stage::members::{epoch_seconds, flag, list, lock, number, page, random_hex, required, text, texts};
use crate::stage::play::{CurrentServiceDeployment, SupersededServiceDeployment};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

pub(super) fn call(
    services: &Arc<Services>,
    definitions: &Definitions,
    clusters: &Clusters,
    operation: &str,
    body: &Value,
) -> Option<Reply> {
    Some(match operation {
        "CreateService" => create(services, definitions, clusters, body),
        "UpdateService" => update(services, definitions, clusters, body),
        "DeleteService" => delete(services, clusters, body),
        "DescribeServices" => describe(services, clusters, body),
        "ListServices" => list_services(services, clusters, body),
        "ListServiceDeployments" => list_deployments(services, clusters, body),
        "DescribeServiceDeployments" => describe_deployments(services, body),
        "DescribeServiceRevisions" => describe_revisions(services, body),
        "StopServiceDeployment" => stop_deployment(services, body),
        _ => return None,
    })
}

fn create(services: &Arc<Services>, definitions: &Definitions, clusters: &Clusters, body: &Value) -> Reply {
    let cluster = clusters.find(text(body, "cluster"))?;
    let name = required(body, "serviceName")?.to_owned();
    let key = (cluster.arn.clone(), name.clone());
    let mut known = lock(&services.known);
    if known.get(&key).is_some_and(|s| s.status == "ACTIVE") {
        return Err(client("InvalidParameterException", "Creation of service was not idempotent."));
    }
    let mut members = body.clone();
    let is_rolled_by_ecs = body["deploymentController"]["type"].as_str().is_none_or(|kind| kind == "ECS");
    check_groups(services, body)?;
    let definition = definitions.active(required(body, "taskDefinition")?)?;
    if definition.body.get("networkMode") == Some(&json!("awsvpc"))
        && body.get("networkConfiguration").is_none_or(Value::is_null)
    {
        return Err(client(
            "InvalidParameterException",
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ));
    }
    fill_configuration(&mut members);
    let arn = format!(
        "arn:{}:ecs:{}:{}:service/{}/{name}",
        partition(&services.region),
        services.region,
        services.account,
        cluster.name
    );
    let mut service = Service {
        arn,
        name,
        cluster_arn: cluster.arn,
        status: "ACTIVE",
        members,
        desired: number(body, "desiredCount").unwrap_or(0),
        deployments: vec![],
        service_deployments: vec![],
        revisions: BTreeMap::new(),
        events: vec![],
        created_at: epoch_seconds(),
        registered: BTreeMap::new(),
        leaving: BTreeMap::new(),
        is_steady: false,
        said_stuck: false,
        before: None,
    };
    if is_rolled_by_ecs {
        deploy(services, &mut service, definition);
    } else {
        service.members["taskDefinition"] = json!(definition.arn);
    }
    let tasks = services.of_service(&service);
    let mut shown = shape::service(&service, &tasks);
    if shown.get("taskDefinition").is_none() {
        shown["taskDefinition"] = service.members["taskDefinition"].clone();
    }
    known.insert(key, service);
    Ok(json!({"service": shown}))
}

fn update(services: &Arc<Services>, definitions: &Definitions, clusters: &Clusters, body: &Value) -> Reply {
    let cluster = clusters.find(text(body, "cluster"))?;
    let name = short(required(body, "service")?).to_owned();
    let mut known = lock(&services.known);
    let service =
        known.get_mut(&(cluster.arn, name)).ok_or_else(|| client("ServiceNotFoundException", "Service not found."))?;
    if service.status != "ACTIVE" {
        return Err(client("ServiceNotActiveException", "Service was not ACTIVE."));
    }
    let controller = service.members["deploymentController"]["type"].as_str().unwrap_or("ECS").to_owned();
    let definition = text(body, "taskDefinition").map(|name| definitions.active(name)).transpose()?;
    let forces = flag(body, "forceNewDeployment");
    if controller != "ECS" && (definition.is_some() || forces) {
        return Err(client(
            "InvalidParameterException",
            match controller.as_str() {
                "CODE_DEPLOY" => {
                    "Unable to update task definition on services with a CODE_DEPLOY deployment controller. Use AWS CodeDeploy to trigger a new deployment."
                }
                _ => {
                    "UpdateService with taskDefinition is not supported on services with an EXTERNAL deployment controller."
                }
            },
        ));
    }
    check_groups(services, body)?;
    let before_update = shape::service(service, &services.of_service(service));
    if let Some(count) = number(body, "desiredCount") {
        service.desired = count;
        service.members["desiredCount"] = json!(count);
        service.is_steady = false;
    }
    let mut is_changed = forces;
    for member in [
        "networkConfiguration",
        "platformVersion",
        "loadBalancers",
        "serviceRegistries",
        "serviceConnectConfiguration",
        "volumeConfigurations",
    ] {
        if let Some(value) = body.get(member).filter(|v| !v.is_null()) {
            is_changed |= service.members.get(member) != Some(value);
            service.members[member] = value.clone();
        }
    }
    for member in ["capacityProviderStrategy", "healthCheckGracePeriodSeconds", "enableExecuteCommand"] {
        if let Some(value) = body.get(member).filter(|v| !v.is_null()) {
            service.members[member] = value.clone();
        }
    }
    if let Some(configuration) = body.get("deploymentConfiguration").and_then(Value::as_object) {
        for (member, value) in configuration {
            service.members["deploymentConfiguration"][member] = value.clone();
        }
    }
    let current = service.primary().map(|p| p.definition.clone());
    is_changed |= definition.as_ref().is_some_and(|d| current.as_ref().is_none_or(|c| c.arn != d.arn));
    if is_changed && let Some(definition) = definition.or(current) {
        deploy(services, service, definition);
    }
    if services.play.read_lag > std::time::Duration::ZERO {
        service.before = Some((Instant::now() + services.play.read_lag, before_update.clone()));
    }
    let mut shown = shape::service(service, &services.of_service(service));
    if is_changed && services.play.current_service_deployment_in_update == CurrentServiceDeployment::Stale {
        shown["currentServiceDeployment"] = before_update["currentServiceDeployment"].clone();
    }
    Ok(json!({"service": shown}))
}

/// A new deployment, in a new service deployment; what was in progress is superseded.
fn deploy(services: &Arc<Services>, service: &mut Service, definition: Arc<Definition>) {
    let source = service.primary().map(|p| (p.revision_arn.clone(), p.rollout, p.service_deployment.clone()));
    if let Some((_, Rollout::InProgress, Some(superseded))) = &source
        && services.play.superseded_service_deployment == SupersededServiceDeployment::Stopped
        && let Some(found) = service.service_deployments.iter_mut().find(|d| &d.arn == superseded)
    {
        found.status = "STOPPED";
        found.reason = Some("Service deployment was stopped because it was replaced by a newer one.".to_owned());
        found.finished_at = Some(epoch_seconds());
    }
    let path = service.arn.split(":service/").nth(1).unwrap_or_default().to_owned();
    let head = service.arn.split(":service/").next().unwrap_or_default().to_owned();
    let revision_arn = format!("{head}:service-revision/{path}/{}", random_hex(10));
    let arn = format!("{head}:service-deployment/{path}/{}", random_hex(10));
    let containers = definition.body.get("containerDefinitions").and_then(Value::as_array).into_iter().flatten();
    let resolved: Vec<(String, String)> = containers
        .filter(|c| c.get("versionConsistency") != Some(&json!("disabled")))
        .filter_map(|c| {
            Some((c["name"].as_str()?.to_owned(), services.tasks.resolve_image(c["image"].as_str()?).ok()??))
        })
        .collect();
    let id = service.deploy(definition, resolved, revision_arn.clone(), Some(arn.clone()), |id| {
        format!("ECS deployment {id} in progress.")
    });
    let is_guarded = service.breaker()["enable"] == json!(true);
    let now = epoch_seconds();
    service.service_deployments.insert(
        0,
        ServiceDeployment {
            arn,
            deployment_id: id,
            status: "IN_PROGRESS",
            reason: None,
            source_revision: source.map(|(arn, ..)| arn),
            target_revision: revision_arn,
            rollback: None,
            breaker_status: if is_guarded { "MONITORING" } else { "DISABLED" },
            failures: 0,
            created_at: now,
            updated_at: now,
            finished_at: None,
        },
    );
}

fn delete(services: &Arc<Services>, clusters: &Clusters, body: &Value) -> Reply {
    let cluster = clusters.find(text(body, "cluster"))?;
    let name = short(required(body, "service")?).to_owned();
    let mut known = lock(&services.known);
    let service =
        known.get_mut(&(cluster.arn, name)).ok_or_else(|| client("ServiceNotFoundException", "Service not found."))?;
    if service.desired > 0 && !flag(body, "force") {
        return Err(client("InvalidParameterException", "The service cannot be stopped while it is scaled above 0."));
    }
    service.desired = 0;
    service.status = "DRAINING";
    Ok(json!({"service": shape::service(service, &services.of_service(service))}))
}

fn describe(services: &Arc<Services>, clusters: &Clusters, body: &Value) -> Reply {
    let cluster = clusters.find(text(body, "cluster"))?;
    let wanted = texts(body, "services");
    if wanted.is_empty() || wanted.len() > 10 {
        return Err(client("InvalidParameterException", "Services must be between 1 and 10."));
    }
    let known = lock(&services.known);
    let (mut found, mut failures) = (vec![], vec![]);
    for name in wanted {
        match known
            .get(&(cluster.arn.clone(), short(name).to_owned()))
            .filter(|s| !name.starts_with("arn:") || s.arn == name)
        {
            Some(service) => found.push(match &service.before {
                Some((until, before)) if Instant::now() < *until => before.clone(),
                _ => {
                    let mut shown = shape::service(service, &services.of_service(service));
                    if shown.get("taskDefinition").is_none() {
                        shown["taskDefinition"] = service.members["taskDefinition"].clone();
                    }
                    shown
                }
            }),
            None => {
                let arn = if name.starts_with("arn:") {
                    name.to_owned()
                } else {
                    format!("{}/{name}", cluster.arn.replace(":cluster/", ":service/"))
                };
                failures.push(json!({"arn": arn, "reason": "MISSING"}));
            }
        }
    }
    Ok(json!({"services": found, "failures": failures}))
}

fn list_services(services: &Arc<Services>, clusters: &Clusters, body: &Value) -> Reply {
    let cluster = clusters.find(text(body, "cluster"))?;
    let known = lock(&services.known);
    let arns: Vec<String> = known
        .values()
        .filter(|s| s.cluster_arn == cluster.arn && s.status != "INACTIVE")
        .map(|s| s.arn.clone())
        .collect();
    let (arns, next) = page(&arns, text(body, "nextToken"), number(body, "maxResults").unwrap_or(10) as usize)?;
    let mut answer = json!({"serviceArns": arns});
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    Ok(answer)
}

fn list_deployments(services: &Arc<Services>, clusters: &Clusters, body: &Value) -> Reply {
    let name = required(body, "service")?;
    let known = lock(&services.known);
    let found = if name.starts_with("arn:") {
        known.values().find(|s| s.arn == name)
    } else {
        let cluster = clusters.find(text(body, "cluster"))?;
        known.get(&(cluster.arn, short(name).to_owned()))
    };
    let service = found.ok_or_else(|| client("ServiceNotFoundException", "Service not found."))?;
    let statuses = texts(body, "status");
    let after = body["createdAt"]["after"].as_f64().unwrap_or(f64::MIN);
    let before = body["createdAt"]["before"].as_f64().unwrap_or(f64::MAX);
    let matching: Vec<Value> = service
        .service_deployments
        .iter()
        .filter(|d| (statuses.is_empty() || statuses.contains(&d.status)) && (after..=before).contains(&d.created_at))
        .map(|d| shape::brief(service, d))
        .collect();
    let (items, next) = page(&matching, text(body, "nextToken"), number(body, "maxResults").unwrap_or(20) as usize)?;
    let mut answer = json!({"serviceDeployments": items});
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    Ok(answer)
}

fn describe_deployments(services: &Arc<Services>, body: &Value) -> Reply {
    let known = lock(&services.known);
    let (mut found, mut failures) = (vec![], vec![]);
    for arn in texts(body, "serviceDeploymentArns") {
        let hit = known.values().find_map(|s| Some((s, s.service_deployments.iter().find(|d| d.arn == arn)?)));
        match hit {
            Some((service, deployment)) => {
                found.push(shape::service_deployment(service, deployment, &services.of_service(service)))
            }
            None => failures.push(json!({"arn": arn, "reason": "MISSING"})),
        }
    }
    Ok(json!({"serviceDeployments": found, "failures": failures}))
}

fn describe_revisions(services: &Arc<Services>, body: &Value) -> Reply {
    let known = lock(&services.known);
    let (mut found, mut failures) = (vec![], vec![]);
    for arn in texts(body, "serviceRevisionArns") {
        match known.values().find_map(|s| shape::revision(s, arn)) {
            Some(revision) => found.push(revision),
            None => failures.push(json!({"arn": arn, "reason": "MISSING"})),
        }
    }
    Ok(json!({"serviceRevisions": found, "failures": failures}))
}

fn stop_deployment(services: &Arc<Services>, body: &Value) -> Reply {
    let arn = required(body, "serviceDeploymentArn")?.to_owned();
    if text(body, "stopType").unwrap_or("ROLLBACK") != "ROLLBACK" {
        return Err(client("InvalidParameterException", "The only valid value for stopType is ROLLBACK."));
    }
    let mut known = lock(&services.known);
    let missing = || client("ServiceDeploymentNotFoundException", "The specified service deployment was not found.");
    let service =
        known.values_mut().find(|s| s.service_deployments.iter().any(|d| d.arn == arn)).ok_or_else(missing)?;
    let deployment = service.service_deployments.iter_mut().find(|d| d.arn == arn).ok_or_else(missing)?;
    if !deployment.is_ongoing() {
        return Err(client(
            "ConflictException",
            format!("The service deployment is {} and can't be stopped.", deployment.status),
        ));
    }
    if deployment.status == "IN_PROGRESS" {
        deployment.status = "ROLLBACK_REQUESTED";
        schedule::fail_primary(services, service, "Service deployment was stopped by a rollback request.", true, false);
    }
    Ok(json!({"serviceDeploymentArn": arn}))
}

fn check_groups(services: &Services, body: &Value) -> Result<(), AwsError> {
    for balancer in list(body, "loadBalancers") {
        let arn = text(balancer, "targetGroupArn").unwrap_or_default();
        if !services.elb.exists(arn) {
            return Err(client("InvalidParameterException", format!("The target group {arn} does not exist.")));
        }
    }
    Ok(())
}

/// What CreateService fills in for a rolling service.
fn fill_configuration(members: &mut Value) {
    let given = members.get("deploymentConfiguration").cloned().unwrap_or_else(|| json!({}));
    let mut filled = json!({
        "deploymentCircuitBreaker": {"enable": false, "rollback": false}, "maximumPercent": 200, "minimumHealthyPercent": 100,
        "strategy": "ROLLING", "bakeTimeInMinutes": 0,
    });
    for (member, value) in given.as_object().into_iter().flatten() {
        filled[member] = value.clone();
    }
    members["deploymentConfiguration"] = filled;
}

fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
