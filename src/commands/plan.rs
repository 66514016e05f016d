//! `plan`: what `deploy` would do, changing nothing. Where there is no identity on AWS, what the files alone tell.

use super::deploy::{self, Options};
use super::plan_comment::PlanComments;
use crate::adapters::builder::EngineBuilder;
use crate::commands::configure::configure;
use crate::config::{self, Answers, Config, ConfigErrors, ImageSource, Request};
use crate::context::RunContext;
use crate::definition_file::definition_in;
use crate::events::{Event, Notice, Sink, Warning};
use crate::ports::{Build, Builder};
use fargate_deploy_core::names::ServiceKey;
use fargate_deploy_core::outcome::{Failure, Outcome, Reason, Record, Success};
use fargate_deploy_core::permission::{Permission, advice};
use fargate_deploy_core::plan::document::Infrastructure;
use fargate_deploy_core::plan::offline::{OfflineDocument, Read};
use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_core::terraform::TerraformSummary;
use futures_util::FutureExt as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the command line says about a plan.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
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
    how: PlanOptions,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Outcome {
    let interrupt = interrupt.shared();
    let context = RunContext::read(env, directory);
    let has_detailed_exit_code = how.has_detailed_exit_code;
    let (label, is_of_only) = (how.options.label_of_plan(), how.options.label.is_none());
    // The token of a fork's or of Dependabot's pull request cannot write.
    let by_design = without_identity(&how, &context, env);
    // The token of a fork's own pull request may only read. A run that follows it, or a comment on it, has the repository's.
    let is_foreign = context.is_fork_pull_request;
    let may_write = !is_foreign || matches!(context.event.as_deref(), Some("issue_comment" | "workflow_run"));
    let comments = how.comments && may_write && (by_design.is_none() || how.is_offline || is_foreign);
    if let Some(refused) = by_design.and_then(|why| refuse_without_aws(&how, why)) {
        return refused.into();
    }
    let terraform_plan = how.terraform_plan.clone();
    let terraform_plan = terraform_plan.as_deref();
    let (mut outcome, is_shown) = match by_design {
        Some(why) => (offline(request, directory, why, None, terraform_plan, env, sink.as_ref()).await, false),
        None => match online(request, how, &context, env, directory, Arc::clone(&sink), interrupt.clone()).await {
            (Outcome { result: Err(failure), .. }, _)
                if failure.reason == Reason::Identity && has_no_token(&context, env) =>
            {
                let why = "this pull request's job has no identity on AWS (it lacks `id-token: write`)";
                let next = advice(&[Permission::IdToken, Permission::WritePullRequests]);
                (offline(request, directory, why, Some(next), terraform_plan, env, sink.as_ref()).await, false)
            }
            ending => ending,
        },
    };
    outcome = outcome.redacted(|text| sink.redacted(text));
    if comments && !is_shown {
        let label = label.as_deref();
        let comments = PlanComments { context: &context, label, is_of_only, env, sink: sink.as_ref() };
        Box::pin(comments.post_no_plan(request, directory, &outcome, interrupt)).await;
    }
    outcome.record.has_detailed_exit_code = has_detailed_exit_code;
    outcome
}

/// An outcome, and whether the pull request shows the plan or was to be left alone.
type Shown = (Outcome, bool);

async fn online(
    request: &Request,
    how: PlanOptions,
    context: &RunContext,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Shown {
    let interrupt = interrupt.shared();
    let failed = |failure: Failure| (Outcome::from(failure), false);
    let (label, is_of_only) = (how.options.label_of_plan(), how.options.label.is_none());
    let comments = PlanComments { context, label: label.as_deref(), is_of_only, env, sink: sink.as_ref() };
    if how.comments
        && let Err(failure) = comments.check_token()
    {
        return failed(failure);
    }
    let config = match configure(request, env, directory, Arc::clone(&sink), interrupt.clone()).await {
        Ok(config) => config,
        Err(failure) => return failed(failure),
    };
    let infrastructure = match terraform(how.terraform_plan.as_deref(), directory, &config.terraform_outputs) {
        Ok(infrastructure) => infrastructure,
        Err(failure) => return failed(failure),
    };
    let builds_images = how.builds_images.unwrap_or_else(|| is_pull_request(context));
    let options = Options { is_dry_run: true, builds_images, ..how.options };
    let planning = deploy::deploy(config.clone(), options, context, env, Arc::clone(&sink), interrupt.clone());
    let mut outcome = Box::pin(planning).await;
    let Some(plan) = &mut outcome.record.plan else { return (outcome, false) };
    plan.infrastructure = infrastructure;
    if !how.comments || outcome.result.is_err() {
        return (outcome, false);
    }
    let posted = tokio::select! {
        biased;
        posted = Box::pin(comments.post_plan(plan, &config)) => posted,
        () = interrupt => {
            let what = "cancelled while GitHub was being told: the plan was made, and the pull request may show an earlier one";
            Err(Failure::new(Reason::Cancelled, what).with_next("run it again"))
        }
    };
    // What cannot be said there now cannot be said in other words either.
    outcome.result = outcome.result.and_then(|success| posted.map(|()| success));
    (outcome, true)
}

fn terraform(file: Option<&Path>, directory: &Path, taken: &[String]) -> Result<Option<Infrastructure>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let failed = |why: String| Failure::new(Reason::Config, format!("Terraform plan `{}`: {why}", file.display()));
    // As Terraform's outputs: plans of large systems are tens of megabytes.
    let bytes = config::read_file(&directory.join(file), 64 * 1024 * 1024).map_err(|why| failed(why.to_string()))?;
    let summary = TerraformSummary::parse(&bytes).map_err(failed)?;
    Ok(Some(Infrastructure::of(&summary, taken)))
}

