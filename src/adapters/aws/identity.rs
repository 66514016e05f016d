//! Why there is no session on AWS, and what to change so that there is one.

use crate::adapters::network::NetworkFailure;
use crate::out_of_reach::OutOfReach;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fargate_deploy_core::names::{RoleArn, account_of};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What an OIDC token says about the job that holds it. Read for telling only: STS is who verifies it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: String,
    repository: String,
    repository_id: String,
    repository_owner_id: String,
    environment: String,
}

impl Claims {
    /// The claims of a JWT, without looking at its signature; empty where it has none or is no JWT.
    pub fn of(jwt: &str) -> Self {
        let claims: Value = jwt
            .split('.')
            .nth(1)
            .and_then(|payload| URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let text = |name: &str| match &claims[name] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            _ => String::new(),
        };
        Self {
            iss: text("iss"),
            aud: text("aud"),
            sub: text("sub"),
            repository: text("repository"),
            repository_id: text("repository_id"),
            repository_owner_id: text("repository_owner_id"),
            environment: text("environment"),
        }
    }

    /// The job's `environment:`, for which GitHub makes a Deployment by itself.
    pub fn environment(&self) -> Option<&str> {
        Some(self.environment.as_str()).filter(|name| !name.is_empty())
    }

    /// The same subject in GitHub's other form: `repo:OWNER/NAME:...` and `repo:OWNER@ID/NAME@ID:...`, which tokens of
    /// repositories created, renamed or transferred after 2026-07-15 have. `None` for a customised subject.
    /// <https://docs.github.com/actions/reference/security/oidc>
    pub fn other_sub(&self) -> Option<String> {
        let (owner, name) = self.repository.split_once('/')?;
        if self.repository_id.is_empty() || self.repository_owner_id.is_empty() {
            return None;
        }
        let names = format!("repo:{owner}/{name}:");
        let ids = format!("repo:{owner}@{}/{name}@{}:", self.repository_owner_id, self.repository_id);
        let swap = |from: &str, to: &str| self.sub.strip_prefix(from).map(|rest| format!("{to}{rest}"));
        swap(&names, &ids).or_else(|| swap(&ids, &names))
    }

    /// The issuer as IAM names its provider and the condition keys: without the scheme.
    fn provider(&self) -> &str {
        self.iss.strip_prefix("https://").unwrap_or(&self.iss)
    }

    fn condition(&self, sub: &str) -> Value {
        let provider = self.provider();
        json!({ "StringEquals": { format!("{provider}:aud"): self.aud, format!("{provider}:sub"): sub } })
    }
}

/// There is no session: nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFailure {
    /// The job may not ask GitHub for a token.
    #[error("`{role}`: there is no OIDC token to assume it with: the job lacks the `id-token: write` permission")]
    NoIdToken { role: RoleArn },
    /// GitHub answered the request for a token with a refusal.
    #[error("OIDC token: GitHub refused it with HTTP {status}")]
    TokenRefused { status: u16 },
    /// The role's trust policy does not match the token.
    #[error("`{role}`: this job may not assume it: {message}")]
    Denied { role: RoleArn, claims: Box<Claims>, message: String },
    /// The role's account has no OIDC provider for the token's issuer.
    #[error("`{role}`: its account does not know the token's issuer: {message}")]
    NoProvider { role: RoleArn, claims: Box<Claims>, message: String },
    /// The OIDC provider does not list the token's audience.
    #[error("`{role}`: the OIDC provider does not accept the token's audience: {message}")]
    WrongAudience { role: RoleArn, claims: Box<Claims>, message: String },
    /// A token that was asked for a moment ago is called expired.
    #[error("`{role}`: a fresh OIDC token was called expired: {message}")]
    Expired { role: RoleArn, message: String },
    #[error("`{role}`: the session would be longer than the role allows: {message}")]
    DurationTooLong { role: RoleArn, message: String },
    /// `sts:AssumeRole` from the session before.
    #[error("`{role}`: may not be assumed by {by}: {message}")]
    ChainDenied { role: RoleArn, by: String, previous: Option<RoleArn>, message: String },
    /// Any other answer of STS.
    #[error("`{role}`: {code}: {message}")]
    Refused { role: RoleArn, code: String, message: String },
    #[error("AWS credentials: {why}")]
    NoCredentials { why: String },
    #[error("AWS region: none is set")]
    NoRegion,
    /// GitHub or STS could not do its part, however often it was asked.
    #[error("{what}: {why}")]
    Unavailable { what: String, why: String, is_answered: bool },
    #[error(transparent)]
    Network(#[from] NetworkFailure),
}

