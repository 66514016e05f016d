//! Who we are: tokens, roles, chains, renewals and refusals.

use crate::contract::scripted_server::{
    Answer, ScriptedServer, caller_identity, credentials, error, inputs, jwt, ok, sts_error, text, token,
};
use crate::recorded_events::RecordedEvents;
use fargate_deploy::adapters::aws::{AwsClient, IdentityFailure, Session, SessionInputs};
use fargate_deploy::commands::cleanup_state::CleanupState;
use fargate_deploy::commands::post::post;
use fargate_deploy::events::{Event, Sink, Took, Wait};
use fargate_deploy::ports::{CallErrorKind, Identity as _, Tasks as _};
use fargate_deploy::retry::each_within;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::redact::Secret;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const BY_TOKEN: &str = "AssumeRoleWithWebIdentity";
pub const SUB: &str = "repo:org/shop:ref:refs/heads/main";
pub const ROLE: &str = "arn:aws:iam::111122223333:role/deploy";
const NEXT_ROLE: &str = "arn:aws:iam::444455556666:role/target";
pub const HOUR: Duration = Duration::from_secs(3600);

pub fn job(played: &ScriptedServer, roles: &[&str]) -> SessionInputs {
    SessionInputs {
        roles: roles.iter().map(|&role| role.into()).collect(),
        session_name: "org/shop 17#2".to_owned(),
        ..inputs(played.job_env())
    }
}

pub async fn open(inputs: &SessionInputs) -> Result<AwsClient, IdentityFailure> {
    Session::open(inputs, Arc::new(RecordedEvents::default())).await.map(AwsClient::new)
}

#[tokio::test]
async fn a_role_is_assumed_with_the_jobs_token_and_signs_the_calls() {
    let played = ScriptedServer::start().await;
    played
        .on("GET", [token(&jwt(SUB, 1))])
        .on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)])
        .on("GetCallerIdentity", [caller_identity()]);
    let cloud = open(&job(&played, &[ROLE])).await.unwrap();
    assert!(cloud.caller().await.unwrap().arn.contains("111122223333"));

    let asked = &played.asked_for("GET")[0];
    assert_eq!(asked.uri, "/token?api-version=2.0&audience=sts.amazonaws.com");
    assert_eq!(asked.headers["authorization"], "Bearer request-token");
    let assumed = &played.asked_for(BY_TOKEN)[0];
    assert_eq!(assumed.form("RoleArn"), ROLE);
    assert_eq!(assumed.form("RoleSessionName"), "org-shop-17-2");
    assert_eq!(assumed.form("DurationSeconds"), "3600");
    assert_eq!(assumed.form("WebIdentityToken"), jwt(SUB, 1));
    assert!(!assumed.headers.contains_key("authorization"), "the token is the only credential");
    let called = &played.asked_for("GetCallerIdentity")[0];
    assert_eq!(called.signed_by(), "AKIDROLE");
    assert_eq!(called.headers["x-amz-security-token"], "token-of-AKIDROLE");
}

#[tokio::test]
async fn another_audience_is_asked_for_where_one_is_given() {
    let played = ScriptedServer::start().await;
    played.on("GET", [token(&jwt(SUB, 1))]).on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)]);
    let inputs = SessionInputs { audience: Some("sts.amazonaws.com.cn/x y".to_owned()), ..job(&played, &[ROLE]) };
    open(&inputs).await.unwrap();
    assert!(played.asked()[0].uri.ends_with("&audience=sts.amazonaws.com.cn%2Fx%20y"), "{:?}", played.asked()[0].uri);
}

