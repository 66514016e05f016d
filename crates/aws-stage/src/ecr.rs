//! ECR's API over the stage's registry.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};

use super::api::{Caller, partition};
use super::error::{AwsError, Reply};
use super::registry::repository::{Image, Mutability, PutRefusal, Repository, digest_of, no_repository};
use super::registry::{Registry, Scope};
use super::request::{epoch_seconds, flag, list, lock, number, page, required, text, texts};

/// The `ecr` service.
#[derive(Debug)]
pub(crate) struct Ecr {
    registry: Arc<Registry>,
}

impl Ecr {
    /// An API over `registry`.
    #[must_use]
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// One API call of `ecr`, members in camelCase.
    pub(crate) async fn call(&self, caller: &Caller, operation: &str, body: Value) -> Reply {
        let asked = Asked { registry: &self.registry, caller, body: &body };
        match operation {
            "GetAuthorizationToken" => Ok(self.authorization_token(caller)),
            "CreateRepository" => asked.create_repository(),
            "DescribeRepositories" => asked.describe_repositories(),
            "DeleteRepository" => asked.delete_repository(),
            "DescribeImages" => asked.on_repository(|repository| describe_images(repository, &body)),
            "ListImages" => asked.on_repository(|repository| list_images(repository, &body)),
            "BatchGetImage" => asked.on_repository(|repository| Ok(batch_get_image(repository, &body))),
            "BatchDeleteImage" => asked.on_repository(|repository| Ok(batch_delete_image(repository, &body))),
            "BatchCheckLayerAvailability" => {
                asked.on_repository(|repository| Ok(layer_availability(repository, &body)))
            }
            "GetDownloadUrlForLayer" => asked.download_url(),
            "PutImage" => asked.on_repository(|repository| put_image(repository, &body)),
            "PutImageTagMutability" => asked.on_repository(|repository| {
                repository.mutability = mutability(&body)?;
                Ok(json!({
                    "registryId": repository.scope.account, "repositoryName": repository.name,
                    "imageTagMutability": repository.mutability.setting,
                }))
            }),
            "PutLifecyclePolicy" => asked.on_repository(|repository| {
                repository.lifecycle = Some(required(&body, "lifecyclePolicyText")?.to_owned());
                Ok(lifecycle(repository))
            }),
            "GetLifecyclePolicy" => asked.on_repository(|repository| match repository.lifecycle {
                Some(_) => Ok(lifecycle(repository)),
                None => Err(AwsError::client(
                    "LifecyclePolicyNotFoundException",
                    format!(
                        "Lifecycle policy does not exist for the repository with name '{}' in the registry with id '{}'",
                        repository.name, repository.scope.account
                    ),
                )),
            }),
            "ListTagsForResource" => asked.list_tags(),
            _ => Err(AwsError::unknown_operation(operation)),
        }
    }

    fn authorization_token(&self, caller: &Caller) -> Value {
        let (password, lifetime) = self.registry.issue_password(caller);
        let token = base64::engine::general_purpose::STANDARD.encode(format!("AWS:{password}"));
        json!({ "authorizationData": [{
            "authorizationToken": token,
            "expiresAt": epoch_seconds() + lifetime.as_secs_f64(),
            "proxyEndpoint": format!("http://{}", self.registry.address()),
        }] })
    }
}

/// One request, on its way to the repository that it names.
struct Asked<'a> {
    registry: &'a Registry,
    caller: &'a Caller,
    body: &'a Value,
}

