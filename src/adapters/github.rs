//! GitHub's API, as far as a release needs it: the repository of the run, with the job's token.
//!
//! octocrab's typed calls, on a [`Transport`] of ours: proxies and certificate authorities are those of every other call, and
//! what is repeated, and when, is decided there. Lists are read into rows of our own ([`CommentRow`], [`PullRequestRow`]):
//! octocrab's models refuse a whole page when one account in it was deleted.
//! <https://docs.github.com/en/rest>

mod failure;
mod transport;

use crate::adapters::aws::Network;
use crate::adapters::network::deepest;
use crate::events::{Event, Sink};
use crate::ports::{Call, CallError, CallErrorKind, GitHub, PullRequest};
use async_trait::async_trait;
use failure::{unreadable, unusable};
use fargate_deploy_core::comment::{Comment, Viewer};
use fargate_deploy_core::github_deployment::{DeploymentState, DeploymentStatus, NewDeployment};
use fargate_deploy_core::redact::Secret;
use octocrab::models::DeploymentStatusState;
use octocrab::{AuthState, Octocrab, OctocrabBuilder, Page};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use transport::{GRAPHQL, Transport};

pub use transport::Patience;

/// The most that GitHub gives on one page.
const PER_PAGE: u8 = 100;

/// More comments than this is no conversation: 100 pages.
const MOST_PAGES: usize = 100;

/// GitHub, for one repository.
#[derive(Clone, Debug)]
pub struct GitHubApi {
    octocrab: Octocrab,
    owner: String,
    name: String,
}

impl GitHubApi {
    /// From `GITHUB_API_URL`, `GITHUB_GRAPHQL_URL`, `GITHUB_REPOSITORY` and the token. `None` where there is no token or no
    /// repository: then GitHub is told nothing. The token is masked before it is used. Must be called within the runtime
    /// that will make the calls.
    ///
    /// # Errors
    /// `Invalid`: an address or a repository that is none, a token that cannot be one.
    pub fn from_env(
        env: &BTreeMap<String, String>,
        network: &Network,
        patience: Patience,
        sink: &dyn Sink,
    ) -> Call<Option<Self>> {
        let value = |name: &str| env.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
        let (Some(token), Some(repository)) = (token(env), value("GITHUB_REPOSITORY")) else { return Ok(None) };
        sink.emit(Event::Mask(token.clone()));
        let (owner, name) =
            repository.split_once('/').ok_or_else(|| unusable("`GITHUB_REPOSITORY`", "expected `OWNER/NAME`"))?;
        let api = value("GITHUB_API_URL").unwrap_or("https://api.github.com");
        let transport = Transport::new(api, value("GITHUB_GRAPHQL_URL"), &token, network, patience)?;
        // The transport adds the address and the token.
        let Ok(octocrab) = OctocrabBuilder::new_empty().with_service(transport).with_auth(AuthState::None).build();
        Ok(Some(Self { octocrab, owner: owner.to_owned(), name: name.to_owned() }))
    }

    fn path(&self, rest: &str) -> String {
        format!("/repos/{}/{}{rest}", self.owner, self.name)
    }

    /// The items of every page, following the links that GitHub gives.
    /// <https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api>
    async fn pages<T: DeserializeOwned>(&self, path: &str) -> Call<Vec<T>> {
        let failed = |error| call_error("GET", path, error);
        let mut page: Page<T> = self.octocrab.get(path, Some(&[("per_page", PER_PAGE)])).await.map_err(failed)?;
        let mut items = page.take_items();
        for _ in 1..MOST_PAGES {
            match self.octocrab.get_page(&page.next).await.map_err(failed)? {
                None => return Ok(items),
                Some(next) => page = next,
            }
            items.extend(page.take_items());
        }
        match page.next {
            None => Ok(items),
            Some(_) => Err(unreadable("GET", path, &format!("there are more than {MOST_PAGES} pages"))),
        }
    }
}

