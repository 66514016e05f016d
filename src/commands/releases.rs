//! `releases`: what was deployed, by whom, and what became of it; one release in full, what its commands said, how two
//! differ, and an end to revisions that nobody goes back to any more.

use crate::cli::{Arguments, ReleasesAction, ReleasesFlags};
use crate::commands::bad_config;
use crate::commands::configure::configure;
use crate::commands::scope::Scope;
use crate::config::{self, Request, ServiceConfig};
use crate::context::RunContext;
use crate::error::call_failed;
use crate::events::Sink;
use crate::history::{self, Depth, History};
use crate::ports::{Aws, CallErrorKind, LogStream};
use crate::render::releases::{difference, info, json, table};
use crate::render::screen::ScreenLine;
use fargate_deploy_core::history::{Now, Outcome, Part, Release};
use fargate_deploy_core::names::{RoleArn, ServiceKey, TaskArn, TaskDefinitionArn, account_of};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_core::task_definition::one_off::one_off;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How far back a release is looked for that is named.
const FAR: usize = 60;

/// What is printed: for people, and as objects.
#[derive(Debug, Default)]
pub struct Printed {
    pub lines: Vec<ScreenLine>,
    pub objects: Vec<Value>,
}

/// # Errors
/// `config`: there is no such release. `identity`, `permission`, `unavailable`: AWS could not be asked.
pub async fn releases(
    flags: &ReleasesFlags,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
) -> Result<Printed, Failure> {
    let scope = Scope::read(&flags.service, arguments, env, directory, Arc::clone(&sink)).await?;
    let context = RunContext::read(env, directory);
    let others = match &flags.action {
        Some(ReleasesAction::Prune { .. }) => {
            other_services(&scope, arguments, env, directory, Arc::clone(&sink)).await?
        }
        _ => vec![],
    };
    let cloud = scope.open(&context, env, sink).await?;
    of_scope(flags, &scope, &others, cloud.ports(), crate::clock::now()).await
}

/// The services of the config's other environments in the same account and Region, as far as names tell, and those of this
/// one that are not asked for: their revisions may be of the same families.
async fn other_services(
    scope: &Scope,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
) -> Result<Vec<ServiceConfig>, Failure> {
    let asked = arguments.request();
    let names = config::environment_names(&asked, directory).map_err(|errors| bad_config(&errors))?;
    let account = |roles: &[RoleArn]| roles.last().and_then(|role| account_of(role.as_str()).map(str::to_owned));
    let mut all: Vec<ServiceConfig> = vec![];
    for name in names {
        let request = Request { environment: Some(name), needs_no_sources: true, ..asked.clone() };
        let config = configure(&request, env, directory, Arc::clone(&sink), std::future::pending()).await?;
        let (here, there) = (account(&scope.roles), account(&config.roles));
        let is_elsewhere = here.is_some() && there.is_some() && here != there;
        if config.region == scope.region && !is_elsewhere {
            all.extend(config.services);
        }
    }
    let is_asked = |service: &ServiceConfig| scope.services.iter().any(|asked| asked.service == service.reference());
    all.retain(|service| !is_asked(service));
    Ok(all)
}

async fn of_scope(
    flags: &ReleasesFlags,
    scope: &Scope,
    others: &[ServiceConfig],
    aws: Aws<'_>,
    now: f64,
) -> Result<Printed, Failure> {
    let wanted = match &flags.action {
        None if !flags.all => flags.number,
        Some(ReleasesAction::Prune { keep, .. }) => FAR.max(keep.saturating_mul(2)),
        _ => FAR,
    };
    let until = match &flags.action {
        Some(ReleasesAction::Info { release } | ReleasesAction::Output { release }) => Some(*release),
        Some(ReleasesAction::Diff { one, other }) => Some(*one.min(other)),
        None | Some(ReleasesAction::Prune { .. }) => None,
    };
    let depth = Depth { releases: wanted, until };
    let history = history::read(&scope.configs(), depth, &scope.commands_after, aws).await?;
    match &flags.action {
        None => Ok(listed(&history, if flags.all { usize::MAX } else { flags.number }, now)),
        Some(ReleasesAction::Info { release }) => {
            let release = named(&history, *release)?;
            Ok(Printed { lines: info(release, &history.missing, now), objects: vec![json(release)] })
        }
        Some(ReleasesAction::Diff { one, other }) => {
            let (one, other) = (named(&history, *one)?, named(&history, *other)?);
            let lines = difference(one, other);
            let text: Vec<_> = lines.iter().map(|line| line.text.clone()).collect();
            Ok(Printed { objects: vec![json!({"from": one.name(), "to": other.name(), "differences": text})], lines })
        }
        Some(ReleasesAction::Output { release }) => output(named(&history, *release)?, &history, aws).await,
        Some(ReleasesAction::Prune { keep, dry_run }) => {
            let others = history::read(others, depth, &[], aws).await?;
            prune(&history, &others, *keep, *dry_run, aws).await
        }
    }
}

/// The newest of them, as a table.
pub fn listed(history: &History, most: usize, now: f64) -> Printed {
    let keys: Vec<ServiceKey> = history.pasts.iter().map(|past| past.key.clone()).collect();
    let mut shown: Vec<&Release> = vec![];
    let mut releases = 0;
    for release in &history.releases {
        releases += usize::from(release.number.is_some());
        if releases > most {
            break;
        }
        shown.push(release);
    }
    let objects = shown.iter().map(|release| json(release)).collect();
    Printed { lines: table(&shown, &keys, &history.missing, now), objects }
}

fn named(history: &History, number: u64) -> Result<&Release, Failure> {
    history.releases.iter().find(|release| release.number == Some(number)).ok_or_else(|| {
        Failure::new(Reason::Config, format!("there is no release r{number}"))
            .with_next("`fargate-deploy releases --all` shows those that are known")
    })
}

