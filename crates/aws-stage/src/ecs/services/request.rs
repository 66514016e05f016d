//! What CreateService and UpdateService ask for, and AWS's words where they ask for what cannot be.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::configuration::Configuration;
use super::model::{Deployment, Pins, Revision, Service, ServiceStatus, digits};
use crate::behavior::{Behavior, NativeRolloutState};
use crate::ecs::placement;
use crate::ecs::task::Definition;
use crate::error::AwsError;
use crate::request::{flag, list, number, text};
use crate::validation::not_played;

/// Members that make a service revision, `taskDefinition` aside: changing one starts a deployment.
const REVISION: [&str; 9] = [
    "networkConfiguration",
    "platformVersion",
    "loadBalancers",
    "serviceRegistries",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
    "launchType",
    "capacityProviderStrategy",
];

/// Members that a service keeps and that no deployment depends on.
const SETTINGS: [&str; 12] = [
    "availabilityZoneRebalancing",
    "deploymentController",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "healthCheckGracePeriodSeconds",
    "placementConstraints",
    "placementStrategy",
    "propagateTags",
    "role",
    "schedulingStrategy",
    "tags",
    "clientToken",
];

/// Where and for whom a service is made.
pub(super) struct Origin<'a> {
    /// Everything before `:service/`, e.g. `arn:aws:ecs:eu-central-1:111122223333`.
    pub arn_prefix: &'a str,
    pub cluster_arn: &'a str,
    pub caller_arn: &'a str,
    pub epoch: f64,
}

/// A task definition with its tags.
pub(crate) struct Chosen {
    pub definition: Arc<Definition>,
    pub tags: Vec<Value>,
}

/// An InvalidParameterException.
pub(super) fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::client("InvalidParameterException", message)
}

/// CreateService, up to the first deployment.
pub(super) fn create(
    origin: &Origin,
    body: &Value,
    chosen: Chosen,
    has_group: &dyn Fn(&str) -> bool,
    behavior: &Behavior,
) -> Result<Service, AwsError> {
    let name = service_name(body)?;
    check_common(body)?;
    if text(body, "clientToken").is_some_and(|token| token.len() > 36) {
        return Err(invalid("The clientToken must be at most 36 characters."));
    }
    if text(body, "schedulingStrategy") == Some("DAEMON") {
        return Err(invalid("The daemon scheduling strategy does not support the Fargate launch type."));
    }
    let desired = desired_count(body)?.ok_or_else(|| invalid("Service desiredCount is required."))?;
    let mut members = pick(body, &REVISION);
    // There are no container instances on the stage, so EC2 is not what an absent launch type can mean.
    if !members.contains_key("launchType") && list(body, "capacityProviderStrategy").is_empty() {
        members.insert("launchType".to_owned(), json!("FARGATE"));
    }
    check_members(&members, &chosen.definition, has_group)?;
    let cluster = origin.cluster_arn.rsplit('/').next().unwrap_or_default();
    let mut service = Service {
        arn: format!("{}:service/{cluster}/{name}", origin.arn_prefix),
        name: name.to_owned(),
        cluster_arn: origin.cluster_arn.to_owned(),
        status: ServiceStatus::Active,
        desired,
        settings: pick(body, &SETTINGS),
        configuration: Configuration::read(&body["deploymentConfiguration"]),
        deployments: Vec::new(),
        revisions: Vec::new(),
        history: Vec::new(),
        last_completed: None,
        events: VecDeque::new(),
        created_at: origin.epoch,
        created_by: origin.caller_arn.to_owned(),
        watched: HashMap::new(),
        is_steady: false,
        shows_native_rollout: behavior.native_rollout_state == NativeRolloutState::Shown,
    };
    let revision = service.add_revision(chosen, members, origin.epoch);
    if service.rolls_by_itself() {
        service.begin_deployment(&revision, behavior, origin.epoch);
    }
    Ok(service)
}

