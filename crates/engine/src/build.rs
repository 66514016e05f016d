//! One build, through BuildKit where the Engine has it and through the classic builder elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use hyper::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::config_auth::{DockerConfig, RegistryCredentials};
use super::context::BuildContext;
use super::filesync::Directories;
use super::http::{Call, Objects, Query};
use super::progress::{BuildEvent, Steps};
use super::push::may_pass;
use super::session::{Credentials, Session, SessionServices};
use super::stream::stream_error;
use super::{Engine, EngineError};
use fargate_deploy_core::redact::Secret;

/// For the registry of a base image that is overloaded: five pauses, from 1 to 16 s.
const REGISTRY_BACKOFF: ExponentialBuilder =
    ExponentialBuilder::new().with_min_delay(Duration::from_secs(1)).with_max_times(5);
/// BuildKit's own limit for one secret.
const LARGEST_SECRET: usize = 500 * 1024;

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The directory that COPY reads from.
    pub context: PathBuf,
    /// Default `Dockerfile` in the context. A relative path is taken from the context, else from the working directory.
    pub dockerfile: Option<PathBuf>,
    /// The stage to stop at; default the last.
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// One `os/arch[/variant]`; default the Engine's own.
    pub platform: Option<String>,
    /// For `RUN --mount=type=secret,id=...`, at most 500 KiB each. They reach the builder only, never the image.
    pub secrets: Vec<(String, Secret<Vec<u8>>)>,
    /// Images whose inline cache may be used. One that does not exist is passed over.
    pub cache_from: Vec<String>,
    /// Puts the cache metadata into the image, for `cache_from` elsewhere.
    pub inline_cache: bool,
    /// Where the steps of all stages are left for later builds, by a builder which can. That it is not done fails no build.
    pub cache_to: Option<String>,
    pub no_cache: bool,
    /// Takes base images as their registries have them now, whatever the Engine has of them.
    pub pull: bool,
    /// `repository:tag`, each. The image also stays reachable by its id.
    pub tags: Vec<String>,
    /// For private base images, by registry host; they go before the user's docker configuration.
    pub credentials: BTreeMap<String, RegistryCredentials>,
    /// For the whole build.
    pub timeout: Duration,
}

impl BuildRequest {
    /// A plain build of `context`, within an hour.
    pub fn new(context: impl Into<PathBuf>) -> Self {
        Self {
            context: context.into(),
            dockerfile: None,
            target: None,
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            platform: None,
            secrets: Vec::new(),
            cache_from: Vec::new(),
            inline_cache: false,
            cache_to: None,
            no_cache: false,
            pull: false,
            tags: Vec::new(),
            credentials: BTreeMap::new(),
            timeout: Duration::from_secs(3600),
        }
    }

    pub(super) fn validate(&self) -> Result<BuildContext, EngineError> {
        if let Some(platform) = &self.platform {
            validate_platform(platform)?;
        }
        if let Some((id, _)) = self.secrets.iter().find(|(_, secret)| secret.expose().len() > LARGEST_SECRET) {
            return Err(EngineError::config(format!("build secret `{id}`"), "longer than 500 KiB"));
        }
        BuildContext::resolve(&self.context, self.dockerfile.as_deref())
    }

    /// The options that both builders take.
    pub(super) fn query(&self, dockerfile: &str) -> Query {
        let mut args = self.args.clone();
        if self.inline_cache {
            args.insert("BUILDKIT_INLINE_CACHE".to_owned(), "1".to_owned());
        }
        let mut query = Query::default();
        query.add("dockerfile", dockerfile);
        query.add("buildargs", &json!(args).to_string());
        query.add("labels", &json!(self.labels).to_string());
        query.add_some("target", self.target.as_deref());
        query.add_some("platform", self.platform.as_deref());
        if !self.cache_from.is_empty() {
            query.add("cachefrom", &json!(self.cache_from).to_string());
        }
        if self.no_cache {
            query.add("nocache", "1");
        }
        if self.pull {
            query.add("pull", "1");
        }
        for tag in &self.tags {
            query.add("t", tag);
        }
        query
    }
}

/// The result of a build, in the Engine's store or in a builder's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// `sha256:...`, the Engine's own id; not the digest in a registry. Of another builder the name of the build.
    pub id: String,
    /// What went to the Engine: contents and metadata of files.
    pub sent: u64,
    /// The paths of the context that the builder asked for; `.` is all of it.
    pub asked: Vec<String>,
}

