//! `rehearse --serve` as a process of its own, for clients that are not ours.

use crate::program::{BINARY, scrubbed};
use crate::scene::{Images, docker, get};
use aws_stage::LABEL;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use test_support::{Env, eventually};

pub struct Served {
    child: tokio::process::Child,
    /// What it tells other clients to export.
    pub env: Env,
    /// Its label on everything that it made.
    label: String,
    images: Images,
}

impl Served {
    pub async fn open(directory: &Path) -> Self {
        Self::open_with(directory, &[], &Env::new()).await
    }

    pub async fn open_with(directory: &Path, arguments: &[&str], env: &Env) -> Self {
        let out = tempfile::NamedTempFile::new().unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = scrubbed(BINARY);
        command.args(["rehearse", "--serve"]).args(arguments).arg(directory).envs(env).stdin(Stdio::null());
        command.stdout(out.reopen().unwrap()).stderr(log.reopen().unwrap());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        let text = || std::fs::read_to_string(out.path()).unwrap();
        loop {
            if text().lines().any(|line| line == "ready") {
                break;
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", std::fs::read_to_string(log.path()).unwrap());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let env: Env = text()
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .collect();
        let images = Images::of(&env["FARGATE_DEPLOY_STAGE_URL"]);
        let all = docker(&["ps", "--format", &format!("{{{{.Label \"{LABEL}\"}}}} {{{{.Image}}}}")]);
        let mut fields = all.lines().filter_map(|line| line.split_once(' '));
        let (id, _) = fields.find(|(_, image)| images.are_of(image)).expect("no container of the stage was found");
        Self { child, env, label: format!("label={LABEL}={id}"), images }
    }

    pub async fn answer(&self) -> Option<String> {
        get(&format!("{}/", self.env["FARGATE_DEPLOY_URL_WEB"])).await
    }

    pub async fn calls(&self) -> Vec<Value> {
        let text = get(&format!("{}/_stage/calls", self.env["FARGATE_DEPLOY_STAGE_URL"])).await.unwrap();
        let calls: Value = serde_json::from_str(&text).unwrap();
        calls["calls"].as_array().unwrap().clone()
    }

    /// Calls that could have changed something.
    pub async fn mutations_since(&self, mark: usize) -> Vec<String> {
        let calls = self.calls().await;
        let mutating = calls[mark..].iter().filter(|call| call["mutating"] == true);
        mutating.map(|call| format!("{}:{}", call["service"], call["operation"]).replace('"', "")).collect()
    }

    /// Ends it as a person does; it takes everything along.
    pub async fn close(mut self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let status = self.child.wait().await.unwrap();
        assert!(status.success(), "{status}");
        assert_eq!(docker(&["ps", "-aq", "--filter", &self.label]), "", "containers are left");
        assert_eq!(docker(&["network", "ls", "-q", "--filter", &self.label]), "", "networks are left");
        let port: String = self.images.registry().to_owned();
        drop(self);
        eventually("the port is closed", || async {
            tokio::net::TcpStream::connect(port.trim_end_matches('/')).await.is_err().then_some(())
        })
        .await;
    }
}
