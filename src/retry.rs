//! When a call is made again, how long after, and until when: the one policy of every adapter, and the limits that steps
//! set for the calls within them.
//!
//! A call is repeated until its limit is over, however often that is. The wait between two attempts doubles up to a few
//! seconds, and a random part as long again at most is put on top, so that jobs which failed together do not come back
//! together. *Whether* a failure may be repeated is the adapter's to say: what creates something is sent again only where
//! it is known to have done nothing.

use backon::{BackoffBuilder as _, ExponentialBuilder};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long any call is repeated that no step sets another limit for.
pub const CALL: Duration = Duration::from_secs(2 * 60);
/// A call on the way back to the previous release.
pub const GOING_BACK: Duration = Duration::from_secs(5 * 60);
/// One order to ECS: less than what is left of a lease when an order goes out, so that it ends with AWS's own words. It is
/// given again, after another look at the lease, for as long as any call.
pub const ORDER: Duration = Duration::from_secs(20);
/// A read within a poll, which reads again by itself.
pub const POLL: Duration = Duration::from_secs(10);
/// What only adds to a report: nobody is kept from going back for longer.
pub const EVIDENCE: Duration = Duration::from_secs(20);
/// A service that was read this short a time ago is not read once more before it is told to move.
pub const JUST_READ: Duration = Duration::from_secs(1);
/// One attempt of a call.
pub const ATTEMPT: Duration = Duration::from_secs(30);

/// How far apart the attempts of a call are, and how many there are at most.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// In all, the first one included; `None`: as many as the limit leaves time for.
    pub attempts: Option<u32>,
    /// Before the second attempt.
    pub first_wait: Duration,
    /// The most before any attempt, without the random part.
    pub longest_wait: Duration,
}

impl RetryPolicy {
    /// As often as the limit leaves time for.
    pub fn of(first_wait: Duration) -> Self {
        Self { attempts: None, first_wait, longest_wait: first_wait * 10 }
    }

    fn waits(self) -> impl Iterator<Item = Duration> {
        let waits = ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .without_max_times()
            .with_jitter();
        let again = self.attempts.map_or(usize::MAX, |attempts| attempts.saturating_sub(1) as usize);
        waits.build().take(again)
    }
}

/// What a failed attempt leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Never,
    /// After the policy's own wait.
    Soon,
    /// The service named the time.
    After(Duration),
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    each: Duration,
    all: Option<Instant>,
    is_one_attempt: bool,
}

tokio::task_local! {
    static LIMITS: Limits;
}

fn limits() -> Limits {
    LIMITS.try_with(|limits| *limits).unwrap_or(Limits { each: CALL, all: None, is_one_attempt: false })
}

/// Each call that `calls` makes is repeated for `limit` at most.
pub async fn each_within<T>(limit: Duration, calls: impl Future<Output = T>) -> T {
    LIMITS.scope(Limits { each: limit, ..limits() }, calls).await
}

/// Each call that `calls` makes is made once, and waited for `limit` at most: what it would do is not the same any more when it
/// is repeated.
pub async fn once_within<T>(limit: Duration, calls: impl Future<Output = T>) -> T {
    LIMITS.scope(Limits { each: limit, is_one_attempt: true, ..limits() }, calls).await
}

/// The calls that `calls` makes are repeated, and waited for, until `limit` is over for all of them together.
pub async fn all_within<T>(limit: Duration, calls: impl Future<Output = T>) -> T {
    let until = Instant::now() + limit;
    let limits = limits();
    LIMITS.scope(Limits { all: Some(limits.all.map_or(until, |all| all.min(until))), ..limits }, calls).await
}

/// Until when a call that begins now is repeated, and waited for.
fn deadline() -> Instant {
    let Limits { each, all, .. } = limits();
    let own = Instant::now() + each;
    all.map_or(own, |all| all.min(own))
}

