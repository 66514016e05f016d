//! Which run this is: from GitHub's variables, or from the local git checkout.

use crate::config::{TagPart, tag_template};
use fargate_deploy_core::image::is_tag;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Facts about the run that are not configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunContext {
    /// The commit that is checked out; for the merge commit that GitHub makes of an open pull request, its head.
    pub sha: Option<String>,
    /// The checkout differs from the commit (outside Actions only).
    pub is_dirty: bool,
    pub branch: Option<String>,
    /// The repository's own, where the event says so.
    pub default_branch: Option<String>,
    /// Not everybody may push to the branch.
    pub is_protected: bool,
    pub actor: Option<String>,
    pub run_id: Option<String>,
    pub run_attempt: Option<String>,
    pub run_url: Option<String>,
    /// `OWNER/NAME`.
    pub repository: Option<String>,
    pub event: Option<String>,
    /// The pull request that the event is about.
    pub pull_request: Option<PullRequestOfRun>,
    pub is_in_actions: bool,
    /// The head of the pull request is in another repository, or not known to be in this one (`workflow_run` of a fork, a
    /// comment on a pull request): whoever wrote its files must not deploy, nor plan with this run's identity.
    pub is_fork_pull_request: bool,
    pub host: String,
}

/// Whose caches a build reads and writes, by branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheBranches {
    /// The likeliest first.
    pub read: Vec<String>,
    pub write: Option<String>,
}

/// A pull request that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullRequestOfRun {
    pub number: u64,
    pub state: PullRequestState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullRequestState {
    Open,
    Merged,
    /// Not merged.
    Closed,
}

impl RunContext {
    /// Reads `GITHUB_*`, or asks git about `root`; a missing git is no error.
    /// <https://docs.github.com/en/actions/reference/variables-reference>
    pub fn read(env: &BTreeMap<String, String>, root: &Path) -> Self {
        let get = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        if get("GITHUB_ACTIONS").as_deref() != Some("true") {
            return Self::of_checkout(env, root);
        }
        let event = event(env);
        let head = event.as_ref().map(|e| &e["pull_request"]["head"]);
        let head_text = |pointer: &str| head?.pointer(pointer)?.as_str().map(str::to_owned);
        let repository = get("GITHUB_REPOSITORY");
        let run_id = get("GITHUB_RUN_ID");
        let server = get("GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".to_owned());
        // Of a fork that was deleted since, GitHub says nothing but that it is not ours.
        let is_pull_request = head.is_some_and(|head| head.is_object());
        let is_ours = head_text("/repo/full_name").is_some_and(|head| Some(&head) == repository.as_ref());
        let pull_request = event.as_ref().and_then(pull_request);
        let event_name = get("GITHUB_EVENT_NAME");
        // GitHub checks out what an open pull request would be merged as, a commit that nobody will ever see again.
        let is_open = pull_request.map_or(is_pull_request, |pull| pull.state == PullRequestState::Open);
        let is_trial_merge = is_open && event_name.as_deref() != Some("pull_request_target");
        let given = get("GITHUB_SHA");
        let checked_out = checked_out(env, root).filter(|commit| !is_trial_merge || Some(commit) != given.as_ref());
        let head_sha = head_text("/sha").filter(|_| is_trial_merge);
        let is_foreign = match &event {
            Some(event) if names_its_files(event) => is_foreign(event, repository.as_deref()),
            // It cannot be read, or says nothing of what this event is about.
            _ => event_name.as_deref().is_some_and(may_be_foreign),
        };
        Self {
            sha: checked_out.or(head_sha).or(given),
            is_dirty: false,
            branch: get("GITHUB_HEAD_REF").or_else(|| get("GITHUB_REF_NAME")),
            default_branch: event
                .as_ref()
                .and_then(|event| event["repository"]["default_branch"].as_str().map(str::to_owned)),
            is_protected: get("GITHUB_REF_PROTECTED").as_deref() == Some("true"),
            actor: get("GITHUB_ACTOR"),
            run_url: repository.as_ref().zip(run_id.as_ref()).map(|(r, id)| format!("{server}/{r}/actions/runs/{id}")),
            run_attempt: get("GITHUB_RUN_ATTEMPT"),
            is_fork_pull_request: (is_pull_request && !is_ours) || is_foreign,
            event: event_name,
            pull_request,
            host: get("RUNNER_NAME").unwrap_or_else(|| "a GitHub runner".to_owned()),
            is_in_actions: true,
            repository,
            run_id,
        }
    }

