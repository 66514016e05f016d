//! What AWS and the leases still show of the releases of some services. Each look that a role may not have is left out and
//! named; what it would have told is unknown then.

use crate::clock;
use crate::config::ServiceConfig;
use crate::definition_file::read_definition;
use crate::error::call_failed;
use crate::lease;
use crate::ports::{Aws, Call, CallError, CallErrorKind};
use fargate_deploy_core::history::{Deployments, Note, Now, Release, ServicePast, releases};
use fargate_deploy_core::names::{ServiceDeploymentArn, ServiceRef, ServiceRevisionArn, TaskDefinitionArn};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::service::Service;
use fargate_deploy_core::task_definition::TaskDefinition;
use futures_util::future::{join_all, try_join_all};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// AWS keeps service deployments for 90 days.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html>
pub const KEPT: f64 = 90.0 * 86_400.0;
/// Deployments of a service that are read for each release that is asked for: rollouts of one release again, and back.
const DEPLOYMENTS_EACH: usize = 4;
/// Revisions of a family that are read at once.
const AT_ONCE: u64 = 10;
/// Revisions that are read for each release that is asked for: other tools register in the same families.
const REVISIONS_EACH: u64 = 4;
/// Revisions without our tags that are read to find the newest one with them.
const UNTAGGED: u64 = 60;

/// The history of some services.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub pasts: Vec<ServicePast>,
    /// The newest first.
    pub releases: Vec<Release>,
    /// What may not be read: what of it is not known, and the action that is missing.
    pub missing: Vec<Missing>,
}

/// A look that the role may not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// What is not known for that.
    pub what: String,
    pub action: String,
}

impl Missing {
    pub fn sentence(&self) -> String {
        format!("{}: not known, `{}` is not allowed", self.what, self.action)
    }
}

/// How much of a history is read.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// So many releases of each service, and every one that AWS or a lease says to have been deployed.
    pub releases: usize,
    /// And on until this one is found.
    pub until: Option<u64>,
}

/// Reads the releases of each service. `after`: the release commands that run when the services serve already.
///
/// # Errors
/// `permission`: no revision may be read. `unavailable`, `identity`: AWS could not be asked.
pub async fn read(
    services: &[ServiceConfig],
    depth: Depth,
    after: &[String],
    aws: Aws<'_>,
) -> Result<History, Failure> {
    let names: Vec<_> = services.iter().map(ServiceConfig::reference).collect();
    let mut missing = vec![];
    let found = described(&names, &mut missing, aws).await?;
    let reading = services.iter().zip(&found).map(|(service, now)| past(service, now.clone(), depth, aws));
    let mut pasts = vec![];
    for (past, lacks) in try_join_all(reading).await? {
        pasts.push(past);
        missing.extend(lacks);
    }
    missing.sort();
    missing.dedup();
    let releases = releases(&pasts, after);
    Ok(History { pasts, releases, missing })
}

/// What is there of each service, cluster by cluster: AWS does not say which one it does not know.
///
/// # Errors
/// AWS could not be asked.
pub async fn described(names: &[ServiceRef], missing: &mut Vec<Missing>, aws: Aws<'_>) -> Result<Vec<Now>, Failure> {
    let clusters: BTreeSet<_> = names.iter().map(|name| name.cluster.clone()).collect();
    let reads = clusters.into_iter().map(async |cluster| {
        let of_cluster: Vec<_> = names.iter().filter(|name| name.cluster == cluster).cloned().collect();
        let read = aws.services.services(&of_cluster).await;
        (of_cluster, read)
    });
    let mut known = vec![];
    for (of_cluster, read) in join_all(reads).await {
        match read {
            Ok(found) => known.extend(of_cluster.into_iter().zip(found.into_iter().map(now_of))),
            Err(e) if e.kind == CallErrorKind::NotFound => known.extend(of_cluster.into_iter().map(|n| (n, Now::Gone))),
            Err(e) => {
                lacks(missing, "what the services run", e).map_err(|e| call_failed("describing the services", &e))?;
                known.extend(of_cluster.into_iter().map(|n| (n, Now::Unknown)));
            }
        }
    }
    let of = |name: &ServiceRef| known.iter().find(|(of, _)| of == name).map(|(_, now)| now.clone());
    Ok(names.iter().map(|name| of(name).unwrap_or(Now::Unknown)).collect())
}

fn now_of(found: Option<Service>) -> Now {
    match found.filter(|service| service.status != "INACTIVE") {
        Some(service) => Now::Known(Box::new(service)),
        None => Now::Gone,
    }
}

