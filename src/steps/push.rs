//! An image in the Engine -> a digest in the repository, or a digest that is there already -> its missing tags.

use crate::config::BuildConfig;
use crate::error::{build_failed, call_failed};
use crate::events::Event;
use crate::ports::{BuildFailureKind, CallErrorKind, EcrAddress, LocalImage, PushProgress, RegistryLogin, Repository};
use crate::release_context::ReleaseContext;
use fargate_deploy_core::image::{CONTENT_TAG, Digest, ImageRef};
use fargate_deploy_core::names::{ImageKey, PinnedImage};
use fargate_deploy_core::outcome::{Failure, ImageRecord, Reason};

/// Where an image goes.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `HOST/NAME`.
    pub name: String,
    /// `HOST[:PORT]/NAME` to push to, where a stand-in's registry is elsewhere than the name says.
    pub push_name: String,
    /// `None`: not ECR, the user's own docker login is used.
    pub login: Option<RegistryLogin>,
    /// Whose ECR registry the login is for; `None` is the cluster's own.
    address: Option<EcrAddress>,
    pub repository: Option<Repository>,
}

/// Finds, or with `create-repository` creates, the repository, and logs in to it in memory.
///
/// # Errors
/// `permission` or `push`: nothing was touched in ECS.
pub async fn destination(
    config: &BuildConfig,
    endpoint: Option<&str>,
    context: &ReleaseContext<'_>,
) -> Result<Destination, Failure> {
    let reference = ImageRef::parse(&config.repository).map_err(|why| Failure::new(Reason::Config, why))?;
    let is_bare = reference.registry == "docker.io" && !config.repository.starts_with("docker.io/");
    let address = reference.ecr().map(|host| EcrAddress { account: host.account, region: host.region });
    if !is_bare && address.is_none() {
        let (name, push_name) = (reference.name(), reference.name());
        return Ok(Destination { name, push_name, login: None, address: None, repository: None });
    }
    let doing = format!("the repository `{}`", reference.repository);
    let found = context
        .aws
        .repositories
        .repository(address.as_ref(), &reference.repository)
        .await
        .map_err(|e| call_failed(&format!("describing {doing}"), &e))?;
    let repository = match found {
        Some(repository) => repository,
        None => {
            let step = context.begin(Event::RepositoryRequested { repository: reference.repository.clone() });
            let made = context.aws.repositories.create_repository(address.as_ref(), &reference.repository).await;
            let made = made.map_err(|e| call_failed(&format!("creating {doing}"), &e))?;
            step.emit(Event::RepositoryCreated { repository: made.uri.clone(), took: step.took() });
            made
        }
    };
    let login = log_in(address.as_ref(), context).await?;
    let push_name = match endpoint {
        Some(endpoint) => format!("{endpoint}/{}", repository.name),
        None => repository.uri.clone(),
    };
    let name = repository.uri.clone();
    Ok(Destination { name, push_name, login: Some(login), address, repository: Some(repository) })
}

async fn log_in(address: Option<&EcrAddress>, context: &ReleaseContext<'_>) -> Result<RegistryLogin, Failure> {
    let login = context.aws.repositories.registry_login(address).await;
    let login = login.map_err(|e| call_failed("logging in to ECR", &e))?;
    context.sink.emit(Event::Mask(login.password.clone()));
    Ok(login)
}

