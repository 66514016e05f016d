//! Push one image under one name, with the digest that the registry will know it by.

use std::time::Duration;
use tokio::time::Instant;

use backon::{BackoffBuilder, ExponentialBuilder};
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::config_auth::{RegistryCredentials, registry_of};
use super::http::{Call, Objects, Query};
use super::progress::Throttle;
use super::stream::stream_error;
use super::{Engine, EngineError};

/// For a registry that says that it cannot now: 0.5 s, doubled up to 30 s, as long as the push may take.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(500))
    .with_max_delay(Duration::from_secs(30))
    .without_max_times();
/// Where nobody answers, the address is wrong more often than the registry is away for long.
const ATTEMPTS_WITHOUT_ANSWER: u32 = 3;

/// Where an image goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushTarget {
    /// With its registry, e.g. `123456789012.dkr.ecr.eu-central-1.amazonaws.com/web`.
    pub repository: String,
    pub tag: String,
    /// For all attempts together.
    pub timeout: Duration,
}

impl PushTarget {
    /// A push that may take half an hour.
    pub fn new(repository: impl Into<String>, tag: impl Into<String>) -> Self {
        Self { repository: repository.into(), tag: tag.into(), timeout: Duration::from_secs(1800) }
    }

    /// `repository:tag`.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

/// One thing that happened during a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    /// A layer's state in the Engine's words (`Pushing`, `Layer already exists`, `Pushed`), at most twice a second while
    /// the state stays the same. `total` 0 is unknown.
    Layer { layer: String, status: String, current: u64, total: u64 },
    /// The registry failed in a way that may pass.
    Retrying { attempt: u32, why: String },
}

/// What the registry has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedImage {
    /// `sha256:...` of the manifest.
    pub digest: String,
    /// Bytes of the manifest; 0 if the Engine did not say.
    pub size: u64,
}

impl Engine {
    /// Tags, pushes and takes the tag away again, unless it is the image's only name (the image would go with it) or was
    /// there before. Without credentials those of the user's docker configuration are taken.
    ///
    /// A registry that fails in a way that may pass (5xx, 429, a broken connection) is asked again until the target's
    /// timeout; one where nobody answers three times; one that refuses is not.
    pub async fn push(
        &self,
        image_id: &str,
        target: &PushTarget,
        credentials: Option<&RegistryCredentials>,
        sink: &mut (dyn FnMut(PushEvent) + Send),
    ) -> Result<PushedImage, EngineError> {
        let reference = target.reference();
        let registry = registry_of(&target.repository);
        let credentials = match credentials {
            Some(given) => Some(given.clone()),
            None => self.config.credentials(registry).await?,
        };
        let auth = RegistryCredentials::header(credentials.as_ref(), registry);

        let Some(image) = self.inspect(image_id).await? else {
            let why = format!("the Engine has no image `{image_id}`");
            return Err(EngineError::Push { image: reference, why });
        };
        let before = self.inspect(&reference).await?.map(|found| found.id);
        let pushing = self.push_patiently(&image.id, target, &auth, sink);
        let pushed = timeout(target.timeout, pushing).await.unwrap_or_else(|_| {
            Err(EngineError::Timeout { what: format!("pushing `{reference}`"), after: target.timeout })
        });
        let restored = match before {
            Some(before) if before == image.id => Ok(()),
            Some(before) => self.tag(&before, &target.repository, &target.tag).await,
            None if image.repo_tags.is_empty() => Ok(()),
            None => self.remove_tag(&reference).await,
        };
        let pushed = pushed?;
        restored?;
        Ok(pushed)
    }

    async fn push_patiently(
        &self,
        image: &str,
        target: &PushTarget,
        auth: &str,
        sink: &mut (dyn FnMut(PushEvent) + Send),
    ) -> Result<PushedImage, EngineError> {
        let mut pauses = BACKOFF.build();
        let (mut attempt, mut without_answer) = (1, 0);
        loop {
            if self.inspect(&target.reference()).await?.is_none_or(|named| named.id != image) {
                self.tag(image, &target.repository, &target.tag).await?;
            }
            let why = match self.push_once(target, auth, sink).await {
                Ok(pushed) if self.is_of_another(&pushed, image, target).await? => {
                    format!("`{}` was given to another image meanwhile", target.reference())
                }
                Ok(pushed) => return Ok(pushed),
                Err(Failure::Passing(why)) => {
                    without_answer = 0;
                    why
                }
                Err(Failure::NoAnswer(why)) => {
                    without_answer += 1;
                    why
                }
                Err(Failure::Final(error)) => return Err(error),
            };
            let pause = pauses.next().filter(|_| without_answer < ATTEMPTS_WITHOUT_ANSWER);
            let Some(pause) = pause else {
                return Err(EngineError::Push { image: target.reference(), why });
            };
            sink(PushEvent::Retrying { attempt, why });
            sleep(pause).await;
            attempt += 1;
        }
    }

