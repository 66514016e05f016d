//! What RegisterTaskDefinition, or the first start of a task, would refuse: found before anything changes.

use super::compare::units;
use super::{TaskDefinition, container_name, is_essential};
use serde_json::{Map, Value};

/// Everything wrong with a definition that is meant for Fargate, each with what to do; empty when it is sound.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>
#[must_use]
pub fn problems(definition: &TaskDefinition) -> Vec<String> {
    let mut found = vec![];
    if definition.family().is_empty() {
        found.push("`family` is missing".to_owned());
    } else if !is_family(definition.family()) {
        found
            .push(format!("`family` is `{}`: up to 255 letters, digits, `-` and `_` are allowed", definition.family()));
    }
    size_problems(definition, &mut found);
    match definition.body.get("networkMode").and_then(Value::as_str) {
        Some("awsvpc") => {}
        Some(other) => found.push(format!("`networkMode` is `{other}`: Fargate needs `awsvpc`")),
        None => found.push("`networkMode` is missing: Fargate needs `awsvpc`".to_owned()),
    }
    if let Some(list) = definition.body.get("requiresCompatibilities").and_then(Value::as_array)
        && !list.is_empty()
        && !list.iter().any(|v| v == "FARGATE")
    {
        found.push("`requiresCompatibilities` does not name `FARGATE`".to_owned());
    }
    if let Some(architecture) = definition.body.get("runtimePlatform").and_then(|p| p.get("cpuArchitecture"))
        && architecture != "X86_64"
        && architecture != "ARM64"
    {
        found.push(format!("`runtimePlatform.cpuArchitecture` is {architecture}: `X86_64` or `ARM64` are possible"));
    }
    container_problems(definition, &mut found);
    found
}

fn size_problems(definition: &TaskDefinition, found: &mut Vec<String>) {
    let size = |member: &str, found: &mut Vec<String>| match definition.body.get(member) {
        None | Some(Value::Null) => {
            found.push(format!("`{member}` is missing: Fargate needs it on the task"));
            None
        }
        Some(value) => units(value).or_else(|| {
            found.push(format!("`{member}` is {value}: not a size that AWS reads"));
            None
        }),
    };
    let cpu = size("cpu", found);
    let memory = size("memory", found);
    let (Some(cpu), Some(memory)) = (cpu, memory) else { return };
    match fargate_memory(cpu) {
        None => found.push(format!("`cpu` is {cpu}: Fargate has 256, 512, 1024, 2048, 4096, 8192 and 16384")),
        Some(memories) if !memories.contains(&memory) => {
            found.push(format!("`memory` is {memory}: with `cpu` {cpu} Fargate has {}", spoken(&memories)))
        }
        Some(_) => {}
    }
    let reserved: u64 = definition.containers().filter_map(|c| c.get("memory").and_then(Value::as_u64)).sum();
    if reserved > memory {
        found.push(format!("the containers' `memory` adds up to {reserved} MiB, more than the task's {memory}"));
    }
}

/// The memory sizes in MiB that Fargate offers for a number of CPU units.
fn fargate_memory(cpu: u64) -> Option<Vec<u64>> {
    let range = |from: u64, to: u64, by: u64| (from..=to).step_by((by * 1024) as usize).collect();
    Some(match cpu {
        256 => vec![512, 1024, 2048],
        512 => range(1024, 4096, 1),
        1024 => range(2048, 8192, 1),
        2048 => range(4096, 16384, 1),
        4096 => range(8192, 30720, 1),
        8192 => range(16384, 61440, 4),
        16384 => range(32768, 122_880, 8),
        _ => return None,
    })
}

