//! CloudFormation's outputs and S3's objects, asked for by this program's own client: with the words and codes of AWS.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_stage::faults::{FaultAction, FaultPlan, FaultRule};
use aws_stage::{Stage, StageOptions};
use fargate_deploy::adapters::aws::{AwsClient, Session, SessionInputs};
use fargate_deploy::events::{Event, Sink};
use fargate_deploy::ports::{CallErrorKind, Outputs as _};
use fargate_deploy_core::names::RoleArn;
use serde_json::{Value, json};

struct Silence;

impl Sink for Silence {
    fn emit(&self, _: Event) {}
}

async fn stage() -> Stage {
    Stage::start(StageOptions::default()).await.unwrap()
}

async fn cloud(stage: &Stage, mut env: BTreeMap<String, String>, roles: Vec<RoleArn>) -> AwsClient {
    env.extend(stage.aws_env());
    let inputs = SessionInputs { roles, retry_wait: std::time::Duration::from_millis(1), ..SessionInputs::new(env) };
    AwsClient::new(Session::open(&inputs, Arc::new(Silence)).await.unwrap())
}

async fn as_root(stage: &Stage) -> AwsClient {
    cloud(stage, stage.root_env().into_iter().collect(), vec![]).await
}

/// A new role that a job on GitHub may assume, under `statements`.
async fn as_role(stage: &Stage, name: &str, statements: Value) -> AwsClient {
    let issuer = "https://token.actions.githubusercontent.com";
    let provider = json!({ "Url": issuer, "ClientIDList": ["sts.amazonaws.com"] });
    stage.call("iam", "CreateOpenIDConnectProvider", provider).await.unwrap();
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": { "Federated": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" },
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": { "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": stage.github().job().subject(),
        } },
    }] });
    let role = json!({ "RoleName": name, "AssumeRolePolicyDocument": trust.to_string() });
    stage.call("iam", "CreateRole", role).await.unwrap();
    let policy = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    let policy = json!({ "RoleName": name, "PolicyName": "p", "PolicyDocument": policy });
    stage.call("iam", "PutRolePolicy", policy).await.unwrap();
    let role = RoleArn::new(format!("arn:aws:iam::123456789012:role/{name}"));
    cloud(stage, stage.github_env().into_iter().collect(), vec![role]).await
}

fn outputs() -> BTreeMap<String, String> {
    BTreeMap::from([("Cluster".to_owned(), "shop & co".to_owned())])
}

#[tokio::test]
async fn the_outputs_of_a_stack_are_described_by_its_name_and_its_arn() {
    let stage = stage().await;
    stage.insert_stack("Base", &outputs());
    let cloud = as_root(&stage).await;
    assert_eq!(cloud.stack_outputs("Base").await.unwrap(), Some(outputs()));
    assert_eq!(cloud.stack_outputs("Nope").await.unwrap(), None);
    let described = stage.call("cloudformation", "DescribeStacks", json!({})).await.unwrap();
    let arn = described["Stacks"][0]["StackId"].as_str().unwrap();
    assert_eq!(cloud.stack_outputs(arn).await.unwrap(), Some(outputs()));
    stage.shutdown().await;
}

#[tokio::test]
async fn an_object_is_got_by_its_key_and_what_is_missing_is_told_apart() {
    let stage = stage().await;
    stage.insert_object("states", "env:/prod/a b.tfstate", b"state".to_vec());
    let cloud = as_root(&stage).await;
    assert_eq!(cloud.object("states", "env:/prod/a b.tfstate").await.unwrap().as_deref(), Some(&b"state"[..]));
    assert_eq!(cloud.object("states", "other").await.unwrap(), None);
    let error = cloud.object("nobodys", "key").await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (CallErrorKind::NotFound, "NoSuchBucket"));
    let calls = stage.calls();
    let last = calls.last().unwrap();
    assert_eq!((last.service.as_str(), last.operation.as_str(), last.status), ("s3", "GetObject", 404));
    assert!(calls.iter().all(|call| !call.mutating));
    stage.shutdown().await;
}

#[tokio::test]
async fn a_role_reads_what_its_policy_names() {
    let stage = stage().await;
    stage.insert_stack("Base", &outputs());
    stage.insert_stack("Other", &outputs());
    stage.insert_object("states", "shop", b"state".to_vec());
    let statements = json!([
        { "Effect": "Allow", "Action": "cloudformation:DescribeStacks",
          "Resource": "arn:aws:cloudformation:eu-central-1:123456789012:stack/Base/*" },
        { "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::states/shop" },
    ]);
    let cloud = as_role(&stage, "reader", statements).await;
    assert!(cloud.stack_outputs("Base").await.unwrap().is_some());
    assert!(cloud.object("states", "shop").await.unwrap().is_some());
    let error = cloud.stack_outputs("Other").await.unwrap_err();
    assert_eq!((error.kind, error.action.as_str()), (CallErrorKind::Denied, "cloudformation:DescribeStacks"));
    let error = cloud.object("states", "other").await.unwrap_err();
    assert_eq!((error.kind, error.action.as_str()), (CallErrorKind::Denied, "s3:GetObject"));
    stage.shutdown().await;
}

#[tokio::test]
async fn lost_and_throttled_answers_are_asked_for_again() {
    let stage = stage().await;
    stage.insert_object("states", "shop", b"state".to_vec());
    let rule = |action| FaultRule {
        service: Some("s3".to_owned()),
        operation: Some("GetObject".to_owned()),
        after: 0,
        times: Some(1),
        probability: None,
        action,
    };
    stage.set_faults(FaultPlan {
        seed: 0,
        rules: vec![rule(FaultAction::Throttle), rule(FaultAction::DropAfterEffect)],
    });
    let cloud = as_root(&stage).await;
    assert!(cloud.object("states", "shop").await.unwrap().is_some());
    assert_eq!(stage.calls().len(), 3);
    stage.shutdown().await;
}