/// Notes a permission that is missing; any other error is one.
fn lacks(missing: &mut Vec<Missing>, what: impl Into<String>, error: CallError) -> Result<(), CallError> {
    match error.kind {
        CallErrorKind::Denied => {
            missing.push(Missing { what: what.into(), action: error.action });
            Ok(())
        }
        _ => Err(error),
    }
}

async fn past(
    config: &ServiceConfig,
    now: Now,
    depth: Depth,
    aws: Aws<'_>,
) -> Result<(ServicePast, Vec<Missing>), Failure> {
    let service = config.reference();
    let mut missing = vec![];
    let failed = |e: CallError| call_failed(&format!("reading the releases of {service}"), &e);
    let deployments = match deployments(&service, depth.releases.saturating_mul(DEPLOYMENTS_EACH), aws).await {
        Ok(found) => Some(found),
        // A service that is gone has none.
        Err(e) if e.kind == CallErrorKind::NotFound => Some(Deployments::default()),
        Err(e) => {
            lacks(&mut missing, format!("what became of the deployments of {service}"), e).map_err(failed)?;
            None
        }
    };
    let notes: Vec<Note> = match lease::recorded(&service, aws).await {
        Ok(claims) => claims.into_iter().filter_map(|claim| claim.release).map(note_of).collect(),
        Err(failure) if failure.reason == Reason::Permission => {
            missing.push(Missing {
                what: format!("what the leases of {service} say of its releases"),
                action: "ssm:GetParametersByPath".to_owned(),
            });
            vec![]
        }
        Err(failure) => return Err(failure),
    };
    let revisions = revisions(config, &now, deployments.as_ref(), &notes, depth, aws).await.map_err(failed)?;
    let images = config.containers.iter().filter_map(|(container, key)| {
        let only = || revisions.first().and_then(TaskDefinition::sole_container);
        Some((container.clone().or_else(only)?, key.clone()))
    });
    let images = images.collect();
    let past = ServicePast { key: config.key.clone(), service, images, now, revisions, deployments, notes };
    Ok((past, missing))
}

fn note_of(record: lease::ReleaseRecord) -> Note {
    Note {
        revision: TaskDefinitionArn::new(record.revision),
        previous: TaskDefinitionArn::new(record.previous),
        is_verified: !record.owes_verification,
        owes_commands: record.owes_commands,
        ran: record.ran.into_iter().map(|done| (done.command, done.task)).collect(),
    }
}

/// The newest deployments of a service, each with the revision that it deploys.
async fn deployments(service: &ServiceRef, most: usize, aws: Aws<'_>) -> Call<Deployments> {
    let since = clock::now() - KEPT;
    let mut arns: Vec<ServiceDeploymentArn> = aws.services.service_deployments(service, since).await?;
    let is_whole = arns.len() <= most;
    arns.truncate(most);
    let found: Vec<_> = aws.services.service_deployments_by_arn(&arns).await?.into_iter().flatten().collect();
    let targets: Vec<ServiceRevisionArn> = found.iter().filter_map(|d| d.target_revision.clone()).collect();
    let revisions = aws.services.service_revisions(&targets).await?;
    let oldest = found.iter().map(|d| d.created_at).fold(f64::MAX, f64::min);
    let runs = |target: &ServiceRevisionArn| {
        revisions.iter().flatten().find(|revision| revision.arn == *target).map(|r| r.task_definition.clone())
    };
    let all =
        found.into_iter().map(|d| (d.target_revision.as_ref().and_then(runs), d)).map(|(to, d)| (d, to)).collect();
    Ok(Deployments { all, complete_since: if is_whole { since } else { oldest } })
}

