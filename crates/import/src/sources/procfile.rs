//! `Procfile`, with `app.json` beside it: one image, a service for each process, `release` once.
//! <https://devcenter.heroku.com/articles/procfile>, <https://devcenter.heroku.com/articles/app-json-schema>

use super::process::{built, listens, port_of_dockerfile, release, service, start_command};
use crate::Input;
use crate::app::{App, Container, Fate, Refusal, ReleaseCommand, Variable, key, unused};
use crate::databases::of_addon;
use crate::shell::argv_of_line;
use crate::size::Size;
use crate::tree::{Node, Origin, Place, shown};

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    let (procfile, manifest) = match input.path.ends_with(".json") {
        true => (input.beside("Procfile"), input.path.to_owned()),
        false => (input.path.to_owned(), input.beside("app.json")),
    };
    let processes = match input.folder.text(&procfile) {
        Some(text) => {
            app.files.push(procfile.clone());
            processes(&Input { path: &procfile, ..Input { ..*input } }, app, &text)?
        }
        None => vec![],
    };
    let manifest = match input.folder.text(&manifest) {
        Some(_) => Some((manifest.clone(), Input { path: &manifest, ..Input { ..*input } }.yaml(app)?.root)),
        None => None,
    };
    let named = manifest.as_ref().and_then(|(_, root)| root.text_of("name"));
    app.name = Some(named.map_or(input.name.to_owned(), |name| key(name).to_ascii_lowercase()));
    let mut variables = Container::default();
    if let Some((path, root)) = &manifest {
        self::manifest(&Input { path, ..Input { ..*input } }, app, root, &mut variables);
    }
    let services: Vec<_> = processes.iter().filter(|process| process.name != "release").collect();
    if services.is_empty() {
        return Err(input.refusal(
            Place::default(),
            "there is no process to run: no `Procfile` with a `web` or a worker",
            "write a `Procfile` that says what runs, such as `web: bin/server`",
        ));
    }
    let image = built(app, "app", ".", None);
    let port = port_of_dockerfile(input, "Dockerfile").unwrap_or(8080);
    let input = &Input { path: &procfile, ..Input { ..*input } };
    for process in services {
        let taken: Vec<_> = app.services.iter().map(|service| service.key.clone()).collect();
        let key = unused(&process.name, &taken);
        let argv = start_command(app, input, &key, process.place, argv_of_line(&process.command));
        app.row(Fate::Kept, input.path, process.place, format!("process `{}`", process.name), "an ECS service");
        let mut service = service(&key, image.clone());
        let container = &mut service.containers[0];
        container.environment.clone_from(&variables.environment);
        container.secrets.clone_from(&variables.secrets);
        container.command = argv;
        if process.name == "web" {
            listens(container, port);
            let what = format!("{key}: `$PORT`");
            let why = format!(
                "it is {port} here, as the container's variable and port; the load balancer's target group has type `ip` and that port"
            );
            app.row(Fate::Translated, input.path, process.place, what, why);
        } else if process.command.contains("$PORT") {
            listens(container, port);
        }
        app.services.push(service);
    }
    if let Some((path, root)) = &manifest {
        formation(&Input { path, ..Input { ..*input } }, app, root);
    }
    let first = app.services.iter().find(|service| service.key == "web").or(app.services.first());
    let host = first.map(|service| service.key.clone()).unwrap_or_default();
    for process in processes.iter().filter(|process| process.name == "release") {
        release(app, &host, ReleaseCommand::Shell(process.command.clone()));
        let why = "a release command: once a release, before any service moves. Heroku runs it on a rollback too; here it is not";
        app.row(Fate::Translated, input.path, process.place, "process `release`", why);
    }
    Ok(())
}

struct Process {
    place: Place,
    name: String,
    command: String,
}

fn processes(input: &Input<'_>, app: &mut App, text: &str) -> Result<Vec<Process>, Refusal> {
    let mut found: Vec<Process> = vec![];
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let place = Place { line: index + 1, column: 1 };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_name =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let Some((name, command)) = line.split_once(':').filter(|(name, _)| is_name(name.trim())) else {
            app.row(Fate::Dropped, input.path, place, format!("line `{}`", shown(line)), "it is no `NAME: COMMAND`");
            continue;
        };
        let (name, command) = (name.trim(), command.trim());
        if command.is_empty() {
            app.row(Fate::Dropped, input.path, place, format!("process `{name}`"), "it has no command");
            continue;
        }
        if let Some(other) = starts_others(command) {
            return Err(input.refusal(
                place,
                format!("process `{name}` starts other processes: `{}`", shown(command)),
                match other {
                    Some(file) => format!("each process is a service here: `--from {file}`"),
                    None => {
                        "each process is a service here: name the Procfile that lists them with `--from`".to_owned()
                    }
                },
            ));
        }
        if crate::settings::holds_secret(&[command]) {
            app.row(
                Fate::Decide,
                input.path,
                place,
                format!("process `{name}`"),
                "a credential stands in it: read it from a variable first",
            );
            continue;
        }
        if found.iter().any(|process| process.name == name) {
            app.row(
                Fate::Dropped,
                input.path,
                place,
                format!("process `{name}`"),
                "it stands twice; the last one counts",
            );
            found.retain(|process| process.name != name);
        }
        found.push(Process { place, name: name.to_owned(), command: command.to_owned() });
    }
    Ok(found)
}