impl Asked<'_> {
    fn scope(&self) -> Scope {
        let account = text(self.body, "registryId").unwrap_or(&self.caller.account).to_owned();
        Scope { account, region: self.caller.region.clone() }
    }

    fn on_repository(&self, act: impl FnOnce(&mut Repository) -> Reply) -> Reply {
        let name = required(self.body, "repositoryName")?;
        let scope = self.scope();
        let mut repositories = lock(&self.registry.repositories);
        let found = repositories.get_mut(&scope).and_then(|repositories| repositories.get_mut(name));
        act(found.ok_or_else(|| no_repository(name, &scope.account))?)
    }

    /// AWS signs an address in S3; here it is the registry's own, with a password in it.
    fn download_url(&self) -> Reply {
        let digest = required(self.body, "layerDigest")?;
        let (password, _) = self.registry.issue_password(self.caller);
        let address = self.registry.address();
        self.on_repository(|repository| {
            let name = &repository.name;
            let inaccessible = || {
                let message = format!(
                    "Layers with digests '[{digest}]' required for pull from the repository with name '{name}' cannot be found"
                );
                AwsError::client("LayersNotFoundException", message)
            };
            repository.layer_size(digest).ok_or_else(inaccessible)?;
            let url = format!("http://AWS:{password}@{address}/v2/{name}/blobs/{digest}");
            Ok(json!({ "downloadUrl": url, "layerDigest": digest }))
        })
    }

    fn create_repository(&self) -> Reply {
        let name = required(self.body, "repositoryName")?;
        let scope = self.scope();
        if !is_repository_name(name) {
            return Err(AwsError::client(
                "InvalidParameterException",
                format!(
                    "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'': '{name}'"
                ),
            ));
        }
        let mut repositories = lock(&self.registry.repositories);
        let repositories = repositories.entry(scope.clone()).or_default();
        if repositories.contains_key(name) {
            return Err(AwsError::client(
                "RepositoryAlreadyExistsException",
                format!("The repository with name '{name}' already exists in the registry with id '{}'", scope.account),
            ));
        }
        let arn = format!("arn:{}:ecr:{}:{}:repository/{name}", partition(&scope.region), scope.region, scope.account);
        let mut repository = Repository::new(scope, arn, name.to_owned(), mutability(self.body)?);
        repository.scan_on_push =
            self.body.get("imageScanningConfiguration").is_some_and(|scan| flag(scan, "scanOnPush"));
        repository.resource_tags = list(self.body, "tags").to_vec();
        let described = self.described(&repository);
        repositories.insert(name.to_owned(), repository);
        Ok(json!({ "repository": described }))
    }

    fn describe_repositories(&self) -> Reply {
        let scope = self.scope();
        let all = lock(&self.registry.repositories);
        let repositories = all.get(&scope);
        let names = texts(self.body, "repositoryNames");
        let mut found = Vec::new();
        for name in &names {
            let repository = repositories.and_then(|repositories| repositories.get(*name));
            found.push(self.described(repository.ok_or_else(|| no_repository(name, &scope.account))?));
        }
        if names.is_empty() {
            found = repositories.into_iter().flatten().map(|(_, repository)| self.described(repository)).collect();
        }
        paged("repositories", &found, self.body)
    }

    fn delete_repository(&self) -> Reply {
        let name = required(self.body, "repositoryName")?;
        let scope = self.scope();
        let mut all = lock(&self.registry.repositories);
        let repositories = all.entry(scope.clone()).or_default();
        let repository = repositories.get(name).ok_or_else(|| no_repository(name, &scope.account))?;
        if repository.images().next().is_some() && !flag(self.body, "force") {
            return Err(AwsError::client(
                "RepositoryNotEmptyException",
                format!(
                    "The repository with name '{name}' in registry with id '{}' cannot be deleted because it still contains images",
                    scope.account
                ),
            ));
        }
        let described = self.described(repository);
        repositories.remove(name);
        Ok(json!({ "repository": described }))
    }

    fn list_tags(&self) -> Reply {
        let arn = required(self.body, "resourceArn")?;
        let name = arn.split_once(":repository/").map_or(arn, |(_, name)| name);
        let scope = self.scope();
        let all = lock(&self.registry.repositories);
        let repository = all.get(&scope).and_then(|repositories| repositories.get(name));
        let repository = repository.ok_or_else(|| no_repository(name, &scope.account))?;
        Ok(json!({ "tags": repository.resource_tags }))
    }

    fn described(&self, repository: &Repository) -> Value {
        let mut described = json!({
            "repositoryArn": repository.arn,
            "registryId": repository.scope.account,
            "repositoryName": repository.name,
            "repositoryUri": format!("{}/{}", self.registry.address(), repository.name),
            "createdAt": repository.created,
            "imageTagMutability": repository.mutability.setting,
            "imageScanningConfiguration": { "scanOnPush": repository.scan_on_push },
            "encryptionConfiguration": { "encryptionType": "AES256" },
        });
        if !repository.mutability.exclusions.is_empty() {
            let filters = repository.mutability.exclusions.iter();
            described["imageTagMutabilityExclusionFilters"] =
                filters.map(|filter| json!({ "filterType": "WILDCARD", "filter": filter })).collect();
        }
        described
    }
}

