//! `policy --check` against a live role, and `policy --bootstrap`.

use super::cli::{program, run};
use super::policy::example;
use crate::contract::scripted_server::{Answer, ScriptedServer, sts_error};
use fargate_deploy_core::verify::retention::of_lifecycle;
use serde_json::{Value, json};
use std::fmt::Write as _;

fn encoded(document: &Value) -> String {
    document.to_string().bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "%{byte:02X}");
        all
    })
}

fn answer(operation: &str, inner: &str) -> Answer {
    let body = format!("<{operation}Response><{operation}Result>{inner}</{operation}Result></{operation}Response>");
    Answer::Plain { status: 200, content_type: "text/xml", body }
}

fn policy() -> Value {
    let (output, out, err) = run(&example("004-nestjs"), &["policy"]);
    assert!(output.status.success(), "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

/// A role with one policy of its own and one that is attached.
async fn checked(own: &Value, attached: &Value, arguments: &[&str]) -> (Option<i32>, String, String) {
    let server = ScriptedServer::start().await;
    let trust = encoded(&json!({"Statement": []}));
    server
        .on("GetRole", [answer("GetRole", &format!("<Role><AssumeRolePolicyDocument>{trust}</AssumeRolePolicyDocument></Role>"))])
        .on("ListRolePolicies", [answer("ListRolePolicies", "<PolicyNames><member>own</member></PolicyNames>")])
        .on("GetRolePolicy", [answer("GetRolePolicy", &format!("<PolicyDocument>{}</PolicyDocument>", encoded(own)))])
        .on(
            "ListAttachedRolePolicies",
            [
                answer("ListAttachedRolePolicies", "<AttachedPolicies/><IsTruncated>true</IsTruncated><Marker>m</Marker>"),
                answer(
                    "ListAttachedRolePolicies",
                    "<AttachedPolicies><member><PolicyName>more</PolicyName><PolicyArn>arn:aws:iam::1:policy/more</PolicyArn>\
                    </member></AttachedPolicies>",
                ),
            ],
        )
        .on("GetPolicy", [answer("GetPolicy", "<Policy><DefaultVersionId>v3</DefaultVersionId></Policy>")])
        .on(
            "GetPolicyVersion",
            [answer("GetPolicyVersion", &format!("<PolicyVersion><Document>{}</Document></PolicyVersion>", encoded(attached)))],
        );
    let mut command = program(&example("004-nestjs"));
    command.args(["policy", "--check", "arn:aws:iam::111122223333:role/team/gengar-deploy"]).args(arguments);
    command.envs(server.env());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(server.asked_for("GetRole")[0].form("RoleName"), "gengar-deploy");
    assert_eq!(server.asked_for("GetPolicyVersion")[0].form("VersionId"), "v3");
    (output.status.code(), out, err)
}

fn nothing() -> Value {
    json!({"Version": "2012-10-17", "Statement": []})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_the_printed_policy_lacks_nothing_and_has_nothing_to_spare() {
    let (code, out, err) = checked(&policy(), &nothing(), &[]).await;
    assert_eq!((code, out.as_str()), (Some(0), "0 missing, 0 unneeded, 0 too wide\n"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_is_missing_and_a_star_are_found_in_whatever_policy_they_are() {
    let mut own = policy();
    let statements = own["Statement"].as_array_mut().unwrap();
    let with_it = statements.iter_mut().find(|s| s["Action"].to_string().contains("ecs:UpdateService")).unwrap();
    with_it["Action"].as_array_mut().unwrap().retain(|action| action != "ecs:UpdateService");
    let star = json!({"Statement": {"Effect": "Allow", "Action": "ssm:*", "Resource": "*"}});
    let (code, out, err) = checked(&own, &star, &[]).await;
    assert_eq!(code, Some(3), "{out}{err}");
    assert!(out.contains("missing   ecs:UpdateService\n") && out.contains("without: no service moves"), "{out}");
    assert!(out.contains("too wide  ssm:* (policy `arn:aws:iam::1:policy/more`)"), "{out}");
    assert!(out.contains("ssm:PutParameter") && out.ends_with("1 missing, 0 unneeded, 1 too wide\n"), "{out}");
    assert!(
        err.contains("role `arn:aws:iam::111122223333:role/team/gengar-deploy` lacks `ecs:UpdateService`"),
        "{err}"
    );

    let all = json!({"Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}});
    let (code, out, _) = checked(&policy(), &all, &["--json"]).await;
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, found["missing"].as_array().unwrap().len()), (Some(0), 0), "{out}");
    assert_eq!(found["unneeded"][0]["action"], "s3:GetObject");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_not_there_or_may_not_be_read_is_said_to_be() {
    let none = sts_error(404, "NoSuchEntity", "The role with name x cannot be found.");
    let denied =
        sts_error(403, "AccessDenied", "User: x is not authorized to perform: iam:GetRole on resource: role x");
    for (answer, code, said) in [(none, 2, "there is no such role"), (denied, 3, "iam:GetRole")] {
        let server = ScriptedServer::start().await;
        server.on("GetRole", [answer]);
        let mut command = program(&example("004-nestjs"));
        command.args(["policy", "--check", "x"]).envs(server.env());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{err}");
        assert!(err.contains(said), "{err}");
    }
}

#[test]
fn what_a_first_deploy_needs_is_written_with_comments_and_nothing_of_it_deletes_what_runs() {
    for (format, kinds) in [
        (
            "terraform",
            [
                "resource \"aws_iam_openid_connect_provider\" \"github\"",
                "resource \"aws_iam_role\"",
                "resource \"aws_ecr_repository\" \"mentionai_gengar\"",
                "resource \"aws_cloudwatch_log_group\" \"ecs_gengar\"",
            ],
        ),
        (
            "cloudformation",
            [
                "Type: AWS::IAM::OIDCProvider",
                "Type: AWS::IAM::Role",
                "RepositoryName: mentionai/gengar",
                "LogGroupName: /ecs/gengar",
            ],
        ),
    ] {
        let arguments = ["policy", "--format", format, "--bootstrap", "--github", "org/shop"];
        let (output, out, err) = run(&example("004-nestjs"), &arguments);
        assert!(output.status.success(), "{out}{err}");
        for kind in kinds {
            assert!(out.contains(kind), "{kind}: {out}");
        }
        assert!(out.lines().filter(|line| line.trim_start().starts_with('#')).count() >= 5, "{out}");
        assert!(
            !out.contains("aws_ecs_service") && !out.contains("AWS::ECS::Service") && !out.contains("Subnet"),
            "{out}"
        );
        if format == "cloudformation" {
            let template: Value = serde_saphyr::from_str(&out).unwrap();
            assert_eq!(template["Resources"]["GitHub"]["Type"], "AWS::IAM::OIDCProvider");
            assert_eq!(template["Resources"]["Repository1"]["Type"], "AWS::ECR::Repository");
        }
        let (_, rules) = out.split_once("{\"rules\"").map_or_else(
            || out.split_once("policy     = jsonencode(").unwrap(),
            |(before, rest)| (before, &out[out.len() - rest.len() - "{\"rules\"".len()..]),
        );
        let mut documents = serde_json::Deserializer::from_str(rules).into_iter::<Value>();
        let lifecycle = documents.next().unwrap().unwrap();
        assert_eq!(lifecycle["rules"].as_array().unwrap().len(), 2);
        let checks = of_lifecycle("repository", &lifecycle.to_string(), &["{sha}".to_owned(), "latest".to_owned()]);
        assert!(checks.iter().all(|check| check.verdict == fargate_deploy_core::verify::Verdict::Ok), "{checks:?}");
    }
    let (output, _, err) = run(&example("004-nestjs"), &["policy", "--bootstrap"]);
    assert!(output.status.code() == Some(2) && err.contains("--format terraform"), "{err}");
}
