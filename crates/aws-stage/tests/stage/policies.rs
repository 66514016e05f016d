//! Least privilege: a role with an inline policy may do what it says and nothing else.

use aws_sdk_ecs::types::{Compatibility, ContainerDefinition, NetworkMode};
use aws_sdk_ssm::types::ParameterType;
use serde_json::{Value, json};

use aws_sdk_ecs::config::Credentials;

use crate::clients::{ecr, ecs, github_role, refusal, restricted, root, seed, session, ssm, stage, sts, sub_is};
use crate::images;

fn allow(actions: &[&str], resource: &str) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": resource })
}

#[tokio::test]
async fn what_no_policy_allows_is_denied_in_the_words_of_aws() {
    let stage = stage().await;
    let credentials = restricted(&stage, "reader", json!([allow(&["ecs:Describe*"], "*")])).await;
    let denied = ecs(&stage, credentials).update_service().cluster("prod").service("web").send().await;
    let (code, message) = refusal(denied);
    assert_eq!(code, "AccessDeniedException");
    assert_eq!(
        message,
        "User: arn:aws:sts::123456789012:assumed-role/reader/run-1 is not authorized to perform: ecs:UpdateService on resource: arn:aws:ecs:eu-central-1:123456789012:service/prod/web because no identity-based policy allows the ecs:UpdateService action"
    );
    stage.shutdown().await;
}

#[tokio::test]
async fn an_explicit_deny_says_so() {
    let stage = stage().await;
    let statements = json!([allow(&["ssm:*"], "*"), { "Effect": "Deny", "Action": "ssm:Put*", "Resource": "*" }]);
    let client = ssm(&stage, restricted(&stage, "r", statements).await);
    let put = client.put_parameter().name("/a").value("v").r#type(ParameterType::String);
    let (code, message) = refusal(put.send().await);
    assert_eq!(code, "AccessDeniedException");
    assert!(message.ends_with("parameter/a with an explicit deny in an identity-based policy"), "{message}");
    stage.shutdown().await;
}

#[tokio::test]
async fn a_managed_policy_counts_once_it_is_attached_and_a_boundary_says_what_policies_can_allow_at_most() {
    let stage = stage().await;
    let credentials = restricted(&stage, "r", json!([allow(&["ecs:ListClusters"], "*")])).await;
    let client = ecs(&stage, credentials);
    let of = |statements: Value| json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    let iam = async |operation: &str, body: Value| stage.call("iam", operation, body).await.unwrap();
    let policy = async |name: &str, statements: Value| {
        let made = iam("CreatePolicy", json!({ "PolicyName": name, "PolicyDocument": of(statements) })).await;
        made["Policy"]["Arn"].as_str().unwrap().to_owned()
    };
    let families = || client.list_task_definition_families().send();
    assert!(families().await.is_err());
    let reads = policy("reads", json!([allow(&["ecs:ListTaskDefinitionFamilies"], "*")])).await;
    iam("AttachRolePolicy", json!({ "RoleName": "r", "PolicyArn": reads })).await;
    assert!(families().await.is_ok() && client.list_clusters().send().await.is_ok());

    let limit = policy("limit", json!([allow(&["ecs:ListClusters", "ecs:RunTask"], "*")])).await;
    iam("PutRolePermissionsBoundary", json!({ "RoleName": "r", "PermissionsBoundary": limit })).await;
    assert!(client.list_clusters().send().await.is_ok());
    let (_, message) = refusal(families().await);
    let because = "because no permissions boundary allows the ecs:ListTaskDefinitionFamilies action";
    assert!(message.ends_with(because), "{message}");
    let (_, message) = refusal(client.run_task().task_definition("web").send().await);
    assert!(message.ends_with("because no identity-based policy allows the ecs:RunTask action"), "{message}");

    let denies = policy("denies", json!([{ "Effect": "Deny", "Action": "*", "Resource": "*" }])).await;
    iam("PutRolePermissionsBoundary", json!({ "RoleName": "r", "PermissionsBoundary": denies })).await;
    let (_, message) = refusal(client.list_clusters().send().await);
    assert!(message.ends_with("with an explicit deny in a permissions boundary"), "{message}");
    let none = stage
        .call(
            "iam",
            "AttachRolePolicy",
            json!({ "RoleName": "r", "PolicyArn": "arn:aws:iam::123456789012:policy/none" }),
        )
        .await;
    assert_eq!(none.unwrap_err().code, "NoSuchEntity");
    stage.shutdown().await;
}

