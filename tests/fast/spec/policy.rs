//! `policy`, as a person starts it. That the actions suffice, each of them, is shown on the stage.

use super::cli::run;
use fargate_deploy_core::iam_policy::{Statement, document};
use fargate_deploy_core::iam_role::{LARGEST, WHY, documents};
use serde_json::Value;
use std::path::{Path, PathBuf};

const EXAMPLES: [(&str, &[&str]); 5] = [
    ("000-nextjs", &["-e", "prod"]),
    ("001-django-next", &[]),
    ("002-api-workers", &[]),
    ("003-caddy-ghcr", &[]),
    ("004-nestjs", &[]),
];

pub(super) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn printed(name: &str, arguments: &[&str]) -> String {
    let (output, out, err) = run(&example(name), &[&["policy"], arguments].concat());
    assert!(output.status.success(), "{name} {arguments:?}: {out}{err}");
    out
}

fn actions(policy: &Value) -> Vec<&str> {
    let statements = policy["Statement"].as_array().unwrap();
    statements.iter().flat_map(|s| s["Action"].as_array().unwrap()).map(|action| action.as_str().unwrap()).collect()
}

#[test]
fn each_action_of_an_examples_policy_is_explained() {
    for (name, environment) in EXAMPLES {
        let policy: Value = serde_json::from_str(&printed(name, environment)).unwrap();
        let explained = printed(name, &[environment, &["--explain"]].concat());
        let everything = printed(name, &[environment, &["all", "--explain"]].concat());
        for action in actions(&policy) {
            let why =
                WHY.iter().find(|why| why.action == action).unwrap_or_else(|| panic!("{action} is not explained"));
            assert!(
                explained.contains(&format!("{action}\n    for: {}\n    without: {}", why.step, why.without)),
                "{action}"
            );
            assert!(everything.contains(&format!("{action}\n")), "{action}");
        }
        assert!(!everything.contains("for: \n"), "an action is not explained: {everything}");
    }
}

/// Each action on each resource under its condition.
fn allowed(policy: &Value) -> Vec<(String, String, String)> {
    let mut all = vec![];
    for statement in policy["Statement"].as_array().unwrap() {
        let texts = |member: &str| -> Vec<String> {
            statement[member].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        for action in texts("Action") {
            let of = |resource| (action.clone(), resource, statement["Condition"].to_string());
            all.extend(texts("Resource").into_iter().map(of));
        }
    }
    all.sort();
    all
}

#[test]
fn several_commands_are_one_policy_in_which_nothing_stands_twice_and_nothing_is_more_than_each_needs() {
    let policy = |purposes: &[&str]| -> Value { serde_json::from_str(&printed("004-nestjs", purposes)).unwrap() };
    let words = ["deploy", "run", "exec", "rollback", "releases", "status", "logs", "continue", "abort", "lock"];
    for purposes in [&["deploy", "run", "logs"][..], &["run", "exec"], &["rollback", "deploy"], &words] {
        let together = policy(purposes);
        let sids: Vec<_> = together["Statement"].as_array().unwrap().iter().map(|s| s["Sid"].to_string()).collect();
        let unique: std::collections::BTreeSet<_> = sids.iter().collect();
        assert_eq!(unique.len(), sids.len(), "IAM takes each Sid once: {sids:?}");
        let mut each: Vec<_> = purposes.iter().flat_map(|purpose| allowed(&policy(&[purpose]))).collect();
        each.sort();
        each.dedup();
        assert_eq!(allowed(&together), each, "{purposes:?}");
    }
    assert_eq!(allowed(&policy(&["all"])), allowed(&policy(&words)));
    assert_eq!(allowed(&policy(&[])), allowed(&policy(&["deploy"])));
    let run = policy(&["run"]);
    assert!(
        !allowed(&run).iter().any(|(action, resource, _)| action == "ecs:RunTask" && resource.contains("/gengar:"))
    );
    let terraform = printed("004-nestjs", &["run", "logs", "--format", "terraform"]);
    assert!(terraform.contains("\"gengar-run-logs\""), "{terraform}");
    let (output, out, err) = run_in("004-nestjs", &["run", "task"]);
    assert!(output.status.code() == Some(2) && format!("{out}{err}").contains("`policy task`"), "{out}{err}");
}

fn run_in(name: &str, arguments: &[&str]) -> (std::process::Output, String, String) {
    run(&example(name), &[&["policy"], arguments].concat())
}

#[test]
fn a_role_that_only_plans_can_run_nothing_and_is_the_one_of_the_documentation() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/iam.md")).unwrap();
    let (_, of_plan) = page.split_once("## A role that only plans").unwrap();
    let (_, shown) = of_plan.split_once("```json\n").unwrap();
    let shown: Value = serde_json::from_str(shown.split_once("```").unwrap().0).unwrap();
    let allowed = |policy: &Value| {
        let mut all = vec![];
        for statement in policy["Statement"].as_array().unwrap() {
            let list = |member: &str| match &statement[member] {
                Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
                one => vec![one.as_str().unwrap().to_owned()],
            };
            all.extend(
                list("Action").into_iter().flat_map(|a| list("Resource").into_iter().map(move |r| (a.clone(), r))),
            );
        }
        all.sort();
        all
    };
    let made: Value = serde_json::from_str(&printed("004-nestjs", &["plan"])).unwrap();
    assert_eq!(allowed(&made), allowed(&shown));
}

