//! What a stopped task means.
//!
//! `EssentialContainerExited` is the stop code of a success as well as of a crash, and a missing exit code is never
//! a zero: the judgement looks at the named container alone.

use super::names::{ContainerName, TaskArn, TaskDefinitionArn};
use serde::Serialize;

/// A task as `DescribeTasks` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub arn: TaskArn,
    pub task_definition: TaskDefinitionArn,
    /// `PROVISIONING` .. `STOPPED`, `DELETED`: an open string.
    pub last_status: String,
    pub desired_status: String,
    pub started_by: Option<String>,
    /// An open string: `EssentialContainerExited`, `TaskFailedToStart`, `SpotInterruption`, ...
    pub stop_code: Option<String>,
    pub stopped_reason: Option<String>,
    pub health: Option<String>,
    pub containers: Vec<ContainerState>,
    /// Seconds since the epoch, AWS's clock.
    pub stopped_at: Option<f64>,
    pub started_at: Option<f64>,
}

impl Task {
    pub fn is_stopped(&self) -> bool {
        matches!(self.last_status.as_str(), "STOPPED" | "DELETED")
    }

    pub fn container(&self, name: &ContainerName) -> Option<&ContainerState> {
        self.containers.iter().find(|c| &c.name == name)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContainerState {
    pub name: ContainerName,
    pub last_status: Option<String>,
    pub exit_code: Option<i64>,
    pub reason: Option<String>,
    pub image_digest: Option<String>,
    pub health: Option<String>,
}

/// How a one-off task ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum TaskVerdict {
    /// The named container ran and exited with 0.
    Succeeded,
    /// The named container ran and exited with another code.
    ExitedWith { code: i64, reason: Option<String> },
    /// The named container did not run: pull, secrets, network or log driver.
    NeverStarted { reason: String },
    /// The named container ran, and AWS or a person stopped it before it ended by itself; its exit code, where one is
    /// told, is that of the signal or of how it took it.
    Killed { stop_code: String, reason: String, exit_code: Option<i64> },
    /// It stopped, and nobody knows how the named container ended.
    NoExitCode { reason: String },
}

impl TaskVerdict {
    /// AWS did not provide in time what every task needs before its containers start: nothing ran, and another try can do.
    pub fn is_worth_another_try(&self) -> bool {
        let TaskVerdict::NeverStarted { reason } = self else { return false };
        reason.starts_with("InternalError")
            || (reason.contains("Timeout waiting for") && reason.contains("provisioning"))
    }
}

/// The predicate of a sentence about what the task ran.
impl std::fmt::Display for TaskVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::ExitedWith { code, reason: None } => write!(f, "failed: exit code {code}"),
            Self::ExitedWith { code, reason: Some(reason) } => write!(f, "failed: exit code {code}: {reason}"),
            Self::NeverStarted { reason } => write!(f, "never started: {reason}"),
            Self::Killed { stop_code, reason, .. } if stop_code == "TaskFailedToStart" => write!(
                f,
                "was killed before it ended, it may be applied in part: another container kept the task from starting: {reason}"
            ),
            Self::Killed { stop_code, reason, .. } => write!(f, "was stopped before it ended: {stop_code}: {reason}"),
            Self::NoExitCode { reason } => write!(f, "ended without an exit code: {reason}"),
        }
    }
}

/// Judges a stopped task by its named container.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html>
pub fn judge(task: &Task, container: &ContainerName) -> TaskVerdict {
    judge_with_output(task, container, false)
}

