//! GitHub's REST API, and the one GraphQL query that we need: comments on pull requests, the pull requests of a commit,
//! Deployments with their statuses. One repository, any number of tokens.
//!
//! It answers below `/api/v3` as GitHub Enterprise Server does, and without that prefix as github.com does.
//! <https://docs.github.com/en/rest>

mod deployments;
mod issues;
mod reply;
mod standalone;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::call_log::{CallLog, CallRecord};
use super::faults::ConnectionDropped;
use super::faults::{FaultAction, Faults, Ruling};
use super::request::{lock, random_hex};
use reply::Reply;

pub use deployments::{Deployment, Status};
pub use issues::Comment;
pub use standalone::Standalone;

/// What a token may do: `none`, `read` or `write` of each permission that it has.
pub type Permissions = BTreeMap<String, String>;

/// Who a token belongs to.
#[derive(Clone, Debug)]
pub struct Account {
    /// As REST names it: an app's ends with `[bot]`.
    pub login: String,
    /// See [`Permissions`].
    pub permissions: Permissions,
}

/// A pull request of the repository.
#[derive(Clone, Debug, PartialEq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// The commit at its head.
    pub head: String,
    /// The commit that it was merged as.
    pub merged_as: Option<String>,
}

/// The state behind the API.
#[derive(Debug)]
pub struct GitHub {
    token: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `owner/name`.
    repository: String,
    repository_id: u64,
    accounts: BTreeMap<String, Account>,
    pulls: Vec<PullRequest>,
    comments: Vec<Comment>,
    deployments: Vec<Deployment>,
    last_id: u64,
    largest_page: usize,
    /// Issues whose conversation a person has locked.
    locked: BTreeSet<u64>,
    /// The name before a rename, and the status that its requests are redirected with.
    renamed_from: Option<(String, u16)>,
}

impl State {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl GitHub {
    /// A repository, and a job's token that may write to everything.
    #[must_use]
    pub fn new(repository: &str, repository_id: u64) -> Self {
        let token = format!("ghs_{}", random_hex(18));
        let everything = ["contents", "pull_requests", "deployments"];
        let permissions = everything.map(|name| (name.to_owned(), "write".to_owned())).into();
        let job = Account { login: "github-actions[bot]".to_owned(), permissions };
        let state = State {
            repository: repository.to_owned(),
            repository_id,
            accounts: BTreeMap::from([(token.clone(), job)]),
            pulls: vec![],
            comments: vec![],
            deployments: vec![],
            last_id: 3_000_000_000,
            largest_page: 100,
            locked: BTreeSet::new(),
            renamed_from: None,
        };
        Self { token, state: Mutex::new(state) }
    }

    /// The job's own token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Says who a token is and what it may do: `[("pull_requests", "write")]`.
    pub fn set_account(&self, token: &str, login: &str, permissions: &[(&str, &str)]) {
        let permissions = permissions.iter().map(|(name, access)| ((*name).to_owned(), (*access).to_owned())).collect();
        lock(&self.state).accounts.insert(token.to_owned(), Account { login: login.to_owned(), permissions });
    }

    /// Opens a pull request.
    pub fn add_pull_request(&self, pull_request: PullRequest) {
        lock(&self.state).pulls.push(pull_request);
    }

    /// A comment by anybody: its id.
    pub fn add_comment(&self, issue: u64, author: &str, body: &str) -> u64 {
        let mut state = lock(&self.state);
        let id = state.next_id();
        state.comments.push(Comment::new(id, issue, author, body));
        id
    }

    /// Folds a comment away, or unfolds it.
    pub fn minimize(&self, comment: u64, is_minimized: bool) {
        for found in lock(&self.state).comments.iter_mut().filter(|found| found.id == comment) {
            found.is_minimized = is_minimized;
        }
    }

    /// Locks the conversation of an issue or pull request: nobody can add a comment.
    pub fn lock_conversation(&self, issue: u64) {
        lock(&self.state).locked.insert(issue);
    }

    /// Renames the repository: requests by the old name are redirected to its number, with this status.
    pub fn rename(&self, to: &str, redirect: u16) {
        let mut state = lock(&self.state);
        let before = std::mem::replace(&mut state.repository, to.to_owned());
        state.renamed_from = Some((before, redirect));
    }

    /// The most items that a page has, whatever is asked for.
    pub fn set_largest_page(&self, items: usize) {
        lock(&self.state).largest_page = items;
    }

    /// The comments of one issue or pull request, oldest first.
    #[must_use]
    pub fn comments(&self, issue: u64) -> Vec<Comment> {
        lock(&self.state).comments.iter().filter(|comment| comment.issue == issue).cloned().collect()
    }

    /// Every Deployment with its statuses, oldest first.
    #[must_use]
    pub fn deployments(&self) -> Vec<Deployment> {
        lock(&self.state).deployments.clone()
    }

