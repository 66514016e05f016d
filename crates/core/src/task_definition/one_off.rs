//! The one-off definition: the release's task definition, made safe to run once.

use super::{TaskDefinition, container_name};
use crate::names::ContainerName;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// The longest family that AWS takes.
const LONGEST_FAMILY: usize = 255;

/// Derives what a release command runs from, or `None` when the release's own definition is already safe.
///
/// - containers that wait for the command's container, themselves or by way of others, are left out: it serves nothing
///   and never becomes healthy here, and ECS would stop the task, with the command half-way, when their wait is over;
/// - what the command's container waits for stays, and so does every container that waits for nothing of it, such as its
///   log router;
/// - the command's container is the only essential one: the task ends when it ends, and no other container ends it;
/// - no `restartPolicy`: ECS would start the command again after it ended;
/// - `awslogs` of the command's container blocks instead of dropping lines: the default mode has been non-blocking
///   since June 2025, which loses the very lines that say why a migration failed;
/// - no `healthCheck` on it: it probes a server that does not run here.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-restart-policy.html>
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html>
#[must_use]
pub fn one_off(definition: &TaskDefinition, container: &ContainerName, name: &str) -> Option<TaskDefinition> {
    let mut derived = definition.registrable();
    leave_out(&mut derived, &waiting_for(definition, container));
    if !derived.containers().any(logs_to_a_router) {
        // AWS refuses a log router that no container logs to.
        derived.containers_mut().for_each(|container| drop(container.shift_remove("firelensConfiguration")));
    }
    for candidate in derived.containers_mut() {
        candidate.shift_remove("restartPolicy");
        let is_commands = container_name(candidate) == container.as_str();
        // `essential` is true where it is not said.
        if !is_commands || candidate.get("essential") == Some(&Value::Bool(false)) {
            candidate.insert("essential".to_owned(), Value::Bool(is_commands));
        }
        if is_commands {
            candidate.shift_remove("healthCheck");
            block_logs(candidate);
        }
    }
    if derived.body == definition.registrable().body {
        return None;
    }
    Some(derived.of_family(&family_of(definition.family(), name)))
}

/// `FAMILY-NAME`, of the characters that a family may have. One that would be too long is cut, and told from others
/// that are cut alike by a hash.
fn family_of(family: &str, name: &str) -> String {
    let clean: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).collect();
    let whole = format!("{family}-{clean}");
    if whole.len() <= LONGEST_FAMILY {
        return whole;
    }
    let hash = hex::encode(&Sha256::digest(&whole)[..4]);
    let kept: String = whole.chars().take(LONGEST_FAMILY - 1 - hash.len()).collect();
    format!("{kept}-{hash}")
}

/// The containers that cannot run without this one.
fn waiting_for(definition: &TaskDefinition, container: &ContainerName) -> BTreeSet<String> {
    let mut waiting = BTreeSet::new();
    loop {
        let needs_one = |of: &Map<String, Value>| {
            needed_by(of, definition).iter().any(|name| *name == container.as_str() || waiting.contains(*name))
        };
        let next = definition.containers().find(|candidate| {
            let name = container_name(candidate);
            name != container.as_str() && !waiting.contains(name) && needs_one(candidate)
        });
        let Some(next) = next.map(|found| container_name(found).to_owned()) else { return waiting };
        waiting.insert(next);
    }
}

/// Other containers that one names: those that it waits for, and those whose volumes, links or log router it uses.
fn needed_by<'a>(container: &'a Map<String, Value>, definition: &'a TaskDefinition) -> Vec<&'a str> {
    let named = |list: &str, member: &'static str| {
        let items = container.get(list).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(move |item| item.get(member).and_then(Value::as_str))
    };
    let links = container.get("links").and_then(Value::as_array).into_iter().flatten();
    let links = links.filter_map(|link| link.as_str()?.split(':').next());
    let mut found: Vec<&str> =
        named("dependsOn", "containerName").chain(named("volumesFrom", "sourceContainer")).collect();
    found.extend(links);
    if logs_to_a_router(container) {
        let is_router = |c: &&Map<String, Value>| c.get("firelensConfiguration").is_some_and(Value::is_object);
        found.extend(definition.containers().filter(is_router).map(container_name));
    }
    found
}

