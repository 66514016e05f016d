//! What is there: services, the revisions that they run, repositories, images that need no build. Reads only.

use crate::config::{BuildConfig, Cache, Config, ImageConfig, ImageSource, Reuse, ServiceConfig};
use crate::content_key::{self, BaseImages, ContentKey};
use crate::context::CacheBranches;
use crate::definition_file::read_definition;
use crate::error::{build_failed, call_failed};
use crate::events::{Event, Running, Wait, Warning};
use crate::history;
use crate::in_progress::is_in_progress;
use crate::ports::{Build, CallErrorKind, EcrAddress, RegistryImage, Repository};
use crate::release_context::{ReleaseContext, StepLog};
use fargate_deploy_core::image::{CACHE_TAG, Digest, ImageRef};
use fargate_deploy_core::names::{ClusterName, ImageKey, ServiceRef};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::plan::{
    self, Before, Found, ImageBefore, ImageFound, KeptStage, LookUp, ServiceBefore, StageCaches,
};
use fargate_deploy_core::service::Service;
use fargate_deploy_core::task_definition::TaskDefinition;
use futures_util::future::{join_all, try_join_all};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Image key and the tags that it gets, placeholders resolved.
pub type Tags = Vec<(ImageKey, Vec<String>)>;

/// What is released, as far as images are looked for by it.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    pub sha: Option<&'a str>,
    pub cache_branches: &'a CacheBranches,
}

/// # Errors
/// `config`, `permission`, `build` (the Engine, a missing Dockerfile): nothing was touched.
pub async fn preflight(
    config: &Config,
    tags: &Tags,
    commit: Commit<'_>,
    earlier_attempt: Option<&str>,
    context: &ReleaseContext<'_>,
) -> Result<Before, Failure> {
    let step = context.begin(Event::PreflightStarted {
        services: config.services.len(),
        images: Some(config.images.len()),
        again: false,
    });
    let services = services(config, None, vec![], earlier_attempt, &step, context).await?;
    let bases = BaseImages::default();
    let images = try_join_all(config.images.iter().map(|image| {
        let tags = tags.iter().find(|(key, _)| *key == image.key).map(|(_, tags)| tags.clone()).unwrap_or_default();
        find_image(image, tags, commit, platform_of(image, config, &services), &bases, context)
    }))
    .await?;
    let own = config.release.iter().filter_map(|c| Some((c.name.clone(), c.task_definition.as_ref()?)));
    let definitions = try_join_all(own.map(async |(name, file)| Ok((name, read_definition(file).await?)))).await?;
    step.emit(Event::ServicesRead { running: what_runs(config, &services), took: step.took() });
    Ok(Before { services, found: Found { images, definitions } })
}

/// The services again, once nothing else moves them; what else preflight `found` stays, and the definitions of revisions that
/// are `known` do.
///
/// # Errors
/// As [`preflight`]; `locked`: another deployment is still rolling out after `settle`.
pub async fn services_again(
    config: &Config,
    found: Found,
    known: Vec<TaskDefinition>,
    settle: Option<Duration>,
    earlier_attempt: Option<&str>,
    context: &ReleaseContext<'_>,
) -> Result<Before, Failure> {
    let step = context.begin(Event::PreflightStarted { services: config.services.len(), images: None, again: true });
    let services = services(config, settle, known, earlier_attempt, &step, context).await?;
    step.emit(Event::ServicesRead { running: what_runs(config, &services), took: step.took() });
    Ok(Before { services, found })
}

fn what_runs(config: &Config, services: &[ServiceBefore]) -> Vec<Running> {
    let runs = |(chosen, found): (&ServiceConfig, &ServiceBefore)| Running {
        service: chosen.reference(),
        revision: found.service.task_definition.clone(),
    };
    config.services.iter().zip(services).map(runs).collect()
}

/// What an image is built for where it does not say so itself: the platform of the first service that uses it.
fn platform_of(image: &ImageConfig, config: &Config, services: &[ServiceBefore]) -> Option<String> {
    let uses = |s: &&ServiceConfig| s.containers.iter().any(|(_, key)| *key == image.key);
    let user = config.services.iter().find(uses)?;
    services.iter().find(|s| s.key == user.key).map(|s| s.base.platform().to_owned())
}

async fn services(
    config: &Config,
    settle: Option<Duration>,
    known: Vec<TaskDefinition>,
    earlier_attempt: Option<&str>,
    step: &StepLog<'_>,
    context: &ReleaseContext<'_>,
) -> Result<Vec<ServiceBefore>, Failure> {
    let found = settled(config, settle, step, context).await?;
    let describing = config.services.iter().zip(found);
    try_join_all(describing.map(|(chosen, service)| describe(chosen, service, &known, earlier_attempt, context))).await
}

