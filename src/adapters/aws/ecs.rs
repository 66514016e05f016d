//! Amazon ECS.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html>

use super::client::AwsClient;
use super::ecs_wire::{self as wire, list, maybe, text, time};
use super::failure::call_error;
use super::raw_json::RawJson;
use crate::ports::{Call, CallError, CallErrorKind, RunTask, RunTaskAnswer};
use fargate_deploy_core::names::{
    ClusterName, ServiceDeploymentArn, ServiceRef, ServiceRevisionArn, TaskArn, TaskDefinitionArn, short,
};
use fargate_deploy_core::service::{Service, ServiceDeployment, ServiceRevision};
use fargate_deploy_core::task::Task;
use fargate_deploy_core::task_definition::{READ_ONLY, TaskDefinition};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// `DescribeServices` takes ten, `DescribeTasks` a hundred.
const SERVICES_PER_CALL: usize = 10;
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html>
const DEPLOYMENTS_PER_CALL: usize = 20;
const TASKS_PER_CALL: usize = 100;

/// One call with a raw body, answered by the raw answer. `once`: it must not be made twice.
macro_rules! ask {
    ($cloud:expr, $action:literal, $operation:ident, $body:expr) => {
        ask!($cloud, call, $action, $operation, $body)
    };
    (once $cloud:expr, $action:literal, $operation:ident, $body:expr) => {
        ask!($cloud, call_once, $action, $operation, $body)
    };
    ($cloud:expr, $repeat:ident, $action:literal, $operation:ident, $body:expr) => {{
        let body: Value = $body;
        $cloud
            .$repeat($action, async || {
                let raw = RawJson::new(&body);
                let request = $cloud.ecs.$operation().customize().interceptor(raw.clone());
                request.send().await.map_err(call_error($action))?;
                raw.answer($action)
            })
            .await
    }};
}

