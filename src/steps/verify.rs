//! "Stable" must mean that ours runs: the tasks of our deployment, with the digests that were deployed.

use crate::events::Warning;
use crate::release_context::ReleaseContext;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::names::{DeploymentId, ServiceRef};
use fargate_deploy_core::service::Counts;
use fargate_deploy_core::task_definition::{TaskDefinition, container_name};

/// Compares the digests of our deployment's running tasks with those of its revision, as far as they are in
/// `manifests`: an image index is deployed by its own digest and runs as one of its platforms' manifests.
///
/// # Errors
/// A sentence naming the container that runs something else. What cannot be read is a warning, not an error: ECS has
/// already said that our deployment completed.
pub async fn verify(
    service: &ServiceRef,
    deployment: &DeploymentId,
    definition: &TaskDefinition,
    manifests: &[Digest],
    counts: Counts,
    context: &ReleaseContext<'_>,
) -> Result<(), String> {
    let tasks = match context.aws.tasks.running_tasks(service).await {
        Ok(arns) => context.aws.tasks.tasks(&service.cluster, &arns).await,
        Err(e) => Err(e),
    };
    let tasks = match tasks {
        Ok(tasks) => tasks,
        Err(e) => {
            context.warn(Warning::DigestsNotCompared { service: service.clone(), error: e.to_string() });
            return Ok(());
        }
    };
    let ours: Vec<_> = tasks.iter().filter(|t| t.started_by.as_deref() == Some(deployment.as_str())).collect();
    if ours.is_empty() && counts.desired > 0 {
        let error = format!("ECS lists no running task of {deployment}");
        context.warn(Warning::DigestsNotCompared { service: service.clone(), error });
    }
    for task in ours {
        for container in &task.containers {
            let expected = definition
                .containers()
                .find(|c| container_name(c) == container.name.as_str())
                .and_then(|c| c.get("image")?.as_str()?.split_once('@').map(|(_, digest)| digest));
            if let (Some(expected), Some(actual)) = (expected, &container.image_digest)
                && expected != actual
                && manifests.iter().any(|m| m.as_str() == expected)
            {
                return Err(format!(
                    "container `{}` of task {} runs {actual}, not {expected}",
                    container.name,
                    task.arn.id()
                ));
            }
        }
    }
    Ok(())
}
