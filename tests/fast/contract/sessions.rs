//! ECS Exec: what is asked of AWS for a session, and what is not asked twice.

use crate::contract::scripted_server::{Answer, ScriptedServer, error, ok, text};
use fargate_deploy::ports::{CallErrorKind, ExecuteCommand, Sessions as _};
use fargate_deploy_core::names::TaskArn;
use serde_json::json;
use std::collections::BTreeMap;

fn command() -> ExecuteCommand {
    ExecuteCommand {
        cluster: "shop".into(),
        task: "arn:aws:ecs:eu-central-1:111122223333:task/shop/9c1e".into(),
        container: "app".into(),
        command: "'env'".to_owned(),
    }
}

#[tokio::test]
async fn a_command_is_sent_once_and_its_token_is_shown_to_nobody() {
    let played = ScriptedServer::start().await;
    let session = json!({ "sessionId": "ecs-execute-command-1", "streamUrl": "wss://x/y", "tokenValue": "AAEA-token" });
    played.on("ExecuteCommand", [ok(json!({ "session": session }))]);
    let opened = played.cloud().await.execute_command(&command()).await.unwrap();
    assert_eq!((opened.id.as_str(), opened.stream_url.as_str()), ("ecs-execute-command-1", "wss://x/y"));
    assert_eq!(opened.token.expose(), "AAEA-token");
    assert!(!format!("{opened:?}").contains("AAEA-token"));
    assert_eq!(
        played.only("ExecuteCommand"),
        json!({
            "cluster": "shop", "task": "arn:aws:ecs:eu-central-1:111122223333:task/shop/9c1e", "container": "app",
            "command": "'env'", "interactive": true,
        })
    );
}

#[tokio::test]
async fn a_command_whose_answer_was_lost_may_run_and_is_not_sent_again() {
    for lost in [Answer::Reset, error(503, "ServiceUnavailable", "no")] {
        let played = ScriptedServer::start().await;
        played.on("ExecuteCommand", [lost]);
        let failed = played.cloud().await.execute_command(&command()).await.unwrap_err();
        assert_eq!(failed.kind, CallErrorKind::Unreachable);
        assert_eq!(played.asked_for("ExecuteCommand").len(), 1);
    }
}

#[tokio::test]
async fn the_agent_of_each_container_is_read_and_what_has_none_has_none() {
    let played = ScriptedServer::start().await;
    let agent = |status: &str| json!([{ "name": "ExecuteCommandAgent", "lastStatus": status, "reason": "why" }]);
    played.on(
        "DescribeTasks",
        [ok(json!({ "tasks": [{
            "taskArn": "arn:t", "lastStatus": "RUNNING", "enableExecuteCommand": true, "startedAt": 1.5,
            "containers": [
                { "name": "app", "lastStatus": "RUNNING", "runtimeId": "9c1e-1", "managedAgents": agent("RUNNING") },
                { "name": "proxy", "lastStatus": "RUNNING", "managedAgents": [{ "name": "Other", "lastStatus": "RUNNING" }] },
            ],
        }], "failures": [{ "arn": "arn:u", "reason": "MISSING" }] }))],
    );
    let tasks: [TaskArn; 2] = ["arn:t".into(), "arn:u".into()];
    let found = played.cloud().await.exec_tasks(&"shop".into(), &tasks).await.unwrap();
    let [task] = found.as_slice() else { panic!("{found:?}") };
    assert!(task.is_enabled);
    let agents: Vec<_> = task.containers.iter().map(|container| container.agent.as_deref()).collect();
    assert_eq!(agents, [Some("RUNNING"), None]);
    assert_eq!(task.containers[0].runtime_id.as_deref(), Some("9c1e-1"));
}

#[tokio::test]
async fn a_session_that_timed_out_has_no_further_token() {
    for (answer, token) in [
        (json!({ "SessionId": "s", "TokenValue": "next", "StreamUrl": "wss://x" }), Some("next")),
        (json!({ "SessionId": "s", "TokenValue": "" }), None),
        (json!({ "SessionId": "s" }), None),
    ] {
        let played = ScriptedServer::start().await;
        played.on("ResumeSession", [ok(answer)]);
        let found = played.cloud().await.resume_session("s").await.unwrap();
        assert_eq!(found.as_ref().map(|token| token.expose().as_str()), token);
    }
}

#[tokio::test]
async fn a_data_key_is_made_for_the_session_alone() {
    let played = ScriptedServer::start().await;
    played.on("GenerateDataKey", [ok(json!({ "CiphertextBlob": "Y2lwaGVy", "Plaintext": "AAEC", "KeyId": "k" }))]);
    let context = BTreeMap::from([("aws:ssm:SessionId".to_owned(), "s".to_owned())]);
    let key = "arn:aws:kms:eu-west-1:111122223333:key/k";
    let (encrypted, plain) = played.cloud().await.data_key(key, &context).await.unwrap();
    assert_eq!((encrypted.as_str(), plain.expose().as_slice()), ("Y2lwaGVy", &[0, 1, 2][..]));
    let asked = played.only("GenerateDataKey");
    assert_eq!(asked["NumberOfBytes"].as_u64(), Some(64));
    assert_eq!(asked["EncryptionContext"], json!({ "aws:ssm:SessionId": "s" }));
    let refused = error(400, "AccessDeniedException", "not authorized to perform: kms:GenerateDataKey");
    played.on("GenerateDataKey", [refused]);
    let failed = played.cloud().await.data_key(key, &context).await.unwrap_err();
    assert_eq!((failed.kind, failed.action.as_str()), (CallErrorKind::Denied, "kms:GenerateDataKey"));
}

#[tokio::test]
async fn what_a_task_role_lacks_is_asked_of_iam() {
    let played = ScriptedServer::start().await;
    let answer = "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults>\
        <member><EvalActionName>ssmmessages:OpenDataChannel</EvalActionName><EvalDecision>implicitDeny</EvalDecision></member>\
        </EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>";
    played.on("SimulatePrincipalPolicy", [text(200, answer)]);
    let role = "arn:aws:iam::111122223333:role/shop-task";
    let denied = played.cloud().await.denied_actions(role, &["ssmmessages:OpenDataChannel"]).await.unwrap();
    assert_eq!(denied, ["ssmmessages:OpenDataChannel"]);
}
