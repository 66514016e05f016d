//! What a reviewer should see before any detail.

use super::{CommandPlan, ImageAction, ImagePlan, ServicePlan};
use crate::service::{Service, State, Strategy};
use crate::task_definition::compare::{Difference, units};
use crate::task_definition::tags::{MOST, is_of_aws};
use crate::task_definition::{TAG_PREFIX, TaskDefinition, container_name};
use serde::Serialize;
use serde_json::Value;

/// Something about a plan that can hurt although it is allowed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Risk {
    pub level: Level,
    pub kind: RiskKind,
    /// One sentence with its subject.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It can take production down, or cannot be undone by going back.
    Caution,
    Warning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RiskKind {
    RemovedSecret,
    ExposedSecret,
    RemovedVariable,
    RemovedContainer,
    LowerCpu,
    LowerMemory,
    PortChange,
    HealthCheckChange,
    RoleChange,
    PlatformChange,
    BreakerOff,
    Downtime,
    NoProgress,
    DesiredZero,
    LastDeploymentFailed,
    MutableTag,
    DatabaseCommand,
    BaseMoved,
    /// The user's tags leave no room for those of the release.
    NoRoomForTags,
    /// Something in a task definition's file that AWS may refuse, or takes and nobody means.
    DoubtfulDefinition,
}

fn caution(kind: RiskKind, text: String) -> Risk {
    Risk { level: Level::Caution, kind, text }
}

fn warning(kind: RiskKind, text: String) -> Risk {
    Risk { level: Level::Warning, kind, text }
}

/// What validation doubts of a task definition's file; `of` says whose it is.
pub fn of_definition(of: &str, doubts: Vec<String>) -> Vec<Risk> {
    doubts.into_iter().map(|doubt| warning(RiskKind::DoubtfulDefinition, format!("{of}: {doubt}"))).collect()
}

/// What there is no room for beside the user's own tags is not known of the release later.
pub fn of_own_tags(of: &str, definition: &TaskDefinition) -> Option<Risk> {
    let own = definition.tags.iter().filter(|(key, _)| !key.starts_with(TAG_PREFIX) && !is_of_aws(key)).count();
    let room = MOST.saturating_sub(own);
    let left_out = match room {
        0 => "the release's number, commit, actor, run and commands are",
        1 => "the release's commit, actor, run and commands are",
        2 => "the release's actor, run and commands are",
        3 => "the release's run and commands are",
        4 => "the release's commands are",
        _ => return None,
    };
    let text = format!("{of}: it has {own} tags, and AWS takes {MOST}: {left_out} not written on its revision");
    Some(warning(RiskKind::NoRoomForTags, text))
}

/// What the service's own settings mean for any release.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html>
pub fn of_settings(name: &str, service: &Service) -> Vec<Risk> {
    let mut risks = vec![];
    let desired = service.counts.desired;
    if desired == 0 {
        risks.push(warning(
            RiskKind::DesiredZero,
            format!("{name} has a desired count of 0: it is deployed, but nothing starts and nothing is verified"),
        ));
    }
    if !service.breaker.is_enabled && service.strategy == Strategy::Rolling {
        let who = match (service.alarms.is_enabled, service.alarms.rolls_back) {
            (true, true) => "only its alarms end a failing release, and ECS takes it back then",
            (true, false) => "a failing release is judged by its alarms and by us, and taken back by us",
            (false, _) => "a failing release is judged and taken back by us",
        };
        risks.push(warning(RiskKind::BreakerOff, format!("{name} has no deployment circuit breaker: {who}")));
    }
    let (minimum, maximum) = limits(service);
    if desired > 0 && minimum >= desired && maximum <= desired {
        risks.push(caution(
            RiskKind::NoProgress,
            format!(
                "{name}: minimumHealthyPercent {} and maximumPercent {} let ECS neither start nor stop a task at desired count {desired}",
                service.minimum_healthy_percent.unwrap_or(100),
                service.maximum_percent.unwrap_or(200),
            ),
        ));
    }
    if desired > 0 && minimum == 0 && service.strategy == Strategy::Rolling {
        risks.push(caution(
            RiskKind::Downtime,
            format!(
                "{name}: minimumHealthyPercent {} lets ECS stop every task before a new one serves: downtime",
                service.minimum_healthy_percent.unwrap_or(100),
            ),
        ));
    }
    if service.primary().is_some_and(|p| p.state == State::Failed) {
        risks.push(caution(
            RiskKind::LastDeploymentFailed,
            format!("{name}: its last deployment failed and nothing completed since: ECS has nothing to roll back to"),
        ));
    }
    risks
}

