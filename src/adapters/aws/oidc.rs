//! The job's OIDC token, from GitHub.
//! <https://docs.github.com/actions/reference/security/oidc>

use super::identity::{Claims, IdentityFailure};
use crate::adapters::network::{Network, deepest};
use crate::events::{Event, Sink, Wait};
use crate::out_of_reach::OutOfReach;
use crate::retry::{Again, RetryPolicy, retry};
use fargate_deploy_core::redact::Secret;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// GitHub gives a token in a moment or not at all.
const ATTEMPT: Duration = Duration::from_secs(10);

/// What stands for itself in a query.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the tokens come from. They live five minutes, so none is kept: every assumption of a role gets its own.
#[derive(Clone)]
pub(super) struct TokenSource {
    http: reqwest::Client,
    url: String,
    bearer: Secret,
    sink: Arc<dyn Sink + Send + Sync>,
    retry_policy: RetryPolicy,
    /// Of the first token: those of the next say the same about the job.
    claims: Arc<OnceLock<Claims>>,
}

pub(super) struct Token {
    pub(super) jwt: Secret,
    pub(super) claims: Claims,
}

impl TokenSource {
    /// `None` outside of GitHub Actions, and in jobs without `id-token: write`.
    pub(super) fn from_env(
        env: &BTreeMap<String, String>,
        audience: &str,
        network: &Network,
        sink: Arc<dyn Sink + Send + Sync>,
        retry_policy: RetryPolicy,
    ) -> Option<Self> {
        let value = |name: &str| env.get(name).filter(|v| !v.is_empty());
        let (url, bearer) = (value("ACTIONS_ID_TOKEN_REQUEST_URL")?, value("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?);
        let separator = if url.contains('?') { '&' } else { '?' };
        Some(Self {
            http: network.http().clone(),
            url: format!("{url}{separator}audience={}", utf8_percent_encode(audience, RESERVED)),
            bearer: Secret::new(bearer),
            sink,
            retry_policy,
            claims: Arc::default(),
        })
    }

    /// What a token says about the job, of one that was asked for already if there was any.
    pub(super) async fn claims(&self) -> Result<Claims, IdentityFailure> {
        match self.claims.get() {
            Some(claims) => Ok(claims.clone()),
            None => self.token().await.map(|token| token.claims),
        }
    }

    /// A fresh token, masked before anything else happens to it.
    pub(super) async fn token(&self) -> Result<Token, IdentityFailure> {
        let again = |failure: &IdentityFailure| match failure {
            IdentityFailure::Unavailable { why, .. } if OutOfReach::of(why).is_none() => Again::Soon,
            _ => Again::Never,
        };
        let tell = |failure: &IdentityFailure| {
            let of = "OIDC token of GitHub".to_owned();
            self.sink.emit(Event::Waiting(Wait::Answer { of, error: failure.to_string() }));
        };
        retry(self.retry_policy, |limit| self.ask(limit), again, tell).await
    }

    async fn ask(&self, limit: Duration) -> Result<Token, IdentityFailure> {
        let failed = |is_answered, why: String| IdentityFailure::Unavailable {
            what: "OIDC token of GitHub".to_owned(),
            why,
            is_answered,
        };
        let lost = |e: reqwest::Error| failed(false, format!("no answer: {}", deepest(&e)));
        let request = self.http.get(&self.url).bearer_auth(self.bearer.expose()).timeout(limit.min(ATTEMPT));
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            return Err(failed(true, format!("GitHub answered HTTP {}", status.as_u16())));
        }
        if !status.is_success() {
            return Err(IdentityFailure::TokenRefused { status: status.as_u16() });
        }
        let body = response.bytes().await.map_err(lost)?;
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let Some(jwt) = answer["value"].as_str().filter(|jwt| !jwt.is_empty()) else {
            let why = "there is no token in the answer: a proxy on the way may have given it";
            return Err(failed(true, why.to_owned()));
        };
        let jwt = Secret::new(jwt);
        self.sink.emit(Event::Mask(jwt.clone()));
        let claims = Claims::of(jwt.expose());
        let _ = self.claims.set(claims.clone());
        Ok(Token { jwt, claims })
    }
}