#[tokio::test]
async fn registering_a_task_definition_needs_pass_role_on_both_of_its_roles() {
    let stage = stage().await;
    let pass = |roles: Value, service: &str| {
        json!({ "Effect": "Allow", "Action": "iam:PassRole", "Resource": roles,
            "Condition": { "StringEquals": { "iam:PassedToService": service } } })
    };
    let (task, execution) = ("arn:aws:iam::123456789012:role/app", "arn:aws:iam::123456789012:role/exec");
    let register = allow(&["ecs:RegisterTaskDefinition"], "*");
    let cases = [
        ("one", pass(json!([task]), "ecs-tasks.amazonaws.com"), Some(execution)),
        ("service", pass(json!([task, execution]), "lambda.amazonaws.com"), Some(task)),
        ("both", pass(json!([task, execution]), "ecs-tasks.amazonaws.com"), None),
    ];
    for (name, statement, refused) in cases {
        let client = ecs(&stage, restricted(&stage, name, json!([register, statement])).await);
        let result = client
            .register_task_definition()
            .family("web")
            .task_role_arn(task)
            .execution_role_arn(execution)
            .network_mode(NetworkMode::Awsvpc)
            .requires_compatibilities(Compatibility::Fargate)
            .cpu("256")
            .memory("512")
            .container_definitions(ContainerDefinition::builder().name("web").image("busybox").build())
            .send()
            .await;
        match refused {
            None => assert!(result.is_ok(), "{name}: {result:?}"),
            Some(role) => {
                let (code, message) = refusal(result);
                assert_eq!(code, "AccessDeniedException", "{name}");
                let expected = format!("is not authorized to perform: iam:PassRole on resource: {role} because");
                assert!(message.contains(&expected), "{message}");
            }
        }
    }
    stage.shutdown().await;
}

#[tokio::test]
async fn run_task_is_authorized_on_the_task_definition_under_the_clusters_condition() {
    let stage = stage().await;
    let statements = json!([{
        "Effect": "Allow", "Action": "ecs:RunTask",
        "Resource": "arn:aws:ecs:eu-central-1:123456789012:task-definition/web:*",
        "Condition": { "ArnEquals": { "ecs:cluster": "arn:aws:ecs:eu-central-1:123456789012:cluster/prod" } },
    }]);
    let client = ecs(&stage, restricted(&stage, "runner", statements).await);
    let run = |cluster: &str| client.run_task().cluster(cluster).task_definition("web:1").send();
    let (code, message) = refusal(run("staging").await);
    assert_eq!(code, "AccessDeniedException");
    let resource = "ecs:RunTask on resource: arn:aws:ecs:eu-central-1:123456789012:task-definition/web:1";
    assert!(message.contains(resource), "{message}");
    // Allowed, so what refuses it now is ECS itself: there is no such cluster.
    if let Err(error) = run("arn:aws:ecs:eu-central-1:123456789012:cluster/prod").await {
        assert_ne!(refusal::<(), _, _>(Err(error)).0, "AccessDeniedException");
    }
    stage.shutdown().await;
}

#[tokio::test]
async fn a_role_without_policies_may_do_nothing() {
    let stage = stage().await;
    let role = github_role(&stage, "bare", sub_is("repo:acme/shop:ref:refs/heads/main")).await;
    let client = ecr(&stage, session(&stage, &role).await);
    let (code, message) = refusal(client.create_repository().repository_name("shop").send().await);
    assert_eq!(code, "AccessDeniedException");
    assert!(message.contains("because no identity-based policy allows the ecr:CreateRepository action"), "{message}");
    stage.shutdown().await;
}

