//! ECR.

use crate::contract::scripted_server::{Answer, ScriptedServer, error, inputs, ok};
use crate::recorded_events::RecordedEvents;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fargate_deploy::adapters::aws::{AwsClient, Session};
use fargate_deploy::ports::{CallErrorKind, EcrAddress, Repositories as _, Repository};
use fargate_deploy_core::image::Digest;
use serde_json::{Value, json};
use std::sync::Arc;

const HEX: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const PLAIN: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn elsewhere() -> EcrAddress {
    EcrAddress { account: "444455556666".to_owned(), region: "us-east-1".to_owned() }
}

fn repository() -> Repository {
    Repository {
        registry_id: "111122223333".to_owned(),
        region: None,
        name: "team/app".to_owned(),
        uri: "111122223333.dkr.ecr.eu-central-1.amazonaws.com/team/app".to_owned(),
        is_immutable: false,
    }
}

fn wire(mutability: &str) -> Value {
    json!({
        "registryId": "111122223333", "repositoryName": "team/app", "imageTagMutability": mutability,
        "repositoryUri": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/team/app",
    })
}

#[tokio::test]
async fn a_repository_is_described_and_every_kind_of_immutable_is_noticed() {
    for (mutability, is_immutable) in
        [("MUTABLE", false), ("IMMUTABLE", true), ("IMMUTABLE_WITH_EXCLUSION", true), ("MUTABLE_WITH_EXCLUSION", false)]
    {
        let played = ScriptedServer::start().await;
        played.on("DescribeRepositories", [ok(json!({ "repositories": [wire(mutability)] }))]);
        let found = played.cloud().await.repository(None, "team/app").await.unwrap().unwrap();
        assert_eq!(found.is_immutable, is_immutable, "{mutability}");
        assert_eq!(found.uri, repository().uri);
        assert_eq!(found.region, None);
        assert_eq!(played.only("DescribeRepositories"), json!({ "repositoryNames": ["team/app"] }));
    }
}

