//! Until when a request may still go out under a lease, by a clock that goes on while the process, or the machine, is
//! suspended.

use crate::clock::Elapsed;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// An order is given only while it is open: after that somebody else may hold the lease. It is asked once more just
/// before each attempt of a request is sent, by the adapter, since an order can be held up on its way there: by new
/// credentials, by the waits between attempts, or by a process that is suspended.
#[derive(Clone, Debug)]
pub struct Fence {
    until: Duration,
    clock: Elapsed,
    requests: Rc<Requests>,
}

#[derive(Debug, Default)]
struct Requests {
    are_sent: Cell<bool>,
    are_refused: Cell<bool>,
}

tokio::task_local! {
    static CURRENT: Fence;
}

impl Fence {
    pub fn new(until: Duration, clock: Elapsed) -> Self {
        Self { until, clock, requests: Rc::default() }
    }

    pub fn is_open(&self) -> bool {
        (self.clock)() < self.until
    }

    /// How long it is still open.
    pub fn remaining(&self) -> Duration {
        self.until.saturating_sub((self.clock)())
    }

    /// Every request of `call` goes out only while the fence is open.
    pub async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), call).await
    }

    /// An attempt came too late, and was not sent.
    pub fn has_refused(&self) -> bool {
        self.requests.are_refused.get()
    }

    /// An attempt was sent.
    pub fn has_let_out(&self) -> bool {
        self.requests.are_sent.get()
    }

    fn ask(&self) -> bool {
        let is_open = self.is_open();
        let noted = if is_open { &self.requests.are_sent } else { &self.requests.are_refused };
        noted.set(true);
        is_open
    }
}

/// Asked right before a request is sent. One that no fence is around may always be.
pub fn may_send() -> bool {
    CURRENT.try_with(Fence::ask).unwrap_or(true)
}
