//! The `task` shape of the API.

use super::{ContainerView, Health, Status, TaskView};
use serde_json::{Value, json};

/// A task as DescribeTasks shows it. Members that AWS leaves out are left out.
pub(crate) fn describe(view: &TaskView) -> Value {
    let spec = &view.spec;
    let containers: Vec<Value> = view.containers.iter().map(|c| {
        let mut shown = json!({
            "containerArn": format!("{}/{}", view.arn.replace(":task/", ":container/"), c.name), "taskArn": view.arn,
            "name": c.name, "image": c.image, "lastStatus": c.status.word(), "healthStatus": health(c.health),
            "networkBindings": [], "networkInterfaces": [],
        });
        for (member, value) in [("exitCode", json!(c.exit_code)), ("reason", json!(c.reason)), ("imageDigest", json!(c.image_digest)), ("runtimeId", json!(c.container_id))] {
            if !value.is_null() {
                shown[member] = value;
            }
        }
        if spec.enable_execute_command {
            shown["managedAgents"] = json!([agent(view, c)]);
        }
        shown
    }).collect();
    let mut shown = json!({
        "taskArn": view.arn, "clusterArn": spec.cluster_arn, "taskDefinitionArn": spec.definition.arn,
        "lastStatus": view.status.word(), "desiredStatus": if view.is_wanted { "RUNNING" } else { "STOPPED" },
        "healthStatus": health(view.health), "group": spec.group, "containers": containers, "overrides": spec.overrides,
        "cpu": spec.definition.body.get("cpu"), "memory": spec.definition.body.get("memory"), "createdAt": view.created_at,
        "platformVersion": spec.platform_version, "platformFamily": "Linux", "version": 1, "attachments": attachments(view), "attributes": [],
        "availabilityZone": "stage-1a", "connectivity": "CONNECTED", "enableExecuteCommand": spec.enable_execute_command, "tags": spec.tags,
    });
    let optional = [
        ("startedBy", json!(spec.started_by)),
        ("launchType", json!(spec.launch_type)),
        ("capacityProviderName", json!(spec.capacity_provider)),
        ("stopCode", json!(view.stop_code)),
        ("stoppedReason", json!(view.stopped_reason)),
        ("startedAt", json!(view.started_at)),
        ("stoppingAt", json!(view.stopping_at)),
        ("stoppedAt", json!(view.stopped_at)),
    ];
    for (member, value) in optional {
        let is_early =
            matches!(member, "stopCode" | "stoppedReason" | "stoppedAt") && view.status < Status::Deactivating;
        if !value.is_null() && !is_early {
            shown[member] = value;
        }
    }
    shown
}

/// The agent of ECS Exec, as far as its process goes: whether it may connect is another matter.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ManagedAgent.html>
fn agent(view: &TaskView, container: &ContainerView) -> Value {
    let status = match container.status {
        Status::Running if view.is_read_only(&container.name) => "STOPPED",
        Status::Running => "RUNNING",
        status if status < Status::Running => "PENDING",
        _ => "STOPPED",
    };
    json!({ "name": "ExecuteCommandAgent", "lastStatus": status })
}

/// The elastic network interface that every task of network mode awsvpc has, in the first of its subnets.
fn attachments(view: &TaskView) -> Value {
    let subnets = &view.spec.network_configuration["awsvpcConfiguration"]["subnets"];
    let Some(subnet) = subnets.get(0) else { return json!([]) };
    let status = match view.status {
        Status::Provisioning => "PRECREATED",
        Status::Stopped => "DELETED",
        _ => "ATTACHED",
    };
    let id =
        format!("{}-{}-{}-{}-{}", &view.id[..8], &view.id[8..12], &view.id[12..16], &view.id[16..20], &view.id[20..]);
    json!([{
        "id": id, "type": "ElasticNetworkInterface", "status": status,
        "details": [{ "name": "subnetId", "value": subnet }],
    }])
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Unknown => "UNKNOWN",
        Health::Healthy => "HEALTHY",
        Health::Unhealthy => "UNHEALTHY",
    }
}
