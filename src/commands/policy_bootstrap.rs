//! `policy --bootstrap`: beside the role what a first deploy needs, to be read and applied by the team's own tool.

use crate::config::{Config, ImageSource};
use crate::definition_checks::{definitions, own};
use crate::render::foundations::{Foundations, Repository};
use fargate_deploy_core::image::ImageRef;
use fargate_deploy_core::task_definition::{TaskDefinition, container_name};

/// Repositories of the account, and the log groups of the task definitions in git: those of a service that runs are there.
pub async fn foundations(config: &Config) -> Foundations {
    let builds = config.images.iter().filter_map(|image| match &image.source {
        ImageSource::Build(build) => Some(build),
        ImageSource::Existing(_) => None,
    });
    let repositories = builds.filter_map(|build| {
        let reference = ImageRef::parse(&build.repository).ok()?;
        let is_here = reference.ecr().is_some() || build.repository == reference.repository;
        let has_fixed_tags = build.tags.iter().any(|tag| tag.contains('{'));
        is_here.then(|| Repository { name: reference.repository.clone(), has_fixed_tags })
    });
    let (services, commands) = futures_util::join!(definitions(config), own(config));
    let of_services = services.iter().filter_map(|(_, read)| read.as_ref().ok());
    let of_commands = commands.iter().filter_map(|(_, read)| read.as_ref().ok());
    let groups = |definition: &TaskDefinition| -> Vec<String> {
        let group = |name: &str| definition.log_destination(&name.into()).map(|(group, ..)| group);
        definition.containers().filter_map(|container| group(container_name(container))).collect()
    };
    let mut found: Vec<Repository> = repositories.collect();
    found.dedup();
    Foundations { repositories: found, log_groups: of_services.chain(of_commands).flat_map(groups).collect() }
}