/// Fewest and most tasks during a deployment: ECS rounds the minimum up and the maximum down.
fn limits(service: &Service) -> (i64, i64) {
    let desired = service.counts.desired;
    let minimum = (desired * service.minimum_healthy_percent.unwrap_or(100) + 99) / 100;
    let maximum = desired * service.maximum_percent.unwrap_or(200) / 100;
    (minimum, maximum)
}

/// What a changed task definition takes away or moves. `new` is the revision to come.
pub fn of_differences(name: &str, differences: &[Difference], new: &TaskDefinition) -> Vec<Risk> {
    let mut risks: Vec<Risk> = vec![];
    for difference in differences {
        let path: Vec<&str> = difference.path.iter().map(String::as_str).collect();
        let found = match path.as_slice() {
            [_, container, list @ ("secrets" | "environment"), variable] if difference.new.is_none() => {
                lost(name, container, list, variable, new)
            }
            ["containerDefinitions", container] if difference.new.is_none() => Some(caution(
                RiskKind::RemovedContainer,
                format!("{name}: the container `{container}` is removed from the task"),
            )),
            [size @ ("cpu" | "memory")] => lower(name, "the task", size, difference),
            ["containerDefinitions", container, size @ ("cpu" | "memory" | "memoryReservation")] => {
                lower(name, &format!("container `{container}`"), size, difference)
            }
            ["containerDefinitions", container, "portMappings", ..] => Some(port(name, container, difference)),
            ["containerDefinitions", container, "healthCheck", ..] => Some(warning(
                RiskKind::HealthCheckChange,
                format!("{name}: the health check of container `{container}` changes"),
            )),
            [role @ ("taskRoleArn" | "executionRoleArn")] => Some(role_change(name, role, difference)),
            ["runtimePlatform", ..] => Some(caution(
                RiskKind::PlatformChange,
                format!("{name}: the tasks move to {}: every image of the task has to be built for it", new.platform()),
            )),
            _ => None,
        };
        risks.extend(found.filter(|risk| !risks.contains(risk)));
    }
    risks
}

fn lost(name: &str, container: &str, list: &str, variable: &str, new: &TaskDefinition) -> Option<Risk> {
    let has = |list: &str| {
        new.containers().filter(|c| container_name(c) == container).any(|c| {
            let items = c.get(list).and_then(Value::as_array);
            items.into_iter().flatten().any(|item| item.get("name").and_then(Value::as_str) == Some(variable))
        })
    };
    match (list, has("environment"), has("secrets")) {
        ("secrets", true, _) => Some(caution(
            RiskKind::ExposedSecret,
            format!("{name}: `{variable}` of container `{container}` was a secret and becomes a plain variable"),
        )),
        ("secrets", false, _) => Some(caution(
            RiskKind::RemovedSecret,
            format!("{name}: container `{container}` loses the secret `{variable}`"),
        )),
        (_, _, true) => None,
        _ => Some(caution(
            RiskKind::RemovedVariable,
            format!("{name}: container `{container}` loses the variable `{variable}`"),
        )),
    }
}

fn lower(name: &str, of: &str, size: &str, difference: &Difference) -> Option<Risk> {
    let (old, new) = (units(difference.old.as_ref()?)?, units(difference.new.as_ref()?)?);
    let kind = if size == "cpu" { RiskKind::LowerCpu } else { RiskKind::LowerMemory };
    (new < old).then(|| caution(kind, format!("{name}: `{size}` of {of} goes down from {old} to {new}")))
}