#[tokio::test]
async fn what_is_done_after_the_job_is_done_as_the_run_itself() {
    let played = ScriptedServer::start().await;
    played.on("GET", [token(&jwt(SUB, 1))]).on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)]);
    let folder = tempfile::tempdir().unwrap();
    let mut env = played.job_env();
    for (name, value) in [
        ("RUNNER_TEMP", folder.path().to_str().unwrap()),
        ("GITHUB_REPOSITORY", "org/shop"),
        ("GITHUB_RUN_ID", "17"),
        ("GITHUB_RUN_ATTEMPT", "2"),
        ("GITHUB_JOB", "deploy"),
        ("FARGATE_DEPLOY_OIDC_AUDIENCE", "sts.amazonaws.com.cn"),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    let told = Arc::new(RecordedEvents::default());
    let killed = CleanupState::new(told.clone(), &env, None, vec![ROLE.into()]);
    killed.emit(Event::LeaseAcquired {
        service: ServiceRef { cluster: "shop".into(), name: "web".into() },
        parameter: "/fargate-deploy/shop/web/1".to_owned(),
        generation: 1,
        token: Secret::new("token-of-the-lease"),
        took: Took::default(),
    });
    post(&env, told).await;
    assert_eq!(played.asked_for("GET")[0].uri, "/token?api-version=2.0&audience=sts.amazonaws.com.cn");
    assert_eq!(played.asked_for(BY_TOKEN)[0].form("RoleSessionName"), "shop-17");
}

/// Notes what had been asked when each secret was masked.
struct WhenMasked {
    played: ScriptedServer,
    masks: Mutex<Vec<(String, Vec<String>)>>,
}

impl Sink for WhenMasked {
    fn emit(&self, event: Event) {
        if let Event::Mask(secret) = event {
            let asked = self.played.asked().into_iter().map(|a| a.operation).collect();
            self.masks.lock().unwrap().push((secret.expose().to_owned(), asked));
        }
    }
}

#[tokio::test]
async fn every_secret_is_masked_before_it_is_used() {
    let played = ScriptedServer::start().await;
    played
        .on("GET", [token(&jwt(SUB, 1))])
        .on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)])
        .on("AssumeRole", [credentials("AssumeRole", "AKIDNEXT", HOUR)]);
    let sink = Arc::new(WhenMasked { played: played.clone(), masks: Mutex::default() });
    Session::open(&job(&played, &[ROLE, NEXT_ROLE]), sink.clone()).await.unwrap();
    let masks = sink.masks.lock().unwrap().clone();
    let expected = [
        (jwt(SUB, 1), vec!["GET"]),
        ("secret-of-AKIDROLE".to_owned(), vec!["GET", BY_TOKEN]),
        ("token-of-AKIDROLE".to_owned(), vec!["GET", BY_TOKEN]),
        ("secret-of-AKIDNEXT".to_owned(), vec!["GET", BY_TOKEN, "AssumeRole"]),
        ("token-of-AKIDNEXT".to_owned(), vec!["GET", BY_TOKEN, "AssumeRole"]),
    ];
    let masks: Vec<(String, Vec<&str>)> =
        masks.iter().map(|(secret, asked)| (secret.clone(), asked.iter().map(String::as_str).collect())).collect();
    assert_eq!(masks, expected);
}

#[tokio::test]
async fn further_roles_are_assumed_with_the_credentials_of_the_one_before() {
    let played = ScriptedServer::start().await;
    played
        .on("GET", [token(&jwt(SUB, 1))])
        .on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)])
        .on("AssumeRole", [credentials("AssumeRole", "AKIDNEXT", HOUR)])
        .on("GetCallerIdentity", [caller_identity()]);
    let cloud = open(&job(&played, &[ROLE, NEXT_ROLE])).await.unwrap();
    cloud.caller().await.unwrap();
    let chained = &played.asked_for("AssumeRole")[0];
    assert_eq!((chained.form("RoleArn").as_str(), chained.signed_by()), (NEXT_ROLE, "AKIDROLE"));
    assert_eq!(played.asked_for("GetCallerIdentity")[0].signed_by(), "AKIDNEXT");
}

