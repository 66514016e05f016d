//! A plan changes nothing, and a deploy does what the plan listed.

use crate::scene::{CONFIG, Scene, Setting, definition};
use aws_stage::github::PullRequest;
use serde_json::{Value, json};
use test_support::Behaviour;

/// What a plan lists or the stage saw: in ECS call by call, of a registry the manifests, of the lease only that it was
/// taken. Layers and heartbeats belong to these.
fn essence(calls: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut essence: Vec<String> = vec![];
    for call in calls {
        let call = call.replace("registry:", "ecr:");
        match call.as_str() {
            "ssm:PutParameter" if essence.contains(&call) => {}
            "ssm:DeleteParameter" | "ecr:InitiateLayerUpload" | "ecr:UploadLayerPart" | "ecr:CompleteLayerUpload" => {}
            _ => essence.push(call),
        }
    }
    essence
}

fn listed(plan: &Value) -> Vec<String> {
    let calls = plan["plan"]["calls"].as_array().unwrap_or_else(|| panic!("no calls in {plan}"));
    essence(calls.iter().map(|call| call["action"].as_str().unwrap().to_owned()))
}

/// Plans, sees that nothing was changed, deploys, and sees that what was listed was done.
async fn plan_then_deploy(scene: &Scene, what: &str, arguments: &[&str]) -> Vec<String> {
    let mark = scene.mark();
    let planned = scene.plan(arguments, &[]).await;
    planned.succeeded("planned");
    assert_eq!(scene.mutations_since(mark), [""; 0], "{what}: the plan changed something");
    let asked = scene.calls_since(mark, |c| c.service == "secretsmanager" || c.operation.starts_with("GetParameter"));
    assert_eq!(asked, [""; 0], "{what}: the plan asked for a value");
    let mark = scene.mark();
    let run = scene.deploy(arguments).await;
    assert_eq!(run.code, 0, "{what}: {}", run.log);
    let listed = listed(&planned.json);
    assert_eq!(essence(scene.mutations_since(mark)), listed, "{what}: {}\n{}", planned.log, run.log);
    assert_eq!(planned.json["plan-changes"] == 0, listed.iter().all(|c| !c.starts_with("ecs:Register")), "{what}");
    listed
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_then_deploy_does_exactly_what_the_plan_listed_for_ten_configs() {
    let scene = Scene::open(Setting { desired: 0, ..Setting::default() }).await;
    let config = |text: &str| scene.app.write("fargate-deploy.yml", text);
    let file = |change: &dyn Fn(&mut Value)| {
        let mut body = definition();
        change(&mut body);
        scene.app.write("task-definition.json", &body.to_string());
    };

    scene.commit("r1", Behaviour::Serves);
    let calls = plan_then_deploy(&scene, "another image", &[]).await;
    let image = ["ecr:PutImage"; 3];
    let release = [
        "ssm:PutParameter",
        "ecs:RegisterTaskDefinition",
        "ecs:RegisterTaskDefinition",
        "ecs:RunTask",
        "ecs:UpdateService",
    ];
    assert_eq!(calls, [&image[..], &release[..]].concat());

    assert_eq!(plan_then_deploy(&scene, "nothing", &[]).await, [""; 0]);
    assert_eq!(plan_then_deploy(&scene, "nothing, by force", &["--force-new-deployment"]).await[1..], release[3..]);

    file(&|body| {
        body["cpu"] = json!("512");
        body["memory"] = json!("1024");
    });
    assert_eq!(plan_then_deploy(&scene, "a larger task", &[]).await, release);

    file(&|body| body["containerDefinitions"][0]["environment"] = json!([{"name": "A", "value": "hunter2"}]));
    assert_eq!(plan_then_deploy(&scene, "a variable", &["--skip-release-commands"]).await.len(), 3);

    config(
        &CONFIG
            .replace("release:\n", "")
            .replace("  - { name: migrate, service: web, command: [/bin/sh, /app/migrate], timeout: 2m }\n", ""),
    );
    scene.commit("r2", Behaviour::Serves);
    assert_eq!(plan_then_deploy(&scene, "without release commands", &[]).await.len(), 3 + 3);

    config(&format!("{CONFIG}lock: none\n"));
    scene.commit("r3", Behaviour::Serves);
    assert_eq!(plan_then_deploy(&scene, "without a lease", &[]).await, [&image[..], &release[1..]].concat());

    let content = CONFIG.replace("platform: linux/amd64,", "platform: linux/amd64, reuse: content,");
    config(&content);
    scene.commit("r3a", Behaviour::Serves);
    plan_then_deploy(&scene, "found by content", &[]).await;
    scene.commit("r3a", Behaviour::Serves);
    let calls = plan_then_deploy(&scene, "the same content of another commit", &[]).await;
    assert_eq!(calls, ["ecr:PutImage"], "its own tag: `latest` is there");

    let two = "  - { name: seed, service: web, command: [/bin/sh, /app/migrate], timeout: 2m }\nservices:";
    config(&CONFIG.replace("services:", two));
    scene.commit("r4", Behaviour::Serves);
    assert_eq!(plan_then_deploy(&scene, "two release commands", &[]).await.len(), 3 + 1 + 1 + 2 + 2 + 1);

    scene.stage.insert_database("shop-db");
    let after = "  - { name: reindex, service: web, command: [/bin/sh, /app/migrate], when: after }\nservices:";
    config(&format!("{}snapshot: shop-db\n", CONFIG.replace("services:", after)));
    scene.commit("r5", Behaviour::Serves);
    let calls = plan_then_deploy(&scene, "a snapshot, and a command afterwards", &[]).await;
    assert_eq!(calls[5], "rds:CreateDBSnapshot");
    assert_eq!(calls.last().map(String::as_str), Some("ecs:RunTask"));

    config(
        &CONFIG
            .replace("    task-definition: task-definition.json\n", "")
            .replace("shop/web,", "shop/new, create-repository: true,"),
    );
    let calls = plan_then_deploy(&scene, "the running revision as base, into a new repository", &[]).await;
    assert_eq!(calls[0], "ecr:CreateRepository");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_detailed_exit_code_is_2_with_changes_0_without_and_a_bad_config_says_config() {
    let scene = Scene::open(Setting { desired: 0, ..Setting::default() }).await;
    let flag = ["--detailed-exitcode"];
    let same = scene.plan(&flag, &[]).await;
    same.succeeded("planned");
    assert_eq!(same.json["plan-changes"], 0);
    assert!(same.log.contains("nothing to do"), "{}", same.log);

    scene.commit("r1", Behaviour::Serves);
    let changed = scene.plan(&flag, &[]).await;
    assert_eq!((changed.code, changed.json["exit-code"].as_i64()), (2, Some(2)), "{}", changed.log);
    assert_eq!((changed.outputs["outcome"].as_str(), changed.outputs["failure-reason"].as_str()), ("planned", ""));
    assert!(changed.summary.starts_with("### fargate-deploy plan"), "{}", changed.summary);

    scene.app.write("fargate-deploy.yml", &format!("{CONFIG}nonsense: true\n"));
    scene.plan(&flag, &[]).await.failed(2, "config");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_pull_request_the_image_is_built_and_not_pushed() {
    let scene = Scene::open(Setting { desired: 0, ..Setting::default() }).await;
    scene.commit("r1", Behaviour::Serves);
    let event =
        json!({"pull_request": {"number": 7, "head": {"sha": scene.sha(), "repo": {"full_name": "acme/shop"}}}});
    let event = scene.app.write("../event.json", &event.to_string()).display().to_string();
    let event = [("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_EVENT_PATH", event.as_str())];
    let mark = scene.mark();
    let built = scene.plan(&[], &event).await;
    built.succeeded("planned");
    assert!(built.log.contains("✓ build"), "{}", built.log);
    let unbuilt = scene.plan(&["--build=false"], &event).await;
    assert!(!unbuilt.log.contains("✓ build"), "{}", unbuilt.log);
    scene.app.write("Dockerfile", "FROM scratch\nCOPY nowhere /\n");
    scene.plan(&[], &event).await.failed(4, "build");
    assert_eq!(scene.mutations_since(mark), [""; 0]);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forks_pull_request_is_planned_from_its_files_without_any_call() {
    let scene = Scene::open(Setting { desired: 0, ..Setting::default() }).await;
    let event = json!({"pull_request": {"number": 7, "head": {"sha": "cafe", "repo": {"full_name": "mallory/shop"}}}});
    let event = scene.app.write("event.json", &event.to_string()).display().to_string();
    let around = [("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_EVENT_PATH", event.as_str())];
    let mark = scene.mark();
    let run = scene.plan(&["--comment"], &around).await;
    run.succeeded("planned");
    assert_eq!(run.log.matches("::notice::").count(), 1, "{}", run.log);
    assert!(run.summary.contains("offline plan"), "{}", run.summary);
    let mut bad = definition();
    bad["memory"] = json!("999");
    scene.app.write("task-definition.json", &bad.to_string());
    scene.plan(&[], &around).await.failed(2, "config");
    assert_eq!(scene.calls_since(mark, |_| true), [""; 0]);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_comment_is_kept_in_place_and_only_what_it_showed_is_deployed() {
    let scene = Scene::open(Setting { desired: 0, reports: true, ..Setting::default() }).await;
    scene.app.write("fargate-deploy.yml", &format!("{CONFIG}require-plan: true\n"));
    let github = scene.stage.github_api();
    scene.commit("r1", Behaviour::Serves);
    let head = scene.sha();
    github.add_pull_request(PullRequest { number: 7, head: head.clone(), merged_as: Some(head.clone()) });
    let event = json!({"pull_request": {"number": 7, "head": {"sha": head, "repo": {"full_name": "acme/shop"}}}});
    let event = scene.app.write("event.json", &event.to_string()).display().to_string();
    let around = [("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_EVENT_PATH", event.as_str())];

    scene.deploy(&[]).await.failed(2, "plan-stale");
    let shown = scene.plan(&["--comment", "--build=false"], &around).await;
    shown.succeeded("planned");
    scene.plan(&["--comment", "--build=false"], &around).await.succeeded("planned");
    let comments = github.comments(7);
    assert_eq!(comments.len(), 1);
    assert!(comments[0].body.contains(shown.json["plan"]["digest"].as_str().unwrap()), "{}", comments[0].body);

    let mut larger = definition();
    larger["cpu"] = json!("512");
    larger["memory"] = json!("1024");
    scene.app.write("task-definition.json", &larger.to_string());
    let mark = scene.mark();
    let stale = scene.deploy(&[]).await;
    stale.failed(2, "plan-stale");
    assert!(stale.log.contains("the changes of service `web` is not what was reviewed"), "{}", stale.log);
    let of_aws = |call: &String| !call.starts_with("github:");
    assert_eq!(scene.mutations_since(mark).into_iter().filter(of_aws).collect::<Vec<_>>(), [""; 0]);
    let told = github.comments(7).remove(0).body;
    assert!(told.contains("failed: plan-stale"), "{told}");

    scene.app.write("task-definition.json", &definition().to_string());
    scene.deploy(&[]).await.succeeded("deployed-not-verified");
    let told = github.comments(7);
    assert_eq!(told.len(), 1);
    assert!(told[0].body.contains("### fargate-deploy · ✅ deployed r"), "{}", told[0].body);
    assert!(!told[0].body.contains("plan-stale"), "the outcome of the last run stands there: {}", told[0].body);
    assert!(told[0].body.starts_with("<!-- fargate-deploy:plan"), "the plan is still found: {}", told[0].body);
    scene.close().await;
}