/// The same where it is known whether the named container has written a line: one that has did run, whatever AWS says.
pub fn judge_with_output(task: &Task, container: &ContainerName, has_output: bool) -> TaskVerdict {
    let named = task.container(container);
    let reason = || {
        named
            .and_then(|c| c.reason.clone())
            .or_else(|| task.stopped_reason.clone())
            .unwrap_or_else(|| "AWS gives no reason".to_owned())
    };
    let stop_code = task.stop_code.as_deref().unwrap_or("");
    match (named.and_then(|c| c.exit_code), stop_code) {
        (Some(0), "EssentialContainerExited" | "") => TaskVerdict::Succeeded,
        (Some(code), "EssentialContainerExited" | "") => {
            TaskVerdict::ExitedWith { code, reason: named.and_then(|c| c.reason.clone()) }
        }
        (_, "TaskFailedToStart") if !has_output && !has_run(task, named) => {
            TaskVerdict::NeverStarted { reason: reason() }
        }
        (None, "EssentialContainerExited" | "") => TaskVerdict::NoExitCode { reason: reason() },
        (exit_code, stop_code) => TaskVerdict::Killed {
            stop_code: stop_code.to_owned(),
            reason: task.stopped_reason.clone().unwrap_or_else(reason),
            exit_code,
        },
    }
}