#[tokio::test]
async fn outside_of_actions_roles_are_assumed_with_the_ambient_credentials() {
    let played = ScriptedServer::start().await;
    played.on("AssumeRole", [credentials("AssumeRole", "AKIDROLE", HOUR)]).on("GetCallerIdentity", [caller_identity()]);
    let cloud = open(&SessionInputs { roles: vec![ROLE.into()], ..inputs(played.env()) }).await.unwrap();
    cloud.caller().await.unwrap();
    assert_eq!(played.asked_for("AssumeRole")[0].signed_by(), "AKIDPLAIN");
    assert_eq!(played.asked_for("GetCallerIdentity")[0].signed_by(), "AKIDROLE");
}

#[tokio::test]
async fn on_ones_own_machine_a_role_that_trusts_github_alone_is_left_out_in_its_own_account_only() {
    let denied = || {
        sts_error(
            403,
            "AccessDenied",
            "User: arn:aws:iam::111122223333:user/me is not authorized to perform: sts:AssumeRole",
        )
    };
    let played = ScriptedServer::start().await;
    played.on("AssumeRole", [denied()]).on("GetCallerIdentity", [caller_identity(), caller_identity()]);
    let sink = Arc::new(RecordedEvents::default());
    let own = SessionInputs { roles: vec![ROLE.into()], ..inputs(played.env()) };
    let cloud = Session::open(&own, sink.clone()).await.map(AwsClient::new).unwrap();
    cloud.caller().await.unwrap();
    assert!(played.asked_for("GetCallerIdentity").iter().all(|asked| asked.signed_by() == "AKIDPLAIN"));
    let said = serde_json::to_string(&sink.json()).unwrap();
    assert!(said.contains(r#""notice":"role-not-assumed""#) && said.contains(r#""caller":"arn:aws:"#), "{said}");

    let played = ScriptedServer::start().await;
    played.on("AssumeRole", [denied()]).on("GetCallerIdentity", [caller_identity()]);
    let foreign = ROLE.replace("111122223333", "999999999999");
    let elsewhere = SessionInputs { roles: vec![foreign.as_str().into()], ..inputs(played.env()) };
    assert!(matches!(open(&elsewhere).await.err().unwrap(), IdentityFailure::ChainDenied { .. }));

    // A job has no person's credentials: its role is what was meant.
    let played = ScriptedServer::start().await;
    played.on("AssumeRole", [denied()]);
    let mut env = played.env();
    env.insert("GITHUB_ACTIONS".to_owned(), "true".to_owned());
    let job = SessionInputs { roles: vec![ROLE.into()], ..inputs(env) };
    assert!(matches!(open(&job).await.err().unwrap(), IdentityFailure::ChainDenied { .. }));
}

#[tokio::test]
async fn a_session_about_to_end_is_renewed_with_a_fresh_token() {
    let played = ScriptedServer::start().await;
    played
        .on("GET", [token(&jwt(SUB, 1)), token(&jwt(SUB, 2))])
        .on(
            BY_TOKEN,
            [credentials(BY_TOKEN, "AKIDFIRST", Duration::from_secs(60)), credentials(BY_TOKEN, "AKIDSECOND", HOUR)],
        )
        .on("GetCallerIdentity", [caller_identity()]);
    let cloud = open(&job(&played, &[ROLE])).await.unwrap();
    cloud.caller().await.unwrap();
    cloud.caller().await.unwrap();
    let tokens: Vec<String> = played.asked_for(BY_TOKEN).iter().map(|a| a.form("WebIdentityToken")).collect();
    assert_eq!(tokens, [jwt(SUB, 1), jwt(SUB, 2)], "one token per assumption, and none while the session lasts");
    assert!(played.asked_for("GetCallerIdentity").iter().all(|a| a.signed_by() == "AKIDSECOND"));
}

#[tokio::test]
async fn while_a_renewal_fails_the_old_session_is_used_to_its_end() {
    let played = ScriptedServer::start().await;
    played
        .on("GET", [token(&jwt(SUB, 1))])
        .on(
            BY_TOKEN,
            [
                credentials(BY_TOKEN, "AKIDFIRST", Duration::from_secs(60)),
                sts_error(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
            ],
        )
        .on("GetCallerIdentity", [caller_identity()]);
    let cloud = open(&job(&played, &[ROLE])).await.unwrap();
    cloud.caller().await.unwrap();
    assert_eq!(played.asked_for("GetCallerIdentity")[0].signed_by(), "AKIDFIRST");
}

#[tokio::test]
async fn a_session_that_aws_calls_expired_is_renewed_and_the_call_made_again() {
    let played = ScriptedServer::start().await;
    let expired = error(400, "ExpiredTokenException", "The security token included in the request is expired");
    played
        .on("GET", [token(&jwt(SUB, 1)), token(&jwt(SUB, 2))])
        .on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDFIRST", HOUR), credentials(BY_TOKEN, "AKIDSECOND", HOUR)])
        .on("ListTasks", [expired, ok(json!({ "taskArns": ["arn:task/1"] }))]);
    let cloud = open(&job(&played, &[ROLE])).await.unwrap();
    assert_eq!(cloud.tasks_started_by(&"shop".into(), "me").await.unwrap(), ["arn:task/1".into()]);
    let signers: Vec<String> = played.asked_for("ListTasks").iter().map(|a| a.signed_by().to_owned()).collect();
    assert_eq!(signers, ["AKIDFIRST", "AKIDSECOND"]);
}

#[tokio::test]
async fn a_session_that_stays_expired_is_given_up_after_one_renewal() {
    let played = ScriptedServer::start().await;
    played.on("GET", [token(&jwt(SUB, 1))]).on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)]).on(
        "ListTasks",
        [error(400, "ExpiredTokenException", "The security token included in the request is expired")],
    );
    let cloud = open(&job(&played, &[ROLE])).await.unwrap();
    let failure = cloud.tasks_started_by(&"shop".into(), "me").await.unwrap_err();
    assert_eq!((failure.kind, failure.code.as_str()), (CallErrorKind::Identity, "ExpiredTokenException"));
    assert_eq!((played.asked_for("ListTasks").len(), played.asked_for(BY_TOKEN).len()), (2, 2));
}

