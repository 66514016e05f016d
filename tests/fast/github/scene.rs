//! A repository with one pull request, and a job that speaks to it.

use crate::recorded_events::RecordedEvents;
use aws_stage::faults::{FaultAction, FaultPlan, FaultRule};
use aws_stage::github::{GitHub, PullRequest, Standalone};
use fargate_deploy::adapters::aws::Network;
use fargate_deploy::adapters::github::{GitHubApi, Patience};
use fargate_deploy_core::comment::{Key, Marker};
use std::collections::BTreeMap;
use std::time::Duration;

pub const BOT: &str = "github-actions[bot]";
pub const PULL: u64 = 7;
pub const HEAD: &str = "4f2c1d6b0d9f4b1d8a7c3e5f60718293a4b5c6d7";

pub struct Scene {
    pub server: Standalone,
    pub told: RecordedEvents,
}

impl Scene {
    pub async fn open() -> Self {
        let github = GitHub::new("acme/shop", 2002);
        github.add_pull_request(PullRequest { number: PULL, head: HEAD.to_owned(), merged_as: None });
        Self { server: Standalone::start(github).await.unwrap(), told: RecordedEvents::default() }
    }

    pub fn github(&self) -> &GitHub {
        self.server.github()
    }

    /// What the job's step finds in its environment.
    pub fn env(&self) -> BTreeMap<String, String> {
        self.github().env(&self.server.url()).into_iter().collect()
    }

    /// The adapter, with waits that a test can afford.
    pub fn api(&self) -> GitHubApi {
        self.api_of(&self.env(), patient())
    }

    pub fn api_of(&self, env: &BTreeMap<String, String>, patience: Patience) -> GitHubApi {
        let network = Network::from_env(env).unwrap();
        GitHubApi::from_env(env, &network, patience, &self.told).unwrap().unwrap()
    }

    pub fn fault(&self, operation: &str, times: u32, action: FaultAction) {
        let rule = FaultRule {
            service: Some("github".to_owned()),
            operation: Some(operation.to_owned()),
            after: 0,
            times: Some(times),
            probability: None,
            action,
        };
        self.server.set_faults(FaultPlan { seed: 0, rules: vec![rule] });
    }

    pub fn calls_of(&self, operation: &str) -> usize {
        self.server.calls().iter().filter(|call| call.operation == operation).count()
    }

    pub fn writes(&self) -> Vec<String> {
        self.server.calls().into_iter().filter(|call| call.mutating).map(|call| call.operation).collect()
    }
}

pub fn patient() -> Patience {
    Patience {
        attempt: Duration::from_secs(10),
        attempts: 4,
        retry_wait: Duration::from_millis(5),
        limit_wait: Duration::from_secs(10),
    }
}

pub fn key(environment: &str) -> Key {
    Key::new("fargate-deploy.yml", Some(environment), "shop", None)
}

pub fn marker(head: &str) -> Marker {
    Marker { key: key("production"), head: head.to_owned(), digest: "sha256:ab12".to_owned() }
}
