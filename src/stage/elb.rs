//! Elastic Load Balancing v2, as far as ECS services lean on it: target groups with real health checks, and a small load
//! balancer per group on the loopback interface.

mod balancer;
mod check;

use super::api::{AwsError, Caller, Reply, partition};
use super::members::{lock, number, random_hex, required, text, texts};
use super::play::Play;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// `TargetHealth.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Draining,
}

/// What DescribeTargetHealth says of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealth {
    pub state: TargetState,
    /// `Elb.InitialHealthChecking`, `Target.FailedHealthChecks`, `Target.ResponseCodeMismatch`, `Target.Timeout`, ...
    pub reason: Option<String>,
    pub description: Option<String>,
}

/// Target groups by ARN.
pub struct Elb {
    account: String,
    region: String,
    play: Play,
    groups: Mutex<BTreeMap<String, Group>>,
    changes: watch::Sender<u64>,
    tasks: Mutex<Vec<AbortHandle>>,
}

struct Group {
    name: String,
    request: Value,
    delay: f64,
    listener: Option<SocketAddr>,
    targets: BTreeMap<String, Target>,
}

#[derive(Clone, Debug)]
struct Target {
    address: SocketAddr,
    health: TargetHealth,
}

impl Elb {
    pub fn new(account: &str, region: &str, play: Play) -> Arc<Self> {
        let (changes, _) = watch::channel(0);
        Arc::new(Self {
            account: account.to_owned(),
            region: region.to_owned(),
            play,
            groups: Mutex::default(),
            changes,
            tasks: Mutex::default(),
        })
    }

    pub async fn call(self: &Arc<Self>, _caller: &Caller, operation: &str, body: Value) -> Reply {
        match operation {
            "CreateTargetGroup" => self.create(body).await,
            "DescribeTargetGroups" => self.describe(&body),
            "DescribeTargetHealth" => self.describe_health(&body),
            "ModifyTargetGroupAttributes" => self.modify_attributes(&body),
            "DeleteTargetGroup" => {
                lock(&self.groups).remove(required(&body, "TargetGroupArn")?);
                Ok(json!({}))
            }
            _ => Err(AwsError::unknown_operation(operation)),
        }
    }

    pub fn exists(&self, arn: &str) -> bool {
        lock(&self.groups).contains_key(arn)
    }

    /// A target joins: health checking starts, and traffic once it is healthy.
    pub fn register(self: &Arc<Self>, arn: &str, target: &str, address: SocketAddr) {
        {
            let mut groups = lock(&self.groups);
            let Some(group) = groups.get_mut(arn) else { return };
            let health = TargetHealth {
                state: TargetState::Initial,
                reason: Some("Elb.InitialHealthChecking".to_owned()),
                description: Some("Initial health checks in progress".to_owned()),
            };
            group.targets.insert(target.to_owned(), Target { address, health });
        }
        let checking = tokio::spawn(check::check(self.clone(), arn.to_owned(), target.to_owned()));
        lock(&self.tasks).push(checking.abort_handle());
    }

