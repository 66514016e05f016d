//! A release command: one task, once, from the new image.

use crate::config::When;
use crate::error::{call_failed, sentence};
use crate::events::{Event, Step, Wait, Warning};
use crate::evidence;
use crate::explanation;
use crate::follow::{Follow, Patience};
pub use crate::lease::RunKey;
use crate::lease::{self, ClaimedTask, Lease};
use crate::ports::{CallErrorKind, LogStream, RunTask};
use crate::registered::{Registered, found_or_registered};
use crate::release_context::{ReleaseContext, StepLog};
use crate::retry;
use fargate_deploy_core::cause::{self, Cause, Seen};
use fargate_deploy_core::names::{ClusterName, ServiceRef, TaskArn, TaskDefinitionArn, short};
use fargate_deploy_core::outcome::{CommandRecord, CommandState, Failure, Reason};
use fargate_deploy_core::plan::{CommandPlan, ServicePlan};
use fargate_deploy_core::resolved::{self, joined};
use fargate_deploy_core::task::{Task, TaskVerdict, judge, judge_with_output};
use fargate_deploy_core::task_definition::TaskDefinition;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// DescribeTasks can miss a task for a while right after RunTask.
const MISSING: Duration = Duration::from_secs(120);
/// How often a command is started whose task AWS did not provide with a network or storage in time.
const TRIES: u32 = 3;
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
        .begin(Event::CommandStarting { command: plan.command.name.clone(), line: joined(&plan.command.command) });
    let (definition, arn) = registered(plan, from, context).await?;
    context.record.borrow_mut().commands.push(CommandRecord {
        name: plan.command.name.clone(),
        task: None,
        has_output: false,
        state: CommandState::NeverStarted,
    });
    let began = Instant::now();
    let mut tries = 1;
    let (task, ended, verdict) = loop {
        let request = request(plan, service, (&definition, &arn), run, tries);
        let task = match start(&request, plan, run, began, lease, &step, context).await? {
            Start::Running(task) => task,
            Start::SucceededEarlier(task) => {
                set(context, plan, Some(&task), CommandState::Succeeded);
                step.emit(Event::CommandSucceededEarlier { command: plan.command.name.clone(), task });
                return Ok(());
            }
        };
        set(context, plan, Some(&task), CommandState::Running);
        let stream = LogStream::of(&definition, &plan.container, &task);
        let (ended, has_output) = wait(&task, &request.cluster, stream.as_ref(), plan, began, &step, context).await?;
        let verdict = judge_with_output(&ended, &plan.container, has_output);
        match lease {
            Some(lease) if verdict == TaskVerdict::Succeeded => {
                lease.command_succeeded(&plan.identity(), &task, context.aws).await;
            }
            Some(lease) => lease.forget_task(context.aws).await,
            None => {}
        }
        set(context, plan, Some(&task), state_of(&verdict));
        if !verdict.is_worth_another_try() || tries == TRIES || began.elapsed() >= plan.command.timeout {
            break (task, ended, verdict);
        }
        tries += 1;
        step.emit(Event::CommandRetried { command: plan.command.name.clone(), verdict });
        sleep(Duration::from_secs(10)).await;
    };
    step.emit(Event::CommandEnded {
        command: plan.command.name.clone(),
        task: task.clone(),
        verdict: verdict.clone(),
        took: step.took(),
    });
    if verdict == TaskVerdict::Succeeded {
        beside(&ended, plan).for_each(|failed| context.warn(failed));
        return Ok(());
    }
    let what = format!("release command `{}` {verdict}", plan.command.name);
    let log = evidence::last_lines(context.aws, &definition, &plan.container, &task);
    let log = retry::all_within(retry::EVIDENCE, log).await;
    let explained =
        Box::pin(explanation::of_command(context.aws, &plan.command.name, &plan.container, &definition, &ended));
    let cause = retry::all_within(retry::EVIDENCE, explained).await.cause;
    let next = next(plan, &verdict, cause.as_ref());
    Err(Failure::new(Reason::ReleaseCommand, what)
        .with_evidence(vec![format!("task {}: {}", task.id(), evidence::ending(&ended))])
        .with_log(log)
        .because(&format!("release command `{}`", plan.command.name), cause)
        .with_next(next))
}

