//! A real BuildKit that is not this machine's Engine to the client: the Engine's own, behind a port with mutual TLS, and
//! behind a command in a container.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fargate_deploy_core::redact::Secret;
use fargate_deploy_engine::{BuildEvent, BuildKit, BuilderAddress, BuilderTls, Endpoint, EngineError, StepState};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs};

use crate::cancel::{is_sleeping, odd_sleep};
use crate::solve::{solve, steps};
use crate::support::{BUSYBOX, Context, Removal, build, engine, env, run, unique, until};

async fn socket() -> PathBuf {
    let Endpoint::Unix(socket) = engine().await.info().endpoint.clone() else {
        panic!("these tests use a local Engine")
    };
    socket
}

/// The door of the Engine's BuildKit as a plain stream.
async fn door(socket: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let ask = "POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// A port that leads to it.
pub struct Machine {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Machine {
    pub async fn start(at: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind((at, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = socket().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let serving = tokio::spawn(async move {
            // The connections end with this task.
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, socket, count) = (tls.clone(), socket.clone(), count.clone());
                open.spawn(async move {
                    match tls {
                        None => carry(stream, &socket, &count).await,
                        Some(tls) => {
                            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                                carry(stream, &socket, &count).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, connections, serving }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn carry(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    socket: &Path,
    count: &AtomicUsize,
) {
    count.fetch_add(1, Ordering::SeqCst);
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut door(socket).await).await;
}

/// An authority, and what it signed for the builder and for us.
struct Certificates {
    folder: tempfile::TempDir,
    server: Arc<ServerConfig>,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let signed = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
            (signed.pem(), key.serialize_pem())
        };
        let (certificate, key) = signed("builder.test");
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        server.alpn_protocols = vec![b"h2".to_vec()];
        let (certificate, key) = signed("deploy.test");
        for (name, text) in [("ca.pem", authority.pem()), ("cert.pem", certificate), ("key.pem", key)] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder, server: Arc::new(server) }
    }

    fn files(&self) -> BuilderTls {
        let path = |name: &str| self.folder.path().join(name);
        BuilderTls {
            ca: path("ca.pem"),
            identity: Some((path("cert.pem"), path("key.pem"))),
            server_name: Some("builder.test".to_owned()),
        }
    }
}

pub fn at(address: SocketAddr, tls: Option<BuilderTls>) -> BuilderAddress {
    BuilderAddress::parse(&format!("tcp://127.0.0.1:{}", address.port()), tls).unwrap()
}

#[tokio::test]
async fn a_build_elsewhere_has_our_files_and_secrets_and_is_known_the_second_time() {
    let certificates = Certificates::new();
    let machine = Machine::start("127.0.0.1", Some(certificates.server.clone())).await;
    let kit = BuildKit::connect(&at(machine.address, Some(certificates.files())), &env()).await.unwrap();
    let script = "/bin/busybox test $(/bin/busybox cat /run/secrets/token) = hidden; /bin/busybox test -s /large";
    let dockerfile =
        format!("{BUSYBOX}COPY large /large\n{}", run(script).replace("RUN ", "RUN --mount=type=secret,id=token "));
    // Random, so that no pipe on the way may think that it knows the rest.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let context = Context::new(&dockerfile);
    fs::write(context.path().join("large"), bytes).unwrap();
    let mut request = context.request();
    request.args.insert("CACHEBUST".to_owned(), unique());
    request.secrets.push(("token".to_owned(), Secret::new(b"hidden".to_vec())));
    let (built, _) = solve(&kit, &request).await;
    assert!(built.unwrap().sent > 3_000_000);
    let (again, events) = solve(&kit, &request).await;
    again.unwrap();
    assert_eq!(steps(&events, &StepState::Completed), 0, "{events:?}");
    assert!(machine.connections.load(Ordering::SeqCst) >= 1);
}

#[tokio::test]
async fn who_is_not_trusted_is_told_so_on_either_side() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let machine = Machine::start("127.0.0.1", Some(ours.server.clone())).await;
    let refused = async |tls: BuilderTls| {
        let error = BuildKit::connect(&at(machine.address, Some(tls)), &env()).await.unwrap_err();
        assert!(matches!(error, EngineError::BuilderUnreachable { .. }), "{error:?}");
        error
    };
    let stranger = refused(theirs.files()).await;
    assert!(
        stranger.to_string().contains("certificate") && stranger.hint().unwrap().contains("builder.ca"),
        "{stranger}"
    );
    let misnamed = refused(BuilderTls { server_name: Some("other.test".to_owned()), ..ours.files() }).await;
    assert!(misnamed.to_string().contains("other.test"), "{misnamed}");
    let unsigned = refused(BuilderTls { identity: theirs.files().identity, ..ours.files() }).await;
    let nobody = refused(BuilderTls { identity: None, ..ours.files() }).await;
    for error in [unsigned, nobody] {
        assert!(error.hint().unwrap().contains("who signed `builder.cert`"), "{error}");
    }
    assert_eq!(machine.connections.load(Ordering::SeqCst), 0, "nobody came as far as the builder");
}

#[tokio::test]
async fn a_builder_that_is_lost_in_the_middle_is_said_to_be() {
    let machine = Machine::start("127.0.0.1", None).await;
    let kit = BuildKit::connect(&at(machine.address, None), &env()).await.unwrap();
    let seconds = odd_sleep(4);
    let context = Context::new(&format!("{BUSYBOX}{}", run(&format!("exec /bin/busybox sleep {seconds}"))));
    let request = context.request();
    let building = tokio::spawn(async move { kit.build(&request, &mut |_: BuildEvent| {}).await });
    until("the step runs", async || is_sleeping(&seconds)).await;
    drop(machine);
    let error = building.await.unwrap().unwrap_err();
    assert!(matches!(error, EngineError::BuilderUnreachable { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("take `builder` out"), "{error:?}");
    until("the step is gone", async || !is_sleeping(&seconds)).await;
}

#[tokio::test]
async fn where_nobody_listens_the_address_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = BuildKit::connect(&at(port, None), &env()).await.unwrap_err();
    assert!(error.to_string().contains(&format!("tcp://127.0.0.1:{}", port.port())), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");

    // Something answers that is no BuildKit.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    let error = BuildKit::connect(&at(address, None), &env()).await.unwrap_err();
    assert!(matches!(error, EngineError::BuilderUnreachable { .. }), "{error:?}");
}

/// One request to the Engine with a body. What it answered.
fn post(socket: &Path, target: &str, body: &str) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A container that goes with this.
struct Running(PathBuf, String);

impl Drop for Running {
    fn drop(&mut self) {
        crate::support::ask(&self.0, "DELETE", &format!("/containers/{}?force=1", self.1));
    }
}

#[tokio::test]
async fn a_builder_in_a_container_is_reached_by_its_own_command() {
    let (engine, socket) = (engine().await, socket().await);
    let machine = Machine::start("0.0.0.0", None).await;
    // `buildctl dial-stdio` is a pipe to the builder; this one leads to the port.
    let dial = format!(
        "#!/bin/busybox sh\ntest \"$1\" = dial-stdio || exit 9\necho started >&2\nexec /bin/busybox nc $(/bin/busybox ip route | /bin/busybox awk '/default/ {{print $3}}') {}\n",
        machine.address.port()
    );
    let context =
        Context::new(&format!("{BUSYBOX}COPY buildctl /bin/buildctl\nCMD [\"/bin/busybox\", \"sleep\", \"600\"]\n"))
            .write("buildctl", &dial);
    fs::set_permissions(context.path().join("buildctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let image = build(&engine, &context.request()).await.unwrap();
    let name = unique();
    let create = serde_json::json!({ "Image": image.image.id }).to_string();
    let created = post(&socket, &format!("/containers/create?name={name}"), &create);
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    let running = Running(socket.clone(), name.clone());
    assert!(post(&socket, &format!("/containers/{name}/start"), "").starts_with("HTTP/1.1 204"));

    let address = BuilderAddress::parse(&format!("docker-container://{name}"), None).unwrap();
    let kit = BuildKit::connect(&address, &env()).await.unwrap();
    let inside = Context::new(&format!("{BUSYBOX}COPY app /app\n")).write("app", "app");
    solve(&kit, &inside.request()).await.0.unwrap();
    assert!(machine.connections.load(Ordering::SeqCst) >= 1, "it went through the container");

    drop(running);
    let error = BuildKit::connect(&address, &env()).await.unwrap_err().to_string();
    assert!(error.contains(&name) && error.to_lowercase().contains("no such container"), "{error}");
}

#[tokio::test]
async fn a_container_without_the_command_says_so() {
    let (engine, socket) = (engine().await, socket().await);
    let context = Context::new(&format!("{BUSYBOX}CMD [\"/bin/busybox\", \"sleep\", \"600\"]\n"));
    let image = build(&engine, &context.request()).await.unwrap();
    let _removal = Removal::of(&engine, &image.image.id);
    let name = unique();
    let create = serde_json::json!({ "Image": image.image.id }).to_string();
    assert!(post(&socket, &format!("/containers/create?name={name}"), &create).starts_with("HTTP/1.1 201"));
    let _running = Running(socket.clone(), name.clone());
    assert!(post(&socket, &format!("/containers/{name}/start"), "").starts_with("HTTP/1.1 204"));
    let address = BuilderAddress::parse(&format!("docker-container://{name}"), None).unwrap();
    let error = BuildKit::connect(&address, &BTreeMap::from_iter(env())).await.unwrap_err().to_string();
    assert!(error.contains("buildctl"), "{error}");
}
