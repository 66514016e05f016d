//! Which IAM actions a call needs, on which resources, with which condition keys.
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html>

use serde_json::{Value, json};

use super::api::{Caller, partition};
use super::policy::Context;
use super::request::{list, text, texts};

/// One permission that a call needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Need {
    /// `service:Operation`.
    pub action: String,
    /// An ARN, or `*`.
    pub resource: String,
    /// Condition keys.
    pub context: Context,
}

/// The task definition that a call names, as ECS resolves it before it authorizes.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResolvedDefinition {
    /// With its revision.
    pub arn: Option<String>,
    /// `taskRoleArn` and `executionRoleArn`.
    pub roles: Vec<String>,
}

/// Reads what is needed out of a call. `definition` is the one that RunTask or UpdateService names.
#[must_use]
pub(crate) fn needs(
    caller: &Caller,
    service: &str,
    operation: &str,
    body: &Value,
    definition: &ResolvedDefinition,
) -> Vec<Need> {
    let names = Names { caller, service };
    match service {
        "ecs" => ecs(&names, operation, body, definition),
        "ecr" => {
            let repository = |name: &str| names.arn(&format!("repository/{name}"));
            let resources = match (operation, text(body, "repositoryName")) {
                ("GetAuthorizationToken", _) => vec!["*".to_owned()],
                (_, Some(name)) => vec![repository(name)],
                _ if list(body, "repositoryNames").is_empty() => vec![repository("*")],
                _ => texts(body, "repositoryNames").into_iter().map(repository).collect(),
            };
            names.each(operation, resources)
        }
        "logs" => {
            let group = text(body, "logGroupName").or(text(body, "logGroupIdentifier")).unwrap_or("*");
            let group = group.rsplit_once("log-group:").map_or(group, |(_, name)| name).trim_end_matches(":*");
            let tail = match text(body, "logStreamName") {
                Some(stream) => format!("log-stream:{stream}"),
                None => "*".to_owned(),
            };
            names.each(operation, vec![names.arn(&format!("log-group:{group}:{tail}"))])
        }
        "ssm" => {
            let parameter = |name: &str| match name.starts_with("arn:") {
                true => name.to_owned(),
                false => names.arn(&format!("parameter/{}", name.trim_start_matches('/'))),
            };
            if let Some(session) = text(body, "SessionId") {
                return names.each(operation, vec![names.arn(&format!("session/{session}"))]);
            }
            let one = text(body, "Name").or(text(body, "Path")).or(text(body, "ResourceId"));
            let all = one.map_or_else(|| texts(body, "Names"), |name| vec![name]);
            names.each(operation, all.into_iter().map(parameter).collect())
        }
        "secretsmanager" => {
            let id = text(body, "SecretId").or(text(body, "Name")).unwrap_or("*");
            let resource =
                if id.starts_with("arn:") { id.to_owned() } else { names.arn(&format!("secret:{id}-??????")) };
            names.each(operation, vec![resource])
        }
        "iam" => {
            let resource = match text(body, "RoleName") {
                Some(role) => format!("arn:{}:iam::{}:role/{role}", partition(&caller.region), caller.account),
                None => text(body, "PolicySourceArn").unwrap_or("*").to_owned(),
            };
            names.each(operation, vec![resource])
        }
        "cloudformation" => {
            let resource = match text(body, "StackName") {
                Some(arn) if arn.starts_with("arn:") => arn.to_owned(),
                Some(name) => names.arn(&format!("stack/{name}/*")),
                None => "*".to_owned(),
            };
            names.each(operation, vec![resource])
        }
        "rds" => {
            let name = |member: &str, kind: &str| names.arn(&format!("{kind}:{}", text(body, member).unwrap_or("*")));
            let snapshot = name("DBSnapshotIdentifier", "snapshot");
            match operation {
                "CreateDBSnapshot" => names.each(operation, vec![name("DBInstanceIdentifier", "db"), snapshot]),
                _ => names.each(operation, vec![snapshot]),
            }
        }
        // AssumeRole asks the policies itself, and the caller's identity needs no permission.
        "sts" => Vec::new(),
        _ => names.each(operation, vec!["*".to_owned()]),
    }
}

