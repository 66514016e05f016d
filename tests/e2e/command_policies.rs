//! The policies that are printed for the commands beside `deploy`, on the stage: each suffices for its command, and without one of its
//! actions the command names that very action, as what it failed for or as what it could not see.

use crate::exec;
use crate::scene::{Scene, Setting};
use serde_json::{Value, json};
use test_support::{Behaviour, eventually};

/// What `policy` prints for these purposes.
async fn printed(scene: &Scene, purposes: &[&str]) -> Value {
    let (code, out, err) = scene.typed(&[&["policy"], purposes].concat()).ended().await;
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

fn actions(policy: &Value) -> Vec<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let all = statements.flat_map(|statement| statement["Action"].as_array().unwrap());
    all.map(|action| action.as_str().unwrap().to_owned()).collect()
}

fn without(policy: &Value, action: &str) -> Value {
    let mut left = policy.clone();
    let statements = left["Statement"].as_array_mut().unwrap();
    for statement in statements.iter_mut() {
        statement["Action"].as_array_mut().unwrap().retain(|allowed| allowed != action);
    }
    statements.retain(|statement| statement["Action"] != json!([]));
    left
}

async fn allow(scene: &Scene, policy: &Value) {
    let body = json!({"RoleName": "shop-deploy", "PolicyName": "deploy", "PolicyDocument": policy.to_string()});
    scene.call("iam", "PutRolePolicy", body).await;
}

/// Runs it as the config's role, as a person who has GitHub's identity.
async fn run(scene: &Scene, arguments: &[&str]) -> (i32, String, String) {
    scene.typed(arguments).ended().await
}

/// The role may do everything but this: what the command says then names it. The answer is its exit code.
async fn names(scene: &Scene, policy: &Value, action: &str, arguments: &[&str]) -> i32 {
    allow(scene, &without(policy, action)).await;
    let (code, out, err) = run(scene, arguments).await;
    let said = format!("{out}{err}");
    assert!(said.contains(&format!("{action}`")) || said.contains(&format!("{action} ")), "{action}: {code}: {said}");
    code
}

