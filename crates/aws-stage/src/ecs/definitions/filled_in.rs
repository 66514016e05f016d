//! A task definition as AWS gives it back: what was left out has its default, sizes are plain numbers, null is absent.
//!
//! Members that the stage does not know stay as they came.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html>

use serde_json::{Map, Value, json};

use super::fargate::size;
use crate::request::text;
use crate::validation::drop_nulls;

/// The members of a RegisterTaskDefinition request, with what AWS adds.
pub(super) fn members(body: &Value) -> Map<String, Value> {
    let mut body = body.clone();
    drop_nulls("ecs", "RegisterTaskDefinition", &mut body);
    let is_awsvpc = text(&body, "networkMode") == Some("awsvpc");
    for name in ["cpu", "memory"] {
        if let Some(number) = size(body.get(name)) {
            body[name] = json!(number.to_string());
        }
    }
    default(&mut body, "volumes", json!([]));
    default(&mut body, "placementConstraints", json!([]));
    for container in items(&mut body, "containerDefinitions") {
        fill_container(container, is_awsvpc);
    }
    for volume in items(&mut body, "volumes") {
        if let Some(efs) = volume.get_mut("efsVolumeConfiguration") {
            default(efs, "rootDirectory", json!("/"));
        } else if volume.get("configuredAtLaunch").is_none() {
            default(volume, "host", json!({}));
        }
    }
    body.as_object().cloned().unwrap_or_default()
}

fn fill_container(container: &mut Value, is_awsvpc: bool) {
    default(container, "cpu", json!(0));
    default(container, "essential", json!(true));
    for name in ["portMappings", "environment", "mountPoints", "volumesFrom", "systemControls"] {
        default(container, name, json!([]));
    }
    for mapping in items(container, "portMappings") {
        if let (true, Some(port)) = (is_awsvpc, mapping.get("containerPort").cloned()) {
            default(mapping, "hostPort", port);
        }
        default(mapping, "protocol", json!("tcp"));
    }
    if let Some(check) = container.get_mut("healthCheck") {
        for (name, value) in [("interval", 30), ("timeout", 5), ("retries", 3)] {
            default(check, name, json!(value));
        }
    }
}

fn items<'a>(of: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    of.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

fn default(of: &mut Value, name: &str, value: Value) {
    if let Some(members) = of.as_object_mut() {
        members.entry(name).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_comes_back_with_its_default() {
        let body = json!({
            "family": "web", "cpu": "1 vCPU", "memory": "2GB", "networkMode": "awsvpc", "pidMode": null,
            "containerDefinitions": [{
                "name": "app", "image": "i", "portMappings": [{ "containerPort": 80 }],
                "healthCheck": { "command": ["CMD", "true"] }, "newerThanThis": { "kept": null }, "logConfiguration": null,
            }],
            "volumes": [{ "name": "scratch" }, { "name": "files", "efsVolumeConfiguration": { "fileSystemId": "fs-1" } }],
        });
        let expected = json!({
            "family": "web", "cpu": "1024", "memory": "2048", "networkMode": "awsvpc", "placementConstraints": [],
            "containerDefinitions": [{
                "name": "app", "image": "i", "cpu": 0, "essential": true, "environment": [], "mountPoints": [],
                "volumesFrom": [], "systemControls": [], "newerThanThis": { "kept": null },
                "portMappings": [{ "containerPort": 80, "hostPort": 80, "protocol": "tcp" }],
                "healthCheck": { "command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 3 },
            }],
            "volumes": [
                { "name": "scratch", "host": {} },
                { "name": "files", "efsVolumeConfiguration": { "fileSystemId": "fs-1", "rootDirectory": "/" } },
            ],
        });
        assert_eq!(Value::Object(members(&body)), expected);
    }
}
