//! A shop with one service or with three, what a job of it finds in its environment, and the commands of the job.

use super::server::Server;
use crate::story::fake::builder::FakeBuilder;
use crate::story::fake::task::Run;
use crate::story::fake::{clock, is_settled};
use crate::story::scene::{Scene, shop_of_three};
use aws_stage::github::{GitHub, PullRequest};
use fargate_deploy::cli::{Arguments, Command as Given};
use fargate_deploy::commands::deploy::{Machine, Options, conclude, deploy_with};
use fargate_deploy::commands::lock::lock;
use fargate_deploy::commands::plan::{PlanOptions, plan};
use fargate_deploy::commands::post::post;
use fargate_deploy::config::{Config, Request, SmokeCheck};
use fargate_deploy::context::RunContext;
use fargate_deploy::render::log::{Detail, Log, Style};
use fargate_deploy_core::comment::{Key, Marker};
use fargate_deploy_core::outcome::Outcome;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use test_support::Lines;

const SHA: &str = "4f2c1d6b0d9f4b1d8a7c3e5f60718293a4b5c6d7";
const PULL: u64 = 7;
const ROLE: &str = "arn:aws:iam::111122223333:role/deploy";

const CONFIG: &str = r#"
region: eu-central-1
role: arn:aws:iam::111122223333:role/deploy
cluster: shop
images:
  app: { repository: shop-app, context: ., tags: ["{sha}"] }
release:
  - { name: migrate, service: web, command: [yarn, migrate] }
services:
  web: { containers: { app: app } }
"#;

pub struct Shop {
    pub scene: Scene,
    pub server: Server,
    config: Config,
    folder: tempfile::TempDir,
}

/// Which run of the workflow, of which commit.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    run: &'static str,
    attempt: &'static str,
    sha: &'static str,
    /// What its build context holds.
    content: &'static str,
}

pub const FIRST: Job = Job { run: "1001", attempt: "1", sha: SHA, content: "new" };
/// The same run, started again.
pub const SECOND: Job = Job { attempt: "2", ..FIRST };
/// The run of the next commit.
pub const NEWER: Job =
    Job { run: "1002", attempt: "1", sha: "9a0b1c2d6b0d9f4b1d8a7c3e5f60718293a4b5c6", content: "newer" };

/// How a command ended, and everything that it said.
#[derive(Debug)]
pub struct Ended {
    pub code: u8,
    pub said: String,
}

/// What the log of a command is written to.
struct Console {
    said: Lines,
    log: Arc<Log<Lines>>,
}

impl Console {
    fn new() -> Self {
        let said = Lines::default();
        let style = Style { detail: Detail::Normal, fence: Some("fence".to_owned()) };
        Self { log: Arc::new(Log::new(said.clone(), style)), said }
    }

    fn ended(&self, outcome: &Outcome, env: &BTreeMap<String, String>) -> Ended {
        self.exited(conclude(outcome, None::<&mut Vec<u8>>, env, &self.log))
    }

    fn exited(&self, code: u8) -> Ended {
        Ended { code, said: self.said.text() }
    }
}

/// What is in the world after a command, of what it may not have twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// Tasks of release commands.
    pub commands: usize,
    /// Of all services, since the beginning.
    pub deployments: usize,
    pub revisions: usize,
    /// `web:42` for each service, and whether all of their tasks run it and nothing else is on its way.
    pub runs: Vec<String>,
    pub is_settled: bool,
    /// All that were ever held; `None`: nobody ever had one.
    pub is_lease_released: Option<bool>,
    pub is_locked: bool,
}

impl Shop {
    /// `web` runs `web:41`; the commit was merged from a pull request that shows a plan.
    pub async fn open() -> Self {
        Self::open_with(Scene::new().next_runs([Run::exits(0).after(4).says(1.0, "CREATE TABLE")])).await
    }

    /// Three services of two images, with two commands before them and one after.
    pub async fn of_three() -> Self {
        Self::open_with(shop_of_three().next_runs((0..3).map(|_| Run::exits(0).after(4)))).await
    }

    async fn open_with(scene: Scene) -> Self {
        let github = GitHub::new("org/shop", 2002);
        github.add_pull_request(PullRequest { number: PULL, head: "abc".to_owned(), merged_as: Some(SHA.to_owned()) });
        let key = Key::new("service web", None, "shop", None);
        let shown = Marker { key, head: "abc".to_owned(), digest: String::new() }.body("the plan");
        github.add_comment(PULL, "github-actions[bot]", &shown);
        let server = Server::start(scene.cloud.clone(), github).await;
        let mut config = scene.order.config.clone();
        config.roles = vec![ROLE.into()];
        config.services[0].smoke = vec![SmokeCheck {
            url: format!("{}/health", server.url).as_str().into(),
            status: 200,
            within: Duration::from_secs(180),
            contains: None,
        }];
        Self { scene, server, config, folder: tempfile::tempdir().unwrap() }
    }

    /// What runs after a deploy, which no smoke check likes.
    pub fn breaks(mut self) -> Self {
        self.server.played.is_shop_broken.set(true);
        self.config.services[0].smoke[0].within = Duration::from_secs(10);
        self
    }

    fn env(&self, job: Job) -> BTreeMap<String, String> {
        let mut env: BTreeMap<_, _> = self.server.github().env(&self.server.url).into_iter().collect();
        let folder = self.folder.path().display().to_string();
        let token = format!("{}/token?api-version=2.0", self.server.url);
        for (name, value) in [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SHA", job.sha),
            ("GITHUB_ACTOR", "ada"),
            ("GITHUB_RUN_ID", job.run),
            ("GITHUB_RUN_ATTEMPT", job.attempt),
            ("RUNNER_TEMP", &folder),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", &token),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL", &self.server.url),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        env
    }

