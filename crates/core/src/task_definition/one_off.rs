//! The one-off definition: the release's task definition, made safe to run once.

use super::{TaskDefinition, container_name};
use crate::names::ContainerName;
use serde_json::{Map, Value};

/// Derives what a release command runs from, or `None` when the release's own definition is already safe.
///
/// - no `restartPolicy`: ECS would start the command again after it ended;
/// - `awslogs` of the command's container blocks instead of dropping lines: the default mode has been non-blocking
///   since June 2025, which loses the very lines that say why a migration failed;
/// - the command's container is essential, or the task would not stop when it ends;
/// - no `healthCheck` on it, unless another container waits for it: it probes a server that does not run here.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-restart-policy.html>
#[must_use]
pub fn one_off(definition: &TaskDefinition, container: &ContainerName, name: &str) -> Option<TaskDefinition> {
    let awaited = definition.containers().any(|c| waits_for_health(c, container));
    let mut derived = definition.registrable();
    for candidate in derived.containers_mut() {
        candidate.shift_remove("restartPolicy");
        if container_name(candidate) != container.as_str() {
            continue;
        }
        if candidate.get("essential") == Some(&Value::Bool(false)) {
            candidate.insert("essential".to_owned(), Value::Bool(true));
        }
        if !awaited {
            candidate.shift_remove("healthCheck");
        }
        block_logs(candidate);
    }
    if derived.body == definition.registrable().body {
        return None;
    }
    Some(derived.of_family(&format!("{}-{}", definition.family(), name)))
}

fn block_logs(container: &mut Map<String, Value>) {
    let Some(log) = container.get_mut("logConfiguration").and_then(Value::as_object_mut) else { return };
    if log.get("logDriver").and_then(Value::as_str) != Some("awslogs") {
        return;
    }
    if let Some(options) = log.get_mut("options").and_then(Value::as_object_mut) {
        options.insert("mode".to_owned(), Value::from("blocking"));
        options.shift_remove("max-buffer-size");
    }
}

fn waits_for_health(container: &Map<String, Value>, on: &ContainerName) -> bool {
    container.get("dependsOn").and_then(Value::as_array).into_iter().flatten().any(|dependency| {
        dependency.get("containerName").and_then(Value::as_str) == Some(on.as_str())
            && dependency.get("condition").and_then(Value::as_str) == Some("HEALTHY")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(app: Value) -> TaskDefinition {
        let text = json!({"family": "web", "containerDefinitions": [app, {"name": "proxy", "restartPolicy": {"enabled": true}}]});
        TaskDefinition::from_json(&text.to_string()).unwrap()
    }

    #[test]
    fn the_command_cannot_be_restarted_and_its_lines_cannot_be_dropped() {
        let derived = one_off(
            &definition(json!({
                "name": "app", "essential": false, "healthCheck": {"command": ["CMD", "true"]},
                "restartPolicy": {"enabled": true},
                "logConfiguration": {"logDriver": "awslogs", "options": {"mode": "non-blocking", "max-buffer-size": "25m", "awslogs-group": "g"}}
            })),
            &"app".into(),
            "migrate",
        )
        .unwrap();
        assert_eq!(derived.family(), "web-migrate");
        assert_eq!(
            derived.body["containerDefinitions"],
            json!([
                {"name": "app", "essential": true,
                 "logConfiguration": {"logDriver": "awslogs", "options": {"mode": "blocking", "awslogs-group": "g"}}},
                {"name": "proxy"}
            ])
        );
    }

    #[test]
    fn a_health_check_that_another_container_waits_for_stays() {
        let text = json!({"family": "web", "containerDefinitions": [
            {"name": "app", "healthCheck": {"command": ["CMD", "true"]}, "restartPolicy": {"enabled": true}},
            {"name": "proxy", "dependsOn": [{"containerName": "app", "condition": "HEALTHY"}]}
        ]});
        let derived =
            one_off(&TaskDefinition::from_json(&text.to_string()).unwrap(), &"app".into(), "migrate").unwrap();
        assert!(derived.body["containerDefinitions"][0].get("healthCheck").is_some());
    }

    #[test]
    fn a_definition_that_is_safe_already_is_run_as_it_is() {
        let text = json!({"family": "web", "containerDefinitions": [
            {"name": "app", "essential": true, "logConfiguration": {"logDriver": "awslogs", "options": {"mode": "blocking"}}}
        ]});
        assert_eq!(one_off(&TaskDefinition::from_json(&text.to_string()).unwrap(), &"app".into(), "migrate"), None);
    }
}
