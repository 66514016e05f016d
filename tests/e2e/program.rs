//! The program as a child process, without anything of this process's environment.

#![allow(dead_code, reason = "each test binary uses a part")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use test_support::{Env, eventually};

pub const BINARY: &str = env!("CARGO_BIN_EXE_fargate-deploy");

/// A command that inherits nothing but what finds programs and the Docker Engine.
pub fn scrubbed(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "DOCKER_HOST", "TMPDIR", "LANG"] {
        if let Ok(value) = std::env::var(name) {
            command.env(name, value);
        }
    }
    command
}

/// Which run of the workflow a process is.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: u64,
    pub attempt: u32,
    pub sha: String,
}

/// Starts runs of a workflow, each with its own id.
pub struct Program {
    pub env: Env,
    runs: AtomicU32,
    home: tempfile::TempDir,
}

impl Program {
    pub fn new(env: Env) -> Self {
        Self { env, runs: AtomicU32::new(0), home: tempfile::tempdir().unwrap() }
    }

    /// `deploy --json`, as a job of GitHub Actions on commit `sha`.
    pub fn start(&self, arguments: &[&str], directory: &Path, sha: &str) -> Running {
        self.begin("deploy", arguments, &[], directory, sha)
    }

    /// The same of any command, with more variables.
    pub fn begin(
        &self,
        name: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
        directory: &Path,
        sha: &str,
    ) -> Running {
        let id = 7_000_000 + u64::from(self.runs.fetch_add(1, Ordering::SeqCst));
        self.run(&Job { id, attempt: 1, sha: sha.to_owned() }, name, arguments, variables, directory)
    }

    /// A command as it is typed, in no job.
    pub fn typed(&self, arguments: &[&str], variables: &[(&str, &str)], directory: &Path) -> Typed {
        let number = self.runs.fetch_add(1, Ordering::SeqCst);
        let file = |what: &str| self.home.path().join(format!("typed-{number}.{what}"));
        let (out, err) = (file("out"), file("err"));
        let mut command = scrubbed(BINARY);
        command.args(arguments).current_dir(directory).envs(&self.env).env("HOME", self.home.path()).env("USER", "ada");
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(std::fs::File::create(&out).unwrap());
        command.stderr(std::fs::File::create(&err).unwrap());
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        Typed { child, out, err }
    }

    /// `deploy` as a job of the caller's choice.
    pub fn start_job(&self, job: &Job, arguments: &[&str], directory: &Path) -> Running {
        self.run(job, "deploy", arguments, &[], directory)
    }

    fn run(&self, job: &Job, name: &str, arguments: &[&str], variables: &[(&str, &str)], directory: &Path) -> Running {
        let file = |what: &str| self.home.path().join(format!("{}-{}.{what}", job.id, job.attempt));
        let running =
            Files { json: file("json"), log: file("log"), outputs: file("outputs"), summary: file("summary") };
        let mut command = scrubbed(BINARY);
        command.args([name, "--json"]).args(arguments).current_dir(directory).envs(&self.env);
        command
            .env("HOME", self.home.path())
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_SHA", &job.sha)
            .env("GITHUB_REF_NAME", "main")
            .env("GITHUB_REPOSITORY", "acme/shop")
            .env("GITHUB_RUN_ID", job.id.to_string())
            .env("GITHUB_RUN_ATTEMPT", job.attempt.to_string())
            .env("GITHUB_ACTOR", "octocat")
            .env("GITHUB_OUTPUT", &running.outputs)
            .env("GITHUB_STEP_SUMMARY", &running.summary)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&running.json).unwrap())
            .stderr(std::fs::File::create(&running.log).unwrap());
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        Running { child, files: running }
    }
}

/// A command as a person types it at a terminal, with standard output and standard error apart.
pub struct Typed {
    child: tokio::process::Child,
    out: PathBuf,
    err: PathBuf,
}

impl Typed {
    pub fn said(&self) -> String {
        read(&self.err)
    }

    pub fn printed(&self) -> String {
        read(&self.out)
    }

    pub async fn prints(&self, text: &str) {
        eventually(text, || async { self.printed().contains(text).then_some(()) }).await;
    }

