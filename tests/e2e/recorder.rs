//! Between the program and everything that it calls: a port that passes every byte on, and keeps it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One connection: what was sent, and what came back.
type Talk = [Arc<Mutex<Vec<u8>>>; 2];

pub struct Recorder {
    address: SocketAddr,
    talks: Arc<Mutex<Vec<Talk>>>,
}

/// What was sent in one request, whole, under a name that says to what.
pub struct Request {
    /// `RunTask`, `AssumeRoleWithWebIdentity`, `GET /path`.
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Recorder {
    pub async fn before(address: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let talks: Arc<Mutex<Vec<Talk>>> = Arc::default();
        let recorder = Self { address: listener.local_addr().unwrap(), talks: Arc::clone(&talks) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(address).await else { continue };
                let talk = Talk::default();
                talks.lock().unwrap().push(talk.clone());
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let [sent, answered] = talk;
                tokio::spawn(pass_on(from_client, to_server, sent));
                tokio::spawn(pass_on(from_server, to_client, answered));
            }
        });
        recorder
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.talks.lock().unwrap().iter().flat_map(|[sent, _]| requests(&sent.lock().unwrap())).collect()
    }

    /// Everything that was answered so far.
    pub fn answers(&self) -> String {
        let talks = self.talks.lock().unwrap();
        talks.iter().map(|[_, answered]| String::from_utf8_lossy(&answered.lock().unwrap()).into_owned()).collect()
    }
}

async fn pass_on(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, kept: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        kept.lock().unwrap().extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// Requests of one connection, each with its body.
fn requests(mut bytes: &[u8]) -> Vec<Request> {
    let mut all = vec![];
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let whole = bytes.len().min(end + 4 + length);
        let body = String::from_utf8_lossy(&bytes[end + 4..whole]).into_owned();
        let target = header("x-amz-target").and_then(|target| target.rsplit('.').next().map(str::to_owned));
        let action = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).map(str::to_owned);
        let line = head.lines().next().unwrap_or_default().rsplit_once(' ').map(|(line, _)| line.to_owned());
        let name = target.or(action).or(line).unwrap_or_default();
        all.push(Request { name, bytes: bytes[..whole].to_vec() });
        bytes = &bytes[whole..];
    }
    all
}
