//! Proxies and certificate authorities, in every client.

use crate::contract::scripted_server::{
    REGION, ScriptedServer, caller_identity, credentials, env, inputs, jwt, ok, text, token,
};
use crate::recorded_events::RecordedEvents;
use fargate_deploy::adapters::aws::{AwsClient, IdentityFailure, Network, Session, SessionInputs};
use fargate_deploy::adapters::github::{GitHubApi, Patience};
use fargate_deploy::adapters::network::NetworkFailure;
use fargate_deploy::adapters::web::HttpWeb;
use fargate_deploy::error::call_failed;
use fargate_deploy::events::Event;
use fargate_deploy::ports::{GitHub as _, Identity as _, Tasks as _, Web as _};
use fargate_deploy::retry::each_within;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// The time of a call that will not succeed.
const SHORT: Duration = Duration::from_millis(200);

fn proxied(proxy: &ScriptedServer, more: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    let mut all = env(&[
        ("AWS_ACCESS_KEY_ID", "AKIDPLAIN"),
        ("AWS_SECRET_ACCESS_KEY", "plain"),
        ("AWS_REGION", REGION),
        ("HTTP_PROXY", &proxy.url),
        ("HTTPS_PROXY", &proxy.url),
    ]);
    all.extend(env(more));
    all
}

#[tokio::test]
async fn calls_go_through_the_proxy_of_their_scheme() {
    let proxy = ScriptedServer::start().await;
    proxy.on("GetCallerIdentity", [caller_identity()]).on("ListTasks", [ok(json!({ "taskArns": [] }))]);
    let env = proxied(&proxy, &[("AWS_ENDPOINT_URL", "http://aws.test")]);
    let cloud = AwsClient::new(Session::open(&inputs(env), Arc::new(RecordedEvents::default())).await.unwrap());
    cloud.caller().await.unwrap();
    cloud.tasks_started_by(&"shop".into(), "me").await.unwrap();
    let uris: Vec<String> = proxy.asked().into_iter().map(|a| a.uri).collect();
    assert_eq!(uris, ["http://aws.test/", "http://aws.test/"]);
}

#[tokio::test]
async fn https_calls_are_tunnelled_through_the_proxy() {
    let proxy = ScriptedServer::start().await;
    proxy.on("CONNECT", [text(403, "closed")]);
    let env = proxied(&proxy, &[]);
    let cloud = AwsClient::new(Session::open(&inputs(env), Arc::new(RecordedEvents::default())).await.unwrap());
    each_within(SHORT, cloud.caller()).await.unwrap_err();
    assert_eq!(proxy.asked()[0].operation, "CONNECT");
    assert_eq!(proxy.asked()[0].uri, "sts.eu-central-1.amazonaws.com:443");
}

#[tokio::test]
async fn each_partition_has_its_own_endpoints() {
    for (region, host) in [
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn:443"),
        ("us-gov-west-1", "sts.us-gov-west-1.amazonaws.com:443"),
    ] {
        let proxy = ScriptedServer::start().await;
        proxy.on("CONNECT", [text(403, "closed")]);
        let env = proxied(&proxy, &[("AWS_REGION", region)]);
        let cloud = AwsClient::new(Session::open(&inputs(env), Arc::new(RecordedEvents::default())).await.unwrap());
        each_within(SHORT, cloud.caller()).await.unwrap_err();
        assert_eq!(proxy.asked()[0].uri, host);
    }
}