#[test]
fn whoever_gets_into_a_container_and_the_task_itself_have_policies_of_their_own() {
    let exec: Value = serde_json::from_str(&printed("004-nestjs", &["exec"])).unwrap();
    let execute = exec["Statement"].as_array().unwrap().iter().find(|s| s["Sid"] == "Execute").unwrap();
    assert_eq!(execute["Action"], serde_json::json!(["ecs:ExecuteCommand"]));
    assert_eq!(
        execute["Resource"],
        serde_json::json!([
            "arn:aws:ecs:eu-central-1:111122223333:cluster/gengar",
            "arn:aws:ecs:eu-central-1:111122223333:task/gengar/*"
        ])
    );
    let task: Value = serde_json::from_str(&printed("004-nestjs", &["task"])).unwrap();
    assert_eq!(actions(&task), fargate_deploy_core::exec::TASK_ROLE_ACTIONS);
    let trust: Value = serde_json::from_str(&printed("004-nestjs", &["task", "--trust"])).unwrap();
    assert_eq!(trust["Statement"][0]["Principal"]["Service"], "ecs-tasks.amazonaws.com");
    let explained =
        [printed("004-nestjs", &["exec", "--explain"]), printed("004-nestjs", &["task", "--explain"])].concat();
    for action in actions(&exec).into_iter().chain(actions(&task)) {
        assert!(WHY.iter().any(|why| why.action == action) && explained.contains(action), "{action}");
    }
}

#[test]
fn the_trust_policy_names_both_forms_of_the_subject() {
    let trust: Value =
        serde_json::from_str(&printed("000-nextjs", &["-e", "prod", "--trust", "--github", "org/papa"])).unwrap();
    let condition = &trust["Statement"][0]["Condition"]["StringEquals"];
    assert_eq!(condition["token.actions.githubusercontent.com:aud"], "sts.amazonaws.com");
    assert_eq!(
        condition["token.actions.githubusercontent.com:sub"],
        serde_json::json!(["repo:org/papa:environment:prod", "repo:org@OWNER_ID/papa@REPO_ID:environment:prod"])
    );
    let plan: Value =
        serde_json::from_str(&printed("004-nestjs", &["plan", "--trust", "--github", "org/papa"])).unwrap();
    let subjects = &plan["Statement"][0]["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"];
    assert_eq!(subjects[0], "repo:org/papa:pull_request");
}

#[test]
fn terraform_and_cloudformation_have_the_same_policy_and_the_role() {
    let policy: Value = serde_json::from_str(&printed("004-nestjs", &[])).unwrap();
    let terraform = printed("004-nestjs", &["--format", "terraform"]);
    assert!(terraform.contains("resource \"aws_iam_role\" \"gengar_deploy\""), "{terraform}");
    let (_, after) = terraform.split_once("\n  policy = jsonencode(").unwrap();
    let inner: Value = serde_json::Deserializer::from_str(after).into_iter().next().unwrap().unwrap();
    assert_eq!(inner, policy);
    let cloudformation = printed("004-nestjs", &["--format", "cloudformation"]);
    let line = cloudformation.lines().find_map(|line| line.trim().strip_prefix("PolicyDocument: ")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(line).unwrap(), policy);
}

#[test]
fn a_policy_that_is_larger_than_iam_takes_is_split_between_statements() {
    let statement = |at: usize| Statement {
        sid: "Many",
        actions: vec!["ecs:RunTask"],
        resources: (0..20)
            .map(|n| format!("arn:aws:ecs:eu-central-1:111122223333:task-definition/{at}-{n}:*"))
            .collect(),
        condition: None,
    };
    let all: Vec<_> = (0..12).map(statement).collect();
    let parts = documents(&all);
    assert!(parts.len() > 1 && parts.iter().all(|part| part.to_string().len() <= LARGEST), "{}", parts.len());
    let together: usize = parts.iter().map(|part| part["Statement"].as_array().unwrap().len()).sum();
    assert_eq!(together, 12);
    assert_eq!(documents(&all[..1]), [document(&all[..1])]);
}

#[test]
fn without_an_account_it_says_how_to_give_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = "region: eu-central-1\ncluster: c\nservices: { web: { task-definition: web.json } }\n";
    std::fs::write(folder.path().join("fargate-deploy.yml"), config).unwrap();
    std::fs::write(folder.path().join("web.json"), r#"{"family": "web", "containerDefinitions": []}"#).unwrap();
    let (output, out, err) = run(folder.path(), &["policy"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(format!("{out}{err}").contains("`--account`"), "{out}{err}");
    let (output, out, _) = run(folder.path(), &["policy", "--account", "222233334444"]);
    assert!(
        output.status.success() && out.contains("arn:aws:ecs:eu-central-1:222233334444:task-definition/web:*"),
        "{out}"
    );
}
