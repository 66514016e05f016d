//! A second opinion: the same scenarios against ministack (PyPI, MIT), an emulator that nobody of us wrote.
//! What it gets wrong is in the comments; what our promises need of it, it gets right.

use crate::probe::Probing;
use crate::support::deploy_from;
use fargate_deploy::commands::deploy::Options;
use fargate_deploy_core::outcome::{Outcome, Reason, Success};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use test_support::{App, Aws, Behaviour, Env, eventually};

/// An instance of ministack with its state in a folder of its own.
struct Ministack {
    process: Child,
    port: u16,
    aws: Aws,
    _state: tempfile::TempDir,
}

impl Ministack {
    async fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/ministack");
        assert!(program.exists(), "ministack is missing: run scripts/setup");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let state = tempfile::tempdir().unwrap();
        let process = Command::new(program)
            .env("GATEWAY_PORT", port.to_string())
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .env("STATE_DIR", state.path())
            .env("S3_DATA_DIR", state.path().join("s3"))
            .env("RDS_BASE_PORT", "15600")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let aws = Aws::new(format!("http://127.0.0.1:{port}"));
        eventually("ministack answers", || {
            let aws = aws.clone();
            async move { aws.call("ecs", "ListClusters", json!({})).await.ok() }
        })
        .await;
        Self { process, port, aws, _state: state }
    }

    fn env(&self) -> Env {
        let pairs = [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What a user has before the first deploy: cluster, repository, log group, and a service of desired count 1.
    async fn furnish(&self, definition: &Value) {
        let aws = &self.aws;
        aws.call("ecs", "CreateCluster", json!({"clusterName": "shop"})).await.unwrap();
        aws.call("ecr", "CreateRepository", json!({"repositoryName": "shop/web"})).await.unwrap();
        aws.call("logs", "CreateLogGroup", json!({"logGroupName": "/ecs/web"})).await.unwrap();
        aws.call("ecs", "RegisterTaskDefinition", definition.clone()).await.unwrap();
        aws.call(
            "ecs",
            "CreateService",
            json!({
                "cluster": "shop", "serviceName": "web", "taskDefinition": "web", "desiredCount": 0, "launchType": "FARGATE",
                "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}},
                "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true},
                    "minimumHealthyPercent": 0, "maximumPercent": 200},
            }),
        )
        .await
        .unwrap();
    }

    async fn scale(&self, count: i64) {
        self.aws
            .call("ecs", "UpdateService", json!({"cluster": "shop", "service": "web", "desiredCount": count}))
            .await
            .unwrap();
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        // A reset removes the containers that it started.
        let _ = Command::new("curl")
            .args(["-s", "-m", "20", "-XPOST", &format!("{}/_ministack/reset", self.aws.url)])
            .stdout(Stdio::null())
            .status();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Its tasks pull by the loopback address only, so the repository is named by it, as one outside ECR would be.
fn config(port: u16) -> String {
    CONFIG.replace("REGISTRY", &format!("127.0.0.1:{port}"))
}

const CONFIG: &str = r#"
region: us-east-1
cluster: shop
images:
  app: { repository: "REGISTRY/shop/web", context: ., platform: linux/amd64, tags: [latest] }
release:
  - { name: migrate, service: web, command: [/bin/sh, /app/migrate], timeout: 2m }
services:
  web: { containers: { app: app }, task-definition: task-definition.json }
wait: 3m
"#;

fn definition() -> Value {
    json!({
        "family": "web", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
        "containerDefinitions": [{
            "name": "app", "image": "nothing", "essential": true, "portMappings": [{"containerPort": 3000}],
            "unheardOf": {"by": ["any", "SDK"], "number": 1.50},
            "logConfiguration": {"logDriver": "awslogs", "options": {
                "awslogs-group": "/ecs/web", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "web"}}
        }]
    })
}

#[tokio::test]
async fn happy_path_failing_migration_and_rollback_end_as_they_do_on_the_stage() {
    let ministack = Ministack::start().await;
    ministack.furnish(&definition()).await;
    ministack.scale(1).await;
    let app = App::new(&config(ministack.port), &definition());
    let env = ministack.env();

    app.release("r1", Behaviour::Serves);
    let (Outcome { result, record }, log) = deploy_from(app.path(), &env, Options::default()).await;
    assert_eq!(result, Ok(Success::Deployed), "{log}");
    let first = record.services[0].target.clone().unwrap();
    let service = ministack.aws.service("shop", "web").await;
    assert_eq!(service["taskDefinition"], first.as_str());
    let described =
        ministack.aws.call("ecs", "DescribeTaskDefinition", json!({"taskDefinition": first.as_str()})).await.unwrap();
    let container = &described["taskDefinition"]["containerDefinitions"][0];
    assert_eq!(container["unheardOf"], json!({"by": ["any", "SDK"], "number": 1.50}));
    assert!(container["image"].as_str().unwrap().ends_with(record.images[0].digest.as_str()), "{container}");

    let (Outcome { result: again, record }, log) = deploy_from(app.path(), &env, Options::default()).await;
    assert_eq!(again, Ok(Success::Unchanged), "{log}");
    assert!(record.registered.is_empty() && record.images.iter().all(|i| !i.is_new), "{log}");

    app.release("r2", Behaviour::Serves);
    app.migrates(3);
    let (Outcome { result: failed, .. }, log) = deploy_from(app.path(), &env, Options::default()).await;
    let failure = failed.unwrap_err();
    assert_eq!(failure.reason, Reason::ReleaseCommand, "{log}");
    // It reads stdout and stderr apart, so their order is not ours to promise.
    assert!(failure.log.contains(&"ERROR: relation does not exist".to_owned()), "{log}");
    assert_eq!(ministack.aws.service("shop", "web").await["taskDefinition"], first.as_str());

    app.migrates(0);
    app.release("r3", Behaviour::Crashes);
    let (Outcome { result: rolled_back, record }, log) = deploy_from(app.path(), &env, Options::default()).await;
    let failure = rolled_back.unwrap_err();
    assert_eq!(failure.reason, Reason::RolledBack, "{log}");
    assert!(record.state()[0].contains("serves again, confirmed"), "{:?}", record.state());
    assert_eq!(ministack.aws.service("shop", "web").await["taskDefinition"], first.as_str());
}

/// It honours no client token, and knows no service deployments: the probe says so.
#[tokio::test(flavor = "multi_thread")]
async fn the_probe_tells_how_an_emulator_plays_it_and_leaves_nothing_behind() {
    let ministack = Ministack::start().await;
    let experiments = ["--only", "parameters", "registrations", "tasks", "zero", "native"];
    let (code, answers, said) = Probing::start(&ministack.env(), "nobody/nothing:1", &experiments).ended().await;
    assert_eq!(code, Some(0), "{said}");
    let answer = |premise: &str| answers["answers"][premise]["answer"].clone();
    assert_eq!(answer("RunTask again with the same client token"), "another task", "{answers:#}");
    assert_eq!(answers["setting"]["native-rollout-state"], "shown", "{answers:#}");
    let left = ministack.aws.call("ecs", "ListTaskDefinitions", json!({"status": "ACTIVE"})).await.unwrap().to_string();
    assert!(!left.contains("fargate-deploy-probe"), "{left}");
    let left = ministack.aws.call("ecs", "ListClusters", json!({})).await.unwrap().to_string();
    assert!(!left.contains("fargate-deploy-probe"), "{left}");
}