#[tokio::test]
async fn what_no_proxy_names_and_this_machine_are_reached_directly() {
    let (proxy, played) = (ScriptedServer::start().await, ScriptedServer::start().await);
    played.on("GetCallerIdentity", [caller_identity()]).on("GET", [text(200, "fine")]);
    let env = proxied(&proxy, &[("AWS_ENDPOINT_URL", &played.url)]);
    let session = Session::open(&inputs(env), Arc::new(RecordedEvents::default())).await.unwrap();
    let web = HttpWeb::new(session.network());
    AwsClient::new(session).caller().await.unwrap();
    web.get(&played.url, Duration::from_secs(5)).await.unwrap();
    assert_eq!((proxy.asked().len(), played.asked().len()), (0, 2));

    let env = proxied(&proxy, &[("NO_PROXY", "aws.test,.other.test")]);
    let web = HttpWeb::new(&Network::from_env(&env).unwrap());
    proxy.on("GET", [text(200, "by proxy")]);
    web.get("http://aws.test/", Duration::from_secs(5)).await.unwrap_err();
    web.get("http://a.other.test/", Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(web.get("http://elsewhere.test/", Duration::from_secs(5)).await.unwrap().1, "by proxy");
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn a_ca_bundle_that_is_not_there_ends_the_run_before_anything_is_asked() {
    let played = ScriptedServer::start().await;
    let mut env = played.env();
    env.insert("AWS_CA_BUNDLE".to_owned(), "/nowhere/ca.pem".to_owned());
    let failure = Session::open(&inputs(env), Arc::new(RecordedEvents::default())).await.err().unwrap();
    assert!(matches!(failure, IdentityFailure::Network(NetworkFailure::CaBundle { .. })), "{failure:?}");
    assert!(failure.hint().contains("AWS_CA_BUNDLE"));
    assert!(played.asked().is_empty());
}

#[tokio::test]
async fn the_authorities_of_a_ca_bundle_are_trusted_by_every_client_and_by_none_without_it() {
    let (played, authority) = ScriptedServer::start_tls().await;
    played
        .on("GET", [token(&jwt("repo:org/shop:ref:refs/heads/main", 1)), text(200, "fine")])
        .on(
            "AssumeRoleWithWebIdentity",
            [credentials("AssumeRoleWithWebIdentity", "AKIDROLE", Duration::from_secs(3600))],
        )
        .on("ListTasks", [ok(json!({ "taskArns": [] }))]);
    let job = |env| SessionInputs { roles: vec!["arn:aws:iam::111122223333:role/deploy".into()], ..inputs(env) };

    let failure = Session::open(&job(played.job_env()), Arc::new(RecordedEvents::default())).await.err().unwrap();
    assert!(matches!(&failure, IdentityFailure::Unavailable { why, .. } if why.contains("certificate")), "{failure:?}");
    assert!(played.asked().is_empty());

    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    std::fs::write(&bundle, authority).unwrap();
    let mut env = played.job_env();
    env.insert("AWS_CA_BUNDLE".to_owned(), bundle.to_str().unwrap().to_owned());
    let session = Session::open(&job(env), Arc::new(RecordedEvents::default())).await.unwrap();
    let web = HttpWeb::new(session.network());
    AwsClient::new(session).tasks_started_by(&"shop".into(), "me").await.unwrap();
    assert_eq!(web.get(&played.url, Duration::from_secs(10)).await, Ok((200, "fine".to_owned())));
}

/// Long enough for several attempts, and not waited for.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn who_is_not_trusted_or_unknown_is_asked_once_and_the_advice_says_what_to_set() {
    let (played, _) = ScriptedServer::start_tls().await;
    let unknown = "https://no-such-host.invalid".to_owned();
    for (url, advice) in [(&played.url, "`AWS_CA_BUNDLE`: a file of PEM"), (&unknown, "check `region`")] {
        let mut all = played.env();
        all.insert("AWS_ENDPOINT_URL".to_owned(), url.clone());
        let told = Arc::new(RecordedEvents::default());
        let cloud = AwsClient::new(Session::open(&inputs(all), told.clone()).await.unwrap());
        let error = tokio::time::timeout(LONG, cloud.caller()).await.unwrap().unwrap_err();
        if url == &unknown && error.message.contains("Temporary failure") {
            continue; // A machine without a name server cannot tell.
        }
        let failure = call_failed("finding out who we are on AWS", &error);
        assert!(failure.next.as_deref().unwrap_or_default().contains(advice), "{failure:?}");
        assert!(!told.events().iter().any(|event| matches!(event, Event::Waiting(_))), "{error}");

        let mut job = played.job_env();
        job.insert("AWS_ENDPOINT_URL_STS".to_owned(), url.clone());
        job.insert("ACTIONS_ID_TOKEN_REQUEST_URL".to_owned(), format!("{url}/token"));
        let roles = vec!["arn:aws:iam::111122223333:role/deploy".into()];
        let inputs = SessionInputs { roles, ..inputs(job) };
        let opened = Session::open(&inputs, Arc::new(RecordedEvents::default()));
        let failure = tokio::time::timeout(LONG, opened).await.unwrap().err().unwrap();
        assert!(failure.hint().contains(advice), "{failure}: {}", failure.hint());
    }
    assert!(played.asked().is_empty());
}

#[tokio::test]
async fn github_is_reached_through_the_proxy_and_with_the_authorities_of_the_bundle() {
    let job = |api: &str, more: &[(&str, &str)]| {
        let mut all = env(&[("GITHUB_API_URL", api), ("GITHUB_REPOSITORY", "acme/shop"), ("GITHUB_TOKEN", "ghs_1")]);
        all.extend(env(more));
        all
    };
    let comments = async |env| {
        let patience = Patience { attempts: 1, ..Patience::default() };
        let api = GitHubApi::from_env(&env, &Network::from_env(&env).unwrap(), patience, &RecordedEvents::default());
        api.unwrap().unwrap().comments(7).await
    };
    let proxy = ScriptedServer::start().await;
    proxy.on("GET", [ok(json!([]))]).on("CONNECT", [text(403, "closed")]);
    comments(job("http://github.test/api/v3", &[("HTTP_PROXY", &proxy.url)])).await.unwrap();
    let asked = &proxy.asked()[0];
    assert_eq!(asked.uri, "http://github.test/api/v3/repos/acme/shop/issues/7/comments?per_page=100");
    assert_eq!(asked.headers["authorization"], "Bearer ghs_1");
    assert_eq!(asked.headers["x-github-api-version"], "2022-11-28");
    comments(job("https://api.github.com", &[("HTTPS_PROXY", &proxy.url)])).await.unwrap_err();
    assert_eq!(proxy.asked()[1].uri, "api.github.com:443");
    comments(job("http://github.test", &[("HTTP_PROXY", &proxy.url), ("NO_PROXY", "github.test")])).await.unwrap_err();
    assert_eq!(proxy.asked().len(), 2);

    let (played, authority) = ScriptedServer::start_tls().await;
    played.on("GET", [ok(json!([]))]);
    let error = comments(job(&played.url, &[])).await.unwrap_err();
    assert!(error.message.contains("certificate"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    std::fs::write(&bundle, authority).unwrap();
    comments(job(&played.url, &[("AWS_CA_BUNDLE", bundle.to_str().unwrap())])).await.unwrap();
}
