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
mod dependency;
mod ecr;
mod ecs;
mod elb;
pub mod error;
pub mod faults;
pub mod github;
mod iam;
mod leftovers;
mod logs;
pub mod oidc;
mod policy;
mod programs;
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

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::Docker;
use bollard::query_parameters::InspectNetworkOptions;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use behavior::Behavior;
use call_log::{CallLog, CallRecord};
use cloudformation::Stacks;
use credentials::{Credentials, ROOT_ACCESS_KEY};
pub use dependency::{Dependency, NotReady};
use ecr::Ecr;
use ecs::{Deps, Ecs};
use elb::Elb;
use error::Reply;
use faults::{FaultPlan, Faults};
use github::GitHub;
use iam::Iam;
use leftovers::Folder;
pub use leftovers::{LABEL, Swept, sweep_leftovers};
use logs::Logs;
use oidc::{GithubJob, Oidc};
pub use programs::neutral_server;
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
    exec_channel: behavior::ExecChannel,
    servers: [AbortHandle; 2],
    folder: Folder,
    open: bool,
}

/// Why a stage did not open. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No Docker Engine answers, or it does not do what a stage needs.
    #[error("the Docker Engine: {0}")]
    Engine(bollard::errors::Error),
    /// The port is taken, or not this user's to listen on.
    #[error("cannot listen on `{0}`: {1}")]
    Port(SocketAddr, std::io::Error),
    /// The disk is full, or the folder for temporary files is not this user's to write to.
    #[error("the folder `{}`: {}", .0.display(), .1)]
    Folder(PathBuf, std::io::Error),
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Stage {
    /// Starts listening, and makes a Docker network for the tasks.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: StageOptions) -> Result<Self, StartError> {
        let engine = Docker::connect_with_defaults().map_err(StartError::Engine)?;
        engine.ping().await.map_err(StartError::Engine)?;
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port.unwrap_or(0)));
        let listening = TcpListener::bind(wanted).await;
        let bound = listening.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| StartError::Port(wanted, error))?;
        let id = random_hex(6);
        let no_folder = |error| StartError::Folder(std::env::temp_dir(), error);
        let folder = Folder::make(&id).map_err(no_folder)?;
        let faults = options.faults.clone();
        let failure_injection = options.behavior.failure_injection.clone();
        let alarms = options.behavior.alarms.clone();
        let exec_channel = options.behavior.exec.clone();
        let gateway = make_network(&engine, &id, &folder, address).await?;
        let made = async {
            let (tasks, task_endpoint) = task_endpoint::listen(gateway).await?;
            let root = folder.path().join("registry");
            let registry = Registry::new(
                address,
                &options.account,
                &options.region,
                root,
                options.behavior.identical_push_to_immutable_tag,
            );
            let registry = Arc::new(registry.map_err(no_folder)?);
            Ok((tasks, assemble(options, registry, &engine, &id, task_endpoint)?))
        };
        let (tasks, services) = match made.await {
            Ok((tasks, services)) => (tasks, Arc::new(services)),
            Err(error) => {
                leftovers::sweep(&engine, &id, None, &mut Swept::default()).await;
                return Err(error);
            }
        };
        services.faults.set(faults);
        let servers = [
            tokio::spawn(server::serve(services.clone(), listener)).abort_handle(),
            tokio::spawn(task_endpoint::serve(services.clone(), tasks)).abort_handle(),
        ];
        Ok(Self { services, engine, address, id, failure_injection, alarms, exec_channel, servers, folder, open: true })
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

    /// The stage's folder for temporary files, which goes with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What kept the stage itself from playing AWS, if something did: a disk that is full.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.services.registry.trouble()
    }

    /// Starts what the application needs beside itself, and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or did not become ready; its last lines. It goes with the stage all the same.
    pub async fn start_dependency(&self, wanted: &Dependency) -> Result<(), NotReady> {
        dependency::start(&self.engine, &self.id, wanted).await
    }

    /// The TCP ports that an image in the Engine says it listens on, lowest first.
    pub async fn exposed_ports(&self, image: &str) -> Vec<u16> {
        dependency::exposed_ports(&self.engine, image).await
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

    /// How the data channels of ECS Exec are played from now on.
    #[must_use]
    pub fn exec_channel(&self) -> &behavior::ExecChannel {
        &self.exec_channel
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

    /// A role of whichever account for tasks, which may do everything: what it may do on AWS is not known here.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn insert_task_role(&self, arn: &str) -> Result<(), error::AwsError> {
        self.services.iam.insert_task_role(arn)
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

    /// Stops listening and removes every container, volume, image, network and file of this stage.
    pub async fn shutdown(mut self) {
        self.open = false;
        self.servers.iter().for_each(AbortHandle::abort);
        self.services.ecs.shutdown().await;
        self.services.elb.shutdown().await;
        let registry = self.address.to_string();
        leftovers::sweep(&self.engine, &self.id, Some(&registry), &mut Swept::default()).await;
        self.services.registry.clear();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.servers.iter().for_each(AbortHandle::abort);
        if !self.open {
            return;
        }
        let (id, registry) = (self.id.clone(), self.address.to_string());
        // A destructor cannot await, and the runtime around it may be ending: a thread with a runtime of its own can.
        let sweeper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let (Ok(runtime), Ok(engine)) = (runtime, Docker::connect_with_defaults()) {
                runtime.block_on(leftovers::sweep(&engine, &id, Some(&registry), &mut Swept::default()));
            }
        });
        let _ = sweeper.join();
    }
}

/// Makes the network of the tasks. The address that it reaches the host under, if the Engine says.
async fn make_network(
    engine: &Docker,
    id: &str,
    folder: &Folder,
    registry: SocketAddr,
) -> Result<Option<IpAddr>, StartError> {
    engine.create_network(leftovers::network(id, folder, registry)).await.map_err(StartError::Engine)?;
    let found = engine.inspect_network(&leftovers::name(id), None::<InspectNetworkOptions>).await.ok();
    let configs = found.and_then(|found| found.ipam?.config).unwrap_or_default();
    Ok(configs.into_iter().find_map(|config| config.gateway?.split('/').next()?.parse().ok()))
}

fn assemble(
    options: StageOptions,
    registry: Arc<Registry>,
    engine: &Docker,
    id: &str,
    task_endpoint: String,
) -> anyhow::Result<Services> {
    let StageOptions { account, region, behavior, github, .. } = options;
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
        network: leftovers::name(id),
        label: format!("{LABEL}={id}"),
        logs: logs.clone(),
        elb: elb.clone(),
        parameters: parameters.clone(),
        secrets: secrets.clone(),
        images: registry.clone(),
        iam: iam.clone(),
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
