//! Why it failed, said first: in the headline, while the rollout still runs, and whatever may not be read.

use crate::story::fake::ecs::Dying;
use crate::story::fake::rollout::Ending;
use crate::story::scene::Scene;
use fargate_deploy::ports::{CallErrorKind, RouteTable, Subnet};
use fargate_deploy::render::outputs::json;
use fargate_deploy_core::cause::{SeenTarget, TargetCheck, WayOut};
use fargate_deploy_core::outcome::{Outcome, Reason};
use serde_json::json;
use std::time::Duration;

const RUNS: &str = "EssentialContainerExited";
const EXITED: &str = "Essential container in task exited";
const ROLLED_BACK: Ending = Ending::RolledBack { reuses_id: false };
const UNROUTED: &str = "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry \
    auth from Amazon ECR: There is a connection issue between the task and Amazon ECR. Check your task network configuration. \
    Post \"https://api.ecr.eu-central-1.amazonaws.com/\": dial tcp 3.120.181.40:443: i/o timeout";
const UNHEALTHY: &str = "Task failed ELB health checks in (target-group arn:tg)";

fn dies(ending: Ending, dying: Dying) -> Scene {
    let scene = Scene::without_migration().next_rollouts("web", [ending]);
    scene.cloud.aws().dying.insert("web".to_owned(), dying);
    scene
}

