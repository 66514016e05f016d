//! The BuildKit session: we hijack `POST /session` and serve gRPC over it, and the builder calls us for files,
//! credentials and secrets.
//!
//! Health has to be served although nobody asks for it by name: the builder checks it while a RUN is going on and drops a
//! session that does not answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
use bollard_buildkit_proto::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use bollard_buildkit_proto::moby::filesync::packet::file_sync_server::FileSyncServer;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use futures_util::stream;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use hyper::rt::{Read, Write};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest, Response as HttpResponse};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Request, Response, Status};

use super::config_auth::{DockerConfig, RegistryCredentials};
use super::control::BuildKit;
use super::error::EngineError;
use super::filesync::Directories;
use super::http::{Attached, Call, SHORT, Transport};
use fargate_deploy_core::redact::Secret;

const METHODS: [&str; 4] = [
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/grpc.health.v1.Health/Check",
];

/// Of the session's bytes in one message.
const PIECE: usize = 32 * 1024;

/// What the builder may call for.
#[derive(Debug)]
pub(super) struct SessionServices {
    pub directories: Directories,
    pub credentials: Credentials,
    pub secrets: BTreeMap<String, Secret<Vec<u8>>>,
}

/// Credentials for private base images: those given with the build by registry host, then the user's own.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub given: BTreeMap<String, RegistryCredentials>,
    pub config: Arc<DockerConfig>,
}

/// An open session. Dropping it ends the build that uses it.
#[derive(Debug)]
pub(super) struct Session {
    pub id: String,
    _server: Attached,
    _carrier: Option<Attached>,
}

impl Session {
    /// `shared_key` must be the same for two builds of the same context for the second to send only what changed.
    pub async fn open(transport: &Transport, shared_key: &str, services: SessionServices) -> Result<Self, EngineError> {
        let id = random_id();
        let mut call = Call::new("opening a build session", Method::POST, "/session");
        for (name, value) in offer(&id, shared_key) {
            if let Ok(value) = HeaderValue::from_str(value) {
                call.headers.append(HeaderName::from_static(name), value);
            }
        }
        call.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        call.headers.insert(UPGRADE, HeaderValue::from_static("h2c"));

        let answer = transport.send(call).await?;
        let io = hyper::upgrade::on(answer.response).await.map_err(|error| transport.unreachable(&error))?;
        let connection = answer.connection;
        let server = Attached::spawn(async move {
            serve(io, services).await;
            drop(connection);
        });
        Ok(Self { id, _server: server, _carrier: None })
    }

    /// The same inside a call of BuildKit's own API, whose messages carry the bytes of the session.
    pub async fn within(kit: &BuildKit, shared_key: &str, services: SessionServices) -> Result<Self, EngineError> {
        let id = random_id();
        let (ours, theirs) = tokio::io::duplex(PIECE);
        let (mut from_us, mut to_us) = tokio::io::split(theirs);
        let (sender, receiver) = mpsc::channel(4);
        let mut call = Request::new(ReceiverStream::new(receiver));
        for (name, value) in offer(&id, shared_key) {
            if let Ok(value) = value.parse() {
                call.metadata_mut().append(name, value);
            }
        }
        let server = Attached::spawn(async move {
            let outward = async {
                let mut bytes = vec![0; PIECE];
                while let Ok(read @ 1..) = from_us.read(&mut bytes).await {
                    if sender.send(BytesMessage { data: bytes[..read].to_vec() }).await.is_err() {
                        break;
                    }
                }
            };
            tokio::join!(serve(TokioIo::new(ours), services), outward);
        });
        let mut client = kit.client.clone();
        let opened = timeout(SHORT, client.session(call)).await.map_err(|_| kit.dialer.silent())?;
        let mut inward = opened.map_err(|status| kit.dialer.refused("opening a build session", &status))?.into_inner();
        let carrier = Attached::spawn(async move {
            while let Ok(Some(piece)) = inward.message().await {
                if to_us.write_all(&piece.data).await.is_err() {
                    break;
                }
            }
        });
        Ok(Self { id, _server: server, _carrier: Some(carrier) })
    }
}

