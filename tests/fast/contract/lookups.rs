//! Values from elsewhere: CloudFormation's Query protocol and S3, signed by us, and plain parameters.

use crate::contract::scripted_server::{Answer, REGION, ScriptedServer, error, ok, text};
use fargate_deploy::ports::{CallErrorKind, Outputs as _, Parameter, Parameters as _, Repositories as _};
use serde_json::json;
use std::collections::BTreeMap;

const NAMESPACE: &str = "http://cloudformation.amazonaws.com/doc/2010-05-15/";

fn xml(status: u16, body: &str) -> Answer {
    Answer::Plain { status, content_type: "text/xml", body: body.to_owned() }
}

fn stack(inner: &str) -> Answer {
    xml(
        200,
        &format!(
            "<DescribeStacksResponse xmlns=\"{NAMESPACE}\">\n <DescribeStacksResult>\n  <Stacks>\n   <member>\n    <StackName>Base</StackName>\n\
            <Tags><member><Key>OutputKey</Key><Value>no output</Value></member></Tags>{inner}</member></Stacks></DescribeStacksResult>\
            <ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></DescribeStacksResponse>"
        ),
    )
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    xml(
        status,
        &format!(
            "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
            <RequestId>r-1</RequestId></ErrorResponse>"
        ),
    )
}

fn s3_error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>r</RequestId></Error>"
    );
    Answer::Plain { status, content_type: "application/xml", body }
}

