//! `compose.yaml`: services that are ours become ECS services, those of one network become one task, databases become
//! proposals, and what runs once becomes a release command.
//! <https://docs.docker.com/reference/compose-file/>

mod members;
mod service;

use crate::Input;
use crate::app::{App, Beside, Container, Fate, Refusal, Release, ReleaseCommand, Service, Source, key, unused};
use crate::databases::{self, Kind};
use crate::interpolate::{Variables, env_file, interpolate};
use crate::settings::{REHEARSED, names_host, with_host};
use crate::shell::migrates;
use crate::sources::process::start_command;
use crate::tree::{Key, Node, Origin, Place, Value};
use std::collections::BTreeMap;

/// `include` and `extends` lead from one file to the next.
const MOST_FILES: usize = 16;

/// What another file says of the services.
#[derive(Default)]
pub(crate) struct Extra {
    /// CPU units and MiB, by the service's name.
    pub sizes: BTreeMap<String, (u64, u64)>,
    /// Service, variable, and where its value is.
    pub secrets: Vec<(String, String, String)>,
    /// Services whose end does not end the task.
    pub optional: Vec<String>,
    /// All services are the containers of one task.
    pub is_one_task: bool,
}

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    read_with(input, app, &Extra::default())
}

pub(crate) fn read_with(input: &Input<'_>, app: &mut App, extra: &Extra) -> Result<(), Refusal> {
    let mut root = input.yaml(app)?.root;
    let mut variables = Variables::new();
    if let Some(text) = input.folder.text(&input.beside(".env")) {
        app.files.push(input.beside(".env"));
        variables.extend(env_file(&text));
    }
    interpolate(&mut root, &variables);
    app.name = Some(root.text_of("name").map_or(input.name.to_owned(), |name| key(name).to_ascii_lowercase()));
    let mut services = root.get("services").map(|node| node.entries().to_vec()).unwrap_or_default();
    if services.is_empty() && !root.entries().iter().any(|(key, _)| key.text == "services" || key.text == "include") {
        // The first version of the format had no `services`.
        services = root
            .entries()
            .iter()
            .filter(|(_, node)| node.get("image").or(node.get("build")).is_some())
            .cloned()
            .collect();
    }
    include(input, app, &root, &variables, &mut services);
    let services: Vec<_> = services
        .iter()
        .map(|(key, node)| (key.clone(), extended(input, app, (key, node), &services, &variables, 0)))
        .collect();
    top_level(input, app, &root);
    let completed = completed_before_others(&services);
    let mut kept = vec![];
    let mut once = vec![];
    let mut gone: Vec<String> = vec![];
    for (key, node) in &services {
        match what_is(input, app, key, node, &completed) {
            Some(Part::Service) => kept.push((key, node)),
            Some(Part::Once) => once.push((key, node)),
            Some(Part::Database) => {
                gone.push(key.text.clone());
                app.beside.extend(beside(input, key, node));
            }
            None => {}
        }
    }
    let mut reads: Vec<Read> = kept.iter().map(|(key, node)| service::read(input, app, key, node)).collect();
    let first = reads.first().map(|read| read.name.clone()).filter(|_| extra.is_one_task);
    for read in &mut reads {
        read.shares = first.clone().filter(|first| *first != read.name).or(read.shares.take());
        read.container.is_optional = extra.optional.contains(&read.name);
        if let Some((cpu, memory)) = extra.sizes.get(&read.name) {
            (read.cpu, read.memory) = (*cpu, *memory);
        }
        for (_, variable, from) in extra.secrets.iter().filter(|(service, ..)| *service == read.name) {
            read.container.environment.retain(|(known, _)| known != variable);
            read.container.secrets.retain(|(known, _)| known != variable);
            read.container.secrets.push((variable.clone(), from.clone()));
        }
    }
    let names: Vec<_> = services.iter().map(|(key, _)| key.text.clone()).collect();
    hosts(input, app, &mut reads, &gone, &names);
    tasks(input, app, reads);
    for (key, node) in once {
        run_once(input, app, key, node);
    }
    Ok(())
}