/// What the release commands of a release said, as far as a lease still says which tasks ran them.
async fn output(release: &Release, history: &History, aws: Aws<'_>) -> Result<Printed, Failure> {
    let mut printed = Printed::default();
    for part in &release.parts {
        let Some(past) = history.pasts.iter().find(|past| past.key == part.key) else { continue };
        let notes = past.notes.iter().filter(|note| note.revision == part.revision);
        let Some(note) = notes.max_by_key(|note| note.ran.len()) else { continue };
        for (command, task) in &note.ran {
            let lines = lines_of(command, &TaskArn::new(task), part, aws).await?;
            printed.lines.push(ScreenLine::dim(format!("{command} (task {task})")));
            printed.lines.extend(lines.iter().map(ScreenLine::plain));
            printed.objects.push(json!({"command": command, "task": task, "lines": lines}));
        }
    }
    let known = |name: &str| printed.objects.iter().any(|object| object["command"] == name);
    let unknown: Vec<_> = release.commands.iter().map(|c| c.name.clone()).filter(|name| !known(name)).collect();
    for name in unknown {
        let text = format!("{name}: which task ran it is not known: the leases of the last nine releases say that");
        printed.lines.push(ScreenLine::dim(text));
    }
    if release.commands.is_empty() {
        printed.lines.push(ScreenLine::plain(format!("{} ran no release command", release.name())));
    }
    Ok(printed)
}

/// Of the container that the command ran in: the first that has a stream of this task.
async fn lines_of(command: &str, task: &TaskArn, part: &Part, aws: Aws<'_>) -> Result<Vec<String>, Failure> {
    for name in part.definition.container_names() {
        let container = name.into();
        let derived = one_off(&part.definition, &container, command);
        let definition: &TaskDefinition = derived.as_ref().unwrap_or(&part.definition);
        let Some(stream) = LogStream::of(definition, &container, task) else { continue };
        let mut lines = vec![];
        let mut after: Option<String> = None;
        loop {
            match aws.logs.log_events(&stream, after.as_deref()).await {
                Ok(page) => {
                    lines.extend(page.events.into_iter().map(|event| event.message));
                    if page.next.is_none() || page.next == after {
                        break;
                    }
                    after = page.next;
                }
                Err(e) if e.kind == CallErrorKind::NotFound => break,
                Err(e) => return Err(call_failed(&format!("reading the log of `{command}`"), &e)),
            }
        }
        if !lines.is_empty() {
            return Ok(lines);
        }
    }
    Ok(vec![])
}

/// Deregisters what is older than the `keep` newest releases, serves nowhere, and is nothing that one of the `others` could go
/// back to. Revisions that are of no release are left, and those of a family of others that were never deployed here: whose
/// these are is not known.
///
/// # Errors
/// `permission`: what a service runs may not be read.
pub async fn prune(
    history: &History,
    others: &History,
    keep: usize,
    is_dry_run: bool,
    aws: Aws<'_>,
) -> Result<Printed, Failure> {
    if let Some(past) = history.pasts.iter().chain(&others.pasts).find(|past| matches!(past.now, Now::Unknown)) {
        let what = format!("{}: what it runs may not be read, and that must stay", past.service);
        return Err(Failure::new(Reason::Permission, what)
            .with_next("allow `ecs:DescribeServices` in the policy of the role (docs/iam.md)"));
    }
    let serves = |part: &Part| matches!(part.outcome, Outcome::Serving | Outcome::RollingOut | Outcome::RollingBack);
    let was_deployed = |part: &Part| !part.outcome.is_never() && part.outcome != Outcome::Unknown;
    let of_others = |part: &Part| {
        let is_same = |other: &&Part| other.revision == part.revision;
        others.releases.iter().flat_map(|release| &release.parts).filter(is_same).collect::<Vec<_>>()
    };
    let is_theirs = |part: &Part| {
        let theirs = of_others(part);
        theirs.iter().any(|part| was_deployed(part)) || (!theirs.is_empty() && !was_deployed(part))
    };
    let is_ours = |release: &&Release| release.number.is_some() && !release.parts.iter().all(is_theirs);
    let ours = history.releases.iter().filter(is_ours);
    let old: Vec<(&Release, &Part)> = ours
        .skip(keep)
        .flat_map(|r| r.parts.iter().map(move |part| (r, part)))
        .filter(|(_, part)| !is_theirs(part))
        .collect();
    let mut printed = Printed::default();
    let mut done: Vec<&TaskDefinitionArn> = vec![];
    for (release, part) in old.into_iter().filter(|(_, part)| part.is_active() && !serves(part)) {
        let is_needed =
            history.releases.iter().flat_map(|r| &r.parts).any(|p| p.revision == part.revision && serves(p));
        if done.contains(&&part.revision) || is_needed {
            continue;
        }
        if !is_dry_run {
            let deregistered = aws.task_definitions.deregister(&part.revision).await;
            deregistered.map_err(|e| {
                let done = printed.lines.iter().map(|line| line.text.clone()).collect();
                call_failed(&format!("deregistering {}", part.revision.short()), &e).with_done(done)
            })?;
        }
        done.push(&part.revision);
        let verb = if is_dry_run { "would deregister" } else { "deregistered" };
        printed.lines.push(ScreenLine::plain(format!("{verb} {} of {}", part.revision.short(), release.name())));
        printed.objects.push(json!({"release": release.name(), "revision": part.revision, "done": !is_dry_run}));
    }
    if printed.lines.is_empty() {
        let text = format!("nothing is older than the {keep} newest releases and can go");
        printed.lines.push(ScreenLine::plain(text));
    }
    Ok(printed)
}