fn ecs(names: &Names<'_>, operation: &str, body: &Value, definition: &ResolvedDefinition) -> Vec<Need> {
    let cluster = last(text(body, "cluster").unwrap_or("default"));
    let in_cluster = || vec![("ecs:cluster".to_owned(), vec![names.arn(&format!("cluster/{cluster}"))])];
    let need = |resource: String, context: Context| Need { action: format!("ecs:{operation}"), resource, context };
    let each = |kind: &str, ids: Vec<&str>| -> Vec<Need> {
        let ids = ids.into_iter().map(|id| need(names.arn(&format!("{kind}/{cluster}/{}", last(id))), in_cluster()));
        ids.collect()
    };
    let mut needs = match operation {
        "RegisterTaskDefinition" => {
            let family = text(body, "family").unwrap_or_default();
            vec![need(names.arn(&format!("task-definition/{family}:*")), Context::new())]
        }
        "RunTask" => {
            let asked = last(text(body, "taskDefinition").unwrap_or_default());
            let arn = definition.arn.clone().unwrap_or_else(|| names.arn(&format!("task-definition/{asked}")));
            vec![need(arn, in_cluster())]
        }
        "DescribeTasks" => each("task", texts(body, "tasks")),
        "ExecuteCommand" => {
            let mut needs = each("task", vec![text(body, "task").unwrap_or_default()]);
            needs.push(need(names.arn(&format!("cluster/{cluster}")), in_cluster()));
            needs
        }
        "StopTask" => each("task", vec![text(body, "task").unwrap_or_default()]),
        "ListTasks" => vec![need(names.arn(&format!("container-instance/{cluster}/*")), in_cluster())],
        "ListServices" => vec![need("*".to_owned(), in_cluster())],
        "DescribeServices" => each("service", texts(body, "services")),
        "UpdateService" | "DeleteService" | "ListServiceDeployments" => {
            each("service", vec![text(body, "service").unwrap_or_default()])
        }
        "CreateService" => each("service", vec![text(body, "serviceName").unwrap_or_default()]),
        "StopServiceDeployment" | "ContinueServiceDeployment" => {
            of_service(&need, vec![text(body, "serviceDeploymentArn").unwrap_or_default()])
        }
        "DescribeServiceDeployments" => of_service(&need, texts(body, "serviceDeploymentArns")),
        "DescribeServiceRevisions" => of_service(&need, texts(body, "serviceRevisionArns")),
        "DescribeClusters" => {
            let clusters = texts(body, "clusters");
            let clusters = if clusters.is_empty() { vec!["default"] } else { clusters };
            clusters.into_iter().map(|id| need(names.arn(&format!("cluster/{}", last(id))), Context::new())).collect()
        }
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            vec![need(text(body, "resourceArn").unwrap_or("*").to_owned(), Context::new())]
        }
        _ => vec![need("*".to_owned(), Context::new())],
    };
    if !list(body, "tags").is_empty() {
        needs.extend(tagging(names, operation, body, cluster));
    }
    needs.extend(passed_roles(operation, body, definition).into_iter().map(|role| Need {
        action: "iam:PassRole".to_owned(),
        resource: role,
        context: vec![("iam:PassedToService".to_owned(), vec!["ecs-tasks.amazonaws.com".to_owned()])],
    }));
    needs
}

/// Both the service and the deployment or revision have to be allowed.
fn of_service(need: &impl Fn(String, Context) -> Need, arns: Vec<&str>) -> Vec<Need> {
    arns.into_iter()
        .flat_map(|arn| {
            // arn:aws:ecs:REGION:ACCOUNT:service-deployment/CLUSTER/SERVICE/ID
            let mut parts = arn.split('/');
            let head = parts.next().and_then(|head| head.rsplit_once(':')).map_or("", |(head, _)| head);
            let (cluster, service) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let context = vec![("ecs:cluster".to_owned(), vec![format!("{head}:cluster/{cluster}")])];
            [need(format!("{head}:service/{cluster}/{service}"), context.clone()), need(arn.to_owned(), context)]
        })
        .collect()
}

/// Tags at creation need `ecs:TagResource` with `ecs:CreateAction`.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html>
fn tagging(names: &Names<'_>, operation: &str, body: &Value, cluster: &str) -> Option<Need> {
    let resource = match operation {
        "RegisterTaskDefinition" => format!("task-definition/{}:*", text(body, "family")?),
        "RunTask" => format!("task/{cluster}/*"),
        "CreateService" => format!("service/{cluster}/{}", text(body, "serviceName")?),
        "CreateCluster" => format!("cluster/{}", text(body, "clusterName").unwrap_or("default")),
        _ => return None,
    };
    let context = vec![("ecs:CreateAction".to_owned(), vec![operation.to_owned()])];
    Some(Need { action: "ecs:TagResource".to_owned(), resource: names.arn(&resource), context })
}

