//! Why did it fail? The evidence that AWS keeps for an hour: stopped tasks, exit codes, the last lines of the container.

use crate::explanation::{self, Deployment};
use crate::ports::{Aws, LogStream};
use fargate_deploy_core::cause::Cause;
use fargate_deploy_core::names::{ContainerName, TaskArn};
use fargate_deploy_core::rollout::Target;
use fargate_deploy_core::task::{ContainerState, Task};
use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_core::wording::counted;

/// How many last lines of a failed container are shown.
pub const LOG_LINES: usize = 20;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    pub lines: Vec<String>,
    pub log: Vec<String>,
    /// How several tasks ended alike, one after the other: the next one will end like that too.
    pub crash_loop: Option<String>,
    /// What all of it means.
    pub cause: Option<Cause>,
}

/// What the stopped tasks of one deployment tell. Best effort: a failure is never hidden by a failed look at it.
pub async fn of_deployment(aws: Aws<'_>, target: &Target, deployment: &Deployment<'_>) -> Evidence {
    let (mut tasks, unknown) = match stopped(aws, deployment).await {
        Ok(tasks) => (tasks, None),
        Err(why) => (vec![], Some(why)),
    };
    tasks.retain(|t| t.started_by.as_deref() == Some(target.deployment.as_str()));
    tasks.sort_by(|a, b| b.stopped_at.unwrap_or(f64::MAX).total_cmp(&a.stopped_at.unwrap_or(f64::MAX)));
    // What the scheduler cleared away afterwards is a consequence, told only where there is nothing else.
    if tasks.iter().any(|t| !is_cleared_away(t)) {
        tasks.retain(|t| !is_cleared_away(t));
    }
    let explanation::Explanation { cause, mut log, .. } = explanation::of_deployment(aws, deployment, &tasks).await;
    let mut lines: Vec<(String, usize)> = vec![];
    for task in &tasks {
        let sentence = ending(task);
        match lines.iter_mut().find(|(known, _)| *known == sentence) {
            Some((_, count)) => *count += 1,
            None => lines.push((sentence, 1)),
        }
    }
    let crash_loop = crash_loop(&tasks);
    let lines = lines
        .into_iter()
        .take(5)
        .map(|(sentence, count)| format!("{} stopped: {sentence}", counted(count, "task")))
        .chain(unknown)
        .collect();
    let log = log.split_off(log.len().saturating_sub(LOG_LINES));
    Evidence { lines, log, crash_loop, cause }
}

/// # Errors
/// Why they are not known.
async fn stopped(aws: Aws<'_>, deployment: &Deployment<'_>) -> Result<Vec<Task>, String> {
    let service = deployment.service;
    let arns = aws.tasks.stopped_tasks(service).await;
    let arns = arns.map_err(|e| format!("its stopped tasks could not be listed: {e}"))?;
    let tasks = aws.tasks.tasks(&service.cluster, &arns).await;
    tasks.map_err(|e| format!("its stopped tasks could not be read: {e}"))
}

/// Two or more tasks of one deployment that ended by themselves, with the same exit of the same container.
fn crash_loop(tasks: &[Task]) -> Option<String> {
    let exits = |task: &Task| {
        let failed = |c: &&ContainerState| c.exit_code.is_some_and(|code| code != 0);
        let own = matches!(task.stop_code.as_deref(), Some("EssentialContainerExited"));
        task.containers.iter().find(failed).filter(|_| own).map(|c| (c.name.clone(), c.exit_code))
    };
    let exits: Vec<_> = tasks.iter().filter_map(exits).collect();
    let (name, code) = exits.iter().find(|exit| exits.iter().filter(|other| other == exit).count() >= 2)?;
    let count = exits.iter().filter(|other| *other == &(name.clone(), *code)).count();
    Some(format!("{count} tasks in a row ended alike: container `{name}` exited with {}", code.unwrap_or_default()))
}

pub(crate) fn is_cleared_away(task: &Task) -> bool {
    task.stop_code.as_deref() == Some("ServiceSchedulerInitiated")
        && task.stopped_reason.as_deref().is_some_and(|reason| reason.starts_with("Scaling activity"))
}

/// The last lines of one container of one task; empty where it has no awslogs stream or none can be read.
pub async fn last_lines(
    aws: Aws<'_>,
    definition: &TaskDefinition,
    container: &ContainerName,
    task: &TaskArn,
) -> Vec<String> {
    let Some(stream) = LogStream::of(definition, container, task) else { return vec![] };
    aws.logs
        .log_tail(&stream, LOG_LINES, None)
        .await
        .map(|events| events.into_iter().map(|e| e.message).collect())
        .unwrap_or_default()
}

/// How a task ended, in one line without its id, so that equal endings can be counted.
pub fn ending(task: &Task) -> String {
    let code = task.stop_code.as_deref().unwrap_or("no stop code");
    let reason = task.stopped_reason.as_deref().unwrap_or("no reason");
    let mut parts = vec![format!("{code}: {reason}")];
    for container in &task.containers {
        let mut facts = vec![];
        facts.extend(container.exit_code.map(|code| format!("exit code {code}{}", meaning(code))));
        facts.extend(container.reason.clone());
        if container.health.as_deref() == Some("UNHEALTHY") {
            facts.push("failed its health check".to_owned());
        }
        if !facts.is_empty() {
            parts.push(format!("container `{}`: {}", container.name, facts.join(", ")));
        }
    }
    parts.join("; ")
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html>
fn meaning(code: i64) -> &'static str {
    match code {
        126 => " (not executable)",
        127 => " (command not found)",
        137 => " (SIGKILL)",
        139 => " (SIGSEGV)",
        143 => " (SIGTERM)",
        _ => "",
    }
}
