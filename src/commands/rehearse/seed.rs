//! Gives the stage what a config names, through the same API calls that would make it on AWS, and a previous release.

use super::setting::{Setting, path, repository};
use crate::adapters::builder::EngineBuilder;
use crate::config::{BuildConfig, Config, ImageSource, ReleaseCommand, ServiceConfig, When};
use crate::error::build_failed;
use crate::events::{Event, Sink, Step, Wait};
use crate::ports::{Build, BuildProgress, Builder as _, RegistryLogin};
use aws_stage::Stage;
use fargate_deploy_core::names::{ContainerName, ImageKey, ServiceKey, short};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::redact::Secret;
use fargate_deploy_core::task_definition::one_off::one_off;
use fargate_deploy_core::task_definition::{TaskDefinition, container_name};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A rehearsal's previous release that does not come up in this time never will.
const UP_WITHIN: Duration = Duration::from_secs(180);

/// Address of the load balancer of each service that has one, by the service's key.
pub type Urls = Vec<(ServiceKey, String)>;

/// # Errors
/// `config`: a secret without a value. `build`, `release-command`, `unsteady`: the previous release did not come up.
pub async fn seed(
    stage: &Stage,
    config: &Config,
    setting: &Setting,
    builder: &EngineBuilder,
    sink: &(dyn Sink + Send + Sync),
) -> Result<Urls, Failure> {
    sink.emit(Event::StageOpened { url: stage.url() });
    let definitions = setting.all();
    secrets(stage, config, &definitions).await?;
    elsewhere(stage, config).await?;
    roles(stage, config, &definitions).await?;
    log_groups(stage, &definitions).await?;
    for cluster in config.services.iter().map(|s| short(s.cluster.as_str())).collect::<BTreeSet<_>>() {
        call(stage, "ecs", "CreateCluster", json!({"clusterName": cluster})).await?;
    }
    let mut images = BTreeMap::new();
    for image in &config.images {
        if let ImageSource::Build(build) = &image.source {
            images.insert(image.key.clone(), previous_image(stage, build, setting, builder, sink).await?);
        }
    }
    sink.emit(Event::StageImagesPushed);
    let mut registered = BTreeMap::new();
    for service in &config.services {
        let Some(definition) = setting.definition(&service.key) else { continue };
        registered.insert(service.key.clone(), register(stage, service, definition, &images).await?);
    }
    for command in config.release.iter().filter(|c| c.when == When::Before) {
        let Some(service) = config.services.iter().find(|s| s.key == command.service) else { continue };
        let Some(definition) = setting.own(&command.name).or(setting.definition(&service.key)) else { continue };
        let container = container_of(command, service, definition)?;
        let image = service.containers.first().and_then(|(_, key)| images.get(key));
        // From the same derivation as the deploy to come.
        let arn = match (setting.own(&command.name), registered.get(&service.key)) {
            (Some(own), _) => {
                let mut own = own.registrable();
                if let Some(image) = image {
                    own.set_image(&container, image);
                }
                let safe = one_off(&own, &container, &command.name).map(|safe| safe.of_family(own.family()));
                register_body(stage, safe.unwrap_or(own).body).await?
            }
            (None, Some(arn)) => match one_off(&previous(service, definition, &images), &container, &command.name) {
                Some(safe) => register_body(stage, safe.body).await?,
                None => arn.clone(),
            },
            (None, None) => continue,
        };
        run_command(stage, service, command, &container, &arn).await?;
        sink.emit(Event::StageCommandSucceeded { command: command.name.clone() });
    }
    let mut urls = vec![];
    for service in &config.services {
        let (Some(arn), Some(definition)) = (registered.get(&service.key), setting.definition(&service.key)) else {
            continue;
        };
        if let Some(url) = create_service(stage, service, definition, arn).await? {
            urls.push((service.key.clone(), url));
        }
    }
    for service in &config.services {
        wait_until_it_serves(stage, service).await?;
    }
    sink.emit(Event::StageReady);
    Ok(urls)
}

