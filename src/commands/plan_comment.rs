//! The plan on the pull request: put there by `plan`, looked up there by a deploy that has to be it, and finished by the
//! deploy of what was merged. It never says what is no longer true: where a commit has no plan, the comment says that.

use crate::adapters::aws::Network;
use crate::adapters::github::{GitHubApi, Patience};
use crate::commands::LAST_STATUS;
use crate::config::{self, Config, Request};
use crate::context::{PullRequestState, RunContext};
use crate::error::{github_failed, sentence};
use crate::events::{Event, Notice, Sink, Warning};
use crate::ports::{Call, CallError, CallErrorKind, GitHub, PullRequest};
use crate::release::RequiredPlan;
use crate::render::plan::markdown::{COMMENT, CommentContext, comment, note, offline_comment, without_plan};
use crate::render::plan::outcome::{MERGING_DEPLOYS, outcome_section, replace_outcome};
use crate::steps::comment::{edit, find_existing, retire, upsert};
use fargate_deploy_core::comment::{Key, Marker};
use fargate_deploy_core::markdown::fit;
use fargate_deploy_core::names::short;
use fargate_deploy_core::outcome::{Failure, Outcome, Reason};
use fargate_deploy_core::permission::{Permission, advice};
use fargate_deploy_core::plan::digest::{hidden_parts, parts_of};
use fargate_deploy_core::plan::document::{PlanDocument, Shown};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Room for the marker and the parts of the plan, which nobody sees.
const HIDDEN: usize = 6_000;
/// What is left of a run after its end.
const PATIENCE: Duration = Duration::from_secs(15);
/// Of a plan that was interrupted: there is no lease.
const LAST_WORD: Duration = Duration::from_secs(3);

/// What the comments of a run are made with.
pub(super) struct PlanComments<'a> {
    pub(super) context: &'a RunContext,
    /// [`Options::label_of_plan`](super::deploy::Options::label_of_plan).
    pub(super) label: Option<&'a str>,
    /// There is no `--label`: it says what `--only` says.
    pub(super) is_of_only: bool,
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) sink: &'a dyn Sink,
}

