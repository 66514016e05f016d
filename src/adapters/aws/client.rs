//! The ports of [`Aws`] on AWS. The calls are in one file per service; this one joins them.

use super::failure::{is_about_clock, is_expired, lost, no_session};
use super::session::Session;
use crate::ports::{
    Aws, Call, CallError, CallErrorKind, Caller, DatabaseSnapshot, EcrAddress, Identity, LogEvent, LogPage, LogStream,
    Logs, Outputs, Parameter, Parameters, RegistryImage, RegistryLogin, Repositories, Repository, RunTask,
    RunTaskAnswer, Services, Snapshots, TaskDefinitions, Tasks,
};
use crate::retry::{Again, retry};
use async_trait::async_trait;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::names::{
    ClusterName, ServiceDeploymentArn, ServiceRef, ServiceRevisionArn, TaskArn, TaskDefinitionArn,
};
use fargate_deploy_core::service::{Service, ServiceDeployment, ServiceRevision};
use fargate_deploy_core::task::Task;
use fargate_deploy_core::task_definition::TaskDefinition;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// AWS, through one session. The SDK makes one attempt of each call; how often it is made again is [`retry`]'s.
#[derive(Clone)]
pub struct AwsClient {
    pub(super) session: Session,
    pub(super) ecs: aws_sdk_ecs::Client,
    pub(super) ssm: aws_sdk_ssm::Client,
}

impl AwsClient {
    pub fn new(session: Session) -> Self {
        let mut ecs = aws_sdk_ecs::config::Builder::from(session.config());
        if let Some(endpoint) = session.endpoint("ECS") {
            ecs = ecs.endpoint_url(endpoint);
        }
        let mut ssm = aws_sdk_ssm::config::Builder::from(session.config());
        if let Some(endpoint) = session.endpoint("SSM") {
            ssm = ssm.endpoint_url(endpoint);
        }
        Self {
            ecs: aws_sdk_ecs::Client::from_conf(ecs.build()),
            ssm: aws_sdk_ssm::Client::from_conf(ssm.build()),
            session,
        }
    }

    /// Every port of a release.
    pub fn ports(&self) -> Aws<'_> {
        Aws::of(self)
    }

    /// Makes a call that may be made twice, until AWS has answered it.
    pub(super) async fn call<T>(&self, action: &'static str, send: impl AsyncFn() -> Call<T>) -> Call<T> {
        self.repeat(action, send, CallError::may_pass).await
    }

    /// Makes a call that must not be made twice: again only where AWS says that it did nothing.
    pub(super) async fn call_once<T>(&self, action: &'static str, send: impl AsyncFn() -> Call<T>) -> Call<T> {
        self.repeat(action, send, |error| error.kind == CallErrorKind::Throttled).await
    }

    async fn repeat<T>(
        &self,
        action: &'static str,
        send: impl AsyncFn() -> Call<T>,
        may_pass: impl Fn(&CallError) -> bool,
    ) -> Call<T> {
        // On the heap: what awaits a call is nested deeply enough without it.
        let attempt = |limit| Box::pin(self.attempt(action, &send, limit));
        let again = |error: &CallError| if may_pass(error) { Again::Soon } else { Again::Never };
        retry(self.session.retry_policy(), attempt, again).await
    }

    /// One attempt, and one more with a fresh session when AWS says that the one in use has expired, or with AWS's time when
    /// it says that ours is wrong: the SDK has learned it from the answer.
    async fn attempt<T>(&self, action: &'static str, send: &impl AsyncFn() -> Call<T>, limit: Duration) -> Call<T> {
        let credentials = self.session.credentials();
        let send = async || match timeout(limit, send()).await {
            Ok(answer) => answer,
            Err(_) => Err(lost(action, "no answer in time")),
        };
        // Renewed before the attempt's own time begins to run.
        credentials.credentials().await.map_err(|why| no_session(action, &why))?;
        let generation = credentials.generation().await;
        match send().await {
            Err(error) if error.kind == CallErrorKind::Identity && is_expired(&error.code) => {
                credentials.refuse(generation).await;
                credentials.credentials().await.map_err(|why| no_session(action, &why))?;
                send().await
            }
            Err(error) if is_about_clock(&error.code) => send().await,
            answer => answer,
        }
    }
}

#[async_trait(?Send)]
impl Identity for AwsClient {
    async fn caller(&self) -> Call<Caller> {
        self.get_caller().await
    }

    fn region(&self) -> &str {
        self.session.region()
    }
}

#[async_trait(?Send)]
impl Services for AwsClient {
    async fn services(&self, services: &[ServiceRef]) -> Call<Vec<Option<Service>>> {
        self.describe_services(services).await
    }

    async fn update_service(&self, service: &ServiceRef, to: &TaskDefinitionArn, force: bool) -> Call<Service> {
        self.point_service(service, to, force).await
    }

    async fn service_deployments(&self, service: &ServiceRef, since: f64) -> Call<Vec<ServiceDeploymentArn>> {
        self.list_service_deployments(service, since).await
    }