async fn call(stage: &Stage, service: &str, operation: &str, body: Value) -> Result<Value, Failure> {
    stage.call(service, operation, body).await.map_err(|e| {
        Failure::new(Reason::Config, format!("the stage refused {operation}, as AWS would: {}: {}", e.code, e.message))
    })
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

async fn roles(stage: &Stage, config: &Config, definitions: &[&TaskDefinition]) -> Result<(), Failure> {
    let task_roles = definitions
        .iter()
        .flat_map(|d| ["executionRoleArn", "taskRoleArn"].map(|m| d.body.get(m).and_then(Value::as_str)));
    for role in task_roles.flatten().map(short).collect::<BTreeSet<_>>() {
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
        call(stage, "iam", "CreateRole", json!({"RoleName": role, "AssumeRolePolicyDocument": trust.to_string()}))
            .await?;
    }
    if config.roles.is_empty() {
        return Ok(());
    }
    let issuer = "https://token.actions.githubusercontent.com";
    call(stage, "iam", "CreateOpenIDConnectProvider", json!({"Url": issuer, "ClientIDList": ["sts.amazonaws.com"]}))
        .await?;
    let mut before: Option<&str> = None;
    for role in &config.roles {
        let account = role.as_str().split(':').nth(4).unwrap_or_default();
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
        // A rehearsal is about the release; what the role may do on AWS is not known here.
        let policy =
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
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

/// Builds the image as it is now. A label makes it another image than the one that is about to be deployed.
async fn previous_image(
    stage: &Stage,
    config: &BuildConfig,
    setting: &Setting,
    builder: &EngineBuilder,
    sink: &(dyn Sink + Send + Sync),
) -> Result<String, Failure> {
    let name = repository(&config.repository);
    let found = call(stage, "ecr", "DescribeRepositories", json!({"repositoryNames": [name]})).await;
    let made = match found {
        Ok(found) => found["repositories"][0].clone(),
        Err(_) => call(stage, "ecr", "CreateRepository", json!({"repositoryName": name})).await?["repository"].clone(),
    };
    let uri = made["repositoryUri"].as_str().unwrap_or_default().to_owned();
    let mut labels = fargate_deploy_core::resolved::by_key(&config.labels);
    labels.insert("fargate-deploy.rehearsal".to_owned(), "previous".to_owned());
    let request = Build {
        context: config.context.clone(),
        dockerfile: config.dockerfile.clone(),
        target: config.target.clone(),
        args: fargate_deploy_core::resolved::by_key(&config.args),
        labels,
        secrets: vec![],
        platform: Some(setting.platform().to_owned()),
        cache_from: vec![],
        inline_cache: false,
        logins: vec![],
    };
    let tell = |progress| match progress {
        BuildProgress::Step { name, .. } => sink.emit(Event::Waiting(Wait::StageBuild { name })),
        BuildProgress::Warning(text) => sink.emit(Event::BuildWarned { image: name.as_str().into(), text }),
        BuildProgress::Sent { bytes } => sink.emit(Event::ContextSent { image: name.as_str().into(), bytes }),
        BuildProgress::Output(line) => sink.emit(Event::Output { step: Step::Build, source: name.clone(), line }),
    };
    let built =
        builder.build(&request, &tell).await.map_err(|e| build_failed(&format!("image `{name}` was not built"), e))?;
    let (username, password) = stage.registry_login();
    let host = uri.split('/').next().unwrap_or_default().to_owned();
    let login = RegistryLogin { host, username, password: Secret::new(password) };
    let digest = builder.push(&built, &format!("{uri}:previous"), Some(&login), &|_| {}).await;
    let digest = digest.map_err(|e| build_failed("the previous release was not pushed to the stage", e))?;
    Ok(format!("{uri}@{digest}"))
}

async fn register(
    stage: &Stage,
    service: &ServiceConfig,
    definition: &TaskDefinition,
    images: &BTreeMap<ImageKey, String>,
) -> Result<String, Failure> {
    register_body(stage, previous(service, definition, images).body).await
}

/// The definition with the previous release's images.
fn previous(
    service: &ServiceConfig,
    definition: &TaskDefinition,
    images: &BTreeMap<ImageKey, String>,
) -> TaskDefinition {
    let mut definition = definition.registrable();
    for (container, key) in &service.containers {
        let container = container.clone().or_else(|| definition.sole_container());
        if let (Some(container), Some(image)) = (container, images.get(key)) {
            definition.set_image(&container, image);
        }
    }
    definition
}

async fn register_body(stage: &Stage, body: Map<String, Value>) -> Result<String, Failure> {
    let answer = call(stage, "ecs", "RegisterTaskDefinition", Value::Object(body)).await?;
    Ok(answer["taskDefinition"]["taskDefinitionArn"].as_str().unwrap_or_default().to_owned())
}

fn network() -> Value {
    json!({"awsvpcConfiguration": {"subnets": ["subnet-0a1b2c3d"], "securityGroups": ["sg-0a1b2c3d"], "assignPublicIp": "ENABLED"}})
}

fn container_of(
    command: &ReleaseCommand,
    service: &ServiceConfig,
    definition: &TaskDefinition,
) -> Result<ContainerName, Failure> {
    let first = || service.containers.first()?.0.clone().filter(|c| definition.container(c).is_some());
    command.container.clone().or_else(first).or_else(|| definition.sole_container()).ok_or_else(|| {
        Failure::new(Reason::Config, format!("release command `{}`: `container` must be named", command.name))
    })
}

async fn run_command(
    stage: &Stage,
    service: &ServiceConfig,
    command: &ReleaseCommand,
    container: &ContainerName,
    arn: &str,
) -> Result<(), Failure> {
    let cluster = service.cluster.as_str();
    let overrides = json!({"containerOverrides": [{"name": container, "command": fargate_deploy_core::resolved::values(&command.command)}]});
    let started = json!({"cluster": cluster, "taskDefinition": arn, "launchType": "FARGATE",
        "networkConfiguration": network(), "overrides": overrides});
    let answer = call(stage, "ecs", "RunTask", started).await?;
    let task = answer["tasks"][0]["taskArn"].clone();
    let began = Instant::now();
    while began.elapsed() < command.timeout {
        let answer = call(stage, "ecs", "DescribeTasks", json!({"cluster": cluster, "tasks": [task]})).await?;
        let now = &answer["tasks"][0];
        if now["lastStatus"] == "STOPPED" {
            let of_container =
                now["containers"].as_array().into_iter().flatten().find(|c| c["name"] == container.as_str());
            return match of_container.and_then(|c| c["exitCode"].as_i64()) {
                Some(0) => Ok(()),
                code => Err(Failure::new(
                    Reason::ReleaseCommand,
                    format!("the previous release's command `{}` failed on the stage", command.name),
                )
                .with_evidence(vec![ending(code, now["stoppedReason"].as_str())])),
            };
        }
        sleep(Duration::from_millis(200)).await;
    }
    Err(Failure::new(Reason::ReleaseCommand, format!("the previous release's command `{}` did not end", command.name)))
}

fn ending(exit_code: Option<i64>, stopped: Option<&str>) -> String {
    let exit = exit_code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
    format!("{exit}: {}", stopped.unwrap_or("no reason"))
}

async fn create_service(
    stage: &Stage,
    service: &ServiceConfig,
    definition: &TaskDefinition,
    arn: &str,
) -> Result<Option<String>, Failure> {
    let mut request = json!({
        "cluster": service.cluster.as_str(), "serviceName": short(service.name.as_str()), "taskDefinition": arn,
        "desiredCount": 2, "launchType": "FARGATE", "networkConfiguration": network(),
        "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true},
            "minimumHealthyPercent": 100, "maximumPercent": 200},
    });
    let port = definition.containers().find_map(|c| {
        let port = c.get("portMappings")?.as_array()?.first()?.get("containerPort")?.as_u64()?;
        Some((container_name(c).to_owned(), port))
    });
    let mut url = None;
    if let Some((container, port)) = port {
        let check = service.smoke.first();
        let group = json!({
            "Name": service.key, "Protocol": "HTTP", "Port": port, "TargetType": "ip", "VpcId": "vpc-0a1b2c3d",
            "HealthCheckPath": check.map_or("/", |c| path(c.url.value())), "Matcher": {"HttpCode": if check.is_some() { "200-399" } else { "200-499" }},
        });
        let answer = call(stage, "elasticloadbalancing", "CreateTargetGroup", group).await?;
        let group = answer["TargetGroups"][0]["TargetGroupArn"].clone();
        url = group.as_str().and_then(|arn| stage.listener(arn)).map(|address| format!("http://{address}"));
        request["loadBalancers"] =
            json!([{"targetGroupArn": group, "containerName": container, "containerPort": port}]);
    }
    call(stage, "ecs", "CreateService", request).await?;
    Ok(url)
}

async fn wait_until_it_serves(stage: &Stage, service: &ServiceConfig) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let body = json!({"cluster": service.cluster.as_str(), "services": [service.name.as_str()]});
        let answer = call(stage, "ecs", "DescribeServices", body).await?;
        let deployment = &answer["services"][0]["deployments"][0];
        match deployment["rolloutState"].as_str() {
            Some("COMPLETED") => return Ok(()),
            state if state == Some("FAILED") || began.elapsed() > UP_WITHIN => {
                let events = answer["services"][0]["events"].as_array().cloned().unwrap_or_default();
                return Err(Failure::new(
                    Reason::Unsteady,
                    format!("the previous release of `{}` does not come up on the stage", service.key),
                )
                .with_evidence(events.iter().take(5).filter_map(|e| Some(e["message"].as_str()?.to_owned())).collect())
                .with_next("the app as it is now must run before a new release of it can be rehearsed"));
            }
            _ => sleep(Duration::from_millis(200)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fargate_deploy_core::terraform::Outputs;

    #[test]
    fn a_failed_command_of_the_previous_release_is_told_in_words() {
        assert_eq!(
            ending(Some(137), Some("Essential container in task exited")),
            "exit code 137: Essential container in task exited"
        );
        assert_eq!(ending(None, Some("CannotPullContainerError: x")), "no exit code: CannotPullContainerError: x");
        assert_eq!(ending(Some(1), None), "exit code 1: no reason");
    }

    #[test]
    fn the_state_on_the_stage_gives_the_values_of_the_rehearsal() {
        let values = [("cluster", "shop"), ("vpc.subnet_ids.0", "subnet-1"), ("vpc", "shadowed")];
        let values = BTreeMap::from(values.map(|(path, value)| (path.to_owned(), value.to_owned())));
        let outputs = Outputs::parse(state(&values).to_string().as_bytes()).unwrap();
        assert_eq!(outputs.get("cluster").as_deref(), Ok("shop"));
        assert_eq!(outputs.get("vpc.subnet_ids.0").as_deref(), Ok("subnet-1"));
    }
}
