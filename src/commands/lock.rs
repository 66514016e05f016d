//! `lock`: who keeps deploys out of the services, and a person's own lock.

use crate::adapters::aws::AwsClient;
use crate::cli::{Arguments, LockAction, LockFlags};
use crate::commands::configure::configure;
use crate::commands::deploy::{open_session, owner};
use crate::config;
use crate::context::RunContext;
use crate::events::Sink;
use crate::lease::{self, ManualLock, State};
use crate::ports::Aws;
use fargate_deploy_core::names::{RoleArn, ServiceRef};
use fargate_deploy_core::outcome::{Failure, Reason};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What one service's lock is, for `--json` and for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    pub cluster: String,
    pub service: String,
    /// By whom, since when and why.
    pub locked: Option<String>,
    /// The run that deploys now, or died while it did.
    pub deploying: Option<String>,
    /// What this command did.
    pub done: Option<&'static str>,
}

impl Line {
    fn new(service: &ServiceRef, state: State, done: Option<&'static str>) -> Self {
        Self {
            cluster: service.cluster.to_string(),
            service: service.name.to_string(),
            locked: state.manual_lock.map(|manual_lock| manual_lock.sentence()),
            deploying: state.holder.map(|holder| holder.to_string()),
            done,
        }
    }

    pub fn text(&self) -> String {
        let mut parts = vec![];
        parts.extend(self.done.map(str::to_owned));
        match &self.locked {
            Some(locked) => parts.push(format!("locked by {locked}")),
            None if self.done.is_none() => parts.push("not locked".to_owned()),
            None => {}
        }
        parts.extend(self.deploying.as_ref().map(|run| format!("being released by {run}")));
        format!("{}/{}: {}", self.cluster, self.service, parts.join("; "))
    }
}

/// # Errors
/// `config`, `identity`, `permission`; `locked` where somebody else's lock is in the way of ours.
pub async fn lock(
    flags: &LockFlags,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
) -> Result<Vec<Line>, Failure> {
    let scope = Scope::read(flags, arguments, env, directory, Arc::clone(&sink)).await?;
    let context = RunContext::read(env, directory);
    let cloud = AwsClient::new(open_session(scope.region, scope.roles, &context, env, sink).await?);
    #[expect(clippy::disallowed_methods, reason = "shown to people; nothing is decided by it")]
    let manual_lock = ManualLock {
        reason: flags.reason.clone().unwrap_or_default(),
        owner: owner(&context),
        since: jiff::Timestamp::now().round(jiff::Unit::Second).map(|t| t.to_string()).unwrap_or_default(),
    };
    let mut lines = vec![];
    for service in &scope.services {
        lines.push(act(flags.action, service, &manual_lock, cloud.ports()).await?);
    }
    Ok(lines)
}

async fn act(action: LockAction, service: &ServiceRef, ours: &ManualLock, aws: Aws<'_>) -> Result<Line, Failure> {
    Ok(match action {
        LockAction::Status => Line::new(service, lease::state(service, aws).await?, None),
        LockAction::Acquire => Line::new(service, lease::set(service, ours, aws).await?, None),
        LockAction::Release => {
            let was = lease::clear(service, aws).await?;
            let done = if was.is_some() { "released" } else { "was not locked" };
            Line::new(service, State::default(), Some(done))
        }
    })
}

/// Whose locks are meant, and how to reach them.
struct Scope {
    region: Option<String>,
    roles: Vec<RoleArn>,
    services: Vec<ServiceRef>,
}

impl Scope {
    /// The config's services, or one that the flags name where there is no config.
    async fn read(
        flags: &LockFlags,
        arguments: &Arguments,
        env: &BTreeMap<String, String>,
        directory: &Path,
        sink: Arc<dyn Sink + Send + Sync>,
    ) -> Result<Self, Failure> {
        let global = &arguments.global;
        let request = config::Request { only: flags.service.clone(), ..arguments.request() };
        if config::exists(&request, directory) {
            let config = configure(&request, env, directory, sink, std::future::pending()).await?;
            let named = config.services.into_iter().map(|s| ServiceRef { cluster: s.cluster, name: s.name });
            return Ok(Self { region: config.region, roles: config.roles, services: named.collect() });
        }
        let Some(cluster) = global.cluster.as_ref().filter(|_| !flags.service.is_empty()) else {
            return Err(Failure::new(Reason::Config, "whose lock? there is no `fargate-deploy.yml` here or above")
                .with_next("name the service: `--cluster CLUSTER --service SERVICE`"));
        };
        let named = flags.service.iter().map(|name| name.as_str().into());
        let services = named.map(|name| ServiceRef { cluster: cluster.as_str().into(), name }).collect();
        Ok(Self { region: global.region.clone(), roles: global.role.iter().map(RoleArn::new).collect(), services })
    }
}
