//! `heroku.yml`: an image for each Dockerfile, a service for each process.
//! <https://devcenter.heroku.com/articles/build-docker-images-heroku-yml>

use super::process::{arguments, built, listens, port_of_dockerfile, release, service, start_command};
use super::procfile::addon;
use crate::Input;
use crate::app::{App, Container, Fate, Refusal, ReleaseCommand, Source, unused};
use crate::shell::argv_of_line;
use crate::tree::{Node, Place, shown};

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    let root = input.yaml(app)?.root;
    app.name = Some(input.name.to_owned());
    let mut variables = Container::default();
    for entry in root.at(&["setup", "addons"]).map(Node::items).unwrap_or_default() {
        let plan = entry.text().or_else(|| entry.text_of("plan")).unwrap_or_default();
        addon(input, app, entry.place, plan, entry.text_of("as"), &mut variables);
    }
    super::process::variables(input, app, "all", root.at(&["setup", "config"]), &mut variables);
    let mut images: Vec<(String, String, Source)> = vec![];
    for (process, dockerfile) in root.at(&["build", "docker"]).map(Node::entries).unwrap_or_default() {
        let file =
            crate::normal(dockerfile.text().or_else(|| dockerfile.text_of("dockerfile")).unwrap_or("Dockerfile"));
        // The folder of a Dockerfile is its context.
        let context = file.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned();
        let source = built(app, &process.text, &context, Some(&file));
        app.row(Fate::Kept, input.path, process.place, format!("image `{}` of `{}`", process.text, shown(&file)), "");
        images.push((process.text.clone(), file, source));
    }
    let arguments = arguments(input, app, root.at(&["build", "config"]));
    app.images.iter_mut().for_each(|image| image.args.clone_from(&arguments));
    let run = root.get("run").map(Node::entries).unwrap_or_default();
    let mut names: Vec<(String, Place, Option<&Node>)> =
        run.iter().map(|(key, node)| (key.text.clone(), key.place, Some(node))).collect();
    // Without `run` the image's own command is what runs.
    names.extend(images.iter().filter(|_| run.is_empty()).map(|(name, ..)| (name.clone(), Place::default(), None)));
    for (name, at, node) in names.into_iter().filter(|(name, ..)| name != "release") {
        let wanted = node.and_then(|node| node.text_of("image")).unwrap_or(&name).to_owned();
        let Some((_, file, image)) = images.iter().find(|(process, ..)| *process == wanted).or(images.first()) else {
            return Err(input.refusal(
                at,
                format!("process `{name}`: no image is built for it"),
                "name its Dockerfile under `build: docker:`",
            ));
        };
        let port = port_of_dockerfile(input, file).unwrap_or(8080);
        let taken: Vec<_> = app.services.iter().map(|service| service.key.clone()).collect();
        let key = unused(&name, &taken);
        let line = node.map(line).unwrap_or_default();
        let argv = if line.is_empty() { vec![] } else { start_command(app, input, &key, at, argv_of_line(&line)) };
        let mut service = service(&key, image.clone());
        let container = &mut service.containers[0];
        container.environment.clone_from(&variables.environment);
        container.secrets.clone_from(&variables.secrets);
        container.command = argv;
        if name == "web" || line.contains("$PORT") {
            listens(container, port);
            app.row(
                Fate::Translated,
                input.path,
                at,
                format!("{key}: `$PORT`"),
                format!("it is {port} here, as the container's variable and port"),
            );
        }
        app.row(Fate::Kept, input.path, at, format!("process `{name}`"), "an ECS service");
        app.services.push(service);
    }
    let command = root.at(&["release", "command"]).map(line).unwrap_or_default();
    if !command.is_empty() {
        let wanted = root.at(&["release", "image"]).and_then(Node::text).unwrap_or("web");
        let at = root.get("release").map(|node| node.place).unwrap_or_default();
        let host = app.services.iter().find(|service| service.key == wanted).or(app.services.first());
        if let Some(host) = host.map(|service| service.key.clone()) {
            release(app, &host, ReleaseCommand::Shell(command));
            app.row(
                Fate::Translated,
                input.path,
                at,
                "`release`",
                "a release command: once a release, before any service moves",
            );
        }
    }
    for (member, _) in
        root.entries().iter().filter(|(key, _)| !matches!(key.text.as_str(), "setup" | "build" | "run" | "release"))
    {
        app.row(
            Fate::Dropped,
            input.path,
            member.place,
            format!("`{}`", shown(&member.text)),
            "not known to this importer",
        );
    }
    Ok(())
}

/// A text, a list of lines, or a mapping with `command`. `\$` is how a dollar is written there.
fn line(node: &Node) -> String {
    let node = node.get("command").unwrap_or(node);
    node.texts().join(" && ").replace("\\$", "$")
}