fn port(name: &str, container: &str, difference: &Difference) -> Risk {
    let port = difference.path.get(3).map(|p| format!(" {p}")).unwrap_or_default();
    match (&difference.old, &difference.new) {
        (None, Some(_)) => warning(RiskKind::PortChange, format!("{name}: container `{container}` opens port{port}")),
        (Some(_), None) => caution(
            RiskKind::PortChange,
            format!(
                "{name}: container `{container}` no longer has port{port}: a load balancer that uses it finds nothing"
            ),
        ),
        _ => caution(RiskKind::PortChange, format!("{name}: port{port} of container `{container}` changes")),
    }
}

fn role_change(name: &str, role: &str, difference: &Difference) -> Risk {
    let spoken = |value: &Option<Value>| match value {
        Some(Value::String(arn)) => format!("`{arn}`"),
        _ => "none".to_owned(),
    };
    let (old, new) = (spoken(&difference.old), spoken(&difference.new));
    caution(RiskKind::RoleChange, format!("{name}: `{role}` changes from {old} to {new}"))
}

/// Tags that do not name the content: in a repository with immutable tags their push is refused, and a container that
/// runs one can change without a release.
pub fn of_tags(images: &[ImagePlan], services: &[ServicePlan]) -> Vec<Risk> {
    let mut risks = vec![];
    for image in images.iter().filter(|i| i.is_immutable) {
        let pushed = match &image.action {
            ImageAction::Build { tags, .. } => tags,
            ImageAction::Reuse { missing_tags, .. } => missing_tags,
            ImageAction::Existing { .. } => continue,
        };
        for tag in pushed.iter().filter(|tag| image.moving_tags.contains(tag)) {
            risks.push(caution(
                RiskKind::MutableTag,
                format!(
                    "image `{}`: `{tag}` is pushed by every release, and the tags of {} are immutable: the push fails where it exists",
                    image.key, image.name
                ),
            ));
        }
    }
    for service in services {
        let released = |name: &str| service.containers.iter().any(|(container, _)| container.as_str() == name);
        for container in service.base.containers().filter(|c| !released(container_name(c))) {
            let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
            if is_latest(image) {
                risks.push(warning(
                    RiskKind::MutableTag,
                    format!(
                        "service `{}`: container `{}` runs `{image}`, which can change without a release",
                        service.service.name,
                        container_name(container)
                    ),
                ));
            }
        }
    }
    risks
}

fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// Release commands that look like they change a database and that the running revision was not released with.
pub fn of_commands(commands: &[CommandPlan], services: &[ServicePlan]) -> Vec<Risk> {
    let is_new = |planned: &CommandPlan| {
        let running = services.iter().find(|s| s.key == planned.service).map(|s| &s.running);
        running.is_some_and(|running| match running.tag(super::COMMANDS_TAG) {
            Some(known) => !known.split(' ').any(|known| known == super::command_id(planned)),
            None => running.release().is_none(),
        })
    };
    let found = commands.iter().filter(|c| looks_like_database(c) && is_new(c)).map(|c| {
        warning(
            RiskKind::DatabaseCommand,
            format!(
                "release command `{}` is new or changed and looks like it changes a database: going back to the previous release does not undo it",
                c.command.name
            ),
        )
    });
    found.collect()
}