fn passed_roles(operation: &str, body: &Value, definition: &ResolvedDefinition) -> Vec<String> {
    let mut roles = match operation {
        "RegisterTaskDefinition" => roles_of(body),
        "RunTask" => {
            let overrides = body.get("overrides").map(roles_of).unwrap_or_default();
            definition.roles.iter().cloned().chain(overrides).collect()
        }
        "CreateService" | "UpdateService" => definition.roles.clone(),
        _ => Vec::new(),
    };
    roles.sort();
    roles.dedup();
    roles
}

/// `taskRoleArn` and `executionRoleArn` of a task definition or of overrides.
#[must_use]
pub(crate) fn roles_of(definition: &Value) -> Vec<String> {
    let named = ["taskRoleArn", "executionRoleArn"].into_iter().filter_map(|name| text(definition, name));
    named.filter(|role| !role.is_empty()).map(str::to_owned).collect()
}

/// The DescribeTaskDefinition call that resolves what `body` names, if it names any.
#[must_use]
pub(crate) fn definition_lookup(service: &str, operation: &str, body: &Value) -> Option<Value> {
    let asks = service == "ecs" && matches!(operation, "RunTask" | "UpdateService" | "CreateService");
    text(body, "taskDefinition").filter(|_| asks).map(|name| json!({ "taskDefinition": name }))
}

struct Names<'a> {
    caller: &'a Caller,
    service: &'a str,
}

impl Names<'_> {
    fn arn(&self, resource: &str) -> String {
        let Caller { region, account, .. } = self.caller;
        format!("arn:{}:{}:{region}:{account}:{resource}", partition(region), self.service)
    }

    fn each(&self, operation: &str, resources: Vec<String>) -> Vec<Need> {
        let action = format!("{}:{operation}", self.service);
        let need = |resource| Need { action: action.clone(), resource, context: Context::new() };
        resources.into_iter().map(need).collect()
    }
}

fn last(name_or_arn: &str) -> &str {
    name_or_arn.rsplit('/').next().unwrap_or(name_or_arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(service: &str, operation: &str, body: Value) -> Vec<(String, String)> {
        let caller =
            Caller { account: "1".into(), region: "eu-west-1".into(), arn: String::new(), session_policy: None };
        let definition = ResolvedDefinition { arn: Some("definition".into()), roles: vec!["role".into()] };
        let needs = needs(&caller, service, operation, &body, &definition);
        needs.into_iter().map(|need| (need.action, need.resource)).collect()
    }

    #[test]
    fn a_service_deployment_needs_its_service_as_well() {
        let arn = "arn:aws:ecs:eu-west-1:1:service-deployment/prod/web/abc";
        let needs = resources("ecs", "StopServiceDeployment", json!({ "serviceDeploymentArn": arn }));
        let action = "ecs:StopServiceDeployment".to_owned();
        let service = "arn:aws:ecs:eu-west-1:1:service/prod/web".to_owned();
        assert_eq!(needs, [(action.clone(), service), (action, arn.to_owned())]);
    }

    #[test]
    fn run_task_needs_the_definition_its_tags_and_every_role_it_passes() {
        let body = json!({
            "cluster": "prod", "taskDefinition": "web", "tags": [{ "key": "a", "value": "b" }],
            "overrides": { "taskRoleArn": "other" },
        });
        let needs = resources("ecs", "RunTask", body);
        let expected = [
            ("ecs:RunTask", "definition"),
            ("ecs:TagResource", "arn:aws:ecs:eu-west-1:1:task/prod/*"),
            ("iam:PassRole", "other"),
            ("iam:PassRole", "role"),
        ];
        assert_eq!(needs, expected.map(|(action, resource)| (action.to_owned(), resource.to_owned())));
    }

    #[test]
    fn reading_a_log_stream_needs_the_stream() {
        let body = json!({ "logGroupName": "/ecs/web", "logStreamName": "web/app/1" });
        let stream = "arn:aws:logs:eu-west-1:1:log-group:/ecs/web:log-stream:web/app/1";
        assert_eq!(resources("logs", "GetLogEvents", body), [("logs:GetLogEvents".to_owned(), stream.to_owned())]);
    }
}
