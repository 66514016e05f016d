//! What can be seen before a deploy: each thing looked at, and what was found. Nothing is changed, and no secret is read.

mod definitions;
pub mod live;
pub mod network;
pub mod retention;
pub mod role;
pub mod target;

use definitions::platform_of;

use crate::names::{ImageKey, ServiceKey};
use crate::plan::offline::{ContextFacts, Read};
use crate::task_definition::TaskDefinition;
use crate::validated_config::{BuildConfig, Config, ImageSource};
use serde::Serialize;
use std::path::Path;

/// What a check is about, by the name that it can be asked for alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// The config, the contexts of builds and the task definitions in git.
    Files,
    Identity,
    /// Services, their settings and what they run.
    Services,
    /// Subnets, routes, endpoints and addresses.
    Network,
    /// Load balancers: the target group's health check, port and kind.
    Targets,
    Alarms,
    /// Repositories and their lifecycle policies.
    Repositories,
    /// Images that are already built, and their architecture.
    Images,
    Secrets,
    Logs,
    /// The roles of task definitions, and whom they trust.
    Roles,
    Lease,
}

impl Topic {
    pub const ALL: [Self; 12] = [
        Self::Files,
        Self::Identity,
        Self::Services,
        Self::Network,
        Self::Targets,
        Self::Alarms,
        Self::Repositories,
        Self::Images,
        Self::Secrets,
        Self::Logs,
        Self::Roles,
        Self::Lease,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Identity => "identity",
            Self::Services => "services",
            Self::Network => "network",
            Self::Targets => "targets",
            Self::Alarms => "alarms",
            Self::Repositories => "repositories",
            Self::Images => "images",
            Self::Secrets => "secrets",
            Self::Logs => "logs",
            Self::Roles => "roles",
            Self::Lease => "lease",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    pub check: Topic,
    /// What was looked at: `service web: task definition infra/web.json`.
    pub what: String,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The file that it is about, from the folder of the config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    Ok,
    /// It works, and may not do what is meant.
    Warning {
        why: String,
    },
    /// A deploy would fail, or would be refused.
    Failed {
        why: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        fix: Option<String>,
        /// The role lacks a permission.
        is_permission: bool,
    },
    /// It could not be looked at.
    Skipped {
        why: String,
    },
}

impl Check {
    pub fn ok(what: impl Into<String>) -> Self {
        Self::new(what, Verdict::Ok)
    }

    pub fn warning(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(what, Verdict::Warning { why: why.into() })
    }

    pub fn failed(what: impl Into<String>, why: impl Into<String>, fix: Option<&str>) -> Self {
        let fix = fix.map(str::to_owned);
        Self::new(what, Verdict::Failed { why: why.into(), fix, is_permission: false })
    }

    pub fn skipped(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(what, Verdict::Skipped { why: why.into() })
    }

    fn new(what: impl Into<String>, verdict: Verdict) -> Self {
        Self { check: Topic::Files, what: what.into(), verdict, file: None }
    }

    #[must_use]
    pub fn about(mut self, topic: Topic) -> Self {
        self.check = topic;
        self
    }

    #[must_use]
    pub fn of_file(mut self, file: &str) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }
}

/// What the files say.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    pub config: &'a Config,
    /// Of the services whose task definition is a file in git.
    pub services: &'a Read<ServiceKey, TaskDefinition>,
    /// Of the release commands that have one of their own, by the command's name.
    pub commands: &'a Read<String, TaskDefinition>,
    /// What a build would read.
    pub contexts: &'a Read<ImageKey, ContextFacts>,
}

/// A context of this size takes long to send, and is rarely meant.
const LARGE: u64 = 256 * 1024 * 1024;

/// So many files without an ignore file hold more than the image needs.
const MANY: u64 = 2000;

/// Every check that needs no AWS.
#[must_use]
pub fn of_files(files: Files<'_>) -> Vec<Check> {
    let mut checks = vec![Check::ok("config")];
    for image in &files.config.images {
        if let ImageSource::Build(build) = &image.source {
            checks.extend(image_checks(files, &image.key, build));
        }
    }
    checks.extend(definitions::of_services(files));
    checks.extend(definitions::of_commands(files));
    checks
}

fn image_checks(files: Files<'_>, key: &ImageKey, build: &BuildConfig) -> Vec<Check> {
    let what = format!("image `{key}`");
    let mut checks = vec![];
    match files.contexts.iter().find(|(of, _)| of == key).map(|(_, read)| read) {
        Some(Err(why)) => checks.push(Check::failed(format!("{what}: build"), why.as_str(), None)),
        Some(Ok(facts)) if facts.bytes > LARGE => {
            let why =
                format!("its context has {} MiB: leave out what the build does not need", facts.bytes / 1024 / 1024);
            checks.push(Check::warning(format!("{what}: build"), why));
        }
        Some(Ok(facts)) if !facts.has_ignore_file && facts.files > MANY => {
            let why = format!(
                "its context has {} files and no `.dockerignore`: `.git` and local files become part of it",
                facts.files
            );
            checks.push(Check::warning(format!("{what}: build"), why));
        }
        Some(Ok(_)) => checks.push(Check::ok(format!("{what}: build"))),
        None => {}
    }
    let is_used = files.config.services.iter().flat_map(|service| &service.containers).any(|(_, image)| image == key);
    if !is_used {
        checks.push(Check::warning(what.clone(), "it is built and pushed, and no service has it"));
    }
    for (name, value) in &build.args {
        if is_secret(name) && value.has_reference() {
            let why =
                format!("the build argument `{name}` stays in the image's history: give a secret as `build-secrets`");
            checks.push(Check::warning(what.clone(), why));
        }
    }
    checks
}

/// By its name.
fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let is_one = |word: &str| matches!(word, "TOKEN" | "SECRET" | "PASSWORD" | "PASSWD" | "KEY" | "CREDENTIALS");
    !upper.starts_with("NEXT_PUBLIC_") && upper.split('_').any(is_one)
}

fn within(config: &Config, path: &Path) -> String {
    path.strip_prefix(&config.root).unwrap_or(path).display().to_string()
}

fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}
