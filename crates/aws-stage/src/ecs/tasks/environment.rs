//! The environment variables that AWS sets in a container, and those of environment files.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-metadata.html>,
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/use-environment-file.html>

use serde_json::Value;

use super::container::Container;
use super::{TaskSpec, Tasks};

impl Tasks {
    /// What every container of the task finds, its definition's own variables aside. On AWS the metadata and the credentials
    /// are at 169.254.170.2, which the Engine cannot give to a container: the variables name where they are here.
    pub(super) fn own_environment(&self, spec: &TaskSpec, task_id: &str, container: &str) -> Vec<String> {
        let (region, endpoint) = (&self.deps.region, &self.deps.task_endpoint);
        let mut variables = vec![
            ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE".to_owned()),
            ("AWS_REGION", region.clone()),
            ("AWS_DEFAULT_REGION", region.clone()),
            ("ECS_CONTAINER_METADATA_URI", format!("{endpoint}/v3/{task_id}-{container}")),
            ("ECS_CONTAINER_METADATA_URI_V4", format!("{endpoint}/v4/{task_id}-{container}")),
        ];
        if role(spec).is_some() {
            variables.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{endpoint}/v2/credentials/{task_id}")));
        }
        variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// The lines of `environmentFiles`, which S3 holds.
    pub(super) fn environment_files(&self, container: &Container) -> Result<Vec<String>, String> {
        let mut variables = vec![];
        for file in container.get("environmentFiles").and_then(Value::as_array).into_iter().flatten() {
            let arn = file.get("value").and_then(Value::as_str).unwrap_or_default();
            let failed = |why: &str| {
                format!(
                    "ResourceInitializationError: failed to download env files: file download command: non empty error stream: service call has been retried 1 time(s): {why}: {arn}"
                )
            };
            let object = arn.split_once(":::").map_or(arn, |(_, object)| object);
            let (bucket, key) = object.split_once('/').ok_or_else(|| failed("not the ARN of an object"))?;
            let bytes = self.deps.objects.get(bucket, key).map_err(|error| failed(&error.code))?;
            let text = String::from_utf8(bytes).map_err(|_| failed("not UTF-8"))?;
            let lines = text.lines().filter(|line| line.contains('=') && !line.starts_with('#'));
            variables.extend(lines.map(str::to_owned));
        }
        Ok(variables)
    }
}

/// The task's role: that of the overrides, or of its definition.
pub(crate) fn role(spec: &TaskSpec) -> Option<&str> {
    let overridden = spec.overrides.get("taskRoleArn");
    overridden.or(spec.definition.body.get("taskRoleArn")).and_then(Value::as_str).filter(|role| !role.is_empty())
}
