//! GitHub's Deployment around a deploy. Telling GitHub is never worth failing a deploy for: what goes wrong here is one
//! warning, and the deploy goes on without it.

use crate::error::sentence;
use crate::events::{Event, Sink};
use crate::ports::{CallError, CallErrorKind, GitHub};
use fargate_deploy_core::github_deployment::{DeploymentStatus, NewDeployment, started};
use fargate_deploy_core::permission::{Permission, advice};
use std::time::Duration;
use tokio::time::timeout;

/// A deploy does not wait longer than this for GitHub.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes the Deployment and says that it is in progress: its id, or `None` after a warning. `created` is called as soon as
/// there is one: whatever happens to this run then, somebody has to end it.
pub async fn open(
    deployment: &NewDeployment,
    log_url: Option<&str>,
    github: &dyn GitHub,
    created: &dyn Fn(u64),
    sink: &dyn Sink,
) -> Option<u64> {
    let id = match timeout(PATIENCE, github.create_deployment(deployment)).await {
        Ok(Ok(id)) => id,
        Ok(Err(error)) => {
            warn("it was not created", &error, sink);
            return None;
        }
        Err(_) => {
            late("it was not created", sink);
            return None;
        }
    };
    created(id);
    // Without its first status it is `pending`, until the last one says how it ended.
    let what = "it does not say `in_progress`";
    match timeout(PATIENCE, github.set_deployment_status(id, &started(log_url))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn(what, &error, sink),
        Err(_) => late(what, sink),
    }
    Some(id)
}

/// Says how it ended, within `patience`: a run that is being cancelled has little.
pub async fn close(id: u64, status: &DeploymentStatus, patience: Duration, github: &dyn GitHub, sink: &dyn Sink) {
    let what = format!("it does not say `{}`", status.state.word());
    match timeout(patience.min(PATIENCE), github.set_deployment_status(id, status)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn(&what, &error, sink),
        Err(_) => late(&what, sink),
    }
}

fn warn(what: &str, error: &CallError, sink: &dyn Sink) {
    let mut text = format!("GitHub Deployment: {what}: {}", sentence(error));
    if error.kind == CallErrorKind::Denied {
        text.push_str(&format!("\n{}", advice(&[Permission::WriteDeployments])));
    }
    sink.emit(Event::Warning(text));
}

fn late(what: &str, sink: &dyn Sink) {
    sink.emit(Event::Warning(format!("GitHub Deployment: {what}: GitHub did not answer in time")));
}
