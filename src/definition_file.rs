//! A task definition that lies in git.

use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::TaskDefinition;
use std::path::Path;

/// # Errors
/// `config`: it cannot be read, or is no task definition.
pub async fn read_definition(path: &Path) -> Result<TaskDefinition, Failure> {
    let failure = |why: String| Failure::new(Reason::Config, format!("task definition `{}`: {why}", path.display()));
    let text = tokio::fs::read_to_string(path).await.map_err(|e| failure(e.to_string()))?;
    TaskDefinition::from_json(&text).map_err(failure)
}
