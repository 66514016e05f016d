//! The services of a rehearsal, and what serves in them first.

use super::images::Images;
use super::neutral;
use super::platform::{self, call};
use super::previous::{Previous, Release};
use super::setting::{Setting, path, repository};
use super::why::{self, Why};
use crate::config::{Config, ImageSource, ReleaseCommand, ServiceConfig, When};
use crate::events::Event;
use aws_stage::Stage;
use fargate_deploy_core::iam_policy;
use fargate_deploy_core::iam_role::Purpose;
use fargate_deploy_core::names::{ContainerName, ImageKey, ServiceKey, short};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::one_off::one_off;
use fargate_deploy_core::task_definition::{TaskDefinition, container_name};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A previous release that does not come up in this time of the stage never will.
const UP_WITHIN: Duration = Duration::from_secs(180);
/// The same where the platform takes as long as on AWS.
const UP_WITHIN_AT_REAL_PACE: Duration = Duration::from_secs(20 * 60);

/// Address of the load balancer of each service that has one, by the service's key.
pub type Urls = Vec<(ServiceKey, String)>;

/// The services of a rehearsal.
pub struct Seed<'a> {
    pub stage: &'a Stage,
    /// Of the release that is rehearsed.
    pub config: &'a Config,
    pub setting: &'a Setting,
    pub previous: &'a Previous,
    pub images: &'a Images<'a>,
    pub account: &'a str,
    pub region: &'a str,
    pub is_real_pace: bool,
    /// Other commands than `deploy` come to it.
    pub is_served: bool,
}

