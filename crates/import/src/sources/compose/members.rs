//! Members of a service that Fargate has within bounds of its own: ports, health, size, limits, volumes.

use super::Read;
use crate::Input;
use crate::app::{App, Container, Fate, Health, Port};
use crate::settings::holds_secret;
use crate::size::{cpu_units, mebibytes, seconds};
use crate::tree::{Node, Place, shown};

pub(super) fn ports(input: &Input<'_>, app: &mut App, service: &str, node: &Node, container: &mut Container) {
    for item in node.items() {
        let (target, is_public, protocol) = match item.text() {
            Some(text) => {
                let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
                let (outside, target) = ports.rsplit_once(':').unwrap_or(("", ports));
                let is_local =
                    outside.starts_with("127.") || outside.starts_with("localhost") || outside.starts_with("[::1]");
                (target.to_owned(), !is_local && ports.contains(':'), protocol.to_owned())
            }
            None => {
                let is_local = item.text_of("host_ip").is_some_and(|ip| ip.starts_with("127.") || ip == "::1");
                let target = item.text_of("target").unwrap_or_default().to_owned();
                (
                    target,
                    !is_local && item.text_of("mode") != Some("host"),
                    item.text_of("protocol").unwrap_or("tcp").to_owned(),
                )
            }
        };
        let what = format!("{service}: port `{}`", shown(&target));
        let range = target.split_once('-');
        let first = port(range.map_or(target.as_str(), |(first, _)| first));
        let Some(mut number) = first else {
            app.row(
                Fate::Decide,
                input.path,
                item.place,
                what,
                "it is no port: write it into `portMappings` of the task definition",
            );
            continue;
        };
        number.is_udp = protocol.eq_ignore_ascii_case("udp");
        add(container, number);
        if range.is_some() {
            app.row(
                Fate::Decide,
                input.path,
                item.place,
                what,
                "of a range the first port is mapped: write the others into the task definition",
            );
        } else if is_public {
            app.row(
                Fate::Decide,
                input.path,
                item.place,
                what,
                format!("it was reachable from outside: if it is to be, give the service a target group (type `ip`, port {})", number.number),
            );
        } else {
            app.row(Fate::Kept, input.path, item.place, what, "for other tasks; it was not reachable from outside");
        }
    }
}

pub(super) fn port(text: &str) -> Option<Port> {
    let text = text.split('/').next().unwrap_or(text).trim();
    text.parse().ok().filter(|number| *number > 0).map(|number| Port { number, is_udp: false })
}

pub(super) fn add(container: &mut Container, port: Port) {
    if !container.ports.contains(&port) {
        container.ports.push(port);
    }
}

pub(super) fn health(input: &Input<'_>, app: &mut App, service: &str, at: Place, node: &Node) -> Option<Health> {
    if node.get("disable").is_some_and(Node::is_true) {
        return None;
    }
    let test = node.get("test")?;
    let command = match test.text() {
        Some(line) => vec!["CMD-SHELL".to_owned(), line.to_owned()],
        None => test.texts().into_iter().map(str::to_owned).collect(),
    };
    let what = format!("{service}: health check");
    match command.first().map(String::as_str) {
        Some("CMD" | "CMD-SHELL") if command.len() > 1 && command[1..].iter().all(|word| !word.trim().is_empty()) => {}
        Some("NONE") | None => return None,
        _ => {
            app.row(
                Fate::Decide,
                input.path,
                at,
                what,
                "it begins with neither `CMD` nor `CMD-SHELL`: write it into the task definition",
            );
            return None;
        }
    }
    if holds_secret(&command) {
        app.row(
            Fate::Decide,
            input.path,
            at,
            what,
            "a credential stands in it: read it from a variable, and write the check into the task definition",
        );
        return None;
    }
    let mut is_cut = false;
    let mut time = |member: &str, least: u64, most: u64| {
        let asked = node.text_of(member).and_then(seconds)?;
        is_cut |= !(least..=most).contains(&asked);
        Some(asked.clamp(least, most))
    };
    let health = Health {
        interval: time("interval", 5, 300),
        timeout: time("timeout", 2, 60),
        start_period: time("start_period", 0, 300),
        retries: node.text_of("retries").and_then(|text| text.parse::<u64>().ok()).map(|retries| retries.clamp(1, 10)),
        command,
    };
    match is_cut {
        true => app.row(
            Fate::Translated,
            input.path,
            at,
            what,
            "ECS checks every 5 to 300 seconds, and waits 2 to 60 for an answer",
        ),
        false => app.row(Fate::Kept, input.path, at, what, ""),
    }
    if node.get("start_interval").is_some() {
        app.row(Fate::Dropped, input.path, at, format!("{service}: `start_interval`"), "ECS has one interval");
    }
    Some(health)
}

