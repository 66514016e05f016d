//! What is wrong with a container by itself: name, image, ports, variables, secrets, logs.

use super::{Findings, Released, filled, has_items, is_family, is_present, items, text};
use crate::image::ImageRef;
use crate::task_definition::shape::integer;
use crate::task_definition::{TaskDefinition, container_name, is_essential};
use serde_json::{Map, Value};

/// Ports that the task maps so far, each with its protocol: its containers share one network.
type Ports = Vec<(i64, String)>;

pub(super) fn check(definition: &TaskDefinition, released: &[Released], found: &mut Findings) {
    let body = &definition.body;
    let containers: Vec<_> = definition.containers().collect();
    match body.get("containerDefinitions") {
        None | Some(Value::Null) => found.problem("`containerDefinitions` is missing".to_owned()),
        Some(Value::Array(items)) if items.is_empty() => found.problem("`containerDefinitions` is empty".to_owned()),
        _ => {}
    }
    if containers.is_empty() {
        return;
    }
    if !containers.iter().any(|c| is_essential(c)) {
        found.problem("no container is essential: a task needs one".to_owned());
    }
    let has_role = filled(body, "executionRoleArn").is_some();
    let names: Vec<_> = containers.iter().map(|c| container_name(c)).collect();
    let mut ports = vec![];
    let mut port_names: Vec<String> = vec![];
    for (at, (path, container)) in items(body, "containerDefinitions", "").into_iter().enumerate() {
        let name = container_name(container);
        if name.is_empty() {
            if !is_present(container.get("name")) || container.get("name").is_some_and(Value::is_string) {
                found.problem(format!("container {} has no `name`", at + 1));
            }
        } else if !is_family(name) {
            found.problem(format!("container `{name}`: a name has up to 255 letters, digits, `-` and `_`"));
        } else if names[..at].contains(&name) {
            found.problem(format!("container `{name}` is defined twice"));
        }
        let release = released.iter().find(|released| released.container.as_str() == name);
        image(&path, container, release, has_role, found);
        self::ports(&path, name, container, &mut ports, &mut port_names, found);
        variables(&path, container, found);
        logs(&path, name, container, has_role, found);
        self::health(&path, container, found);
        needs_a_role(name, container, has_role, found);
    }
}

fn image(path: &str, container: &Map<String, Value>, release: Option<&Released>, has_role: bool, found: &mut Findings) {
    let given = text(container, "image").unwrap_or_default();
    let is_from_ecr = match release {
        Some(release) => release.is_from_ecr,
        None if !is_present(container.get("image")) || container.get("image").is_some_and(|image| image == "") => {
            found
                .problem(format!("`{path}.image` is missing, and no image of the release is meant for this container"));
            false
        }
        None => match ImageRef::parse(given) {
            Ok(reference) => reference.ecr().is_some(),
            Err(why) => {
                if !given.is_empty() {
                    found.warning(format!("`{path}.image`: {why}"));
                }
                false
            }
        },
    };
    if is_from_ecr && !has_role {
        found
            .problem(format!("`{path}.image` comes from ECR: on Fargate that needs an `executionRoleArn` on the task"));
    }
}

