//! A session on AWS: region, credentials and endpoints, from the environment that it is given.

use super::credentials::{Chain, First, Renewing};
use super::identity::{Claims, IdentityFailure};
use super::oidc::TokenSource;
use super::sts::{Sts, session_name};
use crate::adapters::network::{CONNECT_TIMEOUT, Network};
use crate::events::{Event, Notice, Sink, Warning};
use crate::retry::RetryPolicy;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ecs::config::IdentityCache;
use fargate_deploy_core::names::{RoleArn, account_of};
use fargate_deploy_core::redact::Secret;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a session is opened from.
#[derive(Clone, Debug)]
pub struct SessionInputs {
    /// The environment: `ACTIONS_ID_TOKEN_REQUEST_*`, `AWS_*`, proxies. Where it has no credentials, no OIDC and no
    /// region, the SDK's own chain looks into the environment and the home folder of the process.
    pub env: BTreeMap<String, String>,
    /// From the config; else the environment's, else the profile's.
    pub region: Option<String>,
    /// To be assumed in order: the first by GitHub OIDC, or from the ambient credentials where there is no OIDC. Where those may
    /// not assume it, and this is no job of GitHub Actions, they are used as they are, in the last role's account.
    pub roles: Vec<RoleArn>,
    /// Names the run in CloudTrail. What AWS does not allow in a session name becomes `-`.
    pub session_name: String,
    /// Of the OIDC token, where it is not `sts.amazonaws.com`.
    pub audience: Option<String>,
    /// The wait before the first retry of any call; it doubles from there.
    pub retry_wait: Duration,
}

impl SessionInputs {
    /// With everything but the environment at its default.
    pub fn new(env: BTreeMap<String, String>) -> Self {
        Self {
            env,
            region: None,
            roles: Vec::new(),
            session_name: "fargate-deploy".to_owned(),
            audience: None,
            retry_wait: Duration::from_millis(500),
        }
    }
}

/// Credentials that are there and renew themselves, a region, and the ways to AWS.
#[derive(Clone)]
pub struct Session {
    config: SdkConfig,
    credentials: Renewing,
    network: Network,
    sts: Sts,
    tokens: Option<TokenSource>,
    env: Arc<BTreeMap<String, String>>,
    region: String,
}

impl Session {
    /// Opens it, credentials included: when this returns `Ok`, AWS has given them out (or they were there already).
    /// Secrets are sent to `sink` as [`Event::Mask`] before they are used, now and at each renewal.
    pub async fn open(inputs: &SessionInputs, sink: Arc<dyn Sink + Send + Sync>) -> Result<Self, IdentityFailure> {
        let network = Network::from_env(&inputs.env)?;
        for name in in_the_clear(&inputs.env) {
            sink.emit(Event::Warning(Warning::EndpointWithoutTls { variable: name.to_owned() }));
        }
        let region = region(inputs).await.ok_or(IdentityFailure::NoRegion)?;
        let base = base_config(inputs, &network, &region).await;
        let sts = Sts {
            config: base.clone(),
            endpoint: endpoint(&inputs.env, "STS"),
            session_name: session_name(&inputs.session_name),
            sink: Arc::clone(&sink),
            retry_policy: RetryPolicy::of(inputs.retry_wait),
        };
        let audience = inputs.audience.as_deref().unwrap_or("sts.amazonaws.com");
        let tokens = TokenSource::from_env(&inputs.env, audience, &network, Arc::clone(&sink), sts.retry_policy);
        let chain = chain(inputs, &network, &region, sts.clone(), tokens.clone(), sink).await;
        let own = match &chain.first {
            First::Ambient { provider, wants_token_for: None } => Some(provider.clone()),
            _ => None,
        };
        let mut credentials = Renewing::new(chain);
        if let Err(failure) = credentials.credentials().await {
            credentials = as_oneself(failure, own, inputs, &sts).await?;
        }
        let provider = SharedCredentialsProvider::new(credentials.clone());
        let config = base.into_builder().credentials_provider(provider).build();
        let sts = Sts { config: config.clone(), ..sts };
        Ok(Self { config, credentials, network, sts, tokens, env: Arc::new(inputs.env.clone()), region })
    }

    /// The region that calls go to.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The way out, for clients of anything that is not AWS.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What GitHub's OIDC token says about this job. `None` where there is no such token.
    pub async fn job(&self) -> Option<Claims> {
        self.tokens.as_ref()?.claims().await.ok()
    }

    pub(super) fn config(&self) -> &SdkConfig {
        &self.config
    }

    pub(super) fn sts(&self) -> &Sts {
        &self.sts
    }

    pub(super) fn credentials(&self) -> &Renewing {
        &self.credentials
    }

    /// `AWS_ENDPOINT_URL_SERVICE`, or `AWS_ENDPOINT_URL`, of the session's environment.
    pub(super) fn endpoint(&self, service: &str) -> Option<String> {
        endpoint(&self.env, service)
    }

    pub(super) fn retry_policy(&self) -> RetryPolicy {
        self.sts.retry_policy
    }

    /// A call is made again, and why.
    pub(super) fn tell_again(&self, of: &str, error: &dyn fmt::Display) {
        self.sts.tell_again(of, error);
    }

    /// Masks a secret that AWS handed out.
    pub(super) fn mask(&self, secret: &Secret) {
        self.sts.sink.emit(Event::Mask(secret.clone()));
    }
}

