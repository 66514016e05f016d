//! One validated config: what a command needs to know, every value sound. The program's `config` module reads the file
//! and makes it; nothing downstream asks again.

use crate::names::{ClusterName, ContainerName, ImageKey, RoleArn, ServiceKey, ServiceName, ServiceRef};
use crate::resolved::Resolved;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything a command needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; `None` in the no-file form (`--cluster --service --image|--context`).
    pub file: Option<PathBuf>,
    /// What relative paths start from: the file's folder, or the working directory. All paths below are joined to it.
    pub root: PathBuf,
    /// The environment chosen with `-e`, already overlaid.
    pub environment: Option<String>,
    /// From the config, else the SDK's own chain decides (`AWS_REGION`, profile).
    pub region: Option<String>,
    /// Roles to assume, in order: the first by GitHub OIDC (or from ambient credentials), each next from the one before.
    pub roles: Vec<RoleArn>,
    /// In the order of the file.
    pub images: Vec<ImageConfig>,
    /// The BuildKit that builds; `None` is the Docker Engine's.
    pub builder: Option<BuilderConfig>,
    /// One-off tasks of the release, in order.
    pub release: Vec<ReleaseCommand>,
    /// In the order of the file; with `--only` those alone, with the images and release commands that are theirs.
    pub services: Vec<ServiceConfig>,
    /// What `--only` leaves out.
    pub left_out: LeftOut,
    /// The RDS instance of which a snapshot is taken before the first release command.
    pub snapshot: Option<String>,
    /// What becomes of the release's other services when one fails.
    pub on_failure: OnFailure,
    /// A crash loop ends the rollout before the circuit breaker's threshold does.
    pub fail_fast: bool,
    /// What becomes of rollouts on SIGINT or SIGTERM.
    pub on_cancel: OnCancel,
    pub lock: Lock,
    /// How long to watch a rollout before saying `timeout`. Default 30 minutes.
    pub wait: Duration,
    /// Deploy only what was reviewed as a plan.
    pub require_plan: bool,
    /// Roll on although nothing changed (`force-new-deployment`).
    pub force: bool,
    pub rehearse: RehearseConfig,
    /// Names of the Terraform outputs that values were taken from: what a Terraform plan is checked for.
    pub terraform_outputs: Vec<String>,
    /// Values of references that are shown as they are written, wherever they turn up.
    pub shown_as: Vec<Resolved>,
}

/// A BuildKit that is not the Docker Engine's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderConfig {
    /// `tcp://HOST:PORT`, `unix://PATH` or `docker-container://NAME`.
    pub endpoint: String,
    /// PEM files; a connection by TCP is plain without the first.
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The name in the builder's certificate, where it is not the endpoint's host.
    pub server_name: Option<String>,
}