fn looks_like_database(planned: &CommandPlan) -> bool {
    const WORDS: [&str; 17] = [
        "migrat",
        "db:",
        "prisma",
        "alembic",
        "flyway",
        "liquibase",
        "knex",
        "sequelize",
        "typeorm",
        "ecto",
        "goose",
        "dbmate",
        "sqitch",
        "schema",
        "psql",
        "mysql",
        "seed",
    ];
    let text =
        format!("{} {}", planned.command.name, crate::resolved::joined(&planned.command.command)).to_ascii_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task_definition::compare::changes;
    use serde_json::json;

    fn risks(old: Value, new: Value) -> Vec<(RiskKind, String)> {
        let parsed = |value: Value| TaskDefinition::from_json(&value.to_string()).unwrap();
        let (old, new) = (parsed(old), parsed(new));
        of_differences("service `web`", &changes(&old, &new), &new).into_iter().map(|r| (r.kind, r.text)).collect()
    }

    fn kinds(old: Value, new: Value) -> Vec<RiskKind> {
        risks(old, new).into_iter().map(|(kind, _)| kind).collect()
    }

    fn app(members: Value) -> Value {
        let mut container = json!({"name": "app"});
        container.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!({"containerDefinitions": [container]})
    }

    #[test]
    fn what_is_taken_away_is_a_risk_and_what_is_added_is_none() {
        let with =
            app(json!({"secrets": [{"name": "S", "valueFrom": "arn"}], "environment": [{"name": "E", "value": "1"}]}));
        let without = app(json!({}));
        assert_eq!(
            risks(with.clone(), without.clone()),
            [
                (RiskKind::RemovedSecret, "service `web`: container `app` loses the secret `S`".to_owned()),
                (RiskKind::RemovedVariable, "service `web`: container `app` loses the variable `E`".to_owned()),
            ]
        );
        assert_eq!(kinds(without, with), []);
    }

    #[test]
    fn a_secret_that_becomes_a_variable_is_exposed_and_the_other_way_round_is_fine() {
        let secret = app(json!({"secrets": [{"name": "S", "valueFrom": "arn"}]}));
        let plain = app(json!({"environment": [{"name": "S", "value": "1"}]}));
        assert_eq!(kinds(secret.clone(), plain.clone()), [RiskKind::ExposedSecret]);
        assert_eq!(kinds(plain, secret), []);
    }

    #[test]
    fn each_dangerous_change_has_its_kind() {
        let cases = [
            (json!({"cpu": "1024"}), json!({"cpu": "512"}), vec![RiskKind::LowerCpu]),
            (json!({"cpu": "512"}), json!({"cpu": "1 vCPU"}), vec![]),
            (json!({"memory": "2GB"}), json!({"memory": "1024"}), vec![RiskKind::LowerMemory]),
            (app(json!({"memory": 512})), app(json!({"memory": 256})), vec![RiskKind::LowerMemory]),
            (json!({"taskRoleArn": "a"}), json!({"taskRoleArn": "b"}), vec![RiskKind::RoleChange]),
            (json!({}), json!({"executionRoleArn": "b"}), vec![RiskKind::RoleChange]),
            (
                app(json!({"portMappings": [{"containerPort": 80}]})),
                app(json!({"portMappings": [{"containerPort": 81}]})),
                vec![RiskKind::PortChange, RiskKind::PortChange],
            ),
            (
                app(json!({"healthCheck": {"command": ["a"], "retries": 2}})),
                app(json!({"healthCheck": {"command": ["b"], "retries": 5}})),
                vec![RiskKind::HealthCheckChange],
            ),
            (json!({}), json!({"runtimePlatform": {"cpuArchitecture": "ARM64"}}), vec![RiskKind::PlatformChange]),
            (
                json!({"containerDefinitions": [{"name": "a"}, {"name": "b", "image": "x"}]}),
                json!({"containerDefinitions": [{"name": "a"}]}),
                vec![RiskKind::RemovedContainer],
            ),
            (app(json!({"image": "a"})), app(json!({"image": "b"})), vec![]),
        ];
        for (old, new, expected) in cases {
            assert_eq!(kinds(old.clone(), new.clone()), expected, "{old} -> {new}");
        }
    }

    #[test]
    fn an_image_without_a_tag_is_as_movable_as_latest() {
        for (image, expected) in [
            ("caddy", true),
            ("host:5000/caddy", true),
            ("host:5000/caddy:latest", true),
            ("caddy:2.8", false),
            ("caddy@sha256:00", false),
        ] {
            assert_eq!(is_latest(image), expected, "{image}");
        }
    }
}
