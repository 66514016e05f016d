//! The health check of one target, by its group's settings.

use super::{Elb, TargetHealth, TargetState};
use crate::stage::members::{lock, number, text};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Asks again and again until the target leaves.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>
pub(super) async fn check(elb: Arc<Elb>, arn: String, target: String) {
    let (mut passed, mut failed) = (0, 0);
    loop {
        let Some((address, request)) = find(&elb, &arn, &target) else { return };
        let of = |name: &str, default: i64| number(&request, name).unwrap_or(default);
        let limit = Duration::from_secs(of("HealthCheckTimeoutSeconds", 5).clamp(2, 120) as u64);
        let matcher = request.get("Matcher").and_then(|m| text(m, "HttpCode")).unwrap_or("200");
        let answer = probe(address, text(&request, "HealthCheckPath").unwrap_or("/"), limit).await;
        let problem = match answer {
            Ok(status) if matches(matcher, status) => None,
            Ok(status) => {
                Some(("Target.ResponseCodeMismatch", format!("Health checks failed with these codes: [{status}]")))
            }
            Err(Probe::Timeout) => Some(("Target.Timeout", "Request timed out".to_owned())),
            Err(Probe::Failed) => Some(("Target.FailedHealthChecks", "Health checks failed".to_owned())),
        };
        (passed, failed) = if problem.is_none() { (passed + 1, 0) } else { (0, failed + 1) };
        let is_new = state(&elb, &arn, &target) == Some(TargetState::Initial);
        // A new target is healthy after its first passed check; one that was unhealthy has to earn it again.
        let verdict = match problem {
            None if is_new || passed >= of("HealthyThresholdCount", 5) => {
                Some(TargetHealth { state: TargetState::Healthy, reason: None, description: None })
            }
            Some((reason, description)) if failed >= of("UnhealthyThresholdCount", 2) => Some(TargetHealth {
                state: TargetState::Unhealthy,
                reason: Some(reason.to_owned()),
                description: Some(description),
            }),
            _ => None,
        };
        if let Some(verdict) = verdict {
            set(&elb, &arn, &target, verdict);
        }
        sleep(elb.play.patience(of("HealthCheckIntervalSeconds", 30) as f64).max(Duration::from_millis(100))).await;
    }
}

fn find(elb: &Elb, arn: &str, target: &str) -> Option<(SocketAddr, Value)> {
    let groups = lock(&elb.groups);
    let group = groups.get(arn)?;
    let target = group.targets.get(target)?;
    (target.health.state != TargetState::Draining).then(|| (target.address, group.request.clone()))
}

fn state(elb: &Elb, arn: &str, target: &str) -> Option<TargetState> {
    elb.health(arn, target).map(|health| health.state)
}

fn set(elb: &Elb, arn: &str, target: &str, health: TargetHealth) {
    let mut groups = lock(&elb.groups);
    let Some(found) = groups.get_mut(arn).and_then(|g| g.targets.get_mut(target)) else { return };
    if found.health.state == TargetState::Draining || found.health == health {
        return;
    }
    found.health = health;
    drop(groups);
    elb.bump();
}

enum Probe {
    Timeout,
    Failed,
}

/// One GET; the status of the answer.
async fn probe(address: SocketAddr, path: &str, limit: Duration) -> Result<u16, Probe> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: ELB-HealthChecker/2.0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = vec![];
        let mut buffer = [0_u8; 512];
        while head.len() < 16 {
            match stream.read(&mut buffer).await.ok()? {
                0 => break,
                read => head.extend_from_slice(&buffer[..read]),
            }
        }
        String::from_utf8_lossy(&head).split_whitespace().nth(1)?.parse().ok()
    };
    match timeout(limit, asking).await {
        Ok(status) => status.ok_or(Probe::Failed),
        Err(_) => Err(Probe::Timeout),
    }
}

/// `200`, `200,202` or `200-299`.
fn matches(matcher: &str, status: u16) -> bool {
    matcher.split(',').any(|part| match part.split_once('-') {
        Some((from, to)) => {
            from.trim().parse().is_ok_and(|f: u16| f <= status) && to.trim().parse().is_ok_and(|t: u16| status <= t)
        }
        None => part.trim().parse() == Ok(status),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_lists_and_ranges() {
        for (matcher, status, expected) in
            [("200", 200, true), ("200-399", 302, true), ("200,404", 404, true), ("200-299", 404, false)]
        {
            assert_eq!(matches(matcher, status), expected, "{matcher} {status}");
        }
    }
}
