//! What the end-to-end tests share: a small application whose behaviour is chosen by its files, and AWS calls without an
//! SDK, so that the world is looked at by another client than ours.

#![allow(dead_code, reason = "each test binary uses a part")]

use fargate_deploy::commands::deploy::{Ending, Options, deploy};
use fargate_deploy::config::{Request, load};
use fargate_deploy::context::RunContext;
use fargate_deploy::render::log::{Detail, Log, Style};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub type Env = BTreeMap<String, String>;

/// AWS's JSON protocol by hand: no signature is checked by stand-ins.
#[derive(Clone)]
pub struct Aws {
    pub url: String,
    pub region: String,
    pub access_key: String,
    client: reqwest::Client,
}

impl Aws {
    pub fn new(url: impl Into<String>) -> Self {
        let (region, access_key) = ("us-east-1".to_owned(), "stage".to_owned());
        Self { url: url.into(), region, access_key, client: reqwest::Client::new() }
    }

    pub async fn call(&self, service: &str, operation: &str, body: Value) -> Result<Value, String> {
        let prefix = match service {
            "ecs" => "AmazonEC2ContainerServiceV20141113",
            "ecr" => "AmazonEC2ContainerRegistry_V20150921",
            "logs" => "Logs_20140328",
            "ssm" => "AmazonSSM",
            "secretsmanager" => "secretsmanager",
            other => panic!("{other} is not a JSON service"),
        };
        let scope = format!("{}/20261101/{}/{service}/aws4_request", self.access_key, self.region);
        let answer = self
            .client
            .post(&self.url)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("{prefix}.{operation}"))
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"))
            .body(body.to_string())
            .send()
            .await
            .map_err(|e| e.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| e.to_string())?;
        if status.is_success() {
            return Ok(serde_json::from_str(&text).unwrap_or(Value::Null));
        }
        Err(format!("{operation}: {status} {text}"))
    }

    pub async fn service(&self, cluster: &str, service: &str) -> Value {
        let found =
            self.call("ecs", "DescribeServices", json!({"cluster": cluster, "services": [service]})).await.unwrap();
        found["services"][0].clone()
    }
}

/// Waits for a condition, and says which one never came.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never came: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The application: FROM scratch, busybox, a script that serves, one that migrates.
pub struct App {
    pub directory: tempfile::TempDir,
}

/// How the application behaves once it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Serves,
    Crashes,
}

impl App {
    /// `config` is the text of `fargate-deploy.yml`, `definition` that of `task-definition.json`.
    pub fn new(config: &str, definition: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let app = Self { directory };
        app.write("fargate-deploy.yml", config);
        app.write("task-definition.json", &serde_json::to_string_pretty(definition).unwrap());
        app.write(".dockerignore", "fargate-deploy.yml\ntask-definition.json\n");
        app.write(
            "Dockerfile",
            "FROM scratch\nCOPY busybox /bin/sh\nCOPY app /app\nCMD [\"/bin/sh\", \"/app/serve\"]\n",
        );
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
        let busybox = busybox.expect("busybox-static is missing: run scripts/setup");
        std::fs::copy(busybox, app.path().join("busybox")).unwrap();
        app.write("app/www/health", "ok\n");
        app.migrates(0);
        app.release("r0", Behaviour::Serves);
        app
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The next release of the application.
    pub fn release(&self, name: &str, behaviour: Behaviour) {
        self.write("app/www/index.html", &format!("{name}\n"));
        let serve = match behaviour {
            Behaviour::Serves => {
                "trap 'exit 0' TERM\nhttpd -p 3000 -h /app/www\nwhile :; do sleep 0.2; done\n".to_owned()
            }
            Behaviour::Crashes => format!("echo 'KeyError: STRIPE_KEY ({name})' >&2\nexit 1\n"),
        };
        self.write("app/serve", &serve);
    }

    /// The release command ends with this code.
    pub fn migrates(&self, code: i32) {
        self.write(
            "app/migrate",
            &format!("echo migrating >&2\n[ {code} = 0 ] || echo 'ERROR: relation does not exist' >&2\nexit {code}\n"),
        );
    }
}

/// A sink whose lines the test can read.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs `deploy` in this process, as the program would.
pub async fn deploy_from(directory: &Path, env: &Env, options: Options) -> (Ending, String) {
    let lines = Lines::default();
    let log = Arc::new(Log::new(lines.clone(), Style { detail: Detail::Verbose, fence: None }));
    let config = load(&Request::default(), env, directory).unwrap_or_else(|e| panic!("{e}"));
    let context =
        RunContext { sha: Some("0123456789abcdef0123456789abcdef01234567".to_owned()), ..RunContext::default() };
    let ending = deploy(config, options, &context, env, log, std::future::pending()).await;
    (ending, lines.text())
}
