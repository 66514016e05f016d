//! What a release that stopped before its services moved has left: revisions that nothing runs yet, with images that are
//! in their repositories.

use super::failure::{Failure, Reason};
use super::names::{ContainerName, ImageKey, ServiceKey};
use super::promotion::Promoted;
use super::task_definition::{TAG_PREFIX, TaskDefinition};
use crate::validated_config::Config;

/// A service, the revision that it runs, and the newest of the family that it would get.
#[derive(Clone, Debug)]
pub struct Stopped {
    pub key: ServiceKey,
    pub running: TaskDefinition,
    pub newest: TaskDefinition,
}

/// The images that the config would build, by the digests of the release that stopped.
///
/// # Errors
/// `config`: nothing is left to resume, or it is of another commit.
pub fn resumed(config: &Config, sha: Option<&str>, services: &[Stopped]) -> Result<Vec<Promoted>, Failure> {
    let nothing = |why: String| {
        Failure::new(Reason::Config, format!("`--resume`: {why}")).with_next("leave `--resume` out to build and deploy")
    };
    // A release that stopped half-way runs in some of its services already: it is the newest of all, and not everywhere.
    let release = services.iter().filter_map(|service| service.newest.release()).max();
    let is_of_release = |service: &&Stopped| release.is_some() && service.newest.release() == release;
    if !services.iter().filter(is_of_release).any(|service| service.running.release() < release) {
        let first = services.first().map_or("", |service| service.key.as_str());
        return Err(nothing(format!("no release of service `{first}` stopped before it moved")));
    }
    let mut found = vec![];
    for image in &config.images {
        let users = services.iter().filter_map(|service| Some((service, container(config, service, &image.key)?)));
        let users: Vec<_> = users.collect();
        let Some((first, _)) = users.first() else {
            return Err(nothing(format!("no service runs image `{}`", image.key)));
        };
        let Some((service, container)) = users.iter().find(|(service, _)| is_of_release(service)) else {
            return Err(nothing(format!("no release of service `{}` stopped before it moved", first.key)));
        };
        let newest = &service.newest;
        let name = newest.arn().map_or_else(|| newest.family().to_owned(), |arn| arn.short().to_owned());
        let of = newest.tag(&format!("{TAG_PREFIX}sha"));
        if let (Some(of), Some(ours)) = (of, sha)
            && of != ours
        {
            return Err(nothing(format!("{name} is of commit {of}, and this is {ours}")));
        }
        let reference = newest.container(container).and_then(|c| c.get("image")?.as_str());
        let Some(reference) = reference.filter(|reference| reference.contains("@sha256:")) else {
            return Err(nothing(format!("{name} names no digest for container `{container}`")));
        };
        found.push(Promoted { key: image.key.clone(), reference: reference.into(), seen_in: name });
    }
    Ok(found)
}

fn container(config: &Config, service: &Stopped, image: &ImageKey) -> Option<ContainerName> {
    let of = config.services.iter().find(|s| s.key == service.key)?;
    let (name, _) = of.containers.iter().find(|(_, key)| key == image)?;
    name.clone().or_else(|| service.newest.sole_container())
}
