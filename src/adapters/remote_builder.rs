//! [`Builder`] on a BuildKit elsewhere: it builds, keeps what it built in its cache, and pushes from where it is.

use super::builder::{EngineBuilder, build_request, credentials, digest, failed, failure, reading, telling};
use crate::config::BuilderConfig;
use crate::ports::{
    Build, BuildFailure, BuildFailureKind, BuildProgress, Builder, Content, LocalImage, PushProgress, RegistryLogin,
};
use async_trait::async_trait;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::plan::offline::ContextFacts;
use fargate_deploy_engine::{BuildKit, BuildRequest, BuilderAddress, BuilderTls, PushTarget, beyond_content};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use tokio::sync::{OnceCell, mpsc};

/// The builder of `config`, or this machine's Docker Engine.
pub fn builder(config: Option<&BuilderConfig>, env: &BTreeMap<String, String>) -> Box<dyn Builder> {
    match config {
        None => Box::new(EngineBuilder::new(env.clone())),
        Some(config) => Box::new(RemoteBuilder {
            config: config.clone(),
            env: env.clone(),
            engine: EngineBuilder::new(env.clone()),
            kit: OnceCell::new(),
            built: RefCell::default(),
        }),
    }
}

struct RemoteBuilder {
    config: BuilderConfig,
    env: BTreeMap<String, String>,
    /// For what needs no builder: the files of a build, and references of registries where there is an Engine.
    engine: EngineBuilder,
    kit: OnceCell<BuildKit>,
    /// By the name of each build: it is pushed by asking for the same again.
    built: RefCell<HashMap<String, BuildRequest>>,
}

impl RemoteBuilder {
    async fn kit(&self) -> Result<&BuildKit, BuildFailure> {
        let connecting = async || {
            let BuilderConfig { endpoint, ca, cert, key, server_name } = self.config.clone();
            let identity = cert.zip(key);
            let tls = ca.map(|ca| BuilderTls { ca, identity, server_name });
            let address = BuilderAddress::parse(&endpoint, tls)
                .map_err(|why| failed(BuildFailureKind::Engine, format!("builder `{endpoint}`: {why}")))?;
            let connected = BuildKit::connect(&address, &self.env).await;
            connected.map_err(|e| failure(BuildFailureKind::Engine, &e, None))
        };
        self.kit.get_or_try_init(connecting).await
    }
}

#[async_trait(?Send)]
impl Builder for RemoteBuilder {
    async fn platform(&self) -> Result<String, BuildFailure> {
        Ok(self.kit().await?.platform().unwrap_or("linux/amd64").to_owned())
    }

    async fn build(&self, request: &Build, tell: &dyn Fn(BuildProgress)) -> Result<LocalImage, BuildFailure> {
        let kit = self.kit().await?;
        let asked = build_request(request);
        let dockerfile = request.dockerfile.clone().unwrap_or_else(|| request.context.join("Dockerfile"));
        let (sender, events) = mpsc::unbounded_channel();
        let mut sink = move |event| drop(sender.send(event));
        let order = asked.clone();
        let building = async move { kit.build(&order, &mut sink).await };
        let (built, ()) = tokio::join!(building, telling(events, tell));
        let built = built.map_err(|e| failure(BuildFailureKind::Build, &e, Some(&dockerfile)))?;
        let sent = built.asked;
        let read_beyond = reading(request, "reading the Dockerfile", move |input| beyond_content(input, &sent)).await?;
        let platform = match &request.platform {
            Some(platform) => platform.clone(),
            None => self.platform().await?,
        };
        self.built.borrow_mut().insert(built.id.clone(), asked);
        Ok(LocalImage { id: built.id, platform, read_beyond })
    }

    async fn push(
        &self,
        image: &LocalImage,
        target: &str,
        login: Option<&RegistryLogin>,
        tell: &dyn Fn(PushProgress),
    ) -> Result<Digest, BuildFailure> {
        let kit = self.kit().await?;
        let Some(request) = self.built.borrow().get(&image.id).cloned() else {
            return Err(failed(BuildFailureKind::Build, format!("the builder has not built {}", image.id)));
        };
        let (repository, tag) = target.rsplit_once(':').unwrap_or((target, "latest"));
        let target = PushTarget::new(repository, tag);
        let pushed = kit.push(&request, &target, login.map(credentials).as_ref(), &mut |_| {}).await;
        let pushed = pushed.map_err(|e| failure(BuildFailureKind::Push, &e, None))?;
        tell(PushProgress::Layer { layer: "image".to_owned(), status: "Pushed".to_owned(), bytes: 0, total: 0 });
        digest(&pushed.digest)
    }

    async fn content_digest(&self, request: &Build) -> Result<String, BuildFailure> {
        self.engine.content_digest(request).await
    }

    async fn content(&self, request: &Build) -> Result<Content, BuildFailure> {
        self.engine.content(request).await
    }

    async fn stages_beside(&self, _: &Build) -> Result<Vec<String>, BuildFailure> {
        Ok(vec![])
    }

    fn writes_whole_cache(&self) -> bool {
        true
    }

    async fn context(&self, request: &Build) -> Result<ContextFacts, BuildFailure> {
        self.engine.context(request).await
    }

    async fn resolve(&self, reference: &str) -> Result<Digest, BuildFailure> {
        self.engine.resolve(reference).await
    }
}
