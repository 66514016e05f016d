//! To the healthy targets of a group, in turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::net::TcpStream;

use super::Elb;

/// Where requests of one group go.
#[derive(Clone)]
pub(super) struct Route {
    elb: Weak<Elb>,
    arn: String,
    turn: Arc<AtomicUsize>,
}

impl Route {
    pub(super) fn new(elb: Weak<Elb>, arn: String) -> Self {
        Self { elb, arn, turn: Arc::default() }
    }

    /// Connects to the next healthy target; one can have died since its last check, so the others are tried too.
    pub(super) async fn connect(&self) -> Result<TcpStream, Unreachable> {
        let targets = self.elb.upgrade().map(|elb| elb.healthy(&self.arn)).unwrap_or_default();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for at in 0..targets.len() {
            if let Ok(target) = TcpStream::connect(targets[turn.wrapping_add(at) % targets.len()]).await {
                return Ok(target);
            }
        }
        Err(if targets.is_empty() { Unreachable::NoTarget } else { Unreachable::Refused })
    }
}

/// Why no target has the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// None is healthy.
    NoTarget,
    /// All of the healthy ones refused the connection.
    Refused,
}
