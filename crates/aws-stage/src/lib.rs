//! The stage: an in-process stand-in for the AWS API surface that we use, running every task as a real container.
//!
//! Its semantics come from AWS's documentation, never from what our client happens to do. It listens on the loopback
//! interface and speaks AWS's wire protocols: the Rust SDK, the AWS CLI and botocore work against it with nothing but
//! `AWS_ENDPOINT_URL`. What AWS has no call for (a network, a repository's images, what a test wants to be played) is put into it
//! by its own functions.

#![warn(unreachable_pub)]
#![expect(
    clippy::disallowed_methods,
    reason = "AWS has a clock of its own, and so have the containers that the stage runs"
)]

pub mod api;
mod authorization;
pub mod behavior;
pub mod call_log;
mod cloudformation;
mod containers;
mod credentials;
mod ecr;
mod ecs;
mod elb;
pub mod error;
pub mod faults;
pub mod github;
mod iam;
mod logs;
pub mod oidc;
mod policy;
mod protocol;
mod rds;
pub mod registry;
mod request;
mod s3;
mod secrets;
mod server;
mod services;
mod ssm;
mod sts;
mod task_endpoint;
mod validation;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use bollard::Docker;
use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::{
    InspectNetworkOptions, ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptionsBuilder,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use behavior::Behavior;
use call_log::{CallLog, CallRecord};
use cloudformation::Stacks;
use credentials::{Credentials, ROOT_ACCESS_KEY};
use ecr::Ecr;
use ecs::{Deps, Ecs};
use elb::Elb;
use error::Reply;
use faults::{FaultPlan, Faults};
use github::GitHub;
use iam::Iam;
use logs::Logs;
use oidc::{GithubJob, Oidc};
use rds::Databases;
use registry::Registry;
use request::random_hex;
use s3::Objects;
use secrets::Secrets;
use services::Services;
use ssm::Parameters;
use sts::Sts;

/// How a stage is set up.
#[derive(Clone, Debug)]
pub struct StageOptions {
    /// The port to listen on; any free one if absent.
    pub port: Option<u16>,
    /// The account that the static access key is the root of.
    pub account: String,
    /// The Region of the stage.
    pub region: String,
    /// How open questions are played.
    pub behavior: Behavior,
    /// What goes wrong from the start.
    pub faults: FaultPlan,
    /// The job that GitHub's token endpoint answers for.
    pub github: GithubJob,
}

impl Default for StageOptions {
    fn default() -> Self {
        Self {
            port: None,
            account: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
            behavior: Behavior::default(),
            faults: FaultPlan::default(),
            github: GithubJob::default(),
        }
    }
}

/// A running stage. End it with [`Stage::shutdown`]; dropping it cleans up as well as a destructor can.
pub struct Stage {
    services: Arc<Services>,
    engine: Docker,
    address: SocketAddr,
    id: String,
    failure_injection: behavior::FailureInjection,
    alarms: behavior::Alarms,
    servers: [AbortHandle; 2],
    open: bool,
}

/// The label of everything that a stage makes in the Engine; its value is the stage's id.
pub const LABEL: &str = "fargate-deploy.stage";

impl Stage {
    /// Starts listening, and makes a Docker network for the tasks.
    pub async fn start(options: StageOptions) -> anyhow::Result<Self> {
        let engine = Docker::connect_with_defaults().context("cannot reach the Docker Engine")?;
        engine.ping().await.context("cannot reach the Docker Engine")?;
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port.unwrap_or(0)));
        let listener = TcpListener::bind(wanted).await.with_context(|| format!("cannot listen on `{wanted}`"))?;
        let address = listener.local_addr()?;
        let id = random_hex(6);
        let faults = options.faults.clone();
        let failure_injection = options.behavior.failure_injection.clone();
        let alarms = options.behavior.alarms.clone();
        let gateway = make_network(&engine, &id).await?;
        let (tasks, task_endpoint) = task_endpoint::listen(gateway).await.context("cannot listen for tasks")?;
        let services = match assemble(options, address, &engine, &id, task_endpoint) {
            Ok(services) => Arc::new(services),
            Err(error) => {
                sweep(&engine, &id).await;
                return Err(error);
            }
        };
        services.faults.set(faults);
        let servers = [
            tokio::spawn(server::serve(services.clone(), listener)).abort_handle(),
            tokio::spawn(task_endpoint::serve(services.clone(), tasks)).abort_handle(),
        ];
        Ok(Self { services, engine, address, id, failure_injection, alarms, servers, open: true })
    }

    /// The endpoint of every service: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The value of the label [`LABEL`] on everything of this stage in the Engine.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// One API call in-process, as the account's root: no faults, no policies, not in [`Stage::calls`]. Services go by
    /// their signing names, members by AWS's JSON casing.
    pub async fn call(&self, service: &str, operation: &str, body: Value) -> Reply {
        let root = self.services.credentials.root();
        self.services.call(&root, service, operation, body).await
    }

    /// Every request that came over the wire, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.services.call_log.calls()
    }

    /// Replaces the rules of what goes wrong.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.services.faults.set(plan);
    }

    /// GitHub's token service: its current job, and tokens of any kind.
    #[must_use]
    pub fn github(&self) -> &Oidc {
        &self.services.oidc
    }

    /// GitHub's REST API: the repository of the job.
    #[must_use]
    pub fn github_api(&self) -> &GitHub {
        &self.services.github
    }

    /// What a step of the job finds in its environment to reach GitHub's API.
    #[must_use]
    pub fn github_api_env(&self) -> Vec<(String, String)> {
        self.services.github.env(&format!("{}/_github", self.url()))
    }

    /// The images that were pushed.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.services.registry
    }

    /// What happens to tasks that start from now on.
    #[must_use]
    pub fn failure_injection(&self) -> &behavior::FailureInjection {
        &self.failure_injection
    }

    /// The CloudWatch alarms that deployments are watched by.
    #[must_use]
    pub fn alarms(&self) -> &behavior::Alarms {
        &self.alarms
    }

    /// Where the load balancer of a target group listens.
    #[must_use]
    pub fn listener(&self, target_group_arn: &str) -> Option<SocketAddr> {
        self.services.elb.listener(target_group_arn)
    }

    /// See [`Secrets::insert`].
    pub fn insert_secret(&self, arn: &str, key: Option<&str>, value: &str) {
        self.services.secrets.insert(arn, key, value);
    }

    /// A stack that CloudFormation describes, with its outputs.
    pub fn insert_stack(&self, name: &str, outputs: &std::collections::BTreeMap<String, String>) {
        self.services.stacks.insert(name, outputs);
    }

    /// An RDS instance, of which snapshots can be taken.
    pub fn insert_database(&self, instance: &str) {
        self.services.databases.insert(instance);
    }

    /// An object that S3 gives out.
    pub fn insert_object(&self, bucket: &str, key: &str, bytes: Vec<u8>) {
        self.services.objects.insert(bucket, key, bytes);
    }

    /// A user and password that may push to the registry.
    #[must_use]
    pub fn registry_login(&self) -> (String, String) {
        let (password, _) = self.services.registry.issue_password(&self.services.credentials.root());
        ("AWS".to_owned(), password)
    }

    /// What a job with `id-token: write` finds in its environment.
    #[must_use]
    pub fn github_env(&self) -> Vec<(String, String)> {
        let request_url = format!("{}/_github/oidc?api-version=2.0", self.url());
        let request_token = self.github().request_token().to_owned();
        vec![
            ("ACTIONS_ID_TOKEN_REQUEST_URL".to_owned(), request_url),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN".to_owned(), request_token),
        ]
    }

    /// What the AWS CLI and every SDK need to reach the stage.
    #[must_use]
    pub fn aws_env(&self) -> Vec<(String, String)> {
        let region = self.services.credentials.root().region;
        [("AWS_ENDPOINT_URL", self.url()), ("AWS_REGION", region.clone()), ("AWS_DEFAULT_REGION", region)]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
    }

    /// The account's root, for clients that bring no role: any secret goes with the key.
    #[must_use]
    pub fn root_env(&self) -> Vec<(String, String)> {
        [("AWS_ACCESS_KEY_ID", ROOT_ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", "stage")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    /// Stops listening and removes every container and network of this stage.
    pub async fn shutdown(mut self) {
        self.open = false;
        self.servers.iter().for_each(AbortHandle::abort);
        self.services.ecs.shutdown().await;
        self.services.elb.shutdown().await;
        sweep(&self.engine, &self.id).await;
        self.services.registry.clear();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.servers.iter().for_each(AbortHandle::abort);
        if !self.open {
            return;
        }
        let id = self.id.clone();
        // A destructor cannot await, and the runtime around it may be ending: a thread with a runtime of its own can.
        let sweeper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let (Ok(runtime), Ok(engine)) = (runtime, Docker::connect_with_defaults()) {
                runtime.block_on(sweep(&engine, &id));
            }
        });
        let _ = sweeper.join();
    }
}

