//! `continue` and `abort`: a deployment that waits for a person goes on, or goes back. Neither takes the lease: the run that
//! holds it watches the deployment, and says how it ends.

use crate::cli::{Arguments, PausedFlags};
use crate::commands::scope::Scope;
use crate::commands::status::newest_of;
use crate::config::ServiceConfig;
use crate::context::RunContext;
use crate::error::call_failed;
use crate::events::Sink;
use crate::ports::{Aws, Call, CallErrorKind};
use crate::render::screen::ScreenLine;
use fargate_deploy_core::names::{ServiceDeploymentArn, ServiceKey};
use fargate_deploy_core::outcome::{Failure, Reason};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Whether it goes on or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Continue,
    Abort,
}

/// What was done, for people and for programs.
pub type Done = (Vec<ScreenLine>, Vec<Value>);

/// # Errors
/// `config`: nothing waits, or nothing is under way. `permission`, `identity`, `unavailable`: AWS could not be told.
pub async fn decide(
    decision: Decision,
    flags: &PausedFlags,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
) -> Result<Done, Failure> {
    let context = RunContext::read(env, directory);
    let name = if decision == Decision::Continue { "continue" } else { "abort" };
    crate::commands::refuse_foreign(&context, name)?;
    let scope = Scope::read(&flags.service, arguments, env, directory, Arc::clone(&sink)).await?;
    let services = scope.configs();
    let cloud = scope.open(&context, env, sink).await?;
    act(decision, &services, flags.hook.as_deref(), flags.reason.as_deref(), cloud.ports()).await
}

/// A deployment that is under way, and the hook at which it waits.
struct UnderWay {
    key: ServiceKey,
    deployment: ServiceDeploymentArn,
    hook: Option<String>,
    is_going_back: bool,
}

/// The same for services that are known.
///
/// # Errors
/// As [`decide`].
pub async fn act(
    decision: Decision,
    services: &[ServiceConfig],
    hook: Option<&str>,
    reason: Option<&str>,
    aws: Aws<'_>,
) -> Result<Done, Failure> {
    use fargate_deploy_core::service::ServiceDeploymentStatus as Status;
    let mut found = vec![];
    for service in services {
        let Some(newest) = newest_of(&service.reference(), aws).await? else { continue };
        let d = newest.deployment;
        if d.status.is_ongoing() {
            let is_going_back = matches!(d.status, Status::RollbackRequested | Status::RollbackInProgress);
            found.push(UnderWay { key: service.key.clone(), deployment: d.arn, hook: d.awaiting_hook, is_going_back });
        }
    }
    let is_meant = |one: &UnderWay| match (hook, decision) {
        (Some(hook), _) => one.hook.as_deref() == Some(hook),
        (None, Decision::Continue) => one.hook.is_some(),
        (None, Decision::Abort) => !one.is_going_back,
    };
    let (meant, others): (Vec<UnderWay>, Vec<UnderWay>) = found.into_iter().partition(is_meant);
    if meant.is_empty() {
        return Err(match others.iter().find(|one| one.is_going_back) {
            Some(one) if (decision, hook) == (Decision::Abort, None) => {
                let what = format!("{}: ECS goes back already", one.key);
                Failure::new(Reason::Config, what).with_next("how it goes: fargate-deploy status --watch")
            }
            _ => nothing(decision, hook),
        });
    }
    let (mut lines, mut objects) = (vec![], vec![]);
    for one in &meant {
        let (done, doing) = match decision {
            Decision::Continue => ("goes on", "letting it go on"),
            Decision::Abort => ("goes back", "telling it to go back"),
        };
        let told = tell(decision, one, aws).await;
        told.map_err(|e| {
            let failure = match e.kind {
                CallErrorKind::Conflict => {
                    let no_more = if one.hook.is_some() { "does not wait" } else { "is not under way" };
                    let what = format!("{}: the deployment {no_more} any more", one.key);
                    Failure::new(Reason::Superseded, what).with_next("see how it is: fargate-deploy status")
                }
                _ => call_failed(&format!("{}: {doing}", one.key), &e),
            };
            // The others have been told already.
            failure.with_done(lines.iter().map(|line: &ScreenLine| line.text.clone()).collect())
        })?;
        let at = one.hook.as_ref().map(|hook| format!(" from hook {hook}")).unwrap_or_default();
        let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(ScreenLine::plain(format!("{} {done}{at}{why}", one.key)));
        objects.push(json!({
            "key": one.key, "deployment": one.deployment, "hook": one.hook, "done": done, "reason": reason,
        }));
    }
    lines.push(ScreenLine::dim("how it goes: fargate-deploy status --watch"));
    Ok((lines, objects))
}

/// Where none waits at a hook, ECS is told to stop the deployment, which goes back too.
async fn tell(decision: Decision, one: &UnderWay, aws: Aws<'_>) -> Call<()> {
    match &one.hook {
        Some(hook) => {
            aws.services.continue_service_deployment(&one.deployment, hook, decision == Decision::Continue).await
        }
        None => aws.services.stop_service_deployment(&one.deployment).await,
    }
}

fn nothing(decision: Decision, hook: Option<&str>) -> Failure {
    let what = match (decision, hook) {
        (_, Some(hook)) => format!("no deployment waits at hook `{hook}`"),
        (Decision::Continue, None) => "no deployment waits for a person".to_owned(),
        (Decision::Abort, None) => "no deployment is under way".to_owned(),
    };
    let next = match decision {
        Decision::Continue => "see how the services are: fargate-deploy status",
        Decision::Abort => "to replace what serves already: fargate-deploy rollback",
    };
    Failure::new(Reason::Config, what).with_next(next)
}
