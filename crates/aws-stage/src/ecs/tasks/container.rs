//! A container of a task definition, as it is read.

use serde_json::{Map, Value};

use crate::ecs::task::Definition;

pub(super) type Container = Map<String, Value>;

pub(super) fn containers(definition: &Definition) -> impl Iterator<Item = &Container> {
    definition
        .body
        .get("containerDefinitions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
}

pub(super) fn container<'a>(definition: &'a Definition, wanted: &str) -> Option<&'a Container> {
    containers(definition).find(|c| name(c) == wanted)
}

pub(super) fn name(container: &Container) -> &str {
    text(container, "name")
}

pub(super) fn text<'a>(container: &'a Container, member: &str) -> &'a str {
    container.get(member).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn is_essential(container: &Container) -> bool {
    container.get("essential").and_then(Value::as_bool).unwrap_or(true)
}

/// Seconds between SIGTERM and SIGKILL; 30 unless it says otherwise.
pub(super) fn stop_timeout(container: &Container) -> u64 {
    container.get("stopTimeout").and_then(Value::as_u64).unwrap_or(30)
}

/// Containers in the order in which `dependsOn` lets them start.
pub(super) fn in_order(definition: &Definition) -> Vec<&Container> {
    let mut left: Vec<&Container> = containers(definition).collect();
    let mut ordered: Vec<&Container> = vec![];
    while !left.is_empty() {
        let ready = |c: &Container| dependencies(c).iter().all(|(on, _)| ordered.iter().any(|o| name(o) == on));
        // A circle cannot be started in order; AWS refuses it, here the rest starts as written.
        let at = left.iter().position(|c| ready(c)).unwrap_or(0);
        ordered.push(left.remove(at));
    }
    ordered
}

/// Container and condition: START, COMPLETE, SUCCESS or HEALTHY.
pub(super) fn dependencies(container: &Container) -> Vec<(String, String)> {
    let of = |d: &Value, member: &str| d.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let all = container.get("dependsOn").and_then(Value::as_array).into_iter().flatten();
    all.map(|d| (of(d, "containerName"), of(d, "condition"))).collect()
}

pub(super) fn ports(container: &Container) -> Vec<u16> {
    let mappings = container.get("portMappings").and_then(Value::as_array).into_iter().flatten();
    mappings.filter_map(|m| u16::try_from(m.get("containerPort")?.as_u64()?).ok()).collect()
}

/// Group and stream of awslogs.
pub(super) fn log_stream(container: &Container, task_id: &str) -> Option<(String, String)> {
    let log = container.get("logConfiguration")?;
    if log.get("logDriver")?.as_str()? != "awslogs" {
        return None;
    }
    let option = |name: &str| log.get("options")?.get(name)?.as_str();
    let prefix = option("awslogs-stream-prefix").unwrap_or("ecs");
    Some((option("awslogs-group")?.to_owned(), format!("{prefix}/{}/{task_id}", name(container))))
}
