//! What the program does beyond this machine, on one page, in domain types only. The adapters implement these against AWS, the
//! Docker Engine, GitHub and HTTP; the tests implement them by hand and record the calls.

mod sessions;
mod tasks;

pub use sessions::{ExecSession, ExecuteCommand, Sessions};
pub use tasks::{FoundEvent, FoundEvents, LogEvent, LogPage, LogQuery, LogStream, RunTask, RunTaskAnswer};

use crate::config::BuildConfig;
use crate::events::BuildStepState;
use crate::out_of_reach::OutOfReach;
use async_trait::async_trait;
use fargate_deploy_core::cause::{SeenTarget, TargetCheck, WayOut};
use fargate_deploy_core::comment::{Comment, Viewer};
use fargate_deploy_core::github_deployment::{DeploymentStatus, NewDeployment};
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::names::{
    ClusterName, ServiceDeploymentArn, ServiceRef, ServiceRevisionArn, TaskArn, TaskDefinitionArn,
};
use fargate_deploy_core::plan::offline::ContextFacts;
use fargate_deploy_core::redact::Secret;
use fargate_deploy_core::service::{Service, ServiceDeployment, ServiceRevision};
use fargate_deploy_core::task::Task;
use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_core::verify::network::VpcEndpoint;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A call that did not give what was asked for, sorted by what a caller can do about it.
#[derive(Clone, Debug)]
pub struct CallError {
    /// `ecs:UpdateService`, as IAM names it.
    pub action: String,
    pub kind: CallErrorKind,
    /// The service's own code, e.g. `ThrottlingException`, or `HTTP 503` without one; empty when no answer came.
    pub code: String,
    pub message: String,
    pub request_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallErrorKind {
    /// The caller lacks the permission named by `action` (or by the message).
    Denied,
    /// The session ended and could not be renewed, or there are no credentials.
    Identity,
    /// Still throttled after the retries.
    Throttled,
    NotFound,
    /// The state of the world forbids it (ConflictException, ServiceNotActive, immutable tag ...).
    Conflict,
    /// The request itself is wrong (InvalidParameter, ClientException, validation).
    Invalid,
    /// No answer in time, lost connections, 5xx: what the call did is unknown.
    Unreachable,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code.as_str() {
            "" => write!(f, "{}: {}", self.action, self.message),
            code => write!(f, "{}: {code}: {}", self.action, self.message),
        }
    }
}

impl std::error::Error for CallError {}

impl CallError {
    /// No answer came: what the call did is not known.
    pub fn lost(action: &str, why: impl Into<String>) -> Self {
        Self {
            action: action.to_owned(),
            kind: CallErrorKind::Unreachable,
            code: String::new(),
            message: why.into(),
            request_id: None,
        }
    }

    /// As opposed to: no answer came at all.
    pub fn is_answered(&self) -> bool {
        !self.code.is_empty()
    }

    /// Why no repetition reaches who was called, where that is known.
    pub(crate) fn out_of_reach(&self) -> Option<OutOfReach> {
        OutOfReach::of(&self.message).filter(|_| !self.is_answered())
    }

    /// The next time it may be well: AWS could not do it just then.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, CallErrorKind::Throttled | CallErrorKind::Unreachable)
    }
}

pub type Call<T> = Result<T, CallError>;

/// Who we are on AWS.
#[derive(Clone, Debug)]
pub struct Caller {
    pub arn: String,
}

/// AWS, as far as a release needs it: one port a service. Every call has a timeout, and is repeated as
/// [`crate::retry`] says.
#[derive(Clone, Copy)]
pub struct Aws<'a> {
    pub identity: &'a dyn Identity,
    pub services: &'a dyn Services,
    pub task_definitions: &'a dyn TaskDefinitions,
    pub tasks: &'a dyn Tasks,
    pub logs: &'a dyn Logs,
    pub repositories: &'a dyn Repositories,
    pub parameters: &'a dyn Parameters,
    pub snapshots: &'a dyn Snapshots,
    pub outputs: &'a dyn Outputs,
    pub surroundings: &'a dyn Surroundings,
}

