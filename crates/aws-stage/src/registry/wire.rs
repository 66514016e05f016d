//! The distribution protocol (`/v2/`) as `docker push` and `docker pull` speak it, with ECR's answers.
//! <https://distribution.github.io/distribution/spec/api/>

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::api::Caller;
use crate::behavior::IdenticalPush;
use crate::request::lock;

use super::repository::{PutRefusal, Repository, digest_of, is_digest, no_repository};
use super::{Refusal, Registry, Scope};

/// What one request under `/v2/` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /v2/`: who am I?
    Base,
    /// A manifest by tag or digest.
    Manifest { repository: String, reference: String },
    /// A blob by digest.
    Blob { repository: String, digest: String },
    /// A new upload.
    Uploads { repository: String },
    /// An upload under way.
    Upload { repository: String, id: String },
    /// `GET /v2/<name>/tags/list`.
    Tags { repository: String },
}

impl Route {
    /// Reads a path; `None` is not of the protocol.
    #[must_use]
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v2")?.trim_start_matches('/');
        if rest.is_empty() {
            return Some(Self::Base);
        }
        let parts: Vec<&str> = rest.split('/').collect();
        let repository = |tail: usize| parts[..parts.len() - tail].join("/");
        match parts.as_slice() {
            [_, .., "blobs", "uploads"] => Some(Self::Uploads { repository: repository(2) }),
            [_, .., "blobs", "uploads", ""] => Some(Self::Uploads { repository: repository(3) }),
            [_, .., "blobs", "uploads", id] => Some(Self::Upload { repository: repository(3), id: (*id).to_owned() }),
            [_, .., "blobs", digest] => Some(Self::Blob { repository: repository(2), digest: (*digest).to_owned() }),
            [_, .., "manifests", reference] => {
                Some(Self::Manifest { repository: repository(2), reference: (*reference).to_owned() })
            }
            [_, .., "tags", "list"] => Some(Self::Tags { repository: repository(2) }),
            _ => None,
        }
    }

    /// The IAM action of `ecr` that this request needs, and the repository it is about.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html>
    #[must_use]
    pub(crate) fn action(&self, method: &Method) -> Option<(&'static str, &str)> {
        match self {
            Self::Base => None,
            Self::Manifest { repository, .. } => {
                let action = match *method {
                    Method::PUT => "PutImage",
                    Method::DELETE => "BatchDeleteImage",
                    _ => "BatchGetImage",
                };
                Some((action, repository))
            }
            Self::Blob { repository, .. } if *method == Method::HEAD => {
                Some(("BatchCheckLayerAvailability", repository))
            }
            Self::Blob { repository, .. } => Some(("GetDownloadUrlForLayer", repository)),
            Self::Uploads { repository } => Some(("InitiateLayerUpload", repository)),
            Self::Upload { repository, .. } if *method == Method::PUT => Some(("CompleteLayerUpload", repository)),
            Self::Upload { repository, .. } => Some(("UploadLayerPart", repository)),
            Self::Tags { repository } => Some(("ListImages", repository)),
        }
    }

    fn repository(&self) -> Option<&str> {
        match self {
            Self::Base => None,
            Self::Manifest { repository, .. }
            | Self::Blob { repository, .. }
            | Self::Uploads { repository }
            | Self::Upload { repository, .. }
            | Self::Tags { repository } => Some(repository),
        }
    }
}

/// Who knocks.
pub(crate) struct Visitor {
    /// The principal that the password was issued to.
    pub caller: Caller,
    /// The stage itself, above every policy.
    pub internal: bool,
}

/// Basic authentication with a password of GetAuthorizationToken. `Err` is the answer to send.
pub(crate) fn visitor(registry: &Registry, headers: &HeaderMap) -> Result<Visitor, Box<Response>> {
    let challenge = || {
        let mut response = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Not Authorized");
        let realm = format!("Basic realm=\"http://{}/\",service=\"ecr.amazonaws.com\"", registry.address());
        set(&mut response, "www-authenticate", &realm);
        Box::new(response)
    };
    let password = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|encoded| base64::engine::general_purpose::STANDARD.decode(encoded).ok())
        .and_then(|decoded| String::from_utf8(decoded).ok())
        .and_then(|pair| pair.strip_prefix("AWS:").map(str::to_owned))
        .ok_or_else(challenge)?;
    match registry.caller_of(&password) {
        Ok(caller) => Ok(Visitor { caller, internal: registry.is_internal(&password) }),
        Err(Refusal::Unknown) => Err(challenge()),
        Err(Refusal::Expired) => {
            Err(Box::new(denied("Your authorization token has expired. Reauthenticate and try again.")))
        }
    }
}

/// One request of an authenticated and authorized caller.
pub(crate) struct Visit<'a> {
    /// The images.
    pub registry: &'a Registry,
    /// Whose registry is meant.
    pub scope: Scope,
    /// The HTTP method.
    pub method: &'a Method,
    /// The decoded query.
    pub query: &'a [(String, String)],
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

