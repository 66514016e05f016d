//! A difference as it may be shown: what could be a secret is hidden before it gets anywhere near a comment or a log.

use super::compare::Difference;
use super::shape::{self, Kind};
use crate::redact::without_credentials;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Stands for a value that is not shown.
pub const HIDDEN: &str = "(not shown)";

/// One changed place of a task definition.
///
/// The value of an environment variable is never in it, nor a command, a health check, or an option or label but for a few
/// that are known to be harmless, nor what is in a member that this program does not know. A secret shows its `valueFrom`, which is a reference and no value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// `containerDefinitions.app.image`.
    pub path: String,
    /// `null`: it is added.
    pub before: Option<Value>,
    /// `null`: it is removed.
    pub after: Option<Value>,
}

impl Change {
    pub fn of(difference: &Difference) -> Self {
        let shown = |value: &Option<Value>| value.as_ref().map(|value| shown(&difference.path, value));
        Self { path: difference.dotted(), before: shown(&difference.old), after: shown(&difference.new) }
    }

    /// Neither side may be shown, so that all there is to say is that they differ.
    pub fn is_hidden(&self) -> bool {
        let hides = |value: &Option<Value>| value.as_ref().is_none_or(|value| value == HIDDEN);
        hides(&self.before) && hides(&self.after)
    }
}

fn shown(path: &[String], value: &Value) -> Value {
    if is_secret(path) {
        return json!(HIDDEN);
    }
    match value {
        Value::Object(members) => {
            let inner = members.iter().map(|(name, value)| {
                let below: Vec<String> = path.iter().chain([name]).cloned().collect();
                (name.clone(), shown(&below, value))
            });
            Value::Object(inner.collect::<Map<_, _>>())
        }
        // A list whose items could not be told apart by name: `[{"name": "A", "value": "..."}]`.
        Value::Array(items) if is_environment(path) => {
            Value::Array(items.iter().map(|item| json!({"name": item.get("name"), "value": HIDDEN})).collect())
        }
        // By place: what is hidden in an item by name is hidden in one without.
        Value::Array(items) => {
            let inner = items.iter().enumerate().map(|(at, item)| {
                let below: Vec<String> = path.iter().cloned().chain([at.to_string()]).collect();
                shown(&below, item)
            });
            Value::Array(inner.collect())
        }
        Value::String(text) => json!(without_credentials(text)),
        other => other.clone(),
    }
}

fn is_environment(path: &[String]) -> bool {
    matches!(path, [list, _, member] if list == "containerDefinitions" && member == "environment")
}

/// Options of log drivers and labels that name places and habits, and let nobody in.
const HARMLESS: [&str; 20] = [
    "awslogs-group",
    "awslogs-region",
    "awslogs-stream-prefix",
    "awslogs-create-group",
    "awslogs-datetime-format",
    "mode",
    "max-buffer-size",
    "group",
    "Name",
    "region",
    "log_group_name",
    "log_stream_prefix",
    "auto_create_group",
    "delivery_stream",
    "enable-ecs-log-metadata",
    "config-file-type",
    "org.opencontainers.image.created",
    "org.opencontainers.image.revision",
    "org.opencontainers.image.version",
    "org.opencontainers.image.source",
];

/// What may hold anything a person put there: variables, options, labels, commands and health checks.
fn is_secret(path: &[String]) -> bool {
    match path {
        [list, _, member, _, ..] if list == "containerDefinitions" && member == "environment" => true,
        [list, _, member] if list == "containerDefinitions" && (member == "command" || member == "entryPoint") => true,
        [list, _, check, member] if list == "containerDefinitions" && check == "healthCheck" => member == "command",
        [.., member, name] if ["options", "dockerLabels", "driverOpts", "labels"].contains(&member.as_str()) => {
            !HARMLESS.contains(&name.as_str())
        }
        [.., member, _, value] if member == "systemControls" => value == "value",
        _ => !is_known(path),
    }
}

/// Whether AWS's model has the member, as far as this program knows it.
fn is_known(path: &[String]) -> bool {
    match path {
        [tags, ..] if tags == "tags" => true,
        [name, below @ ..] => shape::TASK.iter().any(|member| member.name == name && holds(&member.kind, below)),
        [] => true,
    }
}

