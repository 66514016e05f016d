//! Task definitions in git as the checks read them, and what these checks end a run with.

use crate::config::Config;
use crate::definition_file::definition_in;
use fargate_deploy_core::names::ServiceKey;
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_core::verify::{Check, Files, Topic, Verdict, of_files};
use futures_util::future::join_all;

type Read<K, T> = Vec<(K, Result<T, String>)>;

/// What is wrong with the task definitions in git and the services that they are for: what a deploy looks at before anything
/// else, since it costs no call.
pub async fn cheap_half(config: &Config) -> Option<Failure> {
    let (services, commands) = futures_util::join!(definitions(config), own(config));
    failure(&of_files(Files { config, services: &services, commands: &commands, contexts: &vec![] }))
}

/// Of services, by their key.
pub async fn definitions(config: &Config) -> Read<ServiceKey, TaskDefinition> {
    let files =
        config.services.iter().filter_map(|service| Some((service.key.clone(), service.task_definition.as_ref()?)));
    join_all(files.map(async |(key, file)| (key, definition_in(file).await))).await
}

/// Of release commands that have one of their own, by their name.
pub async fn own(config: &Config) -> Read<String, TaskDefinition> {
    let files =
        config.release.iter().filter_map(|command| Some((command.name.clone(), command.task_definition.as_ref()?)));
    join_all(files.map(async |(name, file)| (name, definition_in(file).await))).await
}

/// The ending: what failed first, the others as evidence.
#[must_use]
pub fn failure(checks: &[Check]) -> Option<Failure> {
    let mut failed = checks.iter().filter_map(|check| match &check.verdict {
        Verdict::Failed { why, fix, is_permission } => Some((check, why, fix, *is_permission)),
        _ => None,
    });
    let all: Vec<_> = failed.clone().map(|(check, why, ..)| format!("{}: {why}", check.what)).collect();
    let (check, why, fix, _) = failed.next()?;
    let is_permission = checks
        .iter()
        .filter(|check| check.has_failed())
        .all(|check| matches!(check.verdict, Verdict::Failed { is_permission: true, .. }));
    let reason = match (is_permission, check.check == Topic::Identity) {
        (true, true) => Reason::Identity,
        (true, false) => Reason::Permission,
        _ => Reason::Config,
    };
    let mut failure = Failure::new(reason, format!("{}: {why}", check.what)).with_evidence(all[1..].to_vec());
    failure.next.clone_from(fix);
    Some(failure)
}
