//! Values of a case that sentences are filled with, and signs that are no texts.

use super::pattern::{Values, captured};
use super::seen::{Seen, SeenContainer, SeenNetwork, WayOut};
use crate::task_definition::validate::size::fargate_memory;

/// What is known before anything was matched.
pub(super) fn of_case(seen: &Seen) -> Values {
    let mut values = Values::default();
    let subject = match (&seen.command, seen.failed_container()) {
        (Some(command), _) => format!("release command `{command}`"),
        (None, Some(failed)) if seen.ended_by_itself() && beside(seen, failed).is_some() => {
            format!("the essential container `{}`, whose end stops the whole task", failed.name)
        }
        (None, Some(failed)) => format!("container `{}`", failed.name),
        (None, None) => "the task".to_owned(),
    };
    values.set("subject", subject);
    if let Some(failed) = seen.failed_container() {
        of_container(failed, seen, &mut values);
    }
    let mut set = |name: &'static str, value: Option<String>| values.set(name, value.unwrap_or_default());
    set("platform", seen.task_platform.clone());
    set("cpu", seen.cpu.map(|n| n.to_string()));
    set("task-memory", seen.memory.map(|n| n.to_string()));
    set("storage", Some(seen.ephemeral_gib.unwrap_or(20).to_string()));
    set("execution-role", seen.execution_role.as_deref().map(role_name));
    set("task-role", seen.task_role.as_deref().map(role_name));
    set("grace", seen.grace_seconds.map(|n| n.to_string()));
    set("desired", seen.desired.map(|n| n.to_string()));
    set("minimum", seen.minimum_percent.map(|n| n.to_string()));
    set("maximum", seen.maximum_percent.map(|n| n.to_string()));
    set("deadline", seen.passed_deadline.map(|n| n.to_string()));
    set("network", seen.network.as_ref().and_then(way_out));
    set("subnets", seen.network.as_ref().map(|n| spoken(n.subnets.iter().map(|s| s.id.as_str()))));
    if let Some(check) = &seen.target_check {
        set("check-path", check.path.clone());
        set("check-port", check.port.map(|n| n.to_string()));
        set("matcher", check.matcher.clone());
        set("check-timeout", check.timeout.map(|n| n.to_string()));
    }
    let target = seen.load_balanced.as_ref().map(|(_, port)| *port).or(seen.targets.iter().find_map(|t| t.port));
    let checked = seen.target_check.as_ref().and_then(|c| c.port).or(target);
    let names: Vec<_> = seen.alarms.iter().map(|name| format!("`{name}`")).collect();
    values.set("alarms", if names.len() > 1 { format!("one of {}", names.join(", ")) } else { names.concat() });
    values.set("target-port", checked.map(|n| n.to_string()).unwrap_or_default());
    values
}

fn of_container(container: &SeenContainer, seen: &Seen, values: &mut Values) {
    let mut set = |name: &'static str, value: Option<String>| values.set(name, value.unwrap_or_default());
    set("container", Some(container.name.clone()));
    set("image", container.image.clone());
    set("image-platform", container.image_platform.clone());
    set("exit", container.exit_code.map(|n| n.to_string()));
    set("check-command", container.check.clone());
    set("start-period", container.check_start_period.map(|n| n.to_string()));
    set("check-takes", container.check_takes.map(|n| n.to_string()));
    set("stop-timeout", container.stop_timeout.or(Some(30)).map(|n| n.to_string()));
    set("log-group", container.log_group.clone());
    set("words", super::log::own_words(&super::log::telling(&container.log)).map(shortened));
    let limit = container.memory.filter(|own| seen.memory.is_none_or(|task| *own < task));
    set("limit", limit.or(seen.memory).map(|n| n.to_string()));
    let larger = match (limit, seen.memory) {
        (Some(own), Some(task)) => {
            Some(format!("raise `memory` of the container above {own} (the task has {task} MiB)"))
        }
        (None, Some(task)) => next_size(seen.cpu, task),
        _ => None,
    };
    set("larger", larger);
}