/// Makes a call until it succeeds, fails for good, or its limit is over; then with the error of the last attempt. Each
/// attempt is told how long it may take; each failed one is told of before it is made again.
///
/// # Errors
/// Of the last attempt.
pub async fn retry<T, E, F: Future<Output = Result<T, E>>>(
    policy: RetryPolicy,
    attempt: impl Fn(Duration) -> F,
    again: impl Fn(&E) -> Again,
    tell: impl Fn(&E),
) -> Result<T, E> {
    let deadline = deadline();
    // An attempt that is cut off says less than the one before it: none is begun shortly before the end.
    let last = deadline - deadline.saturating_duration_since(Instant::now()) / 20;
    let mut waits = policy.waits();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let failed = match attempt(left.min(ATTEMPT)).await {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        if limits().is_one_attempt {
            return Err(failed);
        }
        let wait = match (again(&failed), waits.next()) {
            (Again::Never, _) | (_, None) => return Err(failed),
            (Again::Soon, Some(wait)) | (Again::After(wait), Some(_)) => wait,
        };
        if Instant::now() + wait >= last {
            return Err(failed);
        }
        tell(&failed);
        sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::ready;

    fn policy() -> RetryPolicy {
        RetryPolicy::of(Duration::from_millis(500))
    }

    /// Fails until `outage` is over; how long that took, and how many attempts were made.
    async fn call_during(outage: Duration, again: Again) -> (Result<(), &'static str>, Duration, u32) {
        let (began, attempts) = (Instant::now(), Cell::new(0));
        let attempt = |_| {
            attempts.set(attempts.get() + 1);
            ready(if began.elapsed() < outage { Err("busy") } else { Ok(()) })
        };
        let told = Cell::new(0);
        let ended = retry(policy(), attempt, |_| again, |_| told.set(told.get() + 1)).await;
        assert_eq!(told.get() + 1, attempts.get(), "each attempt but the last is told of when it failed");
        (ended, began.elapsed(), attempts.get())
    }

    #[test]
    fn waits_double_up_to_the_limit_and_grow_by_at_most_as_much_again() {
        let policy = RetryPolicy {
            attempts: Some(6),
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(1),
        };
        let waits: Vec<_> = policy.waits().collect();
        assert_eq!(waits.len(), 5);
        for (wait, base) in waits.iter().zip([100, 200, 400, 800, 1000]) {
            let base = Duration::from_millis(base);
            assert!(*wait >= base && *wait <= base * 2, "{wait:?} for {base:?}");
        }
        assert_eq!(RetryPolicy { attempts: Some(1), ..policy }.waits().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_a_minute_is_survived_by_any_call_and_of_four_on_the_way_back() {
        let (ended, took, attempts) = call_during(Duration::from_secs(60), Again::Soon).await;
        assert_eq!(ended, Ok(()));
        assert!(took < Duration::from_secs(71) && attempts < 25, "{took:?}, {attempts} attempts");
        let (ended, took, _) = call_during(Duration::from_secs(240), Again::Soon).await;
        assert_eq!(ended, Err("busy"));
        assert!(took <= CALL && took >= CALL - Duration::from_secs(17), "{took:?}");
        let going_back = each_within(GOING_BACK, call_during(Duration::from_secs(240), Again::Soon));
        assert_eq!(going_back.await.0, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_made_only_once_is_not_repeated() {
        let (ended, _, attempts) = once_within(ORDER, call_during(Duration::from_secs(1), Again::Soon)).await;
        assert_eq!((ended, attempts), (Err("busy"), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_for_good_fails_at_once() {
        let (ended, took, attempts) = call_during(Duration::from_secs(60), Again::Never).await;
        assert_eq!((ended, took, attempts), (Err("busy"), Duration::ZERO, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_for_all_calls_holds_for_those_within_a_longer_one_too() {
        let began = Instant::now();
        all_within(Duration::from_secs(10), async {
            for _ in 0..3 {
                let _ = each_within(GOING_BACK, call_during(Duration::MAX, Again::Soon)).await;
            }
        })
        .await;
        assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_is_told_what_is_left_of_the_limit() {
        let told = Cell::new(Duration::ZERO);
        let ended: Result<(), ()> = each_within(ORDER, async {
            let attempt = |limit| {
                told.set(limit);
                ready(Err(()))
            };
            retry(policy(), attempt, |()| Again::Never, |()| {}).await
        })
        .await;
        assert_eq!((ended, told.get()), (Err(()), ORDER));
    }
}
