//! A release command: one task, once, from the new image.

use crate::config::When;
use crate::error::call_failed;
use crate::events::Step;
use crate::evidence;
use crate::lease::Lease;
pub use crate::lease::RunKey;
use crate::ports::{Aws, CallErrorKind, LogStream, RunTask};
use crate::release_context::{ReleaseContext, StepLog};
use fargate_deploy_core::names::{ClusterName, TaskArn, TaskDefinitionArn};
use fargate_deploy_core::outcome::{CommandRecord, CommandState, Failure, Reason};
use fargate_deploy_core::plan::{CommandPlan, ServicePlan};
use fargate_deploy_core::task::{Task, TaskVerdict, judge};
use fargate_deploy_core::task_definition::{TaskDefinition, compare};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// DescribeTasks can miss a task for a while right after RunTask.
const MISSING: Duration = Duration::from_secs(120);
/// Between two looks at a running task and its log.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs one release command to its end. Succeeds only if the named container exited with 0.
///
/// # Errors
/// `release-command`: services untouched.
pub async fn run(
    plan: &CommandPlan,
    service: &ServicePlan,
    from: From<'_>,
    run: &RunKey,
    lease: Option<&Lease>,
    context: &ReleaseContext<'_>,
) -> Result<(), Failure> {
    let step = context
        .start(
            Step::Release,
            format!("{}: {}", plan.command.name, fargate_deploy_core::resolved::joined(&plan.command.command)),
        )
        .of(&plan.command.name);
    let (definition, arn) = registered(from, context).await?;
    let request = request(plan, service, &arn, run);
    context.record.borrow_mut().commands.push(CommandRecord {
        name: plan.command.name.clone(),
        task: None,
        state: CommandState::NeverStarted,
    });
    let began = Instant::now();
    let task = start(&request, plan, began, lease, &step, context).await?;
    set(context, plan, Some(&task), CommandState::Running);
    let stream = evidence::stream(&definition, &plan.container, &task);
    let ended = wait(&task, &request.cluster, stream.as_ref(), plan, began, &step, context).await?;
    if let Some(lease) = lease {
        lease.forget_task(context.aws).await;
    }
    let verdict = judge(&ended, &plan.container);
    set(context, plan, Some(&task), state_of(&verdict));
    if verdict == TaskVerdict::Succeeded {
        step.done(format!("{} exited with 0 (task {})", plan.command.name, task.id()));
        return Ok(());
    }
    let what = describe(plan, &verdict);
    step.failed(what.clone());
    let log = evidence::last_lines(context.aws, &definition, &plan.container, &task).await;
    Err(Failure::new(Reason::ReleaseCommand, what)
        .with_evidence(vec![format!("task {}: {}", task.id(), evidence::ending(&ended))])
        .with_log(log)
        .with_next(match plan.command.when {
            When::Before => "mend the command and push again; the services were not touched",
            When::After => "the services serve the new release: mend the command and push again, or run it by hand",
        }))
}

/// What a command runs from.
pub struct From<'a> {
    /// To be registered for it; `None`: the service's new revision will do.
    pub definition: Option<TaskDefinition>,
    pub revision: &'a TaskDefinition,
    pub arn: &'a TaskDefinitionArn,
}

/// An equal definition of an earlier run is taken again.
async fn registered(
    from: From<'_>,
    context: &ReleaseContext<'_>,
) -> Result<(TaskDefinition, TaskDefinitionArn), Failure> {
    let Some(definition) = from.definition else {
        return Ok((from.revision.clone(), from.arn.clone()));
    };
    if let Ok(latest) = context.aws.task_definitions.task_definition(definition.family()).await
        && compare::differences(&latest, &definition).is_empty()
        && let Some(arn) = latest.arn()
    {
        return Ok((definition, arn));
    }
    let doing = format!("registering the task definition `{}` of the release command", definition.family());
    let arn = context.aws.task_definitions.register(&definition).await.map_err(|e| call_failed(&doing, &e))?;
    context.record.borrow_mut().registered.push(arn.clone());
    Ok((definition, arn))
}

fn request(plan: &CommandPlan, service: &ServicePlan, arn: &TaskDefinitionArn, run: &RunKey) -> RunTask {
    let seed = format!(
        "{}\n{}\n{arn}\n{}",
        run.key,
        run.attempt,
        fargate_deploy_core::resolved::values(&plan.command.command).join("\n")
    );
    let hash = Sha256::digest(seed);
    RunTask {
        cluster: service.service.cluster.clone(),
        task_definition: arn.clone(),
        network_configuration: service.before.network_configuration.clone(),
        platform_version: service.before.platform_version.clone(),
        overrides: json!({"containerOverrides": [{"name": plan.container.as_str(), "command": fargate_deploy_core::resolved::values(&plan.command.command)}]}),
        started_by: started_by(&plan.command.name, &run.key),
        client_token: hash.iter().take(24).map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// At most 128 of letters, digits, `-`, `_` and `/`. The attempt is not in it: a second attempt of a run finds the
/// task of the first.
pub fn started_by(command: &str, run: &str) -> String {
    let clean = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).take(50).collect()
    };
    format!("fargate-deploy/{}/{}", clean(command), clean(run))
}

