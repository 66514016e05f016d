//! The services on their way: each starts when those that it comes after serve and answer, and all go on or none.

use super::take_back;
use super::{Order, beside, lease_of, or_cancelled};
use crate::config::{OnCancel, OnFailure};
use crate::lease::Lease;
use crate::moving::Moving;
use crate::poll::Poll;
use crate::steps::register::Revision;
use crate::steps::{roll_out, smoke, verify, watch};
use crate::world::World;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState, Success};
use fargate_deploy_core::plan::{Plan, ServicePlan};
use fargate_deploy_core::rollout::Verdict;
use fargate_deploy_core::service::Counts;
use futures_util::future::{FutureExt as _, join_all};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch::Sender;

/// The runner kills 10 s after the first signal.
const LAST_CALLS: Duration = Duration::from_secs(4);

/// A service that was told to move, and how that ended.
pub(super) struct Moved<'a> {
    pub service: &'a ServicePlan,
    pub revision: &'a Revision,
    /// `None`: ECS made no deployment of it.
    pub moving: Option<Moving>,
    /// `None`: it was still moving when the release was given up.
    pub verdict: Option<Verdict>,
    /// It is why the release cannot stay.
    pub is_culprit: bool,
}

/// What the services of a release know of each other.
#[derive(Default)]
struct Course {
    arrived: BTreeSet<String>,
    halt: Halt,
    /// In the order in which they happened.
    failures: Vec<Failure>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Halt {
    #[default]
    No,
    /// What is moving is followed to its end; nothing else starts.
    NoMoreStarts,
    /// What is moving goes back.
    GiveUp,
}

/// Moves every service that changes.
///
/// # Errors
/// The failure that came first, after what had moved went back as `on-failure` says; `cancelled`.
pub(super) async fn move_services(
    plan: &Plan,
    revisions: &[Revision],
    order: &Order,
    leases: &[Lease],
    interrupt: &(impl Future<Output = ()> + Clone),
    world: &World<'_>,
) -> Result<Success, Failure> {
    let pairs = plan.services.iter().filter_map(|s| Some((s, revisions.iter().find(|r| r.key == s.key)?)));
    let (going, staying): (Vec<_>, Vec<_>) = pairs.partition(|(_, r)| !r.is_unchanged || order.config.force);
    let arrived = staying.iter().map(|(service, _)| service.key.clone()).collect();
    let poll = Poll::default();
    let course = Sender::new(Course { arrived, ..Course::default() });
    let all = join_all(going.into_iter().map(|(s, r)| go(s, r, order, lease_of(s, leases), &course, &poll, world)));
    let moved: Vec<Moved<'_>> = match order.config.on_cancel {
        OnCancel::Leave => or_cancelled(interrupt, world, all.map(Ok)).await?,
        OnCancel::Rollback => {
            let cancelled = interrupt.clone().map(|()| halt(&course, Halt::GiveUp, super::cancelled()));
            beside(all, cancelled).await
        }
    }
    .into_iter()
    .flatten()
    .collect();
    let Some(failure) = worst(course.borrow().failures.clone()) else {
        if order.is_unwatched {
            return Ok(Success::Started);
        }
        let is_empty = |m: &Moved<'_>| matches!(m.verdict, Some(Verdict::Stable(Counts { desired: 0, .. })));
        return Ok(if moved.iter().any(is_empty) { Success::DeployedNotVerified } else { Success::Deployed });
    };
    if failure.reason == Reason::Cancelled {
        let ordered = join_all(moved.into_iter().map(|m| take_back::order_back(m, world)));
        // Whatever has not been ordered by then is said to be unknown.
        let _ = tokio::time::timeout(LAST_CALLS, ordered).await;
        return Err(failure);
    }
    or_cancelled(interrupt, world, async {
        Err(take_back::take_back(failure, moved, order.config.on_failure, leases, world).await)
    })
    .await
}