/// The input `github-token`, else `GITHUB_TOKEN`. Never an argument of the command line, which other processes can read.
fn token(env: &BTreeMap<String, String>) -> Option<Secret> {
    ["INPUT_GITHUB-TOKEN", "GITHUB_TOKEN"]
        .into_iter()
        .find_map(|name| env.get(name).map(|v| v.trim()).filter(|v| !v.is_empty()))
        .map(Secret::new)
}

/// What the transport said, else that octocrab could not read the answer.
fn call_error(method: &str, path: &str, error: octocrab::Error) -> CallError {
    match error {
        octocrab::Error::Service { source, .. } => match source.downcast::<CallError>() {
            Ok(error) => *error,
            Err(source) => failure::lost(method, path, deepest(source.as_ref())),
        },
        other => unreadable(method, path, &deepest(&other)),
    }
}

#[async_trait(?Send)]
impl GitHub for GitHubApi {
    async fn viewer(&self, comments: &[&Comment]) -> Call<Viewer> {
        let ids: Vec<_> = comments.iter().map(|comment| comment.node.as_str()).collect();
        let query = "query($ids:[ID!]!){viewer{login} nodes(ids:$ids){...on IssueComment{id isMinimized}}}";
        let body = json!({"query": query, "variables": {"ids": ids}});
        // octocrab's own `graphql` gives no data where there is an error beside it, as for comments that are gone.
        let asked = self.octocrab.post::<_, Answer>(GRAPHQL, Some(&body)).await;
        let answer = match asked.map_err(|error| call_error("POST", GRAPHQL, error)) {
            Ok(answer) => answer.data()?,
            // A token that may not ask who it is belongs to a job; a server may have no GraphQL for it to ask.
            Err(CallError {
                kind: CallErrorKind::Denied | CallErrorKind::Conflict | CallErrorKind::Invalid | CallErrorKind::NotFound,
                ..
            }) => None,
            Err(error) => return Err(error),
        };
        let Some(answer) = answer else {
            return Ok(Viewer { login: Viewer::OF_A_JOB.to_owned(), minimized: vec![] });
        };
        let minimized = answer.nodes.into_iter().flatten().filter(|node| node.is_minimized == Some(true));
        Ok(Viewer { login: answer.viewer.login, minimized: minimized.filter_map(|node| node.id).collect() })
    }

    async fn comments(&self, pull_request: u64) -> Call<Vec<Comment>> {
        let rows: Vec<CommentRow> = self.pages(&self.path(&format!("/issues/{pull_request}/comments"))).await?;
        Ok(rows.into_iter().map(CommentRow::into).collect())
    }

    async fn create_comment(&self, pull_request: u64, body: &str) -> Call<Comment> {
        let issues = self.octocrab.issues(&self.owner, &self.name);
        let failed = |error| call_error("POST", &self.path(&format!("/issues/{pull_request}/comments")), error);
        let comment = issues.create_comment(pull_request, body).await.map_err(failed)?;
        Ok(Comment {
            id: comment.id.into_inner(),
            node: comment.node_id,
            author: comment.user.login,
            body: comment.body.unwrap_or_default(),
            is_minimized: None,
        })
    }

    async fn update_comment(&self, id: u64, body: &str) -> Call<()> {
        let path = self.path(&format!("/issues/comments/{id}"));
        // octocrab's own sends POST, which GitHub does not document for it.
        let answer = self.octocrab.patch::<CommentRow, _, _>(&path, Some(&json!({ "body": body }))).await;
        answer.map(drop).map_err(|error| call_error("PATCH", &path, error))
    }

    async fn pull_requests_of(&self, sha: &str) -> Call<Vec<PullRequest>> {
        let sha = utf8_percent_encode(sha, NON_ALPHANUMERIC);
        let rows: Vec<PullRequestRow> = self.pages(&self.path(&format!("/commits/{sha}/pulls"))).await?;
        Ok(rows.into_iter().map(PullRequestRow::into).collect())
    }