#[tokio::test]
async fn a_repository_of_another_account_is_asked_for_in_its_region() {
    let played = ScriptedServer::start().await;
    played.on("DescribeRepositories", [ok(json!({ "repositories": [wire("MUTABLE")] }))]);
    let found = played.cloud().await.repository(Some(&elsewhere()), "team/app").await.unwrap().unwrap();
    assert_eq!(found.region.as_deref(), Some("us-east-1"));
    assert_eq!(played.only("DescribeRepositories")["registryId"], "444455556666");
    assert!(played.asked()[0].headers["authorization"].contains("/us-east-1/ecr/"));
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_none_and_a_denied_one_is_an_error() {
    let played = ScriptedServer::start().await;
    played.on(
        "DescribeRepositories",
        [
            error(400, "RepositoryNotFoundException", "The repository with name 'no' does not exist"),
            error(
                400,
                "AccessDeniedException",
                "User: x is not authorized to perform: ecr:DescribeRepositories on resource: y",
            ),
        ],
    );
    let cloud = played.cloud().await;
    assert!(cloud.repository(None, "no").await.unwrap().is_none());
    assert_eq!(cloud.repository(None, "no").await.unwrap_err().kind, CallErrorKind::Denied);
}

#[tokio::test]
async fn a_repository_is_created_with_scan_on_push_and_taken_if_it_is_there() {
    let played = ScriptedServer::start().await;
    played
        .on(
            "CreateRepository",
            [ok(json!({ "repository": wire("MUTABLE") })), error(400, "RepositoryAlreadyExistsException", "exists")],
        )
        .on("DescribeRepositories", [ok(json!({ "repositories": [wire("IMMUTABLE")] }))]);
    let cloud = played.cloud().await;
    assert!(!cloud.create_repository(None, "team/app").await.unwrap().is_immutable);
    assert!(cloud.create_repository(None, "team/app").await.unwrap().is_immutable);
    assert_eq!(
        played.asked()[0].json(),
        json!({ "repositoryName": "team/app", "imageScanningConfiguration": { "scanOnPush": true } })
    );
}

#[tokio::test]
async fn a_login_is_masked_and_belongs_to_the_host_that_aws_names() {
    let played = ScriptedServer::start().await;
    played.on(
        "GetAuthorizationToken",
        [ok(json!({ "authorizationData": [{
            "authorizationToken": STANDARD.encode("AWS:pass:word"),
            "proxyEndpoint": "https://444455556666.dkr.ecr.us-east-1.amazonaws.com", "expiresAt": 1793000000.0,
        }]}))],
    );
    let told = Arc::new(RecordedEvents::default());
    let cloud = AwsClient::new(Session::open(&inputs(played.env()), told.clone()).await.unwrap());
    let login = cloud.registry_login(Some(&elsewhere())).await.unwrap();
    assert_eq!(login.host, "444455556666.dkr.ecr.us-east-1.amazonaws.com");
    assert_eq!((login.username.as_str(), login.password.expose().as_str()), ("AWS", "pass:word"));
    assert_eq!(told.masked(), ["pass:word"]);
    assert_eq!(played.only("GetAuthorizationToken"), json!({ "registryIds": ["444455556666"] }));
    assert!(played.asked()[0].headers["authorization"].contains("/us-east-1/ecr/"));
    cloud.registry_login(None).await.unwrap();
    assert_eq!(played.asked()[1].json(), json!({}));
}

#[tokio::test]
async fn an_image_is_looked_up_by_tag_or_digest() {
    let played = ScriptedServer::start().await;
    played.on("DescribeImages", [
        ok(json!({ "imageDetails": [{ "imageDigest": HEX, "imageTags": ["v1", "latest"], "imageManifestMediaType": PLAIN }] })),
        ok(json!({ "imageDetails": [{ "imageDigest": HEX, "imageStatus": "ARCHIVED" }] })),
    ]);
    let cloud = played.cloud().await;
    let image = cloud.image(&repository(), "v1").await.unwrap().unwrap();
    assert_eq!((image.digest.as_str(), image.is_active, image.platform), (HEX, true, None));
    assert_eq!(image.tags, ["v1", "latest"]);
    assert!(!cloud.image(&repository(), HEX).await.unwrap().unwrap().is_active);
    let common = |id: Value| json!({ "registryId": "111122223333", "repositoryName": "team/app", "imageIds": [id] });
    assert_eq!(played.asked()[0].json(), common(json!({ "imageTag": "v1" })));
    assert_eq!(played.asked()[1].json(), common(json!({ "imageDigest": HEX })));
}

#[tokio::test]
async fn an_image_that_is_not_there_is_none_in_all_its_spellings() {
    let played = ScriptedServer::start().await;
    played.on(
        "DescribeImages",
        [
            ok(json!({ "imageDetails": [] })),
            error(400, "ImageNotFoundException", "The image with imageId ... does not exist"),
            error(400, "RepositoryNotFoundException", "The repository ... does not exist"),
        ],
    );
    let cloud = played.cloud().await;
    for _ in 0..3 {
        assert_eq!(cloud.image(&repository(), "v1").await.unwrap(), None);
    }
}

fn platforms(platforms: &[(&str, &str)]) -> Answer {
    let manifests: Vec<Value> = platforms
        .iter()
        .map(|(os, architecture)| json!({ "digest": HEX, "platform": { "os": os, "architecture": architecture } }))
        .collect();
    let manifest = json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
    ok(json!({ "images": [{ "imageManifest": manifest, "imageManifestMediaType": INDEX }], "failures": [] }))
}

#[tokio::test]
async fn the_platform_of_an_index_is_told_where_it_has_only_one() {
    let cases = [
        (platforms(&[("linux", "arm64"), ("unknown", "unknown")]), Some("linux/arm64")),
        (platforms(&[("linux", "arm64"), ("linux", "amd64")]), None),
        (error(400, "AccessDeniedException", "User: x is not authorized to perform: ecr:BatchGetImage"), None),
    ];
    for (manifest, expected) in cases {
        let played = ScriptedServer::start().await;
        played
            .on(
                "DescribeImages",
                [ok(json!({ "imageDetails": [{ "imageDigest": HEX, "imageManifestMediaType": INDEX }] }))],
            )
            .on("BatchGetImage", [manifest]);
        let image = played.cloud().await.image(&repository(), "v1").await.unwrap().unwrap();
        assert_eq!(image.platform.as_deref(), expected);
    }
}

#[tokio::test]
async fn a_tag_is_put_on_the_very_bytes_of_the_manifest() {
    let manifest = "{\n   \"schemaVersion\": 2,   \"mediaType\": \"x\"\n}\n";
    let played = ScriptedServer::start().await;
    played
        .on(
            "BatchGetImage",
            [ok(json!({ "images": [{ "imageManifest": manifest, "imageManifestMediaType": PLAIN }] }))],
        )
        .on(
            "PutImage",
            [
                ok(json!({ "image": {} })),
                error(400, "ImageAlreadyExistsException", "Image with digest and tag already exists"),
                error(
                    400,
                    "ImageTagAlreadyExistsException",
                    "The image tag 'v2' already exists and cannot be overwritten",
                ),
            ],
        );
    let cloud = played.cloud().await;
    let digest = Digest::parse(HEX).unwrap();
    cloud.tag_image(&repository(), &digest, "v2").await.unwrap();
    cloud.tag_image(&repository(), &digest, "v2").await.unwrap();
    let immutable = cloud.tag_image(&repository(), &digest, "v2").await.unwrap_err();
    assert_eq!((immutable.kind, immutable.action.as_str()), (CallErrorKind::Conflict, "ecr:PutImage"));
    assert_eq!(
        played.asked_for("PutImage")[0].json(),
        json!({
            "registryId": "111122223333", "repositoryName": "team/app", "imageManifest": manifest,
            "imageManifestMediaType": PLAIN, "imageTag": "v2", "imageDigest": HEX,
        })
    );
    let accepted = played.asked_for("BatchGetImage")[0].json()["acceptedMediaTypes"].clone();
    for media_type in [
        PLAIN,
        INDEX,
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ] {
        assert!(accepted.as_array().unwrap().contains(&json!(media_type)), "{media_type}");
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_tagged_because_it_is_gone_is_not_found() {
    let played = ScriptedServer::start().await;
    let failure = json!({ "imageId": { "imageDigest": HEX }, "failureCode": "ImageNotFound", "failureReason": "no" });
    played.on("BatchGetImage", [ok(json!({ "images": [], "failures": [failure] }))]);
    let error = played.cloud().await.tag_image(&repository(), &Digest::parse(HEX).unwrap(), "v2").await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::NotFound);
}
