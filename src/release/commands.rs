//! The release commands, in order, each once.

use super::Release;
use super::ready_images::{Images, has_all};
use super::rollback::promises_untouched;
use crate::config::When;
use crate::events::Event;
use crate::steps::{release as command, snapshot};
use fargate_deploy_core::outcome::{CommandState, Failure, Reason};
use fargate_deploy_core::plan::{CommandPlan, Plan};
use fargate_deploy_core::snapshot::snapshot_name;
use futures_util::future::join_all;

impl Release<'_> {
    /// A release command waits for the images that it runs, not for the others.
    pub(super) async fn run_commands_before(&self) -> Result<(), Failure> {
        let plan = self.plan();
        for (at, planned) in self.commands_at(&plan, When::Before).enumerate() {
            let images = self.images.wait_until(|ready| has_all(ready, planned.images())).await?;
            self.register_ready(&images).await?;
            if let Some(instance) = plan.settings.snapshot.as_ref().filter(|_| at == 0) {
                self.confirm_leases().await?;
                snapshot::snapshot(instance, &snapshot_name(instance, &self.order.run.key), &self.context).await?;
            }
            self.run_command(planned, &plan, &images).await?;
        }
        if self.order.skips_commands && !plan.commands.is_empty() {
            self.context.emit(Event::CommandsSkipped);
        }
        Ok(())
    }

    /// Whether there was one to run.
    pub(super) async fn run_commands_after(&self) -> Result<bool, Failure> {
        if self.order.is_unwatched {
            return Ok(false);
        }
        let (plan, images) = (self.plan(), self.images.all().await?);
        let mut has_run = false;
        for planned in self.commands_at(&plan, When::After) {
            self.run_command_after(planned, &plan, &images).await?;
            has_run = true;
        }
        Ok(has_run)
    }

    /// Runs it, and notes in every lease that no later run owes it.
    pub(super) async fn run_command_after(
        &self,
        planned: &CommandPlan,
        plan: &Plan,
        images: &Images,
    ) -> Result<(), Failure> {
        self.run_command(planned, plan, images).await.map_err(|failure| match promises_untouched(failure.reason) {
            true => Failure { reason: Reason::AfterCommand, ..failure },
            false => failure,
        })?;
        let leases = self.leases.borrow().clone();
        leases.iter().for_each(|lease| lease.note_command_after(&planned.command.name));
        let ran = self.context.record.borrow().commands.iter().rfind(|c| c.name == planned.command.name).cloned();
        let lease = plan.service(&planned.service).and_then(|service| self.lease_of(service));
        if let (Some(lease), Some(task)) = (lease, ran.and_then(|ran| ran.task)) {
            lease.note_log(&planned.command.name, &task);
        }
        join_all(leases.iter().map(|lease| lease.renew(&self.context))).await;
        Ok(())
    }

    /// The names of the commands that are to run when the services serve.
    pub(super) fn names_of_commands_after(&self) -> Vec<String> {
        let plan = self.plan();
        self.commands_at(&plan, When::After).map(|planned| planned.command.name.clone()).collect()
    }

    /// A cancelled run says of no task that it still runs which has ended.
    pub(super) async fn look_at_running_commands(&self) {
        let plan = self.plan();
        let commands = self.context.record.borrow().commands.clone();
        for running in commands.into_iter().filter(|command| command.state == CommandState::Running) {
            let planned = plan.commands.iter().find(|planned| planned.command.name == running.name);
            let Some((planned, task)) = planned.zip(running.task) else { continue };
            let planned = &planned.of_images(&self.images.ready());
            let Some(service) = plan.service(&planned.service) else { continue };
            let lease = self.lease_of(service);
            let has_succeeded = command::look_again(planned, service, &task, lease.as_deref(), &self.context).await;
            if has_succeeded && planned.command.when == When::After {
                self.leases.borrow().iter().for_each(|lease| lease.note_command_after(&running.name));
            }
        }
    }

    /// Waits until there is something to begin with: a change that is certain, and the images of the first release
    /// command; or every image.
    pub(super) async fn first_images(&self) -> Result<(), Failure> {
        let plan = self.plan();
        let first = self.commands_at(&plan, When::Before).next();
        let is_certain = |ready: &Images| self.plan().settings.force || !plan.certain_changes(ready).is_empty();
        let is_enough =
            |ready: &Images| first.is_some_and(|planned| has_all(ready, planned.images()) && is_certain(ready));
        self.images.wait_until(is_enough).await.map(drop)
    }

    /// What an earlier attempt of this run started, as ECS has it, for the first command that is to be run now.
    pub(super) fn started_by_first_command(&self) -> Option<String> {
        if self.order.run.is_first_attempt() {
            return None;
        }
        let (plan, images) = (self.plan(), self.images.ready());
        let is_done = |planned: &&CommandPlan| {
            let lease = plan.service(&planned.service).and_then(|service| self.lease_of(service));
            lease.is_some_and(|lease| lease.succeeded_earlier(&planned.of_images(&images).identity()).is_some())
        };
        let first = match self.changes_nothing() {
            true => self.commands_owed(&plan).into_iter().find(|planned| !is_done(planned)),
            false => self.commands_at(&plan, When::Before).find(|planned| !is_done(planned)),
        };
        let (first, service) = first.and_then(|first| Some((first, plan.service(&first.service)?)))?;
        Some(command::started_by(&first.of_images(&images), &service.service, &self.order.run.key))
    }

    pub(super) fn commands_at<'p>(&self, plan: &'p Plan, when: When) -> impl Iterator<Item = &'p CommandPlan> {
        let commands = if self.order.skips_commands { &[][..] } else { &plan.commands };
        commands.iter().filter(move |planned| planned.command.when == when)
    }

    async fn run_command(&self, planned: &CommandPlan, plan: &Plan, images: &Images) -> Result<(), Failure> {
        let service = plan.service(&planned.service);
        let revision = self.revisions.borrow().iter().find(|r| r.key == planned.service).cloned();
        let (Some(service), Some(revision)) = (service, revision) else {
            let what = format!("release command `{}` has no service to run from", planned.command.name);
            return Err(Failure::new(Reason::Internal, what));
        };
        let definition = planned.definition(plan.number, &revision.definition, images, &self.order.provenance);
        let from = command::From { definition, revision: &revision.definition, arn: &revision.arn };
        let lease = self.lease_of(service);
        self.confirm_sure_lease(service).await?;
        command::run(&planned.of_images(images), service, from, &self.order.run, lease.as_deref(), &self.context).await
    }
}
