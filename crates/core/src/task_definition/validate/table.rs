//! Task definitions as people write them, against AWS's documented rules: those that AWS takes, and those that it refuses.

mod doubted;

use super::*;
use serde_json::json;

/// One container behind a load balancer, with logs, a secret and a health check.
fn web() -> Value {
    json!({
        "family": "web", "cpu": "512", "memory": "1024", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "executionRoleArn": "arn:aws:iam::111122223333:role/exec", "taskRoleArn": "arn:aws:iam::111122223333:role/app",
        "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        "containerDefinitions": [{
            "name": "app", "image": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop:1", "essential": true, "cpu": 0,
            "portMappings": [{"containerPort": 3000, "hostPort": 3000, "protocol": "tcp", "name": "http", "appProtocol": "http"}],
            "environment": [{"name": "NODE_ENV", "value": "production"}, {"name": "PORT", "value": "3000"}, {"name": "EMPTY", "value": ""}],
            "secrets": [{"name": "DATABASE_URL", "valueFrom": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:db-AbCdEf:url::"}],
            "logConfiguration": {"logDriver": "awslogs", "options": {
                "awslogs-group": "/ecs/web", "awslogs-region": "eu-central-1", "awslogs-stream-prefix": "web"}},
            "healthCheck": {"command": ["CMD-SHELL", "curl -f http://localhost:3000/ || exit 1"], "interval": 30, "timeout": 5, "retries": 3}
        }],
        "volumes": [], "placementConstraints": []
    })
}

/// A migration before the app, a proxy after it, a log router beside it.
fn several() -> Value {
    json!({
        "family": "shop", "cpu": "1024", "memory": "2048", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "executionRoleArn": "arn:aws:iam::111122223333:role/exec",
        "containerDefinitions": [
            {"name": "migrate", "image": "shop:1", "essential": false, "command": ["yarn", "migrate"]},
            {"name": "app", "image": "shop:1", "dependsOn": [{"containerName": "migrate", "condition": "SUCCESS"}],
             "logConfiguration": {"logDriver": "awsfirelens", "options": {"Name": "datadog", "apikey": "x"}},
             "healthCheck": {"command": ["CMD", "true"]},
             "mountPoints": [{"sourceVolume": "files", "containerPath": "/files", "readOnly": false}]},
            {"name": "nginx", "image": "nginx:1.27", "portMappings": [{"containerPort": 80}],
             "dependsOn": [{"containerName": "app", "condition": "HEALTHY"}],
             "volumesFrom": [{"sourceContainer": "app", "readOnly": true}]},
            {"name": "log_router", "image": "public.ecr.aws/aws-observability/aws-for-fluent-bit:stable", "memoryReservation": 50,
             "firelensConfiguration": {"type": "fluentbit", "options": {"enable-ecs-log-metadata": "true"}}, "user": "0"}
        ],
        "volumes": [
            {"name": "files", "efsVolumeConfiguration": {"fileSystemId": "fs-12345678", "transitEncryption": "ENABLED",
                "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"}}},
            {"name": "data", "configuredAtLaunch": true}, {"name": "scratch"}
        ]
    })
}

/// A base with values set at JSON pointers: `None` takes a member away.
fn with(mut base: Value, changes: &[(&str, Option<Value>)]) -> TaskDefinition {
    for (pointer, value) in changes {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        let parent = base.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
        match (parent, value) {
            (Value::Object(members), Some(value)) => drop(members.insert(last.to_owned(), value.clone())),
            (Value::Object(members), None) => drop(members.remove(last)),
            (Value::Array(items), Some(value)) if last == "-" => items.push(value.clone()),
            (Value::Array(items), Some(value)) => items[last.parse::<usize>().unwrap()] = value.clone(),
            _ => panic!("{pointer}"),
        }
    }
    TaskDefinition::from_json(&base.to_string()).unwrap()
}

const APP: &str = "/containerDefinitions/0";

