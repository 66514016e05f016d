//! `infra/SERVICE.json`: what RegisterTaskDefinition takes.

use super::Surroundings;
use super::config::{ecs_name, partition, repository};
use crate::app::{App, Container, Health, Service, Source};
use serde_json::{Map, Value, json};

pub(crate) fn text(app: &App, service: &Service, at: &Surroundings<'_>) -> String {
    let family = ecs_name(app, service);
    let role = |name: &str| format!("arn:{}:iam::{}:role/{}-{name}", partition(at.region), at.account, app.name());
    let last = service.containers.len().saturating_sub(1);
    let one_is_needed = service.containers.iter().all(|container| container.is_optional);
    let containers: Vec<_> = service
        .containers
        .iter()
        .enumerate()
        .map(|(index, container)| {
            let is_essential = !container.is_optional || (one_is_needed && index == last);
            self::container(app, container, is_essential, &family, at)
        })
        .collect();
    let body = json!({
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "runtimePlatform": {"operatingSystemFamily": "LINUX", "cpuArchitecture": if service.is_arm { "ARM64" } else { "X86_64" }},
        "cpu": service.size.cpu.to_string(),
        "memory": service.size.memory.to_string(),
        "executionRoleArn": role("execution"),
        "taskRoleArn": role("task"),
        "containerDefinitions": containers,
    });
    format!("{}\n", serde_json::to_string_pretty(&body).unwrap_or_default())
}

fn container(app: &App, container: &Container, is_essential: bool, family: &str, at: &Surroundings<'_>) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("name", json!(container.name));
    put("image", json!(image(app, container, at)));
    put("essential", json!(is_essential));
    let lists = [("entryPoint", &container.entry_point), ("command", &container.command)];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        put(name, json!(list));
    }
    let ports = container
        .ports
        .iter()
        .map(|port| json!({"containerPort": port.number, "protocol": if port.is_udp { "udp" } else { "tcp" }}));
    if !container.ports.is_empty() {
        put("portMappings", json!(ports.collect::<Vec<_>>()));
    }
    let pair = |member: &'static str, pairs: &[(String, String)]| -> Vec<Value> {
        pairs.iter().map(|(name, value)| json!({"name": name, member: value})).collect()
    };
    if !container.environment.is_empty() {
        put("environment", json!(pair("value", &container.environment)));
    }
    if !container.secrets.is_empty() {
        put("secrets", json!(pair("valueFrom", &container.secrets)));
    }
    let depends: Vec<_> =
        container.depends_on.iter().map(|(name, on)| json!({"containerName": name, "condition": on})).collect();
    if !depends.is_empty() {
        put("dependsOn", json!(depends));
    }
    if let Some(check) = &container.health {
        put("healthCheck", health(check));
    }
    if let Some(seconds) = container.stop_timeout {
        put("stopTimeout", json!(seconds));
    }
    if let Some(user) = &container.user {
        put("user", json!(user));
    }
    if let Some(directory) = &container.working_directory {
        put("workingDirectory", json!(directory));
    }
    if container.is_read_only {
        put("readonlyRootFilesystem", json!(true));
    }
    if container.has_init {
        put("linuxParameters", json!({"initProcessEnabled": true}));
    }
    if let Some((soft, hard)) = container.open_files {
        put("ulimits", json!([{"name": "nofile", "softLimit": soft, "hardLimit": hard}]));
    }
    put(
        "logConfiguration",
        json!({
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": format!("/ecs/{family}"),
                "awslogs-region": at.region,
                "awslogs-stream-prefix": family,
            }
        }),
    );
    Value::Object(members)
}

/// A deploy puts the digest that it pushed in the place of an image that is built.
fn image(app: &App, container: &Container, at: &Surroundings<'_>) -> String {
    let key = match &container.image {
        Source::Reference(reference) => return reference.clone(),
        Source::Built(key) => key,
    };
    let Some(image) = app.images.iter().find(|image| image.key == *key) else { return String::new() };
    let repository = repository(app, image);
    match repository.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) => format!("{repository}:latest"),
        _ => {
            let suffix = if at.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            format!("{}.dkr.ecr.{}.{suffix}/{repository}:latest", at.account, at.region)
        }
    }
}

fn health(health: &Health) -> Value {
    let mut members = Map::new();
    members.insert("command".to_owned(), json!(health.command));
    let times = [
        ("interval", health.interval),
        ("timeout", health.timeout),
        ("retries", health.retries),
        ("startPeriod", health.start_period),
    ];
    for (name, value) in times {
        if let Some(value) = value {
            members.insert(name.to_owned(), json!(value));
        }
    }
    Value::Object(members)
}
