//! The plan instead of the release, and the release only if it is what was reviewed.

use super::{Release, RequiredPlan};
use crate::config::ServiceConfig;
use crate::events::{Event, Notice};
use crate::steps::{build, push};
use fargate_deploy_core::outcome::{Failure, Reason, Success};
use fargate_deploy_core::plan::{ImageAction, ImagePlan};
use futures_util::future::try_join_all;

impl Release<'_> {
    /// Notes what would be done, and does nothing of it. With `builds_images` the images that a deploy would build are
    /// built, to see that they can be, and not pushed.
    ///
    /// # Errors
    /// `build`: an image could not be built.
    pub(super) async fn show_plan(&self) -> Result<Success, Failure> {
        let document = self.document();
        {
            let mut record = self.context.record.borrow_mut();
            record.planned_changes = Some(document.changed_services());
            record.plan = Some(Box::new(document));
        }
        if self.order.builds_images {
            try_join_all(self.plan().images.iter().map(|image| self.build_only(image))).await?;
        }
        Ok(Success::Planned)
    }

    async fn build_only(&self, image: &ImagePlan) -> Result<(), Failure> {
        let ImageAction::Build { build: config, platform, cached_in, .. } = &image.action else {
            self.context.emit(Event::BuildUnneeded { image: image.key.clone() });
            return Ok(());
        };
        // The login reads private base images and caches. A role that may only describe has none, and a public base
        // needs none.
        let to = match image.is_to_be_created {
            true => None,
            false => match push::destination(config, self.order.push_endpoint.as_deref(), &self.context).await {
                Ok(to) => Some(to),
                Err(failure) if failure.reason == Reason::Permission => None,
                Err(failure) => return Err(failure),
            },
        };
        let what = build::Order {
            key: &image.key,
            config,
            platform,
            name: to.as_ref().map_or(image.name.as_str(), |to| to.push_name.as_str()),
            cached_in,
            written_cache: None,
            pull: image.is_by_content(),
            login: to.as_ref().and_then(|to| to.login.as_ref()),
            provenance: &self.order.provenance,
            env: &self.order.env,
        };
        build::build(what, &self.context).await.map(drop)
    }

    /// Refuses what a flag would break of what the config promises, before anything is read.
    ///
    /// # Errors
    /// `config`: `--no-wait` with services that wait for others.
    pub(super) fn require_what_is_promised(&self) -> Result<(), Failure> {
        let waits = |s: &&ServiceConfig| !s.after.is_empty();
        match self.order.config.services.iter().find(waits).filter(|_| self.order.is_unwatched) {
            Some(service) => {
                let what = format!(
                    "`--no-wait`: service `{}` comes after `{}`, and nothing would wait for that to serve",
                    service.key, service.after[0]
                );
                Err(Failure::new(Reason::Config, what)
                    .with_next("leave `--no-wait` out, or deploy them one after the other with `--only`"))
            }
            None => Ok(()),
        }
    }

    /// Says what flags leave out of the release.
    pub(super) fn tell_what_is_left_out(&self) {
        let left_out = &self.order.config.left_out;
        let tell = |notice| self.context.emit(Event::Notice(notice));
        let commands = |flag: &str, commands: Vec<String>| {
            if !commands.is_empty() {
                tell(Notice::CommandsLeftOut { flag: flag.to_owned(), commands });
            }
        };
        commands("--only", left_out.commands.clone());
        if self.order.is_unwatched {
            commands("--no-wait", self.names_of_commands_after());
        }
        for (service, after) in left_out.after.clone() {
            tell(Notice::OrderLeftOut { service, after });
        }
    }

    /// Stops a deploy that would do something else than what was reviewed.
    ///
    /// # Errors
    /// `plan-stale`, with the difference.
    pub(super) fn require_reviewed_plan(&self) -> Result<(), Failure> {
        let shown = match &self.order.required_plan {
            RequiredPlan::None => return Ok(()),
            RequiredPlan::Missing(why) => {
                return Err(Failure::new(Reason::PlanStale, format!("no reviewed plan was found: {why}")).with_next(
                    "run `plan` and deploy with `--require-plan DIGEST`, or take `require-plan` out of the config",
                ));
            }
            RequiredPlan::Shown(shown) => shown,
        };
        self.document().is_still(shown).map_err(|differences| {
            Failure::new(Reason::PlanStale, "this deploy would do something else than what was reviewed")
                .with_evidence(differences)
                .with_next("look at the plan of now (`fargate-deploy plan`), have it reviewed, and deploy that")
        })
    }
}
