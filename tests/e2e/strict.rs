//! The strict second client against the stage: each operation answers in AWS's shapes, and refuses what AWS's models forbid.

use crate::program::scrubbed;
use aws_stage::behavior::Behavior;
use aws_stage::{Stage, StageOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use test_support::App;

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_in_its_shape_and_refuses_what_its_model_forbids() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/venv/bin/python");
    assert!(python.exists(), "botocore is missing: run scripts/setup");
    let stage =
        Stage::start(StageOptions { behavior: Behavior::impatient(), ..StageOptions::default() }).await.unwrap();
    stage.insert_stack("Base", &BTreeMap::from([("Cluster".to_owned(), "shop".to_owned())]));
    stage.insert_database("shop");
    let task_role = format!("arn:aws:iam::{}:role/shell", StageOptions::default().account);
    stage.insert_task_role(&task_role).unwrap();
    let image = format!("{}/strict:1", test_support::unique());
    let app = App::new("", &Value::Null);
    crate::scene::docker(&["build", "-q", "-t", &image, &app.path().display().to_string()]);

    let mut command = scrubbed(python);
    command.arg(root.join("tests/e2e/strict/client.py")).arg(root.join("crates/aws-stage/data/service-models.json"));
    command.envs(stage.aws_env()).envs(stage.root_env()).envs(stage.github_env()).env("STRICT_IMAGE", &image);
    command.env("STRICT_TASK_ROLE", &task_role);
    let output = tokio::process::Command::from(command).output().await.unwrap();
    stage.shutdown().await;
    crate::scene::docker(&["rmi", "-f", &image]);

    let said = String::from_utf8_lossy(&output.stderr);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    let findings = found["findings"].as_array().unwrap();
    let first: Vec<_> = findings.iter().take(40).map(Value::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), first.join("\n"));
    println!(
        "{} of {} operations answered, {} constraints broken",
        found["answered"], found["operations"], found["broken"]
    );
    assert_eq!(found["answered"], found["operations"]);
    assert!(found["broken"].as_u64().unwrap() > 1500, "{found}");
    assert!(output.status.success(), "{said}");
}
