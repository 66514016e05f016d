//! What a run holds, written down for `post`: a run that is killed can put nothing away by itself.

use crate::events::{Event, Sink};
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

/// One file a job and attempt, where the runner keeps what it throws away after the job.
pub(super) fn path(env: &BTreeMap<String, String>) -> Option<PathBuf> {
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
}
