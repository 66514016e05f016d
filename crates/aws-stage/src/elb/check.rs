//! The health check of one target, by its group's settings.

use std::net::SocketAddr;
use std::sync::Weak;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::group::Check;
use super::{Elb, TargetHealth, TargetState};
use crate::request::lock;

/// However short the scaled interval is.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks again and again until the target leaves.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>
pub(super) async fn run(elb: Weak<Elb>, arn: String, target: String) {
    let mut count = Count::default();
    loop {
        let Some(pause) = once(&elb, &arn, &target, &mut count).await else { return };
        sleep(pause).await;
    }
}

/// How many checks in a row went one way.
#[derive(Debug, Default)]
struct Count {
    passed: u32,
    failed: u32,
    failing_since: Option<Instant>,
}

async fn once(elb: &Weak<Elb>, arn: &str, target: &str, count: &mut Count) -> Option<Duration> {
    let (address, check) = {
        let elb = elb.upgrade()?;
        let groups = lock(&elb.groups);
        let group = groups.get(arn)?;
        (group.targets.get(target)?.address, group.settings.check.clone())
    };
    let problem = probe(address, &check).await;
    let elb = elb.upgrade()?;
    // Checks come sooner than on AWS; a target is not given up sooner.
    let patience = elb.behavior.patience(f64::from(check.interval) * f64::from(check.unhealthy.saturating_sub(1)));
    let is_changed = {
        let mut groups = lock(&elb.groups);
        let found = groups.get_mut(arn)?.targets.get_mut(target)?;
        if found.health.state == TargetState::Draining {
            return None;
        }
        let verdict =
            count.verdict(found.health.state, problem, &check, patience).filter(|verdict| *verdict != found.health);
        verdict.map(|verdict| found.health = verdict).is_some()
    };
    if is_changed {
        elb.bump();
    }
    Some(elb.behavior.between_checks(f64::from(check.interval)).max(PAUSE))
}

impl Count {
    /// A new target is healthy after its first passed check; one that was unhealthy has to earn it again.
    /// One is unhealthy once it has failed as many checks as it may, for at least `patience`.
    fn verdict(
        &mut self,
        state: TargetState,
        problem: Option<Problem>,
        check: &Check,
        patience: Duration,
    ) -> Option<TargetHealth> {
        match problem {
            None => {
                (self.passed, self.failed, self.failing_since) = (self.passed + 1, 0, None);
                (state == TargetState::Initial || self.passed >= check.healthy).then_some(TargetHealth {
                    state: TargetState::Healthy,
                    reason: None,
                    description: None,
                })
            }
            Some(problem) => {
                (self.passed, self.failed) = (0, self.failed + 1);
                let (reason, description) = problem.words();
                let since = *self.failing_since.get_or_insert_with(Instant::now);
                (self.failed >= check.unhealthy && since.elapsed() >= patience).then_some(TargetHealth {
                    state: TargetState::Unhealthy,
                    reason: Some(reason.to_owned()),
                    description: Some(description),
                })
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Timeout,
    Failed,
    Code(u16),
}

impl Problem {
    /// `TargetHealth.Reason` and `Description`.
    fn words(self) -> (&'static str, String) {
        match self {
            Self::Timeout => ("Target.Timeout", "Request timed out".to_owned()),
            Self::Failed => ("Target.FailedHealthChecks", "Health checks failed".to_owned()),
            Self::Code(code) => {
                ("Target.ResponseCodeMismatch", format!("Health checks failed with these codes: [{code}]"))
            }
        }
    }
}

async fn probe(address: SocketAddr, check: &Check) -> Option<Problem> {
    let limit = Duration::from_secs(u64::from(check.timeout));
    let asking = async { if check.is_http { ask(address, check).await } else { knock(address).await } };
    timeout(limit, asking).await.unwrap_or(Some(Problem::Timeout))
}

async fn ask(address: SocketAddr, check: &Check) -> Option<Problem> {
    match status(address, &check.path).await {
        Some(status) if check.accepts(status) => None,
        Some(status) => Some(Problem::Code(status)),
        None => Some(Problem::Failed),
    }
}

/// The status of the answer to one GET.
async fn status(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    let mut buffer = [0_u8; 512];
    while head.len() < 12 {
        match stream.read(&mut buffer).await.ok()? {
            0 => return None,
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    let line = head.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(line.get(2..5)?).ok()?.parse().ok()
}

/// A published port of a container takes connections before anything listens behind it, and closes them at once: what
/// stays open, or speaks first, is there.
async fn knock(address: SocketAddr) -> Option<Problem> {
    const SETTLED: Duration = Duration::from_millis(200);
    let Ok(mut stream) = TcpStream::connect(address).await else { return Some(Problem::Failed) };
    match timeout(SETTLED, stream.read(&mut [0_u8; 1])).await {
        Ok(Ok(0) | Err(_)) => Some(Problem::Failed),
        Ok(Ok(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check() -> Check {
        let body = json!({
            "Name": "web", "Protocol": "HTTP", "Port": 80, "VpcId": "vpc-1",
            "HealthyThresholdCount": 3, "UnhealthyThresholdCount": 2,
        });
        super::super::group::Settings::read(&body).unwrap().check
    }

    fn states(mut state: TargetState, problems: &[Option<Problem>]) -> Vec<TargetState> {
        let (mut count, check) = (Count::default(), check());
        let seen = problems.iter().map(|problem| {
            state = count.verdict(state, *problem, &check, Duration::ZERO).map_or(state, |verdict| verdict.state);
            state
        });
        seen.collect()
    }

    #[test]
    fn a_new_target_needs_one_passed_check() {
        use TargetState::*;
        let failed = Some(Problem::Failed);
        assert_eq!(states(Initial, &[failed, None]), [Initial, Healthy]);
        assert_eq!(states(Initial, &[failed, failed]), [Initial, Unhealthy]);
    }

    #[test]
    fn an_unhealthy_target_has_to_pass_the_whole_threshold_and_a_healthy_one_to_fail_it() {
        use TargetState::*;
        let failed = Some(Problem::Failed);
        assert_eq!(states(Unhealthy, &[None, None, None]), [Unhealthy, Unhealthy, Healthy]);
        assert_eq!(states(Unhealthy, &[None, None, failed, None]), [Unhealthy; 4]);
        assert_eq!(states(Healthy, &[failed, None, failed, failed]), [Healthy, Healthy, Healthy, Unhealthy]);
    }

    #[test]
    fn checks_that_come_sooner_do_not_give_a_target_up_sooner() {
        let (mut count, check) = (Count::default(), check());
        let minute = Duration::from_secs(60);
        for _ in 0..20 {
            assert_eq!(count.verdict(TargetState::Initial, Some(Problem::Failed), &check, minute), None);
        }
        let healthy = count.verdict(TargetState::Initial, None, &check, minute).unwrap();
        assert_eq!(healthy.state, TargetState::Healthy);
    }

    #[test]
    fn a_wrong_code_is_told_from_no_answer() {
        let mut count = Count { failed: 1, ..Count::default() };
        let verdict = count.verdict(TargetState::Initial, Some(Problem::Code(404)), &check(), Duration::ZERO).unwrap();
        assert_eq!(verdict.reason.as_deref(), Some("Target.ResponseCodeMismatch"));
        assert_eq!(verdict.description.as_deref(), Some("Health checks failed with these codes: [404]"));
    }
}
