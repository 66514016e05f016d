//! ECS services, deployments and task definitions: every request, and AWS's odd answers.

use crate::contract::scripted_server::{Answer, ScriptedServer, error, ok};
use fargate_deploy::fence::Fence;
use fargate_deploy::ports::{CallErrorKind, Services as _, TaskDefinitions as _, Tasks as _};
use fargate_deploy::retry::each_within;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::service::{Controller, Role, ServiceDeploymentStatus, State, Strategy};
use fargate_deploy_core::task_definition::TaskDefinition;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time of a call that will not succeed.
const SHORT: Duration = Duration::from_millis(200);
const TD: &str = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:42";

fn web() -> ServiceRef {
    ServiceRef { cluster: "shop".into(), name: "web".into() }
}

fn described(name: &str, id: &str, task_definition: &str) -> Value {
    json!({
        "serviceArn": format!("arn:aws:ecs:eu-central-1:111122223333:service/shop/{name}"),
        "serviceName": name,
        "clusterArn": "arn:aws:ecs:eu-central-1:111122223333:cluster/shop",
        "status": "ACTIVE",
        "taskDefinition": task_definition,
        "desiredCount": 2, "runningCount": 2, "pendingCount": 0,
        "deployments": [{
            "id": id, "status": "PRIMARY", "taskDefinition": task_definition, "rolloutState": "COMPLETED",
            "desiredCount": 2, "runningCount": 2, "pendingCount": 0, "failedTasks": 0,
        }],
    })
}

#[tokio::test]
async fn services_are_described_ten_a_call_and_answered_in_the_order_asked() {
    let played = ScriptedServer::start().await;
    let services = |range: std::ops::Range<u32>| -> Vec<Value> {
        range.rev().map(|n| described(&format!("s{n}"), "ecs-svc/1", TD)).collect()
    };
    played.on(
        "DescribeServices",
        [
            ok(json!({ "services": services(0..10), "failures": [] })),
            ok(json!({
                "services": services(11..12),
                "failures": [{ "arn": "arn:aws:ecs:eu-central-1:111122223333:service/shop/s10", "reason": "MISSING" }],
            })),
        ],
    );
    let asked: Vec<ServiceRef> =
        (0..12).map(|n| ServiceRef { cluster: "shop".into(), name: format!("s{n}").as_str().into() }).collect();
    let found = played.cloud().await.services(&asked).await.unwrap();
    let names: Vec<Option<String>> = found.into_iter().map(|s| s.map(|s| s.name)).collect();
    let expected: Vec<Option<String>> = (0..12).map(|n| (n != 10).then(|| format!("s{n}"))).collect();
    assert_eq!(names, expected);
    let bodies: Vec<Value> = played.asked().iter().map(|a| a.json()).collect();
    assert_eq!(bodies[0]["cluster"], "shop");
    assert_eq!(bodies[0]["services"].as_array().unwrap().len(), 10);
    assert_eq!(bodies[1], json!({ "cluster": "shop", "services": ["s10", "s11"] }));
}

