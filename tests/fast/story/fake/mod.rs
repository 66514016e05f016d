//! Ports written by hand. Every call is a line of one shared journal.

pub mod builder;
pub mod cloud;
pub mod ecs;
pub mod rollout;
pub mod task;

pub use crate::recorded_events::RecordedEvents;

use async_trait::async_trait;
use fargate_deploy::ports::Web;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::service::{Role, Service, State};
use sha2::Digest as _;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "eu-central-1";
pub const REGISTRY: &str = "111122223333.dkr.ecr.eu-central-1.amazonaws.com";

tokio::task_local! {
    /// Whose calls these are, where several runs share one AWS.
    pub static RUN: String;
}

thread_local! {
    static START: Instant = Instant::now();
    static SUSPENDED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The clock of [`fargate_deploy::release_context::ReleaseContext`], on the test's own time.
pub fn clock() -> Duration {
    START.with(|start| Instant::now().saturating_duration_since(*start)) + SUSPENDED.get()
}

/// The machine was suspended for so long: timers and `Instant` know nothing of it.
pub fn suspend(lasts: Duration) {
    SUSPENDED.set(SUSPENDED.get() + lasts);
}

/// What was called, in order.
#[derive(Clone, Default)]
pub struct Journal(Rc<RefCell<Vec<String>>>);

impl Journal {
    pub fn note(&self, line: String) {
        self.0.borrow_mut().push(line);
    }

    pub fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Repeated reads are one line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.0.borrow().clone();
        lines.dedup();
        lines
    }

    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    pub fn count(&self, start: &str) -> usize {
        self.0.borrow().iter().filter(|line| line.starts_with(start)).count()
    }
}

/// Nothing is moving: exactly one deployment, and it completed (or does not report a state).
pub fn is_settled(service: &Service) -> bool {
    matches!(service.deployments.as_slice(), [only] if only.role == Role::Primary
        && matches!(only.state, State::Completed | State::Unreported)
        && only.counts.is_full())
}

pub fn digest_of(content: &str) -> Digest {
    let hex: String = sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    Digest::parse(&format!("sha256:{hex}")).unwrap()
}

pub fn definition_arn(name: &str) -> String {
    format!("arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{name}")
}

/// Answers from a list, then `200 ok` for ever.
pub struct FakeWeb {
    pub journal: Journal,
    pub answers: RefCell<VecDeque<Result<(u16, String), String>>>,
}

#[async_trait(?Send)]
impl Web for FakeWeb {
    async fn get(&self, url: &str, _timeout: Duration) -> Result<(u16, String), String> {
        self.journal.note(format!("GET {url}"));
        self.answers.borrow_mut().pop_front().unwrap_or_else(|| Ok((200, "ok".to_owned())))
    }
}