fn ports(
    path: &str,
    name: &str,
    container: &Map<String, Value>,
    seen: &mut Ports,
    names: &mut Vec<String>,
    found: &mut Findings,
) {
    for (path, mapping) in items(container, "portMappings", path) {
        let protocol = text(mapping, "protocol").unwrap_or("tcp").to_owned();
        if let Some(name) = filled(mapping, "name") {
            if names.iter().any(|known| known == name) {
                found.problem(format!("`{path}.name`: the port name `{name}` stands twice in this task"));
            }
            names.push(name.to_owned());
            if !is_port_name(name) {
                found.problem(format!(
                    "`{path}.name` is `{name}`: a port's name has up to 64 lowercase letters, digits, `-` and `_`, and does not \
                     begin with `-`"
                ));
            }
        }
        if let Some(range) = filled(mapping, "containerPortRange") {
            let ends: Vec<_> = range.split('-').map(str::parse::<u16>).collect();
            if !matches!(ends.as_slice(), [Ok(1..), Ok(last)] if ends[0].as_ref().is_ok_and(|first| first <= last)) {
                found.problem(format!(
                    "`{path}.containerPortRange` is `{range}`: AWS takes two ports, as in `8000-8010`"
                ));
            }
            if is_present(mapping.get("containerPort")) {
                found.problem(format!("`{path}` has both `containerPort` and `containerPortRange`: AWS takes one"));
            }
            continue;
        }
        let Some(port) = mapping.get("containerPort").and_then(integer) else {
            // One that is no number is told by its type.
            if !is_present(mapping.get("containerPort")) {
                found.problem(format!("container `{name}`: a port mapping has no `containerPort` (`{path}`)"));
            }
            continue;
        };
        if !(1..=65535).contains(&port) {
            found.problem(format!("container `{name}`: port {port} does not exist"));
        }
        if mapping.get("hostPort").and_then(integer).is_some_and(|host| host != port && host != 0) {
            found
                .problem(format!("container `{name}`: with `awsvpc` the `hostPort` of {port} is left out or the same"));
        }
        if seen.contains(&(port, protocol.clone())) {
            found.problem(format!("container `{name}`: port {port}/{protocol} is mapped twice in this task"));
        }
        seen.push((port, protocol));
    }
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html>
fn is_port_name(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    name.len() <= 64 && !name.starts_with('-') && name.bytes().all(is_allowed)
}

fn variables(path: &str, container: &Map<String, Value>, found: &mut Findings) {
    let variables = items(container, "environment", path);
    let names = |of: &[(String, &Map<String, Value>)]| -> Vec<String> {
        of.iter().filter_map(|(_, item)| filled(item, "name").map(str::to_owned)).collect()
    };
    let own = names(&variables);
    for (at, (path, variable)) in variables.iter().enumerate() {
        let name = filled(variable, "name");
        let is_a_string = !is_present(variable.get("name")) || variable.get("name").is_some_and(Value::is_string);
        match name {
            None if is_a_string => found.problem(format!("`{path}.name` is missing: AWS takes no blank name")),
            Some(name) if name.trim().is_empty() => found.problem(format!("`{path}.name` is blank")),
            Some(name) if names(&variables[..at]).iter().any(|other| other == name) => found.warning(format!(
                "`{path}`: the variable `{name}` stands twice; which of the two counts is not documented"
            )),
            Some(name) if name.contains('=') => {
                found.warning(format!("`{path}.name` has a `=`: the container sees another name"));
            }
            _ => {}
        }
    }
    let secrets = items(container, "secrets", path);
    for (at, (path, secret)) in secrets.iter().enumerate() {
        let Some(name) = filled(secret, "name") else { continue };
        if own.iter().any(|other| other == name) {
            found.problem(format!(
                "`{path}`: `{name}` is a variable in `environment` as well: AWS takes one of the two"
            ));
        }
        if names(&secrets[..at]).iter().any(|other| other == name) {
            found.problem(format!("`{path}`: the secret `{name}` stands twice"));
        }
    }
    let log = container.get("logConfiguration").and_then(Value::as_object);
    let of_log = log.map(|log| items(log, "secretOptions", &format!("{path}.logConfiguration"))).unwrap_or_default();
    for (path, secret) in secrets.iter().chain(&of_log) {
        let Some(from) = filled(secret, "valueFrom") else { continue };
        if from.starts_with("arn:") && !from.contains(":secretsmanager:") && !from.contains(":ssm:") {
            found.warning(format!("`{path}.valueFrom` is the ARN of no secret and no parameter"));
        } else if from.contains(":secretsmanager:") && !matches!(from.split(':').count(), 7 | 10) {
            found.warning(format!(
                "`{path}.valueFrom`: a secret's ARN is given whole, or with its JSON key, version stage and version, as in \
                 `...:secret:NAME-AbCdEf:KEY::`"
            ));
        }
    }
    for (path, file) in items(container, "environmentFiles", path) {
        if filled(file, "value").is_some_and(|value| !value.ends_with(".env")) {
            found.warning(format!("`{path}.value` does not end in `.env`"));
        }
    }
}

fn logs(path: &str, name: &str, container: &Map<String, Value>, has_role: bool, found: &mut Findings) {
    let Some(log) = container.get("logConfiguration").and_then(Value::as_object) else { return };
    let options = log.get("options").and_then(Value::as_object);
    let is_given = |option: &str| {
        let secret = items(log, "secretOptions", "").iter().any(|(_, secret)| text(secret, "name") == Some(option));
        secret || options.is_some_and(|o| o.get(option).is_some_and(|value| !value.is_null() && value != ""))
    };
    match text(log, "logDriver") {
        Some("awslogs") => {
            for option in ["awslogs-group", "awslogs-region", "awslogs-stream-prefix"] {
                if !is_given(option) {
                    found.problem(format!("container `{name}`: awslogs on Fargate needs the option `{option}`"));
                }
            }
            if !has_role {
                found.problem(format!(
                    "container `{name}` logs to CloudWatch: that needs an `executionRoleArn` on the task"
                ));
            }
        }
        Some("splunk") => {
            for option in ["splunk-url", "splunk-token"] {
                if !is_given(option) {
                    found.warning(format!("`{path}.logConfiguration`: splunk needs the option `{option}`"));
                }
            }
        }
        _ => {}
    }
    let mode = options.and_then(|options| text(options, "mode"));
    if mode.is_some_and(|mode| mode != "blocking" && mode != "non-blocking") {
        found.warning(format!("`{path}.logConfiguration.options.mode`: AWS documents `blocking` and `non-blocking`"));
    }
}

fn health(path: &str, container: &Map<String, Value>, found: &mut Findings) {
    let command = container.get("healthCheck").and_then(|check| check.get("command")).and_then(Value::as_array);
    let Some(first) = command.and_then(|command| command.first()).and_then(Value::as_str) else { return };
    if !matches!(first, "CMD" | "CMD-SHELL" | "NONE") {
        found.warning(format!("`{path}.healthCheck.command` begins with neither `CMD` nor `CMD-SHELL`"));
    }
}

/// The execution role reads these before the container starts.
fn needs_a_role(name: &str, container: &Map<String, Value>, has_role: bool, found: &mut Findings) {
    if has_role {
        return;
    }
    let log = container.get("logConfiguration").and_then(Value::as_object);
    let needing = [
        ("secrets", has_items(container, "secrets")),
        ("environmentFiles", has_items(container, "environmentFiles")),
        ("repositoryCredentials", container.get("repositoryCredentials").is_some_and(Value::is_object)),
        ("secretOptions", log.is_some_and(|log| has_items(log, "secretOptions"))),
    ];
    for (member, is_there) in needing {
        if is_there {
            found.problem(format!("container `{name}` has `{member}`: they need an `executionRoleArn` on the task"));
        }
    }
}
