//! The job's OIDC token, from GitHub.
//! <https://docs.github.com/actions/reference/security/oidc>

use super::identity::{Claims, IdentityFailure};
use crate::adapters::network::{Network, deepest};
use crate::adapters::retry::RetryPolicy;
use crate::events::{Event, Sink};
use backon::Retryable as _;
use fargate_deploy_core::redact::Secret;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const ATTEMPTS: u32 = 4;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// What stands for itself in a query.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the tokens come from. They live five minutes, so none is kept: every assumption of a role gets its own.
#[derive(Clone)]
pub(super) struct TokenSource {
    http: reqwest::Client,
    url: String,
    bearer: Secret,
    sink: Arc<dyn Sink + Send + Sync>,
    retry_wait: Duration,
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
        retry_wait: Duration,
    ) -> Option<Self> {
        let value = |name: &str| env.get(name).filter(|v| !v.is_empty());
        let (url, bearer) = (value("ACTIONS_ID_TOKEN_REQUEST_URL")?, value("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?);
        let separator = if url.contains('?') { '&' } else { '?' };
        Some(Self {
            http: network.http().clone(),
            url: format!("{url}{separator}audience={}", utf8_percent_encode(audience, RESERVED)),
            bearer: Secret::new(bearer),
            sink,
            retry_wait,
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
        let policy = RetryPolicy { attempts: ATTEMPTS, first_wait: self.retry_wait, longest_wait: LONGEST_WAIT };
        let asking = || self.ask();
        asking.retry(policy.waits()).when(|error| matches!(error, IdentityFailure::Unreachable { .. })).await
    }

    async fn ask(&self) -> Result<Token, IdentityFailure> {
        let lost = |why: String| IdentityFailure::Unreachable { what: "OIDC token of GitHub".to_owned(), why };
        let request = self.http.get(&self.url).bearer_auth(self.bearer.expose()).timeout(ATTEMPT_TIMEOUT);
        let response = request.send().await.map_err(|e| lost(deepest(&e)))?;
        let status = response.status();
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            return Err(lost(format!("HTTP {}", status.as_u16())));
        }
        if !status.is_success() {
            return Err(IdentityFailure::TokenRefused { status: status.as_u16() });
        }
        let answer: serde_json::Value = response.json().await.map_err(|e| lost(deepest(&e)))?;
        let Some(jwt) = answer["value"].as_str() else { return Err(lost("there is no token in it".to_owned())) };
        let jwt = Secret::new(jwt);
        self.sink.emit(Event::Mask(jwt.clone()));
        let claims = Claims::of(jwt.expose());
        let _ = self.claims.set(claims.clone());
        Ok(Token { jwt, claims })
    }
}
