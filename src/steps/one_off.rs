//! `run`: one task like those of a service, with a command of a person's own.

use crate::error::{call_failed, sentence};
use crate::events::{Event, Notice, Step, StopReason, Took, Wait, Warning};
use crate::evidence;
use crate::explanation;
use crate::follow::{Follow, Patience};
use crate::lease;
use crate::ports::{CallError, CallErrorKind, LogStream, RunTask};
use crate::registered::found_or_registered;
use crate::release_context::ReleaseContext;
use crate::retry;
use crate::signals::signalled;
use fargate_deploy_core::cause::{self, Seen};
use fargate_deploy_core::invocation::{Invocation, exit_code};
use fargate_deploy_core::names::{
    ClusterName, ContainerName, PinnedImage, ServiceRef, TaskArn, TaskDefinitionArn, short,
};
use fargate_deploy_core::outcome::{Failure, OneOffState, Reason, Success};
use fargate_deploy_core::service::Service;
use fargate_deploy_core::task::{Task, TaskVerdict, judge_with_output};
use fargate_deploy_core::task_definition::one_off::one_off;
use fargate_deploy_core::task_definition::{TaskDefinition, validate};
use futures_util::future::join_all;
use serde_json::Value;
use std::cell::Cell;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

/// DescribeTasks can miss a task for a while right after RunTask.
const MISSING: Duration = Duration::from_secs(120);
/// Between two looks at the task, and at its log.
const PAUSE: Duration = Duration::from_secs(1);
const LOG_PAUSE: Duration = Duration::from_millis(500);
/// How long an interrupted run waits for its task to stop: the `stopTimeout` of a container that names none.
const STOPPING: Duration = Duration::from_secs(30);
/// CloudWatch shows lines late: what a log still holds when its task has stopped. A container has a log as soon as it runs.
const REST: Patience =
    Patience { quiet: Duration::from_secs(10), absent: Duration::from_secs(30), unread: Duration::from_secs(60) };
/// The same for whoever does not want to wait any more, and of a task that never ran.
const SHORT_REST: Patience =
    Patience { quiet: Duration::from_secs(2), absent: Duration::from_secs(5), unread: Duration::from_secs(5) };
/// How many revisions are looked at, at once and in all, for the one of a release.
const REVISIONS: [u64; 2] = [10, 200];
/// What a task that was told to stop by us says.
const INTERRUPTED: &str = "fargate-deploy run was interrupted";
const TIMED_OUT: &str = "fargate-deploy run: its timeout is over";
/// What the derived family is called after the service's: `web-run`.
const FAMILY: &str = "run";

/// What is asked of a new task.
#[derive(Clone, Debug)]
pub struct Order {
    pub service: ServiceRef,
    /// `None`: the one that the service's tasks live by.
    pub container: Option<ContainerName>,
    /// `None`: what serves.
    pub release: Option<u64>,
    /// Instead of the one that serves.
    pub image: Option<PinnedImage>,
    pub invocation: Invocation,
    pub is_spot: bool,
    /// Somebody will type into it.
    pub enables_exec: bool,
    pub started_by: String,
    /// Nobody else has it: the same request twice is two tasks.
    pub client_token: String,
}

/// A task to be followed.
#[derive(Clone, Debug)]
pub struct Started {
    pub task: TaskArn,
    pub cluster: ClusterName,
    pub container: ContainerName,
    pub definition: TaskDefinition,
    pub began: Instant,
}

/// `fargate-deploy/run/ACTOR`, of the characters that AWS takes: what `status` lists such tasks by.
pub fn started_by(actor: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let actor: String = actor.chars().map(clean).take(100).collect();
    format!("fargate-deploy/{FAMILY}/{}", if actor.is_empty() { "somebody" } else { &actor })
}

/// The service, which has to be there.
///
/// # Errors
/// `config`: it is not.
pub async fn service(service: &ServiceRef, context: &ReleaseContext<'_>) -> Result<Service, Failure> {
    let found = context.aws.services.services(std::slice::from_ref(service)).await;
    let found = found.map_err(|e| call_failed(&format!("describing service {service}"), &e))?;
    found.into_iter().flatten().find(|found| found.status != "INACTIVE").ok_or_else(|| {
        let what = format!("service {service}: it does not exist in {}", context.aws.identity.region());
        Failure::new(Reason::Config, what).with_next("check `name` and `cluster`, or create the service first")
    })
}

