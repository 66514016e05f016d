//! Task definitions: families and revisions.

pub(super) mod fargate;
mod filled_in;
mod refusal;
mod rules;

use super::task::Definition;
use crate::api::{Caller, partition};
use crate::error::{AwsError, Reply};
use crate::request::{epoch_seconds, list, lock, number, page, required, text};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub(crate) struct Definitions {
    account: String,
    region: String,
    families: Mutex<BTreeMap<String, Vec<Revision>>>,
}

struct Revision {
    definition: Arc<Definition>,
    is_active: bool,
    tags: Vec<Value>,
    registered_at: f64,
    registered_by: String,
    deregistered_at: Option<f64>,
}

impl Definitions {
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), families: Mutex::default() }
    }

    /// By ARN or `family:revision`, also an inactive one; by family its latest active one. The flag: is it active?
    pub(crate) fn find(&self, name: &str) -> Option<(Arc<Definition>, bool)> {
        let short = name.rsplit('/').next().unwrap_or(name);
        let families = lock(&self.families);
        match short.split_once(':') {
            Some((family, revision)) => {
                let index = revision.parse::<usize>().ok()?.checked_sub(1)?;
                let found = families.get(family)?.get(index)?;
                Some((found.definition.clone(), found.is_active))
            }
            None => {
                let found = families.get(short)?.iter().rfind(|r| r.is_active)?;
                Some((found.definition.clone(), true))
            }
        }
    }

    /// One that a task or service may be started from.
    pub(crate) fn active(&self, name: &str) -> Result<Arc<Definition>, AwsError> {
        match self.find(name) {
            Some((definition, true)) => Ok(definition),
            Some((_, false)) => Err(AwsError::client("ClientException", "TaskDefinition is inactive")),
            None => Err(AwsError::client("ClientException", "TaskDefinition not found.")),
        }
    }

    pub(crate) fn tags(&self, arn: &str) -> Vec<Value> {
        let families = lock(&self.families);
        families.values().flatten().find(|r| r.definition.arn == arn).map(|r| r.tags.clone()).unwrap_or_default()
    }

    /// False when the ARN is none of a task definition.
    pub(crate) fn set_tags(&self, arn: &str, tags: Vec<Value>) -> bool {
        let mut families = lock(&self.families);
        let found = families.values_mut().flatten().find(|r| r.definition.arn == arn);
        found.map(|revision| revision.tags = tags).is_some()
    }

    pub(crate) fn call(&self, caller: &Caller, operation: &str, body: &Value) -> Option<Reply> {
        Some(match operation {
            "RegisterTaskDefinition" => self.register(caller, body),
            "DescribeTaskDefinition" => self.describe(body),
            "DeregisterTaskDefinition" => self.deregister(body),
            "ListTaskDefinitions" => self.list(body),
            "ListTaskDefinitionFamilies" => {
                let prefix = text(body, "familyPrefix").unwrap_or_default();
                let families: Vec<String> =
                    lock(&self.families).keys().filter(|f| f.starts_with(prefix)).cloned().collect();
                Ok(json!({"families": families}))
            }
            _ => return None,
        })
    }

    fn register(&self, caller: &Caller, body: &Value) -> Reply {
        rules::check(body)?;
        let mut members = filled_in::members(body);
        let tags = members.shift_remove("tags").and_then(|t| t.as_array().cloned()).unwrap_or_default();
        let family = required(body, "family")?.to_owned();
        let mut families = lock(&self.families);
        let revisions = families.entry(family.clone()).or_default();
        let number = revisions.len() + 1;
        let arn = format!(
            "arn:{}:ecs:{}:{}:task-definition/{family}:{number}",
            partition(&self.region),
            self.region,
            self.account
        );
        let definition = Arc::new(Definition { arn, family, body: members });
        let revision = Revision {
            definition,
            is_active: true,
            tags: tags.clone(),
            registered_at: epoch_seconds(),
            registered_by: caller.arn.clone(),
            deregistered_at: None,
        };
        let shown = shape(&revision);
        revisions.push(revision);
        Ok(json!({"taskDefinition": shown, "tags": tags}))
    }

    fn describe(&self, body: &Value) -> Reply {
        let name = required(body, "taskDefinition")?;
        let missing = || AwsError::client("ClientException", "Unable to describe task definition.");
        let (definition, _) = self.find(name).ok_or_else(missing)?;
        let families = lock(&self.families);
        let revision = families.values().flatten().find(|r| r.definition.arn == definition.arn).ok_or_else(missing)?;
        let mut answer = json!({"taskDefinition": shape(revision)});
        if list(body, "include").iter().any(|i| i == "TAGS") {
            answer["tags"] = json!(revision.tags);
        }
        Ok(answer)
    }

    fn deregister(&self, body: &Value) -> Reply {
        let (definition, _) = self
            .find(required(body, "taskDefinition")?)
            .ok_or_else(|| AwsError::client("ClientException", "The specified task definition does not exist."))?;
        let mut families = lock(&self.families);
        let revision = families.values_mut().flatten().find(|r| r.definition.arn == definition.arn);
        let revision = revision
            .ok_or_else(|| AwsError::client("ClientException", "The specified task definition does not exist."))?;
        revision.is_active = false;
        revision.deregistered_at = Some(epoch_seconds());
        Ok(json!({"taskDefinition": shape(revision)}))
    }

    fn list(&self, body: &Value) -> Reply {
        let wants_active = text(body, "status") != Some("INACTIVE");
        let family = text(body, "familyPrefix");
        let families = lock(&self.families);
        let mut arns: Vec<String> = families
            .iter()
            .filter(|(name, _)| family.is_none_or(|family| family == name.as_str()))
            .flat_map(|(_, revisions)| {
                revisions.iter().filter(|r| r.is_active == wants_active).map(|r| r.definition.arn.clone())
            })
            .collect();
        if text(body, "sort") == Some("DESC") {
            arns.reverse();
        }
        let (arns, next) = page(&arns, text(body, "nextToken"), number(body, "maxResults").unwrap_or(100) as usize)?;
        let mut answer = json!({"taskDefinitionArns": arns});
        if let Some(next) = next {
            answer["nextToken"] = json!(next);
        }
        Ok(answer)
    }
}

