//! `fargate-deploy.yml`.

use super::{Surroundings, built_key, shell_name};
use crate::app::{App, Image, ReleaseCommand, Service};
use crate::settings::REHEARSED;
use std::fmt::Write as _;

/// A line of the file, and what it is under.
macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{
        let _ = writeln!($out, $($arg)*);
    }};
}

/// Gives editors the published schema.
pub(crate) const SCHEMA: &str = "# yaml-language-server: $schema=https://raw.githubusercontent.com/org/fargate-deploy/v1/fargate-deploy.schema.json";

pub(crate) fn text(app: &App, at: &Surroundings<'_>) -> String {
    let mut out = String::new();
    line!(out, "{SCHEMA}");
    line!(
        out,
        "# Written by `fargate-deploy init` from {}.",
        app.files.iter().map(|f| one_line(f)).collect::<Vec<_>>().join(", ")
    );
    line!(out, "region: {}", quoted(at.region));
    line!(out, "role: arn:{}:iam::{}:role/{}-deploy", partition(at.region), at.account, app.name());
    line!(out, "cluster: {}", quoted(&at.cluster));
    images(app, &mut out);
    release(app, &mut out);
    line!(out, "\nservices:");
    for service in &app.services {
        self::service(app, service, &mut out);
    }
    rehearse(app, &mut out);
    out
}

fn images(app: &App, out: &mut String) {
    if app.images.is_empty() {
        return;
    }
    line!(out, "\nimages:");
    for image in &app.images {
        line!(out, "  {}:", quoted(&image.key));
        line!(out, "    repository: {}", quoted(&repository(app, image)));
        line!(out, "    context: {}", quoted(&image.context));
        if let Some(file) = &image.dockerfile {
            line!(out, "    dockerfile: {}", quoted(file));
        }
        if let Some(target) = &image.target {
            line!(out, "    target: {}", quoted(target));
        }
        if let Some(platform) = image.platform {
            line!(out, "    platform: {platform}");
        }
        if !image.args.is_empty() {
            let args: Vec<_> =
                image.args.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
            line!(out, "    build-args: {{ {} }}", args.join(", "));
        }
        if !image.build_secrets.is_empty() {
            let secrets = image
                .build_secrets
                .iter()
                .map(|id| format!("{}: {{ env: {} }}", quoted(id), quoted(&shell_name(id).to_ascii_uppercase())));
            line!(out, "    build-secrets: {{ {} }}", secrets.collect::<Vec<_>>().join(", "));
        }
    }
}

/// `shop`, or `shop/web` where there are several images.
pub(crate) fn repository(app: &App, image: &Image) -> String {
    match (&image.repository, app.images.len()) {
        (Some(repository), _) => repository.clone(),
        (None, 1) => repository_part(app.name()),
        (None, _) => format!("{}/{}", repository_part(app.name()), repository_part(&image.key)),
    }
}

/// What ECR takes: lowercase letters and digits with one separator at a time between them, two characters at least.
fn repository_part(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let words: Vec<_> = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let name = words.join("-");
    if name.len() < 2 { format!("app-{name}").trim_end_matches('-').to_owned() } else { name }
}

