//! ECS Exec: ExecuteCommand, and the data channel of each session, with the command in the real container behind it.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html>

mod agent;
mod connection;
mod order;
mod wire;
mod words;

use super::task::{Status, TaskView};
use super::tasks::task_role;
use crate::api::{Caller, partition};
use crate::behavior::Behavior;
use crate::error::{AwsError, Reply};
use crate::iam::Iam;
use crate::policy::Context;
use crate::request::{flag, lock, random_hex, required, text};
use bollard::Docker;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

pub(crate) use connection::respond;

/// What the agent in a task calls as the task's role.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html#ecs-exec-required-iam-permissions>
const OF_TASK_ROLE: [&str; 4] = [
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
];

/// As many sessions as one container takes.
const MOST_PER_CONTAINER: usize = 2;

/// For the acknowledgements of all that may wait for one: with less, agent and service can wait for each other for ever.
const ROOM: usize = 4096;

/// One agent's side of a session: what the service hands over between it and whoever is connected.
struct Session {
    container: String,
    /// The newest; those before are void.
    token: Mutex<String>,
    /// To the agent: what a client sent.
    inward: mpsc::Sender<Vec<u8>>,
    /// To the client that is connected, if one is.
    outward: watch::Sender<Option<mpsc::Sender<Vec<u8>>>>,
}

/// Every session of the stage.
pub(crate) struct Sessions {
    engine: Docker,
    region: String,
    address: SocketAddr,
    behavior: Behavior,
    iam: Arc<Iam>,
    known: Mutex<HashMap<String, Arc<Session>>>,
    running: Mutex<Vec<AbortHandle>>,
}

impl Sessions {
    pub(crate) fn new(engine: Docker, region: &str, address: SocketAddr, behavior: Behavior, iam: Arc<Iam>) -> Self {
        Self {
            engine,
            region: region.to_owned(),
            address,
            behavior,
            iam,
            known: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// ExecuteCommand on a task that was found.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommand.html>
    pub(crate) fn execute(self: &Arc<Self>, task: &TaskView, body: &Value) -> Reply {
        let command = required(body, "command")?;
        if !flag(body, "interactive") {
            return Err(invalid("Interactive is the only mode supported currently."));
        }
        let name = match (text(body, "container"), task.containers.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => only.name.as_str(),
            (None, _) => return Err(invalid("Container name is required for tasks with multiple containers.")),
        };
        let container = task.containers.iter().find(|container| container.name == name);
        let container = container.ok_or_else(|| invalid("The specified container was not found in the task."))?;
        let running = container.container_id.clone().filter(|_| container.status == Status::Running);
        let (Some(id), true) = (running, task.spec.enable_execute_command && !task.is_read_only(name)) else {
            return Err(invalid(
                "The execute command failed because execute command was not enabled when the task was run or the execute command \
                 agent isn’t running. Wait and try again or run a new task with execute command enabled and try again.",
            ));
        };
        let not_connected =
            || target_not_connected("The execute command failed due to an internal error. Try again later.");
        if !self.agent_may_connect(task) {
            return Err(not_connected());
        }
        let open = lock(&self.known).values().filter(|session| session.container == id).count();
        if open >= MOST_PER_CONTAINER {
            return Err(not_connected());
        }
        let session_id = format!("ecs-execute-command-{}", random_hex(9));
        let token = random_hex(64);
        let (inward, from_client) = mpsc::channel(ROOM);
        let (outward, to_client) = watch::channel(None);
        let session = Arc::new(Session { container: id.clone(), token: Mutex::new(token.clone()), inward, outward });
        lock(&self.known).insert(session_id.clone(), session);
        let agent = agent::Agent::new(self.engine.clone(), self.behavior.clone(), id, &session_id);
        let (sessions, ended, command) = (self.clone(), session_id.clone(), command.to_owned());
        let life = tokio::spawn(async move {
            agent.live(&command, from_client, to_client).await;
            lock(&sessions.known).remove(&ended);
        });
        lock(&self.running).push(life.abort_handle());
        Ok(json!({
            "clusterArn": task.spec.cluster_arn, "taskArn": task.arn, "interactive": true, "containerName": name,
            "containerArn": format!("{}/{name}", task.arn.replace(":task/", ":container/")),
            "session": { "sessionId": session_id, "streamUrl": self.stream_url(&session_id), "tokenValue": token },
        }))
    }

    fn stream_url(&self, session: &str) -> String {
        format!("ws://{}/v1/data-channel/{session}?role=publish_subscribe", self.address)
    }

    fn agent_may_connect(&self, task: &TaskView) -> bool {
        let Some(role) = task_role(&task.spec) else { return false };
        let account = role.split(':').nth(4).unwrap_or_default().to_owned();
        let name = role.rsplit('/').next().unwrap_or_default();
        let arn = format!("arn:{}:sts::{account}:assumed-role/{name}/{}", partition(&self.region), task.id);
        let agent = Caller { account, region: self.region.clone(), arn, session_policy: None };
        OF_TASK_ROLE.iter().all(|action| self.iam.authorize(&agent, action, "*", &Context::new()).is_ok())
    }

    /// `ssm:ResumeSession` and `ssm:TerminateSession`. A session that timed out is resumed without a token.
    /// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ResumeSession.html>
    pub(crate) fn call(&self, operation: &str, body: &Value) -> Option<Reply> {
        if !matches!(operation, "ResumeSession" | "TerminateSession") {
            return None;
        }
        let id = match required(body, "SessionId") {
            Ok(id) => id,
            Err(error) => return Some(Err(error)),
        };
        if operation == "TerminateSession" {
            lock(&self.known).remove(id);
            return Some(Ok(json!({ "SessionId": id })));
        }
        let session = lock(&self.known).get(id).cloned().filter(|_| self.behavior.exec.get().is_resumable);
        let token = session.map(|session| {
            let token = random_hex(64);
            lock(&session.token).clone_from(&token);
            token
        });
        Some(Ok(match token {
            Some(token) => json!({ "SessionId": id, "StreamUrl": self.stream_url(id), "TokenValue": token }),
            None => json!({ "SessionId": id }),
        }))
    }

    fn find(&self, id: &str) -> Option<Arc<Session>> {
        lock(&self.known).get(id).cloned()
    }

    fn keep(&self, life: AbortHandle) {
        lock(&self.running).push(life);
    }

    /// Ends every session.
    pub(crate) fn shutdown(&self) {
        lock(&self.running).drain(..).for_each(|life| life.abort());
        lock(&self.known).clear();
    }
}

fn invalid(message: &str) -> AwsError {
    AwsError::client("InvalidParameterException", message)
}

fn target_not_connected(message: &str) -> AwsError {
    AwsError::client("TargetNotConnectedException", message)
}
