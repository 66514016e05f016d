//! `fly.toml`: processes of one image.
//! <https://fly.io/docs/reference/configuration/>

use super::process::{arguments, built, dropped, health_path, release_line, service, start_command, variables};
use crate::Input;
use crate::app::{App, Container, Fate, Port, Refusal, Source, key, unused};
use crate::shell::argv_of_line;
use crate::size::{Size, mebibytes, seconds};
use crate::tree::{Key, Node, Place, shown};

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    let root = input.toml(app)?.root;
    app.name = Some(root.text_of("app").map_or(input.name.to_owned(), |name| key(name).to_ascii_lowercase()));
    let build = root.get("build");
    let of_build = |name: &str| build.and_then(|build| build.text_of(name));
    let image = match of_build("image") {
        Some(reference) => Source::Reference(reference.to_owned()),
        None => built(app, "app", ".", of_build("dockerfile")),
    };
    let args = arguments(input, app, build.and_then(|build| build.get("args")));
    let target = of_build("build-target").map(str::to_owned);
    for image in &mut app.images {
        image.args.clone_from(&args);
        image.target.clone_from(&target);
    }
    // `processes = []` of an old file names none.
    let processes = root.get("processes").map(Node::entries).unwrap_or_default();
    let mut names: Vec<(String, Place, Option<&str>)> =
        processes.iter().map(|(name, command)| (name.text.clone(), name.place, command.text())).collect();
    if names.is_empty() {
        names.push(("app".to_owned(), Place::default(), None));
    }
    let mut common = Container::default();
    variables(input, app, "all", root.get("env"), &mut common);
    let stop = root.get("kill_timeout").and_then(Node::text).and_then(seconds).map(|seconds| seconds.clamp(2, 120));
    for (name, at, command) in names {
        let taken: Vec<_> = app.services.iter().map(|service| service.key.clone()).collect();
        let key = unused(&name, &taken);
        let mut made = service(&key, image.clone());
        made.containers[0].environment.clone_from(&common.environment);
        made.containers[0].secrets.clone_from(&common.secrets);
        made.containers[0].stop_timeout = stop;
        if let Some(command) = command {
            made.containers[0].command = start_command(app, input, &key, at, argv_of_line(command));
        }
        for (at, node) in listeners(&root) {
            let is_its =
                node.get("processes").is_none_or(|of| of.items().is_empty() || of.texts().contains(&name.as_str()));
            let port = node.text_of("internal_port").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
            let Some(number) = port.filter(|_| is_its) else { continue };
            let port = Port { number, is_udp: node.text_of("protocol") == Some("udp") };
            if !made.containers[0].ports.contains(&port) {
                made.containers[0].ports.push(port);
            }
            let why = format!(
                "it was reachable from outside: if it is to be, give the service a target group (type `ip`, port {number})"
            );
            app.row(Fate::Decide, input.path, at, format!("{key}: port `{number}`"), why);
            if let Some((at, path)) = check_path(node) {
                health_path(app, input, &mut made, at, &path);
            }
        }
        made.size = size(&root, &name);
        app.row(Fate::Kept, input.path, at, format!("process `{name}`"), "an ECS service");
        app.services.push(made);
    }
    let host = app.services.first().map(|service| service.key.clone()).unwrap_or_default();
    for (member, value) in root.entries() {
        top_level(input, app, &host, member, value);
    }
    let why = "they are in no file: `fly secrets list` names them; they go under `secrets` of the task definition";
    app.row(Fate::Decide, "", Place::default(), "secrets of the application at Fly", why);
    Ok(())
}

fn top_level(input: &Input<'_>, app: &mut App, host: &str, member: &Key, value: &Node) {
    match member.text.as_str() {
        "app" | "build" | "env" | "processes" | "http_service" | "services" | "kill_timeout" | "vm" | "checks" => {}
        "deploy" => {
            for (inner, value) in value.entries() {
                match inner.text.as_str() {
                    "release_command" => release_line(app, input, host, value, "`deploy.release_command`"),
                    _ => dropped(app, input, inner, "the deployment's settings are the service's on AWS"),
                }
            }
        }
        "mounts" => {
            let why =
                "what is to outlive a task needs EFS or S3: add the volume to the task definition, or leave it out";
            app.row(Fate::Decide, input.path, member.place, "`mounts`", why);
        }
        "kill_signal" if value.text() == Some("SIGTERM") => {}
        "kill_signal" => {
            let why = "ECS sends the image's own signal: write `STOPSIGNAL` into the Dockerfile";
            app.row(
                Fate::Decide,
                input.path,
                member.place,
                format!("`kill_signal` {}", shown(value.text().unwrap_or_default())),
                why,
            );
        }
        "statics" => app.row(
            Fate::Decide,
            input.path,
            member.place,
            "`statics`",
            "static files belong into S3 and CloudFront, or are served by the application",
        ),
        "primary_region" | "metrics" | "experimental" | "console_command" | "swap_size_mb" | "restart" | "files"
        | "org" => {
            dropped(app, input, member, "Fly's own");
        }
        _ => dropped(app, input, member, ""),
    }
}

/// `[http_service]` and `[[services]]`.
fn listeners(root: &Node) -> Vec<(Place, &Node)> {
    let http = root.get("http_service").map(|node| (node.place, node));
    let services = root.get("services").map(Node::items).unwrap_or_default();
    http.into_iter().chain(services.iter().map(|node| (node.place, node))).collect()
}

fn check_path(node: &Node) -> Option<(Place, String)> {
    let checks = ["checks", "http_checks"].iter().filter_map(|name| node.get(name)).flat_map(Node::items);
    checks.filter_map(|check| check.get("path")).find_map(|path| Some((path.place, path.text()?.to_owned())))
}

fn size(root: &Node, process: &str) -> Size {
    let vms = root.get("vm").map(Node::items).unwrap_or_default();
    let is_its = |vm: &&Node| vm.get("processes").is_none_or(|of| of.texts().contains(&process));
    let Some(vm) = vms.iter().find(is_its) else { return Size::SMALLEST };
    let memory = vm.text_of("memory").and_then(mebibytes).or_else(|| vm.text_of("memory_mb")?.parse().ok());
    let (cpus, of_size) = match vm.text_of("size").unwrap_or_default() {
        "shared-cpu-2x" => (512, 512),
        "shared-cpu-4x" => (1024, 1024),
        "shared-cpu-8x" => (2048, 2048),
        "performance-1x" => (1024, 2048),
        "performance-2x" => (2048, 4096),
        "performance-4x" => (4096, 8192),
        "performance-8x" => (8192, 16384),
        _ => (256, 256),
    };
    let cpus = match (vm.text_of("cpus").and_then(|cpus| cpus.parse::<u64>().ok()), vm.text_of("cpu_kind")) {
        (Some(cpus), Some("performance")) => cpus.saturating_mul(1024),
        (Some(cpus), _) => cpus.saturating_mul(256),
        (None, _) => cpus,
    };
    Size::at_least(cpus, memory.unwrap_or(of_size))
}