    /// What a step of the job finds in its environment, the API being at `root`.
    #[must_use]
    pub fn env(&self, root: &str) -> Vec<(String, String)> {
        let repository = lock(&self.state).repository.clone();
        [
            ("GITHUB_API_URL", format!("{root}/api/v3")),
            ("GITHUB_GRAPHQL_URL", format!("{root}/api/graphql")),
            ("GITHUB_REPOSITORY", repository),
            ("GITHUB_TOKEN", self.token.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Answers one request below `prefix`, with its faults and its place in the log of calls.
    pub(super) async fn respond(
        &self,
        prefix: &str,
        head: &Parts,
        body: &[u8],
        faults: &Faults,
        call_log: &CallLog,
    ) -> Result<Response, ConnectionDropped> {
        let request = Request::read(prefix, head, body);
        let operation = request.route.as_ref().map_or("Unknown", Route::operation);
        let Ruling { delay, action } = faults.rule("github", operation);
        tokio::time::sleep(delay).await;
        let reply = match action.as_ref().and_then(reply::injected) {
            _ if action == Some(FaultAction::DropBefore) => None,
            Some(reply) => Some(reply),
            None => Some(self.answer(&request)),
        };
        let reply = reply.filter(|_| action != Some(FaultAction::DropAfterEffect));
        call_log.record(CallRecord {
            time: jiff::Timestamp::now(),
            service: "github".to_owned(),
            operation: operation.to_owned(),
            mutating: head.method != Method::GET && operation != "QueryViewer",
            caller: lock(&self.state).accounts.get(&request.token).map_or(String::new(), |a| a.login.clone()),
            status: reply.as_ref().map_or(0, |reply| reply.status),
            error: None,
        });
        Ok(reply.ok_or(ConnectionDropped)?.response())
    }

    fn answer(&self, request: &Request) -> Reply {
        let mut state = lock(&self.state);
        let Some(account) = state.accounts.get(&request.token).cloned() else { return reply::bad_credentials() };
        let Some(route) = &request.route else { return reply::not_found() };
        if let Some((before, status)) = &state.renamed_from
            && request.repository.as_ref() == Some(before)
        {
            let query = if request.raw_query.is_empty() { String::new() } else { format!("?{}", request.raw_query) };
            let rest = format!("{}{query}", request.repository_path);
            return reply::moved(*status, &format!("{}/repositories/{}/{rest}", request.root, state.repository_id));
        }
        if let Some(repository) = &request.repository
            && *repository != state.repository
            && *repository != state.repository_id.to_string()
        {
            return reply::not_found();
        }
        if let Some(refusal) = route.needs().and_then(|needs| refusal(&account, needs)) {
            return refusal;
        }
        match route {
            Route::Viewer => viewer(&state, &account, &request.body),
            Route::ListComments(issue) => issues::list(&state, *issue, request),
            Route::CreateComment(issue) => issues::create(&mut state, *issue, &account.login, &request.body),
            Route::UpdateComment(id) => issues::update(&mut state, *id, &request.body),
            Route::PullRequestsOf(sha) => issues::pull_requests_of(&state, sha, request),
            Route::CreateDeployment => deployments::create(&mut state, &account.login, &request.body),
            Route::CreateStatus(id) => deployments::set_status(&mut state, *id, &request.body),
            Route::ListStatuses(id) => deployments::statuses(&state, *id, request),
        }
    }
}

fn refusal(account: &Account, needs: &[(&str, &str)]) -> Option<Reply> {
    let has = |(name, access): &(&str, &str)| {
        account.permissions.get(*name).is_some_and(|given| given == "write" || given == access)
    };
    (!needs.iter().any(has)).then(|| reply::not_accessible(needs))
}

/// GraphQL names an app without its `[bot]`.
fn viewer(state: &State, account: &Account, body: &Value) -> Reply {
    let login = account.login.strip_suffix("[bot]").unwrap_or(&account.login);
    let ids = body["variables"]["ids"].as_array().cloned().unwrap_or_default();
    let nodes = ids.iter().map(|id| {
        let found = state.comments.iter().find(|comment| *id == comment.node().as_str());
        found.map_or(Value::Null, |comment| json!({"id": comment.node(), "isMinimized": comment.is_minimized}))
    });
    let nodes: Vec<_> = nodes.collect();
    Reply::ok(json!({"data": {"viewer": {"login": login}, "nodes": nodes}}))
}

/// What one request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    Viewer,
    ListComments(u64),
    CreateComment(u64),
    UpdateComment(u64),
    PullRequestsOf(String),
    CreateDeployment,
    CreateStatus(u64),
    ListStatuses(u64),
}

impl Route {
    fn read(method: &Method, path: &[&str]) -> Option<Self> {
        let number = |text: &str| text.parse().ok();
        Some(match (method.as_str(), path) {
            ("GET", ["issues", issue, "comments"]) => Self::ListComments(number(issue)?),
            ("POST", ["issues", issue, "comments"]) => Self::CreateComment(number(issue)?),
            ("PATCH", ["issues", "comments", id]) => Self::UpdateComment(number(id)?),
            ("GET", ["commits", sha, "pulls"]) => Self::PullRequestsOf((*sha).to_owned()),
            ("POST", ["deployments"]) => Self::CreateDeployment,
            ("POST", ["deployments", id, "statuses"]) => Self::CreateStatus(number(id)?),
            ("GET", ["deployments", id, "statuses"]) => Self::ListStatuses(number(id)?),
            _ => return None,
        })
    }

    /// As rules of faults and the log of calls name it.
    fn operation(&self) -> &'static str {
        match self {
            Self::Viewer => "QueryViewer",
            Self::ListComments(_) => "ListComments",
            Self::CreateComment(_) => "CreateComment",
            Self::UpdateComment(_) => "UpdateComment",
            Self::PullRequestsOf(_) => "ListPullRequestsOfCommit",
            Self::CreateDeployment => "CreateDeployment",
            Self::CreateStatus(_) => "CreateDeploymentStatus",
            Self::ListStatuses(_) => "ListDeploymentStatuses",
        }
    }

    /// One of these permissions is enough.
    /// <https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps>
    fn needs(&self) -> Option<&'static [(&'static str, &'static str)]> {
        match self {
            Self::Viewer => None,
            Self::ListComments(_) => Some(&[("issues", "read"), ("pull_requests", "read")]),
            Self::CreateComment(_) | Self::UpdateComment(_) => Some(&[("issues", "write"), ("pull_requests", "write")]),
            Self::PullRequestsOf(_) => Some(&[("pull_requests", "read"), ("contents", "read")]),
            Self::CreateDeployment | Self::CreateStatus(_) => Some(&[("deployments", "write")]),
            Self::ListStatuses(_) => Some(&[("deployments", "read")]),
        }
    }
}

/// One request, taken apart.
struct Request {
    token: String,
    /// `owner/name`, or its number.
    repository: Option<String>,
    route: Option<Route>,
    query: Vec<(String, String)>,
    raw_query: String,
    body: Value,
    /// The address of the API, to which pages link.
    root: String,
    /// What follows the repository in the path.
    repository_path: String,
}

impl Request {
    fn read(prefix: &str, head: &Parts, body: &[u8]) -> Self {
        let path = head.uri.path().strip_prefix(prefix).unwrap_or_default();
        let rest = path.strip_prefix("/api/v3").or_else(|| path.strip_prefix("/api")).unwrap_or(path);
        let base = &head.uri.path()[..head.uri.path().len() - rest.len()];
        let parts: Vec<_> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let (repository, route) = match parts.as_slice() {
            ["graphql"] if head.method == Method::POST && !path.starts_with("/api/v3") => (None, Some(Route::Viewer)),
            ["repos", owner, name, rest @ ..] => (Some(format!("{owner}/{name}")), Route::read(&head.method, rest)),
            ["repositories", id, rest @ ..] => (Some((*id).to_owned()), Route::read(&head.method, rest)),
            _ => (None, None),
        };
        let host = text_of(&head.headers, header::HOST.as_str());
        Self {
            token: token(&head.headers),
            repository,
            route,
            query: form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
            raw_query: head.uri.query().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(body).unwrap_or_default(),
            root: format!("http://{host}{base}"),
            repository_path: parts
                .get(if parts.first() == Some(&"repos") { 3.. } else { 2.. })
                .unwrap_or_default()
                .join("/"),
        }
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.query.iter().find(|(n, _)| n == name)?.1.parse().ok()
    }

