//! AWS's own command line against `rehearse --serve`: the stage answers it as AWS documents.

use crate::program::{Program, scrubbed};
use crate::scene::{CONFIG, definition};
use crate::served::Served;
use serde_json::Value;
use std::path::Path;
use test_support::{App, Behaviour};

struct Cli<'a> {
    served: &'a Served,
    home: tempfile::TempDir,
}

impl Cli<'_> {
    async fn run(&self, arguments: &str) -> (Option<i32>, Value) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/aws");
        assert!(program.exists(), "the AWS CLI is missing: run scripts/setup");
        let mut command = scrubbed(program);
        command.args(arguments.split(' ')).args(["--output", "json"]).envs(&self.served.env);
        command.env("HOME", self.home.path()).env("AWS_PAGER", "");
        let output = tokio::process::Command::from(command).output().await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Value::String(error.into_owned()));
        (output.status.code(), value)
    }

    async fn ask(&self, arguments: &str) -> Value {
        let (code, value) = self.run(arguments).await;
        assert_eq!(code, Some(0), "aws {arguments}: {value}");
        value
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_the_waiter_of_the_aws_cli_succeeds_and_we_do_not() {
    let app = App::new(CONFIG, &definition());
    app.write("app/check", "exit 0\n");
    let served = Served::open(app.path()).await;
    let program = Program::new(served.env.clone());
    app.release("r1", Behaviour::Serves);
    let good = program.start(&[], app.path(), &"1".repeat(40)).ended().await;
    good.succeeded("deployed");
    app.release("r2", Behaviour::Crashes);
    let bad = program.start(&[], app.path(), &"2".repeat(40)).ended().await;
    bad.failed(6, "rolled-back");

    let aws = Cli { served: &served, home: tempfile::tempdir().unwrap() };
    let (waited, _) = aws.run("ecs wait services-stable --cluster shop --services web").await;
    assert_eq!(waited, Some(0));

    let services = aws.ask("ecs describe-services --cluster shop --services web").await;
    let service = &services["services"][0];
    assert_eq!(service["taskDefinition"], good.json["task-definition-arn"]);
    assert_eq!((&service["runningCount"], &service["desiredCount"]), (&Value::from(2), &Value::from(2)));
    assert_eq!(service["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(services["failures"], Value::Array(vec![]));
    let missing = aws.ask("ecs describe-services --cluster shop --services nobody").await;
    assert_eq!(missing["failures"][0]["reason"], "MISSING");

    let listed = aws.ask("ecs list-service-deployments --cluster shop --service web").await;
    let brief = listed["serviceDeployments"].as_array().unwrap();
    let rolled_back: Vec<_> = brief.iter().filter(|d| d["status"] == "ROLLBACK_SUCCESSFUL").collect();
    assert_eq!(rolled_back.len(), 1, "{listed}");
    let arn = rolled_back[0]["serviceDeploymentArn"].as_str().unwrap();
    let found = aws.ask(&format!("ecs describe-service-deployments --service-deployment-arns {arn}")).await;
    let deployment = &found["serviceDeployments"][0];
    assert_eq!(deployment["status"], "ROLLBACK_SUCCESSFUL");
    assert!(deployment["rollback"]["reason"].as_str().is_some_and(|r| r.contains("circuit breaker")), "{deployment}");
    let revision = deployment["targetServiceRevision"]["arn"].as_str().unwrap();
    let found = aws.ask(&format!("ecs describe-service-revisions --service-revision-arns {revision}")).await;
    assert_eq!(found["serviceRevisions"][0]["taskDefinition"], bad.json["task-definition-arn"]);

    let stopped = aws.ask("ecs list-tasks --cluster shop --service-name web --desired-status STOPPED").await;
    let arns: Vec<_> = stopped["taskArns"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let tasks = aws.ask(&format!("ecs describe-tasks --cluster shop --tasks {}", arns.join(" "))).await;
    let crashed: Vec<_> = tasks["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| t["taskDefinitionArn"] == bad.json["task-definition-arn"])
        .collect();
    assert!(crashed.len() >= 3, "{} tasks crashed before the breaker tripped", crashed.len());
    // One can still have been starting when the breaker tripped: the scheduler stopped that one.
    let by_itself = |t: &&&Value| t["containers"][0]["exitCode"] == 1 && t["stopCode"] == "EssentialContainerExited";
    let with_code: Vec<_> = crashed.iter().filter(by_itself).collect();
    assert!(!with_code.is_empty(), "{crashed:?}");
    let id = with_code[0]["taskArn"].as_str().unwrap().rsplit('/').next().unwrap();
    let log = format!("logs get-log-events --log-group-name /ecs/web --log-stream-name web/app/{id} --start-from-head");
    let events = aws.ask(&log).await;
    assert_eq!(events["events"][0]["message"], "KeyError: STRIPE_KEY (r2)");

    let migration = good.json["migration-task-arn"].as_str().unwrap();
    let found = aws.ask(&format!("ecs describe-tasks --cluster shop --tasks {migration}")).await;
    assert_eq!(found["tasks"][0]["containers"][0]["exitCode"], 0);
    assert_eq!(served.answer().await.as_deref(), Some("r1"));
    served.close().await;
}
