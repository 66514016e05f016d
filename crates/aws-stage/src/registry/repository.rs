//! One repository: its images, its tags, and which of them may move.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::AwsError;
use crate::request::epoch_seconds;

use super::Scope;

/// Images by digest, tags by name, and the blobs that were pushed.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    /// `arn:aws:ecr:REGION:ACCOUNT:repository/NAME`.
    pub arn: String,
    /// The name in its registry, e.g. `shop/web`.
    pub name: String,
    /// The registry that it belongs to.
    pub scope: Scope,
    /// Epoch seconds.
    pub created: f64,
    /// Which tags may move.
    pub mutability: Mutability,
    /// `imageScanningConfiguration.scanOnPush`.
    pub scan_on_push: bool,
    /// The lifecycle policy text, stored and never executed.
    pub lifecycle: Option<String>,
    /// Resource tags.
    pub resource_tags: Vec<Value>,
    pub(super) blobs: BTreeMap<String, u64>,
    images: BTreeMap<String, Image>,
    tags: BTreeMap<String, String>,
}

/// A manifest, byte for byte as it was pushed.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// `sha256:` of the bytes.
    pub digest: String,
    /// The exact bytes.
    pub manifest: Vec<u8>,
    /// E.g. `application/vnd.oci.image.manifest.v1+json`.
    pub media_type: String,
    /// `config.mediaType`, where there is one.
    pub artifact_media_type: Option<String>,
    /// Compressed layers and configuration.
    pub size: u64,
    /// Epoch seconds.
    pub pushed: f64,
}

/// `imageTagMutability` with its exclusion filters.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html>
#[derive(Clone, Debug)]
pub(crate) struct Mutability {
    /// `MUTABLE`, `IMMUTABLE`, `IMMUTABLE_WITH_EXCLUSION` or `MUTABLE_WITH_EXCLUSION`.
    pub setting: String,
    /// The wildcard filters of the two `_WITH_EXCLUSION` settings.
    pub exclusions: Vec<String>,
}

impl Mutability {
    /// Whether `tag`, once set, stays where it is.
    #[must_use]
    pub(crate) fn pins(&self, tag: &str) -> bool {
        let excluded = self.exclusions.iter().any(|filter| wildcard(filter, tag));
        match self.setting.as_str() {
            "IMMUTABLE" => true,
            "IMMUTABLE_WITH_EXCLUSION" => !excluded,
            "MUTABLE_WITH_EXCLUSION" => excluded,
            _ => false,
        }
    }
}

/// How a manifest was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PutRefusal {
    /// The bytes are no manifest.
    Invalid,
    /// It names a blob that this repository does not have.
    MissingBlob(String),
    /// An index names a manifest that this repository does not have.
    MissingManifest(String),
    /// The tag is immutable and names another image.
    TagPinned,
    /// This digest already carries this tag.
    Same,
}