fn next(plan: &CommandPlan, verdict: &TaskVerdict, cause: Option<&Cause>) -> String {
    let first = match verdict {
        // What may be applied in part comes before the cause.
        TaskVerdict::NeverStarted { .. } | TaskVerdict::ExitedWith { .. } | TaskVerdict::NoExitCode { .. }
            if cause.is_some() =>
        {
            cause.map_or("", |cause| cause.next.as_str())
        }
        TaskVerdict::NeverStarted { .. } if verdict.is_worth_another_try() => "AWS did not start it: run this again",
        TaskVerdict::NeverStarted { .. } => "fix what kept it from starting and push again",
        TaskVerdict::Killed { .. } => "look at what it has applied, then run this again",
        _ => "fix the command and push again",
    };
    match plan.command.when {
        When::Before => format!("{first}; the services were not touched"),
        When::After => format!("the services serve the new release: {first}, or run it by hand"),
    }
}

/// Other containers that ended badly while the command's own ended well. 137 and 143 are how ECS ends them afterwards,
/// where the reason is not that the memory was used up.
fn beside<'t>(ended: &'t Task, plan: &'t CommandPlan) -> impl Iterator<Item = Warning> + 't {
    let others = ended.containers.iter().filter(|c| c.name != plan.container);
    others.filter_map(|c| {
        let reason = match c.exit_code {
            Some(0 | 143) => return None,
            Some(137) => Some(c.reason.clone().filter(|reason| reason.starts_with("OutOfMemory"))?),
            Some(_) => None,
            None => Some(c.reason.clone()?),
        };
        let (command, container) = (plan.command.name.clone(), c.name.clone());
        Some(Warning::ContainerBesideFailed { command, container, exit_code: c.exit_code, reason })
    })
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
    plan: &CommandPlan,
    from: From<'_>,
    context: &ReleaseContext<'_>,
) -> Result<(TaskDefinition, TaskDefinitionArn), Failure> {
    let Some(definition) = from.definition else {
        return Ok((from.revision.clone(), from.arn.clone()));
    };
    let doing = format!("registering the task definition `{}` of the release command", definition.family());
    let found = found_or_registered(&definition, context.aws).await;
    let Registered { arn, is_new } = found.map_err(|e| not_started(plan, call_failed(&doing, &e)))?;
    if is_new {
        context.record.borrow_mut().registered.push(arn.clone());
    }
    Ok((definition, arn))
}

fn request(
    plan: &CommandPlan,
    service: &ServicePlan,
    (definition, arn): (&TaskDefinition, &TaskDefinitionArn),
    run: &RunKey,
    tries: u32,
) -> RunTask {
    let command = resolved::values(&plan.command.command);
    let mut request = RunTask {
        overrides: json!({"containerOverrides": [{"name": plan.container.as_str(), "command": command}]}),
        started_by: started_by(plan, &service.service, &run.key),
        ..RunTask::like_those_of(&service.before, &service.service.cluster, definition, arn.clone())
    };
    request.client_token = token(&request, plan, run, tries);
    request
}

/// The same for the same request, so that a call whose answer was lost starts nothing twice; another one for everything
/// that differs, or AWS answers with the other command's task or with a conflict.
fn token(request: &RunTask, plan: &CommandPlan, run: &RunKey, tries: u32) -> String {
    let seed =
        format!("{}\n{}\n{tries}\n{}\n{:?}\n{request:?}", run.key, run.attempt, plan.command.name, plan.command.when);
    hex::encode(&Sha256::digest(seed)[..24])
}

