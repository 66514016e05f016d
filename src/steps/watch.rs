//! Follows a deployment to its end. Nothing is decided here: the state machine asks, this page reads.

use crate::events::Step;
use crate::evidence;
use crate::poll::Poll;
use crate::ports::{Aws, Call, CallError, CallErrorKind};
use crate::release_context::{ReleaseContext, StepLog};
use crate::rollout_in_progress::RolloutInProgress;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::rollout::{Ask, Observation, Target, Verdict};
use fargate_deploy_core::service::ServiceDeployment;
use fargate_deploy_core::task_definition::TaskDefinition;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The List can be asked with our clock a little ahead of AWS's.
const CLOCK_SKEW: f64 = 120.0;

/// Between two looks at the stopped tasks of a deployment that must fail fast.
const LOOK: Duration = Duration::from_secs(10);

/// Reads until the state machine has a verdict, or a deployment that must fail fast crashes in a loop.
pub async fn watch(
    service: &ServiceRef,
    definition: &TaskDefinition,
    moving: &mut RolloutInProgress,
    poll: &Poll,
    context: &ReleaseContext<'_>,
) -> Verdict {
    let step = context.start(Step::RollOut, format!("watching {service}")).of(service.name.as_str());
    let RolloutInProgress { rollout, target, began, since, fails_fast } = moving;
    let (target, since, fails_fast) = (&*target, *since, *fails_fast);
    let mut failures = 0;
    let mut looked = Duration::ZERO;
    let mut last: Option<Duration> = None;
    loop {
        let at = began.elapsed();
        let (pause, ask) = rollout.next(at);
        if let Some(last) = last {
            let until = Instant::now() + pause.saturating_sub(at.saturating_sub(last));
            match &ask {
                Ask::Service => poll.services.wait(service, until).await,
                Ask::ServiceDeployment(arn) => poll.deployments.wait(arn, until).await,
                Ask::Locate => sleep_until(until).await,
            }
        }
        last = Some(began.elapsed());
        let observation = read(&ask, service, target, since, poll, context.aws).await;
        for news in rollout.observe(began.elapsed(), observation) {
            step.progress(news);
        }
        if let Some(verdict) = rollout.verdict() {
            tell(&step, service, target, verdict);
            return verdict.clone();
        }
        let has_failures = rollout.failures() > failures;
        // ECS does not count a task that ended after it was RUNNING, where nothing checks its health.
        let is_due = fails_fast && began.elapsed().saturating_sub(looked) >= LOOK;
        if has_failures || is_due {
            failures = rollout.failures();
            looked = began.elapsed();
            let evidence = evidence::of_deployment(context.aws, service, &target.deployment, definition).await;
            for line in evidence.lines.into_iter().filter(|_| has_failures) {
                step.progress(line);
            }
            if let Some(crash_loop) = evidence.crash_loop.filter(|_| fails_fast) {
                let verdict = Verdict::Failed { reason: crash_loop };
                tell(&step, service, target, &verdict);
                return verdict;
            }
        }
        let counts = rollout.counts();
        step.heartbeat(format!("{service}: {}/{} running", counts.running, counts.desired));
    }
}

async fn read(ask: &Ask, service: &ServiceRef, target: &Target, since: f64, poll: &Poll, aws: Aws<'_>) -> Observation {
    match ask {
        Ask::Service => match poll.service(service, aws).await {
            Ok(found) => Observation::Service(found.map(Box::new)),
            Err(e) => Observation::Unreadable(e.to_string()),
        },
        Ask::Locate => optional(locate(service, target, since, aws).await, Observation::Located),
        Ask::ServiceDeployment(arn) => optional(poll.deployment(arn, aws).await, Observation::ServiceDeployment),
    }
}

/// Ours is the newest service deployment whose revision runs our task definition. One that started before
/// UpdateService was sent is not ours.
async fn locate(service: &ServiceRef, target: &Target, since: f64, aws: Aws<'_>) -> Call<Option<ServiceDeployment>> {
    let arns = aws.services.service_deployments(service, since - CLOCK_SKEW).await?;
    for arn in arns.iter().take(3) {
        let Some(deployment) = aws.services.service_deployment(arn).await? else { continue };
        let Some(revision) = &deployment.target_revision else { continue };
        let Some(revision) = aws.services.service_revision(revision).await? else { continue };
        // By force, or going back: an earlier deployment of this very revision may be listed, and has ended well.
        let has_run_before = target.before.as_ref().is_none_or(|(_, before)| *before == target.task_definition);
        let is_old = has_run_before && deployment.created_at < since - 5.0;
        if revision.task_definition == target.task_definition && !is_old {
            return Ok(Some(deployment));
        }
    }
    Ok(None)
}

/// A role or a stand-in without the ServiceDeployments API is no failure: DescribeServices is read instead.
fn optional<T>(answer: Call<T>, known: impl FnOnce(T) -> Observation) -> Observation {
    match answer {
        Ok(answer) => known(answer),
        Err(CallError { kind: CallErrorKind::Denied | CallErrorKind::Invalid | CallErrorKind::NotFound, .. }) => {
            Observation::Denied
        }
        Err(e) => Observation::Unreadable(e.to_string()),
    }
}

fn tell(step: &StepLog<'_>, service: &ServiceRef, target: &Target, verdict: &Verdict) {
    let revision = target.task_definition.short();
    match verdict {
        Verdict::Stable(counts) => {
            step.done(format!("{service} serves {revision}: {}/{} running", counts.running, counts.desired))
        }
        other => step.failed(format!("{service}: {revision} {}", sentence(other))),
    }
}

/// How a deployment ended, as the predicate of a sentence.
pub fn sentence(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Stable(_) => "serves".to_owned(),
        Verdict::RolledBack { reason, to } => format!("was rolled back to {}: {reason}", to.short()),
        Verdict::Failed { reason } => format!("failed: {reason}"),
        Verdict::Superseded { by } => format!("was replaced by a newer deployment of {}", by.short()),
        Verdict::TimedOut { awaiting_hook: Some(hook), .. } => {
            format!("is paused by hook {hook}, which waits for a person")
        }
        Verdict::TimedOut { last, .. } => format!("is still rolling out: {}/{} running", last.running, last.desired),
        Verdict::Unsteady { reason } => format!("failed, and so did going back: {reason}"),
        Verdict::Lost { error } => format!("could not be followed to its end: {error}"),
    }
}
