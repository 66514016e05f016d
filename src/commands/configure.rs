//! From flags and file to a config in which nothing is open: references are resolved, and the images of another
//! environment are pinned. Every command that deploys, plans or looks begins here.

use crate::adapters::aws::AwsCloud;
use crate::commands::bad_config;
use crate::commands::deploy::open_session;
use crate::config::{self, Answers, Config, ImageSource, Request};
use crate::context::RunContext;
use crate::domain::names::RoleArn;
use crate::domain::outcome::{Failure, Reason};
use crate::events::{Event, Sink, Step};
use crate::steps::look_up::look_up;
use crate::steps::promote::promote;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

type SharedSink = Arc<dyn Sink + Send + Sync>;

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
    let configured = async {
        let config = settle(request, env, directory, &sink).await?;
        match request.from {
            Some(_) => pin(config, request, env, directory, &sink).await,
            None => Ok(config),
        }
    };
    tokio::select! {
        configured = configured => configured,
        () = interrupt => Err(Failure::new(Reason::Cancelled, "cancelled before anything was changed")),
    }
}

async fn settle(
    request: &Request,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: &SharedSink,
) -> Result<Config, Failure> {
    let draft = config::draft(request, env, directory).map_err(|e| bad_config(&e))?;
    let Some(needs) = draft.needs() else {
        return draft.finish(&Answers::default()).map_err(|e| bad_config(&e));
    };
    let count = needs.stacks.len() + needs.parameters.len() + usize::from(needs.terraform.is_some());
    sink.emit(Event::Started { step: Step::Preflight, subject: "values of the config that are in AWS".to_owned() });
    let cloud = cloud(needs.region.clone(), needs.roles.clone(), draft.root(), env, sink).await?;
    let answers = look_up(&needs, &cloud).await?;
    let places = if count == 1 { "place" } else { "places" };
    sink.emit(Event::Finished { step: Step::Preflight, text: format!("read from {count} {places}") });
    draft.finish(&answers).map_err(|e| bad_config(&e))
}

/// Deploys what the source environment runs instead of what would be built.
async fn pin(
    mut config: Config,
    request: &Request,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: &SharedSink,
) -> Result<Config, Failure> {
    let source = settle(&request.source(), env, directory, sink).await?;
    let environment = source.environment.clone().unwrap_or_default();
    let wanted: Vec<String> = config.images.iter().map(|image| image.key.clone()).collect();
    sink.emit(Event::Started { step: Step::Preflight, subject: format!("what {environment} runs") });
    let cloud = cloud(source.region.clone(), source.roles.clone(), &source.root, env, sink).await?;
    for found in promote(&source, &wanted, &cloud, sink.as_ref()).await? {
        let text = format!("image {}: {} of {environment} ({})", found.key, found.reference, found.seen_in);
        sink.emit(Event::Progress { step: Step::Preflight, text });
        if let Some(image) = config.images.iter_mut().find(|image| image.key == found.key) {
            image.source = ImageSource::Existing(found.reference);
        }
    }
    sink.emit(Event::Finished { step: Step::Preflight, text: format!("{} images of {environment}", wanted.len()) });
    Ok(config)
}

async fn cloud(
    region: Option<String>,
    roles: Vec<RoleArn>,
    root: &Path,
    env: &BTreeMap<String, String>,
    sink: &SharedSink,
) -> Result<AwsCloud, Failure> {
    let context = RunContext::read(env, root);
    Ok(AwsCloud::new(open_session(region, roles, &context, env, Arc::clone(sink)).await?))
}