/// At most 128 of letters, digits, `-`, `_` and `/`. The attempt is not in it: a second attempt of a run finds the
/// task of the first, and only that of the same command of the same service: other jobs of the run may have one of that name.
pub fn started_by(plan: &CommandPlan, service: &ServiceRef, run: &str) -> String {
    let clean = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).take(45).collect()
    };
    let of = Sha256::digest(format!(
        "{}\n{}\n{}",
        short(service.cluster.as_str()),
        short(service.name.as_str()),
        plan.identity()
    ));
    format!("fargate-deploy/{}/{}/{}", clean(&plan.command.name), clean(run), hex::encode(&of[..6]))
}

/// Looks once more at a task that was running when the run was told to end: whether it has ended since, and well.
pub async fn look_again(
    plan: &CommandPlan,
    service: &ServicePlan,
    task: &TaskArn,
    lease: Option<&Lease>,
    context: &ReleaseContext<'_>,
) -> bool {
    let found = context.aws.tasks.tasks(&service.service.cluster, std::slice::from_ref(task)).await.unwrap_or_default();
    let Some(ended) = found.first().filter(|task| task.is_stopped()) else { return false };
    let has_output = context.record.borrow().commands.iter().any(|c| c.task.as_ref() == Some(task) && c.has_output);
    let verdict = judge_with_output(ended, &plan.container, has_output);
    set(context, plan, Some(task), state_of(&verdict));
    match lease {
        Some(lease) if verdict == TaskVerdict::Succeeded => lease.note_success(&plan.identity(), task),
        Some(lease) => lease.note_failure(),
        None => {}
    }
    verdict == TaskVerdict::Succeeded
}

enum Start {
    Running(TaskArn),
    /// An earlier attempt of this run has run it to a good end.
    SucceededEarlier(TaskArn),
}

