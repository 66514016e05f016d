//! Assuming roles.

use super::failure::{Description, describe, foreign_answer, unanswered};
use super::identity::IdentityFailure;
use super::oidc::TokenSource;
use crate::events::{Event, Sink, Wait};
use crate::out_of_reach::OutOfReach;
use crate::ports::CallErrorKind;
use crate::retry::{Again, RetryPolicy, retry};
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use fargate_deploy_core::names::RoleArn;
use fargate_deploy_core::redact::Secret;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// One hour: what every role allows, and the longest that a chained session may be.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use.html>
const SESSION_SECONDS: i32 = 3600;

/// The Security Token Service of one region.
#[derive(Clone)]
pub(super) struct Sts {
    pub(super) config: SdkConfig,
    pub(super) endpoint: Option<String>,
    pub(super) session_name: String,
    pub(super) sink: Arc<dyn Sink + Send + Sync>,
    pub(super) retry_policy: RetryPolicy,
}

impl Sts {
    pub(super) fn config(&self) -> aws_sdk_sts::config::Builder {
        let mut config = aws_sdk_sts::config::Builder::from(&self.config);
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
        }
        config
    }

    /// `sts:AssumeRoleWithWebIdentity`, with a fresh token for every attempt. A refusal ends it at once.
    pub(super) async fn by_token(&self, tokens: &TokenSource, role: &RoleArn) -> Result<Credentials, IdentityFailure> {
        let client = aws_sdk_sts::Client::from_conf(self.config().build());
        let assume = |limit| self.by_one_token(&client, tokens, role, limit);
        let tell = |refused: &Refused| self.tell_again("sts:AssumeRoleWithWebIdentity", &refused.failure);
        let assumed = retry(self.retry_policy, assume, |refused| again(refused.may_pass), tell).await;
        assumed.map_err(|refused| refused.failure)
    }

    async fn by_one_token(
        &self,
        client: &aws_sdk_sts::Client,
        tokens: &TokenSource,
        role: &RoleArn,
        limit: Duration,
    ) -> Result<Credentials, Refused> {
        // Asking for a token has attempts of its own.
        let token = tokens.token().await.map_err(|failure| Refused { failure, may_pass: false })?;
        let answer = client
            .assume_role_with_web_identity()
            .role_arn(role.as_str())
            .role_session_name(&self.session_name)
            .web_identity_token(token.jwt.expose())
            .duration_seconds(SESSION_SECONDS)
            .send();
        let answer = within(limit, answer).await.and_then(|answer| self.masked(answer.credentials()));
        let error = match answer {
            Ok(credentials) => return Ok(credentials),
            Err(error) => error,
        };
        let may_pass = may_pass(&error)
            || error.code.starts_with("IDPCommunicationError")
            || error.message.contains("retrieve verification key");
        let (role, claims, message) = (role.clone(), Box::new(token.claims), error.message);
        let failure = match error.code.as_str() {
            code if may_pass || error.kind == CallErrorKind::Unreachable => unavailable(&role, code, &message),
            "AccessDenied" | "AccessDeniedException" => IdentityFailure::Denied { role, claims, message },
            "ExpiredToken" | "ExpiredTokenException" => IdentityFailure::Expired { role, message },
            "InvalidIdentityToken" | "InvalidIdentityTokenException"
                if message.contains("No OpenIDConnect provider") =>
            {
                IdentityFailure::NoProvider { role, claims, message }
            }
            "InvalidIdentityToken" | "InvalidIdentityTokenException" if message.to_lowercase().contains("audience") => {
                IdentityFailure::WrongAudience { role, claims, message }
            }
            "ValidationError" if is_about_duration(&message) => IdentityFailure::DurationTooLong { role, message },
            code => IdentityFailure::Refused { role, code: code.to_owned(), message },
        };
        Err(Refused { failure, may_pass })
    }

    /// `sts:AssumeRole` with the credentials of the session before.
    pub(super) async fn by_credentials(
        &self,
        credentials: Credentials,
        previous: Option<&RoleArn>,
        role: &RoleArn,
    ) -> Result<Credentials, IdentityFailure> {
        let client = aws_sdk_sts::Client::from_conf(self.config().credentials_provider(credentials).build());
        let assume = async |limit| {
            let request = client.assume_role().role_arn(role.as_str()).role_session_name(&self.session_name);
            let answer = within(limit, request.duration_seconds(SESSION_SECONDS).send()).await?;
            self.masked(answer.credentials())
        };
        let tell = |error: &Description| self.tell_again("sts:AssumeRole", &error.message);
        let assumed = retry(self.retry_policy, assume, |error| again(may_pass(error)), tell).await;
        assumed.map_err(|error| refused_to_assume(error, previous, role))
    }

    /// Whose credentials they are. `None`: STS does not say.
    pub(super) async fn caller(&self, credentials: Credentials) -> Option<String> {
        let client = aws_sdk_sts::Client::from_conf(self.config().credentials_provider(credentials).build());
        let ask = |limit| within(limit, client.get_caller_identity().send());
        let tell = |error: &Description| self.tell_again("sts:GetCallerIdentity", &error.message);
        let answer = retry(self.retry_policy, ask, |error| again(may_pass(error)), tell).await.ok()?;
        answer.arn().map(str::to_owned)
    }

    /// A call is made again, and why.
    pub(super) fn tell_again(&self, of: &str, error: &dyn fmt::Display) {
        self.sink.emit(Event::Waiting(Wait::Answer { of: of.to_owned(), error: error.to_string() }));
    }

    fn masked(&self, credentials: Option<&aws_sdk_sts::types::Credentials>) -> Result<Credentials, Description> {
        let c = credentials.ok_or_else(foreign_answer)?;
        self.sink.emit(Event::Mask(Secret::new(c.secret_access_key())));
        self.sink.emit(Event::Mask(Secret::new(c.session_token())));
        let token = Some(c.session_token().to_owned());
        let ends = SystemTime::try_from(*c.expiration()).ok();
        Ok(Credentials::new(c.access_key_id(), c.secret_access_key(), token, ends, "AssumeRole"))
    }
}

