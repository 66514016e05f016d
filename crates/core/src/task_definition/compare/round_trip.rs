//! A definition that AWS has taken and described again is no change: tried on generated ones, against a model of what AWS
//! gives back that is written from its documentation and knows nothing of the comparison.

use super::{changes, differences};
use crate::task_definition::TaskDefinition;
use serde_json::{Map, Value, json};
use test_support::proptest::prelude::any;
use test_support::{Random, fuzz};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// Sets a member to one of these, or leaves it out: null among them too.
fn set(random: &mut Random, members: &mut Map<String, Value>, name: &str, from: &[Value]) {
    if random.one_in(2) {
        members.insert(name.to_owned(), random.pick(from));
    }
}

/// As people write them: with and without defaults, nulls, empty lists, sizes with units.
fn written(random: &mut Random) -> Value {
    let mut task = object(json!({"family": "web"}));
    let (cpu, memory) = match random.roll(4) {
        0 => (json!("1024"), json!("2048")),
        1 => (json!("1 vCPU"), json!("2GB")),
        2 => (json!("1vcpu"), json!("2 GB")),
        _ => (json!("1 VCPU"), json!("2048")),
    };
    task.insert("cpu".to_owned(), cpu);
    task.insert("memory".to_owned(), memory);
    set(random, &mut task, "networkMode", &[json!("awsvpc")]);
    set(random, &mut task, "requiresCompatibilities", &[json!(["FARGATE"]), json!(["FARGATE", "EC2"]), json!(null)]);
    set(random, &mut task, "executionRoleArn", &[json!("arn:aws:iam::111122223333:role/exec"), json!(null)]);
    set(
        random,
        &mut task,
        "taskRoleArn",
        &[json!("app"), json!("arn:aws:iam::111122223333:role/team/app"), json!(""), json!(null)],
    );
    set(random, &mut task, "placementConstraints", &[json!([]), json!(null)]);
    set(random, &mut task, "inferenceAccelerators", &[json!([]), json!(null)]);
    set(random, &mut task, "pidMode", &[json!(null), json!("task")]);
    set(random, &mut task, "ipcMode", &[json!(null)]);
    set(random, &mut task, "proxyConfiguration", &[json!(null)]);
    set(random, &mut task, "enableFaultInjection", &[json!(false), json!(true), json!(null)]);
    set(random, &mut task, "ephemeralStorage", &[json!({"sizeInGiB": 50}), json!(null)]);
    set(
        random,
        &mut task,
        "runtimePlatform",
        &[
            json!({"cpuArchitecture": "ARM64"}),
            json!({"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}),
            json!({"cpuArchitecture": null}),
            json!({}),
            json!(null),
        ],
    );
    set(random, &mut task, "futureMember", &[json!({"a": [1, {"b": null}]}), json!("x")]);
    set(
        random,
        &mut task,
        "volumes",
        &[
            json!([]),
            json!([{"name": "data"}]),
            json!([{"name": "data", "host": {}}, {"name": "tmp", "host": {"sourcePath": null}}]),
            json!([{"name": "files", "host": null, "dockerVolumeConfiguration": null, "efsVolumeConfiguration": {
                "fileSystemId": "fs-1", "rootDirectory": null, "authorizationConfig": null}}]),
            json!([{"name": "files", "efsVolumeConfiguration": {"fileSystemId": "fs-1", "transitEncryption": "ENABLED",
                "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"}}}, {"name": "data", "configuredAtLaunch": true}]),
            json!(null),
        ],
    );
    let containers: Vec<Value> =
        (0..=random.roll(3)).map(|n| Value::Object(container(random, &format!("c{n}")))).collect();
    task.insert("containerDefinitions".to_owned(), Value::Array(containers));
    set(random, &mut task, "tags", &[json!([{"key": "b", "value": "2"}, {"key": "a"}]), json!([]), json!(null)]);
    Value::Object(task)
}

fn container(random: &mut Random, name: &str) -> Map<String, Value> {
    let mut c = object(json!({"name": name, "image": "i"}));
    set(random, &mut c, "cpu", &[json!(0), json!(256), json!(null)]);
    set(random, &mut c, "memory", &[json!(512), json!(null)]);
    set(random, &mut c, "essential", &[json!(true), json!(false), json!(null)]);
    set(
        random,
        &mut c,
        "portMappings",
        &[
            json!([]),
            json!(null),
            json!([{"containerPort": 80}]),
            json!([{"containerPort": 80, "hostPort": 80, "protocol": "tcp", "name": "http", "appProtocol": "http"}, {"containerPort": 53, "protocol": "udp"}]),
            json!([{"containerPort": 80, "hostPort": 0, "protocol": null, "appProtocol": null}]),
            json!([{"containerPortRange": "8000-8010"}]),
        ],
    );
    set(
        random,
        &mut c,
        "environment",
        &[
            json!([{"name": "B", "value": "2"}, {"name": "A", "value": "1"}, {"name": "E", "value": ""}]),
            json!([{"name": "N", "value": null}]),
            json!([]),
            json!(null),
        ],
    );
    set(
        random,
        &mut c,
        "secrets",
        &[json!([{"name": "T", "valueFrom": "/b"}, {"name": "S", "valueFrom": "/a"}]), json!([]), json!(null)],
    );
    set(
        random,
        &mut c,
        "mountPoints",
        &[
            json!([]),
            json!([{"sourceVolume": "data", "containerPath": "/d"}, {"sourceVolume": "tmp", "containerPath": "/a", "readOnly": null}]),
            json!([{"sourceVolume": "data", "containerPath": "/d", "readOnly": false}]),
            json!([{"sourceVolume": "data", "containerPath": "/d", "readOnly": true}]),
        ],
    );
    set(random, &mut c, "volumesFrom", &[json!([]), json!([{"sourceContainer": "c0", "readOnly": null}]), json!(null)]);
    set(
        random,
        &mut c,
        "dependsOn",
        &[
            json!([]),
            json!(null),
            json!([{"containerName": "z", "condition": "START"}, {"containerName": "a", "condition": "HEALTHY"}]),
        ],
    );
    set(
        random,
        &mut c,
        "healthCheck",
        &[
            json!({"command": ["CMD", "true"]}),
            json!({"command": ["CMD", "true"], "interval": 30, "startPeriod": 0, "retries": null}),
            json!({"command": ["CMD", "true"], "interval": 10, "startPeriod": 60}),
            json!(null),
        ],
    );
    set(
        random,
        &mut c,
        "logConfiguration",
        &[
            json!({"logDriver": "awslogs", "options": {"awslogs-group": "g", "mode": ""}, "secretOptions": []}),
            json!({"logDriver": "awslogs", "options": {"a": "1"}, "secretOptions": null}),
            json!({"logDriver": "splunk", "options": null, "secretOptions": [{"name": "splunk-token", "valueFrom": "/t"}]}),
            json!(null),
        ],
    );
    set(
        random,
        &mut c,
        "linuxParameters",
        &[
            json!({"initProcessEnabled": true}),
            json!({"initProcessEnabled": false}),
            json!({"capabilities": {"drop": ["ALL", "A"], "add": []}, "devices": [], "tmpfs": null}),
            json!({"capabilities": null}),
            json!({}),
            json!(null),
        ],
    );
    set(
        random,
        &mut c,
        "ulimits",
        &[
            json!([{"name": "nofile", "softLimit": 1, "hardLimit": 2}, {"name": "core", "softLimit": 0, "hardLimit": 0}]),
            json!([]),
        ],
    );
    set(
        random,
        &mut c,
        "restartPolicy",
        &[
            json!({"enabled": true}),
            json!({"enabled": true, "ignoredExitCodes": [2, 1], "restartAttemptPeriod": 300}),
            json!(null),
        ],
    );
    set(random, &mut c, "systemControls", &[json!([]), json!([{"namespace": "net.core.somaxconn", "value": "1"}])]);
    set(random, &mut c, "dockerLabels", &[json!({}), json!({"b": "", "a": "1"}), json!(null)]);
    set(random, &mut c, "command", &[json!([]), json!(["b", "a"]), json!(["b", ""]), json!(null)]);
    set(random, &mut c, "entryPoint", &[json!([]), json!(["sh", "-c"])]);
    set(random, &mut c, "environmentFiles", &[json!([]), json!([{"value": "arn:aws:s3:::b/x.env", "type": "s3"}])]);
    set(random, &mut c, "user", &[json!(""), json!("1000"), json!(null)]);
    set(random, &mut c, "versionConsistency", &[json!("enabled"), json!("disabled"), json!(null)]);
    for flag in ["privileged", "readonlyRootFilesystem", "interactive", "pseudoTerminal", "disableNetworking"] {
        set(random, &mut c, flag, &[json!(false), json!(true), json!(null)]);
    }
    for list in
        ["links", "dnsServers", "extraHosts", "dockerSecurityOptions", "resourceRequirements", "credentialSpecs"]
    {
        set(random, &mut c, list, &[json!([]), json!(null)]);
    }
    set(random, &mut c, "stopTimeout", &[json!(30), json!(null)]);
    set(random, &mut c, "futureMember", &[json!({"x": 2.50}), json!([{"y": "z"}])]);
    c
}

/// What DescribeTaskDefinition answers: nulls and blanks gone, defaults written out or not, lists in another order, sizes
/// as numbers, names of roles as ARNs, and what only describes a revision.
fn aws_gives_back(written: &Value, random: &mut Random) -> Value {
    let mut task = object(without_nulls(written));
    let tags = task.remove("tags").unwrap_or(json!([]));
    task.insert("cpu".to_owned(), json!("1024"));
    task.insert("memory".to_owned(), json!("2048"));
    for list in ["volumes", "placementConstraints"] {
        task.entry(list).or_insert(json!([]));
    }
    for list in ["volumes", "requiresCompatibilities"] {
        shuffle(task.get_mut(list), random);
    }
    if let Some(role) = task.get_mut("taskRoleArn")
        && *role == "app"
    {
        *role = json!("arn:aws:iam::111122223333:role/app");
    }
    if task.get("taskRoleArn") == Some(&json!("")) {
        task.remove("taskRoleArn");
    }
    for volume in task.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        let volume = volume.as_object_mut().unwrap();
        if volume.len() == 1 {
            volume.insert("host".to_owned(), json!({}));
        }
        if let Some(efs) = volume.get_mut("efsVolumeConfiguration").and_then(Value::as_object_mut) {
            efs.entry("rootDirectory").or_insert(json!("/"));
            if random.one_in(2) {
                efs.entry("transitEncryption").or_insert(json!("DISABLED"));
            }
        }
    }
    for container in task.get_mut("containerDefinitions").and_then(Value::as_array_mut).into_iter().flatten() {
        described(container.as_object_mut().unwrap(), random);
    }
    shuffle(task.get_mut("containerDefinitions"), random);
    task.extend(object(json!({
        "taskDefinitionArn": "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:7", "revision": 7, "status": "ACTIVE",
        "requiresAttributes": [{"name": "x"}], "compatibilities": ["EC2", "FARGATE"], "registeredAt": 1.5, "registeredBy": "me"
    })));
    json!({"taskDefinition": task, "tags": with_ours(tags, random)})
}

