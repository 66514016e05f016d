//! What `--only` leaves of a release: the services that it names, with the images and release commands that are theirs.

use super::{ImageConfig, ReleaseCommand, ServiceConfig, When};
use fargate_deploy_core::names::{ImageKey, ServiceKey};
use fargate_deploy_core::validated_config::LeftOut;

pub(super) struct Chosen {
    pub images: Vec<ImageConfig>,
    pub services: Vec<ServiceConfig>,
    pub release: Vec<ReleaseCommand>,
    pub left_out: LeftOut,
}

impl Chosen {
    /// The choice, and the commands without which it would put code into service that wants them to have run: those that run
    /// before any service moves, from an image that a chosen service gets.
    pub fn of(
        mut images: Vec<ImageConfig>,
        mut services: Vec<ServiceConfig>,
        mut release: Vec<ReleaseCommand>,
        only: &[ServiceKey],
    ) -> (Self, Vec<(String, ServiceKey)>) {
        let (mut left_out, mut needed) = (LeftOut::default(), vec![]);
        if !only.is_empty() {
            let images_of = |key: &ServiceKey| -> Vec<ImageKey> {
                let of = services.iter().find(|s| s.key == *key);
                of.into_iter().flat_map(|s| s.containers.iter().map(|(_, image)| image.clone())).collect()
            };
            let deployed: Vec<ImageKey> = only.iter().flat_map(images_of).collect();
            for command in release.iter().filter(|command| !only.contains(&command.service)) {
                left_out.commands.push(command.name.clone());
                if command.when == When::Before && images_of(&command.service).iter().any(|key| deployed.contains(key))
                {
                    needed.push((command.name.clone(), command.service.clone()));
                }
            }
            left_out.services = services.iter().map(|s| s.key.clone()).filter(|key| !only.contains(key)).collect();
            services.retain(|service| only.contains(&service.key));
            for service in &mut services {
                let unheeded = service.after.iter().filter(|after| !only.contains(after));
                left_out.after.extend(unheeded.map(|after| (service.key.clone(), after.clone())));
                service.after.retain(|after| only.contains(after));
            }
            release.retain(|command| only.contains(&command.service));
            images.retain(|image| services.iter().any(|s| s.containers.iter().any(|(_, key)| *key == image.key)));
        }
        (Self { images, services, release, left_out }, needed)
    }
}