impl IdentityFailure {
    /// What to change, ready to paste where there is something to paste. Never holds a token.
    pub fn hint(&self) -> String {
        match self {
            Self::NoIdToken { .. } => "add this to the job, and to the job that calls it if it is a reusable workflow:\n\n\
                permissions:\n  id-token: write\n  contents: read\n\n\
                pull requests from forks never get a token"
                .to_owned(),
            Self::TokenRefused { .. } => {
                "the job needs `permissions: id-token: write`; a job that runs for more than six hours has to be started again"
                    .to_owned()
            }
            Self::Denied { role, claims, .. } => trust(role, claims),
            Self::NoProvider { role, claims, .. } => {
                format!(
                    "create the provider in account {}, with exactly this issuer and no slash at its end:\n\n\
                    aws iam create-open-id-connect-provider --url {} --client-id-list {}",
                    account(role),
                    claims.iss,
                    claims.aud
                )
            }
            Self::WrongAudience { role, claims, .. } => {
                format!(
                    "the token's aud is `{}`; add it to the provider in account {}:\n\n\
                    aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {} --client-id {}",
                    claims.aud,
                    account(role),
                    provider_arn(role, claims),
                    claims.aud
                )
            }
            Self::Expired { .. } => "the clock of the runner, or of the token's issuer, is wrong by minutes".to_owned(),
            Self::DurationTooLong { .. } => {
                "sessions of one hour are asked for and renewed: let the role's maximum session duration be an hour or more"
                    .to_owned()
            }
            Self::ChainDenied { role, previous: Some(previous), .. } => {
                let statement =
                    json!({ "Effect": "Allow", "Principal": { "AWS": previous.as_str() }, "Action": "sts:AssumeRole" });
                format!(
                    "`{previous}` needs `sts:AssumeRole` on `{role}`, and the trust policy of `{role}` this statement:\n\n{}\n\n\
                    STS says the same of a role that does not exist",
                    pretty(&statement)
                )
            }
            Self::ChainDenied { role, previous: None, .. } => {
                format!(
                    "these credentials need `sts:AssumeRole` on `{role}`, and its trust policy has to name them; \
                    STS says the same of a role that does not exist"
                )
            }
            Self::Refused { role, code, message } => refused(role, code, message),
            Self::NoCredentials { .. } => {
                "set `role` and give the job `permissions: id-token: write`; outside GitHub Actions sign in \
                with `aws sso login`, or set `AWS_PROFILE`"
                    .to_owned()
            }
            Self::NoRegion => "set `region` in the config, or `AWS_REGION`".to_owned(),
            Self::Unavailable { is_answered: true, .. } => {
                "it was asked again and again; nothing was touched: run this again later".to_owned()
            }
            Self::Unavailable { why, is_answered: false, .. } => OutOfReach::of(why)
                .map_or(
                    "check the network of the runner, and `HTTPS_PROXY`, `NO_PROXY` and `AWS_CA_BUNDLE` if it needs them",
                    OutOfReach::advice,
                )
                .to_owned(),
            Self::Network(NetworkFailure::CaBundle { .. }) => {
                "`AWS_CA_BUNDLE` names a file of PEM certificates; unset it where none is needed".to_owned()
            }
            Self::Network(_) => "check the proxy settings of the environment".to_owned(),
        }
    }
}

