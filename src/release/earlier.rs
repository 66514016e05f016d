//! A release that puts an earlier one back: the same steps, from the definitions that ran then. Nothing is built, and no
//! release command runs.

use super::Release;
use crate::events::{Event, Notice, Running, Warning};
use crate::lease::{self, ManualLock};
use fargate_deploy_core::names::{ServiceKey, ServiceRef, TaskDefinitionArn};
use fargate_deploy_core::outcome::{Failure, ImageRecord, Reason, WentBack};
use fargate_deploy_core::plan::Before;
use fargate_deploy_core::task_definition::TaskDefinition;
use futures_util::future::join_all;

/// What makes a release a rollback.
#[derive(Clone, Debug)]
pub struct Rollback {
    pub services: Vec<GoesBack>,
    /// What each service's revision starts from: its definition as of then.
    pub bases: Vec<(ServiceKey, TaskDefinition)>,
    /// No release that is known has a higher number.
    pub newest: u64,
    pub went_back: WentBack,
    /// What the services are to run again.
    pub images: Vec<ImageRecord>,
    /// What keeps deploys out afterwards, and of which services.
    pub hold: Option<(ManualLock, Vec<ServiceRef>)>,
}

/// A service of a rollback.
#[derive(Clone, Debug)]
pub struct GoesBack {
    pub key: ServiceKey,
    pub service: ServiceRef,
    /// What it ran when the earlier release served.
    pub to: TaskDefinitionArn,
    /// What it ran when that was chosen.
    pub runs: TaskDefinitionArn,
}

impl Release<'_> {
    /// What was found, with what each service starts from in place of what it runs.
    pub(super) fn with_earlier_definitions(&self, mut before: Before) -> Before {
        let Some(rollback) = &self.order.rollback else { return before };
        for service in &mut before.services {
            if let Some((_, base)) = rollback.bases.iter().find(|(key, _)| *key == service.key) {
                service.base = base.clone();
                service.latest_release = service.latest_release.max(rollback.newest);
            }
        }
        before
    }

    /// Says what is gone back to, and notes it.
    pub(super) fn note_rollback(&self) {
        let Some(rollback) = &self.order.rollback else { return };
        let services = rollback.services.iter().map(|s| Running { service: s.service.clone(), revision: s.to.clone() });
        self.context.emit(Event::GoingBack {
            to: rollback.went_back.to,
            from: rollback.went_back.from,
            services: services.collect(),
            digests: rollback.images.iter().map(|image| image.digest.clone()).collect(),
        });
        for (release, command, is_certain) in rollback.went_back.stays_applied.clone() {
            self.context.emit(Event::Notice(Notice::CommandStays { command, release, is_certain }));
        }
        let mut record = self.context.record.borrow_mut();
        record.images.clone_from(&rollback.images);
        record.went_back = Some(rollback.went_back.clone());
    }

    /// What is gone back from must be what was looked at: somebody may have deployed while this run waited for its turn.
    ///
    /// # Errors
    /// `superseded`: nothing was touched.
    pub(super) fn still_to_go_back(&self) -> Result<(), Failure> {
        let Some(rollback) = &self.order.rollback else { return Ok(()) };
        let plan = self.plan();
        let is_other = |s: &&GoesBack| plan.service(&s.key).is_some_and(|now| now.before.task_definition != s.runs);
        let Some(moved) = rollback.services.iter().find(is_other) else { return Ok(()) };
        let by = plan.service(&moved.key).map(|now| now.before.task_definition.short().to_owned()).unwrap_or_default();
        let what = format!("{}: {by} was deployed while this rollback waited for its turn", moved.service);
        Err(Failure::new(Reason::Superseded, what)
            .with_next("see what serves now (`fargate-deploy releases`), and go back again if that is bad too"))
    }

    /// A person's lock on each service, set while the leases are still held: no deploy that waits gets in between.
    pub(super) async fn hold_deploys(&self) {
        let Some((lock, services)) = self.order.rollback.as_ref().and_then(|rollback| rollback.hold.as_ref()) else {
            return;
        };
        let held =
            join_all(services.iter().map(async |service| match lease::set(service, lock, self.context.aws).await {
                Ok(_) => true,
                Err(failure) => {
                    self.context.warn(Warning::DeploysNotHeld { service: service.clone(), error: failure.what });
                    false
                }
            }));
        let is_held = held.await.into_iter().all(|held| held);
        if let Some(went_back) = &mut self.context.record.borrow_mut().went_back {
            went_back.is_held = is_held;
        }
    }
}