/// The images of the stage are in no registry that is called as ECR is: `run --image` asks it as any other.
const OF_ECR: [&str; 3] = ["ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeRepositories"];

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_run_suffices_and_without_an_action_it_names_it() {
    let scene = Scene::open(Setting { desired: 0, ..Setting::default() }).await;
    let policy = printed(&scene, &["run"]).await;
    allow(&scene, &policy).await;
    let (code, out, err) = run(&scene, &["run", "--", "sh", "-c", "echo hello; exit 7"]).await;
    assert_eq!((code, out.as_str()), (7, "hello\n"), "{err}");
    assert!(!err.contains("is not allowed"), "{err}");
    for action in actions(&policy).iter().filter(|action| !OF_ECR.contains(&action.as_str())) {
        // The definition of an earlier run would be taken again.
        let listed = scene.call("ecs", "ListTaskDefinitions", json!({"familyPrefix": "web-run"})).await;
        for arn in listed["taskDefinitionArns"].as_array().unwrap() {
            scene.call("ecs", "DeregisterTaskDefinition", json!({"taskDefinition": arn})).await;
        }
        let code = match action.as_str() {
            "ecs:StopTask" => names(&scene, &policy, action, &["run", "--timeout", "1s", "--", "sleep", "20"]).await,
            _ => names(&scene, &policy, action, &["run", "--", "sh", "-c", "echo hello; exit 7"]).await,
        };
        // A log and a lease that cannot be read keep no command from its exit code.
        let is_a_look = ["logs:GetLogEvents", "ssm:GetParametersByPath"].contains(&action.as_str());
        assert_eq!(code, if is_a_look { 7 } else { 125 }, "{action}");
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_exec_suffices_and_with_that_of_run_a_console_opens() {
    let scene = exec::open(true).await;
    let policy = printed(&scene, &["exec"]).await;
    allow(&scene, &policy).await;
    let words = ["exec", "--no-plugin", "--container", "app", "--", "sh", "-c", "exit 7"];
    let (code, _, err) = run(&scene, &words).await;
    assert_eq!(code, 7, "{err}");
    assert!(!err.contains("is not allowed"), "{err}");
    // Nothing depends on these two: a look beforehand, and a connection that is lost.
    let spared = ["iam:SimulatePrincipalPolicy", "ssm:ResumeSession"];
    for action in actions(&policy).iter().filter(|action| !spared.contains(&action.as_str())) {
        let code = names(&scene, &policy, action, &words).await;
        assert_eq!(code, if action == "ecs:DescribeTaskDefinition" { 7 } else { 125 }, "{action}");
    }
    let mut least = policy.clone();
    for action in spared {
        least = without(&least, action);
    }
    allow(&scene, &least).await;
    assert_eq!(run(&scene, &words).await.0, 7);

    let console = printed(&scene, &["run", "exec"]).await;
    allow(&scene, &console).await;
    let words = ["run", "-i", "--no-plugin", "--", "sh", "-c", "exit 9"];
    let (code, _, err) = run(&scene, &words).await;
    assert_eq!(code, 9, "{err}");
    assert_eq!(names(&scene, &console, "ecs:ExecuteCommand", &words).await, 125);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_of_looking_suffice_and_without_an_action_a_line_names_it() {
    let scene = Scene::open(Setting { desired: 1, ..Setting::default() }).await;
    // A task that has stopped by itself, and what it said.
    scene.commit("r1", Behaviour::Crashes);
    scene.deploy(&["--skip-release-commands"]).await.failed(6, "rolled-back");
    for (command, arguments) in [
        ("status", vec!["status"]),
        ("releases", vec!["releases", "output", "r1"]),
        ("logs", vec!["logs", "--since", "1h"]),
    ] {
        let policy = printed(&scene, &[command]).await;
        allow(&scene, &policy).await;
        let (code, out, err) = run(&scene, &arguments).await;
        assert_eq!(code, 0, "{command}: {err}");
        assert!(!format!("{out}{err}").contains("is not allowed"), "{command}: {out}{err}");
        for action in actions(&policy) {
            let of_the_list = ["ecs:DescribeServices", "ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments"];
            let arguments = match command {
                // What it says of one release is not the place for what is not known of the others.
                "releases" if action != "logs:GetLogEvents" => vec!["releases"],
                _ => arguments.clone(),
            };
            let code = names(&scene, &policy, &action, &arguments).await;
            let is_refused = command == "logs" || (command == "releases" && !of_the_list.contains(&action.as_str()));
            assert!(code == 0 || (is_refused && code == 3), "{command} without {action}: {code}");
        }
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_rollback_suffices_and_without_an_action_it_names_it() {
    let scene = Scene::open(Setting { desired: 1, ..Setting::default() }).await;
    for name in ["r1", "r2"] {
        scene.commit(name, Behaviour::Serves);
        scene.deploy(&["--skip-release-commands"]).await.succeeded("deployed");
    }
    let policy = printed(&scene, &["rollback"]).await;
    assert!(!actions(&policy).iter().any(|action| ["ecr:PutImage", "ecs:RunTask"].contains(&action.as_str())));
    allow(&scene, &policy).await;
    let back = scene.run("rollback", &[]).await;
    back.succeeded("deployed");
    assert!(!back.log.contains("is not allowed"), "{}", back.log);
    assert_eq!(scene.answer().await.as_deref(), Some("r1"));
    // For bad days, for looking closer, and for registries that are not called as ECR is.
    let spared = ["ecs:DescribeTasks", "ecs:StopServiceDeployment", "logs:GetLogEvents", "ssm:DeleteParameter"];
    for action in actions(&policy).iter().filter(|action| !spared.contains(&action.as_str())) {
        allow(&scene, &without(&policy, action)).await;
        let to = if scene.answer().await.as_deref() == Some("r1") { "r3" } else { "r2" };
        let run = scene.run("rollback", &["--to", to]).await;
        assert!(
            run.log.contains(&format!("{action}`")) || run.log.contains(&format!("{action} ")),
            "{action}: {}: {}",
            run.code,
            run.log
        );
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_of_continue_and_abort_suffice_and_without_an_action_they_name_it() {
    let scene = Scene::open(Setting { desired: 1, ..Setting::default() }).await;
    let hook = json!([{"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}]);
    let shifting = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "lifecycleHooks": hook,
        "minimumHealthyPercent": 100, "maximumPercent": 200});
    let change = json!({"cluster": "shop", "service": "web", "deploymentConfiguration": shifting});
    scene.call("ecs", "UpdateService", change).await;
    let both = [printed(&scene, &["continue"]).await, printed(&scene, &["abort"]).await];
    for (command, policy, serves) in [("abort", &both[1], "r0"), ("continue", &both[0], "r2")] {
        allow(&scene, &printed(&scene, &["deploy"]).await).await;
        scene.commit(if command == "abort" { "r1" } else { "r2" }, Behaviour::Serves);
        let deploying = scene.start(&["--skip-release-commands"]);
        deploying.says("it waits for a person: fargate-deploy continue --hook").await;
        for action in actions(policy).iter().filter(|action| *action != "ecs:StopServiceDeployment") {
            assert_eq!(names(&scene, policy, action, &[command]).await, 3, "{command} without {action}");
        }
        allow(&scene, policy).await;
        let (code, _, err) = run(&scene, &[command]).await;
        assert_eq!(code, 0, "{command}: {err}");
        allow(&scene, &printed(&scene, &["deploy"]).await).await;
        deploying.ended().await;
        eventually(serves, || async { (scene.answer().await.as_deref() == Some(serves)).then_some(()) }).await;
    }
    scene.close().await;
}
