//! A session in a running container: which task and which container is meant, and what keeps one from starting.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html>

use crate::names::{ContainerName, TaskArn, TaskDefinitionArn};
use crate::task_definition::{TaskDefinition, is_essential};
use serde_json::Value;

/// What the role of a task has to be allowed, on every resource: IAM knows none for them.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html#ecs-exec-required-iam-permissions>
pub const TASK_ROLE_ACTIONS: [&str; 4] = [
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
];

/// A task as DescribeTasks shows it, as far as a session in it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecTask {
    pub arn: TaskArn,
    pub task_definition: TaskDefinitionArn,
    /// `PROVISIONING` .. `STOPPED`: an open string.
    pub last_status: String,
    pub stopped_reason: Option<String>,
    /// Seconds since the epoch, AWS's clock.
    pub started_at: Option<f64>,
    /// `enableExecuteCommand`, as it was when the task was started.
    pub is_enabled: bool,
    pub containers: Vec<ExecContainer>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ExecContainer {
    pub name: ContainerName,
    pub last_status: Option<String>,
    /// Names the container to Systems Manager.
    pub runtime_id: Option<String>,
    /// `lastStatus` of its `ExecuteCommandAgent`; `None`: there is none.
    pub agent: Option<String>,
    pub agent_reason: Option<String>,
}

/// Which of several running tasks is meant, where none is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    Oldest,
    #[default]
    Newest,
}

/// The task that is meant: of those that run, one that takes sessions before one that does not.
pub fn choose(tasks: Vec<ExecTask>, which: Which) -> Option<ExecTask> {
    let running = tasks.into_iter().filter(|task| task.last_status == "RUNNING");
    running.max_by(|a, b| {
        let by_age = a.started_at.unwrap_or_default().total_cmp(&b.started_at.unwrap_or_default());
        let by_age = if which == Which::Oldest { by_age.reverse() } else { by_age };
        a.takes_sessions().cmp(&b.takes_sessions()).then(by_age)
    })
}

/// What is not as a session needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The task was started without `enableExecuteCommand`: only a new one can have it.
    NotEnabled,
    ReadOnlyRoot,
    NoTaskRole,
    /// The container does not run (any more), in whatever state it is.
    NotRunning(Option<String>),
    /// The agent of the container is not there (yet).
    Agent {
        status: Option<String>,
        reason: Option<String>,
    },
}

impl Missing {
    /// It may be there in a moment.
    pub fn may_come(&self) -> bool {
        match self {
            Self::Agent { status, .. } => status.as_deref().is_none_or(|status| status == "PENDING"),
            Self::NotRunning(status) => matches!(status.as_deref(), None | Some("PENDING")),
            Self::NotEnabled | Self::ReadOnlyRoot | Self::NoTaskRole => false,
        }
    }
}

impl ExecTask {
    fn takes_sessions(&self) -> bool {
        self.is_enabled && self.containers.iter().any(|container| container.agent.as_deref() == Some("RUNNING"))
    }

    pub fn container(&self, name: &ContainerName) -> Option<&ExecContainer> {
        self.containers.iter().find(|container| &container.name == name)
    }

    /// The container that is meant where none is named: the only one, or the only essential one.
    pub fn sole_container(&self, definition: Option<&TaskDefinition>) -> Option<ContainerName> {
        match self.containers.as_slice() {
            [only] => Some(only.name.clone()),
            _ => definition.and_then(TaskDefinition::sole_container),
        }
    }

    /// `ecs:CLUSTER_TASK_CONTAINER`: what Systems Manager calls the container.
    pub fn target(&self, cluster: &str, container: &ContainerName) -> Option<String> {
        let runtime_id = self.container(container)?.runtime_id.as_ref()?;
        Some(format!("ecs:{cluster}_{}_{runtime_id}", self.arn.id()))
    }

    /// What keeps a session from starting, the deepest reason first. `definition`: where it could be read.
    pub fn missing(&self, container: &ContainerName, definition: Option<&TaskDefinition>) -> Option<Missing> {
        if !self.is_enabled {
            return Some(Missing::NotEnabled);
        }
        let defined = definition.and_then(|definition| definition.container(container));
        if defined.is_some_and(|c| c.get("readonlyRootFilesystem").and_then(Value::as_bool) == Some(true)) {
            return Some(Missing::ReadOnlyRoot);
        }
        if definition.is_some_and(|definition| task_role(definition).is_none()) {
            return Some(Missing::NoTaskRole);
        }
        let found = self.container(container);
        let status = found.and_then(|container| container.last_status.clone());
        if status.as_deref() != Some("RUNNING") {
            return Some(Missing::NotRunning(status));
        }
        let agent = found.and_then(|container| container.agent.clone());
        (agent.as_deref() != Some("RUNNING")).then(|| Missing::Agent {
            status: agent,
            reason: found.and_then(|container| container.agent_reason.clone()),
        })
    }
}