impl<'a> Aws<'a> {
    /// Every port on one client.
    pub fn of<C>(client: &'a C) -> Self
    where
        C: Identity
            + Services
            + TaskDefinitions
            + Tasks
            + Logs
            + Repositories
            + Parameters
            + Snapshots
            + Outputs
            + Surroundings,
    {
        Self {
            identity: client,
            services: client,
            task_definitions: client,
            tasks: client,
            logs: client,
            repositories: client,
            parameters: client,
            snapshots: client,
            outputs: client,
            surroundings: client,
        }
    }
}

/// Who we are on AWS, and where.
#[async_trait(?Send)]
pub trait Identity {
    /// `sts:GetCallerIdentity`.
    async fn caller(&self) -> Call<Caller>;
    /// The region that calls go to.
    fn region(&self) -> &str;
}

/// Amazon ECS: services and their deployments.
#[async_trait(?Send)]
pub trait Services {
    /// `ecs:DescribeServices`, ten a call. A service that does not exist is `None`, in the order asked.
    async fn services(&self, services: &[ServiceRef]) -> Call<Vec<Option<Service>>>;
    /// Returns when AWS's limits let the next update go out: what is read before it is read after that.
    async fn update_turn(&self) {}
    /// `ecs:UpdateService` with a task definition and nothing else but `forceNewDeployment`: the state right after.
    async fn update_service(&self, service: &ServiceRef, to: &TaskDefinitionArn, force: bool) -> Call<Service>;
    /// `ecs:ListServiceDeployments` since that many seconds after the epoch, newest first.
    async fn service_deployments(&self, service: &ServiceRef, since: f64) -> Call<Vec<ServiceDeploymentArn>>;
    /// `ecs:DescribeServiceDeployments`: `None` when it is missing.
    async fn service_deployment(&self, arn: &ServiceDeploymentArn) -> Call<Option<ServiceDeployment>> {
        Ok(self.service_deployments_by_arn(std::slice::from_ref(arn)).await?.pop().flatten())
    }
    /// The same of many, in the order in which they were asked for.
    async fn service_deployments_by_arn(&self, arns: &[ServiceDeploymentArn]) -> Call<Vec<Option<ServiceDeployment>>>;
    /// `ecs:DescribeServiceRevisions`.
    async fn service_revision(&self, arn: &ServiceRevisionArn) -> Call<Option<ServiceRevision>> {
        Ok(self.service_revisions(std::slice::from_ref(arn)).await?.pop().flatten())
    }
    /// The same of many, in the order in which they were asked for.
    async fn service_revisions(&self, arns: &[ServiceRevisionArn]) -> Call<Vec<Option<ServiceRevision>>>;
    /// `ecs:StopServiceDeployment` with `ROLLBACK`, the only documented stop type.
    async fn stop_service_deployment(&self, arn: &ServiceDeploymentArn) -> Call<()>;
    /// `ecs:ContinueServiceDeployment` of a deployment that waits at a PAUSE hook: `goes_on`, or goes back.
    async fn continue_service_deployment(&self, arn: &ServiceDeploymentArn, hook: &str, goes_on: bool) -> Call<()>;
}

/// Amazon ECS: task definitions.
#[async_trait(?Send)]
pub trait TaskDefinitions {
    /// `ecs:DescribeTaskDefinition` with tags: `NotFound` when there is none. Takes an ARN, `family:revision` or a family.
    async fn task_definition(&self, name: &str) -> Call<TaskDefinition>;
    /// `ecs:RegisterTaskDefinition`: the JSON arrives as it is, unknown members included.
    async fn register(&self, task_definition: &TaskDefinition) -> Call<TaskDefinitionArn>;
    /// `ecs:DeregisterTaskDefinition`: the revision is `INACTIVE` then. What runs of it runs on.
    async fn deregister(&self, revision: &TaskDefinitionArn) -> Call<()>;
}

/// Amazon ECS: tasks.
#[async_trait(?Send)]
pub trait Tasks {
    /// `ecs:RunTask`, one task. `failures[]` of an HTTP 200 come back as values.
    async fn run_task(&self, request: &RunTask) -> Call<RunTaskAnswer>;
    /// `ecs:StopTask`: its containers get SIGTERM, and SIGKILL when their `stopTimeout` is over. One that has stopped stays so.
    async fn stop_task(&self, cluster: &ClusterName, task: &TaskArn, reason: &str) -> Call<()>;
    /// `ecs:DescribeTasks`: tasks that are missing (right after RunTask, or an hour after they stopped) are left out.
    async fn tasks(&self, cluster: &ClusterName, tasks: &[TaskArn]) -> Call<Vec<Task>>;
    /// `ecs:ListTasks` with `startedBy` as the only filter: tasks not yet asked to stop.
    async fn tasks_started_by(&self, cluster: &ClusterName, started_by: &str) -> Call<Vec<TaskArn>>;
    /// `ecs:ListTasks` with `desiredStatus=STOPPED` of one service, any deployment.
    async fn stopped_tasks(&self, service: &ServiceRef) -> Call<Vec<TaskArn>>;
    /// `ecs:ListTasks` with `desiredStatus=STOPPED` of one family: those that stop, and those that stopped in the last hour.
    async fn stopped_tasks_of_family(&self, cluster: &ClusterName, family: &str) -> Call<Vec<TaskArn>>;
    /// `ecs:ListTasks` of one service, those that should run.
    async fn running_tasks(&self, service: &ServiceRef) -> Call<Vec<TaskArn>>;
}

/// CloudWatch Logs.
#[async_trait(?Send)]
pub trait Logs {
    /// `logs:GetLogEvents` from the head of a stream; `NotFound` until the stream exists.
    async fn log_events(&self, stream: &LogStream, after: Option<&str>) -> Call<LogPage>;
    /// `logs:GetLogEvents`, the newest lines of a stream, oldest first: before that time, in milliseconds since the epoch, where
    /// one is given.
    async fn log_tail(&self, stream: &LogStream, lines: usize, before: Option<i64>) -> Call<Vec<LogEvent>>;
    /// `logs:FilterLogEvents`, a page of it: `NotFound` where a stream does not exist. A page can be empty although more follow.
    async fn find_log_events(&self, query: &LogQuery, after: Option<&str>) -> Call<FoundEvents>;
}

/// Amazon ECR.
#[async_trait(?Send)]
pub trait Repositories {
    /// `ecr:DescribeRepositories`: `None` when it does not exist.
    async fn repository(&self, registry: Option<&EcrAddress>, name: &str) -> Call<Option<Repository>>;
    /// `ecr:CreateRepository` with scan on push.
    async fn create_repository(&self, registry: Option<&EcrAddress>, name: &str) -> Call<Repository>;
    /// `ecr:GetAuthorizationToken`, in the registry's own region. Kept in memory only.
    async fn registry_login(&self, registry: Option<&EcrAddress>) -> Call<RegistryLogin>;
    /// `ecr:DescribeImages` by tag or digest: `None` when there is no such image, or no repository.
    async fn image(&self, repository: &Repository, reference: &str) -> Call<Option<RegistryImage>>;
    /// `ecr:BatchGetImage`, as a pull asks: whether that very image is there. `Denied`: it could not be pulled as us.
    async fn is_pullable(&self, repository: &Repository, digest: &Digest) -> Call<bool>;
    /// `ecr:BatchGetImage`, and for an image that is no index `ecr:GetDownloadUrlForLayer` and what is there: `linux/arm64`, the
    /// only platform that it is built for. `None` where there are several, or none is told.
    async fn only_platform(&self, repository: &Repository, digest: &Digest) -> Call<Option<String>>;
    /// `ecr:BatchGetImage` + `ecr:PutImage`: another tag on the same manifest bytes.
    async fn tag_image(&self, repository: &Repository, digest: &Digest, tag: &str) -> Call<()>;
}

/// SSM Parameter Store.
#[async_trait(?Send)]
pub trait Parameters {
    /// `ssm:PutParameter` with `Overwrite=false`: `Conflict` when it exists. Atomic.
    async fn create_parameter(&self, name: &str, value: &str) -> Call<()>;
    /// Returns when AWS's limits let the next write go out: what is measured from its sending is measured from then.
    async fn write_turn(&self) {}
    /// `ssm:PutParameter` with `Overwrite=true`.
    async fn put_parameter(&self, name: &str, value: &str) -> Call<()>;
    /// `ssm:GetParametersByPath`, all pages: name and value.
    async fn parameters_under(&self, path: &str) -> Call<Vec<(String, String)>>;
    /// `ssm:DeleteParameter`; deleting what is gone is fine.
    async fn delete_parameter(&self, name: &str) -> Call<()>;
    /// `ssm:GetParameter` without decryption: `None` when there is none.
    async fn parameter(&self, name: &str) -> Call<Option<Parameter>>;
}

/// Amazon RDS: snapshots of instances.
#[async_trait(?Send)]
pub trait Snapshots {
    /// `rds:CreateDBSnapshot`: `Conflict` when there is one of this name already, `NotFound` without such an instance.
    async fn create_snapshot(&self, instance: &str, snapshot: &str) -> Call<()>;
    /// `rds:DescribeDBSnapshots` of one: `None` when it is not known (yet).
    async fn snapshot(&self, snapshot: &str) -> Call<Option<DatabaseSnapshot>>;
}

/// What other tools left in AWS: CloudFormation's outputs and objects in S3.
#[async_trait(?Send)]
pub trait Outputs {
    /// `cloudformation:DescribeStacks`: the outputs of a stack, `None` when there is no such stack.
    async fn stack_outputs(&self, stack: &str) -> Call<Option<BTreeMap<String, String>>>;
    /// `s3:GetObject`: `None` when there is none. At most 64 MiB.
    async fn object(&self, bucket: &str, key: &str) -> Call<Option<Vec<u8>>>;
}

/// What is around a task, for whoever explains why it failed or looks whether it could start again. A role may lack each of
/// these permissions, and nothing else depends on them.
#[async_trait(?Send)]
pub trait Surroundings {
    /// `elasticloadbalancing:DescribeTargetHealth` of one target group.
    async fn target_health(&self, target_group: &str) -> Call<Vec<SeenTarget>>;
    /// `elasticloadbalancing:DescribeTargetGroups`: how one checks its targets. `None` when there is none.
    async fn target_check(&self, target_group: &str) -> Call<Option<TargetCheck>>;
    /// `ec2:DescribeSubnets`.
    async fn subnets(&self, ids: &[String]) -> Call<Vec<Subnet>>;
    /// `ec2:DescribeRouteTables` of a VPC.
    async fn route_tables(&self, vpc: &str) -> Call<Vec<RouteTable>>;
    /// `iam:GetRole`: whether there is a role of this name.
    async fn has_role(&self, name: &str) -> Call<bool>;
    /// `secretsmanager:DescribeSecret`, in the secret's own region: whether it is there, and not about to be deleted. No value is
    /// read.
    async fn has_secret(&self, arn: &str) -> Call<bool>;
    /// `ssm:ListTagsForResource`, which answers of parameters that are there, and reads no value: whether this one is.
    async fn has_parameter(&self, name: &str) -> Call<bool>;
}

/// What a deploy needs and does not ask for itself: `verify` and `policy --check` look at it. A role may lack each of these
/// permissions.
#[async_trait(?Send)]
pub trait Preconditions {
    /// `cloudwatch:DescribeAlarms`: name and state (`OK`, `ALARM`, `INSUFFICIENT_DATA`) of those that there are.
    async fn alarms(&self, names: &[String]) -> Call<Vec<(String, String)>>;
    /// `ec2:DescribeVpcEndpoints` of a VPC.
    async fn vpc_endpoints(&self, vpc: &str) -> Call<Vec<VpcEndpoint>>;
    /// `ecr:GetLifecyclePolicy`: its text, `None` where there is none.
    async fn lifecycle_policy(&self, repository: &Repository) -> Call<Option<String>>;
    /// `logs:DescribeLogGroups`: whether that very group is there.
    async fn has_log_group(&self, name: &str, region: Option<&str>) -> Call<bool>;
    /// `iam:GetRole`: whom it trusts. `None` when there is no such role.
    async fn trust_of_role(&self, name: &str) -> Call<Option<Value>>;
    /// `iam:ListRolePolicies`, `iam:GetRolePolicy`, `iam:ListAttachedRolePolicies`, `iam:GetPolicy`, `iam:GetPolicyVersion`: the
    /// documents of all policies of a role, by name.
    async fn policies_of_role(&self, name: &str) -> Call<Vec<(String, Value)>>;
}

/// A subnet as EC2 describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnet {
    pub id: String,
    pub vpc: String,
    pub free_addresses: Option<u64>,
}

