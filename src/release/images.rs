//! Every image of the release, built or found. Images do not wait for each other.

use super::Release;
use crate::events::Event;
use crate::steps::{build, push};
use fargate_deploy_core::image::CONTENT_TAG;
use fargate_deploy_core::names::PinnedImage;
use fargate_deploy_core::outcome::Failure;
use fargate_deploy_core::plan::{ImageAction, ImagePlan, LookUp};
use futures_util::future::try_join_all;

impl Release<'_> {
    /// Each image is ready when it is in its repository. The first that cannot be had ends the others.
    pub(super) async fn build_images(&self) {
        let plan = self.plan();
        let each = plan.images.iter().map(async |image| {
            self.images.put(&image.key, self.provide(image).await?);
            Ok(())
        });
        if let Err(failure) = try_join_all(each).await {
            self.images.fail(failure);
        }
    }

    async fn provide(&self, image: &ImagePlan) -> Result<PinnedImage, Failure> {
        let (key, context) = (&image.key, &self.context);
        let looked_up = image.looked_up.clone();
        let (digest, name) = match &image.action {
            ImageAction::Build { build: config, platform, tags, commit_tag, cached_in } => {
                if let Some(LookUp::CommitAlone { why }) = &image.looked_up {
                    context.emit(Event::ReuseLimited { image: key.clone(), why: why.clone() });
                }
                let to = push::destination(config, self.order.push_endpoint.as_deref(), context).await?;
                let what = build::Order {
                    key,
                    config,
                    platform,
                    name: &to.push_name,
                    cached_in,
                    pull: image.is_by_content(),
                    login: to.login.as_ref(),
                    provenance: &self.order.provenance,
                    env: &self.order.env,
                };
                let built = build::build(what, context).await?;
                let tags = match (&built.read_beyond, commit_tag) {
                    (Some(path), Some(commit_tag)) => {
                        context.emit(Event::ContentExceeded { image: key.clone(), path: path.clone() });
                        let is_of_any_commit = |tag: &&String| tag.starts_with(CONTENT_TAG);
                        tags.iter().filter(|tag| !is_of_any_commit(tag)).chain([commit_tag]).cloned().collect()
                    }
                    _ => tags.clone(),
                };
                (push::push(key, &built, &tags, &to, context).await?, to.name)
            }
            ImageAction::Reuse { build: config, digest, missing_tags } if !missing_tags.is_empty() => {
                context.emit(Event::ImageReused { image: key.clone(), digest: digest.clone(), looked_up });
                let to = push::destination(config, self.order.push_endpoint.as_deref(), context).await?;
                push::retag(key, digest, missing_tags, &to, context).await?;
                (digest.clone(), to.name)
            }
            ImageAction::Reuse { digest, .. } | ImageAction::Existing { digest } => {
                context.emit(Event::ImageReused { image: key.clone(), digest: digest.clone(), looked_up });
                push::record(key, &image.name, digest, false, context);
                (digest.clone(), image.name.clone())
            }
        };
        Ok(PinnedImage::of(&name, &digest))
    }
}
