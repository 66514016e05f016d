//! Waiting between attempts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// How long to wait before attempt `next` (the second is 2): doubling from `first` up to `most`, of which a random
/// half is taken off, so that jobs which failed together do not come back together.
pub(crate) fn backoff(next: u32, first: Duration, most: Duration) -> Duration {
    let full = first.saturating_mul(1 << next.saturating_sub(2).min(16)).min(most);
    let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    full.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_lose_at_most_half() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        for (next, full) in [(2, 100), (3, 200), (4, 400), (7, 1000), (90, 1000)] {
            let wait = backoff(next, first, most);
            assert!(wait <= Duration::from_millis(full) && wait >= Duration::from_millis(full / 2), "{next}: {wait:?}");
        }
    }
}
