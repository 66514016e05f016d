//! The bad half of the story: say why it failed, put back what moved, confirm that it serves.

use super::lease_of;
use super::moves::{Moved, is_open, state_of};
use crate::config::OnFailure;
use crate::evidence;
use crate::lease::Lease;
use crate::moving::Moving;
use crate::poll::Poll;
use crate::steps::roll_back::{Ordered, roll_back};
use crate::steps::watch::{self, sentence};
use crate::world::World;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState};
use fargate_deploy_core::plan::ServicePlan;
use fargate_deploy_core::rollback::{Restore, Trouble, decide};
use fargate_deploy_core::rollout::Verdict;
use fargate_deploy_core::service::State;
use futures_util::future::join_all;

const STILL_MOVING: &str = "was still rolling out when the release was given up";

/// Why a service did not come to serve, with the evidence that AWS still has.
pub async fn failure_of(bad: &Moved<'_>, world: &World<'_>) -> Failure {
    let revision = bad.revision.arn.short();
    let ended = bad.verdict.as_ref().map_or_else(|| STILL_MOVING.to_owned(), sentence);
    let what = format!("{}: {revision} {ended}", bad.service.service);
    let reason = match bad.verdict {
        Some(Verdict::Superseded { .. }) => Reason::Superseded,
        Some(Verdict::TimedOut { .. }) => Reason::Timeout,
        Some(Verdict::Unsteady { .. } | Verdict::Lost { .. }) => Reason::Unsteady,
        _ => Reason::RolledBack,
    };
    let mut failure = Failure::new(reason, what);
    if matches!(reason, Reason::RolledBack | Reason::Unsteady | Reason::Timeout)
        && let Some(moving) = &bad.moving
    {
        let found = evidence::of_deployment(
            world.aws,
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
pub async fn failure_of_smoke(done: &Moved<'_>, why: String, world: &World<'_>) -> Failure {
    let mut log = vec![];
    if let Ok(arns) = world.aws.tasks.running_tasks(&done.service.service).await
        && let (Some(task), Some((container, _))) = (arns.first(), done.service.containers.first())
    {
        log = evidence::last_lines(world.aws, &done.revision.definition, container, task).await;
    }
    Failure::new(Reason::RolledBack, format!("{}: smoke check failed: {why}", done.service.service))
        .with_log(log)
        .with_next("find out why the new release does not answer, and push again")
}

/// Puts back what `policy` says of the services that moved, and watches each until it serves again.
pub async fn take_back(
    mut failure: Failure,
    moved: Vec<Moved<'_>>,
    policy: OnFailure,
    leases: &[Lease],
    world: &World<'_>,
) -> Failure {
    if is_open(&failure) {
        return failure;
    }
    if policy == OnFailure::Leave {
        return left(failure, &moved);
    }
    let goes_back = |m: &Moved<'_>| m.moving.is_some() && (policy == OnFailure::RollbackAll || m.is_culprit);
    let going: Vec<_> = moved.into_iter().filter(goes_back).collect();
    let poll = Poll::default();
    let has_moved = !going.is_empty();
    let endings = join_all(going.into_iter().map(|m| restore(m, leases, &poll, world))).await;
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

/// `on-failure: leave`: only what ECS itself put back is back.
fn left(mut failure: Failure, moved: &[Moved<'_>]) -> Failure {
    let is_back = |m: &Moved<'_>| m.moving.is_none() || matches!(m.verdict, Some(Verdict::RolledBack { .. }));
    if !moved.iter().filter(|m| m.is_culprit).all(is_back) {
        failure.reason = Reason::Unsteady;
        failure.next =
            Some("`on-failure` is `leave`: push a release that works, or put the previous one back".to_owned());
    }
    failure
}

/// What a cancelled run can still do with `on-cancel: rollback`: one order a service, whose end it does not see.
pub async fn order_back(moved: Moved<'_>, world: &World<'_>) {
    let (service, Some(moving)) = (moved.service, &moved.moving) else { return };
    let decided =
        decide(trouble(&moved), &service.before.task_definition, moving.service_deployment(), is_first(service));
    if let Ordered::AlreadyBack = roll_back(service, &decided, world).await {
        world.set_state(&service.key, ServiceState::RolledBack);
    }
}

/// Before us nothing had completed: the same state that keeps ECS itself from rolling back.
fn is_first(service: &ServicePlan) -> bool {
    service.before.primary().is_none_or(|p| !matches!(p.state, State::Completed | State::Unreported))
}

fn trouble<'a>(moved: &'a Moved<'_>) -> Trouble<'a> {
    match &moved.verdict {
        Some(Verdict::Stable(_)) => Trouble::Unwanted,
        None | Some(Verdict::TimedOut { .. }) => Trouble::UnwantedYetMoving,
        Some(verdict) => Trouble::Verdict(verdict),
    }
}

/// Minutes can have passed since ours was seen to be the primary deployment.
async fn find_out(moved: &mut Moved<'_>, poll: &Poll, world: &World<'_>) {
    let service = moved.service;
    let Some(moving) = &mut moved.moving else { return };
    let read = world.aws.services.services(std::slice::from_ref(&service.service)).await;
    let Some(now) = read.ok().and_then(|mut all| all.pop().flatten()) else { return };
    let Some(primary) = now.primary() else { return };
    let runs = &primary.task_definition;
    if *runs != moved.revision.arn && *runs != service.before.task_definition {
        moved.verdict = Some(Verdict::Superseded { by: runs.clone() });
    } else if moved.verdict.is_none() && primary.id != moving.target.deployment {
        // ECS has put another one there: what that means, the state machine tells.
        moved.verdict = Some(watch::watch(&service.service, &moved.revision.definition, moving, poll, world).await);
    }
}

/// Puts one service back. `Some`: why it could not be confirmed.
async fn restore(mut moved: Moved<'_>, leases: &[Lease], poll: &Poll, world: &World<'_>) -> Option<String> {
    let service = moved.service;
    find_out(&mut moved, poll, world).await;
    // A newer deployment decides what serves; ours changes nothing any more.
    if let Some(verdict @ Verdict::Superseded { .. }) = &moved.verdict {
        world.set_state(&service.key, state_of(verdict));
        return None;
    }
    if let Some(lease) = lease_of(service, leases)
        && let Err(lost) = lease.check(world.aws).await
        && lost.reason == Reason::Locked
    {
        world.set_state(&service.key, ServiceState::Superseded);
        return None;
    }
    let arn = moved.moving.as_ref().and_then(Moving::service_deployment);
    let decided = decide(trouble(&moved), &service.before.task_definition, arn, is_first(service));
    let why = moved.verdict.as_ref().map_or_else(|| STILL_MOVING.to_owned(), sentence);
    let moving = moved.moving?;
    let (watched, is_ours) = match roll_back(service, &decided, world).await {
        Ordered::AlreadyBack => {
            return serves_again(service, world);
        }
        Ordered::Left(why) => {
            world.set_state(&service.key, ServiceState::Unsteady);
            return Some(format!("{}: {why}", service.service));
        }
        Ordered::WatchOurs => {
            let mut going = moving.going_back(&why);
            (watch::watch(&service.service, &service.running, &mut going, poll, world).await, true)
        }
        Ordered::Watch(mut going) => {
            (watch::watch(&service.service, &service.running, &mut going, poll, world).await, false)
        }
    };
    let (back, is_back) = match watched {
        Verdict::RolledBack { .. } if is_ours => return serves_again(service, world),
        // It completed, or failed for good, in the moment in which it was told to go back.
        Verdict::Stable(_) | Verdict::Failed { .. } if is_ours => {
            let again = Restore::UpdateService(service.before.task_definition.clone());
            match roll_back(service, &again, world).await {
                Ordered::Watch(mut going) => {
                    let back = watch::watch(&service.service, &service.running, &mut going, poll, world).await;
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

fn serves_again(service: &ServicePlan, world: &World<'_>) -> Option<String> {
    world.set_state(&service.key, ServiceState::RolledBack);
    None
}
