//! What is different? AWS fills defaults in and reorders lists when it describes a revision; neither is a change.

mod normal;
#[cfg(test)]
mod round_trip;

use super::{TAG_PREFIX, TaskDefinition, tags};
use crate::names::short;
use normal::normal;
use serde_json::{Map, Value, json};

/// One place at which two definitions differ. The values are as they are written: they may be secret, and are shown to
/// nobody before `change` has judged them.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Members from the outside in. Containers, variables, secrets and port mappings go by their names, not by their
    /// places in a list.
    pub path: Vec<String>,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

impl Difference {
    /// `containerDefinitions.app.image`.
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }
}

/// The paths at which two definitions differ, with API defaults filled on both sides; empty means that registering
/// the second would change nothing. Values are not in it: they may be secret.
#[must_use]
pub fn differences(old: &TaskDefinition, new: &TaskDefinition) -> Vec<String> {
    changes(old, new).iter().map(Difference::dotted).collect()
}

/// The same with the values on both sides. Our own tags tell the release and are no difference.
#[must_use]
pub fn changes(old: &TaskDefinition, new: &TaskDefinition) -> Vec<Difference> {
    let mut found = vec![];
    walk(&mut vec![], Some(&Value::Object(normal(old))), Some(&Value::Object(normal(new))), &mut found);
    let user_tags = |definition: &TaskDefinition| {
        let is_users = |key: &str| !key.starts_with(TAG_PREFIX) && !tags::is_of_aws(key);
        let mut tags: Vec<_> = definition.tags.iter().filter(|(key, _)| is_users(key)).cloned().collect();
        tags.sort();
        tags
    };
    let (before, after) = (user_tags(old), user_tags(new));
    if before != after {
        let spoken = |tags: Vec<(String, String)>| {
            let members: Map<_, _> = tags.into_iter().map(|(key, value)| (key, json!(value))).collect();
            Some(Value::Object(members)).filter(|v| *v != json!({}))
        };
        found.push(Difference { path: vec!["tags".to_owned()], old: spoken(before), new: spoken(after) });
    }
    found
}

fn walk(path: &mut Vec<String>, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    let nothing = Map::new();
    let pair = match (old, new) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => Some((a, b)),
        (Some(Value::Object(a)), None) if is_by_name(path) => Some((a, &nothing)),
        (None, Some(Value::Object(b))) if is_by_name(path) => Some((&nothing, b)),
        _ => None,
    };
    match pair {
        Some((a, b)) => {
            let added = b.keys().filter(|k| !a.contains_key(*k));
            for key in a.keys().chain(added) {
                path.push(key.clone());
                walk(path, a.get(key), b.get(key), found);
                path.pop();
            }
        }
        None if old != new && !old.zip(new).is_some_and(|(old, new)| is_same_role(path, old, new)) => {
            found.push(Difference { path: path.clone(), old: old.cloned(), new: new.cloned() })
        }
        None => {}
    }
}

/// Lists of a container whose items go by their names: the first of a kind is added as such, too.
fn is_by_name(path: &[String]) -> bool {
    matches!(path, [_, _, list] if ["environment", "secrets", "portMappings"].contains(&list.as_str()))
}

/// `taskRoleArn` and `executionRoleArn` take a role's name as well, and AWS answers with its ARN.
fn is_same_role(path: &[String], old: &Value, new: &Value) -> bool {
    let is_role = matches!(path, [member] if member == "taskRoleArn" || member == "executionRoleArn");
    let (Some(old), Some(new)) = (old.as_str(), new.as_str()) else { return false };
    is_role && old.starts_with("arn:") != new.starts_with("arn:") && short(old) == short(new)
}

/// CPU units or MiB from `1024`, `"1024"`, `"1 vCPU"`, `"2GB"`: AWS takes them all and answers with the number.
pub fn units(value: &Value) -> Option<u64> {
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
        assert_eq!(differences(&old, &new), ["containerDefinitions.app.environment.A"]);
    }

    #[test]
    fn lists_whose_items_have_names_differ_by_name_and_not_by_place() {
        let old = parsed(json!({"containerDefinitions": [{"name": "app",
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "secrets": [{"name": "S", "valueFrom": "arn:one"}],
            "portMappings": [{"containerPort": 80}, {"containerPort": 53, "protocol": "udp"}]}]}));
        let new = parsed(json!({"containerDefinitions": [{"name": "app",
            "environment": [{"name": "B", "value": "3"}, {"name": "A", "value": "1"}],
            "secrets": [{"name": "S", "valueFrom": "arn:two"}],
            "portMappings": [{"containerPort": 53, "protocol": "udp"}]}]}));
        let found: Vec<_> = changes(&old, &new).into_iter().map(|d| (d.dotted(), d.old, d.new)).collect();
        assert_eq!(
            found,
            [
                ("containerDefinitions.app.environment.B".to_owned(), Some(json!("2")), Some(json!("3"))),
                ("containerDefinitions.app.secrets.S".to_owned(), Some(json!("arn:one")), Some(json!("arn:two"))),
                ("containerDefinitions.app.portMappings.80/tcp".to_owned(), Some(json!({"containerPort": 80})), None),
            ]
        );
    }

    #[test]
    fn names_that_stand_twice_are_compared_as_the_list_that_they_are() {
        let twice = |second: &str| {
            parsed(json!({"containerDefinitions": [{"name": "app",
                "environment": [{"name": "A", "value": "1"}, {"name": "A", "value": second}]}]}))
        };
        assert_eq!(differences(&twice("2"), &twice("2")), [""; 0]);
        assert_eq!(differences(&twice("2"), &twice("3")), ["containerDefinitions.app.environment"]);
    }

    #[test]
    fn a_platform_that_is_the_default_is_no_difference() {
        let named = json!({"runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}});
        assert_eq!(differences(&parsed(json!({})), &parsed(named)), [""; 0]);
        let arm = json!({"runtimePlatform": {"cpuArchitecture": "ARM64"}});
        assert_eq!(differences(&parsed(json!({})), &parsed(arm)), ["runtimePlatform"]);
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
