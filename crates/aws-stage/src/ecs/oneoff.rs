//! RunTask, StopTask, DescribeTasks, ListTasks.

use super::clusters::Clusters;
use super::definitions::Definitions;
use super::definitions::fargate::check_size;
use super::placement;
use super::task::{Definition, TaskSpec, TaskView};
use super::tasks::{Tasks, describe};
use crate::error::{AwsError, Reply};
use crate::request::{epoch_seconds, flag, list, lock, number, page, required, text, texts};
use crate::validation::not_played;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Cluster and token -> the request, and the tasks that it started.
type Tokens = HashMap<(String, String), (Value, Vec<String>)>;

/// One-off tasks, and the client tokens that they were started with.
pub(super) struct OneOffs {
    tasks: Arc<Tasks>,
    tokens: Mutex<Tokens>,
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::client("InvalidParameterException", message)
}

impl OneOffs {
    pub(super) fn new(tasks: Arc<Tasks>) -> Self {
        Self { tasks, tokens: Mutex::default() }
    }

    pub(super) fn call(
        &self,
        definitions: &Definitions,
        clusters: &Clusters,
        operation: &str,
        body: &Value,
    ) -> Option<Reply> {
        Some(match operation {
            "RunTask" => self.run(definitions, clusters, body),
            "StopTask" => self.stop(clusters, body),
            "DescribeTasks" => self.describe(clusters, body),
            "ListTasks" => self.list(clusters, body),
            _ => return None,
        })
    }

    fn run(&self, definitions: &Definitions, clusters: &Clusters, body: &Value) -> Reply {
        let cluster = clusters.find(text(body, "cluster"))?;
        let definition = definitions.active(required(body, "taskDefinition")?)?;
        let count = number(body, "count").unwrap_or(1);
        if !(1..=10).contains(&count) {
            return Err(invalid("Count must be between 1 and 10."));
        }
        placement::check(body, &definition)?;
        let has_strategy = !list(body, "capacityProviderStrategy").is_empty();
        check_request(body, &definition)?;
        check_started_by(text(body, "startedBy"))?;
        check_overrides(&definition, body)?;
        let spec = TaskSpec {
            cluster_arn: cluster.arn.clone(),
            overrides: body.get("overrides").cloned().unwrap_or_else(|| json!({})),
            started_by: text(body, "startedBy").map(str::to_owned),
            group: text(body, "group").map_or_else(|| format!("family:{}", definition.family), str::to_owned),
            launch_type: (!has_strategy).then(|| text(body, "launchType").unwrap_or("FARGATE").to_owned()),
            capacity_provider: list(body, "capacityProviderStrategy")
                .first()
                .and_then(|s| text(s, "capacityProvider"))
                .map(str::to_owned),
            platform_version: text(body, "platformVersion").filter(|v| *v != "LATEST").unwrap_or("1.4.0").to_owned(),
            network_configuration: body.get("networkConfiguration").cloned().unwrap_or(Value::Null),
            tags: task_tags(definitions, &cluster.name, &definition.arn, body),
            resolved_images: vec![],
            enable_execute_command: flag(body, "enableExecuteCommand"),
            definition,
        };
        // Held over the start: two calls with one token at once start one task.
        let mut tokens = lock(&self.tokens);
        let token = text(body, "clientToken").map(|token| (cluster.arn.clone(), token.to_owned()));
        if let Some(token) = &token
            && let Some(answer) = self.replay(&mut tokens, token, body)
        {
            return answer;
        }
        let started: Vec<TaskView> = (0..count).map(|_| self.tasks.start(spec.clone())).collect();
        if let Some(token) = token {
            tokens.insert(token, (body.clone(), started.iter().map(|t| t.arn.clone()).collect()));
        }
        Ok(json!({"tasks": started.iter().map(describe).collect::<Vec<_>>(), "failures": []}))
    }