fn logs_to_a_router(container: &Map<String, Value>) -> bool {
    let driver = container.get("logConfiguration").and_then(|log| log.get("logDriver"));
    driver.and_then(Value::as_str) == Some("awsfirelens")
}

fn leave_out(definition: &mut TaskDefinition, names: &BTreeSet<String>) {
    let is_left_out = |value: Option<&Value>| value.and_then(Value::as_str).is_some_and(|name| names.contains(name));
    if let Some(containers) = definition.body.get_mut("containerDefinitions").and_then(Value::as_array_mut) {
        containers.retain(|container| !is_left_out(container.get("name")));
    }
    if is_left_out(definition.body.get("proxyConfiguration").and_then(|proxy| proxy.get("containerName"))) {
        definition.body.shift_remove("proxyConfiguration");
    }
}

fn block_logs(container: &mut Map<String, Value>) {
    let Some(log) = container.get_mut("logConfiguration").and_then(Value::as_object_mut) else { return };
    if log.get("logDriver").and_then(Value::as_str) != Some("awslogs") {
        return;
    }
    if let Some(options) = log.get_mut("options").and_then(Value::as_object_mut) {
        options.insert("mode".to_owned(), Value::from("blocking"));
        options.shift_remove("max-buffer-size");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(app: Value) -> TaskDefinition {
        let text = json!({"family": "web", "containerDefinitions": [app, {"name": "proxy", "restartPolicy": {"enabled": true}}]});
        TaskDefinition::from_json(&text.to_string()).unwrap()
    }

    #[test]
    fn the_command_cannot_be_restarted_and_its_lines_cannot_be_dropped() {
        let derived = one_off(
            &definition(json!({
                "name": "app", "essential": false, "healthCheck": {"command": ["CMD", "true"]},
                "restartPolicy": {"enabled": true},
                "logConfiguration": {"logDriver": "awslogs", "options": {"mode": "non-blocking", "max-buffer-size": "25m", "awslogs-group": "g"}}
            })),
            &"app".into(),
            "migrate",
        )
        .unwrap();
        assert_eq!(derived.family(), "web-migrate");
        assert_eq!(
            derived.body["containerDefinitions"],
            json!([
                {"name": "app", "essential": true,
                 "logConfiguration": {"logDriver": "awslogs", "options": {"mode": "blocking", "awslogs-group": "g"}}},
                {"name": "proxy", "essential": false}
            ])
        );
    }

    /// Containers by name, with what they say beside it.
    fn of(containers: Value) -> TaskDefinition {
        let list = containers.as_object().unwrap().iter().map(|(name, members)| {
            let mut members = members.as_object().unwrap().clone();
            members.insert("name".to_owned(), json!(name));
            Value::Object(members)
        });
        let text = json!({"family": "web", "containerDefinitions": list.collect::<Vec<_>>()});
        TaskDefinition::from_json(&text.to_string()).unwrap()
    }

    fn waits(on: &str, condition: &str) -> Value {
        json!([{"containerName": on, "condition": condition}])
    }

    /// Container and whether it is essential, of what `app` runs from.
    fn kept(containers: Value) -> Vec<(String, bool)> {
        let derived = one_off(&of(containers), &"app".into(), "migrate").unwrap();
        let entry = |c: &Map<String, Value>| (container_name(c).to_owned(), crate::task_definition::is_essential(c));
        derived.containers().map(entry).collect()
    }

    #[test]
    fn what_waits_for_the_command_is_left_out_whatever_it_waits_for() {
        let app_only = [("app".to_owned(), true)];
        for condition in ["START", "HEALTHY", "SUCCESS", "COMPLETE"] {
            let containers = json!({
                "app": {"essential": condition == "HEALTHY", "healthCheck": {"command": ["CMD", "true"]}},
                "nginx": {"dependsOn": waits("app", condition)}
            });
            assert_eq!(kept(containers), app_only, "{condition}");
        }
        let chain = json!({
            "nginx": {"dependsOn": waits("web", "START")},
            "web": {"dependsOn": waits("app", "SUCCESS")},
            "app": {"essential": false}
        });
        assert_eq!(kept(chain), app_only);
        let volumes = json!({"app": {}, "exporter": {"volumesFrom": [{"sourceContainer": "app"}]}});
        assert_eq!(kept(volumes), app_only);
        let links = json!({"app": {}, "old": {"links": ["app:db"]}});
        assert_eq!(kept(links), app_only);
    }

    #[test]
    fn what_the_command_waits_for_and_its_log_router_stay_and_end_nothing() {
        let containers = json!({
            "proxy": {"healthCheck": {"command": ["CMD", "true"]}},
            "seed": {"essential": false},
            "log_router": {"essential": true, "firelensConfiguration": {"type": "fluentbit"}},
            "agent": {"essential": true},
            "app": {"dependsOn": [{"containerName": "proxy", "condition": "HEALTHY"}, {"containerName": "seed", "condition": "SUCCESS"}],
                    "logConfiguration": {"logDriver": "awsfirelens"}},
            "nginx": {"dependsOn": waits("app", "HEALTHY"), "logConfiguration": {"logDriver": "awsfirelens"}}
        });
        let expected = [("proxy", false), ("seed", false), ("log_router", false), ("agent", false), ("app", true)];
        assert_eq!(kept(containers.clone()), expected.map(|(name, is)| (name.to_owned(), is)));
        let derived = one_off(&of(containers), &"app".into(), "migrate").unwrap();
        assert!(derived.container(&"proxy".into()).unwrap().contains_key("healthCheck"), "the command waits for it");
    }

    #[test]
    fn a_log_router_that_nothing_logs_to_any_more_is_an_ordinary_container() {
        let containers = |app: Value| {
            of(json!({
                "log_router": {"firelensConfiguration": {"type": "fluentbit"}},
                "app": app,
                "nginx": {"dependsOn": waits("app", "START"), "logConfiguration": {"logDriver": "awsfirelens"}}
            }))
        };
        for (driver, is_router) in [("awslogs", false), ("awsfirelens", true)] {
            let definition = containers(json!({"logConfiguration": {"logDriver": driver}}));
            let derived = one_off(&definition, &"app".into(), "migrate").unwrap();
            let router = derived.container(&"log_router".into()).unwrap();
            assert_eq!(router.contains_key("firelensConfiguration"), is_router, "{driver}");
        }
    }

    #[test]
    fn a_proxy_configuration_goes_with_its_container() {
        let mut definition = of(json!({"app": {}, "envoy": {"dependsOn": waits("app", "START")}, "other": {}}));
        definition.body.insert("proxyConfiguration".to_owned(), json!({"containerName": "envoy"}));
        let derived = one_off(&definition, &"app".into(), "migrate").unwrap();
        assert!(!derived.body.contains_key("proxyConfiguration"));
        definition.body.insert("proxyConfiguration".to_owned(), json!({"containerName": "other"}));
        let derived = one_off(&definition, &"app".into(), "migrate").unwrap();
        assert_eq!(derived.body["proxyConfiguration"], json!({"containerName": "other"}));
    }

    #[test]
    fn null_members_are_absent_ones() {
        let containers = json!({
            "app": {"dependsOn": null, "logConfiguration": null, "healthCheck": null, "essential": null, "restartPolicy": null},
            "proxy": {"dependsOn": null, "volumesFrom": null, "links": null, "firelensConfiguration": null}
        });
        assert_eq!(kept(containers), [("app".to_owned(), true), ("proxy".to_owned(), false)]);
    }

    #[test]
    fn a_family_that_would_be_too_long_is_cut_and_stays_its_own() {
        let family = "f".repeat(250);
        let (one, two) = (family_of(&family, "migrate-one"), family_of(&family, "migrate-two"));
        assert_eq!((one.len(), two.len()), (255, 255));
        assert_ne!(one, two);
        assert!(one.starts_with(&"f".repeat(246)), "{one}");
        assert_eq!(family_of(&family, "m123"), format!("{family}-m123"));
        assert_eq!(family_of("web", "db:migrate up"), "web-db-migrate-up");
    }

    #[test]
    fn a_definition_that_is_safe_already_is_run_as_it_is() {
        let text = json!({"family": "web", "containerDefinitions": [
            {"name": "app", "essential": true, "logConfiguration": {"logDriver": "awslogs", "options": {"mode": "blocking"}}}
        ]});
        assert_eq!(one_off(&TaskDefinition::from_json(&text.to_string()).unwrap(), &"app".into(), "migrate"), None);
    }
}
