//! Who a request comes from: access keys, the sessions that STS issued, and the end of their lives.
//!
//! The signature itself is not verified: the stage listens on the loopback interface and guards nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};

use super::api::{Caller, partition};
use super::policy::Policy;
use super::request::{lock, random_hex};

/// The access key that acts as the account's root, with any secret.
pub(crate) const ROOT_ACCESS_KEY: &str = "stage";

/// The sessions of every account.
#[derive(Debug)]
pub(crate) struct Credentials {
    account: String,
    region: String,
    sessions: Mutex<HashMap<String, Session>>,
}

#[derive(Debug)]
struct Session {
    account: String,
    arn: String,
    token: String,
    until: Instant,
    policy: Option<Arc<Policy>>,
}

/// What STS hands out.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    /// Begins with `ASIA`, as every temporary key does.
    pub access_key: String,
    /// Never verified.
    pub secret_key: String,
    /// Has to come with every request.
    pub session_token: String,
}

/// Why a request has no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unauthenticated {
    /// No signature at all.
    Unsigned,
    /// A key that nobody issued, or a session without its token.
    Unknown,
    /// The session is over.
    Expired,
}

/// The credential scope of a SigV4 signature.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SigningScope {
    /// The access key id.
    pub access_key: String,
    /// E.g. `eu-central-1`.
    pub region: String,
    /// The signing name, e.g. `s3`.
    pub service: String,
}

impl SigningScope {
    /// Reads `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...`.
    #[must_use]
    pub(crate) fn parse(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("AWS4-HMAC-SHA256")?;
        let credential = value.split(',').find_map(|part| part.trim().strip_prefix("Credential="))?;
        let mut parts = credential.rsplitn(5, '/').skip(1);
        let (service, region, _, key) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(Self { access_key: key.to_owned(), region: region.to_owned(), service: service.to_owned() })
    }
}

impl Credentials {
    /// No sessions yet; `account` is whose root the static key is.
    #[must_use]
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), sessions: Mutex::default() }
    }

    /// The root of the stage's account, in its Region.
    #[must_use]
    pub(crate) fn root(&self) -> Caller {
        root(&self.account, &self.region)
    }

    /// Keys for `arn` (an assumed-role ARN of `account`) that last `lifetime`, limited to `policy` if there is one.
    #[must_use]
    pub(crate) fn issue(&self, account: &str, arn: &str, lifetime: Duration, policy: Option<Arc<Policy>>) -> Issued {
        let issued = Issued {
            access_key: format!("ASIA{}", random_hex(8).to_uppercase()),
            secret_key: random_hex(20),
            session_token: random_hex(64),
        };
        let session = Session {
            account: account.to_owned(),
            arn: arn.to_owned(),
            token: issued.session_token.clone(),
            until: Instant::now() + lifetime,
            policy,
        };
        lock(&self.sessions).insert(issued.access_key.clone(), session);
        issued
    }

    /// The caller behind a request's headers.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Unauthenticated> {
        let scope = SigningScope::parse(headers).ok_or(Unauthenticated::Unsigned)?;
        let key = scope.access_key.as_str();
        if key == ROOT_ACCESS_KEY {
            return Ok(root(&self.account, &scope.region));
        }
        if key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(root(key, &scope.region));
        }
        let sessions = lock(&self.sessions);
        let session = sessions.get(key).ok_or(Unauthenticated::Unknown)?;
        let token = headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
        if token != Some(session.token.as_str()) {
            return Err(Unauthenticated::Unknown);
        }
        if session.until <= Instant::now() {
            return Err(Unauthenticated::Expired);
        }
        Ok(Caller {
            account: session.account.clone(),
            region: scope.region,
            arn: session.arn.clone(),
            session_policy: session.policy.clone(),
        })
    }

    /// Ends every session of an assumed-role ARN now.
    pub(crate) fn expire(&self, arn: &str) {
        let now = Instant::now();
        for session in lock(&self.sessions).values_mut().filter(|session| session.arn == arn) {
            session.until = now;
        }
    }
}

fn root(account: &str, region: &str) -> Caller {
    Caller {
        account: account.to_owned(),
        region: region.to_owned(),
        arn: format!("arn:{}:iam::{account}:root", partition(region)),
        session_policy: None,
    }
}
