//! Which services a command is about, and how to reach them: the config's, or those that the flags name where there is none.

use crate::cli::Arguments;
use crate::commands::configure::configure;
use crate::config;
use crate::events::Sink;
use fargate_deploy_core::names::{ContainerName, RoleArn, ServiceKey, ServiceRef};
use fargate_deploy_core::outcome::{Failure, Reason};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The services that a command is about.
#[derive(Clone, Debug)]
pub struct Scope {
    pub region: Option<String>,
    pub roles: Vec<RoleArn>,
    pub services: Vec<ScopedService>,
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
}

impl Scope {
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
        let global = &arguments.global;
        let request = config::Request { only: named.to_vec(), ..arguments.request() };
        if config::exists(&request, directory) {
            let config = configure(&request, env, directory, sink, std::future::pending()).await?;
            let services = config.services.into_iter().map(|s| ScopedService {
                container: s.containers.into_iter().find_map(|(container, _)| container),
                key: s.key,
                service: ServiceRef { cluster: s.cluster, name: s.name },
            });
            return Ok(Self {
                region: config.region,
                roles: config.roles,
                services: services.collect(),
                root: config.root,
            });
        }
        let Some(cluster) = global.cluster.as_ref().filter(|_| !named.is_empty()) else {
            return Err(Failure::new(Reason::Config, "which service? there is no `fargate-deploy.yml` here or above")
                .with_next("name the service: `--cluster CLUSTER --service SERVICE`"));
        };
        let services = named.iter().map(|name| ScopedService {
            key: name.as_str().into(),
            service: ServiceRef { cluster: cluster.as_str().into(), name: name.as_str().into() },
            container: None,
        });
        Ok(Self {
            region: global.region.clone(),
            roles: global.role.iter().map(RoleArn::new).collect(),
            services: services.collect(),
            root: directory.to_owned(),
        })
    }
}