#[tokio::test]
async fn a_renewal_that_is_denied_is_a_failure_of_identity_that_says_why() {
    let played = ScriptedServer::start().await;
    played
        .on("GET", [token(&jwt(SUB, 1))])
        .on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR), sts_error(403, "AccessDenied", "Not authorized")])
        .on("ListTasks", [error(400, "ExpiredTokenException", "expired")]);
    let cloud = open(&job(&played, &[ROLE])).await.unwrap();
    let failure = cloud.tasks_started_by(&"shop".into(), "me").await.unwrap_err();
    assert_eq!(failure.kind, CallErrorKind::Identity);
    assert!(
        failure.to_string().contains("`arn:aws:iam::111122223333:role/deploy`: this job may not assume it"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_denial_is_believed_at_once_and_says_which_condition_would_match() {
    let played = ScriptedServer::start().await;
    let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
    played.on("GET", [token(&jwt(SUB, 1))]).on(BY_TOKEN, [sts_error(403, "AccessDenied", message)]);
    let failure = open(&job(&played, &[ROLE])).await.err().unwrap();
    assert!(matches!(failure, IdentityFailure::Denied { .. }), "{failure:?}");
    assert_eq!(played.asked_for(BY_TOKEN).len(), 1, "a denial is not retried");
    let hint = failure.hint();
    for expected in [
        r#""token.actions.githubusercontent.com:sub": "repo:org/shop:ref:refs/heads/main""#,
        r#""token.actions.githubusercontent.com:sub": "repo:org@11/shop@22:ref:refs/heads/main""#,
        r#""token.actions.githubusercontent.com:aud": "sts.amazonaws.com""#,
        r#""Federated": "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com""#,
    ] {
        assert!(hint.contains(expected), "{expected} is not in\n{hint}");
    }
    let shown = format!("{failure:?} {failure} {hint}");
    assert!(!shown.contains(&jwt(SUB, 1)), "the token itself is never shown");
}

#[tokio::test]
async fn refusals_of_sts_are_told_apart_and_not_retried() {
    type Is = fn(&IdentityFailure) -> bool;
    let cases: [(&str, &str, Is, &str); 10] = [
        (
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for https://token.actions.githubusercontent.com",
            |f| matches!(f, IdentityFailure::NoProvider { .. }),
            "create-open-id-connect-provider --url https://token.actions.githubusercontent.com",
        ),
        (
            "InvalidIdentityToken",
            "Incorrect token audience",
            |f| matches!(f, IdentityFailure::WrongAudience { .. }),
            "--client-id sts.amazonaws.com",
        ),
        ("ExpiredTokenException", "Token expired", |f| matches!(f, IdentityFailure::Expired { .. }), "clock"),
        (
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            |f| matches!(f, IdentityFailure::DurationTooLong { .. }),
            "an hour",
        ),
        ("ValidationError", "invalid ARN", |f| matches!(f, IdentityFailure::Refused { .. }), "exists"),
        (
            "RegionDisabledException",
            "STS is off",
            |f| matches!(f, IdentityFailure::Refused { .. }),
            "switch it on there",
        ),
        (
            "InvalidIdentityToken",
            "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
            |f| matches!(f, IdentityFailure::Refused { .. }),
            "update-open-id-connect-provider-thumbprint",
        ),
        (
            "InvalidIdentityToken",
            "Missing a required claim: sub",
            |f| matches!(f, IdentityFailure::Refused { .. }),
            "include_claim_keys",
        ),
        (
            "PackedPolicyTooLarge",
            "Packed policy consumes 120% of allotted space",
            |f| matches!(f, IdentityFailure::Refused { .. }),
            "transitive tags",
        ),
        (
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
            |f| matches!(f, IdentityFailure::Denied { .. }),
            "does not exist in account 111122223333",
        ),
    ];
    for (code, message, is_it, hint) in cases {
        let played = ScriptedServer::start().await;
        played.on("GET", [token(&jwt(SUB, 1))]).on(BY_TOKEN, [sts_error(400, code, message)]);
        let failure = open(&job(&played, &[ROLE])).await.err().unwrap();
        assert!(is_it(&failure), "{code}: {failure:?}");
        assert!(failure.hint().contains(hint), "{code}: {}", failure.hint());
        assert_eq!(played.asked_for(BY_TOKEN).len(), 1, "{code}");
    }
}

#[tokio::test]
async fn what_may_pass_is_retried_with_a_fresh_token_each_time() {
    let passing = [
        sts_error(
            400,
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider, please reference",
        ),
        sts_error(400, "IDPCommunicationError", "Error communicating with the identity provider"),
        sts_error(503, "ServiceUnavailable", "try again"),
        sts_error(400, "Throttling", "Rate exceeded"),
        Answer::Reset,
    ];
    for answer in passing {
        let played = ScriptedServer::start().await;
        played
            .on("GET", [token(&jwt(SUB, 1)), token(&jwt(SUB, 2))])
            .on(BY_TOKEN, [answer.clone(), credentials(BY_TOKEN, "AKIDROLE", HOUR)]);
        open(&job(&played, &[ROLE])).await.unwrap();
        let tokens: Vec<String> = played.asked_for(BY_TOKEN).iter().map(|a| a.form("WebIdentityToken")).collect();
        assert_eq!(tokens, [jwt(SUB, 1), jwt(SUB, 2)], "{answer:?}");
    }
}

#[tokio::test]
async fn what_a_proxy_answers_in_the_place_of_github_or_of_sts_is_no_answer() {
    let foreign = ["", "<html>please log in</html>", r#"{"value":""}"#, r#"{"value":null}"#, "{}"];
    for body in foreign {
        let played = ScriptedServer::start().await;
        played
            .on("GET", [text(200, body), token(&jwt(SUB, 1))])
            .on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)]);
        open(&job(&played, &[ROLE])).await.unwrap();

        let played = ScriptedServer::start().await;
        played.on("GET", [text(200, body)]).on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)]);
        let failure = each_within(Duration::from_millis(200), open(&job(&played, &[ROLE]))).await.err().unwrap();
        assert!(failure.to_string().contains("there is no token in the answer: a proxy"), "{body}: {failure}");
        assert!(matches!(failure, IdentityFailure::Unavailable { is_answered: true, .. }), "{body}: {failure:?}");
        assert!(played.asked_for(BY_TOKEN).is_empty(), "{body}: what is no token is not sent to STS");
    }
    let empty = format!(
        "<{BY_TOKEN}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{BY_TOKEN}Result></{BY_TOKEN}Result>\
         </{BY_TOKEN}Response>"
    );
    for body in ["", "<html>please log in</html>", r#"{"x":1}"#, empty.as_str()] {
        let played = ScriptedServer::start().await;
        played
            .on("GET", [token(&jwt(SUB, 1))])
            .on(BY_TOKEN, [text(200, body), credentials(BY_TOKEN, "AKIDROLE", HOUR)])
            .on("AssumeRole", [text(200, body), credentials("AssumeRole", "AKIDNEXT", HOUR)]);
        open(&job(&played, &[ROLE, NEXT_ROLE])).await.unwrap();

        let played = ScriptedServer::start().await;
        played.on("GET", [token(&jwt(SUB, 1))]).on(BY_TOKEN, [text(200, body)]);
        let failure = each_within(Duration::from_millis(200), open(&job(&played, &[ROLE]))).await.err().unwrap();
        assert!(matches!(failure, IdentityFailure::Unavailable { is_answered: true, .. }), "{body}: {failure:?}");
        assert!(failure.to_string().contains("no answer of AWS: a proxy on the way"), "{body}: {failure}");
    }
}

