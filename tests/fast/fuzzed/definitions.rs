//! Whatever a task definition holds: it is read or told what is wrong with it, passes through unchanged, is no change of
//! itself, and shows no value of a variable.

use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_core::task_definition::change::Change;
use fargate_deploy_core::task_definition::compare::{changes, differences};
use fargate_deploy_core::task_definition::one_off::one_off;
use fargate_deploy_core::task_definition::validate::{findings, of_running, problems};
use serde_json::{Value, json};
use test_support::fuzz;
use test_support::proptest::prelude::*;
use test_support::proptest::sample::{Index, select};

const PLANTED: &str = "Kq7Zr2Vw";

fn good() -> Value {
    json!({
        "family": "web", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "executionRoleArn": "arn:aws:iam::111122223333:role/execution", "ephemeralStorage": {"sizeInGiB": 21},
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
        "volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1", "rootDirectory": "/"}}],
        "unheardOf": {"number": 1.50, "nothing": null},
        "containerDefinitions": [
            {
                "name": "app", "image": "r/app:1", "essential": true, "portMappings": [{"containerPort": 3000, "name": "http"}],
                "environment": [{"name": "A", "value": PLANTED}, {"name": "B", "value": PLANTED}],
                "secrets": [{"name": "S", "valueFrom": "arn:aws:ssm:eu-central-1:111122223333:parameter/s"}],
                "command": ["run", PLANTED], "entryPoint": ["sh", PLANTED], "dockerLabels": {"traefik.auth": PLANTED},
                "healthCheck": {"command": ["CMD", PLANTED], "interval": 5, "retries": 2, "timeout": 5},
                "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/web", "custom": PLANTED}},
                "dependsOn": [{"containerName": "init", "condition": "SUCCESS"}],
                "mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}], "ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 2}],
            },
            {"name": "init", "image": "r/init", "essential": false, "restartPolicy": {"enabled": true}},
        ],
        "tags": [{"key": "k", "value": "v"}],
    })
}

#[derive(Clone, Debug)]
enum Edit {
    Replace(Value),
    Remove,
    /// Once more, at the end of its list.
    Double,
    Rename(&'static str),
}

fn edit() -> impl Strategy<Value = Edit> {
    let odd = vec![
        json!(null),
        json!(0),
        json!(-1),
        json!(3000),
        json!(1.5),
        json!(true),
        json!(""),
        json!("x"),
        json!("256"),
        json!("1 vCPU"),
        json!([]),
        json!([null]),
        json!([[]]),
        json!({}),
        json!({"name": null}),
        json!([{"name": "app"}]),
        json!("\u{0}ü"),
        serde_json::from_str("1e400").unwrap(),
        serde_json::from_str("123456789012345678901234567890").unwrap(),
    ];
    let names = vec!["name", "image", "value", "containerDefinitions", "Name", "unheardOf", "", "$ref"];
    prop_oneof![
        4 => select(odd).prop_map(Edit::Replace),
        2 => Just(Edit::Remove),
        1 => Just(Edit::Double),
        1 => select(names).prop_map(Edit::Rename),
    ]
}

fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            paths(value, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| paths(value, &format!("{path}/{at}"), found))
        }
        _ => {}
    }
}

fn edited(edits: &[(Index, Edit)]) -> Value {
    let mut value = good();
    for (place, edit) in edits {
        let mut all = vec![];
        paths(&value, "", &mut all);
        let path = place.get(&all).clone();
        let Some((parent, name)) = path.rsplit_once('/') else { continue };
        match (value.pointer_mut(parent), edit) {
            (Some(_), Edit::Replace(new)) => *value.pointer_mut(&path).unwrap() = new.clone(),
            (Some(Value::Object(members)), Edit::Remove) => drop(members.shift_remove(name)),
            (Some(Value::Array(items)), Edit::Remove) => drop(items.remove(name.parse().unwrap())),
            (Some(Value::Array(items)), Edit::Double) => items.push(items[name.parse::<usize>().unwrap()].clone()),
            (Some(Value::Object(members)), Edit::Rename(to)) => {
                if let Some(value) = members.shift_remove(name) {
                    members.insert((*to).to_owned(), value);
                }
            }
            _ => {}
        }
    }
    value
}

fn edits() -> impl Strategy<Value = Vec<(Index, Edit)>> {
    prop::collection::vec((any::<Index>(), edit()), 0..5)
}

#[test]
fn an_edited_definition_is_told_apart_from_the_good_one_and_stops_nothing() {
    fuzz(500, (edits(), edits()), |(edits, more)| {
        let (one, other) = (edited(&edits), edited(&more));
        let read = |value: &Value| TaskDefinition::from_json(&value.to_string());
        let (one, other) = match (read(&one), read(&other)) {
            (Ok(one), Ok(other)) => (one, other),
            (Err(why), _) | (_, Err(why)) => return assert!(!why.trim().is_empty()),
        };
        for found in [problems(&one), of_running(&one)] {
            assert!(found.iter().all(|text| !text.trim().is_empty() && !text.contains('\n')), "{found:?}");
        }
        let _ = findings(&one, &[]);
        assert_eq!(differences(&one, &one), [""; 0]);
        let again = TaskDefinition::from_json(&Value::Object(one.body.clone()).to_string()).unwrap();
        assert_eq!(again.body, one.body, "every byte of it passes through");
        let registrable = one.registrable();
        assert_eq!(registrable.registrable().body, registrable.body);
        for container in one.container_names() {
            let _ = one_off(&one, &container.into(), "migrate");
        }
        assert_eq!(differences(&one, &other).is_empty(), differences(&other, &one).is_empty());
    });
}

#[test]
fn no_value_of_a_variable_a_command_or_a_label_is_in_a_change() {
    // What is renamed is another member, and may be shown as one that nobody knows.
    let edits = || {
        edits().prop_map(|edits| {
            edits.into_iter().filter(|(_, edit)| !matches!(edit, Edit::Rename(_))).collect::<Vec<_>>()
        })
    };
    fuzz(500, (edits(), edits()), |(edits, more)| {
        let read = |edits: &[(Index, Edit)]| TaskDefinition::from_json(&edited(edits).to_string());
        let (Ok(one), Ok(other)) = (read(&edits), read(&more)) else { return };
        for (old, new) in [(&one, &other), (&other, &one)] {
            let shown: Vec<_> = changes(old, new).iter().map(Change::of).collect();
            let text = serde_json::to_string(&shown).unwrap();
            assert!(!text.contains(PLANTED), "{text}");
        }
    });
}

#[test]
fn any_bytes_are_a_definition_or_are_told_what_they_are() {
    let pieces: Vec<&[u8]> = vec![
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"containerDefinitions\":",
        b"\"taskDefinition\":",
        b"\"tags\":",
        b"null",
        b"1",
        b"\"x\"",
        b",",
        b":",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"---\n",
        b"family: web\n",
        b"// x\n",
        b" ",
        b"\n",
        b"\"\\u12",
        b"\xc3",
        b"Resources",
        b"1e999",
    ];
    fuzz(2000, prop::collection::vec(select(pieces), 0..12), |pieces| {
        if let Err(why) = TaskDefinition::from_bytes(&pieces.concat()) {
            assert!(!why.trim().is_empty() && !why.contains('\n'), "{why:?}");
        }
    });
}