    pub async fn says(&self, text: &str) {
        eventually(text, || async { self.said().contains(text).then_some(()) }).await;
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().expect("it has ended already").to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Code, standard output, standard error.
    pub async fn ended(mut self) -> (i32, String, String) {
        let status = self.child.wait().await.unwrap();
        (status.code().unwrap_or(-1), self.printed(), self.said())
    }
}

struct Files {
    json: PathBuf,
    log: PathBuf,
    outputs: PathBuf,
    summary: PathBuf,
}

/// A run that has not ended.
pub struct Running {
    child: tokio::process::Child,
    files: Files,
}

/// How a run ended.
pub struct Run {
    pub code: i32,
    /// What a person reads.
    pub log: String,
    /// The one object on standard output.
    pub json: Value,
    /// The Action's outputs.
    pub outputs: Env,
    pub summary: String,
}

impl Running {
    pub async fn says(&self, text: &str) {
        eventually(text, || async { read(&self.files.log).contains(text).then_some(()) }).await;
    }

    pub fn signal(&self, name: &str) {
        let id = self.id().expect("it has ended already").to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// `None` once it has ended and that was seen.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The file that a person's lines go to.
    pub fn log(&self) -> &Path {
        &self.files.log
    }

    /// Waits for the end of a process that may be killed: `None` if it was.
    pub async fn ended_or_killed(mut self) -> Option<Run> {
        let status = self.child.wait().await.unwrap();
        status.code()?;
        Some(self.ended().await)
    }

    /// Of a run that could not say how it ended: its code, and what it printed.
    pub async fn cut_off(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().await.unwrap();
        (status.code(), read(&self.files.log))
    }

    /// Of a command that prints an object a line: its code and these.
    pub async fn objects(mut self) -> (i32, Vec<Value>) {
        let status = self.child.wait().await.unwrap();
        let text = read(&self.files.json);
        let log = read(&self.files.log);
        let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:?}\n{log}"));
        (status.code().unwrap_or(-1), text.lines().map(object).collect())
    }

    pub async fn ended(mut self) -> Run {
        let status = self.child.wait().await.unwrap();
        let text = read(&self.files.json);
        let log = read(&self.files.log);
        Run {
            code: status.code().unwrap_or(-1),
            json: serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text:?}\n{log}")),
            log,
            outputs: outputs(&read(&self.files.outputs)),
            summary: read(&self.files.summary),
        }
    }
}

impl Run {
    pub fn digest(&self) -> &str {
        self.json["digest"].as_str().unwrap_or_else(|| panic!("no digest: {}\n{}", self.json, self.log))
    }

    /// It ended in this way, everywhere where it says so.
    pub fn failed(&self, code: i32, reason: &str) {
        assert_eq!(self.code, code, "{}", self.log);
        assert_eq!(self.json["exit-code"], code, "{}", self.log);
        assert_eq!(self.json["outcome"], "failed", "{}", self.log);
        assert_eq!(self.json["failure-reason"], reason, "{}", self.log);
        assert_eq!(self.outputs["failure-reason"], reason, "{}", self.log);
        assert!(self.log.contains(&format!("✗ {reason}: ")), "{}", self.log);
        assert_eq!(self.log.matches("::error ").count(), 1, "{}", self.log);
    }

    pub fn succeeded(&self, outcome: &str) {
        assert_eq!((self.code, self.json["outcome"].as_str()), (0, Some(outcome)), "{}", self.log);
        assert_eq!(self.outputs["outcome"], outcome);
        assert_eq!(self.json["failure-reason"], Value::Null);
    }

    /// The last line that is not a fence around it.
    pub fn last_line(&self) -> &str {
        let is_fence = |line: &&str| line.starts_with("::") || line.trim().is_empty();
        self.log.lines().rev().find(|line| !is_fence(line)).unwrap_or_default().trim()
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// `NAME<<FENCE` to `FENCE`, or `NAME=VALUE`.
fn outputs(text: &str) -> Env {
    let mut outputs = Env::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((name, fence)) = line.split_once("<<") {
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != fence).collect();
            outputs.insert(name.to_owned(), value.join("\n"));
        } else if let Some((name, value)) = line.split_once('=') {
            outputs.insert(name.to_owned(), value.to_owned());
        }
    }
    outputs
}
