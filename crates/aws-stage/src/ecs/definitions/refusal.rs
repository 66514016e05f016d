//! A refusal of RegisterTaskDefinition, and the containers that it is about.

use serde_json::Value;

use crate::error::AwsError;
use crate::request::{list, text};

/// A ClientException.
pub(super) fn refuse<T>(message: impl Into<String>) -> Result<T, AwsError> {
    Err(AwsError::client("ClientException", message))
}

/// The same about one container.
pub(super) fn setting<T>(container: &Value, why: &str) -> Result<T, AwsError> {
    refuse(format!("Invalid setting for container '{}'. {why}", text(container, "name").unwrap_or_default()))
}

pub(super) fn containers(body: &Value) -> &[Value] {
    list(body, "containerDefinitions")
}
