//! The volumes of a task: Docker volumes that live as long as it does, and one for each file system that outlives tasks.

use serde_json::Value;

use super::container::{self, Container};
use super::{TaskSpec, Tasks};

/// Makes what the task definition names. A file system is shared by every task of the stage.
pub(super) async fn create(tasks: &Tasks, spec: &TaskSpec, task_id: &str) -> Result<(), String> {
    for volume in all(spec) {
        let name = docker_name(tasks, volume, task_id);
        let made = tasks.containers.create_volume(&name, tasks.labels()).await;
        made.map_err(|why| format!("CannotCreateVolumeError: {why}"))?;
    }
    Ok(())
}

/// Removes what does not outlive the task.
pub(super) async fn remove(tasks: &Tasks, spec: &TaskSpec, task_id: &str) {
    for volume in all(spec).filter(|volume| file_system(volume).is_none()) {
        tasks.containers.remove_volume(&docker_name(tasks, volume, task_id)).await;
    }
}

/// `mountPoints` of the container, and those of the containers in `volumesFrom`, as the Engine takes them.
pub(super) fn binds(tasks: &Tasks, spec: &TaskSpec, task_id: &str, container: &Container) -> Vec<String> {
    let mut binds = own_binds(tasks, spec, task_id, container, false);
    for from in items(container, "volumesFrom") {
        let is_read_only = from.get("readOnly") == Some(&Value::Bool(true));
        let source = from.get("sourceContainer").and_then(Value::as_str);
        if let Some(source) = source.and_then(|name| container::container(&spec.definition, name)) {
            binds.extend(own_binds(tasks, spec, task_id, source, is_read_only));
        }
    }
    binds
}

fn own_binds(tasks: &Tasks, spec: &TaskSpec, task_id: &str, container: &Container, read_only: bool) -> Vec<String> {
    let bind = |mount: &Value| {
        let wanted = mount.get("sourceVolume")?.as_str()?;
        let volume = all(spec).find(|volume| volume.get("name").and_then(Value::as_str) == Some(wanted))?;
        let path = mount.get("containerPath")?.as_str()?;
        let read_only = read_only || mount.get("readOnly") == Some(&Value::Bool(true));
        Some(format!("{}:{path}{}", docker_name(tasks, volume, task_id), if read_only { ":ro" } else { "" }))
    };
    items(container, "mountPoints").filter_map(bind).collect()
}

fn all(spec: &TaskSpec) -> impl Iterator<Item = &Value> {
    spec.definition.body.get("volumes").and_then(Value::as_array).into_iter().flatten()
}

fn items<'a>(container: &'a Container, name: &str) -> impl Iterator<Item = &'a Value> {
    container.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// File system, access point and root directory of an EFS volume, as a name.
fn file_system(volume: &Value) -> Option<String> {
    let efs = volume.get("efsVolumeConfiguration")?;
    let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default().replace('/', "_");
    let point = efs.get("authorizationConfig").map(|config| text(config, "accessPointId")).unwrap_or_default();
    Some(format!("{}-{point}-{}", text(efs, "fileSystemId"), text(efs, "rootDirectory")))
}

fn docker_name(tasks: &Tasks, volume: &Value, task_id: &str) -> String {
    let stage = &tasks.deps.network;
    match file_system(volume) {
        Some(file_system) => format!("{stage}-efs-{file_system}"),
        None => format!("{stage}-{task_id}-{}", volume.get("name").and_then(Value::as_str).unwrap_or_default()),
    }
}