/// Attaches to the task of an earlier attempt that still runs, or starts one, unless an earlier one has ended well.
async fn start(
    request: &RunTask,
    plan: &CommandPlan,
    run: &RunKey,
    began: Instant,
    lease: Option<&Lease>,
    step: &StepLog<'_>,
    context: &ReleaseContext<'_>,
) -> Result<Start, Failure> {
    if !run.is_first_attempt()
        && let Some(task) = lease.and_then(|lease| lease.succeeded_earlier(&plan.identity()))
    {
        return Ok(Start::SucceededEarlier(task));
    }
    let left = match run.is_first_attempt() {
        true => None,
        false => match left_running(request, context).await? {
            Some(task) => Some(task),
            None => succeeded_earlier(request, plan, lease, context).await?,
        },
    };
    if let Some(task) = left {
        step.emit(Event::CommandAttached { command: plan.command.name.clone(), task: task.clone() });
        note(lease, request, plan, Some(&task), context).await?;
        return Ok(Start::Running(task));
    }
    let mut request = request.clone();
    let mut asked = None;
    let mut may_run = false;
    for number in 1.. {
        // In this order: a successor looks for the note after it has created its generation, so one of the two sees
        // the other.
        note(lease, &request, plan, None, context).await?;
        let started = lease::start_task(lease, context, async || {
            set(context, plan, None, CommandState::Starting);
            retry::each_within(retry::ORDER, context.aws.tasks.run_task(&request)).await
        });
        let answer = match started.await {
            Err(lost) => {
                if !may_run {
                    set(context, plan, None, CommandState::NeverStarted);
                    forget(lease, context).await;
                }
                return Err(lost);
            }
            Ok(answer) => answer,
        };
        let answer = match answer {
            Ok(answer) => answer,
            // The task itself matters more than its tags: nothing has started.
            Err(e) if e.kind == CallErrorKind::Denied && e.action == "ecs:TagResource" && !request.tags.is_empty() => {
                context.warn(Warning::TaskWithoutTags { command: plan.command.name.clone() });
                request.tags.clear();
                request.client_token =
                    format!("{}-{number}", request.client_token.split('-').next().unwrap_or_default());
                continue;
            }
            // The same token starts nothing twice.
            Err(e) if e.may_pass() && asked.get_or_insert_with(Instant::now).elapsed() < retry::CALL => {
                may_run |= e.kind == CallErrorKind::Unreachable;
                step.waiting(Wait::Order { action: e.action.clone(), error: sentence(&e) });
                sleep(PAUSE).await;
                continue;
            }
            Err(e) => {
                if e.kind != CallErrorKind::Unreachable {
                    set(context, plan, None, CommandState::NeverStarted);
                    forget(lease, context).await;
                } else if let Some(lease) = lease {
                    lease.is_still_ours(context).await?;
                }
                return Err(not_started(plan, call_failed("starting the task", &e)));
            }
        };
        if let Some(task) = answer.tasks.into_iter().next() {
            step.emit(Event::CommandTaskStarted {
                command: plan.command.name.clone(),
                task: task.arn.clone(),
                revision: request.task_definition.clone(),
            });
            if let Some(lease) = lease {
                set(context, plan, Some(&task.arn), CommandState::Running);
                lease.is_still_ours(context).await?;
                // From here on a failed note only makes a successor look the task up by its starter.
                let _ = note(Some(lease), &request, plan, Some(&task.arn), context).await;
            }
            return Ok(Start::Running(task.arn));
        }
        set(context, plan, None, CommandState::NeverStarted);
        let (reason, detail) = answer.failures.into_iter().next().unwrap_or_default();
        let is_capacity = reason.contains("Capacity is unavailable") || reason.starts_with("RESOURCE:");
        if !is_capacity || began.elapsed() >= plan.command.timeout {
            forget(lease, context).await;
            let what = match format!("{reason} {detail}").trim() {
                "" => "RunTask started nothing, and AWS gives no reason".to_owned(),
                why => format!("RunTask started nothing: {why}"),
            };
            let cause = cause::find(&Seen::refused(what.as_str()));
            let failure = Failure::new(Reason::ReleaseCommand, what).because("RunTask started nothing", cause);
            return Err(not_started(plan, failure));
        }
        step.emit(Event::CommandWithoutCapacity { command: plan.command.name.clone(), reason });
        // The same token would replay the same failure.
        request.client_token = format!("{}-{number}", request.client_token.split('-').next().unwrap_or_default());
        sleep(Duration::from_secs(10)).await;
    }
    unreachable!("the loop ends by returning")
}

/// A task that an earlier attempt of this run started from our family and that still runs. Other jobs of the run may have
/// started theirs under the same name: what is not described yet, as right after RunTask, is waited for.
async fn left_running(request: &RunTask, context: &ReleaseContext<'_>) -> Result<Option<TaskArn>, Failure> {
    let failed = |e| call_failed("looking for a task of an earlier attempt", &e);
    let began = Instant::now();
    loop {
        let running =
            context.aws.tasks.tasks_started_by(&request.cluster, &request.started_by).await.map_err(failed)?;
        if running.is_empty() {
            return Ok(None);
        }
        let found = context.aws.tasks.tasks(&request.cluster, &running).await.map_err(failed)?;
        let ours = found.iter().find(|task| task.task_definition.family() == request.task_definition.family());
        if ours.is_some() || found.len() == running.len() || began.elapsed() >= MISSING {
            return Ok(ours.map(|task| task.arn.clone()));
        }
        sleep(PAUSE).await;
    }
}

