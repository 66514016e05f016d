//! What the services of the stage share: who calls, and from which partition.

use std::sync::Arc;

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
