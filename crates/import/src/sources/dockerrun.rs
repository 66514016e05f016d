//! `Dockerrun.aws.json` of Elastic Beanstalk: one image (version 1), or the containers of one task (version 2).
//! <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/create_deploy_docker_v2config.html>

use super::process::{dropped, service, variables};
use crate::Input;
use crate::app::{App, Container, Fate, Port, Refusal, Service, Source, Variable, unused};
use crate::settings::{names_host, with_host};
use crate::size::Size;
use crate::tree::{Node, Origin, Place, shown};

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    let root = input.yaml(app)?.root;
    app.name = Some(input.name.to_owned());
    for (key, _) in root.entries() {
        misspelt(input, key.place, &key.text, &TOP)?;
    }
    match root.get("containerDefinitions") {
        Some(containers) => version_2(input, app, &root, containers),
        None => version_1(input, app, &root),
    }
}

const TOP: [&str; 12] = [
    "AWSEBDockerrunVersion",
    "Image",
    "Ports",
    "Volumes",
    "Logging",
    "Entrypoint",
    "Command",
    "Authentication",
    "containerDefinitions",
    "volumes",
    "authentication",
    "executionRoleArn",
];

const CONTAINER: [&str; 16] = [
    "name",
    "image",
    "essential",
    "memory",
    "memoryReservation",
    "cpu",
    "environment",
    "command",
    "entryPoint",
    "portMappings",
    "mountPoints",
    "links",
    "hostname",
    "secrets",
    "user",
    "workingDirectory",
];

