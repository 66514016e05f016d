//! `plan`: what `deploy` would do, changing nothing. Where there is no identity on AWS, what the files alone tell.

use super::deploy::{self, Ending, Options};
use super::reviewed;
use crate::adapters::builder::EngineBuilder;
use crate::commands::configure::configure;
use crate::config::{self, Answers, Config, ConfigErrors, ImageSource, Request};
use crate::context::RunContext;
use crate::definition_file::definition_in;
use crate::events::{Event, Sink};
use crate::ports::{Build, Builder};
use fargate_deploy_core::outcome::{Failure, Reason, Record, Success};
use fargate_deploy_core::plan::document::Infrastructure;
use fargate_deploy_core::plan::offline::{OfflineDocument, Read};
use fargate_deploy_core::redact::Secret;
use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_core::terraform::TerraformSummary;
use futures_util::FutureExt as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What the command line says about a plan.
#[derive(Clone, Debug, Default)]
pub struct How {
    pub options: Options,
    /// Without asking AWS.
    pub is_offline: bool,
    /// End with 2 when there are changes.
    pub has_detailed_exit_code: bool,
    /// `None`: on a pull request.
    pub builds_images: Option<bool>,
    /// Show it on the pull request.
    pub comments: bool,
    /// What `terraform show -json` printed of a plan.
    pub terraform_plan: Option<PathBuf>,
}

