//! Amazon ECR.
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/Welcome.html>

use super::client::AwsClient;
use super::failure::{call_error, unreadable};
use crate::ports::{
    Call, CallError, CallErrorKind, EcrAddress, RegistryImage, RegistryLogin, Repositories, Repository,
};
use async_trait::async_trait;
use aws_config::Region;
use aws_sdk_ecr::types::{Image, ImageIdentifier, ImageScanningConfiguration};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::redact::Secret;
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;

/// Everything that a tag can point to. AWS documents the first three; indexes are asked for by the same names as
/// registries use.
const MANIFESTS: [&str; 5] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
];

/// How often an image that was pushed just now is looked for, and how long apart.
const PUSHED_LOOKS: u32 = 5;
const PUSHED_PAUSE: Duration = Duration::from_secs(1);

/// The config of an image has its settings and its history.
const LARGEST_CONFIG: usize = 1024 * 1024;

impl AwsClient {
    pub(super) fn ecr(&self, region: Option<&str>) -> aws_sdk_ecr::Client {
        let mut config = aws_sdk_ecr::config::Builder::from(self.session.config());
        if let Some(region) = region {
            config = config.region(Region::new(region.to_owned()));
        }
        if let Some(endpoint) = self.session.endpoint("ECR") {
            config = config.endpoint_url(endpoint);
        }
        aws_sdk_ecr::Client::from_conf(config.build())
    }
}

