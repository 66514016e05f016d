//! Nothing differs from what the services should run. Do they run it? An earlier run may have stopped watching.

use super::Release;
use super::rollouts::{ServiceRollout, first_failure, state_of};
use crate::clock;
use crate::config::When;
use crate::events::Event;
use crate::lease::ReleaseRecord;
use crate::poll::Poll;
use crate::release_context::ReleaseContext;
use crate::rollout_in_progress::RolloutInProgress;
use crate::steps::register::Revision;
use crate::steps::watch;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::outcome::{Failure, Reason, Success};
use fargate_deploy_core::plan::{CommandPlan, Plan, ServicePlan, Settings};
use fargate_deploy_core::rollout::{Target, Verdict};
use fargate_deploy_core::service::{Deployment, Role, Service, State};
use futures_util::future::join_all;

/// A deployment that an earlier run started is looked for among those of the last day.
const DAY: f64 = 86_400.0;

/// A service of which nothing differs, and what is to be done about it all the same.
struct Unfinished {
    /// As it was before the release that it runs, where that is known.
    service: ServicePlan,
    revision: Revision,
    /// An earlier run has not seen it serve and answer.
    is_owed: bool,
    /// What it ran before is known, and can be put back.
    can_go_back: bool,
}

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
        if self.order.is_unwatched {
            return Ok(Success::Unchanged);
        }
        let unfinished = join_all(plan.services.iter().map(|service| self.unfinished(service))).await;
        let (unfinished, rollouts): (Vec<_>, Vec<_>) = unfinished.into_iter().flatten().unzip();
        let owes_something = unfinished.iter().any(|u| u.is_owed);
        let poll = Poll::default();
        let watching = unfinished.iter().zip(rollouts).map(async |(unfinished, mut moving)| {
            let Unfinished { service, revision, is_owed, can_go_back } = unfinished;
            note(service, &moving, context);
            let verdict = watch::watch(&service.service, &revision.definition, &mut moving, &poll, context).await;
            context.set_state(&service.key, state_of(&verdict));
            let is_stable = matches!(verdict, Verdict::Stable(_));
            let mut rollout = ServiceRollout {
                service,
                revision,
                moving: Some(moving),
                verdict: Some(verdict),
                caused_failure: false,
            };
            let checked = if *is_owed || !is_stable { self.check_deployed(&rollout).await } else { Ok(()) };
            rollout.caused_failure = checked.is_err();
            if let Some(lease) = self.lease_of(service).filter(|_| checked.is_ok()) {
                lease.note_verified();
            }
            (rollout, *can_go_back, checked.err())
        });
        let ended = join_all(watching).await;
        if let Some(failure) = first_failure(ended.iter().filter_map(|(_, _, failure)| failure.clone()).collect()) {
            let can_go_back = ended.iter().all(|(_, can_go_back, failure)| *can_go_back || failure.is_none());
            let has_failed = ended.iter().any(|(r, ..)| matches!(r.verdict, Some(Verdict::Failed { .. })));
            let going = ended.into_iter().filter(|(_, can_go_back, _)| *can_go_back).map(|(rollout, ..)| rollout);
            return Err(match can_go_back {
                true => self.roll_back_services(failure, going.collect()).await,
                false if has_failed => Failure { reason: Reason::Unsteady, ..failure }
                    .with_next("this release was deployed by an earlier run and failed: push one that works"),
                false => failure,
            });
        }
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
        Ok(Success::Deployed)
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
    async fn unfinished(&self, service: &ServicePlan) -> Option<(Unfinished, RolloutInProgress)> {
        let owed = self.release_owed(service).filter(|release| release.owes_verification);
        let is_moving = |p: &Deployment| matches!(p.state, State::InProgress | State::Failed);
        let primary = service.before.primary().filter(|primary| owed.is_some() || is_moving(primary))?;
        let moving = follow(service, primary, &self.plan().settings);
        let mut unfinished = Unfinished {
            service: service.clone(),
            revision: running(service),
            is_owed: owed.is_some(),
            can_go_back: false,
        };
        let Some(release) = owed else { return Some((unfinished, moving)) };
        let previous = self.context.aws.task_definitions.task_definition(&release.previous).await;
        if let Ok(previous) = previous
            && release.previous != release.revision
        {
            unfinished.can_go_back = true;
            unfinished.service.before = as_before(&service.before, &release.previous);
            unfinished.service.running = previous;
        }
        Some((unfinished, moving))
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

/// The deployment of what the service should run.
fn follow(service: &ServicePlan, primary: &Deployment, settings: &Settings) -> RolloutInProgress {
    let before = &service.before;
    let source = before.deployments.iter().find(|d| d.role == Role::Active);
    let target = Target {
        deployment: primary.id.clone(),
        created_at: primary.created_at,
        task_definition: primary.task_definition.clone(),
        before: source.map(|d| (d.id.clone(), d.task_definition.clone())),
        breaker: before.breaker,
        wait: settings.wait,
    };
    let seen = before.events.iter().map(|e| e.id.clone()).collect();
    let rollout = RolloutInProgress::new(target, seen, clock::now() - DAY);
    RolloutInProgress { fails_fast: settings.fail_fast, ..rollout }
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
        if service.before.task_definition != moving.target.task_definition {
            noted.previous = service.before.task_definition.clone();
            noted.previous_release = service.running.release();
        } else if let Some((_, previous)) = &moving.target.before {
            noted.previous = previous.clone();
            noted.previous_release = None;
        }
    }
}