/// The newest revisions of the families that the service runs, or has run, downwards by their numbers: whoever may describe
/// one needs no permission to list them, and those that were deregistered are among them. And every one that the service
/// runs or was told to run, however many others were registered since: other tools and other services have the same families.
async fn revisions(
    config: &ServiceConfig,
    now: &Now,
    deployments: Option<&Deployments>,
    notes: &[Note],
    depth: Depth,
    aws: Aws<'_>,
) -> Call<Vec<TaskDefinition>> {
    let mut named: Vec<TaskDefinitionArn> = vec![];
    if let Now::Known(now) = now {
        named.push(now.task_definition.clone());
        named.extend(now.deployments.iter().map(|d| d.task_definition.clone()));
    }
    named.extend(deployments.iter().flat_map(|d| d.all.iter().filter_map(|(_, to)| to.clone())));
    named.extend(notes.iter().flat_map(|note| [note.revision.clone(), note.previous.clone()]));
    named.retain(|arn| !arn.family().is_empty() && arn.revision().is_some());
    let mut families: Vec<String> = vec![];
    for arn in &named {
        if !families.iter().any(|family| family == arn.family()) {
            families.push(arn.family().to_owned());
        }
    }
    if families.is_empty()
        && let Some(file) = &config.task_definition
        && let Ok(definition) = read_definition(file).await
    {
        families.push(definition.family().to_owned());
    }
    let mut all = vec![];
    for family in families.iter().filter(|family| !family.is_empty()) {
        let newest = match aws.task_definitions.task_definition(family).await {
            Ok(newest) => newest.arn().as_ref().and_then(TaskDefinitionArn::revision),
            Err(e) if is_missing(&e) => None,
            Err(e) => return Err(e),
        };
        let mut numbers: Vec<u64> =
            named.iter().filter(|arn| arn.family() == family).filter_map(TaskDefinitionArn::revision).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let Some(newest) = newest.max(numbers.last().copied()) else { continue };
        let mut found = family_down(family, newest, depth, aws).await?;
        let known: Vec<u64> = found.iter().filter_map(number_of).collect();
        numbers.retain(|number| !known.contains(number));
        for chunk in numbers.chunks(AT_ONCE as usize) {
            found.extend(numbered(family, chunk.iter().copied(), aws).await?);
        }
        found.sort_by_key(|definition| Reverse(number_of(definition)));
        all.extend(found);
    }
    Ok(all)
}

fn number_of(definition: &TaskDefinition) -> Option<u64> {
    definition.arn()?.revision()
}

/// Those of a family's revisions that have not been deleted.
async fn numbered(family: &str, numbers: impl Iterator<Item = u64>, aws: Aws<'_>) -> Call<Vec<TaskDefinition>> {
    let reads =
        numbers.map(async |number| match aws.task_definitions.task_definition(&format!("{family}:{number}")).await {
            Ok(definition) => Ok(Some(definition)),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(e),
        });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

async fn family_down(family: &str, newest: u64, depth: Depth, aws: Aws<'_>) -> Call<Vec<TaskDefinition>> {
    let mut found: Vec<TaskDefinition> = vec![];
    let mut next = newest;
    let last = newest.saturating_sub(REVISIONS_EACH.saturating_mul(depth.releases as u64).max(AT_ONCE));
    loop {
        let releases = || found.iter().filter_map(TaskDefinition::release);
        // Releases are numbered in the order of their revisions, where nobody has begun again.
        let is_sought =
            depth.until.is_some_and(|wanted| !releases().any(|n| n == wanted) && releases().all(|n| n > wanted));
        let is_wanted = next > last && releases().count() < depth.releases;
        if next == 0 || !(is_wanted || is_sought) {
            return Ok(found);
        }
        let below = next.saturating_sub(AT_ONCE);
        found.extend(numbered(family, (below..next).rev().map(|number| number + 1), aws).await?);
        next = below;
    }
}

/// The highest number that a release of a family has: by the tags of its newest revisions, back to the first of ours, and by
/// what the leases of a service say that it was told to run. `of`: the number of a revision that counts.
///
/// # Errors
/// AWS could not be asked.
pub async fn highest_number(
    newest: &TaskDefinition,
    service: &ServiceRef,
    of: impl Fn(&TaskDefinition) -> Option<u64>,
    aws: Aws<'_>,
) -> Call<Option<u64>> {
    if let Some(number) = of(newest) {
        return Ok(Some(number));
    }
    let family = newest.family();
    let mut next = number_of(newest).unwrap_or_default().saturating_sub(1);
    let last = next.saturating_sub(UNTAGGED);
    while next > last {
        let below = next.saturating_sub(AT_ONCE).max(last);
        let found = numbered(family, below + 1..=next, aws).await?;
        if let Some(highest) = found.iter().filter_map(&of).max() {
            return Ok(Some(highest));
        }
        next = below;
    }
    if last == 0 {
        return Ok(None);
    }
    // A lease that may not be read says nothing.
    let told = lease::recorded(service, aws).await.unwrap_or_default();
    let last_told =
        told.into_iter().find_map(|claim| claim.release).map(|record| TaskDefinitionArn::new(record.revision));
    let Some(told) = last_told.filter(|told| told.family() == family) else { return Ok(None) };
    match aws.task_definitions.task_definition(told.as_str()).await {
        Ok(definition) => Ok(of(&definition)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

fn is_missing(error: &CallError) -> bool {
    matches!(error.kind, CallErrorKind::NotFound | CallErrorKind::Invalid)
}
