//! The policy that is made for a config, on the stage: with it every release goes well, and without one of its actions none does
//! that needs it, and says which.

use crate::scene::{ACCOUNT, Scene, Setting, definition};
use fargate_deploy::config::{Answers, Config, Request, draft};
use fargate_deploy_core::iam_policy::{Granted, Statement, document, statements};
use fargate_deploy_core::task_definition::TaskDefinition;
use serde_json::json;
use test_support::Behaviour;

fn needed(scene: &Scene) -> Vec<Statement> {
    let config: Config = draft(&Request::default(), scene.env(), scene.app.path())
        .and_then(|draft| draft.finish(&Answers::default()))
        .unwrap_or_else(|e| panic!("{e}"));
    let body = serde_json::to_vec(&definition()).unwrap();
    let definition = TaskDefinition::from_bytes(&body).unwrap();
    let services: Vec<_> = config.services.iter().map(|service| (service, &definition)).collect();
    statements(&Granted {
        config: &config,
        account: ACCOUNT,
        region: "eu-central-1",
        services: &services,
        commands: &[],
    })
}

/// For bad days, for looking closer, and for the cache of builds.
const SPARED: [&str; 8] = [
    "ecr:GetDownloadUrlForLayer",
    "ecs:DescribeServiceDeployments",
    "ecs:DescribeServiceRevisions",
    "ecs:ListServiceDeployments",
    "ecs:ListTasks",
    "ecs:StopServiceDeployment",
    "logs:GetLogEvents",
    "ssm:DeleteParameter",
];

async fn allow(scene: &Scene, statements: &[Statement]) {
    let policy = document(statements).to_string();
    let body = json!({"RoleName": "shop-deploy", "PolicyName": "deploy", "PolicyDocument": policy});
    scene.call("iam", "PutRolePolicy", body).await;
}

fn without(statements: &[Statement], actions: &[&str]) -> Vec<Statement> {
    let mut left = statements.to_vec();
    left.iter_mut().for_each(|statement| statement.actions.retain(|allowed| !actions.contains(allowed)));
    left.retain(|statement| !statement.actions.is_empty());
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_a_config_suffices_and_without_an_action_the_release_names_it() {
    let scene = Scene::open(Setting { desired: 1, ..Setting::default() }).await;
    let all = needed(&scene);
    allow(&scene, &all).await;
    scene.commit("r1", Behaviour::Serves);
    let good = scene.deploy(&[]).await;
    good.succeeded("deployed");
    assert!(!good.log.contains("::warning"), "{}", good.log);
    scene.commit("r2", Behaviour::Crashes);
    scene.deploy(&[]).await.failed(6, "rolled-back");
    for action in all.iter().flat_map(|statement| &statement.actions).filter(|action| !SPARED.contains(action)) {
        allow(&scene, &without(&all, &[action])).await;
        scene.commit(action, Behaviour::Serves);
        let run = scene.deploy(&[]).await;
        assert_ne!(run.code, 0, "without {action}: {}", run.log);
        let ending = &run.log[run.log.find("✗ ").unwrap()..];
        assert!(ending.contains(&format!("{action}`")) || ending.contains(&format!("{action} ")), "{action}: {ending}");
    }

    // What a release on a good day can do without: it is told where something is not seen.
    allow(&scene, &without(&all, &SPARED)).await;
    scene.commit("spared", Behaviour::Serves);
    let run = scene.deploy(&[]).await;
    run.succeeded("deployed");
    for action in ["ecs:ListTasks", "logs:GetLogEvents"] {
        assert!(run.log.contains(action), "{action}: {}", run.log);
    }
    scene.close().await;
}
