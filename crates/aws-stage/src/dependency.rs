//! Containers beside the stage: what an application needs that AWS, or somebody else, runs for it, such as a database.
//!
//! They are in the network of the tasks, which reach them by name, and go with the stage.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HealthStatusEnum, HostConfig, NetworkingConfig,
    PortBinding,
};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, InspectContainerOptions, LogsOptionsBuilder, StartContainerOptions,
};
use futures_util::StreamExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::containers::Containers;
use super::leftovers::{LABEL, name};

/// A database that makes itself for the first time takes ten seconds; one that takes this long is not coming.
const READY_WITHIN: Duration = Duration::from_secs(90);
const APART: Duration = Duration::from_millis(250);
/// How many last lines of one that does not come up are shown.
const LOG_LINES: &str = "20";

/// A container that an application needs.
#[derive(Clone, Debug, Default)]
pub struct Dependency {
    /// What the tasks reach it by.
    pub name: String,
    /// Pulled where the Engine does not have it.
    pub image: String,
    /// Replaces the image's own.
    pub command: Option<Vec<String>>,
    /// `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Exits with 0 inside of it once it is ready. Without one the image's health check tells, or that its ports answer.
    pub ready: Option<Vec<String>>,
}

/// Why it did not come up, and its last lines.
#[derive(Clone, Debug)]
pub struct NotReady {
    pub why: String,
    pub log: Vec<String>,
}

impl NotReady {
    fn new(why: impl ToString) -> Self {
        Self { why: why.to_string(), log: vec![] }
    }
}

/// Starts it, and waits until it is ready.
pub(crate) async fn start(engine: &Docker, stage: &str, wanted: &Dependency) -> Result<(), NotReady> {
    pull(engine, &wanted.image).await?;
    let ports = exposed_ports(engine, &wanted.image).await;
    let exposed: Vec<String> = ports.iter().map(|port| format!("{port}/tcp")).collect();
    let binding = || PortBinding { host_ip: Some(Ipv4Addr::LOCALHOST.to_string()), host_port: Some(String::new()) };
    let host = HostConfig {
        network_mode: Some(name(stage)),
        port_bindings: Some(exposed.iter().map(|port| (port.clone(), Some(vec![binding()]))).collect()),
        extra_hosts: Some(vec!["host.docker.internal:host-gateway".to_owned()]),
        ..HostConfig::default()
    };
    let in_network = EndpointSettings { aliases: Some(vec![wanted.name.clone()]), ..EndpointSettings::default() };
    let body = ContainerCreateBody {
        image: Some(wanted.image.clone()),
        cmd: wanted.command.clone(),
        env: Some(wanted.environment.clone()),
        exposed_ports: Some(exposed),
        labels: Some(HashMap::from([(LABEL.to_owned(), stage.to_owned())])),
        host_config: Some(host),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(name(stage), in_network)])),
        }),
        ..ContainerCreateBody::default()
    };
    let made = engine.create_container(None, body).await.map_err(NotReady::new)?;
    engine.start_container(&made.id, None::<StartContainerOptions>).await.map_err(NotReady::new)?;
    let ready = timeout(READY_WITHIN, until_ready(engine, stage, &made.id, wanted, &ports)).await;
    let why = match ready {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(_) => format!("it was not ready after {} s", READY_WITHIN.as_secs()),
    };
    Err(NotReady { why, log: last_lines(engine, &made.id).await })
}

async fn pull(engine: &Docker, image: &str) -> Result<(), NotReady> {
    if engine.inspect_image(image).await.is_ok() {
        return Ok(());
    }
    let mut progress =
        engine.create_image(Some(CreateImageOptionsBuilder::default().from_image(image).build()), None, None);
    while let Some(step) = progress.next().await {
        let step = step.map_err(NotReady::new)?;
        if let Some(error) = step.error_detail.and_then(|error| error.message) {
            return Err(NotReady::new(error));
        }
    }
    Ok(())
}

/// The TCP ports that an image says it listens on, lowest first.
pub(crate) async fn exposed_ports(engine: &Docker, image: &str) -> Vec<u16> {
    let config = engine.inspect_image(image).await.ok().and_then(|found| found.config);
    let named = config.and_then(|config| config.exposed_ports).unwrap_or_default();
    let mut ports: Vec<u16> = named.iter().filter_map(|port| tcp_port(port)).collect();
    ports.sort_unstable();
    ports
}

fn tcp_port(exposed: &str) -> Option<u16> {
    let (port, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
    (protocol == "tcp").then(|| port.parse().ok()).flatten()
}

/// # Errors
/// It ended instead.
async fn until_ready(engine: &Docker, stage: &str, id: &str, wanted: &Dependency, ports: &[u16]) -> Result<(), String> {
    let containers = Containers::new(engine.clone(), name(stage));
    loop {
        let found = engine.inspect_container(id, None::<InspectContainerOptions>).await.map_err(|e| e.to_string())?;
        let state = found.state.clone().unwrap_or_default();
        if state.running != Some(true) {
            return Err(format!("it exited with {}", state.exit_code.unwrap_or_default()));
        }
        let health = state.health.and_then(|health| health.status);
        let is_ready = match (&wanted.ready, health) {
            (Some(command), _) => containers.passes(id, command, Duration::from_secs(10)).await,
            (None, Some(HealthStatusEnum::HEALTHY)) => true,
            (None, Some(HealthStatusEnum::STARTING | HealthStatusEnum::UNHEALTHY)) => false,
            (None, _) => all_answer(&found, ports).await,
        };
        if is_ready {
            return Ok(());
        }
        sleep(APART).await;
    }
}

async fn all_answer(container: &ContainerInspectResponse, ports: &[u16]) -> bool {
    for port in ports {
        let published = container.network_settings.as_ref().and_then(|network| {
            let bindings = network.ports.as_ref()?.get(&format!("{port}/tcp"))?.as_ref()?;
            bindings.iter().find_map(|binding| binding.host_port.as_ref()?.parse::<u16>().ok())
        });
        let Some(published) = published else { return false };
        if !answers(SocketAddr::from((Ipv4Addr::LOCALHOST, published))).await {
            return false;
        }
    }
    true
}

/// The Engine's own proxy takes every connection, and closes it at once where nobody listens behind it.
async fn answers(address: SocketAddr) -> bool {
    let Ok(mut connection) = TcpStream::connect(address).await else { return false };
    let began = Instant::now();
    let mut first = [0];
    match timeout(Duration::from_millis(300), connection.read(&mut first)).await {
        Err(_) => true,
        Ok(Ok(read)) => read > 0 || began.elapsed() >= Duration::from_millis(300),
        Ok(Err(_)) => false,
    }
}

async fn last_lines(engine: &Docker, id: &str) -> Vec<String> {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LOG_LINES).build();
    let mut output = engine.logs(id, Some(options));
    let mut bytes = vec![];
    while let Some(Ok(chunk)) = output.next().await {
        bytes.extend_from_slice(&chunk.into_bytes());
    }
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}
