//! What the leases of a service tell whoever looks back: its last releases, and where the logs of their commands are.

use super::Lease;
use super::claim::{Claim, SucceededCommand, chain, path};
use super::manual_lock::ManualLock;
use crate::ports::Aws;
use fargate_deploy_core::names::{ServiceRef, TaskArn};
use fargate_deploy_core::outcome::Failure;

/// What the leases of a service say of its last releases, the newest first, and of the run that holds it.
///
/// # Errors
/// `permission`, or SSM does not answer.
pub async fn recorded(service: &ServiceRef, aws: Aws<'_>) -> Result<Vec<Claim>, Failure> {
    look(service, aws).await.map(|(_, claims)| claims)
}

/// The same, and a person's lock.
///
/// # Errors
/// `permission`, or SSM does not answer.
pub async fn look(service: &ServiceRef, aws: Aws<'_>) -> Result<(Option<ManualLock>, Vec<Claim>), Failure> {
    let found = chain(&path(service), aws).await?;
    let claims = found.generations.into_iter().rev().filter_map(|generation| generation.claim);
    Ok((found.manual_lock, claims.collect()))
}

impl Lease {
    /// The task whose log is what a command of this service's release said: written with whatever comes next.
    pub fn note_log(&self, name: &str, task: &TaskArn) {
        if let Some(release) = &mut self.claim.borrow_mut().release {
            release.ran.retain(|ran| ran.command != name);
            release.ran.push(SucceededCommand { command: name.to_owned(), task: task.id().to_owned() });
        }
    }
}
