//! Every image of the release, built or found. Images do not wait for each other.

use super::Release;
use crate::events::{Event, Warning};
use crate::steps::push::Destination;
use crate::steps::{build, push};
use fargate_deploy_core::image::CONTENT_TAG;
use fargate_deploy_core::names::PinnedImage;
use fargate_deploy_core::outcome::Failure;
use fargate_deploy_core::plan::{ImageAction, ImagePlan, LookUp};
use futures_util::future::{join_all, try_join_all};
use std::time::Duration;
use tokio::time::timeout;

/// How long a release that has ended well waits for what only makes the next one quicker.
const LAST_OF_CACHES: Duration = Duration::from_secs(120);

impl Release<'_> {
    /// Each image is ready when it is in its repository. The first that cannot be had ends the others.
    pub(super) async fn build_images(&self) {
        let plan = self.plan();
        let each = plan.images.iter().map(async |image| {
            let (ready, to) = self.provide(image).await?;
            self.images.put(&image.key, ready);
            Ok(to.map(|to| (image, to)))
        });
        match try_join_all(each).await {
            Err(failure) => self.images.fail(failure),
            Ok(built) => {
                join_all(built.into_iter().flatten().map(|(image, to)| self.keep_stages(image, to))).await;
            }
        }
        self.has_kept_caches.send_replace(true);
    }

    /// What is still being pushed for the next build, when the release has ended well.
    pub(super) async fn await_caches(&self) {
        let mut kept = self.has_kept_caches.subscribe();
        // A cache that takes longer is pushed further by the next run: the layers that got through are there.
        let _ = timeout(LAST_OF_CACHES, kept.wait_for(|kept| *kept)).await;
    }

    /// Nothing of a release depends on it, so that it cannot be done is a warning.
    async fn keep_stages(&self, image: &ImagePlan, to: Destination) {
        let ImageAction::Build { build: config, platform, kept_stages, cached_in, .. } = &image.action else { return };
        let what = build::Order {
            key: &image.key,
            config,
            platform,
            name: &to.push_name,
            cached_in,
            written_cache: None,
            pull: false,
            login: to.login.as_ref(),
            provenance: &self.order.provenance,
            env: &self.order.env,
        };
        for kept in kept_stages {
            if let Err(failure) = build::keep_stage(what, kept, &self.context).await {
                self.context.warn(Warning::CacheNotKept { error: failure.what });
                return;
            }
        }
    }

    async fn provide(&self, image: &ImagePlan) -> Result<(PinnedImage, Option<Destination>), Failure> {
        let (key, context) = (&image.key, &self.context);
        let looked_up = image.looked_up.clone();
        let (digest, name) = match &image.action {
            ImageAction::Build { build: config, platform, tags, commit_tag, cached_in, written_cache, .. } => {
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
                    written_cache: written_cache.as_deref(),
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
                let digest = push::push(key, &built, &tags, &to, context).await?;
                return Ok((PinnedImage::of(&to.name, &digest), Some(to)));
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
        Ok((PinnedImage::of(&name, &digest), None))
    }
}
