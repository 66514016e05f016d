//! Protocols, strangers, faults and the log of calls.

use aws_sdk_ecs::config::Credentials;
use aws_sdk_ssm::types::ParameterType;
use aws_stage::Stage;
use aws_stage::faults::{FaultAction, FaultPlan, FaultRule};
use bollard::Docker;
use serde_json::{Value, json};

use crate::clients::{bare, ecs, github_role, refusal, restricted, root, session, ssm, stage, sts, sub_is};

fn rule(service: &str, operation: &str, times: u32, action: FaultAction) -> FaultPlan {
    let rule = FaultRule {
        service: Some(service.to_owned()),
        operation: Some(operation.to_owned()),
        after: 0,
        times: Some(times),
        probability: None,
        action,
    };
    FaultPlan { seed: 0, rules: vec![rule] }
}

fn wire_calls(stage: &Stage, operation: &str) -> usize {
    stage.calls().iter().filter(|call| call.operation == operation).count()
}

fn key(key: &str) -> Credentials {
    Credentials::new(key, "any", None, None, "test")
}

#[tokio::test]
async fn unknown_keys_are_refused_and_account_numbers_are_roots_of_their_account() {
    let stage = stage().await;
    let (code, message) = refusal(ecs(&stage, key("AKIANOBODY")).list_clusters().send().await);
    assert_eq!(code, "UnrecognizedClientException");
    assert_eq!(message, "The security token included in the request is invalid.");
    assert_eq!(refusal(sts(&stage, key("AKIANOBODY")).get_caller_identity().send().await).0, "InvalidClientTokenId");
    let other = sts(&stage, key("210987654321")).get_caller_identity().send().await.unwrap();
    assert_eq!(other.arn(), Some("arn:aws:iam::210987654321:root"));
    let unsigned = reqwest::Client::new().post(stage.url()).header("x-amz-target", "AmazonSSM.GetParameter");
    let answer: Value = unsigned.body("{}").send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["__type"], "MissingAuthenticationTokenException");
    stage.shutdown().await;
}

#[tokio::test]
async fn accounts_do_not_see_each_others_parameters() {
    let stage = stage().await;
    let of = |account: &str| ssm(&stage, key(account));
    let put = of("111111111111").put_parameter().name("/a").value("v").r#type(ParameterType::String);
    put.send().await.unwrap();
    assert!(of("111111111111").get_parameter().name("/a").send().await.is_ok());
    assert_eq!(refusal(of("222222222222").get_parameter().name("/a").send().await).0, "ParameterNotFound");
    stage.shutdown().await;
}

#[tokio::test]
async fn unknown_operations_are_refused_in_each_protocol() {
    let stage = stage().await;
    let answer = bare(&stage, "ecs").header("x-amz-target", "AmazonEC2ContainerServiceV20141113.Fly").body("{}");
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["x-amzn-errortype"], "UnknownOperationException");
    assert!(answer.headers().contains_key("x-amzn-requestid"));
    let answer = bare(&stage, "iam").body("Action=Fly&Version=2010-05-08").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("<Code>InvalidAction</Code>"));
    stage.shutdown().await;
}