fn mutability(body: &Value) -> Result<Mutability, AwsError> {
    let setting = text(body, "imageTagMutability").unwrap_or("MUTABLE");
    if !["MUTABLE", "IMMUTABLE", "MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION"].contains(&setting) {
        return Err(AwsError::client(
            "InvalidParameterException",
            format!("Invalid parameter at 'imageTagMutability' failed to satisfy constraint: '{setting}'"),
        ));
    }
    let filters = list(body, "imageTagMutabilityExclusionFilters");
    let exclusions: Vec<String> =
        filters.iter().filter_map(|filter| text(filter, "filter").map(str::to_owned)).collect();
    if setting.ends_with("_WITH_EXCLUSION") == exclusions.is_empty() {
        return Err(AwsError::client(
            "InvalidParameterException",
            "Invalid parameter at 'imageTagMutabilityExclusionFilters': exclusion filters belong to a mutability setting with exclusion",
        ));
    }
    Ok(Mutability { setting: setting.to_owned(), exclusions })
}

fn describe_images(repository: &Repository, body: &Value) -> Reply {
    let ids = list(body, "imageIds");
    let mut found = Vec::new();
    for id in ids {
        found.push(find(repository, id).ok_or_else(|| image_not_found(repository, id))?);
    }
    if ids.is_empty() {
        let status = body.get("filter").and_then(|filter| text(filter, "tagStatus")).unwrap_or("ANY");
        found = repository
            .images()
            .filter(|image| match status {
                "TAGGED" => !repository.tags_of(&image.digest).is_empty(),
                "UNTAGGED" => repository.tags_of(&image.digest).is_empty(),
                _ => true,
            })
            .collect();
    }
    let details: Vec<Value> = found.into_iter().map(|image| detail(repository, image)).collect();
    paged("imageDetails", &details, body)
}

fn detail(repository: &Repository, image: &Image) -> Value {
    let mut detail = json!({
        "registryId": repository.scope.account,
        "repositoryName": repository.name,
        "imageDigest": image.digest,
        "imageSizeInBytes": image.size,
        "imagePushedAt": image.pushed,
        "imageManifestMediaType": image.media_type,
        "imageStatus": "ACTIVE",
    });
    let tags = repository.tags_of(&image.digest);
    if !tags.is_empty() {
        detail["imageTags"] = json!(tags);
    }
    if let Some(media_type) = &image.artifact_media_type {
        detail["artifactMediaType"] = json!(media_type);
    }
    detail
}

fn list_images(repository: &Repository, body: &Value) -> Reply {
    let mut ids = Vec::new();
    for image in repository.images() {
        let tags = repository.tags_of(&image.digest);
        if tags.is_empty() {
            ids.push(json!({ "imageDigest": image.digest }));
        }
        ids.extend(tags.into_iter().map(|tag| json!({ "imageDigest": image.digest, "imageTag": tag })));
    }
    paged("imageIds", &ids, body)
}

fn batch_get_image(repository: &Repository, body: &Value) -> Value {
    let (mut images, mut failures) = (Vec::new(), Vec::new());
    for id in list(body, "imageIds") {
        match find(repository, id) {
            Some(image) => images.push(json!({
                "registryId": repository.scope.account,
                "repositoryName": repository.name,
                "imageId": image_id(&image.digest, text(id, "imageTag")),
                "imageManifest": String::from_utf8_lossy(&image.manifest),
                "imageManifestMediaType": image.media_type,
            })),
            None => failures.push(absent(id)),
        }
    }
    json!({ "images": images, "failures": failures })
}

fn batch_delete_image(repository: &mut Repository, body: &Value) -> Value {
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for id in list(body, "imageIds") {
        let reference = text(id, "imageDigest").or(text(id, "imageTag")).unwrap_or_default();
        match repository.remove(reference) {
            Some(digest) => deleted.push(image_id(&digest, text(id, "imageTag"))),
            None => failures.push(absent(id)),
        }
    }
    json!({ "imageIds": deleted, "failures": failures })
}

fn layer_availability(repository: &Repository, body: &Value) -> Value {
    let layers = texts(body, "layerDigests").into_iter().map(|digest| match repository.layer_size(digest) {
        Some(size) => json!({ "layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": size }),
        None => json!({ "layerDigest": digest, "layerAvailability": "UNAVAILABLE" }),
    });
    json!({ "layers": layers.collect::<Vec<_>>(), "failures": [] })
}

