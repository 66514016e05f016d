//! `logs` of real containers, across a rollout.

use crate::scene::{CONFIG, Scene, Setting};
use serde_json::json;
use std::collections::BTreeMap;
use test_support::{Behaviour, eventually};

/// Lines as objects, by task; a line is `tick TASK-LOCAL-NUMBER`.
fn ticks(text: &str) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if let Some(number) = line["message"].as_str().unwrap().strip_prefix("tick ") {
            found.entry(line["task"].as_str().unwrap().to_owned()).or_default().push(number.parse().unwrap());
        }
    }
    found
}

/// A server that counts on its log, and says when it is told to stop.
const TICKING: &str = "trap 'echo stopping; exit 0' TERM\nhttpd -p 3000 -h /app/www\nn=0\n\
    while :; do n=$((n+1)); echo tick $n; [ $((n % 20)) = 0 ] && sleep 0.1; done\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_every_task_is_told_once_across_a_rollout_and_the_dead_ones_stay_readable() {
    let config = CONFIG.lines().filter(|line| !line.starts_with("role:")).map(|line| format!("{line}\n")).collect();
    let scene = Scene::open(Setting { config, is_signed_in: true, ..Setting::default() }).await;
    let following = scene.typed(&["logs", "-f", "--json", "-n", "0"]);
    scene.commit("r1", Behaviour::Serves);
    scene.app.write("app/serve", TICKING);
    let deployed = scene.deploy(&["--skip-release-commands"]).await;
    deployed.succeeded("deployed");
    let of_service = |tasks: Vec<serde_json::Value>| -> Vec<String> {
        let ours = tasks.into_iter().filter(|task| task["group"] == "service:web");
        ours.map(|task| task["taskArn"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    let first = of_service(scene.tasks("RUNNING").await);
    eventually("both tasks are followed", || async {
        first.iter().all(|id| ticks(&following.printed()).contains_key(id)).then_some(())
    })
    .await;
    scene.commit("r2", Behaviour::Serves);
    scene.app.write("app/serve", TICKING);
    scene.deploy(&["--skip-release-commands"]).await.succeeded("deployed");
    let second = of_service(scene.tasks("RUNNING").await);
    eventually("the new tasks are followed", || async {
        second.iter().all(|id| ticks(&following.printed()).get(id).is_some_and(|all| all.len() > 200)).then_some(())
    })
    .await;
    // What the first two have said in all is known now: they have stopped.
    eventually("the old tasks are read to their end", || async {
        let text = following.printed();
        let stopped =
            |id: &String| text.lines().any(|line| line.contains(id.as_str()) && line.contains("\"stopping\""));
        first.iter().all(stopped).then_some(())
    })
    .await;
    following.signal("INT");
    let (code, out, err) = following.ended().await;
    assert_eq!(code, 0, "{err}");
    let told = ticks(&out);
    for id in first.iter().chain(&second) {
        let numbers = &told[id];
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert!(*numbers == expected, "{id}: lost, twice or out of order");
    }
    for id in &first {
        let stream =
            json!({"logGroupName": "/ecs/web", "logStreamNames": [format!("web/app/{id}")], "filterPattern": "tick"});
        let mut count = 0;
        let mut body = stream.clone();
        loop {
            let page = scene.call("logs", "FilterLogEvents", body.clone()).await;
            count += page["events"].as_array().unwrap().len();
            let Some(token) = page["nextToken"].as_str() else { break };
            body["nextToken"] = json!(token);
        }
        assert_eq!(told[id].len(), count, "{id}");
    }

    let (code, out, err) = scene.typed(&["logs", "--previous", "-n", "5"]).ended().await;
    assert_eq!((code, out.lines().count()), (0, 5), "{err}");
    assert!(first.iter().any(|id| err.contains(&format!("web/{id} stopped: "))), "{err}");
    let (code, out, err) = scene.typed(&["logs", "--task", &first[0][..8], "--no-prefix", "-n", "1"]).ended().await;
    assert_eq!((code, out.as_str()), (0, "stopping\n"), "{err}");
    let (code, out, err) = scene.typed(&["logs", "-s", "web", "-n", "3", "--utc", "--container", "app"]).ended().await;
    assert_eq!(code, 0, "{err}");
    let is_prefixed = |line: &str| line.starts_with("web/") && line.contains(" app ") && line.contains("Z | tick ");
    assert!(out.lines().count() == 3 && out.lines().all(is_prefixed), "{out}");
    let (code, _, err) = scene.typed(&["logs", "-s", "wbe"]).ended().await;
    assert!(code == 2 && err.contains("did you mean `web`?"), "{code}: {err}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_permission_it_ends_with_3_and_the_statement() {
    let scene = Scene::open(Setting { desired: 1, ..Setting::default() }).await;
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "logs:*", "Resource": "*"}]});
    let policy = json!({"RoleName": "shop-deploy", "PolicyName": "deploy", "PolicyDocument": policy.to_string()});
    scene.call("iam", "PutRolePolicy", policy).await;
    let run = scene.run("logs", &[]).await;
    run.failed(3, "permission");
    assert!(run.log.contains("logs:GetLogEvents"), "{}", run.log);
    scene.close().await;
}