/// Makes the network of the tasks. The address that it reaches the host under, if the Engine says.
async fn make_network(engine: &Docker, id: &str) -> anyhow::Result<Option<IpAddr>> {
    let network = network_name(id);
    let request = NetworkCreateRequest {
        name: network.clone(),
        labels: Some(HashMap::from([(LABEL.to_owned(), id.to_owned())])),
        ..Default::default()
    };
    let made = engine.create_network(request).await;
    made.with_context(|| format!("cannot make the Docker network `{network}`"))?;
    let found = engine.inspect_network(&network, None::<InspectNetworkOptions>).await.ok();
    let configs = found.and_then(|found| found.ipam?.config).unwrap_or_default();
    Ok(configs.into_iter().find_map(|config| config.gateway?.split('/').next()?.parse().ok()))
}

fn assemble(
    options: StageOptions,
    address: SocketAddr,
    engine: &Docker,
    id: &str,
    task_endpoint: String,
) -> anyhow::Result<Services> {
    let StageOptions { account, region, behavior, github, .. } = options;
    let root = std::env::temp_dir().join(network_name(id));
    let registry = Registry::new(address, &account, &region, root, behavior.identical_push_to_immutable_tag)
        .context("cannot make a place for image layers")?;
    let registry = Arc::new(registry);
    let logs = Arc::new(Logs::new(&account, &region));
    let elb = Elb::new(&account, &region, behavior.clone());
    let parameters = Arc::new(Parameters::new(&account, &region, behavior.read_lags.parameter_list));
    let secrets = Arc::new(Secrets::new(&account, &region));
    let iam = Arc::new(Iam::default());
    let api = GitHub::new(&github.repository, github.repository_id);
    let oidc = Arc::new(Oidc::new(github)?);
    let credentials = Arc::new(Credentials::new(&account, &region));
    let stacks = Stacks::new(&account, &region);
    let objects = Arc::new(Objects::default());
    let ecs = Ecs::new(Arc::new(Deps {
        account,
        region,
        behavior,
        engine: engine.clone(),
        network: network_name(id),
        label: format!("{LABEL}={id}"),
        logs: logs.clone(),
        elb: elb.clone(),
        parameters: parameters.clone(),
        secrets: secrets.clone(),
        images: registry.clone(),
        objects: objects.clone(),
        task_endpoint,
    }));
    Ok(Services {
        ecs,
        ecr: Ecr::new(registry.clone()),
        logs,
        elb,
        parameters,
        secrets,
        stacks,
        databases: Databases::default(),
        objects,
        sts: Sts::new(iam.clone(), oidc.clone(), credentials.clone()),
        iam,
        oidc,
        github: api,
        registry,
        credentials,
        faults: Faults::default(),
        call_log: CallLog::default(),
    })
}

/// Removes what carries the stage's label. What is already gone, or goes meanwhile, is fine.
async fn sweep(engine: &Docker, id: &str) {
    let filters = HashMap::from([("label", vec![format!("{LABEL}={id}")])]);
    let every = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    for container in engine.list_containers(Some(every)).await.unwrap_or_default() {
        if let Some(id) = container.id {
            let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            let _ = engine.remove_container(&id, Some(force)).await;
        }
    }
    let of_stage = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let volumes = engine.list_volumes(Some(of_stage)).await.ok().and_then(|found| found.volumes);
    for volume in volumes.unwrap_or_default() {
        let force = RemoveVolumeOptionsBuilder::default().force(true).build();
        let _ = engine.remove_volume(&volume.name, Some(force)).await;
    }
    let _ = engine.remove_network(&network_name(id)).await;
}

fn network_name(id: &str) -> String {
    format!("fargate-deploy-stage-{id}")
}
