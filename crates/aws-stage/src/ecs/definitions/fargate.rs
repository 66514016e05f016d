//! What a task definition must be for Fargate.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>,
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html>

use std::ops::RangeInclusive;

use serde_json::Value;

use super::refusal::{containers, refuse, setting};
use crate::error::AwsError;
use crate::request::{list, number, text};

/// Members of a container that Fargate does not have.
const NOT_OF_A_CONTAINER: [&str; 7] = [
    "privileged",
    "links",
    "dnsServers",
    "dnsSearchDomains",
    "extraHosts",
    "dockerSecurityOptions",
    "disableNetworking",
];
/// The same of `linuxParameters`.
const NOT_OF_LINUX: [&str; 5] = ["devices", "sharedMemorySize", "tmpfs", "maxSwap", "swappiness"];
const LOG_DRIVERS: [&str; 3] = ["awslogs", "splunk", "awsfirelens"];
/// GiB beyond the 20 that every task has.
const EPHEMERAL_STORAGE: RangeInclusive<i64> = 21..=200;

pub(in crate::ecs) fn check(body: &Value) -> Result<(), AwsError> {
    if text(body, "networkMode") != Some("awsvpc") {
        return refuse("Fargate only supports network mode 'awsvpc'.");
    }
    let (cpu, memory) = check_size(body.get("cpu"), body.get("memory"))?;
    check_task(body)?;
    let has_role = text(body, "executionRoleArn").is_some_and(|role| !role.is_empty());
    let mut reserved = 0;
    for container in containers(body) {
        check_container(container, has_role)?;
        reserved += number(container, "cpu").unwrap_or(0);
        let of_container = number(container, "memory").max(number(container, "memoryReservation")).unwrap_or(0);
        if of_container > i64::try_from(memory).unwrap_or(i64::MAX) {
            return refuse(
                "Invalid 'memory' setting for task. The 'memory' setting for container is greater than for the task.",
            );
        }
    }
    if reserved > i64::try_from(cpu).unwrap_or(i64::MAX) {
        return refuse(
            "Invalid 'cpu' setting for task. The total 'cpu' of the containers is greater than for the task.",
        );
    }
    Ok(())
}

/// CPU units and MiB of a pair that Fargate has.
pub(in crate::ecs) fn check_size(cpu: Option<&Value>, memory: Option<&Value>) -> Result<(u64, u64), AwsError> {
    let (Some(cpu), Some(memory)) = (size(cpu), size(memory)) else {
        return refuse("Fargate requires that 'cpu' and 'memory' be defined at the task level.");
    };
    if !is_size(cpu, memory) {
        return refuse(format!(
            "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the Amazon ECS documentation for the valid values."
        ));
    }
    Ok((cpu, memory))
}

fn check_task(body: &Value) -> Result<(), AwsError> {
    if !list(body, "placementConstraints").is_empty() {
        return unsupported("placementConstraints");
    }
    if body.get("ipcMode").is_some_and(Value::is_string) {
        return unsupported("ipcMode");
    }
    if text(body, "pidMode") == Some("host") {
        return unsupported("pidMode host");
    }
    if !list(body, "inferenceAccelerators").is_empty() {
        return unsupported("inferenceAccelerators");
    }
    let storage = body.get("ephemeralStorage").and_then(|storage| number(storage, "sizeInGiB"));
    if storage.is_some_and(|size| !EPHEMERAL_STORAGE.contains(&size)) {
        return refuse("Ephemeral storage size must be between 21 GiB and 200 GiB.");
    }
    for volume in list(body, "volumes") {
        if volume.get("host").and_then(|host| text(host, "sourcePath")).is_some() {
            return unsupported("sourcePath");
        }
        for member in ["dockerVolumeConfiguration", "fsxWindowsFileServerVolumeConfiguration"] {
            if volume.get(member).is_some_and(Value::is_object) {
                return unsupported(member);
            }
        }
    }
    Ok(())
}

fn check_container(container: &Value, has_role: bool) -> Result<(), AwsError> {
    let is_set = |of: &Value, name: &str| match of.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    };
    if let Some(name) = NOT_OF_A_CONTAINER.into_iter().find(|name| is_set(container, name)) {
        return unsupported(name);
    }
    let linux = &container["linuxParameters"];
    if let Some(name) = NOT_OF_LINUX.into_iter().find(|name| is_set(linux, name)) {
        return unsupported(name);
    }
    let added = list(&linux["capabilities"], "add").iter().filter_map(Value::as_str);
    if added.into_iter().any(|capability| capability != "SYS_PTRACE") {
        return refuse("Fargate compatible task definitions only support adding the linux capability SYS_PTRACE.");
    }
    if list(container, "resourceRequirements").iter().any(|required| text(required, "type") == Some("GPU")) {
        return unsupported("GPU resource requirements");
    }
    for name in ["stopTimeout", "startTimeout"] {
        if number(container, name).is_some_and(|seconds| !(2..=120).contains(&seconds)) {
            return setting(container, &format!("'{name}' must be between 2 and 120 seconds for Fargate."));
        }
    }
    for mapping in list(container, "portMappings") {
        let (port, host) = (number(mapping, "containerPort"), number(mapping, "hostPort"));
        if host.is_some_and(|host| host != 0 && Some(host) != port) {
            return refuse("When networkMode=awsvpc, the host ports and container ports in port mappings must match.");
        }
    }
    check_logs(container, has_role)
}

fn check_logs(container: &Value, has_role: bool) -> Result<(), AwsError> {
    let Some(driver) = container.get("logConfiguration").and_then(|logs| text(logs, "logDriver")) else {
        return Ok(());
    };
    if !LOG_DRIVERS.contains(&driver) {
        return unsupported(&format!("the log driver {driver}"));
    }
    if driver != "awslogs" {
        return Ok(());
    }
    if !has_role {
        return refuse("Fargate requires task definition to have execution role ARN to support log driver awslogs.");
    }
    if container["logConfiguration"]["options"].get("awslogs-stream-prefix").is_none_or(Value::is_null) {
        return refuse("Log driver awslogs requires option awslogs-stream-prefix for Fargate.");
    }
    Ok(())
}

fn unsupported<T>(what: &str) -> Result<T, AwsError> {
    refuse(format!("Fargate compatible task definitions do not support {what}"))
}

/// CPU units or MiB: `256`, `.25 vCPU`, `2048`, `2 GB`.
pub(super) fn size(value: Option<&Value>) -> Option<u64> {
    let text = value?.as_str()?.trim().to_ascii_lowercase();
    let (number, scale) = match text.strip_suffix("vcpu").or_else(|| text.strip_suffix("gb")) {
        Some(number) => (number, 1024.0),
        None => (text.as_str(), 1.0),
    };
    Some((number.trim().parse::<f64>().ok()? * scale) as u64)
}

fn is_size(cpu: u64, memory: u64) -> bool {
    let between = |from: u64, to: u64, step: u64| {
        (from * 1024..=to * 1024).contains(&memory) && memory.is_multiple_of(step * 1024)
    };
    match cpu {
        256 => [512, 1024, 2048].contains(&memory),
        512 => between(1, 4, 1),
        1024 => between(2, 8, 1),
        2048 => between(4, 16, 1),
        4096 => between(8, 30, 1),
        8192 => between(16, 60, 4),
        16384 => between(32, 120, 8),
        32768 => [61440, 122_880, 249_856].contains(&memory),
        _ => false,
    }
}