#[tokio::test]
async fn services_of_several_clusters_are_asked_for_by_cluster() {
    let played = ScriptedServer::start().await;
    played.on(
        "DescribeServices",
        [
            ok(json!({ "services": [described("b", "ecs-svc/1", TD)] })),
            ok(json!({ "services": [described("a", "ecs-svc/2", TD)] })),
        ],
    );
    let service = |cluster: &str, name: &str| ServiceRef { cluster: cluster.into(), name: name.into() };
    let arn = "arn:aws:ecs:eu-central-1:111122223333:service/two/a";
    let found = played.cloud().await.services(&[service("two", arn), service("one", "b")]).await.unwrap();
    let names: Vec<String> = found.into_iter().map(|s| s.unwrap().name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(played.asked()[0].json(), json!({ "cluster": "one", "services": ["b"] }));
    assert_eq!(played.asked()[1].json(), json!({ "cluster": "two", "services": [arn] }));
}

#[tokio::test]
async fn a_service_is_read_whole() {
    let played = ScriptedServer::start().await;
    let network =
        json!({ "awsvpcConfiguration": { "subnets": ["subnet-1"], "assignPublicIp": "ENABLED", "newer": 1 } });
    played.on(
        "DescribeServices",
        [ok(json!({ "failures": [], "services": [{
            "serviceArn": "arn:aws:ecs:eu-central-1:111122223333:service/shop/web",
            "serviceName": "web",
            "clusterArn": "arn:aws:ecs:eu-central-1:111122223333:cluster/shop",
            "status": "ACTIVE",
            "taskDefinition": TD,
            "desiredCount": 2, "runningCount": 3, "pendingCount": 1,
            "launchType": "FARGATE", "platformVersion": "1.4.0",
            "networkConfiguration": network,
            "loadBalancers": [{ "targetGroupArn": "arn:tg/1", "containerName": "app", "containerPort": 80 }, { "loadBalancerName": "classic" }],
            "deploymentController": { "type": "ECS" },
            "deploymentConfiguration": {
                "deploymentCircuitBreaker": { "enable": true, "rollback": true, "resetOnHealthyTask": true },
                "minimumHealthyPercent": 100, "maximumPercent": 200, "strategy": "ROLLING",
            },
            "deployments": [
                { "id": "ecs-svc/2", "status": "PRIMARY", "taskDefinition": TD, "rolloutState": "IN_PROGRESS",
                  "rolloutStateReason": "ECS deployment ecs-svc/2 in progress.", "desiredCount": 2, "runningCount": 1, "pendingCount": 1, "failedTasks": 3 },
                { "id": "ecs-svc/1", "status": "DRAINING", "taskDefinition": "td:41", "rolloutState": "SOMETHING_NEW" },
            ],
            "events": [{ "id": "e1", "createdAt": 1793000000.5, "message": "(service web) has started 1 tasks" }],
            "currentServiceDeployment": "arn:aws:ecs:eu-central-1:111122223333:service-deployment/shop/web/abc",
            "availabilityZoneRebalancing": "A_VALUE_THAT_THE_SDK_DOES_NOT_KNOW",
            "aMemberFromTheFuture": { "deep": [1] },
        }]}))],
    );
    let found = played.cloud().await.services(&[web()]).await.unwrap();
    insta::assert_debug_snapshot!(found[0].as_ref().unwrap());
}

#[tokio::test]
async fn controllers_and_strategies_that_must_be_refused_are_told_apart() {
    let played = ScriptedServer::start().await;
    let mut code_deploy = described("web", "ecs-svc/1", TD);
    code_deploy["deploymentController"] = json!({ "type": "CODE_DEPLOY" });
    code_deploy["deployments"] = json!([]);
    let mut canary = described("web", "ecs-svc/1", TD);
    canary["deploymentConfiguration"] = json!({ "strategy": "CANARY" });
    canary["resourceManagementType"] = json!("ECS");
    let mut next = described("web", "ecs-svc/1", TD);
    next["deploymentController"] = json!({ "type": "QUANTUM" });
    next["status"] = json!("INACTIVE");
    played.on("DescribeServices", [code_deploy, canary, next].map(|s| ok(json!({ "services": [s] }))));
    let cloud = played.cloud().await;
    let one = async || cloud.services(&[web()]).await.unwrap().remove(0).unwrap();
    let service = one().await;
    assert_eq!((service.controller, service.deployments.len()), (Controller::CodeDeploy, 0));
    let service = one().await;
    assert_eq!((service.strategy, service.is_express), (Strategy::Shifting("CANARY".to_owned()), true));
    let service = one().await;
    assert_eq!((service.controller, service.status.as_str()), (Controller::Unknown("QUANTUM".to_owned()), "INACTIVE"));
    assert_eq!(service.strategy, Strategy::Rolling);
}

#[tokio::test]
async fn a_failure_other_than_missing_is_no_answer() {
    let played = ScriptedServer::start().await;
    let failure = json!({ "arn": "arn:svc", "reason": "ACCESS_GONE", "detail": "not now" });
    played.on("DescribeServices", [ok(json!({ "services": [], "failures": [failure] }))]);
    let error = played.cloud().await.services(&[web()]).await.unwrap_err();
    assert_eq!(error.to_string(), "ecs:DescribeServices: ACCESS_GONE: arn:svc not now");
}

#[tokio::test]
async fn a_cluster_that_does_not_exist_is_not_found() {
    let played = ScriptedServer::start().await;
    played.on("DescribeServices", [error(400, "ClusterNotFoundException", "Cluster not found.")]);
    let error = played.cloud().await.services(&[web()]).await.unwrap_err();
    assert_eq!((error.kind, error.request_id.as_deref()), (CallErrorKind::NotFound, Some("r-1")));
}

#[tokio::test]
async fn a_task_definition_keeps_members_that_no_sdk_knows_and_brings_its_tags() {
    let played = ScriptedServer::start().await;
    let body = json!({
        "zFirst": 1, "family": "web", "taskDefinitionArn": TD,
        "containerDefinitions": [{ "name": "app", "image": "x", "fromTheFuture": { "b": 1, "a": [null, 2.50] } }],
    });
    played.on(
        "DescribeTaskDefinition",
        [ok(json!({ "taskDefinition": body, "tags": [{ "key": "team", "value": "shop" }, { "key": "empty" }] }))],
    );
    let definition = played.cloud().await.task_definition("web:42").await.unwrap();
    assert_eq!(Value::Object(definition.body).to_string(), body.to_string(), "same members in the same order");
    assert_eq!(definition.tags, [("team".to_owned(), "shop".to_owned()), ("empty".to_owned(), String::new())]);
    assert_eq!(played.only("DescribeTaskDefinition"), json!({ "taskDefinition": "web:42", "include": ["TAGS"] }));
}

#[tokio::test]
async fn a_task_definition_that_does_not_exist_is_not_found() {
    let played = ScriptedServer::start().await;
    played.on("DescribeTaskDefinition", [error(400, "ClientException", "Unable to describe task definition.")]);
    assert_eq!(played.cloud().await.task_definition("no").await.unwrap_err().kind, CallErrorKind::NotFound);
}

#[tokio::test]
async fn registering_sends_the_definition_as_it_is_without_what_only_describes_it() {
    let played = ScriptedServer::start().await;
    played.on("RegisterTaskDefinition", [ok(json!({ "taskDefinition": { "taskDefinitionArn": TD } }))]);
    let Value::Object(body) = json!({
        "taskDefinitionArn": "arn:old", "revision": 41, "status": "ACTIVE", "requiresAttributes": [], "compatibilities": [],
        "registeredAt": 1.0, "registeredBy": "arn", "deregisteredAt": 1.0, "deleteRequestedAt": 1.0,
        "family": "web", "cpu": "256", "memory": "512",
        "containerDefinitions": [{ "name": "app", "image": "x@sha256:1", "fromTheFuture": { "ü": ["\u{2028}", 1e3, 0.1] } }],
        "alsoFromTheFuture": { "revision": 7 },
    }) else {
        unreachable!()
    };
    let definition = TaskDefinition { body, tags: vec![("team".to_owned(), "shop".to_owned())] };
    let cloud = played.cloud().await;
    assert_eq!(cloud.register(&definition).await.unwrap(), TD.into());
    assert_eq!(
        played.only("RegisterTaskDefinition"),
        json!({
            "family": "web", "cpu": "256", "memory": "512",
            "containerDefinitions": [{ "name": "app", "image": "x@sha256:1", "fromTheFuture": { "ü": ["\u{2028}", 1e3, 0.1] } }],
            "alsoFromTheFuture": { "revision": 7 },
            "tags": [{ "key": "team", "value": "shop" }],
        })
    );
    let asked = &played.asked()[0];
    assert_eq!(asked.headers["content-length"], asked.body.len().to_string());
    assert_eq!(asked.headers["x-amz-target"], "AmazonEC2ContainerServiceV20141113.RegisterTaskDefinition");

    cloud.register(&TaskDefinition { tags: vec![], ..definition }).await.unwrap();
    assert_eq!(played.asked()[1].json().get("tags"), None, "no tags are asked for where there are none to keep");
}

/// A number that 64 bits do not hold, from the answer to the next request.
#[tokio::test]
async fn every_digit_of_a_number_survives_and_tags_of_aws_are_not_sent_back() {
    let digits = "[123456789012345678901234567890,0.12345678901234567890,2.50]";
    let body = format!(
        r#"{{"taskDefinition":{{"taskDefinitionArn":"{TD}","family":"web","fromTheFuture":{digits}}},"tags":[{{"key":"aws:cloudformation:stack-name","value":"s"}},{{"key":"team","value":"shop"}}]}}"#
    );
    let played = ScriptedServer::start().await;
    played.on(
        "DescribeTaskDefinition",
        [Answer::Plain { status: 200, content_type: "application/x-amz-json-1.1", body }],
    );
    played.on("RegisterTaskDefinition", [ok(json!({ "taskDefinition": { "taskDefinitionArn": TD } }))]);
    let cloud = played.cloud().await;
    let described = cloud.task_definition("web").await.unwrap();
    assert_eq!(described.tags.len(), 2, "what AWS shows is known");
    cloud.register(&described).await.unwrap();
    let sent = &played.asked()[1];
    assert!(
        String::from_utf8_lossy(sent.body.as_ref()).contains(digits),
        "{}",
        String::from_utf8_lossy(sent.body.as_ref())
    );
    assert_eq!(sent.json()["tags"], json!([{ "key": "team", "value": "shop" }]));
}

#[tokio::test]
async fn the_launch_volumes_of_a_service_are_those_of_its_primary_deployment() {
    let volume = |size: u32| json!([{ "name": "data", "managedEBSVolume": { "roleArn": "r", "sizeInGiB": size } }]);
    let mut service = described("web", "ecs-svc/2", TD);
    service["enableECSManagedTags"] = true.into();
    service["deployments"][0]["volumeConfigurations"] = volume(20);
    let mut older = service["deployments"][0].clone();
    older["status"] = "ACTIVE".into();
    older["volumeConfigurations"] = volume(10);
    service["deployments"] = json!([older, service["deployments"][0]]);
    let played = ScriptedServer::start().await;
    played.on("DescribeServices", [ok(json!({ "services": [service] }))]);
    let found = played.cloud().await.services(&[web()]).await.unwrap().remove(0).unwrap();
    assert_eq!(Value::Array(found.volume_configurations), volume(20));
    assert!(found.has_managed_tags);
}

#[tokio::test]
async fn a_concurrent_registration_in_the_family_is_waited_for() {
    let played = ScriptedServer::start().await;
    let busy =
        error(400, "ClientException", "Too many concurrent attempts to create a new revision of the specified family.");
    let registered = ok(json!({ "taskDefinition": { "taskDefinitionArn": TD } }));
    played.on("RegisterTaskDefinition", [busy.clone(), busy.clone(), registered]);
    let Value::Object(body) = json!({ "family": "web" }) else { unreachable!() };
    let definition = TaskDefinition { body, tags: vec![] };
    assert_eq!(played.cloud().await.register(&definition).await.unwrap(), TD.into());
    assert_eq!(played.asked().len(), 3);

    let stuck = ScriptedServer::start().await;
    stuck.on("RegisterTaskDefinition", [busy]);
    let cloud = stuck.cloud().await;
    let refused = each_within(SHORT, cloud.register(&definition)).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (CallErrorKind::Throttled, "ClientException"));
}

