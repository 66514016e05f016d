//! What `--only` leaves of a release: the services that it names, with the images and release commands that are theirs.

use super::{ImageConfig, ReleaseCommand, ServiceConfig};
use fargate_deploy_core::names::ServiceKey;

pub(super) struct Chosen {
    pub images: Vec<ImageConfig>,
    pub services: Vec<ServiceConfig>,
    pub release: Vec<ReleaseCommand>,
    pub left_out: Vec<ServiceKey>,
}

impl Chosen {
    pub fn of(
        mut images: Vec<ImageConfig>,
        mut services: Vec<ServiceConfig>,
        mut release: Vec<ReleaseCommand>,
        only: &[ServiceKey],
    ) -> Self {
        let mut left_out = Vec::new();
        if !only.is_empty() {
            left_out = services.iter().map(|s| s.key.clone()).filter(|key| !only.contains(key)).collect();
            services.retain(|service| only.contains(&service.key));
            for service in &mut services {
                service.after.retain(|after| only.contains(after));
            }
            release.retain(|command| only.contains(&command.service));
            images.retain(|image| services.iter().any(|s| s.containers.iter().any(|(_, key)| *key == image.key)));
        }
        Self { images, services, release, left_out }
    }
}