/// Attaches to the task of an earlier attempt that still runs, or starts one.
async fn start(
    request: &RunTask,
    plan: &CommandPlan,
    began: Instant,
    lease: Option<&Lease>,
    step: &StepLog<'_>,
    context: &ReleaseContext<'_>,
) -> Result<TaskArn, Failure> {
    let running = context.aws.tasks.tasks_started_by(&request.cluster, &request.started_by).await;
    let running = running.map_err(|e| call_failed("looking for a task of an earlier attempt", &e))?;
    let left = match running.into_iter().next() {
        Some(task) => Some(task),
        None => succeeded_earlier(request, plan, lease, context).await?,
    };
    if let Some(task) = left {
        step.progress(format!("an earlier attempt of this run started task {}: waiting for that one", task.id()));
        note(lease, request, Some(&task), context).await?;
        return Ok(task);
    }
    let mut request = request.clone();
    for retry in 1.. {
        // In this order: a successor looks for the note after it has created its generation, so one of the two sees
        // the other.
        note(lease, &request, None, context).await?;
        if let Some(lease) = lease
            && let Err(failure) = lease.check(context.aws).await
        {
            lease.forget_task(context.aws).await;
            return Err(failure);
        }
        set(context, plan, None, CommandState::Starting);
        let answer = match context.aws.tasks.run_task(&request).await {
            Ok(answer) => answer,
            Err(e) => {
                if e.kind != CallErrorKind::Unreachable {
                    set(context, plan, None, CommandState::NeverStarted);
                    forget(lease, context).await;
                }
                return Err(not_started(plan, call_failed("starting the task", &e)));
            }
        };
        if let Some(task) = answer.tasks.into_iter().next() {
            step.progress(format!("task {} started from {}", task.arn.id(), request.task_definition.short()));
            // From here on a failed note only makes a successor look the task up by its starter.
            let _ = note(lease, &request, Some(&task.arn), context).await;
            return Ok(task.arn);
        }
        set(context, plan, None, CommandState::NeverStarted);
        let (reason, detail) = answer.failures.into_iter().next().unwrap_or_default();
        let is_capacity = reason.contains("Capacity is unavailable") || reason.starts_with("RESOURCE:");
        if !is_capacity || began.elapsed() >= plan.command.timeout {
            forget(lease, context).await;
            let what = format!("RunTask started nothing: {reason} {detail}");
            return Err(not_started(plan, Failure::new(Reason::ReleaseCommand, what.trim_end())));
        }
        step.progress(format!("no capacity ({reason}): trying again"));
        // The same token would replay the same failure.
        request.client_token = format!("{}-{retry}", request.client_token.split('-').next().unwrap_or_default());
        sleep(Duration::from_secs(10)).await;
    }
    unreachable!("the loop ends by returning")
}

/// The task of an earlier attempt that ended well while nobody watched it: it is not run again.
async fn succeeded_earlier(
    request: &RunTask,
    plan: &CommandPlan,
    lease: Option<&Lease>,
    context: &ReleaseContext<'_>,
) -> Result<Option<TaskArn>, Failure> {
    let Some(left) = lease.and_then(|lease| lease.left_by_earlier_attempt(&request.started_by)) else {
        return Ok(None);
    };
    let found = context.aws.tasks.tasks(&request.cluster, std::slice::from_ref(&left)).await;
    let found = found.map_err(|e| call_failed("looking for a task of an earlier attempt", &e))?;
    let is_done = |task: &Task| !task.is_stopped() || judge(task, &plan.container) == TaskVerdict::Succeeded;
    Ok(found.first().filter(|task| is_done(task)).map(|task| task.arn.clone()))
}

fn not_started(plan: &CommandPlan, mut failure: Failure) -> Failure {
    failure.what = format!("release command `{}` did not start: {}", plan.command.name, failure.what);
    if matches!(failure.reason, Reason::Internal | Reason::Unavailable) {
        failure.reason = Reason::ReleaseCommand;
    }
    failure
}

async fn note(
    lease: Option<&Lease>,
    request: &RunTask,
    task: Option<&TaskArn>,
    context: &ReleaseContext<'_>,
) -> Result<(), Failure> {
    match lease {
        Some(lease) => lease.note_task(&request.cluster, &request.started_by, task, context.aws).await,
        None => Ok(()),
    }
}

async fn forget(lease: Option<&Lease>, context: &ReleaseContext<'_>) {
    if let Some(lease) = lease {
        lease.forget_task(context.aws).await;
    }
}

