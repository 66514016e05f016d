//! What can be said about a release from its files alone: a pull request from a fork has no identity on AWS, by design.

use super::document::Infrastructure;
use crate::names::{ImageKey, ServiceKey};
use crate::resolved::joined;
use crate::task_definition::{TaskDefinition, validate};
use crate::validated_config::{Config, ImageSource};
use serde::Serialize;
use std::path::Path;

/// What a build would send to the Engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ContextFacts {
    /// Files after the ignore file.
    pub files: u64,
    pub bytes: u64,
    pub has_ignore_file: bool,
}

/// A plan without AWS: the config, the task definitions in git, the Dockerfiles and their contexts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OfflineDocument {
    pub environment: Option<String>,
    /// Why AWS was not asked.
    pub why: String,
    /// What to change so that it can be, where that is in anybody's hands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What a deploy would refuse.
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
    pub images: Vec<OfflineImage>,
    pub services: Vec<OfflineService>,
    pub release_commands: Vec<String>,
    /// A Terraform plan that was given beside the config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<Infrastructure>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OfflineImage {
    pub key: ImageKey,
    /// The repository, or the reference that was given.
    pub name: String,
    /// `None`: nothing is built, or the context cannot be read.
    pub context: Option<ContextFacts>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OfflineService {
    pub key: ServiceKey,
    pub name: String,
    /// The file in git, from the folder of the config; `None`: the revision that the service runs, which is unknown here.
    pub task_definition: Option<String>,
}

/// What was read, or why it could not be.
pub type Read<K, T> = Vec<(K, Result<T, String>)>;

/// A context of this size takes long to send, and is rarely meant.
const LARGE: u64 = 256 * 1024 * 1024;

impl OfflineDocument {
    /// Of a config whose values are in AWS: its shape was checked, and nothing else can be.
    pub fn unresolved(environment: Option<&str>, why: &str) -> Self {
        Self {
            environment: environment.map(str::to_owned),
            why: why.to_owned(),
            next: None,
            problems: vec![],
            warnings: vec!["the config takes values from AWS: only its shape was checked".to_owned()],
            images: vec![],
            services: vec![],
            release_commands: vec![],
            infrastructure: None,
        }
    }

    /// `definitions` by service key and `contexts` by image key, as far as the config names files.
    pub fn of(
        config: &Config,
        why: &str,
        definitions: &Read<ServiceKey, TaskDefinition>,
        contexts: &Read<ImageKey, ContextFacts>,
    ) -> Self {
        let mut problems = vec![];
        let mut warnings = vec![];
        for (key, read) in definitions {
            match read {
                Ok(definition) => definition_problems(config, key, definition, &mut problems, &mut warnings),
                Err(why) => problems.push(format!("service `{key}`: {why}")),
            }
        }
        for (key, read) in contexts {
            match read {
                Ok(facts) => warnings.extend(context_warnings(key, facts)),
                Err(why) => problems.push(format!("image `{key}`: {why}")),
            }
        }
        let within = |path: &Path| path.strip_prefix(&config.root).unwrap_or(path).display().to_string();
        let context =
            |key: &ImageKey| contexts.iter().find(|(k, _)| k == key).and_then(|(_, read)| read.as_ref().ok()).cloned();
        let images = config.images.iter().map(|image| OfflineImage {
            key: image.key.clone(),
            name: match &image.source {
                ImageSource::Build(build) => build.repository.clone(),
                ImageSource::Existing(reference) => reference.clone(),
            },
            context: context(&image.key),
        });
        let services = config.services.iter().map(|service| OfflineService {
            key: service.key.clone(),
            name: service.name.to_string(),
            task_definition: service.task_definition.as_deref().map(within),
        });
        Self {
            environment: config.environment.clone(),
            why: why.to_owned(),
            next: None,
            problems,
            warnings,
            images: images.collect(),
            services: services.collect(),
            release_commands: config.release.iter().map(|c| format!("{}: {}", c.name, joined(&c.command))).collect(),
            infrastructure: None,
        }
    }
}

fn definition_problems(
    config: &Config,
    key: &ServiceKey,
    definition: &TaskDefinition,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) {
    let name = format!("service `{key}`");
    let service = config.services.iter().find(|s| s.key == *key);
    let containers = service.map(|s| s.containers.as_slice()).unwrap_or_default().iter();
    let containers: Vec<_> = containers
        .filter_map(|(container, image)| {
            Some((container.clone().or_else(|| definition.sole_container())?, image.clone()))
        })
        .collect();
    let said = validate::findings(definition, &super::released(config, &containers));
    problems.extend(said.problems.into_iter().map(|p| format!("{name}: task definition: {p}")));
    warnings.extend(said.warnings.into_iter().map(|w| format!("{name}: task definition: {w}")));
    let Some(service) = service else { return };
    for (container, image) in &service.containers {
        if let Some(container) = container
            && definition.container(container).is_none()
        {
            problems.push(format!(
                "{name}: container `{container}` is not in the task definition, which has {}",
                definition.container_names().join(", ")
            ));
        }
        let platform = config.images.iter().find(|i| i.key == *image).and_then(|i| match &i.source {
            ImageSource::Build(build) => build.platform.as_deref(),
            ImageSource::Existing(_) => None,
        });
        if let Some(platform) = platform
            && platform != definition.platform()
        {
            problems.push(format!(
                "image `{image}` is for {platform}, but the task definition of {name} runs on {}",
                definition.platform()
            ));
        }
    }
}

fn context_warnings(key: &ImageKey, facts: &ContextFacts) -> Vec<String> {
    let mut warnings = vec![];
    if !facts.has_ignore_file {
        warnings.push(format!(
            "image `{key}`: its context has no `.dockerignore`: `.git` and local files become part of it"
        ));
    }
    if facts.bytes > LARGE {
        warnings.push(format!(
            "image `{key}`: its context has {} MiB in {} files: leave out what the build does not need",
            facts.bytes / 1024 / 1024,
            facts.files
        ));
    }
    warnings
}
