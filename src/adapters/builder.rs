//! [`Builder`] on the Docker Engine, which is looked for only when something must be built or pushed.

use crate::events::BuildStepState;
use crate::ports::{
    Build, BuildFailure, BuildFailureKind, BuildProgress, Builder, Content, LocalImage, PushProgress, RegistryLogin,
};
use async_trait::async_trait;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::plan::offline::ContextFacts;
use fargate_deploy_core::redact::Secret;
use fargate_deploy_engine::{
    BuildEvent, BuildRequest, DigestInput, Engine, EngineError, PushEvent, PushTarget, RegistryCredentials, StepState,
    beyond_content, context_digest, context_facts, stages_beside,
};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use tokio::sync::{OnceCell, mpsc};

/// The Engine, found on first use.
pub struct EngineBuilder {
    env: BTreeMap<String, String>,
    engine: OnceCell<Engine>,
}

impl EngineBuilder {
    /// `env` says where to look: DOCKER_HOST, DOCKER_CONTEXT, HOME.
    pub fn new(env: BTreeMap<String, String>) -> Self {
        Self { env, engine: OnceCell::new() }
    }

    async fn engine(&self) -> Result<&Engine, BuildFailure> {
        self.engine
            .get_or_try_init(|| Engine::connect(&self.env))
            .await
            .map_err(|e| failure(BuildFailureKind::Engine, &e, None))
    }
}

#[async_trait(?Send)]
impl Builder for EngineBuilder {
    async fn platform(&self) -> Result<String, BuildFailure> {
        Ok(self.engine().await?.info().platform())
    }

    async fn build(&self, request: &Build, tell: &dyn Fn(BuildProgress)) -> Result<LocalImage, BuildFailure> {
        let engine = self.engine().await?;
        let asked = build_request(request);
        let dockerfile = request.dockerfile.clone().unwrap_or_else(|| request.context.join("Dockerfile"));
        let (sender, events) = mpsc::unbounded_channel();
        let mut sink = move |event: BuildEvent| drop(sender.send(event));
        let building = async move { engine.build(&asked, &mut sink).await };
        let (built, ()) = tokio::join!(building, telling(events, tell));
        let built = built.map_err(|e| failure(BuildFailureKind::Build, &e, Some(&dockerfile)))?;
        let image = engine.inspect(&built.id).await.map_err(|e| failure(BuildFailureKind::Build, &e, None))?;
        let image = image.ok_or_else(|| {
            failed(BuildFailureKind::Build, format!("the Engine built {} and does not have it", built.id))
        })?;
        let beyond = reading(request, "reading the Dockerfile", move |input| beyond_content(input, &built.asked));
        Ok(LocalImage {
            id: image.id,
            platform: format!("{}/{}", image.os, image.architecture),
            read_beyond: beyond.await?,
        })
    }

    async fn push(
        &self,
        image: &LocalImage,
        target: &str,
        login: Option<&RegistryLogin>,
        tell: &dyn Fn(PushProgress),
    ) -> Result<Digest, BuildFailure> {
        let engine = self.engine().await?;
        let (repository, tag) = target.rsplit_once(':').unwrap_or((target, "latest"));
        let target = PushTarget::new(repository, tag);
        let credentials = login.map(credentials);
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut sink = move |event: PushEvent| drop(sender.send(event));
        let pushing = async move { engine.push(&image.id, &target, credentials.as_ref(), &mut sink).await };
        let telling = async {
            while let Some(event) = events.recv().await {
                tell(push_progress(event));
            }
        };
        let (pushed, ()) = tokio::join!(pushing, telling);
        let pushed = pushed.map_err(|e| failure(BuildFailureKind::Push, &e, None))?;
        digest(&pushed.digest)
    }

    async fn content_digest(&self, request: &Build) -> Result<String, BuildFailure> {
        reading(request, "hashing the build context", context_digest).await
    }

    async fn content(&self, request: &Build) -> Result<Content, BuildFailure> {
        let labels = request.labels.clone();
        let found =
            reading(request, "hashing the build context", move |input| fargate_deploy_engine::content(input, &labels));
        Ok(match found.await? {
            fargate_deploy_engine::Content::Certain { digest, images } => Content::Certain { digest, images },
            fargate_deploy_engine::Content::Doubtful { why } => Content::Doubtful { why },
        })
    }

