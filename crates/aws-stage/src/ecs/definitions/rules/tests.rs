use serde_json::{Value, json};

use super::check;

fn definition() -> Value {
    let logs = json!({"logDriver": "awslogs", "options": {
        "awslogs-group": "/ecs/web", "awslogs-region": "eu-central-1", "awslogs-stream-prefix": "web",
    }});
    json!({
        "family": "web", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
        "containerDefinitions": [
            {"name": "app", "image": "i", "logConfiguration": logs},
            {"name": "init", "image": "i", "essential": false},
        ],
    })
}

/// The definition with the value at a JSON pointer replaced.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut body = definition();
    for (path, value) in changes {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value.clone(),
            _ => parent[name] = value.clone(),
        }
    }
    body
}

const APP: &str = "/containerDefinitions/0";

#[test]
fn what_aws_accepts_is_accepted() {
    let app = |name: &str| format!("{APP}/{name}");
    let on = |condition: &str| json!([{"containerName": "init", "condition": condition}]);
    for changes in [
        vec![],
        vec![(app("dependsOn"), on("SUCCESS"))],
        vec![(app("dependsOn"), on("START")), (app("stopTimeout"), json!(120))],
        vec![("/cpu".to_owned(), json!(".25 vCPU")), ("/memory".to_owned(), json!("0.5GB"))],
        vec![("/cpu".to_owned(), json!("32768")), ("/memory".to_owned(), json!("249856"))],
        vec![
            ("/volumes".to_owned(), json!([{"name": "v"}])),
            (app("mountPoints"), json!([{"sourceVolume": "v", "containerPath": "/v"}])),
        ],
        vec![
            (app("environment"), json!([{"name": "A", "value": ""}])),
            (app("secrets"), json!([{"name": "B", "valueFrom": "/b"}])),
        ],
        vec![(
            app("linuxParameters"),
            json!({"initProcessEnabled": true, "capabilities": {"add": ["SYS_PTRACE"], "drop": ["ALL"]}}),
        )],
        vec![(app("privileged"), json!(false)), (app("links"), json!([])), (app("healthCheck"), Value::Null)],
        vec![
            ("/containerDefinitions/1/firelensConfiguration".to_owned(), json!({"type": "fluentbit"})),
            (app("logConfiguration"), json!({"logDriver": "awsfirelens"})),
        ],
    ] {
        let changes: Vec<(&str, Value)> = changes.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
        assert!(check(&with(&changes)).is_ok(), "{changes:?}: {:?}", check(&with(&changes)));
    }
}