    /// One page of `items`, with links to the others. A page that links gives goes by the repository's number.
    fn page(&self, state: &State, items: &[Value]) -> Reply {
        let per_page = self.number("per_page").unwrap_or(30).clamp(1, 100).min(state.largest_page);
        let page = self.number("page").unwrap_or(1).max(1);
        let last = items.len().div_ceil(per_page).max(1);
        let start = items.len().min((page - 1) * per_page);
        let shown = &items[start..items.len().min(start + per_page)];
        let rest = &self.repository_path;
        let url = |page: usize| {
            format!("{}/repositories/{}/{rest}?per_page={per_page}&page={page}", self.root, state.repository_id)
        };
        let mut links = vec![];
        if page > 1 {
            links.push(format!("<{}>; rel=\"prev\"", url(page - 1)));
        }
        if page < last {
            links.push(format!("<{}>; rel=\"next\"", url(page + 1)));
            links.push(format!("<{}>; rel=\"last\"", url(last)));
        }
        if page > 1 {
            links.push(format!("<{}>; rel=\"first\"", url(1)));
        }
        let reply = Reply::ok(Value::Array(shown.to_vec()));
        if links.is_empty() { reply } else { reply.with("link", &links.join(", ")) }
    }
}

fn token(headers: &HeaderMap) -> String {
    let value = text_of(headers, header::AUTHORIZATION.as_str());
    let token =
        value.split_once(' ').filter(|(scheme, _)| ["bearer", "token"].contains(&&*scheme.to_ascii_lowercase()));
    token.map_or(String::new(), |(_, token)| token.to_owned())
}

fn text_of(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
