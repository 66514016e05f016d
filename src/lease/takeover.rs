//! When a lease passes to the next run, and what is known of the one before.

use super::claim::{
    Chain, Claim, ClaimedTask, Generation, ReleaseRecord, RunKey, SucceededCommand, chain, denied, text,
};
use super::{FENCE, KEPT, Lease, LeaseRequest, STALE, STALE_READS, STALE_WHILE_STARTING};
use crate::error::call_failed;
use crate::fence::Fence;
use crate::ports::{Aws, CallError, CallErrorKind};
use crate::release_context::ReleaseContext;
use fargate_deploy_core::names::{ClusterName, ContainerName, ServiceRef, TaskArn, TaskDefinitionArn};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task::{Task, TaskVerdict, judge};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// What became of a claim that a killed run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseResult {
    Released,
    /// Its task runs on, and keeps everybody else out until it has stopped.
    StillRunning,
    /// Released already, taken over, or somebody else's.
    NotOurs,
}

/// Releases the claim that a killed run left in `parameter` under `token`, unless a task still runs under it.
///
/// # Errors
/// AWS could not be asked: the claim goes stale by itself.
pub async fn release_left(parameter: &str, token: &str, aws: Aws<'_>) -> Result<ReleaseResult, CallError> {
    let path = parameter.rsplit_once('/').map_or(parameter, |(path, _)| path);
    let found = aws.parameters.parameters_under(path).await?.into_iter().find(|(name, _)| name == parameter);
    let claim: Option<Claim> = found.and_then(|(_, value)| serde_json::from_str(&value).ok());
    let Some(mut claim) = claim.filter(|claim| claim.token == token && !claim.is_released) else {
        return Ok(ReleaseResult::NotOurs);
    };
    if let Some(task) = claim.task.take() {
        let TaskState::Stopped(stopped) = task_state(&task, aws).await? else {
            return Ok(ReleaseResult::StillRunning);
        };
        if judge(&stopped, &ContainerName::new(&task.container)) == TaskVerdict::Succeeded {
            claim.succeeded.push(SucceededCommand { command: task.command, task: stopped.arn.to_string() });
        }
    }
    claim.is_released = true;
    aws.parameters.put_parameter(parameter, &text(&claim)).await?;
    Ok(ReleaseResult::Released)
}

/// Why a successor may be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakeoverKind {
    /// Nobody holds it, and no task is left.
    Free,
    /// It is an earlier attempt's: its task is ours to wait for.
    Adopt,
}