fn put_image(repository: &mut Repository, body: &Value) -> Reply {
    let manifest = required(body, "imageManifest")?;
    let tag = text(body, "imageTag");
    let digest = digest_of(manifest.as_bytes());
    if text(body, "imageDigest").is_some_and(|claimed| claimed != digest) {
        return Err(AwsError::client(
            "ImageDigestDoesNotMatchException",
            format!("The digest {digest} of the image manifest does not match the digest that was sent"),
        ));
    }
    let outcome = repository.put(manifest.as_bytes(), text(body, "imageManifestMediaType"), tag);
    outcome.map_err(|refusal| put_error(repository, refusal, &digest, tag))?;
    let media_type = repository.image(&digest).map(|image| image.media_type.clone());
    Ok(json!({ "image": {
        "registryId": repository.scope.account,
        "repositoryName": repository.name,
        "imageId": image_id(&digest, tag),
        "imageManifest": manifest,
        "imageManifestMediaType": media_type,
    } }))
}

fn put_error(repository: &Repository, refusal: PutRefusal, digest: &str, tag: Option<&str>) -> AwsError {
    let place = format!("with name '{}' in the registry with id '{}'", repository.name, repository.scope.account);
    match refusal {
        PutRefusal::Same => AwsError::client(
            "ImageAlreadyExistsException",
            format!(
                "Image with digest '{digest}' and tag '{}' already exists in the repository with name '{}' in registry with id '{}'",
                tag.unwrap_or("null"),
                repository.name,
                repository.scope.account
            ),
        ),
        PutRefusal::TagPinned => {
            AwsError::client("ImageTagAlreadyExistsException", repository.pinned(tag.unwrap_or_default()))
        }
        PutRefusal::Invalid => AwsError::client(
            "InvalidParameterException",
            "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'",
        ),
        PutRefusal::MissingBlob(blob) => AwsError::client(
            "LayersNotFoundException",
            format!("Layers with digests '[{blob}]' required for pushing image into repository {place} do not exist"),
        ),
        PutRefusal::MissingManifest(child) => AwsError::client(
            "ReferencedImagesNotFoundException",
            format!("Images with digests '[{child}]' required for pushing image into repository {place} do not exist"),
        ),
    }
}

fn lifecycle(repository: &Repository) -> Value {
    json!({
        "registryId": repository.scope.account,
        "repositoryName": repository.name,
        "lifecyclePolicyText": repository.lifecycle,
    })
}

/// An image identifier names a digest, a tag, or both, which then have to agree.
fn find<'a>(repository: &'a Repository, id: &Value) -> Option<&'a Image> {
    match (text(id, "imageDigest"), text(id, "imageTag")) {
        (Some(digest), Some(tag)) => repository.image(tag).filter(|image| image.digest == digest),
        (Some(reference), None) | (None, Some(reference)) => repository.image(reference),
        (None, None) => None,
    }
}

fn image_id(digest: &str, tag: Option<&str>) -> Value {
    match tag {
        Some(tag) => json!({ "imageDigest": digest, "imageTag": tag }),
        None => json!({ "imageDigest": digest }),
    }
}

fn image_not_found(repository: &Repository, id: &Value) -> AwsError {
    let quoted = |name| text(id, name).unwrap_or("null");
    AwsError::client(
        "ImageNotFoundException",
        format!(
            "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist within the repository with name '{}' in the registry with id '{}'",
            quoted("imageDigest"),
            quoted("imageTag"),
            repository.name,
            repository.scope.account
        ),
    )
}

fn absent(id: &Value) -> Value {
    json!({ "imageId": id, "failureCode": "ImageNotFound", "failureReason": "Requested image not found" })
}

fn paged(name: &str, items: &[Value], body: &Value) -> Reply {
    let size = number(body, "maxResults").and_then(|size| usize::try_from(size).ok()).unwrap_or(100);
    let (items, next) = page(items, text(body, "nextToken"), size)?;
    let mut reply = json!({ name: items });
    if let Some(next) = next {
        reply["nextToken"] = json!(next);
    }
    Ok(reply)
}

/// `(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*`, 2 to 256 characters.
fn is_repository_name(name: &str) -> bool {
    (2..=256).contains(&name.len())
        && name
            .split(['/', '.', '_', '-'])
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
}
