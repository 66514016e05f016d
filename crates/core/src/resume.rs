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
    let mut found = vec![];
    for image in &config.images {
        let user = services.iter().find_map(|service| Some((service, container(config, service, &image.key)?)));
        let Some((service, container)) = user else {
            return Err(nothing(format!("no service runs image `{}`", image.key)));
        };
        let newest = &service.newest;
        let name = newest.arn().map_or_else(|| newest.family().to_owned(), |arn| arn.short().to_owned());
        if newest.release().is_none() || newest.release() <= service.running.release() {
            return Err(nothing(format!("no release of service `{}` stopped before it moved", service.key)));
        }
        let of = newest.tag(&format!("{TAG_PREFIX}sha"));
        if let (Some(of), Some(ours)) = (of, sha)
            && of != ours
        {
            return Err(nothing(format!("{name} is of commit {of}, and this is {ours}")));
        }
        let reference = newest.container(&container).and_then(|c| c.get("image")?.as_str());
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
