//! What a config names, made on the stage through the same API calls that would make it on AWS: parameters, secrets, roles, log
//! groups, clusters, repositories.

use super::setting::repository;
use crate::config::{Config, ImageSource};
use aws_stage::Stage;
use aws_stage::error::AwsError;
use fargate_deploy_core::names::{account_of, short};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::{TaskDefinition, container_name};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Makes what the config names, and what the task definitions of this and of the previous release read. The role that deploys
/// may do what `policy` says, and nothing else.
///
/// # Errors
/// `config`: a secret without a value, or what AWS would refuse.
pub async fn furnish(
    stage: &Stage,
    config: &Config,
    definitions: &[&TaskDefinition],
    policy: &Value,
) -> Result<(), Failure> {
    secrets(stage, config, definitions).await?;
    elsewhere(stage, config).await?;
    let roles_of = |d: &&TaskDefinition| {
        ["executionRoleArn", "taskRoleArn"].map(|role| d.body.get(role).and_then(Value::as_str).map(str::to_owned))
    };
    for role in definitions.iter().flat_map(roles_of).flatten().filter(|role| !role.is_empty()) {
        // Only AWS knows what a task's own roles may do.
        stage.insert_task_role(&role).map_err(|e| refused("CreateRole", &e))?;
    }
    deploying_roles(stage, config, policy).await?;
    log_groups(stage, definitions).await?;
    for cluster in config.services.iter().map(|s| short(s.cluster.as_str())).collect::<BTreeSet<_>>() {
        call(stage, "ecs", "CreateCluster", json!({"clusterName": cluster})).await?;
    }
    Ok(())
}

/// The repositories that a config pushes to, those that are there left as they are.
///
/// # Errors
/// `config`: what AWS would refuse.
pub async fn repositories(stage: &Stage, config: &Config) -> Result<(), Failure> {
    for image in &config.images {
        let ImageSource::Build(build) = &image.source else { continue };
        let name = repository(&build.repository);
        if stage.call("ecr", "DescribeRepositories", json!({"repositoryNames": [name]})).await.is_err() {
            call(stage, "ecr", "CreateRepository", json!({"repositoryName": name})).await?;
        }
    }
    Ok(())
}

/// # Errors
/// `config`: the stage refuses it in AWS's words.
pub async fn call(stage: &Stage, service: &str, operation: &str, body: Value) -> Result<Value, Failure> {
    stage.call(service, operation, body).await.map_err(|e| refused(operation, &e))
}

fn refused(operation: &str, error: &AwsError) -> Failure {
    let what = format!("the stage refused {operation}, as AWS would: {}: {}", error.code, error.message);
    Failure::new(Reason::Config, what)
}

/// Every secret of the task definitions needs a value; all that have none are named at once.
async fn secrets(stage: &Stage, config: &Config, definitions: &[&TaskDefinition]) -> Result<(), Failure> {
    let mut wanted = BTreeSet::new();
    for definition in definitions {
        for container in definition.containers() {
            for secret in container.get("secrets").and_then(Value::as_array).into_iter().flatten() {
                wanted.extend(secret.get("valueFrom").and_then(Value::as_str).map(str::to_owned));
            }
        }
    }
    let values = &config.rehearse.values;
    let missing: Vec<_> = wanted.iter().filter(|name| value_of(values, name).is_none()).cloned().collect();
    if !missing.is_empty() {
        return Err(Failure::new(
            Reason::Config,
            format!("a rehearsal needs values for the secrets {}", missing.join(", ")),
        )
        .with_next("add them under `rehearse: { values: { NAME: VALUE } }`; they stay on this machine"));
    }
    for name in wanted {
        let Some(value) = value_of(values, &name) else { continue };
        if name.contains(":secretsmanager:") {
            // A full ARN ends in six characters that only AWS chooses: the stage is told the ARN, and answers to it.
            let fields: Vec<&str> = name.split(':').collect();
            let key = fields.get(7).copied().filter(|key| !key.is_empty());
            stage.insert_secret(&fields[..fields.len().min(7)].join(":"), key, value);
        } else {
            let name = name.split_once(":parameter").map_or(name.as_str(), |(_, name)| name);
            call(
                stage,
                "ssm",
                "PutParameter",
                json!({"Name": name, "Value": value, "Type": "SecureString", "Overwrite": true}),
            )
            .await?;
        }
    }
    Ok(())
}