#[tokio::test]
async fn a_denied_pass_role_is_named_instead_of_the_call_that_needed_it() {
    let played = ScriptedServer::start().await;
    played.on(
        "RegisterTaskDefinition",
        [error(
            400,
            "AccessDeniedException",
            "User: arn:aws:sts::111122223333:assumed-role/deploy/run is not authorized to perform: iam:PassRole on resource: arn:aws:iam::111122223333:role/app",
        )],
    );
    let Value::Object(body) = json!({ "family": "web" }) else { unreachable!() };
    let error = played.cloud().await.register(&TaskDefinition { body, tags: vec![] }).await.unwrap_err();
    assert_eq!((error.kind, error.action.as_str()), (CallErrorKind::Denied, "iam:PassRole"));
    assert_eq!(played.asked().len(), 1, "a denial is not retried");
}

#[tokio::test]
async fn a_service_is_pointed_to_a_revision_and_nothing_else_of_it_is_sent() {
    let played = ScriptedServer::start().await;
    played.on("UpdateService", [ok(json!({ "service": described("web", "ecs-svc/9", TD) }))]);
    let service = played.cloud().await.update_service(&web(), &TD.into(), false).await.unwrap();
    assert_eq!(service.primary().unwrap().id, "ecs-svc/9".into());
    assert_eq!(played.only("UpdateService"), json!({ "cluster": "shop", "service": "web", "taskDefinition": TD }));
}

