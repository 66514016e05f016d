//! Every image of the release, built or found. Images do not wait for each other.

use super::Order;
use super::shelf::Shelf;
use crate::config::ImageSource;
use crate::events::Step;
use crate::steps::{build, push};
use crate::world::World;
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::plan::{ImageAction, ImagePlan, Plan};
use futures_util::future::try_join_all;

/// Puts each image on the shelf when it is in its repository. The first that cannot be had ends the others.
pub(super) async fn all(plan: &Plan, order: &Order, shelf: &Shelf, world: &World<'_>) {
    let each = plan.images.iter().map(async |image| {
        shelf.put(&image.key, provide(image, order, world).await?);
        Ok(())
    });
    if let Err(failure) = try_join_all(each).await {
        shelf.fail(failure);
    }
}

/// `HOST/NAME@DIGEST`.
async fn provide(image: &ImagePlan, order: &Order, world: &World<'_>) -> Result<String, Failure> {
    let source = order.config.images.iter().find(|i| i.key == image.key).map(|i| &i.source);
    let (digest, name) = match (&image.action, source) {
        (ImageAction::Build { platform, tags }, Some(ImageSource::Build(config))) => {
            let to = push::destination(config, order.push_endpoint.as_deref(), world).await?;
            let key = &image.key;
            let what = build::Order {
                key,
                config,
                platform,
                name: &to.push_name,
                login: to.login.as_ref(),
                provenance: &order.provenance,
                env: &order.env,
            };
            let built = build::build(what, world).await?;
            (push::push(key, &built, tags, &to, world).await?, to.name)
        }
        (ImageAction::Reuse { digest, missing_tags }, Some(ImageSource::Build(config))) if !missing_tags.is_empty() => {
            let to = push::destination(config, order.push_endpoint.as_deref(), world).await?;
            push::retag(&image.key, digest, missing_tags, &to, world).await?;
            (digest.clone(), to.name)
        }
        (ImageAction::Reuse { digest, .. } | ImageAction::Existing { digest }, _) => {
            world.skip(Step::Build, format!("{}: {} is in the repository already", image.key, digest.short()));
            push::record(&image.key, &image.name, digest, false, world);
            (digest.clone(), image.name.clone())
        }
        (ImageAction::Build { .. }, _) => {
            return Err(Failure::new(
                Reason::Internal,
                format!("image `{}` is planned to be built and has no build", image.key),
            ));
        }
    };
    Ok(format!("{name}@{digest}"))
}
