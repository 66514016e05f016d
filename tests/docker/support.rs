//! What every test here needs: an Engine, contexts on disk, a registry, and everything gone afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fargate_deploy::adapters::docker::{
    BuildEvent, BuildRequest, BuiltImage, Endpoint, Engine, EngineError, RegistryCredentials,
};

pub const BUSYBOX: &str = "FROM scratch\nCOPY busybox /bin/busybox\n";

/// The environment of the test, without the user's docker configuration.
pub fn env() -> BTreeMap<String, String> {
    let mut env: BTreeMap<_, _> = std::env::vars().filter(|(name, _)| name != "DOCKER_BUILDKIT").collect();
    env.insert("DOCKER_CONFIG".to_owned(), "/nonexistent".to_owned());
    env
}

pub async fn engine() -> Engine {
    Engine::connect(&env()).await.expect("these tests need a running Docker Engine")
}

pub async fn engine_without_buildkit() -> Engine {
    let mut env = env();
    env.insert("DOCKER_BUILDKIT".to_owned(), "0".to_owned());
    Engine::connect(&env).await.expect("these tests need a running Docker Engine")
}

/// Differs between any two calls of any two runs, so that no test meets another's image or build cache.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("fd-test-{}-{}-{now}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A build context with busybox in it.
pub struct Context(tempfile::TempDir);

impl Context {
    pub fn new(dockerfile: &str) -> Self {
        let context = Self(tempfile::tempdir().unwrap());
        fs::copy("/bin/busybox", context.path().join("busybox"))
            .expect("these tests need a static busybox: apt-get install -y busybox-static");
        context.write("Dockerfile", dockerfile)
    }

    pub fn write(self, name: &str, content: &str) -> Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A file of `length` zeros that takes no room on disk.
    pub fn sparse(self, name: &str, length: u64) -> Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(path).unwrap().set_len(length).unwrap();
        self
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A build of this context whose image no other test has.
    pub fn request(&self) -> BuildRequest {
        let mut request = BuildRequest::new(self.path());
        request.labels.insert("fargate-deploy.test".to_owned(), unique());
        request
    }
}

/// The outcome of a build and all that was told on the way. The image goes when this does.
pub struct Built {
    pub image: BuiltImage,
    pub events: Vec<BuildEvent>,
    _removal: Removal,
}

pub async fn build(engine: &Engine, request: &BuildRequest) -> Result<Built, EngineError> {
    let mut events = Vec::new();
    let image = engine.build(request, &mut |event| events.push(event)).await?;
    let removal = Removal::of(engine, &image.id);
    Ok(Built { image, events, _removal: removal })
}

/// Runs a shell line during a build, so that what it sees is what an image has. The build fails if it does.
pub fn run(script: &str) -> String {
    let words = serde_json::json!(["/bin/busybox", "sh", "-ec", script]);
    format!("RUN {words}\n")
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

/// Removes what the classic builder leaves of an unfinished build: its layers' images, found by a label.
pub struct Leftovers {
    socket: PathBuf,
    label: String,
}

impl Leftovers {
    /// The guard, and a Dockerfile's begin that labels every layer. Classic builds share layers by content, so without a
    /// label of its own one test would remove the parent that another is building upon.
    pub fn of(engine: &Engine) -> (Self, String) {
        let Endpoint::Unix(socket) = &engine.info().endpoint else { panic!("these tests use a local Engine") };
        let label = unique();
        let dockerfile = format!("FROM scratch\nLABEL {label}=1\nCOPY busybox /bin/busybox\n");
        (Self { socket: socket.clone(), label }, dockerfile)
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let label = format!("%22label%22:%5B%22{}%22%5D", self.label);
        let prune = format!("/images/prune?filters=%7B%22dangling%22:%5B%22true%22%5D,{label}%7D");
        let list = format!("/images/json?all=1&filters=%7B{label}%7D");
        // An image stays as long as the container of a cancelled step does, which the Engine removes in its own time.
        for _ in 0..100 {
            ask(&self.socket, "POST", &prune);
            if ask(&self.socket, "GET", &list).ends_with("[]\n") {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
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

/// Waits for `condition`, at most half a minute.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < Duration::from_secs(30), "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

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
