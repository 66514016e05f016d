//! Task definitions are raw JSON end to end, so that a member newer than our SDK survives byte for byte.

use super::names::TaskDefinitionArn;
use serde_json::{Map, Value};

/// Members of `DescribeTaskDefinition` that `RegisterTaskDefinition` does not take: the set difference of the two
/// shapes in AWS's API model.
pub const READ_ONLY: [&str; 9] = [
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
    "deleteRequestedAt",
];

/// A task definition: described, read from a file, or about to be registered.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskDefinition {
    /// The members as AWS or the file wrote them, in their order, without `tags`.
    pub body: Map<String, Value>,
    /// They live beside the definition, and are lost on the next revision unless they are asked for and sent.
    pub tags: Vec<(String, String)>,
}

impl TaskDefinition {
    /// Its ARN, where it has been registered.
    pub fn arn(&self) -> Option<TaskDefinitionArn> {
        self.body.get("taskDefinitionArn").and_then(Value::as_str).map(TaskDefinitionArn::new)
    }

    pub fn family(&self) -> &str {
        self.body.get("family").and_then(Value::as_str).unwrap_or_default()
    }

    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}
