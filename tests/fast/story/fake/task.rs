//! One-off tasks: how RunTask goes on.

use super::ecs::Aws;
use super::{ACCOUNT, REGION};
use fargate_deploy::ports::{RunTask, RunTaskAnswer};
use fargate_deploy_core::names::TaskArn;
use fargate_deploy_core::task::{ContainerState, Task};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone)]
pub struct RunningTask {
    pub task: Task,
    /// The service that it belongs to; `None` is a one-off.
    pub service: Option<String>,
    /// DescribeTasks does not know it before.
    pub known_from: Instant,
}

#[derive(Clone, Debug)]
pub struct Run {
    refused: Option<String>,
    missing: Duration,
    lines: Vec<(Duration, String)>,
    /// A container that says nothing has a log all the same.
    has_log: bool,
    ends: Option<(Duration, &'static str, String, Vec<ContainerState>)>,
}

impl Run {
    fn ending(stop_code: &'static str, reason: &str, exit_code: Option<i64>) -> Self {
        let containers = vec![container("app", exit_code)];
        let ends = Some((Duration::from_secs(30), stop_code, reason.to_owned(), containers));
        Self { refused: None, missing: Duration::ZERO, lines: vec![], has_log: true, ends }
    }

    pub fn exits(code: i64) -> Self {
        Self::ending("EssentialContainerExited", "Essential container in task exited", Some(code))
    }

    pub fn without_exit_code() -> Self {
        Self::ending("EssentialContainerExited", "Essential container in task exited", None)
    }

    pub fn never_starts() -> Self {
        Self::ending("TaskFailedToStart", "CannotPullContainerError: manifest unknown", None)
    }

    /// Another container of the task, or what AWS provides, kept it from starting.
    pub fn fails_to_start(reason: &str, exit_code: Option<i64>) -> Self {
        Self::ending("TaskFailedToStart", reason, exit_code)
    }

    /// AWS took the capacity back.
    pub fn taken_by_spot() -> Self {
        Self::ending("SpotInterruption", "Your Spot Task was interrupted.", Some(143))
    }

    pub fn killed() -> Self {
        Self::ending("UserInitiated", "Task stopped by user", Some(137))
    }

    pub fn hangs() -> Self {
        Self { ends: None, ..Self::exits(0) }
    }

    pub fn refused(reason: &str) -> Self {
        Self { refused: Some(reason.to_owned()), ..Self::exits(0) }
    }

    pub fn after(mut self, seconds: u64) -> Self {
        self.ends =
            self.ends.map(|(_, code, reason, containers)| (Duration::from_secs(seconds), code, reason, containers));
        self
    }

    pub fn without_log(self) -> Self {
        Self { has_log: false, ..self }
    }

    pub fn missing_for(self, seconds: u64) -> Self {
        Self { missing: Duration::from_secs(seconds), ..self }
    }

    pub fn says(mut self, at: f64, line: &str) -> Self {
        self.lines.push((Duration::from_secs_f64(at), line.to_owned()));
        self
    }

    pub fn with_sidecar(mut self, exit_code: i64) -> Self {
        if let Some((_, _, _, containers)) = &mut self.ends {
            containers.insert(0, container("proxy", Some(exit_code)));
        }
        self
    }

    /// The kernel ended it.
    pub fn with_sidecar_out_of_memory(self) -> Self {
        let mut run = self.with_sidecar(137);
        let reason = "OutOfMemoryError: Container killed due to memory usage".to_owned();
        run.ends.iter_mut().for_each(|(.., containers)| containers[0].reason = Some(reason.clone()));
        run
    }
}

pub fn container(name: &str, exit_code: Option<i64>) -> ContainerState {
    ContainerState { name: name.into(), last_status: None, exit_code, reason: None, image_digest: None, health: None }
}

impl Aws {
    pub fn start_one_off(&mut self, request: &RunTask) -> RunTaskAnswer {
        self.asked_tokens.push(request.client_token.clone());
        self.asked_tasks.push(request.clone());
        if let Some(known) = self.tokens.get(&request.client_token) {
            let task = self.tasks.iter().find(|t| t.task.arn.as_str() == known).unwrap().task.clone();
            return RunTaskAnswer { tasks: vec![task], failures: vec![] };
        }
        let run = self.runs.pop_front().unwrap_or_else(|| Run::exits(0));
        if let Some(reason) = run.refused {
            return RunTaskAnswer { tasks: vec![], failures: vec![(reason, String::new())] };
        }
        let id = format!("task{}", self.number());
        let arn = TaskArn::new(format!("arn:aws:ecs:{REGION}:{ACCOUNT}:task/shop/{id}"));
        self.tokens.insert(request.client_token.clone(), arn.to_string());
        let task = Task {
            arn: arn.clone(),
            task_definition: request.task_definition.clone(),
            last_status: "PENDING".to_owned(),
            desired_status: "RUNNING".to_owned(),
            started_by: Some(request.started_by.clone()),
            stop_code: None,
            stopped_reason: None,
            health: None,
            containers: vec![],
            stopped_at: None,
            started_at: None,
        };
        let known_from = Instant::now() + run.missing;
        self.tasks.push(RunningTask { task: task.clone(), service: None, known_from });
        let alive = self.tasks.iter().filter(|t| t.service.is_none() && !t.task.is_stopped()).count();
        self.most_at_once = self.most_at_once.max(alive);
        let runs = run.ends.as_ref().is_none_or(|(_, code, ..)| *code != "TaskFailedToStart");
        if runs && run.has_log && run.lines.is_empty() {
            self.logs.entry(format!("app/app/{id}")).or_default();
        }
        for (at, line) in run.lines {
            let stream = format!("app/app/{id}");
            self.after(at, move |aws| aws.log(&stream, &line));
        }
        if let Some((at, code, reason, containers)) = run.ends {
            self.after(at, move |aws| aws.stop(&arn, code, &reason, containers));
        }
        RunTaskAnswer { tasks: vec![task], failures: vec![] }
    }

    /// SIGTERM, on which its container ends, some seconds later; one that has stopped stays as it is.
    pub fn ask_to_stop(&mut self, arn: &TaskArn, reason: &str) {
        let Some(found) = self.tasks.iter_mut().find(|t| t.task.arn == *arn && !t.task.is_stopped()) else { return };
        found.task.desired_status = "STOPPED".to_owned();
        let (arn, reason) = (arn.clone(), reason.to_owned());
        self.after(Duration::from_secs(5), move |aws| {
            let is_running = aws.tasks.iter().any(|t| t.task.arn == arn && !t.task.is_stopped());
            if is_running {
                aws.stop(&arn, "UserInitiated", &reason, vec![container("app", Some(143))]);
            }
        });
    }

    pub fn stop(&mut self, arn: &TaskArn, code: &str, reason: &str, containers: Vec<ContainerState>) {
        let found = self.tasks.iter_mut().find(|t| t.task.arn == *arn).unwrap();
        found.task.last_status = "STOPPED".to_owned();
        found.task.desired_status = "STOPPED".to_owned();
        found.task.stop_code = Some(code.to_owned());
        found.task.stopped_reason = Some(reason.to_owned());
        found.task.containers = containers;
        found.task.stopped_at = Some(fargate_deploy::clock::now());
    }
}
