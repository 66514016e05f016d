//! The simulated AWS over the wire: a request becomes an effect on it, or a look at it, in AWS's JSON.

use crate::story::fake::ecs::Aws;
use crate::story::fake::{ACCOUNT, REGION, REGISTRY, digest_of};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fargate_deploy::ports::RunTask;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::service::{
    Counts, Deployment, Role, Service, ServiceDeployment, ServiceDeploymentStatus, State,
};
use fargate_deploy_core::task::Task;
use fargate_deploy_core::task_definition::TaskDefinition;
use serde_json::{Value, json};

/// The answer, or the code and the words of a refusal.
pub type Answer = Result<Value, (&'static str, &'static str)>;

/// Whether a call can be asked to show an older world.
pub fn is_read(operation: &str) -> bool {
    let call = operation.split_once(':').map_or("", |(_, call)| call);
    operation.split_once(':').is_some_and(|(service, _)| ["ecs", "ecr", "ssm", "logs"].contains(&service))
        && ["Describe", "List", "GetParameters", "GetLog", "BatchGet"].iter().any(|start| call.starts_with(start))
}

/// Does what `service:Operation` does.
pub fn answer(aws: &mut Aws, operation: &str, body: &Value) -> Answer {
    match operation {
        "ecs:DescribeServices" => {
            let found = texts(body, "services").filter_map(|name| aws.services.get(name)).map(service);
            Ok(json!({ "services": found.collect::<Vec<_>>(), "failures": [] }))
        }
        "ecs:UpdateService" => {
            let to = body["taskDefinition"].as_str().unwrap().into();
            let updated = aws.update(text(body, "service"), &to, body["forceNewDeployment"] == true);
            Ok(json!({ "service": service(&updated) }))
        }
        "ecs:ListServiceDeployments" => {
            let after = body["createdAt"]["after"].as_f64().unwrap_or_default();
            let ours = aws.service_deployments.iter().filter(|(name, _)| name == text(body, "service"));
            let listed = ours.filter(|(_, d)| d.created_at >= after).map(|(_, d)| service_deployment(d));
            Ok(json!({ "serviceDeployments": listed.collect::<Vec<_>>() }))
        }
        "ecs:DescribeServiceDeployments" => {
            let wanted: Vec<&str> = texts(body, "serviceDeploymentArns").collect();
            let found = aws.service_deployments.iter().filter(|(_, d)| wanted.contains(&d.arn.as_str()));
            let found: Vec<_> = found.map(|(_, d)| service_deployment(d)).collect();
            Ok(json!({ "serviceDeployments": found, "failures": [] }))
        }
        "ecs:DescribeServiceRevisions" => {
            let found = texts(body, "serviceRevisionArns").filter_map(|arn| {
                let runs = aws.revisions.get(&arn.into())?;
                Some(json!({ "serviceRevisionArn": arn, "taskDefinition": runs, "containerImages": [] }))
            });
            Ok(json!({ "serviceRevisions": found.collect::<Vec<_>>(), "failures": [] }))
        }
        "ecs:StopServiceDeployment" => match aws.stop_deployment(&text(body, "serviceDeploymentArn").into()) {
            true => Ok(json!({ "serviceDeploymentArn": body["serviceDeploymentArn"] })),
            false => Err(("ConflictException", "The deployment has ended.")),
        },
        "ecs:DescribeTaskDefinition" => match aws.definition(text(body, "taskDefinition")) {
            Some(found) => Ok(json!({ "taskDefinition": found.body, "tags": tags(&found.tags) })),
            None => Err(("ClientException", "Unable to describe task definition.")),
        },
        "ecs:ListTaskDefinitions" => {
            let revisions = aws.definitions.get(text(body, "familyPrefix")).map_or(&[][..], Vec::as_slice);
            let mut arns: Vec<_> = revisions.iter().filter_map(TaskDefinition::arn).collect();
            if body["sort"] == "DESC" {
                arns.reverse();
            }
            Ok(json!({ "taskDefinitionArns": arns }))
        }
        "ecs:RegisterTaskDefinition" => {
            let mut definition = TaskDefinition { body: body.as_object().unwrap().clone(), tags: vec![] };
            let tags = definition.body.remove("tags").unwrap_or_default();
            let tags = tags.as_array().cloned().unwrap_or_default();
            definition.tags = tags.iter().map(|tag| (text(tag, "key").into(), text(tag, "value").into())).collect();
            let arn = aws.register(&definition);
            Ok(json!({ "taskDefinition": aws.definition(arn.as_str()).unwrap().body }))
        }
        "ecs:RunTask" => {
            let started = aws.start_one_off(&RunTask {
                cluster: text(body, "cluster").into(),
                task_definition: text(body, "taskDefinition").into(),
                network_configuration: None,
                platform_version: None,
                overrides: body["overrides"].clone(),
                volume_configurations: vec![],
                tags: vec![],
                has_managed_tags: false,
                started_by: text(body, "startedBy").to_owned(),
                client_token: text(body, "clientToken").to_owned(),
                is_spot: false,
                enables_exec: false,
            });
            Ok(json!({ "tasks": started.tasks.iter().map(task).collect::<Vec<_>>(), "failures": [] }))
        }
        "ecs:DescribeTasks" => {
            let wanted: Vec<&str> = texts(body, "tasks").collect();
            let found = aws.tasks.iter().filter(|t| wanted.contains(&t.task.arn.as_str()));
            Ok(json!({ "tasks": found.map(|t| task(&t.task)).collect::<Vec<_>>(), "failures": [] }))
        }
        "ecs:ListTasks" => {
            let status = body["desiredStatus"].as_str().unwrap_or("RUNNING");
            let found = aws.tasks.iter().filter(|t| t.task.desired_status == status);
            let found = found.filter(|t| match body["startedBy"].as_str() {
                Some(started_by) => t.task.started_by.as_deref() == Some(started_by),
                None => match body["family"].as_str() {
                    Some(family) => t.task.task_definition.family() == family,
                    None => t.service.as_deref() == body["serviceName"].as_str(),
                },
            });
            Ok(json!({ "taskArns": found.map(|t| &t.task.arn).collect::<Vec<_>>() }))
        }
        "logs:GetLogEvents" => {
            let Some(events) = aws.logs.get(text(body, "logStreamName")) else {
                return Err(("ResourceNotFoundException", "The specified log stream does not exist."));
            };
            let from = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let shown = events[from..].iter().map(|e| json!({ "timestamp": e.timestamp, "message": e.message }));
            let next = events.len().to_string();
            Ok(json!({
                "events": shown.collect::<Vec<_>>(), "nextForwardToken": next, "nextBackwardToken": next,
            }))
        }
        _ if operation.starts_with("ssm:") => parameters(aws, operation, body),
        _ if operation.starts_with("ecr:") => images(aws, operation, body),
        _ => Err(("UnknownOperationException", "this AWS does not play it")),
    }
}

