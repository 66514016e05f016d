//! The bad half of the story: say why it failed, put back what moved, confirm that it serves.

use super::{Moved, lease_of};
use crate::domain::outcome::{Failure, Reason, ServiceState};
use crate::domain::plan::ServicePlan;
use crate::domain::rollback::{Restore, Trouble, decide};
use crate::domain::rollout::Verdict;
use crate::domain::service::State;
use crate::evidence;
use crate::lease::Lease;
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
    leases: &[Lease],
    world: &World<'_, C, B, W>,
) -> Failure {
    // Slow or replaced is not bad: what ECS, or somebody newer, is working on is left alone.
    if matches!(failure.reason, Reason::Timeout | Reason::Superseded | Reason::Locked) {
        return failure;
    }
    let has_moved = moved.iter().any(|m| m.moving.is_some());
    let endings = join_all(moved.into_iter().map(|m| restore(m, leases, world))).await;
    if has_moved {
        // Whatever stopped the release, this is the state that it leaves.
        failure.reason = Reason::RolledBack;
    }
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
async fn restore<C: Cloud, B, W>(moved: Moved<'_>, leases: &[Lease], world: &World<'_, C, B, W>) -> Option<String> {
    let service = moved.service;
    let moving = moved.moving?;
    let trouble = match &moved.verdict {
        Verdict::Stable(_) => Trouble::Unwanted,
        Verdict::TimedOut { .. } => Trouble::UnwantedYetMoving,
        // A newer deployment decides what serves; ours changes nothing any more.
        Verdict::Superseded { .. } => return None,
        verdict => Trouble::Verdict(verdict),
    };
    if let Some(lease) = lease_of(service, leases)
        && let Err(lost) = lease.check(world.cloud).await
        && lost.reason == Reason::Locked
    {
        world.set_state(&service.key, ServiceState::Superseded);
        return None;
    }
    // Before us nothing had completed: the same state that keeps ECS itself from rolling back.
    let is_first = service.before.primary().is_none_or(|p| !matches!(p.state, State::Completed | State::Unreported));
    let decided = decide(trouble, &service.before.task_definition, moving.rollout.service_deployment(), is_first);
    let (watched, is_ours) = match roll_back(service, &decided, world).await {
        Ordered::AlreadyBack => {
            return serves_again(service, world);
        }
        Ordered::Left(why) => {
            world.set_state(&service.key, ServiceState::Unsteady);
            return Some(format!("{}: {why}", service.service));
        }
        Ordered::WatchOurs => {
            let mut going = moving.going_back(&sentence(&moved.verdict));
            (watch::watch(&service.service, &service.running, &mut going, world).await, true)
        }
        Ordered::Watch(mut going) => (watch::watch(&service.service, &service.running, &mut going, world).await, false),
    };
    let (back, is_back) = match watched {
        Verdict::RolledBack { .. } if is_ours => return serves_again(service, world),
        // It completed, or failed for good, in the moment in which it was told to go back.
        Verdict::Stable(_) | Verdict::Failed { .. } if is_ours => {
            let again = Restore::UpdateService(service.before.task_definition.clone());
            match roll_back(service, &again, world).await {
                Ordered::Watch(mut going) => {
                    let back = watch::watch(&service.service, &service.running, &mut going, world).await;
                    let is_back = matches!(back, Verdict::Stable(_));
                    (back, is_back)
                }
                _ => (watched, false),
            }
        }
        // The deployment of the previous revision: here only its own completion means that it serves.
        back => {
            let is_back = matches!(back, Verdict::Stable(_));
            (back, is_back)
        }
    };
    if is_back {
        return serves_again(service, world);
    }
    world.set_state(&service.key, ServiceState::Unsteady);
    Some(format!("{}: going back to {} {}", service.service, service.before.task_definition.short(), sentence(&back)))
}

fn serves_again<C, B, W>(service: &ServicePlan, world: &World<'_, C, B, W>) -> Option<String> {
    world.set_state(&service.key, ServiceState::RolledBack);
    None
}