    /// The same token with the same parameters answers with the same tasks, as long as they live and an hour more; with
    /// other parameters it is a conflict that names them.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html>
    fn replay(&self, tokens: &mut Tokens, token: &(String, String), body: &Value) -> Option<Reply> {
        let (known, arns) = tokens.get(token)?;
        let tasks: Vec<TaskView> = arns.iter().filter_map(|arn| self.tasks.get(arn)).collect();
        let is_over = tasks.iter().all(|t| t.stopped_at.is_some_and(|at| epoch_seconds() - at > 3600.0));
        if is_over {
            tokens.remove(token);
            return None;
        }
        if known != body {
            let mut conflict =
                AwsError::client("ConflictException", "The client token was used with different parameters.");
            conflict.members = json!({"resourceIds": arns});
            return Some(Err(conflict));
        }
        let shown: Vec<Value> = tasks
            .iter()
            .map(|task| match task.stopped_at {
                Some(_) => json!({"taskArn": task.arn, "lastStatus": "STOPPED", "desiredStatus": "STOPPED"}),
                None => describe(task),
            })
            .collect();
        Some(Ok(json!({"tasks": shown, "failures": []})))
    }

    fn stop(&self, clusters: &Clusters, body: &Value) -> Reply {
        let cluster = clusters.find(text(body, "cluster"))?;
        let wanted = required(body, "task")?;
        let found = self.find(&cluster.arn, wanted).ok_or_else(|| invalid("The referenced task was not found."))?;
        let reason = text(body, "reason").unwrap_or("Task stopped by user");
        self.tasks.stop(&found.arn, "UserInitiated", reason);
        Ok(json!({"task": self.tasks.get(&found.arn).as_ref().map(describe)}))
    }

    fn describe(&self, clusters: &Clusters, body: &Value) -> Reply {
        let cluster = clusters.find(text(body, "cluster"))?;
        let wanted = texts(body, "tasks");
        if wanted.is_empty() || wanted.len() > 100 {
            return Err(invalid("Tasks must be between 1 and 100."));
        }
        let is_hidden =
            |t: &TaskView| self.tasks.behavior().missing_right_after_run_task && epoch_seconds() - t.created_at < 1.0;
        let (mut found, mut failures) = (vec![], vec![]);
        for name in wanted {
            match self.find(&cluster.arn, name).filter(|t| !is_hidden(t)) {
                Some(task) => found.push(describe(&task)),
                None => {
                    let arn = if name.starts_with("arn:") {
                        name.to_owned()
                    } else {
                        format!("{}/{name}", cluster.arn.replace(":cluster/", ":task/"))
                    };
                    failures.push(json!({"arn": arn, "reason": "MISSING"}));
                }
            }
        }
        Ok(json!({"tasks": found, "failures": failures}))
    }

    fn list(&self, clusters: &Clusters, body: &Value) -> Reply {
        let cluster = clusters.find(text(body, "cluster"))?;
        let (started_by, family, service) = (text(body, "startedBy"), text(body, "family"), text(body, "serviceName"));
        let others = ["family", "serviceName", "containerInstance", "launchType"];
        if started_by.is_some() && others.iter().any(|name| body.get(name).is_some_and(Value::is_string)) {
            return Err(invalid("Cannot specify startedBy with other filters."));
        }
        if text(body, "containerInstance").is_some() {
            return Err(not_played("`containerInstance` of ListTasks"));
        }
        let wants_running = text(body, "desiredStatus") != Some("STOPPED");
        let service = service.map(|s| format!("service:{}", s.rsplit('/').next().unwrap_or(s)));
        let lag = self.tasks.behavior().read_lags.task_list.as_secs_f64();
        let matches = |t: &TaskView| {
            epoch_seconds() - t.created_at >= lag
                && t.spec.cluster_arn == cluster.arn
                && t.is_wanted == wants_running
                && started_by.is_none_or(|by| t.spec.started_by.as_deref() == Some(by))
                && family.is_none_or(|family| t.spec.definition.family == family)
                && service.as_ref().is_none_or(|service| t.spec.group == *service)
                && text(body, "launchType").is_none_or(|kind| t.spec.launch_type.as_deref() == Some(kind))
        };
        let arns: Vec<String> = self.tasks.all().into_iter().filter(matches).map(|t| t.arn).collect();
        let (arns, next) = page(&arns, text(body, "nextToken"), number(body, "maxResults").unwrap_or(100) as usize)?;
        let mut answer = json!({"taskArns": arns});
        if let Some(next) = next {
            answer["nextToken"] = json!(next);
        }
        Ok(answer)
    }

