//! Each cause with AWS's own words, and beside it what only looks like it.

mod boot;
mod decoys;
mod deployment;
mod exits;
mod health;
mod image;
mod kept;
mod refusals;
mod resources;
mod start;

use super::*;
use crate::task_definition::TaskDefinition;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use test_support::fuzz;
use test_support::proptest::prelude::{Strategy, prop, prop_oneof};

const ROLE: &str = "arn:aws:iam::111122223333:role/ecsTaskExecutionRole";
const USER: &str = "User: arn:aws:sts::111122223333:assumed-role/ecsTaskExecutionRole/9c1e";
const IMAGE: &str = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop:v41";

/// A service's task with one container.
fn task(stop_code: &str, reason: &str) -> Seen {
    let definition = json!({
        "family": "web", "cpu": "512", "memory": "1024", "executionRoleArn": ROLE,
        "taskRoleArn": "arn:aws:iam::111122223333:role/shop-app",
        "containerDefinitions": [{
            "name": "app", "image": IMAGE, "portMappings": [{"containerPort": 8080}],
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/web"}},
        }],
    });
    Seen {
        stop_code: Some(stop_code.to_owned()).filter(|code| !code.is_empty()),
        stopped_reason: Some(reason.to_owned()),
        ..Seen::default().with_definition(&TaskDefinition::from_json(&definition.to_string()).unwrap())
    }
}

/// It did not start.
fn unstarted(reason: &str) -> Seen {
    task("TaskFailedToStart", reason)
}

/// Its container ended by itself.
fn ended(exit_code: i64, log: &[&str]) -> Seen {
    let mut seen = task("EssentialContainerExited", "Essential container in task exited");
    let app = seen.container_mut("app");
    app.exit_code = Some(exit_code);
    app.log = log.iter().copied().map(SeenLine::from).collect();
    seen
}

/// ECS took it off because of its load balancer.
fn unhealthy(why: &str, log: &[&str]) -> Seen {
    let mut seen = task(
        "ServiceSchedulerInitiated",
        "Task failed ELB health checks in (target-group arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/web/1)",
    );
    seen.events = vec![format!(
        "(service web) (task 9c1e) (port 8080) is unhealthy in (target-group arn:aws:elasticloadbalancing:eu-central-1:\
         111122223333:targetgroup/web/1) due to (reason {why})"
    )];
    seen.load_balanced = Some(("app".to_owned(), 8080));
    let path = Some("/health".to_owned());
    seen.target_check = Some(TargetCheck { path, matcher: Some("200".to_owned()), ..TargetCheck::default() });
    let app = seen.container_mut("app");
    app.exit_code = Some(143);
    app.log = log.iter().copied().map(SeenLine::from).collect();
    seen
}

fn event(message: &str) -> Seen {
    Seen { events: vec![message.to_owned()], ..Seen::default() }
}

fn command(exit_code: i64, log: &[&str]) -> Seen {
    Seen { command: Some("migrate".to_owned()), ..ended(exit_code, log) }
}

fn with(mut seen: Seen, change: impl FnOnce(&mut Seen)) -> Seen {
    change(&mut seen);
    seen
}

fn denied(action: &str, resource: &str, why: &str) -> String {
    format!("{USER} is not authorized to perform: {action} on resource: {resource} because {why}")
}

/// Code, what is told apart here, and what is seen.
type Case = (&'static str, &'static str, Seen);

fn cases() -> Vec<Case> {
    let all = [
        image::cases(),
        resources::cases(),
        start::cases(),
        exits::cases(),
        boot::cases(),
        health::cases(),
        deployment::cases(),
        refusals::cases(),
    ];
    all.into_iter().flatten().collect()
}

#[test]
fn each_case_has_its_cause_and_what_only_looks_like_it_has_another() {
    let (mut wrong, mut sentences) = (vec![], String::new());
    for (code, what, seen) in cases() {
        let found = find(&seen);
        let name = found.as_ref().map_or("nothing", |cause| cause.code);
        if name != code {
            wrong.push(format!("{code} ({what}): {found:#?}"));
        }
        let Some(cause) = found else { continue };
        let _ = writeln!(sentences, "{code} ({what})\n  {}", cause.sentence);
        cause.likely.iter().for_each(|likely| sentences.push_str(&format!("  or? {likely}\n")));
        let _ = writeln!(sentences, "  -> {}\n", cause.next.replace('\n', "\n     "));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    insta::assert_snapshot!(sentences);
}

#[test]
fn every_cause_of_the_table_has_a_case_and_a_name_of_its_own() {
    let tried: BTreeSet<&str> = cases().into_iter().map(|(code, ..)| code).collect();
    let mut known = BTreeSet::new();
    for row in codes() {
        assert!(known.insert(row.code), "{} is there twice", row.code);
        assert!(tried.contains(row.code), "{} has no case", row.code);
        assert!(row.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", row.code);
        assert!(matches!(row.likely.len(), 0 | 2), "{}: two are most likely, or one is certain", row.code);
    }
    assert_eq!(known, tried);
}

#[test]
fn no_sentence_has_an_empty_place_in_it() {
    for (code, what, seen) in cases() {
        let cause = find(&seen).unwrap();
        let texts = [&cause.sentence, &cause.next].into_iter().chain(&cause.likely);
        for text in texts {
            assert!(!text.contains("(not known)"), "{code} ({what}): {text}");
            assert!(!text.contains("  ") && !text.contains(" ,") && !text.ends_with(' '), "{code} ({what}): {text}");
        }
    }
}

/// Platform version 1.4 cuts its messages off, and a log can hold anything.
#[test]
fn whatever_is_said_and_wherever_it_is_cut_off_it_is_read_without_a_panic() {
    let words: Vec<String> =
        cases().into_iter().filter_map(|(_, _, seen)| seen.stopped_reason.or(seen.refusal)).collect();
    let cut =
        (0..words.len(), 0..400_usize).prop_map(move |(which, at)| words[which].chars().take(at).collect::<String>());
    let text = prop_oneof![cut, ".{0,80}", "[a-zA-Z{}\\[\\]*:'\"/ ü]{0,60}"];
    let log = prop::collection::vec(text.clone(), 0..6);
    fuzz(300, (text.clone(), text.clone(), text, log, 0..3_i64), |(reason, refusal, event, log, code)| {
        for (refusal, exit_code) in [(None, Some(code)), (Some(refusal.clone()), None)] {
            let log: Vec<&str> = log.iter().map(String::as_str).collect();
            let seen = Seen {
                stopped_reason: Some(reason.clone()),
                refusal,
                events: vec![event.clone()],
                ..ended(exit_code.unwrap_or(1), &log)
            };
            if let Some(cause) = find(&seen) {
                assert!(!cause.sentence.is_empty() && !cause.next.is_empty(), "{cause:?}");
            }
        }
    });
}
