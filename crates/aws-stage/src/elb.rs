//! Elastic Load Balancing v2, as far as ECS services lean on it: target groups with real health checks, and a small
//! load balancer per group on the loopback interface.

mod balancer;
mod check;
mod group;
mod http;
mod operations;
mod route;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::behavior::Behavior;
use super::request::lock;
use group::Settings;

/// `TargetHealth.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetState {
    /// Not a single check has passed yet, nor enough of them failed.
    Initial,
    /// Gets requests.
    Healthy,
    /// Gets none.
    Unhealthy,
    /// Gets no new requests; the ones it has may end until the deregistration delay is over.
    Draining,
}

impl TargetState {
    /// AWS's spelling.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
        }
    }
}

/// What DescribeTargetHealth says of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetHealth {
    /// See [`TargetState`].
    pub state: TargetState,
    /// `Elb.InitialHealthChecking`, `Target.FailedHealthChecks`, `Target.ResponseCodeMismatch`, `Target.Timeout`, ...
    pub reason: Option<String>,
    /// The sentence to it.
    pub description: Option<String>,
}

/// Target groups by ARN.
pub(crate) struct Elb {
    account: String,
    region: String,
    behavior: Behavior,
    groups: Mutex<BTreeMap<String, Group>>,
    changes: watch::Sender<u64>,
}

struct Group {
    settings: Settings,
    /// Of the attribute `deregistration_delay.timeout_seconds`.
    deregistration_delay: u32,
    listener: SocketAddr,
    targets: BTreeMap<String, Target>,
    _serving: Work,
}

struct Target {
    address: SocketAddr,
    health: TargetHealth,
    /// The health checks; once it drains, the end of that.
    work: Work,
}

/// Work in the background that ends with what it is for.
struct Work(AbortHandle);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Elb {
    /// No target groups.
    #[must_use]
    pub(crate) fn new(account: &str, region: &str, behavior: Behavior) -> Arc<Self> {
        let (changes, _) = watch::channel(0);
        Arc::new(Self {
            account: account.to_owned(),
            region: region.to_owned(),
            behavior,
            groups: Mutex::default(),
            changes,
        })
    }

    /// Whether a target group with this ARN is there.
    #[must_use]
    pub(crate) fn exists(&self, arn: &str) -> bool {
        lock(&self.groups).contains_key(arn)
    }

    /// A target joins: health checking starts, and requests once it is healthy. Joining again ends its draining, and
    /// changes nothing where it already is.
    pub(crate) fn register(self: &Arc<Self>, arn: &str, target: &str, address: SocketAddr) {
        {
            let mut groups = lock(&self.groups);
            let Some(group) = groups.get_mut(arn) else { return };
            let is_there = |known: &Target| known.address == address && known.health.state != TargetState::Draining;
            if group.targets.get(target).is_some_and(is_there) {
                return;
            }
            let checking = tokio::spawn(check::run(Arc::downgrade(self), arn.to_owned(), target.to_owned()));
            let health = TargetHealth {
                state: TargetState::Initial,
                reason: Some("Elb.InitialHealthChecking".to_owned()),
                description: Some("Initial health checks in progress".to_owned()),
            };
            let joined = Target { address, health, work: Work(checking.abort_handle()) };
            group.targets.insert(target.to_owned(), joined);
        }
        self.bump();
    }

    /// A target leaves: no new requests, gone after the deregistration delay.
    pub(crate) fn deregister(self: &Arc<Self>, arn: &str, target: &str) {
        {
            let mut groups = lock(&self.groups);
            let Some(group) = groups.get_mut(arn) else { return };
            let delay = self.behavior.waiting(f64::from(group.deregistration_delay));
            let Some(found) = group.targets.get_mut(target) else { return };
            if found.health.state == TargetState::Draining {
                return;
            }
            found.health = TargetHealth {
                state: TargetState::Draining,
                reason: Some("Target.DeregistrationInProgress".to_owned()),
                description: Some("Target deregistration is in progress".to_owned()),
            };
            let leaving = tokio::spawn(remove_after(Arc::downgrade(self), arn.to_owned(), target.to_owned(), delay));
            found.work = Work(leaving.abort_handle());
        }
        self.bump();
    }

    /// What DescribeTargetHealth would say; `None` for what is not registered.
    #[must_use]
    pub(crate) fn health(&self, arn: &str, target: &str) -> Option<TargetHealth> {
        Some(lock(&self.groups).get(arn)?.targets.get(target)?.health.clone())
    }

    /// Where the group's load balancer listens.
    #[must_use]
    pub(crate) fn listener(&self, arn: &str) -> Option<SocketAddr> {
        Some(lock(&self.groups).get(arn)?.listener)
    }

    /// Moves at every change of any target.
    #[must_use]
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Closes every listener and ends every check.
    pub(crate) async fn shutdown(&self) {
        lock(&self.groups).clear();
        self.bump();
    }

    fn bump(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Addresses that may get a request now.
    fn healthy(&self, arn: &str) -> Vec<SocketAddr> {
        let groups = lock(&self.groups);
        let targets = groups.get(arn).into_iter().flat_map(|group| group.targets.values());
        targets.filter(|target| target.health.state == TargetState::Healthy).map(|target| target.address).collect()
    }
}

async fn remove_after(elb: std::sync::Weak<Elb>, arn: String, target: String, delay: Duration) {
    tokio::time::sleep(delay).await;
    let Some(elb) = elb.upgrade() else { return };
    if let Some(group) = lock(&elb.groups).get_mut(&arn) {
        group.targets.remove(&target);
    }
    elb.bump();
}