/// Pushes under every tag. An Engine that several runs share pushes what has the tag at that moment, so to ECR only one
/// tag goes that way, the one which names the content; the others are put on its digest in ECR.
///
/// # Errors
/// `push`: nothing was touched in ECS.
pub async fn push(
    key: &ImageKey,
    image: &LocalImage,
    tags: &[String],
    to: &Destination,
    context: &ReleaseContext<'_>,
) -> Result<Digest, Failure> {
    let name = || key.clone();
    let step = context.begin(Event::PushStarted { image: name(), repository: to.name.clone() });
    let (by_engine, in_registry) = match to.repository {
        Some(_) => {
            let names_content = |tag: &&String| tag.starts_with(CONTENT_TAG);
            let carrier = tags.iter().find(names_content).or(tags.first());
            tags.iter().partition(|tag| Some(*tag) == carrier)
        }
        None => (tags.iter().collect::<Vec<_>>(), vec![]),
    };
    // Every tag of this commit can be taken already: then it is pushed under its own id.
    let own_tag = tags.is_empty().then(|| id_tag(image));
    let by_engine = by_engine.into_iter().chain(&own_tag);
    let mut pushed: Option<Digest> = None;
    for tag in by_engine {
        let target = format!("{}:{tag}", to.push_name);
        let tell = |progress| match progress {
            PushProgress::Layer { layer, status, bytes, total } => {
                step.emit(Event::LayerPushed { image: name(), layer, status, bytes, total });
            }
            PushProgress::Retried { attempt, error } => {
                step.emit(Event::PushRetried { image: name(), attempt, error });
            }
        };
        let mut digest = context.builder.push(image, &target, to.login.as_ref(), &tell).await;
        if let (Err(refused), Some(_)) = (&digest, &to.login)
            && refused.kind == BuildFailureKind::Login
        {
            // A login to ECR lasts twelve hours at most, and less where the role's session does.
            step.emit(Event::LoginRenewed { image: name(), error: refused.to_string() });
            let renewed = log_in(to.address.as_ref(), context).await?;
            digest = context.builder.push(image, &target, Some(&renewed), &tell).await;
        }
        let digest = digest.map_err(|e| build_failed(&format!("image `{key}` was not pushed as `{tag}`"), e))?;
        if let Some(first) = pushed.as_ref().filter(|first| **first != digest) {
            return Err(Failure::new(
                Reason::Push,
                format!("image `{key}` got two digests from its registry: {first}, and as `{tag}` {digest}"),
            ));
        }
        pushed = Some(digest);
    }
    let Some(digest) = pushed else {
        return Err(Failure::new(Reason::Config, format!("image `{key}` has no tag to be pushed under")));
    };
    record(key, &to.name, &digest, true, context);
    for tag in in_registry {
        put_tag(key, &digest, tag, to, context).await?;
    }
    let tags = tags.iter().chain(&own_tag).cloned().collect();
    step.emit(Event::ImagePushed { image: name(), digest: digest.clone(), tags, took: step.took() });
    Ok(digest)
}

/// A tag that no other image has.
fn id_tag(image: &LocalImage) -> String {
    let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    format!("{CONTENT_TAG}{}", id.get(..20).unwrap_or(id))
}

/// Puts missing tags on a digest that is in ECR already, without the Engine.
///
/// # Errors
/// `push`: an immutable tag names another image.
pub async fn retag(
    key: &ImageKey,
    digest: &Digest,
    missing: &[String],
    to: &Destination,
    context: &ReleaseContext<'_>,
) -> Result<(), Failure> {
    record(key, &to.name, digest, false, context);
    let image = key.clone();
    let step = context.begin(Event::TaggingStarted { image: image.clone(), digest: digest.clone() });
    for tag in missing {
        put_tag(key, digest, tag, to, context).await?;
    }
    step.emit(Event::TagsPushed { image, digest: digest.clone(), tags: missing.to_vec(), took: step.took() });
    Ok(())
}

async fn put_tag(
    key: &ImageKey,
    digest: &Digest,
    tag: &str,
    to: &Destination,
    context: &ReleaseContext<'_>,
) -> Result<(), Failure> {
    let Some(repository) = &to.repository else { return Ok(()) };
    context.aws.repositories.tag_image(repository, digest, tag).await.map_err(|e| match e.kind {
        CallErrorKind::Conflict => Failure::new(
            Reason::Push,
            format!("image `{key}`: the tag `{tag}` is immutable and names another image than {}", digest.short()),
        )
        .with_next("use tags that name the content, such as {sha}, in a repository with immutable tags"),
        _ => call_failed(&format!("tagging {digest} as `{tag}`"), &e),
    })
}

/// Notes an image that the release uses.
pub fn record(key: &ImageKey, name: &str, digest: &Digest, is_new: bool, context: &ReleaseContext<'_>) {
    context.record.borrow_mut().images.push(ImageRecord {
        key: key.clone(),
        image: PinnedImage::of(name, digest),
        digest: digest.clone(),
        is_new,
    });
}
