//! STS: it verifies the token's signature, life, audience and issuer, then asks the role's trust policy.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::api::{Caller, partition};
use super::credentials::{Credentials, Issued};
use super::error::{AwsError, Reply};
use super::iam::{Iam, Provider, Role};
use super::oidc::{Oidc, Verdict};
use super::policy::{Context, Decision, Policy, Principal, Use};
use super::request::{list, number, required, text};
use super::validation::not_played;

/// The `sts` service.
#[derive(Debug)]
pub(crate) struct Sts {
    iam: Arc<Iam>,
    oidc: Arc<Oidc>,
    credentials: Arc<Credentials>,
}

/// The claims of a GitHub token that AWS evaluates as condition keys; the others never match.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html>
const CONDITION_CLAIMS: [&str; 11] = [
    "sub",
    "aud",
    "actor",
    "actor_id",
    "job_workflow_ref",
    "repository",
    "repository_id",
    "workflow",
    "ref",
    "environment",
    "enterprise_id",
];

/// The API's bounds of `DurationSeconds`, and its default.
const DURATIONS: std::ops::RangeInclusive<i64> = 900..=43200;
const DEFAULT_DURATION: i64 = 3600;

impl Sts {
    /// An STS whose roles are in `iam` and whose one issuer is `oidc`.
    #[must_use]
    pub(crate) fn new(iam: Arc<Iam>, oidc: Arc<Oidc>, credentials: Arc<Credentials>) -> Self {
        Self { iam, oidc, credentials }
    }

    /// Operations that need no signature.
    #[must_use]
    pub(crate) fn is_anonymous(operation: &str) -> bool {
        operation == "AssumeRoleWithWebIdentity"
    }

    /// One API call of `sts`, members in PascalCase. Who called is of no matter to an anonymous operation.
    pub(crate) async fn call(&self, caller: &Caller, operation: &str, body: Value) -> Reply {
        match operation {
            "AssumeRoleWithWebIdentity" => self.assume_with_web_identity(&body),
            "AssumeRole" => self.assume(caller, &body),
            "GetCallerIdentity" => Ok(json!({
                "UserId": self.user_id(caller),
                "Account": caller.account,
                "Arn": caller.arn,
            })),
            _ => Err(AwsError::client(
                "InvalidAction",
                format!("Could not find operation {operation} for version 2011-06-15"),
            )),
        }
    }

    fn assume_with_web_identity(&self, body: &Value) -> Reply {
        const ACTION: &str = "sts:AssumeRoleWithWebIdentity";
        let (role_arn, session) = (required(body, "RoleArn")?, session_name(body)?);
        let duration = duration(body)?;
        let verdict = self.oidc.verify(required(body, "WebIdentityToken")?);
        let (claims, signed) = match verdict {
            Verdict::Signed(claims) => (claims, true),
            Verdict::Forged(claims) => (claims, false),
            Verdict::NotAJwt => {
                return Err(invalid_token(
                    "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
                ));
            }
        };
        let issuer = claims["iss"].as_str().unwrap_or_default();
        let provider = self.provider_of(role_arn, issuer)?;
        if !signed {
            return Err(invalid_token(
                "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
            ));
        }
        let (now, expires) = (epoch(), claims["exp"].as_u64().unwrap_or(0));
        if now >= expires {
            return Err(AwsError::client(
                "ExpiredTokenException",
                format!("Token expired: current date/time {now} must be before the expiration date/time {expires}"),
            ));
        }
        let audience = claims["aud"].as_str().unwrap_or_default();
        if !provider.client_ids.iter().any(|id| id == audience) {
            return Err(invalid_token("Incorrect token audience"));
        }
        let host = issuer.trim_start_matches("https://");
        let context: Context = CONDITION_CLAIMS
            .iter()
            .filter_map(|claim| Some((format!("{host}:{claim}"), vec![claims.get(*claim)?.as_str()?.to_owned()])))
            .collect();
        let trusts =
            |role: &Role| role.trust.trusts(Principal::Federated(&provider.arn), ACTION, &context) == Decision::Allowed;
        let role = self
            .iam
            .role(role_arn)
            .filter(trusts)
            .ok_or_else(|| denied(format!("Not authorized to perform {ACTION}")))?;
        let mut reply = self.issue(&role, session, within_maximum(duration, &role)?, session_policy(body)?);
        reply["SubjectFromWebIdentityToken"] = claims["sub"].clone();
        reply["Provider"] = json!(provider.arn);
        reply["Audience"] = json!(audience);
        Ok(reply)
    }

    fn provider_of(&self, role_arn: &str, issuer: &str) -> Result<Provider, AwsError> {
        let account = role_arn.split(':').nth(4).unwrap_or_default();
        self.iam
            .provider(account, issuer)
            .ok_or_else(|| invalid_token(&format!("No OpenIDConnect provider found in your account for {issuer}")))
    }

