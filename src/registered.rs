//! Task definitions that need not be registered again.

use crate::ports::{Aws, Call};
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::task_definition::{TaskDefinition, compare};

/// The newest revision of its family, where nothing of it differs from `definition`. One that cannot be read is not there.
pub async fn newest_equal(definition: &TaskDefinition, aws: Aws<'_>) -> Option<TaskDefinition> {
    let newest = aws.task_definitions.task_definition(definition.family()).await.ok()?;
    compare::differences(&newest, definition).is_empty().then_some(newest)
}

/// A revision that is there.
pub struct Registered {
    pub arn: TaskDefinitionArn,
    pub is_new: bool,
}

/// The newest of its family where that is equal, else a new one.
///
/// # Errors
/// AWS does not register it.
pub async fn found_or_registered(definition: &TaskDefinition, aws: Aws<'_>) -> Call<Registered> {
    if let Some(arn) = newest_equal(definition, aws).await.and_then(|newest| newest.arn()) {
        return Ok(Registered { arn, is_new: false });
    }
    aws.task_definitions.register(definition).await.map(|arn| Registered { arn, is_new: true })
}
