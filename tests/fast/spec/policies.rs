//! The least that a role must be allowed, for each config: what the documentation prints is what is made.

use crate::loaded::load;
use fargate_deploy::config::{Config, Request};
use fargate_deploy_core::iam_policy::{Granted, Statement, document, statements};
use fargate_deploy_core::task_definition::TaskDefinition;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn definition(file: &Path) -> TaskDefinition {
    TaskDefinition::from_bytes(&std::fs::read(file).unwrap()).unwrap()
}

/// What a config needs, its task definitions being files.
fn needed(config: &Config, account: &str) -> Vec<Statement> {
    let of_services: Vec<_> =
        config.services.iter().map(|s| (s, definition(s.task_definition.as_ref().unwrap()))).collect();
    let own: Vec<_> =
        config.release.iter().filter_map(|c| Some((c, definition(c.task_definition.as_ref()?)))).collect();
    let services: Vec<_> = of_services.iter().map(|(service, definition)| (*service, definition)).collect();
    let commands: Vec<_> = own.iter().map(|(command, definition)| (*command, definition)).collect();
    let region = config.region.as_deref().unwrap();
    statements(&Granted { config, account, region, services: &services, commands: &commands })
}

fn example(name: &str) -> Config {
    let folder = root().join("examples").join(name);
    let environment = (name == "000-nextjs").then(|| "dev".to_owned());
    let request = Request { file: Some(folder.join("fargate-deploy.yml")), environment, ..Request::default() };
    load(&request, &BTreeMap::new(), &folder).unwrap()
}

/// With a list where one text would do, in one order.
fn normal(policy: &Value) -> BTreeMap<String, Value> {
    let sorted = |value: &Value| {
        let texts = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let of = |statement: &Value| {
        let mut normal = statement.clone();
        for member in ["Action", "Resource"] {
            normal[member] = json!(sorted(&statement[member]));
        }
        for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
            for (key, values) in keys.as_object().unwrap() {
                normal["Condition"][operator][key] = json!(sorted(values));
            }
        }
        (statement["Sid"].as_str().unwrap().to_owned(), normal)
    };
    policy["Statement"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn the_policy_that_the_documentation_shows_is_the_one_of_the_example_that_it_names() {
    let page = std::fs::read_to_string(root().join("docs/iam.md")).unwrap();
    let (_, permissions) = page.split_once("## Permissions\n\n```json\n").unwrap();
    let shown: Value = serde_json::from_str(permissions.split_once("```").unwrap().0).unwrap();
    let made = document(&statements_of("004-nestjs"));
    let (shown, made) = (normal(&shown), normal(&made));
    for (sid, statement) in &made {
        assert_eq!(shown.get(sid), Some(statement), "{sid}");
    }
    assert_eq!(shown.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
}

fn statements_of(example_name: &str) -> Vec<Statement> {
    needed(&example(example_name), "111122223333")
}

fn statement<'a>(all: &'a [Statement], sid: &str) -> Option<&'a Statement> {
    all.iter().find(|statement| statement.sid == sid)
}

#[test]
fn nothing_is_allowed_that_a_config_does_not_need() {
    // Another registry than ECR: no login to ECR, no push to it.
    let elsewhere = statements_of("003-caddy-ghcr");
    assert!(statement(&elsewhere, "Push").is_none());
    assert_eq!(statement(&elsewhere, "WithoutResource").unwrap().actions, ["ecs:DescribeTaskDefinition"]);

    let mut config = example("004-nestjs");
    config.release.clear();
    config.lock = fargate_deploy::config::Lock::None;
    let few = needed(&config, "111122223333");
    for sid in ["RunReleaseCommands", "Lease", "Snapshot", "CreateRepositories"] {
        assert!(statement(&few, sid).is_none(), "{sid}");
    }
    let tagged = statement(&few, "TagWhatWeCreate").unwrap().condition.clone().unwrap();
    assert_eq!(tagged["StringEquals"]["ecs:CreateAction"], json!(["RegisterTaskDefinition"]));
    config.snapshot = Some("shop".to_owned());
    let snapshot = needed(&config, "111122223333");
    assert_eq!(
        statement(&snapshot, "Snapshot").unwrap().resources.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "arn:aws:rds:eu-central-1:111122223333:db:shop",
            "arn:aws:rds:eu-central-1:111122223333:snapshot:fargate-deploy-*",
        ]
    );
}

#[test]
fn a_command_with_a_definition_of_its_own_registers_its_own_family_and_passes_its_roles() {
    let all = statements_of("001-django-next");
    let families = &statement(&all, "Register").unwrap().resources;
    let own = definition(&root().join("examples/001-django-next/infra/migrate.json"));
    let arn = format!("arn:aws:ecs:eu-central-1:111122223333:task-definition/{}:*", own.family());
    assert!(families.contains(&arn), "{families:?}");
    assert_eq!(statement(&all, "RunReleaseCommands").unwrap().resources, *families);
}

#[test]
fn arns_are_those_of_the_regions_partition() {
    let mut config = example("004-nestjs");
    for (region, partition) in [
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("eusc-de-east-1", "aws-eusc"),
        ("eu-west-1", "aws"),
    ] {
        config.region = Some(region.to_owned());
        let all = needed(&config, "1");
        let lease = statement(&all, "Lease").unwrap().resources.first().unwrap().clone();
        assert_eq!(lease, format!("arn:{partition}:ssm:{region}:1:parameter/fargate-deploy/gengar/*"));
    }
}
