//! What RegisterTaskDefinition refuses, in AWS's words where they are known.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html>,
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html>

use std::collections::BTreeSet;

use serde_json::Value;

use super::fargate;
use super::refusal::{containers, refuse, setting};
use crate::error::AwsError;
use crate::request::{list, number, required, text};

/// Containers in one task definition.
const CONTAINERS: usize = 10;
/// Bytes of one task definition.
const SIZE: usize = 65_536;

pub(super) fn check(body: &Value) -> Result<(), AwsError> {
    let family = required(body, "family")?;
    if family.len() > 255 || !is_name(family) {
        return refuse(
            "Family should not contain more than 255 characters, and may only contain letters, numbers, hyphens and underscores.",
        );
    }
    let length = body.to_string().len();
    if length > SIZE {
        return refuse(format!("Actual length: '{length}'. Max allowed length is '{SIZE}' bytes."));
    }
    check_names(body)?;
    if !containers(body).iter().any(is_essential) {
        return refuse("Task definition does not have any essential containers.");
    }
    check_volumes(body)?;
    for container in containers(body) {
        check_container(container)?;
        check_dependencies(body, container)?;
        check_mounts(body, container)?;
    }
    if let Some(name) = cycle(body) {
        return refuse(format!("Container '{name}' depends on itself: container dependencies cannot be cyclic."));
    }
    check_routers(body)?;
    let has_role = text(body, "executionRoleArn").is_some_and(|role| !role.is_empty());
    if !has_role && containers(body).iter().any(|container| !list(container, "secrets").is_empty()) {
        return refuse(
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
        );
    }
    if list(body, "requiresCompatibilities").iter().any(|of| of == "FARGATE") {
        return fargate::check(body);
    }
    let has_memory =
        |container: &Value| ["memory", "memoryReservation"].iter().any(|name| number(container, name).is_some());
    if body.get("memory").is_none_or(Value::is_null)
        && let Some(container) = containers(body).iter().find(|container| !has_memory(container))
    {
        return setting(container, "At least one of 'memory' or 'memoryReservation' must be specified.");
    }
    Ok(())
}

