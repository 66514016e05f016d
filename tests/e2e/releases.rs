//! Good releases of several shapes, and releases that somebody or something else decides about.

use crate::scene::{Scene, Setting, container, definition};
use aws_stage::behavior::{Behavior, InjectedFailure, SupersededServiceDeployment};
use serde_json::{Value, json};
use test_support::Behaviour;

#[tokio::test(flavor = "multi_thread")]
async fn every_output_is_set_and_the_new_digest_answers() {
    let scene = Scene::open(Setting::default()).await;
    let before = scene.service().await["taskDefinition"].clone();
    scene.commit("r1", Behaviour::Serves);
    let run = scene.deploy(&[]).await;
    run.succeeded("deployed");
    scene.serves("r1", run.digest()).await;
    let service = scene.service().await;
    assert_eq!(service["taskDefinition"], run.json["task-definition-arn"]);
    assert_eq!(run.json["previous-task-definition-arn"], before);
    assert_eq!(run.json["release"], "r2");
    assert_eq!(run.json["migration-exit-code"], 0);
    assert!(scene.migrations().await.iter().any(|t| t["taskArn"] == run.json["migration-task-arn"]));
    for (output, value) in &run.outputs {
        let text = match &run.json[output] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert_eq!(*value, text, "{output}");
    }
    let names: Vec<_> = run.outputs.keys().map(String::as_str).collect();
    for name in ["outcome", "failure-reason", "image", "digest", "rolled-back", "url", "plan-changes"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(run.summary.contains("r2"), "{}", run.summary);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_desired_count_0_is_deployed_and_not_verified() {
    let scene = Scene::open(Setting { desired: 0, ..Setting::default() }).await;
    scene.commit("r1", Behaviour::Crashes);
    let run = scene.deploy(&[]).await;
    run.succeeded("deployed-not-verified");
    assert!(run.log.contains("the desired count is 0"), "{}", run.log);
    let service = scene.service().await;
    assert_eq!((&service["desiredCount"], &service["runningCount"]), (&json!(0), &json!(0)));
    assert_eq!(service["taskDefinition"], run.json["task-definition-arn"]);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_no_sdk_knows_arrive_as_they_are() {
    let scene = Scene::open(Setting { desired: 0, ..Setting::default() }).await;
    let arn = scene.service().await["taskDefinition"].clone();
    let found = scene.call("ecs", "DescribeTaskDefinition", json!({"taskDefinition": arn})).await;
    let registered = &found["taskDefinition"];
    let mut expected = definition();
    assert_eq!(registered["unheardOf"].to_string(), expected["unheardOf"].to_string());
    let image = registered["containerDefinitions"][0]["image"].clone();
    assert!(image.as_str().unwrap().contains("/shop/web@sha256:"), "{image}");
    expected["containerDefinitions"][0]["image"] = image;
    // What AWS adds to a port mapping; the rest comes back as it was sent.
    let mapping = json!([{"containerPort": 3000, "hostPort": 3000, "protocol": "tcp"}]);
    expected["containerDefinitions"][0]["portMappings"] = mapping;
    for (member, value) in expected["containerDefinitions"][0].as_object().unwrap() {
        assert_eq!(registered["containerDefinitions"][0][member], *value, "{member}");
    }
    scene.close().await;
}

/// Somebody else's revision of the family, with a fourth environment variable; the service is told to run it.
async fn changed_by_hand(scene: &Scene) -> String {
    let arn = scene.service().await["taskDefinition"].clone();
    let found = scene.call("ecs", "DescribeTaskDefinition", json!({"taskDefinition": arn})).await;
    let mut body = found["taskDefinition"].clone();
    for read_only in [
        "taskDefinitionArn",
        "revision",
        "status",
        "requiresAttributes",
        "compatibilities",
        "registeredAt",
        "registeredBy",
        "deregisteredAt",
        "deleteRequestedAt",
    ] {
        body.as_object_mut().unwrap().remove(read_only);
    }
    body["containerDefinitions"][0]["environment"] = json!([{"name": "BY_HAND", "value": "yes"}]);
    let registered = scene.call("ecs", "RegisterTaskDefinition", body).await;
    registered["taskDefinition"]["taskDefinitionArn"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_the_revision_that_runs_is_the_base_and_not_the_newest() {
    let config = crate::scene::CONFIG.replace("    task-definition: task-definition.json\n", "");
    let scene = Scene::open(Setting { config, ..Setting::default() }).await;
    let theirs = changed_by_hand(&scene).await;
    scene.commit("r1", Behaviour::Serves);
    let run = scene.deploy(&[]).await;
    run.succeeded("deployed");
    scene.serves("r1", run.digest()).await;
    let found =
        scene.call("ecs", "DescribeTaskDefinition", json!({"taskDefinition": run.json["task-definition-arn"]})).await;
    let registered = &found["taskDefinition"];
    assert_ne!(registered["taskDefinitionArn"], theirs.as_str());
    assert_eq!(registered["containerDefinitions"][0]["environment"].as_array().map_or(0, Vec::len), 0);
    assert_eq!(registered["unheardOf"].to_string(), definition()["unheardOf"].to_string());

    // Once the service runs theirs, theirs is the base.
    scene.call("ecs", "UpdateService", json!({"cluster": "shop", "service": "web", "taskDefinition": theirs})).await;
    test_support::eventually("their revision serves", || async {
        let service = scene.service().await;
        let only = service["deployments"].as_array().unwrap().len() == 1;
        (only && service["deployments"][0]["rolloutState"] == "COMPLETED").then_some(())
    })
    .await;
    scene.commit("r2", Behaviour::Serves);
    let run = scene.deploy(&[]).await;
    run.succeeded("deployed");
    scene.serves("r2", run.digest()).await;
    let found =
        scene.call("ecs", "DescribeTaskDefinition", json!({"taskDefinition": run.json["task-definition-arn"]})).await;
    let environment = &found["taskDefinition"]["containerDefinitions"][0]["environment"];
    assert_eq!(*environment, json!([{"name": "BY_HAND", "value": "yes"}]));
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_containers_of_one_task_move_together() {
    let mut definition = definition();
    let mut proxy = container("proxy");
    proxy["portMappings"] = json!([]);
    proxy["healthCheck"] =
        json!({"command": ["CMD", "/bin/sh", "-c", "exit 0"], "interval": 5, "retries": 2, "timeout": 5});
    definition["containerDefinitions"].as_array_mut().unwrap().push(proxy);
    let config = crate::scene::CONFIG
        .replace("release:\n", "  proxy: { repository: shop/proxy, context: proxy, dockerfile: proxy/Dockerfile, platform: linux/amd64 }\nrelease:\n")
        .replace("{ app: app }", "{ app: app, proxy: proxy }")
        .replace("service: web, command", "service: web, container: app, command");
    let scene = Scene::open_with(Setting { config, definition, ..Setting::default() }, |app| {
        std::fs::create_dir_all(app.path().join("proxy")).unwrap();
        std::fs::copy(app.path().join("busybox"), app.path().join("proxy/busybox")).unwrap();
        app.write(
            "proxy/Dockerfile",
            "FROM scratch\nCOPY busybox /bin/sh\nCOPY serve /serve\nCMD [\"/bin/sh\", \"/serve\"]\n",
        );
        app.write("proxy/serve", "echo proxy 0\ntrap 'exit 0' TERM\nwhile :; do sleep 0.2; done\n");
    })
    .await;
    scene.commit("r1", Behaviour::Serves);
    scene.app.write("proxy/serve", "echo proxy 1\ntrap 'exit 0' TERM\nwhile :; do sleep 0.2; done\n");
    let mark = scene.mark();
    let run = scene.deploy(&[]).await;
    run.succeeded("deployed");
    let images = run.json["images"].as_array().unwrap();
    let mut digests: Vec<_> = images.iter().map(|i| i["digest"].as_str().unwrap().to_owned()).collect();
    digests.sort();
    assert_eq!(digests.len(), 2);
    assert_eq!(scene.running_digests().await.into_iter().collect::<Vec<_>>(), digests);
    assert_eq!(scene.answer().await.as_deref(), Some("r1"));
    let updates = scene.mutations_since(mark);
    assert_eq!(updates.iter().filter(|call| *call == "ecs:UpdateService").count(), 1, "{updates:?}");
    scene.close().await;
}

async fn superseded(how: SupersededServiceDeployment) {
    let behavior = Behavior { superseded_service_deployment: how, ..Behavior::impatient() };
    let scene = Scene::open(Setting { behavior, ..Setting::default() }).await;
    let theirs = changed_by_hand(&scene).await;
    scene.stage.failure_injection().set(InjectedFailure::SlowStarts);
    scene.commit("r1", Behaviour::Serves);
    let mark = scene.mark();
    let running = scene.start(&["--skip-release-commands"]);
    running.says("deployment ecs-svc/").await;
    scene.call("ecs", "UpdateService", json!({"cluster": "shop", "service": "web", "taskDefinition": theirs})).await;
    scene.stage.failure_injection().set(InjectedFailure::None);
    let run = running.ended().await;
    run.failed(8, "superseded");
    assert!(run.log.contains("a newer deployment owns it"), "{}", run.log);
    let updates = scene.mutations_since(mark);
    assert_eq!(updates.iter().filter(|call| *call == "ecs:UpdateService").count(), 1, "{updates:?}");
    assert!(!updates.contains(&"ecs:StopServiceDeployment".to_owned()), "{updates:?}");
    assert_eq!(scene.service().await["taskDefinition"], theirs.as_str());
    assert_eq!(scene.lease().await["isReleased"], true);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_a_newer_one_stopped_is_superseded() {
    superseded(SupersededServiceDeployment::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_a_newer_one_replaced_silently_is_superseded() {
    superseded(SupersededServiceDeployment::InProgressForever).await;
}

/// One that waits, and that nothing checks but ECS.
fn waiting() -> Value {
    let mut waiting = definition();
    waiting["family"] = json!("waiting");
    let app = waiting["containerDefinitions"][0].as_object_mut().unwrap();
    app.remove("healthCheck");
    app.remove("portMappings");
    app.insert("command".to_owned(), json!(["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]));
    waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_services_are_one_release() {
    let scene = Scene::open(Setting { desired: 1, ..Setting::default() }).await;
    scene.app.write("waiting.json", &waiting().to_string());
    let registered = scene.call("ecs", "RegisterTaskDefinition", waiting()).await;
    let mut config = crate::scene::CONFIG.to_owned();
    let names: Vec<String> = (1..50).map(|n| format!("worker{n}")).collect();
    for name in &names {
        let service = json!({
            "cluster": "shop", "serviceName": name, "desiredCount": 0, "launchType": "FARGATE",
            "taskDefinition": registered["taskDefinition"]["taskDefinitionArn"],
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}},
            "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true},
                "minimumHealthyPercent": 100, "maximumPercent": 200},
        });
        scene.call("ecs", "CreateService", service).await;
        let entry = format!("  {name}: {{ containers: {{ app: app }}, task-definition: waiting.json }}\nwait:");
        config = config.replacen("wait:", &entry, 1);
    }
    for name in names.iter().filter(|name| name.len() == "worker1".len()) {
        scene.call("ecs", "UpdateService", json!({"cluster": "shop", "service": name, "desiredCount": 1})).await;
    }
    scene.app.write("fargate-deploy.yml", &config);
    scene.commit("r1", Behaviour::Serves);
    let mark = scene.mark();
    let began = std::time::Instant::now();
    let run = scene.deploy(&[]).await;
    println!("50 services: {:?}, {} calls", began.elapsed(), scene.mark() - mark);
    run.succeeded("deployed");
    for names in names.chunks(10) {
        let found = scene.call("ecs", "DescribeServices", json!({"cluster": "shop", "services": names})).await;
        for service in found["services"].as_array().unwrap() {
            let revision =
                scene.call("ecs", "DescribeTaskDefinition", json!({"taskDefinition": service["taskDefinition"]})).await;
            let image = &revision["taskDefinition"]["containerDefinitions"][0]["image"];
            assert!(image.as_str().unwrap().ends_with(run.digest()), "{}: {image}", service["serviceName"]);
            assert_eq!(service["runningCount"], service["desiredCount"], "{}", service["serviceName"]);
        }
    }
    scene.serves("r1", run.digest()).await;
    scene.close().await;
}