#[tokio::test]
async fn forcing_asks_for_a_new_deployment_of_the_same_revision() {
    let played = ScriptedServer::start().await;
    played
        .on("DescribeServices", [ok(json!({ "services": [described("web", "ecs-svc/8", TD)] }))])
        .on("UpdateService", [ok(json!({ "service": described("web", "ecs-svc/9", TD) }))]);
    played.cloud().await.update_service(&web(), &TD.into(), true).await.unwrap();
    assert_eq!(
        played.only("UpdateService"),
        json!({ "cluster": "shop", "service": "web", "taskDefinition": TD, "forceNewDeployment": true })
    );
}

#[tokio::test]
async fn a_forced_deployment_is_sent_again_only_where_nothing_happened() {
    for lost in [Answer::Reset, Answer::CutOff("{".to_owned()), error(503, "ServerException", "later")] {
        let played = ScriptedServer::start().await;
        let throttled = error(400, "ThrottlingException", "Rate exceeded");
        played.on("UpdateService", [throttled.clone(), throttled, lost.clone()]);
        let error = played.cloud().await.update_service(&web(), &TD.into(), true).await.unwrap_err();
        assert_eq!(error.kind, CallErrorKind::Unreachable);
        assert_eq!(played.asked().len(), 3, "{lost:?}");
    }
}