fn spoken(memories: &[u64]) -> String {
    match memories {
        [first, second, .., last] if memories.len() > 4 => format!("{first} to {last} in steps of {}", second - first),
        _ => memories.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn container_problems(definition: &TaskDefinition, found: &mut Vec<String>) {
    let containers: Vec<_> = definition.containers().collect();
    if containers.is_empty() {
        found.push("`containerDefinitions` is empty".to_owned());
        return;
    }
    if !containers.iter().any(|c| is_essential(c)) {
        found.push("no container is essential: a task needs one".to_owned());
    }
    let names: Vec<_> = containers.iter().map(|c| container_name(c)).collect();
    let has_execution_role =
        definition.body.get("executionRoleArn").and_then(Value::as_str).is_some_and(|r| !r.is_empty());
    let mut ports = vec![];
    for (at, container) in containers.iter().enumerate() {
        let name = container_name(container);
        if name.is_empty() {
            found.push(format!("container {} has no `name`", at + 1));
            continue;
        }
        if !is_family(name) {
            found.push(format!("container `{name}`: a name has up to 255 letters, digits, `-` and `_`"));
        }
        if names[..at].contains(&name) {
            found.push(format!("container `{name}` is defined twice"));
        }
        port_problems(name, container, &mut ports, found);
        log_problems(name, container, has_execution_role, found);
        dependency_problems(name, container, &names, found);
        let has_secrets = container.get("secrets").and_then(Value::as_array).is_some_and(|s| !s.is_empty());
        if has_secrets && !has_execution_role {
            found.push(format!("container `{name}` has `secrets`: they need an `executionRoleArn` on the task"));
        }
    }
}

fn port_problems(name: &str, container: &Map<String, Value>, seen: &mut Vec<(u64, String)>, found: &mut Vec<String>) {
    for mapping in container.get("portMappings").and_then(Value::as_array).into_iter().flatten() {
        let number = |member: &str| mapping.get(member).and_then(Value::as_u64);
        let protocol = mapping.get("protocol").and_then(Value::as_str).unwrap_or("tcp").to_owned();
        let Some(port) = number("containerPort") else {
            if mapping.get("containerPortRange").is_none() {
                found.push(format!("container `{name}`: a port mapping has no `containerPort`"));
            }
            continue;
        };
        if !(1..=65535).contains(&port) {
            found.push(format!("container `{name}`: port {port} does not exist"));
        }
        if number("hostPort").is_some_and(|host| host != port && host != 0) {
            found.push(format!("container `{name}`: with `awsvpc` the `hostPort` of {port} is left out or the same"));
        }
        if seen.contains(&(port, protocol.clone())) {
            found.push(format!("container `{name}`: port {port}/{protocol} is mapped twice in this task"));
        }
        seen.push((port, protocol));
    }
}

fn log_problems(name: &str, container: &Map<String, Value>, has_execution_role: bool, found: &mut Vec<String>) {
    let Some(log) = container.get("logConfiguration") else { return };
    let driver = log.get("logDriver").and_then(Value::as_str).unwrap_or_default();
    if !matches!(driver, "awslogs" | "splunk" | "awsfirelens") {
        found.push(format!("container `{name}`: log driver `{driver}`: Fargate has awslogs, splunk and awsfirelens"));
    }
    if driver != "awslogs" {
        return;
    }
    for option in ["awslogs-group", "awslogs-region", "awslogs-stream-prefix"] {
        let given = log.get("options").and_then(|o| o.get(option)).and_then(Value::as_str);
        if given.is_none_or(str::is_empty) {
            found.push(format!("container `{name}`: awslogs on Fargate needs the option `{option}`"));
        }
    }
    if !has_execution_role {
        found.push(format!("container `{name}` logs to CloudWatch: that needs an `executionRoleArn` on the task"));
    }
}

fn dependency_problems(name: &str, container: &Map<String, Value>, names: &[&str], found: &mut Vec<String>) {
    for dependency in container.get("dependsOn").and_then(Value::as_array).into_iter().flatten() {
        let on = dependency.get("containerName").and_then(Value::as_str).unwrap_or_default();
        if !names.contains(&on) {
            found.push(format!("container `{name}` depends on `{on}`, which is not in this task"));
        } else if on == name {
            found.push(format!("container `{name}` depends on itself"));
        }
    }
}

fn is_family(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sound() -> Value {
        json!({
            "family": "web", "cpu": "512", "memory": "1024", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
            "executionRoleArn": "arn:aws:iam::111122223333:role/exec",
            "containerDefinitions": [{
                "name": "app", "image": "i", "portMappings": [{"containerPort": 3000}],
                "logConfiguration": {"logDriver": "awslogs", "options": {
                    "awslogs-group": "g", "awslogs-region": "eu-central-1", "awslogs-stream-prefix": "web"}}
            }]
        })
    }

    fn found(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut value = sound();
        change(&mut value);
        problems(&TaskDefinition::from_json(&value.to_string()).unwrap())
    }

    #[test]
    fn a_sound_definition_has_no_problems() {
        assert_eq!(found(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn every_fargate_size_is_accepted_and_its_neighbours_are_not() {
        let cases = [
            ("256", "512", true),
            ("256", "2048", true),
            ("256", "3072", false),
            ("512", "512", false),
            ("512", "4096", true),
            ("1024", "1024", false),
            ("1 vCPU", "2GB", true),
            ("4096", "30720", true),
            ("4096", "31744", false),
            ("8192", "20480", true),
            ("8192", "17408", false),
            ("16384", "122880", true),
            ("16384", "36864", false),
            ("300", "512", false),
        ];
        for (cpu, memory, is_sound) in cases {
            let found = found(|d| {
                d["cpu"] = json!(cpu);
                d["memory"] = json!(memory);
            });
            assert_eq!(found.is_empty(), is_sound, "{cpu}/{memory}: {found:?}");
        }
    }

    #[test]
    fn each_problem_is_named_in_its_own_words() {
        let app = |d: &mut Value, member: &str, value: Value| d["containerDefinitions"][0][member] = value;
        let cases: Vec<(Vec<String>, &str)> = vec![
            (found(|d| d["family"] = json!("two words")), "`family` is `two words`"),
            (found(|d| d["memory"] = Value::Null), "`memory` is missing"),
            (found(|d| d["cpu"] = json!("some")), "not a size"),
            (found(|d| d["networkMode"] = json!("bridge")), "needs `awsvpc`"),
            (found(|d| d["requiresCompatibilities"] = json!(["EC2"])), "does not name `FARGATE`"),
            (found(|d| d["runtimePlatform"] = json!({"cpuArchitecture": "arm"})), "`X86_64` or `ARM64`"),
            (found(|d| app(d, "essential", json!(false))), "no container is essential"),
            (found(|d| app(d, "name", json!(""))), "has no `name`"),
            (
                found(|d| app(d, "portMappings", json!([{"containerPort": 3000, "hostPort": 80}]))),
                "left out or the same",
            ),
            (found(|d| app(d, "portMappings", json!([{"containerPort": 80}, {"containerPort": 80}]))), "mapped twice"),
            (found(|d| app(d, "portMappings", json!([{"containerPort": 70000}]))), "does not exist"),
            (found(|d| app(d, "logConfiguration", json!({"logDriver": "journald"}))), "Fargate has awslogs"),
            (
                found(|d| app(d, "logConfiguration", json!({"logDriver": "awslogs", "options": {}}))),
                "awslogs-stream-prefix",
            ),
            (found(|d| d["executionRoleArn"] = json!("")), "`executionRoleArn`"),
            (found(|d| app(d, "dependsOn", json!([{"containerName": "db"}]))), "not in this task"),
            (found(|d| app(d, "memory", json!(4096))), "more than the task's"),
            (found(|d| d["containerDefinitions"] = json!([])), "is empty"),
            (
                found(|d| {
                    let c = d["containerDefinitions"][0].clone();
                    d["containerDefinitions"] = json!([c, {"name": "app"}]);
                }),
                "defined twice",
            ),
        ];
        for (found, expected) in cases {
            assert!(found.iter().any(|p| p.contains(expected)), "{expected}: {found:?}");
        }
    }
}
