//! What octocrab's client is put on: the program's own HTTP client, with everything that an answer of GitHub can ask for
//! before it is one. Where the API is, the token, the time for an attempt, redirects, rate limits, and what comes again.

use super::failure::{lost, rate_limited, redirected, refused, unusable};
use crate::adapters::aws::Network;
use crate::adapters::network::deepest;
use crate::clock::now;
use crate::ports::{Call, CallError, CallErrorKind};
use crate::retry::{Again, RetryPolicy, retry};
use bytes::{Bytes, BytesMut};
use fargate_deploy_core::redact::Secret;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use octocrab::OctoBody;
use reqwest::Url;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tower_service::Service;

/// A page of a hundred comments of the largest size is half of this.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// A repository that was renamed and transferred several times answers with one each.
const MOST_REDIRECTS: usize = 5;

/// Where octocrab sends queries, whatever the address of the API.
pub(super) const GRAPHQL: &str = "/graphql";

/// How long and how often GitHub is asked.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one attempt, its redirects included.
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

/// Carries requests to the API at one address, as one account.
#[derive(Clone, Debug)]
pub(super) struct Transport(Arc<Settings>);

#[derive(Debug)]
struct Settings {
    http: reqwest::Client,
    /// `https://api.github.com`, or `https://HOST/api/v3`, without a slash at its end.
    api: String,
    graphql: String,
    authorization: HeaderValue,
    patience: Patience,
}

impl Transport {
    /// # Errors
    /// `Invalid`: an address that is none, a token that cannot be one.
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
        let host = format!("{scheme}://{authority}");
        let base = uri.path().trim_end_matches('/');
        let graphql = graphql.and_then(|url| url.parse::<Uri>().ok()).filter(|url| url.authority() == Some(authority));
        // <https://docs.github.com/en/enterprise-server/graphql/guides/forming-calls-with-graphql#the-graphql-endpoint>
        let graphql = graphql.map_or_else(
            || format!("{}{GRAPHQL}", base.strip_suffix("/v3").unwrap_or(base)),
            |url| url.path().to_owned(),
        );
        let unusual = || unusable("the GitHub token", "it has characters that no token has");
        if !token.expose().bytes().all(|b| b.is_ascii_graphic()) {
            return Err(unusual());
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| unusual())?;
        authorization.set_sensitive(true);
        Ok(Self(Arc::new(Settings {
            http: network.http().clone(),
            api: format!("{host}{base}"),
            graphql: format!("{host}{graphql}"),
            authorization,
            patience,
        })))
    }
}

impl Service<Request<OctoBody>> for Transport {
    type Response = Response<Full<Bytes>>;
    /// Whatever is no success: octocrab hands it through as it is.
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Call<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Call<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<OctoBody>) -> Self::Future {
        let settings = Arc::clone(&self.0);
        Box::pin(async move {
            let ask = settings.outgoing(request).await?;
            let policy = RetryPolicy {
                attempts: Some(settings.patience.attempts),
                first_wait: settings.patience.retry_wait,
                longest_wait: settings.patience.limit_wait,
            };
            let attempt = |limit| settings.attempt(&ask, limit);
            retry(policy, attempt, |failed: &Failed| failed.again, |_| {}).await.map_err(|failed| failed.error)
        })
    }
}

/// One request, and whether sending it twice is the same as sending it once.
struct Outgoing {
    method: Method,
    /// As errors name it.
    path: String,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    is_repeatable: bool,
}

impl Outgoing {
    fn lost(&self, why: impl Into<String>) -> CallError {
        lost(self.method.as_str(), &self.path, why)
    }
}

/// An attempt that gave no answer to use.
struct Failed {
    error: CallError,
    again: Again,
}

impl Failed {
    fn for_good(error: CallError) -> Self {
        Self { error, again: Again::Never }
    }

    /// It may have had its effect: only what changes nothing by coming twice comes again.
    fn of(error: CallError, ask: &Outgoing) -> Self {
        let comes_again = ask.is_repeatable && error.kind == CallErrorKind::Unreachable;
        Self { error, again: if comes_again { Again::Soon } else { Again::Never } }
    }
}

