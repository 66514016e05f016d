//! Which run this is: from GitHub's variables, or from the local git checkout.

use crate::config::{TagPart, tag_template};
use fargate_deploy_core::image::is_tag;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Facts about the run that are not configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunContext {
    /// The commit: of a pull request its head, not the merge commit that GitHub checks out.
    pub sha: Option<String>,
    /// The checkout differs from the commit (outside Actions only).
    pub is_dirty: bool,
    pub branch: Option<String>,
    pub actor: Option<String>,
    pub run_id: Option<String>,
    pub run_attempt: Option<String>,
    pub run_url: Option<String>,
    /// `OWNER/NAME`.
    pub repository: Option<String>,
    pub event: Option<String>,
    /// The number of the pull request that this run belongs to.
    pub pull_request: Option<u64>,
    pub is_in_actions: bool,
    /// The head of the pull request is in another repository: such a run has no identity and no secrets.
    pub is_fork_pull_request: bool,
    pub host: String,
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
        Self {
            sha: head_text("/sha").or_else(|| get("GITHUB_SHA")),
            is_dirty: false,
            branch: get("GITHUB_HEAD_REF").or_else(|| get("GITHUB_REF_NAME")),
            actor: get("GITHUB_ACTOR"),
            run_url: repository.as_ref().zip(run_id.as_ref()).map(|(r, id)| format!("{server}/{r}/actions/runs/{id}")),
            run_attempt: get("GITHUB_RUN_ATTEMPT"),
            is_fork_pull_request: is_pull_request && !is_ours,
            event: get("GITHUB_EVENT_NAME"),
            pull_request: event.as_ref().and_then(|e| e["pull_request"]["number"].as_u64()),
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
}
