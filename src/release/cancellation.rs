//! How a release ends when it is told to.

use super::Release;
use fargate_deploy_core::outcome::{Failure, Reason};
use futures_util::FutureExt as _;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// The runner kills 10 s after the first signal; within 5 s everything is said, with no network too: an order's answer is
/// waited for, the leases are released, and GitHub is told (`commands::LAST_STATUS`).
const LAST_ANSWER: Duration = Duration::from_millis(2500);
/// For whether a command that was running has ended.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(800);
/// For what is written into the leases when the run ends.
pub(super) const LAST_WRITES: Duration = Duration::from_millis(1500);

impl Release<'_> {
    /// Ends `work` when the run is told to end, but for an order that is on its way: without its answer nobody could say
    /// what is running now.
    pub(super) async fn until_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            ended = &mut work => return ended,
            () = self.interrupt.clone() => {}
        }
        // Whoever answers the interrupt by itself has a deadline of its own.
        if let Some(ended) = self.poll_while(&mut work, |release| release.answers_interrupt.get()).await {
            return ended;
        }
        let answered = self.poll_while(&mut work, |release| release.context.record.borrow().is_ordering());
        match tokio::time::timeout(LAST_ANSWER, answered).await {
            Ok(Some(ended)) => ended,
            Ok(None) | Err(_) => Err(cancelled()),
        }
    }

    /// Ends `work` when `end` resolves, but for what `is_needed` to be known. `None`: it has not ended.
    pub(super) async fn unless<T>(
        &self,
        end: impl Future<Output = ()>,
        work: impl Future<Output = T>,
        is_needed: impl Fn(&Self) -> bool,
    ) -> Option<T> {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            ended = &mut work => return Some(ended),
            () = end => {}
        }
        self.poll_while(&mut work, is_needed).await
    }

    /// Goes on with `work` as long as `is_needed`. `None`: it is not, and `work` has not ended.
    async fn poll_while<T>(
        &self,
        work: &mut (impl Future<Output = T> + Unpin),
        is_needed: impl Fn(&Self) -> bool,
    ) -> Option<T> {
        poll_fn(|context| match work.poll_unpin(context) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if is_needed(self) => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

pub fn cancelled() -> Failure {
    Failure::new(Reason::Cancelled, "cancelled: this run changes nothing further")
        .with_next("run it again: it goes on from what is there")
}

/// Runs `beside` as long as `main` runs.
pub(super) async fn run_alongside<T>(main: impl Future<Output = T>, beside: impl Future<Output = ()>) -> T {
    let beside = beside.then(|()| std::future::pending());
    tokio::select! {
        biased;
        ended = main => ended,
        never = beside => never,
    }
}