impl PlanComments<'_> {
    /// One comment for a config and an environment of it, in its cluster.
    fn key(&self, config: &Config) -> Key {
        let cluster = config.services.first().map(|s| short(s.cluster.as_str())).unwrap_or_default();
        let file = config.file.as_ref().and_then(|file| Some(config.root.join(file.file_name()?)));
        let named = match file {
            Some(file) => in_repository(&file, self.env),
            None => {
                let names: Vec<_> = config.services.iter().map(|s| short(s.name.as_str())).collect();
                of_services(&names)
            }
        };
        Key::new(&named, config.environment.as_deref(), cluster, self.label)
    }

    /// The same, as far as the flags tell: of a config that could not be read, or whose values are not known.
    fn key_of_request(&self, request: &Request, directory: &Path) -> Key {
        let file = config::path(request, directory).or_else(|| {
            // A config that was removed is the one that would be looked for.
            request.service.is_none().then(|| directory.join("fargate-deploy.yml"))
        });
        let named = match (&file, &request.service) {
            (Some(file), _) => in_repository(file, self.env),
            (None, service) => of_services(&service.iter().map(|name| short(name)).collect::<Vec<_>>()),
        };
        let chosen = self.env.get("FARGATE_DEPLOY_ENVIRONMENT").filter(|name| !name.is_empty());
        let environment = match config::draft(request, self.env, directory) {
            Ok(draft) => draft.environment().unwrap_or("default").to_owned(),
            Err(_) => request.environment.as_ref().or(chosen).cloned().unwrap_or_default(),
        };
        let cluster = request.cluster.as_deref().map(short).unwrap_or_default();
        Key::new(&named, Some(&environment), cluster, self.label)
    }

    fn github(&self) -> Result<Option<GitHubApi>, Failure> {
        let network = Network::from_env(self.env).map_err(|e| Failure::new(Reason::Config, e.to_string()))?;
        let api = GitHubApi::from_env(self.env, &network, Patience::default(), self.sink);
        api.map_err(|e| github_failed("asking GitHub", &e, &[]))
    }

    /// # Errors
    /// `config`: `--comment` without a token.
    pub(super) fn check_token(&self) -> Result<(), Failure> {
        self.commenter().map(drop)
    }

    fn commenter(&self) -> Result<GitHubApi, Failure> {
        self.github()?.ok_or_else(|| {
            Failure::new(Reason::Config, "`--comment`: there is no token for GitHub, or no repository")
                .with_next("set the input `github-token`, or `GITHUB_TOKEN` and `GITHUB_REPOSITORY`")
        })
    }

    /// Makes the pull request of this run show the plan, and notes in the plan what moved since it was last shown. A run
    /// of no pull request has nobody to show it to: a notice. A conversation that is locked is a warning.
    ///
    /// # Errors
    /// `permission`, with the block to paste; `unavailable`; `config` without a token.
    pub(super) async fn post_plan(&self, plan: &mut PlanDocument, config: &Config) -> Result<(), Failure> {
        let github = self.commenter()?;
        let key = self.key(config);
        let posted = async {
            let Some(pull_request) = self.open_pull_request(&github).await? else { return Ok(()) };
            if let Some(before) = find_existing(&github, pull_request, &key).await?.first() {
                plan.compare_bases(&parts_of(&before.body));
            }
            let context = self.comment_context(MERGING_DEPLOYS);
            let marker = self.marker(key.clone(), &plan.digest);
            // Masked as a whole first: the rest of a secret that is cut in two would not be recognised.
            let text = self.sink.redacted(&comment(plan, context, usize::MAX));
            let body = format!("{}\n{}", hidden_parts(&plan.parts), fit(&text, COMMENT - HIDDEN, &note(context)));
            upsert(&github, pull_request, &marker, &body).await.map(drop)
        };
        let posted = posted.await;
        self.conflict_as_warning(posted)
    }

    /// Makes the comment say that this commit has no plan, or what its files alone tell, instead of the plan of an earlier
    /// commit. What goes wrong here is a warning: the run says already why there is no plan.
    pub(super) async fn post_no_plan(
        &self,
        request: &Request,
        directory: &Path,
        outcome: &Outcome,
        interrupt: impl Future<Output = ()>,
    ) {
        let Ok(Some(github)) = self.github() else { return };
        let key = self.key_of_request(request, directory);
        let is_cancelled = outcome.is_cancelled();
        let context = self.comment_context("");
        let environment = named(&key);
        let text = match (&outcome.record.offline_plan, &outcome.result) {
            (Some(plan), _) => offline_comment(plan, context),
            (None, Err(failure)) => without_plan(environment, failure, context),
            (None, Ok(_)) => return,
        };
        let text = fit(&self.sink.redacted(&text), COMMENT, &note(context));
        let posting = async {
            let Some(pull_request) = self.open_pull_request(&github).await? else { return Ok(()) };
            let there = find_existing(&github, pull_request, &key).await?;
            if there.is_empty() {
                return upsert(&github, pull_request, &self.marker(key, ""), &text).await.map(drop);
            }
            for old in &there {
                // The environment may not be known by now: each keeps what it is about.
                let about = Marker::of(&old.body).map_or_else(|| key.clone(), |marker| marker.key);
                edit(&github, old.id, &self.marker(about, "").body(&text)).await?;
            }
            Ok(())
        };
        let posting = tokio::time::timeout(if is_cancelled { LAST_WORD } else { PATIENCE }, posting);
        let posted = if is_cancelled {
            Some(posting.await)
        } else {
            tokio::select! {
                biased;
                posted = posting => Some(posted),
                () = interrupt => None,
            }
        };
        let why = match posted {
            Some(Ok(Ok(()))) => return,
            Some(Ok(Err(error))) => sentence(&error),
            Some(Err(_)) => "GitHub did not answer in time".to_owned(),
            None => "interrupted".to_owned(),
        };
        self.sink.emit(Event::Warning(Warning::FailureNotCommented { error: why }));
    }

    fn conflict_as_warning(&self, posted: Call<()>) -> Result<(), Failure> {
        match posted {
            Err(error) if error.kind == CallErrorKind::Conflict => {
                self.sink.emit(Event::Warning(Warning::PlanNotCommented { error: sentence(&error) }));
                Ok(())
            }
            posted => posted
                .map_err(|e| github_failed("commenting on the pull request", &e, &[Permission::WritePullRequests])),
        }
    }

    /// The pull request of the event, else one that is open with this commit at its head. `None`, after a notice, where
    /// there is none.
    async fn open_pull_request(&self, github: &GitHubApi) -> Call<Option<u64>> {
        let why = match (self.context.pull_request, self.context.sha.as_deref()) {
            (Some(pull), _) if pull.state == PullRequestState::Open => return Ok(Some(pull.number)),
            (Some(pull), _) => format!("#{} is closed", pull.number),
            (None, None) => "the commit of this run is not known".to_owned(),
            (None, Some(sha)) => {
                let pulls = github.pull_requests_of(sha).await?;
                match pulls.iter().find(|pull| pull.is_open && pull.head == sha) {
                    Some(pull) => return Ok(Some(pull.number)),
                    None => format!("commit {} is at the head of none that is open", sha.get(..7).unwrap_or(sha)),
                }
            }
        };
        self.sink.emit(Event::Notice(Notice::NoPullRequest { why }));
        Ok(None)
    }

    fn comment_context<'a>(&'a self, next: &'a str) -> CommentContext<'a> {
        let RunContext { sha, run_url, .. } = self.context;
        CommentContext { label: self.label, head: sha.as_deref(), run_url: run_url.as_deref(), next }
    }

    fn marker(&self, key: Key, digest: &str) -> Marker {
        Marker { key, head: self.context.sha.clone().unwrap_or_default(), digest: digest.to_owned() }
    }

    /// Makes the plan on the pull request that this commit was merged from say what became of it. Never worth failing for:
    /// where there is no such comment, or no token, nothing is said. A signal meanwhile ends the wait.
    pub(super) async fn finish_comment(&self, outcome: &Outcome, config: &Config, interrupt: impl Future<Output = ()>) {
        self.finish(outcome, || self.key(config), interrupt).await;
    }

    /// The same where the config could not be read, or its values are not known.
    pub(super) async fn finish_comment_without_config(
        &self,
        outcome: &Outcome,
        request: &Request,
        directory: &Path,
        interrupt: impl Future<Output = ()>,
    ) {
        self.finish(outcome, || self.key_of_request(request, directory), interrupt).await;
    }

    async fn finish(&self, outcome: &Outcome, key: impl FnOnce() -> Key, interrupt: impl Future<Output = ()>) {
        if !self.context.is_in_actions {
            return;
        }
        let Ok(Some(github)) = self.github() else { return };
        let run_url = self.context.run_url.as_deref();
        let key = key();
        let text = self.sink.redacted(&outcome_section(outcome, named(&key), self.label, run_url));
        let is_hasty = outcome.is_cancelled();
        let patience = if is_hasty { LAST_STATUS } else { PATIENCE };
        let finishing = tokio::time::timeout(patience, self.replace_outcomes(&github, &key, &text));
        let finished = if is_hasty {
            finishing.await
        } else {
            tokio::select! {
                biased;
                finished = finishing => finished,
                () = interrupt => return self.warn_of_plan("interrupted"),
            }
        };
        match finished {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.kind == CallErrorKind::Denied => {
                self.warn_of_plan(&format!("{}\n{}", sentence(&error), advice(&[Permission::WritePullRequests])));
            }
            Ok(Err(error)) => self.warn_of_plan(&sentence(&error)),
            Err(_) if is_hasty => {}
            Err(_) => self.warn_of_plan("GitHub did not answer in time"),
        }
    }

    fn warn_of_plan(&self, why: &str) {
        self.sink.emit(Event::Warning(Warning::OutcomeNotCommented { error: why.to_owned() }));
    }

    async fn replace_outcomes(&self, github: &GitHubApi, key: &Key, text: &str) -> Call<()> {
        for number in self.merged_pull_requests(github).await? {
            let mut found = find_existing(github, number, key).await?;
            if found.is_empty() && self.is_of_only {
                // Planned whole, and deployed in parts.
                found = find_existing(github, number, &Key { label: String::new(), ..key.clone() }).await?;
            }
            if let Some(first) = found.first() {
                edit(github, first.id, &replace_outcome(&first.body, text)).await?;
                retire(github, &found, first.id).await?;
            }
        }
        Ok(())
    }

    /// The one of the event, where it was merged; else those that this commit was merged from.
    async fn merged_pull_requests(&self, github: &GitHubApi) -> Call<Vec<u64>> {
        match (self.context.pull_request, self.context.sha.as_deref()) {
            (Some(pull), _) if pull.state == PullRequestState::Merged => Ok(vec![pull.number]),
            (Some(_), _) | (None, None) => Ok(vec![]),
            (None, Some(sha)) => Ok(merged(github.pull_requests_of(sha).await?, sha)),
        }
    }

    /// The plan that was shown on the pull request which this commit was merged from.
    pub(super) async fn required_plan(&self, config: &Config) -> RequiredPlan {
        match self.shown_plan(config).await {
            Ok(shown) => RequiredPlan::Shown(shown),
            Err(why) => RequiredPlan::Missing(why),
        }
    }

    async fn shown_plan(&self, config: &Config) -> Result<Shown, String> {
        let github = self.github().map_err(|failure| failure.what)?;
        let github = github.ok_or("there is no token for GitHub, and no digest was given")?;
        let failed = |e: CallError| sentence(&e);
        let numbers = match (self.context.pull_request, self.context.sha.as_deref()) {
            (Some(pull), _) => vec![pull.number],
            (None, None) => return Err("the commit of this run is not known".to_owned()),
            (None, Some(sha)) => {
                let numbers = merged(github.pull_requests_of(sha).await.map_err(failed)?, sha);
                if numbers.is_empty() {
                    return Err(format!("commit {} was merged from no pull request", sha.get(..7).unwrap_or(sha)));
                }
                numbers
            }
        };
        let key = self.key(config);
        for number in &numbers {
            let found = find_existing(&github, *number, &key).await.map_err(failed)?;
            let Some(comment) = found.first() else { continue };
            match Marker::of(&comment.body) {
                Some(marker) if marker.digest.is_empty() => {
                    return Err(format!("the last commit of pull request #{number} has no plan: look at its comment"));
                }
                Some(marker) => return Ok(Shown { digest: marker.digest, parts: parts_of(&comment.body) }),
                None => {}
            }
        }
        let first = numbers.first().copied().unwrap_or_default();
        Err(format!("pull request #{first} carries no plan of ours for this config and environment"))
    }
}

