//! The plan instead of the release, and the release only if it is what was reviewed.

use super::{Order, RequiredPlan};
use crate::config::ImageSource;
use crate::events::Step;
use crate::steps::{build, push};
use crate::world::World;
use fargate_deploy_core::outcome::{Failure, Reason, Success};
use fargate_deploy_core::plan::document::PlanDocument;
use fargate_deploy_core::plan::{ImageAction, ImagePlan, Plan};
use futures_util::future::try_join_all;

/// Notes what would be done, and does nothing of it. With `builds_images` the images that a deploy would build are
/// built, to see that they can be, and not pushed.
///
/// # Errors
/// `build`: an image could not be built.
pub(super) async fn planned(
    plan: &Plan,
    document: PlanDocument,
    order: &Order,
    world: &World<'_>,
) -> Result<Success, Failure> {
    {
        let mut record = world.record.borrow_mut();
        record.planned_changes = Some(document.changed_services());
        record.plan = Some(Box::new(document));
    }
    if order.builds_images {
        try_join_all(plan.images.iter().map(|image| build_only(image, order, world))).await?;
    }
    Ok(Success::Planned)
}

async fn build_only(image: &ImagePlan, order: &Order, world: &World<'_>) -> Result<(), Failure> {
    let source = order.config.images.iter().find(|i| i.key == image.key).map(|i| &i.source);
    let (ImageAction::Build { platform, .. }, Some(ImageSource::Build(config))) = (&image.action, source) else {
        world.skip(Step::Build, format!("{}: nothing has to be built", image.key));
        return Ok(());
    };
    // The login reads private base images and caches. A role that may only describe has none, and a public base needs
    // none.
    let to = match image.is_to_be_created {
        true => None,
        false => match push::destination(config, order.push_endpoint.as_deref(), world).await {
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
        login: to.as_ref().and_then(|to| to.login.as_ref()),
        provenance: &order.provenance,
        env: &order.env,
    };
    build::build(what, world).await.map(drop)
}

/// Stops a deploy that would do something else than what was reviewed.
///
/// # Errors
/// `plan-stale`, with the difference.
pub(super) fn require(order: &Order, document: &PlanDocument) -> Result<(), Failure> {
    let shown = match &order.required_plan {
        RequiredPlan::None => return Ok(()),
        RequiredPlan::Missing(why) => {
            return Err(Failure::new(Reason::PlanStale, format!("no reviewed plan was found: {why}")).with_next(
                "run `plan` and deploy with `--require-plan DIGEST`, or take `require-plan` out of the config",
            ));
        }
        RequiredPlan::Shown(shown) => shown,
    };
    document.is_still(shown).map_err(|differences| {
        Failure::new(Reason::PlanStale, "this deploy would do something else than what was reviewed")
            .with_evidence(differences)
            .with_next("look at the plan of now (`fargate-deploy plan`), have it reviewed, and deploy that")
    })
}
