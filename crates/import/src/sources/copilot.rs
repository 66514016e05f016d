//! The manifests of AWS Copilot: `copilot/SERVICE/manifest.yml`.
//! <https://aws.github.io/copilot-cli/docs/manifest/overview/>

use super::process::{arguments, desired_count, health_path, service, variables};
use crate::Input;
use crate::app::{App, Container, Fate, Health, Image, Port, Refusal, Service, Source, key, unused};
use crate::settings::holds_secret;
use crate::shell::words;
use crate::size::{Size, seconds};
use crate::tree::{Key, Node, Place, shown};

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    // `copilot/SERVICE/manifest.yml`, wherever that folder is.
    let base = input.path.rsplitn(3, '/').nth(2).unwrap_or("copilot");
    let workspace = input.folder.text(&format!("{base}/.workspace")).and_then(|text| crate::yaml::parse(&text).ok());
    let named = workspace.as_ref().and_then(|document| document.root.text_of("application"));
    app.name = Some(named.map_or(input.name.to_owned(), |name| key(name).to_ascii_lowercase()));
    let beside = input.folder.folders(base).into_iter().map(|folder| format!("{base}/{folder}/manifest.yml"));
    let mut paths: Vec<_> = beside.filter(|path| input.folder.text(path).is_some()).collect();
    if !paths.iter().any(|path| path == input.path) {
        paths = vec![input.path.to_owned()];
    }
    for path in paths {
        manifest(&Input { path: &path, ..Input { ..*input } }, app)?;
    }
    let why = "its services live in CloudFormation stacks: do not run `copilot svc deploy` beside this, and keep the stacks until the \
               services are owned by your own infrastructure code";
    app.row(Fate::Decide, "", Place::default(), "AWS Copilot", why);
    Ok(())
}