fn is_about_duration(message: &str) -> bool {
    message.contains("DurationSeconds") || message.contains("MaxSessionDuration")
}

/// `[\w+=,.@-]{2,64}`, as AWS wants a role session name, from any text.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
pub(super) fn session_name(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let name: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).take(64).collect();
    if name.len() < 2 { "fargate-deploy".to_owned() } else { name }
}

/// One attempt that gave no session.
struct Refused {
    failure: IdentityFailure,
    /// The next attempt can do better.
    may_pass: bool,
}

fn again(may_pass: bool) -> Again {
    if may_pass { Again::Soon } else { Again::Never }
}

fn may_pass(error: &Description) -> bool {
    let is_out_of_reach = error.code.is_empty() && OutOfReach::of(&error.message).is_some();
    matches!(error.kind, CallErrorKind::Unreachable | CallErrorKind::Throttled) && !is_out_of_reach
}

async fn within<T, E>(
    limit: Duration,
    answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Description>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| describe(&error)),
        Err(_) => Err(unanswered(CallErrorKind::Unreachable, "no answer in time".to_owned())),
    }
}

fn unavailable(role: &RoleArn, code: &str, message: &str) -> IdentityFailure {
    let why = if code.is_empty() { message.to_owned() } else { format!("it answered {code}: {message}") };
    IdentityFailure::Unavailable { what: format!("STS for `{role}`"), why, is_answered: !code.is_empty() }
}

fn refused_to_assume(error: Description, previous: Option<&RoleArn>, role: &RoleArn) -> IdentityFailure {
    let may_pass = may_pass(&error);
    let (role, message) = (role.clone(), error.message);
    match (error.kind, error.code.as_str()) {
        (CallErrorKind::Denied, _) => IdentityFailure::ChainDenied {
            role,
            by: previous.map_or_else(|| "the credentials of the environment".to_owned(), |p| format!("`{p}`")),
            previous: previous.cloned(),
            message,
        },
        (CallErrorKind::Unreachable, code) => unavailable(&role, code, &message),
        (_, code) if may_pass => unavailable(&role, code, &message),
        (_, "ValidationError") if is_about_duration(&message) => IdentityFailure::DurationTooLong { role, message },
        (_, code) => IdentityFailure::Refused { role, code: code.to_owned(), message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_session_name_that_aws_takes() {
        assert_eq!(session_name("org/shop 12#3"), "org-shop-12-3");
        assert_eq!(session_name("a_b+c=d,e.f@g-h"), "a_b+c=d,e.f@g-h");
        assert_eq!(session_name("ä"), "fargate-deploy");
        assert_eq!(session_name(&"x".repeat(80)).len(), 64);
    }
}
