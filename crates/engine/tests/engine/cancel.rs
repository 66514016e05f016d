//! A build that nobody waits for any more ends on the Engine too.

use std::fs;
use std::time::Duration;

use fargate_deploy_engine::{BuildEvent, Engine, EngineError};

use crate::support::{BUSYBOX, Context, Leftovers, engine, engine_without_buildkit, run, until};

/// Seconds to sleep that no other process on this machine sleeps.
pub fn odd_sleep(salt: u32) -> String {
    format!("{}", 500_000 + (std::process::id() % 100_000) * 4 + salt)
}

pub fn is_sleeping(seconds: &str) -> bool {
    let wanted = format!("sleep\0{seconds}\0");
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        fs::read(process.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).ends_with(&wanted))
    })
}

async fn dropping_ends_the_step(engine: Engine, seconds: String) {
    let (_leftovers, busybox) = Leftovers::of(&engine);
    let context = Context::new(&format!("{busybox}{}", run(&format!("exec /bin/busybox sleep {seconds}"))));
    let request = context.request();
    let building = tokio::spawn(async move { engine.build(&request, &mut |_: BuildEvent| {}).await });
    until("the step runs", async || is_sleeping(&seconds)).await;
    building.abort();
    until("the step is gone", async || !is_sleeping(&seconds)).await;
}

#[tokio::test]
async fn dropping_a_build_ends_its_running_step() {
    dropping_ends_the_step(engine().await, odd_sleep(0)).await;
}

#[tokio::test]
async fn dropping_a_classic_build_ends_its_running_step() {
    dropping_ends_the_step(engine_without_buildkit().await, odd_sleep(1)).await;
}

#[tokio::test]
async fn a_build_that_exceeds_its_time_is_ended_and_says_so() {
    let seconds = odd_sleep(2);
    let context = Context::new(&format!("{BUSYBOX}{}", run(&format!("exec /bin/busybox sleep {seconds}"))));
    let mut request = context.request();
    request.timeout = Duration::from_secs(4);
    let error = engine().await.build(&request, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, EngineError::Timeout { .. }), "{error:?}");
    assert!(error.to_string().ends_with("no end after 4 s"), "{error}");
    until("the step is gone", async || !is_sleeping(&seconds)).await;
}
