//! Task definitions in git, by themselves and against the config.

use super::{Check, Files, within};
use crate::image::ImageRef;
use crate::names::{ContainerName, ImageKey, account_of};
use crate::task_definition::shape::integer;
use crate::task_definition::validate::{Released, findings};
use crate::task_definition::{TaskDefinition, container_name, is_essential};
use crate::validated_config::{Config, ImageSource, ReleaseCommand, ServiceConfig};
use serde_json::{Map, Value};

pub(super) fn of_services(files: Files<'_>) -> Vec<Check> {
    let mut checks = vec![];
    let mut families: Vec<(String, &ServiceConfig)> = vec![];
    for service in &files.config.services {
        let of = format!("service `{}`", service.key);
        let Some(path) = &service.task_definition else { continue };
        let file = within(files.config, path);
        let what = format!("{of}: task definition");
        let definition = match files.services.iter().find(|(key, _)| *key == service.key).map(|(_, read)| read) {
            None => continue,
            Some(Err(why)) => {
                checks.push(Check::failed(what, why.as_str(), None).of_file(&file));
                continue;
            }
            Some(Ok(definition)) => definition,
        };
        let mut found = of_definition(files.config, &what, definition, &containers(service, definition));
        found.extend(of_service(files.config, service, &of, definition));
        if let Some((_, other)) = families.iter().find(|(family, _)| family == definition.family()) {
            let why = format!(
                "service `{}` has the family `{}` too: their revisions take turns",
                other.key,
                definition.family()
            );
            found.push(Check::warning(what.clone(), why));
        }
        families.push((definition.family().to_owned(), service));
        checks.extend(or_ok(found, &what).into_iter().map(|check| check.of_file(&file)));
    }
    checks
}

pub(super) fn of_commands(files: Files<'_>) -> Vec<Check> {
    let mut checks = vec![];
    for command in &files.config.release {
        let of = format!("release command `{}`", command.name);
        let service = files.config.services.iter().find(|service| service.key == command.service);
        let own = files.commands.iter().find(|(name, _)| *name == command.name);
        let found = match own {
            Some((_, Err(why))) => vec![Check::failed(format!("{of}: task definition"), why.as_str(), None)],
            Some((_, Ok(definition))) => {
                let images = service.and_then(|service| service.containers.first());
                let container = command.container.clone().or_else(|| definition.sole_container());
                let released: Vec<_> = container.zip(images.map(|(_, image)| image.clone())).into_iter().collect();
                let what = format!("{of}: task definition");
                let mut found = of_definition(files.config, &what, definition, &released);
                found.extend(of_container(command, &of, definition));
                found
            }
            None => {
                let read = files.services.iter().find(|(key, _)| *key == command.service);
                match read.and_then(|(_, read)| read.as_ref().ok()) {
                    Some(definition) => of_container(command, &of, definition),
                    // What the service runs is known on AWS alone.
                    None => continue,
                }
            }
        };
        checks.extend(or_ok(found, &of));
    }
    checks
}

fn or_ok(found: Vec<Check>, what: &str) -> Vec<Check> {
    if found.is_empty() { vec![Check::ok(what)] } else { found }
}

fn containers(service: &ServiceConfig, definition: &TaskDefinition) -> Vec<(ContainerName, ImageKey)> {
    let named = service.containers.iter().filter_map(|(container, image)| {
        Some((container.clone().or_else(|| definition.sole_container())?, image.clone()))
    });
    named.collect()
}

fn of_definition(
    config: &Config,
    what: &str,
    definition: &TaskDefinition,
    containers: &[(ContainerName, ImageKey)],
) -> Vec<Check> {
    let released: Vec<Released> = crate::plan::released(config, containers);
    let said = findings(definition, &released);
    let mut checks: Vec<_> = said.problems.into_iter().map(|why| Check::failed(what, why, None)).collect();
    checks.extend(said.warnings.into_iter().map(|why| Check::warning(what, why)));
    for (container, image) in containers {
        if definition.container(container).is_none() {
            let why =
                format!("container `{container}` is not in it, which has {}", definition.container_names().join(", "));
            checks.push(Check::failed(
                what,
                why,
                Some("name the container under `containers` as the task definition does"),
            ));
        }
        if let Some(platform) = platform_of(config, image).filter(|platform| *platform != definition.platform()) {
            let why = format!("image `{image}` is for {platform}, and its tasks run on {}", definition.platform());
            checks.push(Check::failed(what, why, Some("make `platform` of the image and `runtimePlatform` the same")));
        }
    }
    checks.extend(surroundings(config, what, definition));
    checks.extend(definition.containers().flat_map(|container| health(what, container)));
    checks
}

pub(super) fn platform_of<'a>(config: &'a Config, image: &ImageKey) -> Option<&'a str> {
    let found = config.images.iter().find(|known| known.key == *image)?;
    match &found.source {
        ImageSource::Build(build) => build.platform.as_deref(),
        ImageSource::Existing(_) => None,
    }
}