/// Whether a URL, or `HOST:PORT`, is on this machine.
pub fn is_loopback(endpoint: &str) -> bool {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The settings that send calls, signed and with their session tokens, over a network that anybody on it can read.
fn in_the_clear(env: &BTreeMap<String, String>) -> impl Iterator<Item = &String> {
    let is_open = |value: &str| value.to_ascii_lowercase().starts_with("http://") && !is_loopback(value);
    env.iter().filter(move |(name, value)| name.starts_with("AWS_ENDPOINT_URL") && is_open(value)).map(|(name, _)| name)
}

/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
fn endpoint(env: &BTreeMap<String, String>, service: &str) -> Option<String> {
    if env.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        return None;
    }
    let value = |name: &str| env.get(name).filter(|v| !v.is_empty()).cloned();
    value(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| value("AWS_ENDPOINT_URL"))
}

/// Never asks the instance metadata service: hosted runners are machines of another cloud, in no AWS region.
async fn region(inputs: &SessionInputs) -> Option<String> {
    let value = |name: &str| inputs.env.get(name).filter(|v| !v.is_empty()).cloned();
    if let Some(region) = inputs.region.clone().or_else(|| value("AWS_REGION")).or_else(|| value("AWS_DEFAULT_REGION"))
    {
        return Some(region);
    }
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = value("AWS_PROFILE") {
        profile = profile.profile_name(name);
    }
    profile.build().region().await.map(|region| region.as_ref().to_owned())
}

async fn base_config(inputs: &SessionInputs, network: &Network, region: &str) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .http_client(network.aws())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        .identity_cache(IdentityCache::no_cache())
        .no_credentials();
    if let Some(profile) = inputs.env.get("AWS_PROFILE").filter(|v| !v.is_empty()) {
        loader = loader.profile_name(profile);
    }
    loader.load().await
}

/// On a person's own machine a role that trusts GitHub alone may not be assumed: what the person may do decides there, where it is
/// in the role's own account. What is deployed to another account than the config's would be somebody else's.
async fn as_oneself(
    failure: IdentityFailure,
    own: Option<SharedCredentialsProvider>,
    inputs: &SessionInputs,
    sts: &Sts,
) -> Result<Renewing, IdentityFailure> {
    let (IdentityFailure::ChainDenied { role, previous: None, .. }, Some(provider)) = (&failure, own) else {
        return Err(failure);
    };
    let first = First::Ambient { provider, wants_token_for: None };
    let own = Renewing::new(Chain { first, further: vec![], sts: sts.clone() });
    let wanted = inputs.roles.last().and_then(|last| account_of(last.as_str()));
    match sts.caller(own.credentials().await?).await {
        Some(caller) if account_of(&caller) == wanted => {
            sts.sink.emit(Event::Notice(Notice::RoleNotAssumed { role: role.clone(), caller }));
            Ok(own)
        }
        _ => Err(failure),
    }
}

async fn chain(
    inputs: &SessionInputs,
    network: &Network,
    region: &str,
    sts: Sts,
    tokens: Option<TokenSource>,
    sink: Arc<dyn Sink + Send + Sync>,
) -> Chain {
    if let (Some(tokens), Some((role, further))) = (tokens, inputs.roles.split_first()) {
        return Chain { first: First::Oidc { tokens, role: role.clone() }, further: further.to_vec(), sts };
    }
    let provider = match given(&inputs.env) {
        Some(credentials) => {
            if credentials.session_token().is_some() {
                sink.emit(Event::Warning(Warning::CredentialsNotRenewable));
            }
            SharedCredentialsProvider::new(credentials)
        }
        None => default_chain(inputs, network, region).await,
    };
    let is_job = inputs.env.get("GITHUB_ACTIONS").is_some_and(|v| v == "true");
    let wants_token_for = inputs.roles.first().filter(|_| is_job).cloned();
    Chain { first: First::Ambient { provider, wants_token_for }, further: inputs.roles.clone(), sts }
}

fn given(env: &BTreeMap<String, String>) -> Option<Credentials> {
    let value = |name: &str| env.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
    let (key, secret) = (value("AWS_ACCESS_KEY_ID")?, value("AWS_SECRET_ACCESS_KEY")?);
    Some(Credentials::new(key, secret, value("AWS_SESSION_TOKEN").map(str::to_owned), None, "Environment"))
}

async fn default_chain(inputs: &SessionInputs, network: &Network, region: &str) -> SharedCredentialsProvider {
    let config = ProviderConfig::without_region()
        .with_region(Some(Region::new(region.to_owned())))
        .with_http_client(network.aws());
    let mut chain = DefaultCredentialsChain::builder().configure(config);
    if let Some(profile) = inputs.env.get("AWS_PROFILE").filter(|v| !v.is_empty()) {
        chain = chain.profile_name(profile);
    }
    SharedCredentialsProvider::new(chain.build().await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_tls_on_another_machine_is_told() {
        let of = |value: &str| {
            let env = BTreeMap::from([("AWS_ENDPOINT_URL_ECS".to_owned(), value.to_owned())]);
            in_the_clear(&env).next().is_some()
        };
        for (value, expected) in [
            ("http://10.0.0.1:4566", true),
            ("HTTP://aws.test", true),
            ("http://127.0.0.1@evil.test/", true),
            ("https://aws.test", false),
            ("http://localhost:4566", false),
            ("http://127.0.0.1", false),
            ("http://[::1]:4566/", false),
        ] {
            assert_eq!(of(value), expected, "{value}");
        }
    }
}
