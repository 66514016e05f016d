//! `plan --comment` where there is no plan to show, and waiting for GitHub: the commands themselves, without AWS.

use crate::github::scene::{BOT, HEAD, PULL, Scene};
use crate::loaded::load;
use crate::recorded_events::RecordedEvents;
use aws_stage::faults::FaultAction;
use aws_stage::github::PullRequest;
use fargate_deploy::commands::deploy::{self, Options};
use fargate_deploy::commands::plan::{PlanOptions, plan};
use fargate_deploy::config::Request;
use fargate_deploy::context::RunContext;
use fargate_deploy_core::comment::{Key, Marker};
use fargate_deploy_core::outcome::{Failure, Reason, Success};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CONFIG: &str = "region: eu-central-1\nrole: arn:aws:iam::111122223333:role/deploy\ncluster: shop\n\
    images: { app: { repository: shop, context: . } }\nservices: { web: { containers: { app: app } } }\n";

const MERGED: u64 = 8;

/// A job of the scene's repository, in a folder of its own.
struct Job {
    scene: Scene,
    folder: tempfile::TempDir,
    told: Arc<RecordedEvents>,
    env: BTreeMap<String, String>,
}

impl Job {
    async fn of(event: &str, payload: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scene = Scene::open().await;
        let mut env = scene.env();
        let file = folder.path().join("event.json");
        std::fs::write(&file, payload.to_string()).unwrap();
        std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        let workspace = folder.path().to_str().unwrap().to_owned();
        for (name, value) in [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SHA", HEAD),
            ("GITHUB_RUN_ID", "1"),
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_EVENT_PATH", file.to_str().unwrap()),
            ("GITHUB_WORKSPACE", &workspace),
            ("GIT_CEILING_DIRECTORIES", &workspace),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        Self { scene, folder, told: Arc::default(), env }
    }

    async fn on_pull_request() -> Self {
        let head = json!({"sha": HEAD, "repo": {"full_name": "acme/shop"}});
        Self::of("pull_request", json!({"pull_request": {"number": PULL, "state": "open", "head": head}})).await
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    async fn plan(&self, request: Request, label: Option<&str>) -> Result<Success, Failure> {
        self.plan_until(request, label, std::future::pending()).await
    }

    async fn plan_until(
        &self,
        request: Request,
        label: Option<&str>,
        interrupt: impl Future<Output = ()>,
    ) -> Result<Success, Failure> {
        let options = Options { label: label.map(str::to_owned), only: request.only.clone(), ..Options::default() };
        let how = PlanOptions { options, comments: true, ..PlanOptions::default() };
        plan(&request, how, &self.env, self.folder.path(), self.told.clone(), interrupt).await.result
    }

    /// On `push`, of what pull request [`MERGED`] was merged as.
    async fn on_merge() -> Self {
        let mut job = Self::of("push", json!({})).await;
        job.env.insert("GITHUB_SHA".to_owned(), "cafe".to_owned());
        let merged = PullRequest { number: MERGED, head: "beef".to_owned(), merged_as: Some("cafe".to_owned()) };
        job.scene.github().add_pull_request(merged);
        job.write("fargate-deploy.yml", CONFIG);
        job
    }

    /// As a plan left it.
    fn shows_a_plan(&self, label: Option<&str>) {
        let shown = marker("fargate-deploy.yml", label).body("### plan\n\ntext · merging deploys this");
        self.scene.github().add_comment(MERGED, BOT, &shown);
    }

    async fn deploy(&self, options: Options) -> Failure {
        let config = load(&Request::default(), &self.env, self.folder.path()).unwrap();
        let context = RunContext::read(&self.env, self.folder.path());
        let deploying = deploy::deploy(config, options, &context, &self.env, self.told.clone(), std::future::pending());
        Box::pin(deploying).await.result.unwrap_err()
    }

    fn bodies(&self, pull: u64) -> Vec<String> {
        self.scene.github().comments(pull).into_iter().map(|comment| comment.body).collect()
    }
}

fn marker(config: &str, label: Option<&str>) -> Marker {
    let key = Key::new(config, None, "shop", label);
    Marker { key, head: "an earlier one".to_owned(), digest: "sha256:ab12".to_owned() }
}

fn of_file(file: &str) -> Request {
    Request { file: Some(Path::new(file).to_owned()), ..Request::default() }
}

#[tokio::test]
async fn a_commit_that_cannot_be_planned_says_so_instead_of_the_plan_before() {
    let job = Job::on_pull_request().await;
    let before = marker("fargate-deploy.yml", None).body("### plan\n\nmerging deploys this");
    job.scene.github().add_comment(PULL, BOT, &before);
    job.write("fargate-deploy.yml", "servces: {}\n");
    let failure = job.plan(Request::default(), None).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Config);
    let bodies = job.bodies(PULL);
    assert_eq!(bodies.len(), 1);
    assert!(!bodies[0].contains("merging deploys this"), "{}", bodies[0]);
    assert!(bodies[0].contains("🔴 no plan: config") && bodies[0].contains("unknown key `servces`"), "{}", bodies[0]);
    let now = Marker::of(&bodies[0]).unwrap();
    assert_eq!((now.digest.as_str(), now.head.as_str()), ("", HEAD), "require-plan cannot pass with it");
    assert_eq!(now.key.cluster, "shop");
}

#[tokio::test]
async fn two_configs_and_two_labels_have_comments_of_their_own() {
    let job = Job::on_pull_request().await;
    for (file, label) in [("a.yml", None), ("b.yml", None), ("b.yml", Some("canary")), ("a.yml", None)] {
        job.write(file, "servces: {}\n");
        job.plan(of_file(file), label).await.unwrap_err();
    }
    let keys: Vec<_> = job.bodies(PULL).iter().map(|body| Marker::of(body).unwrap().key).collect();
    let keys: Vec<_> = keys.iter().map(|key| (key.config.as_str(), key.label.as_str())).collect();
    assert_eq!(keys, [("a.yml", ""), ("b.yml", ""), ("b.yml", "canary")]);
}

#[tokio::test]
async fn jobs_of_a_matrix_over_the_services_have_a_comment_each_without_a_label() {
    let job = Job::on_pull_request().await;
    job.write("fargate-deploy.yml", "servces: {}\n");
    let plans: [&[&str]; 5] = [&["web"], &["worker"], &["worker", "web"], &["web", "worker", "web"], &[]];
    for only in plans {
        let request = Request { only: only.iter().map(|key| (*key).to_owned()).collect(), ..Request::default() };
        job.plan(request, None).await.unwrap_err();
    }
    let keys: Vec<_> = job.bodies(PULL).iter().map(|body| Marker::of(body).unwrap().key.label).collect();
    assert_eq!(keys, ["only web", "only worker", "only web, worker", ""]);
}

#[tokio::test]
async fn a_deploy_of_a_part_finishes_the_comment_of_that_part_or_of_the_whole() {
    let of_web = || Options { only: vec!["web".to_owned()], ..Options::default() };
    let job = Job::on_merge().await;
    job.shows_a_plan(None);
    job.shows_a_plan(Some("only web"));
    job.shows_a_plan(Some("only worker"));
    job.deploy(of_web()).await;
    let are_open: Vec<_> = job.bodies(MERGED).iter().map(|body| body.contains("merging deploys this")).collect();
    assert_eq!(are_open, [true, false, true]);

    let job = Job::on_merge().await;
    job.shows_a_plan(None);
    job.deploy(of_web()).await;
    assert!(!job.bodies(MERGED)[0].contains("merging deploys this"), "{:?}", job.bodies(MERGED));
}

#[tokio::test]
async fn a_deploy_of_the_merge_that_cannot_begin_is_said_where_the_plan_is() {
    let job = Job::on_merge().await;
    job.shows_a_plan(None);
    assert_eq!(job.deploy(Options::default()).await.reason, Reason::Identity);
    let body = job.bodies(MERGED).remove(0);
    assert!(body.contains("❌ failed: identity") && !body.contains("merging deploys this"), "{body}");

    let job = Job::on_merge().await;
    job.shows_a_plan(None);
    job.write("fargate-deploy.yml", &format!("{CONFIG}servces: {{}}\n"));
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_fargate-deploy"));
    program.env_clear().envs(&job.env).current_dir(job.folder.path()).arg("deploy");
    let ended = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    let body = job.bodies(MERGED).remove(0);
    assert!(body.contains("❌ failed: config") && body.contains("unknown key `servces`"), "{body}");
    assert!(!body.contains("merging deploys this"), "{body}");
}

#[tokio::test]
async fn a_deploy_that_may_not_read_or_edit_the_comment_says_once_what_is_missing() {
    for (permissions, call) in [
        (&[("contents", "read")][..], "ListComments"),
        (&[("contents", "read"), ("pull_requests", "read")][..], "UpdateComment"),
    ] {
        let job = Job::on_merge().await;
        job.shows_a_plan(None);
        job.scene.github().set_account(job.scene.github().token(), BOT, permissions);
        job.deploy(Options::default()).await;
        assert!(job.scene.calls_of(call) > 0, "{call}");
        let warnings = job.told.warnings();
        let told: Vec<_> =
            warnings.iter().filter(|warning| warning.contains("does not say how its plan ended")).collect();
        assert_eq!(told.len(), 1, "{call}: {warnings:?}");
        assert!(told[0].contains("permissions:\n") && told[0].contains("pull-requests: write"), "{call}: {}", told[0]);
        assert!(job.bodies(MERGED)[0].contains("merging deploys this"), "{call}");
    }
    let job = Job::on_merge().await;
    job.scene.fault("ListPullRequestsOfCommit", 9, FaultAction::AccessDenied);
    job.deploy(Options::default()).await;
    let warnings = job.told.warnings();
    assert_eq!(warnings.iter().filter(|warning| warning.contains("pull-requests: write")).count(), 1, "{warnings:?}");
}

#[tokio::test]
async fn a_job_of_ours_without_an_identity_gets_the_block_to_paste_and_its_comment_says_what_the_files_say() {
    let job = Job::on_pull_request().await;
    let before = marker("fargate-deploy.yml", None).body("### plan\n\nmerging deploys this");
    job.scene.github().add_comment(PULL, BOT, &before);
    job.write("fargate-deploy.yml", CONFIG);
    job.plan(Request::default(), None).await.unwrap();
    let bodies = job.bodies(PULL);
    assert!(!bodies[0].contains("merging deploys this") && bodies[0].contains("offline plan"), "{}", bodies[0]);
    let block = "permissions:\n  contents: read\n  id-token: write\n  pull-requests: write\n";
    assert!(bodies[0].contains(&format!("```\n{block}```\n")), "{}", bodies[0]);
    let warnings = job.told.warnings();
    assert!(warnings.iter().any(|warning| warning.contains(block.trim_end())), "{warnings:?}");
}

#[tokio::test]
async fn the_pull_request_is_found_for_every_event_and_where_there_is_none_nothing_is_written() {
    let queue = format!("refs/heads/gh-readonly-queue/main/pr-{PULL}-4f2c1d6b");
    for (event, payload, is_found) in [
        ("merge_group", json!({"merge_group": {"head_ref": queue}}), true),
        ("issue_comment", json!({"issue": {"number": PULL, "state": "open", "pull_request": {}}}), true),
        ("workflow_run", json!({"workflow_run": {"pull_requests": [{"number": PULL}]}}), true),
        ("push", json!({"after": HEAD}), true),
        ("workflow_dispatch", json!({}), true),
        ("issue_comment", json!({"issue": {"number": PULL, "state": "closed", "pull_request": {}}}), false),
        ("pull_request", json!({"pull_request": {"number": PULL, "state": "closed", "merged": true}}), false),
    ] {
        let job = Job::of(event, payload).await;
        job.write("fargate-deploy.yml", "servces: {}\n");
        job.plan(Request::default(), None).await.unwrap_err();
        assert_eq!(job.bodies(PULL).len(), usize::from(is_found), "{event}");
    }
    for event in ["push", "schedule"] {
        let mut job = Job::of(event, json!({})).await;
        job.env.insert("GITHUB_SHA".to_owned(), "cafe".to_owned());
        let merged = PullRequest { number: 8, head: "beef".to_owned(), merged_as: Some("cafe".to_owned()) };
        job.scene.github().add_pull_request(merged);
        job.write("fargate-deploy.yml", "servces: {}\n");
        job.plan(Request::default(), None).await.unwrap_err();
        assert_eq!(job.scene.writes(), Vec::<String>::new(), "{event}: a merged one is history");
        assert_eq!(job.told.warnings(), Vec::<String>::new(), "{event}");
    }
}

#[tokio::test]
async fn a_signal_ends_every_wait_for_github() {
    let soon = || tokio::time::sleep(Duration::from_millis(200));
    let job = Job::on_pull_request().await;
    job.scene.fault("ListComments", 9, FaultAction::Delay { milliseconds: 60_000 });
    job.write("fargate-deploy.yml", "servces: {}\n");
    let began = Instant::now();
    job.plan_until(Request::default(), None, soon()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(job.told.warnings()[0].contains("may show the one of an earlier commit"), "{:?}", job.told.warnings());

    job.write("fargate-deploy.yml", &format!("{CONFIG}require-plan: true\n"));
    let config = load(&Request::default(), &job.env, job.folder.path()).unwrap();
    let context = RunContext::read(&job.env, job.folder.path());
    let began = Instant::now();
    let ended = deploy::deploy(config, Options::default(), &context, &job.env, job.told.clone(), soon()).await;
    assert_eq!(ended.result.unwrap_err().reason, Reason::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(ended.record.state(), ["nothing was changed in ECS"]);
}
