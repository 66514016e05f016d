//! Everything worth telling, as data. Steps emit, and `render` writes the sentences.
//!
//! What is serialized here is documented in `docs/events.md`, and people's programs read it: a kind or a field keeps its
//! name and its meaning.

use fargate_deploy_core::cause::Cause;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::kinds;
use fargate_deploy_core::names::{
    ContainerName, DeploymentId, ImageKey, PinnedImage, RoleArn, ServiceKey, ServiceRef, TaskArn, TaskDefinitionArn,
};
use fargate_deploy_core::plan::LookUp;
use fargate_deploy_core::plan::risk::Risk;
use fargate_deploy_core::redact::{Secret, redact_json, without_credentials};
use fargate_deploy_core::rollout::{RolloutEvent, Verdict};
use fargate_deploy_core::smoke::{SmokeFailure, WrongAnswer};
use fargate_deploy_core::snapshot::SnapshotState;
use fargate_deploy_core::task::TaskVerdict;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// Where events go. Implementations must not fail: telling is never worth breaking a deploy for.
pub trait Sink {
    fn emit(&self, event: Event);

    /// `text` as it may leave the run, in a comment for one: without every secret that was told of until now.
    fn redacted(&self, text: &str) -> String {
        without_credentials(text)
    }

    /// The same for every text in a JSON value.
    fn redact_json(&self, value: &mut serde_json::Value) {
        redact_json(value, &|text| self.redacted(text));
    }
}

/// The steps of a release, in the order in which they can occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Identity,
    Preflight,
    Build,
    Push,
    Register,
    Lease,
    Release,
    RollOut,
    Smoke,
    RollBack,
    /// `exec`.
    Exec,
    /// `run`.
    Run,
    /// `logs`.
    Logs,
}

/// How long something took: written as seconds, to the millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Took(pub Duration);

impl Serialize for Took {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0.as_secs_f64() * 1000.0).round() / 1000.0)
    }
}

/// A service and the revision that it runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Running {
    pub service: ServiceRef,
    pub revision: TaskDefinitionArn,
}

/// Why a one-off task is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    Interrupted,
    Timeout,
}

/// How a step of a build ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum BuildStepState {
    Completed,
    Cached,
    Failed { error: String },
}