#[tokio::test]
async fn the_outputs_of_a_stack_are_read_by_its_name() {
    let played = ScriptedServer::start().await;
    let outputs = "<StackStatus>UPDATE_COMPLETE</StackStatus><Outputs>\
        <member><OutputKey>Cluster</OutputKey><OutputValue>shop &amp; co</OutputValue><Description>d</Description></member>\
        <member><OutputValue/><OutputKey>Empty</OutputKey></member></Outputs>";
    played.on("DescribeStacks", [stack(outputs)]);
    let found = played.cloud().await.stack_outputs("Base").await.unwrap().unwrap();
    let expected = [("Cluster", "shop & co"), ("Empty", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(found, BTreeMap::from(expected));
    let asked = &played.asked()[0];
    assert_eq!((asked.form("Version").as_str(), asked.form("StackName").as_str()), ("2010-05-15", "Base"));
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded; charset=utf-8");
    let authorization = &asked.headers["authorization"];
    assert!(authorization.contains(&format!("/{REGION}/cloudformation/aws4_request")), "{authorization}");
    assert!(authorization.contains("SignedHeaders=content-type;host;x-amz-date"), "{authorization}");
}

#[tokio::test]
async fn a_stack_without_outputs_has_none_and_one_that_was_deleted_is_not_there() {
    let played = ScriptedServer::start().await;
    played.on(
        "DescribeStacks",
        [
            stack("<StackStatus>CREATE_COMPLETE</StackStatus>"),
            stack("<StackStatus>DELETE_COMPLETE</StackStatus>"),
            refusal(400, "ValidationError", "Stack with id Base does not exist"),
        ],
    );
    let cloud = played.cloud().await;
    assert_eq!(cloud.stack_outputs("Base").await.unwrap(), Some(BTreeMap::new()));
    assert_eq!(cloud.stack_outputs("Base").await.unwrap(), None);
    assert_eq!(cloud.stack_outputs("Base").await.unwrap(), None);
}

#[tokio::test]
async fn a_stack_of_another_region_is_asked_for_there() {
    let played = ScriptedServer::start().await;
    played.on("DescribeStacks", [stack("")]);
    let arn = "arn:aws:cloudformation:us-east-1:111122223333:stack/Base/1a2b";
    played.cloud().await.stack_outputs(arn).await.unwrap();
    let asked = &played.asked()[0];
    assert_eq!(asked.form("StackName"), arn);
    assert!(asked.headers["authorization"].contains("/us-east-1/cloudformation/"));
}

#[tokio::test]
async fn refusals_of_cloudformation_are_sorted_and_what_may_pass_is_asked_again() {
    let played = ScriptedServer::start().await;
    let denied = "User: arn:aws:sts::111122223333:assumed-role/deploy/run is not authorized to perform: \
        cloudformation:DescribeStacks on resource: arn:aws:cloudformation:eu-central-1:111122223333:stack/Base/*";
    played.on(
        "DescribeStacks",
        [
            refusal(400, "Throttling", "Rate exceeded"),
            text(503, "upstream connect error"),
            Answer::Reset,
            stack(""),
            refusal(403, "AccessDenied", denied),
            refusal(400, "ValidationError", "1 validation error detected"),
            text(200, "<html>a proxy</html>"),
        ],
    );
    let cloud = played.cloud().await;
    assert!(cloud.stack_outputs("Base").await.unwrap().is_some());
    assert_eq!(played.asked().len(), 4, "three attempts were lost");
    let error = cloud.stack_outputs("Base").await.unwrap_err();
    assert_eq!((error.kind, error.action.as_str()), (CallErrorKind::Denied, "cloudformation:DescribeStacks"));
    assert_eq!(error.request_id.as_deref(), Some("r-1"));
    assert_eq!(cloud.stack_outputs("Base").await.unwrap_err().kind, CallErrorKind::Invalid);
    let error = cloud.stack_outputs("Base").await.unwrap_err();
    assert!(error.message.contains("cannot read the answer"), "{error}");
}

#[tokio::test]
async fn an_object_is_read_with_its_key_encoded_and_its_empty_payload_signed() {
    let played = ScriptedServer::start().await;
    played.on("GET", [text(200, "{\"version\": 4}")]);
    let found = played.cloud().await.object("states", "env:/prod/a b.tfstate").await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"{\"version\": 4}"[..]));
    let asked = &played.asked()[0];
    assert_eq!(asked.uri, "/states/env%3A/prod/a%20b.tfstate");
    let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(asked.headers["x-amz-content-sha256"], of_nothing);
    let authorization = &asked.headers["authorization"];
    assert!(authorization.contains(&format!("/{REGION}/s3/aws4_request")), "{authorization}");
    assert!(authorization.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date"), "{authorization}");
}

#[tokio::test]
async fn an_object_that_is_not_there_is_none_and_a_denied_one_is_an_error() {
    let played = ScriptedServer::start().await;
    played.on(
        "GET",
        [
            s3_error(404, "NoSuchKey", "The specified key does not exist."),
            s3_error(404, "NoSuchBucket", "The specified bucket does not exist"),
            s3_error(403, "AccessDenied", "Access Denied"),
            s3_error(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
            s3_error(503, "SlowDown", "Please reduce your request rate."),
            text(200, "state"),
        ],
    );
    let cloud = played.cloud().await;
    assert_eq!(cloud.object("states", "k").await.unwrap(), None);
    let mut kinds = vec![];
    for _ in 0..3 {
        kinds.push(cloud.object("states", "k").await.unwrap_err().kind);
    }
    assert_eq!(kinds, [CallErrorKind::NotFound, CallErrorKind::Denied, CallErrorKind::Identity]);
    assert_eq!(
        cloud.object("states", "k").await.unwrap().as_deref(),
        Some(&b"state"[..]),
        "asked again after SlowDown"
    );
}

#[tokio::test]
async fn a_bucket_of_another_region_is_followed_there_once() {
    let played = ScriptedServer::start().await;
    played.on("GET", [Answer::Elsewhere("us-west-2".to_owned()), text(200, "state")]);
    let found = played.cloud().await.object("states", "k").await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"state"[..]));
    assert!(played.asked()[1].headers["authorization"].contains("/us-west-2/s3/"));
    played.on("GET", [Answer::Elsewhere("us-west-2".to_owned())]);
    let error = played.cloud().await.object("states", "k").await.unwrap_err();
    assert_eq!((error.code.as_str(), played.asked().len()), ("PermanentRedirect", 4));
}

#[tokio::test]
async fn an_object_that_is_cut_off_is_asked_for_again() {
    let played = ScriptedServer::start().await;
    played.on("GET", [Answer::CutOff("half".to_owned()), text(200, "whole")]);
    let found = played.cloud().await.object("states", "k").await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"whole"[..]));
}

#[tokio::test]
async fn a_plain_parameter_is_read_and_a_secret_one_never_arrives() {
    let played = ScriptedServer::start().await;
    let parameter =
        |kind: &str, value: &str| ok(json!({ "Parameter": { "Name": "/a", "Type": kind, "Value": value } }));
    played.on(
        "GetParameter",
        [
            parameter("String", "v"),
            parameter("StringList", "a,b"),
            parameter("SecureString", "AQICAHh"),
            parameter("OfTheFuture", "x"),
            error(400, "ParameterNotFound", ""),
            error(400, "ParameterVersionNotFound", "no version 3"),
        ],
    );
    let cloud = played.cloud().await;
    let plain = |text: &str| Some(Parameter::Plain(text.to_owned()));
    let expected = [plain("v"), plain("a,b"), Some(Parameter::Secure), Some(Parameter::Secure), None, None];
    for expected in expected {
        assert_eq!(cloud.parameter("/a").await.unwrap(), expected);
    }
    assert_eq!(played.asked()[0].json(), json!({ "Name": "/a", "WithDecryption": false }));
}

