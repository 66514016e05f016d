//! Federation: what STS refuses, one cause at a time.

use std::time::Duration;

use aws_sdk_sts::error::SdkError;
use aws_sdk_sts::operation::assume_role_with_web_identity::{
    AssumeRoleWithWebIdentityError, AssumeRoleWithWebIdentityOutput,
};
use aws_stage::Stage;
use aws_stage::oidc::GithubJob;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::clients::{ISSUER, github_role, refusal, root, seed, session, stage, sts, sub_is};

const MAIN: &str = "repo:acme/shop:ref:refs/heads/main";

struct Request {
    role: String,
    token: String,
    session: &'static str,
    duration: Option<i32>,
}

impl Request {
    fn of(stage: &Stage, role: &str) -> Self {
        let token = stage.github().token(Some("sts.amazonaws.com")).unwrap();
        Self { role: role.to_owned(), token, session: "run-1", duration: None }
    }

    async fn send(
        self,
        stage: &Stage,
    ) -> Result<AssumeRoleWithWebIdentityOutput, SdkError<AssumeRoleWithWebIdentityError>> {
        sts(stage, root())
            .assume_role_with_web_identity()
            .role_arn(self.role)
            .role_session_name(self.session)
            .web_identity_token(self.token)
            .set_duration_seconds(self.duration)
            .send()
            .await
    }

    async fn refused(self, stage: &Stage) -> (String, String) {
        refusal(self.send(stage).await)
    }
}