    /// The Engine pushes what has the name at that moment. Where several runs share an Engine, that can be another's.
    async fn is_of_another(&self, pushed: &PushedImage, image: &str, target: &PushTarget) -> Result<bool, EngineError> {
        let named = self.inspect(&format!("{}@{}", target.repository, pushed.digest)).await?;
        Ok(named.is_some_and(|named| named.id != image))
    }

    async fn push_once(
        &self,
        target: &PushTarget,
        auth: &str,
        sink: &mut (dyn FnMut(PushEvent) + Send),
    ) -> Result<PushedImage, Failure> {
        let reference = target.reference();
        let what = format!("pushing `{reference}`");
        let mut query = Query::default();
        query.add("tag", &target.tag);
        let mut call = Call::new(&what, Method::POST, format!("/images/{}/push{}", target.repository, query.as_str()));
        call.limit = target.timeout;
        if let Ok(value) = HeaderValue::from_str(auth) {
            call.headers.insert(HeaderName::from_static("x-registry-auth"), value);
        }
        let answer = self.transport.send(call).await.map_err(|error| match error {
            EngineError::Refused { status, why, .. } if status >= 500 => Failure::judge(target, &why),
            other => Failure::Final(other),
        })?;
        let mut objects = Objects::of(answer);
        let mut layers = Layers::default();
        let mut pushed = None;
        while let Some(object) = objects.next().await.map_err(|error| Failure::Passing(error.to_string()))? {
            if let Some(why) = stream_error(&object) {
                return Err(Failure::judge(target, why));
            }
            pushed = result_of(&object).or(pushed);
            layers.object(&object, Instant::now(), sink);
        }
        if let Some(pushed) = pushed {
            return Ok(pushed);
        }
        let found = self.inspect(&reference).await.map_err(Failure::Final)?;
        let prefix = format!("{}@", target.repository);
        let digest =
            found.and_then(|image| image.repo_digests.iter().find_map(|d| d.strip_prefix(&prefix).map(str::to_owned)));
        match digest {
            Some(digest) => Ok(PushedImage { digest, size: 0 }),
            None => {
                let why = "the Engine reported no digest".to_owned();
                Err(Failure::Final(EngineError::Push { image: reference, why }))
            }
        }
    }
}

/// Whether another attempt can help.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Passing(String),
    /// Nobody listens at the registry's address, or the name has none.
    NoAnswer(String),
    Final(EngineError),
}

impl Failure {
    /// The registry's error code stands at the begin of the Engine's sentence, e.g. `denied: ...`.
    /// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>
    pub fn judge(target: &PushTarget, why: &str) -> Self {
        let has = |parts: &[&str]| parts.iter().any(|part| why.contains(part));
        let (image, said) = (target.reference(), why.to_owned());
        if has(&["tag is immutable", "cannot be overwritten because"]) {
            return Self::Final(EngineError::TagImmutable { image, why: said });
        }
        if has(&["name unknown", "repository name not known", "RepositoryNotFound"]) {
            let repository = target.repository.clone();
            return Self::Final(EngineError::RepositoryMissing { repository, why: said });
        }
        let is_auth =
            ["unauthorized", "no basic auth credentials", "denied", "authentication required", "authorization"];
        // A HEAD request is refused without a word.
        if has(&is_auth) || has(&["401 Unauthorized", "403 Forbidden", "parsing HTTP 403 response"]) {
            let registry = registry_of(&target.repository).to_owned();
            return Self::Final(EngineError::Auth { registry, why: said });
        }
        if has(&["connection refused", "no such host", "no route to host"]) {
            return Self::NoAnswer(said);
        }
        if may_pass(why) {
            return Self::Passing(said);
        }
        Self::Final(EngineError::Push { image, why: said })
    }
}

/// Whether a registry may answer the same request another time: it is overloaded, or the connection to it broke.
pub(super) fn may_pass(why: &str) -> bool {
    let signs = [
        // Another run that shares the Engine took the name away.
        "does not exist locally with the tag",
        "connection reset",
        "broken pipe",
        "EOF",
        "i/o timeout",
        "TLS handshake timeout",
        "toomanyrequests",
        "Too Many Requests",
        "Rate exceeded",
        "status: 429",
        "status code 429",
        "status code: 429",
        "500 Internal",
        "internal server error",
        "502 Bad",
        "503 Service",
        "504 Gateway",
        "status: 5",
        "status code 5",
        "status code: 5",
        "Client.Timeout",
        "unavailable",
    ];
    signs.iter().any(|sign| why.contains(sign))
}