    fn of_checkout(env: &BTreeMap<String, String>, root: &Path) -> Self {
        let get = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        let user = get("USER").or_else(|| get("LOGNAME"));
        Self {
            sha: git(root, &["rev-parse", "HEAD"]),
            is_dirty: git(root, &["status", "--porcelain", "--", "."]).is_some(),
            branch: git(root, &["rev-parse", "--abbrev-ref", "HEAD"]).filter(|branch| branch != "HEAD"),
            actor: user,
            host: get("HOSTNAME").or_else(hostname).unwrap_or_else(|| "a computer without a name".to_owned()),
            ..Self::default()
        }
    }

    /// Whose caches a build reads, and whose it leaves: those of its branch, then those of the default branch. They are written on
    /// GitHub alone, and neither by pull requests nor on a branch that everybody may push to: what is read later by a build of
    /// `main` comes from there.
    pub fn cache_branches(&self) -> CacheBranches {
        let default = self.default_branch.clone().unwrap_or_else(|| "main".to_owned());
        let is_pull_request = self.event.as_deref().is_some_and(|event| event.starts_with("pull_request"));
        let is_safe = self.is_in_actions && !is_pull_request && !self.is_fork_pull_request;
        let own = self.branch.clone();
        let write = own.clone().filter(|own| is_safe && (self.is_protected || *own == default));
        let mut read: Vec<String> = own.into_iter().collect();
        if !read.contains(&default) {
            read.push(default);
        }
        CacheBranches { read, write }
    }

