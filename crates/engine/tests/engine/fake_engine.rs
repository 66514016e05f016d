//! An Engine that answers what a test tells it to, for versions and failures that the real one here does not have.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// Status and body for `METHOD /path`; `None` closes the connection without an answer.
pub type Script = dyn Fn(&str) -> Option<(u16, String)> + Send + Sync;

pub struct FakeEngine {
    directory: tempfile::TempDir,
    pub seen: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl FakeEngine {
    /// Says that it is `api` (and no older than `minimum`) and otherwise follows `script`.
    pub fn start(api: &'static str, minimum: &'static str, script: Box<Script>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), seen.clone());
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, log) = (script.clone(), log.clone());
                let answer = service_fn(move |request: Request<Incoming>| {
                    let line = format!("{} {}", request.method(), request.uri().path());
                    log.lock().unwrap().push(line.clone());
                    let answer = match line.as_str() {
                        "GET /_ping" => Some((200, "OK".to_owned())),
                        "GET /version" => Some((200, version(api, minimum))),
                        _ => script(&line),
                    };
                    async move {
                        let (status, body) = answer.ok_or_else(|| std::io::Error::other("no answer"))?;
                        let response = Response::builder().status(status).header("api-version", api);
                        response.body(Full::new(Bytes::from(body))).map_err(std::io::Error::other)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { directory, seen, server }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn version(api: &str, minimum: &str) -> String {
    let version = serde_json::json!({
        "Version": "99.0", "ApiVersion": api, "MinAPIVersion": minimum, "Os": "linux", "Arch": "arm64",
    });
    version.to_string()
}
