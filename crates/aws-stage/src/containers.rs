//! Containers on the local Docker Engine: what a Fargate microVM is on AWS.

mod pause;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::{
    ContainerCreateBody, ExecConfig, HealthConfig, HostConfig, PortBinding, ResourcesUlimits, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder, StartContainerOptions,
};
use futures_util::StreamExt as _;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// One container to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerSpec {
    /// What the Engine knows the image by.
    pub image: String,
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    /// `NAME=VALUE`.
    pub environment: Vec<String>,
    pub working_directory: Option<String>,
    pub user: Option<String>,
    pub read_only: bool,
    /// An init process that passes signals on and reaps what is orphaned.
    pub init: bool,
    /// Linux capabilities.
    pub dropped: Vec<String>,
    /// Name, soft and hard value.
    pub limits: Vec<(String, i64, i64)>,
    /// `VOLUME:PATH` and `VOLUME:PATH:ro`.
    pub binds: Vec<String>,
    /// MiB.
    pub memory: Option<i64>,
    /// The container whose network it is in; without one it has its own.
    pub network_of: Option<String>,
    /// Published where the network is its own.
    pub ports: Vec<u16>,
    pub labels: HashMap<String, String>,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub code: i64,
    pub out_of_memory: bool,
}

/// An image in the Engine's store.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// `amd64` or `arm64`.
    pub architecture: Option<String>,
    /// The one that its registry gave under the name that was asked for; an image that was only built has none.
    pub digest: Option<String>,
}

/// The Engine, for one stage.
pub(crate) struct Containers {
    engine: Docker,
    network: String,
    /// The image of the containers that hold networks, once one was needed.
    pause_image: OnceCell<String>,
}

impl Containers {
    pub(crate) fn new(engine: Docker, network: String) -> Self {
        Self { engine, network, pause_image: OnceCell::new() }
    }