    /// Tags with their placeholders resolved, each once.
    ///
    /// # Errors
    /// A placeholder whose value is not known here, or a tag that came out too long.
    pub fn tags(&self, templates: &[String], environment: Option<&str>) -> Result<Vec<String>, String> {
        let mut tags = vec![];
        for template in templates {
            let mut tag = String::new();
            for part in tag_template(template)? {
                match part {
                    TagPart::Literal(text) => tag.push_str(text),
                    TagPart::Placeholder(name) => tag.push_str(&self.placeholder(name, environment, template)?),
                }
            }
            if !is_tag(&tag) {
                return Err(format!("the tag `{template}` becomes `{tag}`, which is no tag: at most 128 characters"));
            }
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(tags)
    }

    fn placeholder(&self, name: &str, environment: Option<&str>, template: &str) -> Result<String, String> {
        let dirty = if self.is_dirty { "-dirty" } else { "" };
        let value = match name {
            "sha" => self.sha.as_ref().map(|sha| format!("{sha}{dirty}")),
            "short-sha" => self.sha.as_ref().and_then(|sha| sha.get(..7)).map(|sha| format!("{sha}{dirty}")),
            "branch" => self.branch.as_deref().map(as_tag),
            "run" => self.run_id.clone(),
            "env" => environment.map(as_tag),
            _ => None,
        };
        value.ok_or_else(|| match name {
            "sha" | "short-sha" => {
                format!("the tag `{template}` needs a commit, and this is neither a git checkout nor a GitHub run")
            }
            "branch" => format!("the tag `{template}` needs a branch, and none is checked out"),
            "run" => format!("the tag `{template}` needs a GitHub run, and this is none"),
            _ => format!("the tag `{template}` needs an environment: choose one with `-e`"),
        })
    }
}

fn event(env: &BTreeMap<String, String>) -> Option<serde_json::Value> {
    serde_json::from_str(&std::fs::read_to_string(env.get("GITHUB_EVENT_PATH")?).ok()?).ok()
}

/// The pull request of an event: its own, that of a comment on it, that of a place in a merge queue, that of the run that
/// this one follows.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows>
fn pull_request(event: &serde_json::Value) -> Option<PullRequestOfRun> {
    let open = |number: u64| PullRequestOfRun { number, state: PullRequestState::Open };
    let stated = |value: &serde_json::Value, is_merged: bool| {
        let state = match value["state"].as_str() {
            _ if is_merged => PullRequestState::Merged,
            Some("closed") => PullRequestState::Closed,
            _ => PullRequestState::Open,
        };
        value["number"].as_u64().map(|number| PullRequestOfRun { number, state })
    };
    let (own, issue) = (&event["pull_request"], &event["issue"]);
    if own.is_object() {
        return stated(own, own["merged"] == true || own["merged_at"].is_string());
    }
    if issue["pull_request"].is_object() {
        return stated(issue, issue["pull_request"]["merged_at"].is_string());
    }
    if let Some(queue) = event["merge_group"]["head_ref"].as_str() {
        return of_merge_queue(queue).map(open);
    }
    event["workflow_run"]["pull_requests"][0]["number"].as_u64().map(open)
}

/// `refs/heads/gh-readonly-queue/main/pr-104-4f2c1d6b...`.
fn of_merge_queue(head_ref: &str) -> Option<u64> {
    head_ref.rsplit('/').next()?.strip_prefix("pr-")?.split('-').next()?.parse().ok()
}

/// The commit in the working tree, where the folder belongs to a checkout of this job. Steps can check out another commit
/// than the one that the event names.
fn checked_out(env: &BTreeMap<String, String>, root: &Path) -> Option<String> {
    let workspace = Path::new(env.get("GITHUB_WORKSPACE")?).canonicalize().ok()?;
    let top = PathBuf::from(git(root, &["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    top.starts_with(workspace).then(|| git(root, &["rev-parse", "HEAD"])).flatten()
}

/// Events that somebody outside of the repository can cause.
fn may_be_foreign(event_name: &str) -> bool {
    ["pull_request", "issue_comment", "workflow_run"].iter().any(|of| event_name.starts_with(of))
}

/// Whether an event says whose files it is about.
fn names_its_files(event: &serde_json::Value) -> bool {
    event["pull_request"]["head"].is_object() || event["issue"].is_object() || event["workflow_run"].is_object()
}

/// Whether an event that names no pull request's head is about files of somebody else.
/// <https://securitylab.github.com/resources/github-actions-preventing-pwn-requests/>
fn is_foreign(event: &serde_json::Value, repository: Option<&str>) -> bool {
    let run = &event["workflow_run"];
    if run.is_object() {
        let head = run["head_repository"]["full_name"].as_str();
        return head.is_none() || head != repository;
    }
    let pull = &event["issue"]["pull_request"];
    pull.is_object() && !pull["merged_at"].is_string()
}

/// What git prints, trimmed; `None` when it prints nothing, fails or is not there.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn hostname() -> Option<String> {
    let output = Command::new("hostname").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Any text as (part of) a tag: `feature/login` becomes `feature-login`.
fn as_tag(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' }).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn templates(all: &[&str]) -> Vec<String> {
        all.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn a_pull_request_is_known_by_its_head_commit_not_by_the_merge() {
        let dir = tempfile::tempdir().unwrap();
        let event = dir.path().join("event.json");
        std::fs::write(&event, r#"{"pull_request": {"head": {"sha": "cafe", "repo": {"full_name": "fork/app"}}}}"#)
            .unwrap();
        let context = RunContext::read(
            &env(&[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_SHA", "merge"),
                ("GITHUB_REPOSITORY", "org/app"),
                ("GITHUB_RUN_ID", "7"),
                ("GITHUB_EVENT_PATH", event.to_str().unwrap()),
            ]),
            dir.path(),
        );
        assert_eq!(context.sha.as_deref(), Some("cafe"));
        assert!(context.is_fork_pull_request);
        assert_eq!(context.run_url.as_deref(), Some("https://github.com/org/app/actions/runs/7"));
    }

    /// A run for an event, in a folder that is no checkout.
    fn of_event(name: &str, event: &serde_json::Value) -> RunContext {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("event.json");
        std::fs::write(&file, event.to_string()).unwrap();
        let vars = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SHA", "given"),
            ("GITHUB_REPOSITORY", "org/app"),
            ("GITHUB_EVENT_NAME", name),
            ("GITHUB_EVENT_PATH", file.to_str().unwrap()),
        ];
        RunContext::read(&env(&vars), dir.path())
    }

    #[test]
    fn the_commit_is_the_one_that_is_checked_out_for_each_event() {
        let pull = |state: &str, merged: bool| {
            let head = serde_json::json!({"sha": "head", "repo": {"full_name": "org/app"}});
            serde_json::json!({"pull_request": {"number": 7, "state": state, "merged": merged, "head": head}})
        };
        for (name, event, sha) in [
            ("pull_request", pull("open", false), "head"),
            ("pull_request", pull("closed", true), "given"),
            ("pull_request", pull("closed", false), "given"),
            ("pull_request_target", pull("open", false), "given"),
            ("pull_request_target", pull("closed", true), "given"),
            ("push", serde_json::json!({"after": "head"}), "given"),
        ] {
            assert_eq!(of_event(name, &event).sha.as_deref(), Some(sha), "{name} {event}");
        }
    }

    #[test]
    fn each_event_that_is_about_a_pull_request_names_it_and_its_state() {
        use PullRequestState::{Closed, Merged, Open};
        let queue = serde_json::json!({"head_ref": "refs/heads/gh-readonly-queue/release/2/pr-104-4f2c1d6b"});
        for (name, event, expected) in [
            ("pull_request", serde_json::json!({"pull_request": {"number": 1, "state": "open"}}), Some((1, Open))),
            ("pull_request", serde_json::json!({"pull_request": {"number": 1, "state": "closed"}}), Some((1, Closed))),
            (
                "pull_request_target",
                serde_json::json!({"pull_request": {"number": 1, "state": "closed", "merged": true}}),
                Some((1, Merged)),
            ),
            (
                "issue_comment",
                serde_json::json!({"issue": {"number": 2, "state": "open", "pull_request": {"merged_at": null}}}),
                Some((2, Open)),
            ),
            ("issue_comment", serde_json::json!({"issue": {"number": 2, "state": "open"}}), None),
            ("merge_group", serde_json::json!({"merge_group": queue}), Some((104, Open))),
            ("workflow_run", serde_json::json!({"workflow_run": {"pull_requests": [{"number": 5}]}}), Some((5, Open))),
            ("workflow_run", serde_json::json!({"workflow_run": {"pull_requests": []}}), None),
            ("push", serde_json::json!({"after": "x"}), None),
            ("schedule", serde_json::json!({"schedule": "0 0 * * *"}), None),
            ("workflow_dispatch", serde_json::json!({"inputs": null}), None),
        ] {
            let found = of_event(name, &event).pull_request.map(|pull| (pull.number, pull.state));
            assert_eq!(found, expected, "{name} {event}");
        }
    }

    #[test]
    fn a_job_that_checked_out_another_commit_is_about_that_one() {
        let dir = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            let name = ["-c", "user.name=t", "-c", "user.email=t@t"];
            let done = Command::new("git").arg("-C").arg(dir.path()).args(name).args(arguments).output().unwrap();
            assert!(done.status.success(), "{done:?}");
            String::from_utf8(done.stdout).unwrap().trim().to_owned()
        };
        run(&["init", "-q"]);
        run(&["commit", "-q", "--allow-empty", "-m", "one"]);
        let head = run(&["rev-parse", "HEAD"]);
        let workspace = dir.path().to_str().unwrap().to_owned();
        let of = |given: &str, workspace: &str| {
            let vars = [("GITHUB_ACTIONS", "true"), ("GITHUB_SHA", given), ("GITHUB_WORKSPACE", workspace)];
            RunContext::read(&env(&vars), dir.path()).sha
        };
        assert_eq!(of("given", &workspace).as_deref(), Some(head.as_str()));
        assert_eq!(of("given", "/nonexistent").as_deref(), Some("given"), "a checkout of somebody else");
    }

    #[test]
    fn a_head_whose_repository_was_deleted_is_a_forks_and_a_branch_of_ours_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let event = dir.path().join("event.json");
        let is_fork = |head: &str| {
            std::fs::write(&event, format!(r#"{{"pull_request": {{"head": {head}}}}}"#)).unwrap();
            let vars = [
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_REPOSITORY", "org/app"),
                ("GITHUB_EVENT_PATH", event.to_str().unwrap()),
            ];
            RunContext::read(&env(&vars), dir.path()).is_fork_pull_request
        };
        assert!(is_fork(r#"{"sha": "cafe", "repo": null}"#));
        assert!(!is_fork(r#"{"sha": "cafe", "repo": {"full_name": "org/app"}}"#));
    }

    #[test]
    fn a_workflow_run_of_a_fork_and_a_comment_on_a_pull_request_are_foreign() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("event.json");
        let is_foreign = |event: &str| {
            std::fs::write(&path, event).unwrap();
            let vars = [
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_REPOSITORY", "org/app"),
                ("GITHUB_EVENT_PATH", path.to_str().unwrap()),
            ];
            RunContext::read(&env(&vars), dir.path()).is_fork_pull_request
        };
        assert!(is_foreign(r#"{"workflow_run": {"head_repository": {"full_name": "fork/app"}}}"#));
        assert!(is_foreign(r#"{"workflow_run": {"head_repository": null}}"#));
        assert!(is_foreign(r#"{"issue": {"pull_request": {"url": "x"}}, "comment": {}}"#));
        assert!(is_foreign(r#"{"pull_request": {"head": {"repo": {"full_name": "fork/app"}}}}"#));
        assert!(!is_foreign(r#"{"workflow_run": {"head_repository": {"full_name": "org/app"}}}"#));
        assert!(!is_foreign(r#"{"issue": {"number": 1}, "comment": {}}"#));
        assert!(!is_foreign(r#"{"ref": "refs/heads/main"}"#));
    }

    #[test]
    fn a_folder_without_git_has_no_commit_and_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let context = RunContext::read(&env(&[("GIT_DIR", "/nonexistent")]), dir.path());
        assert_eq!(context.sha, None);
        assert!(context.tags(&templates(&["{sha}"]), None).unwrap_err().contains("needs a commit"));
    }

    #[test]
    fn placeholders_become_tags() {
        let context = RunContext {
            sha: Some("0123456789abcdef".to_owned()),
            branch: Some("feature/login".to_owned()),
            run_id: Some("99".to_owned()),
            ..RunContext::default()
        };
        let tags = context.tags(
            &templates(&["{sha}", "v-{short-sha}", "{branch}", "{run}", "{env}", "latest", "latest"]),
            Some("staging"),
        );
        assert_eq!(tags.unwrap(), ["0123456789abcdef", "v-0123456", "feature-login", "99", "staging", "latest"]);
    }

    #[test]
    fn an_uncommitted_change_never_passes_for_the_commit() {
        let context = RunContext { sha: Some("0123456789".to_owned()), is_dirty: true, ..RunContext::default() };
        assert_eq!(
            context.tags(&templates(&["{sha}", "{short-sha}"]), None).unwrap(),
            ["0123456789-dirty", "0123456-dirty"]
        );
    }

    #[test]
    fn caches_are_written_on_branches_that_not_everybody_may_push_to_and_never_by_pull_requests() {
        let branches = |is_protected: &str, pairs: &[(&str, &str)]| {
            let mut all = env(&[("GITHUB_ACTIONS", "true"), ("GITHUB_REF_PROTECTED", is_protected)]);
            all.extend(env(pairs));
            RunContext::read(&all, Path::new("/nonexistent")).cache_branches()
        };
        let of = |read: &[&str], write: Option<&str>| CacheBranches {
            read: templates(read),
            write: write.map(str::to_owned),
        };
        let push = ("GITHUB_EVENT_NAME", "push");
        assert_eq!(branches("false", &[push, ("GITHUB_REF_NAME", "main")]), of(&["main"], Some("main")));
        assert_eq!(branches("false", &[push, ("GITHUB_REF_NAME", "try")]), of(&["try", "main"], None));
        assert_eq!(branches("true", &[push, ("GITHUB_REF_NAME", "v2")]), of(&["v2", "main"], Some("v2")));
        let pull_request = [("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_HEAD_REF", "main")];
        assert_eq!(branches("true", &pull_request), of(&["main"], None));
        let on_a_laptop = RunContext { branch: Some("main".to_owned()), ..RunContext::default() };
        assert_eq!(on_a_laptop.cache_branches(), of(&["main"], None));
    }
}
