//! A large context streams: the sender's memory does not grow with it.

use std::process::Command;

use crate::support::{Context, build, engine, engine_without_buildkit};

const LARGE: u64 = 300 << 20;
const MANY: usize = 60_000;
const ALLOWED_KILOBYTES: u64 = 64 << 10;

/// Runs in a process of its own, because the peak is the process's.
#[tokio::test]
#[ignore = "run by a_large_context_is_sent_in_bounded_memory"]
async fn send_a_large_context() {
    let context = Context::new("FROM scratch\nCOPY . /\n").sparse("large", LARGE);
    let buildkit = std::env::var("FD_TEST_BUILDER").is_ok_and(|builder| builder == "buildkit");
    let engine = if buildkit { engine().await } else { engine_without_buildkit().await };
    let built = build(&engine, &context.request()).await.unwrap();
    assert!(built.image.sent > LARGE);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak={} sent={}", peak.trim().trim_end_matches(" kB"), built.image.sent);
}

/// Runs in a process of its own, because the peak is the process's.
#[tokio::test]
#[ignore = "run by a_context_of_many_files_is_sent_in_bounded_memory"]
async fn send_many_files() {
    let context = Context::new("FROM scratch\nCOPY . /\n");
    for folder in 0..MANY / 1000 {
        let folder = context.path().join(format!("node_modules/a-package-with-a-long-name-{folder}/dist/esm"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..1000 {
            std::fs::write(folder.join(format!("a-module-with-a-long-name-{file}.js")), format!("{file}")).unwrap();
        }
    }
    let engine = engine().await;
    let built = build(&engine, &context.request()).await.unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak={} sent={}", peak.trim().trim_end_matches(" kB"), built.image.sent);
}

#[test]
fn a_context_of_many_files_is_sent_in_bounded_memory() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::send_many_files", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let (_, peak) = said.split_once("peak=").unwrap();
    let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(peak <= ALLOWED_KILOBYTES, "{peak} kB");
}

#[test]
fn a_large_context_is_sent_in_bounded_memory() {
    for builder in ["buildkit", "classic"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::send_a_large_context", "--ignored", "--nocapture"])
            .env("FD_TEST_BUILDER", builder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        let (_, peak) = said.split_once("peak=").unwrap();
        let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
        assert!(peak <= ALLOWED_KILOBYTES, "{builder} took {peak} kB");
    }
}
