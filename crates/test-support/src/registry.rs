//! A real registry, and images that are gone afterwards.

use crate::{unique, until};
use fargate_deploy_engine::{Endpoint, Engine, RegistryCredentials};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Debian's registry v2 on a port of its own, with users. The password of the one who deploys needs the URL-safe alphabet in the header.
pub struct Registry {
    pub host: String,
    process: Child,
    _directory: tempfile::TempDir,
    pulled: Mutex<Vec<Removal>>,
}

impl Registry {
    const USER: &'static str = "deploy";
    const PASSWORD: &'static str = "pa~~ss???>>>";
    /// The second one is `puller`, whose password is `only-pulls`: a user whom another client than ours can be.
    const HTPASSWD: &'static str = "deploy:$2y$05$abcdefghijklmnopqrstuuvUC.DWZHYvacDhNxlXq3u.uplPJt5.S\n\
        puller:$2y$05$abcdefghijklmnopqrstuu.zXmdd6Ru59PZRPhPHejXnZFnMB8mqG\n";

    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::write(root.join("htpasswd"), Self::HTPASSWD).unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = serde_json::json!({
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": root.join("data")}},
            "http": {"addr": host},
            "auth": {"htpasswd": {"realm": "test", "path": root.join("htpasswd")}},
        });
        fs::write(root.join("config.yml"), config.to_string()).unwrap();
        let process = Command::new("docker-registry")
            .args(["serve".as_ref(), root.join("config.yml").as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need a registry: apt-get install -y docker-registry");
        let registry = Self { host, process, _directory: directory, pulled: Mutex::default() };
        let url = format!("http://{}/v2/", registry.host);
        until("the registry answers", async || reqwest::get(&url).await.is_ok_and(|answer| answer.status() == 401))
            .await;
        registry
    }

    pub fn credentials(&self) -> RegistryCredentials {
        RegistryCredentials::new(Self::USER, Self::PASSWORD)
    }

    /// A repository that no other test uses; images that get its name here are removed from the Engine.
    pub fn repository(&self, engine: &Engine) -> String {
        let repository = format!("{}/{}", self.host, unique());
        self.pulled.lock().unwrap().push(Removal::of(engine, &format!("{repository}:v1")));
        repository
    }

    /// A manifest or blob as the registry has it, with its digest and media type.
    pub async fn get(&self, repository: &str, path: &str) -> (String, String, serde_json::Value) {
        let name = repository.strip_prefix(&format!("{}/", self.host)).unwrap();
        let answer = reqwest::Client::new()
            .get(format!("http://{}/v2/{name}/{path}", self.host))
            .basic_auth(Self::USER, Some(Self::PASSWORD))
            .header("accept", "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{name}/{path}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let (digest, media_type) = (header("docker-content-digest"), header("content-type"));
        (digest, media_type, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Removes an image by id or name, with all its names, when dropped.
pub struct Removal {
    socket: PathBuf,
    image: String,
}

impl Removal {
    pub fn of(engine: &Engine, image: &str) -> Self {
        let Endpoint::Unix(socket) = &engine.info().endpoint else { panic!("these tests use a local Engine") };
        Self { socket: socket.clone(), image: image.to_owned() }
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        ask(&self.socket, "DELETE", &format!("/images/{}?force=1", self.image));
    }
}

/// One request, synchronously; the answer's head and body as text.
pub fn ask(socket: &Path, method: &str, target: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = UnixStream::connect(socket) {
        let _ = write!(stream, "{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}