fn parameters(aws: &mut Aws, operation: &str, body: &Value) -> Answer {
    let name = body["Name"].as_str().unwrap_or_default();
    match operation {
        "ssm:PutParameter" if body["Overwrite"] != true && aws.parameters.contains_key(name) => {
            Err(("ParameterAlreadyExists", "The parameter already exists."))
        }
        "ssm:PutParameter" => {
            aws.parameters.insert(name.to_owned(), text(body, "Value").to_owned());
            Ok(json!({ "Version": 1 }))
        }
        "ssm:GetParametersByPath" => {
            let start = format!("{}/", text(body, "Path"));
            let found = aws.parameters.iter().filter(|(name, _)| name.starts_with(&start));
            let found = found.map(|(name, value)| json!({ "Name": name, "Value": value, "Type": "String" }));
            Ok(json!({ "Parameters": found.collect::<Vec<_>>() }))
        }
        "ssm:DeleteParameter" => match aws.parameters.remove(name) {
            Some(_) => Ok(json!({})),
            None => Err(("ParameterNotFound", "Parameter not found.")),
        },
        _ => Err(("UnknownOperationException", "this AWS does not play it")),
    }
}

fn images(aws: &mut Aws, operation: &str, body: &Value) -> Answer {
    let repository = body["repositoryName"].as_str().unwrap_or_default();
    let id = &body["imageIds"][0];
    let is_it = |image: &&fargate_deploy::ports::RegistryImage| {
        let tag = id["imageTag"].as_str();
        id["imageDigest"].as_str().is_some_and(|digest| image.digest.as_str() == digest)
            || image.tags.iter().any(|t| Some(t.as_str()) == tag)
    };
    let found = aws.images.iter().filter(|(name, _)| name == repository).map(|(_, image)| image).find(is_it).cloned();
    match operation {
        "ecr:GetAuthorizationToken" => {
            let token = STANDARD.encode("AWS:registry-password");
            let endpoint = format!("https://{REGISTRY}");
            Ok(json!({ "authorizationData": [{ "authorizationToken": token, "proxyEndpoint": endpoint }] }))
        }
        "ecr:DescribeRepositories" => {
            match texts(body, "repositoryNames").find_map(|name| aws.repositories.get(name)) {
                Some(found) => Ok(json!({ "repositories": [{
                "registryId": ACCOUNT, "repositoryName": found.name, "repositoryUri": found.uri,
                "imageTagMutability": "MUTABLE",
            }] })),
                None => Err(("RepositoryNotFoundException", "The repository does not exist.")),
            }
        }
        "ecr:DescribeImages" => match found {
            Some(image) => Ok(json!({ "imageDetails": [{
                "imageDigest": image.digest.as_str(), "imageTags": image.tags, "imageStatus": "ACTIVE",
                "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
            }] })),
            None => Err(("ImageNotFoundException", "The image does not exist.")),
        },
        "ecr:BatchGetImage" => {
            let images = found
                .map(|image| json!({ "imageManifest": "{}", "imageId": { "imageDigest": image.digest.as_str() } }));
            Ok(json!({ "images": images.into_iter().collect::<Vec<_>>(), "failures": [] }))
        }
        "ecr:PutImage" => {
            let digest = Digest::parse(text(body, "imageDigest")).unwrap_or_else(|_| digest_of("none"));
            let tag = text(body, "imageTag");
            crate::story::fake::builder::tagged(&mut aws.images, repository, &digest, tag, "linux/amd64");
            Ok(json!({ "image": { "imageId": { "imageDigest": digest.as_str(), "imageTag": tag } } }))
        }
        _ => Err(("UnknownOperationException", "this AWS does not play it")),
    }
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

fn texts<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a str> {
    value[member].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn tags(tags: &[(String, String)]) -> Value {
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

fn with_counts(mut shown: Value, counts: Counts) -> Value {
    shown["desiredCount"] = counts.desired.into();
    shown["runningCount"] = counts.running.into();
    shown["pendingCount"] = counts.pending.into();
    shown
}

fn service(s: &Service) -> Value {
    let shown = json!({
        "serviceArn": s.arn, "serviceName": s.name, "clusterArn": s.cluster_arn, "status": s.status,
        "taskDefinition": s.task_definition, "launchType": s.launch_type, "platformVersion": s.platform_version,
        "networkConfiguration": s.network_configuration,
        "deploymentConfiguration": { "deploymentCircuitBreaker": {
            "enable": s.breaker.is_enabled, "rollback": s.breaker.rolls_back,
        } },
        "deployments": s.deployments.iter().map(deployment).collect::<Vec<_>>(),
    });
    with_counts(shown, s.counts)
}

fn deployment(d: &Deployment) -> Value {
    let role = match &d.role {
        Role::Primary => "PRIMARY",
        Role::Active => "ACTIVE",
        Role::Other(other) => other,
    };
    let state = match d.state {
        State::InProgress => json!("IN_PROGRESS"),
        State::Completed => json!("COMPLETED"),
        State::Failed => json!("FAILED"),
        State::Unreported => Value::Null,
    };
    let shown = json!({
        "id": d.id, "status": role, "rolloutState": state, "rolloutStateReason": d.reason,
        "taskDefinition": d.task_definition, "failedTasks": d.failed_tasks,
    });
    with_counts(shown, d.counts)
}

fn service_deployment(d: &ServiceDeployment) -> Value {
    let status = match &d.status {
        ServiceDeploymentStatus::Pending => "PENDING",
        ServiceDeploymentStatus::InProgress => "IN_PROGRESS",
        ServiceDeploymentStatus::Successful => "SUCCESSFUL",
        ServiceDeploymentStatus::Stopped => "STOPPED",
        ServiceDeploymentStatus::StopRequested => "STOP_REQUESTED",
        ServiceDeploymentStatus::RollbackRequested => "ROLLBACK_REQUESTED",
        ServiceDeploymentStatus::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
        ServiceDeploymentStatus::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
        ServiceDeploymentStatus::RollbackFailed => "ROLLBACK_FAILED",
        ServiceDeploymentStatus::Unknown(other) => other,
    };
    json!({
        "serviceDeploymentArn": d.arn, "status": status, "statusReason": d.reason, "createdAt": d.created_at,
        "targetServiceRevision": {
            "arn": d.target_revision, "requestedTaskCount": d.counts.desired, "runningTaskCount": d.counts.running,
            "pendingTaskCount": d.counts.pending,
        },
        "rollback": { "reason": d.rollback_reason },
    })
}

fn task(t: &Task) -> Value {
    let containers = t.containers.iter().map(|c| {
        json!({ "name": c.name, "lastStatus": c.last_status, "exitCode": c.exit_code, "imageDigest": c.image_digest })
    });
    json!({
        "taskArn": t.arn, "taskDefinitionArn": t.task_definition, "lastStatus": t.last_status,
        "desiredStatus": t.desired_status, "startedBy": t.started_by, "stopCode": t.stop_code,
        "stoppedReason": t.stopped_reason, "containers": containers.collect::<Vec<_>>(),
        "clusterArn": format!("arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/shop"),
    })
}
