//! GitHub's API, as far as a release needs it: the repository of the run, with the job's token.
//!
//! octocrab signs the requests and speaks through the program's own HTTP client, so that proxies and certificate
//! authorities are those of every other call. What is repeated, and when, is decided in [`wire`].
//! <https://docs.github.com/en/rest>

mod failure;
mod wire;

use crate::adapters::aws::Network;
use crate::events::{Event, Sink};
use crate::ports::{Call, CallError, CallErrorKind, GitHub, PullRequest};
use async_trait::async_trait;
use failure::unreadable;
use fargate_deploy_core::comment::{Comment, Viewer};
use fargate_deploy_core::deployment::{DeploymentStatus, NewDeployment};
use fargate_deploy_core::redact::Secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wire::{Ask, Wire};

pub use wire::Patience;

/// The most that GitHub gives on one page.
const PER_PAGE: usize = 100;

/// More comments than this is no conversation: 100 pages.
const MOST_PAGES: usize = 100;

/// GitHub, for one repository.
#[derive(Clone, Debug)]
pub struct GitHubApi {
    wire: Wire,
    /// `/repos/OWNER/NAME`, after the path of the API's address.
    repository: String,
}

impl GitHubApi {
    /// From `GITHUB_API_URL`, `GITHUB_GRAPHQL_URL`, `GITHUB_REPOSITORY` and the token. `None` where there is no token or no
    /// repository: then nothing is to be told to GitHub. The token is masked before it is used. Must be called within
    /// the runtime that will make the calls.
    ///
    /// # Errors
    /// `Invalid`: an address that is none, a token that cannot be one.
    pub fn from_env(
        env: &BTreeMap<String, String>,
        network: &Network,
        patience: Patience,
        sink: &dyn Sink,
    ) -> Call<Option<Self>> {
        let value = |name: &str| env.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
        let (Some(token), Some(repository)) = (token(env), value("GITHUB_REPOSITORY")) else { return Ok(None) };
        sink.emit(Event::Mask(token.clone()));
        let api = value("GITHUB_API_URL").unwrap_or("https://api.github.com");
        let wire = Wire::new(api, value("GITHUB_GRAPHQL_URL"), &token, network, patience)?;
        Ok(Some(Self { wire, repository: format!("/repos/{repository}") }))
    }

    fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.repository)
    }
}

/// The input `github-token`, else `GITHUB_TOKEN`. Never an argument of the command line, which other processes can read.
fn token(env: &BTreeMap<String, String>) -> Option<Secret> {
    ["INPUT_GITHUB-TOKEN", "GITHUB_TOKEN"]
        .into_iter()
        .find_map(|name| env.get(name).map(|v| v.trim()).filter(|v| !v.is_empty()))
        .map(Secret::new)
}

#[async_trait(?Send)]
impl GitHub for GitHubApi {
    async fn viewer(&self, comments: &[&Comment]) -> Call<Viewer> {
        let ids: Vec<_> = comments.iter().map(|comment| comment.node.as_str()).collect();
        let query = "query($ids:[ID!]!){viewer{login} nodes(ids:$ids){...on IssueComment{id isMinimized}}}";
        let asked = self.wire.graphql("viewer", query, &json!({"ids": ids})).await;
        let answer = match asked {
            // A token that may not ask who it is belongs to a job; a server may have no GraphQL for it to ask.
            Err(CallError {
                kind: CallErrorKind::Denied | CallErrorKind::Invalid | CallErrorKind::NotFound, ..
            }) => {
                json!({})
            }
            answer => answer?,
        };
        let nodes = answer["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let minimized = nodes.iter().filter(|node| node["isMinimized"] == true);
        Ok(Viewer {
            login: answer["viewer"]["login"].as_str().unwrap_or(Viewer::OF_A_JOB).to_owned(),
            minimized: minimized.filter_map(|node| node["id"].as_str()).map(str::to_owned).collect(),
        })
    }

    async fn comments(&self, pull_request: u64) -> Call<Vec<Comment>> {
        let first = self.path(&format!("/issues/{pull_request}/comments?per_page={PER_PAGE}"));
        let pages = self.wire.pages(&first, MOST_PAGES).await?;
        Ok(pages.iter().filter_map(comment).collect())
    }

    async fn create_comment(&self, pull_request: u64, body: &str) -> Call<Comment> {
        let path = self.path(&format!("/issues/{pull_request}/comments"));
        let answer = self.wire.ask(&Ask::post(&path, json!({ "body": body }))).await?;
        comment(&answer).ok_or_else(|| unreadable("POST", &path, "there is no comment in it"))
    }

    async fn update_comment(&self, id: u64, body: &str) -> Call<()> {
        let path = self.path(&format!("/issues/comments/{id}"));
        self.wire.ask(&Ask::patch(&path, json!({ "body": body }))).await.map(|_| ())
    }

    async fn pull_requests_of(&self, sha: &str) -> Call<Vec<PullRequest>> {
        let first = self.path(&format!("/commits/{}/pulls?per_page={PER_PAGE}", segment(sha)));
        let pages = self.wire.pages(&first, MOST_PAGES).await?;
        Ok(pages.iter().filter_map(pull_request).collect())
    }

    async fn create_deployment(&self, deployment: &NewDeployment) -> Call<u64> {
        let path = self.path("/deployments");
        let body = json!({
            "ref": deployment.sha,
            "task": "deploy",
            "environment": deployment.environment,
            "production_environment": deployment.is_production,
            "description": deployment.description,
            "auto_merge": false,
            "required_contexts": [],
        });
        let answer = self.wire.ask(&Ask::post(&path, body)).await?;
        answer["id"].as_u64().ok_or_else(|| unreadable("POST", &path, "there is no deployment in it"))
    }

    async fn set_deployment_status(&self, deployment: u64, status: &DeploymentStatus) -> Call<()> {
        let path = self.path(&format!("/deployments/{deployment}/statuses"));
        let mut body = json!({
            "state": status.state.word(),
            "description": status.description,
            "auto_inactive": status.auto_inactive,
        });
        for (name, url) in [("log_url", &status.log_url), ("environment_url", &status.environment_url)] {
            if let Some(url) = url {
                body[name] = json!(url);
            }
        }
        // The last status counts: saying it twice changes nothing.
        self.wire.ask(&Ask::post(&path, body).repeatable()).await.map(|_| ())
    }
}

fn comment(value: &Value) -> Option<Comment> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(Comment {
        id: value["id"].as_u64()?,
        node: text(&value["node_id"]),
        author: text(&value["user"]["login"]),
        body: text(&value["body"]),
        is_minimized: None,
    })
}

fn pull_request(value: &Value) -> Option<PullRequest> {
    Some(PullRequest {
        number: value["number"].as_u64()?,
        is_open: value["state"] == "open",
        is_merged: value["merged_at"].is_string(),
        head: value["head"]["sha"].as_str()?.to_owned(),
        base: value["base"]["ref"].as_str()?.to_owned(),
    })
}

/// What a commit is called, within a path.
fn segment(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect()
}
