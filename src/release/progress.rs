//! What the services of a release know of each other while they are rolled out.

use crate::config::OnFailure;
use crate::evidence::Evidence;
use fargate_deploy_core::names::{ServiceKey, ServiceRef};
use fargate_deploy_core::outcome::{Failure, Reason};
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// They serve and answer: what comes after them may start.
    pub completed: BTreeSet<ServiceKey>,
    /// Of these it is known whether they came to serve, or that they are not started.
    decided: BTreeSet<ServiceKey>,
    /// They are back, or need not go back: what they come after may go back.
    pub back: BTreeSet<ServiceKey>,
    stop: StopMode,
    /// ECS takes them back by itself, and is followed until it has.
    going_back: BTreeSet<ServiceKey>,
    /// The run was told to end, and answers that here.
    pub is_cancelled: bool,
    /// In the order in which they happened.
    failures: Vec<(ServiceKey, Failure)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum StopMode {
    #[default]
    GoOn,
    /// What is rolling out is followed to its end; nothing else starts.
    StartNothing,
    /// What is rolling out goes back.
    Abort,
}

impl Progress {
    /// Nothing else starts.
    pub fn is_over(&self) -> bool {
        self.stop != StopMode::GoOn || self.is_cancelled
    }

    /// The release is given up as a whole: nothing that rolls out is followed any further.
    pub fn is_given_up(&self) -> bool {
        self.stop == StopMode::Abort || self.is_cancelled
    }

    /// The same for one service: what ECS takes back by itself is followed to its end.
    pub fn is_given_up_of(&self, key: &ServiceKey) -> bool {
        self.is_given_up() && (self.is_cancelled || !self.going_back.contains(key))
    }

    /// ECS has begun to take it back.
    pub fn is_going_back(&mut self, key: &ServiceKey, on_failure: OnFailure) {
        self.going_back.insert(key.clone());
        self.stop = self.stop.max(match on_failure {
            OnFailure::RollbackAll => StopMode::Abort,
            OnFailure::RollbackFailed | OnFailure::Leave => StopMode::StartNothing,
        });
    }

    /// Every service of the release goes back.
    pub fn takes_all_back(&self) -> bool {
        self.stop == StopMode::Abort
    }

    pub fn has_decided(&self, services: usize) -> bool {
        self.decided.len() >= services
    }

    pub fn has_come_to_serve(&mut self, key: &ServiceKey) {
        self.completed.insert(key.clone());
        self.decided.insert(key.clone());
    }

    /// It is not started, or is given up before it came to serve.
    pub fn is_dropped(&mut self, key: &ServiceKey) {
        self.decided.insert(key.clone());
    }

    pub fn has_failed(&mut self, key: &ServiceKey, failure: Failure, on_failure: OnFailure) {
        self.decided.insert(key.clone());
        self.stop = self.stop.max(consequence(&failure, on_failure));
        self.failures.push((key.clone(), failure));
    }

    /// What AWS still had to say of a failure of `service` by then.
    pub fn adds_evidence(&mut self, key: &ServiceKey, service: &ServiceRef, found: &Evidence) {
        for (_, failure) in self.failures.iter_mut().filter(|(of, _)| of == key) {
            let mut explained = failure.clone();
            explained.evidence.extend(found.lines.iter().cloned());
            explained.log.extend(found.log.iter().cloned());
            // What goes on, or needs a person, is still to be looked at, whatever its cause.
            let next = explained.next.clone().filter(|_| explained.reason != Reason::RolledBack);
            let mut explained = explained.because(&service.to_string(), found.cause.clone());
            if let (Some(next), Some(cause)) = (next, &explained.cause)
                && next != cause.next
            {
                explained.next = Some(format!("{}; then {next}", cause.next));
            }
            *failure = explained;
        }
    }

    pub fn failures(&self) -> Vec<Failure> {
        self.failures.iter().map(|(_, failure)| failure.clone()).collect()
    }
}

/// What a failure means for the others.
fn consequence(failure: &Failure, on_failure: OnFailure) -> StopMode {
    match on_failure {
        OnFailure::RollbackAll if !is_in_progress_elsewhere(failure) => StopMode::Abort,
        _ => StopMode::StartNothing,
    }
}

/// Slow or replaced is not bad: what ECS, or somebody newer, is working on is left alone.
pub(super) fn is_in_progress_elsewhere(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Timeout | Reason::Superseded | Reason::Locked)
}

/// The first that is bad, else the first; what else happened is evidence.
pub(super) fn first_failure(mut failures: Vec<Failure>) -> Option<Failure> {
    let at = failures.iter().position(|f| !is_in_progress_elsewhere(f)).unwrap_or(0);
    if failures.is_empty() {
        return None;
    }
    let first = failures.remove(at);
    Some(first.with_evidence(failures.into_iter().map(|other| other.what).collect()))
}
