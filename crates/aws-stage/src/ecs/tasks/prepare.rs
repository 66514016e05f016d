//! From a task definition and its overrides to containers that the Engine can run.

use super::container::{Container, containers, log_stream, name, ports, text};
use super::{TaskSpec, Tasks, volumes};
use crate::containers::ContainerSpec;
use serde_json::Value;

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