fn manifest(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    let root = input.yaml(app)?.root;
    let folder = input.path.rsplit('/').nth(1).unwrap_or("web");
    let given = root.text_of("name").unwrap_or(folder).to_owned();
    let Some(kind) = root.text_of("type") else {
        let what = "it has no `type`: no manifest of Copilot's";
        return Err(input.refusal(Place::default(), what, "name another file with `--from`"));
    };
    let what = format!("`{given}` ({})", shown(kind));
    match kind {
        "Scheduled Job" => {
            app.row(
                Fate::Decide,
                input.path,
                root.place,
                what,
                "a schedule belongs to EventBridge Scheduler, which can run a task of a service's definition",
            );
            return Ok(());
        }
        "Static Site" => {
            app.row(Fate::Decide, input.path, root.place, what, "static files belong into S3 and CloudFront");
            return Ok(());
        }
        "Environment" => return Ok(()),
        "Request-Driven Web Service" => app.row(
            Fate::Decide,
            input.path,
            root.place,
            what,
            "it runs on App Runner: here it is an ECS service, which needs a load balancer",
        ),
        _ => app.row(
            Fate::Kept,
            input.path,
            root.place,
            what,
            "an ECS service; `name` has to be what it is called on AWS",
        ),
    }
    let taken: Vec<_> = app.services.iter().map(|service| service.key.clone()).collect();
    let key = unused(&given, &taken);
    let source = image(input, app, &key, root.get("image"));
    let mut made = service(&key, source);
    if let Some(port) =
        root.at(&["image", "port"]).and_then(Node::text).and_then(|port| port.parse().ok()).filter(|port| *port > 0)
    {
        made.containers[0].ports.push(Port { number: port, is_udp: false });
    }
    made.containers[0].health = root.at(&["image", "healthcheck"]).and_then(|node| health(input, app, &key, node));
    let number = |name: &str, default: u64| root.text_of(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    made.size = Size::at_least(number("cpu", 256), number("memory", 512));
    for (member, value) in root.entries() {
        self::member(input, app, &mut made, member, value, &root);
    }
    app.services.push(made);
    Ok(())
}

fn image(input: &Input<'_>, app: &mut App, key: &str, node: Option<&Node>) -> Source {
    let Some(node) = node else { return super::process::built(app, key, ".", None) };
    if let Some(location) = node.text_of("location") {
        app.row(
            Fate::Kept,
            input.path,
            node.place,
            format!("{key}: image `{}`", shown(location)),
            "it is not built here: a deploy changes it when the task definition does",
        );
        return Source::Reference(location.to_owned());
    }
    let build = node.get("build");
    let dockerfile =
        build.and_then(|build| build.text().or_else(|| build.text_of("dockerfile"))).unwrap_or("Dockerfile");
    let dockerfile = crate::normal(dockerfile);
    let folder = dockerfile.rsplit_once('/').map_or(".", |(folder, _)| folder);
    let context = crate::normal(build.and_then(|build| build.text_of("context")).unwrap_or(folder));
    let args = arguments(input, app, build.and_then(|build| build.get("args")));
    app.row(Fate::Kept, input.path, node.place, format!("{key}: build of `{}`", shown(&context)), "");
    let plain = crate::normal(&format!("{context}/Dockerfile"));
    Source::Built(app.image(Image {
        key: key.to_owned(),
        dockerfile: Some(dockerfile).filter(|file| *file != plain),
        context,
        target: build.and_then(|build| build.text_of("target")).map(str::to_owned),
        args,
        ..Image::default()
    }))
}

fn health(input: &Input<'_>, app: &mut App, key: &str, node: &Node) -> Option<Health> {
    let command: Vec<String> = match node.get("command")?.text() {
        Some(line) => vec!["CMD-SHELL".to_owned(), line.to_owned()],
        None => node.get("command")?.texts().into_iter().map(str::to_owned).collect(),
    };
    let is_sound = command.len() > 1 && matches!(command[0].as_str(), "CMD" | "CMD-SHELL") && !holds_secret(&command);
    if !is_sound {
        app.row(
            Fate::Decide,
            input.path,
            node.place,
            format!("{key}: health check"),
            "write it into the task definition",
        );
        return None;
    }
    let time = |member: &str, least: u64, most: u64| Some(node.text_of(member).and_then(seconds)?.clamp(least, most));
    Some(Health {
        interval: time("interval", 5, 300),
        timeout: time("timeout", 2, 60),
        start_period: time("start_period", 0, 300),
        retries: node.text_of("retries").and_then(|text| text.parse::<u64>().ok()).map(|retries| retries.clamp(1, 10)),
        command,
    })
}

fn member(input: &Input<'_>, app: &mut App, made: &mut Service, member: &Key, value: &Node, root: &Node) {
    if value.is_null() {
        return;
    }
    let key = made.key.clone();
    let what = format!("{key}: `{}`", shown(&member.text));
    match member.text.as_str() {
        "name" | "type" | "image" | "cpu" | "memory" => {}
        "variables" => variables(input, app, &key, Some(value), &mut made.containers[0]),
        "secrets" => secrets(input, app, &key, value, &mut made.containers[0], root),
        "platform" => {
            let text = value.text().or_else(|| value.text_of("architecture")).unwrap_or_default();
            made.is_arm = text.contains("arm");
            app.row(Fate::Kept, input.path, member.place, what, "");
        }
        "command" | "entrypoint" => {
            let argv = match value.text() {
                Some(line) => words(line).unwrap_or_default(),
                None => value.texts().into_iter().map(str::to_owned).collect(),
            };
            let argv = app.command(input.path, member.place, &what, argv);
            match member.text.as_str() {
                "command" => {
                    made.containers[0].command = super::process::start_command(app, input, &key, member.place, argv)
                }
                _ => made.containers[0].entry_point = argv,
            }
            app.row(Fate::Kept, input.path, member.place, what, "");
        }
        "http" | "nlb" => {
            if let Some(check) = value.get("healthcheck")
                && let Some(path) = check.text().or_else(|| check.text_of("path"))
            {
                health_path(app, input, made, check.place, path);
            }
            app.row(
                Fate::Decide,
                input.path,
                member.place,
                what,
                "the load balancer, its rules and its target group stay as they are on AWS",
            );
        }
        "count" => {
            let count = value.text().map_or("what its range says", |count| count).to_owned();
            desired_count(app, input, &key, member.place, &count);
        }
        "exec" => app.row(
            Fate::Dropped,
            input.path,
            member.place,
            what,
            "`enableExecuteCommand` is the service's on AWS, and stays as it is",
        ),
        "network" | "deployment" | "observability" | "publish" | "subscribe" => {
            app.row(
                Fate::Dropped,
                input.path,
                member.place,
                what,
                "it is the service's or its stack's on AWS, and stays as it is",
            );
        }
        "storage" => app.row(
            Fate::Decide,
            input.path,
            member.place,
            what,
            "write volumes and `readonlyRootFilesystem` into the task definition",
        ),
        "sidecars" => sidecars(input, app, made, value),
        "environments" => {
            let names: Vec<_> = value.entries().iter().map(|(key, _)| format!("`{}`", shown(&key.text))).collect();
            let why = format!(
                "write what differs in {} under `environments` of the config, with a task definition for each",
                names.join(", ")
            );
            app.row(Fate::Decide, input.path, member.place, what, why);
        }
        "taskdef_overrides" | "env_file" => {
            app.row(Fate::Decide, input.path, member.place, what, "write it into the task definition")
        }
        _ => app.row(Fate::Dropped, input.path, member.place, what, "not known to this importer"),
    }
}

/// Names stay; Copilot's own placeholders in them are filled in.
fn secrets(input: &Input<'_>, app: &mut App, key: &str, node: &Node, container: &mut Container, root: &Node) {
    let environments = root.get("environments").map(Node::entries).unwrap_or_default();
    let environment = environments.first().map_or("production", |(key, _)| key.text.as_str());
    let mut is_asked = false;
    for (name, value) in node.entries() {
        let what = format!("{key}: secret `{}`", shown(&name.text));
        let from = match (value.text(), value.text_of("secretsmanager"), value.get("from_cfn")) {
            (Some(text), ..) => text.to_owned(),
            (None, Some(secret), _) => format!("arn:aws:secretsmanager:REGION:ACCOUNT:secret:{secret}"),
            (None, None, Some(_)) | (None, None, None) => {
                app.row(
                    Fate::Decide,
                    input.path,
                    name.place,
                    what,
                    "name the secret in the task definition: `secrets: [{ name, valueFrom }]`",
                );
                continue;
            }
        };
        if from.contains("REGION:ACCOUNT") {
            app.row(
                Fate::Decide,
                input.path,
                name.place,
                what.clone(),
                "write the secret's whole ARN into the task definition",
            );
            continue;
        }
        is_asked |= from.contains("${COPILOT_ENVIRONMENT_NAME}");
        let from =
            from.replace("${COPILOT_APPLICATION_NAME}", app.name()).replace("${COPILOT_ENVIRONMENT_NAME}", environment);
        if from.is_empty() || container.secrets.iter().any(|(known, _)| *known == name.text) {
            continue;
        }
        container.environment.retain(|(known, _)| *known != name.text);
        app.row(Fate::Kept, input.path, name.place, what, format!("from `{}`, as before", shown(&from)));
        container.secrets.push((name.text.clone(), from));
    }
    if is_asked {
        let why = format!(
            "its secrets are those of the environment `{environment}`: is that the one that is deployed? Others need a task definition of their own"
        );
        app.row(Fate::Decide, input.path, node.place, format!("{key}: `${{COPILOT_ENVIRONMENT_NAME}}`"), why);
    }
}

fn sidecars(input: &Input<'_>, app: &mut App, made: &mut Service, node: &Node) {
    for (name, sidecar) in node.entries() {
        let what = format!("{}: sidecar `{}`", made.key, shown(&name.text));
        let Some(image) = sidecar.get("image").and_then(|image| image.text().or_else(|| image.text_of("location")))
        else {
            app.row(Fate::Decide, input.path, name.place, what, "it names no image: write it into the task definition");
            continue;
        };
        let taken: Vec<_> = made.containers.iter().map(|container| container.name.clone()).collect();
        let mut container = Container {
            name: unused(&name.text, &taken),
            image: Source::Reference(image.to_owned()),
            is_optional: sidecar.text_of("essential") == Some("false"),
            ..Container::default()
        };
        let port = sidecar
            .text_of("port")
            .map(|port| port.split('/').next().unwrap_or_default())
            .and_then(|port| port.parse::<u16>().ok());
        let is_free =
            |port: &u16| *port > 0 && !made.containers.iter().flat_map(|c| &c.ports).any(|known| known.number == *port);
        container.ports.extend(port.filter(is_free).map(|number| Port { number, is_udp: false }));
        variables(input, app, &name.text, sidecar.get("variables"), &mut container);
        app.row(Fate::Kept, input.path, name.place, what, "a container of the task");
        made.containers.push(container);
    }
}
