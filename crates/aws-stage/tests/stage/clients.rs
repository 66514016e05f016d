//! AWS's own SDK clients against a stage, and bare requests where the crate has no SDK for a service.

use aws_sdk_ecs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_stage::{Stage, StageOptions};
use serde_json::{Value, json};

pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "eu-central-1";
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";

pub async fn stage() -> Stage {
    Stage::start(StageOptions::default()).await.expect("a stage")
}

pub fn root() -> Credentials {
    Credentials::new("stage", "stage", None, None, "test")
}

macro_rules! client {
    ($name:ident, $sdk:ident) => {
        pub fn $name(stage: &Stage, credentials: Credentials) -> $sdk::Client {
            let retries = $sdk::config::retry::RetryConfig::standard()
                .with_max_attempts(4)
                .with_initial_backoff(std::time::Duration::from_millis(1));
            $sdk::Client::from_conf(
                $sdk::Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::new(REGION))
                    .endpoint_url(stage.url())
                    .credentials_provider(credentials)
                    .retry_config(retries)
                    .build(),
            )
        }
    };
}

client!(ecs, aws_sdk_ecs);
client!(ecr, aws_sdk_ecr);
client!(ssm, aws_sdk_ssm);
client!(sts, aws_sdk_sts);

/// The exception's name and sentence.
pub fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> (String, String) {
    let Err(SdkError::ServiceError(error)) = result else { panic!("not refused by the service") };
    let error = error.err();
    (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned())
}

pub async fn seed(stage: &Stage, service: &str, operation: &str, body: Value) -> Value {
    let reply = stage.call(service, operation, body).await;
    reply.unwrap_or_else(|error| panic!("{operation}: {}: {}", error.code, error.message))
}

/// A role that GitHub jobs may assume on `condition`, and the provider; answers with the role's ARN.
pub async fn github_role(stage: &Stage, name: &str, condition: Value) -> String {
    let provider = json!({ "Url": ISSUER, "ClientIDList": ["sts.amazonaws.com"] });
    // A second role finds the provider already there.
    let _ = stage.call("iam", "CreateOpenIDConnectProvider", provider).await;
    let federated = format!("arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com");
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": { "Federated": federated },
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": condition,
    }] });
    let role = json!({ "RoleName": name, "AssumeRolePolicyDocument": trust.to_string() });
    let created = seed(stage, "iam", "CreateRole", role).await;
    created["Role"]["Arn"].as_str().expect("an ARN").to_owned()
}

pub fn sub_is(sub: &str) -> Value {
    json!({ "StringEquals": {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": sub,
    } })
}

/// Credentials of a fresh session of a role.
pub async fn session(stage: &Stage, role: &str) -> Credentials {
    let token = stage.github().token(Some("sts.amazonaws.com")).expect("a token");
    let assumed = sts(stage, root())
        .assume_role_with_web_identity()
        .role_arn(role)
        .role_session_name("run-1")
        .web_identity_token(token)
        .send()
        .await
        .expect("a session");
    let issued = assumed.credentials().expect("credentials");
    let token = Some(issued.session_token().to_owned());
    Credentials::new(issued.access_key_id(), issued.secret_access_key(), token, None, "test")
}

/// A session of a new role under `statements`.
pub async fn restricted(stage: &Stage, name: &str, statements: Value) -> Credentials {
    let subject = stage.github().job().subject();
    let role = github_role(stage, name, sub_is(&subject)).await;
    let policy = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    seed(stage, "iam", "PutRolePolicy", json!({ "RoleName": name, "PolicyName": "p", "PolicyDocument": policy })).await;
    session(stage, &role).await
}

/// A bare request, signed in form only.
pub fn bare(stage: &Stage, service: &str) -> reqwest::RequestBuilder {
    let credential = format!("Credential=stage/20261121/{REGION}/{service}/aws4_request");
    reqwest::Client::new()
        .post(stage.url())
        .header("authorization", format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"))
}
