//! Credentials that renew themselves.

use super::identity::IdentityFailure;
use super::oidc::TokenSource;
use super::sts::Sts;
use crate::retry::all_within;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use fargate_deploy_core::names::RoleArn;
use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// Renewed when less than this is left: longer than any single call with its retries takes.
const MARGIN: Duration = Duration::from_secs(300);

/// How long a renewal is tried while those that are kept still last.
const WHILE_THEY_LAST: Duration = Duration::from_secs(5);

/// The first credentials, and the roles assumed from there on, in order.
pub(super) struct Chain {
    pub(super) first: First,
    pub(super) further: Vec<RoleArn>,
    pub(super) sts: Sts,
}

pub(super) enum First {
    Oidc {
        tokens: TokenSource,
        role: RoleArn,
    },
    Ambient {
        provider: SharedCredentialsProvider,
        /// In GitHub Actions without a token: the role that the token is missing for.
        wants_token_for: Option<RoleArn>,
    },
}

impl Chain {
    async fn walk(&self) -> Result<Credentials, IdentityFailure> {
        let (mut credentials, mut previous) = match &self.first {
            First::Oidc { tokens, role } => (self.sts.by_token(tokens, role).await?, Some(role)),
            First::Ambient { provider, wants_token_for } => {
                match (provider.provide_credentials().await, wants_token_for) {
                    (Ok(credentials), _) => (credentials, None),
                    (Err(_), Some(role)) => return Err(IdentityFailure::NoIdToken { role: role.clone() }),
                    (Err(error), None) => return Err(IdentityFailure::NoCredentials { why: why_none(&error) }),
                }
            }
        };
        for role in &self.further {
            credentials = self.sts.by_credentials(credentials, previous, role).await?;
            previous = Some(role);
        }
        Ok(credentials)
    }
}

fn why_none(error: &CredentialsError) -> String {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "none in the environment, the profiles, or from the machine itself".to_owned()
        }
        other => other.source().map_or_else(|| other.to_string(), crate::adapters::network::deepest),
    }
}

/// Keeps the credentials until shortly before they end, or until they are called expired, and then walks the whole
/// chain anew. It stands in for the SDK's identity cache, which has no way to be told that a session ended early and
/// gives a provider five seconds: too few for a token, a role and a retry.
#[derive(Clone)]
pub(super) struct Renewing {
    chain: Arc<Chain>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    credentials: Option<Credentials>,
    generation: u64,
    is_refused: bool,
}

impl Renewing {
    pub(super) fn new(chain: Chain) -> Self {
        Self { chain: Arc::new(chain), kept: Arc::default() }
    }

    pub(super) async fn credentials(&self) -> Result<Credentials, IdentityFailure> {
        let mut kept = self.kept.lock().await;
        #[expect(clippy::disallowed_methods, reason = "when they end is a time of AWS's clock")]
        let lasts = |c: &Credentials, margin| c.expiry().is_none_or(|ends| SystemTime::now() + margin < ends);
        if let Some(credentials) = &kept.credentials
            && !kept.is_refused
            && lasts(credentials, MARGIN)
        {
            return Ok(credentials.clone());
        }
        // On the heap: what awaits it is nested deeply enough.
        let walk = Box::pin(self.chain.walk());
        let walked = match &kept.credentials {
            // They will do for now: the next call tries again.
            Some(old) if !kept.is_refused && lasts(old, Duration::ZERO) => all_within(WHILE_THEY_LAST, walk).await,
            _ => walk.await,
        };
        match walked {
            Ok(fresh) => {
                let generation = kept.generation + 1;
                *kept = Kept { credentials: Some(fresh.clone()), generation, is_refused: false };
                Ok(fresh)
            }
            Err(failure) => match &kept.credentials {
                Some(credentials) if !kept.is_refused && lasts(credentials, Duration::ZERO) => Ok(credentials.clone()),
                _ => Err(failure),
            },
        }
    }

    /// Which credentials are in use: the number grows with each renewal.
    pub(super) async fn generation(&self) -> u64 {
        self.kept.lock().await.generation
    }

    /// AWS calls the credentials of that generation expired: do not use them again.
    pub(super) async fn refuse(&self, generation: u64) {
        let mut kept = self.kept.lock().await;
        if kept.generation == generation {
            kept.is_refused = true;
        }
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewing(***)")
    }
}

impl ProvideCredentials for Renewing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.credentials().await.map_err(CredentialsError::provider_error) })
    }
}