/// The container that a command runs in, where nobody names one: the one that the definition's tasks live by.
///
/// # Errors
/// `config`: there are several, or none of that name.
pub fn container(definition: &TaskDefinition, named: Option<&ContainerName>) -> Result<ContainerName, Failure> {
    let names = || {
        let names: Vec<_> = definition.container_names().iter().map(|name| format!("`{name}`")).collect();
        format!("its containers are {}", names.join(", "))
    };
    match named {
        Some(name) if definition.container(name).is_some() => Ok(name.clone()),
        Some(name) => {
            let what = format!("container `{name}`: task definition `{}` has none of that name", definition.family());
            Err(Failure::new(Reason::Config, what).with_next(names()))
        }
        None => definition.sole_container().ok_or_else(|| {
            let what = format!("which container? task definition `{}` has several", definition.family());
            Failure::new(Reason::Config, what).with_next(format!("name it with `--container`; {}", names()))
        }),
    }
}

/// Starts the task.
///
/// # Errors
/// Nothing was started: every reason of a failed call, `config` where what is asked for does not go together, and `task` where
/// AWS does not start it.
pub async fn start(order: &Order, service: &Service, context: &ReleaseContext<'_>) -> Result<Started, Failure> {
    let began = Instant::now();
    let invocation = &order.invocation;
    let running = chosen_revision(order, service, context).await?;
    let container = container(&running, order.container.as_ref())?;
    let overrides = invocation.overrides(&container).map_err(|why| Failure::new(Reason::Config, why))?;
    size_fits(invocation, &running)?;
    let (definition, revision) = registered(&running, &container, order.image.as_ref(), context).await?;
    let image = definition.container(&container).and_then(|c| c.get("image")?.as_str()).unwrap_or_default().to_owned();
    context.emit(Event::OneOffPrepared {
        service: order.service.clone(),
        release: running.release(),
        container: container.clone(),
        image,
        revision: revision.clone(),
    });
    match retry::each_within(retry::POLL, lease::state(&order.service, context.aws)).await {
        Ok(lease::State { holder: Some(holder), command: Some(command), .. }) => {
            let (run, actor) = (holder.run, holder.actor);
            context.warn(Warning::ReleaseUnderWay { service: order.service.clone(), run, actor, command });
        }
        Err(failure) if failure.reason == Reason::Permission => {
            let (what, action) = ("whether a release command runs".to_owned(), "ssm:GetParametersByPath".to_owned());
            context.emit(Event::Notice(Notice::NotReadable { what, action }));
        }
        _ => {}
    }
    let request = RunTask {
        overrides,
        started_by: order.started_by.clone(),
        client_token: order.client_token.clone(),
        is_spot: order.is_spot,
        enables_exec: order.enables_exec,
        ..RunTask::like_those_of(service, &order.service.cluster, &definition, revision)
    };
    let task = run_task(request, context).await?;
    context.emit(Event::OneOffStarted { task: task.clone() });
    Ok(Started { task, cluster: order.service.cluster.clone(), container, definition, began })
}

/// A task that was started before, by its id or ARN.
///
/// # Errors
/// `config`: there is none, or which container is meant is not known.
pub async fn attach(
    task: &str,
    cluster: &ClusterName,
    named: Option<&ContainerName>,
    context: &ReleaseContext<'_>,
) -> Result<Started, Failure> {
    let arn = TaskArn::new(task);
    let found = context.aws.tasks.tasks(cluster, std::slice::from_ref(&arn)).await;
    let found = found.map_err(|e| call_failed(&format!("describing task {}", arn.id()), &e))?;
    let found = found.into_iter().next().ok_or_else(|| {
        let what = format!("task {}: there is none in cluster `{}`", arn.id(), short(cluster.as_str()));
        Failure::new(Reason::Config, what)
            .with_next("AWS forgets a task an hour after it stopped; its id is the whole of what `run` printed")
    })?;
    let definition = definition_of(found.task_definition.as_str(), context).await?;
    let container = container(&definition, named)?;
    if let Some(record) = &mut context.record.borrow_mut().one_off {
        (record.task, record.state) = (Some(found.arn.clone()), OneOffState::Running);
    }
    context.emit(Event::OneOffAttached { task: found.arn.clone() });
    Ok(Started { task: found.arn, cluster: cluster.clone(), container, definition, began: Instant::now() })
}