impl AwsClient {
    pub(super) async fn describe_services(&self, services: &[ServiceRef]) -> Call<Vec<Option<Service>>> {
        const ACTION: &str = "ecs:DescribeServices";
        let mut found: Vec<Option<Service>> = services.iter().map(|_| None).collect();
        let mut by_cluster: BTreeMap<&ClusterName, Vec<usize>> = BTreeMap::new();
        for (index, service) in services.iter().enumerate() {
            by_cluster.entry(&service.cluster).or_default().push(index);
        }
        for (cluster, indexes) in by_cluster {
            for indexes in indexes.chunks(SERVICES_PER_CALL) {
                let names: Vec<&str> = indexes.iter().map(|&i| services[i].name.as_str()).collect();
                let body = json!({ "cluster": cluster, "services": names });
                let answer = ask!(self, "ecs:DescribeServices", describe_services, body)?;
                refuse_other_failures(ACTION, &answer)?;
                let described: Vec<Service> = list(&answer, "services").iter().map(wire::service).collect();
                for &index in indexes {
                    let name = short(services[index].name.as_str());
                    found[index] = described.iter().find(|s| s.name == name || short(&s.arn) == name).cloned();
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn describe_task_definition(&self, name: &str) -> Call<TaskDefinition> {
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

    pub(super) async fn register_task_definition(&self, definition: &TaskDefinition) -> Call<TaskDefinitionArn> {
        let body = registration(definition);
        let answer = ask!(self, "ecs:RegisterTaskDefinition", register_task_definition, body)?;
        Ok(TaskDefinitionArn::new(text(&answer["taskDefinition"], "taskDefinitionArn")))
    }

    /// The same task definition a second time makes no second deployment, `forceNewDeployment` does: whether that arrived,
    /// when its answer is lost, is for the caller to see.
    pub(super) async fn point_service(
        &self,
        service: &ServiceRef,
        to: &TaskDefinitionArn,
        force: bool,
    ) -> Call<Service> {
        let mut body = json!({ "cluster": service.cluster, "service": service.name, "taskDefinition": to });
        let answer = if force {
            body["forceNewDeployment"] = true.into();
            ask!(once self, "ecs:UpdateService", update_service, body)?
        } else {
            ask!(self, "ecs:UpdateService", update_service, body)?
        };
        Ok(wire::service(&answer["service"]))
    }

    pub(super) async fn list_service_deployments(
        &self,
        service: &ServiceRef,
        since: f64,
    ) -> Call<Vec<ServiceDeploymentArn>> {
        let mut found: Vec<(f64, ServiceDeploymentArn)> = Vec::new();
        let mut body = json!({
            "service": service.name, "cluster": service.cluster, "createdAt": { "after": since }, "maxResults": 100,
        });
        loop {
            let answer = ask!(self, "ecs:ListServiceDeployments", list_service_deployments, body.clone())?;
            found.extend(
                list(&answer, "serviceDeployments").iter().map(|d| {
                    (time(d, "createdAt").unwrap_or_default(), text(d, "serviceDeploymentArn").as_str().into())
                }),
            );
            match maybe(&answer, "nextToken") {
                Some(next) => body["nextToken"] = next.into(),
                None => break,
            }
        }
        found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        Ok(found.into_iter().map(|(_, arn)| arn).collect())
    }

    pub(super) async fn describe_service_deployments(
        &self,
        arns: &[ServiceDeploymentArn],
    ) -> Call<Vec<Option<ServiceDeployment>>> {
        let mut found: Vec<Option<ServiceDeployment>> = Vec::with_capacity(arns.len());
        for arns in arns.chunks(DEPLOYMENTS_PER_CALL) {
            let body = json!({ "serviceDeploymentArns": arns });
            let answer = ask!(self, "ecs:DescribeServiceDeployments", describe_service_deployments, body)?;
            refuse_other_failures("ecs:DescribeServiceDeployments", &answer)?;
            let described: Vec<_> = list(&answer, "serviceDeployments").iter().map(wire::service_deployment).collect();
            found.extend(arns.iter().map(|arn| described.iter().find(|d| d.arn == *arn).cloned()));
        }
        Ok(found)
    }

    pub(super) async fn describe_service_revision(&self, arn: &ServiceRevisionArn) -> Call<Option<ServiceRevision>> {
        let body = json!({ "serviceRevisionArns": [arn] });
        let answer = ask!(self, "ecs:DescribeServiceRevisions", describe_service_revisions, body)?;
        refuse_other_failures("ecs:DescribeServiceRevisions", &answer)?;
        Ok(list(&answer, "serviceRevisions").first().map(wire::service_revision))
    }

    pub(super) async fn roll_back_service_deployment(&self, arn: &ServiceDeploymentArn) -> Call<()> {
        let body = json!({ "serviceDeploymentArn": arn, "stopType": "ROLLBACK" });
        ask!(self, "ecs:StopServiceDeployment", stop_service_deployment, body).map(drop)
    }

    /// On-demand Fargate always: Spot may end a migration halfway.
    pub(super) async fn run_one_task(&self, request: &RunTask) -> Call<RunTaskAnswer> {
        let mut body = json!({
            "cluster": request.cluster,
            "taskDefinition": request.task_definition,
            "count": 1,
            "launchType": "FARGATE",
            "startedBy": request.started_by,
            "clientToken": request.client_token,
        });
        if let Some(network) = &request.network_configuration {
            body["networkConfiguration"] = network.clone();
        }
        if let Some(version) = &request.platform_version {
            body["platformVersion"] = version.as_str().into();
        }
        if !request.overrides.is_null() {
            body["overrides"] = request.overrides.clone();
        }
        if !request.volume_configurations.is_empty() {
            body["volumeConfigurations"] = request.volume_configurations.clone().into();
        }
        if !request.tags.is_empty() {
            body["tags"] = tags(&request.tags);
        }
        if request.has_managed_tags {
            body["enableECSManagedTags"] = true.into();
        }
        let answer = ask!(self, "ecs:RunTask", run_task, body)?;
        Ok(RunTaskAnswer {
            tasks: list(&answer, "tasks").iter().map(wire::task).collect(),
            failures: list(&answer, "failures").iter().map(|f| (text(f, "reason"), text(f, "detail"))).collect(),
        })
    }

    pub(super) async fn describe_tasks(&self, cluster: &ClusterName, tasks: &[TaskArn]) -> Call<Vec<Task>> {
        let mut found = Vec::with_capacity(tasks.len());
        for tasks in tasks.chunks(TASKS_PER_CALL) {
            let answer =
                ask!(self, "ecs:DescribeTasks", describe_tasks, json!({ "cluster": cluster, "tasks": tasks }))?;
            refuse_other_failures("ecs:DescribeTasks", &answer)?;
            found.extend(list(&answer, "tasks").iter().map(wire::task));
        }
        Ok(found)
    }

    pub(super) async fn list_tasks_started_by(&self, cluster: &ClusterName, started_by: &str) -> Call<Vec<TaskArn>> {
        self.list_tasks(json!({ "cluster": cluster, "startedBy": started_by })).await
    }

    pub(super) async fn list_tasks_of(&self, service: &ServiceRef, desired_status: &str) -> Call<Vec<TaskArn>> {
        let name = short(service.name.as_str());
        self.list_tasks(json!({ "cluster": service.cluster, "serviceName": name, "desiredStatus": desired_status }))
            .await
    }

    async fn list_tasks(&self, mut body: Value) -> Call<Vec<TaskArn>> {
        let mut found: Vec<TaskArn> = Vec::new();
        loop {
            let answer = ask!(self, "ecs:ListTasks", list_tasks, body.clone())?;
            found.extend(list(&answer, "taskArns").iter().filter_map(Value::as_str).map(TaskArn::from));
            match maybe(&answer, "nextToken") {
                Some(next) => body["nextToken"] = next.into(),
                None => return Ok(found),
            }
        }
    }
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

fn tags(tags: &[(String, String)]) -> Value {
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

/// `failures[]` of an HTTP 200. `MISSING` is an answer; anything else means that we could not tell.
fn refuse_other_failures(action: &str, answer: &Value) -> Call<()> {
    match list(answer, "failures").iter().find(|f| f["reason"].as_str() != Some("MISSING")) {
        None => Ok(()),
        Some(failure) => Err(CallError {
            action: action.to_owned(),
            kind: CallErrorKind::Invalid,
            code: text(failure, "reason"),
            message: [text(failure, "arn"), text(failure, "detail")].join(" ").trim().to_owned(),
            request_id: None,
        }),
    }
}