/// How a session introduces itself: who it is, and what may be called in it.
fn offer<'a>(id: &'a str, shared_key: &'a str) -> impl Iterator<Item = (&'static str, &'a str)> {
    let introduced = [
        ("x-docker-expose-session-uuid", id),
        ("x-docker-expose-session-name", "fargate-deploy"),
        ("x-docker-expose-session-sharedkey", shared_key),
    ];
    introduced.into_iter().chain(METHODS.map(|method| ("x-docker-expose-session-grpc-method", method)))
}

/// Until the connection ends with the build, from whichever side; a break shows in the build's own stream.
async fn serve(io: impl Read + Write + Send + Unpin + 'static, services: SessionServices) {
    let servers = Servers::new(services);
    let serve = service_fn(move |request| servers.clone().call(request));
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, serve).await;
}

#[derive(Clone)]
struct Servers {
    files: FileSyncServer<Directories>,
    auth: AuthServer<Credentials>,
    secrets: SecretsServer<BuildSecrets>,
    health: HealthServer<AlwaysServing>,
}

impl Servers {
    fn new(services: SessionServices) -> Self {
        Self {
            files: FileSyncServer::new(services.directories),
            auth: AuthServer::new(services.credentials),
            secrets: SecretsServer::new(BuildSecrets(services.secrets)),
            health: HealthServer::new(AlwaysServing),
        }
    }

    async fn call(mut self, request: HttpRequest<Incoming>) -> Result<HttpResponse<Body>, Infallible> {
        match request.uri().path().split('/').nth(1) {
            Some("moby.filesync.v1.FileSync") => self.files.call(request).await,
            Some("moby.filesync.v1.Auth") => self.auth.call(request).await,
            Some("moby.buildkit.secrets.v1.Secrets") => self.secrets.call(request).await,
            Some("grpc.health.v1.Health") => self.health.call(request).await,
            _ => Ok(Status::unimplemented("not offered by this session").into_http()),
        }
    }
}

struct BuildSecrets(BTreeMap<String, Secret<Vec<u8>>>);

#[tonic::async_trait]
impl Secrets for BuildSecrets {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.0.get(id) {
            Some(secret) => Ok(Response::new(GetSecretResponse { data: secret.expose().clone() })),
            None => Err(Status::not_found(format!("build secret `{id}` was not given"))),
        }
    }
}

#[tonic::async_trait]
impl Auth for Credentials {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> Result<Response<CredentialsResponse>, Status> {
        let host = &request.get_ref().host;
        let found = match self.given.get(host) {
            Some(given) => Some(given.clone()),
            None => self.config.credentials(host).await.map_err(|error| Status::unauthenticated(error.to_string()))?,
        };
        let (username, secret) = found.map(|found| found.for_session()).unwrap_or_default();
        Ok(Response::new(CredentialsResponse { username, secret }))
    }

    async fn fetch_token(&self, _: Request<FetchTokenRequest>) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("the builder fetches tokens itself"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the builder fetches tokens itself"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the builder fetches tokens itself"))
    }
}

struct AlwaysServing;

const SERVING: HealthCheckResponse = HealthCheckResponse { status: ServingStatus::Serving as i32 };

#[tonic::async_trait]
impl Health for AlwaysServing {
    type WatchStream = Pin<Box<dyn futures_util::Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(SERVING))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Ok(Response::new(HealthListResponse { statuses: [(String::new(), SERVING)].into() }))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        use futures_util::StreamExt as _;
        Ok(Response::new(Box::pin(stream::iter([Ok(SERVING)]).chain(stream::pending()))))
    }
}

/// Unique among the sessions of one Engine; it is no secret. The standard library's hasher is keyed at random.
fn random_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    let [one, two] = [RandomState::new().hash_one(std::process::id()), RandomState::new().hash_one("session")];
    format!("{one:016x}{two:016x}")
}
