//! A person's lock: no deploys before the demo. It lies beside the generations of the lease, so that one read sees both;
//! it has no heartbeat and is never taken over.

use super::owner::Owner;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::{Failure, Reason};
use serde::{Deserialize, Serialize};

/// The parameter's name beside the numbers of the generations.
pub(super) const NAME: &str = "sticky";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManualLock {
    pub reason: String,
    /// Who, and from which host or run.
    pub owner: Owner,
    /// RFC 3339, by the owner's clock: to be read by people.
    pub since: String,
}

impl ManualLock {
    /// What cannot be read locks all the same: somebody meant it.
    pub(super) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self { reason: text.to_owned(), ..Self::default() })
    }

    /// Who waits for a person waits for ever, so nobody does.
    pub(super) fn refuses(&self, service: &ServiceRef) -> Failure {
        Failure::new(Reason::Locked, format!("{service} is locked by {}", self.sentence()))
            .with_next("ask them, then: fargate-deploy lock release")
    }

    /// By whom, since when and why.
    pub fn sentence(&self) -> String {
        let who = match (self.owner.actor.as_str(), self.owner.run.as_str()) {
            ("", "") => "somebody".to_owned(),
            ("", run) => run.to_owned(),
            (actor, "") => actor.to_owned(),
            (actor, run) => format!("{actor} ({run})"),
        };
        let since = if self.since.is_empty() { String::new() } else { format!(" since {}", self.since) };
        format!("{who}{since}: {}", self.reason)
    }
}
