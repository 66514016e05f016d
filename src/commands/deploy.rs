//! `deploy`: opens the session, runs the release, says how it ended, everywhere it is expected.

use crate::adapters::aws::is_loopback;
use crate::adapters::aws::{AwsClient, IdentityFailure, Session, SessionInputs};
use crate::adapters::github_files;
use crate::adapters::remote_builder::builder;
use crate::adapters::web::HttpWeb;
use crate::clock::Elapsed;
use crate::commands::cleanup_state::CleanupState;
use crate::commands::github_deployment::{self, OpenDeployment};
use crate::commands::plan_comment::PlanComments;
use crate::config::{Config, ImageSource, Request};
use crate::context::RunContext;
use crate::definition_checks;
use crate::events::Sink;
use crate::lease::Owner;
use crate::ports::Builder;
use crate::release::{Order, Release, RequiredPlan, Rollback, cancelled};
use crate::release_context::ReleaseContext;
use crate::render::log::{Log, no_command_in_json};
use crate::render::{ending, outputs, plan, summary};
use crate::standard_output::written;
use crate::steps::release::RunKey;
use fargate_deploy_core::cause::{self, Seen};
use fargate_deploy_core::names::{RoleArn, short};
use fargate_deploy_core::outcome::{Failure, Outcome, Reason, Record, Success};
use fargate_deploy_core::plan::Provenance;
use fargate_deploy_core::plan::document::Shown;
use futures_util::FutureExt as _;
use futures_util::future::join;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the command line adds to the config.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub is_dry_run: bool,
    /// Of a plan: build what would be built, push nothing.
    pub builds_images: bool,
    pub is_unwatched: bool,
    pub skips_commands: bool,
    /// The digest of the plan that was reviewed.
    pub required_plan: Option<String>,
    /// What tells several plans of one config apart on a pull request: `--label`.
    pub label: Option<String>,
    /// `--only`.
    pub only: Vec<String>,
    /// An earlier release again, and its commit.
    pub rollback: Option<(Rollback, Option<String>)>,
    /// Why.
    pub reason: Option<String>,
}

impl Options {
    /// Jobs of a matrix over `--only` have a plan each, and so a comment each, also without `--label`.
    pub(super) fn label_of_plan(&self) -> Option<String> {
        let only: BTreeSet<&str> = self.only.iter().map(String::as_str).collect();
        let of_only = (!only.is_empty()).then(|| format!("only {}", only.into_iter().collect::<Vec<_>>().join(", ")));
        self.label.clone().or(of_only)
    }
}

/// Deploys what `config` says, with the environment of this run and its Docker Engine.
pub async fn deploy(
    config: Config,
    options: Options,
    context: &RunContext,
    env: &BTreeMap<String, String>,
    sink: Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Outcome {
    let builder = builder(config.builder.as_ref(), env);
    let machine = Machine { builder: builder.as_ref(), clock: crate::clock::since_boot };
    deploy_with(&machine, config, options, context, env, sink, interrupt).await
}

/// What a deploy uses of the machine that it runs on.
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    pub builder: &'a dyn Builder,
    pub clock: Elapsed,
}

/// The same on another machine.
pub async fn deploy_with(
    machine: &Machine<'_>,
    config: Config,
    options: Options,
    context: &RunContext,
    env: &BTreeMap<String, String>,
    sink: Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Outcome {
    let record = RefCell::new(Record::default());
    let held = Arc::new(CleanupState::new(sink, env, config.region.clone(), config.roles.clone()));
    let sink: Arc<dyn Sink + Send + Sync> = held.clone();
    let interrupt = interrupt.shared();
    let label = options.label_of_plan();
    let is_of_only = options.label.is_none();
    let comments = PlanComments { context, label: label.as_deref(), is_of_only, env, sink: sink.as_ref() };
    let beginning = async {
        let required = match &options.required_plan {
            Some(digest) => RequiredPlan::Shown(Shown { digest: digest.clone(), ..Shown::default() }),
            None if config.require_plan && !options.is_dry_run => comments.required_plan(&config).await,
            None => RequiredPlan::None,
        };
        let opened = open(config.clone(), options.clone(), context, env, &held, Arc::clone(&sink)).await?;
        Ok((required, opened))
    };
    let begun = tokio::select! {
        biased;
        begun = Box::pin(beginning) => begun,
        () = interrupt.clone() => Err(cancelled()),
    };
    let (required, (mut order, cloud, web, reported)) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            let outcome = Outcome::from(failure);
            if !options.is_dry_run && options.rollback.is_none() {
                Box::pin(comments.finish_comment(&outcome, &config, interrupt)).await;
            }
            return outcome;
        }
    };
    order.required_plan = required;
    let Machine { builder, clock } = *machine;
    let release_context =
        ReleaseContext { aws: cloud.ports(), builder, web: &web, sink: sink.as_ref(), clock, record: &record };
    // On the heap: the whole story is one future, and some threads have small stacks.
    let result = Box::pin(Release::until(interrupt.clone(), &order, release_context).run()).await;
    let outcome = Outcome { result, record: record.borrow().clone() }.redacted(|text| sink.redacted(text));
    let commenting = async {
        if !order.is_dry_run && order.rollback.is_none() {
            comments.finish_comment(&outcome, &order.config, interrupt.clone()).await;
        }
    };
    let reporting = async {
        if let Some(reported) = reported {
            reported.end(&outcome, interrupt.clone(), sink.as_ref()).await;
            held.set_deployment(None);
        }
    };
    Box::pin(join(commenting, reporting)).await;
    outcome
}

