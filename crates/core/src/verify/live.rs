//! What a service on AWS says of the release to come.

use super::Check;
use crate::plan::refuse;
use crate::plan::risk::{self, RiskKind};
use crate::service::Service;
use crate::task_definition::{TaskDefinition, validate};
use crate::validated_config::ServiceConfig;

/// A service that is there: whether it can be deployed, and what its settings mean for any release.
#[must_use]
pub fn of_service(key: &str, service: &Service) -> Vec<Check> {
    let what = format!("service `{key}` on AWS");
    let mut problems = vec![];
    refuse(&what, service, &mut problems);
    if !problems.is_empty() {
        let said = |problem: String| problem.strip_prefix(&what).unwrap_or(&problem).trim().to_owned();
        return problems.into_iter().map(|problem| Check::failed(what.clone(), said(problem), None)).collect();
    }
    let mut checks = vec![];
    for found in risk::of_settings(key, service) {
        let why = found.text.strip_prefix(key).unwrap_or(&found.text).trim_start_matches([':', ' ']).to_owned();
        checks.push(match found.kind {
            RiskKind::NoProgress => {
                let fix = "let ECS start a task first (maximumPercent 200), or stop one first (minimumHealthyPercent 0 or 50)";
                Check::failed(what.clone(), why, Some(fix))
            }
            _ => Check::warning(what.clone(), why),
        });
    }
    if service.breaker.is_enabled && !service.breaker.rolls_back {
        checks.push(Check::warning(
            what.clone(),
            "its circuit breaker stops a bad rollout and does not go back: turn `rollback` on",
        ));
    }
    if checks.is_empty() { vec![Check::ok(what)] } else { checks }
}

/// What the service runs, against what the config names.
#[must_use]
pub fn of_running(chosen: &ServiceConfig, service: &Service, running: &TaskDefinition) -> Vec<Check> {
    let what = format!("service `{}`: what it runs", chosen.key);
    let mut checks = vec![];
    if chosen.task_definition.is_none() {
        for problem in validate::of_running(running) {
            checks.push(Check::failed(what.clone(), problem, None));
        }
        for container in chosen.containers.iter().filter_map(|(container, _)| container.as_ref()) {
            if running.container(container).is_none() {
                let why =
                    format!("container `{container}` is not in it, which has {}", running.container_names().join(", "));
                let fix = "name the container under `containers` as the task definition does";
                checks.push(Check::failed(what.clone(), why, Some(fix)));
            }
        }
    }
    let maps_a_port = |container: &serde_json::Map<String, serde_json::Value>| {
        container.get("portMappings").and_then(|ports| ports.as_array()).is_some_and(|ports| !ports.is_empty())
    };
    if !service.target_groups.is_empty() && !running.containers().any(maps_a_port) {
        let why = "it has a target group, and no container maps a port";
        checks.push(Check::failed(what.clone(), why, Some("map the port that the target group asks")));
    }
    if checks.is_empty() { vec![Check::ok(what)] } else { checks }
}
