//! Parameters.

use crate::contract::scripted_server::{Answer, ScriptedServer, error, ok};
use fargate_deploy::ports::{CallErrorKind, Parameters as _};
use serde_json::{Value, json};

const NAME: &str = "/fargate-deploy/lease/shop/web";

fn exists() -> Answer {
    error(
        400,
        "ParameterAlreadyExists",
        "The parameter already exists. To overwrite this value, set the overwrite option.",
    )
}

#[tokio::test]
async fn a_parameter_is_created_only_where_there_is_none() {
    let played = ScriptedServer::start().await;
    played.on("PutParameter", [ok(json!({ "Version": 1 })), exists()]);
    let cloud = played.cloud().await;
    cloud.create_parameter(NAME, "mine").await.unwrap();
    let sent = json!({ "Name": NAME, "Value": "mine", "Type": "String", "Overwrite": false });
    assert_eq!(played.asked()[0].json(), sent);
    assert_eq!(cloud.create_parameter(NAME, "mine").await.unwrap_err().kind, CallErrorKind::Conflict);
    assert!(played.asked_for("GetParametersByPath").is_empty(), "at the first attempt it cannot be ours");
}

#[tokio::test]
async fn a_parameter_made_by_an_attempt_whose_answer_was_lost_is_ours_if_it_has_our_value() {
    for (kept, is_ours) in [("mine", true), ("theirs", false)] {
        let played = ScriptedServer::start().await;
        played.on("PutParameter", [Answer::Reset, exists()]).on(
            "GetParametersByPath",
            [ok(json!({ "Parameters": [
                { "Name": "/fargate-deploy/lease/shop/web2", "Value": "mine" },
                { "Name": NAME, "Value": kept },
            ]}))],
        );
        let answer = played.cloud().await.create_parameter(NAME, "mine").await;
        match is_ours {
            true => answer.unwrap(),
            false => assert_eq!(answer.unwrap_err().kind, CallErrorKind::Conflict),
        }
        assert_eq!(played.only("GetParametersByPath")["Path"], "/fargate-deploy/lease/shop");
    }
}

#[tokio::test]
async fn a_parameter_is_overwritten_when_asked_to() {
    let played = ScriptedServer::start().await;
    played.on("PutParameter", [ok(json!({ "Version": 2 }))]);
    played.cloud().await.put_parameter(NAME, "v").await.unwrap();
    assert_eq!(played.only("PutParameter")["Overwrite"], true);
}

#[tokio::test]
async fn parameters_under_a_path_are_read_over_all_pages() {
    let played = ScriptedServer::start().await;
    played.on(
        "GetParametersByPath",
        [
            ok(json!({ "Parameters": [{ "Name": "/a/1", "Value": "one" }], "NextToken": "more" })),
            ok(json!({ "Parameters": [], "NextToken": "even more" })),
            ok(json!({ "Parameters": [{ "Name": "/a/b/2", "Value": "two" }] })),
        ],
    );
    let found = played.cloud().await.parameters_under("/a").await.unwrap();
    assert_eq!(found, [("/a/1".to_owned(), "one".to_owned()), ("/a/b/2".to_owned(), "two".to_owned())]);
    let bodies: Vec<Value> = played.asked().iter().map(|a| a.json()).collect();
    assert_eq!(bodies[0], json!({ "Path": "/a", "Recursive": true }));
    assert_eq!(bodies[2]["NextToken"], "even more");
}

#[tokio::test]
async fn deleting_what_is_gone_is_fine_and_what_is_forbidden_is_not() {
    let played = ScriptedServer::start().await;
    played.on(
        "DeleteParameter",
        [
            ok(json!({})),
            error(400, "ParameterNotFound", ""),
            error(
                400,
                "AccessDeniedException",
                "User: x is not authorized to perform: ssm:DeleteParameter on resource: y",
            ),
        ],
    );
    let cloud = played.cloud().await;
    cloud.delete_parameter(NAME).await.unwrap();
    cloud.delete_parameter(NAME).await.unwrap();
    assert_eq!(cloud.delete_parameter(NAME).await.unwrap_err().kind, CallErrorKind::Denied);
    assert_eq!(played.asked()[0].json(), json!({ "Name": NAME }));
}