impl Visit<'_> {
    /// Answers.
    pub(crate) async fn answer(&self, route: Route, body: Body) -> Response {
        if let Some(name) = route.repository()
            && self.with(name, |_| ()).is_none()
        {
            let message = no_repository(name, &self.scope.account).message;
            return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", &message);
        }
        let result = match route {
            Route::Base => Ok(plain(StatusCode::OK)),
            Route::Manifest { repository, reference } => self.manifest(&repository, &reference, body).await,
            Route::Blob { repository, digest } => self.blob(&repository, &digest).await,
            Route::Uploads { repository } => self.begin(&repository, body).await,
            Route::Upload { repository, id } => self.advance(&repository, &id, body).await,
            Route::Tags { repository } => {
                let tags: Vec<String> =
                    self.with(&repository, |found| found.tags().cloned().collect()).unwrap_or_default();
                let document = json!({ "name": repository, "tags": tags }).to_string();
                Ok(body_of(StatusCode::OK, "application/json", document))
            }
        };
        result.unwrap_or_else(|failure: io::Error| self.failed(&failure))
    }

    /// Docker sends again for minutes what a registry answers with a 500 to, and what is denied it does not: a disk that is
    /// full stays so.
    fn failed(&self, failure: &io::Error) -> Response {
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::ReadOnlyFilesystem];
        if kinds.contains(&failure.kind()) {
            self.registry.note_trouble(failure);
            return denied(&failure.to_string());
        }
        error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", &failure.to_string())
    }

    async fn manifest(&self, repository: &str, reference: &str, body: Body) -> io::Result<Response> {
        let missing = || error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "Requested image not found");
        match *self.method {
            Method::GET | Method::HEAD => {
                let found = self.with(repository, |found| found.image(reference).cloned()).flatten();
                let Some(image) = found else { return Ok(missing()) };
                let length = image.manifest.len();
                let content = if *self.method == Method::HEAD { Vec::new() } else { image.manifest };
                let mut response = body_of(StatusCode::OK, &image.media_type, content);
                set(&mut response, "docker-content-digest", &image.digest);
                set(&mut response, "content-length", &length.to_string());
                Ok(response)
            }
            Method::PUT => {
                // Docker's own limit for a manifest.
                let manifest = axum::body::to_bytes(body, 4 * 1024 * 1024).await.map_err(io::Error::other)?;
                Ok(self.put_manifest(repository, reference, &manifest))
            }
            Method::DELETE => {
                let removed = self.with(repository, |found| found.remove(reference)).flatten();
                Ok(removed.map_or_else(missing, |_| plain(StatusCode::ACCEPTED)))
            }
            _ => Ok(unsupported()),
        }
    }

    fn put_manifest(&self, repository: &str, reference: &str, manifest: &Bytes) -> Response {
        let media_type = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let digest = digest_of(manifest);
        let tag = (!is_digest(reference)).then_some(reference);
        if tag.is_none() && reference != digest {
            return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        let outcome = self.with(repository, |found| {
            let pinned = tag.filter(|tag| found.mutability.pins(tag)).map(|tag| found.pinned(tag));
            (found.put(manifest, media_type, tag), pinned)
        });
        let Some((result, pinned)) = outcome else { return unsupported() };
        let refused = |status, code, message: &str| Some(error(status, code, message));
        let refusal = match (result, pinned) {
            (Err(PutRefusal::Same), Some(pinned)) if self.registry.identical_push == IdenticalPush::Refused => {
                refused(StatusCode::BAD_REQUEST, "TAG_INVALID", &pinned)
            }
            (Ok(_) | Err(PutRefusal::Same), _) => None,
            (Err(PutRefusal::TagPinned), pinned) => {
                refused(StatusCode::BAD_REQUEST, "TAG_INVALID", &pinned.unwrap_or_default())
            }
            (Err(PutRefusal::Invalid), _) => refused(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", "manifest invalid"),
            (Err(PutRefusal::MissingBlob(blob)), _) => {
                refused(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", &format!("blob unknown to registry: {blob}"))
            }
            (Err(PutRefusal::MissingManifest(child)), _) => refused(
                StatusCode::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                &format!("Images with digests '[{child}]' required for pushing image into repository do not exist"),
            ),
        };
        refusal.unwrap_or_else(|| {
            let mut response = plain(StatusCode::CREATED);
            set(&mut response, "docker-content-digest", &digest);
            set(&mut response, "location", &self.url(repository, &format!("manifests/{digest}")));
            response
        })
    }

    async fn blob(&self, repository: &str, digest: &str) -> io::Result<Response> {
        let length = self.with(repository, |found| found.layer_size(digest)).flatten();
        let (Some(length), Some(path)) = (length, self.registry.blob_path(digest)) else {
            return Ok(error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry"));
        };
        let body = match *self.method {
            Method::HEAD => Body::empty(),
            Method::GET => {
                let file = tokio::fs::File::open(path).await?;
                Body::from_stream(stream::try_unfold(file, |mut file| async move {
                    let mut chunk = vec![0; 64 * 1024];
                    let read = file.read(&mut chunk).await?;
                    chunk.truncate(read);
                    Ok::<_, io::Error>((read > 0).then_some((Bytes::from(chunk), file)))
                }))
            }
            _ => return Ok(unsupported()),
        };
        let mut response = body_of(StatusCode::OK, "application/octet-stream", body);
        set(&mut response, "content-length", &length.to_string());
        set(&mut response, "docker-content-digest", digest);
        Ok(response)
    }

    /// A new upload; a whole blob with `?digest=`; or a mount of another repository's blob with `?mount=&from=`.
    async fn begin(&self, repository: &str, body: Body) -> io::Result<Response> {
        if *self.method != Method::POST {
            return Ok(unsupported());
        }
        if let (Some(mount), Some(from)) = (self.parameter("mount"), self.parameter("from"))
            && let Some(length) = self.with(from, |found| found.layer_size(mount)).flatten()
        {
            return Ok(self.blob_created(repository, mount, length));
        }
        let (id, upload) = self.registry.begin_upload().await?;
        if let Some(digest) = self.parameter("digest") {
            upload.lock().await.append(body).await?;
            return self.complete(repository, &id, digest).await;
        }
        Ok(self.progress(StatusCode::ACCEPTED, repository, &id, 0))
    }

    async fn advance(&self, repository: &str, id: &str, body: Body) -> io::Result<Response> {
        let Some(upload) = self.registry.upload(id) else {
            return Ok(error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"));
        };
        match *self.method {
            Method::PATCH => {
                let mut upload = upload.lock().await;
                upload.append(body).await?;
                Ok(self.progress(StatusCode::ACCEPTED, repository, id, upload.length))
            }
            Method::GET => {
                let length = upload.lock().await.length;
                Ok(self.progress(StatusCode::NO_CONTENT, repository, id, length))
            }
            Method::PUT => {
                upload.lock().await.append(body).await?;
                match self.parameter("digest") {
                    Some(digest) => self.complete(repository, id, digest).await,
                    None => Ok(error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "digest parameter missing")),
                }
            }
            Method::DELETE => {
                self.registry.cancel_upload(id).await;
                Ok(plain(StatusCode::NO_CONTENT))
            }
            _ => Ok(unsupported()),
        }
    }

    async fn complete(&self, repository: &str, id: &str, digest: &str) -> io::Result<Response> {
        Ok(match self.registry.finish_upload(id, digest).await? {
            Some(length) => self.blob_created(repository, digest, length),
            None => error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "provided digest did not match uploaded content"),
        })
    }

    fn blob_created(&self, repository: &str, digest: &str, length: u64) -> Response {
        self.with(repository, |found| found.blobs.insert(digest.to_owned(), length));
        let mut response = plain(StatusCode::CREATED);
        set(&mut response, "docker-content-digest", digest);
        set(&mut response, "location", &self.url(repository, &format!("blobs/{digest}")));
        response
    }

    fn progress(&self, status: StatusCode, repository: &str, id: &str, length: u64) -> Response {
        let mut response = plain(status);
        set(&mut response, "location", &self.url(repository, &format!("blobs/uploads/{id}")));
        set(&mut response, "docker-upload-uuid", id);
        set(&mut response, "range", &format!("0-{}", length.saturating_sub(1)));
        response
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Repository) -> T) -> Option<T> {
        lock(&self.registry.repositories).get_mut(&self.scope)?.get_mut(name).map(act)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn url(&self, repository: &str, tail: &str) -> String {
        format!("http://{}/v2/{repository}/{tail}", self.registry.address())
    }
}

/// The protocol's error document.
#[must_use]
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let document: Value = json!({ "errors": [{ "code": code, "message": message }] });
    body_of(status, "application/json; charset=utf-8", document.to_string())
}

/// 403 in the protocol's words.
#[must_use]
pub(crate) fn denied(message: &str) -> Response {
    error(StatusCode::FORBIDDEN, "DENIED", message)
}

fn unsupported() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "The operation is unsupported.")
}

fn plain(status: StatusCode) -> Response {
    body_of(status, "text/plain; charset=utf-8", Body::empty())
}

fn body_of(status: StatusCode, media_type: &str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    set(&mut response, "content-type", media_type);
    set(&mut response, "docker-distribution-api-version", "registry/2.0");
    response
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_full_disk_is_denied_so_that_docker_does_not_try_for_minutes_and_is_told() {
        let root = std::env::temp_dir().join(format!("wire-test-{}", std::process::id()));
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let registry = Registry::new(address, "1", "eu-central-1", root, IdenticalPush::Accepted).unwrap();
        let scope = Scope { account: "1".to_owned(), region: "eu-central-1".to_owned() };
        let (method, headers) = (Method::PATCH, HeaderMap::new());
        let visit = Visit { registry: &registry, scope, method: &method, query: &[], headers: &headers };
        assert_eq!(visit.failed(&io::Error::other("a client went away")).status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(registry.trouble(), None);
        assert_eq!(visit.failed(&io::Error::from(io::ErrorKind::StorageFull)).status(), StatusCode::FORBIDDEN);
        assert!(registry.trouble().unwrap().contains("no storage space"), "{:?}", registry.trouble());
    }
}
