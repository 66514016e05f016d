//! GitHub's Deployment around a deploy. Telling GitHub is never worth failing a deploy for: what goes wrong here is one
//! warning, and the deploy goes on without it.

use crate::error::sentence;
use crate::events::{DeploymentProblem, Event, Sink, Warning};
use crate::ports::{CallError, CallErrorKind, GitHub};
use fargate_deploy_core::github_deployment::{DeploymentStatus, NewDeployment, started};
use fargate_deploy_core::permission::{Permission, advice};
use std::time::Duration;
use tokio::time::timeout;

/// A deploy does not wait longer than this for GitHub.
const PATIENCE: Duration = Duration::from_secs(20);
const LATE: &str = "GitHub did not answer in time";

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
            warn(DeploymentProblem::NotCreated, &error, sink);
            return None;
        }
        Err(_) => {
            late(DeploymentProblem::NotCreated, sink);
            return None;
        }
    };
    created(id);
    // Without its first status it is `pending`, until the last one says how it ended.
    match timeout(PATIENCE, github.set_deployment_status(id, &started(log_url))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn(DeploymentProblem::FirstStatusNotSet, &error, sink),
        Err(_) => late(DeploymentProblem::FirstStatusNotSet, sink),
    }
    Some(id)
}

/// Says how it ended, within `patience`: a run that is being cancelled has little.
pub async fn close(id: u64, status: &DeploymentStatus, patience: Duration, github: &dyn GitHub, sink: &dyn Sink) {
    let problem = DeploymentProblem::StatusNotSet(status.state.word().to_owned());
    match timeout(patience.min(PATIENCE), github.set_deployment_status(id, status)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn(problem, &error, sink),
        Err(_) => late(problem, sink),
    }
}

fn warn(problem: DeploymentProblem, error: &CallError, sink: &dyn Sink) {
    let advice = (error.kind == CallErrorKind::Denied).then(|| advice(&[Permission::WriteDeployments]));
    sink.emit(Event::Warning(Warning::GithubDeployment { problem, error: sentence(error), advice }));
}

fn late(problem: DeploymentProblem, sink: &dyn Sink) {
    let error = LATE.to_owned();
    sink.emit(Event::Warning(Warning::GithubDeployment { problem, error, advice: None }));
}
