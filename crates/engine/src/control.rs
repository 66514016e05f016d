//! BuildKit's own API, wherever it listens: on a socket, on another machine, in a container.
//!
//! <https://github.com/moby/buildkit/blob/master/api/services/control/control.proto>

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::ListWorkersRequest;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::Status;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint as Http};

use super::Engine;
use super::config_auth::DockerConfig;
use super::container_pipe::ContainerPipe;
use super::error::EngineError;
use super::http::{BoxIo, Call, Transport};

const CONNECT: Duration = Duration::from_secs(10);
/// A builder that answers nothing for so long, not even a ping of HTTP/2, is gone.
const SILENCE: Duration = Duration::from_secs(20);
/// A status message carries what all steps wrote since the last one.
const LARGEST_MESSAGE: usize = 64 << 20;

/// Where a BuildKit listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuilderAddress {
    /// `unix://PATH`
    Unix(PathBuf),
    /// `tcp://HOST:PORT`
    Tcp { address: String, tls: Option<BuilderTls> },
    /// `docker-container://NAME`: by `buildctl dial-stdio` in a container of the Docker Engine.
    Container(String),
}

/// PEM files for a connection with TLS, mutual where a certificate of our own is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuilderTls {
    /// Who may have signed the builder's certificate. The machine's own authorities count for nothing here.
    pub ca: PathBuf,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the builder's certificate, where it is not the address's host.
    pub server_name: Option<String>,
}

impl fmt::Display for BuilderAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { address, .. } => write!(f, "tcp://{address}"),
            Self::Container(name) => write!(f, "docker-container://{name}"),
        }
    }
}

impl BuilderAddress {
    /// Reads `unix://PATH`, `tcp://HOST:PORT` and `docker-container://NAME`.
    ///
    /// # Errors
    /// Why it is none of them, in one clause.
    pub fn parse(text: &str, tls: Option<BuilderTls>) -> Result<Self, String> {
        let is_name = |name: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_plain)
        };
        let found = match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Self::Unix(path.into()),
            Some(("unix", _)) => return Err("the path must be absolute".to_owned()),
            Some(("tcp", address)) => {
                let address = address.trim_end_matches('/');
                let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
                match port.map(str::parse::<u16>) {
                    Some(Ok(port)) if port > 0 => Self::Tcp { address: address.to_owned(), tls: tls.clone() },
                    _ => return Err("expected tcp://HOST:PORT".to_owned()),
                }
            }
            Some(("docker-container", name)) if is_name(name) => Self::Container(name.to_owned()),
            _ => return Err("expected tcp://HOST:PORT, unix://PATH or docker-container://NAME".to_owned()),
        };
        match (&found, tls) {
            (Self::Tcp { .. }, _) | (_, None) => Ok(found),
            _ => Err("certificates are for tcp:// only".to_owned()),
        }
    }
}

/// A BuildKit that answered. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BuildKit {
    pub(super) dialer: Dialer,
    pub(super) client: ControlClient<Channel>,
    pub(super) config: Arc<DockerConfig>,
    /// `linux/amd64`, the builder's own first.
    platforms: Vec<String>,
}

impl BuildKit {
    /// # Errors
    /// `Config` for files that are none of what they should be; `Unreachable` where nobody answers, or who answers is not trusted.
    pub async fn connect(address: &BuilderAddress, env: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let dialer = match address {
            BuilderAddress::Unix(path) => Dialer::Unix(path.clone()),
            BuilderAddress::Tcp { address, tls } => {
                let tls = tls.as_ref().map(|files| connector(address, files)).transpose()?;
                Dialer::Tcp { address: address.clone(), tls }
            }
            BuilderAddress::Container(name) => {
                let engine = Engine::connect(env).await?;
                Dialer::Container { engine: engine.transport, name: name.clone() }
            }
        };
        Self::over(dialer, Arc::new(DockerConfig::load(env))).await
    }

    async fn over(dialer: Dialer, config: Arc<DockerConfig>) -> Result<Self, EngineError> {
        let http = Http::from_static("http://buildkit")
            .http2_keep_alive_interval(SILENCE)
            .keep_alive_timeout(SILENCE)
            .keep_alive_while_idle(true);
        let connecting = timeout(CONNECT, http.connect_with_connector(Connector(dialer.clone())));
        let channel = connecting.await.map_err(|_| dialer.silent())?.map_err(|error| dialer.unreachable(&error))?;
        let mut client = ControlClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE);
        let workers = timeout(CONNECT, client.list_workers(ListWorkersRequest::default())).await;
        let workers = workers
            .map_err(|_| dialer.silent())?
            .map_err(|status| dialer.refused("asking for its workers", &status))?;
        let workers = workers.into_inner().record;
        let platforms = workers.iter().flat_map(|worker| &worker.platforms).map(|platform| {
            let variant =
                Some(&platform.variant).filter(|v| !v.is_empty()).map(|v| format!("/{v}")).unwrap_or_default();
            format!("{}/{}{variant}", platform.os, platform.architecture)
        });
        Ok(Self { platforms: platforms.collect(), dialer, client, config })
    }

    /// What it builds for without being told.
    pub fn platform(&self) -> Option<&str> {
        self.platforms.first().map(String::as_str)
    }
}

/// How to reach one BuildKit, again for each connection.
#[derive(Clone, Debug)]
pub(super) enum Dialer {
    Unix(PathBuf),
    Tcp { address: String, tls: Option<Tls> },
    Container { engine: Transport, name: String },
}

#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?})", self.name)
    }
}

