//! What the services of the stage share: who calls, how they answer, how AWS words an error.

use std::sync::Arc;

use serde_json::Value;

use super::policy::Policy;

/// The authenticated caller of one request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Twelve digits.
    pub account: String,
    /// From the credential scope of the signature, e.g. `eu-central-1`.
    pub region: String,
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION` or `arn:aws:iam::ACCOUNT:root`.
    pub arn: String,
    /// What its session was limited to when the role was assumed.
    pub(crate) session_policy: Option<Arc<Policy>>,
}

/// The partition that a Region belongs to, the second field of every ARN in it.
/// <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>
#[must_use]
pub fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

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
