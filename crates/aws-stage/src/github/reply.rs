//! Answers in GitHub's words.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use crate::faults::FaultAction;
use crate::request::{epoch_seconds, random_hex};

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Reply {
    pub(super) fn new(status: u16, body: Value) -> Self {
        Self { status, headers: vec![], body }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn response(self) -> Response {
        let mut response = Response::new(Body::from(self.body.to_string()));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        let request_id = ("x-github-request-id", random_hex(8).to_uppercase());
        for (name, value) in self.headers.into_iter().chain([request_id]) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

fn error(status: u16, message: &str, page: &str) -> Reply {
    let documentation = format!("https://docs.github.com/{page}");
    Reply::new(status, json!({"message": message, "documentation_url": documentation, "status": status.to_string()}))
}

pub(super) fn bad_credentials() -> Reply {
    error(401, "Bad credentials", "rest")
}

pub(super) fn not_found() -> Reply {
    error(404, "Not Found", "rest")
}

/// The token lacks a permission: GitHub names those that would do.
pub(super) fn not_accessible(needs: &[(&str, &str)]) -> Reply {
    let wanted: Vec<_> = needs.iter().map(|(name, access)| format!("{name}={access}")).collect();
    error(403, "Resource not accessible by integration", "rest")
        .with("x-accepted-github-permissions", &wanted.join("; "))
}

pub(super) fn invalid(resource: &str, field: &str, message: &str) -> Reply {
    let wrong = json!({"resource": resource, "code": "unprocessable", "field": field, "message": message});
    Reply::new(
        422,
        json!({
            "message": "Validation Failed", "errors": [wrong], "documentation_url": "https://docs.github.com/rest",
            "status": "422",
        }),
    )
}

pub(super) fn conflict(message: &str) -> Reply {
    error(409, message, "rest/deployments/deployments#create-a-deployment")
}

/// The answer that a fault gives, if it is one that answers: a throttled call exceeds a secondary rate limit, a 429 the
/// primary one, for a second.
pub(super) fn injected(action: &FaultAction) -> Option<Reply> {
    const LIMITS: &str = "rest/using-the-rest-api/rate-limits-for-the-rest-api";
    Some(match action {
        FaultAction::Throttle => {
            let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
            error(403, message, LIMITS).with("retry-after", "1")
        }
        FaultAction::Status(429) => error(429, "API rate limit exceeded for installation.", LIMITS)
            .with("x-ratelimit-remaining", "0")
            .with("x-ratelimit-reset", &format!("{:.0}", epoch_seconds().ceil() + 1.0)),
        FaultAction::Status(status) => error(*status, "Server Error", "rest"),
        FaultAction::AccessDenied => not_accessible(&[]),
        FaultAction::ExpireSession => bad_credentials(),
        FaultAction::Error { message, status, .. } => error(*status, message, "rest"),
        FaultAction::Delay { .. } | FaultAction::DropAfterEffect | FaultAction::DropBefore => return None,
    })
}

/// The repository is elsewhere now: the same request is answered at `location`.
pub(super) fn moved(status: u16, location: &str) -> Reply {
    let message = if status == 301 { "Moved Permanently" } else { "Temporary Redirect" };
    Reply::new(status, json!({"message": message, "url": location})).with("location", location)
}

/// A person has locked the conversation. GitHub names the endpoint's permissions here too.
pub(super) fn locked() -> Reply {
    error(403, "Unable to create comment because issue is locked.", "rest/issues/comments#create-an-issue-comment")
        .with("x-accepted-github-permissions", "issues=write; pull_requests=write")
}

/// An account, as answers show it.
pub(super) fn account(login: &str) -> Value {
    let name = login.strip_suffix("[bot]").unwrap_or(login);
    let url = format!("https://api.github.com/users/{name}");
    json!({
        "login": login, "id": 41_898_282, "node_id": "MDM6Qm90", "avatar_url": format!("https://avatars.test/{name}"),
        "gravatar_id": "", "url": url, "html_url": format!("https://github.com/{name}"),
        "followers_url": format!("{url}/followers"), "following_url": format!("{url}/following"),
        "gists_url": format!("{url}/gists"), "starred_url": format!("{url}/starred"),
        "subscriptions_url": format!("{url}/subscriptions"), "organizations_url": format!("{url}/orgs"),
        "repos_url": format!("{url}/repos"), "events_url": format!("{url}/events"),
        "received_events_url": format!("{url}/received_events"),
        "type": if login.ends_with("[bot]") { "Bot" } else { "User" }, "site_admin": false,
    })
}