/// Follows the task to its end, or until `signals` or `limit` say otherwise: at the first signal, and when the time is over, it
/// is told to stop; at the second signal it is left running. `attach` is how to follow it again.
///
/// # Errors
/// `task`, `timeout`, `cancelled`; `permission` and others where the task cannot be looked at: it goes on.
pub async fn follow(
    started: &Started,
    limit: Option<Duration>,
    mut signals: Receiver<usize>,
    attach: &str,
    context: &ReleaseContext<'_>,
) -> Result<Success, Failure> {
    let Started { task, container, definition, .. } = started;
    let stream = LogStream::of(definition, container, task);
    if stream.is_none() {
        let (driver, place) = definition.log_elsewhere(container);
        context.warn(Warning::LogElsewhere { container: container.clone(), driver, place });
    }
    let mut log = Follow::new(stream.as_ref());
    let source = container.to_string();
    let tell = |line| context.emit(Event::Output { step: Step::Run, source: source.clone(), line });
    let is_said = Cell::new(false);
    let not_read = |error: &CallError| {
        if !is_said.replace(true) {
            context.warn(Warning::LinesNotRead { task: task.clone(), error: error.to_string() });
        }
    };
    let (ended, stopped_for) = tokio::select! {
        watched = until_it_ends(started, limit, &mut signals, attach, context) => {
            watched.map_err(|failure| goes_on(failure, attach))?
        }
        never = log.go_on(LOG_PAUSE, context.aws, &tell, || {}, not_read) => never,
    };
    note(context, OneOffState::Stopped);
    let never_ran = |log: &Follow<'_>| {
        matches!(judge_with_output(&ended, container, log.has_told()), TaskVerdict::NeverStarted { .. })
    };
    let is_short = stopped_for == Some(StopReason::Interrupted) || never_ran(&log);
    let rest = if is_short { SHORT_REST } else { REST };
    let already = *signals.borrow();
    let unread = tokio::select! {
        read = log.drain(rest, context.aws, &tell) => read.err().map(Unread::Failed),
        () = signalled(&mut signals, already + 1) => Some(Unread::Interrupted),
    };
    if stream.is_some() && unread.is_none() && !log.is_there() && !never_ran(&log) {
        context.warn(Warning::LogAbsent { task: task.clone(), again: attach.to_owned() });
    }
    let ending = Ending { task: ended, stopped_for, has_output: log.has_told(), unread };
    conclude(started, &ending, attach, stream.as_ref(), context).await
}

/// How a followed task has ended, and what is missing of its lines.
struct Ending {
    task: Task,
    /// Why we told it to stop, where we did.
    stopped_for: Option<StopReason>,
    has_output: bool,
    unread: Option<Unread>,
}

/// Why the rest of a log was not read.
enum Unread {
    Failed(CallError),
    Interrupted,
}

/// The task when it has stopped, and why it was told to, where it was.
async fn until_it_ends(
    started: &Started,
    limit: Option<Duration>,
    signals: &mut Receiver<usize>,
    attach: &str,
    context: &ReleaseContext<'_>,
) -> Result<(Task, Option<StopReason>), Failure> {
    let task = &started.task;
    let time = async {
        match limit {
            Some(limit) => sleep_until(started.began + limit).await,
            None => std::future::pending().await,
        }
    };
    let why = tokio::select! {
        biased;
        ended = until_stopped(started, context) => return Ok((ended?, None)),
        () = signalled(signals, 1) => StopReason::Interrupted,
        () = time => StopReason::Timeout,
    };
    let reason_of_end = if why == StopReason::Timeout { Reason::Timeout } else { Reason::Cancelled };
    context.emit(Event::OneOffStopping { task: task.clone(), why });
    let reason = match why {
        StopReason::Interrupted => INTERRUPTED,
        StopReason::Timeout => TIMED_OUT,
    };
    let stopping = async {
        // How it ends is what the signal or the time says; that it goes on is why it did not end well.
        let told = tell_to_stop(started, reason, context).await;
        told.map_err(|failure| Failure { reason: reason_of_end, ..goes_on(failure, attach) })?;
        tokio::select! {
            ended = until_stopped(started, context) => ended.map(Some),
            () = sleep(STOPPING) => Ok(None),
        }
    };
    let ended = tokio::select! {
        biased;
        ended = stopping => ended?,
        () = signalled(signals, 2) => {
            context.emit(Event::OneOffDetached { task: task.clone(), attach: attach.to_owned() });
            let what = "interrupted twice: the task was left to itself";
            return Err(Failure::new(Reason::Cancelled, what).with_next(format!("to follow it again: {attach}")));
        }
    };
    match ended {
        Some(ended) => Ok((ended, Some(why))),
        None => {
            let what = format!("task {} has not stopped {} s after it was told to", task.id(), STOPPING.as_secs());
            let next = format!("ECS kills it when its `stopTimeout` is over; to follow it until then: {attach}");
            Err(Failure::new(reason_of_end, what).with_next(next))
        }
    }
}

