//! `status`: what serves, what moves, what died last and why, who keeps deploys out. Each look that the role may not have
//! is one line, and nothing is guessed for it.

use crate::cli::{Arguments, StatusFlags};
use crate::commands::scope::Scope;
use crate::config::ServiceConfig;
use crate::context::RunContext;
use crate::error::{call_failed, sentence};
use crate::events::Sink;
use crate::evidence::{ending, is_cleared_away};
use crate::explanation::{self, Deployment, Explanation};
use crate::history::{KEPT, Missing, described};
use crate::lease::{self, Claim, ManualLock};
use crate::ports::{Aws, Call, CallError, CallErrorKind};
use crate::render::screen::{ScreenLine, printed};
use crate::render::status::{Heading, json, screen};
use crate::retry;
use fargate_deploy_core::history::Now;
use fargate_deploy_core::names::{ClusterName, ServiceRef, TaskArn};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::service::Service;
use fargate_deploy_core::status::{Drift, LastStop, Newest, RunningCommand, Seen, exit_code};
use fargate_deploy_core::task::Task;
use fargate_deploy_core::task_definition::TaskDefinition;
use futures_util::future::{join_all, join4};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Between two looks of `--watch`.
const PAUSE: Duration = Duration::from_secs(5);
/// How long is looked at a service: what AWS does not tell by then is not known.
const PATIENCE: Duration = Duration::from_secs(15);

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub services: Vec<Seen>,
    pub missing: Vec<Missing>,
}

/// What a look, or the last of them, comes to.
#[derive(Debug)]
pub struct Printed {
    pub lines: Vec<ScreenLine>,
    pub objects: Vec<Value>,
    pub exit_code: u8,
}