/// A route table: where everything goes that has no route of its own, and for which subnets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    pub id: String,
    /// For every subnet that no other table names.
    pub is_main: bool,
    pub subnets: Vec<String>,
    pub way_out: WayOut,
}

/// A parameter's value, where it is none of our business not to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    Plain(String),
    /// A `SecureString`: its value never gets this far.
    Secure,
}

/// How far a snapshot of a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSnapshot {
    /// `creating`, `available`, `failed`.
    pub status: String,
    pub percent: Option<u64>,
}

/// A registry in another account or region than the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrAddress {
    pub account: String,
    pub region: String,
}

/// An ECR repository.
#[derive(Clone, Debug)]
pub struct Repository {
    pub registry_id: String,
    pub region: Option<String>,
    pub name: String,
    /// `HOST/NAME`: what images are called in task definitions.
    pub uri: String,
    /// Tags can't be moved (`IMMUTABLE`, with or without exclusions).
    pub is_immutable: bool,
}

#[derive(Clone, Debug)]
pub struct RegistryLogin {
    /// `HOST[:PORT]` of the registry, without scheme.
    pub host: String,
    pub username: String,
    pub password: Secret,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RegistryImage {
    pub digest: Digest,
    pub tags: Vec<String>,
    /// `ACTIVE`; archived images exist and cannot be pulled.
    pub is_active: bool,
    /// `linux/arm64`, where the manifest's config could be read.
    pub platform: Option<String>,
}

/// The Docker Engine.
#[async_trait(?Send)]
pub trait Builder {
    /// Answers or says how to get an Engine. Called only when something must be built or pushed.
    async fn platform(&self) -> Result<String, BuildFailure>;
    /// Builds and loads one image into the Engine.
    async fn build(&self, request: &Build, tell: &dyn Fn(BuildProgress)) -> Result<LocalImage, BuildFailure>;
    /// Pushes an image under `HOST/NAME:TAG`, and answers the manifest's digest.
    async fn push(
        &self,
        image: &LocalImage,
        target: &str,
        login: Option<&RegistryLogin>,
        tell: &dyn Fn(PushProgress),
    ) -> Result<Digest, BuildFailure>;
    /// Content identity of what a build would read: context after `.dockerignore`, Dockerfile, arguments, target, platform.
    async fn content_digest(&self, request: &Build) -> Result<String, BuildFailure>;
    /// Content identity of the image that a build would make: its Dockerfile, what it names of the context, and so on.
    async fn content(&self, request: &Build) -> Result<Content, BuildFailure>;
    /// The stages of a build, by name or number, whose steps its image does not hold.
    async fn stages_beside(&self, request: &Build) -> Result<Vec<String>, BuildFailure>;
    /// Whether the builder itself leaves the steps of all stages under one reference, so that no stage has to be kept.
    fn writes_whole_cache(&self) -> bool {
        false
    }
    /// How large a build's context is; asks no Engine.
    async fn context(&self, request: &Build) -> Result<ContextFacts, BuildFailure>;
    /// The digest that a reference outside ECR stands for now, asked of its registry.
    async fn resolve(&self, reference: &str) -> Result<Digest, BuildFailure>;
}

/// What makes an image, as far as its files tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Equal digests are equal images where those that it reads, by reference, are equal too.
    Certain { digest: String, images: Vec<String> },
    /// Why the files do not tell, in one clause.
    Doubtful { why: String },
}