#[async_trait(?Send)]
impl Repositories for AwsClient {
    async fn repository(&self, registry: Option<&EcrAddress>, name: &str) -> Call<Option<Repository>> {
        let ecr = self.ecr(region(registry));
        let answer = self
            .call("ecr:DescribeRepositories", async || {
                ecr.describe_repositories()
                    .set_registry_id(account(registry))
                    .repository_names(name)
                    .send()
                    .await
                    .map_err(call_error("ecr:DescribeRepositories"))
            })
            .await;
        match answer {
            Ok(answer) => Ok(answer.repositories().first().map(|r| repository(r, registry))),
            Err(error) if error.kind == CallErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A repository that is there already, from a lost answer or another job, is as good as a new one.
    async fn create_repository(&self, registry: Option<&EcrAddress>, name: &str) -> Call<Repository> {
        const ACTION: &str = "ecr:CreateRepository";
        let ecr = self.ecr(region(registry));
        let answer = self
            .call(ACTION, async || {
                ecr.create_repository()
                    .set_registry_id(account(registry))
                    .repository_name(name)
                    .image_scanning_configuration(ImageScanningConfiguration::builder().scan_on_push(true).build())
                    .send()
                    .await
                    .map_err(call_error(ACTION))
            })
            .await;
        let made = match answer {
            Ok(answer) => answer.repository().map(|r| repository(r, registry)),
            Err(error) if error.kind == CallErrorKind::Conflict => self.repository(registry, name).await?,
            Err(error) => return Err(error),
        };
        made.ok_or_else(|| unreadable(ACTION, "there is no repository in it"))
    }

    async fn registry_login(&self, registry: Option<&EcrAddress>) -> Call<RegistryLogin> {
        const ACTION: &str = "ecr:GetAuthorizationToken";
        let ecr = self.ecr(region(registry));
        let answer = self
            .call(ACTION, async || {
                // Deprecated, and yet the only way to be told the host of another account's registry.
                #[allow(deprecated)]
                let request = ecr.get_authorization_token().set_registry_ids(account(registry).map(|id| vec![id]));
                request.send().await.map_err(call_error(ACTION))
            })
            .await?;
        let data = answer.authorization_data().first();
        let pair = data
            .and_then(|d| d.authorization_token())
            .and_then(|token| STANDARD.decode(token).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let (Some((username, password)), Some(endpoint)) =
            (pair.as_deref().and_then(|pair| pair.split_once(':')), data.and_then(|d| d.proxy_endpoint()))
        else {
            return Err(unreadable(ACTION, "there is no login in it"));
        };
        let password = Secret::new(password);
        self.session.mask(&password);
        let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host).trim_end_matches('/');
        Ok(RegistryLogin { host: host.to_owned(), username: username.to_owned(), password })
    }

    async fn image(&self, repository: &Repository, reference: &str) -> Call<Option<RegistryImage>> {
        const ACTION: &str = "ecr:DescribeImages";
        let ecr = self.ecr(repository.region.as_deref());
        let answer = self
            .call(ACTION, async || {
                ecr.describe_images()
                    .registry_id(&repository.registry_id)
                    .repository_name(&repository.name)
                    .image_ids(identifier(reference))
                    .send()
                    .await
                    .map_err(call_error(ACTION))
            })
            .await;
        let answer = match answer {
            Err(error) if error.kind == CallErrorKind::NotFound => return Ok(None),
            answer => answer?,
        };
        let Some(image) = answer.image_details().first() else { return Ok(None) };
        let digest = Digest::parse(image.image_digest().unwrap_or_default()).map_err(|why| unreadable(ACTION, &why))?;
        let is_index = image.image_manifest_media_type().is_some_and(|t| t.contains("list") || t.contains("index"));
        let platform = match is_index {
            true => self
                .manifest(repository, &digest)
                .await
                .ok()
                .flatten()
                .and_then(|m| platform_of_index(&manifest_in(&m)?)),
            false => None,
        };
        Ok(Some(RegistryImage {
            digest,
            tags: image.image_tags().to_vec(),
            is_active: image.image_status().is_none_or(|status| status.as_str() == "ACTIVE"),
            platform,
        }))
    }

    /// The same manifest and tag once more is a success. A tag that may not be moved is a conflict.
    async fn tag_image(&self, repository: &Repository, digest: &Digest, tag: &str) -> Call<()> {
        let Some(image) = self.pushed_manifest(repository, digest).await? else {
            return Err(CallError {
                action: "ecr:BatchGetImage".to_owned(),
                kind: CallErrorKind::NotFound,
                code: "ImageNotFound".to_owned(),
                message: format!("`{}@{digest}` is not in the registry", repository.name),
                request_id: None,
            });
        };
        let ecr = self.ecr(repository.region.as_deref());
        let answer = self
            .call("ecr:PutImage", async || {
                ecr.put_image()
                    .registry_id(&repository.registry_id)
                    .repository_name(&repository.name)
                    .set_image_manifest(image.image_manifest().map(str::to_owned))
                    .set_image_manifest_media_type(image.image_manifest_media_type().map(str::to_owned))
                    .image_tag(tag)
                    .image_digest(digest.as_str())
                    .send()
                    .await
                    .map(drop)
                    .map_err(call_error("ecr:PutImage"))
            })
            .await;
        match answer {
            Err(error) if error.code == "ImageAlreadyExistsException" => Ok(()),
            answer => answer,
        }
    }

    async fn only_platform(&self, repository: &Repository, digest: &Digest) -> Call<Option<String>> {
        let Some(manifest) = self.manifest(repository, digest).await?.as_ref().and_then(manifest_in) else {
            return Ok(None);
        };
        match manifest["config"]["digest"].as_str() {
            Some(config) => Ok(platform_of_config(&self.blob(repository, config).await?)),
            None => Ok(platform_of_index(&manifest)),
        }
    }

    async fn is_pullable(&self, repository: &Repository, digest: &Digest) -> Call<bool> {
        match self.manifest(repository, digest).await {
            Ok(found) => Ok(found.is_some()),
            Err(error) if error.kind == CallErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AwsClient {
    /// A read may be older than the push that just ended.
    async fn pushed_manifest(&self, repository: &Repository, digest: &Digest) -> Call<Option<Image>> {
        for _ in 0..PUSHED_LOOKS {
            if let Some(found) = self.manifest(repository, digest).await? {
                return Ok(Some(found));
            }
            sleep(PUSHED_PAUSE).await;
        }
        self.manifest(repository, digest).await
    }

    /// A small blob, from where ECR keeps its layers.
    async fn blob(&self, repository: &Repository, digest: &str) -> Call<Vec<u8>> {
        const ACTION: &str = "ecr:GetDownloadUrlForLayer";
        let ecr = self.ecr(repository.region.as_deref());
        let url = self
            .call(ACTION, async || {
                ecr.get_download_url_for_layer()
                    .registry_id(&repository.registry_id)
                    .repository_name(&repository.name)
                    .layer_digest(digest)
                    .send()
                    .await
                    .map_err(call_error(ACTION))
            })
            .await?;
        let url = url.download_url().ok_or_else(|| unreadable(ACTION, "there is no address in it"))?;
        let read = async {
            let mut answer = self.session.network().http().get(url).send().await?.error_for_status()?;
            let mut bytes = vec![];
            while let Some(chunk) = answer.chunk().await? {
                if bytes.len() + chunk.len() > LARGEST_CONFIG {
                    return Ok(None);
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Some(bytes))
        };
        // Its address is a login in itself: not even an error shows it.
        let read: Result<_, reqwest::Error> = read.await;
        let read = read.map_err(|error| CallError::lost(ACTION, format!("no answer: {}", error.without_url())))?;
        read.ok_or_else(|| unreadable(ACTION, "the image's config is too large"))
    }

    async fn manifest(&self, repository: &Repository, digest: &Digest) -> Call<Option<Image>> {
        let ecr = self.ecr(repository.region.as_deref());
        let answer = self
            .call("ecr:BatchGetImage", async || {
                ecr.batch_get_image()
                    .registry_id(&repository.registry_id)
                    .repository_name(&repository.name)
                    .image_ids(identifier(digest.as_str()))
                    .set_accepted_media_types(Some(MANIFESTS.map(str::to_owned).to_vec()))
                    .send()
                    .await
                    .map_err(call_error("ecr:BatchGetImage"))
            })
            .await?;
        Ok(answer.images().iter().find(|image| image.image_manifest().is_some()).cloned())
    }
}

fn region(registry: Option<&EcrAddress>) -> Option<&str> {
    registry.map(|r| r.region.as_str())
}

fn account(registry: Option<&EcrAddress>) -> Option<String> {
    registry.map(|r| r.account.clone())
}

fn repository(r: &aws_sdk_ecr::types::Repository, registry: Option<&EcrAddress>) -> Repository {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    Repository {
        registry_id: text(r.registry_id()),
        region: region(registry).map(str::to_owned),
        name: text(r.repository_name()),
        uri: text(r.repository_uri()),
        is_immutable: r.image_tag_mutability().is_some_and(|m| m.as_str().starts_with("IMMUTABLE")),
    }
}

fn identifier(reference: &str) -> ImageIdentifier {
    let id = ImageIdentifier::builder();
    if reference.starts_with("sha256:") { id.image_digest(reference).build() } else { id.image_tag(reference).build() }
}

fn manifest_in(image: &Image) -> Option<Value> {
    serde_json::from_str(image.image_manifest()?).ok()
}

/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
fn platform_of_config(config: &[u8]) -> Option<String> {
    let config: Value = serde_json::from_slice(config).ok()?;
    Some(format!("{}/{}", config["os"].as_str()?, config["architecture"].as_str()?))
}

/// The platform of an index that has one, not counting attestations (`unknown/unknown`). Of several none is *the*
/// platform: Fargate picks by the task definition.
fn platform_of_index(index: &Value) -> Option<String> {
    let mut platforms = index["manifests"].as_array()?.iter().filter_map(|m| {
        let platform = &m["platform"];
        let (os, architecture) = (platform["os"].as_str()?, platform["architecture"].as_str()?);
        (os != "unknown").then(|| format!("{os}/{architecture}"))
    });
    let first = platforms.next()?;
    platforms.all(|other| other == first).then_some(first)
}
