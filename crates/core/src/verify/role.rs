//! Whether ECS may assume a role of a task definition.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>

use super::Check;
use serde_json::Value;

/// Who starts tasks.
const TASKS: &str = "ecs-tasks.amazonaws.com";

/// `None`: there is no such role.
#[must_use]
pub fn of_role(what: &str, trust: Option<&Value>) -> Check {
    let Some(trust) = trust else {
        return Check::failed(
            what,
            "there is no such role",
            Some("create it, or correct its ARN in the task definition"),
        );
    };
    let texts = |value: Option<&Value>| -> Vec<String> {
        match value {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => vec![],
        }
    };
    let statements = match trust.get("Statement") {
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
        None => vec![],
    };
    let trusts = |statement: &Value| {
        let services = texts(statement.get("Principal").and_then(|principal| principal.get("Service")));
        statement.get("Effect").and_then(Value::as_str) == Some("Allow")
            && services.iter().any(|service| service == TASKS)
            && texts(statement.get("Action"))
                .iter()
                .any(|action| matches!(action.as_str(), "sts:AssumeRole" | "sts:*" | "*"))
    };
    if statements.iter().any(trusts) {
        return Check::ok(what);
    }
    let why = format!("its trust policy does not let `{TASKS}` assume it: no task can start");
    let fix = format!("allow `sts:AssumeRole` to the service `{TASKS}` in its trust policy");
    Check::failed(what, why, Some(&fix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_role_has_to_trust_the_service_that_starts_tasks() {
        let trust = |service: Value| json!({"Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]});
        assert!(!of_role("role", Some(&trust(json!(TASKS)))).has_failed());
        assert!(!of_role("role", Some(&trust(json!(["ecs.amazonaws.com", TASKS])))).has_failed());
        for wrong in [trust(json!("ecs.amazonaws.com")), trust(json!("ec2.amazonaws.com")), json!({})] {
            assert!(of_role("role", Some(&wrong)).has_failed(), "{wrong}");
        }
        assert!(of_role("role", None).has_failed());
    }
}
