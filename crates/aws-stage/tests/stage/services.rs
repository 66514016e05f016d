//! Services of the stage with real containers behind a real load balancer.

use std::time::{Duration, Instant};

use aws_stage::behavior::{Behavior, InjectedFailure};
use aws_stage::{LABEL, Stage, StageOptions};
use bollard::Docker;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

/// A stage with a cluster, a service behind a target group, and an image of busybox alone.
struct Fixture {
    stage: Stage,
    engine: Docker,
    image: String,
    group: String,
}

impl Fixture {
    async fn new(behavior: Behavior) -> Self {
        let stage = Stage::start(StageOptions { behavior, ..StageOptions::default() }).await.unwrap();
        let engine = Docker::connect_with_defaults().unwrap();
        let image = format!("stage-services-{}:1", stage.id());
        import_busybox(&engine, &image).await;
        call(&stage, "ecs", "CreateCluster", json!({ "clusterName": "main" })).await;
        let group = json!({
            "Name": "web", "Protocol": "HTTP", "Port": 80, "TargetType": "ip", "VpcId": "vpc-1",
            "HealthCheckPath": "/", "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2, "HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2,
        });
        let made = call(&stage, "elasticloadbalancing", "CreateTargetGroup", group).await;
        let group = made["TargetGroups"][0]["TargetGroupArn"].as_str().unwrap().to_owned();
        Self { stage, engine, image, group }
    }

    /// Registers a revision that runs `script`, and answers its ARN.
    async fn register(&self, script: &str) -> String {
        let definition = json!({
            "family": "web", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
            "containerDefinitions": [{
                "name": "app", "image": self.image, "stopTimeout": 2, "portMappings": [{ "containerPort": 80 }],
                "command": ["/bin/busybox", "sh", "-c", script],
            }],
        });
        let made = self.ecs("RegisterTaskDefinition", definition).await;
        made["taskDefinition"]["taskDefinitionArn"].as_str().unwrap().to_owned()
    }

