//! One build by BuildKit's own API, wherever the builder is.
//!
//! <https://github.com/moby/buildkit/blob/master/docs/reference/buildctl.md>

use std::collections::HashMap;

use bollard_buildkit_proto::moby::buildkit::v1::{
    CacheOptions, CacheOptionsEntry, SolveRequest, SolveResponse, StatusRequest, StatusResponse,
};
use futures_util::future::OptionFuture;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};

use super::EngineError;
use super::build::{
    Attempts, BuildRequest, BuiltImage, Sending, TransferProgress, built, in_time, plain_reason, services, shared_key,
};
use super::config_auth::{RegistryCredentials, registry_of};
use super::context::BuildContext;
use super::control::BuildKit;
use super::progress::{BuildEvent, Steps, cache_not_written};
use super::push::{Failure, PushTarget, PushedImage};
use super::session::Session;

/// What is given to the last words of a build that has ended.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What becomes of what was built.
#[derive(Clone, Copy, Debug)]
enum Output<'a> {
    /// Kept in the builder's cache.
    Kept,
    /// Pushed from where the builder is. Nothing of it passes this machine.
    Pushed(&'a PushTarget),
}

impl BuildKit {
    /// Builds one image and leaves it in the builder's cache, where [`BuildKit::push`] finds it. Dropping the future stops the build there too.
    pub async fn build(
        &self,
        request: &BuildRequest,
        sink: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> Result<BuiltImage, EngineError> {
        self.attempt(request, Output::Kept, sink).await
    }

    /// Pushes what `request` builds from where the builder is. What it has built before is not built again.
    pub async fn push(
        &self,
        request: &BuildRequest,
        target: &PushTarget,
        credentials: Option<&RegistryCredentials>,
        sink: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> Result<PushedImage, EngineError> {
        let mut request = BuildRequest { cache_to: None, timeout: target.timeout, ..request.clone() };
        if let Some(credentials) = credentials {
            request.credentials.insert(registry_of(&target.repository).to_owned(), credentials.clone());
        }
        let pushed = self.attempt(&request, Output::Pushed(target), sink).await?;
        Ok(PushedImage { digest: pushed.id, size: 0 })
    }

    async fn attempt(
        &self,
        request: &BuildRequest,
        output: Output<'_>,
        sink: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> Result<BuiltImage, EngineError> {
        let context = request.validate()?;
        in_time(request, async {
            let mut attempts = Attempts::new();
            loop {
                let built = self.solve(request, &context, output, sink).await;
                if !attempts.go_on(&built, sink).await {
                    return built;
                }
            }
        })
        .await
    }

    async fn solve(
        &self,
        request: &BuildRequest,
        context: &BuildContext,
        output: Output<'_>,
        sink: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> Result<BuiltImage, EngineError> {
        let first = self.solve_once(request, context, output, sink).await;
        match first {
            // Builders before 0.12 do not know that a cache is no reason to fail.
            Err(EngineError::Build { why, .. }) if request.cache_to.is_some() && is_of_cache(&why) => {
                sink(cache_not_written(&why));
                let without = BuildRequest { cache_to: None, ..request.clone() };
                self.solve_once(&without, context, output, sink).await
            }
            first => first,
        }
    }

    async fn solve_once(
        &self,
        request: &BuildRequest,
        context: &BuildContext,
        output: Output<'_>,
        sink: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> Result<BuiltImage, EngineError> {
        let sending = Sending::default();
        let services = services(request, context, &self.config, &sending);
        let key = shared_key(&context.root);
        let session = Session::within(self, &key, services).await?;
        let order = self.order(request, context, output, &session.id);
        let mut steps = Steps::default();
        let mut transfer = TransferProgress::new(&sending);
        let ended = self.follow(order, &mut steps, &mut transfer, sink).await;
        transfer.report(sink);
        match ended {
            // What only its cache holds has no name but that of its build.
            Ok(_) if matches!(output, Output::Kept) => built(Some(session.id), &sending),
            Ok(answer) => built(answer.exporter_response.get("containerimage.digest").cloned(), &sending),
            Err(status) => Err(match sending.failed() {
                Some(ours) => ours,
                None => self.failure(&status, &steps, output),
            }),
        }
    }

    /// Tells of the build until it has ended and its last words have come.
    async fn follow(
        &self,
        order: SolveRequest,
        steps: &mut Steps,
        transfer: &mut TransferProgress<'_>,
        sink: &mut (dyn FnMut(BuildEvent) + Send),
    ) -> Result<SolveResponse, Status> {
        let (mut solver, mut teller) = (self.client.clone(), self.client.clone());
        let status = StatusRequest { r#ref: order.r#ref.clone() };
        let solving = solver.solve(order);
        let opening = teller.status(status);
        tokio::pin!(solving, opening);
        let mut words = Words::Opening;
        let mut ended: Option<(Result<SolveResponse, Status>, Instant)> = None;
        loop {
            if let (Some(_), Words::Over) = (&ended, &words) {
                break;
            }
            let deadline = OptionFuture::from(ended.as_ref().map(|(_, until)| sleep_until(*until)));
            tokio::select! {
                answer = &mut solving, if ended.is_none() => {
                    ended = Some((answer.map(tonic::Response::into_inner), Instant::now() + LAST_WORDS));
                }
                Some(()) = deadline => break,
                opened = &mut opening, if matches!(words, Words::Opening) => {
                    words = opened.map_or(Words::Over, |stream| Words::Coming(Box::new(stream.into_inner())));
                }
                message = words.next() => match message {
                    Some(message) => {
                        steps.status(message, Instant::now(), sink);
                    }
                    None => words = Words::Over,
                },
                () = transfer.due() => transfer.report(sink),
            }
        }
        match ended {
            Some((ended, _)) => ended,
            None => Err(Status::internal("the build has no end")),
        }
    }

    fn order(&self, request: &BuildRequest, context: &BuildContext, output: Output<'_>, session: &str) -> SolveRequest {
        let mut attributes = HashMap::from([("filename".to_owned(), context.dockerfile_name.clone())]);
        let mut add = |name: String, value: &str| drop(attributes.insert(name, value.to_owned()));
        for (name, value) in &request.args {
            add(format!("build-arg:{name}"), value);
        }
        for (name, value) in &request.labels {
            add(format!("label:{name}"), value);
        }
        for (name, value) in [("target", &request.target), ("platform", &request.platform)] {
            if let Some(value) = value {
                add(name.to_owned(), value);
            }
        }
        if request.no_cache {
            add("no-cache".to_owned(), "");
        }
        if request.pull {
            add("image-resolve-mode".to_owned(), "pull");
        }
        let imports: Vec<_> = request.cache_from.iter().map(|reference| registry_cache(reference)).collect();
        if !imports.is_empty() {
            let listed: Vec<_> =
                imports.iter().map(|entry| json!({ "Type": entry.r#type, "Attrs": entry.attrs })).collect();
            add("cache-imports".to_owned(), &json!(listed).to_string());
        }
        let (exporter, written) = match output {
            Output::Kept => ("", HashMap::new()),
            Output::Pushed(target) => {
                let push = [("name".to_owned(), target.reference()), ("push".to_owned(), "true".to_owned())];
                ("image", HashMap::from(push))
            }
        };
        let inline = request.inline_cache.then(|| entry("inline", []));
        let exports = inline.into_iter().chain(request.cache_to.as_deref().map(|reference| {
            let mut all = registry_cache(reference);
            // ECR takes a cache only in the form of an image.
            for (name, value) in
                [("mode", "max"), ("image-manifest", "true"), ("oci-mediatypes", "true"), ("ignore-error", "true")]
            {
                all.attrs.insert(name.to_owned(), value.to_owned());
            }
            all
        }));
        SolveRequest {
            r#ref: session.to_owned(),
            session: session.to_owned(),
            frontend: "dockerfile.v0".to_owned(),
            frontend_attrs: attributes,
            // Read by every version; the list that replaces the two is not.
            exporter_deprecated: exporter.to_owned(),
            exporter_attrs_deprecated: written,
            cache: Some(CacheOptions { exports: exports.collect(), imports, ..CacheOptions::default() }),
            ..SolveRequest::default()
        }
    }

    fn failure(&self, status: &Status, steps: &Steps, output: Output<'_>) -> EngineError {
        if std::error::Error::source(status).is_some() {
            return self.dialer.refused("building", status);
        }
        let why = plain_reason(status.message());
        if let Output::Pushed(target) = output
            && (why.contains("failed to push") || why.contains("failed to authorize"))
        {
            return match Failure::judge(target, &why) {
                Failure::Final(error) => error,
                Failure::Passing(why) | Failure::NoAnswer(why) => EngineError::Push { image: target.reference(), why },
            };
        }
        let (step, log_tail) = steps.failure();
        EngineError::Build { step, why, log_tail }
    }
}

/// What is told of a build beside its end.
enum Words {
    Opening,
    Coming(Box<Streaming<StatusResponse>>),
    Over,
}

impl Words {
    /// The next; `None` when there are no more.
    async fn next(&mut self) -> Option<StatusResponse> {
        match self {
            Self::Coming(stream) => stream.message().await.ok().flatten(),
            Self::Opening | Self::Over => std::future::pending().await,
        }
    }
}

fn entry<const N: usize>(kind: &str, attrs: [(&str, &str); N]) -> CacheOptionsEntry {
    let attrs = attrs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    CacheOptionsEntry { r#type: kind.to_owned(), attrs: attrs.into() }
}

fn registry_cache(reference: &str) -> CacheOptionsEntry {
    entry("registry", [("ref", reference)])
}

/// A failure to write the cache, as a builder words it that ends the build with it.
fn is_of_cache(why: &str) -> bool {
    ["error writing layer blob", "error writing manifest", "failed to export cache", "cache exporter"]
        .iter()
        .any(|sign| why.contains(sign))
}
