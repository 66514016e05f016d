//! From what was read to the files: the config, a task definition for each service, and a workflow.

pub(crate) mod config;
pub(crate) mod dockerfile;
mod settle;
mod task_definition;
pub(crate) mod workflow;

use crate::app::{App, Fate, Source};
use crate::tree::Place;
use crate::{File, Folder, Options, Proposal};

/// Stands for an account that is not known: the one of AWS's own examples.
pub(crate) const NO_ACCOUNT: &str = "111122223333";
pub(crate) const NO_REGION: &str = "eu-central-1";

/// What stands for the surroundings, where nobody said it.
pub(crate) struct Surroundings<'a> {
    pub region: &'a str,
    pub account: &'a str,
    pub cluster: String,
}

pub(crate) fn proposal(mut app: App, folder: &dyn Folder, options: &Options) -> Proposal {
    let surroundings = Surroundings {
        region: options.region.as_deref().unwrap_or(NO_REGION),
        account: options.account.as_deref().unwrap_or(NO_ACCOUNT),
        cluster: options.cluster.clone().unwrap_or_else(|| app.name().to_owned()),
    };
    settle::settle(&mut app);
    ask_for_surroundings(&mut app, options);
    let mut files = vec![File { path: "fargate-deploy.yml".to_owned(), text: config::text(&app, &surroundings) }];
    for service in &app.services {
        let text = task_definition::text(&app, service, &surroundings);
        files.push(File { path: config::definition_path(&service.key), text });
    }
    let is_arm = app.services.iter().any(|service| service.is_arm);
    files.push(File { path: workflow::PATH.to_owned(), text: workflow::text(is_arm) });
    let missing = missing(&mut app, folder);
    Proposal { read: app.files.clone(), files, put: put(&app, surroundings.region), missing, rows: app.rows }
}

/// What no file says, and the config has all the same.
fn ask_for_surroundings(app: &mut App, options: &Options) {
    let nowhere = Place::default();
    if options.account.is_none() {
        let why = format!(
            "`{NO_ACCOUNT}` stands for your account, in the config and in `infra/*.json`: replace it, or run it again with `--account`"
        );
        app.row(Fate::Decide, "", nowhere, "the AWS account", why);
    }
    if options.region.is_none() {
        app.row(
            Fate::Decide,
            "",
            nowhere,
            "the region",
            format!("`{NO_REGION}` stands for it: replace it, or run it again with `--region`"),
        );
    }
    let roles = format!(
        "create `{0}-execution` and `{0}-task` for the tasks, and `{0}-deploy` for the deploy: docs/iam.md",
        app.name()
    );
    app.row(Fate::Decide, "", nowhere, "the roles", roles);
}

/// Dockerfiles that are not there.
fn missing(app: &mut App, folder: &dyn Folder) -> Vec<String> {
    let mut missing = vec![];
    for image in &app.images {
        let file = image.dockerfile.clone().unwrap_or_else(|| crate::normal(&format!("{}/Dockerfile", image.context)));
        if folder.text(&file).is_none() && !missing.contains(&file) {
            missing.push(file);
        }
    }
    missing
}

/// The lines that put each secret, from a variable of the shell: no value is in them.
fn put(app: &App, region: &str) -> Vec<String> {
    let line = |name: &String, variable: &str| {
        format!("aws ssm put-parameter --region {region} --type SecureString --name {name} --value \"${variable}\"")
    };
    let wanted = app.services.iter().flat_map(|service| &service.containers).flat_map(|container| &container.secrets);
    let is_wanted = |name: &str| wanted.clone().any(|(_, from)| from == name);
    app.parameters
        .iter()
        .filter(|(name, _)| name.starts_with('/') && is_wanted(name))
        .map(|(name, parameter)| line(name, &shell_name(&parameter.variable)))
        .collect()
}

fn shell_name(variable: &str) -> String {
    let name: String = variable.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// The images of a container, where it is built here.
fn built_key(source: &Source) -> Option<&str> {
    match source {
        Source::Built(key) => Some(key),
        Source::Reference(_) => None,
    }
}
