//! From a task definition and its overrides to containers that the Engine can run.

use super::{TaskSpec, Tasks, volumes};
use crate::containers::ContainerSpec;
use crate::ecs::task::Definition;
use serde_json::{Map, Value};

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

/// Name, soft and hard value of each of `ulimits`.
fn limits(container: &Container) -> Vec<(String, i64, i64)> {
    let of = |limit: &Value| {
        let number = |member: &str| limit.get(member).and_then(Value::as_i64);
        Some((limit.get("name")?.as_str()?.to_owned(), number("softLimit")?, number("hardLimit")?))
    };
    container.get("ulimits").and_then(Value::as_array).into_iter().flatten().filter_map(of).collect()
}

impl Tasks {
    /// Everything that can be wrong before a container exists, in AWS's words.
    pub(super) fn check_resources(&self, spec: &TaskSpec) -> Result<(), String> {
        for container in containers(&spec.definition) {
            let creates =
                container.get("logConfiguration").and_then(|l| l.get("options")?.get("awslogs-create-group")?.as_str())
                    == Some("true");
            let group = log_stream(container, "").map(|(group, _)| group);
            if let Some(group) = group.as_ref().filter(|_| creates) {
                self.deps.logs.create(group);
            }
            if let Some(group) = group.filter(|group| !self.deps.logs.has_group(group)) {
                return Err(format!(
                    "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create \
                     Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. ({group}) : exit status 1"
                ));
            }
            self.secrets(container)?;
        }
        Ok(())
    }

    fn secrets(&self, container: &Container) -> Result<Vec<String>, String> {
        let mut environment = vec![];
        for secret in container.get("secrets").and_then(Value::as_array).into_iter().flatten() {
            let of = |member: &str| secret.get(member).and_then(Value::as_str).unwrap_or_default();
            let from = of("valueFrom");
            let head = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed:";
            let value = if from.contains(":secretsmanager:") {
                self.deps.secrets.value(from).map_err(|e| {
                    format!("{head} unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret {from} from secrets manager: {e}")
                })?
            } else {
                self.deps.parameters.value(from).ok_or_else(|| {
                    format!("{head} unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid parameters: {from}")
                })?
            };
            environment.push(format!("{}={value}", of("name")));
        }
        Ok(environment)
    }

    /// The container as the Engine gets it.
    pub(super) fn spec_of(
        &self,
        spec: &TaskSpec,
        task_id: &str,
        container: &Container,
        image: String,
        pause_container: Option<&String>,
    ) -> Result<ContainerSpec, String> {
        let strings = |value: Option<&Value>| -> Option<Vec<String>> {
            let list: Vec<String> = value?.as_array()?.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
            (!list.is_empty()).then_some(list)
        };
        let overrides = spec.overrides.get("containerOverrides").and_then(Value::as_array).into_iter().flatten();
        let over = overrides.into_iter().find(|o| o.get("name").and_then(Value::as_str) == Some(name(container)));
        let pairs = |from: Option<&Value>| -> Vec<String> {
            let of = |v: &Value, member: &str| v.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
            from.and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(|v| format!("{}={}", of(v, "name"), of(v, "value")))
                .collect()
        };
        let mut environment = self.own_environment(spec, task_id, name(container));
        environment.extend(self.environment_files(container)?);
        environment.extend(pairs(container.get("environment")));
        environment.extend(self.secrets(container)?);
        environment.extend(pairs(over.and_then(|o| o.get("environment"))));
        let task_memory = spec.definition.body.get("memory").and_then(Value::as_str).and_then(|m| m.parse().ok());
        Ok(ContainerSpec {
            image,
            entrypoint: strings(container.get("entryPoint")),
            command: strings(over.and_then(|o| o.get("command"))).or_else(|| strings(container.get("command"))),
            environment,
            working_directory: Some(text(container, "workingDirectory").to_owned()).filter(|w| !w.is_empty()),
            user: Some(text(container, "user").to_owned()).filter(|u| !u.is_empty()),
            read_only: container.get("readonlyRootFilesystem") == Some(&Value::Bool(true)),
            init: container.get("linuxParameters").and_then(|l| l.get("initProcessEnabled"))
                == Some(&Value::Bool(true)),
            dropped: strings(container.get("linuxParameters").and_then(|l| l.get("capabilities")?.get("drop")))
                .unwrap_or_default(),
            limits: limits(container),
            binds: volumes::binds(self, spec, task_id, container),
            memory: container.get("memory").and_then(Value::as_i64).or(task_memory),
            network_of: pause_container.cloned(),
            ports: ports(container),
            labels: self.labels(),
        })
    }
}