impl Dialer {
    async fn dial(&self) -> io::Result<BoxIo> {
        Ok(match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp { address, tls } => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                match tls {
                    None => Box::new(stream),
                    Some(tls) => {
                        Box::new(TlsConnector::from(tls.config.clone()).connect(tls.name.clone(), stream).await?)
                    }
                }
            }
            Self::Container { engine, name } => {
                let what = format!("running `buildctl` in the container `{name}`");
                let command = json!({ "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
                                      "Cmd": ["buildctl", "dial-stdio"] });
                let call = Call::new(&what, Method::POST, format!("/containers/{name}/exec")).with_json(&command);
                let exec = engine.json(call).await.map_err(io::Error::other)?;
                let exec = exec["Id"].as_str().unwrap_or_default();
                let call = Call::new(&what, Method::POST, format!("/exec/{exec}/start"))
                    .with_json(&json!({ "Detach": false, "Tty": false }));
                Box::new(ContainerPipe::new(hijack(engine, call, "tcp").await?))
            }
        })
    }

    /// Words for a connection that was not made, or broke.
    pub fn unreachable(&self, error: &dyn std::error::Error) -> EngineError {
        let mut reasons: Vec<String> = vec![];
        let mut next = Some(error);
        while let Some(error) = next {
            let said = error.to_string();
            // What wraps it repeats it, or says that something went wrong with the transport.
            if !said.is_empty() && said != "transport error" && !reasons.iter().any(|reason| reason.contains(&said)) {
                reasons.push(said);
            }
            next = error.source();
        }
        self.away(reasons.pop().unwrap_or_else(|| "the connection broke".to_owned()))
    }

    fn away(&self, why: String) -> EngineError {
        EngineError::BuilderUnreachable { endpoint: self.to_string(), why }
    }

    pub fn silent(&self) -> EngineError {
        self.away(format!("no answer within {} s", CONNECT.as_secs()))
    }

    /// What the builder itself answered, or that it did not.
    pub fn refused(&self, what: &str, status: &Status) -> EngineError {
        match std::error::Error::source(status) {
            Some(broken) => self.unreachable(broken),
            None => self.away(format!("{what}: {}", status.message())),
        }
    }
}

impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { address, .. } => write!(f, "tcp://{address}"),
            Self::Container { name, .. } => write!(f, "docker-container://{name}"),
        }
    }
}

/// A request whose connection becomes a stream of bytes in both directions.
/// <https://docs.docker.com/reference/api/engine/version/v1.47/#tag/Container/operation/ContainerAttach>
async fn hijack(transport: &Transport, mut call: Call<'_>, protocol: &'static str) -> io::Result<BoxIo> {
    call.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    call.headers.insert(UPGRADE, HeaderValue::from_static(protocol));
    let answer = transport.send(call).await.map_err(io::Error::other)?;
    // The stream has left the connection's task when it is here.
    let stream = hyper::upgrade::on(answer.response).await.map_err(io::Error::other)?;
    Ok(Box::new(TokioIo::new(stream)))
}

/// What the client of gRPC asks for a connection.
struct Connector(Dialer);

impl Service<Uri> for Connector {
    type Response = TokioIo<BoxIo>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<BoxIo>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(dialer.dial().await?)) })
    }
}

fn connector(address: &str, files: &BuilderTls) -> Result<Tls, EngineError> {
    let refuse = |path: &PathBuf, why: String| EngineError::config(format!("builder: `{}`", path.display()), why);
    let certificates = |path: &PathBuf| -> Result<Vec<CertificateDer<'static>>, EngineError> {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let read = read.map_err(|error| refuse(path, error.to_string()))?;
        if read.is_empty() { Err(refuse(path, "no certificate in it".to_owned())) } else { Ok(read) }
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).map_err(|error| refuse(&files.ca, error.to_string()))?;
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| EngineError::config("builder", error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &files.identity {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse(key, error.to_string()))?;
            config.with_client_auth_cert(chain, private).map_err(|error| refuse(key, error.to_string()))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = files.server_name.as_deref().unwrap_or(host);
    let server = ServerName::try_from(name.to_owned());
    let name = server.map_err(|_| EngineError::config("builder", format!("`{name}` is no name of a server")))?;
    Ok(Tls { config: Arc::new(config), name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_three_forms() {
        for text in [
            "tcp://buildkit.internal:1234",
            "tcp://[::1]:8372",
            "unix:///run/buildkit/buildkitd.sock",
            "docker-container://buildx_0",
        ] {
            assert_eq!(BuilderAddress::parse(text, None).unwrap().to_string(), text);
        }
        for text in [
            "",
            "buildkit:1234",
            "tcp://buildkit",
            "tcp://:1234",
            "tcp://b:0",
            "tcp://b:x",
            "unix://run/b.sock",
            "docker-container://a/b",
            "docker-container://",
            "ssh://b",
            "http://b:1",
        ] {
            assert!(BuilderAddress::parse(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn certificates_belong_to_tcp() {
        let tls = BuilderTls { ca: "ca.pem".into(), ..BuilderTls::default() };
        assert!(BuilderAddress::parse("tcp://b:1", Some(tls.clone())).is_ok());
        assert_eq!(BuilderAddress::parse("unix:///b", Some(tls)), Err("certificates are for tcp:// only".to_owned()));
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "not a certificate").unwrap();
        let files = BuilderTls { ca: path.clone(), ..BuilderTls::default() };
        let refused = connector("b:1", &files).unwrap_err().to_string();
        assert_eq!(refused, format!("builder: `{}`: no certificate in it", path.display()));
    }
}
