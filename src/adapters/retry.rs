//! When a call is made again, and after how long: the one policy of the adapters that repeat calls themselves. (The AWS SDK
//! repeats its own.)
//!
//! The wait doubles from attempt to attempt up to a limit, and a random part as long again at most is put on top, so that
//! jobs which failed together do not come back together. *Whether* a failure may be repeated is the adapter's to say: what
//! creates something is sent again only where it is known to have done nothing.

use backon::ExponentialBuilder;
use std::time::Duration;

/// How often, and how far apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// In all, the first one included.
    pub(crate) attempts: u32,
    /// Before the second attempt.
    pub(crate) first_wait: Duration,
    /// The most before any attempt, without the random part.
    pub(crate) longest_wait: Duration,
}

impl RetryPolicy {
    /// The waits between the attempts, for [`backon::Retryable::retry`].
    pub(crate) fn waits(self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_factor(2.0)
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .with_max_times(self.attempts.saturating_sub(1) as usize)
            .with_jitter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backon::BackoffBuilder as _;

    #[test]
    fn waits_double_up_to_the_limit_and_grow_by_at_most_as_much_again() {
        let policy =
            RetryPolicy { attempts: 6, first_wait: Duration::from_millis(100), longest_wait: Duration::from_secs(1) };
        let waits: Vec<_> = policy.waits().build().collect();
        assert_eq!(waits.len(), 5);
        for (wait, base) in waits.iter().zip([100, 200, 400, 800, 1000]) {
            let base = Duration::from_millis(base);
            assert!(*wait >= base && *wait <= base * 2, "{wait:?} for {base:?}");
        }
    }

    #[test]
    fn one_attempt_is_never_repeated() {
        let policy = RetryPolicy { attempts: 1, first_wait: Duration::ZERO, longest_wait: Duration::ZERO };
        assert_eq!(policy.waits().build().count(), 0);
    }
}