/// The task of an earlier attempt that ended well while nobody watched it: it is not run again.
async fn succeeded_earlier(
    request: &RunTask,
    plan: &CommandPlan,
    lease: Option<&Lease>,
    context: &ReleaseContext<'_>,
) -> Result<Option<TaskArn>, Failure> {
    let failed = |e| call_failed("looking for a task of an earlier attempt", &e);
    // What the lease knows nothing of, AWS alone knows: for an hour.
    let Some(left) = lease.and_then(|lease| lease.left_by_earlier_attempt(&request.started_by)) else {
        return lease::ended_well(&claimed(request, plan, None), context.aws).await.map_err(failed);
    };
    let found = context.aws.tasks.tasks(&request.cluster, std::slice::from_ref(&left)).await.map_err(failed)?;
    let is_done = |task: &Task| !task.is_stopped() || judge(task, &plan.container) == TaskVerdict::Succeeded;
    let is_ours = |task: &Task| task.task_definition.family() == request.task_definition.family();
    Ok(found.first().filter(|task| is_ours(task) && is_done(task)).map(|task| task.arn.clone()))
}

fn not_started(plan: &CommandPlan, mut failure: Failure) -> Failure {
    failure.what = format!("release command `{}` did not start: {}", plan.command.name, failure.what);
    // `config` would promise that nothing was touched: images and revisions were.
    if failure.reason == Reason::Config {
        failure.reason = Reason::ReleaseCommand;
    }
    failure
}

async fn note(
    lease: Option<&Lease>,
    request: &RunTask,
    plan: &CommandPlan,
    task: Option<&TaskArn>,
    context: &ReleaseContext<'_>,
) -> Result<(), Failure> {
    match lease {
        Some(lease) => lease.note_task(claimed(request, plan, task), context.aws).await,
        None => Ok(()),
    }
}

fn claimed(request: &RunTask, plan: &CommandPlan, task: Option<&TaskArn>) -> ClaimedTask {
    ClaimedTask {
        cluster: request.cluster.to_string(),
        family: request.task_definition.family().to_owned(),
        started_by: request.started_by.clone(),
        command: plan.identity(),
        container: plan.container.to_string(),
        arn: task.map(ToString::to_string),
    }
}

async fn forget(lease: Option<&Lease>, context: &ReleaseContext<'_>) {
    if let Some(lease) = lease {
        lease.forget_task(context.aws).await;
    }
}

/// Follows the task until it has stopped, and its log beside it, then reads what the log still holds.
async fn wait(
    task: &TaskArn,
    cluster: &ClusterName,
    stream: Option<&LogStream>,
    plan: &CommandPlan,
    began: Instant,
    step: &StepLog<'_>,
    context: &ReleaseContext<'_>,
) -> Result<(Task, bool), Failure> {
    let mut log = Follow::new(stream);
    let name = &plan.command.name;
    let tell = |line| step.emit(Event::Output { step: Step::Release, source: name.clone(), line });
    let ended = tokio::select! {
        ended = wait_until_stopped(task, cluster, plan, began, step, context) => ended?,
        never = log.go_on(PAUSE, context.aws, &tell, || note_output(context, plan), |_| ()) => never,
    };
    // Longer where the lines tell why it failed.
    let quiet = Duration::from_millis(match (judge(&ended, &plan.container), log.has_told()) {
        (TaskVerdict::Succeeded, _) => 500,
        (_, true) => 1500,
        (_, false) => 4500,
    });
    if let Err(error) = log.drain(Patience { quiet, absent: quiet, unread: quiet + PAUSE }, context.aws, &tell).await {
        context.warn(Warning::LogNotRead { command: name.clone(), task: task.clone(), error: error.to_string() });
    }
    Ok((ended, log.has_told()))
}