    fn assume(&self, caller: &Caller, body: &Value) -> Reply {
        const ACTION: &str = "sts:AssumeRole";
        let (role_arn, session) = (required(body, "RoleArn")?, session_name(body)?);
        let duration = duration(body)?;
        let Some(own_role) = self.iam.role_of(caller) else {
            return Err(denied("Roles may not be assumed by root accounts.".to_owned()));
        };
        let not_authorized =
            || denied(format!("User: {} is not authorized to perform: {ACTION} on resource: {role_arn}", caller.arn));
        let account_root = format!("arn:{}:iam::{}:root", partition(&caller.region), caller.account);
        let as_itself = [caller.arn.clone(), own_role.arn];
        let as_account = [account_root, caller.account.clone()];
        let role = self.iam.role(role_arn).ok_or_else(not_authorized)?;
        let context = Context::new();
        let trusts = |names: &[String]| role.trust.trusts(Principal::Aws(names), ACTION, &context) == Decision::Allowed;
        let allowed = self.iam.authorize(caller, ACTION, role_arn, &context).is_ok();
        // Trust in the account alone delegates to its own policies, and so does every trust across accounts; a role
        // that is named by its own account needs no further permission.
        let same_account = role_arn.split(':').nth(4) == Some(caller.account.as_str());
        if !((trusts(&as_itself) && (same_account || allowed)) || (trusts(&as_account) && allowed)) {
            return Err(not_authorized());
        }
        if duration > 3600 {
            return Err(validation(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            ));
        }
        Ok(self.issue(&role, session, within_maximum(duration, &role)?, session_policy(body)?))
    }

    fn issue(&self, role: &Role, session: &str, seconds: u64, policy: Option<Arc<Policy>>) -> Value {
        let mut fields = role.arn.split(':').skip(1);
        let partition = fields.next().unwrap_or("aws");
        let account = fields.nth(2).unwrap_or_default();
        let arn = format!("arn:{partition}:sts::{account}:assumed-role/{}/{session}", role.name);
        let Issued { access_key, secret_key, session_token } =
            self.credentials.issue(account, &arn, Duration::from_secs(seconds), policy);
        let expiration = jiff::Timestamp::now() + Duration::from_secs(seconds);
        json!({
            "Credentials": {
                "AccessKeyId": access_key,
                "SecretAccessKey": secret_key,
                "SessionToken": session_token,
                "Expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            },
            "AssumedRoleUser": { "AssumedRoleId": format!("{}:{session}", role.id), "Arn": arn },
        })
    }

    fn user_id(&self, caller: &Caller) -> String {
        let session = caller.arn.rsplit('/').next().unwrap_or_default();
        let role = self.iam.role_of(caller);
        role.map_or_else(|| caller.account.clone(), |role| format!("{}:{session}", role.id))
    }
}

/// `Policy` of the request: the session may do what both it and the role allow.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session>
fn session_policy(body: &Value) -> Result<Option<Arc<Policy>>, AwsError> {
    if !list(body, "PolicyArns").is_empty() {
        return Err(not_played("managed policies of a session (`PolicyArns`)"));
    }
    text(body, "Policy").map(|document| Policy::parse(document, Use::Identity).map(Arc::new)).transpose()
}

fn session_name(body: &Value) -> Result<&str, AwsError> {
    let name = required(body, "RoleSessionName")?;
    let constraint = if name.len() < 2 {
        "Member must have length greater than or equal to 2"
    } else if name.len() > 64 {
        "Member must have length less than or equal to 64"
    } else if name.chars().any(|letter| !letter.is_ascii_alphanumeric() && !"_+=,.@-".contains(letter)) {
        r"Member must satisfy regular expression pattern: [\w+=,.@-]*"
    } else {
        return Ok(name);
    };
    Err(validation(&format!(
        "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: {constraint}"
    )))
}

fn duration(body: &Value) -> Result<i64, AwsError> {
    let seconds = match text(body, "DurationSeconds") {
        Some(_) => return Err(validation("DurationSeconds is not a number")),
        None => number(body, "DurationSeconds").unwrap_or(DEFAULT_DURATION),
    };
    if DURATIONS.contains(&seconds) {
        return Ok(seconds);
    }
    let bound =
        if seconds < *DURATIONS.start() { "greater than or equal to 900" } else { "less than or equal to 43200" };
    Err(validation(&format!(
        "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: Member must have value {bound}"
    )))
}

fn within_maximum(seconds: i64, role: &Role) -> Result<u64, AwsError> {
    if seconds > role.max_session_duration {
        return Err(validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role."));
    }
    Ok(u64::try_from(seconds).unwrap_or_default())
}

fn denied(message: String) -> AwsError {
    AwsError { status: 403, ..AwsError::client("AccessDenied", message) }
}

fn invalid_token(message: &str) -> AwsError {
    AwsError::client("InvalidIdentityToken", message)
}

fn validation(message: &str) -> AwsError {
    AwsError::client("ValidationError", message)
}

fn epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
