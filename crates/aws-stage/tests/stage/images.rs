//! ECR and the registry, with the Docker Engine as their client.

use std::collections::HashMap;

use aws_sdk_ecr::types::{
    ImageIdentifier, ImageTagMutability, ImageTagMutabilityExclusionFilter, ImageTagMutabilityExclusionFilterType,
};
use aws_stage::behavior::{Behavior, IdenticalPush};
use aws_stage::{Stage, StageOptions};
use base64::Engine as _;
use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ListImagesOptionsBuilder, PushImageOptionsBuilder,
    RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::TryStreamExt as _;
use reqwest::Method;
use sha2::Digest as _;

use crate::clients::{ecr, refusal, root, stage};

/// `sha256:` and the hexadecimal digits.
fn digest_of(bytes: &[u8]) -> String {
    let hash = sha2::Sha256::digest(bytes);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// The password in an authorization token.
pub async fn password(client: &aws_sdk_ecr::Client) -> String {
    let answer = client.get_authorization_token().send().await.expect("a token");
    let token = answer.authorization_data()[0].authorization_token().expect("a token").to_owned();
    let decoded = base64::engine::general_purpose::STANDARD.decode(token).expect("base64");
    String::from_utf8(decoded).expect("text").strip_prefix("AWS:").expect("the user AWS").to_owned()
}

/// The Docker Engine, logged in to a stage's registry.
struct Engine {
    docker: Docker,
    credentials: DockerCredentials,
}

impl Engine {
    async fn of(stage: &Stage) -> Self {
        let password = Some(password(&ecr(stage, root())).await);
        let credentials = DockerCredentials { username: Some("AWS".into()), password, ..Default::default() };
        Self { docker: Docker::connect_with_defaults().expect("an engine"), credentials }
    }

    /// An image FROM scratch with busybox, and `marker` in a layer of its own; answers with its name without the tag.
    async fn build(&self, stage: &Stage, repository: &str, tag: &str, marker: &str) -> String {
        let mut context = tar::Builder::new(Vec::new());
        let mut add = |name: &str, content: &[u8], mode| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            context.append_data(&mut header, name, content).expect("tar");
        };
        // The label comes first: no layer is shared with the builds of tests that clean up meanwhile.
        let label = test_label(stage);
        let dockerfile = format!("FROM scratch\nLABEL {label}\nCOPY busybox /bin/busybox\nCOPY marker /marker\n");
        add("Dockerfile", dockerfile.as_bytes(), 0o644);
        add("busybox", &std::fs::read("/bin/busybox").expect("busybox-static"), 0o755);
        add("marker", format!("{marker} of {}", stage.id()).as_bytes(), 0o644);
        let context = context.into_inner().expect("tar");
        let reference = format!("{}/{repository}", stage.registry().address());
        let name = format!("{reference}:{tag}");
        let options = BuildImageOptionsBuilder::default().t(&name).forcerm(true).build();
        let built = self.docker.build_image(options, None, Some(bollard::body_full(context.into())));
        built.try_collect::<Vec<_>>().await.expect("a build");
        reference
    }

    async fn push(&self, reference: &str, tag: &str) -> Result<(), String> {
        let options = PushImageOptionsBuilder::default().tag(tag).build();
        let pushed = self.docker.push_image(reference, Some(options), Some(self.credentials.clone()));
        pushed.try_collect::<Vec<_>>().await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Removes what was built or pulled for this stage.
    async fn clean(&self, stage: &Stage) {
        let filters = HashMap::from([("label", vec![test_label(stage)])]);
        let every = ListImagesOptionsBuilder::default().all(true).filters(&filters).build();
        for image in self.docker.list_images(Some(every)).await.expect("images") {
            let force = RemoveImageOptionsBuilder::default().force(true).build();
            // A parent goes with its last child.
            let _ = self.docker.remove_image(&image.id, Some(force), None).await;
        }
    }
}

fn test_label(stage: &Stage) -> String {
    format!("fargate-deploy.stage.test={}", stage.id())
}

#[tokio::test]
async fn docker_pushes_and_pulls_and_ecr_describes_what_it_pushed() {
    let stage = stage().await;
    let client = ecr(&stage, root());
    let created = client.create_repository().repository_name("shop/web").send().await.unwrap();
    let uri = created.repository().unwrap().repository_uri().unwrap().to_owned();
    let engine = Engine::of(&stage).await;
    let reference = engine.build(&stage, "shop/web", "v1", "one").await;
    assert_eq!(uri, reference);
    engine.push(&reference, "v1").await.unwrap();

    let asked = ImageIdentifier::builder().image_tag("v1").build();
    let described = client.describe_images().repository_name("shop/web").image_ids(asked).send().await.unwrap();
    let image = &described.image_details()[0];
    let digest = image.image_digest().unwrap();
    assert_eq!(image.image_tags(), ["v1"]);
    assert!(image.image_size_in_bytes().unwrap() > 100_000);
    assert_eq!(stage.registry().digest("shop/web", "v1").as_deref(), Some(digest));
    let inspected = engine.docker.inspect_image(&format!("{reference}:v1")).await.unwrap();
    assert_eq!(inspected.repo_digests.unwrap(), [format!("{reference}@{digest}")]);

    engine.clean(&stage).await;
    let task_image = format!("123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/web@{digest}");
    let pullable = stage.registry().pull_reference(&task_image).unwrap();
    let options = CreateImageOptionsBuilder::default().from_image(&pullable).build();
    let internal = stage.registry().pull_credentials();
    engine.docker.create_image(Some(options), None, Some(internal)).try_collect::<Vec<_>>().await.unwrap();
    assert!(engine.docker.inspect_image(&pullable).await.is_ok());
    engine.clean(&stage).await;
    stage.shutdown().await;
}

#[tokio::test]
async fn the_registry_refuses_strangers_and_unknown_repositories_as_ecr_does() {
    let stage = stage().await;
    let base = format!("{}/v2/", stage.url());
    let client = reqwest::Client::new();
    let unauthenticated = client.get(&base).send().await.unwrap();
    assert_eq!(unauthenticated.status(), 401);
    assert!(unauthenticated.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
    let wrong = client.get(&base).basic_auth("AWS", Some("wrong")).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    let password = password(&ecr(&stage, root())).await;
    let right = client.get(&base).basic_auth("AWS", Some(&password)).send().await.unwrap();
    assert_eq!(right.status(), 200);

    let engine = Engine::of(&stage).await;
    let reference = engine.build(&stage, "nowhere", "v1", "one").await;
    let error = engine.push(&reference, "v1").await.unwrap_err();
    let unknown = "The repository with name 'nowhere' does not exist in the registry with id '123456789012'";
    assert!(error.contains(unknown), "{error}");
    engine.clean(&stage).await;
    stage.shutdown().await;
}

#[tokio::test]
async fn an_immutable_tag_stays_where_it_is_and_an_excluded_one_moves() {
    let stage = stage().await;
    let filter = ImageTagMutabilityExclusionFilter::builder()
        .filter_type(ImageTagMutabilityExclusionFilterType::Wildcard)
        .filter("latest*")
        .build()
        .unwrap();
    let create = ecr(&stage, root()).create_repository().repository_name("shop");
    let create = create.image_tag_mutability(ImageTagMutability::ImmutableWithExclusion);
    create.image_tag_mutability_exclusion_filters(filter).send().await.unwrap();
    let engine = Engine::of(&stage).await;
    let reference = engine.build(&stage, "shop", "v1", "one").await;
    engine.push(&reference, "v1").await.unwrap();
    engine.push(&reference, "v1").await.unwrap();
    let latest = TagImageOptionsBuilder::default().repo(&reference).tag("latest").build();
    engine.docker.tag_image(&format!("{reference}:v1"), Some(latest)).await.unwrap();
    engine.push(&reference, "latest").await.unwrap();

    engine.build(&stage, "shop", "v1", "two").await;
    let error = engine.push(&reference, "v1").await.unwrap_err();
    let pinned = "The image tag 'v1' already exists in the 'shop' repository and cannot be overwritten because the tag is immutable.";
    assert!(error.contains(pinned), "{error}");
    engine.build(&stage, "shop", "latest", "two").await;
    engine.push(&reference, "latest").await.unwrap();
    assert_ne!(stage.registry().digest("shop", "v1"), stage.registry().digest("shop", "latest"));
    engine.clean(&stage).await;
    stage.shutdown().await;
}

#[tokio::test]
async fn an_identical_push_to_an_immutable_tag_can_be_played_as_refused() {
    let behavior = Behavior { identical_push_to_immutable_tag: IdenticalPush::Refused, ..Default::default() };
    let stage = Stage::start(StageOptions { behavior, ..Default::default() }).await.unwrap();
    let create = ecr(&stage, root()).create_repository().repository_name("shop");
    create.image_tag_mutability(ImageTagMutability::Immutable).send().await.unwrap();
    let engine = Engine::of(&stage).await;
    let reference = engine.build(&stage, "shop", "v1", "one").await;
    engine.push(&reference, "v1").await.unwrap();
    let error = engine.push(&reference, "v1").await.unwrap_err();
    assert!(error.contains("because the tag is immutable"), "{error}");
    engine.clean(&stage).await;
    stage.shutdown().await;
}

#[tokio::test]
async fn a_manifest_gets_a_second_tag_without_a_push_and_put_image_names_what_is_there_already() {
    let stage = stage().await;
    let client = ecr(&stage, root());
    let create = client.create_repository().repository_name("shop");
    create.image_tag_mutability(ImageTagMutability::Immutable).send().await.unwrap();
    let engine = Engine::of(&stage).await;
    for tag in ["v1", "v2"] {
        let reference = engine.build(&stage, "shop", tag, tag).await;
        engine.push(&reference, tag).await.unwrap();
    }
    engine.clean(&stage).await;

    let tag = |name: &str| ImageIdentifier::builder().image_tag(name).build();
    let got = client.batch_get_image().repository_name("shop").image_ids(tag("v1")).image_ids(tag("v9"));
    let got = got.send().await.unwrap();
    assert_eq!(got.failures()[0].failure_code().unwrap().as_str(), "ImageNotFound");
    let image = &got.images()[0];
    let put = |tag: &str| {
        client
            .put_image()
            .repository_name("shop")
            .image_manifest(image.image_manifest().unwrap())
            .image_manifest_media_type(image.image_manifest_media_type().unwrap())
            .image_tag(tag)
            .send()
    };
    let again = put("ctx-abc").await.unwrap();
    let digest = |image: &aws_sdk_ecr::types::Image| image.image_id().unwrap().image_digest().unwrap().to_owned();
    assert_eq!(digest(again.image().unwrap()), digest(image));
    let (code, message) = refusal(put("ctx-abc").await);
    assert_eq!(code, "ImageAlreadyExistsException");
    assert!(message.contains("and tag 'ctx-abc' already exists in the repository with name 'shop'"), "{message}");
    assert_eq!(refusal(put("v2").await).0, "ImageTagAlreadyExistsException");

    let missing = client.describe_images().repository_name("shop").image_ids(tag("v9")).send().await;
    let (code, message) = refusal(missing);
    assert_eq!(code, "ImageNotFoundException");
    assert_eq!(
        message,
        "The image with imageId {imageDigest:'null', imageTag:'v9'} does not exist within the repository with name 'shop' in the registry with id '123456789012'"
    );
    stage.shutdown().await;
}

#[tokio::test]
async fn a_blob_in_chunks_is_kept_only_under_its_own_digest() {
    let stage = stage().await;
    ecr(&stage, root()).create_repository().repository_name("shop").send().await.unwrap();
    let password = password(&ecr(&stage, root())).await;
    let client = reqwest::Client::new();
    let request = |method: Method, url: String| client.request(method, url).basic_auth("AWS", Some(&password));
    let chunks = [vec![1u8; 300_000], vec![2u8; 200_000]];
    let digest = digest_of(&chunks.concat());
    for (claimed, status) in [(digest_of(b"something else"), 400), (digest.clone(), 201)] {
        let begin = format!("{}/v2/shop/blobs/uploads/", stage.url());
        let begun = request(Method::POST, begin).send().await.unwrap();
        assert_eq!(begun.status(), 202);
        let mut location = begun.headers()["location"].to_str().unwrap().to_owned();
        for chunk in &chunks {
            let sent = request(Method::PATCH, location).body(chunk.clone()).send().await.unwrap();
            assert_eq!(sent.status(), 202);
            location = sent.headers()["location"].to_str().unwrap().to_owned();
        }
        let ended = request(Method::PUT, format!("{location}?digest={claimed}")).send().await.unwrap();
        assert_eq!(ended.status(), status);
    }
    let blob = request(Method::GET, format!("{}/v2/shop/blobs/{digest}", stage.url())).send().await.unwrap();
    assert_eq!(blob.bytes().await.unwrap(), chunks.concat());
    let wrong = digest_of(b"something else");
    let wrong = request(Method::HEAD, format!("{}/v2/shop/blobs/{wrong}", stage.url())).send().await.unwrap();
    assert_eq!(wrong.status(), 404);
    stage.shutdown().await;
}