impl Repository {
    /// An empty repository.
    #[must_use]
    pub(crate) fn new(scope: Scope, arn: String, name: String, mutability: Mutability) -> Self {
        Self {
            arn,
            name,
            scope,
            created: epoch_seconds(),
            mutability,
            scan_on_push: false,
            lifecycle: None,
            resource_tags: Vec::new(),
            blobs: BTreeMap::new(),
            images: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    /// The digest that a tag or digest names, if the image is here.
    #[must_use]
    pub(crate) fn resolve(&self, reference: &str) -> Option<&str> {
        let digest = if is_digest(reference) { reference } else { self.tags.get(reference)? };
        self.images.get(digest).map(|image| image.digest.as_str())
    }

    /// The image that a tag or digest names.
    #[must_use]
    pub(crate) fn image(&self, reference: &str) -> Option<&Image> {
        self.images.get(self.resolve(reference)?)
    }

    /// Every image, by digest.
    pub(crate) fn images(&self) -> impl Iterator<Item = &Image> {
        self.images.values()
    }

    /// Every tag, by name.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &String> {
        self.tags.keys()
    }

    /// The tags of one digest.
    #[must_use]
    pub(crate) fn tags_of(&self, digest: &str) -> Vec<&String> {
        self.tags.iter().filter(|(_, target)| *target == digest).map(|(tag, _)| tag).collect()
    }

    /// Stores a manifest and moves `tag` to it. The bytes are kept as they are: the digest is theirs.
    pub(crate) fn put(
        &mut self,
        manifest: &[u8],
        media_type: Option<&str>,
        tag: Option<&str>,
    ) -> Result<String, PutRefusal> {
        let parsed: Value = serde_json::from_slice(manifest).map_err(|_| PutRefusal::Invalid)?;
        if !parsed.is_object() {
            return Err(PutRefusal::Invalid);
        }
        let size = self.check_references(&parsed)?;
        let digest = digest_of(manifest);
        if let Some(tag) = tag
            && let Some(current) = self.tags.get(tag)
        {
            if *current == digest {
                return Err(PutRefusal::Same);
            }
            if self.mutability.pins(tag) {
                return Err(PutRefusal::TagPinned);
            }
        } else if tag.is_none() && self.images.contains_key(&digest) {
            return Err(PutRefusal::Same);
        }
        let media_type = media_type
            .or_else(|| parsed["mediaType"].as_str())
            .unwrap_or("application/vnd.docker.distribution.manifest.v2+json");
        self.images.entry(digest.clone()).or_insert_with(|| Image {
            digest: digest.clone(),
            manifest: manifest.to_vec(),
            media_type: media_type.to_owned(),
            artifact_media_type: parsed["config"]["mediaType"].as_str().map(str::to_owned),
            size,
            pushed: epoch_seconds(),
        });
        if let Some(tag) = tag {
            self.tags.insert(tag.to_owned(), digest.clone());
        }
        Ok(digest)
    }

    /// Removes a tag, and the image with its last tag; or an image with all its tags.
    pub(crate) fn remove(&mut self, reference: &str) -> Option<String> {
        let digest = self.resolve(reference)?.to_owned();
        if is_digest(reference) {
            self.tags.retain(|_, target| *target != digest);
        } else {
            self.tags.remove(reference);
        }
        if self.tags_of(&digest).is_empty() {
            self.images.remove(&digest);
        }
        Some(digest)
    }

    fn check_references(&self, manifest: &Value) -> Result<u64, PutRefusal> {
        let mut size = 0;
        let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
        for blob in layers.iter().chain(manifest.get("config")) {
            let digest = blob["digest"].as_str().ok_or(PutRefusal::Invalid)?;
            let foreign = blob["urls"].as_array().is_some_and(|urls| !urls.is_empty());
            if !foreign && !self.blobs.contains_key(digest) {
                return Err(PutRefusal::MissingBlob(digest.to_owned()));
            }
            size += blob["size"].as_u64().unwrap_or(0);
        }
        let mut seen = BTreeSet::new();
        for child in manifest["manifests"].as_array().map_or(&[][..], Vec::as_slice) {
            let digest = child["digest"].as_str().ok_or(PutRefusal::Invalid)?;
            let image = self.images.get(digest).ok_or_else(|| PutRefusal::MissingManifest(digest.to_owned()))?;
            if seen.insert(digest) {
                size += image.size;
            }
        }
        Ok(size)
    }

    /// The compressed size of a layer that was pushed here.
    #[must_use]
    pub(crate) fn layer_size(&self, digest: &str) -> Option<u64> {
        self.blobs.get(digest).copied()
    }

    /// ECR's words for a tag that must not move.
    #[must_use]
    pub(crate) fn pinned(&self, tag: &str) -> String {
        format!(
            "The image tag '{tag}' already exists in the '{}' repository and cannot be overwritten because the tag is immutable.",
            self.name
        )
    }
}

/// ECR's words for a repository that is not there.
#[must_use]
pub(crate) fn no_repository(name: &str, account: &str) -> AwsError {
    AwsError::client(
        "RepositoryNotFoundException",
        format!("The repository with name '{name}' does not exist in the registry with id '{account}'"),
    )
}

/// `sha256:` and 64 lowercase hexadecimal digits.
#[must_use]
pub(crate) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// The digest of some bytes.
#[must_use]
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// `*` stands for any run of characters.
fn wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| wildcard(tail, &rest[at..]))
        }),
    }
}
