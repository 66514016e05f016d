//! What becomes of each image: built, found by its content, or given.

use super::{ImageBefore, ServicePlan};
use crate::image::Digest;
use crate::names::ImageKey;
use crate::validated_config::{BuildConfig, Config, ImageSource};
use serde::Serialize;
use std::collections::BTreeSet;

/// Where the steps of stages are kept that an image does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageCaches {
    /// Tags that may have them, the likeliest first.
    pub read: Vec<String>,
    /// What this run leaves to the next.
    pub kept: Vec<KeptStage>,
    /// The tag under which the builder itself leaves all of them.
    pub written: Option<String>,
}

/// A stage of a Dockerfile that is pushed as an image, under a tag that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStage {
    pub stage: String,
    pub tag: String,
}

/// Each cache is a request to the registry before the first step of a build.
const MOST_CACHES: usize = 4;

/// By what an image is looked for in its repository, so that it need not be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum LookUp {
    /// Its content, whatever commit it was built from.
    Content,
    /// Its content and its commit.
    Commit,
    /// Its content and its commit, because the content alone may not decide what is built.
    CommitAlone { why: String },
}

#[derive(Clone, Debug)]
pub struct ImagePlan {
    pub key: ImageKey,
    pub name: String,
    pub action: ImageAction,
    pub is_immutable: bool,
    pub is_to_be_created: bool,
    /// Tags without a placeholder: every release pushes them anew.
    pub moving_tags: Vec<String>,
    /// `None`: it is not looked for.
    pub looked_up: Option<LookUp>,
}

impl ImagePlan {
    /// Whether it is looked for, and kept, under its content alone.
    pub fn is_by_content(&self) -> bool {
        self.looked_up == Some(LookUp::Content)
    }

    /// Known before anything is built only where nothing has to be.
    pub fn digest(&self) -> Option<&Digest> {
        match &self.action {
            ImageAction::Build { .. } => None,
            ImageAction::Reuse { digest, .. } | ImageAction::Existing { digest } => Some(digest),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum ImageAction {
    /// Build this for the platform, push under these tags.
    Build {
        build: Box<BuildConfig>,
        platform: String,
        tags: Vec<String>,
        /// In place of the tag of its content, where the build turns out to read more than was looked at.
        commit_tag: Option<String>,
        /// What follows the repository's name in references to images whose cache may help: digests that run, tags that move.
        cached_in: Vec<String>,
        /// Pushed while services already roll out.
        kept_stages: Vec<KeptStage>,
        /// The tag under which the builder leaves the steps of all stages.
        written_cache: Option<String>,
    },
    /// What this would build is in the repository: only put the missing tags on it.
    Reuse { build: Box<BuildConfig>, digest: Digest, missing_tags: Vec<String> },
    /// Given by reference.
    Existing { digest: Digest },
}

pub(super) fn plan_image(
    config: &Config,
    found: ImageBefore,
    services: &[(ServicePlan, u64)],
    problems: &mut Vec<String>,
) -> Option<ImagePlan> {
    let platforms: Vec<_> = services
        .iter()
        .filter(|(s, _)| s.containers.iter().any(|(_, image)| *image == found.key))
        .map(|(s, _)| s.base.platform())
        .collect();
    let source = config.images.iter().find(|i| i.key == found.key).map(|i| &i.source);
    let wanted = match source {
        Some(ImageSource::Build(build)) => build.platform.clone(),
        _ => found.found.as_ref().and_then(|f| f.platform.clone()),
    };
    let is_built = matches!(source, Some(ImageSource::Build(_)));
    // An image given by reference may be an index of several platforms.
    let wanted = wanted.or_else(|| platforms.first().filter(|_| is_built).map(|p| (*p).to_owned()));
    if let Some(wanted) = &wanted
        && let Some(other) = platforms.iter().find(|p| *p != wanted)
    {
        problems.push(format!(
            "image `{}` is for {wanted}, but a task definition that uses it runs on {other}: set `platform` here or \
             `runtimePlatform.cpuArchitecture` there",
            found.key
        ));
    }
    let platform = wanted.unwrap_or_else(|| "linux/amd64".to_owned());
    let action = match (source, found.found.clone()) {
        (Some(ImageSource::Build(build)), Some(existing)) => ImageAction::Reuse {
            build: build.clone(),
            missing_tags: found.tags.iter().filter(|t| !existing.tags.contains(t)).cloned().collect(),
            digest: existing.digest,
        },
        (_, Some(existing)) => ImageAction::Existing { digest: existing.digest },
        (Some(ImageSource::Build(build)), None) => ImageAction::Build {
            build: build.clone(),
            platform,
            cached_in: cached_in(&found, build, services),
            tags: found.tags.into_iter().chain(found.content_tag).collect(),
            commit_tag: found.commit_tag,
            kept_stages: found.stage_caches.kept,
            written_cache: found.stage_caches.written,
        },
        (_, None) => {
            problems.push(format!("image `{}` is neither built here nor found in its repository", found.key));
            return None;
        }
    };
    let moving_tags = match source {
        Some(ImageSource::Build(build)) => build.tags.iter().filter(|tag| !tag.contains('{')).cloned().collect(),
        _ => vec![],
    };
    Some(ImagePlan {
        key: found.key,
        name: found.name,
        action,
        is_immutable: found.is_immutable,
        is_to_be_created: found.is_to_be_created,
        moving_tags,
        looked_up: found.looked_up,
    })
}

/// The images of the same repository that most likely hold what this build has in common with the last one: those that its
/// services run, then those of tags that move with a branch or with every release.
fn cached_in(image: &ImageBefore, build: &BuildConfig, services: &[(ServicePlan, u64)]) -> Vec<String> {
    let mut all: Vec<String> = vec![];
    for (service, _) in services {
        for (container, _) in service.containers.iter().filter(|(_, key)| *key == image.key) {
            let running =
                service.running.image(container).and_then(|running| running.strip_prefix(image.name.as_str()));
            all.extend(running.filter(|rest| rest.starts_with(['@', ':'])).map(str::to_owned));
        }
    }
    let is_fixed = |template: &str| ["{sha}", "{short-sha}", "{run}"].iter().any(|fixed| template.contains(fixed));
    let moving = build.tags.iter().zip(&image.tags).filter(|(template, _)| !image.is_immutable && !is_fixed(template));
    all.extend(moving.map(|(_, tag)| format!(":{tag}")));
    let mut seen = BTreeSet::new();
    all.retain(|one| seen.insert(one.clone()));
    all.truncate(MOST_CACHES);
    all.extend(image.stage_caches.read.iter().map(|tag| format!(":{tag}")));
    all
}