    async fn stages_beside(&self, request: &Build) -> Result<Vec<String>, BuildFailure> {
        // The classic builder keeps no cache in an image.
        let is_classic = self.engine().await.is_ok_and(|engine| !engine.info().buildkit);
        if is_classic { Ok(vec![]) } else { reading(request, "reading the Dockerfile", stages_beside).await }
    }

    async fn context(&self, request: &Build) -> Result<ContextFacts, BuildFailure> {
        let facts =
            reading(request, "reading the build context", |input| context_facts(input.context, input.dockerfile))
                .await?;
        Ok(ContextFacts { files: facts.files, bytes: facts.bytes, has_ignore_file: facts.has_ignore_file })
    }

    async fn resolve(&self, reference: &str) -> Result<Digest, BuildFailure> {
        let found = self.engine().await?.registry_digest(reference).await;
        digest(&found.map_err(|e| failure(BuildFailureKind::Build, &e, None))?)
    }
}

/// Tells what a build says until it has said everything.
pub(super) async fn telling(mut events: mpsc::UnboundedReceiver<BuildEvent>, tell: &dyn Fn(BuildProgress)) {
    let mut log = BuildLog::default();
    while let Some(event) = events.recv().await {
        log.tell(event, tell);
    }
    log.tell_sent(tell);
}

pub(super) fn failed(kind: BuildFailureKind, message: String) -> BuildFailure {
    BuildFailure { kind, message, log: vec![], hint: None, at: None }
}

/// What `read` finds in the files of a build.
pub(super) async fn reading<T: Send + 'static>(
    request: &Build,
    doing: &str,
    read: impl FnOnce(&DigestInput<'_>) -> Result<T, EngineError> + Send + 'static,
) -> Result<T, BuildFailure> {
    let Build { context, dockerfile, target, args, platform, .. } = request.clone();
    let reading = tokio::task::spawn_blocking(move || {
        read(&DigestInput {
            context: &context,
            dockerfile: dockerfile.as_deref(),
            target: target.as_deref(),
            args,
            platform: platform.as_deref(),
        })
    });
    match reading.await {
        Ok(read) => read.map_err(|e| failure(BuildFailureKind::Build, &e, None)),
        Err(e) => Err(failed(BuildFailureKind::Build, format!("{doing}: {e}"))),
    }
}

pub(super) fn build_request(request: &Build) -> BuildRequest {
    BuildRequest {
        dockerfile: request.dockerfile.clone(),
        target: request.target.clone(),
        args: request.args.clone(),
        labels: request.labels.clone(),
        platform: request.platform.clone(),
        secrets: request
            .secrets
            .iter()
            .map(|(id, value)| (id.clone(), Secret::new(value.expose().as_bytes().to_vec())))
            .collect(),
        cache_from: request.cache_from.clone(),
        inline_cache: request.inline_cache,
        cache_to: request.cache_to.clone(),
        pull: request.pull,
        credentials: request.logins.iter().map(|login| (login.host.clone(), credentials(login))).collect(),
        ..BuildRequest::new(&request.context)
    }
}

pub(super) fn credentials(login: &RegistryLogin) -> RegistryCredentials {
    RegistryCredentials::new(&login.username, login.password.expose())
}

pub(super) fn digest(text: &str) -> Result<Digest, BuildFailure> {
    Digest::parse(text).map_err(|message| failed(BuildFailureKind::Push, message))
}

fn push_progress(event: PushEvent) -> PushProgress {
    match event {
        PushEvent::Layer { layer, status, current, total } => {
            PushProgress::Layer { layer, status, bytes: current, total }
        }
        PushEvent::Retrying { attempt, why } => PushProgress::Retried { attempt, error: why },
    }
}

/// A large context is told of each time that so much more of it went to the Engine.
const SENT_STEP: u64 = 100 << 20;

/// Steps by name, their output by whole lines.
#[derive(Default)]
struct BuildLog {
    /// Bytes of the context so far, and how many of them were told.
    sent: u64,
    sent_told: u64,
    names: HashMap<String, String>,
    partial: HashMap<String, Vec<u8>>,
}