#[tokio::test]
async fn deployments_are_listed_since_a_time_over_all_pages_newest_first() {
    let played = ScriptedServer::start().await;
    let brief = |arn: &str, at: f64| json!({ "serviceDeploymentArn": arn, "createdAt": at, "status": "PENDING" });
    played.on(
        "ListServiceDeployments",
        [
            ok(json!({ "serviceDeployments": [brief("d1", 10.0), brief("d3", 30.5)], "nextToken": "more" })),
            ok(json!({ "serviceDeployments": [brief("d2", 20.0)] })),
        ],
    );
    let found = played.cloud().await.service_deployments(&web(), 9.5).await.unwrap();
    assert_eq!(found, ["d3".into(), "d2".into(), "d1".into()]);
    let first = json!({ "service": "web", "cluster": "shop", "createdAt": { "after": 9.5 }, "maxResults": 100 });
    assert_eq!(played.asked()[0].json(), first);
    assert_eq!(played.asked()[1].json()["nextToken"], "more");
}

#[tokio::test]
async fn a_service_deployment_is_read_with_its_breaker_rollback_and_pause() {
    let played = ScriptedServer::start().await;
    played.on("DescribeServiceDeployments", [
        ok(json!({ "serviceDeployments": [{
            "serviceDeploymentArn": "arn:d", "status": "ROLLBACK_IN_PROGRESS", "statusReason": "breaker",
            "createdAt": 1793000000.25, "lifecycleStage": "BAKE_TIME",
            "targetServiceRevision": { "arn": "arn:r", "requestedTaskCount": 2, "runningTaskCount": 1, "pendingTaskCount": 1 },
            "deploymentCircuitBreaker": { "status": "TRIGGERED", "failureCount": 3, "threshold": 3 },
            "rollback": { "reason": "tasks failed to start", "serviceRevisionArn": "arn:r0" },
            "lifecycleHookDetails": [{ "hookId": "h0", "status": "SUCCEEDED" }, { "hookId": "h1", "status": "AWAITING_ACTION" }],
        }]})),
        ok(json!({ "serviceDeployments": [{ "serviceDeploymentArn": "arn:d", "status": "PAUSED_BY_MAGIC" }] })),
        ok(json!({ "serviceDeployments": [], "failures": [{ "arn": "arn:d", "reason": "MISSING" }] })),
    ]);
    let cloud = played.cloud().await;
    let one = async || cloud.service_deployment(&"arn:d".into()).await.unwrap();
    insta::assert_debug_snapshot!(one().await.unwrap());
    let bare = one().await.unwrap();
    assert_eq!(bare.status, ServiceDeploymentStatus::Unknown("PAUSED_BY_MAGIC".to_owned()));
    assert_eq!((bare.failures, bare.awaiting_hook, bare.target_revision), (None, None, None));
    assert_eq!(one().await, None);
    assert_eq!(played.asked()[0].json(), json!({ "serviceDeploymentArns": ["arn:d"] }));
}