fn denied() -> (String, String) {
    ("AccessDenied".to_owned(), "Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned())
}

#[tokio::test]
async fn a_job_that_the_trust_policy_names_gets_a_session_under_its_role() {
    let stage = stage().await;
    let role = github_role(&stage, "deploy", sub_is(MAIN)).await;
    let assumed = Request::of(&stage, &role).send(&stage).await.unwrap();
    assert_eq!(assumed.subject_from_web_identity_token(), Some(MAIN));
    assert_eq!(assumed.audience(), Some("sts.amazonaws.com"));
    let identity = sts(&stage, session(&stage, &role).await).get_caller_identity().send().await.unwrap();
    assert_eq!(identity.arn(), Some("arn:aws:sts::123456789012:assumed-role/deploy/run-1"));
    stage.shutdown().await;
}

#[tokio::test]
async fn each_defect_of_a_token_has_its_own_refusal() {
    let stage = stage().await;
    let role = github_role(&stage, "deploy", sub_is(MAIN)).await;
    let with = |token: String| Request { token, ..Request::of(&stage, &role) };

    let (code, message) = with("not-a-token".to_owned()).refused(&stage).await;
    assert_eq!(code, "InvalidIdentityToken");
    assert!(message.starts_with("The ID Token provided is not a valid JWT"), "{message}");

    let good = stage.github().token(Some("sts.amazonaws.com")).unwrap();
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (code, message) = with(format!("{signed}.AAAA")).refused(&stage).await;
    assert_eq!(code, "InvalidIdentityToken");
    assert!(message.starts_with("Couldn't retrieve verification key"), "{message}");

    let wrong_audience = with(stage.github().token(Some("https://github.com/acme")).unwrap()).refused(&stage).await;
    assert_eq!(wrong_audience, ("InvalidIdentityToken".into(), "Incorrect token audience".into()));

    stage.github().set_job(GithubJob { issuer: "https://ghe.example/_services/token".into(), ..Default::default() });
    let (code, message) = Request::of(&stage, &role).refused(&stage).await;
    assert_eq!(code, "InvalidIdentityToken");
    assert_eq!(message, "No OpenIDConnect provider found in your account for https://ghe.example/_services/token");

    stage.github().set_job(GithubJob { token_lifetime: Duration::ZERO, ..Default::default() });
    let (code, message) = Request::of(&stage, &role).refused(&stage).await;
    assert_eq!(code, "ExpiredTokenException");
    assert!(message.starts_with("Token expired: current date/time "), "{message}");
    stage.shutdown().await;
}

#[tokio::test]
async fn a_job_that_the_trust_policy_does_not_name_is_not_authorized() {
    let stage = stage().await;
    let role = github_role(&stage, "deploy", sub_is(MAIN)).await;
    let jobs = [
        GithubJob { git_ref: "refs/heads/feature".into(), ..Default::default() },
        GithubJob { environment: Some("production".into()), ..Default::default() },
        GithubJob { event: "pull_request".into(), ..Default::default() },
        GithubJob { immutable_subject: true, ..Default::default() },
        GithubJob { repository: "Acme/shop".into(), ..Default::default() },
    ];
    for job in jobs {
        let subject = job.subject();
        stage.github().set_job(job);
        assert_eq!(Request::of(&stage, &role).refused(&stage).await, denied(), "{subject}");
    }
    stage.github().set_job(GithubJob::default());
    let missing = role.replace("deploy", "nobody");
    assert_eq!(Request::of(&stage, &missing).refused(&stage).await, denied());
    stage.shutdown().await;
}

#[tokio::test]
async fn conditions_on_other_claims_are_evaluated_and_claims_that_aws_ignores_never_match() {
    let stage = stage().await;
    let key = |claim: &str| format!("token.actions.githubusercontent.com:{claim}");
    let workflows = "acme/shop/.github/workflows/*@refs/heads/main";
    let by_workflow = json!({ "StringLike": { key("job_workflow_ref"): workflows } });
    let by_list = json!({ "ForAnyValue:StringEquals": { key("repository"): ["acme/other", "acme/shop"] } });
    let by_owner = json!({ "StringEquals": { key("repository_owner"): "acme" } });
    for (name, condition, allowed) in [("w", by_workflow, true), ("l", by_list, true), ("o", by_owner, false)] {
        let role = github_role(&stage, name, condition).await;
        assert_eq!(Request::of(&stage, &role).send(&stage).await.is_ok(), allowed, "{name}");
    }
    stage.shutdown().await;
}

#[tokio::test]
async fn durations_and_session_names_are_validated_in_the_words_of_sts() {
    let stage = stage().await;
    let role = github_role(&stage, "deploy", sub_is(MAIN)).await;
    let lasting = |seconds| Request { duration: Some(seconds), ..Request::of(&stage, &role) };
    let (code, message) = lasting(899).refused(&stage).await;
    assert_eq!(code, "ValidationError");
    let bound = "'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900";
    assert!(message.ends_with(bound), "{message}");
    let (_, message) = lasting(43201).refused(&stage).await;
    assert!(message.ends_with("less than or equal to 43200"), "{message}");
    let (code, message) = lasting(7200).refused(&stage).await;
    assert_eq!(code, "ValidationError");
    assert_eq!(message, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
    seed(&stage, "iam", "UpdateRole", json!({ "RoleName": "deploy", "MaxSessionDuration": 7200 })).await;
    assert!(lasting(7200).send(&stage).await.is_ok());

    let (code, message) = Request { session: "acme/shop", ..Request::of(&stage, &role) }.refused(&stage).await;
    assert_eq!(code, "ValidationError");
    assert!(message.ends_with(r"Member must satisfy regular expression pattern: [\w+=,.@-]*"), "{message}");
    stage.shutdown().await;
}

#[tokio::test]
async fn a_session_assumes_a_second_role_only_where_that_role_trusts_it() {
    let stage = stage().await;
    let first = github_role(&stage, "tooling", sub_is(MAIN)).await;
    for (name, principal) in [("target", first.as_str()), ("closed", "arn:aws:iam::999999999999:root")] {
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "AWS": principal }, "Action": "sts:AssumeRole",
        }] });
        let role = json!({ "RoleName": name, "AssumeRolePolicyDocument": trust.to_string() });
        seed(&stage, "iam", "CreateRole", role).await;
    }
    let client = sts(&stage, session(&stage, &first).await);
    let chain = |name: &str, seconds: Option<i32>| {
        let role = format!("arn:aws:iam::123456789012:role/{name}");
        client.assume_role().role_arn(role).role_session_name("run-2").set_duration_seconds(seconds).send()
    };
    let assumed = chain("target", None).await.unwrap();
    assert_eq!(assumed.assumed_role_user().unwrap().arn(), "arn:aws:sts::123456789012:assumed-role/target/run-2");
    let (code, message) = refusal(chain("closed", None).await);
    assert_eq!(code, "AccessDenied");
    assert_eq!(
        message,
        "User: arn:aws:sts::123456789012:assumed-role/tooling/run-1 is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/closed"
    );
    let (_, message) = refusal(chain("target", Some(3601)).await);
    assert!(message.contains("1 hour session limit"), "{message}");
    stage.shutdown().await;
}

#[tokio::test]
async fn the_token_endpoint_wants_the_jobs_bearer_and_defaults_the_audience_to_the_owner() {
    let stage = stage().await;
    let env = stage.github_env();
    let (url, token) = (&env[0].1, &env[1].1);
    let client = reqwest::Client::new();
    let unauthenticated = client.get(url).bearer_auth("nobody").send().await.unwrap();
    assert_eq!(unauthenticated.status(), 401);
    for (suffix, audience) in [("&audience=sts.amazonaws.com", "sts.amazonaws.com"), ("", "https://github.com/acme")] {
        let answer = client.get(format!("{url}{suffix}")).bearer_auth(token).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let claims = answer["value"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], audience);
        assert_eq!(claims["iss"], ISSUER);
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
    }
    stage.shutdown().await;
}
