//! `post`: after the job's steps, whatever became of them. A run that was killed could not release its lease, nor say on
//! GitHub how it ended; this does, from what the run wrote down.

use crate::adapters::aws::AwsClient;
use crate::commands::cleanup_state::{Leftovers, path};
use crate::commands::deploy::open_session;
use crate::commands::github_deployment::abandon;
use crate::context::RunContext;
use crate::events::Sink;
use crate::lease::{ReleaseResult, release_left};
use std::collections::BTreeMap;
use std::sync::Arc;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Event;

    struct Nothing;

    impl Sink for Nothing {
        fn emit(&self, _: Event) {}
    }

    #[tokio::test]
    async fn a_job_that_held_nothing_has_nothing_to_put_away() {
        assert_eq!(post(&BTreeMap::new(), Arc::new(Nothing)).await, Vec::<String>::new());
    }
}
