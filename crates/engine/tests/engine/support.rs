//! What every test here needs: an Engine, contexts on disk, and everything gone afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fargate_deploy_engine::{BuildEvent, BuildRequest, BuiltImage, Endpoint, Engine, EngineError};
pub use test_support::{Registry, Removal, ask, unique, until};

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