/// Describes all services, and waits while another deployment of one is rolling out: one that started now would leave
/// the circuit breaker nothing to go back to.
async fn settled(
    config: &Config,
    settle: Option<Duration>,
    step: &StepLog<'_>,
    context: &ReleaseContext<'_>,
) -> Result<Vec<Service>, Failure> {
    let names: Vec<_> = config.services.iter().map(ServiceConfig::reference).collect();
    let began = Instant::now();
    loop {
        let answers = described(&names, context).await?;
        let mut found = vec![];
        for (name, answer) in names.iter().zip(answers) {
            let Some(service) = answer.filter(|s| s.status != "INACTIVE") else {
                return Err(Failure::new(
                    Reason::Config,
                    format!(
                        "service `{}` does not exist in cluster `{}` in {}",
                        name.name,
                        name.cluster,
                        context.aws.identity.region()
                    ),
                )
                .with_next(
                    "check `name`, `cluster` and `region`; create the service first (docs/getting-started.md)",
                ));
            };
            found.push(service);
        }
        refuse(&names, &found)?;
        let Some(settle) = settle else { return Ok(found) };
        let looks = names.iter().zip(&found).map(|(name, service)| is_in_progress(name, service, context.aws));
        let in_progress = join_all(looks).await;
        let Some((moving, _)) = found.iter().zip(in_progress).find(|(_, is)| *is) else { return Ok(found) };
        if began.elapsed() >= settle {
            return Err(Failure::new(
                Reason::Locked,
                format!(
                    "service `{}`: another deployment is still rolling out {}",
                    moving.name,
                    moving.task_definition.short()
                ),
            )
            .with_next("wait until it has ended, or stop it (fargate-deploy abort), then run this again"));
        }
        step.waiting(Wait::OtherDeployment { service: moving.name.to_string() });
        sleep(Duration::from_secs(3)).await;
    }
}

/// What is there of each service, cluster by cluster: AWS does not say which one it does not know.
async fn described(names: &[ServiceRef], context: &ReleaseContext<'_>) -> Result<Vec<Option<Service>>, Failure> {
    let clusters: BTreeSet<&ClusterName> = names.iter().map(|name| &name.cluster).collect();
    let region = context.aws.identity.region();
    let reads = clusters.into_iter().map(async |cluster| {
        let of_cluster: Vec<_> = names.iter().filter(|name| name.cluster == *cluster).cloned().collect();
        let found = context.aws.services.services(&of_cluster).await.map_err(|e| match e.kind {
            CallErrorKind::NotFound => {
                Failure::new(Reason::Config, format!("cluster `{cluster}` does not exist in {region}"))
                    .with_next("check `cluster` and `region`; `aws ecs list-clusters` shows what there is")
            }
            _ => call_failed("describing the services", &e),
        })?;
        Ok(of_cluster.into_iter().zip(found).collect::<Vec<_>>())
    });
    let found: BTreeMap<_, _> = try_join_all(reads).await?.into_iter().flatten().collect();
    Ok(names.iter().map(|name| found.get(name).cloned().flatten()).collect())
}

/// Before anything else is read of a service: one whose task sets or resources others manage has no task definition that
/// could be described, or one that is not ours to change.
fn refuse(names: &[ServiceRef], found: &[Service]) -> Result<(), Failure> {
    let mut problems = vec![];
    for (name, service) in names.iter().zip(found) {
        plan::refuse(&format!("service `{}`", name.name), service, &mut problems);
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Reason::Config, problems.remove(0)).with_evidence(problems))
}