fn is_pull_request(context: &RunContext) -> bool {
    matches!(context.event.as_deref(), Some("pull_request" | "pull_request_target"))
}

fn has_no_token(context: &RunContext, env: &BTreeMap<String, String>) -> bool {
    is_pull_request(context) && env.get("ACTIONS_ID_TOKEN_REQUEST_URL").is_none_or(String::is_empty)
}

/// Asked for by a person.
const OFFLINE: &str = "`--offline`";

/// Why this run has no identity, by GitHub's design, where that is known beforehand. A self-hosted runner may have
/// credentials of its own: a fork's code must not be planned with them.
/// <https://docs.github.com/en/code-security/dependabot/working-with-dependabot/automating-dependabot-with-github-actions>
fn without_identity(how: &PlanOptions, context: &RunContext, env: &BTreeMap<String, String>) -> Option<&'static str> {
    if how.is_offline {
        return Some(OFFLINE);
    }
    if context.is_fork_pull_request {
        return Some("a pull request from a fork has no identity on AWS, by design");
    }
    let is_dependabot = context.actor.as_deref() == Some("dependabot[bot]");
    (is_dependabot && has_no_token(context, env))
        .then_some("a pull request of Dependabot has no identity on AWS, by design")
}

/// What a person asked for together with `--offline`, and what cannot be done without AWS: it is not left out in silence. Who is
/// offline by design has not chosen it.
fn refuse_without_aws(how: &PlanOptions, why: &str) -> Option<Failure> {
    let flag = match how {
        PlanOptions { options: Options { required_plan: Some(_), .. }, .. } => "--require-plan",
        PlanOptions { builds_images: Some(true), .. } => "--build",
        // 0 would say that there is nothing to do.
        PlanOptions { has_detailed_exit_code: true, .. } => "--detailed-exitcode",
        _ => return None,
    };
    (why == OFFLINE).then(|| {
        Failure::new(Reason::Config, format!("`{flag}` cannot be done with `--offline`: it needs what is in AWS"))
            .with_next(format!("leave one of them out: `{flag}`, or `--offline`"))
    })
}

async fn offline(
    request: &Request,
    directory: &Path,
    why: &str,
    next: Option<String>,
    terraform_plan: Option<&Path>,
    env: &BTreeMap<String, String>,
    sink: &dyn Sink,
) -> Outcome {
    let mut document = match look_at_files(request, directory, why, env).await {
        Ok(document) => document,
        // Such a run is given no secrets, and no step before it may have had an identity: no error of who opened it.
        Err(errors) if why != OFFLINE && errors.iter().all(|error| error.is_of_surroundings) => {
            let mut document = OfflineDocument::unresolved(request.environment.as_deref(), why);
            let told =
                errors.iter().map(|error| format!("{}; only the shape of the config was checked", error.message));
            document.warnings = told.collect();
            document
        }
        Err(errors) => return super::bad_config(&errors).into(),
    };
    sink.emit(match next.clone() {
        // Somebody can change it, and means to have a plan.
        Some(next) => Event::Warning(Warning::PlannedOffline { why: why.to_owned(), next }),
        None => Event::Notice(Notice::PlannedOffline { why: why.to_owned() }),
    });
    document.next = next;
    // Which outputs the config takes is known where its values are.
    document.infrastructure = match terraform(terraform_plan, directory, &[]) {
        Ok(infrastructure) => infrastructure,
        Err(failure) => return failure.into(),
    };
    let mut problems = document.problems.clone();
    let record = Record { offline_plan: Some(Box::new(document)), ..Record::default() };
    let result = match problems.is_empty() {
        true => Ok(Success::Planned),
        false => {
            let first = problems.remove(0);
            Err(Failure::new(Reason::Config, first).with_evidence(problems))
        }
    };
    Outcome { result, record }
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
    let mut contexts: Read<_, _> = vec![];
    for image in &config.images {
        if let ImageSource::Build(build) = &image.source {
            let request = Build::of(build, build.platform.clone());
            contexts.push((image.key.clone(), builder.context(&request).await.map_err(|e| e.message)));
        }
    }
    Ok(OfflineDocument::of(&config, why, &definitions, &contexts))
}

/// Of the services whose task definition is a file in git.
async fn definitions(config: &Config) -> Read<ServiceKey, TaskDefinition> {
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
        without_identity(&PlanOptions::default(), context, &env)
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