/// `foreman start -f FILE` and its like, and the file where it is named.
fn starts_others(command: &str) -> Option<Option<String>> {
    const MANAGERS: [&str; 6] = ["foreman", "honcho", "overmind", "hivemind", "goreman", "nf"];
    let words: Vec<_> = command.split_whitespace().collect();
    let at = words.iter().position(|word| MANAGERS.contains(&word.rsplit('/').next().unwrap_or_default()))?;
    (*words.get(at + 1)? == "start").then(|| {
        let file = words.iter().position(|word| matches!(*word, "-f" | "--procfile"))?;
        words.get(file + 1).map(|file| (*file).to_owned())
    })
}

fn manifest(input: &Input<'_>, app: &mut App, root: &Node, variables: &mut Container) {
    for (member, value) in root.entries() {
        let at = member.place;
        let what = format!("`{}`", shown(&member.text));
        match member.text.as_str() {
            "name" | "description" | "keywords" | "repository" | "website" | "logo" | "success_url" | "formation"
            | "$schema" => {}
            "env" => env(input, app, value, variables),
            "addons" => {
                for addon in value.items() {
                    let plan = addon.text().or_else(|| addon.text_of("plan")).unwrap_or_default();
                    self::addon(input, app, addon.place, plan, addon.text_of("as"), variables);
                }
            }
            "scripts" => {
                for (name, script) in value.entries() {
                    let why = "it runs once, when an application is created: run it by hand, or write a release command if each release needs it";
                    let what = format!("script `{}`: `{}`", name.text, shown(script.text().unwrap_or_default()));
                    app.row(Fate::Decide, input.path, name.place, what, why);
                }
            }
            "buildpacks" | "stack" | "image" => {
                app.row(Fate::Dropped, input.path, at, what, "the image is built from a `Dockerfile`")
            }
            "environments" => {
                app.row(Fate::Dropped, input.path, at, what, "review applications and tests are no part of a release")
            }
            "cron" => app.row(Fate::Decide, input.path, at, what, "a schedule belongs to EventBridge Scheduler"),
            _ => app.row(Fate::Dropped, input.path, at, what, "not known to this importer"),
        }
    }
}

fn env(input: &Input<'_>, app: &mut App, node: &Node, variables: &mut Container) {
    for (name, value) in node.entries() {
        let given = value.text().or_else(|| value.get("value").and_then(Node::text));
        let is_generated = value.text_of("generator").is_some();
        if given.is_none() && !is_generated && value.text_of("required") == Some("false") {
            app.row(
                Fate::Dropped,
                input.path,
                name.place,
                format!("variable `{}`", name.text),
                "it is optional and has no value",
            );
            continue;
        }
        let origin = if given.is_none() { Origin::Unset } else { Origin::Document };
        let variable = Variable {
            file: input.path,
            place: name.place,
            name: &name.text,
            value: given.unwrap_or_default(),
            origin,
        };
        app.variable("all", variables, variable);
    }
}

/// A database that the platform keeps: its address is in a parameter.
pub(super) fn addon(
    input: &Input<'_>,
    app: &mut App,
    at: Place,
    plan: &str,
    alias: Option<&str>,
    variables: &mut Container,
) {
    let what = format!("add-on `{}`", shown(plan));
    match of_addon(plan) {
        Some((variable, product)) => {
            let name = alias.map_or(variable.to_owned(), |alias| format!("{}_URL", key(alias).to_ascii_uppercase()));
            app.row(Fate::Decide, input.path, at, what, format!("create {product} in your infrastructure code; move its data before the first deploy"));
            let variable = Variable { file: input.path, place: at, name: &name, value: "", origin: Origin::Unset };
            app.secret("all", variables, variable, "its value is the database's address");
        }
        None => app.row(Fate::Decide, input.path, at, what, "which service of AWS or of somebody else is to stand for it? Its variables become secrets of the task definition"),
    }
}

fn formation(input: &Input<'_>, app: &mut App, root: &Node) {
    for (process, value) in root.get("formation").map(Node::entries).unwrap_or_default() {
        if let Some(size) = value.text_of("size")
            && let Some(service) = app.services.iter_mut().find(|service| service.key == process.text)
        {
            let memory = match size.to_ascii_lowercase().as_str() {
                "standard-2x" => 1024,
                "performance-m" => 2560,
                "performance-l" => 14 * 1024,
                _ => 512,
            };
            service.size = Size::at_least(0, memory);
            let why = format!("{} CPU units and {} MiB", service.size.cpu, service.size.memory);
            app.row(
                Fate::Translated,
                input.path,
                process.place,
                format!("{}: size `{}`", process.text, shown(size)),
                why,
            );
        }
        let why = format!(
            "the desired count is the service's on AWS: create it with {}",
            value.text_of("quantity").unwrap_or("1")
        );
        app.row(Fate::Decide, input.path, process.place, format!("{}: formation", process.text), why);
    }
}
