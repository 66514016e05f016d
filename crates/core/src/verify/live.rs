//! What a service on AWS says of the release to come.

use super::{Check, platform_of};
use crate::plan::refuse;
use crate::plan::risk::{self, RiskKind};
use crate::service::Service;
use crate::task_definition::{TaskDefinition, validate};
use crate::validated_config::{Config, ServiceConfig};

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
pub fn of_running(config: &Config, chosen: &ServiceConfig, running: &TaskDefinition) -> Vec<Check> {
    let what = format!("service `{}`: what it runs", chosen.key);
    let mut checks = vec![];
    if chosen.task_definition.is_none() {
        for problem in validate::of_running(running) {
            checks.push(Check::failed(what.clone(), problem, None));
        }
        for (_, image) in &chosen.containers {
            let Some(platform) = platform_of(config, image).filter(|platform| *platform != running.platform()) else {
                continue;
            };
            let why = format!("image `{image}` is for {platform}, and its tasks run on {}", running.platform());
            let fix = "make `platform` of the image and `runtimePlatform` the same";
            checks.push(Check::failed(what.clone(), why, Some(fix)));
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
    if checks.is_empty() { vec![Check::ok(what)] } else { checks }
}

/// The alarms of a service, with the states of those that there are.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html>
#[must_use]
pub fn of_alarms(key: &str, service: &Service, states: &[(String, String)]) -> Vec<Check> {
    let each = service.alarms.names.iter().map(|name| {
        let what = format!("service `{key}`: alarm `{name}`");
        match states.iter().find(|(known, _)| known == name).map(|(_, state)| state.as_str()) {
            None => Check::warning(what, "there is no such alarm: it ends no deployment"),
            Some("ALARM") => {
                Check::warning(what, "it is in ALARM already: ECS does not watch it in the next deployment")
            }
            Some("INSUFFICIENT_DATA") => Check::warning(what, "it has no data: a deployment may end before it has any"),
            Some(_) => Check::ok(what),
        }
    });
    each.collect()
}

/// An image that is already built, against a task definition that it is for.
#[must_use]
pub fn of_image(what: &str, platform: Option<&str>, definition: &TaskDefinition) -> Check {
    match platform {
        Some(platform) if platform != definition.platform() => {
            let why = format!("it is built for {platform}, and its tasks run on {}", definition.platform());
            Check::failed(what, why, Some("name an image for that platform, or change `runtimePlatform`"))
        }
        _ => Check::ok(what),
    }
}
