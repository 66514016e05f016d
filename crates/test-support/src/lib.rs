//! What the suites share, written once: an application to deploy, a registry, AWS calls without an SDK.
//!
//! Nothing here judges for the code under test: helpers make the world and look at it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "real processes and containers are waited for by real time, with a client of our own"
)]

mod app;
mod aws;
mod fuzz;
mod lines;
mod random;
mod registry;

pub use app::{App, Behaviour};
pub use aws::Aws;
pub use fuzz::fuzz;
pub use lines::Lines;
pub use proptest;
pub use random::Random;
pub use registry::{Registry, Removal, ask};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub type Env = BTreeMap<String, String>;

/// Waits for a condition, and says which one never came.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never came: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits for `condition`, at most half a minute.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < Duration::from_secs(30), "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Differs between any two calls of any two runs, so that no test meets another's image or build cache.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("fd-test-{}-{}-{now}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
