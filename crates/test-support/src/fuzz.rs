//! One way to throw inputs at a function: a few in every test run, many by `make fuzz`, and the smallest that fails is shown.
//! Why proptest: docs/adr/0008.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime};

/// Checks `cases` inputs, the same ones in every run. With `FUZZ_SECONDS` it goes on with others for that long, and
/// `FUZZ_SEED` repeats a run.
///
/// # Panics
/// With the smallest input found on which `check` panics, and the seed.
pub fn fuzz<S: Strategy>(cases: u32, strategy: S, check: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("FUZZ_SECONDS");
    let now = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs());
    let mut seed = number("FUZZ_SEED").unwrap_or_else(|| if seconds.is_some() { now() << 16 } else { 0 });
    let began = Instant::now();
    loop {
        play(cases, seed, &strategy, &check);
        if seconds.is_none_or(|seconds| began.elapsed() >= Duration::from_secs(seconds)) {
            return;
        }
        seed += 1;
    }
}

fn play<S: Strategy>(cases: u32, seed: u64, strategy: &S, check: &impl Fn(S::Value))
where
    S::Value: Debug,
{
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, failure_persistence: None, max_shrink_time: 30_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let played = runner.run(strategy, |value| {
        check(value);
        Ok::<(), TestCaseError>(())
    });
    if let Err(error) = played {
        panic!("FUZZ_SEED={seed}: {error}");
    }
}
