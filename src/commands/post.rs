//! `post`: after the job's steps, whatever became of them. A run that was killed could not release its lease, nor say on
//! GitHub how it ended; this does, from what the run wrote down.

use crate::adapters::aws::AwsClient;
use crate::commands::deploy::open_session;
use crate::commands::github_deployment::abandon;
use crate::context::RunContext;
use crate::events::{Event, Sink};
use crate::lease::{ReleaseResult, release_left};
use fargate_deploy_core::names::RoleArn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What a run holds, and how to reach it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Leftovers {
    pub region: Option<String>,
    pub roles: Vec<RoleArn>,
    /// Parameter and token.
    pub leases: Vec<(String, String)>,
    /// GitHub's Deployment that says `in_progress`.
    #[serde(default)]
    pub deployment: Option<u64>,
}

/// Writes down what is held, in a file that outlives a killed run, and tells everything else to `inner`.
pub struct CleanupState {
    inner: Arc<dyn Sink + Send + Sync>,
    path: Option<PathBuf>,
    held: Mutex<Leftovers>,
}

impl CleanupState {
    pub fn new(
        inner: Arc<dyn Sink + Send + Sync>,
        env: &BTreeMap<String, String>,
        region: Option<String>,
        roles: Vec<RoleArn>,
    ) -> Self {
        Self { inner, path: path(env), held: Mutex::new(Leftovers { region, roles, leases: vec![], deployment: None }) }
    }

    /// Which of GitHub's Deployments has no last status yet.
    pub fn set_deployment(&self, id: Option<u64>) {
        self.change(|held| held.deployment = id);
    }

    fn change(&self, how: impl FnOnce(&mut Leftovers)) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        how(&mut held);
        let Some(path) = &self.path else { return };
        // Not written, the lease goes stale by itself.
        let _ = if held.leases.is_empty() && held.deployment.is_none() {
            std::fs::remove_file(path)
        } else {
            std::fs::write(path, serde_json::to_string(&*held).unwrap_or_default())
        };
    }
}

impl Sink for CleanupState {
    fn emit(&self, event: Event) {
        match &event {
            Event::LeaseAcquired { parameter, token, .. } => {
                self.change(|held| held.leases.push((parameter.clone(), token.expose().clone())))
            }
            Event::LeaseReleased { parameter } => self.change(|held| held.leases.retain(|(name, _)| name != parameter)),
            _ => {}
        }
        self.inner.emit(event);
    }

    fn redacted(&self, text: &str) -> String {
        self.inner.redacted(text)
    }
}

/// Releases what a killed run of this job left. The lines to print.
pub async fn post(env: &BTreeMap<String, String>, sink: Arc<dyn Sink + Send + Sync>) -> Vec<String> {
    let Some(path) = path(env) else { return vec![] };
    let Ok(text) = std::fs::read_to_string(&path) else { return vec![] };
    let Ok(held) = serde_json::from_str::<Leftovers>(&text) else { return vec![] };
    if let Some(id) = held.deployment {
        abandon(id, env, sink.as_ref()).await;
    }
    if held.leases.is_empty() {
        let _ = std::fs::remove_file(path);
        return vec![];
    }
    // As the run itself: the same name in CloudTrail, which a trust policy may ask for, and the same audience.
    let context = RunContext::read(env, std::path::Path::new("."));
    let cloud = match open_session(held.region, held.roles, &context, env, sink).await {
        Ok(session) => AwsClient::new(session),
        Err(failure) => {
            return vec![format!("the lease was not released, and goes stale in 90 seconds: {}", failure.what)];
        }
    };
    let mut lines = vec![];
    for (parameter, token) in &held.leases {
        lines.push(match release_left(parameter, token, cloud.ports()).await {
            Ok(ReleaseResult::Released) => format!("released {parameter}, which a killed run held"),
            Ok(ReleaseResult::StillRunning) => {
                format!("{parameter} stays closed: the release command of the killed run still runs")
            }
            Ok(ReleaseResult::NotOurs) => format!("{parameter} is held by this run no more"),
            Err(e) => format!("{parameter} was not released, and goes stale in 90 seconds: {e}"),
        });
    }
    let _ = std::fs::remove_file(path);
    lines
}

/// One file a job and attempt, where the runner keeps what it throws away after the job.
fn path(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let folder = env.get("RUNNER_TEMP").filter(|folder| !folder.is_empty())?;
    let part = |name: &str| env.get(name).cloned().unwrap_or_default();
    let name = format!(
        "fargate-deploy-held-{}-{}-{}.json",
        part("GITHUB_RUN_ID"),
        part("GITHUB_RUN_ATTEMPT"),
        part("GITHUB_JOB")
    );
    Some(PathBuf::from(folder).join(name.replace(['/', '\\'], "-")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Took;
    use fargate_deploy_core::names::ServiceRef;
    use fargate_deploy_core::redact::Secret;

    struct Nothing;

    impl Sink for Nothing {
        fn emit(&self, _: Event) {}
    }

    #[test]
    fn what_is_held_outlives_the_run_and_what_is_let_go_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([("RUNNER_TEMP".to_owned(), dir.path().display().to_string())]);
        let file = CleanupState::new(Arc::new(Nothing), &env, Some("eu-central-1".to_owned()), vec!["arn:role".into()]);
        file.emit(Event::LeaseAcquired {
            service: ServiceRef { cluster: "shop".into(), name: "web".into() },
            parameter: "/a/lease/1".to_owned(),
            generation: 1,
            token: Secret::new("t"),
            took: Took::default(),
        });
        let written: Leftovers = serde_json::from_str(&std::fs::read_to_string(path(&env).unwrap()).unwrap()).unwrap();
        assert_eq!(written.leases, [("/a/lease/1".to_owned(), "t".to_owned())]);
        assert_eq!(written.region.as_deref(), Some("eu-central-1"));
        file.emit(Event::LeaseReleased { parameter: "/a/lease/1".to_owned() });
        assert!(!path(&env).unwrap().exists());
    }

    #[tokio::test]
    async fn a_job_that_held_nothing_has_nothing_to_put_away() {
        assert_eq!(post(&BTreeMap::new(), Arc::new(Nothing)).await, Vec::<String>::new());
    }
}
