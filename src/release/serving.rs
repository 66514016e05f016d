//! Whether everything that was seen to serve does so still: others deploy, and tasks die, while a release goes on.

use super::Release;
use super::progress::Progress;
use super::service_rollout::{Assignment, ServiceRollout, Turn, failure_of, state_of};
use crate::config::OnCancel;
use crate::poll::Poll;
use crate::retry;
use crate::steps::watch;
use fargate_deploy_core::outcome::Failure;
use fargate_deploy_core::rollout::Verdict;
use fargate_deploy_core::service::{Service, State};
use futures_util::future::join_all;
use tokio::sync::watch::Sender;

impl Release<'_> {
    /// Once more, when everything has been seen to serve: a service can be replaced, or die, while others are waited for.
    ///
    /// # Errors
    /// As of [`Self::move_services`].
    pub(super) async fn confirm_serving<'p>(
        &self,
        rollouts: Vec<ServiceRollout<'p>>,
        assignments: &'p [Assignment],
    ) -> Result<Vec<ServiceRollout<'p>>, Failure> {
        if self.order.is_unwatched {
            return Ok(rollouts);
        }
        let names: Vec<_> = rollouts.iter().map(|r| r.service.service.clone()).collect();
        let read = retry::each_within(retry::POLL, self.context.aws.services.services(&names)).await;
        let shown = read.unwrap_or_default();
        let is_confirmed = |at: usize, rollout: &ServiceRollout<'_>| {
            let now = shown.get(at).and_then(Option::as_ref);
            now.is_some_and(|now| serves_still(rollout, now))
        };
        if rollouts.iter().enumerate().all(|(at, rollout)| is_confirmed(at, rollout)) {
            return Ok(rollouts);
        }
        let (poll, progress) = (Poll::default(), Sender::new(Progress::default()));
        self.answers_interrupt.set(self.plan().settings.on_cancel == OnCancel::Rollback);
        let all = rollouts.into_iter().enumerate().map(|(at, rollout)| {
            let doubted = (!is_confirmed(at, &rollout)).then(|| shown.get(at).and_then(Option::as_ref));
            self.follow_on(rollout, doubted, assignments, &progress, &poll)
        });
        let turns = self.answering_interrupt(&progress, join_all(all)).await;
        self.conclude(&progress, turns)
    }

    /// Watches a service again that does not show what was seen of it: what that means, the state machine tells.
    async fn follow_on<'p>(
        &self,
        mut rollout: ServiceRollout<'p>,
        doubted: Option<Option<&Service>>,
        all: &[Assignment],
        progress: &Sender<Progress>,
        poll: &Poll,
    ) -> Turn<'p> {
        let (service, context) = (rollout.service, &self.context);
        let given_up = async {
            let _ = progress.subscribe().wait_for(Progress::is_given_up).await;
        };
        let watching = async {
            let Some((now, moving)) = doubted.zip(rollout.moving.as_mut()) else { return Ok(()) };
            *moving =
                moving.again(now.map(|now| now.events.iter().map(|e| e.id.clone()).collect()).unwrap_or_default());
            let verdict = watch::watch(&service.service, &rollout.revision.definition, moving, poll, context).await;
            context.set_state(&service.key, state_of(&verdict));
            let is_stable = matches!(verdict, Verdict::Stable(_));
            rollout.verdict = Some(verdict);
            if is_stable { Ok(()) } else { Err(failure_of(&mut rollout)) }
        };
        let worked = self.unless(given_up, watching, |_| false).await;
        self.end_turn(rollout, worked, all, progress, poll).await
    }
}

/// The deployment that was seen to complete is the primary one, with as many tasks as it should have.
fn serves_still(rollout: &ServiceRollout<'_>, now: &Service) -> bool {
    let Some(primary) = now.primary().filter(|_| now.status == "ACTIVE") else { return false };
    let is_ours = match &rollout.moving {
        Some(moving) => primary.id == moving.target.deployment,
        None => primary.task_definition == rollout.revision.arn,
    };
    is_ours && primary.state != State::Failed && primary.counts.running >= primary.counts.desired
}