    /// The digest in the image's name, or the one that its registry gave.
    pub(crate) async fn pull(&self, reference: &str, credentials: DockerCredentials) -> Result<(), String> {
        let options = CreateImageOptionsBuilder::default().from_image(reference).build();
        let mut progress = self.engine.create_image(Some(options), None, Some(credentials));
        while let Some(step) = progress.next().await {
            let step = step.map_err(|e| e.to_string())?;
            if let Some(error) = step.error_detail.and_then(|e| e.message) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// `None` when the Engine does not have the image.
    pub(crate) async fn image(&self, reference: &str) -> Option<Image> {
        let found = self.engine.inspect_image(reference).await.ok()?;
        let of_registry = found.repo_digests.unwrap_or_default();
        let name = without_tag(reference);
        let digest =
            of_registry.iter().find_map(|known| known.strip_prefix(name)?.strip_prefix('@').map(str::to_owned));
        Some(Image { architecture: found.architecture, digest })
    }

    /// Creates and starts it. The id, or why it does not start.
    pub(crate) async fn start(&self, spec: &ContainerSpec) -> Result<String, String> {
        let exposed: Vec<String> = spec.ports.iter().map(|port| format!("{port}/tcp")).collect();
        let bindings = exposed.iter().map(|port| {
            let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) };
            (port.clone(), Some(vec![binding]))
        });
        let has_own_network = spec.network_of.is_none();
        let host = HostConfig {
            network_mode: Some(
                spec.network_of.as_ref().map_or_else(|| self.network.clone(), |first| format!("container:{first}")),
            ),
            port_bindings: has_own_network.then(|| bindings.collect()),
            extra_hosts: has_own_network.then(|| vec!["host.docker.internal:host-gateway".to_owned()]),
            readonly_rootfs: Some(spec.read_only),
            init: spec.init.then_some(true),
            cap_drop: (!spec.dropped.is_empty()).then(|| spec.dropped.clone()),
            ulimits: (!spec.limits.is_empty()).then(|| spec.limits.iter().map(limit).collect()),
            binds: (!spec.binds.is_empty()).then(|| spec.binds.clone()),
            // Docker lets every user listen on every port; Fargate, as Linux itself, only root below 1024.
            sysctls: has_own_network
                .then(|| HashMap::from([("net.ipv4.ip_unprivileged_port_start".to_owned(), "1024".to_owned())])),
            memory: spec.memory.map(|mib| mib * 1024 * 1024),
            memory_swap: spec.memory.map(|mib| mib * 1024 * 1024),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(spec.image.clone()),
            entrypoint: spec.entrypoint.clone(),
            cmd: spec.command.clone(),
            env: Some(spec.environment.clone()),
            working_dir: spec.working_directory.clone(),
            user: spec.user.clone(),
            exposed_ports: has_own_network.then_some(exposed),
            // ECS does not look at the image's own HEALTHCHECK.
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
            labels: Some(spec.labels.clone()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let made = self.engine.create_container(None, body).await.map_err(|e| e.to_string())?;
        match self.engine.start_container(&made.id, None::<StartContainerOptions>).await {
            Ok(()) => Ok(made.id),
            Err(e) => {
                self.remove(&made.id).await;
                Err(e.to_string())
            }
        }
    }

    /// Starts a stopped container again.
    pub(crate) async fn restart(&self, id: &str) -> Result<(), String> {
        self.engine.start_container(id, None::<StartContainerOptions>).await.map_err(|e| e.to_string())
    }

    /// Waits for its end. `None`: it is gone.
    pub(crate) async fn wait(&self, id: &str) -> Option<Exit> {
        loop {
            // The stream's own answer is an error for every code but 0; the state has the whole truth.
            let mut waiting = std::pin::pin!(self.engine.wait_container(id, None));
            let _ = waiting.next().await;
            let state = self.engine.inspect_container(id, None::<InspectContainerOptions>).await.ok()?.state?;
            if state.running != Some(true) {
                return Some(Exit {
                    code: state.exit_code.unwrap_or(-1),
                    out_of_memory: state.oom_killed == Some(true),
                });
            }
        }
    }

    pub(crate) async fn signal(&self, id: &str, signal: &str) {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        // One that has ended needs no signal.
        let _ = self.engine.kill_container(id, Some(options)).await;
    }

    pub(crate) async fn remove(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let _ = self.engine.remove_container(id, Some(options)).await;
    }

    /// Makes a volume, or finds it made.
    pub(crate) async fn create_volume(&self, name: &str, labels: HashMap<String, String>) -> Result<(), String> {
        let request = VolumeCreateRequest { name: Some(name.to_owned()), labels: Some(labels), ..Default::default() };
        self.engine.create_volume(request).await.map(drop).map_err(|e| e.to_string())
    }

    pub(crate) async fn remove_volume(&self, name: &str) {
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        let _ = self.engine.remove_volume(name, Some(options)).await;
    }

    /// Where the host reaches a published port.
    pub(crate) async fn address(&self, id: &str, port: u16) -> Option<SocketAddr> {
        let found = self.engine.inspect_container(id, None::<InspectContainerOptions>).await.ok()?;
        let ports = found.network_settings?.ports?;
        let host_port =
            ports.get(&format!("{port}/tcp"))?.as_ref()?.iter().find_map(|b| b.host_port.as_ref()?.parse().ok())?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, host_port)))
    }

    /// Hands over every line that it writes, both streams in their order, until it ends and nothing is left.
    pub(crate) async fn follow(&self, id: &str, mut line: impl FnMut(i64, String)) {
        let mut told = [0; 2];
        self.lines(id, true, [0; 2], |stream, at, text| {
            told[stream] += 1;
            line(at, text);
        })
        .await;
        // The Engine can end what it follows before the last lines of a container that has ended: they are in its log.
        self.lines(id, false, told, |_, at, text| line(at, text)).await;
    }

    /// The lines of its log but for so many at the beginning of each stream.
    async fn lines(&self, id: &str, follows: bool, skip: [usize; 2], mut line: impl FnMut(usize, i64, String)) {
        let options = LogsOptionsBuilder::default().follow(follows).stdout(true).stderr(true).build();
        let mut output = self.engine.logs(id, Some(options));
        let mut partial: [Vec<u8>; 2] = [vec![], vec![]];
        let mut seen = [0; 2];
        let mut tell = |stream: usize, text: &[u8]| {
            seen[stream] += 1;
            if seen[stream] > skip[stream] {
                line(stream, now(), String::from_utf8_lossy(text).trim_end_matches(['\n', '\r']).to_owned());
            }
        };
        while let Some(Ok(chunk)) = output.next().await {
            let stream = usize::from(matches!(chunk, LogOutput::StdErr { .. }));
            partial[stream].extend_from_slice(&chunk.into_bytes());
            while let Some(end) = partial[stream].iter().position(|byte| *byte == b'\n') {
                let text: Vec<u8> = partial[stream].drain(..=end).collect();
                tell(stream, &text);
            }
        }
        for (stream, rest) in partial.iter().enumerate().filter(|(_, rest)| !rest.is_empty()) {
            tell(stream, rest);
        }
    }

    /// Runs a health check inside: did it exit with 0 in time?
    pub(crate) async fn passes(&self, id: &str, command: &[String], limit: Duration) -> bool {
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let running = async {
            let exec = self.engine.create_exec(id, config).await.ok()?;
            if let StartExecResults::Attached { mut output, .. } = self.engine.start_exec(&exec.id, None).await.ok()? {
                while output.next().await.is_some() {}
            }
            self.engine.inspect_exec(&exec.id).await.ok()?.exit_code
        };
        timeout(limit, running).await.ok().flatten() == Some(0)
    }
}

fn limit((name, soft, hard): &(String, i64, i64)) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.clone()), soft: Some(*soft), hard: Some(*hard) }
}

/// A reference without tag and digest. A port is no tag.
pub(crate) fn without_tag(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path,
        _ => name,
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
