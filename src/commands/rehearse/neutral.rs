//! A server that stands for a previous release which is not the user's: it answers every request with 200.

use aws_stage::neutral_server;
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::{TaskDefinition, container_name};
use serde_json::{Map, Value, json};
use std::path::Path;

const PROGRAM: &str = "serve";

/// What its image is built from.
///
/// # Errors
/// `unavailable`: the folder cannot be written.
pub fn write(folder: &Path, platform: &str, port: Option<u64>) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let program = neutral_server(platform, port.and_then(|port| u16::try_from(port).ok())).ok_or_else(|| {
        Failure::new(Reason::Config, format!("--previous `neutral`: there is no such server for {platform}"))
    })?;
    let dockerfile = format!("FROM scratch\nCOPY {PROGRAM} /\nENTRYPOINT [\"/{PROGRAM}\"]\n");
    let file = folder.join(PROGRAM);
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, program))
        .and_then(|()| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)))
        .and_then(|()| std::fs::write(folder.join("Dockerfile"), dockerfile));
    written.map_err(|e| Failure::new(Reason::Unavailable, format!("the folder `{}`: {e}", folder.display())))
}

/// A definition with that one container: of the user's only what a load balancer needs to find it.
pub fn definition(of: &TaskDefinition, image: &str, port: Option<(String, u64)>) -> Map<String, Value> {
    let first = || of.containers().next().map(|container| container_name(container).to_owned()).unwrap_or_default();
    let (name, ports) = match port {
        Some((name, port)) => (name, vec![json!({"containerPort": port})]),
        None => (first(), vec![]),
    };
    // As PID 1 it would not hear SIGTERM.
    let container = json!({"name": name, "image": image, "essential": true, "portMappings": ports, "user": "0",
        "linuxParameters": {"initProcessEnabled": true}});
    let mut body: Map<String, Value> =
        of.registrable().body.into_iter().filter(|(member, _)| KEPT.contains(&member.as_str())).collect();
    body.insert("containerDefinitions".to_owned(), json!([container]));
    body
}

const KEPT: [&str; 7] =
    ["family", "cpu", "memory", "networkMode", "requiresCompatibilities", "executionRoleArn", "runtimePlatform"];