/// How a deploy ends that has no config: where the plan was shown, that is said too.
pub async fn end_without_config(
    failure: Failure,
    request: &Request,
    options: &Options,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Outcome {
    let (outcome, context) = (Outcome::from(failure), RunContext::read(env, directory));
    let label = options.label_of_plan();
    let is_of_only = options.label.is_none();
    let comments = PlanComments { context: &context, label: label.as_deref(), is_of_only, env, sink: sink.as_ref() };
    Box::pin(comments.finish_comment_without_config(&outcome, request, directory, interrupt)).await;
    outcome
}

async fn open(
    config: Config,
    options: Options,
    context: &RunContext,
    env: &BTreeMap<String, String>,
    held: &CleanupState,
    sink: Arc<dyn Sink + Send + Sync>,
) -> Result<(Order, AwsClient, HttpWeb, Option<OpenDeployment>), Failure> {
    let order = order(config, options, context, env)?;
    if let Some(failure) = definition_checks::cheap_half(&order.config).await {
        return Err(failure);
    }
    let (region, roles) = (order.config.region.clone(), order.config.roles.clone());
    let session = open_session(region, roles, context, env, Arc::clone(&sink)).await?;
    let reported = github_deployment::begin(&order, &session, context, env, held, sink.as_ref()).await;
    let web = HttpWeb::new(session.network());
    Ok((order, AwsClient::new(session), web, reported))
}

/// A session as one of the config's environments, under the name of this run.
///
/// # Errors
/// `identity`, or `config` where the region or the network's settings are missing or wrong.
pub async fn open_session(
    region: Option<String>,
    roles: Vec<RoleArn>,
    context: &RunContext,
    env: &BTreeMap<String, String>,
    sink: Arc<dyn Sink + Send + Sync>,
) -> Result<Session, Failure> {
    let inputs = SessionInputs {
        region,
        roles,
        session_name: session_name(context),
        audience: env.get("FARGATE_DEPLOY_OIDC_AUDIENCE").filter(|a| !a.is_empty()).cloned(),
        ..SessionInputs::new(env.clone())
    };
    Session::open(&inputs, sink).await.map_err(|e| no_identity(&e))
}

pub fn run_of(context: &RunContext) -> RunKey {
    RunKey { key: run_key(context), attempt: context.run_attempt.clone().unwrap_or_else(|| "1".to_owned()) }
}

/// Tells a run from every other one, and is the same for its attempts. The ids of runs are unique on one server alone.
fn run_key(context: &RunContext) -> String {
    let Some(id) = &context.run_id else { return random() };
    match &context.run_url {
        Some(url) if !url.starts_with("https://github.com/") => {
            format!("{id}-{}", &hex::encode(Sha256::digest(url))[..8])
        }
        _ => id.clone(),
    }
}

/// Why there is no identity, as an ending.
pub fn no_identity(failure: &IdentityFailure) -> Failure {
    let reason = match failure {
        IdentityFailure::NoRegion | IdentityFailure::Network(_) => Reason::Config,
        IdentityFailure::Unavailable { .. } => Reason::Unavailable,
        _ => Reason::Identity,
    };
    let what = failure.to_string();
    let cause = cause::find(&Seen::refused(what.as_str()));
    Failure::new(reason, what).with_next(failure.hint()).with_cause(cause)
}

fn order(
    config: Config,
    options: Options,
    context: &RunContext,
    env: &BTreeMap<String, String>,
) -> Result<Order, Failure> {
    let mut tags = vec![];
    for image in &config.images {
        if let ImageSource::Build(build) = &image.source {
            let resolved = context.tags(&build.tags, config.environment.as_deref());
            let resolved =
                resolved.map_err(|why| Failure::new(Reason::Config, format!("image `{}`: {why}", image.key)))?;
            tags.push((image.key.clone(), resolved));
        }
    }
    Ok(Order {
        tags,
        provenance: Provenance {
            sha: match &options.rollback {
                Some((_, sha)) => sha.clone(),
                None => context.sha.clone(),
            },
            actor: context.actor.clone(),
            run_url: context.run_url.clone(),
            back_to: options.rollback.as_ref().map(|(rollback, _)| rollback.went_back.to),
            reason: options.reason,
        },
        rollback: options.rollback.map(|(rollback, _)| rollback),
        cache_branches: context.cache_branches(),
        run: run_of(context),
        owner: owner(context),
        token: random(),
        env: env.clone(),
        is_dry_run: options.is_dry_run,
        builds_images: options.builds_images,
        required_plan: RequiredPlan::None,
        is_unwatched: options.is_unwatched,
        skips_commands: options.skips_commands,
        push_endpoint: push_endpoint(env)?,
        config,
    })
}

/// Where a stand-in's registry listens. It is sent the registry's password: only on this machine, and only where AWS itself
/// is played there.
fn push_endpoint(env: &BTreeMap<String, String>) -> Result<Option<String>, Failure> {
    const NAME: &str = "FARGATE_DEPLOY_REGISTRY_ENDPOINT";
    let Some(endpoint) = env.get(NAME).filter(|value| !value.is_empty()) else { return Ok(None) };
    let is_played = ["AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL"]
        .iter()
        .find_map(|name| env.get(*name).filter(|value| !value.is_empty()))
        .is_some_and(|url| is_loopback(url));
    if is_played && is_loopback(endpoint) {
        return Ok(Some(endpoint.clone()));
    }
    let what = format!(
        "`{NAME}`: it gets the registry's password, so it is taken on this machine only, beside a stand-in for AWS"
    );
    Err(Failure::new(Reason::Config, what)
        .with_next("unset it, or set `AWS_ENDPOINT_URL` to the stand-in on 127.0.0.1"))
}

/// Who this run is to others that meet its lease or its lock.
pub fn owner(context: &RunContext) -> Owner {
    Owner {
        run: context.run_url.clone().unwrap_or_else(|| context.host.clone()),
        actor: context.actor.clone().unwrap_or_default(),
    }
}

/// What CloudTrail shows: the repository and the run.
fn session_name(context: &RunContext) -> String {
    match (&context.repository, &context.run_id) {
        (Some(repository), Some(run)) => format!("{}-{run}", short(repository)),
        _ => format!("fargate-deploy-{}", context.actor.as_deref().unwrap_or("cli")),
    }
}

/// 128 bits that nobody else has.
pub fn random() -> String {
    let mut bytes = [0_u8; 16];
    // Without a source of randomness the process's own identity still tells claims apart.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        return format!("{}-{}", std::process::id(), crate::clock::now());
    }
    hex::encode(bytes)
}