/// Follows the task and its log until it has stopped, then reads what the log still holds.
async fn wait(
    task: &TaskArn,
    cluster: &ClusterName,
    stream: Option<&LogStream>,
    plan: &CommandPlan,
    began: Instant,
    step: &StepLog<'_>,
    context: &ReleaseContext<'_>,
) -> Result<Task, Failure> {
    let mut log = Follow { stream, next: None, told: 0 };
    let mut last_seen = Instant::now();
    let mut status = String::new();
    loop {
        match context.aws.tasks.tasks(cluster, std::slice::from_ref(task)).await {
            Ok(found) => {
                if let Some(found) = found.into_iter().next() {
                    last_seen = Instant::now();
                    if found.last_status != status {
                        status.clone_from(&found.last_status);
                        step.heartbeat(format!("task {} is {status}", task.id()));
                    }
                    if found.is_stopped() {
                        log.drain(
                            &plan.command.name,
                            judge(&found, &plan.container) == TaskVerdict::Succeeded,
                            step,
                            context.aws,
                        )
                        .await;
                        return Ok(found);
                    }
                } else if last_seen.elapsed() >= MISSING {
                    return Err(Failure::new(
                        Reason::ReleaseCommand,
                        format!(
                            "release command `{}`: AWS does not know task {} any more; how it ended is unknown",
                            plan.command.name,
                            task.id()
                        ),
                    )
                    .with_next("look at its log and at the database before you deploy again"));
                }
            }
            Err(e) if matches!(e.kind, CallErrorKind::Denied | CallErrorKind::Identity | CallErrorKind::Invalid) => {
                return Err(call_failed(&format!("watching task {}", task.id()), &e));
            }
            Err(e) => step.heartbeat(format!("task {} could not be read: {e}", task.id())),
        }
        log.follow(&plan.command.name, step, context.aws).await;
        if began.elapsed() >= plan.command.timeout {
            return Err(Failure::new(
                Reason::ReleaseCommand,
                format!(
                    "release command `{}` is still running after {} s: it was not stopped",
                    plan.command.name,
                    plan.command.timeout.as_secs()
                ),
            )
            .with_evidence(vec![format!("task {} is {status}", task.id())])
            .with_next(
                "wait for it to end and deploy again, or raise its `timeout`; until it ends no other release starts",
            ));
        }
        step.heartbeat(format!("{} is {}", plan.command.name, status.to_lowercase()));
        sleep(PAUSE).await;
    }
}

/// The container's own lines, in order, each once.
struct Follow<'a> {
    stream: Option<&'a LogStream>,
    next: Option<String>,
    told: usize,
}

impl Follow<'_> {
    /// Reads what is new; how many lines that were. Errors are no reason to stop: the exit code is the truth.
    async fn follow(&mut self, source: &str, step: &StepLog<'_>, aws: Aws<'_>) -> usize {
        let Some(stream) = self.stream else { return 0 };
        let mut lines = 0;
        while let Ok(page) = aws.logs.log_events(stream, self.next.as_deref()).await {
            lines += page.events.len();
            for event in page.events {
                step.output(source, event.message);
            }
            // The end is reached when the token does not change.
            let is_end = page.next.is_none() || page.next == self.next;
            self.next = page.next.or(self.next.take());
            if is_end {
                break;
            }
        }
        self.told += lines;
        lines
    }

    /// Lines arrive after the exit: reads until it stays quiet, longer where the lines tell why it failed.
    async fn drain(&mut self, source: &str, is_success: bool, step: &StepLog<'_>, aws: Aws<'_>) {
        if self.stream.is_none() {
            return;
        }
        let quiet_for = if is_success {
            2
        } else if self.told > 0 {
            4
        } else {
            10
        };
        let mut quiet = 0;
        for _ in 0..40 {
            if self.follow(source, step, aws).await == 0 {
                quiet += 1;
            } else {
                quiet = 0;
            }
            if quiet >= quiet_for {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

fn state_of(verdict: &TaskVerdict) -> CommandState {
    match verdict {
        TaskVerdict::Succeeded => CommandState::Succeeded,
        TaskVerdict::ExitedWith { code, .. } => CommandState::Failed { exit_code: Some(*code) },
        TaskVerdict::NeverStarted { .. } => CommandState::NeverStarted,
        TaskVerdict::Killed { .. } | TaskVerdict::NoExitCode { .. } => CommandState::Failed { exit_code: None },
    }
}

fn describe(plan: &CommandPlan, verdict: &TaskVerdict) -> String {
    let name = &plan.command.name;
    match verdict {
        TaskVerdict::Succeeded => format!("release command `{name}` succeeded"),
        TaskVerdict::ExitedWith { code, reason: None } => format!("release command `{name}` failed: exit code {code}"),
        TaskVerdict::ExitedWith { code, reason: Some(reason) } => {
            format!("release command `{name}` failed: exit code {code}: {reason}")
        }
        TaskVerdict::NeverStarted { reason } => format!("release command `{name}` never started: {reason}"),
        TaskVerdict::Killed { stop_code, reason } => {
            format!("release command `{name}` was stopped before it ended: {stop_code}: {reason}")
        }
        TaskVerdict::NoExitCode { reason } => format!("release command `{name}` ended without an exit code: {reason}"),
    }
}

fn set(context: &ReleaseContext<'_>, plan: &CommandPlan, task: Option<&TaskArn>, state: CommandState) {
    let mut record = context.record.borrow_mut();
    if let Some(command) = record.commands.iter_mut().rfind(|c| c.name == plan.command.name) {
        command.state = state;
        if let Some(task) = task {
            command.task = Some(task.clone());
        }
    }
}