    async fn create(&self, definition: &str, desired: usize) {
        self.ecs("CreateService", json!({
            "cluster": "main", "serviceName": "web", "taskDefinition": definition, "desiredCount": desired, "launchType": "FARGATE",
            "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"] } },
            "loadBalancers": [{ "targetGroupArn": self.group, "containerName": "app", "containerPort": 80 }],
            "deploymentConfiguration": { "deploymentCircuitBreaker": { "enable": true, "rollback": true } },
        }))
        .await;
    }

    /// Answers the id of the deployment that the update begins.
    async fn deploy(&self, definition: &str) -> String {
        let body = json!({ "cluster": "main", "service": "web", "taskDefinition": definition });
        let answer = self.ecs("UpdateService", body).await;
        answer["service"]["deployments"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn ecs(&self, operation: &str, body: Value) -> Value {
        call(&self.stage, "ecs", operation, body).await
    }

    async fn service(&self) -> Value {
        self.ecs("DescribeServices", json!({ "cluster": "main", "services": ["web"] })).await["services"][0].clone()
    }

    /// Waits until the service has one deployment that is COMPLETED and runs `definition`.
    async fn settled(&self, definition: &str) -> Value {
        self.until(|service| {
            let deployments = service["deployments"].as_array().unwrap();
            deployments.len() == 1
                && deployments[0]["rolloutState"] == "COMPLETED"
                && deployments[0]["taskDefinition"] == definition
        })
        .await
    }

    async fn until(&self, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let service = self.service().await;
            if holds(&service) {
                return service;
            }
            assert!(began.elapsed() < Duration::from_secs(90), "never: {service:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the load balancer answers.
    async fn get(&self) -> Result<String, String> {
        let address = self.stage.listener(&self.group).unwrap();
        let answer = reqwest::get(format!("http://{address}/")).await.map_err(|e| format!("{e:?}"))?;
        let answer = answer.error_for_status().map_err(|e| e.to_string())?;
        Ok(answer.text().await.map_err(|e| e.to_string())?.trim().to_owned())
    }

    async fn end(self) {
        let filter = [("label".to_owned(), vec![format!("{LABEL}={}", self.stage.id())])].into();
        self.stage.shutdown().await;
        let options =
            bollard::query_parameters::ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let left = self.engine.list_containers(Some(options)).await.unwrap();
        assert_eq!(left.len(), 0, "containers are left: {left:?}");
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        self.engine.remove_image(&self.image, Some(options), None).await.unwrap();
    }
}

pub async fn call(stage: &Stage, service: &str, operation: &str, body: Value) -> Value {
    stage.call(service, operation, body).await.unwrap_or_else(|e| panic!("{operation}: {e:?}"))
}

pub async fn import_busybox(engine: &Docker, image: &str) {
    let busybox =
        std::fs::read("/bin/busybox").expect("these tests need a static busybox: apt-get install -y busybox-static");
    import_program(engine, image, "bin/busybox", &busybox).await;
}

/// An image of one program, and a folder that everybody may write to.
pub async fn import_program(engine: &Docker, image: &str, path: &str, program: &[u8]) {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    archive.append_data(&mut header, path, program).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o777);
    archive.append_data(&mut header, "www", std::io::empty()).unwrap();
    let body = bollard::body_full(archive.into_inner().unwrap().into());
    let (repository, tag) = image.split_once(':').unwrap();
    let options = CreateImageOptionsBuilder::default().from_src("-").repo(repository).tag(tag).build();
    engine.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
}

fn serving(word: &str) -> String {
    format!("echo {word} > /www/index.html; exec /bin/busybox httpd -f -p 80 -h /www")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_replaces_the_old_one_under_traffic_and_a_crashing_one_is_rolled_back() {
    let cluster = Fixture::new(Behavior::impatient()).await;
    let first = cluster.register(&serving("one")).await;
    cluster.create(&first, 2).await;
    cluster.settled(&first).await;
    assert_eq!(cluster.get().await.unwrap(), "one");

    let second = cluster.register(&serving("two")).await;
    let good = cluster.deploy(&second).await;
    loop {
        let served = cluster.get().await.expect("every request is answered during the deployment");
        assert!(served == "one" || served == "two", "{served}");
        let service = cluster.service().await;
        if service["deployments"].as_array().unwrap().len() == 1
            && service["deployments"][0]["rolloutState"] == "COMPLETED"
        {
            break;
        }
    }
    assert_eq!(cluster.get().await.unwrap(), "two");

    let third = cluster.register("exit 1").await;
    let bad = cluster.deploy(&third).await;
    let service = cluster.until(|service| service["events"].to_string().contains("rolling back to deployment")).await;
    assert_eq!(service["deployments"][0]["id"], json!(good));
    assert_eq!(cluster.get().await.unwrap(), "two");
    cluster.settled(&second).await;
    let listed = cluster.ecs("ListServiceDeployments", json!({ "cluster": "main", "service": "web" })).await;
    let arn = listed["serviceDeployments"][0]["serviceDeploymentArn"].clone();
    assert_eq!(listed["serviceDeployments"][0]["status"], "ROLLBACK_SUCCESSFUL");
    let body = json!({ "serviceDeploymentArns": [arn] });
    let described = cluster.ecs("DescribeServiceDeployments", body).await["serviceDeployments"][0].clone();
    assert_eq!(described["deploymentCircuitBreaker"]["status"], "TRIGGERED");
    assert_eq!(described["rollback"]["serviceRevisionArn"], described["sourceServiceRevisions"][0]["arn"]);

    let body = json!({ "cluster": "main", "startedBy": bad, "desiredStatus": "STOPPED" });
    let failed = cluster.ecs("ListTasks", body).await["taskArns"].as_array().unwrap().len();
    assert!(failed >= 3, "{failed} tasks of the failed deployment can be listed");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_never_answers_its_health_checks_is_rolled_back() {
    let cluster = Fixture::new(Behavior::impatient()).await;
    let first = cluster.register(&serving("one")).await;
    cluster.create(&first, 1).await;
    cluster.settled(&first).await;
    let deaf = cluster.register("trap 'exit 0' TERM; while :; do /bin/busybox sleep 0.1; done").await;
    cluster.deploy(&deaf).await;
    let service = cluster.until(|service| service["events"].to_string().contains("rolling back")).await;
    assert!(service["events"].to_string().contains("(port 80) is unhealthy in (target-group"));
    assert_eq!(cluster.get().await.unwrap(), "one");
    cluster.settled(&first).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sabotaged_tasks_fail_a_deployment_and_a_deleted_service_leaves_nothing() {
    let cluster = Fixture::new(Behavior::impatient()).await;
    let first = cluster.register(&serving("one")).await;
    cluster.create(&first, 1).await;
    cluster.settled(&first).await;
    for kind in [InjectedFailure::CrashNewTasks, InjectedFailure::UnhealthyNewTasks] {
        let next = cluster.register(&serving("next")).await;
        cluster.stage.failure_injection().set(kind);
        let bad = cluster.deploy(&next).await;
        cluster.until(|service| service["deployments"][0]["id"] != json!(bad)).await;
        cluster.stage.failure_injection().set(InjectedFailure::None);
        cluster.settled(&first).await;
    }
    cluster.ecs("DeleteService", json!({ "cluster": "main", "service": "web", "force": true })).await;
    cluster.until(|service| service["status"] == "INACTIVE").await;
    let running = cluster.ecs("ListTasks", json!({ "cluster": "main" })).await;
    assert_eq!(running["taskArns"], json!([]));
    cluster.end().await;
}
