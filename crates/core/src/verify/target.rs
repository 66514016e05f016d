//! What a load balancer asks of tasks, against the task definition that they will have.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/alb.html>

use super::{Check, listed};
use crate::cause::TargetCheck;
use crate::service::Service;
use crate::task_definition::shape::integer;
use crate::task_definition::{TaskDefinition, container_name};
use serde_json::Value;

/// The ports that a container maps.
fn ports(definition: &TaskDefinition, name: &str) -> Vec<i64> {
    let containers = definition.containers().filter(|container| container_name(container) == name);
    let mappings = containers.flat_map(|c| c.get("portMappings").and_then(Value::as_array).into_iter().flatten());
    mappings.filter_map(|mapping| mapping.get("containerPort").and_then(integer)).collect()
}

/// `group` is the target group of the service, where it could be read.
#[must_use]
pub fn of_target(
    key: &str,
    service: &Service,
    definition: &TaskDefinition,
    group: Option<&TargetCheck>,
    vpc: Option<&str>,
) -> Vec<Check> {
    let what = format!("service `{key}`: load balancer");
    let mut checks = vec![];
    if let Some((name, port)) = &service.load_balanced {
        let mapped = ports(definition, name);
        if definition.container(&name.as_str().into()).is_none() {
            let why = format!(
                "it sends requests to container `{name}`, which is not in the task definition ({})",
                definition.container_names().join(", ")
            );
            checks.push(Check::failed(
                what.clone(),
                why,
                Some("keep the container's name, or change the service's load balancer"),
            ));
        } else if !mapped.contains(&i64::from(*port)) {
            let all: Vec<String> = mapped.iter().map(i64::to_string).collect();
            let why = match all.as_slice() {
                [] => format!("it sends requests to port {port} of container `{name}`, which maps none"),
                all => format!(
                    "it sends requests to port {port} of container `{name}`, which maps {}",
                    listed(all.iter().map(String::as_str))
                ),
            };
            checks.push(Check::failed(
                what.clone(),
                why,
                Some(&format!("map `containerPort` {port} in the container")),
            ));
        }
        if let Some(fixed) = group.and_then(|group| group.port).filter(|fixed| fixed != port)
            && !definition.containers().any(|c| ports(definition, container_name(c)).contains(&i64::from(fixed)))
        {
            let why =
                format!("its health check asks port {fixed}, which no container maps: every task would be taken off");
            checks.push(Check::failed(what.clone(), why, Some("set the health check's port to `traffic-port`")));
        }
    }
    let Some(group) = group else {
        return if checks.is_empty() { vec![Check::ok(what)] } else { checks };
    };
    if let Some(kind) = group.target_type.as_deref().filter(|kind| *kind != "ip") {
        let why = format!("its target group is of type `{kind}`, and Fargate's tasks are registered by address");
        checks.push(Check::failed(what.clone(), why, Some("use a target group of type `ip`")));
    }
    if let Some((own, theirs)) = group.vpc.as_deref().zip(vpc).filter(|(own, theirs)| own != theirs) {
        let why = format!("its target group is of {own}, and the tasks run in {theirs}");
        checks.push(Check::failed(what.clone(), why, Some("use a target group of the tasks' own VPC")));
    }
    if let Some((asked, own)) = group.path.as_deref().zip(checked_path(definition, service))
        && asked == "/"
        && own != "/"
    {
        let why = format!(
            "its health check asks for `/`, and the container's own asks for `{own}`: the path was never set, perhaps"
        );
        checks.push(Check::warning(what.clone(), why));
    }
    if checks.is_empty() { vec![Check::ok(what)] } else { checks }
}

/// The path in the container's own health check: of `curl -f http://localhost:3000/health`.
fn checked_path(definition: &TaskDefinition, service: &Service) -> Option<String> {
    let (name, _) = service.load_balanced.as_ref()?;
    let container = definition.containers().find(|container| container_name(container) == name)?;
    let words = container.get("healthCheck")?.get("command")?.as_array()?.iter().filter_map(Value::as_str);
    let command = words.collect::<Vec<_>>().join(" ");
    let (_, rest) = command.split_once("http://")?;
    let address = rest.split([' ', '\'', '"', '?']).next()?;
    Some(address.split_once('/').map_or_else(|| "/".to_owned(), |(_, path)| format!("/{path}")))
}
