//! Is anything different? AWS fills defaults in and reorders lists when it describes a revision; neither is a change.

use super::{TAG_PREFIX, TaskDefinition};
use serde_json::{Map, Value, json};

/// The paths at which two definitions differ, with API defaults filled on both sides; empty means that registering
/// the second would change nothing. Values are not in it: they may be secret.
#[must_use]
pub fn differences(old: &TaskDefinition, new: &TaskDefinition) -> Vec<String> {
    let mut paths = vec![];
    walk("", &Value::Object(normal(old)), &Value::Object(normal(new)), &mut paths);
    let user_tags = |definition: &TaskDefinition| {
        let mut tags: Vec<_> = definition.tags.iter().filter(|(k, _)| !k.starts_with(TAG_PREFIX)).cloned().collect();
        tags.sort();
        tags
    };
    if user_tags(old) != user_tags(new) {
        paths.push("tags".to_owned());
    }
    paths
}

fn walk(path: &str, old: &Value, new: &Value, paths: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let added = b.keys().filter(|k| !a.contains_key(*k));
            for key in a.keys().chain(added) {
                let step = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(&step, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), paths);
            }
        }
        _ if old != new => paths.push(path.to_owned()),
        _ => {}
    }
}

/// One spelling for everything that means the same.
fn normal(definition: &TaskDefinition) -> Map<String, Value> {
    let mut body = definition.registrable().body;
    for member in ["cpu", "memory"] {
        if let Some(units) = body.get(member).and_then(units) {
            body.insert(member.to_owned(), json!(units));
        }
    }
    if let Some(containers) = body.remove("containerDefinitions") {
        // By name, so that a path names the container and its place in the list does not matter.
        let named = containers.as_array().into_iter().flatten().filter_map(Value::as_object).map(|container| {
            (super::container_name(container).to_owned(), Value::Object(normal_container(container.clone())))
        });
        body.insert("containerDefinitions".to_owned(), Value::Object(named.collect()));
    }
    prune(&mut body);
    body
}

fn normal_container(mut container: Map<String, Value>) -> Map<String, Value> {
    if container.get("essential") == Some(&json!(true)) {
        container.shift_remove("essential");
    }
    if container.get("cpu") == Some(&json!(0)) {
        container.shift_remove("cpu");
    }
    for (list, key) in [("environment", "name"), ("secrets", "name")] {
        if let Some(items) = container.get_mut(list).and_then(Value::as_array_mut) {
            items.sort_by(|a, b| text(a, key).cmp(text(b, key)));
        }
    }
    for port in container.get_mut("portMappings").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(port) = port.as_object_mut() else { continue };
        let number = port.get("containerPort").cloned().unwrap_or(Value::Null);
        // awsvpc: the host port is the container port, and AWS writes it out.
        if port.get("hostPort").is_none_or(|host| *host == number || *host == json!(0)) {
            port.shift_remove("hostPort");
        }
        if port.get("protocol") == Some(&json!("tcp")) {
            port.shift_remove("protocol");
        }
    }
    if let Some(check) = container.get_mut("healthCheck").and_then(Value::as_object_mut) {
        for (member, default) in [("interval", 30), ("timeout", 5), ("retries", 3), ("startPeriod", 0)] {
            if check.get(member) == Some(&json!(default)) {
                check.shift_remove(member);
            }
        }
    }
    container
}

/// Absent, null, empty list, empty object and empty text are the same to AWS, except inside free-form values.
fn prune(members: &mut Map<String, Value>) {
    let free_form = ["options", "dockerLabels", "environment"];
    members.retain(|key, value| {
        if let Value::Object(inner) = value
            && !free_form.contains(&key.as_str())
        {
            prune(inner);
        }
        match value {
            Value::Null => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(inner) => !inner.is_empty(),
            Value::String(text) => !text.is_empty(),
            _ => true,
        }
    });
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// CPU units or MiB from `1024`, `"1024"`, `"1 vCPU"`, `"2GB"`: AWS takes them all and answers with the number.
pub(super) fn units(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let text = value.as_str()?.trim().to_ascii_lowercase();
    let (number, unit) = match text.find(|c: char| !(c.is_ascii_digit() || c == '.')) {
        Some(at) => text.split_at(at),
        None => (text.as_str(), ""),
    };
    let scale = match unit.trim() {
        "" | "mb" | "mib" => 1.0,
        "vcpu" | "gb" | "gib" => 1024.0,
        _ => return None,
    };
    let units = number.parse::<f64>().ok()? * scale;
    (units.fract() == 0.0 && units > 0.0).then_some(units as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: Value) -> TaskDefinition {
        TaskDefinition::from_json(&value.to_string()).unwrap()
    }

    #[test]
    fn what_aws_fills_in_is_no_difference() {
        let file = parsed(json!({
            "family": "web", "cpu": "1 vCPU", "memory": "2GB",
            "containerDefinitions": [{
                "name": "app", "image": "i", "portMappings": [{"containerPort": 3000}],
                "environment": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
                "healthCheck": {"command": ["CMD", "true"]}
            }]
        }));
        let described = parsed(json!({"taskDefinition": {
            "taskDefinitionArn": "arn", "family": "web", "revision": 3, "cpu": "1024", "memory": "2048", "volumes": [],
            "placementConstraints": [],
            "containerDefinitions": [{
                "name": "app", "image": "i", "cpu": 0, "essential": true,
                "portMappings": [{"containerPort": 3000, "hostPort": 3000, "protocol": "tcp"}],
                "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "healthCheck": {"command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 3},
                "mountPoints": [], "volumesFrom": [], "systemControls": []
            }]
        }, "tags": [{"key": "fargate-deploy:release", "value": "r1"}]}));
        assert_eq!(differences(&described, &file), Vec::<String>::new());
    }

    #[test]
    fn a_difference_names_its_path_and_not_its_value() {
        let old = parsed(json!({"family": "web", "cpu": "256", "containerDefinitions": [
            {"name": "app", "image": "a", "futureMember": {"x": 1}}, {"name": "gone", "image": "g"}]}));
        let new = parsed(
            json!({"family": "web", "cpu": "512", "tags": [{"key": "team", "value": "x"}], "containerDefinitions": [
            {"name": "app", "image": "b", "futureMember": {"x": 2}}]}),
        );
        assert_eq!(
            differences(&old, &new),
            [
                "cpu",
                "containerDefinitions.app.image",
                "containerDefinitions.app.futureMember.x",
                "containerDefinitions.gone",
                "tags"
            ]
        );
    }

    #[test]
    fn an_empty_environment_value_is_not_the_same_as_none() {
        let old =
            parsed(json!({"containerDefinitions": [{"name": "app", "environment": [{"name": "A", "value": ""}]}]}));
        let new = parsed(json!({"containerDefinitions": [{"name": "app", "environment": []}]}));
        assert_eq!(differences(&old, &new), ["containerDefinitions.app.environment"]);
    }

    #[test]
    fn sizes_are_read_in_every_spelling_of_aws() {
        for (text, expected) in [
            ("256", Some(256)),
            (".25 vCPU", Some(256)),
            ("1 vCPU", Some(1024)),
            ("0.5 GB", Some(512)),
            ("3GB", Some(3072)),
            ("lots", None),
        ] {
            assert_eq!(units(&json!(text)), expected, "{text}");
        }
    }
}