async fn describe(
    chosen: &ServiceConfig,
    service: Service,
    known: &[TaskDefinition],
    earlier_attempt: Option<&str>,
    context: &ReleaseContext<'_>,
) -> Result<ServiceBefore, Failure> {
    let runs = &service.task_definition;
    // A revision never changes.
    let running = match known.iter().find(|definition| definition.arn().as_ref() == Some(runs)) {
        Some(known) => known.clone(),
        None => {
            let read = context.aws.task_definitions.task_definition(runs.as_str()).await;
            read.map_err(|e| call_failed(&format!("reading the task definition that {} runs", service.name), &e))?
        }
    };
    let base = match &chosen.task_definition {
        Some(file) => read_definition(file).await?,
        None => running.clone(),
    };
    // What an earlier attempt of this run registered is of this very release.
    let is_ours = |definition: &TaskDefinition| earlier_attempt.is_some() && definition.run() == earlier_attempt;
    let number = |definition: &TaskDefinition| Some(definition.release()? - u64::from(is_ours(definition)));
    let latest = match context.aws.task_definitions.task_definition(base.family()).await {
        // What others registered says nothing, and numbers do not begin again for it.
        Ok(latest) => history::highest_number(&latest, &chosen.reference(), number, context.aws)
            .await
            .map_err(|e| call_failed("reading the family's latest revisions", &e))?,
        Err(e) if matches!(e.kind, CallErrorKind::NotFound | CallErrorKind::Invalid) => None,
        Err(e) => return Err(call_failed("reading the family's latest revision", &e)),
    };
    Ok(ServiceBefore {
        key: chosen.key.clone(),
        latest_release: latest.max(number(&running)).unwrap_or(0),
        service,
        running,
        base,
    })
}

async fn find_image(
    image: &ImageConfig,
    tags: Vec<String>,
    commit: Commit<'_>,
    platform: Option<String>,
    bases: &BaseImages,
    context: &ReleaseContext<'_>,
) -> Result<ImageBefore, Failure> {
    match &image.source {
        ImageSource::Existing(reference) => existing(image, reference, context).await,
        ImageSource::Build(build) => {
            let platform = build.platform.clone().or(platform);
            to_build(image, build, platform, tags, commit, bases, context).await
        }
    }
}

async fn existing(image: &ImageConfig, text: &str, context: &ReleaseContext<'_>) -> Result<ImageBefore, Failure> {
    let reference =
        ImageRef::parse(text).map_err(|why| Failure::new(Reason::Config, format!("image `{}`: {why}", image.key)))?;
    let found = given_image(&reference, text, context).await?;
    Ok(ImageBefore {
        key: image.key.clone(),
        name: reference.name(),
        tags: vec![],
        content_tag: None,
        commit_tag: None,
        looked_up: None,
        stage_caches: StageCaches::default(),
        found: Some(found),
        is_immutable: false,
        is_to_be_created: false,
    })
}

/// What a reference stands for now, which has to be there.
///
/// # Errors
/// `config`: it is not. `permission`: it cannot be pulled.
pub async fn given_image(
    reference: &ImageRef,
    text: &str,
    context: &ReleaseContext<'_>,
) -> Result<ImageFound, Failure> {
    Ok(match (pinned(reference), reference.ecr()) {
        (Some((repository, digest)), _) => pull_right(&repository, &digest, text, context).await?,
        (None, Some(_)) => {
            let wanted = reference.tag.clone().unwrap_or_else(|| "latest".to_owned());
            let repository = repository(reference, context).await?;
            let looked = match &repository {
                Some(repository) => context.aws.repositories.image(repository, &wanted).await,
                None => Ok(None),
            };
            usable(looked.map_err(|e| call_failed(&format!("looking up `{text}`"), &e))?, text)?
        }
        (None, None) => ImageFound { digest: resolve(reference, text, context).await?, tags: vec![], platform: None },
    })
}

/// An image of ECR by its digest, and its repository as the reference names it: nobody else's has to be described.
fn pinned(reference: &ImageRef) -> Option<(Repository, Digest)> {
    let (host, digest) = (reference.ecr()?, reference.digest.clone()?);
    let repository = Repository {
        registry_id: host.account,
        region: Some(host.region),
        name: reference.repository.clone(),
        uri: reference.name(),
        is_immutable: false,
    };
    Some((repository, digest))
}

/// An image that is deployed as it is has to be there, and to be pulled: asked as far as the deploying identity can tell,
/// since it is the task's execution role that pulls. In another account's repository more than that may not be read.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html>
async fn pull_right(
    repository: &Repository,
    digest: &Digest,
    text: &str,
    context: &ReleaseContext<'_>,
) -> Result<ImageFound, Failure> {
    let is_there = context.aws.repositories.is_pullable(repository, digest).await.map_err(|e| {
        let failure = call_failed(&format!("asking whether `{text}` can be pulled"), &e);
        match e.kind {
            CallErrorKind::Denied => failure.with_next(format!(
                "allow `ecr:BatchGetImage`, `ecr:GetDownloadUrlForLayer` and `ecr:BatchCheckLayerAvailability` on repository \
                `{}` of account {}: to this role, to the tasks' execution role, and if they are in another account, to that \
                account in the repository's own policy (docs/promotion.md)",
                repository.name, repository.registry_id
            )),
            _ => failure,
        }
    })?;
    if !is_there {
        return usable(None, text);
    }
    match context.aws.repositories.image(repository, digest.as_str()).await {
        Ok(found) => usable(found, text),
        Err(e) if e.kind == CallErrorKind::Denied => {
            Ok(ImageFound { digest: digest.clone(), tags: vec![], platform: None })
        }
        Err(e) => Err(call_failed(&format!("looking up `{text}`"), &e)),
    }
}

