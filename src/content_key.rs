//! The tags under which an image is looked for before it is built, and kept after it was.
//!
//! Two commits share an image where its content decides what is built: the Dockerfile and the files that it names, arguments,
//! labels, target and platform, and the digests that its base images have now. Where that cannot be told, the commit is part
//! of the tag.

use crate::config::{BuildConfig, ImageConfig, Reuse};
use crate::error::build_failed;
use crate::ports::{Build, Content, EcrAddress};
use crate::release_context::ReleaseContext;
use fargate_deploy_core::image::{CONTENT_TAG, Digest, ImageRef};
use fargate_deploy_core::outcome::Failure;
use fargate_deploy_core::plan::LookUp;
use futures_util::future::try_join_all;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// How long the registry of a base image may take: a plan does not hang on what only saves a build.
const LOOK_UP: Duration = Duration::from_secs(10);

/// What an image is looked for by.
#[derive(Debug)]
pub struct ContentKey {
    pub tag: String,
    pub looked_up: LookUp,
}

impl ContentKey {
    /// `None`: it is not looked for.
    ///
    /// # Errors
    /// `build`: the Dockerfile or what it names cannot be read.
    pub async fn of(
        image: &ImageConfig,
        build: &BuildConfig,
        request: &Build,
        sha: Option<&str>,
        bases: &BaseImages,
        context: &ReleaseContext<'_>,
    ) -> Result<Option<Self>, Failure> {
        let doubt = match build.reuse {
            // What the Dockerfile does not need is not read where nothing is looked up by it.
            Reuse::Never => return Ok(None),
            Reuse::Content => {
                let tag = commit_tag(image, request, None, context).await?;
                return Ok(Some(Self { tag, looked_up: LookUp::Content }));
            }
            Reuse::Commit => None,
            Reuse::Auto => {
                let content = context.builder.content(request).await;
                match content.map_err(|e| build_failed(&format!("image `{}`", image.key), e))? {
                    Content::Doubtful { why } => Some(why),
                    Content::Certain { digest, images } => match bases.digests(&images, context).await {
                        Err(why) => Some(why),
                        Ok(digests) => {
                            let tag = tag_of(&format!("{digest}\n{}", digests.join("\n")), "");
                            return Ok(Some(Self { tag, looked_up: LookUp::Content }));
                        }
                    },
                }
            }
        };
        let tag = commit_tag(image, request, sha, context).await?;
        Ok(Some(Self { tag, looked_up: doubt.map_or(LookUp::Commit, |why| LookUp::CommitAlone { why }) }))
    }
}

/// The tag of everything in a context at one commit.
///
/// # Errors
/// `build`: the context cannot be read.
pub async fn commit_tag(
    image: &ImageConfig,
    request: &Build,
    sha: Option<&str>,
    context: &ReleaseContext<'_>,
) -> Result<String, Failure> {
    let content = context.builder.content_digest(request).await;
    let content = content.map_err(|e| build_failed(&format!("image `{}`", image.key), e))?;
    Ok(tag_of(&content, sha.unwrap_or_default()))
}

fn tag_of(content: &str, commit: &str) -> String {
    let hash = Sha256::digest(format!("{content}\n{commit}"));
    format!("{CONTENT_TAG}{}", hex::encode(&hash[..10]))
}

/// What base images stand for now. Images of one release share most of them: each is asked for once.
#[derive(Debug, Default)]
pub struct BaseImages(RefCell<BTreeMap<String, Rc<LookedUp>>>);

/// A digest, or why it is not known.
type LookedUp = OnceCell<Result<Digest, String>>;

impl BaseImages {
    /// `reference@digest`, each.
    ///
    /// # Errors
    /// Why one is not known, in one clause.
    async fn digests(&self, references: &[String], context: &ReleaseContext<'_>) -> Result<Vec<String>, String> {
        let each = references.iter().map(async |reference| {
            let cell = self.0.borrow_mut().entry(reference.clone()).or_default().clone();
            let found = cell.get_or_init(|| digest_of(reference, context)).await.clone();
            found.map(|digest| format!("{reference}@{digest}"))
        });
        try_join_all(each).await
    }
}

async fn digest_of(text: &str, context: &ReleaseContext<'_>) -> Result<Digest, String> {
    let unknown = |why: String| format!("what `{text}` stands for now is not known: {why}");
    let reference = ImageRef::parse(text).map_err(unknown)?;
    if let Some(digest) = &reference.digest {
        return Ok(digest.clone());
    }
    let asking = async {
        let Some(host) = reference.ecr() else {
            return context.builder.resolve(text).await.map_err(|e| e.to_string());
        };
        let address = EcrAddress { account: host.account, region: host.region };
        let tag = reference.tag.as_deref().unwrap_or("latest");
        let repositories = context.aws.repositories;
        let repository =
            repositories.repository(Some(&address), &reference.repository).await.map_err(|e| e.to_string())?;
        let repository = repository.ok_or("its repository does not exist")?;
        let found = repositories.image(&repository, tag).await.map_err(|e| e.to_string())?;
        found.map(|image| image.digest).ok_or_else(|| "it does not exist".to_owned())
    };
    match timeout(LOOK_UP, asking).await {
        Ok(found) => found.map_err(unknown),
        Err(_) => Err(unknown(format!("no answer within {} s", LOOK_UP.as_secs()))),
    }
}
