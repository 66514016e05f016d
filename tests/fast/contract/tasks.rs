//! ECS tasks: run, described and listed.

use crate::contract::scripted_server::{Answer, ScriptedServer, error, ok};
use fargate_deploy::ports::{CallErrorKind, RunTask, Tasks as _};
use fargate_deploy_core::names::{ServiceRef, TaskArn};
use serde_json::{Value, json};

const TD: &str = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web-migrate:7";

fn web() -> ServiceRef {
    ServiceRef { cluster: "shop".into(), name: "web".into() }
}

fn migration() -> RunTask {
    RunTask {
        cluster: "shop".into(),
        task_definition: TD.into(),
        network_configuration: Some(json!({ "awsvpcConfiguration": { "subnets": ["subnet-1"], "newer": true } })),
        platform_version: Some("1.4.0".to_owned()),
        overrides: json!({ "containerOverrides": [{ "name": "app", "command": ["migrate"] }] }),
        volume_configurations: vec![],
        tags: vec![],
        has_managed_tags: false,
        started_by: "fargate-deploy/1".to_owned(),
        client_token: "token-1".to_owned(),
        is_spot: false,
        enables_exec: false,
    }
}

#[tokio::test]
async fn a_task_is_run_on_demand_with_the_network_as_it_was_described() {
    let played = ScriptedServer::start().await;
    played.on(
        "RunTask",
        [ok(json!({ "tasks": [{ "taskArn": "arn:task/shop/1", "lastStatus": "PROVISIONING" }], "failures": [] }))],
    );
    let cloud = played.cloud().await;
    let answer = cloud.run_task(&migration()).await.unwrap();
    assert_eq!(
        (answer.tasks[0].arn.as_str(), answer.tasks[0].last_status.as_str()),
        ("arn:task/shop/1", "PROVISIONING")
    );
    assert_eq!(
        played.only("RunTask"),
        json!({
            "cluster": "shop", "taskDefinition": TD, "count": 1, "launchType": "FARGATE",
            "startedBy": "fargate-deploy/1", "clientToken": "token-1",
            "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"], "newer": true } },
            "platformVersion": "1.4.0",
            "overrides": { "containerOverrides": [{ "name": "app", "command": ["migrate"] }] },
        })
    );
    let bare = RunTask { network_configuration: None, platform_version: None, overrides: Value::Null, ..migration() };
    cloud.run_task(&bare).await.unwrap();
    let sent = played.asked()[1].json();
    for member in ["networkConfiguration", "platformVersion", "overrides"] {
        assert_eq!(sent.get(member), None, "{member}");
    }
}

#[tokio::test]
async fn on_spot_only_where_that_was_asked_for() {
    let played = ScriptedServer::start().await;
    played.on("RunTask", [ok(json!({ "tasks": [{ "taskArn": "arn:task/shop/1" }] }))]);
    played.cloud().await.run_task(&RunTask { is_spot: true, ..migration() }).await.unwrap();
    let sent = played.only("RunTask");
    assert_eq!(sent["capacityProviderStrategy"], json!([{ "capacityProvider": "FARGATE_SPOT", "weight": 1 }]));
    assert_eq!(sent.get("launchType"), None, "AWS refuses both");
}

#[tokio::test]
async fn a_task_is_stopped_with_the_reason() {
    let played = ScriptedServer::start().await;
    played.on("StopTask", [ok(json!({ "task": {} }))]);
    played.cloud().await.stop_task(&"shop".into(), &"arn:task/shop/1".into(), "interrupted by ada").await.unwrap();
    let expected = json!({ "cluster": "shop", "task": "arn:task/shop/1", "reason": "interrupted by ada" });
    assert_eq!(played.only("StopTask"), expected);
}

#[tokio::test]
async fn tags_launch_volumes_and_managed_tags_are_sent_where_there_are_any() {
    let played = ScriptedServer::start().await;
    played.on("RunTask", [ok(json!({ "tasks": [{ "taskArn": "arn:task/shop/1" }] }))]);
    let volume = json!({ "name": "data", "managedEBSVolume": { "roleArn": "r", "newer": 1.50 } });
    let request = RunTask {
        volume_configurations: vec![volume.clone()],
        tags: vec![("team".to_owned(), "shop".to_owned())],
        has_managed_tags: true,
        ..migration()
    };
    played.cloud().await.run_task(&request).await.unwrap();
    let sent = played.only("RunTask");
    assert_eq!(sent["volumeConfigurations"], json!([volume]));
    assert_eq!(sent["tags"], json!([{ "key": "team", "value": "shop" }]));
    assert_eq!(sent["enableECSManagedTags"], true);
    played.cloud().await.run_task(&migration()).await.unwrap();
    let bare = played.asked()[1].json();
    for member in ["volumeConfigurations", "tags", "enableECSManagedTags"] {
        assert_eq!(bare.get(member), None, "{member}");
    }
}

#[tokio::test]
async fn a_throttle_inside_another_error_is_retried_with_the_same_token() {
    let played = ScriptedServer::start().await;
    let wrapped =
        error(400, "InvalidParameterException", "Rate exceeded (Service: AmazonEC2; Error Code: RequestLimitExceeded)");
    played
        .on("RunTask", [wrapped.clone(), wrapped.clone(), ok(json!({ "tasks": [{ "taskArn": "arn:task/shop/1" }] }))]);
    played.cloud().await.run_task(&migration()).await.unwrap();
    let tokens: Vec<Value> = played.asked().iter().map(|a| a.json()["clientToken"].clone()).collect();
    assert_eq!(tokens, ["token-1", "token-1", "token-1"]);

    let refused = ScriptedServer::start().await;
    refused
        .on("RunTask", [error(400, "InvalidParameterException", "No Container Instances were found in your cluster.")]);
    assert_eq!(refused.cloud().await.run_task(&migration()).await.unwrap_err().kind, CallErrorKind::Invalid);
    assert_eq!(refused.asked().len(), 1);
}

