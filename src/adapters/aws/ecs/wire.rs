//! From ECS's JSON to our words. Everything is optional on the wire, and every enum is open: what is missing or new
//! must not stop a deploy that can do without it.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Types.html>

use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::service::{
    Alarms, Breaker, Controller, Counts, Deployment, Role, Service, ServiceDeployment, ServiceDeploymentStatus,
    ServiceEvent, ServiceRevision, State, Strategy,
};
use fargate_deploy_core::task::{ContainerState, Task};
use fargate_deploy_core::task_definition::TaskDefinition;
use serde_json::Value;

pub(super) fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn text(value: &Value, member: &str) -> String {
    maybe(value, member).unwrap_or_default()
}

fn texts(value: &Value, member: &str) -> Vec<String> {
    list(value, member).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

pub(super) fn maybe(value: &Value, member: &str) -> Option<String> {
    value[member].as_str().map(str::to_owned)
}

fn number(value: &Value, member: &str) -> Option<i64> {
    value[member].as_i64().or_else(|| value[member].as_f64().map(|n| n as i64))
}

fn count(value: &Value, member: &str) -> i64 {
    number(value, member).unwrap_or_default()
}

fn flag(value: &Value, member: &str) -> bool {
    value[member].as_bool().unwrap_or_default()
}

/// Seconds since the epoch.
pub(super) fn time(value: &Value, member: &str) -> Option<f64> {
    value[member].as_f64()
}

pub(super) fn service(s: &Value) -> Service {
    let configuration = &s["deploymentConfiguration"];
    let breaker = &configuration["deploymentCircuitBreaker"];
    Service {
        arn: text(s, "serviceArn"),
        name: text(s, "serviceName"),
        cluster_arn: text(s, "clusterArn"),
        status: text(s, "status"),
        task_definition: TaskDefinitionArn::new(text(s, "taskDefinition")),
        counts: counts(s),
        controller: match s["deploymentController"]["type"].as_str() {
            None | Some("ECS") => Controller::Ecs,
            Some("CODE_DEPLOY") => Controller::CodeDeploy,
            Some("EXTERNAL") => Controller::External,
            Some(other) => Controller::Unknown(other.to_owned()),
        },
        strategy: match configuration["strategy"].as_str() {
            None | Some("ROLLING") => Strategy::Rolling,
            Some(other) => Strategy::Shifting(other.to_owned()),
        },
        is_express: s["resourceManagementType"].as_str() == Some("ECS"),
        breaker: Breaker { is_enabled: flag(breaker, "enable"), rolls_back: rolls_back(breaker) },
        alarms: alarms(&configuration["alarms"]),
        minimum_healthy_percent: number(configuration, "minimumHealthyPercent"),
        maximum_percent: number(configuration, "maximumPercent"),
        network_configuration: Some(&s["networkConfiguration"]).filter(|v| v.is_object()).cloned(),
        platform_version: maybe(s, "platformVersion"),
        launch_type: maybe(s, "launchType"),
        volume_configurations: volume_configurations(s),
        has_managed_tags: flag(s, "enableECSManagedTags"),
        target_groups: list(s, "loadBalancers").iter().filter_map(|lb| maybe(lb, "targetGroupArn")).collect(),
        load_balanced: list(s, "loadBalancers")
            .iter()
            .find_map(|lb| Some((maybe(lb, "containerName")?, u16::try_from(number(lb, "containerPort")?).ok()?))),
        grace_seconds: number(s, "healthCheckGracePeriodSeconds").and_then(|seconds| u64::try_from(seconds).ok()),
        deployments: list(s, "deployments").iter().map(deployment).collect(),
        events: list(s, "events").iter().map(event).collect(),
        current_service_deployment: s["currentServiceDeployment"].as_str().map(Into::into),
    }
}

/// They are told of each deployment, not of the service.
fn volume_configurations(s: &Value) -> Vec<Value> {
    let primary = list(s, "deployments").iter().find(|d| d["status"].as_str() == Some("PRIMARY"));
    primary.map(|d| list(d, "volumeConfigurations").to_vec()).unwrap_or_default()
}

fn alarms(alarms: &Value) -> Alarms {
    Alarms { is_enabled: flag(alarms, "enable"), rolls_back: rolls_back(alarms), names: texts(alarms, "alarmNames") }
}

/// What is not enabled does nothing, whatever else it says.
fn rolls_back(breaker_or_alarms: &Value) -> bool {
    flag(breaker_or_alarms, "enable") && flag(breaker_or_alarms, "rollback")
}

fn counts(value: &Value) -> Counts {
    Counts {
        desired: count(value, "desiredCount"),
        running: count(value, "runningCount"),
        pending: count(value, "pendingCount"),
    }
}

fn deployment(d: &Value) -> Deployment {
    Deployment {
        id: text(d, "id").as_str().into(),
        role: match text(d, "status").as_str() {
            "PRIMARY" => Role::Primary,
            "ACTIVE" => Role::Active,
            other => Role::Other(other.to_owned()),
        },
        state: match d["rolloutState"].as_str() {
            Some("IN_PROGRESS") => State::InProgress,
            Some("COMPLETED") => State::Completed,
            Some("FAILED") => State::Failed,
            _ => State::Unreported,
        },
        counts: counts(d),
        failed_tasks: count(d, "failedTasks"),
        reason: maybe(d, "rolloutStateReason"),
        task_definition: TaskDefinitionArn::new(text(d, "taskDefinition")),
        created_at: time(d, "createdAt"),
        updated_at: time(d, "updatedAt"),
    }
}

fn event(e: &Value) -> ServiceEvent {
    ServiceEvent {
        id: text(e, "id"),
        created_at: time(e, "createdAt").unwrap_or_default(),
        message: text(e, "message"),
    }
}

pub(super) fn service_deployment(d: &Value) -> ServiceDeployment {
    let target = &d["targetServiceRevision"];
    let breaker = &d["deploymentCircuitBreaker"];
    ServiceDeployment {
        arn: text(d, "serviceDeploymentArn").as_str().into(),
        status: service_deployment_status(&text(d, "status")),
        reason: maybe(d, "statusReason"),
        target_revision: target["arn"].as_str().map(Into::into),
        counts: Counts {
            desired: count(target, "requestedTaskCount"),
            running: count(target, "runningTaskCount"),
            pending: count(target, "pendingTaskCount"),
        },
        failures: number(breaker, "failureCount").zip(number(breaker, "threshold")),
        rollback_reason: maybe(&d["rollback"], "reason"),
        lifecycle_stage: maybe(d, "lifecycleStage"),
        awaiting_hook: list(d, "lifecycleHookDetails")
            .iter()
            .find(|hook| hook["status"].as_str() == Some("AWAITING_ACTION"))
            .map(|hook| text(hook, "hookId")),
        triggered_alarms: texts(&d["alarms"], "triggeredAlarmNames"),
        created_at: time(d, "createdAt").unwrap_or_default(),
        started_at: time(d, "startedAt"),
        finished_at: time(d, "finishedAt"),
    }
}

fn service_deployment_status(status: &str) -> ServiceDeploymentStatus {
    match status {
        "PENDING" => ServiceDeploymentStatus::Pending,
        "IN_PROGRESS" => ServiceDeploymentStatus::InProgress,
        "SUCCESSFUL" => ServiceDeploymentStatus::Successful,
        "STOPPED" => ServiceDeploymentStatus::Stopped,
        "STOP_REQUESTED" => ServiceDeploymentStatus::StopRequested,
        "ROLLBACK_REQUESTED" => ServiceDeploymentStatus::RollbackRequested,
        "ROLLBACK_IN_PROGRESS" => ServiceDeploymentStatus::RollbackInProgress,
        "ROLLBACK_SUCCESSFUL" => ServiceDeploymentStatus::RollbackSuccessful,
        "ROLLBACK_FAILED" => ServiceDeploymentStatus::RollbackFailed,
        other => ServiceDeploymentStatus::Unknown(other.to_owned()),
    }
}

pub(super) fn service_revision(r: &Value) -> ServiceRevision {
    ServiceRevision {
        arn: text(r, "serviceRevisionArn").as_str().into(),
        task_definition: TaskDefinitionArn::new(text(r, "taskDefinition")),
        images: list(r, "containerImages")
            .iter()
            .map(|image| (text(image, "containerName"), maybe(image, "imageDigest")))
            .collect(),
    }
}

pub(super) fn task(t: &Value) -> Task {
    Task {
        arn: text(t, "taskArn").as_str().into(),
        task_definition: TaskDefinitionArn::new(text(t, "taskDefinitionArn")),
        last_status: text(t, "lastStatus"),
        desired_status: text(t, "desiredStatus"),
        started_by: maybe(t, "startedBy"),
        stop_code: maybe(t, "stopCode"),
        stopped_reason: maybe(t, "stoppedReason"),
        health: maybe(t, "healthStatus"),
        containers: list(t, "containers").iter().map(container).collect(),
        stopped_at: time(t, "stoppedAt"),
        started_at: time(t, "startedAt"),
    }
}

fn container(c: &Value) -> ContainerState {
    ContainerState {
        name: text(c, "name").as_str().into(),
        last_status: maybe(c, "lastStatus"),
        exit_code: number(c, "exitCode"),
        reason: maybe(c, "reason"),
        image_digest: maybe(c, "imageDigest"),
        health: maybe(c, "healthStatus"),
    }
}

/// The answer of `DescribeTaskDefinition`: the definition as it came, and the tags beside it.
pub(super) fn task_definition(answer: &Value) -> TaskDefinition {
    TaskDefinition {
        body: answer["taskDefinition"].as_object().cloned().unwrap_or_default(),
        tags: list(answer, "tags").iter().map(|tag| (text(tag, "key"), text(tag, "value"))).collect(),
    }
}
