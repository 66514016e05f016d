//! Nothing differs from what the services should run. Do they run it? An earlier run may have stopped watching.

use super::Release;
use super::rollouts::{ServiceRollout, state_of};
use crate::clock;
use crate::events::Event;
use crate::poll::Poll;
use crate::release_context::ReleaseContext;
use crate::rollout_in_progress::RolloutInProgress;
use crate::steps::register::Revision;
use crate::steps::watch;
use fargate_deploy_core::outcome::{Failure, Reason, Success};
use fargate_deploy_core::plan::ServicePlan;
use fargate_deploy_core::rollout::{Target, Verdict};
use fargate_deploy_core::service::{Role, State};
use futures_util::future::join_all;
use std::time::Duration;

/// A deployment that an earlier run started is looked for among those of the last day.
const DAY: f64 = 86_400.0;

impl Release<'_> {
    /// Follows every deployment that has not completed to its end. Nothing is put back: what served before it is not ours
    /// to know.
    ///
    /// # Errors
    /// Its bad ending: never a false green for a rollout that is still on its way, or has failed.
    pub(super) async fn confirm_unchanged(&self) -> Result<Success, Failure> {
        let (plan, context) = (self.plan(), &self.context);
        context.emit(Event::NothingToRollOut);
        if self.order.is_unwatched {
            return Ok(Success::Unchanged);
        }
        let wait = self.plan().settings.wait;
        let unfinished: Vec<_> = plan.services.iter().filter_map(|s| Some((s, follow(s, wait)?))).collect();
        let revisions: Vec<_> = unfinished.iter().map(|(service, _)| running(service)).collect();
        let poll = Poll::default();
        let watching = unfinished.into_iter().zip(&revisions).map(async |((service, mut moving), revision)| {
            note(service, &moving, context);
            let verdict = watch::watch(&service.service, &revision.definition, &mut moving, &poll, context).await;
            context.set_state(&service.key, state_of(&verdict));
            ServiceRollout { service, revision, moving: Some(moving), verdict: Some(verdict), caused_failure: true }
        });
        let ended = join_all(watching).await;
        let Some(bad) = ended.iter().find(|r| !matches!(r.verdict, Some(Verdict::Stable(_)))) else {
            return Ok(Success::Unchanged);
        };
        let mut failure = self.failure_of(bad).await;
        if matches!(bad.verdict, Some(Verdict::Failed { .. })) {
            failure.reason = Reason::Unsteady;
            failure.next =
                Some("this release was deployed by an earlier run and failed: push one that works".to_owned());
        }
        Err(failure)
    }
}

/// The deployment of what the service should run, where it has not completed.
fn follow(service: &ServicePlan, wait: Duration) -> Option<RolloutInProgress> {
    let before = &service.before;
    let primary = before.primary().filter(|p| matches!(p.state, State::InProgress | State::Failed))?;
    let source = before.deployments.iter().find(|d| d.role == Role::Active);
    let target = Target {
        deployment: primary.id.clone(),
        created_at: primary.created_at,
        task_definition: primary.task_definition.clone(),
        before: source.map(|d| (d.id.clone(), d.task_definition.clone())),
        breaker: before.breaker,
        wait,
    };
    let seen = before.events.iter().map(|e| e.id.clone()).collect();
    Some(RolloutInProgress::new(target, seen, clock::now() - DAY))
}

fn running(service: &ServicePlan) -> Revision {
    Revision {
        key: service.key.clone(),
        arn: service.before.task_definition.clone(),
        definition: service.running.clone(),
        is_unchanged: true,
    }
}

/// What served before it is the revision that it replaces.
fn note(service: &ServicePlan, moving: &RolloutInProgress, context: &ReleaseContext<'_>) {
    if let Some(noted) = context.record.borrow_mut().service_mut(&service.key) {
        noted.target = Some(moving.target.task_definition.clone());
        if let Some((_, previous)) = &moving.target.before {
            noted.previous = previous.clone();
            noted.previous_release = None;
        }
    }
}
