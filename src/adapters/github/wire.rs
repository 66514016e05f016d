//! One call to GitHub: its attempts, its waits, its pages.

use super::failure::{header, lost, rate_limited, refused, unreadable, unusable};
use crate::adapters::aws::Network;
use crate::adapters::aws::network::deepest;
use crate::adapters::aws::pace::backoff;
use crate::moving::now;
use crate::ports::{Call, CallError, CallErrorKind};
use fargate_deploy_core::redact::Secret;
use http_body_util::{BodyExt as _, Limited};
use hyper::{HeaderMap, Method, Request, Uri};
use octocrab::Octocrab;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A page of a hundred comments of the largest size is half of this.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// How long and how often GitHub is asked.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one attempt.
    pub attempt: Duration,
    pub attempts: u32,
    /// Before the second attempt; it doubles from there.
    pub retry_wait: Duration,
    /// The most that is waited for a rate limit to pass, at once.
    pub limit_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(20),
            attempts: 4,
            retry_wait: Duration::from_millis(500),
            limit_wait: Duration::from_secs(90),
        }
    }
}

/// One request, and whether sending it twice is the same as sending it once.
pub(super) struct Ask<'a> {
    method: Method,
    path: &'a str,
    body: Option<Value>,
    is_repeatable: bool,
}