/// A service as it was read.
struct Read {
    name: String,
    place: Place,
    container: Container,
    cpu: u64,
    memory: u64,
    is_arm: bool,
    /// The service whose network it lives in.
    shares: Option<String>,
    /// Service, and `dependsOn`'s word for when.
    depends_on: Vec<(String, &'static str)>,
}

impl Read {
    /// The service whose task it is part of.
    fn root(&self, names: &[String]) -> String {
        self.shares.clone().filter(|other| names.contains(other)).unwrap_or_else(|| self.name.clone())
    }
}

/// What a service of the file is for us.
enum Part {
    Service,
    /// Runs to its end, before others start.
    Once,
    Database,
}

fn what_is(input: &Input<'_>, app: &mut App, key: &Key, node: &Node, completed: &[String]) -> Option<Part> {
    let name = &key.text;
    let mut row = |fate, what: String, why: &str| app.row(fate, input.path, key.place, what, why);
    let has_build = node.get("build").is_some_and(|build| !build.is_null());
    let image = node.text_of("image");
    let provider = node.at(&["provider", "type"]).and_then(Node::text);
    if image.is_none() && !has_build {
        match provider {
            Some(kind) => row(
                Fate::Decide,
                format!("service `{name}`"),
                &format!("a provider (`{kind}`) makes it: create what it stands for on AWS"),
            ),
            None => row(
                Fate::Dropped,
                format!("service `{name}`"),
                "it has neither `image` nor `build`: a template for others",
            ),
        }
        return None;
    }
    let kind = image.and_then(databases::of_image);
    if let Some(Kind::Managed { product }) = kind {
        let volumes = node.get("volumes").map_or(0, |volumes| volumes.items().len());
        let data = if volumes > 0 { "; move its data before the first deploy" } else { "" };
        row(
            Fate::Decide,
            format!("service `{name}` ({})", image.unwrap_or_default()),
            &format!(
                "data does not live in a container: create {product} in your infrastructure code{data}. A rehearsal has an empty one"
            ),
        );
        return Some(Part::Database);
    }
    let profiles = node.get("profiles").map(Node::texts).unwrap_or_default();
    if !profiles.is_empty() {
        row(
            Fate::Dropped,
            format!("service `{name}`"),
            &format!("it is of the profile `{}`, which is not started by default", profiles.join("`, `")),
        );
        return None;
    }
    if let Some(Kind::Tool) = kind {
        row(Fate::Dropped, format!("service `{name}`"), "a tool of a developer's machine");
        return None;
    }
    if node.is_truthy("privileged") || uses_docker(node) {
        row(
            Fate::Decide,
            format!("service `{name}`"),
            "it needs the host (`privileged` or the Docker socket), and a Fargate task has none: leave it out, or run it on a machine",
        );
        return None;
    }
    let never_again = matches!(node.text_of("restart"), Some("no" | "false"));
    let is_named_so = migrates(name)
        || ["seed", "init", "setup", "createbuckets", "bootstrap"].contains(&name.to_ascii_lowercase().as_str());
    let has_ports = node.get("ports").is_some_and(|ports| !ports.items().is_empty());
    let has_command = node.get("command").is_some_and(|command| !command.is_null());
    let is_once = !has_ports && (completed.contains(name) || never_again || (is_named_so && has_command));
    Some(if is_once { Part::Once } else { Part::Service })
}

fn uses_docker(node: &Node) -> bool {
    node.get("volumes").is_some_and(|volumes| {
        volumes.items().iter().any(|volume| {
            volume.text().or_else(|| volume.text_of("source")).is_some_and(|text| text.contains("docker.sock"))
        })
    })
}

/// A database as a rehearsal has it: its image, its settings, and a password of rehearsals.
fn beside(input: &Input<'_>, key: &Key, node: &Node) -> Option<Beside> {
    let is_plain = |text: &str, others: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c));
    let image = node.text_of("image").filter(|image| is_plain(image, "./:@_-"))?;
    let name = &key.text;
    if !is_plain(name, "-_") || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || name.len() > 60 {
        return None;
    }
    let mut apart = App::default();
    let read = service::read(input, &mut apart, key, node).container;
    let mut environment = read.environment;
    for (variable, _) in read.secrets {
        let (variable, value) = match variable.as_str() {
            // How it is asked for a password, and no password.
            "POSTGRES_HOST_AUTH_METHOD" => (variable, "trust"),
            _ => (variable.strip_suffix("_FILE").unwrap_or(&variable).to_owned(), REHEARSED),
        };
        environment.push((variable, value.to_owned()));
    }
    let words = node.get("command").map(Node::texts).unwrap_or_default().join(" ");
    let command = match words.contains("--requirepass") {
        true => ["redis-server", "--requirepass", REHEARSED].map(str::to_owned).to_vec(),
        false => read.command,
    };
    Some(Beside { name: name.clone(), image: image.to_owned(), command, environment })
}

