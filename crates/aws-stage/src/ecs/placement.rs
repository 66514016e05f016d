//! Where tasks may run, as RunTask, CreateService and UpdateService ask for it: Fargate is what the stage has.

use serde_json::Value;

use super::definitions::fargate;
use super::task::Definition;
use crate::error::AwsError;
use crate::request::{list, number, text};

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/platform-fargate.html>
const PLATFORM_VERSIONS: [&str; 3] = ["LATEST", "1.4.0", "1.3.0"];
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AwsVpcConfiguration.html>
const SUBNETS: usize = 16;
const SECURITY_GROUPS: usize = 5;

fn invalid<T>(message: impl Into<String>) -> Result<T, AwsError> {
    Err(AwsError::client("InvalidParameterException", message))
}

/// Launch type or strategy, platform version and network of `body`, for tasks of `definition`.
pub(super) fn check(body: &Value, definition: &Definition) -> Result<(), AwsError> {
    let strategy = list(body, "capacityProviderStrategy");
    let launch_type = text(body, "launchType");
    if launch_type.is_some() && !strategy.is_empty() {
        return invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        );
    }
    if launch_type.is_some_and(|kind| kind != "FARGATE") {
        return invalid("No Container Instances were found in your cluster.");
    }
    for item in strategy {
        let provider = text(item, "capacityProvider").unwrap_or_default();
        if !matches!(provider, "FARGATE" | "FARGATE_SPOT") {
            return invalid(format!("The specified capacity provider '{provider}' was not found."));
        }
    }
    if strategy.iter().filter(|item| number(item, "base").unwrap_or(0) > 0).count() > 1 {
        return invalid("A capacity provider strategy can contain only one capacity provider with a base defined.");
    }
    if !strategy.is_empty()
        && strategy.iter().all(|item| number(item, "weight").unwrap_or(0) == 0)
        && strategy.len() > 1
    {
        return invalid("At least one capacity provider must have a weight greater than 0.");
    }
    if let Some(version) = text(body, "platformVersion")
        && !PLATFORM_VERSIONS.contains(&version)
    {
        return Err(AwsError::client("PlatformUnknownException", "The specified platform does not exist."));
    }
    let compatible = definition.body.get("requiresCompatibilities").and_then(Value::as_array);
    let is_declared = compatible.is_some_and(|kinds| kinds.iter().any(|kind| kind == "FARGATE"));
    if !is_declared && fargate::check(&Value::Object(definition.body.clone())).is_err() {
        return invalid("Task definition does not support launch_type FARGATE.");
    }
    check_volumes(body, definition)?;
    check_network(body, definition)
}

/// A volume that the definition leaves to the launch is configured there, and no other.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/configure-ebs-volume.html>
fn check_volumes(body: &Value, definition: &Definition) -> Result<(), AwsError> {
    let volumes = definition.body.get("volumes").and_then(Value::as_array);
    let at_launch = |volume: &&Value| volume.get("configuredAtLaunch") == Some(&Value::Bool(true));
    let left: Vec<&str> = volumes.into_iter().flatten().filter(at_launch).filter_map(|of| text(of, "name")).collect();
    let given: Vec<&str> = list(body, "volumeConfigurations").iter().filter_map(|of| text(of, "name")).collect();
    if let Some(name) = left.iter().find(|name| !given.contains(name)) {
        return invalid(format!(
            "The volume '{name}' is configured at launch: a volume configuration must be specified for it."
        ));
    }
    if let Some(name) = given.iter().find(|name| !left.contains(name)) {
        return invalid(format!(
            "The volume configuration '{name}' does not match a volume that is configured at launch."
        ));
    }
    Ok(())
}

fn check_network(body: &Value, definition: &Definition) -> Result<(), AwsError> {
    let is_awsvpc = definition.body.get("networkMode").and_then(Value::as_str) == Some("awsvpc");
    let network = body.get("networkConfiguration").and_then(|network| network.get("awsvpcConfiguration"));
    match network.filter(|network| !network.is_null()) {
        None if is_awsvpc => invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified."),
        Some(_) if !is_awsvpc => {
            invalid("Network Configuration is not valid for the given networkMode of this task definition.")
        }
        None => Ok(()),
        Some(network) => match (list(network, "subnets").len(), list(network, "securityGroups").len()) {
            (0, _) => invalid("subnets can not be empty."),
            (subnets, _) if subnets > SUBNETS => invalid(format!("subnets can have at most {SUBNETS} items.")),
            (_, groups) if groups > SECURITY_GROUPS => {
                invalid(format!("securityGroups can have at most {SECURITY_GROUPS} items."))
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn refusal(members: Value, volumes: Value) -> String {
        let body = json!({ "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "volumes": volumes });
        let body = body.as_object().cloned().unwrap_or_default();
        let definition = Arc::new(Definition { arn: "arn".to_owned(), family: "web".to_owned(), body });
        let mut request = json!({ "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"] } } });
        for (name, value) in members.as_object().into_iter().flatten() {
            request[name] = value.clone();
        }
        check(&request, &definition).map_or_else(|error| error.message, |()| String::new())
    }

    #[test]
    fn tasks_run_on_fargate_in_a_network_or_not_at_all() {
        let network = |subnets: usize| json!({ "awsvpcConfiguration": { "subnets": vec!["subnet-1"; subnets] } });
        let spot = json!([{ "capacityProvider": "FARGATE_SPOT", "weight": 1 }]);
        for (members, words) in [
            (json!({}), ""),
            (json!({ "launchType": "FARGATE", "platformVersion": "1.4.0" }), ""),
            (json!({ "capacityProviderStrategy": spot }), ""),
            (json!({ "launchType": "EC2" }), "No Container Instances were found"),
            (json!({ "launchType": "FARGATE", "capacityProviderStrategy": spot }), "both a launch type and capacity"),
            (json!({ "capacityProviderStrategy": [{ "capacityProvider": "mine" }] }), "'mine' was not found"),
            (json!({ "platformVersion": "9.9.9" }), "The specified platform does not exist."),
            (json!({ "networkConfiguration": null }), "Network Configuration must be provided"),
            (json!({ "networkConfiguration": network(0) }), "subnets can not be empty."),
            (json!({ "networkConfiguration": network(17) }), "at most 16"),
            (json!({ "volumeConfigurations": [{ "name": "data" }] }), "does not match a volume"),
        ] {
            let refused = refusal(members.clone(), json!([]));
            assert!(refused.contains(words) && refused.is_empty() == words.is_empty(), "{members}: {refused}");
        }
        let volumes = json!([{ "name": "data", "configuredAtLaunch": true }]);
        assert!(refusal(json!({}), volumes.clone()).contains("must be specified for it"));
        assert_eq!(refusal(json!({ "volumeConfigurations": [{ "name": "data" }] }), volumes), "");
    }
}
