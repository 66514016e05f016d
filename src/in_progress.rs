//! Whether ECS is at work on a service.

use crate::clock;
use crate::ports::Aws;
use crate::retry;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::service::{Service, State, Strategy};

/// A deployment bakes for a day at most, so in seconds: what began before that is over.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html>
const TWO_DAYS: f64 = 172_800.0;

/// A deployment makes progress. One that fails in a loop does not: a fix must be able to replace it. Of blue/green, linear and
/// canary the service does not say so while they bake, and the ServiceDeployments API does; a role that may not read it goes by
/// the service alone.
pub async fn is_in_progress(name: &ServiceRef, service: &Service, aws: Aws<'_>) -> bool {
    if service.primary().is_some_and(|p| p.state == State::InProgress && p.failed_tasks == 0) {
        return true;
    }
    service.strategy != Strategy::Rolling && is_baking(name, aws).await
}

/// The newest deployment of the service is ongoing, and none of its tasks has failed.
async fn is_baking(name: &ServiceRef, aws: Aws<'_>) -> bool {
    let newest = async {
        let listed = aws.services.service_deployments(name, clock::now() - TWO_DAYS).await?;
        match listed.first() {
            Some(newest) => aws.services.service_deployment(newest).await,
            None => Ok(None),
        }
    };
    let Ok(Some(newest)) = retry::each_within(retry::POLL, newest).await else { return false };
    newest.status.is_ongoing() && newest.failures.is_none_or(|(failed, _)| failed == 0)
}
