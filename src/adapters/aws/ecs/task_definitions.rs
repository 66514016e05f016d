//! Task definitions, as raw JSON.

use super::tags;
use super::wire::{self, text};
use crate::adapters::aws::client::AwsClient;
use crate::ports::{Call, CallError, CallErrorKind, TaskDefinitions};
use crate::retry::{self, Again, retry};
use async_trait::async_trait;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::task_definition::{READ_ONLY, TaskDefinition, compare};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tokio::time::sleep;

/// How often a revision is looked for whose registration was not answered, two seconds apart.
const LOOKS: u32 = 5;
/// How many revisions before the newest are looked at for it.
const LOOKS_BACK: usize = 4;

#[async_trait(?Send)]
impl TaskDefinitions for AwsClient {
    async fn task_definition(&self, name: &str) -> Call<TaskDefinition> {
        let body = json!({ "taskDefinition": name, "include": ["TAGS"] });
        match ask!(self, "ecs:DescribeTaskDefinition", describe_task_definition, body) {
            Ok(answer) => Ok(wire::task_definition(&answer)),
            // ECS has no exception of its own for it.
            Err(error) if error.message.starts_with("Unable to describe task definition") => {
                Err(CallError { kind: CallErrorKind::NotFound, ..error })
            }
            Err(error) => Err(error),
        }
    }

    /// Where the answer is lost, what was registered is looked for before it is registered again.
    async fn register(&self, task_definition: &TaskDefinition) -> Call<TaskDefinitionArn> {
        let again = |error: &CallError| if error.may_pass() { Again::Soon } else { Again::Never };
        let tell = |error: &CallError| self.session.tell_again("ecs:RegisterTaskDefinition", error);
        retry(self.session.retry_policy(), |_| self.register_once(task_definition), again, tell).await
    }

    async fn deregister(&self, revision: &TaskDefinitionArn) -> Call<()> {
        let body = json!({ "taskDefinition": revision });
        ask!(self, "ecs:DeregisterTaskDefinition", deregister_task_definition, body).map(drop)
    }
}

impl AwsClient {
    async fn register_once(&self, definition: &TaskDefinition) -> Call<TaskDefinitionArn> {
        let body = registration(definition);
        let lost = match ask!(once self, "ecs:RegisterTaskDefinition", register_task_definition, body) {
            Ok(answer) => return Ok(TaskDefinitionArn::new(text(&answer["taskDefinition"], "taskDefinitionArn"))),
            Err(error) if error.kind == CallErrorKind::Unreachable => error,
            Err(error) => return Err(error),
        };
        // Reads can lag the write.
        for _ in 0..LOOKS {
            sleep(self.session.retry_policy().first_wait * 4).await;
            if let Some(found) = retry::each_within(retry::POLL, self.registered(definition)).await {
                return Ok(found);
            }
        }
        Err(lost)
    }

    /// The newest revision of the family that is this definition, with the same tags. What cannot be read is not there.
    async fn registered(&self, definition: &TaskDefinition) -> Option<TaskDefinitionArn> {
        let family = definition.family();
        let newest = self.task_definition(family).await.ok()?;
        if is_same(&newest, definition) {
            return newest.arn();
        }
        // Somebody else may have registered one since.
        let number = newest.body.get("revision")?.as_u64()?;
        for number in (1..number).rev().take(LOOKS_BACK) {
            let Ok(older) = self.task_definition(&format!("{family}:{number}")).await else { continue };
            if is_same(&older, definition) {
                return older.arn();
            }
        }
        None
    }
}

fn is_same(registered: &TaskDefinition, wanted: &TaskDefinition) -> bool {
    let tags = |definition: &TaskDefinition| BTreeSet::from_iter(definition.registrable().tags);
    compare::differences(registered, wanted).is_empty() && tags(registered) == tags(wanted)
}

/// What `RegisterTaskDefinition` takes of a definition: all but the members that only describe it, and its tags.
fn registration(definition: &TaskDefinition) -> Value {
    let mut body: Map<String, Value> = definition
        .body
        .iter()
        .filter(|(member, _)| !READ_ONLY.contains(&member.as_str()))
        .map(|(member, value)| (member.clone(), value.clone()))
        .collect();
    let registrable = definition.registrable().tags;
    if !registrable.is_empty() {
        body.insert("tags".to_owned(), tags(&registrable));
    }
    Value::Object(body)
}
