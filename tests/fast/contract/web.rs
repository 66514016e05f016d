//! Smoke checks' one verb.

use crate::contract::scripted_server::{Answer, ScriptedServer, env, text};
use fargate_deploy::adapters::aws::Network;
use fargate_deploy::adapters::web::HttpWeb;
use fargate_deploy::ports::Web as _;
use std::time::Duration;
use tokio::net::TcpListener;

const PATIENT: Duration = Duration::from_secs(10);

fn web() -> HttpWeb {
    HttpWeb::new(&Network::from_env(&env(&[])).unwrap())
}

#[tokio::test]
async fn an_answer_is_its_status_and_body_whatever_the_status() {
    let played = ScriptedServer::start().await;
    played.on("GET", [text(200, "ok"), text(503, "starting")]);
    assert_eq!(web().get(&played.url, PATIENT).await, Ok((200, "ok".to_owned())));
    assert_eq!(web().get(&played.url, PATIENT).await, Ok((503, "starting".to_owned())));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let played = ScriptedServer::start().await;
    played.on("GET", [Answer::Location(format!("{}/elsewhere", played.url))]);
    assert_eq!(web().get(&played.url, PATIENT).await, Ok((302, String::new())));
    assert_eq!(played.asked().len(), 1);
}

#[tokio::test]
async fn of_a_large_body_only_the_beginning_is_read() {
    let played = ScriptedServer::start().await;
    played.on("GET", [text(200, &"x".repeat(300_000))]);
    assert_eq!(web().get(&played.url, PATIENT).await.unwrap().1.len(), 64 * 1024);
}

#[tokio::test]
async fn no_answer_says_why() {
    let played = ScriptedServer::start().await;
    played.on("GET", [Answer::Reset]);
    assert!(web().get(&played.url, PATIENT).await.is_err());
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let why = web().get(&format!("http://{closed}/"), PATIENT).await.unwrap_err();
    assert!(why.contains("refused"), "{why}");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let why = web().get(&url, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(why, "no answer within 0.2 s");
    assert!(web().get("no url", PATIENT).await.is_err());
}
