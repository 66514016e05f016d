//! A person's lock: no deploys before the demo. It lies beside the generations of the lease, so that one read sees both;
//! it has no heartbeat and is never taken over.

use super::claim::{Owner, chain, denied, path};
use crate::ports::{Aws, CallErrorKind};
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

/// Who keeps deploys out of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub manual_lock: Option<ManualLock>,
    /// The run that holds the lease, or held it and died.
    pub holder: Option<Owner>,
}

/// # Errors
/// `permission`, or SSM does not answer.
pub async fn state(service: &ServiceRef, aws: Aws<'_>) -> Result<State, Failure> {
    let mut found = chain(&path(service), aws).await?;
    let newest = found.generations.pop().filter(|newest| !newest.is_released());
    let holder = newest.map(|held| held.owner().cloned().unwrap_or_default());
    Ok(State { manual_lock: found.manual_lock, holder })
}

/// Locks a service. A release that runs already is not stopped: `State::holder` of the answer names it.
///
/// # Errors
/// `locked`: somebody else has locked it, and why.
pub async fn set(service: &ServiceRef, manual_lock: &ManualLock, aws: Aws<'_>) -> Result<State, Failure> {
    let text = serde_json::to_string(manual_lock).unwrap_or_default();
    match aws.parameters.create_parameter(&format!("{}/{NAME}", path(service)), &text).await {
        Ok(()) => state(service, aws).await,
        Err(e) if e.kind == CallErrorKind::Conflict => {
            let other = state(service, aws).await?.manual_lock.unwrap_or_default();
            Err(other.refuses(service))
        }
        Err(e) => Err(denied(&e)),
    }
}

/// Unlocks a service; whose lock that was.
///
/// # Errors
/// `permission`, or SSM does not answer.
pub async fn clear(service: &ServiceRef, aws: Aws<'_>) -> Result<Option<ManualLock>, Failure> {
    let found = state(service, aws).await?.manual_lock;
    if found.is_some() {
        aws.parameters.delete_parameter(&format!("{}/{NAME}", path(service))).await.map_err(|e| denied(&e))?;
    }
    Ok(found)
}
