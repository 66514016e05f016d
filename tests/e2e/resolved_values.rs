//! A config whose values are in AWS, and production that gets what staging runs.

use crate::scene::{Images, Scene, Setting, definition};
use fargate_deploy::adapters::aws::{AwsClient, Session, SessionInputs};
use fargate_deploy::cli::Pace;
use fargate_deploy::commands::rehearse::{Wanted, Wish, open};
use fargate_deploy::config::Request;
use fargate_deploy::context::RunContext;
use fargate_deploy::ports::{Outputs as _, Parameter, Parameters as _};
use fargate_deploy::render::log::{Detail, Log, Style};
use fargate_deploy_core::outcome::Outcome;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use test_support::{App, Behaviour, Env, Lines, eventually};

const CONFIG: &str = r#"
terraform: s3://states/env:/prod/shop.tfstate
region: eu-central-1
role: arn:aws:iam::111122223333:role/shop-deploy
cluster: ${cfn:Base.Cluster}
images:
  app: { repository: "${tf:repositories.app}", context: ., platform: linux/amd64, tags: ["{sha}"] }
services:
  web:
    name: ${ssm:/shop/web}
    containers: { app: app }
wait: 3m
environments:
  staging:
  production: { services: { web: { name: web-production } } }
"#;

/// Everything that the config refers to, and a production service that runs what staging ran first.
async fn furnish(scene: &Scene) {
    let outputs = BTreeMap::from([("Cluster".to_owned(), "shop".to_owned())]);
    scene.stage.insert_stack("Base", &outputs);
    let state = json!({"version": 4, "outputs": {"repositories": {"value": {"app": "shop/web"}}}, "resources": []});
    scene.stage.insert_object("states", "env:/prod/shop.tfstate", state.to_string().into_bytes());
    scene.call("ssm", "PutParameter", json!({"Name": "/shop/web", "Value": "web", "Type": "String"})).await;
    let staging = scene.service().await;
    let service = json!({
        "cluster": "shop", "serviceName": "web-production", "desiredCount": 1, "launchType": "FARGATE",
        "taskDefinition": staging["taskDefinition"], "networkConfiguration": staging["networkConfiguration"],
        "deploymentConfiguration": staging["deploymentConfiguration"],
    });
    scene.call("ecs", "CreateService", service).await;
    eventually("production runs", || async {
        (production(scene).await["deployments"][0]["rolloutState"] == "COMPLETED").then_some(())
    })
    .await;
    scene.app.write("fargate-deploy.yml", CONFIG);
}

async fn production(scene: &Scene) -> Value {
    let found = scene.call("ecs", "DescribeServices", json!({"cluster": "shop", "services": ["web-production"]})).await;
    found["services"][0].clone()
}

async fn image_of(scene: &Scene, service: &Value) -> String {
    let asked = json!({"taskDefinition": service["taskDefinition"]});
    let found = scene.call("ecs", "DescribeTaskDefinition", asked).await;
    found["taskDefinition"]["containerDefinitions"][0]["image"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_is_deployed_by_values_from_aws_and_production_gets_the_very_digest() {
    let scene = Scene::open(Setting::default()).await;
    furnish(&scene).await;
    scene.commit("r1", Behaviour::Serves);
    let staging = scene.deploy(&["-e", "staging"]).await;
    staging.succeeded("deployed");
    assert_ne!(image_of(&scene, &production(&scene).await).await, staging.json["image"]);

    // What is built from now on is not what was tested.
    scene.commit("r2", Behaviour::Crashes);
    let mark = scene.mark();
    let promoted = scene.deploy(&["-e", "production", "--from", "staging"]).await;
    promoted.succeeded("deployed");
    assert_eq!(promoted.json["digest"], staging.json["digest"]);
    assert_eq!(image_of(&scene, &production(&scene).await).await, staging.json["image"].as_str().unwrap());
    let mutations = scene.mutations_since(mark);
    assert!(!mutations.iter().any(|call| call.starts_with("ecr:") || call.starts_with("registry:")), "{mutations:?}");
    assert!(promoted.log.contains("of staging (web:"), "{}", promoted.log);

    let again = scene.deploy(&["-e", "production", "--from", "staging"]).await;
    again.succeeded("unchanged");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_not_there_and_a_source_that_does_not_stand_stop_the_deploy_before_any_change() {
    let scene = Scene::open(Setting::default()).await;
    furnish(&scene).await;
    let mark = scene.mark();
    scene.app.write("fargate-deploy.yml", &CONFIG.replace("${ssm:/shop/web}", "${ssm:/shop/wbe}"));
    let run = scene.deploy(&["-e", "staging"]).await;
    assert_eq!(run.code, 2, "{}", run.log);
    let said = "`${ssm:/shop/wbe}`: there is no such parameter in this account and region";
    assert!(run.log.contains(said), "{}", run.log);
    assert!(run.log.contains("fargate-deploy.yml,line=10,col=11"), "{}", run.log);
    scene.app.write("fargate-deploy.yml", CONFIG);
    scene.call("ecs", "UpdateService", json!({"cluster": "shop", "service": "web", "desiredCount": 0})).await;
    eventually("staging is empty", || async { (scene.service().await["runningCount"] == 0).then_some(()) }).await;
    let run = scene.deploy(&["-e", "production", "--from", "staging"]).await;
    assert_eq!(run.code, 2, "{}", run.log);
    assert!(run.log.contains("service `web` of `staging`: its desired count is 0"), "{}", run.log);
    assert_eq!(scene.mutations_since(mark), [""; 0]);
    scene.close().await;
}

const REHEARSED: &str = r#"
rehearse:
  terraform: { repositories.app: shop/web }
  stacks: { Base: { Cluster: shop } }
  parameters: { /shop/web: web }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_has_the_values_for_itself_and_for_every_other_client_of_its_stage() {
    let app = App::new(&format!("{CONFIG}{REHEARSED}"), &definition());
    app.write("app/check", "exit 0\n");
    let log = Arc::new(Log::new(Lines::default(), Style { detail: Detail::Verbose, fence: None }));
    let request = Request { environment: Some("staging".to_owned()), ..Request::default() };
    let env: Env = std::env::vars().collect();
    let wanted = Wanted {
        request: &request,
        directory: app.path(),
        port: None,
        pace: Pace::Short,
        previous: &Wish::Same,
        is_served: false,
    };
    let opened = open(wanted, &env, log.as_ref()).await.unwrap();

    let exported = opened.exports();
    let pair = |line: &String| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    let client: Env = exported.iter().filter_map(pair).filter(|(name, _)| name.starts_with("AWS_")).collect();
    let _images = Images::of(&client["AWS_ENDPOINT_URL"]);
    let cloud = AwsClient::new(Session::open(&SessionInputs::new(client), log.clone()).await.unwrap());
    assert_eq!(cloud.stack_outputs("Base").await.unwrap().unwrap()["Cluster"], "shop");
    assert_eq!(cloud.parameter("/shop/web").await.unwrap(), Some(Parameter::Plain("web".to_owned())));
    let state = cloud.object("states", "env:/prod/shop.tfstate").await.unwrap().unwrap();
    assert!(String::from_utf8(state).unwrap().contains("shop/web"));

    let Outcome { result, record } = opened.deploy(None, &RunContext::default(), log, std::future::pending()).await;
    opened.close().await;
    result.unwrap();
    assert_eq!(record.services[0].service.to_string(), "shop/web");
}
