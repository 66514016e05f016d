//! What a rehearsal changes in the config, and nothing else: the local Engine's architecture instead of the one on AWS,
//! smoke checks at the stage's load balancers, repositories in the stage's registry.

use crate::config::{Cache, Config, ImageSource, ServiceConfig};
use crate::definition_file::read_definition;
use fargate_deploy_core::image::ImageRef;
use fargate_deploy_core::names::{ContainerName, ServiceKey};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::{TaskDefinition, validate};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The task definitions of a rehearsal, in files of their own.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `linux/amd64`: the Engine's own.
    platform: String,
    directory: PathBuf,
    definitions: BTreeMap<ServiceKey, TaskDefinition>,
    /// Those of release commands that have one of their own, by the command's name.
    own: BTreeMap<String, TaskDefinition>,
}

impl Setting {
    /// Reads the task definition of each service, or makes one up where the config leaves it to AWS, with one of `ports`.
    /// They are written to `directory`.
    ///
    /// # Errors
    /// `config`: a file that cannot be read or is no task definition. `unavailable`: the disk does not take them.
    pub async fn prepare(
        config: &Config,
        platform: &str,
        directory: PathBuf,
        ports: &BTreeMap<ServiceKey, u16>,
    ) -> Result<Self, Failure> {
        let io = |e: std::io::Error| super::no_space(&format!("the folder `{}`: {e}", directory.display()));
        tokio::fs::create_dir_all(&directory).await.map_err(io)?;
        let mut definitions = BTreeMap::new();
        let mut own = BTreeMap::new();
        for command in &config.release {
            let Some(file) = &command.task_definition else { continue };
            let what = format!("release command `{}`", command.name);
            let definition = adapted(read_definition(file).await?, platform, &what)?;
            let text = serde_json::to_string_pretty(&definition.body).unwrap_or_default();
            tokio::fs::write(directory.join(own_file(&command.name)), text).await.map_err(io)?;
            own.insert(command.name.clone(), definition);
        }
        for service in &config.services {
            let definition = match &service.task_definition {
                Some(file) => read_definition(file).await?,
                None => made_up(config, service, ports.get(&service.key).copied()),
            };
            let definition = adapted(definition, platform, &format!("service `{}`", service.key))?;
            let text = serde_json::to_string_pretty(&definition.body).unwrap_or_default();
            tokio::fs::write(directory.join(format!("{}.json", service.key)), text).await.map_err(io)?;
            definitions.insert(service.key.clone(), definition);
        }
        Ok(Self { platform: platform.to_owned(), directory, definitions, own })
    }

    pub fn definition(&self, service: &ServiceKey) -> Option<&TaskDefinition> {
        self.definitions.get(service)
    }

    /// The task definition that a release command has of its own.
    pub fn own(&self, command: &str) -> Option<&TaskDefinition> {
        self.own.get(command)
    }

    /// Everything that runs in this rehearsal.
    pub fn all(&self) -> Vec<&TaskDefinition> {
        self.definitions.values().chain(self.own.values()).collect()
    }

    /// The config as it is rehearsed: smoke checks ask the stage, or nobody.
    pub fn apply(&self, mut config: Config, env: &BTreeMap<String, String>) -> Config {
        for image in &mut config.images {
            if let ImageSource::Build(build) = &mut image.source {
                build.repository = repository(&build.repository);
                build.platform = Some(self.platform.clone());
                // The stage's registry goes with the rehearsal.
                build.cache = if build.cache == Cache::Auto { Cache::Inline } else { build.cache };
            }
        }
        for command in config.release.iter_mut().filter(|c| c.task_definition.is_some()) {
            command.task_definition = Some(self.directory.join(own_file(&command.name)));
        }
        for service in &mut config.services {
            service.task_definition = Some(self.directory.join(format!("{}.json", service.key)));
            match env.get(&super::url_variable(&service.key)) {
                Some(local) => {
                    for check in &mut service.smoke {
                        check.url = format!("{local}{}", path(check.url.value())).into();
                    }
                }
                None => service.smoke.clear(),
            }
        }
        config
    }
}

fn own_file(command: &str) -> String {
    format!("release.{command}.json")
}

/// For the local Engine's architecture.
fn adapted(mut definition: TaskDefinition, platform: &str, whose: &str) -> Result<TaskDefinition, Failure> {
    let problems: Vec<_> = validate::problems(&definition);
    if let Some(first) = problems.first() {
        let what = format!("{whose}: task definition: {first}");
        return Err(Failure::new(Reason::Config, what).with_evidence(problems[1..].to_vec()));
    }
    let architecture = if platform.ends_with("arm64") { "ARM64" } else { "X86_64" };
    let runtime = json!({"operatingSystemFamily": "LINUX", "cpuArchitecture": architecture});
    definition.body.insert("runtimePlatform".to_owned(), runtime);
    Ok(definition)
}

/// The name under which the stage's registry has a repository: without the host.
pub fn repository(text: &str) -> String {
    ImageRef::parse(text).map_or_else(|_| text.to_owned(), |reference| reference.repository)
}

/// What follows the host in a URL.
pub fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// The smallest definition that runs the service's containers: for a config that starts from the revision in AWS, which a
/// rehearsal does not have.
fn made_up(config: &Config, service: &ServiceConfig, port: Option<u16>) -> TaskDefinition {
    let region = config.region.as_deref().unwrap_or("eu-central-1");
    let log = json!({"logDriver": "awslogs", "options": {
        "awslogs-group": format!("/ecs/{}", service.key), "awslogs-region": region, "awslogs-stream-prefix": service.key
    }});
    let containers: Vec<_> = service
        .containers
        .iter()
        .enumerate()
        .map(|(index, (name, _))| {
            let name = name.as_ref().map_or("app", ContainerName::as_str);
            let ports: Vec<_> = port.filter(|_| index == 0).map(|port| json!({"containerPort": port})).into_iter().collect();
            json!({"name": name, "image": "to-be-set", "essential": true, "portMappings": ports, "logConfiguration": log})
        })
        .collect();
    let body = json!({
        "family": service.key, "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "executionRoleArn": "arn:aws:iam::111122223333:role/execution", "containerDefinitions": containers
    });
    TaskDefinition { body: body.as_object().cloned().unwrap_or_default(), tags: vec![] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_url_starts_at_its_slash() {
        for (url, expected) in [("https://a.b/health", "/health"), ("https://a.b", "/"), ("http://a:1/x?y=1", "/x?y=1")]
        {
            assert_eq!(path(url), expected);
        }
    }

    #[test]
    fn repositories_of_any_host_live_in_the_stages_registry() {
        for (text, expected) in [
            ("team/app", "team/app"),
            ("ghcr.io/org/api", "org/api"),
            ("111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop", "shop"),
        ] {
            assert_eq!(repository(text), expected);
        }
    }
}
