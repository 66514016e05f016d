//! The whole of a command with the real SDK and real adapters, over the wire, against the simulated AWS and GitHub, on
//! virtual time: a minute of throttling takes no minute. Each call that an undisturbed run makes, as it was recorded, is a
//! place where something goes wrong ([`faults`]), and an event at which the run is killed, suspended or interrupted
//! ([`kills`]). Judged is the world: what runs, how often it was changed, and what the exit code promises of it.
//!
//! `make quick` plays a sample, whose seed it prints, `make soak` every cell: `MATRIX=all`; `MATRIX_SEED` chooses another
//! sample. `MATRIX_CELL` plays those whose name contains it, and prints what the run said.

mod cells;
mod faults;
mod kills;
mod right;
mod server;
mod shop;
mod wire;

use crate::story::fake::definition_arn;
use faults::{Disturbance, Fault};
use serde_json::json;
use server::Call;
use shop::{FIRST, Shop};
use std::time::Duration;
use test_support::Random;
use tokio::time::sleep;

#[test]
fn a_good_plan_that_no_pull_request_is_there_for_ends_well_with_a_notice_and_writes_nothing() {
    for (event, payload) in [
        ("push", json!({"after": "abc"})),
        ("workflow_dispatch", json!({"inputs": null})),
        ("schedule", json!({"schedule": "0 0 * * *"})),
        ("merge_group", json!({"merge_group": {"head_ref": "refs/heads/gh-readonly-queue/main/queued"}})),
        ("issue_comment", json!({"issue": {"number": 3, "state": "open"}})),
    ] {
        in_a_world(async {
            let shop = Shop::open().await;
            let ended = shop.plan_on(event, payload).await;
            assert_eq!(ended.code, 0, "{event}: {}", ended.said);
            assert!(ended.said.contains("image  "), "a plan, not an offline one: {event}: {}", ended.said);
            assert_eq!(ended.said.matches("the plan is on no pull request").count(), 1, "{event}: {}", ended.said);
            let calls = shop.server.calls();
            let is_written =
                |call: &server::Call| call.operation.starts_with("github:") && !call.operation.contains("GET");
            assert!(!calls.iter().any(is_written), "{event}: {calls:?}");
        });
    }
}

/// Whether the order never arrived, or arrived and its answer did not: who deploys the service by hand meanwhile is newer.
#[test]
fn an_update_that_is_sent_again_goes_over_nobody_s_deployment() {
    for (fault, by_hand) in [
        (Fault::ThrottledTwice, 200),
        (Fault::ThrottledAMinute, 6_000),
        (Fault::ThrottledAMinute, 30_000),
        (Fault::ResetBefore, 200),
        (Fault::ResetAfter, 200),
        (Fault::NoAnswer, 5_000),
        (Fault::Truncated, 200),
        (Fault::Cut, 20_000),
    ] {
        in_a_world(async {
            let shop = Shop::open().await;
            let update = Call { operation: "ecs:UpdateService".to_owned(), ordinal: 0 };
            shop.server.played.disturbance.replace(Some(Disturbance::new(fault, update.clone())));
            let fix = definition_arn("web:77").as_str().into();
            let deployed_by_hand = async {
                while !shop.server.calls().contains(&update) {
                    sleep(Duration::from_millis(50)).await;
                }
                sleep(Duration::from_millis(by_hand)).await;
                shop.scene.cloud.aws().update("web", &fix, false);
            };
            let (ended, ()) = tokio::join!(shop.deploy(FIRST), deployed_by_hand);
            assert_eq!(shop.scene.cloud.aws().services["web"].task_definition, fix, "{fault:?}: {}", ended.said);
            assert_eq!(ended.code, 8, "{fault:?}: {}", ended.said);
        });
    }
}

/// On a paused clock, on the thread that calls it.
fn in_a_world<T>(played: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, played)
}

/// So many of them, or all with `MATRIX=all`.
fn sample<C: Clone>(all: &[C], most: usize) -> Vec<C> {
    let setting = |name: &str| std::env::var(name).ok();
    if setting("MATRIX").is_some_and(|which| which == "all") || setting("MATRIX_CELL").is_some() {
        return all.to_vec();
    }
    let seed = setting("MATRIX_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("MATRIX_SEED={seed}: {most} of {}", all.len());
    let mut all = all.to_vec();
    Random::new(seed).shuffle(&mut all);
    all.truncate(most);
    all
}