/// Plans. Nothing is changed, and no secret's value is read.
pub async fn plan(
    request: &Request,
    how: How,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Ending {
    let context = RunContext::read(env, directory);
    let has_detailed_exit_code = how.has_detailed_exit_code;
    let (result, mut record) = match without_identity(&how, &context, env) {
        Some(why) => offline(request, directory, why, env, sink.as_ref()).await,
        None => match online(request, how, &context, env, directory, Arc::clone(&sink), interrupt).await {
            (Err(failure), _) if failure.reason == Reason::Identity && has_no_token(&context, env) => {
                let why = "this pull request's job has no identity on AWS (it lacks `id-token: write`)";
                offline(request, directory, why, env, sink.as_ref()).await
            }
            ending => ending,
        },
    };
    record.has_detailed_exit_code = has_detailed_exit_code;
    (result, record)
}

async fn online(
    request: &Request,
    how: How,
    context: &RunContext,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Ending {
    let interrupt = interrupt.shared();
    let masks = Arc::new(Masks { inner: sink, secrets: Mutex::default() });
    let config = match configure(request, env, directory, Arc::clone(&masks) as _, interrupt.clone()).await {
        Ok(config) => config,
        Err(failure) => return (Err(failure), Record::default()),
    };
    let infrastructure = match terraform(how.terraform_plan.as_deref(), directory, &config) {
        Ok(infrastructure) => infrastructure,
        Err(failure) => return (Err(failure), Record::default()),
    };
    let builds_images = how.builds_images.unwrap_or_else(|| is_pull_request(context));
    let options = Options { is_dry_run: true, builds_images, ..how.options };
    let (mut result, mut record) =
        Box::pin(deploy::deploy(config.clone(), options, context, env, Arc::clone(&masks) as _, interrupt)).await;
    if let Some(plan) = &mut record.plan {
        plan.infrastructure = infrastructure;
        if how.comments && result.is_ok() {
            let told = reviewed::tell(plan, &config, context, &masks.secrets(), env, masks.as_ref()).await;
            result = result.and_then(|success| told.map(|()| success));
        }
    }
    (result, record)
}

fn terraform(file: Option<&Path>, directory: &Path, config: &Config) -> Result<Option<Infrastructure>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let failed = |why: String| Failure::new(Reason::Config, format!("Terraform plan `{}`: {why}", file.display()));
    // As Terraform's outputs: plans of large systems are tens of megabytes.
    let bytes = config::read_file(&directory.join(file), 64 * 1024 * 1024).map_err(|why| failed(why.to_string()))?;
    let summary = TerraformSummary::parse(&bytes).map_err(failed)?;
    Ok(Some(Infrastructure::of(&summary, &config.terraform_outputs)))
}

/// Keeps what has to be masked, beside telling it.
struct Masks {
    inner: Arc<dyn Sink + Send + Sync>,
    secrets: Mutex<Vec<Secret>>,
}

impl Masks {
    fn secrets(&self) -> Vec<Secret> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for Masks {
    fn emit(&self, event: Event) {
        if let Event::Mask(secret) = &event {
            self.secrets.lock().unwrap_or_else(PoisonError::into_inner).push(secret.clone());
        }
        self.inner.emit(event);
    }
}

fn is_pull_request(context: &RunContext) -> bool {
    matches!(context.event.as_deref(), Some("pull_request" | "pull_request_target"))
}

fn has_no_token(context: &RunContext, env: &BTreeMap<String, String>) -> bool {
    is_pull_request(context) && env.get("ACTIONS_ID_TOKEN_REQUEST_URL").is_none_or(String::is_empty)
}

/// Why this run has no identity, by GitHub's design, where that is known beforehand. A self-hosted runner may have
/// credentials of its own: a fork's code must not be planned with them.
/// <https://docs.github.com/en/code-security/dependabot/working-with-dependabot/automating-dependabot-with-github-actions>
fn without_identity(how: &How, context: &RunContext, env: &BTreeMap<String, String>) -> Option<&'static str> {
    if how.is_offline {
        return Some("`--offline`");
    }
    if context.is_fork_pull_request {
        return Some("a pull request from a fork has no identity on AWS, by design");
    }
    let is_dependabot = context.actor.as_deref() == Some("dependabot[bot]");
    (is_dependabot && has_no_token(context, env))
        .then_some("a pull request of Dependabot has no identity on AWS, by design")
}

async fn offline(
    request: &Request,
    directory: &Path,
    why: &str,
    env: &BTreeMap<String, String>,
    sink: &dyn Sink,
) -> Ending {
    let document = match look_at_files(request, directory, why, env).await {
        Ok(document) => document,
        Err(errors) => return (Err(super::bad_config(&errors)), Record::default()),
    };
    sink.emit(Event::Notice(format!("planned from the files alone: {why}")));
    let mut problems = document.problems.clone();
    let record = Record { offline_plan: Some(Box::new(document)), ..Record::default() };
    if problems.is_empty() {
        return (Ok(Success::Planned), record);
    }
    let first = problems.remove(0);
    (Err(Failure::new(Reason::Config, first).with_evidence(problems)), record)
}

async fn look_at_files(
    request: &Request,
    directory: &Path,
    why: &str,
    env: &BTreeMap<String, String>,
) -> Result<OfflineDocument, ConfigErrors> {
    let draft = config::draft(request, env, directory)?;
    if draft.needs().is_some() || request.from.is_some() {
        return Ok(OfflineDocument::unresolved(draft.environment(), why));
    }
    let config = draft.finish(&Answers::default())?;
    let definitions = definitions(&config).await;
    let builder = EngineBuilder::new(env.clone());
    let mut contexts: Read<_> = vec![];
    for image in &config.images {
        if let ImageSource::Build(build) = &image.source {
            let request = Build::of(build, build.platform.clone());
            contexts.push((image.key.clone(), builder.context(&request).await.map_err(|e| e.message)));
        }
    }
    Ok(OfflineDocument::of(&config, why, &definitions, &contexts))
}

/// Of the services whose task definition is a file in git.
async fn definitions(config: &Config) -> Read<TaskDefinition> {
    let mut read = vec![];
    for service in &config.services {
        if let Some(file) = &service.task_definition {
            let definition = definition_in(file).await;
            read.push((service.key.clone(), definition.map_err(|why| format!("{}: {why}", named(config, file)))));
        }
    }
    read
}

fn named(config: &Config, file: &Path) -> String {
    format!("task definition `{}`", file.strip_prefix(&config.root).unwrap_or(file).display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(context: &RunContext, env: &[(&str, &str)]) -> Option<&'static str> {
        let env = env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        without_identity(&How::default(), context, &env)
    }

    #[test]
    fn forks_and_dependabot_are_planned_offline_and_others_are_not() {
        let of = |actor: &str, is_fork: bool| RunContext {
            event: Some("pull_request".to_owned()),
            actor: Some(actor.to_owned()),
            is_fork_pull_request: is_fork,
            ..RunContext::default()
        };
        let token = [("ACTIONS_ID_TOKEN_REQUEST_URL", "https://token")];
        assert!(why(&of("ann", true), &token).is_some_and(|why| why.contains("fork")));
        assert!(why(&of("dependabot[bot]", false), &[]).is_some_and(|why| why.contains("Dependabot")));
        assert_eq!(why(&of("dependabot[bot]", false), &token), None);
        assert_eq!(why(&of("ann", false), &[]), None);
    }
}