fn trust(role: &RoleArn, claims: &Claims) -> String {
    let statement = json!({
        "Effect": "Allow",
        "Principal": { "Federated": provider_arn(role, claims) },
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": claims.condition(&claims.sub),
    });
    // STS does not tell a role that is not there from one that does not trust the token.
    let mut hint = format!(
        "the token says sub `{}`, aud `{}`, iss `{}`; the trust policy of `{role}` needs this statement:\n\n{}",
        claims.sub,
        claims.aud,
        claims.iss,
        pretty(&statement)
    );
    if let Some(other) = claims.other_sub() {
        let about = match claims.sub.contains('@') {
            true => {
                "this subject has ids, as in repositories created, renamed or transferred after 2026-07-15: a policy in the \
                older form does not match it"
            }
            false => {
                "when this repository is renamed or transferred its subject will have ids, and match this form only"
            }
        };
        let _ = write!(hint, "\n\n{about}:\n\n\"Condition\": {}", pretty(&claims.condition(&other)));
    }
    let _ = write!(
        hint,
        "\n\nSTS says the same where `{role}` does not exist in account {}, and where a policy of the organization denies it",
        account(role)
    );
    hint
}

/// What to change for a refusal that says in its code and its words what it is about.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_Errors>
fn refused(role: &RoleArn, code: &str, message: &str) -> String {
    let (said, code) = (message.to_lowercase(), code.strip_suffix("Exception").unwrap_or(code));
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let account = account(role);
    if code == "RegionDisabled" || says(&["not activated in this region"]) {
        return format!(
            "STS is off in this region for account {account}: switch it on there (IAM, Account settings), or set `region` to one \
            where it is on"
        );
    }
    if says(&["thumbprint"]) {
        return format!(
            "the OIDC provider in account {account} names another certificate than the issuer has: give it the issuer's thumbprint \
            (`aws iam update-open-id-connect-provider-thumbprint`)"
        );
    }
    if says(&[
        "not yet current",
        "signature expired",
        "not yet valid",
        "used before",
        "not before",
        "issued in the future",
    ]) || code == "RequestExpired"
    {
        return "the clock of the runner, or of the token's issuer, is wrong by minutes".to_owned();
    }
    if says(&["claim"]) && code == "InvalidIdentityToken" {
        return "the token lacks a claim that STS wants: look at what the issuer puts into it, and at a customised subject \
            (`include_claim_keys`) of the repository or its organization"
            .to_owned();
    }
    match code {
        "PackedPolicyTooLarge" => {
            "the session's policies and tags are larger together than STS packs into one: take transitive tags off the \
            session before, or claims off the identity provider"
                .to_owned()
        }
        "InvalidIdentityToken" => format!(
            "the OIDC provider in account {account} did not take the token: compare its issuer and its signing keys with the \
            token's issuer"
        ),
        "IDPRejectedClaim" => "the token was withdrawn, or is used up: run the job again".to_owned(),
        "ExpiredToken" | "InvalidClientTokenId" | "UnrecognizedClient" | "InvalidToken" | "SignatureDoesNotMatch" => {
            "the credentials that are to assume it are no longer valid, or not of AWS: get new ones".to_owned()
        }
        "ValidationError" | "InvalidParameterValue" => {
            format!("check that `{role}` exists and is written as IAM shows it: `arn:aws:iam::ACCOUNT:role/PATH/NAME`")
        }
        "MalformedPolicyDocument" => format!("a policy of `{role}` is no policy: look at it in IAM"),
        _ => format!(
            "AWS documents this answer under `AssumeRole` and `AssumeRoleWithWebIdentity` of STS; it is about `{role}` in account \
            {account}"
        ),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

fn account(role: &RoleArn) -> &str {
    account_of(role.as_str()).unwrap_or_default()
}

fn provider_arn(role: &RoleArn, claims: &Claims) -> String {
    let partition = role.as_str().split(':').nth(1).unwrap_or("aws");
    format!("arn:{partition}:iam::{}:oidc-provider/{}", account(role), claims.provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn claims(sub: &str) -> Claims {
        Claims::of(&jwt(&json!({
            "iss": "https://token.actions.githubusercontent.com",
            "aud": "sts.amazonaws.com",
            "sub": sub,
            "repository": "org/shop",
            "repository_id": "22",
            "repository_owner_id": "11",
        })))
    }

    #[test]
    fn each_form_of_a_subject_gives_the_other() {
        let by_name = "repo:org/shop:environment:production";
        let by_id = "repo:org@11/shop@22:environment:production";
        assert_eq!(claims(by_name).other_sub().as_deref(), Some(by_id));
        assert_eq!(claims(by_id).other_sub().as_deref(), Some(by_name));
    }

    #[test]
    fn a_customised_subject_has_no_other_form() {
        assert_eq!(claims("repository_owner:org:workflow:deploy").other_sub(), None);
    }

    #[test]
    fn what_is_no_jwt_has_no_claims() {
        for text in ["", "a.b.c", "one-word", "e30.!!!.c2ln"] {
            assert_eq!(Claims::of(text), Claims::default(), "{text:?}");
        }
    }

    #[test]
    fn a_denial_names_the_statement_that_would_allow_it_and_the_other_form() {
        let failure = IdentityFailure::Denied {
            role: "arn:aws-us-gov:iam::111122223333:role/deploy".into(),
            claims: Box::new(claims("repo:org@11/shop@22:ref:refs/heads/main")),
            message: "Not authorized to perform sts:AssumeRoleWithWebIdentity".into(),
        };
        insta::assert_snapshot!(format!("{failure}\n\nhint: {}", failure.hint()));
    }

    #[test]
    fn each_refusal_has_its_own_advice_and_only_a_malformed_arn_sends_people_to_look_for_the_role() {
        let certificate = "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint";
        for (code, message, word) in [
            ("RegionDisabledException", "STS is not activated in this region for account:111122223333", "region"),
            ("InvalidIdentityToken", certificate, "thumbprint"),
            ("InvalidIdentityToken", "The ID Token provided is not yet valid", "clock"),
            ("SignatureDoesNotMatch", "Signature not yet current: 20261130T1 is still later than 20261130T0", "clock"),
            ("InvalidIdentityToken", "Missing a required claim: sub", "claim"),
            ("InvalidIdentityToken", "Provided Token is not a Login With GitHub token", "issuer"),
            ("PackedPolicyTooLarge", "Packed policy consumes 120% of allotted space", "tags"),
            ("IDPRejectedClaim", "Rejected", "again"),
            ("InvalidClientTokenId", "The security token included in the request is invalid.", "credentials"),
            ("ValidationError", "Request ARN is invalid", "as IAM shows it"),
            ("SomethingNew", "unheard of", "111122223333"),
        ] {
            let role = "arn:aws:iam::111122223333:role/deploy".into();
            let refused = IdentityFailure::Refused { role, code: code.to_owned(), message: message.to_owned() };
            let hint = refused.hint();
            assert!(hint.contains(word), "{code}: {message}: {hint}");
            assert_eq!(hint.contains("exist"), code == "ValidationError", "{hint}");
        }
    }

    #[test]
    fn a_denial_says_that_the_role_may_not_exist_at_all() {
        let role: RoleArn = "arn:aws:iam::111122223333:role/deploy".into();
        let claims = Box::new(claims("repo:org/shop:ref:refs/heads/main"));
        let denied = IdentityFailure::Denied { role: role.clone(), claims, message: String::new() };
        assert!(denied.hint().ends_with(
            "STS says the same where `arn:aws:iam::111122223333:role/deploy` does not exist in account 111122223333, and where \
            a policy of the organization denies it"
        ));
        for previous in [None, Some("arn:aws:iam::111122223333:role/first".into())] {
            let by = "x".to_owned();
            let denied = IdentityFailure::ChainDenied { role: role.clone(), by, previous, message: String::new() };
            assert!(denied.hint().contains("a role that does not exist"), "{}", denied.hint());
        }
    }

    #[test]
    fn the_issuer_of_an_enterprise_server_keeps_its_path_in_the_condition_keys() {
        let mut claims = claims("repo:org/shop:ref:refs/heads/main");
        claims.iss = "https://github.corp.example/_services/token".into();
        let failure = IdentityFailure::Denied {
            role: "arn:aws:iam::111122223333:role/deploy".into(),
            claims: Box::new(claims),
            message: String::new(),
        };
        let hint = failure.hint();
        assert!(
            hint.contains(r#""github.corp.example/_services/token:sub": "repo:org/shop:ref:refs/heads/main""#),
            "{hint}"
        );
        assert!(hint.contains("oidc-provider/github.corp.example/_services/token\""), "{hint}");
    }
}
