//! `scripts/probe` against the stage, which plays what AWS leaves open both ways, and against an emulator that nobody of us
//! wrote: it says which way each plays it, and leaves nothing behind.

use crate::program::scrubbed;
use crate::scene::{Scene, Setting};
use aws_stage::Stage;
use aws_stage::behavior::{
    Behavior, CurrentServiceDeployment, IdenticalPush, NativeRolloutState, ReadLags, RollbackPrimary, StoppedOnRequest,
    SupersededServiceDeployment,
};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use test_support::{Env, eventually};

/// A probe that is under way.
pub struct Probing {
    child: tokio::process::Child,
    out: tempfile::NamedTempFile,
    log: tempfile::NamedTempFile,
}

impl Probing {
    pub fn start(env: &Env, image: &str, arguments: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/venv/bin/python");
        assert!(python.exists(), "botocore is missing: run scripts/setup");
        let (out, log) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let mut command = scrubbed(python);
        command.arg(root.join("scripts/probe")).args(["--yes", "--every", "0.2", "--wait", "90", "--image", image]);
        command
            .args(["--subnets", "subnet-1", "--security-groups", "sg-1"])
            .args(arguments)
            .envs(env)
            .stdin(Stdio::null());
        command.stdout(out.reopen().unwrap()).stderr(log.reopen().unwrap());
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        Self { child, out, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// The exit code, the answers, and what it said.
    pub async fn ended(mut self) -> (Option<i32>, Value, String) {
        let status = self.child.wait().await.unwrap();
        let answers = std::fs::read_to_string(self.out.path()).unwrap();
        (status.code(), serde_json::from_str(&answers).unwrap_or_default(), self.said())
    }
}

fn env(stage: &Stage) -> Env {
    stage.aws_env().into_iter().chain(stage.root_env()).collect()
}

/// Nothing of a probe is on the stage any more.
async fn is_clean(scene: &Scene) {
    let call =
        async |service: &str, operation: &str, body: Value| scene.call(service, operation, body).await.to_string();
    for (service, operation, body) in [
        ("ecs", "ListClusters", json!({})),
        ("ecs", "ListTaskDefinitions", json!({"status": "ACTIVE"})),
        ("ecr", "DescribeRepositories", json!({})),
        ("ssm", "GetParametersByPath", json!({"Path": "/", "Recursive": true})),
    ] {
        let left = call(service, operation, body).await;
        assert!(!left.contains("fargate-deploy-probe"), "{operation}: {left}");
    }
}

/// What it finds on a stage that behaves so. Taken as a setting, the stage behaves so again.
async fn probed(behavior: Behavior) -> Value {
    let scene = Scene::open(Setting { behavior: behavior.clone(), desired: 0, ..Setting::default() }).await;
    let mark = scene.mark();
    let image = scene.deploy(&["--force-new-deployment"]).await.json["image"].as_str().unwrap().to_owned();
    let (code, answers, said) = Probing::start(&env(&scene.stage), &image, &[]).ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(answers["no-answer"], json!({}), "{said}");
    assert!(answers["answers"].as_object().unwrap().len() >= 15, "{answers:#}");
    assert!(
        said.contains("will make and remove: 1 cluster") && said.contains("everything that was made is removed"),
        "{said}"
    );
    assert!(!scene.mutations_since(mark).is_empty());
    is_clean(&scene).await;
    scene.close().await;
    let again = Behavior::default().with_probed(&answers["setting"]).unwrap();
    assert_eq!(again.rollback_primary, behavior.rollback_primary, "{said}");
    assert_eq!(again.current_service_deployment_in_update, behavior.current_service_deployment_in_update, "{said}");
    assert_eq!(again.superseded_service_deployment, behavior.superseded_service_deployment, "{said}");
    assert_eq!(again.stopped_on_request, behavior.stopped_on_request, "{said}");
    assert_eq!(again.native_rollout_state, behavior.native_rollout_state, "{said}");
    assert_eq!(again.missing_right_after_run_task, behavior.missing_right_after_run_task, "{said}");
    assert_eq!(again.identical_push_to_immutable_tag, behavior.identical_push_to_immutable_tag, "{said}");
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_finds_how_the_likelier_side_is_played() {
    let answers = probed(Behavior::impatient()).await;
    for (of, lag) in answers["setting"]["read-lags"].as_object().unwrap() {
        assert!(lag.as_f64().unwrap() < 2.0, "{of}: {lag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_finds_how_the_other_side_is_played_and_how_far_reads_lag() {
    let read_lags = ReadLags {
        services: Duration::from_secs(4),
        task_list: Duration::from_secs(3),
        parameter_list: Duration::from_secs(3),
        ..ReadLags::default()
    };
    let answers = probed(Behavior {
        rollback_primary: RollbackPrimary::FreshId,
        current_service_deployment_in_update: CurrentServiceDeployment::Stale,
        superseded_service_deployment: SupersededServiceDeployment::InProgressForever,
        stopped_on_request: StoppedOnRequest::Stopped,
        native_rollout_state: NativeRolloutState::Shown,
        missing_right_after_run_task: true,
        identical_push_to_immutable_tag: IdenticalPush::Refused,
        read_lags,
        ..Behavior::impatient()
    })
    .await;
    for (of, at_least) in [("services", 3.0), ("task-list", 2.0), ("parameter-list", 2.0)] {
        let lag = answers["setting"]["read-lags"][of].as_f64().unwrap();
        assert!(lag >= at_least, "{of}: {lag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_is_interrupted_removes_what_it_made() {
    let scene = Scene::open(Setting { desired: 0, ..Setting::default() }).await;
    let image = scene.deploy(&["--force-new-deployment"]).await.json["image"].as_str().unwrap().to_owned();
    for signal in ["INT", "TERM"] {
        let probing = Probing::start(&env(&scene.stage), &image, &["--only", "updates", "superseded"]);
        eventually("it has a service", || async {
            probing.said().contains("UpdateService that changes nothing").then_some(())
        })
        .await;
        let id = probing.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
        let (code, answers, said) = probing.ended().await;
        assert_eq!((code, answers), (Some(130), Value::Null), "{said}");
        assert!(said.contains("everything that was made is removed"), "{said}");
        is_clean(&scene).await;
    }
    scene.close().await;
}