#[tokio::test]
async fn the_platform_of_an_image_is_that_of_its_index_or_of_its_config() {
    let played = ScriptedServer::start().await;
    let digest = fargate_deploy_core::image::Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
    let manifest = |body: serde_json::Value| {
        let image = json!({ "imageManifest": body.to_string(), "imageId": { "imageDigest": digest } });
        ok(json!({ "images": [image], "failures": [] }))
    };
    let of = |os: &str, architecture: &str| json!({ "platform": { "os": os, "architecture": architecture } });
    let single = json!({ "config": { "digest": "sha256:c0" }, "layers": [] });
    played.on(
        "BatchGetImage",
        [
            manifest(json!({ "manifests": [of("linux", "arm64"), of("unknown", "unknown")] })),
            manifest(json!({ "manifests": [of("linux", "arm64"), of("linux", "amd64")] })),
            manifest(single.clone()),
            manifest(single),
        ],
    );
    let url = format!("{}/layer", played.url);
    let denied = "User: x is not authorized to perform: ecr:GetDownloadUrlForLayer on resource: y";
    played
        .on("GetDownloadUrlForLayer", [ok(json!({ "downloadUrl": url })), error(400, "AccessDeniedException", denied)]);
    played.on("GET", [text(200, "{\"os\": \"linux\", \"architecture\": \"amd64\", \"config\": {}}")]);
    let repository = fargate_deploy::ports::Repository {
        registry_id: "111122223333".to_owned(),
        region: None,
        name: "shop".to_owned(),
        uri: "111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop".to_owned(),
        is_immutable: false,
    };
    let cloud = played.cloud().await;
    assert_eq!(cloud.only_platform(&repository, &digest).await.unwrap().as_deref(), Some("linux/arm64"));
    assert_eq!(cloud.only_platform(&repository, &digest).await.unwrap(), None, "of several none is the only one");
    assert_eq!(cloud.only_platform(&repository, &digest).await.unwrap().as_deref(), Some("linux/amd64"));
    assert_eq!(played.only("GetDownloadUrlForLayer")["layerDigest"], "sha256:c0");
    assert!(!played.asked_for("GET")[0].headers.contains_key("authorization"), "its address is signed");
    assert_eq!(cloud.only_platform(&repository, &digest).await.unwrap_err().kind, CallErrorKind::Denied);
}

#[tokio::test]
async fn whether_a_digest_can_be_pulled_is_asked_as_a_pull_asks() {
    let played = ScriptedServer::start().await;
    let digest = fargate_deploy_core::image::Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
    let denied = "User: x is not authorized to perform: ecr:BatchGetImage on resource: y because no resource-based policy allows it";
    played.on(
        "BatchGetImage",
        [
            ok(json!({ "images": [{ "imageManifest": "{}", "imageId": { "imageDigest": digest } }], "failures": [] })),
            ok(json!({ "images": [], "failures": [{ "failureCode": "ImageNotFound" }] })),
            error(400, "RepositoryNotFoundException", "no such repository"),
            error(400, "AccessDeniedException", denied),
        ],
    );
    let repository = fargate_deploy::ports::Repository {
        registry_id: "444455556666".to_owned(),
        region: Some("eu-west-1".to_owned()),
        name: "shop-app".to_owned(),
        uri: "444455556666.dkr.ecr.eu-west-1.amazonaws.com/shop-app".to_owned(),
        is_immutable: false,
    };
    let cloud = played.cloud().await;
    assert!(cloud.is_pullable(&repository, &digest).await.unwrap());
    assert!(!cloud.is_pullable(&repository, &digest).await.unwrap());
    assert!(!cloud.is_pullable(&repository, &digest).await.unwrap());
    assert_eq!(cloud.is_pullable(&repository, &digest).await.unwrap_err().kind, CallErrorKind::Denied);
    let asked = &played.asked()[0];
    assert_eq!(
        (&asked.json()["registryId"], &asked.json()["repositoryName"]),
        (&json!("444455556666"), &json!("shop-app"))
    );
    assert!(asked.headers["authorization"].contains("/eu-west-1/ecr/"));
}
