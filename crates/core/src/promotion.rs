//! What another environment runs, and whether that is fit to be deployed elsewhere.
//!
//! Promoted is what stood the test there: the digests of the last release, when its rollout is over, has succeeded, and
//! still runs. Everything else is refused before anything changes.

use super::failure::{Failure, Reason};
use super::image::{Digest, ImageRef};
use super::names::{ContainerName, ImageKey, PinnedImage, ServiceKey};
use super::service::{Role, Service, ServiceDeployment, ServiceDeploymentStatus, State};
use super::task_definition::TaskDefinition;
use crate::validated_config::Config;

/// A service of the source environment as it is now.
#[derive(Clone, Debug)]
pub struct RunningService {
    pub key: ServiceKey,
    pub service: Service,
    /// The revision that it runs.
    pub running: TaskDefinition,
    /// The release that the deployment before the last one brought.
    pub release_before: Option<u64>,
    /// Its last deployment; `None` when that may not be read.
    pub deployment: Option<ServiceDeployment>,
    /// Container and digest, as ECS resolved them for the running revision.
    pub resolved: Vec<(String, Option<String>)>,
}

/// An image as another environment runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    pub key: ImageKey,
    pub reference: PinnedImage,
    /// Revision and release that it was read from, for people.
    pub seen_in: String,
}

/// The images of `wanted`, by the digests that the services of `source` run.
///
/// # Errors
/// `locked` while a rollout is on, else `config`: nothing was touched.
pub fn promoted(source: &Config, wanted: &[ImageKey], standings: &[RunningService]) -> Result<Vec<Promoted>, Failure> {
    let environment = source.environment.as_deref().unwrap_or("the source");
    let mut promoted = vec![];
    for key in wanted {
        let mut seen: Vec<(Promoted, &RunningService)> = vec![];
        for standing in standings {
            for container in containers(source, standing, key) {
                is_fit(standing).map_err(|failure| told_of(failure, standing, environment))?;
                let found = image(key, &container, standing)
                    .map_err(|why| told_of(Failure::new(Reason::Config, why), standing, environment))?;
                seen.push((found, standing));
            }
        }
        let Some((first, of)) = seen.first() else {
            return Err(Failure::new(Reason::Config, format!("image `{key}`: no service of `{environment}` runs it"))
                .with_next(format!(
                    "say which container does, under `services` of `{environment}`, or leave `--from` out"
                )));
        };
        if let Some((other, than)) = seen.iter().find(|(other, _)| other.reference != first.reference) {
            return Err(Failure::new(
                Reason::Config,
                format!("image `{key}`: the services of `{environment}` run different ones"),
            )
            .with_evidence(vec![
                format!("`{}` ({}) runs {}", of.key, first.seen_in, first.reference),
                format!("`{}` ({}) runs {}", than.key, other.seen_in, other.reference),
            ])
            .with_next(format!("deploy one release to all of `{environment}`, then promote it")));
        }
        promoted.push(first.clone());
    }
    Ok(promoted)
}

/// The services of `source` that an image of `wanted` is read from.
pub fn users<'a>(source: &'a Config, wanted: &'a [ImageKey]) -> Vec<&'a crate::validated_config::ServiceConfig> {
    source.services.iter().filter(|s| s.containers.iter().any(|(_, key)| wanted.contains(key))).collect()
}

fn told_of(failure: Failure, standing: &RunningService, environment: &str) -> Failure {
    let what = format!("service `{}` of `{environment}`: {}", standing.service.name, failure.what);
    Failure { what, ..failure }
}

fn containers(source: &Config, standing: &RunningService, image: &ImageKey) -> Vec<ContainerName> {
    let service = source.services.iter().find(|s| s.key == standing.key);
    let of_image = service.into_iter().flat_map(|s| &s.containers).filter(|(_, key)| key == image);
    of_image.filter_map(|(name, _)| name.clone().or_else(|| standing.running.sole_container())).collect()
}

fn is_fit(standing: &RunningService) -> Result<(), Failure> {
    let service = &standing.service;
    let runs = service.task_definition.short();
    let refuse = |why: String, next: &str| Err(Failure::new(Reason::Config, why).with_next(next));
    const AGAIN: &str = "deploy there again; or name the image yourself: `--image KEY=REF`";
    const WAIT: &str = "wait until it has ended, then run this again";
    let primary = service.primary();
    let is_rolling = service.deployments.iter().filter(|d| matches!(d.role, Role::Primary | Role::Active)).count() > 1
        || primary.is_some_and(|p| p.state == State::InProgress);
    if is_rolling {
        return Err(Failure::new(Reason::Locked, format!("{runs} is still rolling out")).with_next(WAIT));
    }
    if let Some(primary) = primary {
        if primary.state == State::Failed {
            return refuse(format!("its last deployment, of {}, failed", primary.task_definition.short()), AGAIN);
        }
        if primary.task_definition != service.task_definition {
            return refuse(format!("it is to run {runs}, and runs {}", primary.task_definition.short()), AGAIN);
        }
    }
    match standing.deployment.as_ref().map(|d| &d.status) {
        None | Some(ServiceDeploymentStatus::Successful) => {}
        Some(
            ServiceDeploymentStatus::Pending
            | ServiceDeploymentStatus::InProgress
            | ServiceDeploymentStatus::StopRequested
            | ServiceDeploymentStatus::RollbackRequested
            | ServiceDeploymentStatus::RollbackInProgress,
        ) => return Err(Failure::new(Reason::Locked, "a deployment of it has not ended").with_next(WAIT)),
        Some(ServiceDeploymentStatus::RollbackSuccessful) => {
            return refuse(format!("its last deployment was rolled back, so it runs {runs} again"), AGAIN);
        }
        Some(other) => return refuse(format!("its last deployment did not succeed: {other:?}"), AGAIN),
    }
    if let (Some(running), Some(before)) = (standing.running.release(), standing.release_before)
        && running < before
    {
        return refuse(
            format!("it went back from r{before} to r{running}: what was deployed last did not stay"),
            AGAIN,
        );
    }
    let counts = service.counts;
    if counts.desired == 0 {
        return refuse("its desired count is 0: nothing shows that it works".to_owned(), "start it, then promote");
    }
    if !counts.is_full() {
        let why = format!("{} of {} tasks run, {} are pending", counts.running, counts.desired, counts.pending);
        return refuse(why, "find out why, then run this again");
    }
    Ok(())
}

/// The digest in the task definition, or where that names a tag, the one that ECS resolved it to.
fn image(key: &ImageKey, container: &ContainerName, standing: &RunningService) -> Result<Promoted, String> {
    let runs = standing.service.task_definition.short();
    let Some(definition) = standing.running.container(container) else {
        let has = standing.running.container_names().join(", ");
        return Err(format!("container `{container}` is not in {runs}, which has {has}"));
    };
    let text = definition.get("image").and_then(|image| image.as_str()).unwrap_or_default();
    let reference = ImageRef::parse(text)?;
    let resolved = || {
        let (_, digest) = standing.resolved.iter().find(|(name, _)| name == container.as_str())?;
        Digest::parse(digest.as_ref()?).ok()
    };
    let Some(digest) = reference.digest.clone().or_else(resolved) else {
        return Err(format!("container `{container}` of {runs} runs `{text}`, and its digest is not known"));
    };
    let release = standing.running.release().map(|number| format!(", r{number}")).unwrap_or_default();
    Ok(Promoted {
        key: key.clone(),
        reference: PinnedImage::of(&reference.name(), &digest),
        seen_in: format!("{runs}{release}"),
    })
}
