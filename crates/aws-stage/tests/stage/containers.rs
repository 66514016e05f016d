//! What a container finds on Fargate, and how long an application is given: with real containers.

use std::time::{Duration, Instant};

use aws_stage::behavior::Behavior;
use aws_stage::{Stage, StageOptions};
use bollard::Docker;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveImageOptionsBuilder};
use serde_json::{Value, json};

use crate::services::{call, import_busybox};

/// A stage at its default pace, with a cluster, a log group and an image of busybox alone.
struct Fixture {
    stage: Stage,
    engine: Docker,
    image: String,
}

impl Fixture {
    async fn new() -> Self {
        let options = StageOptions { behavior: Behavior::default(), ..StageOptions::default() };
        let stage = Stage::start(options).await.unwrap();
        let engine = Docker::connect_with_defaults().unwrap();
        let image = format!("stage-containers-{}:1", stage.id());
        import_busybox(&engine, &image).await;
        call(&stage, "ecs", "CreateCluster", json!({ "clusterName": "main" })).await;
        call(&stage, "logs", "CreateLogGroup", json!({ "logGroupName": "/ecs/app" })).await;
        let trust = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": { "Service": "ecs-tasks.amazonaws.com" }, "Action": "sts:AssumeRole" }] });
        let role = json!({ "RoleName": "execution", "AssumeRolePolicyDocument": trust.to_string() });
        call(&stage, "iam", "CreateRole", role).await;
        let fixture = Self { stage, engine, image };
        fixture.agent_may(&["logs:CreateLogStream", "logs:PutLogEvents"]).await;
        fixture
    }

    /// What the execution role of every task may do.
    async fn agent_may(&self, actions: &[&str]) {
        let policy = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": actions, "Resource": "*" }] });
        let body = json!({ "RoleName": "execution", "PolicyName": "agent", "PolicyDocument": policy.to_string() });
        call(&self.stage, "iam", "PutRolePolicy", body).await;
    }

    /// A container that runs `script` and logs.
    fn container(&self, name: &str, script: &str) -> Value {
        json!({
            "name": name, "image": self.image, "command": ["/bin/busybox", "sh", "-c", script], "stopTimeout": 2,
            "logConfiguration": { "logDriver": "awslogs", "options": {
                "awslogs-group": "/ecs/app", "awslogs-region": "eu-central-1", "awslogs-stream-prefix": "app",
            } },
        })
    }

    async fn register(&self, containers: Value, volumes: Value) -> String {
        let definition = json!({
            "family": "app", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
            "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
            "taskRoleArn": "arn:aws:iam::123456789012:role/app",
            "containerDefinitions": containers, "volumes": volumes,
        });
        let made = call(&self.stage, "ecs", "RegisterTaskDefinition", definition).await;
        made["taskDefinition"]["taskDefinitionArn"].as_str().unwrap().to_owned()
    }