fn release(app: &App, out: &mut String) {
    if app.release.is_empty() {
        return;
    }
    line!(out, "\n# Once, before any service moves, and never two at a time.");
    line!(out, "release:");
    for release in &app.release {
        line!(out, "  - name: {}", quoted(&release.name));
        line!(out, "    service: {}", quoted(&release.service));
        if let Some(container) = &release.container {
            line!(out, "    container: {}", quoted(container));
        }
        match &release.command {
            ReleaseCommand::Shell(script) => line!(out, "    command: {}", quoted(script)),
            ReleaseCommand::Argv(argv) => {
                line!(out, "    command: [{}]", argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
            }
        };
    }
}

fn service(app: &App, service: &Service, out: &mut String) {
    line!(out, "  {}:", quoted(&service.key));
    line!(out, "    name: {}", quoted(&ecs_name(app, service)));
    let containers = service
        .containers
        .iter()
        .filter_map(|container| Some(format!("{}: {}", quoted(&container.name), quoted(built_key(&container.image)?))));
    let containers = containers.collect::<Vec<_>>();
    match containers.is_empty() {
        true => line!(out, "    containers: {{}}"),
        false => line!(out, "    containers: {{ {} }}", containers.join(", ")),
    };
    line!(out, "    task-definition: {}", quoted(&definition_path(&service.key)));
    let port = service.containers.iter().flat_map(|container| &container.ports).find(|port| !port.is_udp);
    if port.is_some() {
        let path = service.health_path.as_deref().filter(|path| path.starts_with('/')).unwrap_or("/");
        line!(
            out,
            "    # smoke: [{{ url: \"https://YOUR-DOMAIN{}\", status: 200, within: 60s }}]",
            one_line(path).replace('"', "")
        );
    }
}

/// Where a service's task definition is written.
pub(crate) fn definition_path(key: &str) -> String {
    format!("infra/{key}.json")
}

/// `shop-web`; `shop` where the application and its service have one name.
pub(crate) fn ecs_name(app: &App, service: &Service) -> String {
    match app.name() == service.key {
        true => service.key.clone(),
        false => format!("{}-{}", app.name(), service.key),
    }
}

/// What the parameters hold in a rehearsal, and the databases that it has.
fn rehearse(app: &App, out: &mut String) {
    let mut names: Vec<&(String, String)> =
        app.services.iter().flat_map(|service| &service.containers).flat_map(|container| &container.secrets).collect();
    names.sort_by(|a, b| a.1.cmp(&b.1));
    names.dedup_by(|a, b| a.1 == b.1);
    if names.is_empty() && app.beside.is_empty() {
        return;
    }
    line!(
        out,
        "\n# What the secrets of the task definitions hold in a rehearsal on this machine, and what it has for databases. AWS never sees\n# this section."
    );
    line!(out, "rehearse:");
    if !names.is_empty() {
        line!(out, "  values:");
    }
    for (variable, parameter) in names {
        line!(out, "    {}: {}", quoted(parameter), rehearsed(app, variable, parameter));
    }
    if !app.beside.is_empty() {
        line!(out, "  containers:");
    }
    for beside in &app.beside {
        line!(out, "    {}:", quoted(&beside.name));
        line!(out, "      image: {}", quoted(&beside.image));
        if !beside.command.is_empty() {
            let words = beside.command.iter().map(|word| quoted(word)).collect::<Vec<_>>();
            line!(out, "      command: [{}]", words.join(", "));
        }
        if !beside.environment.is_empty() {
            line!(out, "      environment:");
        }
        for (name, value) in &beside.environment {
            line!(out, "        {}: {}", quoted(name), quoted(value));
        }
    }
}

/// The value of a parameter. What belongs to a container of the rehearsal is never taken from this machine: there it could be
/// the one of a real database.
fn rehearsed(app: &App, variable: &str, parameter: &str) -> String {
    if let Some(known) = app.parameters.get(parameter).and_then(|parameter| parameter.rehearsed.as_deref()) {
        return quoted(known);
    }
    let upper = variable.to_ascii_uppercase();
    let is_password = !app.beside.is_empty() && ["PASS", "PWD"].iter().any(|word| upper.contains(word));
    let is_name = variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && variable.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    // Credentials of the run itself cannot be referred to.
    let is_of_the_run = ["AWS_", "GITHUB_", "GH_", "ACTIONS_", "INPUT_", "RUNNER_", "CI_", "SYSTEM_", "DOCKER_"]
        .iter()
        .any(|prefix| upper.starts_with(prefix));
    match is_name && !is_of_the_run && !is_password {
        true => format!("\"${{env:{variable}:-{REHEARSED}}}\""),
        false => REHEARSED.to_owned(),
    }
}

pub(crate) fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// A text as YAML: plain where it is a plain word, else in quotes. `${` is no reference of ours.
pub(crate) fn quoted(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.'))
        && !is_another_type(text);
    if is_word {
        return text.to_owned();
    }
    serde_json::Value::from(text.replace("${", "$${"))
        .to_string()
        .replace('\u{7f}', "\\u007f")
        .replace('\u{feff}', "\\ufeff")
}

/// What a reader of YAML takes for no text.
fn is_another_type(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    matches!(
        lower.as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null" | ".inf" | ".nan" | "."
    ) || text.parse::<f64>().is_ok()
        || text.starts_with('.') && text.chars().nth(1).is_some_and(|c| c.is_ascii_digit())
}

fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_yaml_would_take_for_something_else_is_quoted() {
        for text in ["3.10", "0755", "yes", "null", "a: b", "", "#x", "22:22", "*a", ".5", "."] {
            assert!(quoted(text).starts_with('"'), "{text}");
        }
        assert_eq!(quoted("echo ${X}"), "\"echo $${X}\"");
        assert_eq!(quoted("infra/web.json"), "infra/web.json");
    }
}