    /// The task that a call names.
    pub(super) fn find_in(&self, clusters: &Clusters, body: &Value) -> Result<TaskView, AwsError> {
        let cluster = clusters.find(text(body, "cluster"))?;
        let found = self.find(&cluster.arn, required(body, "task")?);
        found.ok_or_else(|| invalid("The task provided in the request was not found."))
    }

    /// By ARN or id, in one cluster.
    fn find(&self, cluster_arn: &str, name: &str) -> Option<TaskView> {
        let id = name.rsplit('/').next().unwrap_or(name);
        self.tasks
            .all()
            .into_iter()
            .find(|t| t.spec.cluster_arn == cluster_arn && (t.arn == name || (!name.starts_with("arn:") && t.id == id)))
    }
}

/// What RunTask refuses beside placement and overrides.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html>
fn check_request(body: &Value, definition: &Definition) -> Result<(), AwsError> {
    if let Some(token) = text(body, "clientToken")
        && (token.is_empty() || token.len() > 64 || !token.bytes().all(|b| (33..=126).contains(&b)))
    {
        return Err(invalid("The clientToken must be 1 to 64 characters in the range of 33-126 (inclusive)."));
    }
    if text(body, "propagateTags") == Some("SERVICE") {
        return Err(invalid("The propagateTags option SERVICE is not valid for RunTask."));
    }
    if let Some(tag) = list(body, "tags").iter().find(|tag| text(tag, "key").is_some_and(|key| key.starts_with("aws:")))
    {
        let key = text(tag, "key").unwrap_or_default();
        return Err(invalid(format!("Tag keys cannot start with aws: '{key}'.")));
    }
    let role = body["overrides"].get("taskRoleArn").or(definition.body.get("taskRoleArn")).and_then(Value::as_str);
    if flag(body, "enableExecuteCommand") && role.is_none_or(str::is_empty) {
        return Err(invalid(
            "The task couldn't be started with execute command enabled because a valid taskRoleArn is not being used. Specify a valid task role in your task definition and try again.",
        ));
    }
    Ok(())
}

/// What the request gives, and what `propagateTags` and `enableECSManagedTags` add.
fn task_tags(definitions: &Definitions, cluster: &str, definition: &str, body: &Value) -> Vec<Value> {
    let mut tags = list(body, "tags").to_vec();
    if text(body, "propagateTags") == Some("TASK_DEFINITION") {
        let is_new = |tag: &Value| !tags.iter().any(|known| known["key"] == tag["key"]);
        let propagated: Vec<Value> = definitions.tags(definition).into_iter().filter(is_new).collect();
        tags.extend(propagated);
    }
    if flag(body, "enableECSManagedTags") {
        tags.push(json!({ "key": "aws:ecs:clusterName", "value": cluster }));
    }
    tags
}

fn check_started_by(started_by: Option<&str>) -> Result<(), AwsError> {
    let Some(text) = started_by else { return Ok(()) };
    let is_good = text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b));
    if is_good {
        Ok(())
    } else {
        Err(invalid(
            "startedBy must be 128 characters or fewer, and may only contain letters, numbers, hyphens, underscores and slashes.",
        ))
    }
}

fn check_overrides(definition: &Definition, body: &Value) -> Result<(), AwsError> {
    let of_task = |name: &str| body["overrides"].get(name).or(definition.body.get(name)).cloned();
    if ["cpu", "memory"].iter().any(|name| body["overrides"].get(name).is_some_and(Value::is_string)) {
        check_size(of_task("cpu").as_ref(), of_task("memory").as_ref()).map_err(|error| invalid(error.message))?;
    }
    let overrides = body.get("overrides").cloned().unwrap_or(Value::Null);
    if overrides.to_string().len() > 8192 {
        return Err(invalid("Container Overrides length must be at most 8192"));
    }
    let names: Vec<&str> = definition
        .body
        .get("containerDefinitions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|c| text(c, "name"))
        .collect();
    let mut overridden = vec![];
    for container in list(&overrides, "containerOverrides") {
        let Some(name) = text(container, "name") else {
            return Err(invalid("Container override name must be specified."));
        };
        if overridden.contains(&name) {
            return Err(invalid(format!("Duplicate container override for '{name}'.")));
        }
        overridden.push(name);
        if !names.contains(&name) {
            return Err(invalid(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            )));
        }
    }
    Ok(())
}
