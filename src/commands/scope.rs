//! Which services a command is about, and how to reach them: the config's, or those that the flags name where there is none.

use crate::adapters::aws::AwsClient;
use crate::cli::Arguments;
use crate::commands::configure::configure;
use crate::commands::deploy::open_session;
use crate::config::suggestion;
use crate::config::{self, Config, ServiceConfig};
use crate::context::RunContext;
use crate::events::Sink;
use fargate_deploy_core::names::{ContainerName, RoleArn, ServiceKey, ServiceRef};
use fargate_deploy_core::outcome::{Failure, Reason};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The services that a command is about.
#[derive(Clone, Debug)]
pub struct Scope {
    pub environment: Option<String>,
    pub region: Option<String>,
    pub roles: Vec<RoleArn>,
    pub services: Vec<ScopedService>,
    /// The release commands that run when the services serve.
    pub commands_after: Vec<String>,
    /// The folder of the config, or the one that the command was started in.
    pub root: PathBuf,
}

#[derive(Clone, Debug)]
pub struct ScopedService {
    /// What the config calls it; its name where there is none.
    pub key: ServiceKey,
    pub service: ServiceRef,
    /// The container that carries the (first) image of the service.
    pub container: Option<ContainerName>,
    pub config: ServiceConfig,
}

impl Scope {
    /// The services as the config has them.
    pub fn configs(&self) -> Vec<ServiceConfig> {
        self.services.iter().map(|service| service.config.clone()).collect()
    }

    /// AWS, as the role that the config names.
    ///
    /// # Errors
    /// `identity`, `config`, `unavailable`: there is no session.
    pub async fn open(
        &self,
        context: &RunContext,
        env: &BTreeMap<String, String>,
        sink: Arc<dyn Sink + Send + Sync>,
    ) -> Result<AwsClient, Failure> {
        open_session(self.region.clone(), self.roles.clone(), context, env, sink).await.map(AwsClient::new)
    }

    /// `named`: keys of the config, or ECS names beside `--cluster`; none is all of the config.
    ///
    /// # Errors
    /// `config`, and where the config takes values from AWS also `identity`, `permission`, `unavailable`.
    pub async fn read(
        named: &[String],
        arguments: &Arguments,
        env: &BTreeMap<String, String>,
        directory: &Path,
        sink: Arc<dyn Sink + Send + Sync>,
    ) -> Result<Self, Failure> {
        let scope = Self::read_for_task(named, arguments, env, directory, sink).await?;
        if scope.services.is_empty() {
            return Err(unnamed("name the service: `--cluster CLUSTER --service SERVICE`"));
        }
        Ok(scope)
    }

    /// The same for who may name a task instead: without a config and without a service there is none.
    ///
    /// # Errors
    /// As [`Scope::read`].
    pub async fn read_for_task(
        named: &[String],
        arguments: &Arguments,
        env: &BTreeMap<String, String>,
        directory: &Path,
        sink: Arc<dyn Sink + Send + Sync>,
    ) -> Result<Self, Failure> {
        let global = &arguments.global;
        let request = config::Request { needs_no_sources: true, ..arguments.request() };
        if config::exists(&request, directory) {
            let config = configure(&request, env, directory, sink, std::future::pending()).await?;
            return Ok(Self {
                services: of_config(&config, named)?.into_iter().map(ScopedService::of).collect(),
                commands_after: config.commands_after(),
                environment: config.environment,
                region: config.region,
                roles: config.roles,
                root: config.root,
            });
        }
        let services = global.cluster.iter().flat_map(|cluster| {
            named.iter().map(|name| ServiceConfig {
                key: name.as_str().into(),
                cluster: cluster.as_str().into(),
                name: name.as_str().into(),
                containers: vec![],
                task_definition: None,
                after: vec![],
                smoke: vec![],
            })
        });
        Ok(Self {
            environment: None,
            region: global.region.clone(),
            roles: global.role.iter().map(RoleArn::new).collect(),
            services: services.map(ScopedService::of).collect(),
            commands_after: vec![],
            root: directory.to_owned(),
        })
    }
}

/// No service is named, and there is no config that has any.
pub(super) fn unnamed(next: &str) -> Failure {
    Failure::new(Reason::Config, "which service? there is no `fargate-deploy.yml` here or above").with_next(next)
}

/// The one service that a command is about.
///
/// # Errors
/// `config`: the config has several.
pub(super) fn only(services: &[ScopedService]) -> Result<&ScopedService, Failure> {
    match services {
        [only] => Ok(only),
        several => {
            let names: Vec<_> = several.iter().map(|service| format!("`{}`", service.key)).collect();
            Err(Failure::new(Reason::Config, "which service? the config has several")
                .with_next(format!("name one with `-s`: {}", names.join(", "))))
        }
    }
}

impl ScopedService {
    pub fn of(config: ServiceConfig) -> Self {
        Self {
            key: config.key.clone(),
            service: config.reference(),
            container: config.containers.iter().find_map(|(container, _)| container.clone()),
            config,
        }
    }
}

/// Those of the config that are named by their keys; all where none is.
///
/// # Errors
/// `config`: there is no such service.
pub(super) fn of_config(config: &Config, named: &[String]) -> Result<Vec<ServiceConfig>, Failure> {
    let is_there = |key: &&String| config.services.iter().any(|service| service.key.as_str() == key.as_str());
    if let Some(unknown) = named.iter().find(|key| !is_there(key)) {
        let all: Vec<_> = config.services.iter().map(|service| service.key.as_str()).collect();
        let what = format!("there is no service `{unknown}` in the config");
        return Err(Failure::new(Reason::Config, what).with_next(suggestion(unknown, all)));
    }
    let is_meant = |key: &str| named.is_empty() || named.iter().any(|name| name == key);
    Ok(config.services.iter().filter(|service| is_meant(service.key.as_str())).cloned().collect())
}