impl Seed<'_> {
    /// # Errors
    /// `config`: a secret without a value. `build`, `release-command`, `unsteady`: the previous release did not come up.
    pub async fn sow(&self) -> Result<Urls, Failure> {
        let mut definitions = self.setting.all();
        let mut config = self.config.clone();
        if let Previous::Release(release) = self.previous {
            definitions.extend(release.setting.all());
            for (name, value) in &release.config.rehearse.values {
                config.rehearse.values.entry(name.clone()).or_insert_with(|| value.clone());
            }
            platform::repositories(self.stage, &release.config).await?;
        }
        platform::furnish(self.stage, &config, &definitions, &self.policy()).await?;
        platform::repositories(self.stage, self.config).await?;
        let mut first = match self.previous {
            Previous::None => BTreeMap::new(),
            Previous::Neutral => self.neutral().await?,
            Previous::Release(release) => self.release(release).await?,
        };
        let mut urls = vec![];
        for service in &self.config.services {
            let Some(definition) = self.setting.definition(&service.key) else { continue };
            let has_first = first.contains_key(&service.key);
            let arn = match first.remove(&service.key) {
                Some(arn) => arn,
                None => self.nothing_yet(service, definition).await?,
            };
            if let Some(url) = self.create_service(service, definition, &arn).await? {
                urls.push((service.key.clone(), url));
            }
            if has_first {
                first.insert(service.key.clone(), arn);
            }
        }
        for service in &self.config.services {
            self.wait_for(service, first.contains_key(&service.key)).await?;
        }
        self.images.sink.emit(Event::StageReady { serves: !first.is_empty() });
        Ok(urls)
    }

    /// What the role that deploys is allowed: what this program prints for the config, no more and no less. Of a stage
    /// that is served: for every command.
    fn policy(&self) -> Value {
        let config = self.setting.apply(self.config.clone(), &BTreeMap::new());
        let services: Vec<_> =
            config.services.iter().filter_map(|s| Some((s, self.setting.definition(&s.key)?))).collect();
        let commands: Vec<_> = config.release.iter().filter_map(|c| Some((c, self.setting.own(&c.name)?))).collect();
        let granted = iam_policy::Granted {
            config: &config,
            account: self.account,
            region: self.region,
            services: &services,
            commands: &commands,
        };
        let purposes: &[Purpose] = if self.is_served { &Purpose::COMMANDS } else { &[Purpose::Deploy] };
        iam_policy::document(&iam_policy::of_purposes(&granted, purposes))
    }

    /// Brings a release's images here, runs its commands, and registers what its services run.
    async fn release(&self, release: &Release) -> Result<BTreeMap<ServiceKey, String>, Failure> {
        let Release { what, config, setting } = release;
        let mut images = BTreeMap::new();
        for image in &config.images {
            if let ImageSource::Build(build) = &image.source {
                images.insert(image.key.clone(), self.images.previous(what, &image.key, build).await?);
            }
        }
        self.images.sink.emit(Event::StageImagesPushed);
        let mut registered = BTreeMap::new();
        for service in &config.services {
            let Some(definition) = setting.definition(&service.key) else { continue };
            let arn = self.register(with_images(service, definition, &images).body).await?;
            registered.insert(service.key.clone(), arn);
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
                    self.register(safe.unwrap_or(own).body).await?
                }
                (None, Some(arn)) => {
                    match one_off(&with_images(service, definition, &images), &container, &command.name) {
                        Some(safe) => self.register(safe.body).await?,
                        None => arn.clone(),
                    }
                }
                (None, None) => continue,
            };
            self.run_command(what, service, command, definition, &container, &arn).await?;
            self.images.sink.emit(Event::StageCommandSucceeded { command: command.name.clone() });
        }
        Ok(registered)
    }

    /// A server of the platform's own in every service that has a port, and one that does nothing in the others.
    async fn neutral(&self) -> Result<BTreeMap<ServiceKey, String>, Failure> {
        let mut registered = BTreeMap::new();
        for service in &self.config.services {
            let Some(definition) = self.setting.definition(&service.key) else { continue };
            let Some(name) = self.repository_of(service) else { continue };
            let port = port_of(definition);
            let folder = self.stage.folder().join(format!("neutral-{}", service.key));
            neutral::write(&folder, self.images.platform, port.as_ref().map(|(_, port)| *port))?;
            let image = self.images.of_folder(folder, &name).await?;
            let arn = self.register(neutral::definition(definition, &image, port)).await?;
            registered.insert(service.key.clone(), arn);
        }
        self.images.sink.emit(Event::StageImagesPushed);
        Ok(registered)
    }

    /// What a service has before its first release: a revision whose images nobody has pushed.
    async fn nothing_yet(&self, service: &ServiceConfig, definition: &TaskDefinition) -> Result<String, Failure> {
        let mut images = BTreeMap::new();
        for image in &self.config.images {
            if let ImageSource::Build(build) = &image.source {
                let host = self.stage.url().trim_start_matches("http://").to_owned();
                images.insert(image.key.clone(), format!("{host}/{}:not-pushed-yet", repository(&build.repository)));
            }
        }
        self.register(with_images(service, definition, &images).body).await
    }

    fn repository_of(&self, service: &ServiceConfig) -> Option<String> {
        let (_, key) = service.containers.first()?;
        let image = self.config.images.iter().find(|image| image.key == *key)?;
        match &image.source {
            ImageSource::Build(build) => Some(repository(&build.repository)),
            ImageSource::Existing(_) => None,
        }
    }

    async fn register(&self, body: Map<String, Value>) -> Result<String, Failure> {
        let answer = call(self.stage, "ecs", "RegisterTaskDefinition", Value::Object(body)).await?;
        Ok(answer["taskDefinition"]["taskDefinitionArn"].as_str().unwrap_or_default().to_owned())
    }

    async fn run_command(
        &self,
        whose: &str,
        service: &ServiceConfig,
        command: &ReleaseCommand,
        definition: &TaskDefinition,
        container: &ContainerName,
        arn: &str,
    ) -> Result<(), Failure> {
        let stage = self.stage;
        let cluster = service.cluster.as_str();
        let argv = fargate_deploy_core::resolved::values(&command.command);
        let overrides = json!({"containerOverrides": [{"name": container, "command": argv}]});
        let started = json!({"cluster": cluster, "taskDefinition": arn, "launchType": "FARGATE",
            "networkConfiguration": network(), "overrides": overrides});
        let answer = call(stage, "ecs", "RunTask", started).await?;
        let task = answer["tasks"][0]["taskArn"].clone();
        let began = Instant::now();
        let failed = |what: &str| {
            let what = format!("the previous release ({whose}): its command `{}` {what}", command.name);
            Failure::new(Reason::ReleaseCommand, what).with_next(ANOTHER)
        };
        while began.elapsed() < command.timeout {
            let answer = call(stage, "ecs", "DescribeTasks", json!({"cluster": cluster, "tasks": [task]})).await?;
            let now = &answer["tasks"][0];
            if now["lastStatus"] == "STOPPED" {
                let mut containers = now["containers"].as_array().into_iter().flatten();
                if containers.any(|c| c["name"] == container.as_str() && c["exitCode"] == 0) {
                    return Ok(());
                }
                let log = why::last_lines(stage, definition, container.as_str(), now).await;
                return Err(failed("failed on the stage").with_evidence(vec![why::ending(now)]).with_log(log));
            }
            sleep(Duration::from_millis(200)).await;
        }
        Err(failed("did not end"))
    }

    async fn create_service(
        &self,
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
        let mut url = None;
        if let Some((container, port)) = port_of(definition) {
            let check = service.smoke.first();
            let group = json!({
                "Name": service.key, "Protocol": "HTTP", "Port": port, "TargetType": "ip", "VpcId": "vpc-0a1b2c3d",
                "HealthCheckPath": check.map_or("/", |c| path(c.url.value())), "Matcher": {"HttpCode": if check.is_some() { "200-399" } else { "200-499" }},
            });
            let answer = call(self.stage, "elasticloadbalancing", "CreateTargetGroup", group).await?;
            let group = answer["TargetGroups"][0]["TargetGroupArn"].clone();
            url = group.as_str().and_then(|arn| self.stage.listener(arn)).map(|address| format!("http://{address}"));
            request["loadBalancers"] =
                json!([{"targetGroupArn": group, "containerName": container, "containerPort": port}]);
        }
        call(self.stage, "ecs", "CreateService", request).await?;
        Ok(url)
    }

    /// Until the previous release serves; or, where there is none, until ECS has given up on the image that nobody pushed.
    async fn wait_for(&self, service: &ServiceConfig, has_first: bool) -> Result<(), Failure> {
        let limit = if self.is_real_pace { UP_WITHIN_AT_REAL_PACE } else { UP_WITHIN };
        let began = Instant::now();
        loop {
            let body = json!({"cluster": service.cluster.as_str(), "services": [service.name.as_str()]});
            let answer = call(self.stage, "ecs", "DescribeServices", body).await?;
            let deployment = &answer["services"][0]["deployments"][0];
            let state = deployment["rolloutState"].as_str();
            let has_failed = state == Some("FAILED") || began.elapsed() > limit;
            match has_first {
                true if state == Some("COMPLETED") => return Ok(()),
                true if has_failed => return Err(self.does_not_come_up(service, &answer["services"][0]).await),
                // A deployment in which tasks fail can be replaced; one that has only begun is waited for.
                false if has_failed || (self.is_real_pace && deployment["failedTasks"] != 0) => return Ok(()),
                _ => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn does_not_come_up(&self, service: &ServiceConfig, shown: &Value) -> Failure {
        let Previous::Release(release) = self.previous else {
            return Failure::new(Reason::Internal, format!("the server in `{}` does not come up", service.key));
        };
        let what =
            format!("the previous release ({}) of `{}` does not come up on the stage", release.what, service.key);
        let definition = release.setting.definition(&service.key);
        let Why { evidence, log } = why::of_service(self.stage, service, definition, shown).await;
        Failure::new(Reason::Unsteady, what).with_evidence(evidence).with_log(log).with_next(ANOTHER)
    }
}

const ANOTHER: &str =
    "choose another with `--previous COMMIT`, or rehearse the release as a first one with `--previous none`";

/// The definition with these images.
fn with_images(
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

/// The first port, and whose it is.
fn port_of(definition: &TaskDefinition) -> Option<(String, u64)> {
    definition.containers().find_map(|c| {
        let port = c.get("portMappings")?.as_array()?.first()?.get("containerPort")?.as_u64()?;
        Some((container_name(c).to_owned(), port))
    })
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