/// # Errors
/// `config`, `identity`, `permission`, `unavailable`: AWS could not be asked.
pub async fn status(
    flags: &StatusFlags,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Result<Printed, Failure> {
    let scope = Scope::read(&flags.service, arguments, env, directory, Arc::clone(&sink)).await?;
    let context = RunContext::read(env, directory);
    let cloud = scope.open(&context, env, sink).await?;
    let aws = cloud.ports();
    let heading = Heading { environment: scope.environment.clone(), region: aws.identity.region().to_owned() };
    let shown = |look: &Look| Printed {
        lines: screen(&heading, &look.services, &look.missing, crate::clock::now()),
        objects: look.services.iter().map(json).collect(),
        exit_code: exit_code(&look.services),
    };
    let services = scope.configs();
    let mut last = shown(&look(&services, aws).await?);
    if !flags.watch {
        return Ok(last);
    }
    let mut out =
        Watched { is_terminal: std::io::stdout().is_terminal(), is_json: arguments.global.json, before: vec![] };
    let watching = async {
        loop {
            out.show(&last, None);
            sleep(PAUSE).await;
            // What was seen last stays until something else is seen.
            match look(&services, aws).await {
                Ok(again) => last = shown(&again),
                Err(failure) => out.show(&last, Some(&failure)),
            }
        }
    };
    tokio::select! {
        () = interrupt => {}
        () = watching => {}
    }
    out.end();
    Ok(Printed { lines: vec![], objects: vec![], ..last })
}

/// The screen of `--watch`: drawn anew on a terminal, and elsewhere a line for each change.
struct Watched {
    is_terminal: bool,
    is_json: bool,
    before: Vec<String>,
}

impl Watched {
    fn show(&mut self, printed_now: &Printed, failure: Option<&Failure>) {
        let mut out = std::io::stdout();
        if self.is_json {
            let lines: Vec<String> = printed_now.objects.iter().map(Value::to_string).collect();
            self.changes(&mut out, lines);
            return;
        }
        let mut lines = printed_now.lines.clone();
        lines.extend(failure.map(|failure| ScreenLine::dim(format!("not read again: {}", failure.what))));
        let text = printed(&lines, self.is_terminal);
        if self.is_terminal {
            let enter = if self.before.is_empty() { "\u{1b}[?1049h" } else { "" };
            let _ = write!(out, "{enter}\u{1b}[H\u{1b}[2J{text}").and_then(|()| out.flush());
            self.before = vec![text];
        } else {
            self.changes(&mut out, text.lines().map(str::to_owned).collect());
        }
    }

    /// Those that were not there before. An age alone is no change.
    fn changes(&mut self, out: &mut impl Write, lines: Vec<String>) {
        let ageless = |line: &String| line.split(' ').filter(|word| !is_age(word)).collect::<Vec<_>>().join(" ");
        let known: Vec<String> = self.before.iter().map(ageless).collect();
        for line in lines.iter().filter(|line| !known.contains(&ageless(line))) {
            let _ = writeln!(out, "{line}");
        }
        let _ = out.flush();
        self.before = lines;
    }

    fn end(&self) {
        if self.is_terminal && !self.is_json {
            let _ = write!(std::io::stdout(), "\u{1b}[?1049l").and_then(|()| std::io::stdout().flush());
        }
    }
}

fn is_age(word: &str) -> bool {
    let number = word.trim_end_matches(',').strip_suffix(['s', 'm', 'h', 'd']);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Looks once at every service.
///
/// # Errors
/// `identity`, `unavailable`: AWS could not be asked.
pub async fn look(services: &[ServiceConfig], aws: Aws<'_>) -> Result<Look, Failure> {
    let mut missing = vec![];
    let names: Vec<ServiceRef> = services.iter().map(ServiceConfig::reference).collect();
    let found = retry::each_within(PATIENCE, described(&names, &mut missing, aws)).await?;
    let looks = services
        .iter()
        .zip(found)
        .map(|(service, now)| retry::all_within(PATIENCE, retry::each_within(retry::POLL, look_at(service, now, aws))));
    let mut seen = vec![];
    for (one, lacks) in join_all(looks).await {
        seen.push(one);
        missing.extend(lacks);
    }
    missing.sort();
    missing.dedup();
    Ok(Look { services: seen, missing })
}

/// What a look gives, or nothing where the role may not have it, or AWS does not tell.
#[derive(Default)]
struct Optional {
    missing: Vec<Missing>,
    unread: Vec<String>,
}

impl Optional {
    fn take<T: Default>(&mut self, what: &str, read: Call<T>) -> T {
        let lacks = |e: CallError| match e.kind {
            CallErrorKind::Denied => self.missing.push(Missing { what: what.to_owned(), action: e.action }),
            _ => self.unread.push(format!("{what}: not known, {}", sentence(&e))),
        };
        read.map_err(lacks).unwrap_or_default()
    }
}

async fn look_at(config: &ServiceConfig, now: Now, aws: Aws<'_>) -> (Seen, Vec<Missing>) {
    let service = config.reference();
    let mut optional = Optional::default();
    let url = config.smoke.first().and_then(|check| check.url.public_url());
    let mut seen = Seen {
        key: config.key.clone(),
        service: service.clone(),
        now,
        release: None,
        drift: None,
        newest: None,
        is_newest_unread: false,
        unread: vec![],
        last_stop: None,
        locked: None,
        released_by: None,
        command: None,
        targets: None,
        url,
    };
    let locks = lease::look(&service, aws);
    let Now::Known(known) = seen.now.clone() else {
        let (lock, _) = locks_of(&mut optional, &service, locks.await);
        seen.locked = lock.map(|lock| lock.sentence());
        seen.unread = optional.unread;
        return (seen, optional.missing);
    };
    let running = aws.task_definitions.task_definition(known.task_definition.as_str());
    let (running, newest, stopped, lock) = join4(running, newest(&service, aws), stopped(&service, aws), locks).await;
    let running = optional.take("which release runs", running.map(Some));
    seen.release = running.as_ref().and_then(TaskDefinition::release);
    seen.is_newest_unread = newest.as_ref().is_err_and(|e| e.kind != CallErrorKind::Denied);
    seen.newest = optional.take("how the deployments go", newest);
    let (lock, claims) = locks_of(&mut optional, &service, lock);
    seen.locked = lock.map(|lock| lock.sentence());
    seen.drift = drift(&known, running.as_ref(), &claims, aws).await;
    if let Some(held) = claims.first().filter(|claim| !claim.is_released) {
        seen.released_by = Some(held.owner.to_string());
        seen.command = running_command(held, aws).await;
    }
    let stopped = optional.take("which tasks stopped last", stopped);
    let (last, log_denied) = last_stop(&service, stopped, running.as_ref(), aws).await.unzip();
    seen.last_stop = last;
    let what = "what the task said that stopped last".to_owned();
    optional.missing.extend(log_denied.flatten().map(|action| Missing { what, action }));
    if let Some(group) = known.target_groups.first() {
        let health = aws.surroundings.target_health(group).await;
        let targets = optional.take("what the load balancer says", health.map(Some));
        seen.targets = targets.map(|all| (all.iter().filter(|t| t.state == "healthy").count(), all.len()));
    }
    seen.unread = optional.unread;
    (seen, optional.missing)
}

fn locks_of(
    optional: &mut Optional,
    service: &ServiceRef,
    looked: Result<(Option<ManualLock>, Vec<Claim>), Failure>,
) -> (Option<ManualLock>, Vec<Claim>) {
    match looked {
        Ok(found) => found,
        Err(failure) => {
            let what = format!("who keeps deploys out of {service}");
            match failure.reason {
                Reason::Permission => {
                    optional.missing.push(Missing { what, action: "ssm:GetParametersByPath".to_owned() });
                }
                _ => optional.unread.push(format!("{what}: not known, {}", failure.what)),
            }
            (None, vec![])
        }
    }
}

async fn newest(service: &ServiceRef, aws: Aws<'_>) -> Call<Option<Newest>> {
    let arns = aws.services.service_deployments(service, crate::clock::now() - KEPT).await?;
    let Some(arn) = arns.first() else { return Ok(None) };
    let Some(deployment) = aws.services.service_deployment(arn).await? else { return Ok(None) };
    let revision = match &deployment.target_revision {
        Some(target) => aws.services.service_revision(target).await?.map(|revision| revision.task_definition),
        None => None,
    };
    let release = match &revision {
        Some(arn) => {
            aws.task_definitions.task_definition(arn.as_str()).await.ok().and_then(|definition| definition.release())
        }
        None => None,
    };
    Ok(Some(Newest { deployment, revision, release }))
}

/// What runs is of another release than the last one, or of none.
async fn drift(service: &Service, running: Option<&TaskDefinition>, claims: &[Claim], aws: Aws<'_>) -> Option<Drift> {
    let running = running?;
    let registered_by = || running.body.get("registeredBy").and_then(Value::as_str).map(str::to_owned);
    if running.release().is_none() {
        return Some(Drift::Foreign { registered_by: registered_by() });
    }
    let last = claims.iter().find_map(|claim| claim.release.as_ref())?;
    let runs = service.task_definition.as_str();
    if last.revision == runs || last.previous == runs {
        return None;
    }
    let definition = aws.task_definitions.task_definition(&last.revision).await.ok()?;
    let name = definition.release().map(|number| format!("r{number}"));
    Some(Drift::Other { last: name.unwrap_or_else(|| last.revision.clone()) })
}

/// The release command that its lease says runs, unless it is known to have stopped.
async fn running_command(held: &Claim, aws: Aws<'_>) -> Option<RunningCommand> {
    let task = held.task.as_ref()?;
    let name = task.started_by.split('/').nth(1).unwrap_or(&task.started_by).to_owned();
    if let Some(arn) = &task.arn {
        let found = aws.tasks.tasks(&ClusterName::new(&task.cluster), &[TaskArn::new(arn)]).await.ok();
        if found.and_then(|found| found.into_iter().next()).is_some_and(|task| task.is_stopped()) {
            return None;
        }
    }
    Some(RunningCommand { name, task: task.arn.clone() })
}

async fn stopped(service: &ServiceRef, aws: Aws<'_>) -> Call<Vec<Task>> {
    let arns = aws.tasks.stopped_tasks(service).await?;
    if arns.is_empty() {
        return Ok(vec![]);
    }
    aws.tasks.tasks(&service.cluster, &arns).await
}

/// The last task that ended by itself, and the action that is missing to read its log.
async fn last_stop(
    service: &ServiceRef,
    mut tasks: Vec<Task>,
    running: Option<&TaskDefinition>,
    aws: Aws<'_>,
) -> Option<(LastStop, Option<String>)> {
    tasks.retain(|task| !is_cleared_away(task));
    tasks.sort_by(|a, b| b.stopped_at.unwrap_or(f64::MAX).total_cmp(&a.stopped_at.unwrap_or(f64::MAX)));
    let last = tasks.first()?.clone();
    let said = ending(&last);
    tasks.retain(|task| ending(task) == said);
    let own = match running.filter(|running| running.arn().as_ref() == Some(&last.task_definition)) {
        Some(running) => Some(running.clone()),
        None => aws.task_definitions.task_definition(last.task_definition.as_str()).await.ok(),
    };
    let explained = match &own {
        Some(definition) => {
            let deployment = Deployment { service, definition, since: None, reason: None, is_over: false };
            explanation::of_deployment(aws, &deployment, &tasks).await
        }
        None => Explanation::default(),
    };
    let Explanation { cause, log_denied, .. } = explained;
    let task = last.arn.id().to_owned();
    Some((LastStop { task, at: last.stopped_at, ending: said, cause, alike: tasks.len() }, log_denied))
}

/// # Errors
/// The deployment that waits could not be read.
pub(super) async fn newest_of(service: &ServiceRef, aws: Aws<'_>) -> Result<Option<Newest>, Failure> {
    let failed = |e: CallError| call_failed(&format!("reading the deployments of {service}"), &e);
    newest(service, aws).await.map_err(failed)
}
