//! What a stage leaves in the Engine and on disk, and what becomes of it when its process ended without a word.
//!
//! Each stage has a folder, and a lock in it that the kernel frees when the process is gone, however it ended. Its network
//! carries the folder's path: whoever finds a lock free removes what carries the stage's label.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RemoveVolumeOptionsBuilder,
};

/// The label of everything that a stage makes in the Engine; its value is the stage's id.
pub const LABEL: &str = "fargate-deploy.stage";
/// On the network: the folder of the stage.
const FOLDER: &str = "fargate-deploy.stage.folder";
/// On the network: the machine that the folder is on. An Engine can have clients on several.
const MACHINE: &str = "fargate-deploy.stage.machine";
/// On the network: `HOST:PORT` of the stage's registry, with which the names of its images begin.
const REGISTRY: &str = "fargate-deploy.stage.registry";

const LOCK: &str = "lock";

/// The folder of a stage, locked while its process lives. Removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    pub(crate) fn make(id: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(name(id));
        // Under its own name it is locked from its first moment on: another stage could take it for a dead one's.
        let unlocked = std::env::temp_dir().join(format!(".{}", name(id)));
        let made = std::fs::create_dir(&unlocked).and_then(|()| {
            let lock = OpenOptions::new().create(true).truncate(true).write(true).open(unlocked.join(LOCK))?;
            lock.lock()?;
            std::fs::rename(&unlocked, &path)?;
            Ok(lock)
        });
        match made {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&unlocked);
                Err(error)
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The next stage removes what this one could not.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// What was removed of stages whose processes are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub containers: usize,
    pub networks: usize,
    pub volumes: usize,
    pub images: usize,
    pub folders: usize,
}

impl Swept {
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The name of a stage's network and of its folder.
pub(crate) fn name(id: &str) -> String {
    format!("fargate-deploy-stage-{id}")
}

/// The network of a stage, with what a later stage needs to know of it.
pub(crate) fn network(id: &str, folder: &Folder, registry: SocketAddr) -> NetworkCreateRequest {
    let labels = [
        (LABEL, id.to_owned()),
        (FOLDER, folder.path.display().to_string()),
        (MACHINE, machine()),
        (REGISTRY, registry.to_string()),
    ];
    NetworkCreateRequest {
        name: name(id),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
        ..Default::default()
    }
}

/// Removes what stages left whose processes are gone: in the Engine, and in the folder for temporary files. What lives is
/// left alone, and so is what another machine made.
///
/// # Errors
/// No Engine answers.
pub async fn sweep_leftovers() -> Result<Swept, bollard::errors::Error> {
    let engine = Docker::connect_with_defaults()?;
    let filters = HashMap::from([("label", vec![LABEL])]);
    let of_stages = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let networks = engine.list_networks(Some(of_stages)).await?;
    let mut swept = Swept::default();
    for labels in networks.into_iter().filter_map(|network| network.labels) {
        let label = |name: &str| labels.get(name).map(String::as_str);
        let (Some(id), Some(folder), Some(on)) = (label(LABEL), label(FOLDER), label(MACHINE)) else { continue };
        if on != machine() || !is_abandoned(Path::new(folder)) {
            continue;
        }
        sweep(&engine, id, label(REGISTRY), &mut swept).await;
        swept.folders += usize::from(std::fs::remove_dir_all(folder).is_ok());
    }
    for folder in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let is_ours = folder.file_name().to_str().is_some_and(|file| file.starts_with(&name("")));
        if is_ours && is_abandoned(&folder.path()) {
            swept.folders += usize::from(std::fs::remove_dir_all(folder.path()).is_ok());
        }
    }
    Ok(swept)
}

/// Nobody holds its lock any more. What cannot be looked at is another user's, and is left alone.
fn is_abandoned(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Removes what carries the stage's label, and the images of its registry. What is already gone, or goes meanwhile, is fine.
pub(crate) async fn sweep(engine: &Docker, id: &str, registry: Option<&str>, swept: &mut Swept) {
    let filters = HashMap::from([("label", vec![format!("{LABEL}={id}")])]);
    let every = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    for container in engine.list_containers(Some(every)).await.unwrap_or_default() {
        if let Some(id) = container.id {
            let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            swept.containers += usize::from(engine.remove_container(&id, Some(force)).await.is_ok());
        }
    }
    let of_stage = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let volumes = engine.list_volumes(Some(of_stage)).await.ok().and_then(|found| found.volumes);
    for volume in volumes.unwrap_or_default() {
        let force = RemoveVolumeOptionsBuilder::default().force(true).build();
        swept.volumes += usize::from(engine.remove_volume(&volume.name, Some(force)).await.is_ok());
    }
    let mut repositories = vec![format!("{}:", name(id))];
    repositories.extend(registry.map(|registry| format!("{registry}/")));
    remove_images(engine, &repositories, swept).await;
    swept.networks += usize::from(engine.remove_network(&name(id)).await.is_ok());
}

/// By their names: what another stage calls the same image by stays.
async fn remove_images(engine: &Docker, beginnings: &[String], swept: &mut Swept) {
    let all = engine.list_images(Some(ListImagesOptionsBuilder::default().build())).await.unwrap_or_default();
    for image in all {
        let names = image.repo_tags.into_iter().chain(image.repo_digests);
        let ours: Vec<_> = names.filter(|name| beginnings.iter().any(|start| name.starts_with(start))).collect();
        let mut is_gone = false;
        for name in &ours {
            let force = RemoveImageOptionsBuilder::default().force(true).build();
            is_gone |= engine.remove_image(name, Some(force), None).await.is_ok();
        }
        swept.images += usize::from(is_gone);
    }
}

/// What tells this machine from others that use the same Engine, as well as it can be told.
fn machine() -> String {
    let read = |file: &str| std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned());
    let known = ["/etc/machine-id", "/etc/hostname"].iter().find_map(|file| read(file).filter(|text| !text.is_empty()));
    known.unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_abandoned_once_nobody_holds_its_lock() {
        let folder = Folder::make("5ee9ab").unwrap();
        let path = folder.path().to_owned();
        assert!(path.join(LOCK).is_file() && !is_abandoned(&path));
        // What a process that was killed leaves: the folder, and a lock that nobody holds.
        let left = std::env::temp_dir().join(name("5ee9ac"));
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join(LOCK), "").unwrap();
        assert!(is_abandoned(&left));
        std::fs::remove_dir_all(&left).unwrap();
        assert!(is_abandoned(&left), "a folder that is gone is nobody's");
        drop(folder);
        assert!(!path.exists());
    }
}