#[tokio::test]
async fn what_is_not_enabled_rolls_nothing_back() {
    for (said, is_enabled, rolls_back) in [
        (json!({ "enable": true, "rollback": true }), true, true),
        (json!({ "enable": true, "rollback": false }), true, false),
        (json!({ "enable": false, "rollback": true }), false, false),
        (json!({ "rollback": true }), false, false),
        (json!(null), false, false),
    ] {
        let played = ScriptedServer::start().await;
        let mut service = described("web", "ecs-svc/1", TD);
        service["deploymentConfiguration"] = json!({ "deploymentCircuitBreaker": said, "alarms": said });
        played.on("DescribeServices", [ok(json!({ "services": [service] }))]);
        let found = played.cloud().await.services(&[web()]).await.unwrap().remove(0).unwrap();
        assert_eq!((found.breaker.is_enabled, found.breaker.rolls_back), (is_enabled, rolls_back), "{said}");
        assert_eq!((found.alarms.is_enabled, found.alarms.rolls_back), (is_enabled, rolls_back), "{said}");
    }
}

#[tokio::test]
async fn a_service_revision_tells_the_digests_that_run() {
    let played = ScriptedServer::start().await;
    played.on("DescribeServiceRevisions", [ok(json!({ "serviceRevisions": [{
        "serviceRevisionArn": "arn:r", "taskDefinition": TD,
        "containerImages": [{ "containerName": "app", "image": "x:1", "imageDigest": "sha256:1" }, { "containerName": "proxy", "image": "y" }],
    }]}))]);
    let revision = played.cloud().await.service_revision(&"arn:r".into()).await.unwrap().unwrap();
    assert_eq!(revision.task_definition, TD.into());
    assert_eq!(revision.images, [("app".to_owned(), Some("sha256:1".to_owned())), ("proxy".to_owned(), None)]);
    assert_eq!(played.only("DescribeServiceRevisions"), json!({ "serviceRevisionArns": ["arn:r"] }));
}

#[tokio::test]
async fn a_deployment_that_waits_for_a_person_goes_on_or_back_by_its_hook() {
    let played = ScriptedServer::start().await;
    played.on("ContinueServiceDeployment", [ok(json!({})), ok(json!({}))]);
    let cloud = played.cloud().await;
    for (goes_on, action) in [(true, "CONTINUE"), (false, "ROLLBACK")] {
        cloud.continue_service_deployment(&"arn:d".into(), "hook-1", goes_on).await.unwrap();
        let asked = played.asked().pop().unwrap().json();
        assert_eq!(asked, json!({ "serviceDeploymentArn": "arn:d", "hookId": "hook-1", "action": action }));
    }
}