/// The task goes on: never to be started again, but to be followed again.
fn goes_on(failure: Failure, attach: &str) -> Failure {
    let again = format!("to follow it again: {attach}");
    match failure.next.clone() {
        Some(next) if next.contains(attach) => failure,
        Some(next) if matches!(failure.reason, Reason::Permission | Reason::Identity | Reason::Task) => {
            failure.with_next(format!("{next}\n{again}"))
        }
        _ => failure.with_next(again),
    }
}

/// Tells the task of a session that is over to stop, and does not wait for it: the one who typed has seen its end.
///
/// # Errors
/// It could not be told, and goes on until its time is over.
pub async fn stop_after_session(started: &Started, context: &ReleaseContext<'_>) -> Result<(), Failure> {
    context.emit(Event::SessionEnded { task: started.task.clone() });
    tell_to_stop(started, "fargate-deploy run: its session has ended", context).await
}

async fn tell_to_stop(started: &Started, reason: &str, context: &ReleaseContext<'_>) -> Result<(), Failure> {
    let Started { task, cluster, .. } = started;
    let told = retry::each_within(retry::ORDER, context.aws.tasks.stop_task(cluster, task, reason)).await;
    told.map_err(|e| call_failed(&format!("stopping task {}: it is still running", task.id()), &e))?;
    note(context, OneOffState::Stopping);
    Ok(())
}

async fn until_stopped(started: &Started, context: &ReleaseContext<'_>) -> Result<Task, Failure> {
    let Started { task, cluster, .. } = started;
    let mut last_seen = Instant::now();
    let mut status = "PROVISIONING".to_owned();
    loop {
        let read = retry::each_within(retry::POLL, context.aws.tasks.tasks(cluster, std::slice::from_ref(task))).await;
        match read {
            Ok(found) => match found.into_iter().next() {
                Some(found) if found.is_stopped() => return Ok(found),
                Some(found) => (last_seen, status) = (Instant::now(), found.last_status),
                None if last_seen.elapsed() >= MISSING => {
                    note(context, OneOffState::Unknown);
                    let what = format!("AWS does not know task {} any more; how it ended is unknown", task.id());
                    let next = format!("look at its log: fargate-deploy logs --task {}", task.id());
                    return Err(Failure::new(Reason::Task, what).with_next(next));
                }
                None => status = "not shown by AWS now".to_owned(),
            },
            Err(e) if matches!(e.kind, CallErrorKind::Denied | CallErrorKind::Identity | CallErrorKind::Invalid) => {
                return Err(call_failed(&format!("watching task {}, which goes on", task.id()), &e));
            }
            Err(e) => context.emit(Event::Waiting(Wait::Order { action: e.action.clone(), error: sentence(&e) })),
        }
        context.emit(Event::Waiting(Wait::OneOff { task: task.clone(), status: status.clone() }));
        sleep(PAUSE).await;
    }
}