fn of_service(config: &Config, service: &ServiceConfig, of: &str, definition: &TaskDefinition) -> Vec<Check> {
    let mut checks = vec![];
    if service.containers.iter().any(|(container, _)| container.is_none()) && definition.sole_container().is_none() {
        let names = definition.container_names().join(", ");
        let why = format!("which container gets the image is not said: it has {names}");
        checks.push(Check::failed(of, why, Some("name it: `containers: { CONTAINER: IMAGE }`")));
    }
    let is_checked = definition.has_health_check();
    let has_port = definition.containers().any(|container| !ports(container).is_empty());
    if !is_checked && !has_port && service.smoke.is_empty() && config.services.len() == 1 {
        let why = "nothing checks that it works: no health check, no port, no smoke check: a task that starts is taken for a good one";
        checks.push(Check::warning(of, why));
    }
    checks
}

fn of_container(command: &ReleaseCommand, of: &str, definition: &TaskDefinition) -> Vec<Check> {
    let Some(container) = &command.container else { return vec![] };
    if definition.container(container).is_some() {
        return vec![];
    }
    let names = definition.container_names().join(", ");
    vec![Check::failed(of, format!("container `{container}` is not in its task definition, which has {names}"), None)]
}

/// Region and account: of logs, secrets and roles, against those of the config.
fn surroundings(config: &Config, what: &str, definition: &TaskDefinition) -> Vec<Check> {
    let mut checks = vec![];
    let account = config.roles.last().and_then(|role| account_of(role.as_str())).unwrap_or_default();
    for member in ["executionRoleArn", "taskRoleArn"] {
        let arn = definition.body.get(member).and_then(Value::as_str).unwrap_or_default();
        let own = account_of(arn).unwrap_or_default();
        if !own.is_empty() && !account.is_empty() && own != account {
            let why = format!(
                "`{member}` is a role of account {own}, and the deploy's role is one of {account}: ECS takes roles of the service's own account"
            );
            checks.push(Check::failed(what, why, Some("name the role of that account")));
        }
    }
    let Some(region) = config.region.as_deref() else { return checks };
    for container in definition.containers() {
        let name = container_name(container);
        for secret in container.get("secrets").and_then(Value::as_array).into_iter().flatten() {
            let from = secret.get("valueFrom").and_then(Value::as_str).unwrap_or_default();
            let parts: Vec<_> = from.split(':').collect();
            let (Some("arn"), Some(service), Some(own)) = (parts.first().copied(), parts.get(2), parts.get(3)) else {
                continue;
            };
            if *own != region && !own.is_empty() {
                let why = format!(
                    "container `{name}`: a secret is in {own}, and the service in {region} ({service}): each start of a task depends on both"
                );
                checks.push(Check::warning(what, why));
            }
        }
        if let Some((_, _, Some(own))) = definition.log_destination(&name.into())
            && own != region
        {
            let why = format!("container `{name}` logs to {own}, and the service is in {region}");
            checks.push(Check::warning(what, why));
        }
        let image = container.get("image").and_then(Value::as_str).and_then(|image| ImageRef::parse(image).ok());
        let ecr = image.and_then(|image| image.ecr());
        if let Some(ecr) = ecr.filter(|ecr| ecr.region != region && is_essential(container)) {
            let why = format!(
                "container `{name}`: its image is in {}, and the service in {region}: each start of a task pulls across",
                ecr.region
            );
            checks.push(Check::warning(what, why));
        }
    }
    checks
}

fn ports(container: &Map<String, Value>) -> Vec<i64> {
    let mappings = container.get("portMappings").and_then(Value::as_array).into_iter().flatten();
    mappings.filter_map(|mapping| mapping.get("containerPort").and_then(integer)).collect()
}

/// A check that asks a port that the container does not map is often a slip.
fn health(what: &str, container: &Map<String, Value>) -> Option<Check> {
    let check = container.get("healthCheck")?;
    let number = |member: &str, default: i64| check.get(member).and_then(integer).unwrap_or(default);
    let name = container_name(container);
    if number("timeout", 5) > number("interval", 30) {
        let why =
            format!("container `{name}`: its health check waits longer for an answer than it takes to the next check");
        return Some(Check::warning(what, why));
    }
    let mapped = ports(container);
    let words = check.get("command")?.as_array()?.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    let asked = asked_port(&words)?;
    (!mapped.is_empty() && !mapped.contains(&asked)).then(|| {
        let mapped = mapped.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let why = format!("container `{name}`: its health check asks port {asked}, and it maps {mapped}");
        Check::warning(what, why)
    })
}

/// Of `http://localhost:3000/health`.
fn asked_port(command: &str) -> Option<i64> {
    let after = ["localhost:", "127.0.0.1:", "0.0.0.0:", "[::1]:"].iter().find_map(|host| command.split_once(host))?.1;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