kinds! {
/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// The value must be masked before any later line: sent before anything could print it. Never written.
    #[serde(skip)]
    Mask(Secret),
    /// A value of the config that is shown as it is written there. Never written.
    #[serde(skip)]
    ShowAs { value: Secret, written: String },

    /// AWS is asked who we are.
    IdentityRequested { region: String },
    /// AWS says who we are.
    IdentityFound { arn: String, region: String, took: Took },

    /// An earlier release is put back: the revision of then of each service, and its images.
    GoingBack { to: u64, from: Option<u64>, services: Vec<Running>, digests: Vec<Digest> },
    /// Values that the config takes from AWS are read.
    ReferencesRequested { environment: Option<String> },
    /// They were read from so many stacks, parameters and state files.
    ReferencesRead { places: usize },
    /// What another environment runs is looked up.
    PromotionRequested { environment: String },
    /// The image that will be deployed, and where it was seen.
    ImagePromoted { image: ImageKey, reference: PinnedImage, environment: String, seen_in: String },
    /// All images were found in the other environment.
    ImagesPromoted { images: usize, environment: String },
    /// What a release that stopped has left is looked up.
    ResumeRequested,
    /// Its image will be deployed.
    ImageResumed { image: ImageKey, seen_in: String },

    /// Services, repositories and images are read; `again`: once nothing else moves the services.
    PreflightStarted { services: usize, images: Option<usize>, again: bool },
    /// What the services run now.
    ServicesRead { running: Vec<Running>, took: Took },

    /// An image is built.
    BuildStarted { image: ImageKey, platform: String },
    /// A step of its Dockerfile ended.
    BuildStep { image: ImageKey, name: String, #[serde(flatten)] state: BuildStepState },
    /// The builder warns.
    BuildWarned { image: ImageKey, text: String },
    /// So much of its context was sent to the Engine until now.
    ContextSent { image: ImageKey, bytes: u64 },
    /// It is in the Docker Engine.
    ImageBuilt { image: ImageKey, id: String, took: Took },
    /// The image is in its repository already: nothing is built.
    ImageReused { image: ImageKey, digest: Digest, looked_up: Option<LookUp> },
    /// An image of another commit was not looked for.
    ReuseLimited { image: ImageKey, why: String },
    /// A stage whose steps the image does not hold is pushed as an image of its own.
    StageKeeping { image: ImageKey, stage: String },
    /// The next build takes its steps from this tag.
    StageKept { image: ImageKey, stage: String, tag: String, took: Took },
    /// The build read a path that no instruction names: its content is not all that decides it.
    ContentExceeded { image: ImageKey, path: String },
    /// Of a plan: a deploy would not build it.
    BuildUnneeded { image: ImageKey },

    /// A repository is made.
    RepositoryRequested { repository: String },
    /// It is there.
    RepositoryCreated { repository: String, took: Took },
    /// An image is pushed.
    PushStarted { image: ImageKey, repository: String },
    /// A layer moves: bytes so far and bytes in all, 0 where that is not known.
    LayerPushed { image: ImageKey, layer: String, status: String, bytes: u64, total: u64 },
    /// The registry refused the login, and another one is asked for.
    LoginRenewed { image: ImageKey, error: String },
    /// The push is tried again.
    PushRetried { image: ImageKey, attempt: u32, error: String },
    /// The image is in its repository, under each of these tags.
    ImagePushed { image: ImageKey, digest: Digest, tags: Vec<String>, took: Took },
    /// An image in the repository gets further tags.
    TaggingStarted { image: ImageKey, digest: Digest },
    /// It has them.
    TagsPushed { image: ImageKey, digest: Digest, tags: Vec<String>, took: Took },

    /// A revision of a task definition is registered.
    RegistrationStarted { service: ServiceRef, family: String },
    /// The revision that the service shall run.
    RevisionRegistered { service: ServiceRef, revision: TaskDefinitionArn, release: u64, took: Took },
    /// An earlier attempt of this run has registered it: no other is registered.
    RevisionFound { service: ServiceRef, revision: TaskDefinitionArn },
    /// Nothing differs from the revision that runs: none is registered.
    RevisionUnchanged { service: ServiceRef, revision: TaskDefinitionArn },

    /// The lease of a service is asked for.
    LeaseRequested { service: ServiceRef },
    /// Another run has it: its URL or host, and who started it.
    LeaseWaiting { service: ServiceRef, run: String, actor: String },
    /// It is held, under this parameter.
    LeaseAcquired { service: ServiceRef, parameter: String, generation: u64, #[serde(skip)] token: Secret, took: Took },
    /// It is held no more.
    LeaseReleased { parameter: String },

    /// A snapshot of the database is asked for.
    SnapshotRequested { instance: String },
    /// RDS has begun it.
    SnapshotStarted { snapshot: String },
    /// An earlier attempt of this run has begun it.
    SnapshotFound { snapshot: String },
    /// It can be restored from.
    SnapshotAvailable { snapshot: String, instance: String, took: Took },

    /// A release command is about to run.
    CommandStarting { command: String, line: String },
    /// Its task was started.
    CommandTaskStarted { command: String, task: TaskArn, revision: TaskDefinitionArn },
    /// The task of an earlier attempt of this run is waited for: none is started.
    CommandAttached { command: String, task: TaskArn },
    /// An earlier attempt of this run has run it to a good end: it is not run again.
    CommandSucceededEarlier { command: String, task: TaskArn },
    /// AWS has no room for the task now: it is tried again.
    CommandWithoutCapacity { command: String, reason: String },
    /// Nothing of its task ran, by no fault of the command: it is started again.
    CommandRetried { command: String, #[serde(flatten)] verdict: TaskVerdict },
    /// Its task has stopped.
    CommandEnded { command: String, task: TaskArn, #[serde(flatten)] verdict: TaskVerdict, took: Took },
    /// `--skip-release-commands`.
    CommandsSkipped,

    /// A container is not ready for a session yet: it is waited for.
    AgentAwaited { task: TaskArn, container: ContainerName },
    /// A session in a container is asked for, over our own data channel or through the Session Manager plugin.
    SessionRequested { task: TaskArn, container: ContainerName, is_through_plugin: bool },
    /// Of `run -i`: its task is told to stop.
    SessionEnded { task: TaskArn },
    /// What a one-off task of a person will run.
    OneOffPrepared {
        service: ServiceRef, release: Option<u64>, container: ContainerName, image: String, revision: TaskDefinitionArn
    },
    /// Its task was started.
    OneOffStarted { task: TaskArn },
    /// A task that was started before is followed.
    OneOffAttached { task: TaskArn },
    /// Its task is told to stop, and why.
    OneOffStopping { task: TaskArn, why: StopReason },
    /// It goes on without us; `attach` is the command that follows it again.
    OneOffDetached { task: TaskArn, attach: String },
    /// Its task has stopped: what `run` ends with, and how long its containers ran, in seconds.
    OneOffEnded {
        task: TaskArn, #[serde(flatten)] verdict: TaskVerdict, exit_code: u8, took: Took, ran: Option<Took>,
        group: Option<String>, stream: Option<String>
    },

    /// How a task ended whose lines follow.
    TaskEnded { service: ServiceKey, task: TaskArn, ending: String },

    /// A service is told to run a revision.
    RolloutRequested { service: ServiceRef, revision: TaskDefinitionArn },
    /// ECS made a deployment of it.
    RolloutStarted { service: ServiceRef, deployment: DeploymentId, revision: TaskDefinitionArn },
    /// ECS made none, since the service runs that already.
    RolloutUnneeded { service: ServiceRef, revision: TaskDefinitionArn, took: Took },
    /// ECS did not take it.
    RolloutRefused { service: ServiceRef, error: String },
    /// ECS took it, and another run has taken the lease over meanwhile.
    RolloutTakenOver { service: ServiceRef },
    /// No service differs from what it should run.
    NothingToRollOut,
    /// A deployment is followed to its end.
    RolloutWatched { service: ServiceRef, deployment: DeploymentId },
    /// Something changed in it.
    RolloutNews { service: ServiceRef, #[serde(flatten)] news: RolloutEvent },
    /// What its stopped tasks tell.
    RolloutEvidence { service: ServiceRef, text: String },
    /// Why its tasks end, while it still goes on.
    RolloutExplained { service: ServiceRef, #[serde(flatten)] cause: Cause },
    /// How it ended.
    RolloutEnded { service: ServiceRef, revision: TaskDefinitionArn, #[serde(flatten)] verdict: Verdict, took: Took },

    /// A URL is asked until it answers as it should.
    SmokeStarted { url: String },
    /// It did.
    SmokePassed { url: String, status: u16, took: Took },
    /// It did not, in the time that it had.
    SmokeFailed(SmokeFailure),

    /// The previous revision is to be put back.
    RollbackStarted { service: ServiceRef, revision: TaskDefinitionArn },
    /// ECS was told to roll its deployment back.
    RollbackRequested { service: ServiceRef },
    /// ECS does not roll its deployment back: the previous revision is put back by UpdateService.
    RollbackByUpdate { service: ServiceRef, revision: TaskDefinitionArn, error: String },
    /// ECS made a deployment of the previous revision.
    RollbackRolloutStarted { service: ServiceRef, deployment: DeploymentId, revision: TaskDefinitionArn },
    /// A newer deployment owns the service: nothing is put back.
    RollbackSuperseded { service: ServiceRef, by: TaskDefinitionArn },
    /// ECS goes back by itself.
    RollbackUnderWay { service: ServiceRef },
    /// The previous revision could not be ordered.
    RollbackRefused { service: ServiceRef, error: String },

    /// A line of a container or of a build: never trusted.
    Output { step: Step, source: String, line: String },
    /// Still waiting, and for what: told each time that it was looked at.
    Waiting(Wait),
    /// Worth a person's attention, and no failure.
    Warning(Warning),
    /// Worth a note beside the run, and nothing wrong.
    Notice(Notice),

    /// What rehearsals left that did not end by themselves is removed.
    StageSwept { containers: usize, networks: usize, volumes: usize, images: usize, folders: usize },
    /// The stage of a rehearsal is furnished.
    StageOpened { url: String },
    /// What serves in a rehearsal before the release does.
    StagePrevious { previous: StagePrevious },
    /// A container that the application needs beside itself is ready.
    StageContainerReady { name: String, image: String },
    /// The images of its previous release are in its registry.
    StageImagesPushed,
    /// A command of its previous release ended well.
    StageCommandSucceeded { command: String },
    /// Its previous release serves, where it has one.
    StageReady { serves: bool },

    /// The run is over: the exit code, and the word of the failure where there is one.
    RunEnded { exit_code: u8, failure_reason: Option<String> },
}
}

kinds! {
/// What is waited for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "for", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Wait {
    /// Somebody else's deployment of a service.
    OtherDeployment { service: String },
    /// The run that holds the lease.
    Lease { service: ServiceRef, run: String, actor: String },
    /// The task that an earlier run started.
    EarlierTask { service: ServiceRef, started_by: String },
    /// What an earlier run was telling ECS: it must have arrived by then.
    EarlierOrder { service: ServiceRef },
    /// The database's snapshot.
    Snapshot { snapshot: String, #[serde(flatten)] state: SnapshotState },
    /// A release command, and what ECS says of its task.
    Command { command: String, task: TaskArn, status: String },
    /// The task of a release command, which cannot be read now.
    CommandUnreadable { command: String, task: TaskArn, error: String },
    /// A one-off task of a person, and what ECS says of it.
    OneOff { task: TaskArn, status: String },
    /// A call was not answered as it should have been: it is made again.
    Answer { of: String, error: String },
    /// AWS does not take an order now: it is given again.
    Order { action: String, error: String },
    /// A deployment of ours.
    Rollout { service: ServiceRef, running: i64, desired: i64 },
    /// A smoke check, and what it was answered last.
    Smoke { url: String, #[serde(flatten)] last: WrongAnswer },
    /// The build of a rehearsal's previous release.
    StageBuild { name: String },
}
}

kinds! {
/// What is worth a person's attention.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "warning", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Warning {
    /// Something about the plan can hurt although it is allowed.
    Plan(Risk),
    /// The lease was taken from a run that ended without releasing it.
    LeaseTakenOver { service: ServiceRef },
    /// A newer run of the same repository has deployed the service while this one waited: it is left to that.
    LeftToNewerRun { service: ServiceRef, run: String },
    /// A sign of life could not be written into the lease.
    LeaseNotRenewed { service: ServiceRef, error: String },
    /// Whether this run still holds the lease could not be read.
    LeaseNotConfirmed { service: ServiceRef, error: String },
    /// A release command exited with 0, and another container of its task ended badly, or did not run.
    ContainerBesideFailed {
        command: String, container: ContainerName, exit_code: Option<i64>, reason: Option<String>
    },
    /// The task of a release command has no tags: the role may not tag what RunTask starts.
    TaskWithoutTags { command: String },
    /// A word that only a shell understands is among words that no shell will see.
    WordForShell { word: String },
    /// A release command of this run is under way for the service that a one-off task is like.
    ReleaseUnderWay { service: ServiceRef, run: String, actor: String, command: String },
    /// The agent of a session has not answered yet; it is given up after so many seconds in all.
    AgentSilent { task: TaskArn, container: ContainerName, seconds: u64 },
    /// A container's log is not in CloudWatch: where it goes.
    LogElsewhere { container: ContainerName, driver: String, place: Option<String> },
    /// The command of a one-off task could not be run, as its exit code says; the entry point stays before it.
    CommandNotRunnable { exit_code: u8, entrypoint: Option<String> },
    /// There is no task whose lines could be shown; `is-previous`: none that has stopped.
    NoTasks { is_previous: bool },
    /// Logs could not be read just then.
    LogsNotRead { error: String },
    /// A release command has ended, and what its log still holds could not be read.
    LogNotRead { command: String, task: TaskArn, error: String },
    /// The log of a one-off task cannot be read now; it is read again while the task runs.
    LinesNotRead { task: TaskArn, error: String },
    /// A one-off task has ended, and what its log still holds could not be read: how it is read again.
    LinesLost { task: TaskArn, error: String, again: String },
    /// A one-off task has run, and its log was not there: how it is looked for again.
    LogAbsent { task: TaskArn, again: String },
    /// Which digests run could not be read.
    DigestsNotCompared { service: ServiceRef, error: String },
    /// The role may not read the service deployments of a service.
    DeploymentsNotReadable { service: ServiceRef, action: String },
    /// After a rollback the next deploy was to be kept out of a service, and is not.
    DeploysNotHeld { service: ServiceRef, error: String },
    /// Whether an image that is gone back to is still in its registry could not be read.
    ImageNotChecked { image: String, error: String },
    /// The credentials in the environment end with their session.
    CredentialsNotRenewable,
    /// GitHub's Deployment does not say what it should; `advice` where a permission is missing.
    GithubDeployment { problem: DeploymentProblem, error: String, advice: Option<String> },
    /// The plan was made from the files alone, why, and what to do for a whole one.
    PlannedOffline { why: String, next: String },
    /// The pull request does not say that this commit has no plan.
    FailureNotCommented { error: String },
    /// The plan is not on the pull request.
    PlanNotCommented { error: String },
    /// The plan's comment on the pull request does not say how its deploy ended.
    OutcomeNotCommented { error: String },
    /// The next build on another machine starts without what this one did.
    CacheNotKept { error: String },
    /// A tag is immutable and stays with an earlier build of the commit.
    TagTaken { tag: String, repository: String, digest: Digest },
    /// A variable names an endpoint of AWS on another machine without TLS.
    EndpointWithoutTls { variable: String },
    /// The file of `--events` cannot be written any more.
    EventsNotWritten { file: String, error: String },
}
}

kinds! {
/// What is worth a note.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "notice", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Notice {
    /// The plan was made from the files alone, and why.
    PlannedOffline { why: String },
    /// What is not known, since the role lacks an action.
    NotReadable { what: String, action: String },
    /// A release command of a later release, which a rollback does not undo; `is-certain`: it is known to have ended well.
    CommandStays { command: String, release: u64, is_certain: bool },
    /// There is no pull request to show the plan on, and why.
    NoPullRequest { why: String },
    /// A service's tasks started, and neither a health check nor a smoke check says more.
    Unverified { service: ServiceRef },
    /// The credentials of this machine may not assume the config's role, and are used as they are.
    RoleNotAssumed { role: RoleArn, caller: String },
    /// A rehearsal leaves a service's smoke checks out: it has no port that the stage could be asked at.
    SmokeNotRehearsed { service: ServiceKey },
    /// Release commands that a flag leaves out of the release.
    CommandsLeftOut { flag: String, commands: Vec<String> },
    /// A service comes after another one, which `--only` leaves out: it does not wait for it.
    OrderLeftOut { service: ServiceKey, after: ServiceKey },
    /// A service's desired count is 0: nothing of it started, so nothing of it was verified.
    NothingStarted { service: ServiceRef },
}
}

/// What serves in a rehearsal before the release does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StagePrevious {
    /// Nothing: the release is the first.
    None,
    /// A server that is not the user's.
    Neutral,
    /// The files of the release itself.
    Same,
    Commit {
        sha: String,
        /// The last one whose rehearsal was good, as opposed to one that was asked for.
        is_last_good: bool,
    },
}

/// What GitHub's Deployment lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentProblem {
    NotReachable,
    NotCreated,
    FirstStatusNotSet,
    /// The word of the status.
    StatusNotSet(String),
}
