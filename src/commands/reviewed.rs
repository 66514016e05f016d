//! The plan on the pull request: put there by `plan`, and looked up there by a deploy that has to be it.

use crate::adapters::aws::Network;
use crate::adapters::github::{GitHubApi, Patience};
use crate::config::Config;
use crate::context::RunContext;
use crate::error::github_failed;
use crate::events::{Event, Sink};
use crate::ports::{CallError, CallErrorKind, GitHub};
use crate::release::RequiredPlan;
use crate::render::plan::concluded::{outcome, put};
use crate::render::plan::markdown::{Around, COMMENT, comment};
use crate::steps::comment::{standing, stick};
use fargate_deploy_core::comment::{Key, Marker};
use fargate_deploy_core::names::short;
use fargate_deploy_core::outcome::{Failure, Reason, Record, Success};
use fargate_deploy_core::permission::Permission;
use fargate_deploy_core::plan::digest::{hidden_parts, parts_of};
use fargate_deploy_core::plan::document::{PlanDocument, Shown};
use fargate_deploy_core::redact::{Secret, mask};
use std::collections::BTreeMap;
use std::time::Duration;

/// Room for the marker and the parts of the plan, which nobody sees.
const HIDDEN: usize = 6_000;

/// One comment for an environment of a cluster.
fn key(config: &Config) -> Key {
    let cluster = config.services.first().map(|s| short(s.cluster.as_str())).unwrap_or_default();
    Key::new(config.environment.as_deref(), cluster)
}

fn github(env: &BTreeMap<String, String>, sink: &dyn Sink) -> Result<Option<GitHubApi>, Failure> {
    let network = Network::from_env(env).map_err(|e| Failure::new(Reason::Config, e.to_string()))?;
    GitHubApi::from_env(env, &network, Patience::default(), sink).map_err(|e| github_failed("asking GitHub", &e, &[]))
}

/// Makes the pull request of this run show the plan, and notes in it what moved since it was last shown.
///
/// # Errors
/// `permission`, with the block to paste; `config` without a pull request or a token.
pub(super) async fn tell(
    plan: &mut PlanDocument,
    config: &Config,
    context: &RunContext,
    masks: &[Secret],
    env: &BTreeMap<String, String>,
    sink: &dyn Sink,
) -> Result<(), Failure> {
    let Some(pull_request) = context.pull_request else {
        return Err(Failure::new(Reason::Config, "`--comment`: this run belongs to no pull request")
            .with_next("run it on `pull_request`, or leave `--comment` out"));
    };
    let Some(github) = github(env, sink)? else {
        return Err(Failure::new(Reason::Config, "`--comment`: there is no token for GitHub")
            .with_next("set the input `github-token`, or `GITHUB_TOKEN`"));
    };
    let failed = |e: &_| github_failed("commenting on the pull request", e, &[Permission::WritePullRequests]);
    let key = key(config);
    let before = standing(&github, pull_request, &key).await.map_err(|e| failed(&e))?;
    if let Some(before) = before {
        plan.compare_bases(&parts_of(&before.body));
    }
    let head = context.sha.as_deref();
    let around = Around { head, run_url: context.run_url.as_deref(), next: "merging deploys this" };
    let marker = Marker { key, head: head.unwrap_or_default().to_owned(), digest: plan.digest.clone() };
    // Masked as a whole first: the rest of a secret that is cut in two would not be recognised.
    let text = mask(&comment(plan, around, usize::MAX), masks);
    let note = crate::render::plan::markdown::note(around);
    let body = format!(
        "{}\n{}",
        hidden_parts(&plan.parts),
        fargate_deploy_core::markdown::fit(&text, COMMENT - HIDDEN, &note)
    );
    stick(&github, pull_request, &marker, &body).await.map(drop).map_err(|e| failed(&e))
}

/// Makes the plan on the pull request that this commit was merged from say what became of it. Telling is never worth
/// failing for: where there is no such comment, or no token, nothing is said.
pub(super) async fn conclude(
    ending: &Result<Success, Failure>,
    record: &Record,
    config: &Config,
    context: &RunContext,
    env: &BTreeMap<String, String>,
    sink: &dyn Sink,
) {
    let is_hasty = ending.as_ref().is_err_and(|failure| failure.reason == Reason::Cancelled);
    let patience = Duration::from_secs(if is_hasty { 1 } else { 15 });
    let Some(sha) = context.sha.as_deref().filter(|_| context.is_in_actions && context.pull_request.is_none()) else {
        return;
    };
    let Ok(Some(github)) = github(env, sink) else { return };
    let outcome = outcome(ending, record, config.environment.as_deref(), context.run_url.as_deref());
    let telling = async {
        let pulls = github.pull_requests_of(sha).await?;
        let key = key(config);
        for pull in pulls.iter().filter(|pull| pull.is_merged) {
            if let Some(comment) = standing(&github, pull.number, &key).await? {
                github.update_comment(comment.id, &put(&comment.body, &outcome)).await?;
            }
        }
        Ok::<(), CallError>(())
    };
    match tokio::time::timeout(patience, telling).await {
        // Who shows no plans needs no permission for them.
        Ok(Err(error)) if error.kind != CallErrorKind::Denied => {
            let why =
                github_failed("saying on the pull request how it ended", &error, &[Permission::WritePullRequests]);
            sink.emit(Event::Warning(why.what));
        }
        Ok(_) | Err(_) => {}
    }
}

/// The plan that was shown on the pull request which this commit was merged from.
pub(super) async fn look_up(
    config: &Config,
    context: &RunContext,
    env: &BTreeMap<String, String>,
    sink: &dyn Sink,
) -> RequiredPlan {
    match find(config, context, env, sink).await {
        Ok(shown) => RequiredPlan::Shown(shown),
        Err(why) => RequiredPlan::Missing(why),
    }
}

async fn find(
    config: &Config,
    context: &RunContext,
    env: &BTreeMap<String, String>,
    sink: &dyn Sink,
) -> Result<Shown, String> {
    let github = github(env, sink).map_err(|failure| failure.what)?;
    let github = github.ok_or("there is no token for GitHub, and no digest was given")?;
    let sha = context.sha.as_deref().ok_or("the commit of this run is not known")?;
    let pulls = github.pull_requests_of(sha).await.map_err(|e| crate::error::sentence(&e))?;
    let key = key(config);
    for pull in pulls.iter().filter(|pull| pull.is_merged) {
        let comment = standing(&github, pull.number, &key).await.map_err(|e| crate::error::sentence(&e))?;
        if let Some(comment) = comment
            && let Some(marker) = Marker::of(&comment.body)
        {
            return Ok(Shown { digest: marker.digest, parts: parts_of(&comment.body) });
        }
    }
    Err(match pulls.iter().find(|pull| pull.is_merged) {
        Some(pull) => format!("pull request #{} carries no plan of ours for this environment", pull.number),
        None => format!("commit {} was merged from no pull request", sha.get(..7).unwrap_or(sha)),
    })
}
