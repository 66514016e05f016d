//! AWS's rate limits, as far as it says them: calls wait for their turn instead of being refused.
//!
//! A limit is a bucket of tokens that a call takes one of: it holds `burst`, and gets `rate` a second back. Others use the same
//! buckets, so a call can be refused all the same: then the bucket is known to be empty.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/request-throttling.html>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A bucket, by the actions that share it: how many calls at once, and how many a second after that.
struct Limit {
    actions: &'static [&'static str],
    burst: u32,
    rate: u32,
}

/// `ecs:UpdateService`, for whose turn a release waits by itself.
pub const UPDATES: &str = "updates of services";
/// `ssm:PutParameter`, for whose turn the lease waits by itself.
pub const WRITES: &str = "writes to SSM";

const LIMITS: [Limit; 11] = [
    Limit { actions: &["ecs:RegisterTaskDefinition", "ecs:DeregisterTaskDefinition"], burst: 20, rate: 1 },
    Limit { actions: &[UPDATES], burst: 50, rate: 5 },
    Limit { actions: &["ecs:DescribeServices", "ecs:ListServices"], burst: 100, rate: 20 },
    Limit { actions: &["ecs:DescribeTasks", "ecs:ListTasks"], burst: 100, rate: 20 },
    Limit { actions: &["ecs:DescribeTaskDefinition"], burst: 50, rate: 20 },
    Limit { actions: &["ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments"], burst: 50, rate: 20 },
    Limit { actions: &["ecs:DescribeServiceRevisions"], burst: 50, rate: 20 },
    // <https://docs.aws.amazon.com/general/latest/gr/ssm.html>: 40 a second, shared by the reads.
    Limit { actions: &["ssm:GetParameter", "ssm:GetParametersByPath"], burst: 40, rate: 40 },
    // That writes have a limit of their own is not in it. AWS's support said 3 a second, and 10 with the higher throughput
    // (<https://github.com/github-aws-runners/terraform-aws-github-runner/issues/2944>); of 44 at once 20 went through
    // (<https://github.com/sudolabs-io/aws-ssm-cli/issues/503>).
    Limit { actions: &[WRITES], burst: 10, rate: 3 },
    // The least of all Regions, per account: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
    Limit { actions: &["logs:GetLogEvents"], burst: 9, rate: 10 },
    Limit { actions: &["logs:FilterLogEvents"], burst: 4, rate: 5 },
];

/// What this process has taken of each bucket. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// By the bucket's place in [`LIMITS`]: when it is full again.
    full_at: Arc<Mutex<BTreeMap<usize, Instant>>>,
}

impl Pace {
    /// Returns when `action` may be called: those who wait are let through in the order in which they came.
    pub async fn turn(&self, action: &str) {
        let Some((at, limit)) = bucket(action) else { return };
        let token = Duration::from_secs(1) / limit.rate;
        let full = {
            let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
            let full = full_at.entry(at).or_insert_with(Instant::now);
            *full = (*full).max(Instant::now()) + token;
            *full
        };
        // A bucket that is full again later than it takes to fill it lacks this call's token until then.
        let overdrawn = full.saturating_duration_since(Instant::now()).saturating_sub(token * limit.burst);
        sleep(overdrawn).await;
    }

    /// AWS refused a call: there is nothing left in its bucket.
    pub fn was_throttled(&self, action: &str) {
        let Some((at, limit)) = bucket(action) else { return };
        let empty = Instant::now() + Duration::from_secs(1) / limit.rate * limit.burst;
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full = full_at.entry(at).or_insert(empty);
        *full = (*full).max(empty);
    }
}

fn bucket(action: &str) -> Option<(usize, &'static Limit)> {
    LIMITS.iter().enumerate().find(|(_, limit)| limit.actions.contains(&action))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long so many calls take until the last one may go out.
    async fn last_of(calls: u32, action: &str, pace: &Pace) -> Duration {
        let began = Instant::now();
        futures_util::future::join_all((0..calls).map(|_| pace.turn(action))).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_as_a_bucket_holds_go_out_at_once_and_then_as_many_a_second_as_it_gets_back() {
        let pace = Pace::default();
        assert_eq!(last_of(20, "ecs:RegisterTaskDefinition", &pace).await, Duration::ZERO);
        assert_eq!(last_of(10, "ecs:RegisterTaskDefinition", &pace).await.as_secs(), 10);
        assert_eq!(last_of(50, UPDATES, &pace).await, Duration::ZERO, "a bucket of its own");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(last_of(20, "ecs:RegisterTaskDefinition", &pace).await, Duration::ZERO, "no more than it holds");
        assert_eq!(last_of(1, "ecs:RegisterTaskDefinition", &pace).await.as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_refused_says_that_others_have_emptied_the_bucket() {
        let pace = Pace::default();
        pace.was_throttled("ecs:RunTask");
        pace.was_throttled("ecs:DescribeServices");
        assert_eq!(last_of(20, "ecs:DescribeServices", &pace).await, Duration::from_secs(1));
        assert_eq!(last_of(1000, "sts:GetCallerIdentity", &pace).await, Duration::ZERO);
    }
}
