//! What one part of a definition says about another: containers that wait for each other, volumes, log routers.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html>

use super::{Findings, filled, items, text};
use crate::task_definition::{TaskDefinition, checks_its_health, container_name, is_essential};
use serde_json::{Map, Value};

pub(super) fn check(definition: &TaskDefinition, found: &mut Findings) {
    let body = &definition.body;
    let names = definition.container_names();
    for (path, container) in items(body, "containerDefinitions", "") {
        dependencies(&path, container, definition, found);
        mounts(&path, container, body, &names, found);
    }
    cycles(definition, found);
    volumes(body, found);
    routers(definition, found);
    let proxy = body.get("proxyConfiguration").and_then(Value::as_object);
    if let Some(name) = proxy.and_then(|proxy| filled(proxy, "containerName")).filter(|name| !names.contains(name)) {
        found.problem(format!("`proxyConfiguration.containerName`: `{name}` is not in this task"));
    }
}

fn dependencies(path: &str, container: &Map<String, Value>, definition: &TaskDefinition, found: &mut Findings) {
    let name = container_name(container);
    let mut seen = vec![];
    for (path, dependency) in items(container, "dependsOn", path) {
        let Some(on) = filled(dependency, "containerName") else { continue };
        if on == name {
            found.problem(format!("container `{name}` depends on itself (`{path}`)"));
            continue;
        }
        let Some(awaited) = definition.containers().find(|c| container_name(c) == on) else {
            found.problem(format!("container `{name}` depends on `{on}`, which is not in this task (`{path}`)"));
            continue;
        };
        if seen.contains(&on) {
            found.warning(format!("`{path}`: container `{name}` depends on `{on}` twice"));
        }
        seen.push(on);
        match text(dependency, "condition") {
            Some("HEALTHY") if !checks_its_health(awaited) => {
                let why = match awaited.get("healthCheck").is_some_and(Value::is_object) {
                    true => format!("the `healthCheck` of `{on}` runs nothing"),
                    false => format!("`{on}` has no `healthCheck`"),
                };
                found.problem(format!("`{path}`: container `{name}` waits for `{on}` to be HEALTHY, and {why}"));
            }
            Some(condition @ ("SUCCESS" | "COMPLETE")) if is_essential(awaited) => found.problem(format!(
                "`{path}`: container `{name}` waits for {condition} of `{on}`, which is essential: the task would end with it; \
                 set its `essential` to false"
            )),
            _ => {}
        }
    }
}

/// Containers that wait for each other would wait for good.
fn cycles(definition: &TaskDefinition, found: &mut Findings) {
    let waits_for = |name: &str| -> Vec<String> {
        let of = definition.containers().filter(|c| container_name(c) == name);
        let named = of.flat_map(|c| items(c, "dependsOn", ""));
        named.filter_map(|(_, d)| filled(d, "containerName").map(str::to_owned)).filter(|on| on != name).collect()
    };
    let mut told: Vec<String> = vec![];
    for name in definition.container_names() {
        let mut reached: Vec<String> = waits_for(name);
        let mut next = 0;
        while next < reached.len() {
            for on in waits_for(&reached[next]) {
                if !reached.contains(&on) {
                    reached.push(on);
                }
            }
            next += 1;
        }
        if reached.iter().any(|on| on == name) && !told.iter().any(|t| t == name) {
            let circle: Vec<String> = definition
                .container_names()
                .into_iter()
                .filter(|other| reached.iter().any(|on| on == other))
                .map(str::to_owned)
                .collect();
            let spoken = circle.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            found.problem(format!("the containers {spoken} wait for each other (`dependsOn`)"));
            told.extend(circle);
        }
    }
}

fn mounts(path: &str, container: &Map<String, Value>, body: &Map<String, Value>, names: &[&str], found: &mut Findings) {
    let volumes: Vec<_> = items(body, "volumes", "").into_iter().filter_map(|(_, v)| text(v, "name")).collect();
    let mut paths = vec![];
    for (path, mount) in items(container, "mountPoints", path) {
        match filled(mount, "sourceVolume") {
            Some(volume) if !volumes.contains(&volume) => {
                found.problem(format!("`{path}.sourceVolume`: `{volume}` is not in `volumes`"));
            }
            Some(_) => {}
            None => found.warning(format!("`{path}.sourceVolume` is missing: nothing is mounted")),
        }
        match filled(mount, "containerPath") {
            Some(at) if paths.contains(&at) => found.problem(format!("`{path}.containerPath`: `{at}` stands twice")),
            Some(at) => paths.push(at),
            None => found.warning(format!("`{path}.containerPath` is missing: nothing is mounted")),
        }
    }
    for (path, from) in items(container, "volumesFrom", path) {
        if let Some(source) = filled(from, "sourceContainer").filter(|source| !names.contains(source)) {
            found.problem(format!("`{path}.sourceContainer`: `{source}` is not in this task"));
        }
    }
}

fn volumes(body: &Map<String, Value>, found: &mut Findings) {
    let all = items(body, "volumes", "");
    for (at, (path, volume)) in all.iter().enumerate() {
        let Some(name) = filled(volume, "name") else { continue };
        if all[..at].iter().any(|(_, other)| text(other, "name") == Some(name)) {
            found.problem(format!("`{path}.name`: the volume `{name}` is defined twice"));
        }
        if !super::is_family(name) {
            found.problem(format!("`{path}.name` is `{name}`: up to 255 letters, digits, `-` and `_` are allowed"));
        }
    }
    if all.iter().filter(|(_, volume)| super::is_true(volume, "configuredAtLaunch")).count() > 1 {
        found.warning("`volumes`: more than one is `configuredAtLaunch`; AWS documents one a task".to_owned());
    }
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_firelens.html>
fn routers(definition: &TaskDefinition, found: &mut Findings) {
    let is_router = |c: &&Map<String, Value>| c.get("firelensConfiguration").is_some_and(Value::is_object);
    let routers: Vec<_> = definition.containers().filter(is_router).map(container_name).collect();
    if routers.len() > 1 {
        let names = routers.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        found.problem(format!(
            "the containers {names} have a `firelensConfiguration`: AWS takes one log router in a task"
        ));
    }
    let mut logs_to_it = false;
    for (path, container) in items(&definition.body, "containerDefinitions", "") {
        let log = container.get("logConfiguration").and_then(Value::as_object);
        if log.and_then(|log| text(log, "logDriver")) != Some("awsfirelens") {
            continue;
        }
        logs_to_it = true;
        let name = container_name(container);
        if routers.is_empty() {
            found.problem(format!(
                "`{path}.logConfiguration`: container `{name}` logs to awsfirelens, and no container has a \
                 `firelensConfiguration`"
            ));
        } else if routers.contains(&name) {
            found.problem(format!("`{path}.logConfiguration`: the log router `{name}` cannot log to itself"));
        }
    }
    if let ([router], false) = (routers.as_slice(), logs_to_it) {
        found.problem(format!(
            "container `{router}` has a `firelensConfiguration`, and no container logs to awsfirelens: AWS takes neither alone"
        ));
    }
}