    /// A target leaves: no new connections, gone after the deregistration delay.
    pub fn deregister(self: &Arc<Self>, arn: &str, target: &str) {
        let mut groups = lock(&self.groups);
        let Some(group) = groups.get_mut(arn) else { return };
        let delay = self.play.waiting(group.delay);
        let Some(found) = group.targets.get_mut(target) else { return };
        found.health = TargetHealth {
            state: TargetState::Draining,
            reason: Some("Target.DeregistrationInProgress".to_owned()),
            description: Some("Target deregistration is in progress".to_owned()),
        };
        drop(groups);
        self.bump();
        let (elb, arn, target) = (self.clone(), arn.to_owned(), target.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if let Some(group) = lock(&elb.groups).get_mut(&arn) {
                group.targets.remove(&target);
            }
            elb.bump();
        });
    }

    pub fn health(&self, arn: &str, target: &str) -> Option<TargetHealth> {
        Some(lock(&self.groups).get(arn)?.targets.get(target)?.health.clone())
    }

    /// Where the group's load balancer listens.
    pub fn listener(&self, arn: &str) -> Option<SocketAddr> {
        lock(&self.groups).get(arn)?.listener
    }

    /// Moves at every change of any target.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub async fn shutdown(&self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }

    fn bump(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Addresses that may get a request now.
    fn healthy(&self, arn: &str) -> Vec<SocketAddr> {
        let groups = lock(&self.groups);
        let targets = groups.get(arn).map(|g| &g.targets);
        targets
            .into_iter()
            .flatten()
            .filter(|(_, t)| t.health.state == TargetState::Healthy)
            .map(|(_, t)| t.address)
            .collect()
    }

    async fn create(self: &Arc<Self>, body: Value) -> Reply {
        let name = required(&body, "Name")?.to_owned();
        if lock(&self.groups).values().any(|g| g.name == name) {
            return Err(AwsError::client(
                "DuplicateTargetGroupName",
                format!("A target group with the same name '{name}' exists, but with different settings"),
            ));
        }
        let id = random_hex(8);
        let arn = format!(
            "arn:{}:elasticloadbalancing:{}:{}:targetgroup/{name}/{id}",
            partition(&self.region),
            self.region,
            self.account
        );
        let (listener, serving) = balancer::open(self.clone(), arn.clone())
            .await
            .map_err(|e| AwsError::client("InvalidConfigurationRequest", e.to_string()))?;
        lock(&self.tasks).push(serving);
        let group = Group { name, request: body, delay: 300.0, listener: Some(listener), targets: BTreeMap::new() };
        let shown = shape(&arn, &group);
        lock(&self.groups).insert(arn, group);
        Ok(json!({"TargetGroups": [shown]}))
    }

    fn describe(&self, body: &Value) -> Reply {
        let (arns, names) = (texts(body, "TargetGroupArns"), texts(body, "Names"));
        let groups = lock(&self.groups);
        let wanted = |arn: &str, group: &Group| {
            (arns.is_empty() && names.is_empty()) || arns.contains(&arn) || names.contains(&group.name.as_str())
        };
        let found: Vec<Value> = groups.iter().filter(|(arn, g)| wanted(arn, g)).map(|(arn, g)| shape(arn, g)).collect();
        if found.is_empty() && !(arns.is_empty() && names.is_empty()) {
            return Err(AwsError::client("TargetGroupNotFound", "One or more target groups not found"));
        }
        Ok(json!({"TargetGroups": found}))
    }

    fn describe_health(&self, body: &Value) -> Reply {
        let groups = lock(&self.groups);
        let arn = required(body, "TargetGroupArn")?;
        let group = groups
            .get(arn)
            .ok_or_else(|| AwsError::client("TargetGroupNotFound", format!("Target groups '{arn}' not found")))?;
        let described: Vec<Value> = group.targets.values().map(|t| {
            let state = match t.health.state {
                TargetState::Initial => "initial",
                TargetState::Healthy => "healthy",
                TargetState::Unhealthy => "unhealthy",
                TargetState::Draining => "draining",
            };
            let mut health = json!({"State": state});
            if let Some(reason) = &t.health.reason {
                health["Reason"] = json!(reason);
            }
            if let Some(description) = &t.health.description {
                health["Description"] = json!(description);
            }
            json!({"Target": {"Id": t.address.ip().to_string(), "Port": t.address.port()}, "HealthCheckPort": t.address.port().to_string(), "TargetHealth": health})
        }).collect();
        Ok(json!({"TargetHealthDescriptions": described}))
    }

    fn modify_attributes(&self, body: &Value) -> Reply {
        let mut groups = lock(&self.groups);
        let group = groups
            .get_mut(required(body, "TargetGroupArn")?)
            .ok_or_else(|| AwsError::client("TargetGroupNotFound", "One or more target groups not found"))?;
        for attribute in super::members::list(body, "Attributes") {
            if text(attribute, "Key") == Some("deregistration_delay.timeout_seconds") {
                group.delay = number(attribute, "Value").unwrap_or(300) as f64;
            }
        }
        Ok(json!({"Attributes": body["Attributes"]}))
    }
}

fn shape(arn: &str, group: &Group) -> Value {
    let of = |name: &str, default: Value| group.request.get(name).cloned().unwrap_or(default);
    json!({
        "TargetGroupArn": arn, "TargetGroupName": group.name, "Protocol": of("Protocol", json!("HTTP")), "Port": of("Port", json!(80)),
        "VpcId": of("VpcId", Value::Null), "HealthCheckProtocol": of("HealthCheckProtocol", json!("HTTP")), "HealthCheckPort": "traffic-port",
        "HealthCheckEnabled": true, "HealthCheckIntervalSeconds": of("HealthCheckIntervalSeconds", json!(30)),
        "HealthCheckTimeoutSeconds": of("HealthCheckTimeoutSeconds", json!(5)), "HealthyThresholdCount": of("HealthyThresholdCount", json!(5)),
        "UnhealthyThresholdCount": of("UnhealthyThresholdCount", json!(2)), "HealthCheckPath": of("HealthCheckPath", json!("/")),
        "Matcher": of("Matcher", json!({"HttpCode": "200"})), "TargetType": of("TargetType", json!("ip")), "LoadBalancerArns": [],
    })
}
