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
    say_peak(built.image.sent);
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
    say_peak(built.image.sent);
}

/// The peak of this process, for [`peak_of`].
fn say_peak(sent: u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak={} sent={sent}", peak.trim().trim_end_matches(" kB"));
}

/// In kB, of the process that runs one of the tests above.
fn peak_of(test: &str, builder: &str) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("FD_TEST_BUILDER", builder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let (_, peak) = said.split_once("peak=").unwrap();
    peak.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_context_of_many_files_is_sent_in_bounded_memory() {
    let peak = peak_of("memory::send_many_files", "buildkit");
    assert!(peak <= ALLOWED_KILOBYTES, "{peak} kB");
}

#[test]
fn a_large_context_is_sent_in_bounded_memory() {
    for builder in ["buildkit", "classic"] {
        let peak = peak_of("memory::send_a_large_context", builder);
        assert!(peak <= ALLOWED_KILOBYTES, "{builder} took {peak} kB");
    }
}
