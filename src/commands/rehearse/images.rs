//! The images of what serves first: built as the release's own are, and pushed to the stage's registry.

use super::setting::repository;
use crate::adapters::builder::EngineBuilder;
use crate::config::{BuildConfig, Config, ImageSource};
use crate::error::build_failed;
use crate::events::{Event, Sink, Step, Wait};
use crate::ports::{Build, BuildProgress, Builder as _, LocalImage, RegistryLogin};
use crate::steps::build::secrets;
use aws_stage::Stage;
use fargate_deploy_core::names::{ImageKey, ServiceKey};
use fargate_deploy_core::outcome::Failure;
use fargate_deploy_core::redact::Secret;
use fargate_deploy_core::resolved::by_key;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// On images of what serves first: another image than that of a release with the same content.
const LABEL: &str = "fargate-deploy.rehearsal";

/// Builds and pushes for one stage.
pub struct Images<'a> {
    pub stage: &'a Stage,
    pub builder: &'a EngineBuilder,
    pub platform: &'a str,
    /// For build secrets.
    pub env: &'a BTreeMap<String, String>,
    pub sink: &'a (dyn Sink + Send + Sync),
}

impl Images<'_> {
    /// The first port that the image of each service says it listens on, where the config leaves the task definition, which
    /// would name it, to AWS.
    ///
    /// # Errors
    /// `build`, `config`: an image is not built.
    pub async fn ports(&self, config: &Config) -> Result<BTreeMap<ServiceKey, u16>, Failure> {
        let mut ports = BTreeMap::new();
        for service in config.services.iter().filter(|service| service.task_definition.is_none()) {
            let Some((_, key)) = service.containers.first() else { continue };
            let Some(build) = config.images.iter().find_map(|image| match &image.source {
                ImageSource::Build(build) if image.key == *key => Some(build),
                _ => None,
            }) else {
                continue;
            };
            let built = self.build(key, build, &format!("image `{key}` was not built"), false).await?;
            if let Some(port) = self.stage.exposed_ports(&built.id).await.first() {
                ports.insert(service.key.clone(), *port);
            }
        }
        Ok(ports)
    }

    /// # Errors
    /// `build`, `push`, `config`: whose it is, is said.
    pub async fn previous(&self, whose: &str, key: &ImageKey, config: &BuildConfig) -> Result<String, Failure> {
        let what = format!("the previous release ({whose}): image `{key}` was not built");
        let built = self.build(key, config, &what, true).await?;
        self.push(&built, &repository(&config.repository)).await
    }

    /// From a folder that the rehearsal made.
    ///
    /// # Errors
    /// `build`, `push`.
    pub async fn of_folder(&self, folder: PathBuf, name: &str) -> Result<String, Failure> {
        let request = Build {
            context: folder,
            dockerfile: None,
            target: None,
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            secrets: vec![],
            platform: Some(self.platform.to_owned()),
            cache_from: vec![],
            cache_to: None,
            inline_cache: false,
            pull: false,
            logins: vec![],
        };
        let built = self.builder.build(&request, &|_| {}).await;
        let built =
            built.map_err(|e| build_failed("the server that stands for a previous release was not built", e))?;
        self.push(&built, name).await
    }

    async fn build(
        &self,
        key: &ImageKey,
        config: &BuildConfig,
        what: &str,
        is_previous: bool,
    ) -> Result<LocalImage, Failure> {
        let mut labels = by_key(&config.labels);
        if is_previous {
            labels.insert(LABEL.to_owned(), "previous".to_owned());
        }
        let request = Build {
            labels,
            secrets: secrets(config, self.env, self.sink)?,
            logins: vec![self.login()],
            ..Build::of(config, Some(self.platform.to_owned()))
        };
        let image = || key.clone();
        let tell = |progress| match progress {
            BuildProgress::Step { name, .. } => self.sink.emit(Event::Waiting(Wait::StageBuild { name })),
            BuildProgress::Warning(text) => self.sink.emit(Event::BuildWarned { image: image(), text }),
            BuildProgress::Sent { bytes } => self.sink.emit(Event::ContextSent { image: image(), bytes }),
            BuildProgress::Output(line) => {
                self.sink.emit(Event::Output { step: Step::Build, source: key.to_string(), line });
            }
        };
        self.builder.build(&request, &tell).await.map_err(|e| build_failed(what, e))
    }

    async fn push(&self, image: &LocalImage, name: &str) -> Result<String, Failure> {
        let login = self.login();
        let uri = format!("{}/{name}", login.host);
        let pushed = self.builder.push(image, &format!("{uri}:previous"), Some(&login), &|_| {}).await;
        let digest = pushed.map_err(|e| build_failed("the previous release was not pushed to the stage", e))?;
        Ok(format!("{uri}@{digest}"))
    }

    fn login(&self) -> RegistryLogin {
        let (username, password) = self.stage.registry_login();
        let host = self.stage.url().trim_start_matches("http://").to_owned();
        RegistryLogin { host, username, password: Secret::new(password) }
    }
}