/// `{"aux":{"Tag","Digest","Size"}}`, else the sentence `1.0: digest: sha256:... size: 1234`.
fn result_of(object: &Value) -> Option<PushedImage> {
    if let Some(digest) = object["aux"]["Digest"].as_str() {
        let size = object["aux"]["Size"].as_u64().unwrap_or_default();
        return Some(PushedImage { digest: digest.to_owned(), size });
    }
    let (_, said) = object["status"].as_str()?.split_once(": digest: ")?;
    let (digest, size) = said.split_once(" size: ").unwrap_or((said, "0"));
    Some(PushedImage { digest: digest.trim().to_owned(), size: size.trim().parse().unwrap_or_default() })
}

/// Per-layer progress from the Engine's `{"id","status","progressDetail"}`.
#[derive(Debug, Default)]
pub(super) struct Layers {
    throttle: Throttle,
    last: std::collections::HashMap<String, String>,
}

impl Layers {
    pub fn object(&mut self, object: &Value, now: Instant, sink: &mut (dyn FnMut(PushEvent) + Send)) {
        let (Some(layer), Some(status)) = (object["id"].as_str(), object["status"].as_str()) else { return };
        let is_new = self.last.get(layer).is_none_or(|last| last != status);
        if !self.throttle.admits(layer, now) && !is_new {
            return;
        }
        if is_new {
            self.last.insert(layer.to_owned(), status.to_owned());
        }
        let count = |name: &str| object["progressDetail"][name].as_u64().unwrap_or_default();
        let (current, total) = (count("current"), count("total"));
        sink(PushEvent::Layer { layer: layer.to_owned(), status: status.to_owned(), current, total });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn target() -> PushTarget {
        PushTarget::new("r.example/web", "v1")
    }

    #[test]
    fn refusals_are_told_apart_and_only_passing_failures_are_retried() {
        let name = |failure: Failure| match failure {
            Failure::Passing(_) => "passing",
            Failure::NoAnswer(_) => "no answer",
            Failure::Final(EngineError::Auth { .. }) => "auth",
            Failure::Final(EngineError::RepositoryMissing { .. }) => "missing",
            Failure::Final(EngineError::TagImmutable { .. }) => "immutable",
            Failure::Final(_) => "final",
        };
        for (why, expected) in [
            ("unauthorized: authentication required", "auth"),
            ("no basic auth credentials", "auth"),
            (
                "denied: User: arn:aws:sts::1:assumed-role/x is not authorized to perform: ecr:InitiateLayerUpload",
                "auth",
            ),
            ("denied: Your authorization token has expired. Reauthenticate and try again.", "auth"),
            ("error parsing HTTP 403 response body: unexpected end of JSON input: \"\"", "auth"),
            ("name unknown: The repository with name 'web' does not exist in the registry with id '1'", "missing"),
            (
                "tag invalid: The image tag 'v1' already exists in the 'web' repository and cannot be overwritten because the tag is immutable.",
                "immutable",
            ),
            ("received unexpected HTTP status: 503 Service Unavailable", "passing"),
            ("Put \"https://r.example/v2/\": read: connection reset by peer", "passing"),
            ("unexpected EOF", "passing"),
            ("toomanyrequests: Rate exceeded", "passing"),
            ("received unexpected HTTP status: 429 Too Many Requests", "passing"),
            ("received unexpected HTTP status: 500 Internal Server Error", "passing"),
            ("unexpected status from PUT request to https://r.example/v2/: 502 Bad Gateway", "passing"),
            ("Get \"https://r.example/v2/\": dial tcp 10.0.0.1:443: connect: connection refused", "no answer"),
            ("dial tcp: lookup r.example: no such host", "no answer"),
            ("An image does not exist locally with the tag: r.example/web", "passing"),
            ("manifest invalid: manifest invalid", "final"),
        ] {
            assert_eq!(name(Failure::judge(&target(), why)), expected, "{why}");
        }
    }

    #[test]
    fn the_digest_comes_from_the_aux_object_or_from_the_last_sentence() {
        let expected = PushedImage { digest: "sha256:ab".to_owned(), size: 528 };
        let aux = json!({"progressDetail": {}, "aux": {"Tag": "v1", "Digest": "sha256:ab", "Size": 528}});
        assert_eq!(result_of(&aux).unwrap(), expected);
        assert_eq!(result_of(&json!({"status": "v1: digest: sha256:ab size: 528"})).unwrap(), expected);
        assert_eq!(result_of(&json!({"status": "Pushing", "id": "a1"})), None);
    }

    #[test]
    fn a_layer_is_told_when_its_state_changes_and_else_twice_a_second() {
        let mut layers = Layers::default();
        let begin = Instant::now();
        let mut told = |status: &str, after| {
            let mut seen = 0;
            let object = json!({"id": "l", "status": status, "progressDetail": {"current": 1, "total": 2}});
            layers.object(&object, begin + Duration::from_millis(after), &mut |_| seen += 1);
            seen
        };
        assert_eq!([told("Preparing", 0), told("Pushing", 10), told("Pushing", 20)], [1, 1, 0]);
        assert_eq!([told("Pushing", 700), told("Pushed", 710)], [1, 1]);
    }
}