/// The one output of commands that only print. What a failure has set before is replaced by the same.
pub fn say_exit_code(code: u8, env: &BTreeMap<String, String>) {
    let _ = github_files::write_outputs(env, &[("exit-code", code.to_string())], &random());
}

/// Says how it ended: the log's last lines, the Action's outputs and summary, one JSON object. The exit code.
pub fn conclude<W: Write, E: Write>(
    outcome: &Outcome,
    json: Option<&mut W>,
    env: &BTreeMap<String, String>,
    log: &Log<E>,
) -> u8 {
    let outcome = &outcome.clone().redacted(|text| log.redacted(text));
    let Outcome { result, record } = outcome;
    let outputs = outputs::outputs(outcome);
    let in_files = github_files::write_outputs(env, &outputs, &random()).and_then(|()| {
        let run = RunContext::read(env, &crate::directory(env));
        let text = summary::summary(outcome, &run, log.elapsed());
        github_files::write_summary(env, &summary::cut(&log.redacted(&text)))
    });
    log.finish(&plan::lines(record));
    if let Err(e) = in_files {
        log.finish(&[format!("! warning: GitHub's output files could not be written: {e}")]);
    }
    match result {
        Ok(success) => {
            if env.get("GITHUB_ACTIONS").is_some_and(|v| v == "true")
                && outcome.exit_code() > 0
                && *success == Success::Exited
            {
                log.finish(&[ending::exited(outcome.exit_code())]);
            }
            log.finish(&ending::success(*success, record));
        }
        Err(failure) => {
            if env.get("GITHUB_ACTIONS").is_some_and(|v| v == "true") {
                log.finish(&[ending::annotation(failure, |file| in_workspace(file, env))]);
            }
            log.finish(&ending::failure(failure, record));
            if !failure.log.is_empty() {
                log.quote(&failure.log);
            }
        }
    }
    if let Some(out) = json {
        let mut object = outputs::json(outcome);
        // Made to be shown (`Resolved::public_url`), and the same as the output of that name.
        let url = object["url"].take();
        log.redact_json(&mut object);
        object["url"] = url;
        let text = no_command_in_json(&object.to_string());
        let unwritten = written(writeln!(out, "{text}").and_then(|()| out.flush()));
        if outcome.exit_code() == 0 {
            return unwritten;
        }
    }
    outcome.exit_code()
}