/// The role of a task definition's tasks.
pub fn task_role(definition: &TaskDefinition) -> Option<&str> {
    definition.body.get("taskRoleArn").and_then(Value::as_str).filter(|role| !role.is_empty())
}

/// The containers beside which a person chooses, essential ones first.
pub fn container_names(task: &ExecTask, definition: Option<&TaskDefinition>) -> Vec<String> {
    let is_essential =
        |name: &ContainerName| definition.and_then(|definition| definition.container(name)).is_none_or(is_essential);
    let mut names: Vec<_> = task.containers.iter().map(|container| container.name.clone()).collect();
    names.sort_by_key(|name| !is_essential(name));
    names.iter().map(|name| format!("`{name}`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, started_at: f64, agent: &str) -> ExecTask {
        ExecTask {
            arn: id.into(),
            task_definition: "web:1".into(),
            last_status: "RUNNING".to_owned(),
            stopped_reason: None,
            started_at: Some(started_at),
            is_enabled: true,
            containers: vec![ExecContainer {
                name: "app".into(),
                last_status: Some("RUNNING".to_owned()),
                runtime_id: Some("9c1e-1".to_owned()),
                agent: Some(agent.to_owned()),
                agent_reason: None,
            }],
        }
    }

    fn definition(json: &str) -> TaskDefinition {
        TaskDefinition::from_bytes(json.as_bytes()).unwrap()
    }

    const GOOD: &str = r#"{"family": "web", "taskRoleArn": "arn:role", "containerDefinitions": [{"name": "app"}]}"#;

    #[test]
    fn of_several_tasks_one_is_meant_that_takes_sessions() {
        let all = || vec![task("a", 1.0, "RUNNING"), task("b", 2.0, "RUNNING"), task("c", 3.0, "STOPPED")];
        let id = |which| choose(all(), which).unwrap().arn.to_string();
        assert_eq!((id(Which::Newest), id(Which::Oldest)), ("b".to_owned(), "a".to_owned()));
        let pending = ExecTask { last_status: "PENDING".to_owned(), ..task("d", 4.0, "PENDING") };
        assert_eq!(choose(vec![pending], Which::Newest), None);
        assert_eq!(choose(vec![task("c", 3.0, "STOPPED")], Which::Newest).unwrap().arn, "c".into());
    }

    #[test]
    fn what_is_missing_is_named_by_its_deepest_reason() {
        let app = ContainerName::from("app");
        let good = definition(GOOD);
        let missing = |task: &ExecTask, definition: &TaskDefinition| task.missing(&app, Some(definition));
        assert_eq!(missing(&task("a", 1.0, "RUNNING"), &good), None);
        let off = ExecTask { is_enabled: false, ..task("a", 1.0, "STOPPED") };
        assert_eq!(missing(&off, &good), Some(Missing::NotEnabled));
        let read_only = GOOD.replace(r#""name""#, r#""readonlyRootFilesystem": true, "name""#);
        assert_eq!(missing(&task("a", 1.0, "STOPPED"), &definition(&read_only)), Some(Missing::ReadOnlyRoot));
        let no_role = GOOD.replace("arn:role", "");
        assert_eq!(missing(&task("a", 1.0, "RUNNING"), &definition(&no_role)), Some(Missing::NoTaskRole));
        for (agent, may_come) in [("PENDING", true), ("STOPPED", false)] {
            let found = missing(&task("a", 1.0, agent), &good).unwrap();
            assert_eq!(found, Missing::Agent { status: Some(agent.to_owned()), reason: None });
            assert_eq!(found.may_come(), may_come);
        }
        let mut ended = task("a", 1.0, "STOPPED");
        ended.containers[0].last_status = Some("STOPPED".to_owned());
        assert_eq!(missing(&ended, &good), Some(Missing::NotRunning(Some("STOPPED".to_owned()))));
    }

    #[test]
    fn systems_manager_knows_a_container_by_its_cluster_task_and_runtime() {
        let task = task("arn:aws:ecs:r:1:task/shop/9c1e", 1.0, "RUNNING");
        assert_eq!(task.target("shop", &"app".into()).as_deref(), Some("ecs:shop_9c1e_9c1e-1"));
    }
}