fn holds(kind: &Kind, path: &[String]) -> bool {
    match (kind, path) {
        (_, []) | (Kind::TextMap, [_]) => true,
        (Kind::Object(members), [name, below @ ..]) => {
            members.iter().any(|member| member.name == name && holds(&member.kind, below))
        }
        // Of an item, its name or place.
        (Kind::List(of, _), [_, below @ ..]) => holds(of, below),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task_definition::{TaskDefinition, compare::changes};

    fn between(old: Value, new: Value) -> Vec<Change> {
        let parsed = |value: Value| TaskDefinition::from_json(&value.to_string()).unwrap();
        changes(&parsed(old), &parsed(new)).iter().map(Change::of).collect()
    }

    #[test]
    fn no_value_of_a_variable_is_ever_in_a_change() {
        let before = json!({"containerDefinitions": [
            {"name": "app", "environment": [{"name": "A", "value": "hunter1"}, {"name": "GONE", "value": "hunter2"}]},
            {"name": "gone", "environment": [{"name": "B", "value": "hunter3"}]}]});
        let after = json!({"containerDefinitions": [
            {"name": "app", "environment": [{"name": "A", "value": "hunter4"}, {"name": "NEW", "value": "hunter5"}]},
            {"name": "twice", "environment": [{"name": "B", "value": "hunter6"}, {"name": "B", "value": "hunter7"}]}]});
        let text = serde_json::to_string(&between(before, after)).unwrap();
        assert!(!text.contains("hunter"), "{text}");
        for name in ["environment.A", "environment.GONE", "environment.NEW", "containerDefinitions.gone", "twice"] {
            assert!(text.contains(name), "{name}: {text}");
        }
    }

    #[test]
    fn containers_that_share_a_name_hide_their_variables_too() {
        let of = |value: &str| json!({"containerDefinitions": [{"name": "app", "environment": [{"name": "A", "value": value}]}, {"name": "app"}]});
        let text = serde_json::to_string(&between(of("hunter1"), of("hunter2"))).unwrap();
        assert!(text.contains("containerDefinitions") && !text.contains("hunter"), "{text}");
    }

    #[test]
    fn what_a_member_holds_that_is_not_known_is_hidden_wherever_it_stands() {
        let of = |text: &str| {
            json!({"ofTheFuture": text, "volumes": [{"name": "v", "host": {"ofTheFuture": [text]}}],
            "containerDefinitions": [{"name": "app", "image": "a", "ofTheFuture": {"deep": text},
                "systemControls": [{"namespace": "net.core.somaxconn", "value": text}],
                "portMappings": [{"containerPort": 80, "ofTheFuture": text}]}]})
        };
        let found = between(of("hunter1"), of("hunter2"));
        let text = serde_json::to_string(&found).unwrap();
        assert!(text.contains("ofTheFuture") && !text.contains("hunter"), "{text}");
        let text = serde_json::to_string(&between(json!({"containerDefinitions": []}), of("hunter1"))).unwrap();
        assert!(text.contains("ofTheFuture") && !text.contains("hunter"), "{text}");
    }

    #[test]
    fn a_secret_shows_its_reference() {
        let of = |from: &str| json!({"containerDefinitions": [{"name": "app", "secrets": [{"name": "S", "valueFrom": from}]}]});
        let found = between(of("arn:one"), of("arn:two"));
        assert_eq!((&found[0].before, &found[0].after), (&Some(json!("arn:one")), &Some(json!("arn:two"))));
        assert!(!found[0].is_hidden());
    }

    #[test]
    fn a_log_drivers_token_is_hidden_and_its_group_is_not() {
        let of = |token: &str, group: &str| {
            json!({"containerDefinitions": [{"name": "app", "logConfiguration": {"logDriver": "splunk", "options":
                {"splunk-token": token, "group": group}}}]})
        };
        let found = between(of("t1", "g1"), of("t2", "g2"));
        assert!(found[0].is_hidden(), "{found:?}");
        assert_eq!(found[1].after, Some(json!("g2")));
    }

    #[test]
    fn options_labels_commands_and_health_checks_are_hidden_but_for_the_harmless() {
        let of = |secret: &str| {
            json!({
                "containerDefinitions": [{
                    "name": "app", "command": ["run", secret], "entryPoint": ["sh", secret],
                    "healthCheck": {"command": ["CMD", secret], "interval": 7},
                    "dockerLabels": {"traefik.auth": secret, "org.opencontainers.image.version": "v"},
                    "logConfiguration": {"logDriver": "fluentd", "options": {"http_passwd": secret, "Url": secret, "awslogs-group": "g"}},
                    "firelensConfiguration": {"type": "fluentbit", "options": {"custom": secret}},
                    "workingDirectory": format!("https://u:{secret}@host/x")
                }],
                "volumes": [{"name": "v", "dockerVolumeConfiguration": {"driverOpts": {"o": secret}, "labels": {"l": secret}}}]
            })
        };
        // Only the running revision holds them, only the new one does, both do.
        for (old, new) in [(of("hunter1"), json!({})), (json!({}), of("hunter2")), (of("hunter1"), of("hunter2"))] {
            let text = serde_json::to_string(&between(old, new)).unwrap();
            assert!(!text.contains("hunter"), "{text}");
        }
        let text = serde_json::to_string(&between(json!({}), of("hunter2"))).unwrap();
        for known in
            ["\"awslogs-group\":\"g\"", "image.version\":\"v\"", "http_passwd", "https://***@host/x", "\"interval\":7"]
        {
            assert!(text.contains(known), "{known}: {text}");
        }
    }
}