fn usable(found: Option<RegistryImage>, text: &str) -> Result<ImageFound, Failure> {
    match found {
        None => Err(Failure::new(Reason::Config, format!("image `{text}` does not exist in its repository"))),
        Some(found) if !found.is_active => Err(Failure::new(
            Reason::Config,
            format!("image `{text}` is archived: ECS cannot pull it until it is restored"),
        )),
        Some(found) => Ok(ImageFound { digest: found.digest, tags: found.tags, platform: found.platform }),
    }
}

async fn resolve(reference: &ImageRef, text: &str, context: &ReleaseContext<'_>) -> Result<Digest, Failure> {
    match &reference.digest {
        Some(digest) => Ok(digest.clone()),
        None => context.builder.resolve(text).await.map_err(|e| build_failed(&format!("looking up `{text}`"), e)),
    }
}

async fn to_build(
    image: &ImageConfig,
    build: &BuildConfig,
    platform: Option<String>,
    tags: Vec<String>,
    commit: Commit<'_>,
    bases: &BaseImages,
    context: &ReleaseContext<'_>,
) -> Result<ImageBefore, Failure> {
    let request = Build::of(build, platform);
    let sha = commit.sha;
    let key = ContentKey::of(image, build, &request, sha, bases, context).await?;
    let (content_tag, mut looked_up) = key.map(|key| (key.tag, key.looked_up)).unzip();
    let (name, repository) = repository_of(build, context).await?;
    let find = async |tag: &str| match &repository {
        Some(repository) => in_ecr(repository, tag, context).await,
        None if build.create_repository => Ok(None),
        // Another registry than ECR has no list of tags: one that carries the content carries the others too.
        None => Ok(context.builder.resolve(&format!("{name}:{tag}")).await.ok().map(|digest| ImageFound {
            digest,
            tags: tags.clone(),
            platform: None,
        })),
    };
    let mut found = match &content_tag {
        Some(tag) => find(tag).await?,
        None => None,
    };
    let mut commit_tag = None;
    if found.is_none() && build.reuse == Reuse::Auto && looked_up == Some(LookUp::Content) {
        let tag = content_key::commit_tag(image, &request, sha, context).await?;
        found = find(&tag).await?;
        looked_up = found.as_ref().map(|_| LookUp::Commit).or(looked_up);
        commit_tag = Some(tag);
    }
    let stage_caches = match (&found, &repository) {
        (None, Some(repository)) if build.cache == Cache::Auto && !repository.is_immutable => {
            if context.builder.writes_whole_cache() {
                whole_cache(&image.key, commit.cache_branches)
            } else {
                let stages = context.builder.stages_beside(&request).await;
                let stages = stages.map_err(|e| build_failed(&format!("image `{}`", image.key), e))?;
                stage_caches(&image.key, &stages, commit.cache_branches)
            }
        }
        _ => StageCaches::default(),
    };
    let mut tags = tags;
    if let Some(repository) = repository.as_ref().filter(|r| r.is_immutable) {
        let taken = taken_by_commit(build, &tags, found.as_ref().map(|f| &f.digest), repository, context).await?;
        tags.retain(|tag| !taken.contains(tag));
    }
    let is_in_ecr = full_reference(&build.repository)?.is_none_or(|reference| reference.ecr().is_some());
    Ok(ImageBefore {
        key: image.key.clone(),
        name,
        tags,
        content_tag,
        commit_tag,
        looked_up,
        stage_caches,
        found,
        is_immutable: repository.as_ref().is_some_and(|r| r.is_immutable),
        is_to_be_created: repository.is_none() && is_in_ecr && build.create_repository,
    })
}

/// Of each stage one tag for a branch: `cache-app-build-main`.
fn stage_caches(image: &ImageKey, stages: &[String], branches: &CacheBranches) -> StageCaches {
    let tag = |stage: &str, branch: &str| cache_tag(&format!("{image}-{stage}-{branch}"));
    let read = branches.read.iter().flat_map(|branch| stages.iter().map(|stage| tag(stage, branch)));
    let kept = branches
        .write
        .iter()
        .flat_map(|branch| stages.iter().map(|stage| KeptStage { stage: stage.clone(), tag: tag(stage, branch) }));
    StageCaches { read: read.collect(), kept: kept.collect(), written: None }
}