/// What the sender of the context shares with the reader of the progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Sending {
    pub bytes: Arc<AtomicU64>,
    pub failure: Arc<Mutex<Option<String>>>,
    pub asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Sending {
    /// Our own failure to read the context, which the Engine knows only as a broken transfer.
    pub fn failed(&self) -> Option<EngineError> {
        let why = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(EngineError::config("build context", why))
    }
}

/// Attempts of one build: a registry that is overloaded is asked again.
pub(super) struct Attempts(ExponentialBackoff);

impl Attempts {
    pub fn new() -> Self {
        Self(REGISTRY_BACKOFF.build())
    }

    /// Whether there is another after this one. Says why, and pauses.
    pub async fn go_on(
        &mut self,
        built: &Result<BuiltImage, EngineError>,
        sink: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> bool {
        let Err(error) = built else { return false };
        let Some(pause) = self.0.next().filter(|_| is_busy_registry(error)) else { return false };
        sink(BuildEvent::Warning { text: format!("{error}; trying again") });
        sleep(pause).await;
        true
    }
}

/// Within the time that the whole build has.
pub(super) async fn in_time(
    request: &BuildRequest,
    building: impl Future<Output = Result<BuiltImage, EngineError>>,
) -> Result<BuiltImage, EngineError> {
    timeout(request.timeout, building).await.unwrap_or_else(|_| {
        let what = format!("building `{}`", request.context.display());
        Err(EngineError::Timeout { what, after: request.timeout })
    })
}

/// What a session offers to the builder of `request`.
pub(super) fn services(
    request: &BuildRequest,
    context: &BuildContext,
    config: &Arc<DockerConfig>,
    sending: &Sending,
) -> SessionServices {
    let named =
        HashMap::from([("context", context.root.clone()), ("dockerfile", context.dockerfile_directory.clone())]);
    SessionServices {
        directories: Directories {
            named,
            sent: sending.bytes.clone(),
            failure: sending.failure.clone(),
            asked: sending.asked.clone(),
        },
        credentials: Credentials { given: request.credentials.clone(), config: config.clone() },
        secrets: request.secrets.iter().cloned().collect(),
    }
}

impl Engine {
    /// Builds one image. The result is one plain manifest; neither builder adds an attestation index. Dropping the future
    /// stops the build on the Engine too.
    pub async fn build(
        &self,
        request: &BuildRequest,
        sink: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> Result<BuiltImage, EngineError> {
        let context = request.validate()?;
        in_time(request, async {
            let mut attempts = Attempts::new();
            loop {
                let built = if self.info.buildkit {
                    self.build_in_session(request, &context, sink).await
                } else {
                    self.build_classic(request, &context, sink).await
                };
                if !attempts.go_on(&built, sink).await {
                    return built;
                }
            }
        })
        .await
    }

    async fn build_in_session(
        &self,
        request: &BuildRequest,
        context: &BuildContext,
        sink: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> Result<BuiltImage, EngineError> {
        let sending = Sending::default();
        let services = services(request, context, &self.config, &sending);
        let session = Session::open(&self.transport, &shared_key(&context.root), services).await?;

        let mut query = request.query(&context.dockerfile_name);
        query.add("version", "2").add("remote", "client-session").add("session", &session.id);
        query.add("buildid", &session.id);
        let mut call = Call::new("starting the build", Method::POST, format!("/build{}", query.as_str()));
        call.limit = request.timeout;
        let mut objects = Objects::of(self.transport.send(call).await?);

        let mut steps = Steps::default();
        let mut image = None;
        let mut transfer = TransferProgress::new(&sending);
        let ended = loop {
            tokio::select! {
                object = objects.next() => match object {
                    Ok(Some(object)) => {
                        if let Some(why) = stream_error(&object) {
                            let (step, log_tail) = steps.failure();
                            break Err(EngineError::Build { step, why: plain_reason(why), log_tail });
                        }
                        match object["id"].as_str() {
                            Some("moby.buildkit.trace") => steps.trace(&object["aux"], Instant::now(), sink),
                            Some("moby.image.id") => image = object["aux"]["ID"].as_str().map(str::to_owned),
                            _ => {}
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(self.transport.unreachable(&error)),
                },
                () = transfer.due() => transfer.report(sink),
            }
        };
        transfer.report(sink);
        if let (Err(_), Some(ours)) = (&ended, sending.failed()) {
            return Err(ours);
        }
        ended?;
        built(image, &sending)
    }
}

/// Reports sent bytes while a build has nothing else to say.
pub(super) struct TransferProgress<'a> {
    sending: &'a Sending,
    last: u64,
    clock: tokio::time::Interval,
}

impl<'a> TransferProgress<'a> {
    pub fn new(sending: &'a Sending) -> Self {
        let mut clock = interval(Duration::from_millis(500));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { sending, last: 0, clock }
    }

    pub async fn due(&mut self) {
        self.clock.tick().await;
    }

    pub fn report(&mut self, sink: &mut (dyn FnMut(BuildEvent) + Send)) {
        let bytes = self.sending.bytes.load(Ordering::Relaxed);
        if bytes != self.last {
            self.last = bytes;
            sink(BuildEvent::Sent { bytes });
        }
    }
}

pub(super) fn built(image: Option<String>, sending: &Sending) -> Result<BuiltImage, EngineError> {
    match image {
        Some(id) => {
            let asked = sending.asked.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
            Ok(BuiltImage { id, sent: sending.bytes.load(Ordering::Relaxed), asked })
        }
        None => {
            let why = "the Engine ended the build without an image".to_owned();
            Err(EngineError::Build { step: None, why, log_tail: Vec::new() })
        }
    }
}

pub(super) fn image_id(object: &Value) -> Option<String> {
    object["aux"]["ID"].as_str().map(str::to_owned)
}

/// The builder could not fetch a base image for a reason that may pass. A step of the Dockerfile is never run twice for what
/// it says itself.
fn is_busy_registry(error: &EngineError) -> bool {
    let EngineError::Build { step, why, .. } = error else { return false };
    let is_fetching = |step: &String| {
        step.starts_with("[internal] load metadata for ") || step.contains("] FROM ") || step.contains(" : FROM ")
    };
    step.as_ref().is_none_or(is_fetching) && may_pass(why)
}

fn validate_platform(platform: &str) -> Result<(), EngineError> {
    let subject = format!("platform `{platform}`");
    if platform.contains(',') {
        return Err(EngineError::config(subject, "one platform only, an ECS task runs one architecture"));
    }
    let parts: Vec<_> = platform.split('/').collect();
    let is_word =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !(2..=3).contains(&parts.len()) || !parts.iter().all(is_word) {
        return Err(EngineError::config(subject, "expected os/arch, e.g. linux/arm64"));
    }
    Ok(())
}

/// The same for every build of one directory on this machine, and different from other directories': the builder keeps
/// what it got under a key, and asks for what differs in [the metadata](super::filesync).
pub(super) fn shared_key(root: &Path) -> String {
    hex::encode(Sha256::digest(root.as_os_str().as_encoded_bytes()))
}

/// The builder's sentence without the names of the layers that it passed through.
pub(super) fn plain_reason(why: &str) -> String {
    let mut why = why;
    while let Some(rest) =
        ["failed to solve", "rpc error: code = Unknown desc", "failed to build LLB", "failed to create LLB definition"]
            .iter()
            .find_map(|layer| why.strip_prefix(layer))
            .and_then(|rest| rest.split_once([':', '=']))
            .map(|(_, rest)| rest.trim_start())
    {
        why = rest;
    }
    why.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_one_os_and_architecture() {
        for platform in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(validate_platform(platform), Ok(()));
        }
        for platform in ["arm64", "linux/", "linux/AMD64", "linux/arm/v7/x", "linux/amd64,linux/arm64", ""] {
            let refusal = validate_platform(platform).unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("platform `{platform}`: ")), "{refusal}");
        }
    }

    #[test]
    fn the_reason_is_left_without_its_wrapping() {
        for (said, plain) in [
            (
                "failed to solve with frontend dockerfile.v0: failed to build LLB: executor failed running [/bin/false]: exit code: 1",
                "executor failed running [/bin/false]: exit code: 1",
            ),
            ("failed to solve: process \"/bin/false\" did not complete", "process \"/bin/false\" did not complete"),
            ("failed to solve: rpc error: code = Unknown desc = x: not found", "x: not found"),
            (
                "dockerfile parse error line 2: unknown instruction: FRM",
                "dockerfile parse error line 2: unknown instruction: FRM",
            ),
        ] {
            assert_eq!(plain_reason(said), plain);
        }
    }

    #[test]
    fn a_secret_that_buildkit_would_refuse_is_refused_before_the_build() {
        let mut request = BuildRequest::new("/nowhere");
        request.secrets.push(("token".to_owned(), Secret::new(vec![0; LARGEST_SECRET + 1])));
        assert_eq!(request.validate().unwrap_err().to_string(), "build secret `token`: longer than 500 KiB");
        assert!(format!("{request:?}").contains("(\"token\", Secret(***))"));
    }
}