/// Elastic Beanstalk took no notice of a name that it did not know. What was meant is asked.
fn misspelt(input: &Input<'_>, at: Place, name: &str, known: &[&str]) -> Result<(), Refusal> {
    if known.contains(&name) {
        return Ok(());
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let near = known.iter().find(|candidate| distance(&plain(name), &plain(candidate)) <= 2);
    match near {
        Some(near) => Err(input.refusal(
            at,
            format!("`{}` is not a name of this file", shown(name)),
            format!("did you mean `{near}`?"),
        )),
        None => Ok(()),
    }
}

/// Letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

fn version_1(input: &Input<'_>, app: &mut App, root: &Node) -> Result<(), Refusal> {
    let image = match root.at(&["Image", "Name"]).and_then(Node::text) {
        Some(reference) => {
            let at = root.get("Image").map(|node| node.place).unwrap_or_default();
            app.row(
                Fate::Kept,
                input.path,
                at,
                format!("image `{}`", shown(reference)),
                "it is not built here: a deploy changes it when the task definition does",
            );
            if !reference.contains(['/', ':', '.']) && reference.chars().any(|c| c.is_ascii_uppercase()) {
                app.row(Fate::Decide, input.path, at, format!("image `{}`", shown(reference)), "a placeholder, it seems, that something replaced: write the image that is meant into the task definition");
            }
            Source::Reference(reference.to_owned())
        }
        None if input.folder.text("Dockerfile").is_some() => super::process::built(app, "app", ".", None),
        None => {
            return Err(input.refusal(
                Place::default(),
                "it names no image, and there is no `Dockerfile`",
                "name the image under `Image`, or write a `Dockerfile`",
            ));
        }
    };
    let mut web = service("web", image);
    let container = &mut web.containers[0];
    for port in root.get("Ports").map(Node::items).unwrap_or_default() {
        for (key, _) in port.entries() {
            misspelt(input, key.place, &key.text, &["ContainerPort", "HostPort"])?;
        }
        add_port(input, app, container, port.text_of("ContainerPort"), port.place);
    }
    for (key, value) in root.entries() {
        let words = || {
            value.texts().into_iter().flat_map(|text| crate::shell::words(text).unwrap_or_default()).collect::<Vec<_>>()
        };
        match key.text.as_str() {
            "Command" => container.command = app.command(input.path, key.place, "`Command`", words()),
            "Entrypoint" => container.entry_point = app.command(input.path, key.place, "`Entrypoint`", words()),
            "Volumes" => app.row(
                Fate::Decide,
                input.path,
                key.place,
                "`Volumes`",
                "a Fargate task mounts nothing of a machine: what is to outlive a task needs EFS or S3",
            ),
            "Logging" => dropped(
                app,
                input,
                key,
                "what the application writes to a file goes to standard output here, and to CloudWatch",
            ),
            "Authentication" | "authentication" => app.row(
                Fate::Decide,
                input.path,
                key.place,
                "`Authentication`",
                "a private registry's login is a secret: `repositoryCredentials` in the task definition",
            ),
            "AWSEBDockerrunVersion" | "Image" | "Ports" => {}
            _ => dropped(app, input, key, ""),
        }
    }
    app.services.push(web);
    Ok(())
}

fn add_port(input: &Input<'_>, app: &mut App, container: &mut Container, text: Option<&str>, at: Place) {
    let text = text.unwrap_or_default();
    let what = format!("{}: port `{}`", container.name, shown(text));
    match text.trim().parse::<u16>().ok().filter(|port| *port > 0) {
        Some(number) => {
            container.ports.push(Port { number, is_udp: false });
            let why = format!(
                "it was reachable from outside: if it is to be, give the service a target group (type `ip`, port {number})"
            );
            app.row(Fate::Decide, input.path, at, what, why);
        }
        None => app.row(Fate::Decide, input.path, at, what, "it is no port: write it into the task definition"),
    }
}

fn version_2(input: &Input<'_>, app: &mut App, root: &Node, definitions: &Node) -> Result<(), Refusal> {
    let mut containers: Vec<Container> = vec![];
    let mut hosts: Vec<String> = vec![];
    let (mut cpu, mut memory) = (0_u64, 0_u64);
    for node in definitions.items() {
        for (key, _) in node.entries() {
            misspelt(input, key.place, &key.text, &CONTAINER)?;
        }
        let Some(image) = node.text_of("image") else {
            return Err(input.refusal(node.place, "a container has no `image`", "name the image that it runs"));
        };
        let given = node.text_of("name").unwrap_or("app");
        let taken: Vec<_> = containers.iter().map(|container| container.name.clone()).collect();
        let mut container = Container {
            name: unused(given, &taken),
            image: Source::Reference(image.to_owned()),
            ..Container::default()
        };
        app.row(
            Fate::Kept,
            input.path,
            node.place,
            format!("container `{}`", shown(given)),
            "of one task; its image is not built here",
        );
        container.is_optional = node.text_of("essential") == Some("false");
        hosts.push(given.to_owned());
        hosts.extend(node.text_of("hostname").map(str::to_owned));
        for mapping in node.get("portMappings").map(Node::items).unwrap_or_default() {
            let mapped = containers
                .iter()
                .flat_map(|container| &container.ports)
                .any(|port| mapping.text_of("containerPort") == Some(port.number.to_string().as_str()));
            match mapped {
                true => app.row(
                    Fate::Decide,
                    input.path,
                    mapping.place,
                    format!("{given}: port `{}`", shown(mapping.text_of("containerPort").unwrap_or_default())),
                    "another container of the task listens there: they share one network",
                ),
                false => add_port(input, app, &mut container, mapping.text_of("containerPort"), mapping.place),
            }
        }
        let number = |name: &str| node.text_of(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        cpu = cpu.saturating_add(number("cpu"));
        memory = memory.saturating_add(number("memory").max(number("memoryReservation")));
        for (key, value) in node.entries() {
            member(input, app, given, &mut container, key, value);
        }
        containers.push(container);
    }
    if containers.is_empty() {
        return Err(input.refusal(definitions.place, "`containerDefinitions` is empty", "list the containers"));
    }
    for container in &mut containers {
        for (_, value) in &mut container.environment {
            if let Some(host) = hosts.iter().find(|host| names_host(value, host)) {
                *value = with_host(value, host, "localhost");
            }
        }
    }
    for (key, _) in root.entries() {
        match key.text.as_str() {
            "AWSEBDockerrunVersion" | "containerDefinitions" => {}
            "volumes" => app.row(
                Fate::Decide,
                input.path,
                key.place,
                "`volumes`",
                "a Fargate task mounts nothing of a machine: what is to outlive a task needs EFS or S3",
            ),
            "authentication" => app.row(
                Fate::Decide,
                input.path,
                key.place,
                "`authentication`",
                "a private registry's login is a secret: `repositoryCredentials` in the task definition",
            ),
            _ => dropped(app, input, key, ""),
        }
    }
    let name = app.name().to_owned();
    app.services.push(Service {
        key: name,
        containers,
        size: Size::at_least(cpu, memory),
        is_arm: false,
        health_path: None,
    });
    Ok(())
}

fn member(
    input: &Input<'_>,
    app: &mut App,
    given: &str,
    container: &mut Container,
    key: &crate::tree::Key,
    value: &Node,
) {
    let what = format!("{given}: `{}`", shown(&key.text));
    let texts = || value.texts().into_iter().map(str::to_owned).collect::<Vec<_>>();
    match key.text.as_str() {
        "name" | "image" | "essential" | "portMappings" | "memory" | "memoryReservation" | "cpu" => {}
        "command" => container.command = app.command(input.path, key.place, &what, texts()),
        "entryPoint" => container.entry_point = app.command(input.path, key.place, &what, texts()),
        "user" => container.user = value.text().map(str::to_owned),
        "workingDirectory" => container.working_directory = value.text().map(str::to_owned),
        "environment" if value.is_map() => variables(input, app, given, Some(value), container),
        "environment" => {
            for item in value.items() {
                let scalar = item.get("value").and_then(Node::as_scalar).cloned();
                let origin = if scalar.is_none() { Origin::Unset } else { Origin::Document };
                let name = item.text_of("name").unwrap_or_default();
                let value = scalar.unwrap_or_default().text;
                app.variable(
                    given,
                    container,
                    Variable { file: input.path, place: item.place, name, value: &value, origin },
                );
            }
        }
        "secrets" => {
            for item in value.items() {
                if let (Some(name), Some(from)) = (item.text_of("name"), item.text_of("valueFrom")) {
                    container.secrets.push((name.to_owned(), from.to_owned()));
                }
            }
            app.row(Fate::Kept, input.path, key.place, what, "");
        }
        "links" => app.row(
            Fate::Translated,
            input.path,
            key.place,
            what,
            "containers of one task reach each other at localhost: change the addresses in their own configuration",
        ),
        "hostname" => app.row(Fate::Dropped, input.path, key.place, what, "a task in `awsvpc` has a name of its own"),
        "mountPoints" => app.row(
            Fate::Decide,
            input.path,
            key.place,
            what,
            "a Fargate task mounts nothing of a machine: what it needs to run goes into the image",
        ),
        _ => app.row(Fate::Dropped, input.path, key.place, what, "not known to this importer"),
    }
}
