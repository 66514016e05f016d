//! Twenty deploys of one service at once, as processes of the built program, against one stage with real containers and a
//! real PostgreSQL. `SOAK_ROUNDS=25` plays more rounds, `RACE_SEED` plays those of an earlier run again (`make soak`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::disallowed_methods, reason = "a test sets its clock, its environment and its client up itself")]

mod chaos;
mod cluster;
mod kills;
#[path = "../e2e/postgres.rs"]
mod postgres;
#[path = "../e2e/program.rs"]
mod program;
mod round;
#[path = "../e2e/scene.rs"]
mod scene;

use cluster::Cluster;
use round::Kind;
use std::time::{SystemTime, UNIX_EPOCH};
use test_support::Random;

/// A holder that is killed is succeeded at once by the next attempt of its run, as when a person starts the job again, and
/// by strangers after 90 seconds. Those seconds are a promise of the program, so no build of it has a switch for them: two
/// short rounds start killed runs again, and each fifth round of a soak leaves one dead and waits.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_deploys_at_once_migrate_one_after_the_other_whoever_is_killed() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let rounds = setting("SOAK_ROUNDS").unwrap_or(2);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = setting("RACE_SEED").unwrap_or(now);
    println!("RACE_SEED={seed}, {rounds} rounds");
    let field = Cluster::open().await;
    for number in 1..=rounds {
        let kind = match number {
            n if n % 5 == 0 => Kind::Abandoned,
            n if n % 2 == 1 => Kind::Killed,
            _ => Kind::Calm,
        };
        round::play(&field, number, kind, &mut Random::new(seed.wrapping_add(number))).await;
    }
    field.close().await;
}

/// `MATRIX=all` plays it at every call, `RACE_SEED` where an earlier run did.
#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_is_killed_or_suspended_is_finished_and_migrates_once() {
    let setting = |name: &str| std::env::var(name).ok();
    let most = if setting("MATRIX").is_some_and(|which| which == "all") { usize::MAX } else { 3 };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = setting("RACE_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(now);
    println!("RACE_SEED={seed}");
    let field = Cluster::open().await;
    kills::play(&field, most, &mut Random::new(seed)).await;
    field.close().await;
}