fn says(lines: &[&'static str]) -> Dying {
    Dying { stop_code: RUNS, reason: EXITED, exit_code: Some(1), says: lines.to_vec(), container_reason: None }
}

fn unstarted(reason: &'static str) -> Dying {
    Dying { stop_code: "TaskFailedToStart", reason, exit_code: None, says: vec![], container_reason: None }
}

fn unhealthy(scene: Scene) -> Scene {
    scene.change_service("web", |web| {
        web.target_groups = vec!["arn:tg".to_owned()];
        web.load_balanced = Some(("app".to_owned(), 8080));
    })
}

#[tokio::test(start_paused = true)]
async fn the_headline_is_the_cause_and_what_ecs_did_is_evidence() {
    let scene = dies(
        ROLLED_BACK,
        says(&[
            "WARN statsd at 127.0.0.1:8125: Connection refused, continuing without metrics",
            "Traceback (most recent call last):",
            "KeyError: 'STRIPE_KEY'",
            "During handling of the above exception, another exception occurred:",
            "RuntimeError: [Errno 2] No such file or directory: '/app/.env'",
        ]),
    );
    let ended = scene.deploy().await;
    let failure = ended.failure();
    assert_eq!(failure.reason, Reason::RolledBack);
    assert_eq!(failure.what, "shop/web: container `app`: the variable `STRIPE_KEY` is not set");
    assert!(failure.evidence[0].starts_with("web:42 was rolled back to web:41"), "{:?}", failure.evidence);
    assert!(failure.evidence.iter().any(|line| line.contains("KeyError: 'STRIPE_KEY'")), "{:?}", failure.evidence);
    assert!(failure.next.as_ref().unwrap().starts_with("add `STRIPE_KEY` to"), "{:?}", failure.next);
    let told = json(&Outcome { result: ended.result.clone(), record: ended.record.clone() });
    assert_eq!(told["failure"]["cause"]["code"], "missing-variable");
    assert_eq!(told["failure"]["cause"]["sentence"], "container `app`: the variable `STRIPE_KEY` is not set");
}

#[tokio::test(start_paused = true)]
async fn the_line_that_tells_is_found_long_before_the_last_lines_that_are_shown() {
    let mut lines = vec!["ModuleNotFoundError: No module named 'psycopg2'"];
    lines.extend(["    frame of a traceback"; 60]);
    let ended = dies(ROLLED_BACK, says(&lines)).deploy().await;
    let failure = ended.failure();
    assert_eq!(failure.what, "shop/web: container `app`: the module `psycopg2` is not in the image");
    assert_eq!(failure.log.len(), 20, "as many are shown as before");
    assert!(failure.evidence.iter().any(|line| line.contains("psycopg2")), "and the one that tells is quoted");
}

#[tokio::test(start_paused = true)]
async fn a_cause_is_said_once_within_a_minute_of_the_first_dead_task_while_the_rollout_goes_on() {
    let dying = says(&["panic: JWT_SECRET must be set"]);
    let scene = dies(Ending::CrashLoops, dying).change_service("web", |web| web.breaker.is_enabled = false);
    let _ = tokio::time::timeout(Duration::from_secs(68), scene.deploy()).await;
    let said: Vec<_> = scene.told.json().into_iter().filter(|e| e["event"] == "rollout-explained").collect();
    assert_eq!(said.len(), 1, "within a minute of second 10, and once: {said:?}");
    assert_eq!(said[0]["code"], "missing-variable");
}

#[tokio::test(start_paused = true)]
async fn tasks_that_end_after_they_ran_and_that_ecs_does_not_count_are_explained_while_the_rollout_goes_on() {
    let dying = says(&["panic: JWT_SECRET must be set"]);
    let scene = dies(Ending::CrashLoopsUncounted, dying).change_service("web", |web| web.breaker.is_enabled = false);
    let _ = tokio::time::timeout(Duration::from_secs(68), scene.deploy()).await;
    let said: Vec<_> = scene.told.json().into_iter().filter(|e| e["event"] == "rollout-explained").collect();
    assert_eq!(said.len(), 1, "within a minute of second 10, and once: {said:?}");
    assert_eq!(said[0]["code"], "missing-variable");
}

#[tokio::test(start_paused = true)]
async fn target_health_tells_why_the_load_balancer_takes_tasks_off() {
    let dying = Dying { stop_code: "ServiceSchedulerInitiated", reason: UNHEALTHY, exit_code: Some(143), ..says(&[]) };
    let scene = unhealthy(dies(ROLLED_BACK, dying));
    {
        let mut aws = scene.cloud.aws();
        aws.target_health = vec![SeenTarget {
            state: "unhealthy".to_owned(),
            code: "Target.ResponseCodeMismatch".to_owned(),
            description: "Health checks failed with these codes: [404]".to_owned(),
            port: Some(8080),
        }];
        aws.target_check = Some(TargetCheck { path: Some("/up".to_owned()), ..TargetCheck::default() });
    }
    let ended = scene.deploy().await;
    let what = &ended.failure().what;
    assert!(what.contains("gets 404") && what.contains("`/up`"), "{what}");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_denied_or_gets_no_answer_leaves_a_cause_that_is_less_certain_and_hides_nothing() {
    for kind in [CallErrorKind::Denied, CallErrorKind::Unreachable] {
        let dying =
            Dying { stop_code: "ServiceSchedulerInitiated", reason: UNHEALTHY, exit_code: Some(143), ..says(&[]) };
        let scene = unhealthy(dies(ROLLED_BACK, dying));
        for action in ["elasticloadbalancing:DescribeTargetHealth", "elasticloadbalancing:DescribeTargetGroups"] {
            scene.cloud.fail(action, kind, 0, usize::MAX);
        }
        let ended = scene.deploy().await;
        let failure = ended.failure();
        assert_eq!(failure.reason, Reason::RolledBack);
        assert!(failure.what.contains("fails the health check of the load balancer"), "{}", failure.what);
        assert!(failure.evidence[0].starts_with("most likely"), "{:?}", failure.evidence);
        assert!(failure.evidence.iter().any(|line| line.contains(UNHEALTHY)), "{:?}", failure.evidence);
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_is_missing_is_named_with_its_subnet() {
    let scene = dies(ROLLED_BACK, unstarted(UNROUTED)).change_service("web", |web| {
        let vpc = json!({"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"});
        web.network_configuration = Some(json!({ "awsvpcConfiguration": vpc }));
    });
    {
        let mut aws = scene.cloud.aws();
        aws.subnets = vec![Subnet { id: "subnet-1".to_owned(), vpc: "vpc-1".to_owned(), free_addresses: Some(9) }];
        aws.route_tables = vec![RouteTable {
            id: "rtb-1".to_owned(),
            is_main: true,
            subnets: vec![],
            way_out: WayOut::InternetGateway,
        }];
    }
    let ended = scene.deploy().await;
    let what = &ended.failure().what;
    assert!(what.contains("no route to Amazon ECR at 3.120.181.40") && what.contains("subnet-1"), "{what}");
    assert!(what.contains("`assignPublicIp` is `DISABLED`"), "{what}");
}
