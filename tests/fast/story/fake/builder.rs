//! A Docker Engine that turns content into a digest.

use super::cloud::FakeCloud;
use super::{Journal, digest_of};
use async_trait::async_trait;
use fargate_deploy::events::BuildStepState;
use fargate_deploy::ports::{
    Build, BuildFailure, BuildFailureKind, BuildProgress, Builder, Content, LocalImage, PushProgress, RegistryImage,
    RegistryLogin,
};
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::plan::offline::ContextFacts;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

pub struct FakeBuilder {
    pub journal: Journal,
    pub cloud: Rc<FakeCloud>,
    /// What the context holds: another content is another image.
    pub content: RefCell<String>,
    pub is_down: Cell<bool>,
    /// The next push finds that its login is not valid any more.
    pub is_login_expired: Cell<bool>,
    /// A file of the context that no Dockerfile needs cannot be read.
    pub is_unreadable: Cell<bool>,
    /// How long a build of a context takes; others take no time.
    pub takes: RefCell<BTreeMap<String, Duration>>,
    /// The context whose build fails.
    pub breaks: RefCell<Option<String>>,
    /// What it builds whatever platform was asked for.
    pub builds_for: RefCell<Option<String>>,
    /// Pushes under tags that start with this are refused, or never end.
    pub refuses: RefCell<Option<String>>,
    pub hangs: RefCell<Option<String>>,
    /// The stages of each Dockerfile that its image does not hold.
    pub stages: RefCell<Vec<String>>,
    /// It leaves the steps of all stages under one reference; where it was asked to.
    pub writes_whole_cache: Cell<bool>,
    pub written: RefCell<Vec<String>>,
    /// Where builds looked for caches.
    pub caches: RefCell<Vec<String>>,
    /// What contexts hold that differ from `content`.
    pub contents: RefCell<BTreeMap<String, String>>,
    /// The images that each Dockerfile names.
    pub bases: RefCell<Vec<String>>,
    /// Why contents do not tell what is built.
    pub doubt: RefCell<Option<String>>,
    /// What a build reads although no instruction names it.
    pub reads_beyond: RefCell<Option<String>>,
    /// What a reference stands for, where that is not what it always was; an error where nobody answers.
    pub moved: RefCell<BTreeMap<String, Result<String, String>>>,
}

impl FakeBuilder {
    pub fn new(journal: Journal, cloud: Rc<FakeCloud>) -> Self {
        Self {
            journal,
            cloud,
            content: RefCell::new("new".to_owned()),
            is_down: Cell::new(false),
            is_login_expired: Cell::new(false),
            is_unreadable: Cell::new(false),
            takes: RefCell::default(),
            breaks: RefCell::default(),
            builds_for: RefCell::default(),
            refuses: RefCell::default(),
            hangs: RefCell::default(),
            stages: RefCell::default(),
            writes_whole_cache: Cell::new(false),
            written: RefCell::default(),
            caches: RefCell::default(),
            contents: RefCell::default(),
            bases: RefCell::default(),
            doubt: RefCell::default(),
            reads_beyond: RefCell::default(),
            moved: RefCell::default(),
        }
    }

    fn content_in(&self, context: &std::path::Path) -> String {
        let context = context.display().to_string();
        let content = self.contents.borrow().get(&context).cloned().unwrap_or_else(|| self.content.borrow().clone());
        format!("{context} {content}")
    }

    fn reach(&self) -> Result<(), BuildFailure> {
        if !self.is_down.get() {
            return Ok(());
        }
        Err(BuildFailure {
            kind: BuildFailureKind::Engine,
            message: "no Docker Engine answers on unix:///var/run/docker.sock".to_owned(),
            log: vec![],
            hint: Some("start Docker".to_owned()),
            at: None,
        })
    }
}

#[async_trait(?Send)]
impl Builder for FakeBuilder {
    async fn platform(&self) -> Result<String, BuildFailure> {
        self.reach().map(|()| "linux/amd64".to_owned())
    }