#[test]
fn every_kind_of_invalid_definition_is_refused_as_a_client_exception() {
    let container = |name: usize| json!({"name": format!("c{name}"), "image": "i"});
    let app = |name: &str, value: Value| vec![(format!("{APP}/{name}"), value)];
    let on = |name: &str, condition: &str| json!([{"containerName": name, "condition": condition}]);
    let task = |name: &str, value: Value| vec![(format!("/{name}"), value)];
    let logs = |options: Value| json!({"logDriver": "awslogs", "options": options});
    let cases: Vec<(Vec<(String, Value)>, &str)> = vec![
        (task("family", json!("a b")), "Family should not contain"),
        (task("containerDefinitions", json!([])), "Container list cannot be empty."),
        (task("containerDefinitions", (0..11).map(container).collect()), "at most 10 containers, not 11"),
        (task("containerDefinitions", json!([container(1), container(1)])), "Container names must be unique."),
        (app("image", json!("")), "Container.image should not be null or empty."),
        (app("name", json!("a b")), "may only contain letters, numbers, hyphens"),
        (
            app("environment", json!([{"name": "A", "value": "x".repeat(70_000)}])),
            "Max allowed length is '65536' bytes.",
        ),
        (app("essential", json!(false)), "does not have any essential containers"),
        (
            vec![("/containerDefinitions/1/dependsOn".to_owned(), on("app", "SUCCESS"))],
            "SUCCESS or COMPLETE condition cannot be an essential",
        ),
        (
            vec![("/containerDefinitions/1/dependsOn".to_owned(), on("app", "COMPLETE"))],
            "SUCCESS or COMPLETE condition cannot be an essential",
        ),
        (app("dependsOn", on("init", "HEALTHY")), "HEALTHY condition must have a health check"),
        (app("dependsOn", on("other", "START")), "the container 'other', which is not in the task definition"),
        (app("dependsOn", on("app", "START")), "cannot be cyclic"),
        (
            vec![
                (format!("{APP}/dependsOn"), on("init", "START")),
                ("/containerDefinitions/1/dependsOn".to_owned(), on("app", "START")),
            ],
            "cannot be cyclic",
        ),
        (app("mountPoints", json!([{"sourceVolume": "data", "containerPath": "/data"}])), "Unknown volume 'data'."),
        (app("volumesFrom", json!([{"sourceContainer": "other"}])), "volumes from 'other'"),
        (task("volumes", json!([{"name": "a"}, {"name": "a"}])), "Volume names must be unique"),
        (task("volumes", json!([{"name": "a", "host": {"sourcePath": "/etc"}}])), "do not support sourcePath"),
        (
            task("volumes", json!([{"name": "a", "dockerVolumeConfiguration": {"driver": "local"}}])),
            "do not support dockerVolumeConfiguration",
        ),
        (
            task(
                "volumes",
                json!([{"name": "a", "efsVolumeConfiguration": {"fileSystemId": "fs-1", "authorizationConfig": {"iam": "ENABLED"}}}]),
            ),
            "Transit encryption must be enabled",
        ),
        (
            vec![
                (format!("{APP}/environment"), json!([{"name": "URL", "value": "x"}])),
                (format!("{APP}/secrets"), json!([{"name": "URL", "valueFrom": "/url"}])),
            ],
            "The secret name must be unique and not shared",
        ),
        (
            app("secrets", json!([{"name": "A", "valueFrom": "/a"}, {"name": "A", "valueFrom": "/b"}])),
            "The secret name must be unique",
        ),
        (
            vec![
                ("/executionRoleArn".to_owned(), Value::Null),
                (format!("{APP}/logConfiguration"), Value::Null),
                (format!("{APP}/secrets"), json!([{"name": "A", "valueFrom": "/a"}])),
            ],
            "'executionRoleArn'",
        ),
        (task("executionRoleArn", Value::Null), "execution role ARN to support log driver awslogs"),
        (app("logConfiguration", json!({"logDriver": "awslogs"})), "requires options: awslogs-group"),
        (app("logConfiguration", logs(json!({"awslogs-group": "g"}))), "requires options: awslogs-region"),
        (app("logConfiguration", logs(json!({"awslogs-group": "g", "awslogs-region": "r"}))), "awslogs-stream-prefix"),
        (app("logConfiguration", json!({"logDriver": "json-file"})), "do not support the log driver json-file"),
        (
            app("logConfiguration", json!({"logDriver": "awsfirelens"})),
            "requires a container with a firelensConfiguration",
        ),
        (
            app("firelensConfiguration", json!({"type": "fluentbit"})),
            "at least one container has to be configured with the awsfirelens",
        ),
        (app("privileged", json!(true)), "do not support privileged"),
        (app("links", json!(["init"])), "do not support links"),
        (app("dnsServers", json!(["1.1.1.1"])), "do not support dnsServers"),
        (app("extraHosts", json!([{"hostname": "a", "ipAddress": "1.1.1.1"}])), "do not support extraHosts"),
        (app("disableNetworking", json!(true)), "do not support disableNetworking"),
        (app("linuxParameters", json!({"devices": [{"hostPath": "/dev/kvm"}]})), "do not support devices"),
        (app("linuxParameters", json!({"sharedMemorySize": 64})), "do not support sharedMemorySize"),
        (
            app("linuxParameters", json!({"capabilities": {"add": ["NET_ADMIN"]}})),
            "only support adding the linux capability SYS_PTRACE",
        ),
        (app("resourceRequirements", json!([{"type": "GPU", "value": "1"}])), "do not support GPU"),
        (app("stopTimeout", json!(300)), "'stopTimeout' must be between 2 and 120"),
        (app("startTimeout", json!(1)), "'startTimeout' must be between 2 and 120"),
        (app("healthCheck", json!({"command": ["true"]})), "must begin with CMD or CMD-SHELL"),
        (app("healthCheck", json!({"command": ["CMD", "true"], "interval": 4})), "interval must be between 5 and 300"),
        (app("healthCheck", json!({"command": ["CMD", "true"], "retries": 11})), "retries must be between 1 and 10"),
        (
            app("healthCheck", json!({"command": ["CMD", "true"], "startPeriod": 301})),
            "startPeriod must be between 0 and 300",
        ),
        (app("restartPolicy", json!({"enabled": true, "restartAttemptPeriod": 10})), "between 60 and 1800"),
        (app("memory", json!(1024)), "'memory' setting for container is greater than for the task"),
        (
            vec![(format!("{APP}/memory"), json!(128)), (format!("{APP}/memoryReservation"), json!(256))],
            "must not be greater than the 'memory'",
        ),
        (app("cpu", json!(512)), "total 'cpu' of the containers is greater"),
        (
            app("portMappings", json!([{"containerPort": 80, "hostPort": 8080}])),
            "host ports and container ports in port mappings must match",
        ),
        (app("portMappings", json!([{"containerPort": 70_000}])), "between 1 and 65535"),
        (app("portMappings", json!([{"containerPort": 80}, {"containerPort": 80}])), "Port mappings must be unique"),
        (app("portMappings", json!([{"protocol": "tcp"}])), "Either 'containerPort' or 'containerPortRange'"),
        (task("networkMode", json!("bridge")), "only supports network mode 'awsvpc'"),
        (task("cpu", Value::Null), "'cpu' and 'memory' be defined at the task level"),
        (task("cpu", json!("300")), "No Fargate configuration exists for given values: 300 CPU, 512 memory"),
        (task("memory", json!("4096")), "No Fargate configuration exists"),
        (task("ephemeralStorage", json!({"sizeInGiB": 20})), "between 21 GiB and 200 GiB"),
        (
            task("placementConstraints", json!([{"type": "memberOf", "expression": "x"}])),
            "do not support placementConstraints",
        ),
        (task("pidMode", json!("host")), "do not support pidMode host"),
        (task("ipcMode", json!("task")), "do not support ipcMode"),
    ];
    for (changes, words) in &cases {
        let changes: Vec<(&str, Value)> = changes.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
        let error = check(&with(&changes)).expect_err(&format!("{changes:?}"));
        assert_eq!(error.code, "ClientException");
        assert!(error.message.contains(words), "{changes:?}: {}", error.message);
    }
}
