//! `lock`: who keeps deploys out of the services, and a person's own lock.

use crate::cli::{Arguments, LockAction, LockFlags};
use crate::commands::deploy::owner;
use crate::commands::refuse_foreign;
use crate::commands::scope::Scope;
use crate::context::RunContext;
use crate::events::Sink;
use crate::lease::{self, ManualLock, State};
use crate::ports::Aws;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::Failure;
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
    let context = RunContext::read(env, directory);
    match flags.action {
        LockAction::Status => {}
        LockAction::Acquire => refuse_foreign(&context, "lock acquire")?,
        LockAction::Release => refuse_foreign(&context, "lock release")?,
    }
    let scope = Scope::read(&flags.service, arguments, env, directory, Arc::clone(&sink)).await?;
    let cloud = scope.open(&context, env, sink).await?;
    let manual_lock = manual_lock(flags.reason.clone().unwrap_or_default(), &context);
    let services: Vec<_> = scope.services.iter().map(|scoped| scoped.service.clone()).collect();
    act(flags.action, &services, &manual_lock, cloud.ports()).await
}

/// The same for services that are known. A lock is set on all of them or on none.
///
/// # Errors
/// As [`lock`]; with what was done before it, where that stays.
pub async fn act(
    action: LockAction,
    services: &[ServiceRef],
    ours: &ManualLock,
    aws: Aws<'_>,
) -> Result<Vec<Line>, Failure> {
    let mut lines: Vec<Line> = vec![];
    for (at, service) in services.iter().enumerate() {
        match of_service(action, service, ours, aws).await {
            Ok(line) => lines.push(line),
            Err(failure) => return Err(failure.with_done(left(action, &services[..at], &lines, aws).await)),
        }
    }
    Ok(lines)
}

/// What stays of what was done before a service refused.
async fn left(action: LockAction, done: &[ServiceRef], lines: &[Line], aws: Aws<'_>) -> Vec<String> {
    let mut left = vec![];
    for (service, line) in done.iter().zip(lines) {
        match action {
            LockAction::Status => {}
            LockAction::Release => left.push(line.text()),
            LockAction::Acquire => {
                if lease::clear(service, aws).await.is_err() {
                    let unlock = format!("fargate-deploy lock release -s {}", service.name);
                    left.push(format!("{service} is locked, and could not be unlocked again: {unlock}"));
                }
            }
        }
    }
    left
}

/// As of now, by this machine's clock.
#[expect(clippy::disallowed_methods, reason = "shown to people; nothing is decided by it")]
pub fn manual_lock(reason: String, context: &RunContext) -> ManualLock {
    let since = jiff::Timestamp::now().round(jiff::Unit::Second).map(|t| t.to_string()).unwrap_or_default();
    ManualLock { reason, owner: owner(context), since }
}

async fn of_service(
    action: LockAction,
    service: &ServiceRef,
    ours: &ManualLock,
    aws: Aws<'_>,
) -> Result<Line, Failure> {
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