    pub async fn deploy(&self, job: Job) -> Ended {
        self.deploy_until(job, pending()).await
    }

    pub async fn deploy_until(&self, job: Job, interrupt: impl Future<Output = ()>) -> Ended {
        let (env, console) = (self.env(job), Console::new());
        let builder = FakeBuilder {
            content: RefCell::new(job.content.to_owned()),
            ..FakeBuilder::new(self.scene.journal.clone(), self.scene.cloud.clone())
        };
        let machine = Machine { builder: &builder, clock };
        let context = RunContext::read(&env, self.folder.path());
        let (config, sink) = (self.config.clone(), console.log.clone());
        let deploying = deploy_with(&machine, config, Options::default(), &context, &env, sink, interrupt);
        let ending = Box::pin(deploying).await;
        console.ended(&ending, &env)
    }

    /// Killed while the service rolls out.
    pub async fn deploy_until_killed(&self) {
        let is_time = async {
            while self.world().deployments == 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            ended = self.deploy(FIRST) => unreachable!("{ended:?}"),
            () = is_time => {}
        }
    }

    /// Of the pull request, with the comment.
    pub async fn plan(&self) -> Ended {
        let head = json!({ "sha": "abc", "repo": { "full_name": "org/shop" } });
        self.plan_on("pull_request", json!({ "pull_request": { "number": PULL, "state": "open", "head": head } })).await
    }

    /// With the comment, of the pull request that an event is about, if any.
    pub async fn plan_on(&self, name: &str, event: Value) -> Ended {
        let (mut env, console) = (self.env(FIRST), Console::new());
        let folder = self.folder.path();
        let file = folder.join("event.json");
        std::fs::write(&file, event.to_string()).unwrap();
        std::fs::write(folder.join("fargate-deploy.yml"), CONFIG).unwrap();
        std::fs::write(folder.join("Dockerfile"), "FROM scratch\n").unwrap();
        env.insert("GITHUB_EVENT_NAME".to_owned(), name.to_owned());
        env.insert("GITHUB_EVENT_PATH".to_owned(), file.display().to_string());
        let how = PlanOptions { builds_images: Some(false), comments: true, ..PlanOptions::default() };
        let request = Request::default();
        let planning = plan(&request, how, &env, folder, console.log.clone(), pending());
        let ending = Box::pin(planning).await;
        console.ended(&ending, &env)
    }

    /// `acquire`, `release` or `status`.
    pub async fn lock(&self, action: &str) -> Ended {
        let (env, console) = (self.env(FIRST), Console::new());
        let words = format!("fargate-deploy lock {action} --cluster shop --service web --role {ROLE} --reason demo");
        let arguments = Arguments::read(words.split(' ').map(str::to_owned).collect(), &env).unwrap();
        let Given::Lock(flags) = &arguments.command else { unreachable!() };
        let locking = lock(flags, &arguments, &env, self.folder.path(), console.log.clone());
        match Box::pin(locking).await {
            Ok(lines) => {
                console.log.finish(&lines.iter().map(|line| line.text()).collect::<Vec<_>>());
                console.exited(0)
            }
            Err(failure) => console.ended(&failure.into(), &env),
        }
    }

    /// Of the Action, after the job.
    pub async fn post(&self) -> Ended {
        let (env, console) = (self.env(FIRST), Console::new());
        let lines = post(&env, console.log.clone()).await;
        console.log.finish(&lines);
        console.exited(0)
    }

    pub fn world(&self) -> World {
        let names = || self.config.services.iter().map(|service| service.key.as_str());
        let released: Vec<_> = names().filter_map(|name| self.scene.lease(name)["isReleased"].as_bool()).collect();
        let aws = self.scene.cloud.aws();
        let services: Vec<_> = names().map(|name| &aws.services[name]).collect();
        World {
            commands: aws.tasks.iter().filter(|t| t.service.is_none()).count(),
            deployments: aws.service_deployments.len() - services.len(),
            revisions: aws.definitions.values().map(|all| all.len() - 1).sum(),
            runs: services.iter().map(|service| service.task_definition.short().to_owned()).collect(),
            is_settled: services.iter().all(|service| is_settled(service)),
            is_lease_released: (!released.is_empty()).then(|| released.iter().all(|is_released| *is_released)),
            is_locked: aws.parameters.keys().any(|name| !name.ends_with(|c: char| c.is_ascii_digit())),
        }
    }

    pub fn untouched(&self) -> World {
        World {
            commands: 0,
            deployments: 0,
            revisions: 0,
            runs: self.all_run(41),
            is_settled: true,
            is_lease_released: None,
            is_locked: false,
        }
    }

    /// By an undisturbed run.
    pub fn deployed(&self) -> World {
        let services = self.config.services.len();
        World {
            commands: self.config.release.len(),
            deployments: services,
            revisions: services,
            runs: self.all_run(42),
            is_settled: true,
            is_lease_released: Some(true),
            is_locked: false,
        }
    }

    fn all_run(&self, revision: u32) -> Vec<String> {
        self.config.services.iter().map(|service| format!("{}:{revision}", service.key)).collect()
    }

    pub fn runs_each_command_once(&self) -> bool {
        let aws = self.scene.cloud.aws();
        let runs: Vec<_> = aws.tasks.iter().filter(|t| t.service.is_none()).map(|t| &t.task.started_by).collect();
        runs.iter().enumerate().all(|(at, run)| !runs[..at].contains(run))
    }

    /// The states of GitHub's Deployments.
    pub fn told_github(&self) -> Vec<Vec<String>> {
        let deployments = self.server.github().deployments();
        deployments.into_iter().map(|d| d.statuses.into_iter().map(|s| s.state).collect()).collect()
    }
}
