//! What every call to AWS does when AWS throttles, breaks or refuses. The table has a row for each method of the ports.

use crate::contract::scripted_server::{
    Answer, ScriptedServer, caller_identity, credentials, ec2_error, error, inputs, jwt, ok, sts_error, text, token,
};
use crate::contract::sts::{BY_TOKEN, HOUR, ROLE, SUB, job, open};
use crate::recorded_events::RecordedEvents;
use crate::story::scene::one_off;
use fargate_deploy::adapters::aws::{AwsClient, Session, SessionInputs};
use fargate_deploy::ports::*;
use fargate_deploy::retry::each_within;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::task_definition::TaskDefinition;
use futures_util::future::{LocalBoxFuture, join_all};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const TD: &str = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:42";
const DIGEST: &str = "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945";

/// One method of a port.
struct Row {
    method: &'static str,
    /// What it calls, in order, and what that is answered when all is well.
    calls: Vec<(&'static str, Answer)>,
    make: fn(&AwsClient) -> LocalBoxFuture<'_, Call<()>>,
}

macro_rules! rows {
    ($($method:ident($($argument:expr),*): $($call:literal => $answer:expr),+;)+) => {
        vec![$(Row {
            method: stringify!($method),
            calls: vec![$(($call, $answer)),+],
            make: |aws| Box::pin(async move { aws.$method($($argument),*).await.map(drop) }),
        }),+]
    };
}

fn rows() -> Vec<Row> {
    let nothing = || ok(json!({}));
    let ecr = || ok(json!({ "repositories": [{ "repositoryName": "app" }] }));
    let made = || ok(json!({ "repository": { "repositoryName": "app" } }));
    let manifest = || ok(json!({ "images": [{ "imageManifest": "{}", "imageId": { "imageDigest": DIGEST } }] }));
    let image = || ok(json!({ "imageDetails": [{ "imageDigest": DIGEST }] }));
    let login = || {
        ok(json!({ "authorizationData": [{ "authorizationToken": "QVdTOnB3", "proxyEndpoint": "https://registry" }] }))
    };
    let stack = || {
        text(
            200,
            "<r><DescribeStacksResult><Stacks><member><StackStatus>CREATE_COMPLETE</StackStatus></member></Stacks>\
            </DescribeStacksResult></r>",
        )
    };
    let xml = || text(200, "<r/>");
    let trust = || {
        let document = "<AssumeRolePolicyDocument>%7B%7D</AssumeRolePolicyDocument>";
        text(200, &format!("<r><GetRoleResult><Role>{document}</Role></GetRoleResult></r>"))
    };
    rows! {
        caller(): "GetCallerIdentity" => caller_identity();
        services(&[web()]): "DescribeServices" => nothing();
        update_service(&web(), &TD.into(), false): "UpdateService" => nothing();
        service_deployments(&web(), 0.0): "ListServiceDeployments" => nothing();
        service_deployment(&"arn:d".into()): "DescribeServiceDeployments" => nothing();
        service_deployments_by_arn(&["arn:d".into()]): "DescribeServiceDeployments" => nothing();
        service_revision(&"arn:r".into()): "DescribeServiceRevisions" => nothing();
        service_revisions(&["arn:r".into()]): "DescribeServiceRevisions" => nothing();
        stop_service_deployment(&"arn:d".into()): "StopServiceDeployment" => nothing();
        continue_service_deployment(&"arn:d".into(), "hook-1", true): "ContinueServiceDeployment" => nothing();
        task_definition("web"): "DescribeTaskDefinition" => ok(json!({ "taskDefinition": { "family": "web" } }));
        register(&definition(json!({ "family": "web" }))): "RegisterTaskDefinition" => registered();
        deregister(&TD.into()): "DeregisterTaskDefinition" => nothing();
        run_task(&one_off("web:41", "token-1")): "RunTask" => nothing();
        stop_task(&"shop".into(), &"arn:t".into(), "why"): "StopTask" => nothing();
        tasks(&"shop".into(), &["arn:t".into()]): "DescribeTasks" => nothing();
        tasks_started_by(&"shop".into(), "me"): "ListTasks" => nothing();
        stopped_tasks(&web()): "ListTasks" => nothing();
        stopped_tasks_of_family(&"shop".into(), "web"): "ListTasks" => nothing();
        running_tasks(&web()): "ListTasks" => nothing();
        log_events(&stream(), None): "GetLogEvents" => nothing();
        log_tail(&stream(), 5, None): "GetLogEvents" => nothing();
        find_log_events(&query(), None): "FilterLogEvents" => nothing();
        repository(None, "app"): "DescribeRepositories" => ecr();
        create_repository(None, "app"): "CreateRepository" => made();
        registry_login(None): "GetAuthorizationToken" => login();
        image(&app(), "tag"): "DescribeImages" => image();
        is_pullable(&app(), &digest()): "BatchGetImage" => manifest();
        only_platform(&app(), &digest()): "BatchGetImage" => manifest();
        tag_image(&app(), &digest(), "tag"): "BatchGetImage" => manifest(), "PutImage" => nothing();
        create_parameter("/a", "1"): "PutParameter" => nothing();
        put_parameter("/a", "1"): "PutParameter" => nothing();
        parameters_under("/a"): "GetParametersByPath" => nothing();
        delete_parameter("/a"): "DeleteParameter" => nothing();
        parameter("/a"): "GetParameter" => ok(json!({ "Parameter": { "Type": "String", "Value": "1" } }));
        create_snapshot("db", "before"): "CreateDBSnapshot" => xml();
        snapshot("before"): "DescribeDBSnapshots" => xml();
        target_health("arn:tg"): "DescribeTargetHealth" => xml();
        target_check("arn:tg"): "DescribeTargetGroups" => xml();
        subnets(&["subnet-1".to_owned()]): "DescribeSubnets" => xml();
        route_tables("vpc-1"): "DescribeRouteTables" => xml();
        has_role("app"): "GetRole" => trust();
        has_secret("shop/key"): "DescribeSecret" => nothing();
        has_parameter("/shop/key"): "ListTagsForResource" => nothing();
        alarms(&["a".to_owned()]): "DescribeAlarms" => xml();
        vpc_endpoints("vpc-1"): "DescribeVpcEndpoints" => xml();
        lifecycle_policy(&app()): "GetLifecyclePolicy" => nothing();
        has_log_group("/shop", None): "DescribeLogGroups" => nothing();
        trust_of_role("app"): "GetRole" => trust();
        policies_of_role("app"): "ListRolePolicies" => xml(), "ListAttachedRolePolicies" => xml();
        stack_outputs("base"): "DescribeStacks" => stack();
        object("states", "key"): "GET" => text(200, "state");
    }
}

fn query() -> LogQuery {
    let streams = vec!["web/app/0123".to_owned()];
    LogQuery { group: "/ecs/web".to_owned(), region: None, streams, from: Some(1), until: Some(2), pattern: None }
}

fn web() -> ServiceRef {
    ServiceRef { cluster: "shop".into(), name: "web".into() }
}

fn definition(body: Value) -> TaskDefinition {
    let Value::Object(body) = body else { unreachable!() };
    TaskDefinition { body, tags: vec![] }
}

fn registered() -> Answer {
    ok(json!({ "taskDefinition": { "taskDefinitionArn": TD } }))
}

fn stream() -> LogStream {
    LogStream { group: "/shop".to_owned(), stream: "app/1".to_owned(), region: None }
}

fn app() -> Repository {
    Repository {
        registry_id: "111122223333".to_owned(),
        region: None,
        name: "app".to_owned(),
        uri: "registry/app".to_owned(),
        is_immutable: false,
    }
}

fn digest() -> Digest {
    Digest::parse(DIGEST).unwrap()
}

/// Where errors are XML, as in the Query protocol and S3.
fn refusal(call: &str, status: u16, code: &str) -> Answer {
    match call {
        "GetCallerIdentity"
        | "DescribeStacks"
        | "CreateDBSnapshot"
        | "DescribeDBSnapshots"
        | "GET"
        | "DescribeTargetHealth"
        | "DescribeTargetGroups"
        | "DescribeAlarms"
        | "GetRole"
        | "ListRolePolicies"
        | "ListAttachedRolePolicies" => sts_error(status, code, "no"),
        "DescribeSubnets" | "DescribeRouteTables" | "DescribeVpcEndpoints" => ec2_error(status, code, "no"),
        _ => error(status, code, "no"),
    }
}

async fn playing(row: &Row) -> ScriptedServer {
    let played = ScriptedServer::start().await;
    for (call, answer) in &row.calls {
        played.on(call, [answer.clone()]);
    }
    played
}

/// With waits of a millisecond, so that many attempts take no time.
async fn client(played: &ScriptedServer) -> AwsClient {
    client_with(Duration::from_millis(1), played).await
}

async fn client_with(retry_wait: Duration, played: &ScriptedServer) -> AwsClient {
    let inputs = SessionInputs { retry_wait, ..inputs(played.env()) };
    AwsClient::new(Session::open(&inputs, Arc::new(RecordedEvents::default())).await.unwrap())
}

#[test]
fn every_method_of_the_ports_has_a_row() {
    let ports = include_str!("../../../src/ports.rs");
    let aws = &ports[ports.find("pub trait Identity").unwrap()..ports.find("/// A parameter's value").unwrap()];
    let methods = aws.split("    async fn ").skip(1).map(|rest| &rest[..rest.find('(').unwrap()]);
    // They wait for their turn, and call nothing.
    let methods: BTreeSet<_> = methods.filter(|method| !method.ends_with("_turn")).collect();
    let rows: BTreeSet<_> = rows().iter().map(|row| row.method).collect();
    assert_eq!(rows, methods);
}

#[tokio::test]
async fn a_dozen_bad_answers_in_a_row_are_survived_by_every_call() {
    join_all(rows().iter().map(async |row| {
        for (call, good) in &row.calls {
            for bad in
                [refusal(call, 400, "ThrottlingException"), refusal(call, 503, "ServiceUnavailable"), Answer::Reset]
            {
                let played = playing(row).await;
                played.on(call, vec![bad.clone(); 12].into_iter().chain([good.clone()]));
                let ended = (row.make)(&client(&played).await).await;
                assert!(ended.is_ok(), "{} {call} {bad:?}: {ended:?}", row.method);
                assert_eq!(played.asked_for(call).len(), 13, "{} {bad:?}", row.method);
            }
        }
    }))
    .await;
}

#[tokio::test]
async fn trouble_that_stays_ends_with_what_aws_said_last() {
    // All rows at once: time enough for an answer to each, also on a machine that does other work.
    let (wait, limit) = (Duration::from_millis(500), Duration::from_secs(6));
    let rows = rows();
    let bad = |call: &str, code: &str| match code {
        "" => Answer::Reset,
        "HTTP 502" => text(502, "<html>a proxy</html>"),
        "ServiceUnavailable" => refusal(call, 503, code),
        _ => refusal(call, 400, code),
    };
    for (code, kind) in [
        ("ThrottlingException", CallErrorKind::Throttled),
        ("ServiceUnavailable", CallErrorKind::Unreachable),
        ("HTTP 502", CallErrorKind::Unreachable),
        ("", CallErrorKind::Unreachable),
    ] {
        let mut ready = vec![];
        for row in &rows {
            let played = playing(row).await;
            played.on(row.calls[0].0, [bad(row.calls[0].0, code)]);
            ready.push((row, client_with(wait, &played).await));
        }
        let ended = join_all(ready.iter().map(|(row, aws)| each_within(limit, (row.make)(aws)))).await;
        for ((row, _), ended) in ready.iter().zip(ended) {
            let error = ended.unwrap_err();
            assert_eq!((error.kind, error.code.as_str()), (kind, code), "{} {error:?}", row.method);
        }
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_asked_once() {
    join_all(rows().iter().map(async |row| {
        let call = row.calls[0].0;
        for (code, kind) in
            [("AccessDeniedException", CallErrorKind::Denied), ("ValidationException", CallErrorKind::Invalid)]
        {
            let played = playing(row).await;
            played.on(call, [refusal(call, 400, code)]);
            let error = (row.make)(&client(&played).await).await.unwrap_err();
            assert_eq!(error.kind, kind, "{}: {error:?}", row.method);
            assert_eq!(played.asked_for(call).len(), 1, "{} {code}", row.method);
        }
    }))
    .await;
}

#[tokio::test]
async fn an_expired_session_is_renewed_once_by_every_call() {
    join_all(rows().iter().map(async |row| {
        let (call, good) = &row.calls[0];
        for (answers, sent) in
            [(vec![refusal(call, 400, "ExpiredToken"), good.clone()], 2), (vec![refusal(call, 400, "ExpiredToken")], 2)]
        {
            let played = playing(row).await;
            let renews = answers.len() == 2;
            // Both are a GET: the token comes from another server.
            let github = ScriptedServer::start().await;
            github.on("GET", [token(&jwt(SUB, 1))]);
            let sessions = ["AKIDFIRST", "AKIDSECOND"].map(|key| credentials(BY_TOKEN, key, HOUR));
            played.on(BY_TOKEN, sessions).on(call, answers);
            let mut inputs = job(&played, &[ROLE]);
            inputs.env.insert("ACTIONS_ID_TOKEN_REQUEST_URL".to_owned(), format!("{}/token?x=1", github.url));
            let ended = (row.make)(&open(&inputs).await.unwrap()).await;
            assert_eq!(ended.is_ok(), renews, "{}: {ended:?}", row.method);
            let keys: Vec<_> = played.asked_for(call).iter().map(|asked| asked.signed_by().to_owned()).collect();
            assert_eq!(keys[..sent], ["AKIDFIRST", "AKIDSECOND"], "{}", row.method);
            assert_eq!(keys.len(), sent, "{}", row.method);
        }
    }))
    .await;
}

/// `RegisterTaskDefinition` of `web` with a release's tag, whose first answer is lost, and what the family's newest
/// revisions are then, one read after the other.
async fn register_with_lost_answer(
    newest: Vec<Answer>,
) -> (Call<fargate_deploy_core::names::TaskDefinitionArn>, usize) {
    let played = ScriptedServer::start().await;
    played.on("RegisterTaskDefinition", [Answer::Reset, registered()]).on("DescribeTaskDefinition", newest);
    let mut wanted = definition(json!({ "family": "web", "cpu": "256" }));
    wanted.set_tag("fargate-deploy:release", "r8");
    let ended = client(&played).await.register(&wanted).await;
    (ended, played.asked_for("RegisterTaskDefinition").len())
}

fn revision(number: u64, cpu: &str, release: &str) -> Answer {
    let arn = format!("arn:aws:ecs:eu-central-1:111122223333:task-definition/web:{number}");
    ok(json!({
        "taskDefinition": { "family": "web", "cpu": cpu, "revision": number, "taskDefinitionArn": arn },
        "tags": [{ "key": "fargate-deploy:release", "value": release }],
    }))
}

#[tokio::test]
async fn a_revision_whose_registration_was_not_answered_is_found_and_not_registered_again() {
    let ours = revision(43, "256", "r8");
    let found = |(ended, sent): (Call<fargate_deploy_core::names::TaskDefinitionArn>, usize)| {
        (ended.unwrap().short().to_owned(), sent)
    };
    let at_once = register_with_lost_answer(vec![ours.clone()]).await;
    assert_eq!(found(at_once), ("web:43".to_owned(), 1));
    // Reads lag, or fail.
    let late = vec![Answer::Reset, revision(42, "256", "r7"), revision(41, "256", "r6"), ours.clone()];
    assert_eq!(found(register_with_lost_answer(late).await), ("web:43".to_owned(), 1));
    // Somebody else has registered one since.
    let other = vec![revision(44, "512", "r9"), ours];
    assert_eq!(found(register_with_lost_answer(other).await), ("web:43".to_owned(), 1));
    // One that never arrived.
    let never = vec![revision(1, "512", "r7")];
    assert_eq!(found(register_with_lost_answer(never).await), ("web:42".to_owned(), 2));
    let unknown = error(400, "ClientException", "Unable to describe task definition.");
    assert_eq!(found(register_with_lost_answer(vec![unknown]).await), ("web:42".to_owned(), 2));
}