impl Settings {
    async fn outgoing(&self, request: Request<OctoBody>) -> Call<Outgoing> {
        let (head, body) = request.into_parts();
        let wanted = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = match head.uri.authority() {
            // The next page, from a link in an answer. The host is not taken from there: the token goes to no other.
            Some(_) => Url::parse(&self.api).and_then(|api| api.join(wanted)),
            None if wanted == GRAPHQL => Url::parse(&self.graphql),
            None => Url::parse(&format!("{}{wanted}", self.api)),
        };
        let path = head.uri.path().to_owned();
        let unusable = |why: String| unusable(&format!("{} {path}", head.method), &why);
        let mut headers = head.headers;
        headers.remove(CONTENT_LENGTH);
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(AUTHORIZATION, self.authorization.clone());
        let url = url.map_err(|e| unusable(e.to_string()))?;
        let body = body.collect().await.map_err(|e| unusable(deepest(&e)))?.to_bytes();
        // The last status of a Deployment counts: saying it twice changes nothing.
        let is_repeatable = head.method != Method::POST || path == GRAPHQL || path.ends_with("/statuses");
        Ok(Outgoing { method: head.method, path, url, headers, body, is_repeatable })
    }

    async fn attempt(&self, ask: &Outgoing, limit: Duration) -> Result<Response<Full<Bytes>>, Failed> {
        let limit = limit.min(self.patience.attempt);
        let late = format!("no answer within {} s", limit.as_secs_f64());
        match timeout(limit, self.follow(ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failed::of(ask.lost(late), ask)),
        }
    }

    /// The same request wherever GitHub says that the repository is now.
    /// <https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects>
    async fn follow(&self, ask: &Outgoing) -> Result<Response<Full<Bytes>>, Failed> {
        let mut url = ask.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let (status, headers, body) = self.send(&url, ask).await?;
            if let Some(location) = redirected(status, &headers) {
                url = next(&url, location).map_err(|why| Failed::for_good(ask.lost(why)))?;
                continue;
            }
            if (200..300).contains(&status) {
                let mut answer = Response::new(Full::new(body));
                *answer.headers_mut() = headers;
                return Ok(answer);
            }
            let error = refused(ask.method.as_str(), &ask.path, status, &headers, &body);
            return Err(match rate_limited(status, &headers, &body, now()) {
                // Refused before it did anything: any call may come again.
                Some(wait) => self.limited(error, wait),
                None => Failed::of(error, ask),
            });
        }
        Err(Failed::for_good(ask.lost(format!("more than {MOST_REDIRECTS} redirects"))))
    }

    fn limited(&self, error: CallError, wait: Duration) -> Failed {
        let is_near = wait <= self.patience.limit_wait;
        let when = if is_near { String::new() } else { format!(" (calls are taken again in {} s)", wait.as_secs()) };
        let message = format!("{}{when}", error.message);
        let error = CallError { kind: CallErrorKind::Throttled, message, ..error };
        Failed { error, again: if is_near { Again::After(wait) } else { Again::Never } }
    }

    async fn send(&self, url: &Url, ask: &Outgoing) -> Result<(u16, HeaderMap, Bytes), Failed> {
        let lost = |e: reqwest::Error| Failed::of(ask.lost(deepest(&e)), ask);
        let request = self.http.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
        let mut response = request.body(ask.body.clone()).send().await.map_err(lost)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(Failed::for_good(ask.lost("the answer is too large")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, headers, body.freeze()))
    }
}

/// Where a redirect leads. The token goes to no other host, nor out of TLS.
fn next(from: &Url, location: &str) -> Result<Url, String> {
    let to = from.join(location).map_err(|_| format!("it redirects to `{location}`, which is no address"))?;
    let is_ours = to.host() == from.host()
        && (to.port_or_known_default() == from.port_or_known_default()
            || (from.scheme(), to.scheme()) == ("http", "https"));
    let is_safe = to.scheme() == from.scheme() || to.scheme() == "https";
    match is_ours && is_safe {
        true => Ok(to),
        false => {
            Err(format!("it redirects to `{}`, which the token is not sent to", to.host_str().unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_followed_on_the_same_host_only_and_never_out_of_tls() {
        let from = Url::parse("https://ghes.corp/api/v3/repos/a/b").unwrap();
        let to = |location: &str| next(&from, location).map(|url| url.to_string()).ok();
        assert_eq!(to("/api/v3/repositories/7").as_deref(), Some("https://ghes.corp/api/v3/repositories/7"));
        assert_eq!(to("https://ghes.corp:443/x").as_deref(), Some("https://ghes.corp/x"));
        for elsewhere in ["https://evil.test/x", "//evil.test/x", "http://ghes.corp/x", "https://ghes.corp:8443/x"] {
            assert_eq!(to(elsewhere), None, "{elsewhere}");
        }
        let plain = Url::parse("http://ghes.corp/api/v3").unwrap();
        assert!(next(&plain, "https://ghes.corp/api/v3").is_ok());
    }
}