/// Waits for its turn, moves, and says whether it arrived. `None`: the release was over before its turn.
async fn go<'a>(
    service: &'a ServicePlan,
    revision: &'a Revision,
    order: &Order,
    lease: Option<&Lease>,
    course: &Sender<Course>,
    poll: &Poll,
    world: &World<'_>,
) -> Option<Moved<'a>> {
    let is_turn = |c: &Course| c.halt != Halt::No || service.after.iter().all(|key| c.arrived.contains(key));
    // The sender is borrowed: it cannot be gone.
    let _ = course.subscribe().wait_for(is_turn).await;
    if course.borrow().halt != Halt::No {
        return None;
    }
    let mut moved = Moved { service, revision, moving: None, verdict: None, is_culprit: false };
    let trouble = match travel(&mut moved, order, lease, course, poll, world).await {
        Err(failure) => Some(failure),
        Ok(()) if order.is_unwatched => None,
        Ok(()) => trouble_of(&moved, world).await,
    };
    match trouble {
        Some(failure) => {
            moved.is_culprit = true;
            halt(course, consequence(&failure, order.config.on_failure), failure);
        }
        None if moved.verdict.is_some() => course.send_modify(|c| {
            c.arrived.insert(service.key.clone());
        }),
        None => {}
    }
    Some(moved)
}

fn halt(course: &Sender<Course>, how: Halt, failure: Failure) {
    course.send_modify(|c| {
        c.halt = c.halt.max(how);
        c.failures.push(failure);
    });
}

/// What a failure means for the others.
fn consequence(failure: &Failure, on_failure: OnFailure) -> Halt {
    match on_failure {
        OnFailure::RollbackAll if !is_open(failure) => Halt::GiveUp,
        _ => Halt::NoMoreStarts,
    }
}

/// Slow or replaced is not bad: what ECS, or somebody newer, is working on is left alone.
pub(super) fn is_open(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Timeout | Reason::Superseded | Reason::Locked)
}

/// The first that is bad, else the first; what else happened is evidence.
fn worst(mut failures: Vec<Failure>) -> Option<Failure> {
    let at = failures.iter().position(|f| !is_open(f)).unwrap_or(0);
    if failures.is_empty() {
        return None;
    }
    let worst = failures.remove(at);
    Some(worst.with_evidence(failures.into_iter().map(|other| other.what).collect()))
}

/// UpdateService, and to the end of the deployment, or until the release is given up.
async fn travel(
    moved: &mut Moved<'_>,
    order: &Order,
    lease: Option<&Lease>,
    course: &Sender<Course>,
    poll: &Poll,
    world: &World<'_>,
) -> Result<(), Failure> {
    let Moved { service, revision, .. } = *moved;
    // A revision that runs already is rolled only by force.
    let force = revision.is_unchanged;
    moved.moving = roll_out::roll_out(service, &revision.arn, force, &order.config, lease, world).await?;
    let Some(moving) = moved.moving.as_mut().filter(|_| !order.is_unwatched) else {
        moved.verdict = Some(Verdict::Stable(service.before.counts));
        return Ok(());
    };
    let given_up = async {
        let _ = course.subscribe().wait_for(|c| c.halt == Halt::GiveUp).await;
    };
    moved.verdict = tokio::select! {
        biased;
        verdict = watch::watch(&service.service, &revision.definition, moving, poll, world) => Some(verdict),
        () = given_up => None,
    };
    if let Some(verdict) = &moved.verdict {
        world.set_state(&service.key, state_of(verdict));
    }
    Ok(())
}

pub(super) fn state_of(verdict: &Verdict) -> ServiceState {
    match verdict {
        Verdict::Stable(_) => ServiceState::Serving,
        Verdict::RolledBack { .. } => ServiceState::RolledBack,
        Verdict::Superseded { .. } => ServiceState::Superseded,
        Verdict::TimedOut { .. } => ServiceState::RollingOut,
        Verdict::Failed { .. } | Verdict::Unsteady { .. } | Verdict::Lost { .. } => ServiceState::Unsteady,
    }
}

/// How its deployment ended if that is bad, or what is wrong with what serves now.
async fn trouble_of(moved: &Moved<'_>, world: &World<'_>) -> Option<Failure> {
    let Verdict::Stable(counts) = moved.verdict.as_ref()? else {
        return Some(take_back::failure_of(moved, world).await);
    };
    let id = &moved.moving.as_ref()?.target.deployment;
    let manifests: Vec<String> =
        world.record.borrow().images.iter().filter(|i| i.is_new).map(|i| i.digest.clone()).collect();
    let service = moved.service;
    if let Err(why) = verify::verify(&service.service, id, &moved.revision.definition, &manifests, world).await {
        let failure = Failure::new(Reason::RolledBack, format!("{}: {why}", service.service));
        return Some(failure.with_next("find out who moved the tag or pushed the image, and deploy again"));
    }
    if counts.desired == 0 {
        return None;
    }
    for check in &service.smoke {
        if let Err(why) = smoke::smoke(check, world).await {
            return Some(take_back::failure_of_smoke(moved, why, world).await);
        }
    }
    None
}
