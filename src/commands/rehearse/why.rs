//! Why what should serve first does not: the tasks that ended, and the last lines of the container that is to blame.

use crate::config::ServiceConfig;
use crate::evidence::LOG_LINES;
use aws_stage::Stage;
use fargate_deploy_core::task_definition::TaskDefinition;
use serde_json::{Value, json};

/// What the stage still has.
pub struct Why {
    pub evidence: Vec<String>,
    pub log: Vec<String>,
}

/// Of a service that was read: its stopped tasks, else what ECS said of it.
pub async fn of_service(
    stage: &Stage,
    service: &ServiceConfig,
    definition: Option<&TaskDefinition>,
    shown: &Value,
) -> Why {
    let cluster = service.cluster.as_str();
    let asked = json!({"cluster": cluster, "serviceName": service.name.as_str(), "desiredStatus": "STOPPED"});
    let listed = stage.call("ecs", "ListTasks", asked).await.unwrap_or_default();
    let described = stage.call("ecs", "DescribeTasks", json!({"cluster": cluster, "tasks": listed["taskArns"]})).await;
    let tasks = described.unwrap_or_default()["tasks"].as_array().cloned().unwrap_or_default();
    let mut evidence: Vec<String> = vec![];
    for task in &tasks {
        let sentence = ending(task);
        if !evidence.contains(&sentence) {
            evidence.push(sentence);
        }
    }
    let events =
        shown["events"].as_array().into_iter().flatten().filter_map(|e| Some(e["message"].as_str()?.to_owned()));
    if evidence.is_empty() {
        evidence.extend(events);
    }
    evidence.truncate(5);
    for (task, definition) in tasks.iter().zip(definition.iter().cycle()) {
        let Some(name) = failed_container(task) else { continue };
        let log = last_lines(stage, definition, &name, task).await;
        if !log.is_empty() {
            return Why { evidence, log };
        }
    }
    Why { evidence, log: vec![] }
}

/// How a task ended, without its id.
pub fn ending(task: &Value) -> String {
    let mut parts = vec![task["stoppedReason"].as_str().unwrap_or("AWS gives no reason").to_owned()];
    for container in task["containers"].as_array().into_iter().flatten() {
        let code = container["exitCode"].as_i64().map(|code| format!("exit code {code}"));
        let facts: Vec<_> = code.into_iter().chain(container["reason"].as_str().map(str::to_owned)).collect();
        if !facts.is_empty() {
            parts.push(format!("container `{}`: {}", container["name"].as_str().unwrap_or_default(), facts.join(", ")));
        }
    }
    parts.join("; ")
}

/// The container that failed by itself, else the first.
fn failed_container(task: &Value) -> Option<String> {
    let containers = task["containers"].as_array()?;
    let failed = |c: &&Value| c["exitCode"].as_i64().is_some_and(|code| code != 0 && code != 143);
    let found = containers.iter().find(failed).or(containers.first())?;
    found["name"].as_str().map(str::to_owned)
}

/// The last lines of a container of a task; empty where it has no stream.
pub async fn last_lines(stage: &Stage, definition: &TaskDefinition, container: &str, task: &Value) -> Vec<String> {
    let Some((group, prefix, _)) = definition.log_destination(&container.into()) else { return vec![] };
    let id = task["taskArn"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let asked =
        json!({"logGroupName": group, "logStreamName": format!("{prefix}/{container}/{id}"), "limit": LOG_LINES});
    let found = stage.call("logs", "GetLogEvents", asked).await.unwrap_or_default();
    let lines = found["events"].as_array().into_iter().flatten();
    lines.filter_map(|line| Some(line["message"].as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_what_should_serve_first_ends_in_words() {
        let container = |facts: Value| {
            let mut container = json!({"name": "app"});
            container.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
            container
        };
        let task = |reason: Value, facts: Value| json!({"stoppedReason": reason, "containers": [container(facts)]});
        assert_eq!(
            ending(&task(json!("Essential container in task exited"), json!({"exitCode": 137}))),
            "Essential container in task exited; container `app`: exit code 137"
        );
        assert_eq!(ending(&task(json!("CannotPullContainerError: x"), json!({}))), "CannotPullContainerError: x");
        assert_eq!(
            ending(&task(Value::Null, json!({"exitCode": 1, "reason": "OutOfMemoryError"}))),
            "AWS gives no reason; container `app`: exit code 1, OutOfMemoryError"
        );
    }
}
