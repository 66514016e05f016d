//! The bad half of the story: say why it failed, put back what moved, confirm that it serves.

use super::Moved;
use crate::domain::outcome::{Failure, Reason, ServiceState};
use crate::domain::rollback::{Restore, Trouble, decide};
use crate::domain::rollout::Verdict;
use crate::domain::service::State;
use crate::evidence;
use crate::ports::Cloud;
use crate::steps::roll_back::{Ordered, roll_back};
use crate::steps::watch::{self, sentence};
use crate::world::World;
use futures_util::future::join_all;

/// Why a service did not come to serve, with the evidence that AWS still has.
pub async fn failure_of<C: Cloud, B, W>(bad: &Moved<'_>, world: &World<'_, C, B, W>) -> Failure {
    let revision = bad.revision.arn.short();
    let what = format!("{}: {revision} {}", bad.service.service, sentence(&bad.verdict));
    let reason = match bad.verdict {
        Verdict::Superseded { .. } => Reason::Superseded,
        Verdict::TimedOut { .. } => Reason::Timeout,
        Verdict::Unsteady { .. } | Verdict::Lost { .. } => Reason::Unsteady,
        Verdict::Stable(_) | Verdict::RolledBack { .. } | Verdict::Failed { .. } => Reason::RolledBack,
    };
    let mut failure = Failure::new(reason, what);
    if matches!(reason, Reason::RolledBack | Reason::Unsteady | Reason::Timeout)
        && let Some(moving) = &bad.moving
    {
        let found = evidence::of_deployment(
            world.cloud,
            &bad.service.service,
            &moving.target.deployment,
            &bad.revision.definition,
        )
        .await;
        failure = failure.with_evidence(found.lines).with_log(found.log);
    }
    failure.with_next(match reason {
        Reason::Superseded => "nothing: the newer deployment decides what serves".to_owned(),
        Reason::Timeout => format!(
            "ECS goes on; look again with: aws ecs describe-services --cluster {} --services {}, or raise `wait`",
            bad.service.service.cluster, bad.service.service.name
        ),
        Reason::Unsteady => format!(
            "look at the service now: aws ecs describe-services --cluster {} --services {}",
            bad.service.service.cluster, bad.service.service.name
        ),
        _ => "mend what the lines above show and push again".to_owned(),
    })
}

/// The release serves, and does not answer as it should.
pub async fn failure_of_smoke<C: Cloud, B, W>(done: &Moved<'_>, why: String, world: &World<'_, C, B, W>) -> Failure {
    let mut log = vec![];
    if let Ok(arns) = world.cloud.running_tasks(&done.service.service).await
        && let (Some(task), Some((container, _))) = (arns.first(), done.service.containers.first())
    {
        log = evidence::last_lines(world.cloud, &done.revision.definition, container, task).await;
    }
    Failure::new(Reason::RolledBack, format!("{}: smoke check failed: {why}", done.service.service))
        .with_log(log)
        .with_next("find out why the new release does not answer, and push again")
}

/// All or none: every service of the release that moved goes back, and is watched until it serves again.
pub async fn take_back<C: Cloud, B, W>(
    mut failure: Failure,
    moved: Vec<Moved<'_>>,
    world: &World<'_, C, B, W>,
) -> Failure {
    // Slow or replaced is not bad: what ECS, or somebody newer, is working on is left alone.
    if matches!(failure.reason, Reason::Timeout | Reason::Superseded) {
        return failure;
    }
    let is_first_failure = moved.iter().all(|m| matches!(m.verdict, Verdict::Stable(_)));
    let endings = join_all(moved.into_iter().map(|m| restore(m, is_first_failure, world))).await;
    let unconfirmed: Vec<String> = endings.into_iter().flatten().collect();
    if !unconfirmed.is_empty() {
        failure.reason = Reason::Unsteady;
        failure.next =
            Some("a person is needed: put the previous revision back and see why it does not serve".to_owned());
        failure.evidence.extend(unconfirmed);
    }
    failure
}

/// Puts one service back. `Some`: why it could not be confirmed.
async fn restore<C: Cloud, B, W>(moved: Moved<'_>, is_unwanted: bool, world: &World<'_, C, B, W>) -> Option<String> {
    let service = moved.service;
    let moving = moved.moving?;
    let trouble = if is_unwanted { Trouble::Unwanted } else { Trouble::Verdict(&moved.verdict) };
    // Before us nothing had completed: the same state that keeps ECS itself from rolling back.
    let is_first = service.before.primary().is_none_or(|p| !matches!(p.state, State::Completed | State::Unreported));
    let decided = decide(trouble, &service.before.task_definition, moving.rollout.service_deployment(), is_first);
    let back = match roll_back(service, &decided, world).await {
        Ordered::AlreadyBack => {
            world.set_state(&service.key, ServiceState::RolledBack);
            return None;
        }
        Ordered::Left(why) => {
            world.set_state(&service.key, ServiceState::Unsteady);
            return Some(format!("{}: {why}", service.service));
        }
        Ordered::WatchOurs => {
            let mut going = moving.going_back(&sentence(&moved.verdict));
            watch::watch(&service.service, &service.running, &mut going, world).await
        }
        Ordered::Watch(mut going) => watch::watch(&service.service, &service.running, &mut going, world).await,
    };
    let back = match back {
        // It completed in the moment in which it was told to go back.
        Verdict::Stable(_) if matches!(decided, Restore::StopServiceDeployment { .. }) => {
            let again = Restore::UpdateService(service.before.task_definition.clone());
            match roll_back(service, &again, world).await {
                Ordered::Watch(mut going) => watch::watch(&service.service, &service.running, &mut going, world).await,
                _ => back,
            }
        }
        other => other,
    };
    let is_back = match &back {
        Verdict::RolledBack { .. } => true,
        Verdict::Stable(_) => true,
        _ => false,
    };
    world.set_state(&service.key, if is_back { ServiceState::RolledBack } else { ServiceState::Unsteady });
    (!is_back).then(|| {
        format!("{}: going back to {} {}", service.service, service.before.task_definition.short(), sentence(&back))
    })
}