/// May a successor be created? What cannot be read is held: by whom, and for how long, is not known.
pub(super) async fn may_take_over(
    newest: Option<&Generation>,
    run: &RunKey,
    unchanged: Duration,
    aws: Aws<'_>,
) -> Option<TakeoverKind> {
    let Some(newest) = newest else { return Some(TakeoverKind::Free) };
    let held = newest.claim.as_ref()?;
    let is_ours = held.is_earlier_attempt_of(run);
    match &held.task {
        _ if held.is_released => Some(TakeoverKind::Free),
        None => (is_ours || unchanged >= STALE).then_some(TakeoverKind::Free),
        Some(task) if is_ours && task.arn.is_some() => Some(TakeoverKind::Adopt),
        Some(_) if !is_ours && unchanged < STALE => None,
        Some(task) => match task_state(task, aws).await {
            Ok(TaskState::Stopped(_)) => Some(TakeoverKind::Free),
            Ok(TaskState::Found(_) | TaskState::EndedWell(_)) if is_ours => Some(TakeoverKind::Adopt),
            Ok(TaskState::EndedWell(_) | TaskState::Unknown) => {
                (unchanged >= STALE_WHILE_STARTING).then_some(TakeoverKind::Free)
            }
            // Doubt means that it runs.
            Ok(TaskState::Running | TaskState::Found(_)) | Err(_) => None,
        },
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TaskState {
    Running,
    Stopped(Box<Task>),
    /// Only its starter was known; this is the task.
    Found(TaskArn),
    /// Only its starter was known, and this task of its has run the command to a good end. To a later attempt of its run
    /// that is enough. Anybody else has to reckon with another one that starts just now.
    EndedWell(TaskArn),
    /// AWS does not know it: it starts just now, was never started, or stopped more than an hour ago.
    Unknown,
}

pub(super) async fn task_state(task: &ClaimedTask, aws: Aws<'_>) -> Result<TaskState, CallError> {
    let cluster = ClusterName::new(&task.cluster);
    let answer = match &task.arn {
        Some(arn) => {
            aws.tasks.tasks(&cluster, &[TaskArn::new(arn)]).await.map(|found| match found.into_iter().next() {
                Some(task) if task.is_stopped() => TaskState::Stopped(Box::new(task)),
                Some(_) => TaskState::Running,
                None => TaskState::Unknown,
            })
        }
        None => started_by(task, &cluster, aws).await,
    };
    match answer {
        Err(e) if matches!(e.kind, CallErrorKind::Throttled | CallErrorKind::Unreachable) => Ok(TaskState::Running),
        other => other,
    }
}

async fn started_by(task: &ClaimedTask, cluster: &ClusterName, aws: Aws<'_>) -> Result<TaskState, CallError> {
    if let Some(running) = aws.tasks.tasks_started_by(cluster, &task.started_by).await?.into_iter().next() {
        return Ok(TaskState::Found(running));
    }
    Ok(ended_well(task, aws).await?.map_or(TaskState::Unknown, TaskState::EndedWell))
}

/// A task of this starter that has run its command to a good end, in the last hour. ListTasks takes no `desiredStatus`
/// beside `startedBy`, so what has stopped is looked up by its family.
///
/// # Errors
/// AWS could not be asked.
pub async fn ended_well(task: &ClaimedTask, aws: Aws<'_>) -> Result<Option<TaskArn>, CallError> {
    if task.family.is_empty() {
        return Ok(None);
    }
    let (cluster, container) = (ClusterName::new(&task.cluster), ContainerName::new(&task.container));
    let stopped = aws.tasks.stopped_tasks_of_family(&cluster, &task.family).await?;
    let theirs = aws.tasks.tasks(&cluster, &stopped).await?.into_iter().find(|found| {
        found.started_by.as_deref() == Some(&task.started_by) && judge(found, &container) == TaskVerdict::Succeeded
    });
    Ok(theirs.map(|found| found.arn))
}

/// Creates the generation after the last of `earlier`, then looks again: a holder that slept may have noted a task in between.
/// What is known of the release is part of the value that creates it: whoever dies right then has lost nothing.
/// `None`: somebody was faster, or a later generation exists already (the list was stale).
pub(super) async fn create_generation(
    service: &ServiceRef,
    path: &str,
    earlier: &[Generation],
    kind: TakeoverKind,
    request: LeaseRequest<'_>,
    context: &ReleaseContext<'_>,
) -> Result<Option<(Lease, Chain)>, Failure> {
    let aws = context.aws;
    let newest = earlier.last();
    let generation = newest.map_or(1, |newest| newest.number + 1);
    let name = format!("{path}/{generation}");
    let claim = Claim {
        token: request.token.to_owned(),
        owner: request.owner.clone(),
        run: request.run.clone(),
        is_released: false,
        heartbeat: 0,
        renewed_by: request.first.map(|first| first.name.clone()),
        is_updating: false,
        updates_to: None,
        task: None,
        succeeded: succeeded_earlier(earlier, generation, request.run),
        release: last_release(earlier),
    };
    aws.parameters.write_turn().await;
    let sent = (context.clock)();
    match aws.parameters.create_parameter(&name, &text(&claim)).await {
        Ok(()) => {}
        Err(e) if e.kind == CallErrorKind::Conflict => return Ok(None),
        Err(e) => return Err(denied(&e)),
    }
    let now = Instant::now();
    let found = match chain_with(generation, path, aws).await {
        Ok(found) => found,
        Err(failure) => {
            // Whether it was taken rightly cannot be seen: it is given back.
            let _ = aws.parameters.delete_parameter(&name).await;
            return Err(failure);
        }
    };
    let chain = &found.generations;
    if chain.iter().any(|other| other.number > generation) {
        let _ = aws.parameters.delete_parameter(&name).await;
        return Ok(None);
    }
    let left = left_over(chain, generation, newest.filter(|_| kind == TakeoverKind::Free));
    let orders = not_released(chain, generation).filter(|g| g.is_updating()).filter_map(|g| g.claim.as_ref());
    let orders: Vec<&Claim> = orders.collect();
    let succeeded = succeeded_earlier(chain, generation, request.run);
    let lease = Lease {
        name,
        path: path.to_owned(),
        generation,
        service: service.clone(),
        first: request.first.cloned(),
        held_by: None,
        written: RefCell::new(Some(claim.clone())),
        claim: RefCell::new(Claim {
            task: left.first().cloned(),
            succeeded,
            release: last_release(chain),
            ..claim.clone()
        }),
        left: RefCell::new(left),
        follows_order: Cell::new(!orders.is_empty()),
        ordered_earlier: RefCell::new(ordered_earlier(&orders, request.run)),
        since: now,
        clock: context.clock,
        last_write: Cell::new(sent),
        // The list that was read since shows ours as the newest.
        confirmed: RefCell::new(Some(Fence::new(sent + FENCE, context.clock))),
        sent: RefCell::default(),
        writing: Mutex::default(),
    };
    if *lease.claim.borrow() != claim {
        lease.write(aws).await.map_err(|e| call_failed("noting the task in the lease", &e))?;
    }
    for old in chain.iter().filter(|old| old.number + KEPT < generation) {
        let _ = aws.parameters.delete_parameter(&format!("{path}/{}", old.number)).await;
    }
    Ok(Some((lease, found)))
}

/// Tasks of holders that did not release, but for the one of `over`, which was found to be over. Whoever released had
/// settled everything before itself.
fn left_over(chain: &[Generation], ours: u64, over: Option<&Generation>) -> Vec<ClaimedTask> {
    let mut left = vec![];
    for generation in not_released(chain, ours) {
        let Some(claim) = &generation.claim else { continue };
        let Some(task) = &claim.task else { continue };
        let is_over = over.is_some_and(|over| {
            over.number == generation.number && over.claim.as_ref().is_some_and(|c| c.task.as_ref() == Some(task))
        });
        if !is_over && !left.contains(task) {
            left.push(task.clone());
        }
    }
    left
}

/// Those before ours since the last one that was released, the newest first.
fn not_released(chain: &[Generation], ours: u64) -> impl Iterator<Item = &Generation> {
    chain.iter().rev().filter(move |g| g.number < ours).take_while(|g| !g.is_released())
}

/// The revision that all of the orders on their way name, where they are of earlier attempts of this run.
fn ordered_earlier(orders: &[&Claim], run: &RunKey) -> Option<TaskDefinitionArn> {
    let first = orders.first()?.updates_to.as_deref()?;
    let is_same = |order: &&Claim| order.is_earlier_attempt_of(run) && order.updates_to.as_deref() == Some(first);
    orders.iter().all(is_same).then(|| TaskDefinitionArn::new(first))
}

/// What earlier attempts of this run have run to a good end, the oldest first: by every generation that is left, since any of
/// them may have died before it had written what it knew.
fn succeeded_earlier(chain: &[Generation], ours: u64, run: &RunKey) -> Vec<SucceededCommand> {
    let earlier = chain.iter().filter(|g| g.number < ours).filter_map(|g| g.claim.as_ref());
    let mut succeeded: Vec<SucceededCommand> = vec![];
    for done in earlier.filter(|claim| claim.is_earlier_attempt_of(run)).flat_map(|claim| &claim.succeeded) {
        succeeded.retain(|other| other.command != done.command);
        succeeded.push(done.clone());
    }
    succeeded
}

/// The last release of the service that is known.
pub(super) fn last_release(chain: &[Generation]) -> Option<ReleaseRecord> {
    chain.iter().rev().find_map(|g| g.claim.as_ref()?.release.clone())
}

/// The list after ours was created. One that does not show it is older than that, and says nothing about what others
/// noted meanwhile.
async fn chain_with(generation: u64, path: &str, aws: Aws<'_>) -> Result<Chain, Failure> {
    for _ in 0..STALE_READS {
        let found = chain(path, aws).await?;
        if found.generations.last().is_some_and(|newest| newest.number >= generation) {
            return Ok(found);
        }
        sleep(Duration::from_secs(1)).await;
    }
    let what = format!("SSM does not show the lease that was created as {path}/{generation}");
    Err(Failure::new(Reason::Unavailable, what).with_next("see who removes it, and run this again"))
}