#[tokio::test]
async fn a_deployment_is_stopped_by_rolling_it_back() {
    let played = ScriptedServer::start().await;
    played.on(
        "StopServiceDeployment",
        [
            ok(json!({ "serviceDeploymentArn": "arn:d" })),
            error(400, "ConflictException", "The service deployment is already complete."),
        ],
    );
    let cloud = played.cloud().await;
    cloud.stop_service_deployment(&"arn:d".into()).await.unwrap();
    assert_eq!(played.asked()[0].json(), json!({ "serviceDeploymentArn": "arn:d", "stopType": "ROLLBACK" }));
    assert_eq!(cloud.stop_service_deployment(&"arn:d".into()).await.unwrap_err().kind, CallErrorKind::Conflict);
}

#[tokio::test]
async fn reads_survive_throttling_errors_of_the_service_and_lost_connections() {
    let throttled = error(400, "ThrottlingException", "Rate exceeded");
    for bad in
        [throttled, error(503, "ServerException", "later"), error(500, "ServerException", "later"), Answer::Reset]
    {
        let played = ScriptedServer::start().await;
        played.on(
            "DescribeServices",
            [bad.clone(), bad.clone(), ok(json!({ "services": [described("web", "ecs-svc/1", TD)] }))],
        );
        let found = played.cloud().await.services(&[web()]).await.unwrap();
        let deployment = &found[0].as_ref().unwrap().deployments[0];
        assert_eq!((&deployment.role, deployment.state), (&Role::Primary, State::Completed));
        assert_eq!(played.asked().len(), 3, "{bad:?}");
    }
}

#[tokio::test]
async fn throttling_and_lost_connections_that_stay_end_when_the_time_of_the_call_is_over() {
    for (bad, kind) in [
        (error(400, "ThrottlingException", "Rate exceeded"), CallErrorKind::Throttled),
        (error(503, "ServerException", "later"), CallErrorKind::Unreachable),
        (Answer::Reset, CallErrorKind::Unreachable),
    ] {
        let played = ScriptedServer::start().await;
        played.on("ListTasks", [bad.clone()]);
        let error = each_within(SHORT, played.cloud().await.running_tasks(&web())).await.unwrap_err();
        assert_eq!((error.kind, error.action.as_str()), (kind, "ecs:ListTasks"), "{bad:?}");
        assert!(played.asked().len() > 2, "{bad:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_leaves_unknown_what_the_call_did() {
    let played = ScriptedServer::start().await;
    played.on("UpdateService", [Answer::CutOff(r#"{"service": {"#.to_owned())]);
    let error = each_within(SHORT, played.cloud().await.update_service(&web(), &TD.into(), false)).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Unreachable);
    let garbled = ScriptedServer::start().await;
    garbled.on("ListTasks", [crate::contract::scripted_server::text(200, "<html>a portal</html>")]);
    let error = each_within(SHORT, garbled.cloud().await.running_tasks(&web())).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (CallErrorKind::Unreachable, "HTTP 200"));
}

/// What the SDK repeats by itself is asked each time: a lease that was confirmed before the first attempt may be another
/// run's before the second.
#[tokio::test]
async fn no_attempt_of_an_order_is_sent_when_its_time_is_over() {
    static READS: AtomicU64 = AtomicU64::new(0);
    // Each look at the clock is half a minute after the one before.
    let clock = || Duration::from_secs(30 * READS.fetch_add(1, Ordering::Relaxed));
    let played = ScriptedServer::start().await;
    let throttled = error(400, "ThrottlingException", "Rate exceeded");
    played.on("UpdateService", [throttled.clone(), throttled.clone(), throttled]);
    let cloud = played.cloud().await;
    let fence = Fence::new(Duration::from_secs(60), clock);
    let (service, revision) = (web(), TD.into());
    let order = fence.around(cloud.update_service(&service, &revision, false));
    each_within(Duration::from_secs(3), order).await.unwrap_err();
    assert_eq!(played.asked_for("UpdateService").len(), 2);
    assert!(fence.has_let_out() && fence.has_refused());
}
