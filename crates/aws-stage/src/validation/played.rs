//! The members that the stage plays, where AWS has more: what is not played is refused, never ignored.

use serde_json::Value;

use crate::error::AwsError;

/// Operation, the member whose members these are (empty for the input itself), and what is played of it. Members that say
/// nothing (null, false, empty) are no request for anything.
const PLAYED: [(&str, &str, &[&str]); 12] = [
    (
        "RunTask",
        "",
        &[
            "capacityProviderStrategy",
            "cluster",
            "count",
            "enableECSManagedTags",
            "group",
            "launchType",
            "networkConfiguration",
            "overrides",
            "platformVersion",
            "propagateTags",
            "referenceId",
            "startedBy",
            "tags",
            "taskDefinition",
            "clientToken",
            "enableExecuteCommand",
            "volumeConfigurations",
        ],
    ),
    (
        "RunTask",
        "overrides",
        &["containerOverrides", "cpu", "memory", "executionRoleArn", "taskRoleArn", "ephemeralStorage"],
    ),
    ("CreateService", "", SERVICE),
    ("UpdateService", "", SERVICE),
    ("CreateService", "deploymentConfiguration", DEPLOYMENT),
    ("UpdateService", "deploymentConfiguration", DEPLOYMENT),
    ("CreateService", "deploymentController", &["type"]),
    ("CreateCluster", "", &["clusterName"]),
    ("PutParameter", "", &["Name", "Description", "Value", "Type", "KeyId", "Overwrite", "Tags", "Tier", "DataType"]),
    (
        "CreateSecret",
        "",
        &["Name", "ClientRequestToken", "Description", "KmsKeyId", "SecretBinary", "SecretString", "Tags"],
    ),
    (
        "CreateRole",
        "",
        &[
            "Path",
            "RoleName",
            "AssumeRolePolicyDocument",
            "Description",
            "MaxSessionDuration",
            "PermissionsBoundary",
            "Tags",
        ],
    ),
    ("GetParametersByPath", "", &["Path", "Recursive", "WithDecryption", "MaxResults", "NextToken"]),
];

const SERVICE: &[&str] = &[
    "availabilityZoneRebalancing",
    "capacityProviderStrategy",
    "clientToken",
    "cluster",
    "deploymentConfiguration",
    "deploymentController",
    "desiredCount",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "forceNewDeployment",
    "healthCheckGracePeriodSeconds",
    "launchType",
    "loadBalancers",
    "networkConfiguration",
    "placementConstraints",
    "placementStrategy",
    "platformVersion",
    "propagateTags",
    "schedulingStrategy",
    "service",
    "serviceName",
    "tags",
    "taskDefinition",
    "volumeConfigurations",
];

const DEPLOYMENT: &[&str] = &[
    "alarms",
    "bakeTimeInMinutes",
    "canaryConfiguration",
    "deploymentCircuitBreaker",
    "lifecycleHooks",
    "linearConfiguration",
    "maximumPercent",
    "minimumHealthyPercent",
    "strategy",
];

/// # Errors
/// `UnsupportedFeatureException`: names the member.
pub(super) fn check(operation: &str, body: &Value) -> Result<(), AwsError> {
    for (_, within, played) in PLAYED.iter().filter(|(of, ..)| *of == operation) {
        let of = if within.is_empty() { body } else { &body[*within] };
        let Some(members) = of.as_object() else { continue };
        let unplayed = members.iter().find(|(name, value)| !played.contains(&name.as_str()) && says_something(value));
        if let Some((name, _)) = unplayed {
            let path = if within.is_empty() { name.clone() } else { format!("{within}.{name}") };
            return Err(not_played(&format!("`{path}` of {operation}")));
        }
    }
    Ok(())
}

/// The refusal of what AWS has and the stage has not.
pub(crate) fn not_played(what: &str) -> AwsError {
    AwsError::client("UnsupportedFeatureException", format!("not played here: {what}"))
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => members.values().any(says_something),
        _ => true,
    }
}
