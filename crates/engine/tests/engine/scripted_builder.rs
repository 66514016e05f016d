//! What no BuildKit here does: push from where it is, and leave its cache in a registry. The peer is scripted after
//! <https://github.com/moby/buildkit/blob/master/api/services/control/control.proto>.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bollard_buildkit_proto::moby::buildkit::v1 as api;
use bollard_buildkit_proto::moby::buildkit::v1::control_server::{Control, ControlServer};
use fargate_deploy_engine::{BuildEvent, BuildKit, BuilderAddress, EngineError, PushTarget, RegistryCredentials};
use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, Streaming};

use crate::support::{Context, env};

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How each Solve ends, in order; what was asked for.
#[derive(Clone, Default)]
struct Script {
    ends: Arc<Mutex<Vec<Result<&'static str, &'static str>>>>,
    /// A step that failed although the build did not.
    failed_step: Option<(&'static str, &'static str)>,
    orders: Arc<Mutex<Vec<api::SolveRequest>>>,
}

#[tonic::async_trait]
impl Control for Script {
    type PruneStream = Answer<api::UsageRecord>;
    type StatusStream = Answer<api::StatusResponse>;
    type SessionStream = Answer<api::BytesMessage>;
    type ListenBuildHistoryStream = Answer<api::BuildHistoryEvent>;

    async fn solve(&self, order: Request<api::SolveRequest>) -> Result<Response<api::SolveResponse>, Status> {
        self.orders.lock().unwrap().push(order.into_inner());
        match self.ends.lock().unwrap().remove(0) {
            Ok(digest) => Ok(Response::new(api::SolveResponse {
                exporter_response: [("containerimage.digest".to_owned(), digest.to_owned())].into(),
            })),
            Err(why) => Err(Status::unknown(why)),
        }
    }

    async fn status(&self, _: Request<api::StatusRequest>) -> Result<Response<Self::StatusStream>, Status> {
        let vertexes = self.failed_step.iter().map(|(name, error)| api::Vertex {
            digest: "sha256:v".to_owned(),
            name: (*name).to_owned(),
            error: (*error).to_owned(),
            ..Default::default()
        });
        let told = api::StatusResponse { vertexes: vertexes.collect(), ..Default::default() };
        Ok(Response::new(Box::pin(stream::iter([Ok(told.clone()), Ok(told)]))))
    }

    async fn session(
        &self,
        request: Request<Streaming<api::BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let names = request.metadata().get_all("x-docker-expose-session-grpc-method").iter().count();
        assert!(names >= 4 && request.metadata().contains_key("x-docker-expose-session-uuid"));
        Ok(Response::new(Box::pin(stream::pending())))
    }

    async fn list_workers(
        &self,
        _: Request<api::ListWorkersRequest>,
    ) -> Result<Response<api::ListWorkersResponse>, Status> {
        Ok(Response::new(api::ListWorkersResponse::default()))
    }

