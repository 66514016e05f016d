//! What Procfiles and their heirs have in common: one image, several processes, and `$PORT`.

use crate::Input;
use crate::app::{App, Container, Fate, Image, Port, Release, ReleaseCommand, Service, Source, Variable};
use crate::settings::why_secret;
use crate::shell::{argv_of_line, script, split};
use crate::size::Size;
use crate::tree::{Key, Node, Place, shown};

/// The port that platforms with `$PORT` do not fix: the one that the Dockerfile exposes, else 8080.
pub(crate) fn port_of_dockerfile(input: &Input<'_>, dockerfile: &str) -> Option<u16> {
    let text = input.folder.text(dockerfile)?;
    text.lines().rev().find_map(|line| {
        let (instruction, rest) = line.trim().split_once(char::is_whitespace)?;
        let port = rest.trim().split(|c: char| !c.is_ascii_digit()).next()?;
        instruction.eq_ignore_ascii_case("expose").then(|| port.parse().ok().filter(|port| *port > 0)).flatten()
    })
}

/// A container that listens where `$PORT` says.
pub(crate) fn listens(container: &mut Container, port: u16) {
    if !container.environment.iter().any(|(name, _)| name == "PORT") {
        container.environment.push(("PORT".to_owned(), port.to_string()));
    }
    container.ports.push(Port { number: port, is_udp: false });
}

/// A service of one container.
pub(crate) fn service(key: &str, image: Source) -> Service {
    let container = Container { name: key.to_owned(), image, ..Container::default() };
    Service { key: key.to_owned(), containers: vec![container], size: Size::SMALLEST, is_arm: false, health_path: None }
}

/// The image of a Dockerfile.
pub(crate) fn built(app: &mut App, key: &str, context: &str, dockerfile: Option<&str>) -> Source {
    let context = crate::normal(context);
    let plain = crate::normal(&format!("{context}/Dockerfile"));
    let dockerfile = dockerfile.map(crate::normal).filter(|file| *file != plain);
    Source::Built(app.image(Image { key: key.to_owned(), context, dockerfile, ..Image::default() }))
}

/// A command that a shell runs, or that is given as words. `migrate && serve` is taken apart, and that is asked.
pub(crate) fn start_command(
    app: &mut App,
    input: &Input<'_>,
    service: &str,
    at: Place,
    argv: Vec<String>,
) -> Vec<String> {
    let what = format!("{service}: command");
    let argv = app.command(input.path, at, &what, argv);
    let Some(parts) = script(&argv).and_then(split) else { return argv };
    for command in &parts.once {
        release(app, service, ReleaseCommand::Shell(command.clone()));
    }
    let why = format!(
        "`{}` runs once a release, before any service moves, and no more at each start of a task: is that right?",
        parts.once.join(" && ")
    );
    app.row(Fate::Decide, input.path, at, format!("{what} that migrates and serves"), why);
    argv_of_line(&parts.serve)
}

/// A command of the release, once.
pub(crate) fn release(app: &mut App, service: &str, command: ReleaseCommand) {
    if app.release.iter().any(|known| known.service == service && known.command == command) {
        return;
    }
    let names: Vec<_> = app.release.iter().map(|release| release.name.clone()).collect();
    let name = crate::app::unused("migrate", &names);
    app.release.push(Release { name, service: service.to_owned(), container: None, command });
}

/// A release command of a text, or of a list whose lines are done one after another.
pub(crate) fn release_line(app: &mut App, input: &Input<'_>, service: &str, node: &Node, what: &str) {
    let lines = node.texts();
    if lines.iter().all(|line| line.trim().is_empty()) {
        return;
    }
    let argv = lines.iter().map(|line| (*line).to_owned()).collect();
    if app.command(input.path, node.place, what, argv).is_empty() {
        return;
    }
    release(app, service, ReleaseCommand::Shell(lines.join(" && ")));
    app.row(
        Fate::Translated,
        input.path,
        node.place,
        what,
        "a release command: once a release, before any service moves",
    );
}

/// The variables of a mapping.
pub(crate) fn variables(
    input: &Input<'_>,
    app: &mut App,
    service: &str,
    node: Option<&Node>,
    container: &mut Container,
) {
    for (name, value) in node.map(Node::entries).unwrap_or_default() {
        let Some(scalar) = value.as_scalar() else {
            let why = "its value is no text: write it into the task definition";
            app.row(Fate::Decide, input.path, name.place, format!("{service}: variable `{}`", shown(&name.text)), why);
            continue;
        };
        let variable = Variable {
            file: input.path,
            place: name.place,
            name: &name.text,
            value: &scalar.text,
            origin: scalar.origin,
        };
        app.variable(service, container, variable);
    }
}

/// The build arguments of a mapping, without those that are secrets.
pub(crate) fn arguments(input: &Input<'_>, app: &mut App, node: Option<&Node>) -> Vec<(String, String)> {
    let mut found = vec![];
    for (name, value) in node.map(Node::entries).unwrap_or_default() {
        let what = format!("build argument `{}`", shown(&name.text));
        let scalar = value.as_scalar().cloned().unwrap_or_default();
        if why_secret(&name.text, &scalar.text, scalar.origin).is_some() {
            let why = "it is a secret, and arguments stay in the image's history: give it as a `build-secret`";
            app.row(Fate::Decide, input.path, name.place, what, why);
        } else {
            app.row(Fate::Kept, input.path, name.place, what, "");
            found.push((name.text.clone(), scalar.text));
        }
    }
    found
}

/// A check of a load balancer, which is on AWS.
pub(crate) fn health_path(app: &mut App, input: &Input<'_>, service: &mut Service, at: Place, path: &str) {
    let why = "write it into the target group's health check, and as `smoke` into the config";
    app.row(Fate::Decide, input.path, at, format!("{}: health-check path `{}`", service.key, shown(path)), why);
    service.health_path = Some(path.to_owned());
}

/// How many tasks there are is the service's own on AWS.
pub(crate) fn desired_count(app: &mut App, input: &Input<'_>, service: &str, at: Place, count: &str) {
    let why = format!("the desired count is the service's on AWS: create it with {}", shown(count));
    app.row(Fate::Decide, input.path, at, format!("{service}: number of tasks"), why);
}

/// A member that nobody reads, with its reason.
pub(crate) fn dropped(app: &mut App, input: &Input<'_>, key: &Key, why: &str) {
    let why = if why.is_empty() { "not known to this importer" } else { why };
    app.row(Fate::Dropped, input.path, key.place, format!("`{}`", shown(&key.text)), why);
}