/// A file of the folder that we run in, as GitHub's annotations name it: from the workspace.
fn in_workspace(file: &Path, env: &BTreeMap<String, String>) -> PathBuf {
    let whole = crate::directory(env).join(file);
    let workspace = env.get("GITHUB_WORKSPACE").filter(|folder| !folder.is_empty()).map(Path::new);
    let within = workspace.and_then(|workspace| {
        // The runner's own path may lead through links that the current folder's does not.
        let (whole, workspace) = (whole.canonicalize().ok()?, workspace.canonicalize().ok()?);
        whole.strip_prefix(workspace).ok().map(Path::to_owned)
    });
    within.unwrap_or_else(|| file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_run_is_its_own_on_every_server_and_one_for_all_its_attempts() {
        let of = |server: &str, repository: &str, attempt: &str| {
            run_key(&RunContext {
                run_id: Some("1001".to_owned()),
                run_attempt: Some(attempt.to_owned()),
                run_url: Some(format!("{server}/{repository}/actions/runs/1001")),
                ..RunContext::default()
            })
        };
        assert_eq!(of("https://github.com", "acme/shop", "2"), "1001");
        let ours = of("https://ghe1.example", "acme/shop", "1");
        assert!(ours.starts_with("1001-"), "{ours}");
        assert_eq!(ours, of("https://ghe1.example", "acme/shop", "2"));
        assert_ne!(ours, of("https://ghe2.example", "acme/shop", "1"));
        assert_ne!(ours, of("https://ghe1.example", "other/app", "1"));
    }

    /// A disk with no room, or a pipe that nobody reads.
    struct Refusing(std::io::ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_result_that_could_not_be_written_is_not_a_success() {
        use crate::render::log::{Detail, Style};
        use std::io::ErrorKind::{BrokenPipe, StorageFull};
        let log = Log::new(Vec::new(), Style { detail: Detail::Normal, fence: None });
        let good = Outcome { result: Ok(Success::Deployed), record: Record::default() };
        let bad = Outcome::from(Failure::new(Reason::Timeout, "slow"));
        for (outcome, refuses, code) in [(&good, StorageFull, 1), (&good, BrokenPipe, 0), (&bad, StorageFull, 9)] {
            assert_eq!(conclude(outcome, Some(&mut Refusing(refuses)), &BTreeMap::new(), &log), code, "{refuses}");
        }
    }

    #[test]
    fn the_registrys_password_goes_to_no_other_machine() {
        let of = |pairs: &[(&str, &str)]| {
            push_endpoint(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let registry = ("FARGATE_DEPLOY_REGISTRY_ENDPOINT", "127.0.0.1:5000");
        assert_eq!(
            of(&[registry, ("AWS_ENDPOINT_URL", "http://localhost:4566")]).unwrap().as_deref(),
            Some("127.0.0.1:5000")
        );
        assert_eq!(of(&[("AWS_ENDPOINT_URL", "http://localhost:4566")]).unwrap(), None);
        assert!(of(&[registry]).is_err());
        assert!(of(&[registry, ("AWS_ENDPOINT_URL", "http://10.0.0.1:4566")]).is_err());
        assert!(of(&[registry, ("AWS_ENDPOINT_URL_ECR", "http://127.0.0.1.evil.test")]).is_err());
        let elsewhere = ("FARGATE_DEPLOY_REGISTRY_ENDPOINT", "evil.test:5000");
        assert!(of(&[elsewhere, ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]).is_err());
    }
}
