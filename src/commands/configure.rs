//! From flags and file to a config in which nothing is open: references are resolved, and the images of another
//! environment are pinned. Every command that deploys, plans or looks begins here.

use crate::adapters::aws::AwsClient;
use crate::commands::bad_config;
use crate::commands::deploy::open_session;
use crate::config::{self, Answers, BuildSecretSource, Config, ImageSource, Request, read_text};
use crate::context::RunContext;
use crate::events::{Event, Sink};
use crate::steps::build::MOST_BYTES_OF_SECRET;
use crate::steps::promote::promote;
use crate::steps::resolve_references::resolve_references;
use crate::steps::resume::resume;
use fargate_deploy_core::names::RoleArn;
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::promotion::Promoted;
use fargate_deploy_core::redact::Secret;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

type SharedSink = Arc<dyn Sink + Send + Sync>;

/// Region and roles.
type Who = (Option<String>, Vec<RoleArn>);

/// The config of this run. AWS is asked only where the config refers to it, or `--from` does.
///
/// # Errors
/// `config`, `identity`, `permission`, `locked`, `cancelled`: nothing was touched.
pub async fn configure(
    request: &Request,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: SharedSink,
    interrupt: impl Future<Output = ()>,
) -> Result<Config, Failure> {
    let telling = Arc::clone(&sink);
    let mut resolver = ConfigResolver { env, directory, sink, opened: vec![] };
    let configured = async {
        let config = resolver.resolve(request).await?;
        match (&request.from, request.resume) {
            (Some(_), _) => resolver.promote(config, &request.source()).await,
            (None, true) => resolver.resume(config).await,
            (None, false) => Ok(config),
        }
    };
    let configured = async {
        let config = configured.await?;
        keep_secret(&config, env, telling.as_ref());
        Ok(config)
    };
    tokio::select! {
        configured = configured => configured,
        () = interrupt => Err(Failure::new(Reason::Cancelled, "cancelled before anything was changed")),
    }
}

/// Tells of everything secret that the config leads to, before anything could show it.
pub(super) fn keep_secret(config: &Config, env: &BTreeMap<String, String>, sink: &(dyn Sink + Send + Sync)) {
    for image in &config.images {
        let ImageSource::Build(build) = &image.source else { continue };
        for secret in &build.secrets {
            let value = match &secret.source {
                BuildSecretSource::Value(value) => Some(value.value().to_owned()),
                BuildSecretSource::Env(name) => env.get(name).cloned(),
                // What cannot be read stops the build that wants it.
                BuildSecretSource::File(path) => read_text(path, MOST_BYTES_OF_SECRET).ok(),
            };
            if let Some(value) = value {
                sink.emit(Event::Mask(Secret::new(value)));
            }
        }
    }
    for text in &config.shown_as {
        sink.emit(Event::ShowAs { value: Secret::new(text.value()), written: text.written().to_owned() });
    }
}

/// Resolves configs: reads the file, and asks AWS for what it refers to.
struct ConfigResolver<'a> {
    env: &'a BTreeMap<String, String>,
    directory: &'a Path,
    sink: SharedSink,
    /// Two environments of one identity are asked through one session.
    opened: Vec<(Who, AwsClient)>,
}

impl ConfigResolver<'_> {
    async fn resolve(&mut self, request: &Request) -> Result<Config, Failure> {
        let draft = config::draft(request, self.env, self.directory).map_err(|e| bad_config(&e))?;
        let Some(needs) = draft.needs() else {
            return draft.finish(&Answers::default()).map_err(|e| bad_config(&e));
        };
        self.sink.emit(Event::ReferencesRequested { environment: draft.environment().map(str::to_owned) });
        let cloud = self.cloud(needs.region.clone(), needs.roles.clone(), draft.root()).await?;
        let answers = resolve_references(&needs, cloud.ports()).await?;
        let places = needs.stacks.len() + needs.parameters.len() + usize::from(needs.terraform.is_some());
        self.sink.emit(Event::ReferencesRead { places });
        draft.finish(&answers).map_err(|e| bad_config(&e))
    }

    /// Deploys what the source environment runs instead of what would be built.
    async fn promote(&mut self, mut config: Config, source: &Request) -> Result<Config, Failure> {
        let source = self.resolve(source).await?;
        let environment = source.environment.clone().unwrap_or_default();
        let wanted: Vec<_> = config.images.iter().map(|image| image.key.clone()).collect();
        self.sink.emit(Event::PromotionRequested { environment: environment.clone() });
        let cloud = self.cloud(source.region.clone(), source.roles.clone(), &source.root).await?;
        for found in promote(&source, &wanted, cloud.ports(), self.sink.as_ref()).await? {
            self.sink.emit(Event::ImagePromoted {
                image: found.key.clone(),
                reference: found.reference.clone(),
                environment: environment.clone(),
                seen_in: found.seen_in.clone(),
            });
            take(&mut config, found);
        }
        self.sink.emit(Event::ImagesPromoted { images: wanted.len(), environment });
        Ok(config)
    }

    /// Deploys what a release that stopped has pushed instead of what would be built.
    async fn resume(&mut self, mut config: Config) -> Result<Config, Failure> {
        self.sink.emit(Event::ResumeRequested);
        let cloud = self.cloud(config.region.clone(), config.roles.clone(), &config.root).await?;
        let sha = RunContext::read(self.env, &config.root).sha;
        let found = resume(&config, sha.as_deref(), cloud.ports()).await?;
        for found in found {
            self.sink.emit(Event::ImageResumed { image: found.key.clone(), seen_in: found.seen_in.to_string() });
            take(&mut config, found);
        }
        Ok(config)
    }

    async fn cloud(&mut self, region: Option<String>, roles: Vec<RoleArn>, root: &Path) -> Result<AwsClient, Failure> {
        let who = (region, roles);
        if let Some((_, cloud)) = self.opened.iter().find(|(known, _)| *known == who) {
            return Ok(cloud.clone());
        }
        let context = RunContext::read(self.env, root);
        let session = open_session(who.0.clone(), who.1.clone(), &context, self.env, Arc::clone(&self.sink)).await?;
        let cloud = AwsClient::new(session);
        self.opened.push((who, cloud.clone()));
        Ok(cloud)
    }
}

/// The image is deployed as it was found: nothing is built.
fn take(config: &mut Config, found: Promoted) {
    if let Some(image) = config.images.iter_mut().find(|image| image.key == found.key) {
        image.source = ImageSource::Existing(found.reference.to_string());
    }
}
