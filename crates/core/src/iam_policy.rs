//! The least that the role of a config must be allowed: an IAM policy with an action only where the config needs it, on the
//! resources that it names.
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html>

mod commands;

pub use commands::of_purposes;

use crate::exec::{TASK_ROLE_ACTIONS, task_role};
use crate::image::ImageRef;
use crate::names::short;
use crate::task_definition::one_off::one_off;
use crate::task_definition::{TaskDefinition, container_name};
use crate::validated_config::{BuildConfig, Config, ImageSource, Lock, ReleaseCommand, ServiceConfig};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a policy is made for.
#[derive(Clone, Copy, Debug)]
pub struct Granted<'a> {
    pub config: &'a Config,
    pub account: &'a str,
    pub region: &'a str,
    /// Each service with the task definition that it is deployed from.
    pub services: &'a [(&'a ServiceConfig, &'a TaskDefinition)],
    /// Release commands with a task definition of their own, with that.
    pub commands: &'a [(&'a ReleaseCommand, &'a TaskDefinition)],
}

/// One statement of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub sid: &'static str,
    pub actions: Vec<&'static str>,
    pub resources: BTreeSet<String>,
    pub condition: Option<Value>,
}

impl Statement {
    fn new(sid: &'static str, actions: &[&'static str], resources: impl IntoIterator<Item = String>) -> Self {
        Self { sid, actions: actions.to_vec(), resources: resources.into_iter().collect(), condition: None }
    }

    fn only_where(mut self, condition: Value) -> Self {
        self.condition = Some(condition);
        self
    }

    fn document(&self) -> Value {
        let mut statement = json!({
            "Sid": self.sid, "Effect": "Allow", "Action": self.actions, "Resource": self.resources,
        });
        if let Some(condition) = &self.condition {
            statement["Condition"] = condition.clone();
        }
        statement
    }
}