impl BuildLog {
    fn tell(&mut self, event: BuildEvent, tell: &dyn Fn(BuildProgress)) {
        match event {
            // Nobody has left one yet.
            BuildEvent::Step { name, .. } if name.starts_with("importing cache manifest") => {}
            BuildEvent::Step { step, name, state } => {
                self.end_line(&step, tell);
                let state = match state {
                    StepState::Started => None,
                    StepState::Completed => Some(BuildStepState::Completed),
                    StepState::Cached => Some(BuildStepState::Cached),
                    StepState::Failed { why } => Some(BuildStepState::Failed { error: why }),
                };
                if let Some(state) = state {
                    tell(BuildProgress::Step { name: name.clone(), state });
                }
                self.names.insert(step, name);
            }
            BuildEvent::Log { step, bytes } => {
                let partial = self.partial.entry(step).or_default();
                partial.extend_from_slice(&bytes);
                while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = partial.drain(..=end).collect();
                    tell(BuildProgress::Output(String::from_utf8_lossy(&line).trim_end().to_owned()));
                }
            }
            BuildEvent::Warning { text } => tell(BuildProgress::Warning(text)),
            BuildEvent::Sent { bytes } => {
                self.sent = bytes;
                if bytes - self.sent_told >= SENT_STEP {
                    self.tell_sent(tell);
                }
            }
            BuildEvent::Progress { .. } => {}
        }
    }

    fn tell_sent(&mut self, tell: &dyn Fn(BuildProgress)) {
        if self.sent != self.sent_told {
            self.sent_told = self.sent;
            tell(BuildProgress::Sent { bytes: self.sent });
        }
    }

    fn end_line(&mut self, step: &str, tell: &dyn Fn(BuildProgress)) {
        if let Some(rest) = self.partial.remove(step).filter(|rest| !rest.is_empty()) {
            tell(BuildProgress::Output(String::from_utf8_lossy(&rest).trim_end().to_owned()));
        }
    }
}

pub(super) fn failure(kind: BuildFailureKind, error: &EngineError, dockerfile: Option<&PathBuf>) -> BuildFailure {
    let message = error.to_string();
    let kind = match error {
        EngineError::Unreachable { .. } | EngineError::BuilderUnreachable { .. } if kind != BuildFailureKind::Push => {
            BuildFailureKind::Engine
        }
        EngineError::Auth { .. } if kind == BuildFailureKind::Push => BuildFailureKind::Login,
        _ => kind,
    };
    BuildFailure {
        kind,
        at: dockerfile.and_then(|file| Some((file.clone(), dockerfile_line(&message)?))),
        log: error.log_tail().to_vec(),
        hint: error.hint().map(str::to_owned),
        message,
    }
}

/// BuildKit says where a syntax error is: `dockerfile parse error line 3: ...`, or `Dockerfile:3`.
fn dockerfile_line(message: &str) -> Option<u32> {
    let after = message.split_once("parse error line ").or_else(|| message.split_once("parse error on line "))?.1;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn output_arrives_in_whole_lines_and_steps_by_name() {
        let told = RefCell::new(vec![]);
        let tell = |progress: BuildProgress| {
            told.borrow_mut().push(match progress {
                BuildProgress::Step { name, state } => format!("> {name} {state:?}"),
                BuildProgress::Warning(text) => format!("! {text}"),
                BuildProgress::Sent { bytes } => format!("{bytes} bytes"),
                BuildProgress::Output(line) => line,
            });
        };
        let mut log = BuildLog::default();
        let step = |state| BuildEvent::Step { step: "s".to_owned(), name: "RUN make".to_owned(), state };
        log.tell(step(StepState::Started), &tell);
        for bytes in ["one\ntw", "o\nthr"] {
            log.tell(BuildEvent::Log { step: "s".to_owned(), bytes: bytes.as_bytes().to_vec() }, &tell);
        }
        log.tell(step(StepState::Completed), &tell);
        assert_eq!(*told.borrow(), ["one", "two", "thr", "> RUN make Completed"]);
    }

    #[test]
    fn what_was_sent_is_told_on_the_way_and_at_the_end() {
        let told = RefCell::new(vec![]);
        let tell = |progress: BuildProgress| {
            if let BuildProgress::Sent { bytes } = progress {
                told.borrow_mut().push(bytes);
            }
        };
        let mut log = BuildLog::default();
        for bytes in [5_000, 90_000_000, 110_000_000, 150_000_000] {
            log.tell(BuildEvent::Sent { bytes }, &tell);
        }
        log.tell_sent(&tell);
        log.tell_sent(&tell);
        assert_eq!(*told.borrow(), [110_000_000, 150_000_000]);
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        assert_eq!(dockerfile_line("build failed: dockerfile parse error line 3: unknown instruction: FORM"), Some(3));
        assert_eq!(dockerfile_line("build failed"), None);
    }
}