/// What others wait for until it has ended.
fn completed_before_others(services: &[(Key, Node)]) -> Vec<String> {
    let conditions = services.iter().filter_map(|(_, node)| node.get("depends_on")).flat_map(Node::entries);
    conditions
        .filter(|(_, on)| on.text_of("condition") == Some("service_completed_successfully"))
        .map(|(key, _)| key.text.clone())
        .collect()
}

fn include(input: &Input<'_>, app: &mut App, root: &Node, variables: &Variables, services: &mut Vec<(Key, Node)>) {
    let Some(included) = root.get("include") else { return };
    for item in included.items().iter().take(MOST_FILES) {
        let paths = match item.text() {
            Some(path) => vec![path],
            None => item.get("path").map(Node::texts).unwrap_or_default(),
        };
        for path in paths {
            let file = input.beside(path);
            match other_file(input, app, &file, variables) {
                Some(other) => {
                    for (key, node) in other.get("services").map(Node::entries).unwrap_or_default() {
                        if !services.iter().any(|(known, _)| known.text == key.text) {
                            services.push((key.clone(), node.clone()));
                        }
                    }
                    app.row(Fate::Kept, input.path, item.place, format!("include `{path}`"), "");
                    if other.get("include").is_some() {
                        app.row(
                            Fate::Dropped,
                            &file,
                            Place::default(),
                            "include",
                            "an included file's own includes are not read",
                        );
                    }
                }
                None => app.row(
                    Fate::Decide,
                    input.path,
                    item.place,
                    format!("include `{path}`"),
                    "it cannot be read: put its services into this file",
                ),
            }
        }
    }
}

fn other_file(input: &Input<'_>, app: &mut App, path: &str, variables: &Variables) -> Option<Node> {
    let mut root = crate::yaml::parse(&input.folder.text(path)?).ok()?.root;
    interpolate(&mut root, variables);
    if !app.files.iter().any(|file| file == path) {
        app.files.push(path.to_owned());
    }
    Some(root)
}

/// A service with what it extends.
fn extended(
    input: &Input<'_>,
    app: &mut App,
    (key, node): (&Key, &Node),
    services: &[(Key, Node)],
    variables: &Variables,
    depth: usize,
) -> Node {
    let Some(extends) = node.get("extends") else { return node.clone() };
    let file = extends.text_of("file");
    let name = extends.text().or_else(|| extends.text_of("service")).unwrap_or_default();
    let path = file.map(|file| input.beside(file));
    let others = match &path {
        None => services.to_vec(),
        Some(path) => match other_file(input, app, path, variables) {
            Some(root) => root.get("services").map(Node::entries).unwrap_or_default().to_vec(),
            None => vec![],
        },
    };
    let base = others.iter().find(|(known, _)| known.text == name && (file.is_some() || known.text != key.text));
    let Some((base_key, base)) = base.filter(|_| depth < MOST_FILES) else {
        let what = format!("service `{}` extends `{name}`", key.text);
        app.row(Fate::Decide, input.path, extends.place, what, "it cannot be found: write out what it says there");
        return node.clone();
    };
    let inner = Input { path: path.as_deref().unwrap_or(input.path), ..Input { ..*input } };
    let mut merged = extended(&inner, app, (base_key, base), &others, variables, depth + 1);
    // What a service waits for is not inherited.
    if let Value::Map(entries) = &mut merged.value {
        entries.retain(|(key, _)| key.text != "depends_on" && key.text != "extends");
    }
    merged.overlay(node.clone());
    merged
}