/// Where the config takes values from: another client of the stage finds them there.
async fn elsewhere(stage: &Stage, config: &Config) -> Result<(), Failure> {
    let rehearse = &config.rehearse;
    if let Some(instance) = &config.snapshot {
        stage.insert_database(instance);
    }
    for (stack, outputs) in &rehearse.stacks {
        stage.insert_stack(stack, outputs);
    }
    for (name, value) in &rehearse.parameters {
        let parameter = json!({"Name": name, "Value": value, "Type": "String", "Overwrite": true});
        call(stage, "ssm", "PutParameter", parameter).await?;
    }
    let object = rehearse.terraform_at.as_ref().and_then(|at| at.strip_prefix("s3://")?.split_once('/'));
    if let Some((bucket, key)) = object {
        stage.insert_object(bucket, key, state(&rehearse.terraform).to_string().into_bytes());
    }
    Ok(())
}

/// A Terraform state with these outputs; a dotted name is a member of a map.
fn state(values: &BTreeMap<String, String>) -> Value {
    let mut outputs = json!({});
    for (path, value) in values {
        let mut parts = path.split('.');
        let mut at = &mut outputs[parts.next().unwrap_or_default()]["value"];
        for part in parts {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[part];
        }
        *at = json!(value);
    }
    json!({"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "rehearsal", "outputs": outputs, "resources": []})
}

/// By the whole `valueFrom`, or by the name that people know: the part of the ARN without account and suffix.
fn value_of<'a>(values: &'a BTreeMap<String, String>, value_from: &str) -> Option<&'a String> {
    let named = value_from.split_once(":parameter").map(|(_, name)| name).or_else(|| {
        let secret = value_from.split_once(":secret:")?.1;
        let secret = secret.split(':').next()?;
        Some(secret.rsplit_once('-').filter(|(_, suffix)| suffix.len() == 6).map_or(secret, |(name, _)| name))
    });
    values.get(value_from).or_else(|| values.get(named?))
}

async fn deploying_roles(stage: &Stage, config: &Config, policy: &Value) -> Result<(), Failure> {
    if config.roles.is_empty() {
        return Ok(());
    }
    let issuer = "https://token.actions.githubusercontent.com";
    call(stage, "iam", "CreateOpenIDConnectProvider", json!({"Url": issuer, "ClientIDList": ["sts.amazonaws.com"]}))
        .await?;
    let mut before: Option<&str> = None;
    for (index, role) in config.roles.iter().enumerate() {
        let account = account_of(role.as_str()).unwrap_or_default();
        let statement = match before {
            None => json!({"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
                "Principal": {"Federated": format!("arn:aws:iam::{account}:oidc-provider/token.actions.githubusercontent.com")},
                "Condition": {"StringEquals": {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}}}),
            Some(previous) => json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": previous}}),
        };
        let trust = json!({"Version": "2012-10-17", "Statement": [statement]});
        let name = role.as_str().split_once(":role/").map_or(role.as_str(), |(_, name)| name);
        call(
            stage,
            "iam",
            "CreateRole",
            json!({"RoleName": short(name), "AssumeRolePolicyDocument": trust.to_string()}),
        )
        .await?;
        // All but the last of a chain only lead to the next.
        let policy = config.roles.get(index + 1).map_or_else(
            || policy.clone(),
            |next| {
                json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": next}]})
            },
        );
        let policy = json!({"RoleName": short(name), "PolicyName": "rehearsal", "PolicyDocument": policy.to_string()});
        call(stage, "iam", "PutRolePolicy", policy).await?;
        before = Some(role.as_str());
    }
    Ok(())
}

async fn log_groups(stage: &Stage, definitions: &[&TaskDefinition]) -> Result<(), Failure> {
    let mut groups = BTreeSet::new();
    for definition in definitions {
        for container in definition.containers() {
            groups.extend(definition.log_destination(&container_name(container).into()).map(|(group, ..)| group));
        }
    }
    for group in groups {
        call(stage, "logs", "CreateLogGroup", json!({"logGroupName": group})).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fargate_deploy_core::terraform::Outputs;

    #[test]
    fn the_state_on_the_stage_gives_the_values_of_the_rehearsal() {
        let values = [("cluster", "shop"), ("vpc.subnet_ids.0", "subnet-1"), ("vpc", "shadowed")];
        let values = BTreeMap::from(values.map(|(path, value)| (path.to_owned(), value.to_owned())));
        let outputs = Outputs::parse(state(&values).to_string().as_bytes()).unwrap();
        assert_eq!(outputs.get("cluster").as_deref(), Ok("shop"));
        assert_eq!(outputs.get("vpc.subnet_ids.0").as_deref(), Ok("subnet-1"));
    }
}