fn described(container: &mut Map<String, Value>, random: &mut Random) {
    container.entry("cpu").or_insert(json!(0));
    container.entry("essential").or_insert(json!(true));
    for list in ["portMappings", "environment", "mountPoints", "volumesFrom", "systemControls"] {
        container.entry(list).or_insert(json!([]));
    }
    for port in container.get_mut("portMappings").and_then(Value::as_array_mut).into_iter().flatten() {
        let port = port.as_object_mut().unwrap();
        if let Some(number) = port.get("containerPort").cloned() {
            port.insert("hostPort".to_owned(), number);
        }
        port.entry("protocol").or_insert(json!("tcp"));
    }
    if let Some(check) = container.get_mut("healthCheck").and_then(Value::as_object_mut) {
        for (member, default) in [("interval", 30), ("timeout", 5), ("retries", 3)] {
            check.entry(member).or_insert(json!(default));
        }
        if check.get("startPeriod") == Some(&json!(0)) {
            check.remove("startPeriod");
        }
    }
    for variable in container.get_mut("environment").and_then(Value::as_array_mut).into_iter().flatten() {
        variable.as_object_mut().unwrap().entry("value").or_insert(json!(""));
    }
    if let Some(log) = container.get_mut("logConfiguration").and_then(Value::as_object_mut)
        && random.one_in(2)
    {
        log.entry("options").or_insert(json!({}));
        log.entry("secretOptions").or_insert(json!([]));
    }
    for optional in ["links", "dnsServers", "command", "entryPoint", "dockerLabels", "user", "linuxParameters"] {
        let is_blank = container.get(optional).is_some_and(|v| *v == json!([]) || *v == json!({}) || v == "");
        if is_blank && random.one_in(2) {
            container.remove(optional);
        }
    }
    for list in ["environment", "secrets", "portMappings", "mountPoints", "dependsOn", "ulimits", "systemControls"] {
        shuffle(container.get_mut(list), random);
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, v)| !v.is_null());
            Value::Object(kept.map(|(k, v)| (k.clone(), without_nulls(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

fn shuffle(list: Option<&mut Value>, random: &mut Random) {
    if let Some(items) = list.and_then(Value::as_array_mut) {
        for at in (1..items.len()).rev() {
            items.swap(at, random.roll(at as u64 + 1) as usize);
        }
    }
}

fn with_ours(tags: Value, random: &mut Random) -> Value {
    let mut tags = tags;
    for tag in tags.as_array_mut().into_iter().flatten() {
        tag.as_object_mut().unwrap().entry("value").or_insert(json!(""));
    }
    let items = tags.as_array_mut().unwrap();
    items.push(json!({"key": "fargate-deploy:release", "value": "r7"}));
    items.push(json!({"key": "aws:cloudformation:stack-name", "value": "web"}));
    shuffle(Some(&mut tags), random);
    tags
}

fn read(value: &Value) -> TaskDefinition {
    TaskDefinition::from_json(&value.to_string()).unwrap()
}

#[test]
fn what_aws_gives_back_of_a_definition_is_no_change() {
    fuzz(3_000, any::<u64>(), |seed| {
        let mut random = Random::new(seed);
        let file = written(&mut random);
        let described = aws_gives_back(&file, &mut random);
        let (file_read, described_read) = (read(&file), read(&described));
        assert_eq!(differences(&described_read, &file_read), [""; 0], "seed {seed}\n{file:#}\n{described:#}");
        assert_eq!(differences(&file_read, &described_read), [""; 0], "seed {seed}, the other way round");
    });
}

/// One text, number or flag of a container is changed: it must be seen.
#[test]
fn a_change_of_any_one_value_is_seen_and_hidden_by_no_default() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..2_000 {
        let mut random = Random::new(seed);
        let file = written(&mut random);
        let mut described = aws_gives_back(&file, &mut random);
        let mut leaves = vec![];
        leaves_of(
            &described["taskDefinition"]["containerDefinitions"],
            "/taskDefinition/containerDefinitions",
            &mut leaves,
        );
        let path = leaves[random.roll(leaves.len() as u64) as usize].clone();
        let leaf = described.pointer_mut(&path).unwrap();
        *leaf = match &*leaf {
            Value::Bool(flag) => json!(!*flag),
            Value::Number(number) => json!(number.as_f64().unwrap() + 1.0).as_f64().map(|n| json!(n as i64)).unwrap(),
            _ => json!("something else"),
        };
        let found = changes(&read(&described), &read(&file));
        assert!(!found.is_empty(), "seed {seed}: {path}\n{file:#}");
        seen.insert(path.rsplit('/').find(|part| part.parse::<u64>().is_err()).unwrap_or_default().to_owned());
    }
    assert!(seen.len() > 25, "{seen:?}");
}

fn leaves_of(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                leaves_of(value, &format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                leaves_of(item, &format!("{path}/{at}"), found);
            }
        }
        Value::Null => {}
        _ => found.push(path.to_owned()),
    }
}