async fn conclude(
    started: &Started,
    ending: &Ending,
    attach: &str,
    stream: Option<&LogStream>,
    context: &ReleaseContext<'_>,
) -> Result<Success, Failure> {
    let Started { container, definition, began, .. } = started;
    let Ending { task: ended, stopped_for, has_output, unread } = ending;
    let verdict = judge_with_output(ended, container, *has_output);
    let code = exit_code(&verdict, ended, container);
    context.emit(Event::OneOffEnded {
        task: ended.arn.clone(),
        verdict: verdict.clone(),
        exit_code: code,
        took: Took(began.elapsed()),
        ran: ended
            .started_at
            .zip(ended.stopped_at)
            .map(|(from, to)| Took(Duration::from_secs_f64((to - from).max(0.0)))),
        group: stream.map(|stream| stream.group.clone()),
        stream: stream.map(|stream| stream.stream.clone()),
    });
    if let 126 | 127 = code {
        let entrypoint = definition
            .container(container)
            .and_then(|c| c.get("entryPoint")?.as_array())
            .map(|words| words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
        let entrypoint = entrypoint.filter(|words| !words.is_empty());
        context.warn(Warning::CommandNotRunnable { exit_code: code, entrypoint });
    }
    let is_the_commands = matches!(verdict, TaskVerdict::Succeeded | TaskVerdict::ExitedWith { .. });
    if let Some(unread) = unread {
        let failure = lines_lost(unread, &ended.arn, code, attach);
        // An exit code of 0 says that what was asked for is there, and the lines are part of it.
        if is_the_commands && (code == 0 || failure.reason == Reason::Cancelled) {
            return Err(failure);
        }
        let error = failure.evidence.first().cloned().unwrap_or_default();
        context.warn(Warning::LinesLost { task: ended.arn.clone(), error, again: attach.to_owned() });
    }
    if (is_the_commands || matches!(code, 126 | 127))
        && let Some(record) = &mut context.record.borrow_mut().one_off
    {
        record.exit_code = Some(code);
    }
    if is_the_commands {
        return Ok(Success::Exited);
    }
    let evidence = vec![format!("task {}: {}", ended.arn.id(), evidence::ending(ended))];
    match stopped_for {
        Some(StopReason::Interrupted) => {
            return Err(Failure::new(Reason::Cancelled, "interrupted: the task was stopped")
                .with_evidence(evidence)
                .with_next(format!("lines that come later: fargate-deploy logs --task {}", ended.arn.id())));
        }
        Some(StopReason::Timeout) => {
            let what = "the time of `--timeout` is over: the task was stopped";
            return Err(Failure::new(Reason::Timeout, what).with_evidence(evidence));
        }
        None => {}
    }
    if ended.stopped_reason.as_deref().is_some_and(|reason| [INTERRUPTED, TIMED_OUT].contains(&reason)) {
        let what = "the run that started the task told it to stop";
        return Err(Failure::new(Reason::Task, what)
            .with_evidence(evidence)
            .with_next("run it again if it should go on"));
    }
    let explained = Box::pin(explanation::of_one_off(context.aws, container, definition, ended));
    let cause = retry::all_within(retry::EVIDENCE, explained).await.cause;
    Err(Failure::new(Reason::Task, format!("the task {verdict}"))
        .with_evidence(evidence)
        .with_next("see what AWS says of the task, then run it again")
        .because(&format!("container `{container}`"), cause))
}

/// The command has ended, and its lines are not all told.
fn lines_lost(unread: &Unread, task: &TaskArn, code: u8, attach: &str) -> Failure {
    let what = format!("the command exited with {code}, and its log was not read to the end: lines are missing");
    let again = format!("all of its lines, and its exit code: {attach}, or fargate-deploy logs --task {}", task.id());
    let (reason, why, next) = match unread {
        Unread::Interrupted => (Reason::Cancelled, "interrupted".to_owned(), again),
        Unread::Failed(e) => {
            let of_call = call_failed("reading its log", e);
            let allow = (e.kind == CallErrorKind::Denied).then_some(of_call.next).flatten();
            let allow = allow.map(|allow| format!("{allow}\n")).unwrap_or_default();
            (of_call.reason, sentence(e), format!("{allow}{again}"))
        }
    };
    Failure::new(reason, what).with_evidence(vec![why]).with_next(next)
}

/// What the task is derived from.
async fn chosen_revision(
    order: &Order,
    service: &Service,
    context: &ReleaseContext<'_>,
) -> Result<TaskDefinition, Failure> {
    let serving = definition_of(service.serving().as_str(), context).await?;
    let Some(wanted) = order.release.filter(|wanted| serving.release() != Some(*wanted)) else { return Ok(serving) };
    // Releases are numbered in the order of their revisions: back from the newest, until one is older.
    let family = serving.family();
    let newest = definition_of(family, context).await?;
    let revision = |definition: &TaskDefinition| definition.arn()?.revision();
    let mut next = revision(&newest).unwrap_or_default();
    let last = next.saturating_sub(REVISIONS[1]);
    while next > last {
        let chunk: Vec<u64> = (last + 1..=next).rev().take(REVISIONS[0] as usize).collect();
        next -= chunk.len() as u64;
        let names: Vec<_> = chunk.iter().map(|number| format!("{family}:{number}")).collect();
        let found = join_all(names.iter().map(|name| context.aws.task_definitions.task_definition(name))).await;
        let found: Vec<_> = found.into_iter().filter_map(Result::ok).collect();
        if let Some(found) = found.iter().find(|definition| definition.release() == Some(wanted)) {
            return Ok(found.clone());
        }
        if found.iter().filter_map(TaskDefinition::release).any(|release| release < wanted) {
            break;
        }
    }
    let what = format!("release r{wanted}: no revision of `{family}` is of it");
    Err(Failure::new(Reason::Config, what)
        .with_next("revisions that were deleted, or deployed by others, are of no release"))
}

async fn definition_of(name: &str, context: &ReleaseContext<'_>) -> Result<TaskDefinition, Failure> {
    let read = context.aws.task_definitions.task_definition(name).await;
    read.map_err(|e| call_failed(&format!("reading task definition `{}`", short(name)), &e))
}

/// CPU and memory that Fargate does not have together.
fn size_fits(invocation: &Invocation, definition: &TaskDefinition) -> Result<(), Failure> {
    if invocation.cpu.is_none() && invocation.memory.is_none() {
        return Ok(());
    }
    let mut sized = definition.clone();
    for (member, value) in [("cpu", &invocation.cpu), ("memory", &invocation.memory)] {
        if let Some(value) = value {
            sized.body.insert(member.to_owned(), Value::from(value.as_str()));
        }
    }
    let before = validate::problems(definition);
    match validate::problems(&sized).into_iter().find(|problem| !before.contains(problem)) {
        Some(problem) => Err(Failure::new(Reason::Config, format!("`--cpu`, `--memory`: {problem}"))),
        None => Ok(()),
    }
}

/// The definition of the task, as release commands derive theirs. An equal one of an earlier run is taken again.
async fn registered(
    running: &TaskDefinition,
    container: &ContainerName,
    image: Option<&PinnedImage>,
    context: &ReleaseContext<'_>,
) -> Result<(TaskDefinition, TaskDefinitionArn), Failure> {
    let mut base = running.clone();
    if let Some(image) = image {
        base.set_image(container, image.as_str());
    }
    let derived = match (one_off(&base, container, FAMILY), image) {
        (Some(derived), _) => derived,
        (None, Some(_)) => base.registrable().of_family(&format!("{}-{FAMILY}", base.family())),
        (None, None) => {
            let unknown = || Failure::new(Reason::Internal, "the task definition that serves has no ARN");
            return Ok((running.clone(), running.arn().ok_or_else(unknown)?));
        }
    };
    let doing = format!("registering the task definition `{}` of the task", derived.family());
    let found = found_or_registered(&derived, context.aws).await.map_err(|e| call_failed(&doing, &e))?;
    Ok((derived, found.arn))
}

async fn run_task(mut request: RunTask, context: &ReleaseContext<'_>) -> Result<TaskArn, Failure> {
    loop {
        note(context, OneOffState::Starting);
        match context.aws.tasks.run_task(&request).await {
            Ok(answer) => {
                let Some(task) = answer.tasks.into_iter().next() else {
                    note(context, OneOffState::NotStarted);
                    let (reason, detail) = answer.failures.into_iter().next().unwrap_or_default();
                    let why = format!("{reason} {detail}");
                    let why = if why.trim().is_empty() { "AWS gives no reason" } else { why.trim() };
                    let what = format!("RunTask started nothing: {why}");
                    let cause = cause::find(&Seen::refused(what.as_str()));
                    return Err(Failure::new(Reason::Task, what)
                        .with_next("AWS says why: when that has passed, run it again")
                        .because("RunTask started nothing", cause));
                };
                if let Some(record) = &mut context.record.borrow_mut().one_off {
                    (record.task, record.state) = (Some(task.arn.clone()), OneOffState::Running);
                }
                return Ok(task.arn);
            }
            // The task itself matters more than its tags: nothing has started.
            Err(e) if e.kind == CallErrorKind::Denied && e.action == "ecs:TagResource" && !request.tags.is_empty() => {
                context.warn(Warning::TaskWithoutTags { command: FAMILY.to_owned() });
                request.tags.clear();
                request.client_token.push_str("-untagged");
            }
            Err(e) => {
                if e.kind != CallErrorKind::Unreachable {
                    note(context, OneOffState::NotStarted);
                }
                return Err(call_failed("starting the task", &e));
            }
        }
    }
}

fn note(context: &ReleaseContext<'_>, state: OneOffState) {
    if let Some(record) = &mut context.record.borrow_mut().one_off {
        record.state = state;
    }
}