/// An image of the release: built here, or given by reference.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageConfig {
    pub key: ImageKey,
    pub source: ImageSource,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ImageSource {
    /// `--image KEY=REF`: already built; only its digest is looked up.
    Existing(String),
    Build(Box<BuildConfig>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct BuildConfig {
    /// A bare ECR repository name (`team/app`), or a full reference with host.
    pub repository: String,
    pub create_repository: bool,
    /// From `Config::root`.
    pub context: PathBuf,
    /// From `Config::root`; `None` is `Dockerfile` in the context.
    pub dockerfile: Option<PathBuf>,
    pub target: Option<String>,
    pub args: BTreeMap<String, Resolved>,
    pub labels: BTreeMap<String, Resolved>,
    pub secrets: Vec<BuildSecret>,
    /// `linux/arm64` or `linux/amd64`; `None` takes it from the task definition's runtimePlatform.
    pub platform: Option<String>,
    /// With placeholders: `{sha}`, `{short-sha}`, `{branch}`, `{run}`, `{env}`.
    pub tags: Vec<String>,
    pub cache: Cache,
    pub reuse: Reuse,
}

/// A build secret, by where its value is. The value itself is read when the build starts.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildSecret {
    pub id: String,
    pub source: BuildSecretSource,
}

#[derive(Clone, Debug, PartialEq)]
pub enum BuildSecretSource {
    File(PathBuf),
    Env(String),
    /// What references in the config stand for.
    Value(Resolved),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cache {
    /// As `Inline`, and the stages whose steps the image does not hold are kept as images of their own. The default.
    Auto,
    /// `BUILDKIT_INLINE_CACHE` written into the image and read back from the repository.
    Inline,
    Off,
}

/// When an image that is already in the repository is taken instead of being built again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reuse {
    /// Same content of any commit where the content decides the image, else same commit and content. The default.
    Auto,
    /// Same commit and same content.
    Commit,
    /// Same content, of any commit.
    Content,
    Never,
}

impl Config {
    /// The names of the release commands that run when the services serve.
    pub fn commands_after(&self) -> Vec<String> {
        self.release.iter().filter(|command| command.when == When::After).map(|command| command.name.clone()).collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfig {
    pub key: ServiceKey,
    pub cluster: ClusterName,
    /// The ECS service.
    pub name: ServiceName,
    /// Container name -> image key. No name: the only essential container of the task definition.
    pub containers: Vec<(Option<ContainerName>, ImageKey)>,
    /// The file in git; `None` starts from the revision that the service runs.
    pub task_definition: Option<PathBuf>,
    pub after: Vec<ServiceKey>,
    pub smoke: Vec<SmokeCheck>,
}

impl ServiceConfig {
    pub fn reference(&self) -> ServiceRef {
        ServiceRef { cluster: self.cluster.clone(), name: self.name.clone() }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct SmokeCheck {
    pub url: Resolved,
    pub status: u16,
    pub within: Duration,
    /// A text that the body must contain.
    pub contains: Option<Resolved>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseCommand {
    pub name: String,
    /// The service that gives network, roles, logs and task definition.
    pub service: ServiceKey,
    /// `None`: the container that carries the (first) image of the release.
    pub container: Option<ContainerName>,
    /// The argv that replaces CMD; a string in the file became `sh -c STRING`.
    pub command: Vec<Resolved>,
    pub timeout: Duration,
    pub when: When,
    /// A task definition of its own, with its own family; `None` runs from the service's.
    pub task_definition: Option<PathBuf>,
}

/// When a release command runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Before any service moves.
    #[default]
    Before,
    /// When every service of the release serves and answers.
    After,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Every service that moved goes back.
    #[default]
    RollbackAll,
    /// Only those that failed go back.
    RollbackFailed,
    /// Nothing is put back, except by ECS itself.
    Leave,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnCancel {
    /// ECS goes on with what it was told.
    #[default]
    Leave,
    /// Services that are moving are told to go back.
    Rollback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Server-side, on SSM parameters; waits this long for another holder.
    Lease {
        wait: Duration,
    },
    None,
}

/// What `--only` leaves out of a release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeftOut {
    pub services: Vec<ServiceKey>,
    /// Release commands of those services.
    pub commands: Vec<String>,
    /// A service, and one that it comes after and does not wait for.
    pub after: Vec<(ServiceKey, ServiceKey)>,
}

/// What `rehearse` cannot know from the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RehearseConfig {
    /// Secret or parameter (as `valueFrom` names it) -> the value it has on the stage.
    pub values: BTreeMap<String, String>,
    /// What follows `tf:` in a reference -> its value.
    pub terraform: BTreeMap<String, String>,
    /// Stack -> output -> its value.
    pub stacks: BTreeMap<String, BTreeMap<String, String>>,
    /// Parameter -> its value.
    pub parameters: BTreeMap<String, String>,
    /// Where the config says that Terraform's outputs are (`s3://...`): the stage holds them there.
    pub terraform_at: Option<String>,
    /// What the application needs beside itself, in the order of the file.
    pub containers: Vec<RehearsedContainer>,
}

/// A container that stands for something that AWS or somebody else runs: a database, a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct RehearsedContainer {
    /// The name under which the application's containers reach it.
    pub name: String,
    pub image: String,
    /// The argv that replaces CMD; empty where the image's own runs.
    pub command: Vec<Resolved>,
    pub environment: BTreeMap<String, Resolved>,
    /// The argv that exits with 0 inside of it once it is ready; empty where the image's own health check, or the ports that
    /// it exposes, tell.
    pub ready: Vec<Resolved>,
}