/// What could run it: awsvpc and sizes that Fargate has make it fit for both.
fn compatibilities(body: &Map<String, Value>) -> Vec<&'static str> {
    let body = Value::Object(body.clone());
    if fargate::check(&body).is_ok() { vec!["EC2", "FARGATE"] } else { vec!["EC2"] }
}

fn shape(revision: &Revision) -> Value {
    let mut members = revision.definition.body.clone();
    let number = revision.definition.arn.rsplit(':').next().and_then(|n| n.parse::<u64>().ok());
    members.insert("taskDefinitionArn".to_owned(), json!(revision.definition.arn));
    members.insert("revision".to_owned(), json!(number));
    members.insert("status".to_owned(), json!(if revision.is_active { "ACTIVE" } else { "INACTIVE" }));
    members.insert(
        "requiresAttributes".to_owned(),
        json!([{"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"}]),
    );
    members.insert("compatibilities".to_owned(), json!(compatibilities(&revision.definition.body)));
    members.insert("registeredAt".to_owned(), json!(revision.registered_at));
    members.insert("registeredBy".to_owned(), json!(revision.registered_by));
    if let Some(at) = revision.deregistered_at {
        members.insert("deregisteredAt".to_owned(), json!(at));
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Value {
        json!({"family": "web", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
            "containerDefinitions": [{"name": "app", "image": "i", "heardOf": "never"}], "tags": [{"key": "k", "value": "v"}]})
    }

    fn register(definitions: &Definitions, body: &Value) -> Reply {
        let caller =
            Caller { account: String::new(), region: String::new(), arn: "arn:me".to_owned(), session_policy: None };
        definitions.call(&caller, "RegisterTaskDefinition", body).unwrap()
    }

    #[test]
    fn unknown_members_are_kept_and_tags_are_shown_only_when_asked_for() {
        let definitions = Definitions::new("111122223333", "eu-central-1");
        register(&definitions, &definition()).unwrap();
        let shown = definitions.describe(&json!({"taskDefinition": "web"})).unwrap();
        assert_eq!(shown["taskDefinition"]["containerDefinitions"][0]["heardOf"], "never");
        assert_eq!(shown["taskDefinition"]["revision"], 1);
        assert!(shown.get("tags").is_none());
        let tagged = definitions.describe(&json!({"taskDefinition": "web:1", "include": ["TAGS"]})).unwrap();
        assert_eq!(tagged["tags"][0]["key"], "k");
    }

    #[test]
    fn a_family_means_its_latest_active_revision() {
        let definitions = Definitions::new("111122223333", "eu-central-1");
        for _ in 0..2 {
            register(&definitions, &definition()).unwrap();
        }
        definitions.deregister(&json!({"taskDefinition": "web:2"})).unwrap();
        assert!(definitions.find("web").unwrap().0.arn.ends_with("web:1"));
        assert_eq!(definitions.active("web:2").unwrap_err().message, "TaskDefinition is inactive");
    }

    #[test]
    fn fargate_refuses_what_it_does_not_offer() {
        let definitions = Definitions::new("111122223333", "eu-central-1");
        let mut bad = definition();
        bad["cpu"] = json!("300");
        assert!(
            register(&definitions, &bad)
                .unwrap_err()
                .message
                .starts_with("No Fargate configuration exists for given values: 300 CPU")
        );
        let mut logs = definition();
        let options = json!({"awslogs-group": "g", "awslogs-region": "r", "awslogs-stream-prefix": "p"});
        logs["containerDefinitions"][0]["logConfiguration"] = json!({"logDriver": "awslogs", "options": options});
        assert!(register(&definitions, &logs).unwrap_err().message.contains("execution role ARN"));
    }
}