impl<'a> Ask<'a> {
    fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: None, is_repeatable: true }
    }

    pub(super) fn post(path: &'a str, body: Value) -> Self {
        Self { method: Method::POST, path, body: Some(body), is_repeatable: false }
    }

    pub(super) fn patch(path: &'a str, body: Value) -> Self {
        Self { method: Method::PATCH, path, body: Some(body), is_repeatable: true }
    }

    pub(super) fn repeatable(self) -> Self {
        Self { is_repeatable: true, ..self }
    }

    fn lost(&self, why: impl Into<String>) -> CallError {
        lost(self.method.as_str(), self.path, why)
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct Wire {
    octocrab: Octocrab,
    /// The path of the API's address: empty on github.com, `/api/v3` on GitHub Enterprise Server.
    base: String,
    graphql: String,
    patience: Patience,
}

impl Wire {
    pub(super) fn new(
        api: &str,
        graphql: Option<&str>,
        token: &Secret,
        network: &Network,
        patience: Patience,
    ) -> Call<Self> {
        let no_address = || unusable("`GITHUB_API_URL`", "expected `https://HOST[/PATH]`");
        let uri: Uri = api.parse().map_err(|_| no_address())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(no_address()) };
        if !matches!(scheme, "http" | "https") {
            return Err(no_address());
        }
        // octocrab puts the token into a header unasked whether it can be in one.
        if !token.expose().bytes().all(|b| b.is_ascii_graphic()) {
            return Err(unusable("the GitHub token", "it has characters that no token has"));
        }
        let octocrab = Octocrab::builder()
            // Only the host: octocrab would put the API's path before that of GraphQL, which is beside it.
            .base_uri(format!("{scheme}://{authority}"))
            .map_err(|_| no_address())?
            .personal_token(token.expose().to_owned())
            .build_with_reqwest(network.http().clone())
            .map_err(|e| unusable("the GitHub client", &deepest(&e)))?;
        let base = uri.path().trim_end_matches('/').to_owned();
        let graphql = graphql.and_then(|url| url.parse::<Uri>().ok()).filter(|url| url.authority() == Some(authority));
        // <https://docs.github.com/en/enterprise-server/graphql/guides/forming-calls-with-graphql#the-graphql-endpoint>
        let graphql = graphql.map_or_else(
            || match base.strip_suffix("/v3") {
                Some(beside) => format!("{beside}/graphql"),
                None => format!("{base}/graphql"),
            },
            |url| url.path().to_owned(),
        );
        Ok(Self { octocrab, base, graphql, patience })
    }

    /// A call with one answer.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Call<Value> {
        let answer = self.attempts(&format!("{}{}", self.base, ask.path), ask).await?;
        read(&answer, ask)
    }

    /// The items of every page, following the links that GitHub gives.
    /// <https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api>
    pub(super) async fn pages(&self, first: &str, most: usize) -> Call<Vec<Value>> {
        let ask = Ask::get(first);
        let mut items = vec![];
        let mut next = Some(format!("{}{first}", self.base));
        for _ in 0..most {
            let Some(path) = next else { return Ok(items) };
            let answer = self.attempts(&path, &ask).await?;
            next = header(&answer.headers, "link").and_then(next_page);
            match read(&answer, &ask)? {
                Value::Array(page) => items.extend(page),
                _ => return Err(unreadable("GET", first, "it is no list")),
            }
        }
        match next {
            None => Ok(items),
            Some(_) => Err(unreadable("GET", first, &format!("there are more than {most} pages"))),
        }
    }

    /// A query; what it answers is its `data`.
    pub(super) async fn graphql(&self, what: &str, query: &str, variables: &Value) -> Call<Value> {
        let path = format!("/graphql#{what}");
        let ask = Ask::post(&path, json!({"query": query, "variables": variables})).repeatable();
        let answer = self.attempts(&self.graphql, &ask).await?;
        let mut answer = read(&answer, &ask)?;
        let error = answer["errors"][0].clone();
        // Nodes that are gone are errors beside the data.
        if answer["data"]["viewer"].is_null() {
            let kind = if error["type"] == "RATE_LIMITED" { CallErrorKind::Throttled } else { CallErrorKind::Denied };
            let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            return Err(CallError { kind, code: text("type"), ..ask.lost(text("message")) });
        }
        Ok(answer["data"].take())
    }

    async fn attempts(&self, path: &str, ask: &Ask<'_>) -> Call<Answer> {
        let mut attempt = 1;
        loop {
            let (error, wait) = match self.once(path, ask).await {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer),
                Ok(Answer { status, headers, body }) => {
                    let error = refused(ask.method.as_str(), ask.path, status, &headers, &body);
                    match rate_limited(status, &headers, &body, now()) {
                        // Refused before it did anything: any call may come again.
                        Some(wait) => {
                            let wait = (wait <= self.patience.limit_wait).then_some(wait);
                            (CallError { kind: CallErrorKind::Throttled, ..error }, wait)
                        }
                        None => self.if_repeatable(error, attempt, ask),
                    }
                }
                Err(error) => self.if_repeatable(error, attempt, ask),
            };
            attempt += 1;
            match wait {
                Some(wait) if attempt <= self.patience.attempts => sleep(wait).await,
                _ => return Err(error),
            }
        }
    }

    fn if_repeatable(&self, error: CallError, attempt: u32, ask: &Ask<'_>) -> (CallError, Option<Duration>) {
        let comes_again = ask.is_repeatable && error.kind == CallErrorKind::Unreachable;
        let wait = comes_again.then(|| backoff(attempt + 1, self.patience.retry_wait, self.patience.limit_wait));
        (error, wait)
    }

    async fn once(&self, path: &str, ask: &Ask<'_>) -> Call<Answer> {
        let request = Request::builder()
            .method(ask.method.clone())
            .uri(path)
            .header("accept", "application/vnd.github+json")
            .header("accept-encoding", "identity");
        let request =
            self.octocrab.build_request(request, ask.body.as_ref()).map_err(|e| unusable(path, &deepest(&e)))?;
        let exchange = async {
            let response = self.octocrab.execute(request).await.map_err(|e| ask.lost(deepest(&e)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|e| ask.lost(deepest(e.as_ref())))?;
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes().to_vec() })
        };
        let late = |_| ask.lost(format!("no answer within {} s", self.patience.attempt.as_secs_f64()));
        timeout(self.patience.attempt, exchange).await.map_err(late)?
    }
}

fn read(answer: &Answer, ask: &Ask<'_>) -> Call<Value> {
    serde_json::from_slice(&answer.body).map_err(|e| unreadable(ask.method.as_str(), ask.path, &e.to_string()))
}

/// Path and query of the next page. The host is not taken from an answer: the token goes to no other.
fn next_page(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let url: Uri = next.split_once('<')?.1.split_once('>')?.0.parse().ok()?;
    Some(url.path_and_query()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_a_path_on_our_own_host() {
        let link = "<https://elsewhere/api/v3/repositories/1/issues/7/comments?per_page=100&page=1>; rel=\"prev\", \
            <https://elsewhere/api/v3/repositories/1/issues/7/comments?per_page=100&page=3>; rel=\"next\"";
        assert_eq!(next_page(link).as_deref(), Some("/api/v3/repositories/1/issues/7/comments?per_page=100&page=3"));
        assert_eq!(next_page("<https://x/y?page=1>; rel=\"first\""), None);
        assert_eq!(next_page("nonsense"), None);
    }
}