fn app(member: &str, value: Value) -> Vec<(String, Option<Value>)> {
    vec![(format!("{APP}/{member}"), Some(value))]
}

fn top(member: &str, value: Value) -> Vec<(String, Option<Value>)> {
    vec![(format!("/{member}"), Some(value))]
}

fn changed(base: fn() -> Value, changes: &[(String, Option<Value>)]) -> TaskDefinition {
    let borrowed: Vec<_> = changes.iter().map(|(pointer, value)| (pointer.as_str(), value.clone())).collect();
    with(base(), &borrowed)
}

type Changes = Vec<(String, Option<Value>)>;
type Base = fn() -> Value;

#[test]
fn what_aws_takes_has_no_problem_and_no_warning() {
    let cases: Vec<(&str, Base, Changes)> = vec![
        ("one container", web, vec![]),
        ("several containers", several, vec![]),
        ("sizes with units", web, [top("cpu", json!("1 vCPU")), top("memory", json!("2 GB"))].concat()),
        ("sizes without a space", web, [top("cpu", json!(".5vcpu")), top("memory", json!("1GB"))].concat()),
        ("a quarter vCPU", web, [top("cpu", json!("256")), top("memory", json!("512"))].concat()),
        ("8 vCPU", web, [top("cpu", json!("8192")), top("memory", json!("61440"))].concat()),
        ("16 vCPU", web, [top("cpu", json!("16384")), top("memory", json!("122880"))].concat()),
        ("32 vCPU, 60 GB", web, [top("cpu", json!("32768")), top("memory", json!("61440"))].concat()),
        ("32 vCPU, 120 GB", web, [top("cpu", json!("32 vCPU")), top("memory", json!("120 GB"))].concat()),
        ("32 vCPU, 244 GB", web, [top("cpu", json!("32768")), top("memory", json!("249856"))].concat()),
        ("Graviton", web, top("runtimePlatform", json!({"cpuArchitecture": "ARM64"}))),
        ("null platform", web, top("runtimePlatform", json!({"cpuArchitecture": null, "operatingSystemFamily": null}))),
        (
            "Windows",
            web,
            [
                top("cpu", json!("1024")),
                top("memory", json!("2048")),
                top("runtimePlatform", json!({"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"})),
            ]
            .concat(),
        ),
        ("for EC2 as well", web, top("requiresCompatibilities", json!(["EC2", "FARGATE"]))),
        ("compatibilities left out", web, vec![("/requiresCompatibilities".to_owned(), None)]),
        ("null compatibilities", web, top("requiresCompatibilities", json!(null))),
        ("ephemeral storage", web, top("ephemeralStorage", json!({"sizeInGiB": 200}))),
        ("a shared process namespace", web, top("pidMode", json!("task"))),
        ("fault injection", web, top("enableFaultInjection", json!(true))),
        ("a role by its name", web, top("taskRoleArn", json!("app"))),
        (
            "a role with a path",
            web,
            top("taskRoleArn", json!("arn:aws-cn:iam::111122223333:role/service-role/a+b=c,d.e@f_g")),
        ),
        ("a port's name", web, app("portMappings", json!([{"containerPort": 80, "name": "0_http-1"}]))),
        (
            "nulls for what is not wanted",
            web,
            [
                app("logConfiguration", json!(null)),
                app("healthCheck", json!(null)),
                app("secrets", json!(null)),
                app("dependsOn", json!(null)),
                app("linuxParameters", json!(null)),
                top("volumes", json!(null)),
                top("proxyConfiguration", json!(null)),
                top("tags", json!(null)),
            ]
            .concat(),
        ),
        (
            "empty lists",
            web,
            [
                app("mountPoints", json!([])),
                app("volumesFrom", json!([])),
                app("links", json!([])),
                app("dnsServers", json!([])),
                app("extraHosts", json!([])),
                app("systemControls", json!([])),
            ]
            .concat(),
        ),
        (
            "flags that are off",
            web,
            [
                app("privileged", json!(false)),
                app("disableNetworking", json!(false)),
                app("interactive", json!(true)),
                app("pseudoTerminal", json!(true)),
                app("readonlyRootFilesystem", json!(true)),
            ]
            .concat(),
        ),
        ("a host port of 0", web, app("portMappings", json!([{"containerPort": 80, "hostPort": 0}]))),
        (
            "tcp and udp on one port",
            web,
            app("portMappings", json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "udp"}])),
        ),
        ("a range of ports", web, app("portMappings", json!([{"containerPortRange": "8000-8010"}]))),
        (
            "a restart policy",
            web,
            app("restartPolicy", json!({"enabled": true, "ignoredExitCodes": [0, 143], "restartAttemptPeriod": 60})),
        ),
        (
            "an init process and a dropped capability",
            web,
            app(
                "linuxParameters",
                json!({"initProcessEnabled": true, "capabilities": {"add": ["SYS_PTRACE"], "drop": ["ALL"]}}),
            ),
        ),
        ("open files", web, app("ulimits", json!([{"name": "nofile", "softLimit": 65536, "hardLimit": 1048576}]))),
        (
            "kernel settings of the network",
            web,
            app("systemControls", json!([{"namespace": "net.core.somaxconn", "value": "1024"}])),
        ),
        (
            "an environment file",
            web,
            app("environmentFiles", json!([{"type": "s3", "value": "arn:aws:s3:::bucket/web.env"}])),
        ),
        (
            "a private registry",
            web,
            [
                app("image", json!("ghcr.io/org/web:1")),
                app(
                    "repositoryCredentials",
                    json!({"credentialsParameter": "arn:aws:secretsmanager:eu-central-1:1:secret:ghcr-AbCdEf"}),
                ),
            ]
            .concat(),
        ),
        (
            "splunk with a secret token",
            web,
            app(
                "logConfiguration",
                json!({"logDriver": "splunk", "options": {"splunk-url": "https://s"},
            "secretOptions": [{"name": "splunk-token", "valueFrom": "/splunk/token"}]}),
            ),
        ),
        ("blocking logs", web, vec![(format!("{APP}/logConfiguration/options/mode"), Some(json!("blocking")))]),
        (
            "parameters by name and by ARN",
            web,
            app(
                "secrets",
                json!([{"name": "A", "valueFrom": "/web/a"},
            {"name": "B", "valueFrom": "arn:aws:ssm:eu-central-1:111122223333:parameter/web/b"},
            {"name": "C", "valueFrom": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:c-AbCdEf"}]),
            ),
        ),
        ("stop and start timeouts", web, [app("startTimeout", json!(120)), app("stopTimeout", json!(2))].concat()),
        (
            "a shell that replaces variables itself",
            web,
            [app("entryPoint", json!(["sh", "-c"])), app("command", json!(["exec node --port ${PORT}"]))].concat(),
        ),
        (
            "EFS from its root",
            several,
            vec![(
                "/volumes/0/efsVolumeConfiguration".to_owned(),
                Some(json!({"fileSystemId": "fs-1", "rootDirectory": "/"})),
            )],
        ),
        (
            "a waiter for START and COMPLETE",
            several,
            vec![(
                "/containerDefinitions/1/dependsOn".to_owned(),
                Some(
                    json!([{"containerName": "migrate", "condition": "COMPLETE"}, {"containerName": "log_router", "condition": "START"}]),
                ),
            )],
        ),
        (
            "container sizes within the task's",
            several,
            vec![
                ("/containerDefinitions/1/memory".to_owned(), Some(json!(1024))),
                ("/containerDefinitions/1/memoryReservation".to_owned(), Some(json!(512))),
                ("/containerDefinitions/1/cpu".to_owned(), Some(json!(512))),
            ],
        ),
        (
            "App Mesh",
            several,
            top(
                "proxyConfiguration",
                json!({"type": "APPMESH", "containerName": "nginx",
            "properties": [{"name": "ProxyIngressPort", "value": "15000"}]}),
            ),
        ),
        ("labels", web, app("dockerLabels", json!({"com.datadoghq.ad.logs": "[{\"source\": \"node\"}]"}))),
        (
            "members of tomorrow",
            web,
            [top("tomorrow", json!({"x": [null, 1.5]})), app("tomorrow", json!(true))].concat(),
        ),
        (
            "50 tags",
            web,
            top("tags", Value::Array((0..50).map(|n| json!({"key": format!("k{n}"), "value": "v"})).collect())),
        ),
    ];
    assert!(cases.len() >= 40, "{}", cases.len());
    for (name, base, changes) in cases {
        assert_eq!(findings(&changed(base, &changes), &[]), Findings::default(), "{name}");
    }
}

#[test]
fn what_aws_refuses_is_one_problem_with_its_path() {
    let env = |value: Value| app("environment", value);
    let on = |condition: &str| json!([{"containerName": "app", "condition": condition}]);
    let cases: Vec<(Base, Changes, &str)> = vec![
        // JSON types.
        (
            web,
            env(json!([{"name": "A", "value": "1"}, {"name": "B", "value": ""}, {"name": "C", "value": 8080}])),
            "`containerDefinitions[0].environment[2].value` is a number, and AWS takes a string: write it in quotes",
        ),
        (
            web,
            env(json!([{"name": "A", "value": true}])),
            "`containerDefinitions[0].environment[0].value` is true or false",
        ),
        (web, env(json!([{"name": 1, "value": "x"}])), "`containerDefinitions[0].environment[0].name` is a number"),
        (web, env(json!({"A": "1"})), "`containerDefinitions[0].environment` is an object, and AWS takes a list"),
        (web, env(json!(["A=1"])), "`containerDefinitions[0].environment[0]` is a string, and AWS takes an object"),
        (
            web,
            app("cpu", json!("256")),
            "`containerDefinitions[0].cpu` is a string, and AWS takes a number: write it without quotes",
        ),
        (web, app("memory", json!("512")), "`containerDefinitions[0].memory` is a string"),
        (web, app("memory", json!(512.5)), "`containerDefinitions[0].memory` is 512.5, and AWS takes a whole number"),
        (
            web,
            app("stopTimeout", json!(99999999999u64)),
            "`containerDefinitions[0].stopTimeout` is 99999999999: AWS takes numbers of 32 bits",
        ),
        (
            web,
            app("portMappings", json!([{"containerPort": "8080"}])),
            "`containerDefinitions[0].portMappings[0].containerPort` is a string",
        ),
        (
            web,
            app("essential", json!("true")),
            "`containerDefinitions[0].essential` is a string, and AWS takes true or false",
        ),
        (
            web,
            app("command", json!("node server.js")),
            "`containerDefinitions[0].command` is a string, and AWS takes a list",
        ),
        (web, app("command", json!(["sleep", 10])), "`containerDefinitions[0].command[1]` is a number"),
        (web, app("image", json!(1.0)), "`containerDefinitions[0].image` is a number"),
        (web, app("dockerLabels", json!({"a": 1})), "`containerDefinitions[0].dockerLabels.a` is a number"),
        (
            web,
            vec![(format!("{APP}/logConfiguration/options/awslogs-create-group"), Some(json!(true)))],
            "`containerDefinitions[0].logConfiguration.options.awslogs-create-group` is true or false, and AWS takes a string",
        ),
        (
            web,
            vec![(format!("{APP}/healthCheck/interval"), Some(json!("30")))],
            "`containerDefinitions[0].healthCheck.interval` is a string",
        ),
        (
            web,
            app("healthCheck", json!({"command": "curl -f localhost"})),
            "`containerDefinitions[0].healthCheck.command` is a string",
        ),
        (web, top("cpu", json!(512)), "`cpu` is a number, and AWS takes a string: write it in quotes"),
        (web, top("memory", json!(1024)), "`memory` is a number"),
        (web, top("family", json!(7)), "`family` is a number"),
        (web, top("networkMode", json!(true)), "`networkMode` is true or false"),
        (
            web,
            top("containerDefinitions", json!("[{\"name\": \"app\"}]")),
            "`containerDefinitions` is JSON inside a string",
        ),
        (
            web,
            top("requiresCompatibilities", json!("FARGATE")),
            "`requiresCompatibilities` is a string, and AWS takes a list",
        ),
        (web, top("volumes", json!({"name": "data"})), "`volumes` is an object, and AWS takes a list"),
        // Sizes.
        (web, top("cpu", json!("300")), "`cpu` is 300"),
        (web, top("memory", json!("512")), "`memory` is 512: with `cpu` 512 Fargate has"),
        (web, top("memory", json!("lots")), "`memory` is \"lots\": not a size"),
        (web, vec![("/cpu".to_owned(), None)], "`cpu` is missing"),
        (web, top("memory", json!(null)), "`memory` is missing"),
        (web, app("memory", json!(4096)), "the containers' `memory` adds up to 4096 MiB"),
        (web, app("cpu", json!(1024)), "the containers' `cpu` adds up to 1024 units"),
        (
            web,
            [app("memory", json!(256)), app("memoryReservation", json!(512))].concat(),
            "`containerDefinitions[0].memoryReservation` is 512, more",
        ),
        (
            web,
            top("runtimePlatform", json!({"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"})),
            "Windows on Fargate has 1024",
        ),
        (web, top("ephemeralStorage", json!({"sizeInGiB": 10})), "`ephemeralStorage.sizeInGiB` is 10"),
        // What Fargate does not have.
        (web, app("privileged", json!(true)), "`containerDefinitions[0].privileged`: Fargate does not have it"),
        (
            several,
            vec![("/volumes/2/host".to_owned(), Some(json!({"sourcePath": "/var/run"})))],
            "`volumes[2].host.sourcePath`",
        ),
        (
            several,
            vec![("/volumes/2/dockerVolumeConfiguration".to_owned(), Some(json!({"scope": "task"})))],
            "`volumes[2].dockerVolumeConfiguration`",
        ),
        (web, app("links", json!(["db"])), "`containerDefinitions[0].links`"),
        (
            web,
            app("extraHosts", json!([{"hostname": "h", "ipAddress": "10.0.0.1"}])),
            "`containerDefinitions[0].extraHosts`",
        ),
        (web, app("dnsServers", json!(["10.0.0.2"])), "`containerDefinitions[0].dnsServers`"),
        (
            web,
            app("linuxParameters", json!({"sharedMemorySize": 256})),
            "`containerDefinitions[0].linuxParameters.sharedMemorySize`",
        ),
        (
            web,
            app("resourceRequirements", json!([{"type": "GPU", "value": "1"}])),
            "`containerDefinitions[0].resourceRequirements[0].type` is `GPU`",
        ),
        (web, app("hostname", json!("web")), "`containerDefinitions[0].hostname`"),
        (web, top("ipcMode", json!("task")), "`ipcMode`"),
        (web, top("pidMode", json!("host")), "`pidMode` is `host`"),
        (web, top("networkMode", json!("bridge")), "`networkMode` is `bridge`: Fargate needs `awsvpc`"),
        (web, top("requiresCompatibilities", json!(["EC2"])), "`requiresCompatibilities` does not name `FARGATE`"),
        (web, top("placementConstraints", json!([{"type": "memberOf", "expression": "x"}])), "`placementConstraints`"),
        (
            web,
            app("logConfiguration", json!({"logDriver": "json-file"})),
            "log driver `json-file`: Fargate has awslogs",
        ),
        (web, app("portMappings", json!([{"containerPort": 3000, "hostPort": 80}])), "left out or the same"),
        (web, app("stopTimeout", json!(600)), "`containerDefinitions[0].stopTimeout` is 600: AWS takes 2 to 120"),
        // Spelling.
        (web, app("dependsOn", json!([{"containerName": "app", "condition": "healthy"}])), "AWS spells it `HEALTHY`"),
        (
            web,
            app("Command", json!(["a"])),
            "`containerDefinitions[0].Command` is not read by AWS, which spells it `command`",
        ),
        (web, app("logConfiguration", json!({"logDriver": "AWSLOGS", "options": {}})), "AWS spells it `awslogs`"),
        (web, top("runtimePlatform", json!({"cpuArchitecture": "amd64"})), "`X86_64` or `ARM64`"),
        (
            web,
            app("secrets", json!([{"name": "A", "value": "x"}])),
            "`containerDefinitions[0].secrets[0].valueFrom` is missing",
        ),
        // Names and references.
        (
            web,
            app("secrets", json!([{"name": "PORT", "valueFrom": "/p"}])),
            "`containerDefinitions[0].secrets[0]`: `PORT` is a variable in `environment` as well",
        ),
        (
            web,
            app("secrets", json!([{"name": "A", "valueFrom": "/p"}, {"name": "A", "valueFrom": "/q"}])),
            "the secret `A` stands twice",
        ),
        (web, env(json!([{"value": "x"}])), "`containerDefinitions[0].environment[0].name` is missing"),
        (
            web,
            app("dependsOn", json!([{"containerName": "db", "condition": "START"}])),
            "container `app` depends on `db`, which is not in this task",
        ),
        (
            several,
            vec![("/containerDefinitions/1/dependsOn".to_owned(), Some(json!([{"containerName": "log_router"}])))],
            "`containerDefinitions[1].dependsOn[0].condition` is missing",
        ),
        (
            several,
            vec![("/containerDefinitions/1/healthCheck".to_owned(), Some(json!(null)))],
            "`containerDefinitions[2].dependsOn[0]`: container `nginx` waits for `app` to be HEALTHY, and `app` has no `healthCheck`",
        ),
        (
            several,
            vec![("/containerDefinitions/0/essential".to_owned(), None)],
            "`containerDefinitions[1].dependsOn[0]`: container `app` waits for SUCCESS of `migrate`, which is essential",
        ),
        (
            several,
            vec![("/containerDefinitions/0/dependsOn".to_owned(), Some(on("START")))],
            "the containers `migrate`, `app` wait for each other",
        ),
        (
            several,
            vec![("/volumes/0/name".to_owned(), Some(json!("other")))],
            "`containerDefinitions[1].mountPoints[0].sourceVolume`: `files` is not in `volumes`",
        ),
        (
            several,
            vec![("/volumes/2/name".to_owned(), Some(json!("data")))],
            "`volumes[2].name`: the volume `data` is defined twice",
        ),
        (
            several,
            vec![("/containerDefinitions/2/volumesFrom/0/sourceContainer".to_owned(), Some(json!("nobody")))],
            "`containerDefinitions[2].volumesFrom[0].sourceContainer`: `nobody` is not in this task",
        ),
        (
            several,
            vec![("/containerDefinitions/3/firelensConfiguration".to_owned(), None)],
            "`containerDefinitions[1].logConfiguration`: container `app` logs to awsfirelens, and no container has a `firelensConfiguration`",
        ),
        (
            several,
            top("proxyConfiguration", json!({"containerName": "envoy"})),
            "`proxyConfiguration.containerName`: `envoy` is not in this task",
        ),
        (
            several,
            vec![("/volumes/0/efsVolumeConfiguration/transitEncryption".to_owned(), None)],
            "an access point or IAM needs it `ENABLED`",
        ),
        (
            several,
            vec![("/volumes/0/efsVolumeConfiguration/rootDirectory".to_owned(), Some(json!("/app")))],
            "left out or `/`",
        ),
        (
            web,
            vec![
                ("/executionRoleArn".to_owned(), None),
                (format!("{APP}/logConfiguration"), None),
                (format!("{APP}/secrets"), None),
            ],
            "`containerDefinitions[0].image` comes from ECR: on Fargate that needs an `executionRoleArn`",
        ),
        (web, vec![(format!("{APP}/image"), None)], "`containerDefinitions[0].image` is missing"),
        (web, top("containerDefinitions", json!([])), "`containerDefinitions` is empty"),
        (
            web,
            top("tags", json!([{"key": "a", "value": "1"}, {"key": "a", "value": "2"}])),
            "`tags[1]`: the key `a` stands twice",
        ),
        (
            web,
            top("tags", Value::Array((0..51).map(|n| json!({"key": format!("k{n}")})).collect())),
            "`tags` has 51 entries: AWS takes 50",
        ),
        (web, top("family", json!("two words")), "`family` is `two words`"),
        (
            web,
            app("portMappings", json!([{"containerPort": 80, "name": "Http"}])),
            "`containerDefinitions[0].portMappings[0].name` is `Http`: a port's name has up to 64 lowercase letters",
        ),
        (
            web,
            app("portMappings", json!([{"containerPort": 80, "name": "h".repeat(65)}])),
            "`containerDefinitions[0].portMappings[0].name` is `hhh",
        ),
        (
            web,
            app("portMappings", json!([{"containerPortRange": "80-90", "name": "-http"}])),
            "`containerDefinitions[0].portMappings[0].name` is `-http`",
        ),
        (
            several,
            vec![("/containerDefinitions/1/healthCheck".to_owned(), Some(json!({"command": ["NONE"]})))],
            "`containerDefinitions[2].dependsOn[0]`: container `nginx` waits for `app` to be HEALTHY, and the `healthCheck` of `app` runs nothing",
        ),
        (
            several,
            vec![("/containerDefinitions/2/firelensConfiguration".to_owned(), Some(json!({"type": "fluentd"})))],
            "the containers `nginx`, `log_router` have a `firelensConfiguration`: AWS takes one log router in a task",
        ),
        (
            several,
            vec![("/containerDefinitions/1/logConfiguration".to_owned(), None)],
            "container `log_router` has a `firelensConfiguration`, and no container logs to awsfirelens",
        ),
        (
            web,
            top("taskRoleArn", json!("arn:aws:iam::111122223333:user/app")),
            "`taskRoleArn` is `arn:aws:iam::111122223333:user/app`: no role",
        ),
        (
            web,
            top("executionRoleArn", json!("arn:aws:iam::1111:role/exec")),
            "`executionRoleArn` is `arn:aws:iam::1111:role/exec`: no role",
        ),
        (web, top("taskRoleArn", json!("arn:aws:iam:eu-central-1:111122223333:role/app")), "`taskRoleArn` is"),
        (web, top("taskRoleArn", json!("arn:aws:iam::111122223333:role/")), "`taskRoleArn` is"),
        (web, top("taskRoleArn", json!("arn:aws:sts::111122223333:assumed-role/app/session")), "`taskRoleArn` is"),
        (web, top("taskRoleArn", json!("aws:iam::111122223333:role/app")), "`taskRoleArn` is"),
        (web, top("executionRoleArn", json!("exec role")), "`executionRoleArn` is `exec role`: no role"),
    ];
    assert!(cases.len() >= 60, "{}", cases.len());
    for (base, changes, expected) in cases {
        let found = findings(&changed(base, &changes), &[]).problems;
        assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}:\n{found:#?}");
        let is_known_to_be_more = ["HEALTHY`", "AWSLOGS", "spells it `awslogs`", "which is not in this task"];
        if !is_known_to_be_more.iter().any(|words| expected.contains(words)) {
            assert_eq!(found.len(), 1, "one message each: {expected}:\n{found:#?}");
        }
    }
}