fn top_level(input: &Input<'_>, app: &mut App, root: &Node) {
    for (key, node) in root.entries() {
        let names = || node.entries().iter().map(|(key, _)| format!("`{}`", key.text)).collect::<Vec<_>>().join(", ");
        let (fate, why) = match key.text.as_str() {
            "services" | "include" | "name" => continue,
            "version" => (Fate::Dropped, "compose itself takes no notice of it"),
            "volumes" => continue,
            "networks" => (Fate::Dropped, "tasks reach each other in the VPC, as their security groups allow"),
            "secrets" | "configs" => continue,
            text if text.starts_with("x-") => continue,
            _ if node.get("image").or(node.get("build")).is_some() => continue,
            _ => (Fate::Dropped, "not known to this importer"),
        };
        let names = if node.is_map() && !node.entries().is_empty() { format!(" {}", names()) } else { String::new() };
        app.row(fate, input.path, key.place, format!("`{}`{names}", crate::tree::shown(&key.text)), why);
    }
}

/// Hosts in variables: of the same task it is localhost, of a database the value is in a parameter, of another service it
/// is Service Connect.
fn hosts(input: &Input<'_>, app: &mut App, reads: &mut [Read], gone: &[String], names: &[String]) {
    let roots: BTreeMap<String, String> = reads.iter().map(|read| (read.name.clone(), read.root(names))).collect();
    for read in reads.iter_mut() {
        let own = roots.get(&read.name).cloned().unwrap_or_default();
        let mut container = std::mem::take(&mut read.container);
        for (name, value) in container.environment.clone() {
            if let Some(database) = gone.iter().find(|host| names_host(&value, host)) {
                let why = format!("it names `{database}`, which is no container on AWS");
                let variable = crate::app::Variable {
                    file: input.path,
                    place: read.place,
                    name: &name,
                    value: &value,
                    origin: Origin::Document,
                };
                app.secret(&read.name, &mut container, variable, &why);
                continue;
            }
            let Some(other) = names.iter().filter(|other| **other != read.name).find(|other| names_host(&value, other))
            else {
                continue;
            };
            let what = format!("{}: variable `{name}` names `{other}`", read.name);
            match roots.get(other) {
                Some(root) if *root == own => {
                    let value = with_host(&value, other, "localhost");
                    container.environment.iter_mut().filter(|(known, _)| *known == name).for_each(|(_, old)| old.clone_from(&value));
                    app.row(Fate::Translated, input.path, read.place, what, "containers of one task reach each other at localhost");
                }
                _ => app.row(
                    Fate::Decide,
                    input.path,
                    read.place,
                    what,
                    format!("give the services ECS Service Connect with the name `{other}`, or write the address that it has on AWS"),
                ),
            }
        }
        read.container = container;
    }
}

