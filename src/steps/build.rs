//! Dockerfile -> an image in the Engine.

use crate::config::{BuildConfig, BuildSecretSource, Cache, read_text};
use crate::error::build_failed;
use crate::events::{Event, Sink, Step};
use crate::ports::{Build, BuildProgress, LocalImage, RegistryLogin};
use crate::release_context::ReleaseContext;
use fargate_deploy_core::names::ImageKey;
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::plan::{KeptStage, Provenance};
use fargate_deploy_core::redact::Secret;
use fargate_deploy_core::resolved;
use std::collections::BTreeMap;

/// What BuildKit takes of one secret.
/// <https://github.com/moby/buildkit/blob/master/session/secrets/secretsprovider/store.go>
pub const MOST_BYTES_OF_SECRET: u64 = 500 * 1024;

/// What to build, and with what.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub key: &'a ImageKey,
    pub config: &'a BuildConfig,
    pub platform: &'a str,
    /// `HOST/NAME`: where inline caches are looked for.
    pub name: &'a str,
    /// What follows `name` in references to them.
    pub cached_in: &'a [String],
    /// The tag under which the builder leaves the steps of all stages.
    pub written_cache: Option<&'a str>,
    /// Base images are taken as their registries have them now: the image is kept under their digests.
    pub pull: bool,
    pub login: Option<&'a RegistryLogin>,
    pub provenance: &'a Provenance,
    /// For build secrets.
    pub env: &'a BTreeMap<String, String>,
}

/// # Errors
/// `build`: nothing was touched in ECS; the failing step and its last lines are told.
pub async fn build(order: Order<'_>, context: &ReleaseContext<'_>) -> Result<LocalImage, Failure> {
    let Order { key, platform, .. } = order;
    let image = key.clone();
    let step = context.begin(Event::BuildStarted { image: image.clone(), platform: platform.to_owned() });
    let request = request(order, context)?;
    let built = context
        .builder
        .build(&request, &|progress| match progress {
            BuildProgress::Step { name, state } => step.emit(Event::BuildStep { image: image.clone(), name, state }),
            BuildProgress::Warning(text) => step.emit(Event::BuildWarned { image: image.clone(), text }),
            BuildProgress::Sent { bytes } => step.emit(Event::ContextSent { image: image.clone(), bytes }),
            BuildProgress::Output(line) => {
                step.emit(Event::Output { step: Step::Build, source: image.to_string(), line });
            }
        })
        .await
        .map_err(|e| build_failed(&format!("image `{key}` was not built"), e))?;
    if built.platform != platform {
        return Err(Failure::new(
            Reason::Build,
            format!("image `{key}` was built for {}, but {platform} was asked for", built.platform),
        )
        .with_next("name the platform in the Dockerfile's FROM only through $TARGETPLATFORM, or set `platform`"));
    }
    step.emit(Event::ImageBuilt { image, id: built.id.clone(), took: step.took() });
    Ok(built)
}

fn request(order: Order<'_>, context: &ReleaseContext<'_>) -> Result<Build, Failure> {
    let Order { config, platform, name, cached_in, written_cache, pull, login, provenance, env, .. } = order;
    let has_cache = config.cache != Cache::Off;
    Ok(Build {
        context: config.context.clone(),
        dockerfile: config.dockerfile.clone(),
        target: config.target.clone(),
        args: resolved::by_key(&config.args),
        labels: labels(config, provenance),
        secrets: secrets(config, env, context.sink)?,
        platform: Some(platform.to_owned()),
        cache_from: cached_in.iter().filter(|_| has_cache).map(|rest| format!("{name}{rest}")).collect(),
        inline_cache: has_cache,
        cache_to: written_cache.map(|tag| format!("{name}:{tag}")),
        pull,
        logins: login.cloned().into_iter().collect(),
    })
}

/// Pushes a stage as an image of its own: the next build on another machine takes its steps from there. The Engine has just
/// built it, so no step runs.
///
/// # Errors
/// Why that is not possible; nothing of the release depends on it.
pub async fn keep_stage(order: Order<'_>, kept: &KeptStage, context: &ReleaseContext<'_>) -> Result<(), Failure> {
    let step = context.begin(Event::StageKeeping { image: order.key.clone(), stage: kept.stage.clone() });
    let request = Build { target: Some(kept.stage.clone()), labels: BTreeMap::new(), ..request(order, context)? };
    let what = format!("stage `{}` of image `{}` was not kept", kept.stage, order.key);
    let failed = |e| build_failed(&what, e);
    let built = context.builder.build(&request, &|_| {}).await.map_err(failed)?;
    let target = format!("{}:{}", order.name, kept.tag);
    context.builder.push(&built, &target, order.login, &|_| {}).await.map_err(failed)?;
    let (image, tag) = (order.key.clone(), kept.tag.clone());
    step.emit(Event::StageKept { image, stage: kept.stage.clone(), tag, took: step.took() });
    Ok(())
}

/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
fn labels(config: &BuildConfig, provenance: &Provenance) -> BTreeMap<String, String> {
    let mut labels = resolved::by_key(&config.labels);
    if let Some(sha) = &provenance.sha {
        labels.entry("org.opencontainers.image.revision".to_owned()).or_insert_with(|| sha.clone());
    }
    labels
}

/// The values of an image's build secrets, masked from here on.
///
/// # Errors
/// `config`: one is not set or cannot be read.
pub fn secrets(
    config: &BuildConfig,
    env: &BTreeMap<String, String>,
    sink: &dyn Sink,
) -> Result<Vec<(String, Secret)>, Failure> {
    let mut secrets = vec![];
    for secret in &config.secrets {
        let missing = |why: String| Failure::new(Reason::Config, format!("build secret `{}`: {why}", secret.id));
        let value = match &secret.source {
            BuildSecretSource::Env(name) => {
                env.get(name).cloned().ok_or_else(|| missing(format!("the variable `{name}` is not set")))?
            }
            BuildSecretSource::File(path) => {
                read_text(path, MOST_BYTES_OF_SECRET).map_err(|why| missing(format!("`{}`: {why}", path.display())))?
            }
            BuildSecretSource::Value(value) => value.value().to_owned(),
        };
        let value = Secret::new(value);
        sink.emit(Event::Mask(value.clone()));
        secrets.push((secret.id.clone(), value));
    }
    Ok(secrets)
}
