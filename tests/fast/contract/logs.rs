//! CloudWatch Logs.

use crate::contract::scripted_server::{ScriptedServer, error, ok};
use fargate_deploy::ports::{CallErrorKind, LogStream, Logs as _};
use serde_json::{Value, json};

fn stream() -> LogStream {
    LogStream { group: "/ecs/web".to_owned(), stream: "web/app/0123".to_owned(), region: None }
}

fn page(lines: &[(i64, &str)], token: &str) -> crate::contract::scripted_server::Answer {
    let events: Vec<Value> =
        lines.iter().map(|(t, m)| json!({ "timestamp": t, "message": m, "ingestionTime": 1 })).collect();
    ok(json!({ "events": events, "nextForwardToken": token, "nextBackwardToken": token }))
}

#[tokio::test]
async fn a_log_is_followed_from_its_head_by_the_forward_token() {
    let played = ScriptedServer::start().await;
    played.on("GetLogEvents", [page(&[(1, "one"), (2, "two")], "f/1"), page(&[], "f/1")]);
    let cloud = played.cloud().await;
    let first = cloud.log_events(&stream(), None).await.unwrap();
    assert_eq!(first.events.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(first.next.as_deref(), Some("f/1"));
    let end = cloud.log_events(&stream(), first.next.as_deref()).await.unwrap();
    assert!(end.events.is_empty());
    assert_eq!(end.next, first.next, "the end: the token that was sent comes back");
    let bodies: Vec<Value> = played.asked().iter().map(|a| a.json()).collect();
    let head = json!({ "logGroupName": "/ecs/web", "logStreamName": "web/app/0123", "startFromHead": true });
    assert_eq!(bodies[0], head);
    assert_eq!(bodies[1]["nextToken"], "f/1");
}

#[tokio::test]
async fn a_stream_that_is_not_there_yet_is_not_found() {
    let played = ScriptedServer::start().await;
    played.on("GetLogEvents", [error(400, "ResourceNotFoundException", "The specified log stream does not exist.")]);
    assert_eq!(played.cloud().await.log_events(&stream(), None).await.unwrap_err().kind, CallErrorKind::NotFound);
}

#[tokio::test]
async fn another_regions_log_is_asked_for_there() {
    let played = ScriptedServer::start().await;
    played.on("GetLogEvents", [page(&[], "t")]);
    played
        .cloud()
        .await
        .log_events(&LogStream { region: Some("us-east-1".to_owned()), ..stream() }, None)
        .await
        .unwrap();
    assert!(played.asked()[0].headers["authorization"].contains("/us-east-1/logs/"));
}

#[tokio::test]
async fn a_tail_is_put_together_from_short_and_empty_pages_oldest_line_first() {
    let played = ScriptedServer::start().await;
    played.on(
        "GetLogEvents",
        [page(&[(3, "three"), (4, "four")], "b/1"), page(&[], "b/2"), page(&[(1, "one"), (2, "two")], "b/3")],
    );
    let tail = played.cloud().await.log_tail(&stream(), 3, None).await.unwrap();
    assert_eq!(tail.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(), ["two", "three", "four"]);
    let bodies: Vec<Value> = played.asked().iter().map(|a| a.json()).collect();
    assert_eq!((&bodies[0]["limit"], &bodies[0]["startFromHead"]), (&json!(3), &json!(false)));
    assert_eq!((&bodies[2]["limit"], &bodies[2]["nextToken"]), (&json!(1), &json!("b/2")));
}

#[tokio::test]
async fn a_tail_ends_where_the_token_repeats_itself() {
    let played = ScriptedServer::start().await;
    played.on("GetLogEvents", [page(&[(1, "only")], "b/1"), page(&[], "b/1")]);
    let tail = played.cloud().await.log_tail(&stream(), 50, None).await.unwrap();
    assert_eq!(tail.len(), 1);
    assert_eq!(played.asked().len(), 2);
}