fn is_essential(container: &Value) -> bool {
    container.get("essential") != Some(&Value::Bool(false))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn check_names(body: &Value) -> Result<(), AwsError> {
    let containers = containers(body);
    if containers.is_empty() {
        return refuse("Container list cannot be empty.");
    }
    if containers.len() > CONTAINERS {
        return refuse(format!(
            "A task definition can have at most {CONTAINERS} containers, not {}.",
            containers.len()
        ));
    }
    let mut names = BTreeSet::new();
    for container in containers {
        let Some(name) = text(container, "name").filter(|name| !name.is_empty()) else {
            return refuse("Container.name should not be null or empty.");
        };
        if name.len() > 255 || !is_name(name) {
            return setting(
                container,
                "Container.name should not contain more than 255 characters, and may only contain letters, numbers, hyphens and underscores.",
            );
        }
        if text(container, "image").is_none_or(str::is_empty) {
            return refuse("Container.image should not be null or empty.");
        }
        if !names.insert(name) {
            return refuse("Container names must be unique.");
        }
    }
    Ok(())
}

fn check_volumes(body: &Value) -> Result<(), AwsError> {
    let mut names = BTreeSet::new();
    for volume in list(body, "volumes") {
        let Some(name) = text(volume, "name").filter(|name| is_name(name)) else {
            return refuse(
                "Volume name must be specified, and may only contain letters, numbers, hyphens and underscores.",
            );
        };
        if !names.insert(name) {
            return refuse(format!("Volume names must be unique: '{name}'."));
        }
        let efs = &volume["efsVolumeConfiguration"];
        let authorization = &efs["authorizationConfig"];
        let is_authorized =
            text(authorization, "accessPointId").is_some() || text(authorization, "iam") == Some("ENABLED");
        if is_authorized && text(efs, "transitEncryption") != Some("ENABLED") {
            return refuse("Transit encryption must be enabled to use an EFS access point or IAM authorization.");
        }
        let root = text(efs, "rootDirectory").unwrap_or("/");
        if text(authorization, "accessPointId").is_some() && root != "/" {
            return refuse("The root directory must be omitted or set to / when an EFS access point is specified.");
        }
    }
    Ok(())
}

fn check_container(container: &Value) -> Result<(), AwsError> {
    let variables: BTreeSet<&str> = list(container, "environment").iter().filter_map(|v| text(v, "name")).collect();
    let mut secrets = BTreeSet::new();
    for name in list(container, "secrets").iter().filter_map(|secret| text(secret, "name")) {
        if variables.contains(name) || !secrets.insert(name) {
            return refuse(format!(
                "The secret name must be unique and not shared with any new or existing environment variables set on the container, such as '{name}'."
            ));
        }
    }
    if let (Some(hard), Some(soft)) = (number(container, "memory"), number(container, "memoryReservation"))
        && soft > hard
    {
        return setting(container, "The 'memoryReservation' must not be greater than the 'memory'.");
    }
    if number(container, "memory").is_some_and(|memory| memory < 6) {
        return setting(container, "The 'memory' must be at least 6 MiB.");
    }
    let mut ports = BTreeSet::new();
    for mapping in list(container, "portMappings") {
        let port = number(mapping, "containerPort");
        if port.is_some_and(|port| !(1..=65_535).contains(&port)) {
            return setting(container, "Container port must be between 1 and 65535.");
        }
        if port.is_none() && text(mapping, "containerPortRange").is_none() {
            return setting(container, "Either 'containerPort' or 'containerPortRange' must be specified.");
        }
        let protocol = text(mapping, "protocol").unwrap_or("tcp");
        if port.is_some() && !ports.insert((port, protocol)) {
            return setting(container, "Port mappings must be unique.");
        }
    }
    check_health(container)?;
    if let Some(period) = number(&container["restartPolicy"], "restartAttemptPeriod")
        && !(60..=1800).contains(&period)
    {
        return setting(container, "The 'restartAttemptPeriod' must be between 60 and 1800 seconds.");
    }
    let logs = &container["logConfiguration"];
    if text(logs, "logDriver") == Some("awslogs") {
        for option in ["awslogs-group", "awslogs-region"] {
            if logs["options"].get(option).is_none_or(Value::is_null) {
                return refuse(format!("Log driver awslogs requires options: {option}"));
            }
        }
    }
    Ok(())
}

fn check_health(container: &Value) -> Result<(), AwsError> {
    let Some(check) = container.get("healthCheck").filter(|check| check.is_object()) else { return Ok(()) };
    match list(check, "command").first().and_then(Value::as_str) {
        Some("CMD" | "CMD-SHELL") if list(check, "command").len() > 1 => {}
        Some("NONE") => {}
        _ => return setting(container, "The health check command must begin with CMD or CMD-SHELL."),
    }
    for (name, least, most) in [("interval", 5, 300), ("timeout", 2, 60), ("retries", 1, 10), ("startPeriod", 0, 300)] {
        if number(check, name).is_some_and(|value| !(least..=most).contains(&value)) {
            return setting(container, &format!("The health check {name} must be between {least} and {most}."));
        }
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html>
fn check_dependencies(body: &Value, container: &Value) -> Result<(), AwsError> {
    for dependency in list(container, "dependsOn") {
        let on = text(dependency, "containerName").unwrap_or_default();
        let Some(other) = containers(body).iter().find(|other| text(other, "name") == Some(on)) else {
            return setting(
                container,
                &format!("It depends on the container '{on}', which is not in the task definition."),
            );
        };
        match text(dependency, "condition") {
            Some("SUCCESS" | "COMPLETE") if is_essential(other) => {
                return refuse(
                    "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
                );
            }
            Some("HEALTHY") if !other.get("healthCheck").is_some_and(Value::is_object) => {
                return refuse("A dependency container with HEALTHY condition must have a health check.");
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_mounts(body: &Value, container: &Value) -> Result<(), AwsError> {
    let mut paths = BTreeSet::new();
    for mount in list(container, "mountPoints") {
        let volume = text(mount, "sourceVolume").unwrap_or_default();
        if !list(body, "volumes").iter().any(|known| text(known, "name") == Some(volume)) {
            return refuse(format!("Unknown volume '{volume}'."));
        }
        let Some(path) = text(mount, "containerPath").filter(|path| !path.is_empty()) else {
            return setting(container, "The container path of a mount point must be specified.");
        };
        if !paths.insert(path) {
            return setting(container, &format!("Duplicate mount point '{path}'."));
        }
    }
    for from in list(container, "volumesFrom") {
        let source = text(from, "sourceContainer").unwrap_or_default();
        if !containers(body).iter().any(|other| text(other, "name") == Some(source)) {
            return setting(
                container,
                &format!("It has volumes from '{source}', which is not in the task definition."),
            );
        }
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_firelens.html>
fn check_routers(body: &Value) -> Result<(), AwsError> {
    let is_router = |container: &&Value| container.get("firelensConfiguration").is_some_and(Value::is_object);
    let sends = |container: &Value| text(&container["logConfiguration"], "logDriver") == Some("awsfirelens");
    let (routers, has_senders) =
        (containers(body).iter().filter(is_router).count(), containers(body).iter().any(sends));
    match (routers, has_senders) {
        (0, true) => refuse("The awsfirelens log driver requires a container with a firelensConfiguration."),
        (2.., _) => refuse("Only one container in a task definition can have a firelensConfiguration."),
        (1, false) => refuse(
            "When a firelensConfiguration object is specified, at least one container has to be configured with the awsfirelens log driver.",
        ),
        _ => Ok(()),
    }
}

/// A container that waits, through others or directly, for itself.
fn cycle(body: &Value) -> Option<&str> {
    let on = |name: &str| -> Vec<&str> {
        let container = containers(body).iter().find(|container| text(container, "name") == Some(name));
        container.map_or(&[][..], |c| list(c, "dependsOn")).iter().filter_map(|d| text(d, "containerName")).collect()
    };
    containers(body).iter().filter_map(|container| text(container, "name")).find(|name| {
        let (mut reached, mut waiting) = (BTreeSet::new(), on(name));
        while let Some(next) = waiting.pop() {
            if reached.insert(next) {
                waiting.extend(on(next));
            }
        }
        reached.contains(name)
    })
}

#[cfg(test)]
mod tests;