impl Service {
    /// UpdateService. A deployment begins where a member of the revision changes or one is forced.
    pub(crate) fn update(
        &mut self,
        body: &Value,
        chosen: Option<Chosen>,
        has_group: &dyn Fn(&str) -> bool,
        behavior: &Behavior,
        epoch: f64,
    ) -> Result<(), AwsError> {
        if self.status != ServiceStatus::Active {
            return Err(AwsError::client("ServiceNotActiveException", "Service was not ACTIVE."));
        }
        check_common(body)?;
        let desired = desired_count(body)?;
        if !self.rolls_by_itself() {
            self.refuse_controlled(body)?;
        }
        let current = self.current_revision().cloned();
        let mut members = current.as_ref().map(|revision| revision.members.clone()).unwrap_or_default();
        let sent = pick(body, &REVISION);
        if sent.contains_key("capacityProviderStrategy") {
            members.remove("launchType");
        }
        members.extend(sent);
        let before = current.as_ref().map(|revision| (&revision.definition.arn, deploying(&revision.members)));
        let (definition, tags) = match (chosen, &current) {
            (Some(chosen), _) => (chosen.definition, chosen.tags),
            (None, Some(current)) => (current.definition.clone(), current.tags.clone()),
            (None, None) => return Err(AwsError::client("ClientException", "TaskDefinition not found.")),
        };
        check_members(&members, &definition, has_group)?;

        if let Some(desired) = desired {
            self.desired = desired;
            self.is_steady = false;
        }
        self.settings.extend(pick(body, &SETTINGS));
        if let Some(changes) = body.get("deploymentConfiguration").and_then(Value::as_object) {
            let mut merged = self.configuration.describe();
            for (member, value) in changes {
                merged[member] = value.clone();
            }
            self.configuration = Configuration::read(&merged);
        }
        let is_changed = before.is_none_or(|before| before != (&definition.arn, deploying(&members)));
        if self.rolls_by_itself() && (is_changed || flag(body, "forceNewDeployment")) {
            let revision = self.add_revision(Chosen { definition, tags }, members, epoch);
            self.begin_deployment(&revision, behavior, epoch);
        } else if let Some(arn) = current.map(|revision| revision.arn)
            && let Some(revision) = self.revisions.iter_mut().find(|revision| revision.arn == arn)
        {
            revision.members = members;
        }
        if let Some(primary) = self.deployments.first_mut() {
            primary.desired = self.desired;
        }
        Ok(())
    }

    /// Whether ECS rolls its deployments (controller ECS), rather than CodeDeploy or somebody outside.
    pub(crate) fn rolls_by_itself(&self) -> bool {
        self.controller() == "ECS"
    }

    fn controller(&self) -> &str {
        self.settings.get("deploymentController").and_then(|controller| text(controller, "type")).unwrap_or("ECS")
    }

    fn refuse_controlled(&self, body: &Value) -> Result<(), AwsError> {
        let controller = self.controller();
        let refused = [
            ("taskDefinition", "task definition"),
            ("networkConfiguration", "network configuration"),
            ("platformVersion", "platform version"),
            ("loadBalancers", "load balancers"),
        ];
        if let Some((_, what)) = refused.into_iter().find(|(member, _)| body.get(member).is_some()) {
            let hint = match controller {
                "CODE_DEPLOY" => " Use AWS CodeDeploy to trigger a new deployment.",
                _ => " Create a task set to deploy.",
            };
            let message =
                format!("Unable to update {what} on services with a {controller} deployment controller.{hint}");
            return Err(invalid(message));
        }
        if flag(body, "forceNewDeployment") {
            let message =
                format!("Cannot force a new deployment on services with a {controller} deployment controller.");
            return Err(invalid(message));
        }
        Ok(())
    }

    fn add_revision(&mut self, chosen: Chosen, members: Map<String, Value>, epoch: f64) -> String {
        let arn = format!("{}/{}", self.arn.replacen(":service/", ":service-revision/", 1), digits());
        self.revisions.push(Revision {
            arn: arn.clone(),
            definition: chosen.definition,
            members,
            pins: Pins::Unknown,
            tags: chosen.tags,
            created_at: epoch,
        });
        arn
    }

    /// DeleteService: `force` where tasks are still wanted.
    pub(crate) fn delete(&mut self, force: bool, epoch: f64) -> Result<(), AwsError> {
        match self.status {
            ServiceStatus::Inactive => {
                return Err(AwsError::client("ServiceNotActiveException", "Service was not ACTIVE."));
            }
            ServiceStatus::Draining => return Ok(()),
            ServiceStatus::Active => {}
        }
        if self.desired > 0 && !force {
            return Err(invalid("The service cannot be stopped while it is scaled above 0."));
        }
        self.desired = 0;
        self.status = ServiceStatus::Draining;
        let drained = |deployment: &mut Deployment| {
            deployment.desired = 0;
            deployment.updated_at = epoch;
        };
        self.deployments.iter_mut().for_each(drained);
        Ok(())
    }
}

