//! The release as a new revision of each service's task definition, by digest.

use crate::error::call_failed;
use crate::events::Event;
use crate::registered::newest_equal;
use crate::release_context::ReleaseContext;
use fargate_deploy_core::names::{ImageKey, PinnedImage, ServiceKey, TaskDefinitionArn};
use fargate_deploy_core::outcome::Failure;
use fargate_deploy_core::plan::{Provenance, ServicePlan};
use fargate_deploy_core::task_definition::{TaskDefinition, compare};

/// A service and the revision that it shall run.
#[derive(Clone, Debug)]
pub struct Revision {
    pub key: ServiceKey,
    pub arn: TaskDefinitionArn,
    pub definition: TaskDefinition,
    /// Nothing differs from the revision that runs: none was registered.
    pub is_unchanged: bool,
}

/// An equal one of those that are `registered` for other services of the release is taken again.
///
/// # Errors
/// `config` (AWS refuses the definition) or `permission`: services untouched.
pub async fn register(
    service: &ServicePlan,
    number: u64,
    images: &[(ImageKey, PinnedImage)],
    provenance: &Provenance,
    earlier_attempt: Option<&str>,
    registered: &[Revision],
    context: &ReleaseContext<'_>,
) -> Result<Revision, Failure> {
    let definition = service.definition(number, images, provenance);
    if compare::differences(&service.running, &definition).is_empty() {
        let arn = service.before.task_definition.clone();
        context.emit(Event::RevisionUnchanged { service: service.service.clone(), revision: arn.clone() });
        return Ok(Revision { key: service.key.clone(), arn, definition: service.running.clone(), is_unchanged: true });
    }
    let of = || service.service.clone();
    let is_same = |other: &&Revision| {
        !other.is_unchanged
            && other.definition.family() == definition.family()
            && compare::differences(&other.definition, &definition).is_empty()
    };
    if let Some(equal) = registered.iter().find(is_same) {
        context.emit(Event::RevisionFound { service: of(), revision: equal.arn.clone() });
        return Ok(Revision { key: service.key.clone(), ..equal.clone() });
    }
    if let Some(arn) = left_by(earlier_attempt, &definition, context).await {
        context.record.borrow_mut().registered.push(arn.clone());
        context.emit(Event::RevisionFound { service: of(), revision: arn.clone() });
        return Ok(Revision { key: service.key.clone(), arn, definition, is_unchanged: false });
    }
    let step = context.begin(Event::RegistrationStarted { service: of(), family: definition.family().to_owned() });
    let arn = context
        .aws
        .task_definitions
        .register(&definition)
        .await
        .map_err(|e| call_failed(&format!("registering the task definition `{}`", definition.family()), &e))?;
    context.record.borrow_mut().registered.push(arn.clone());
    step.emit(Event::RevisionRegistered { service: of(), revision: arn.clone(), release: number, took: step.took() });
    Ok(Revision { key: service.key.clone(), arn, definition, is_unchanged: false })
}

/// The same, as an earlier attempt of this run registered it.
pub async fn left_by(
    run: Option<&str>,
    definition: &TaskDefinition,
    context: &ReleaseContext<'_>,
) -> Option<TaskDefinitionArn> {
    let run = run?;
    let newest = newest_equal(definition, context.aws).await?;
    newest.arn().filter(|_| newest.run() == Some(run))
}