#[tokio::test]
async fn a_retried_run_carries_the_same_token() {
    let played = ScriptedServer::start().await;
    played.on("RunTask", [Answer::Reset, ok(json!({ "tasks": [{ "taskArn": "arn:task/shop/1" }] }))]);
    played.cloud().await.run_task(&migration()).await.unwrap();
    let tokens: Vec<Value> = played.asked().iter().map(|a| a.json()["clientToken"].clone()).collect();
    assert_eq!(tokens, ["token-1", "token-1"]);
}

#[tokio::test]
async fn no_task_and_a_reason_in_an_http_200_are_values() {
    let played = ScriptedServer::start().await;
    let why = "Capacity is unavailable at this time. Please try again later or in a different availability zone";
    played.on(
        "RunTask",
        [ok(json!({ "tasks": [], "failures": [{ "reason": why }, { "reason": "MISSING", "detail": "x" }] }))],
    );
    let answer = played.cloud().await.run_task(&migration()).await.unwrap();
    assert!(answer.tasks.is_empty());
    assert_eq!(answer.failures, [(why.to_owned(), String::new()), ("MISSING".to_owned(), "x".to_owned())]);
}

#[tokio::test]
async fn stopped_tasks_are_read_with_what_is_missing_missing() {
    let played = ScriptedServer::start().await;
    played.on(
        "DescribeTasks",
        [ok(json!({ "tasks": [
            { "taskArn": "arn:task/shop/1", "taskDefinitionArn": TD, "lastStatus": "STOPPED", "desiredStatus": "STOPPED",
              "startedBy": "ecs-svc/1", "stopCode": "EssentialContainerExited", "stoppedReason": "Essential container in task exited",
              "healthStatus": "UNKNOWN", "startedAt": 1793000000.1, "stoppedAt": 1793000001.2,
              "containers": [{ "name": "app", "lastStatus": "STOPPED", "exitCode": 0, "imageDigest": "sha256:1", "healthStatus": "UNKNOWN" },
                             { "name": "proxy", "lastStatus": "STOPPED", "reason": "OutOfMemoryError", "exitCode": 137 }] },
            { "taskArn": "arn:task/shop/2", "lastStatus": "STOPPED", "stopCode": "A_CODE_FROM_THE_FUTURE", "containers": [] },
            { "taskArn": "arn:task/shop/3", "lastStatus": "DELETED", "stopCode": "TaskFailedToStart", "containers": [{ "name": "app" }] },
        ], "failures": [{ "arn": "arn:task/shop/4", "reason": "MISSING" }] }))],
    );
    let asked: Vec<TaskArn> = (1..5).map(|n| TaskArn::new(format!("arn:task/shop/{n}"))).collect();
    let tasks = played.cloud().await.tasks(&"shop".into(), &asked).await.unwrap();
    insta::assert_debug_snapshot!(tasks);
    assert_eq!(played.only("DescribeTasks")["tasks"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn tasks_are_described_a_hundred_a_call() {
    let played = ScriptedServer::start().await;
    played.on("DescribeTasks", [ok(json!({ "tasks": [] }))]);
    let asked: Vec<TaskArn> = (0..101).map(|n| TaskArn::new(n.to_string())).collect();
    played.cloud().await.tasks(&"shop".into(), &asked).await.unwrap();
    let counts: Vec<usize> = played.asked().iter().map(|a| a.json()["tasks"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [100, 1]);
}

#[tokio::test]
async fn tasks_are_listed_by_starter_alone_or_with_a_desired_status_by_service_or_family() {
    let played = ScriptedServer::start().await;
    played.on(
        "ListTasks",
        [
            ok(json!({ "taskArns": ["a"], "nextToken": "more" })),
            ok(json!({ "taskArns": ["b"] })),
            ok(json!({ "taskArns": ["c"] })),
            ok(json!({ "taskArns": [] })),
        ],
    );
    let cloud = played.cloud().await;
    assert_eq!(cloud.tasks_started_by(&"shop".into(), "me").await.unwrap(), ["a".into(), "b".into()]);
    let by_arn = ServiceRef { cluster: "shop".into(), name: "arn:aws:ecs:eu-central-1:1:service/shop/web".into() };
    assert_eq!(cloud.stopped_tasks(&by_arn).await.unwrap(), ["c".into()]);
    assert!(cloud.running_tasks(&web()).await.unwrap().is_empty());
    assert!(cloud.stopped_tasks_of_family(&"shop".into(), "web").await.unwrap().is_empty());
    let bodies: Vec<Value> = played.asked().iter().map(|a| a.json()).collect();
    assert_eq!(
        bodies,
        [
            json!({ "cluster": "shop", "startedBy": "me" }),
            json!({ "cluster": "shop", "startedBy": "me", "nextToken": "more" }),
            json!({ "cluster": "shop", "serviceName": "web", "desiredStatus": "STOPPED" }),
            json!({ "cluster": "shop", "serviceName": "web", "desiredStatus": "RUNNING" }),
            json!({ "cluster": "shop", "family": "web", "desiredStatus": "STOPPED" }),
        ]
    );
}
