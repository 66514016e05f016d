//! Services, deployments and revisions in the API's shapes.

use serde_json::{Value, json};

use super::history::{Counts, set, summary};
use super::model::{Deployment, Pins, Revision, Rollout, Service, ServiceStatus};

impl Service {
    /// The `service` shape.
    pub(crate) fn describe(&self, with_tags: bool) -> Value {
        let setting = |name: &str| self.settings.get(name).cloned();
        let total = |of: fn(&Deployment) -> usize| self.deployments.iter().map(of).sum::<usize>();
        let mut service = json!({
            "serviceArn": self.arn,
            "serviceName": self.name,
            "clusterArn": self.cluster_arn,
            "loadBalancers": [],
            "serviceRegistries": [],
            "status": self.status.word(),
            "desiredCount": self.desired,
            "runningCount": total(|deployment| deployment.running),
            "pendingCount": total(|deployment| deployment.pending),
            "deploymentConfiguration": self.configuration.describe(),
            "deployments": self.describe_deployments(),
            "events": self.events.iter().map(|event| json!({
                "id": event.id,
                "createdAt": event.created_at,
                "message": event.message,
            })).collect::<Vec<_>>(),
            "createdAt": self.created_at,
            "createdBy": self.created_by,
            "placementConstraints": setting("placementConstraints").unwrap_or_else(|| json!([])),
            "placementStrategy": setting("placementStrategy").unwrap_or_else(|| json!([])),
            "schedulingStrategy": "REPLICA",
            "deploymentController": setting("deploymentController").unwrap_or_else(|| json!({ "type": "ECS" })),
            "enableECSManagedTags": setting("enableECSManagedTags").unwrap_or(json!(false)),
            "propagateTags": setting("propagateTags").unwrap_or(json!("NONE")),
            "enableExecuteCommand": setting("enableExecuteCommand").unwrap_or(json!(false)),
            "availabilityZoneRebalancing": setting("availabilityZoneRebalancing").unwrap_or(json!("ENABLED")),
            "resourceManagementType": "CUSTOMER",
        });
        if let Some(revision) = self.current_revision() {
            service["taskDefinition"] = json!(revision.definition.arn);
            for (member, value) in &revision.members {
                service[member] = value.clone();
            }
            service["platformFamily"] = json!("Linux");
            if !revision.members.contains_key("platformVersion") {
                service["platformVersion"] = json!("LATEST");
            }
        }
        set(&mut service, "healthCheckGracePeriodSeconds", setting("healthCheckGracePeriodSeconds"));
        set(&mut service, "currentServiceDeployment", self.history.last().map(|record| record.arn.clone()));
        let summarize = |deployment: &Deployment| summary(&deployment.revision, deployment.counts());
        if !self.deployments.is_empty() {
            service["currentServiceRevisions"] = self.deployments.iter().map(summarize).collect();
        }
        if with_tags {
            service["tags"] = setting("tags").unwrap_or_else(|| json!([]));
        }
        service
    }

    fn describe_deployments(&self) -> Vec<Value> {
        let mut described = Vec::new();
        for (position, deployment) in self.deployments.iter().enumerate() {
            let Some(revision) = self.revision(&deployment.revision) else { continue };
            let mut shape = json!({
                "id": deployment.id,
                "status": deployment.status(position == 0),
                "taskDefinition": revision.definition.arn,
                "desiredCount": deployment.desired,
                "pendingCount": deployment.pending,
                "runningCount": deployment.running,
                "failedTasks": deployment.failed_tasks,
                "createdAt": deployment.created_at,
                "updatedAt": deployment.updated_at,
                "platformFamily": "Linux",
                "platformVersion": "1.4.0",
                "rolloutState": deployment.rollout.word(),
                "rolloutStateReason": deployment.reason,
            });
            if self.configuration.is_native() && !self.shows_native_rollout {
                for member in ["rolloutState", "rolloutStateReason"] {
                    shape.as_object_mut().map(|shape| shape.shift_remove(member));
                }
            }
            for member in ["launchType", "capacityProviderStrategy", "networkConfiguration"] {
                set(&mut shape, member, revision.members.get(member).cloned());
            }
            described.push(shape);
        }
        described
    }

    /// Tasks of each revision that has a deployment.
    pub(crate) fn revision_counts(&self) -> Vec<(String, Counts)> {
        self.deployments.iter().map(|deployment| (deployment.revision.clone(), deployment.counts())).collect()
    }

    /// The `serviceRevision` shape.
    pub(crate) fn describe_revision(&self, revision: &Revision) -> Value {
        let digests = match &revision.pins {
            Pins::Known(digests) => digests.as_slice(),
            _ => &[],
        };
        let image = |container: &Value| {
            let name = &container["name"];
            let mut image = json!({ "containerName": name, "image": container["image"] });
            let digest = digests.iter().find(|(of, _)| name.as_str() == Some(of)).map(|(_, digest)| digest.as_str());
            set(&mut image, "imageDigest", digest);
            image
        };
        let mut shape = json!({
            "serviceRevisionArn": revision.arn,
            "serviceArn": self.arn,
            "clusterArn": self.cluster_arn,
            "taskDefinition": revision.definition.arn,
            "platformFamily": "Linux",
            "platformVersion": "1.4.0",
            "containerImages": revision.containers().iter().map(image).collect::<Vec<_>>(),
            "guardDutyEnabled": false,
            "createdAt": revision.created_at,
        });
        for (member, value) in &revision.members {
            if member != "platformVersion" || value != "LATEST" {
                shape[member] = value.clone();
            }
        }
        shape
    }
}

impl Deployment {
    fn status(&self, is_primary: bool) -> &'static str {
        match self.rollout {
            _ if is_primary => "PRIMARY",
            Rollout::Failed if self.running + self.pending == 0 => "DRAINING",
            _ => "ACTIVE",
        }
    }

    fn counts(&self) -> Counts {
        Counts { requested: self.desired, running: self.running, pending: self.pending }
    }
}

impl Rollout {
    fn word(self) -> &'static str {
        match self {
            Rollout::InProgress => "IN_PROGRESS",
            Rollout::Completed => "COMPLETED",
            Rollout::Failed => "FAILED",
        }
    }
}

impl ServiceStatus {
    fn word(self) -> &'static str {
        match self {
            ServiceStatus::Active => "ACTIVE",
            ServiceStatus::Draining => "DRAINING",
            ServiceStatus::Inactive => "INACTIVE",
        }
    }
}
