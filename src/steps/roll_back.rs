//! Puts the previous revision back where ECS does not do it by itself.

use crate::clock;
use crate::events::Step;
use crate::release_context::ReleaseContext;
use crate::rollout_in_progress::RolloutInProgress;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::outcome::ServiceState;
use fargate_deploy_core::plan::ServicePlan;
use fargate_deploy_core::rollback::Restore;
use fargate_deploy_core::rollout::Target;
use std::time::Duration;

/// How long the previous revision may take to serve again.
const WAIT: Duration = Duration::from_secs(15 * 60);

/// What became of the order.
#[derive(Debug)]
pub enum Ordered {
    /// It serves already.
    AlreadyBack,
    /// ECS rolls its own deployment back: keep watching the deployment that was started.
    WatchOurs,
    /// A deployment of the previous revision was started: watch that one.
    Watch(Box<RolloutInProgress>),
    /// Nothing was ordered, and why.
    Left(String),
}

/// Orders the restore that was decided.
pub async fn roll_back(service: &ServicePlan, restore: &Restore, context: &ReleaseContext<'_>) -> Ordered {
    match restore {
        Restore::AlreadyBack => Ordered::AlreadyBack,
        Restore::Leave(why) => Ordered::Left((*why).to_owned()),
        Restore::UpdateService(previous) => update(service, previous, context).await,
        Restore::StopServiceDeployment { deployment, otherwise } => {
            let step =
                context.start(Step::RollBack, format!("{} to {}", service.service, otherwise.short())).of(&service.key);
            match context.aws.services.stop_service_deployment(deployment).await {
                Ok(()) => {
                    context.set_state(&service.key, ServiceState::RollingBack);
                    step.progress("ECS was told to roll its deployment back");
                    Ordered::WatchOurs
                }
                // It ended in between, is not stoppable, or the role may not: the other way always works.
                Err(e) => {
                    step.progress(format!("{e}: putting {} back by UpdateService", otherwise.short()));
                    update(service, otherwise, context).await
                }
            }
        }
    }
}

async fn update(service: &ServicePlan, previous: &TaskDefinitionArn, context: &ReleaseContext<'_>) -> Ordered {
    let step = context.start(Step::RollBack, format!("{} to {}", service.service, previous.short())).of(&service.key);
    let since = clock::now();
    let after = match context.aws.services.update_service(&service.service, previous, false).await {
        Ok(after) => after,
        Err(e) => {
            step.failed(format!("{}: {e}", service.service));
            return Ordered::Left(format!("UpdateService to {} failed: {e}", previous.short()));
        }
    };
    context.set_state(&service.key, ServiceState::RollingBack);
    let Some(primary) = after.primary() else {
        return Ordered::Left("ECS shows no primary deployment".to_owned());
    };
    step.progress(format!("deployment {} of {}", primary.id, previous.short()));
    let target = Target {
        deployment: primary.id.clone(),
        task_definition: previous.clone(),
        before: None,
        breaker: service.before.breaker,
        wait: WAIT,
    };
    let seen = after.events.iter().map(|e| e.id.clone()).collect();
    Ordered::Watch(Box::new(RolloutInProgress::new(target, seen, since)))
}