/// Of all stages one tag for a branch: `cache-app-main`.
fn whole_cache(image: &ImageKey, branches: &CacheBranches) -> StageCaches {
    let tag = |branch: &String| cache_tag(&format!("{image}-{branch}"));
    StageCaches {
        read: branches.read.iter().map(tag).collect(),
        kept: vec![],
        written: branches.write.as_ref().map(tag),
    }
}

fn cache_tag(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    format!("{CACHE_TAG}{name}").chars().map(|c| if is_plain(c) { c } else { '-' }).take(128).collect()
}

async fn in_ecr(
    repository: &Repository,
    tag: &str,
    context: &ReleaseContext<'_>,
) -> Result<Option<ImageFound>, Failure> {
    let doing = format!("looking for `{tag}` in {}", repository.uri);
    let found = context.aws.repositories.image(repository, tag).await.map_err(|e| call_failed(&doing, &e))?;
    Ok(found.filter(|i| i.is_active).map(|i| ImageFound { digest: i.digest, tags: i.tags, platform: i.platform }))
}

/// Those of `tags` which name the commit, cannot move, and stand for another build of it. A second build of one commit is
/// no mistake: base images move and files are generated. It goes without them, under the tag of its content.
async fn taken_by_commit(
    build: &BuildConfig,
    tags: &[String],
    digest: Option<&Digest>,
    repository: &Repository,
    context: &ReleaseContext<'_>,
) -> Result<Vec<String>, Failure> {
    let mut taken = vec![];
    for (template, tag) in build.tags.iter().zip(tags) {
        if !["{sha}", "{short-sha}"].iter().any(|placeholder| template.contains(placeholder)) {
            continue;
        }
        let doing = format!("looking for `{tag}` in {}", repository.uri);
        let named = context.aws.repositories.image(repository, tag).await.map_err(|e| call_failed(&doing, &e))?;
        if let Some(named) = named.filter(|named| Some(&named.digest) != digest) {
            context.warn(Warning::TagTaken {
                tag: tag.clone(),
                repository: repository.uri.clone(),
                digest: named.digest.clone(),
            });
            taken.push(tag.clone());
        }
    }
    Ok(taken)
}

/// `HOST/NAME` of the repository to push to, and the ECR repository where it is one. A missing repository is said
/// here, or created where the config asks for it at push time.
async fn repository_of(
    build: &BuildConfig,
    context: &ReleaseContext<'_>,
) -> Result<(String, Option<Repository>), Failure> {
    let reference = full_reference(&build.repository)?;
    let found = match &reference {
        Some(reference) if reference.ecr().is_none() => return Ok((reference.name(), None)),
        Some(reference) => repository(reference, context).await?,
        None => describe_repository(None, &build.repository, context).await?,
    };
    match found {
        Some(repository) => Ok((repository.uri.clone(), Some(repository))),
        None if build.create_repository => {
            Ok((reference.map_or_else(|| build.repository.clone(), |r| r.name()), None))
        }
        None => Err(Failure::new(Reason::Config, format!("repository `{}` does not exist in ECR in {}", build.repository, context.aws.identity.region()))
            .with_next(format!(
                "set `create-repository: true`, or run: aws ecr create-repository --repository-name {} --image-scanning-configuration scanOnPush=true",
                reference.map_or_else(|| build.repository.clone(), |r| r.repository)
            ))),
    }
}

/// `None` for a bare ECR repository name.
fn full_reference(repository: &str) -> Result<Option<ImageRef>, Failure> {
    let reference = ImageRef::parse(repository).map_err(|why| Failure::new(Reason::Config, why))?;
    Ok(Some(reference).filter(|r| r.registry != "docker.io" || repository.starts_with("docker.io/")))
}

async fn repository(reference: &ImageRef, context: &ReleaseContext<'_>) -> Result<Option<Repository>, Failure> {
    match reference.ecr() {
        Some(host) => {
            let address = EcrAddress { account: host.account, region: host.region };
            describe_repository(Some(&address), &reference.repository, context).await
        }
        None => Ok(None),
    }
}

async fn describe_repository(
    address: Option<&EcrAddress>,
    name: &str,
    context: &ReleaseContext<'_>,
) -> Result<Option<Repository>, Failure> {
    let doing = format!("describing the repository `{name}`");
    context.aws.repositories.repository(address, name).await.map_err(|e| call_failed(&doing, &e))
}
