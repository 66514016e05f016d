//! Tags on what has an ARN.

use super::definitions::Definitions;
use crate::error::Reply;
use crate::request::{list, lock, required, text, texts};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Tags of services, clusters and tasks; a task definition keeps its own.
#[derive(Default)]
pub(super) struct Tags(Mutex<BTreeMap<String, Vec<Value>>>);

impl Tags {
    pub(super) fn call(&self, definitions: &Definitions, operation: &str, body: &Value) -> Option<Reply> {
        if !matches!(operation, "TagResource" | "UntagResource" | "ListTagsForResource") {
            return None;
        }
        let arn = match required(body, "resourceArn") {
            Ok(arn) => arn,
            Err(e) => return Some(Err(e)),
        };
        let is_definition = arn.contains(":task-definition/");
        let mut tags =
            if is_definition { definitions.tags(arn) } else { lock(&self.0).get(arn).cloned().unwrap_or_default() };
        match operation {
            "ListTagsForResource" => return Some(Ok(json!({"tags": tags}))),
            "TagResource" => {
                for tag in list(body, "tags") {
                    tags.retain(|t| text(t, "key") != text(tag, "key"));
                    tags.push(tag.clone());
                }
            }
            _ => tags.retain(|t| !texts(body, "tagKeys").iter().any(|key| text(t, "key") == Some(key))),
        }
        if is_definition {
            definitions.set_tags(arn, tags);
        } else {
            lock(&self.0).insert(arn.to_owned(), tags);
        }
        Some(Ok(json!({})))
    }
}
