//! Nothing differs from what the services should run. Do they run it? An earlier run may have stopped watching.

use super::Release;
use super::progress::Progress;
use super::service_rollout::{Assignment, ServiceRollout, follow, note, state_of};
use crate::config::When;
use crate::events::Event;
use crate::in_progress::is_in_progress;
use crate::lease::ReleaseRecord;
use crate::poll::Poll;
use crate::rollout_in_progress::RolloutInProgress;
use crate::steps::register::Revision;
use crate::steps::watch;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::outcome::{Failure, Success};
use fargate_deploy_core::plan::{CommandPlan, Plan, ServicePlan};
use fargate_deploy_core::rollout::Verdict;
use fargate_deploy_core::service::{Deployment, Role, Service, State};
use futures_util::future::join_all;
use tokio::sync::watch::Sender;

impl Release<'_> {
    /// Follows every deployment that has not completed to its end, and does what the runs that started them still owe:
    /// smoke checks, and commands with `when: after`. What served before is put back where that is known.
    ///
    /// # Errors
    /// Its bad ending, as of the run that would have watched it: never a false green for a rollout that is still on its way,
    /// has failed, or does not answer.
    pub(super) async fn confirm_unchanged(&self) -> Result<Success, Failure> {
        let (plan, context) = (self.plan(), &self.context);
        context.emit(Event::NothingToRollOut);
        // What is confirmed, and finished, is the release that serves: no revision has the next number.
        if let Some(serves) = plan.services.iter().filter_map(|service| service.running.release()).max() {
            context.record.borrow_mut().release = Some(serves);
        }
        if self.order.is_unwatched {
            return Ok(Success::Unchanged);
        }
        let unfinished = join_all(plan.services.iter().map(|service| self.unfinished(service))).await;
        let (unfinished, rollouts): (Vec<_>, Vec<_>) = unfinished.into_iter().flatten().unzip();
        let owes_something = unfinished.iter().any(|u| u.is_owed);
        let (poll, progress) = (Poll::default(), Sender::new(Progress::default()));
        let following = unfinished.iter().zip(rollouts).map(async |(assignment, moving)| {
            let service = &assignment.service;
            note(service, &moving, context);
            let mut rollout = ServiceRollout::of(assignment);
            rollout.is_new = true;
            let given_up = async {
                let _ = progress.subscribe().wait_for(Progress::is_given_up).await;
            };
            let checking = async {
                let moving = rollout.moving.insert(moving);
                let (of, revision) = (&service.service, rollout.revision);
                let goes_back = |reason: &str| self.note_going_back(service, revision, reason);
                let verdict = watch::watch_and_tell(of, &revision.definition, moving, &poll, context, &goes_back).await;
                context.set_state(&service.key, state_of(&verdict));
                let is_checked = !assignment.is_owed && !self.is_unrecorded(service);
                let is_well = matches!(verdict, Verdict::Stable(_)) && is_checked;
                rollout.verdict = Some(verdict);
                if is_well { Ok(()) } else { self.check_deployed(&mut rollout).await }
            };
            let worked = self.unless(given_up, checking, |_| false).await;
            if let Some(lease) = self.lease_of(service).filter(|_| matches!(worked, Some(Ok(())))) {
                lease.note_verified();
            }
            self.end_turn(rollout, worked, &unfinished, &progress, &poll).await
        });
        let turns = self.answering_interrupt(&progress, join_all(following)).await;
        self.conclude(&progress, turns)?;
        let commands = self.commands_owed(&plan);
        if !owes_something && commands.is_empty() {
            return Ok(Success::Unchanged);
        }
        self.register_task_definitions().await?;
        let images = self.images.all().await?;
        for planned in commands {
            self.run_command_after(planned, &plan, &images).await?;
        }
        self.confirm_leases().await?;
        let has_started = plan.services.iter().any(|service| service.before.counts.desired > 0);
        Ok(if has_started { Success::Deployed } else { Success::DeployedNotVerified })
    }

    /// What the release that a service runs owes.
    fn release_owed(&self, service: &ServicePlan) -> Option<ReleaseRecord> {
        let release = self.lease_of(service)?.release_record()?;
        self.owes(&release, service).then_some(release)
    }

    /// Whether it is the release that a service runs, and owes something that this run would do.
    pub(super) fn owes(&self, release: &ReleaseRecord, service: &ServicePlan) -> bool {
        let names = self.names_of_commands_after();
        release.revision == service.before.task_definition.as_str()
            && (release.owes_verification || release.owes_commands.iter().any(|owed| names.contains(owed)))
    }

    /// The commands with `when: after` that the releases which the services run have not run to a good end.
    pub(super) fn commands_owed<'p>(&self, plan: &'p Plan) -> Vec<&'p CommandPlan> {
        let owed: Vec<_> = plan.services.iter().filter_map(|service| self.release_owed(service)).collect();
        let is_owed = |name: &String| owed.iter().any(|release| release.owes_commands.contains(name));
        self.commands_at(plan, When::After).filter(|planned| is_owed(&planned.command.name)).collect()
    }

    /// `None`: it runs what it should, and nobody owes anything of it.
    async fn unfinished(&self, service: &ServicePlan) -> Option<(Assignment, RolloutInProgress)> {
        let assignment = self.staying(service).await;
        let is_moving = |p: &Deployment| matches!(p.state, State::InProgress | State::Failed);
        let is_short = |p: &Deployment| p.counts.running < p.counts.desired;
        let primary = service.before.primary()?;
        let is_unfinished =
            assignment.is_owed || is_moving(primary) || is_short(primary) || self.is_unrecorded(service);
        if !is_unfinished && !is_in_progress(&service.service, &service.before, self.context.aws).await {
            return None;
        }
        let moving = follow(service, primary, &self.plan().settings);
        Some((assignment, moving))
    }

    /// Without a lease nothing says that its smoke checks have passed.
    fn is_unrecorded(&self, service: &ServicePlan) -> bool {
        self.lock_wait().is_none() && !service.smoke.is_empty()
    }

    /// A service that runs what it should. What it ran before is known where an earlier attempt of this run has moved it, or
    /// where the run that moved it has not seen it serve and answer.
    pub(super) async fn staying(&self, service: &ServicePlan) -> Assignment {
        let mut assignment = Assignment {
            service: service.clone(),
            revision: running(service),
            stays: true,
            is_owed: false,
            can_go_back: false,
        };
        let runs = service.before.task_definition.as_str();
        let release = self.lease_of(service).and_then(|lease| lease.release_record());
        let Some(release) = release.filter(|release| release.revision == runs) else { return assignment };
        assignment.is_owed = release.owes_verification;
        let is_ours = self.earlier_attempt().is_some() && service.running.run() == self.earlier_attempt();
        if (is_ours || assignment.is_owed)
            && release.previous != release.revision
            && let Ok(previous) = self.context.aws.task_definitions.task_definition(&release.previous).await
        {
            assignment.can_go_back = true;
            assignment.service.before = as_before(&service.before, &release.previous);
            assignment.service.running = previous;
        }
        assignment
    }
}

/// A service before its release, as far as the release's record says.
fn as_before(now: &Service, previous: &str) -> Service {
    let mut before = Service { task_definition: TaskDefinitionArn::new(previous), ..now.clone() };
    for primary in before.deployments.iter_mut().filter(|d| d.role == Role::Primary) {
        primary.task_definition = before.task_definition.clone();
        primary.state = State::Completed;
    }
    before
}

fn running(service: &ServicePlan) -> Revision {
    Revision {
        key: service.key.clone(),
        arn: service.before.task_definition.clone(),
        definition: service.running.clone(),
        is_unchanged: true,
    }
}
