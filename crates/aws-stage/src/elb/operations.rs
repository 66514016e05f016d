//! The target group operations of the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::group::{Settings, invalid};
use super::{Elb, Group, Work, balancer};
use crate::api::{Caller, partition};
use crate::error::{AwsError, Reply};
use crate::request::{list, lock, number, random_hex, required, text, texts};

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html>
const DEREGISTRATION_DELAY: &str = "deregistration_delay.timeout_seconds";

impl Elb {
    /// One API call of `elasticloadbalancing`, members in PascalCase.
    pub(crate) async fn call(self: &Arc<Self>, _caller: &Caller, operation: &str, body: Value) -> Reply {
        match operation {
            "CreateTargetGroup" => self.create(&body).await,
            "DescribeTargetGroups" => self.describe(&body),
            "ModifyTargetGroup" => {
                let arn = required(&body, "TargetGroupArn")?;
                self.with(arn, |group| {
                    let port = group.settings.port;
                    group.settings.check.change(&body, port)?;
                    Ok(json!({ "TargetGroups": [group.settings.shape(arn)] }))
                })
            }
            "DeleteTargetGroup" => {
                lock(&self.groups).remove(required(&body, "TargetGroupArn")?);
                self.bump();
                Ok(json!({}))
            }
            "DescribeTargetHealth" => self.describe_health(&body),
            "DescribeTargetGroupAttributes" => {
                self.with(required(&body, "TargetGroupArn")?, |group| Ok(attributes(group)))
            }
            "ModifyTargetGroupAttributes" => {
                self.with(required(&body, "TargetGroupArn")?, |group| modify_attributes(group, &body))
            }
            _ => Err(AwsError::unknown_operation(operation)),
        }
    }

    fn with(&self, arn: &str, change: impl FnOnce(&mut Group) -> Reply) -> Reply {
        lock(&self.groups).get_mut(arn).map_or_else(|| Err(not_found()), change)
    }

    /// The same request again answers with the group that is there.
    async fn create(self: &Arc<Self>, body: &Value) -> Reply {
        let settings = Settings::read(body)?;
        if let Some(reply) = self.of_name(&settings) {
            return reply;
        }
        let arn = format!(
            "arn:{}:elasticloadbalancing:{}:{}:targetgroup/{}/{}",
            partition(&self.region),
            self.region,
            self.account,
            settings.name,
            random_hex(8)
        );
        let (listener, serving) = balancer::open(Arc::downgrade(self), arn.clone(), settings.is_http)
            .await
            .map_err(|why| AwsError { status: 500, ..AwsError::client("InternalFailure", why.to_string()) })?;
        let serving = Work(serving);
        let mut groups = lock(&self.groups);
        let twin = groups.iter().find(|(_, group)| group.settings.name == settings.name);
        if let Some((arn, group)) = twin {
            return same_or_taken(arn, group, &settings);
        }
        let shown = settings.shape(&arn);
        let targets = BTreeMap::new();
        groups.insert(arn, Group { settings, deregistration_delay: 300, listener, targets, _serving: serving });
        Ok(json!({ "TargetGroups": [shown] }))
    }

    fn of_name(&self, settings: &Settings) -> Option<Reply> {
        let groups = lock(&self.groups);
        let (arn, group) = groups.iter().find(|(_, group)| group.settings.name == settings.name)?;
        Some(same_or_taken(arn, group, settings))
    }

    fn describe(&self, body: &Value) -> Reply {
        if text(body, "LoadBalancerArn").is_some() {
            return Err(AwsError::client("LoadBalancerNotFound", "One or more load balancers not found"));
        }
        let (arns, names) = (texts(body, "TargetGroupArns"), texts(body, "Names"));
        let groups = lock(&self.groups);
        let is_known = |arn: &&str| groups.contains_key(*arn);
        let is_named = |name: &&str| groups.values().any(|group| group.settings.name == *name);
        if !arns.iter().all(is_known) || !names.iter().all(is_named) {
            return Err(not_found());
        }
        let is_wanted = |arn: &str, group: &Group| {
            (arns.is_empty() && names.is_empty())
                || arns.contains(&arn)
                || names.contains(&group.settings.name.as_str())
        };
        let found = groups.iter().filter(|(arn, group)| is_wanted(arn, group));
        Ok(json!({ "TargetGroups": found.map(|(arn, group)| group.settings.shape(arn)).collect::<Vec<_>>() }))
    }

    fn describe_health(&self, body: &Value) -> Reply {
        self.with(required(body, "TargetGroupArn")?, |group| {
            let registered = group.targets.values().map(|target| {
                let (id, port) = (target.address.ip().to_string(), i64::from(target.address.port()));
                let mut health = json!({ "State": target.health.state.word() });
                for (member, value) in [("Reason", &target.health.reason), ("Description", &target.health.description)] {
                    if let Some(value) = value {
                        health[member] = json!(value);
                    }
                }
                (id, port, health)
            });
            let mut found: Vec<_> = registered.collect();
            let asked = list(body, "Targets");
            if !asked.is_empty() {
                let known = std::mem::take(&mut found);
                for target in asked {
                    let (id, port) = (required(target, "Id")?, number(target, "Port"));
                    let of_id = known.iter().filter(|(ip, at, _)| ip == id && port.is_none_or(|port| port == *at));
                    let before = found.len();
                    found.extend(of_id.cloned());
                    if found.len() == before {
                        found.push((id.to_owned(), port.unwrap_or(group.settings.port), unregistered()));
                    }
                }
            }
            let described = found.into_iter().map(|(id, port, health)| {
                json!({ "Target": { "Id": id, "Port": port }, "HealthCheckPort": port.to_string(), "TargetHealth": health })
            });
            Ok(json!({ "TargetHealthDescriptions": described.collect::<Vec<_>>() }))
        })
    }
}

fn same_or_taken(arn: &str, group: &Group, settings: &Settings) -> Reply {
    if group.settings == *settings {
        return Ok(json!({ "TargetGroups": [settings.shape(arn)] }));
    }
    Err(AwsError::client(
        "DuplicateTargetGroupName",
        format!("A target group with the same name '{}' exists, but with different settings", settings.name),
    ))
}

fn unregistered() -> Value {
    json!({
        "State": "unused",
        "Reason": "Target.NotRegistered",
        "Description": "Target is not registered to the target group",
    })
}

fn attributes(group: &Group) -> Value {
    json!({ "Attributes": [{ "Key": DEREGISTRATION_DELAY, "Value": group.deregistration_delay.to_string() }] })
}

fn modify_attributes(group: &mut Group, body: &Value) -> Reply {
    for attribute in list(body, "Attributes") {
        let key = text(attribute, "Key").unwrap_or_default();
        if key != DEREGISTRATION_DELAY {
            return Err(invalid(format!("the stage does not play target group attribute '{key}'")));
        }
        let value = number(attribute, "Value").and_then(|value| u32::try_from(value).ok());
        group.deregistration_delay = value
            .filter(|value| *value <= 3600)
            .ok_or_else(|| invalid(format!("'{DEREGISTRATION_DELAY}' must be between 0 and 3600")))?;
    }
    Ok(attributes(group))
}

fn not_found() -> AwsError {
    AwsError::client("TargetGroupNotFound", "One or more target groups not found")
}