fn service_name(body: &Value) -> Result<&str, AwsError> {
    let name = text(body, "serviceName").ok_or_else(|| invalid("Service name cannot be empty."))?;
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_allowed) {
        return Err(invalid(
            "Service name must be up to 255 characters and can only contain letters, numbers, hyphens and underscores.",
        ));
    }
    Ok(name)
}

fn desired_count(body: &Value) -> Result<Option<usize>, AwsError> {
    let Some(count) = number(body, "desiredCount") else { return Ok(None) };
    usize::try_from(count).map(Some).map_err(|_| invalid("desiredCount should be greater than or equal to 0."))
}

/// The members of `body` with those names that have a value.
fn pick(body: &Value, names: &[&str]) -> Map<String, Value> {
    let present = |name: &str| {
        let value = body.get(name).filter(|value| !value.is_null())?;
        Some((name.to_owned(), value.clone()))
    };
    names.iter().filter_map(|name| present(name)).collect()
}

/// Of a revision's members, those whose change starts a deployment.
fn deploying(members: &Map<String, Value>) -> Map<String, Value> {
    let is_placement = |name: &str| matches!(name, "launchType" | "capacityProviderStrategy");
    members.iter().filter(|(name, _)| !is_placement(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn check_common(body: &Value) -> Result<(), AwsError> {
    let configuration = &body["deploymentConfiguration"];
    let strategy = text(configuration, "strategy").unwrap_or("ROLLING");
    for hook in list(configuration, "lifecycleHooks") {
        if text(hook, "targetType") != Some("PAUSE") {
            return Err(not_played("lifecycle hooks of the type AWS_LAMBDA"));
        }
        if strategy == "ROLLING" {
            return Err(not_played("lifecycle hooks of rolling deployments"));
        }
    }
    let is_absent = |name: &str| configuration.get(name).is_none_or(Value::is_null);
    for (name, of) in [("linearConfiguration", "LINEAR"), ("canaryConfiguration", "CANARY")] {
        if !is_absent(name) && strategy != of {
            return Err(invalid(format!("{name} can only be specified with the {of} deployment strategy.")));
        }
    }
    for (name, least, most) in [("stepPercent", 3.0, 100.0), ("canaryPercent", 0.1, 100.0)] {
        let value = ["linearConfiguration", "canaryConfiguration"]
            .into_iter()
            .find_map(|of| configuration[of].get(name)?.as_f64());
        if value.is_some_and(|value| !(least..=most).contains(&value)) {
            return Err(invalid(format!("{name} must be between {least} and {most}.")));
        }
    }
    let percent = |name| number(configuration, name);
    if percent("maximumPercent").is_some_and(|maximum| maximum < 100) {
        return Err(invalid("maximumPercent must be greater than or equal to 100."));
    }
    if percent("minimumHealthyPercent").is_some_and(|minimum| minimum < 0) {
        return Err(invalid("minimumHealthyPercent must be greater than or equal to 0."));
    }
    let read = Configuration::read(configuration);
    if read.minimum_healthy_percent >= 100 && read.maximum_percent == 100 {
        return Err(invalid(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
        ));
    }
    Ok(())
}

fn check_members(
    members: &Map<String, Value>,
    definition: &Definition,
    has_group: &dyn Fn(&str) -> bool,
) -> Result<(), AwsError> {
    placement::check(&Value::Object(members.clone()), definition)?;
    let containers = definition.body.get("containerDefinitions").and_then(Value::as_array);
    for balancer in members.get("loadBalancers").and_then(Value::as_array).into_iter().flatten() {
        let group = text(balancer, "targetGroupArn").ok_or_else(|| invalid("targetGroupArn must be specified."))?;
        if !has_group(group) {
            return Err(invalid(format!("The target group {group} does not exist.")));
        }
        let name = text(balancer, "containerName").unwrap_or_default();
        let container = containers
            .into_iter()
            .flatten()
            .find(|container| text(container, "name") == Some(name))
            .ok_or_else(|| invalid(format!("The container {name} does not exist in the task definition.")))?;
        let port = number(balancer, "containerPort");
        let maps = |mapping: &Value| number(mapping, "containerPort") == port;
        if !list(container, "portMappings").iter().any(maps) {
            let port = port.unwrap_or_default();
            return Err(invalid(format!("The container {name} did not have a container port {port} defined.")));
        }
    }
    Ok(())
}