    async fn build(&self, request: &Build, tell: &dyn Fn(BuildProgress)) -> Result<LocalImage, BuildFailure> {
        let platform = request.platform.clone().unwrap_or_default();
        self.journal.note(format!("build {} for {platform}", request.context.display()));
        self.reach()?;
        tell(BuildProgress::Step { name: "step 1".to_owned(), state: BuildStepState::Completed });
        let context = request.context.display().to_string();
        let takes = self.takes.borrow().get(&context).copied().unwrap_or_default();
        tokio::time::sleep(takes).await;
        if *self.breaks.borrow() == Some(context) {
            return Err(BuildFailure {
                kind: BuildFailureKind::Build,
                message: "`RUN make` exited with 2".to_owned(),
                log: vec![],
                hint: None,
                at: None,
            });
        }
        self.caches.borrow_mut().extend(request.cache_from.iter().cloned());
        self.written.borrow_mut().extend(request.cache_to.clone());
        let id = digest_of(&self.content_in(&request.context));
        let platform = self.builds_for.borrow().clone().unwrap_or(platform);
        let read_beyond = self.reads_beyond.borrow().clone();
        Ok(LocalImage { id: id.as_str().to_owned(), platform, read_beyond })
    }

    async fn push(
        &self,
        image: &LocalImage,
        target: &str,
        login: Option<&RegistryLogin>,
        _tell: &dyn Fn(PushProgress),
    ) -> Result<Digest, BuildFailure> {
        let (name, tag) = target.rsplit_once(':').unwrap();
        let repository = name.split_once('/').unwrap().1;
        let shown = if tag.starts_with("content-") { "CONTENT" } else { tag };
        let whose = if login.is_some() { "in-memory login" } else { "docker login" };
        self.journal.note(format!("push {repository}:{shown} by {whose}"));
        self.reach()?;
        if self.is_login_expired.replace(false) {
            return Err(BuildFailure {
                kind: BuildFailureKind::Login,
                message: "denied: Your authorization token has expired. Reauthenticate and try again.".to_owned(),
                log: vec![],
                hint: None,
                at: None,
            });
        }
        let is_of =
            |start: &RefCell<Option<String>>| start.borrow().as_ref().is_some_and(|start| tag.starts_with(start));
        if is_of(&self.refuses) {
            return Err(BuildFailure {
                kind: BuildFailureKind::Push,
                message: "denied: not allowed".to_owned(),
                log: vec![],
                hint: None,
                at: None,
            });
        }
        if is_of(&self.hangs) {
            std::future::pending::<()>().await;
        }
        let digest = Digest::parse(&image.id).unwrap();
        self.cloud.push(repository, &digest, tag, &image.platform);
        Ok(digest)
    }

    async fn content_digest(&self, request: &Build) -> Result<String, BuildFailure> {
        if self.is_unreadable.get() {
            return Err(BuildFailure {
                kind: BuildFailureKind::Build,
                message: "build context: cannot read `/src/core`: permission denied".to_owned(),
                log: vec![],
                hint: None,
                at: None,
            });
        }
        Ok(format!("{} {:?}", self.content_in(&request.context), request.platform))
    }

    async fn content(&self, request: &Build) -> Result<Content, BuildFailure> {
        if let Some(why) = self.doubt.borrow().clone() {
            return Ok(Content::Doubtful { why });
        }
        let digest = format!("of what is named {} {:?}", self.content_in(&request.context), request.platform);
        Ok(Content::Certain { digest, images: self.bases.borrow().clone() })
    }

    fn writes_whole_cache(&self) -> bool {
        self.writes_whole_cache.get()
    }

    async fn stages_beside(&self, _request: &Build) -> Result<Vec<String>, BuildFailure> {
        Ok(self.stages.borrow().clone())
    }

    async fn context(&self, _request: &Build) -> Result<ContextFacts, BuildFailure> {
        Ok(ContextFacts { files: 1, bytes: 1, has_ignore_file: true })
    }

    async fn resolve(&self, reference: &str) -> Result<Digest, BuildFailure> {
        self.journal.note(format!("resolve {reference}"));
        match self.moved.borrow().get(reference) {
            Some(Ok(to)) => Ok(digest_of(to)),
            Some(Err(message)) => Err(BuildFailure {
                kind: BuildFailureKind::Build,
                message: message.clone(),
                log: vec![],
                hint: None,
                at: None,
            }),
            None => Ok(digest_of(reference)),
        }
    }
}

/// One image of a repository with its tags.
pub fn tagged(images: &mut Vec<(String, RegistryImage)>, repository: &str, digest: &Digest, tag: &str, platform: &str) {
    for (name, image) in images.iter_mut() {
        if name == repository {
            image.tags.retain(|t| t != tag);
        }
    }
    match images.iter_mut().find(|(name, image)| name == repository && image.digest == *digest) {
        Some((_, image)) => image.tags.push(tag.to_owned()),
        None => images.push((
            repository.to_owned(),
            RegistryImage {
                digest: digest.clone(),
                tags: vec![tag.to_owned()],
                is_active: true,
                platform: Some(platform.to_owned()),
            },
        )),
    }
}