#[tokio::test]
async fn each_call_that_is_made_again_is_told_of() {
    let played = ScriptedServer::start().await;
    played
        .on("GET", [text(503, "busy"), token(&jwt(SUB, 1))])
        .on(BY_TOKEN, [sts_error(400, "Throttling", "Rate exceeded"), credentials(BY_TOKEN, "AKIDROLE", HOUR)])
        .on("GetCallerIdentity", [sts_error(503, "ServiceUnavailable", "try again"), caller_identity()]);
    let told = Arc::new(RecordedEvents::default());
    let session = Session::open(&job(&played, &[ROLE]), told.clone()).await.unwrap();
    AwsClient::new(session).caller().await.unwrap();
    let again: Vec<String> = told
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Waiting(Wait::Answer { of, .. }) => Some(of),
            _ => None,
        })
        .collect();
    assert_eq!(again, ["OIDC token of GitHub", "sts:AssumeRoleWithWebIdentity", "sts:GetCallerIdentity"]);
}

#[tokio::test]
async fn an_identity_provider_that_stays_away_ends_when_its_time_is_over() {
    let played = ScriptedServer::start().await;
    played.on("GET", [token(&jwt(SUB, 1))]).on(
        BY_TOKEN,
        [sts_error(400, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider")],
    );
    let failure = each_within(Duration::from_secs(2), open(&job(&played, &[ROLE]))).await.err().unwrap();
    assert!(matches!(failure, IdentityFailure::Unavailable { is_answered: true, .. }), "{failure:?}");
    assert!(played.asked_for(BY_TOKEN).len() > 2);
}

#[tokio::test]
async fn the_token_endpoint_is_retried_when_it_stumbles_and_not_when_it_refuses() {
    let played = ScriptedServer::start().await;
    played
        .on("GET", [text(503, "busy"), Answer::Reset, Answer::CutOff("{".to_owned()), token(&jwt(SUB, 1))])
        .on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)]);
    open(&job(&played, &[ROLE])).await.unwrap();
    assert_eq!(played.asked_for("GET").len(), 4);

    let refusing = ScriptedServer::start().await;
    refusing.on("GET", [text(403, "no")]);
    let failure = open(&job(&refusing, &[ROLE])).await.err().unwrap();
    assert_eq!(failure, IdentityFailure::TokenRefused { status: 403 });
    assert_eq!(refusing.asked().len(), 1);
}

