//! Keeping deploys out of a service, and letting them in again.

use super::claim::{chain, denied, path};
use super::manual_lock::{ManualLock, NAME};
use super::owner::Owner;
use crate::ports::{Aws, CallErrorKind};
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::Failure;

/// Who keeps deploys out of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub manual_lock: Option<ManualLock>,
    /// The run that holds the lease, or held it and died.
    pub holder: Option<Owner>,
    /// The release command that it has started and not seen the end of.
    pub command: Option<String>,
}

/// # Errors
/// `permission`, or SSM does not answer.
pub async fn state(service: &ServiceRef, aws: Aws<'_>) -> Result<State, Failure> {
    let mut found = chain(&path(service), aws).await?;
    let newest = found.generations.pop().filter(|newest| !newest.is_released());
    let command = newest.as_ref().and_then(|held| held.command_name());
    let holder = newest.map(|held| held.owner().cloned().unwrap_or_default());
    Ok(State { manual_lock: found.manual_lock, holder, command })
}

/// Locks a service. A release that runs already is not stopped: `State::holder` of the answer names it.
///
/// # Errors
/// `locked`: somebody else has locked it, and why.
pub async fn set(service: &ServiceRef, manual_lock: &ManualLock, aws: Aws<'_>) -> Result<State, Failure> {
    let text = serde_json::to_string(manual_lock).unwrap_or_default();
    match aws.parameters.create_parameter(&format!("{}/{NAME}", path(service)), &text).await {
        // It is locked, whether or not a release that runs can be seen.
        Ok(()) => Ok(state(service, aws).await.unwrap_or_else(|_| {
            let manual_lock = Some(manual_lock.clone());
            State { manual_lock, ..State::default() }
        })),
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