    /// Runs a task to its end. The task, and what the container `app` wrote.
    async fn run(&self, containers: Value, volumes: Value) -> (Value, String) {
        let definition = self.register(containers, volumes).await;
        let network = json!({ "awsvpcConfiguration": { "subnets": ["subnet-1"] } });
        let body = json!({
            "cluster": "main", "taskDefinition": definition, "launchType": "FARGATE", "networkConfiguration": network,
        });
        let task = call(&self.stage, "ecs", "RunTask", body).await["tasks"][0]["taskArn"].clone();
        let began = Instant::now();
        loop {
            let body = json!({ "cluster": "main", "tasks": [task] });
            let found = call(&self.stage, "ecs", "DescribeTasks", body).await["tasks"][0].clone();
            if found["lastStatus"] == "STOPPED" {
                let id = task.as_str().unwrap().rsplit('/').next().unwrap();
                return (found, self.log(&format!("app/app/{id}")).await);
            }
            assert!(began.elapsed() < Duration::from_secs(60), "never: {found:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn log(&self, stream: &str) -> String {
        let body = json!({ "logGroupName": "/ecs/app", "logStreamName": stream, "startFromHead": true });
        let Ok(answer) = self.stage.call("logs", "GetLogEvents", body).await else { return "no stream".to_owned() };
        let lines = answer["events"].as_array().unwrap().iter().map(|event| event["message"].as_str().unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Creates a service of one task and waits for the end of its first deployment: its `rolloutState`.
    async fn deployed(&self, name: &str, definition: &str, load_balancers: Value) -> String {
        let body = json!({
            "cluster": "main", "serviceName": name, "taskDefinition": definition, "desiredCount": 1,
            "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"] } },
            "loadBalancers": load_balancers, "launchType": "FARGATE",
            "deploymentConfiguration": { "deploymentCircuitBreaker": { "enable": true, "rollback": false } },
        });
        call(&self.stage, "ecs", "CreateService", body).await;
        let began = Instant::now();
        loop {
            let body = json!({ "cluster": "main", "services": [name] });
            let service = call(&self.stage, "ecs", "DescribeServices", body).await["services"][0].clone();
            let state = service["deployments"][0]["rolloutState"].as_str().unwrap().to_owned();
            if state != "IN_PROGRESS" {
                return state;
            }
            assert!(began.elapsed() < Duration::from_secs(90), "never: {service:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn end(self) {
        let id = self.stage.id().to_owned();
        self.stage.shutdown().await;
        let filters = [("label".to_owned(), vec![format!("{}={id}", aws_stage::LABEL)])].into();
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let left = self.engine.list_volumes(Some(options)).await.unwrap().volumes.unwrap_or_default();
        assert_eq!(left.len(), 0, "volumes are left: {left:?}");
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        self.engine.remove_image(&self.image, Some(options), None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_not_listen_below_port_1024_and_may_above_it() {
    let fixture = Fixture::new().await;
    for (user, port, code) in [("1000", 80, 1), ("1000", 8080, 0), ("0", 80, 0)] {
        let mut app = fixture.container("app", &format!("/bin/busybox httpd -p {port} && echo up"));
        app["user"] = json!(user);
        let (task, log) = fixture.run(json!([app]), json!([])).await;
        assert_eq!(task["containers"][0]["exitCode"], code, "{user} on {port}: {log}");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_share_a_volume_that_ends_with_the_task_and_a_file_system_that_does_not() {
    let fixture = Fixture::new().await;
    let mount = |volume: &str, path: &str, read_only: bool| json!({ "sourceVolume": volume, "containerPath": path, "readOnly": read_only });
    let mut init = fixture.container("init", "echo one >/data/x; echo two >>/shared/y");
    init["essential"] = json!(false);
    init["mountPoints"] = json!([mount("scratch", "/data", false), mount("files", "/shared", false)]);
    let script = "cat /in/x; cat /shared/y; touch /in/z 2>/dev/null || echo read-only;";
    let mut app =
        fixture.container("app", &script.replace("cat", "/bin/busybox cat").replace("touch", "/bin/busybox touch"));
    app["mountPoints"] = json!([mount("scratch", "/in", true), mount("files", "/shared", false)]);
    app["dependsOn"] = json!([{ "containerName": "init", "condition": "SUCCESS" }]);
    let volumes =
        json!([{ "name": "scratch" }, { "name": "files", "efsVolumeConfiguration": { "fileSystemId": "fs-1" } }]);
    for expected in ["one\ntwo\n", "one\ntwo\ntwo\n"] {
        let (task, log) = fixture.run(json!([app, init]), volumes.clone()).await;
        assert!(log.starts_with(expected), "{task:#}: {log}");
        assert!(log.ends_with("read-only"), "{log}");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_finds_its_region_its_metadata_and_its_roles_credentials() {
    let fixture = Fixture::new().await;
    let get = "/bin/busybox wget -qO-";
    let script = format!(
        "echo $AWS_REGION $AWS_EXECUTION_ENV; {get} $ECS_CONTAINER_METADATA_URI_V4; echo; {get} $ECS_CONTAINER_METADATA_URI_V4/task; echo; {get} $AWS_CONTAINER_CREDENTIALS_FULL_URI; echo"
    );
    let (task, log) = fixture.run(json!([fixture.container("app", &script)]), json!([])).await;
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "eu-central-1 AWS_ECS_FARGATE", "{log}");
    assert_eq!(lines.len(), 4, "{log}");
    let [container, of_task, credentials] =
        [1, 2, 3].map(|line| serde_json::from_str::<Value>(lines[line]).unwrap_or_else(|e| panic!("{e}: {log}")));
    assert_eq!((&container["Name"], &container["KnownStatus"]), (&json!("app"), &json!("RUNNING")));
    assert_eq!((&of_task["TaskARN"], &of_task["Family"]), (&task["taskArn"], &json!("app")));
    assert_eq!(of_task["Limits"], json!({ "CPU": 0.25, "Memory": 512.0 }));
    assert_eq!(credentials["RoleArn"], "arn:aws:iam::123456789012:role/app");
    assert!(credentials["AccessKeyId"].as_str().unwrap().starts_with("ASIA"), "{log}");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_files_limits_an_init_process_and_a_read_only_root_are_as_on_fargate() {
    let fixture = Fixture::new().await;
    fixture.stage.insert_object("files", "app.env", b"# a comment\nFROM_FILE=one\nBOTH=file\nnothing\n".to_vec());
    let script = "echo $FROM_FILE $BOTH; ulimit -n; /bin/busybox readlink /proc/1/exe; echo $$; /bin/busybox touch /x 2>/dev/null || echo read-only; /bin/busybox grep CapBnd /proc/self/status";
    let mut app = fixture.container("app", script);
    app["environmentFiles"] = json!([{ "type": "s3", "value": "arn:aws:s3:::files/app.env" }]);
    app["environment"] = json!([{ "name": "BOTH", "value": "definition" }]);
    app["ulimits"] = json!([{ "name": "nofile", "softLimit": 1234, "hardLimit": 2345 }]);
    app["linuxParameters"] = json!({ "initProcessEnabled": true, "capabilities": { "drop": ["NET_RAW"] } });
    app["readonlyRootFilesystem"] = json!(true);
    let (_, log) = fixture.run(json!([app]), json!([])).await;
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[..2], ["one definition", "1234"], "the definition wins over the file: {log}");
    assert!(!lines[2].ends_with("busybox") && lines[3] != "1", "an init process is PID 1: {log}");
    assert_eq!(lines[4], "read-only", "{log}");
    let capabilities = u64::from_str_radix(lines[5].split_whitespace().last().unwrap(), 16).unwrap();
    assert_eq!(capabilities & (1 << 13), 0, "NET_RAW was dropped: {log}");

    let mut missing = fixture.container("app", "exit 0");
    missing["environmentFiles"] = json!([{ "type": "s3", "value": "arn:aws:s3:::files/none.env" }]);
    let (task, _) = fixture.run(json!([missing]), json!([])).await;
    assert_eq!(task["stopCode"], "TaskFailedToStart");
    let reason = task["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("ResourceInitializationError: failed to download env files"), "{reason}");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_neutral_server_answers_every_request_again_and_again_and_hears_a_stop() {
    let fixture = Fixture::new().await;
    let architecture = fixture.engine.version().await.unwrap().arch.unwrap();
    let program = aws_stage::neutral_server(&architecture, Some(8080)).unwrap();
    let image = format!("stage-neutral-{}:1", fixture.stage.id());
    crate::services::import_program(&fixture.engine, &image, "serve", &program).await;
    let app = json!({
        "name": "app", "image": image, "entryPoint": ["/serve"], "portMappings": [{ "containerPort": 8080 }],
        "linuxParameters": { "initProcessEnabled": true },
    });
    let group = json!({
        "Name": "neutral", "Protocol": "HTTP", "Port": 8080, "TargetType": "ip", "VpcId": "vpc-1", "HealthCheckPath": "/any",
    });
    let made = call(&fixture.stage, "elasticloadbalancing", "CreateTargetGroup", group).await;
    let group = made["TargetGroups"][0]["TargetGroupArn"].clone();
    let url = format!("http://{}/", fixture.stage.listener(group.as_str().unwrap()).unwrap());
    let balancers = json!([{ "targetGroupArn": group, "containerName": "app", "containerPort": 8080 }]);
    let definition = fixture.register(json!([app]), json!([])).await;
    assert_eq!(fixture.deployed("neutral", &definition, balancers).await, "COMPLETED");
    for _ in 0..3 {
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 200);
    }
    let listed = call(&fixture.stage, "ecs", "ListTasks", json!({ "cluster": "main" })).await;
    let task = listed["taskArns"][0].clone();
    call(&fixture.stage, "ecs", "StopTask", json!({ "cluster": "main", "task": task })).await;
    let began = Instant::now();
    loop {
        let body = json!({ "cluster": "main", "tasks": [task] });
        let found = call(&fixture.stage, "ecs", "DescribeTasks", body).await["tasks"][0].clone();
        if found["lastStatus"] == "STOPPED" {
            assert_eq!(found["containers"][0]["exitCode"], 143, "SIGTERM ended it, not SIGKILL");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never: {found:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let engine = fixture.engine.clone();
    fixture.end().await;
    let force = RemoveImageOptionsBuilder::default().force(true).build();
    engine.remove_image(&image, Some(force), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_stops_where_its_execution_role_may_not_do_what_comes_before_its_containers() {
    let fixture = Fixture::new().await;
    let secret = json!([{ "name": "TOKEN", "valueFrom": "/shop/token" }]);
    let parameter = json!({ "Name": "/shop/token", "Value": "t", "Type": "String" });
    call(&fixture.stage, "ssm", "PutParameter", parameter).await;
    let mut app = fixture.container("app", "echo up");
    app["secrets"] = secret;
    let ended = async |actions: &[&str]| {
        fixture.agent_may(actions).await;
        let (task, _) = fixture.run(json!([app]), json!([])).await;
        let code = task["stopCode"].as_str().unwrap().to_owned();
        (code, task["stoppedReason"].as_str().unwrap_or_default().to_owned())
    };
    for (actions, named) in [
        (&["logs:*"][..], "ssm:GetParameters on resource: arn:aws:ssm:eu-central-1:123456789012:parameter/shop/token"),
        (
            &["ssm:*", "logs:PutLogEvents"],
            "logs:CreateLogStream on resource: arn:aws:logs:eu-central-1:123456789012:log-group:/ecs/app",
        ),
    ] {
        let (code, reason) = ended(actions).await;
        assert_eq!(code, "TaskFailedToStart");
        let is_told = reason.starts_with("ResourceInitializationError: ") && reason.contains(named);
        assert!(is_told && reason.contains("assumed-role/execution/"), "{reason}");
    }
    assert_eq!(ended(&["ssm:GetParameters", "logs:*"]).await.0, "EssentialContainerExited");
    call(&fixture.stage, "iam", "DeleteRolePolicy", json!({ "RoleName": "execution", "PolicyName": "agent" })).await;
    call(&fixture.stage, "iam", "DeleteRole", json!({ "RoleName": "execution" })).await;
    let (task, _) = fixture.run(json!([app]), json!([])).await;
    let reason = task["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("ECS was unable to assume the role"), "{reason}");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_container_has_a_log_stream() {
    let fixture = Fixture::new().await;
    let (_, log) = fixture.run(json!([fixture.container("app", "exit 0")]), json!([])).await;
    assert_eq!(log, "");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_boots_slowly_is_given_the_time_that_aws_gives_it_and_one_that_crashes_is_not_healthy() {
    let fixture = Fixture::new().await;
    let server = |boot: u32| format!("/bin/busybox sleep {boot}; exec /bin/busybox httpd -f -p 8080 -h /");
    // Its target group asks every 30 seconds and gives up after two failures.
    let mut slow = fixture.container("app", &server(5));
    slow["portMappings"] = json!([{ "containerPort": 8080 }]);
    let group = json!({
        "Name": "slow", "Protocol": "HTTP", "Port": 80, "TargetType": "ip", "VpcId": "vpc-1", "HealthCheckPath": "/bin/",
        "HealthCheckIntervalSeconds": 30, "UnhealthyThresholdCount": 2, "Matcher": { "HttpCode": "200-499" },
    });
    let made = call(&fixture.stage, "elasticloadbalancing", "CreateTargetGroup", group).await;
    let group = made["TargetGroups"][0]["TargetGroupArn"].clone();
    let balancers = json!([{ "targetGroupArn": group, "containerName": "app", "containerPort": 8080 }]);
    let slow = fixture.register(json!([slow]), json!([])).await;
    // Its own check fails 12 seconds long; the start period is longer.
    let mut checked = fixture.container("app", &server(12));
    let ask = "/bin/busybox wget -qO- http://127.0.0.1:8080/bin/busybox >/dev/null";
    checked["healthCheck"] =
        json!({ "command": ["CMD", "/bin/busybox", "sh", "-c", ask], "interval": 5, "retries": 1, "startPeriod": 60 });
    let checked = fixture.register(json!([checked]), json!([])).await;
    let crashing = fixture.container("app", "/bin/busybox sleep 3; exit 1");
    let crashing = fixture.register(json!([crashing]), json!([])).await;
    let states = tokio::join!(
        fixture.deployed("slow", &slow, balancers),
        fixture.deployed("checked", &checked, json!([])),
        fixture.deployed("crashing", &crashing, json!([])),
    );
    assert_eq!(states, ("COMPLETED".to_owned(), "COMPLETED".to_owned(), "FAILED".to_owned()));
    fixture.end().await;
}