#[tokio::test]
async fn iam_speaks_xml_and_encodes_its_policy_documents() {
    let stage = stage().await;
    github_role(&stage, "deploy", sub_is("repo:acme/shop:*")).await;
    let get = async |name: &str| {
        let body = format!("Action=GetRole&Version=2010-05-08&RoleName={name}");
        let answer = bare(&stage, "iam").body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = get("deploy").await;
    assert_eq!(status, 200);
    let head = "<GetRoleResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><GetRoleResult><Role>";
    assert!(text.starts_with(head), "{text}");
    assert!(text.contains("<AssumeRolePolicyDocument>%7B%22Version%22"), "{text}");
    let (status, text) = get("nobody").await;
    assert_eq!(status, 404);
    let missing = "<Code>NoSuchEntity</Code><Message>The role with name nobody cannot be found.</Message>";
    assert!(text.contains(missing), "{text}");
    stage.shutdown().await;
}

#[tokio::test]
async fn the_sdk_rides_out_throttling_and_server_errors() {
    let stage = stage().await;
    for action in [FaultAction::Throttle, FaultAction::Status(500), FaultAction::Status(503)] {
        stage.set_faults(rule("ecs", "ListClusters", 2, action));
        let before = wire_calls(&stage, "ListClusters");
        ecs(&stage, root()).list_clusters().send().await.unwrap();
        assert_eq!(wire_calls(&stage, "ListClusters") - before, 3);
    }
    stage.shutdown().await;
}

#[tokio::test]
async fn a_lost_answer_leaves_its_effect_behind() {
    let stage = stage().await;
    let client = ssm(&stage, root());
    let put = || client.put_parameter().name("/lease").value("mine").r#type(ParameterType::String).send();
    stage.set_faults(rule("ssm", "PutParameter", 1, FaultAction::DropAfterEffect));
    // The SDK repeats the call that it got no answer to, and meets its own effect.
    assert_eq!(refusal(put().await).0, "ParameterAlreadyExists");
    let statuses: Vec<u16> = stage.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [0, 400]);
    client.delete_parameter().name("/lease").send().await.unwrap();
    stage.set_faults(rule("ssm", "PutParameter", 1, FaultAction::DropBefore));
    assert!(put().await.is_ok());
    stage.shutdown().await;
}

#[tokio::test]
async fn a_session_that_a_fault_ends_stays_ended_and_a_new_one_works() {
    let stage = stage().await;
    let lists = json!([{ "Effect": "Allow", "Action": "ecs:ListClusters", "Resource": "*" }]);
    let client = ecs(&stage, restricted(&stage, "deploy", lists).await);
    let role = "arn:aws:iam::123456789012:role/deploy".to_owned();
    assert!(client.list_clusters().send().await.is_ok());
    stage.set_faults(rule("ecs", "ListClusters", 1, FaultAction::ExpireSession));
    for _ in 0..2 {
        let (code, message) = refusal(client.list_clusters().send().await);
        assert_eq!(code, "ExpiredTokenException");
        assert_eq!(message, "The security token included in the request is expired");
    }
    assert!(ecs(&stage, session(&stage, &role).await).list_clusters().send().await.is_ok());
    stage.shutdown().await;
}

#[tokio::test]
async fn other_processes_set_faults_and_read_the_calls() {
    let stage = stage().await;
    let client = reqwest::Client::new();
    let at = |path: &str| format!("{}/_stage/{path}", stage.url());
    let error = json!({ "error": { "code": "IDPCommunicationError", "message": "later" } });
    let rules = json!({ "rules": [{ "service": "sts", "action": error }] });
    let set = client.post(at("faults")).body(rules.to_string()).send().await.unwrap();
    assert_eq!(set.status(), 200);
    let wrong = client.post(at("faults")).body(r#"{"rule":1}"#).send().await.unwrap();
    assert_eq!(wrong.status(), 400);
    assert_eq!(refusal(sts(&stage, root()).get_caller_identity().send().await).0, "IDPCommunicationError");
    let calls: Value = client.get(at("calls")).send().await.unwrap().json().await.unwrap();
    assert_eq!(calls["calls"][0]["operation"], "GetCallerIdentity");
    assert_eq!(calls["calls"][0]["mutating"], false);
    assert_eq!(calls["calls"][0]["error"], "IDPCommunicationError");
    let health: Value = client.get(at("health")).send().await.unwrap().json().await.unwrap();
    assert_eq!(health["status"], "ok");
    stage.shutdown().await;
}

#[tokio::test]
async fn shutting_down_or_dropping_removes_the_network_and_the_layers() {
    let docker = Docker::connect_with_defaults().unwrap();
    for dropped in [false, true] {
        let stage = stage().await;
        let network = format!("fargate-deploy-stage-{}", stage.id());
        let directory = stage.folder().to_owned();
        assert!(docker.inspect_network(&network, None).await.is_ok());
        assert!(directory.exists());
        if dropped {
            drop(stage)
        } else {
            stage.shutdown().await
        }
        assert!(docker.inspect_network(&network, None).await.is_err());
        assert!(!directory.exists(), "{}", directory.display());
    }
}