/// A task fails to start as a whole when one container of it does: the others may have run by then, and were stopped.
fn has_run(task: &Task, container: Option<&ContainerState>) -> bool {
    let Some(container) = container else { return task.started_at.is_some() };
    // Docker has an exit code for a container that it could not start, too.
    let could_not = ["CannotPull", "CannotCreate", "CannotStart"];
    let is_refused = container.reason.as_deref().is_some_and(|reason| could_not.iter().any(|w| reason.starts_with(w)));
    !is_refused && (container.exit_code.is_some() || task.started_at.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, exit_code: Option<i64>, reason: Option<&str>) -> ContainerState {
        ContainerState {
            name: name.into(),
            last_status: Some("STOPPED".to_owned()),
            exit_code,
            reason: reason.map(str::to_owned),
            image_digest: None,
            health: None,
        }
    }

    fn stopped(stop_code: &str, reason: &str, containers: Vec<ContainerState>) -> Task {
        Task {
            arn: "arn:aws:ecs:eu-central-1:111122223333:task/shop/0123".into(),
            task_definition: "arn:aws:ecs:eu-central-1:111122223333:task-definition/web-migrate:1".into(),
            last_status: "STOPPED".to_owned(),
            desired_status: "STOPPED".to_owned(),
            started_by: None,
            stop_code: Some(stop_code.to_owned()).filter(|s| !s.is_empty()),
            stopped_reason: Some(reason.to_owned()),
            health: None,
            containers,
            stopped_at: None,
            started_at: None,
        }
    }

    #[test]
    fn a_stopped_task_is_judged_by_its_named_container_alone() {
        let exited = "Essential container in task exited";
        let cases = [
            (
                "success",
                stopped("EssentialContainerExited", exited, vec![container("app", Some(0), None)]),
                TaskVerdict::Succeeded,
            ),
            (
                "a sidecar killed with 143 after the migration exited 0",
                stopped(
                    "EssentialContainerExited",
                    exited,
                    vec![container("proxy", Some(143), None), container("app", Some(0), None)],
                ),
                TaskVerdict::Succeeded,
            ),
            (
                "the sidecar exited 0, the migration 1",
                stopped(
                    "EssentialContainerExited",
                    exited,
                    vec![container("proxy", Some(0), None), container("app", Some(1), None)],
                ),
                TaskVerdict::ExitedWith { code: 1, reason: None },
            ),
            (
                "out of memory",
                stopped(
                    "EssentialContainerExited",
                    exited,
                    vec![container("app", Some(137), Some("OutOfMemoryError: Container killed due to memory usage"))],
                ),
                TaskVerdict::ExitedWith {
                    code: 137,
                    reason: Some("OutOfMemoryError: Container killed due to memory usage".to_owned()),
                },
            ),
            (
                "image missing: no exit code at all",
                stopped(
                    "TaskFailedToStart",
                    "CannotPullContainerError: manifest unknown",
                    vec![container("app", None, None)],
                ),
                TaskVerdict::NeverStarted { reason: "CannotPullContainerError: manifest unknown".to_owned() },
            ),
            (
                "no containers listed",
                stopped("TaskFailedToStart", "ResourceInitializationError: secrets", vec![]),
                TaskVerdict::NeverStarted { reason: "ResourceInitializationError: secrets".to_owned() },
            ),
            (
                "exit code missing is not zero",
                stopped("EssentialContainerExited", exited, vec![container("app", None, None)]),
                TaskVerdict::NoExitCode { reason: exited.to_owned() },
            ),
            (
                "stopped by a person, although the process exited 0 on TERM",
                stopped("UserInitiated", "Task stopped by user", vec![container("app", Some(0), None)]),
                TaskVerdict::Killed {
                    stop_code: "UserInitiated".to_owned(),
                    reason: "Task stopped by user".to_owned(),
                    exit_code: Some(0),
                },
            ),
            (
                "spot interruption",
                stopped("SpotInterruption", "Your Spot Task was interrupted.", vec![container("app", Some(137), None)]),
                TaskVerdict::Killed {
                    stop_code: "SpotInterruption".to_owned(),
                    reason: "Your Spot Task was interrupted.".to_owned(),
                    exit_code: Some(137),
                },
            ),
        ];
        for (name, task, expected) in cases {
            assert_eq!(judge(&task, &"app".into()), expected, "{name}");
        }
    }

    #[test]
    fn a_task_that_failed_to_start_may_have_run_the_named_container() {
        let why = "container ordering dependency [app] for target [nginx] has timed out";
        let killed = |exit_code| TaskVerdict::Killed {
            stop_code: "TaskFailedToStart".to_owned(),
            reason: why.to_owned(),
            exit_code,
        };
        let never = |reason: &str| TaskVerdict::NeverStarted { reason: reason.to_owned() };
        let failed = |app: ContainerState| stopped("TaskFailedToStart", why, vec![container("nginx", None, None), app]);
        let started = |app: ContainerState| Task { started_at: Some(1.0), ..failed(app) };
        let refused = "CannotStartContainerError: exec: \"migrate\": executable file not found in $PATH";
        let cases = [
            ("nothing tells that it ran", failed(container("app", None, None)), false, never(why)),
            ("an exit code", failed(container("app", Some(137), None)), false, killed(Some(137))),
            (
                "it ended well before the others had started",
                failed(container("app", Some(0), None)),
                false,
                killed(Some(0)),
            ),
            ("a start time", started(container("app", None, None)), false, killed(None)),
            ("a line of its log", failed(container("app", None, None)), true, killed(None)),
            (
                "Docker's code for what it could not start",
                failed(container("app", Some(127), Some(refused))),
                false,
                never(refused),
            ),
            (
                "no container is told, and the task had started",
                Task { containers: vec![], ..started(container("app", None, None)) },
                false,
                killed(None),
            ),
        ];
        for (name, task, has_output, expected) in cases {
            assert_eq!(judge_with_output(&task, &"app".into(), has_output), expected, "{name}");
        }
    }

    #[test]
    fn what_aws_did_not_provide_in_time_is_tried_again_and_what_the_user_has_to_fix_is_not() {
        let cases = [
            ("Timeout waiting for network interface provisioning to complete.", true),
            ("Timeout waiting for EphemeralStorage provisioning to complete.", true),
            ("InternalError: An internal error occurred", true),
            ("CannotPullContainerError: manifest unknown", false),
            ("ResourceInitializationError: unable to pull secrets", false),
        ];
        for (reason, expected) in cases {
            let task = stopped("TaskFailedToStart", reason, vec![container("app", None, None)]);
            assert_eq!(judge(&task, &"app".into()).is_worth_another_try(), expected, "{reason}");
            let ran = stopped("TaskFailedToStart", reason, vec![container("app", Some(1), None)]);
            assert!(!judge(&ran, &"app".into()).is_worth_another_try(), "it ran: {reason}");
        }
    }
}