/// The environment as people know it.
fn named(key: &Key) -> Option<&str> {
    Some(key.environment.as_str()).filter(|name| !name.is_empty() && *name != "default")
}

/// Numbers, those first that were merged as this very commit.
fn merged(pulls: Vec<PullRequest>, sha: &str) -> Vec<u64> {
    let mut merged: Vec<_> = pulls.into_iter().filter(|pull| pull.is_merged).collect();
    merged.sort_by_key(|pull| pull.merged_as.as_deref() != Some(sha));
    merged.into_iter().map(|pull| pull.number).collect()
}

/// A deploy without a config file is about its services.
fn of_services(names: &[&str]) -> String {
    format!("service {}", names.join(", "))
}

/// A file's path from the root of its repository, the same in every checkout of it.
pub(super) fn in_repository(file: &Path, env: &BTreeMap<String, String>) -> String {
    // A file that was removed still has a folder.
    let folder = file.parent().and_then(|folder| folder.canonicalize().ok());
    let whole = match (folder, file.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => file.to_owned(),
    };
    let workspace = env.get("GITHUB_WORKSPACE").and_then(|folder| Path::new(folder).canonicalize().ok());
    let root = whole.ancestors().skip(1).find(|folder| folder.join(".git").exists());
    let root = root.map(Path::to_owned).or(workspace);
    let within = root.and_then(|root| Some(whole.strip_prefix(root).ok()?.to_owned()));
    let within = within.or_else(|| Some(file.file_name()?.into())).unwrap_or(whole);
    within.to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_named_from_the_root_of_its_repository_wherever_that_is_checked_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("checkout/apps/api/fargate-deploy.yml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let workspace = dir.path().to_str().unwrap().to_owned();
        let env = BTreeMap::from([("GITHUB_WORKSPACE".to_owned(), workspace)]);
        assert_eq!(in_repository(&file, &env), "checkout/apps/api/fargate-deploy.yml");
        std::fs::create_dir(dir.path().join("checkout/.git")).unwrap();
        assert_eq!(in_repository(&file, &env), "apps/api/fargate-deploy.yml");
        let dotted = dir.path().join("checkout/apps/web/../api/fargate-deploy.yml");
        std::fs::create_dir(dir.path().join("checkout/apps/web")).unwrap();
        assert_eq!(in_repository(&dotted, &env), "apps/api/fargate-deploy.yml");
        let outside = tempfile::tempdir().unwrap();
        assert_eq!(in_repository(&outside.path().join("x.yml"), &BTreeMap::new()), "x.yml");
    }

    #[test]
    fn a_pull_request_that_was_merged_as_the_very_commit_comes_first() {
        let pull = |number, merged_as: Option<&str>| PullRequest {
            number,
            is_open: merged_as.is_none(),
            is_merged: merged_as.is_some(),
            merged_as: merged_as.map(str::to_owned),
            head: String::new(),
            base: String::new(),
        };
        assert_eq!(merged(vec![pull(1, Some("x")), pull(2, None), pull(3, Some("cafe"))], "cafe"), [3, 1]);
    }
}