#[derive(Clone, Debug)]
pub struct Build {
    pub context: PathBuf,
    pub dockerfile: Option<PathBuf>,
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub secrets: Vec<(String, Secret)>,
    pub platform: Option<String>,
    /// References whose inline cache may be read.
    pub cache_from: Vec<String>,
    pub inline_cache: bool,
    /// The reference under which a builder that can leaves the steps of all stages.
    pub cache_to: Option<String>,
    /// Base images are taken as their registries have them now.
    pub pull: bool,
    /// Logins for private base images and caches, in memory only.
    pub logins: Vec<RegistryLogin>,
}

impl Build {
    /// What a configured build reads, without secrets, caches and logins: enough to know its content.
    pub fn of(config: &BuildConfig, platform: Option<String>) -> Self {
        Self {
            context: config.context.clone(),
            dockerfile: config.dockerfile.clone(),
            target: config.target.clone(),
            args: fargate_deploy_core::resolved::by_key(&config.args),
            labels: fargate_deploy_core::resolved::by_key(&config.labels),
            secrets: vec![],
            platform,
            cache_from: vec![],
            inline_cache: false,
            cache_to: None,
            pull: false,
            logins: vec![],
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct LocalImage {
    /// `sha256:...` of the image's config.
    pub id: String,
    /// `linux/arm64`.
    pub platform: String,
    /// A path that its build read of the context although [`Builder::content`] did not count it.
    pub read_beyond: Option<String>,
}

#[derive(Clone, Debug)]
pub enum BuildProgress {
    /// A step of the Dockerfile ended.
    Step {
        name: String,
        state: BuildStepState,
    },
    Warning(String),
    /// Bytes of the context so far.
    Sent {
        bytes: u64,
    },
    /// Output of a RUN: never trusted.
    Output(String),
}

#[derive(Clone, Debug)]
pub enum PushProgress {
    /// Bytes so far and in all; 0 where the Engine does not say.
    Layer {
        layer: String,
        status: String,
        bytes: u64,
        total: u64,
    },
    Retried {
        attempt: u32,
        error: String,
    },
}

/// Why an image is not there.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct BuildFailure {
    pub kind: BuildFailureKind,
    pub message: String,
    /// The failing step's last lines.
    pub log: Vec<String>,
    pub hint: Option<String>,
    /// Where in the Dockerfile.
    pub at: Option<(PathBuf, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildFailureKind {
    /// No Engine answers.
    Engine,
    Build,
    Push,
    /// The registry does not take the login of a push, or takes it no more.
    Login,
}

/// Plain HTTP, for smoke checks.
#[async_trait(?Send)]
pub trait Web {
    /// One GET: status and the first 64 KiB of the body, or why there was no answer.
    async fn get(&self, url: &str, timeout: Duration) -> Result<(u16, String), String>;
}

/// GitHub, about the repository of this run. Every call has a timeout and bounded retries of its own; a call that
/// creates something is sent again only where GitHub said that it did nothing, so its loss is `Unreachable`.
#[async_trait(?Send)]
pub trait GitHub {
    /// Who the token is, and which of these comments are minimized. GraphQL; where the token may not ask, it is taken
    /// for a job's own.
    async fn viewer(&self, comments: &[&Comment]) -> Call<Viewer>;
    /// Every comment on an issue or a pull request, all pages, oldest first. Not those on lines of its diff.
    async fn comments(&self, pull_request: u64) -> Call<Vec<Comment>>;
    async fn create_comment(&self, pull_request: u64, body: &str) -> Call<Comment>;
    async fn update_comment(&self, id: u64, body: &str) -> Call<()>;
    /// The pull requests that a commit belongs to, or that were merged as it.
    async fn pull_requests_of(&self, sha: &str) -> Call<Vec<PullRequest>>;
    /// A Deployment of a commit whatever its checks say, with task `deploy`: its id.
    async fn create_deployment(&self, deployment: &NewDeployment) -> Call<u64>;
    async fn set_deployment_status(&self, deployment: u64, status: &DeploymentStatus) -> Call<()>;
}

/// A pull request, as far as a comment needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    pub number: u64,
    pub is_open: bool,
    pub is_merged: bool,
    /// The commit that it was merged as.
    pub merged_as: Option<String>,
    /// The commit at its head.
    pub head: String,
    /// The branch that it wants to change.
    pub base: String,
}