/// The next size that Fargate has.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size>
fn next_size(cpu: Option<u64>, memory: u64) -> Option<String> {
    let sizes = |cpu: u64| fargate_memory(cpu).unwrap_or_default();
    let cpus = [256, 512, 1024, 2048, 4096, 8192, 16384, 32768];
    let cpu = cpu?;
    if let Some(next) = sizes(cpu).into_iter().find(|size| *size > memory) {
        return Some(format!(
            "set `memory` of the task to {next} (MiB), the next size that Fargate has with `cpu` {cpu}"
        ));
    }
    let (more, next) =
        cpus.into_iter().filter(|c| *c > cpu).find_map(|c| Some((c, sizes(c).into_iter().find(|s| *s > memory)?)))?;
    Some(format!(
        "set `memory` of the task to {next} (MiB) and its `cpu` to {more}: {memory} is the most that `cpu` {cpu} allows"
    ))
}

/// What a text of AWS says in passing.
pub(super) fn of_text(text: &str, values: &mut Values) {
    for pattern in ["dial tcp {ip}:443", "dial tcp {ip}:", "lookup {host} on ", "lookup {host}: "] {
        if let Some(found) = captured(pattern, text) {
            values.extend(found);
        }
    }
    if let Some(found) = captured("assumed-role/{role}/", text).or_else(|| captured(":role/{role}", text)) {
        values.extend(found);
    }
    let reference = values.get("reference").map(str::to_owned);
    if let Some((_, path)) = reference.as_deref().and_then(|r| r.split_once('/')) {
        let name = path.split('@').next().unwrap_or(path);
        let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
        values.set("repository", name);
    }
    if let Some(registry) = captured("https://{registry}/", text).as_ref().and_then(|v| v.get("registry")) {
        values.set("registry", registry);
    }
}

/// What load balancers say of the targets: of DescribeTargetHealth, and in events of the service.
pub(super) fn targets(seen: &Seen) -> Vec<String> {
    let read = seen.targets.iter().filter(|t| t.state != "healthy").map(|t| format!("{} {}", t.code, t.description));
    let told = seen.events.iter().rev().chain(&seen.stopped_reason).filter_map(|event| {
        let found = captured("is unhealthy in (target-group*due to (reason {why..}", event)?;
        Some(found.get("why")?.trim_end_matches(['.', ')']).to_owned())
    });
    // An answer to an expired registration says nothing.
    read.chain(told).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// Why nothing gets out of the subnets, where that is known.
fn way_out(network: &SeenNetwork) -> Option<String> {
    let closed = |way: WayOut| {
        network.subnets.iter().filter(move |s| s.way_out == Some(way)).map(|s| s.id.as_str()).collect::<Vec<_>>()
    };
    let without = closed(WayOut::None);
    if !without.is_empty() {
        return Some(format!("{} has no route to the internet", spoken(without.into_iter())));
    }
    let public = closed(WayOut::InternetGateway);
    if !public.is_empty() && network.has_public_ip == Some(false) {
        let which = spoken(public.into_iter());
        return Some(format!(
            "{which} routes to an internet gateway, and the tasks get no public IP (`assignPublicIp` is `DISABLED`)"
        ));
    }
    None
}

pub(super) fn spoken<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The name of a role in its ARN.
pub(super) fn role_name(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or(arn).to_owned()
}

/// A line that fits into a sentence.
pub(super) fn shortened(line: &str) -> String {
    let line = line.trim();
    match line.char_indices().nth(240) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}

/// The container that the task is there for, where an essential one beside it is to blame.
pub(super) fn beside<'s>(seen: &'s Seen, failed: &SeenContainer) -> Option<&'s SeenContainer> {
    let main = match seen.main_name() {
        Some(name) => seen.container(name),
        None => {
            seen.containers.iter().find(|c| c.name != failed.name && !c.ports.is_empty() && failed.ports.is_empty())
        }
    };
    main.filter(|main| main.name != failed.name && failed.is_essential)
}
