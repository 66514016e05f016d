//! Services and their deployments.

use super::refuse_other_failures;
use super::wire::{self, list, maybe, text, time};
use crate::adapters::aws::client::AwsClient;
use crate::pace;
use crate::ports::{Call, Services};
use async_trait::async_trait;
use fargate_deploy_core::names::{
    ClusterName, ServiceDeploymentArn, ServiceRef, ServiceRevisionArn, TaskDefinitionArn, short,
};
use fargate_deploy_core::service::{Service, ServiceDeployment, ServiceRevision};
use serde_json::json;
use std::collections::BTreeMap;

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html>
const SERVICES_PER_CALL: usize = 10;
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html>
const DEPLOYMENTS_PER_CALL: usize = 20;
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html>
const REVISIONS_PER_CALL: usize = 20;

#[async_trait(?Send)]
impl Services for AwsClient {
    async fn services(&self, services: &[ServiceRef]) -> Call<Vec<Option<Service>>> {
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

    async fn update_turn(&self) {
        self.pace.turn(pace::UPDATES).await;
    }

    /// The same task definition a second time makes no second deployment, `forceNewDeployment` does: whether that arrived,
    /// when its answer is lost, is for the caller to see.
    async fn update_service(&self, service: &ServiceRef, to: &TaskDefinitionArn, force: bool) -> Call<Service> {
        let mut body = json!({ "cluster": service.cluster, "service": service.name, "taskDefinition": to });
        let answer = if force {
            body["forceNewDeployment"] = true.into();
            ask!(once self, "ecs:UpdateService", update_service, body)?
        } else {
            ask!(self, "ecs:UpdateService", update_service, body)?
        };
        Ok(wire::service(&answer["service"]))
    }

    async fn service_deployments(&self, service: &ServiceRef, since: f64) -> Call<Vec<ServiceDeploymentArn>> {
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

    async fn service_deployments_by_arn(&self, arns: &[ServiceDeploymentArn]) -> Call<Vec<Option<ServiceDeployment>>> {
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

    async fn service_revisions(&self, arns: &[ServiceRevisionArn]) -> Call<Vec<Option<ServiceRevision>>> {
        let mut found: Vec<Option<ServiceRevision>> = Vec::with_capacity(arns.len());
        for arns in arns.chunks(REVISIONS_PER_CALL) {
            let body = json!({ "serviceRevisionArns": arns });
            let answer = ask!(self, "ecs:DescribeServiceRevisions", describe_service_revisions, body)?;
            refuse_other_failures("ecs:DescribeServiceRevisions", &answer)?;
            let described: Vec<_> = list(&answer, "serviceRevisions").iter().map(wire::service_revision).collect();
            found.extend(arns.iter().map(|arn| described.iter().find(|r| r.arn == *arn).cloned()));
        }
        Ok(found)
    }

    async fn stop_service_deployment(&self, arn: &ServiceDeploymentArn) -> Call<()> {
        let body = json!({ "serviceDeploymentArn": arn, "stopType": "ROLLBACK" });
        ask!(self, "ecs:StopServiceDeployment", stop_service_deployment, body).map(drop)
    }

    async fn continue_service_deployment(&self, arn: &ServiceDeploymentArn, hook: &str, goes_on: bool) -> Call<()> {
        let action = if goes_on { "CONTINUE" } else { "ROLLBACK" };
        let body = json!({ "serviceDeploymentArn": arn, "hookId": hook, "action": action });
        ask!(self, "ecs:ContinueServiceDeployment", continue_service_deployment, body).map(drop)
    }
}
