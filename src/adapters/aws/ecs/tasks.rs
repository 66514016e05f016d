//! Tasks.

use super::wire::{self, list, maybe, text};
use super::{refuse_other_failures, tags};
use crate::adapters::aws::client::AwsClient;
use crate::ports::{Call, RunTask, RunTaskAnswer, Tasks};
use async_trait::async_trait;
use fargate_deploy_core::names::{ClusterName, ServiceRef, TaskArn, short};
use fargate_deploy_core::task::Task;
use serde_json::{Value, json};

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html>
const TASKS_PER_CALL: usize = 100;

#[async_trait(?Send)]
impl Tasks for AwsClient {
    /// On-demand Fargate unless asked otherwise: Spot may end a command halfway.
    async fn run_task(&self, request: &RunTask) -> Call<RunTaskAnswer> {
        let mut body = json!({
            "cluster": request.cluster,
            "taskDefinition": request.task_definition,
            "count": 1,
            "startedBy": request.started_by,
            "clientToken": request.client_token,
        });
        match request.is_spot {
            true => body["capacityProviderStrategy"] = json!([{ "capacityProvider": "FARGATE_SPOT", "weight": 1 }]),
            false => body["launchType"] = "FARGATE".into(),
        }
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
        if request.enables_exec {
            body["enableExecuteCommand"] = true.into();
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

    async fn stop_task(&self, cluster: &ClusterName, task: &TaskArn, reason: &str) -> Call<()> {
        let body = json!({ "cluster": cluster, "task": task, "reason": reason });
        ask!(self, "ecs:StopTask", stop_task, body).map(drop)
    }

    async fn tasks(&self, cluster: &ClusterName, tasks: &[TaskArn]) -> Call<Vec<Task>> {
        let mut found = Vec::with_capacity(tasks.len());
        for tasks in tasks.chunks(TASKS_PER_CALL) {
            let answer =
                ask!(self, "ecs:DescribeTasks", describe_tasks, json!({ "cluster": cluster, "tasks": tasks }))?;
            refuse_other_failures("ecs:DescribeTasks", &answer)?;
            found.extend(list(&answer, "tasks").iter().map(wire::task));
        }
        Ok(found)
    }

    async fn tasks_started_by(&self, cluster: &ClusterName, started_by: &str) -> Call<Vec<TaskArn>> {
        self.list_tasks(json!({ "cluster": cluster, "startedBy": started_by })).await
    }

    async fn stopped_tasks(&self, service: &ServiceRef) -> Call<Vec<TaskArn>> {
        self.list_tasks_of(service, "STOPPED").await
    }

    async fn stopped_tasks_of_family(&self, cluster: &ClusterName, family: &str) -> Call<Vec<TaskArn>> {
        self.list_tasks(json!({ "cluster": cluster, "family": family, "desiredStatus": "STOPPED" })).await
    }

    async fn running_tasks(&self, service: &ServiceRef) -> Call<Vec<TaskArn>> {
        self.list_tasks_of(service, "RUNNING").await
    }
}

impl AwsClient {
    async fn list_tasks_of(&self, service: &ServiceRef, desired_status: &str) -> Call<Vec<TaskArn>> {
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