    async fn service_deployment(&self, arn: &ServiceDeploymentArn) -> Call<Option<ServiceDeployment>> {
        let found = self.describe_service_deployments(std::slice::from_ref(arn)).await?;
        Ok(found.into_iter().next().flatten())
    }

    async fn service_deployments_by_arn(&self, arns: &[ServiceDeploymentArn]) -> Call<Vec<Option<ServiceDeployment>>> {
        self.describe_service_deployments(arns).await
    }

    async fn service_revision(&self, arn: &ServiceRevisionArn) -> Call<Option<ServiceRevision>> {
        self.describe_service_revision(arn).await
    }

    async fn stop_service_deployment(&self, arn: &ServiceDeploymentArn) -> Call<()> {
        self.roll_back_service_deployment(arn).await
    }
}

#[async_trait(?Send)]
impl TaskDefinitions for AwsClient {
    async fn task_definition(&self, name: &str) -> Call<TaskDefinition> {
        self.describe_task_definition(name).await
    }

    async fn register(&self, task_definition: &TaskDefinition) -> Call<TaskDefinitionArn> {
        self.register_task_definition(task_definition).await
    }
}

#[async_trait(?Send)]
impl Tasks for AwsClient {
    async fn run_task(&self, request: &RunTask) -> Call<RunTaskAnswer> {
        self.run_one_task(request).await
    }

    async fn tasks(&self, cluster: &ClusterName, tasks: &[TaskArn]) -> Call<Vec<Task>> {
        self.describe_tasks(cluster, tasks).await
    }

    async fn tasks_started_by(&self, cluster: &ClusterName, started_by: &str) -> Call<Vec<TaskArn>> {
        self.list_tasks_started_by(cluster, started_by).await
    }

    async fn stopped_tasks(&self, service: &ServiceRef) -> Call<Vec<TaskArn>> {
        self.list_tasks_of(service, "STOPPED").await
    }

    async fn running_tasks(&self, service: &ServiceRef) -> Call<Vec<TaskArn>> {
        self.list_tasks_of(service, "RUNNING").await
    }
}

#[async_trait(?Send)]
impl Logs for AwsClient {
    async fn log_events(&self, stream: &LogStream, after: Option<&str>) -> Call<LogPage> {
        self.read_log(stream, after).await
    }

    async fn log_tail(&self, stream: &LogStream, lines: usize) -> Call<Vec<LogEvent>> {
        self.read_log_tail(stream, lines).await
    }
}

#[async_trait(?Send)]
impl Repositories for AwsClient {
    async fn repository(&self, registry: Option<&EcrAddress>, name: &str) -> Call<Option<Repository>> {
        self.describe_repository(registry, name).await
    }

    async fn create_repository(&self, registry: Option<&EcrAddress>, name: &str) -> Call<Repository> {
        self.make_repository(registry, name).await
    }

    async fn registry_login(&self, registry: Option<&EcrAddress>) -> Call<RegistryLogin> {
        self.log_in(registry).await
    }

    async fn image(&self, repository: &Repository, reference: &str) -> Call<Option<RegistryImage>> {
        self.describe_image(repository, reference).await
    }

    async fn is_pullable(&self, repository: &Repository, digest: &Digest) -> Call<bool> {
        self.has_manifest(repository, digest).await
    }

    async fn tag_image(&self, repository: &Repository, digest: &Digest, tag: &str) -> Call<()> {
        self.put_tag(repository, digest, tag).await
    }
}

#[async_trait(?Send)]
impl Parameters for AwsClient {
    async fn create_parameter(&self, name: &str, value: &str) -> Call<()> {
        self.claim_parameter(name, value).await
    }

    async fn put_parameter(&self, name: &str, value: &str) -> Call<()> {
        self.overwrite_parameter(name, value).await
    }

    async fn parameters_under(&self, path: &str) -> Call<Vec<(String, String)>> {
        self.get_parameters_by_path(path).await
    }

    async fn delete_parameter(&self, name: &str) -> Call<()> {
        self.remove_parameter(name).await
    }

    async fn parameter(&self, name: &str) -> Call<Option<Parameter>> {
        self.get_parameter(name).await
    }
}

#[async_trait(?Send)]
impl Snapshots for AwsClient {
    async fn create_snapshot(&self, instance: &str, snapshot: &str) -> Call<()> {
        self.create_db_snapshot(instance, snapshot).await
    }

    async fn snapshot(&self, snapshot: &str) -> Call<Option<DatabaseSnapshot>> {
        self.describe_db_snapshot(snapshot).await
    }
}

#[async_trait(?Send)]
impl Outputs for AwsClient {
    async fn stack_outputs(&self, stack: &str) -> Call<Option<BTreeMap<String, String>>> {
        self.describe_stack(stack).await
    }

    async fn object(&self, bucket: &str, key: &str) -> Call<Option<Vec<u8>>> {
        self.get_object(bucket, key).await
    }
}
