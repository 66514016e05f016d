//! What was masked in this run, for the texts that leave by another way than the log.

use crate::events::{Event, Sink};
use fargate_deploy_core::redact::Secret;
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps what has to be masked, and hands every event on.
pub(super) struct Masks {
    inner: Arc<dyn Sink + Send + Sync>,
    secrets: Mutex<Vec<Secret>>,
}

impl Masks {
    pub(super) fn new(inner: Arc<dyn Sink + Send + Sync>) -> Self {
        Self { inner, secrets: Mutex::default() }
    }

    pub(super) fn secrets(&self) -> Vec<Secret> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for Masks {
    fn emit(&self, event: Event) {
        if let Event::Mask(secret) = &event {
            self.secrets.lock().unwrap_or_else(PoisonError::into_inner).push(secret.clone());
        }
        self.inner.emit(event);
    }

    fn redacted(&self, text: &str) -> String {
        self.inner.redacted(text)
    }
}
