//! What was asked over the wire, in order: tests assert on it that a run touched nothing, or how often it polled.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::request::lock;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// When it was answered.
    pub time: jiff::Timestamp,
    /// The signing name of the service, `registry` or `github`.
    pub service: String,
    /// The operation; of the registry, ECR's name of the action.
    pub operation: String,
    /// Whether it could have changed anything.
    pub mutating: bool,
    /// The caller's ARN; empty when nobody signed.
    pub caller: String,
    /// The HTTP status; 0 when the connection was dropped without an answer.
    pub status: u16,
    /// The exception's name, if there was one.
    pub error: Option<String>,
}

/// The log of one stage.
#[derive(Debug, Default)]
pub struct CallLog {
    calls: Mutex<Vec<CallRecord>>,
}

impl CallLog {
    pub(super) fn record(&self, call: CallRecord) {
        lock(&self.calls).push(call);
    }

    /// Everything so far, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        lock(&self.calls).clone()
    }
}

impl CallRecord {
    /// As `GET /_stage/calls` lists it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "time": self.time.to_string(), "service": self.service, "operation": self.operation,
            "mutating": self.mutating, "caller": self.caller, "status": self.status, "error": self.error,
        })
    }
}

/// Whether an operation of this name can change anything, by AWS's naming.
#[must_use]
pub fn is_mutating(operation: &str) -> bool {
    const READS: [&str; 9] =
        ["Describe", "List", "Get", "BatchGet", "BatchCheck", "Filter", "Simulate", "AssumeRole", "StartLiveTail"];
    !READS.iter().any(|read| operation.starts_with(read))
}