#[tokio::test]
async fn a_chained_role_that_is_denied_shows_the_statement_for_its_trust_policy() {
    let played = ScriptedServer::start().await;
    played
        .on("GET", [token(&jwt(SUB, 1))])
        .on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)])
        .on("AssumeRole", [sts_error(403, "AccessDenied", "User: x is not authorized to perform: sts:AssumeRole")]);
    let failure = open(&job(&played, &[ROLE, NEXT_ROLE])).await.err().unwrap();
    assert!(failure.to_string().starts_with(&format!("`{NEXT_ROLE}`: may not be assumed by `{ROLE}`: ")), "{failure}");
    assert!(failure.hint().contains(&format!(r#""AWS": "{ROLE}""#)), "{}", failure.hint());
    assert_eq!(played.asked_for("AssumeRole").len(), 1);
}

#[tokio::test]
async fn credentials_that_end_with_their_session_are_warned_about() {
    let played = ScriptedServer::start().await;
    let (plain, bound) = (RecordedEvents::default(), Arc::new(RecordedEvents::default()));
    Session::open(&inputs(played.env()), Arc::new(plain)).await.unwrap();
    let mut env = played.env();
    env.insert("AWS_SESSION_TOKEN".to_owned(), "ends".to_owned());
    Session::open(&inputs(env), bound.clone()).await.unwrap();
    assert_eq!(bound.warnings().len(), 1);
    assert!(bound.warnings()[0].contains("cannot be renewed"));
    assert_eq!(bound.masked(), Vec::<String>::new());
}

#[tokio::test]
async fn endpoints_of_one_service_come_before_the_general_one() {
    let (sts, ecs) = (ScriptedServer::start().await, ScriptedServer::start().await);
    sts.on("GetCallerIdentity", [caller_identity()]);
    ecs.on("ListTasks", [ok(json!({ "taskArns": [] }))]);
    let mut env = sts.env();
    env.insert("AWS_ENDPOINT_URL_ECS".to_owned(), ecs.url.clone());
    let cloud = open(&inputs(env)).await.unwrap();
    cloud.caller().await.unwrap();
    cloud.tasks_started_by(&"shop".into(), "me").await.unwrap();
    assert_eq!((sts.asked().len(), ecs.asked().len()), (1, 1));
}

#[tokio::test]
async fn calls_are_signed_for_the_region_of_the_config_before_that_of_the_environment() {
    let played = ScriptedServer::start().await;
    played.on("ListTasks", [ok(json!({ "taskArns": [] }))]);
    for (region, expected) in [(Some("us-gov-west-1"), "us-gov-west-1"), (None, "eu-central-1")] {
        let cloud = open(&SessionInputs { region: region.map(str::to_owned), ..inputs(played.env()) }).await.unwrap();
        cloud.tasks_started_by(&"shop".into(), "me").await.unwrap();
        assert_eq!(cloud.region(), expected);
        let signed = played.asked().last().unwrap().headers["authorization"].clone();
        assert!(signed.contains(&format!("/{expected}/ecs/")), "{signed}");
    }
}