    async fn create_deployment(&self, deployment: &NewDeployment) -> Call<u64> {
        let repository = self.octocrab.repos(&self.owner, &self.name);
        let deployments = repository.deployments();
        let made = deployments
            .create(&deployment.sha)
            .task("deploy")
            .environment(&deployment.environment)
            .production_environment(deployment.is_production)
            .description(&deployment.description)
            .auto_merge(false)
            .required_contexts(Vec::<String>::new())
            .send()
            .await;
        made.map(|made| made.id.into_inner()).map_err(|error| call_error("POST", &self.path("/deployments"), error))
    }

    async fn set_deployment_status(&self, deployment: u64, status: &DeploymentStatus) -> Call<()> {
        let state = match status.state {
            DeploymentState::InProgress => DeploymentStatusState::InProgress,
            DeploymentState::Success => DeploymentStatusState::Success,
            DeploymentState::Failure => DeploymentStatusState::Failure,
            DeploymentState::Inactive => DeploymentStatusState::Inactive,
        };
        let repository = self.octocrab.repos(&self.owner, &self.name);
        let deployments = repository.deployments();
        let statuses = deployments.statuses(deployment);
        let mut wanted = statuses.create(state).description(&status.description).auto_inactive(status.auto_inactive);
        if let Some(url) = &status.log_url {
            wanted = wanted.log_url(url);
        }
        if let Some(url) = &status.environment_url {
            wanted = wanted.environment_url(url);
        }
        let path = self.path(&format!("/deployments/{deployment}/statuses"));
        wanted.send().await.map(drop).map_err(|error| call_error("POST", &path, error))
    }
}

/// What a comment is read for. Of a deleted account GitHub gives no `user`.
#[derive(Deserialize)]
struct CommentRow {
    id: u64,
    #[serde(default)]
    node_id: Option<String>,
    #[serde(default)]
    user: Option<AccountRow>,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Deserialize)]
struct AccountRow {
    login: String,
}

impl From<CommentRow> for Comment {
    fn from(row: CommentRow) -> Self {
        Self {
            id: row.id,
            node: row.node_id.unwrap_or_default(),
            author: row.user.map(|user| user.login).unwrap_or_default(),
            body: row.body.unwrap_or_default(),
            is_minimized: None,
        }
    }
}

/// What a pull request is read for.
#[derive(Deserialize)]
struct PullRequestRow {
    number: u64,
    state: String,
    #[serde(default)]
    merged_at: Option<String>,
    #[serde(default)]
    merge_commit_sha: Option<String>,
    head: HeadRow,
    base: BaseRow,
}

#[derive(Deserialize)]
struct HeadRow {
    sha: String,
}

#[derive(Deserialize)]
struct BaseRow {
    #[serde(rename = "ref")]
    branch: String,
}

impl From<PullRequestRow> for PullRequest {
    fn from(row: PullRequestRow) -> Self {
        Self {
            number: row.number,
            is_open: row.state == "open",
            is_merged: row.merged_at.is_some(),
            merged_as: row.merge_commit_sha.filter(|_| row.merged_at.is_some()),
            head: row.head.sha,
            base: row.base.branch,
        }
    }
}

/// What GraphQL answers. Errors stand beside data that it could find.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Option<ViewerRow>,
    #[serde(default)]
    errors: Vec<ErrorRow>,
}

#[derive(Deserialize)]
struct ViewerRow {
    viewer: AccountRow,
    #[serde(default)]
    nodes: Vec<Option<NodeRow>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeRow {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    is_minimized: Option<bool>,
}

#[derive(Deserialize)]
struct ErrorRow {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: String,
}

impl Answer {
    /// `None` where the token may not ask.
    fn data(self) -> Call<Option<ViewerRow>> {
        match self.errors.into_iter().next() {
            Some(error) if self.data.is_none() && error.kind.as_deref() == Some("RATE_LIMITED") => Err(CallError {
                kind: CallErrorKind::Throttled,
                code: "RATE_LIMITED".to_owned(),
                ..failure::lost("POST", GRAPHQL, error.message)
            }),
            _ => Ok(self.data),
        }
    }
}
