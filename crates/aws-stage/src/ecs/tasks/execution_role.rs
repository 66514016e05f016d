//! What is done before a container exists is done as the task's execution role: images of ECR, secrets, logs.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html>,
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/resource-initialization-error.html>

use serde_json::Value;

use super::container::{containers, log_stream, text};
use super::{TaskSpec, Tasks};
use crate::api::{Caller, partition};
use crate::policy::Context;

/// How each of the three is worded.
const HEAD: &str =
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed:";

impl Tasks {
    /// # Errors
    /// The role cannot be assumed, or may not do what the task needs: the reason for which it stops.
    pub(super) fn check_execution_role(&self, spec: &TaskSpec, task_id: &str) -> Result<(), String> {
        let overridden = spec.overrides.get("executionRoleArn");
        let role = overridden.or(spec.definition.body.get("executionRoleArn")).and_then(Value::as_str);
        let Some(role) = role.filter(|role| !role.is_empty()) else { return Ok(()) };
        if !self.deps.iam.trusts_tasks(role) {
            return Err(format!(
                "ECS was unable to assume the role '{role}' that was provided for this task. Please verify that the role being \
                 passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role."
            ));
        }
        let agent = self.agent(role, task_id);
        let may = |action: &str, resource: &str| {
            let allowed = self.deps.iam.authorize(&agent, action, resource, &Context::new());
            allowed.map_err(|denied| format!("AccessDeniedException: {}", denied.message))
        };
        let arn = |service: &str, resource: &str| {
            format!("arn:{}:{service}:{}:{}:{resource}", partition(&agent.region), agent.region, agent.account)
        };
        for container in containers(&spec.definition) {
            if let Some(reference) = self.deps.images.pull_reference(text(container, "image")) {
                may("ecr:GetAuthorizationToken", "*").map_err(|why| {
                    format!(
                        "{HEAD} unable to retrieve ecr registry auth: service call has been retried 1 time(s): {why}"
                    )
                })?;
                let repository = arn("ecr", &format!("repository/{}", path_of(&reference)));
                for action in ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"] {
                    may(action, &repository).map_err(|why| format!("CannotPullContainerError: {why}"))?;
                }
            }
            for from in secrets(container) {
                let (action, resource, from_where) = match from.contains(":secretsmanager:") {
                    true => ("secretsmanager:GetSecretValue", secret_arn(from), "secret from asm"),
                    false => ("ssm:GetParameters", parameter_arn(from, &arn), "secrets from ssm"),
                };
                may(action, &resource).map_err(|why| {
                    format!("{HEAD} unable to retrieve {from_where}: service call has been retried 1 time(s): {why}")
                })?;
            }
            if let Some((group, stream)) = log_stream(container, task_id) {
                let stream = arn("logs", &format!("log-group:{group}:log-stream:{stream}"));
                for action in ["logs:CreateLogStream", "logs:PutLogEvents"] {
                    may(action, &stream).map_err(|why| {
                        format!(
                            "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed \
                             to create Cloudwatch log stream: {why} : exit status 1"
                        )
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The session of the execution role, as denials name it.
    fn agent(&self, role: &str, task_id: &str) -> Caller {
        let mut fields = role.split(':').skip(4);
        let account = fields.next().unwrap_or_default().to_owned();
        let name = role.rsplit('/').next().unwrap_or_default();
        let region = self.deps.region.clone();
        let arn = format!("arn:{}:sts::{account}:assumed-role/{name}/{task_id}", partition(&region));
        Caller { account, region, arn, session_policy: None }
    }
}

fn secrets(container: &super::container::Container) -> impl Iterator<Item = &str> {
    let all = container.get("secrets").and_then(Value::as_array).into_iter().flatten();
    let registry = container.get("repositoryCredentials").and_then(|c| c.get("credentialsParameter"));
    all.filter_map(|secret| secret.get("valueFrom")).chain(registry).filter_map(Value::as_str)
}

/// Without the JSON key, version and stage that may follow the secret's own ARN.
fn secret_arn(from: &str) -> String {
    from.split(':').take(7).collect::<Vec<_>>().join(":")
}

fn parameter_arn(from: &str, arn: &impl Fn(&str, &str) -> String) -> String {
    match from.starts_with("arn:") {
        true => from.to_owned(),
        false => arn("ssm", &format!("parameter/{}", from.trim_start_matches('/'))),
    }
}

/// `shop/web` of `127.0.0.1:1/shop/web:v1@sha256:...`.
fn path_of(reference: &str) -> &str {
    let name = crate::containers::without_tag(reference);
    name.split_once('/').map_or(name, |(_, path)| path)
}
