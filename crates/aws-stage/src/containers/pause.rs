//! The network that the containers of one task share.
//!
//! It belongs to a container of its own that does nothing, as in the ECS agent: the network of the task's first container would end
//! with it, while the others may start later or go on.

use super::{ContainerSpec, Containers};
use crate::programs::pause;
use bollard::body_full;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use futures_util::StreamExt as _;
use std::collections::HashMap;

const PROGRAM: &str = "pause";

impl Containers {
    /// Starts a container that owns a task's network, and publishes `ports` of it. Its id.
    pub(crate) async fn start_pause_container(
        &self,
        ports: Vec<u16>,
        labels: HashMap<String, String>,
    ) -> Result<String, String> {
        let image = self.pause_image.get_or_try_init(|| self.import_pause_image()).await?;
        let entrypoint = Some(vec![format!("/{PROGRAM}")]);
        self.start(&ContainerSpec { image: image.clone(), entrypoint, ports, labels, ..ContainerSpec::default() }).await
    }

    /// Removes the image that holds networks, once nothing of the stage runs any more.
    pub(crate) async fn remove_pause_image(&self) {
        if let Some(image) = self.pause_image.get() {
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            let _ = self.engine.remove_image(image, Some(options), None).await;
        }
    }

    /// Makes the pause image without any registry: one program of a few instructions.
    async fn import_pause_image(&self) -> Result<String, String> {
        let engine = self.engine.version().await.map_err(|e| e.to_string())?.arch.unwrap_or_default();
        let program = pause(&engine).ok_or_else(|| format!("the Engine's processor `{engine}` is not played"))?;
        let mut archive = tar::Builder::new(vec![]);
        let mut header = tar::Header::new_ustar();
        header.set_size(program.len() as u64);
        header.set_mode(0o555);
        let archive = archive
            .append_data(&mut header, PROGRAM, program.as_slice())
            .and_then(|()| archive.into_inner())
            .map_err(|e| e.to_string())?;
        // Under the name of the stage, so that what is left of it is found.
        let name = &self.network;
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(name).tag(PROGRAM).build();
        let mut progress = self.engine.create_image(Some(options), Some(body_full(archive.into())), None);
        while let Some(step) = progress.next().await {
            step.map_err(|e| e.to_string())?;
        }
        Ok(format!("{name}:{PROGRAM}"))
    }
}