/// The policy's document.
#[must_use]
pub fn document(statements: &[Statement]) -> Value {
    let statements: Vec<_> = statements.iter().map(Statement::document).collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// What a deploy of the config calls, on good days and on bad ones. Values that the config takes from elsewhere are not in it.
#[must_use]
pub fn statements(granted: &Granted<'_>) -> Vec<Statement> {
    let Granted { config, .. } = granted;
    let repositories = granted.repositories();
    let has_commands = !config.release.is_empty();

    let without_resource: &[_] = match repositories.is_empty() {
        true => &["ecs:DescribeTaskDefinition"],
        false => &["ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition"],
    };
    let mut all = vec![Statement::new("WithoutResource", without_resource, anything())];
    all.push(Statement::new("Push", PUSH, repositories.iter().map(|(arn, _)| arn.clone())));
    let created = repositories.iter().filter(|(_, build)| build.create_repository).map(|(arn, _)| arn.clone());
    all.push(Statement::new("CreateRepositories", &["ecr:CreateRepository"], created));
    let families = granted.families();
    let of_families = || families.iter().map(|family| granted.arn("ecs", &format!("task-definition/{family}:*")));
    all.push(Statement::new("Register", &["ecs:RegisterTaskDefinition"], of_families()));
    let creates: &[_] = if has_commands { &["RegisterTaskDefinition", "RunTask"] } else { &["RegisterTaskDefinition"] };
    all.push(Statement::new("TagWhatWeCreate", &["ecs:TagResource"], anything()).only_where(created_by(creates)));
    all.push(
        Statement::new("HandRolesToTasks", &["iam:PassRole"], roles(granted.definitions())).only_where(for_tasks()),
    );
    if has_commands {
        all.push(
            Statement::new("RunReleaseCommands", &["ecs:RunTask"], of_families()).only_where(granted.in_clusters()),
        );
    }
    all.push(Statement::new("SeeTasks", &["ecs:DescribeTasks"], granted.tasks()));
    all.push(Statement::new("ListTasks", &["ecs:ListTasks"], anything()).only_where(granted.in_clusters()));
    all.push(Statement::new("RollOut", ROLL_OUT, granted.services_and_their_history()));
    all.push(Statement::new("ReadLogs", &["logs:GetLogEvents"], granted.streams()));
    if config.lock != Lock::None {
        all.push(Statement::new("Lease", LEASE, granted.leases()));
    }
    if let Some(instance) = &config.snapshot {
        let of = [format!("db:{instance}"), "snapshot:fargate-deploy-*".to_owned()];
        let of = of.map(|resource| granted.arn("rds", &resource));
        all.push(Statement::new("Snapshot", &["rds:CreateDBSnapshot", "rds:DescribeDBSnapshots"], of));
    }
    all.retain(|statement| !statement.resources.is_empty());
    all
}

/// What `exec` calls. The last two may be missing: the task role is not looked at beforehand, a lost connection stays lost.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html>
#[must_use]
pub fn of_exec(granted: &Granted<'_>) -> Vec<Statement> {
    let role = |definition: &&TaskDefinition| task_role(definition).map(str::to_owned);
    let mut all = vec![
        Statement::new("WithoutResource", &["ecs:DescribeTaskDefinition"], anything()),
        Statement::new("Execute", &["ecs:ExecuteCommand"], granted.tasks().into_iter().chain(granted.clusters())),
        Statement::new("SeeTasks", &["ecs:DescribeTasks"], granted.tasks()),
        Statement::new("ListTasks", &["ecs:ListTasks"], anything()).only_where(granted.in_clusters()),
        Statement::new(
            "LookAtTaskRoles",
            &["iam:SimulatePrincipalPolicy"],
            granted.definitions().filter_map(|d| role(&d)),
        ),
        Statement::new("ResumeSessions", &["ssm:ResumeSession"], [granted.arn("ssm", "session/ecs-execute-command-*")]),
    ];
    all.retain(|statement| !statement.resources.is_empty());
    all
}

/// What the role of a task needs so that `exec` gets into its containers: on every resource, since IAM knows none for them.
#[must_use]
pub fn of_task_role() -> Vec<Statement> {
    vec![Statement::new("ExecAgent", &TASK_ROLE_ACTIONS, ["*".to_owned()])]
}

const PUSH: &[&str] = &[
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImages",
    "ecr:DescribeRepositories",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
];

const ROLL_OUT: &[&str] = &[
    "ecs:DescribeServices",
    "ecs:UpdateService",
    "ecs:ListServiceDeployments",
    "ecs:DescribeServiceDeployments",
    "ecs:DescribeServiceRevisions",
    "ecs:StopServiceDeployment",
];

const LEASE: &[&str] = &["ssm:GetParametersByPath", "ssm:PutParameter", "ssm:DeleteParameter"];

fn anything() -> [String; 1] {
    ["*".to_owned()]
}

fn created_by(actions: &[&str]) -> Value {
    json!({"StringEquals": {"ecs:CreateAction": actions}})
}

fn for_tasks() -> Value {
    json!({"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}})
}

fn roles<'a>(definitions: impl Iterator<Item = &'a TaskDefinition>) -> BTreeSet<String> {
    definitions.flat_map(TaskDefinition::roles).map(str::to_owned).collect()
}

impl Granted<'_> {
    fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", partition(self.region), self.region, self.account)
    }

    /// Those in ECR, by their ARN.
    fn repositories(&self) -> Vec<(String, &BuildConfig)> {
        let of = |build: &BuildConfig| {
            let reference = ImageRef::parse(&build.repository).ok()?;
            let name = format!("repository/{}", reference.repository);
            match reference.ecr() {
                Some(host) => {
                    Some(format!("arn:{}:ecr:{}:{}:{name}", partition(&host.region), host.region, host.account))
                }
                // A bare name is one of this account.
                None if build.repository == reference.repository => Some(self.arn("ecr", &name)),
                None => None,
            }
        };
        let builds = self.config.images.iter().filter_map(|image| match &image.source {
            ImageSource::Build(build) => Some(build.as_ref()),
            ImageSource::Existing(_) => None,
        });
        builds.filter_map(|build| Some((of(build)?, build))).collect()
    }

    /// The families that are registered: those of services, and those that release commands run from.
    fn families(&self) -> BTreeSet<String> {
        let mut families: BTreeSet<_> =
            self.services.iter().map(|(_, definition)| definition.family().to_owned()).collect();
        for command in &self.config.release {
            let own = self.commands.iter().find(|(of, _)| of.name == command.name).map(|(_, definition)| *definition);
            if let Some(own) = own {
                families.insert(own.family().to_owned());
                continue;
            }
            let Some((service, definition)) = self.services.iter().find(|(s, _)| s.key == command.service) else {
                continue;
            };
            let first = || service.containers.first()?.0.clone();
            let container = command.container.clone().or_else(first).or_else(|| definition.sole_container());
            let derived = container.and_then(|container| one_off(definition, &container, &command.name));
            families.extend(derived.map(|derived| derived.family().to_owned()));
        }
        families
    }

    /// The names of the clusters.
    fn cluster_names(&self) -> BTreeSet<String> {
        self.config.services.iter().map(|s| short(s.cluster.as_str()).to_owned()).collect()
    }

    fn of_clusters(&self, service: &str, resource: impl Fn(&str) -> String) -> Vec<String> {
        self.cluster_names().iter().map(|cluster| self.arn(service, &resource(cluster))).collect()
    }

    fn clusters(&self) -> Vec<String> {
        self.of_clusters("ecs", |cluster| format!("cluster/{cluster}"))
    }

    fn in_clusters(&self) -> Value {
        json!({"ArnEquals": {"ecs:cluster": self.clusters()}})
    }

    fn tasks(&self) -> Vec<String> {
        self.of_clusters("ecs", |cluster| format!("task/{cluster}/*"))
    }

    fn leases(&self) -> Vec<String> {
        self.of_clusters("ssm", |cluster| format!("parameter/fargate-deploy/{cluster}/*"))
    }

    fn streams(&self) -> impl Iterator<Item = String> {
        self.log_groups().into_iter().map(|group| self.arn("logs", &format!("log-group:{group}:log-stream:*")))
    }

    fn log_groups(&self) -> BTreeSet<String> {
        let of = |definition: &TaskDefinition| -> Vec<String> {
            let destination = |name: &str| definition.log_destination(&name.into()).map(|(group, ..)| group);
            definition.containers().filter_map(|container| destination(container_name(container))).collect()
        };
        self.definitions().flat_map(of).collect()
    }

    fn definitions(&self) -> impl Iterator<Item = &TaskDefinition> {
        let of_services = self.services.iter().map(|(_, definition)| *definition);
        of_services.chain(self.commands.iter().map(|(_, definition)| *definition))
    }

    fn services_and_their_history(&self) -> BTreeSet<String> {
        let of = |service: &ServiceConfig| {
            let name = format!("{}/{}", short(service.cluster.as_str()), short(service.name.as_str()));
            let arn = |resource: String| self.arn("ecs", &resource);
            [
                arn(format!("service/{name}")),
                arn(format!("service-deployment/{name}/*")),
                arn(format!("service-revision/{name}/*")),
            ]
        };
        self.config.services.iter().flat_map(of).collect()
    }
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("eusc-") => "aws-eusc",
        region if region.starts_with("us-iso-") => "aws-iso",
        region if region.starts_with("us-isob-") => "aws-iso-b",
        region if region.starts_with("eu-isoe-") => "aws-iso-e",
        region if region.starts_with("us-isof-") => "aws-iso-f",
        _ => "aws",
    }
}