async fn wait_until_stopped(
    task: &TaskArn,
    cluster: &ClusterName,
    plan: &CommandPlan,
    began: Instant,
    step: &StepLog<'_>,
    context: &ReleaseContext<'_>,
) -> Result<Task, Failure> {
    let mut last_seen = Instant::now();
    let mut status = String::new();
    loop {
        let read = retry::each_within(retry::POLL, context.aws.tasks.tasks(cluster, std::slice::from_ref(task))).await;
        let mut unreadable: Option<String> = None;
        match read {
            Ok(found) => {
                if let Some(found) = found.into_iter().next() {
                    last_seen = Instant::now();
                    status.clone_from(&found.last_status);
                    if found.is_stopped() {
                        return Ok(found);
                    }
                } else if last_seen.elapsed() >= MISSING {
                    set(context, plan, None, CommandState::Unknown);
                    return Err(Failure::new(
                        Reason::ReleaseCommand,
                        format!(
                            "release command `{}`: AWS does not know task {} any more; how it ended is unknown",
                            plan.command.name,
                            task.id()
                        ),
                    )
                    .with_next("look at its log and at the database before you deploy again"));
                } else {
                    unreadable = Some("AWS does not show the task".to_owned());
                }
            }
            Err(e) if matches!(e.kind, CallErrorKind::Denied | CallErrorKind::Identity | CallErrorKind::Invalid) => {
                set(context, plan, None, CommandState::Unknown);
                // The task goes on: no reason that promises that nothing was touched.
                let failure = call_failed(&format!("watching task {}", task.id()), &e);
                return Err(Failure { reason: Reason::ReleaseCommand, ..failure });
            }
            Err(e) => {
                step.waiting(Wait::CommandUnreadable {
                    command: plan.command.name.clone(),
                    task: task.clone(),
                    error: e.to_string(),
                });
                unreadable = Some(e.to_string());
            }
        }
        if began.elapsed() >= plan.command.timeout {
            return Err(match unreadable {
                Some(why) => {
                    set(context, plan, None, CommandState::Unknown);
                    not_seen(plan, task, last_seen.elapsed(), why)
                }
                None => still_running(plan, task, &status),
            });
        }
        step.waiting(Wait::Command { command: plan.command.name.clone(), task: task.clone(), status: status.clone() });
        sleep(PAUSE).await;
    }
}

fn still_running(plan: &CommandPlan, task: &TaskArn, status: &str) -> Failure {
    let (name, after) = (&plan.command.name, plan.command.timeout.as_secs());
    let what = format!("release command `{name}` is still running after {after} s: it was not stopped");
    Failure::new(Reason::ReleaseCommand, what)
        .with_evidence(vec![format!("task {} is {status}", task.id())])
        .with_cause(cause::find(&Seen { command: Some(name.clone()), passed_deadline: Some(after), ..Seen::default() }))
        .with_next("wait for it to end and deploy again, or raise its `timeout`; until it ends no other release starts")
}

/// The time is over, and the task could not be looked at.
fn not_seen(plan: &CommandPlan, task: &TaskArn, unseen: Duration, why: String) -> Failure {
    let name = &plan.command.name;
    let what = format!(
        "release command `{name}`: whether it has ended is unknown: task {} could not be read for {} s",
        task.id(),
        unseen.as_secs()
    );
    Failure::new(Reason::Unavailable, what).with_evidence(vec![why]).with_next(
        "it was not stopped: see how the task ended, then deploy again; until it ends no other release starts",
    )
}

fn state_of(verdict: &TaskVerdict) -> CommandState {
    match verdict {
        TaskVerdict::Succeeded => CommandState::Succeeded,
        TaskVerdict::ExitedWith { code, .. } => CommandState::Failed { exit_code: Some(*code) },
        TaskVerdict::NeverStarted { .. } => CommandState::NeverStarted,
        TaskVerdict::Killed { exit_code, .. } => CommandState::Killed { exit_code: *exit_code },
        TaskVerdict::NoExitCode { .. } => CommandState::Failed { exit_code: None },
    }
}

fn note_output(context: &ReleaseContext<'_>, plan: &CommandPlan) {
    let mut record = context.record.borrow_mut();
    if let Some(command) = record.commands.iter_mut().rfind(|c| c.name == plan.command.name) {
        command.has_output = true;
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