#[tokio::test]
async fn a_session_may_do_what_both_its_role_and_its_own_policy_allow() {
    let stage = stage().await;
    restricted(&stage, "deploy", json!([allow(&["ecr:*"], "*")])).await;
    let role = "arn:aws:iam::123456789012:role/deploy";
    let assume = async |policy: &str| {
        let token = stage.github().token(Some("sts.amazonaws.com")).unwrap();
        let client = sts(&stage, root());
        client
            .assume_role_with_web_identity()
            .role_arn(role)
            .role_session_name("run-2")
            .web_identity_token(token)
            .policy(policy)
            .send()
            .await
    };
    let policy = json!({ "Version": "2012-10-17", "Statement": [allow(&["ecr:DescribeRepositories", "ecs:*"], "*")] });
    let assumed = assume(&policy.to_string()).await.unwrap();
    let issued = assumed.credentials().unwrap();
    let token = Some(issued.session_token().to_owned());
    let limited = Credentials::new(issued.access_key_id(), issued.secret_access_key(), token, None, "test");
    ecr(&stage, limited.clone()).describe_repositories().send().await.unwrap();
    let (_, message) = refusal(ecr(&stage, limited.clone()).create_repository().repository_name("shop").send().await);
    assert!(message.contains("because no session policy allows the ecr:CreateRepository action"), "{message}");
    let (_, message) = refusal(ecs(&stage, limited).list_clusters().send().await);
    assert!(message.contains("because no identity-based policy allows the ecs:ListClusters action"), "{message}");
    for malformed in ["{", r#"{"Statement":[{"Effect":"Allow","Action":"ecr:*"}]}"#] {
        assert_eq!(refusal(assume(malformed).await).0, "MalformedPolicyDocument", "{malformed}");
    }
    stage.shutdown().await;
}

#[tokio::test]
async fn the_requested_region_is_a_condition_key() {
    let stage = stage().await;
    for (region, is_allowed) in [("eu-central-1", true), ("us-east-1", false)] {
        let mut statement = allow(&["ecr:DescribeRepositories"], "*");
        statement["Condition"] = json!({ "StringEquals": { "aws:RequestedRegion": region } });
        let client = ecr(&stage, restricted(&stage, region, json!([statement])).await);
        assert_eq!(client.describe_repositories().send().await.is_ok(), is_allowed, "{region}");
    }
    stage.shutdown().await;
}

#[tokio::test]
async fn simulation_answers_like_enforcement() {
    let stage = stage().await;
    restricted(&stage, "r", json!([allow(&["ecs:UpdateService"], "arn:aws:ecs:*:*:service/prod/*")])).await;
    let asked = json!({
        "PolicySourceArn": "arn:aws:iam::123456789012:role/r",
        "ActionNames": ["ecs:UpdateService", "ecs:RunTask"],
        "ResourceArns": ["arn:aws:ecs:eu-central-1:123456789012:service/prod/web"],
    });
    let results = seed(&stage, "iam", "SimulatePrincipalPolicy", asked).await;
    let results = results["EvaluationResults"].as_array().unwrap();
    let decisions: Vec<_> = results.iter().map(|result| result["EvalDecision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["allowed", "implicitDeny"]);
    stage.shutdown().await;
}

#[tokio::test]
async fn a_registry_password_can_do_what_its_role_can() {
    let stage = stage().await;
    ecr(&stage, root()).create_repository().repository_name("shop").send().await.unwrap();
    let statements = json!([allow(&["ecr:GetAuthorizationToken", "ecr:BatchGetImage"], "*")]);
    let client = ecr(&stage, restricted(&stage, "puller", statements).await);
    let password = images::password(&client).await;
    let url = format!("{}/v2/shop/blobs/uploads/", stage.url());
    let denied = reqwest::Client::new().post(url).basic_auth("AWS", Some(password)).send().await.unwrap();
    assert_eq!(denied.status(), 403);
    let body: Value = denied.json().await.unwrap();
    assert_eq!(body["errors"][0]["code"], "DENIED");
    let message = body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("not authorized to perform: ecr:InitiateLayerUpload"), "{message}");
    stage.shutdown().await;
}
