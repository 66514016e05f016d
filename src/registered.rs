//! Task definitions that need not be registered again.

use crate::ports::Aws;
use fargate_deploy_core::task_definition::{TaskDefinition, compare};

/// The newest revision of its family, where nothing of it differs from `definition`. One that cannot be read is not there.
pub async fn newest_equal(definition: &TaskDefinition, aws: Aws<'_>) -> Option<TaskDefinition> {
    let newest = aws.task_definitions.task_definition(definition.family()).await.ok()?;
    compare::differences(&newest, definition).is_empty().then_some(newest)
}