pub(super) fn depends_on(node: &Node) -> Vec<(String, &'static str)> {
    let of_map = node.entries().iter().map(|(key, on)| {
        let condition = match on.text_of("condition") {
            Some("service_healthy") => "HEALTHY",
            Some("service_completed_successfully") => "SUCCESS",
            _ => "START",
        };
        (key.text.clone(), condition)
    });
    node.texts().into_iter().map(|name| (name.to_owned(), "START")).chain(of_map).collect()
}

pub(super) fn deploy(input: &Input<'_>, app: &mut App, service: &str, node: &Node, read: &mut Read) {
    for (member, value) in node.entries() {
        let what = format!("{service}: `deploy.{}`", shown(&member.text));
        let mut row = |fate, why: &str| app.row(fate, input.path, member.place, what.clone(), why);
        match member.text.as_str() {
            "replicas" => row(
                Fate::Decide,
                &format!(
                    "the desired count is the service's on AWS: create it with {}",
                    value.text().unwrap_or_default()
                ),
            ),
            "resources" => {
                let limit = |name: &str| ["limits", "reservations"].iter().find_map(|of| value.get(of)?.text_of(name));
                let (cpu, memory) = (limit("cpus"), limit("memory"));
                read.cpu = cpu.and_then(cpu_units).unwrap_or(read.cpu);
                read.memory = memory.and_then(mebibytes).unwrap_or(read.memory);
                row(Fate::Translated, "the next size that Fargate has");
                if value.at(&["reservations", "devices"]).is_some() {
                    row(Fate::Decide, "Fargate has no GPUs: this service needs EC2 capacity");
                }
            }
            "restart_policy" => row(Fate::Dropped, "ECS replaces a task that stops"),
            "mode" if value.text() == Some("global") => {
                row(Fate::Decide, "Fargate has no machines to run one task on each of: how many are meant?")
            }
            "mode" => {}
            "update_config" | "rollback_config" => row(
                Fate::Dropped,
                "the deployment's settings are the service's on AWS, and its circuit breaker goes back",
            ),
            "placement" | "endpoint_mode" | "labels" => row(Fate::Dropped, "Swarm's own"),
            text if text.starts_with("x-") => {}
            _ => row(Fate::Dropped, "not known to this importer"),
        }
    }
}

pub(super) fn ulimits(input: &Input<'_>, app: &mut App, service: &str, node: &Node, container: &mut Container) {
    for (name, value) in node.entries() {
        let what = format!("{service}: ulimit `{}`", shown(&name.text));
        if name.text != "nofile" {
            app.row(Fate::Dropped, input.path, name.place, what, "on Fargate only `nofile` can be set");
            continue;
        }
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let both = match value.text() {
            Some(text) => number(Some(text)).map(|both| (both, both)),
            None => number(value.text_of("soft")).zip(number(value.text_of("hard"))),
        };
        // <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>
        match both.map(|(soft, hard)| (soft.min(1_048_576), hard.min(1_048_576))).filter(|(soft, hard)| soft <= hard) {
            Some(both) => {
                container.open_files = Some(both);
                app.row(Fate::Kept, input.path, name.place, what, "");
            }
            None => app.row(
                Fate::Decide,
                input.path,
                name.place,
                what,
                "it is no number: write it into the task definition",
            ),
        }
    }
}

pub(super) fn volumes(input: &Input<'_>, app: &mut App, service: &str, node: &Node) {
    for item in node.items() {
        let parts: Vec<&str> = item.text().unwrap_or_default().split(':').collect();
        let (source, target) = match (item.text(), parts.as_slice()) {
            (Some(_), [only]) => ("", *only),
            (Some(_), [source, target, ..]) => (*source, *target),
            _ => (item.text_of("source").unwrap_or_default(), item.text_of("target").unwrap_or_default()),
        };
        let what = format!(
            "{service}: volume `{}`",
            shown(&if source.is_empty() { target.to_owned() } else { format!("{source}:{target}") })
        );
        let is_bind = source.starts_with(['.', '/', '~', '$']) || item.text_of("type") == Some("bind");
        let (fate, why) = match item.text_of("type") {
            Some("tmpfs") => {
                (Fate::Dropped, "Fargate has no tmpfs: a task has 20 GiB of its own for as long as it runs")
            }
            _ if source.is_empty() => (Fate::Dropped, "a task's own disk holds it for as long as the task runs"),
            _ if is_bind => {
                (Fate::Decide, "a Fargate task mounts nothing of a machine: what it needs to run goes into the image")
            }
            _ => (
                Fate::Decide,
                "what is to outlive a task needs EFS or S3: add the volume to the task definition, or leave it out",
            ),
        };
        app.row(fate, input.path, item.place, what, why);
    }
}
