//! A service that runs on AWS: its task definition as a file, and a config that names it. Nothing of it is changed.

use crate::app::{App, Fate};
use crate::settings::{holds_secret, why_secret};
use crate::tree::{Origin, Place};
use crate::write::config::quoted;
use crate::write::workflow;
use crate::{File, Folder, Options, Proposal, app};
use serde_json::Value;
use std::fmt::Write as _;

/// A service as ECS describes it.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// By their short names.
    pub cluster: &'a str,
    pub service: &'a str,
    /// What RegisterTaskDefinition takes, of the revision that it runs.
    pub definition: &'a Value,
}

/// An image that is pushed to ECR, and the container that has it.
struct Pushed {
    container: String,
    repository: String,
    /// `None`: there is no Dockerfile that it could be built from.
    context: Option<String>,
}

/// Proposes the config of one service.
#[must_use]
pub fn of_service(live: Live<'_>, folder: &dyn Folder, options: &Options) -> Proposal {
    let mut app = App { name: Some(app::key(live.service)), ..App::default() };
    let source = format!("{}/{}", live.cluster, live.service);
    app.files.push(source.clone());
    let nowhere = Place::default();
    let key = app::key(live.service);
    let path = format!("infra/{key}.json");
    app.row(Fate::Kept, &source, nowhere, "the task definition", format!("every member, as it runs: `{path}`"));
    for (what, why) in secrets(live.definition) {
        let how = format!(
            "{why}: it stands in `{path}`. Before that file is in git, put the value into a parameter or a secret, and name it under \
             `secrets`"
        );
        app.row(Fate::Decide, &source, nowhere, what, how);
    }
    let pushed = pushed(live.definition, folder);
    for image in &pushed {
        let what = format!("container `{}`", image.container);
        match &image.context {
            Some(context) => {
                let why = format!(
                    "its image is built from `{context}` and pushed to `{}`: is that the folder?",
                    image.repository
                );
                app.row(Fate::Decide, &source, nowhere, what, why);
            }
            None => {
                let why = "no Dockerfile that it could be built from is here: describe the image under `images`, and name it under `containers`";
                app.row(Fate::Decide, &source, nowhere, what, why);
            }
        }
    }
    let kept = "the desired count, load balancers, autoscaling and the deployment's settings stay as they are";
    app.row(Fate::Kept, &source, nowhere, "the service", kept);
    app.row(Fate::Decide, "", nowhere, "the deploy role", format!("create `{key}-deploy`: docs/iam.md"));
    let is_arm = live.definition["runtimePlatform"]["cpuArchitecture"] == "ARM64";
    let definition = serde_json::to_string_pretty(live.definition).unwrap_or_default();
    Proposal {
        read: app.files.clone(),
        files: vec![
            File { path: "fargate-deploy.yml".to_owned(), text: config(live, &key, &path, &pushed, options) },
            File { path, text: format!("{definition}\n") },
            File { path: workflow::PATH.to_owned(), text: workflow::text(is_arm) },
        ],
        rows: app.rows,
        put: vec![],
        missing: vec![],
    }
}

/// What of a definition as it runs no file of a repository should hold, and why. Never a value.
fn secrets(definition: &Value) -> Vec<(String, String)> {
    let mut found = vec![];
    for container in definition["containerDefinitions"].as_array().into_iter().flatten() {
        let name = container["name"].as_str().unwrap_or_default();
        let of = |what: &str| format!("container `{name}`: {what}");
        for variable in container["environment"].as_array().into_iter().flatten() {
            let (Some(key), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) else { continue };
            if let Some(why) = why_secret(key, value, Origin::Document) {
                found.push((of(&format!("variable `{key}`")), why.to_owned()));
            }
        }
        for member in ["command", "entryPoint"] {
            let words = container[member].as_array().into_iter().flatten().filter_map(Value::as_str);
            if holds_secret(&words.collect::<Vec<_>>()) {
                found.push((of(&format!("`{member}`")), "it holds a credential".to_owned()));
            }
        }
        let probe = container["healthCheck"]["command"].as_array().into_iter().flatten().filter_map(Value::as_str);
        if holds_secret(&probe.collect::<Vec<_>>()) {
            found.push((of("`healthCheck`"), "it holds a credential".to_owned()));
        }
        for (place, members) in
            [("log option", &container["logConfiguration"]["options"]), ("label", &container["dockerLabels"])]
        {
            for (key, value) in members.as_object().into_iter().flatten() {
                if let Some(why) = value.as_str().and_then(|value| why_secret(key, value, Origin::Document)) {
                    found.push((of(&format!("{place} `{key}`")), why.to_owned()));
                }
            }
        }
    }
    found
}

fn pushed(definition: &Value, folder: &dyn Folder) -> Vec<Pushed> {
    let containers = definition["containerDefinitions"].as_array().into_iter().flatten();
    let in_ecr: Vec<_> = containers
        .filter_map(|container| {
            let (name, image) = (container["name"].as_str()?, container["image"].as_str()?);
            let (host, rest) = image.split_once('/')?;
            let repository = rest.split(['@', ':']).next()?;
            (host.contains(".dkr.ecr.") && !repository.is_empty()).then(|| (name.to_owned(), repository.to_owned()))
        })
        .collect();
    let is_only_one = in_ecr.len() == 1;
    let of = |(container, repository): (String, String)| {
        let own = folder.text(&format!("{container}/Dockerfile")).map(|_| container.clone());
        let root = folder.text("Dockerfile").filter(|_| is_only_one).map(|_| ".".to_owned());
        Pushed { context: own.or(root), container, repository }
    };
    in_ecr.into_iter().map(of).collect()
}

fn config(live: Live<'_>, key: &str, path: &str, pushed: &[Pushed], options: &Options) -> String {
    let mut out = String::new();
    let built: Vec<_> = pushed.iter().filter_map(|image| Some((image, image.context.as_ref()?))).collect();
    let account = options.account.as_deref().unwrap_or(crate::write::NO_ACCOUNT);
    let region = options.region.as_deref().unwrap_or(crate::write::NO_REGION);
    let _ = writeln!(out, "{}", crate::write::config::SCHEMA);
    let _ = writeln!(out, "# Written by `fargate-deploy init` from the service {}/{}.", live.cluster, live.service);
    let _ = writeln!(out, "region: {}", quoted(region));
    let _ = writeln!(out, "role: arn:{}:iam::{account}:role/{key}-deploy", crate::write::config::partition(region));
    let _ = writeln!(out, "cluster: {}", quoted(live.cluster));
    if !built.is_empty() {
        let _ = writeln!(out, "\nimages:");
    }
    for (image, context) in &built {
        let _ =
            writeln!(out, "  {}:\n    repository: {}", quoted(&app::key(&image.container)), quoted(&image.repository));
        let _ = writeln!(out, "    context: {}", quoted(context));
    }
    let containers =
        built.iter().map(|(image, _)| format!("{}: {}", quoted(&image.container), quoted(&app::key(&image.container))));
    let containers = containers.collect::<Vec<_>>().join(", ");
    let containers = if containers.is_empty() { "{}".to_owned() } else { format!("{{ {containers} }}") };
    let _ = writeln!(out, "\nservices:\n  {}:\n    name: {}", quoted(key), quoted(live.service));
    let _ = writeln!(out, "    containers: {containers}\n    task-definition: {}", quoted(path));
    out
}
