//! What a call answers where it fails.

use serde_json::Value;

/// An error in AWS's shape. The server turns it into JSON 1.1 or Query XML.
#[derive(Clone, Debug)]
pub struct AwsError {
    /// HTTP status: 400 for client faults, 403 for authorization, 5xx for the service's own.
    pub status: u16,
    /// The exception's shape name, e.g. `ClusterNotFoundException`.
    pub code: String,
    /// The sentence after it.
    pub message: String,
    /// Further modelled members of the exception, e.g. `resourceIds`.
    pub members: Value,
}

impl AwsError {
    /// A client fault (HTTP 400).
    pub fn client(code: &str, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.to_owned(), message: message.into(), members: Value::Null }
    }

    /// An operation that the service does not have, in the words of the JSON services.
    pub fn unknown_operation(operation: &str) -> Self {
        Self::client("UnknownOperationException", format!("the stage does not play `{operation}`"))
    }
}

/// What one API call answers: the JSON members of the operation's output shape.
pub type Reply = Result<Value, AwsError>;