/// Services of one network are the containers of one task.
fn tasks(input: &Input<'_>, app: &mut App, reads: Vec<Read>) {
    let names: Vec<_> = reads.iter().map(|read| read.name.clone()).collect();
    let roots: Vec<_> = reads.iter().map(|read| read.root(&names)).collect();
    let mut services: Vec<(String, Vec<Read>)> = vec![];
    for (read, root) in reads.into_iter().zip(roots) {
        match services.iter_mut().find(|(known, _)| *known == root) {
            Some((_, members)) => members.push(read),
            None => services.push((root, vec![read])),
        }
    }
    for (root, members) in services {
        let taken: Vec<_> = app.services.iter().map(|service| service.key.clone()).collect();
        let service_key = unused(&root, &taken);
        if members.len() > 1 {
            let all: Vec<_> = members.iter().map(|read| format!("`{}`", read.name)).collect();
            let what = format!("services {}", all.join(", "));
            app.row(
                Fate::Translated,
                input.path,
                members[0].place,
                what,
                "they share one network: they are the containers of one task",
            );
        }
        let own = |name: &str| members.iter().any(|read| read.name == name);
        let depends: Vec<Vec<(String, &'static str)>> = members
            .iter()
            .map(|read| {
                read.depends_on.iter().filter(|(name, _)| own(name)).map(|(name, on)| (key(name), *on)).collect()
            })
            .collect();
        let (mut cpu, mut memory) = (0_u64, 0_u64);
        let mut containers: Vec<Container> = vec![];
        let mut is_arm = false;
        for (read, depends_on) in members.into_iter().zip(depends) {
            cpu = cpu.saturating_add(read.cpu);
            memory = memory.saturating_add(read.memory);
            is_arm |= read.is_arm;
            let command = match read.container.command.is_empty() {
                true => vec![],
                false => start_command(app, input, &service_key, read.place, read.container.command.clone()),
            };
            let taken: Vec<_> = containers.iter().map(|container| container.name.clone()).collect();
            let name = unused(&read.name, &taken);
            let mut container = Container { name, command, depends_on, ..read.container };
            let mapped: Vec<_> = containers.iter().flat_map(|container| container.ports.clone()).collect();
            container.ports.retain(|port| !mapped.contains(port));
            containers.push(container);
        }
        let size = crate::size::Size::at_least(cpu, memory);
        app.services.push(Service { key: service_key, containers, size, is_arm, health_path: None });
    }
}

/// A service that runs to its end is a release command, in the image that it shares with a service.
fn run_once(input: &Input<'_>, app: &mut App, key: &Key, node: &Node) {
    let before = app.images.len();
    let read = service::read(input, app, key, node);
    let name = &read.name;
    let repository = |source: &Source| match source {
        Source::Built(key) => format!("built {key}"),
        Source::Reference(text) => text
            .rsplit_once(':')
            .filter(|(_, tag)| !tag.contains('/'))
            .map_or(text.clone(), |(name, _)| name.to_owned()),
    };
    let image = repository(&read.container.image);
    let host = app.services.iter().find_map(|service| {
        let container = service.containers.iter().find(|container| repository(&container.image) == image)?;
        Some((service.key.clone(), (service.containers.len() > 1).then(|| container.name.clone())))
    });
    let argv = [read.container.entry_point.as_slice(), read.container.command.as_slice()].concat();
    let what = format!("service `{name}`, which runs to its end");
    match host {
        Some((service, container)) if !argv.is_empty() => {
            let names: Vec<_> = app.release.iter().map(|release| release.name.clone()).collect();
            let release = Release {
                name: unused(name, &names),
                service,
                container,
                command: match crate::shell::script(&argv) {
                    Some(script) if argv.len() == 3 => ReleaseCommand::Shell(script.to_owned()),
                    _ => ReleaseCommand::Argv(argv),
                },
            };
            app.row(
                Fate::Translated,
                input.path,
                key.place,
                what,
                "a release command: once a release, before any service moves",
            );
            app.release.push(release);
        }
        _ => {
            app.images.truncate(before);
            let why = match argv.is_empty() {
                true => "it has no `command`: write what its image runs as a release command",
                false => {
                    "no service has its image: run it by hand once, or give a service that image and write a release command"
                }
            };
            app.row(Fate::Decide, input.path, key.place, what, why);
        }
    }
}

impl Node {
    fn is_truthy(&self, key: &str) -> bool {
        self.get(key).is_some_and(Node::is_true)
    }
}
