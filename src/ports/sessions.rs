//! Sessions in running containers.

use super::Call;
use async_trait::async_trait;
use fargate_deploy_core::exec::ExecTask;
use fargate_deploy_core::names::{ClusterName, ContainerName, TaskArn};
use fargate_deploy_core::redact::Secret;
use std::collections::BTreeMap;

/// ECS Exec: sessions in running containers. None of these calls is made twice but where that does nothing.
#[async_trait(?Send)]
pub trait Sessions {
    /// `ecs:DescribeTasks`: those that are missing are left out.
    async fn exec_tasks(&self, cluster: &ClusterName, tasks: &[TaskArn]) -> Call<Vec<ExecTask>>;
    /// `ecs:ExecuteCommand`. Once: a command whose answer was lost may run.
    async fn execute_command(&self, command: &ExecuteCommand) -> Call<ExecSession>;
    /// `ssm:ResumeSession`: the next token of a session whose connection was lost. `None`: it is over.
    async fn resume_session(&self, session: &str) -> Call<Option<Secret>>;
    /// The WebSocket of a session, its HTTP upgrade signed and done.
    async fn data_channel(&self, url: &str) -> Call<Box<dyn fargate_deploy_session::Stream>>;
    /// `kms:GenerateDataKey` of 64 bytes: encrypted, and in the clear.
    async fn data_key(&self, key: &str, context: &BTreeMap<String, String>) -> Call<(String, Secret<Vec<u8>>)>;
    /// `iam:SimulatePrincipalPolicy`: those of the actions that a role is not allowed on every resource.
    async fn denied_actions(&self, role: &str, actions: &[&str]) -> Call<Vec<String>>;
    /// What another program needs to act as this session.
    async fn environment(&self) -> Call<Vec<(String, Secret)>>;
    /// Where Systems Manager is called.
    fn ssm_endpoint(&self) -> String;
}

/// A command for a container that runs.
#[derive(Clone, Debug)]
pub struct ExecuteCommand {
    pub cluster: ClusterName,
    pub task: TaskArn,
    pub container: ContainerName,
    /// Split into words by the agent, which starts no shell.
    pub command: String,
}

/// A session that AWS opened. Whoever has its token types into the container.
#[derive(Clone, Debug)]
pub struct ExecSession {
    pub id: String,
    pub stream_url: String,
    pub token: Secret,
}