    async fn disk_usage(&self, _: Request<api::DiskUsageRequest>) -> Result<Response<api::DiskUsageResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn prune(&self, _: Request<api::PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn info(&self, _: Request<api::InfoRequest>) -> Result<Response<api::InfoResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn listen_build_history(
        &self,
        _: Request<api::BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn update_build_history(
        &self,
        _: Request<api::UpdateBuildHistoryRequest>,
    ) -> Result<Response<api::UpdateBuildHistoryResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }
}

async fn connect(script: &Script) -> (BuildKit, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("buildkitd.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(ControlServer::new(script.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    let address = BuilderAddress::parse(&format!("unix://{}", path.display()), None).unwrap();
    (BuildKit::connect(&address, &env()).await.unwrap(), folder)
}

fn warnings(events: &[BuildEvent]) -> Vec<&str> {
    let mut found = vec![];
    for event in events {
        if let BuildEvent::Warning { text } = event {
            found.push(text.as_str());
        }
    }
    found
}

#[tokio::test]
async fn what_is_asked_for_is_what_buildkit_reads() {
    let script = Script { ends: Arc::new(Mutex::new(vec![Ok("sha256:a"), Ok("sha256:b")])), ..Script::default() };
    let (kit, _folder) = connect(&script).await;
    let context = Context::new("FROM scratch\n");
    let mut request = context.request();
    request.target = Some("web".to_owned());
    request.platform = Some("linux/arm64".to_owned());
    request.args.insert("VERSION".to_owned(), "7".to_owned());
    request.pull = true;
    request.inline_cache = true;
    request.cache_from = vec!["r.test/shop:cache-web-main".to_owned()];
    request.cache_to = Some("r.test/shop:cache-web-main".to_owned());
    kit.build(&request, &mut |_| {}).await.unwrap();
    let target = PushTarget::new("r.test/shop", "v1");
    let pushed = kit.push(&request, &target, Some(&RegistryCredentials::new("AWS", "pw")), &mut |_| {}).await.unwrap();
    assert_eq!(pushed.digest, "sha256:b");

    let orders = script.orders.lock().unwrap().clone();
    let [kept, pushed] = orders.as_slice() else { panic!("{} orders", orders.len()) };
    assert_eq!((kept.frontend.as_str(), kept.exporter_deprecated.as_str()), ("dockerfile.v0", ""));
    for (name, value) in [
        ("filename", "Dockerfile"),
        ("target", "web"),
        ("platform", "linux/arm64"),
        ("build-arg:VERSION", "7"),
        ("image-resolve-mode", "pull"),
    ] {
        assert_eq!(kept.frontend_attrs[name], value);
    }
    let imports: serde_json::Value = serde_json::from_str(&kept.frontend_attrs["cache-imports"]).unwrap();
    assert_eq!(imports, serde_json::json!([{ "Type": "registry", "Attrs": { "ref": "r.test/shop:cache-web-main" } }]));
    let exports = &kept.cache.as_ref().unwrap().exports;
    assert_eq!(exports.iter().map(|e| e.r#type.as_str()).collect::<Vec<_>>(), ["inline", "registry"]);
    for (name, value) in [
        ("ref", "r.test/shop:cache-web-main"),
        ("mode", "max"),
        ("image-manifest", "true"),
        ("oci-mediatypes", "true"),
        ("ignore-error", "true"),
    ] {
        assert_eq!(exports[1].attrs[name], value);
    }
    assert_eq!(pushed.exporter_deprecated, "image");
    assert_eq!(pushed.exporter_attrs_deprecated["name"], "r.test/shop:v1");
    assert_eq!(pushed.exporter_attrs_deprecated["push"], "true");
    assert_eq!(pushed.cache.as_ref().unwrap().exports.len(), 1, "the cache was written with the build");
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_one_warning() {
    let step = ("exporting cache to registry", "error writing manifest blob: 400 Bad Request");
    let script =
        Script { ends: Arc::new(Mutex::new(vec![Ok("sha256:a")])), failed_step: Some(step), ..Script::default() };
    let (kit, _folder) = connect(&script).await;
    let mut request = Context::new("FROM scratch\n").request();
    let context = Context::new("FROM scratch\n");
    request.context = context.path().to_owned();
    request.cache_to = Some("r.test/shop:cache".to_owned());
    let mut events = vec![];
    kit.build(&request, &mut |event| events.push(event)).await.unwrap();
    assert_eq!(warnings(&events), ["the cache was not written: error writing manifest blob: 400 Bad Request"]);

    // An older builder ends the build with it.
    let ends = vec![Err("failed to solve: error writing manifest blob: 400 Bad Request"), Ok("sha256:a")];
    let script = Script { ends: Arc::new(Mutex::new(ends)), ..Script::default() };
    let (kit, _folder) = connect(&script).await;
    let mut events = vec![];
    kit.build(&request, &mut |event| events.push(event)).await.unwrap();
    assert_eq!(warnings(&events).len(), 1, "{events:?}");
    let orders = script.orders.lock().unwrap();
    assert_eq!(orders.iter().map(|order| order.cache.as_ref().unwrap().exports.len()).collect::<Vec<_>>(), [1, 0]);
}

#[tokio::test]
async fn a_registry_that_refuses_the_push_is_told_from_a_build_that_fails() {
    let pushes = [
        (
            "failed to solve: failed to push r.test/shop:v1: unexpected status from HEAD request: 401 Unauthorized",
            "auth",
        ),
        ("failed to solve: failed to push r.test/shop:v1: failed to authorize: no basic auth credentials", "auth"),
        ("failed to solve: failed to push r.test/shop:v1: name unknown: The repository does not exist", "missing"),
        (
            "failed to solve: failed to push r.test/shop:v1: tag invalid: cannot be overwritten because the tag is immutable",
            "immutable",
        ),
        ("failed to solve: failed to push r.test/shop:v1: something else", "push"),
        ("failed to solve: process \"/bin/sh -c make\" did not complete successfully: exit code: 2", "build"),
    ];
    let ends = pushes.iter().map(|(why, _)| Err(*why)).collect();
    let script = Script { ends: Arc::new(Mutex::new(ends)), ..Script::default() };
    let (kit, _folder) = connect(&script).await;
    let context = Context::new("FROM scratch\n");
    for (why, kind) in pushes {
        let error =
            kit.push(&context.request(), &PushTarget::new("r.test/shop", "v1"), None, &mut |_| {}).await.unwrap_err();
        let is = match error {
            EngineError::Auth { .. } => "auth",
            EngineError::RepositoryMissing { .. } => "missing",
            EngineError::TagImmutable { .. } => "immutable",
            EngineError::Push { .. } => "push",
            EngineError::Build { .. } => "build",
            _ => "other",
        };
        assert_eq!(is, kind, "{why}");
    }
}
