//! How a run ends. Expected bad endings are values with an exit code, a word and a promise about the state.

pub use super::failure::{Failure, Place, Reason};

use super::image::Digest;
use super::invocation::NOT_THE_COMMANDS;
use super::names::{ImageKey, PinnedImage, ServiceKey, ServiceRef, TaskArn, TaskDefinitionArn};
use super::plan::document::PlanDocument;
use super::plan::offline::OfflineDocument;
use super::rollout::has_shifted;
use serde::Serialize;

/// A good ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// Our deployment is the primary one and completed, runs our digests, and the smoke checks passed.
    Deployed,
    /// Rolled out with a desired count of 0: nothing was started, so nothing was verified.
    DeployedNotVerified,
    /// `--no-wait`: ECS accepted it; how it ends was not watched.
    Started,
    /// Nothing differs from what runs.
    Unchanged,
    /// `--dry-run`: only planned.
    Planned,
    /// `run`: the command has ended, with whatever exit code.
    Exited,
    /// `run --detach`: its task was started.
    Detached,
}

impl Success {
    pub fn word(self) -> &'static str {
        match self {
            Success::Deployed => "deployed",
            Success::DeployedNotVerified => "deployed-not-verified",
            Success::Started => "started",
            Success::Unchanged => "unchanged",
            Success::Planned => "planned",
            Success::Exited => "exited",
            Success::Detached => "detached",
        }
    }
}

/// How a command ended, and what it did: its log, summary, outputs, comment and exit code are made from this.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub result: Result<Success, Failure>,
    pub record: Record,
}

impl Outcome {
    /// With `--detailed-exitcode` a plan with changes ends with 2, as Terraform's does; `failure-reason` is empty then,
    /// which tells it from a config that is wrong.
    /// <https://developer.hashicorp.com/terraform/cli/commands/plan>
    pub fn exit_code(&self) -> u8 {
        match &self.result {
            Err(failure) if self.record.one_off.is_some() && failure.reason != Reason::Cancelled => {
                self.record.one_off.as_ref().and_then(|one_off| one_off.exit_code).unwrap_or(NOT_THE_COMMANDS)
            }
            Err(failure) => failure.reason.exit_code(),
            Ok(_) if self.record.has_detailed_exit_code && self.record.has_planned_changes() => 2,
            Ok(_) => self.record.one_off.as_ref().and_then(|one_off| one_off.exit_code).unwrap_or_default(),
        }
    }

    /// As it may leave the run: see [`Failure::redacted`].
    #[must_use]
    pub fn redacted(self, redacted: impl Fn(&str) -> String) -> Self {
        Self { result: self.result.map_err(|failure| failure.redacted(redacted)), ..self }
    }

    pub fn is_cancelled(&self) -> bool {
        self.result.as_ref().is_err_and(|failure| failure.reason == Reason::Cancelled)
    }
}

/// It failed before it did anything but what it says.
impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        let record = Record { done: failure.done.clone(), ..Record::default() };
        Self { result: Err(failure), record }
    }
}

/// What a run did, in the order in which it did it: the source of the outputs and of every statement about the state.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub release: Option<u64>,
    pub images: Vec<ImageRecord>,
    pub registered: Vec<TaskDefinitionArn>,
    pub commands: Vec<CommandRecord>,
    /// The database and the snapshot of it that was taken before the first command.
    pub snapshot: Option<(String, String)>,
    pub services: Vec<ServiceRecord>,
    /// Of `run`.
    pub one_off: Option<OneOffRecord>,
    /// How many services a plan would change.
    pub planned_changes: Option<usize>,
    pub plan: Option<Box<PlanDocument>>,
    /// A plan without AWS.
    pub offline_plan: Option<Box<OfflineDocument>>,
    /// `--detailed-exitcode`: a plan with changes ends with 2.
    pub has_detailed_exit_code: bool,
    /// The run is a rollback.
    pub went_back: Option<WentBack>,
    /// It was done on a stand-in for AWS that is gone afterwards, with all that was pushed and registered.
    pub is_rehearsed: bool,
    /// What a command that is no release did, a sentence each.
    pub done: Vec<String>,
}

/// What a rollback goes back to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WentBack {
    pub to: u64,
    /// What served before it.
    pub from: Option<u64>,
    /// Release commands of later releases, which stay applied: the release, the command, and whether it is known to have
    /// ended well.
    pub stays_applied: Vec<(u64, String, bool)>,
    /// A person's lock keeps deploys out since.
    pub is_held: bool,
    /// One was asked for.
    #[serde(skip)]
    pub is_to_be_held: bool,
}

impl WentBack {
    /// One sentence a release command that nothing undoes.
    fn sentences(&self) -> impl Iterator<Item = String> {
        self.stays_applied.iter().map(|(release, name, is_certain)| match is_certain {
            true => format!("`{name}` of r{release} stays applied: the older code now meets what it changed"),
            false => format!("`{name}` of r{release} may have run: what it changed stays"),
        })
    }

    /// The commands that put back what the rollback has replaced.
    pub fn undo(&self) -> Option<String> {
        let from = self.from?;
        let unlock = if self.is_held { "fargate-deploy lock release && " } else { "" };
        Some(format!("{unlock}fargate-deploy rollback --to r{from}"))
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageRecord {
    pub key: ImageKey,
    pub image: PinnedImage,
    pub digest: Digest,
    /// Built and pushed by this run, as opposed to found.
    pub is_new: bool,
}

#[derive(Clone, Debug)]
pub struct CommandRecord {
    pub name: String,
    pub task: Option<TaskArn>,
    /// A line of its log was seen.
    pub has_output: bool,
    pub state: CommandState,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CommandState {
    /// RunTask was sent; whether it started is not known.
    Starting,
    Running,
    /// It was started; what became of it could not be seen.
    Unknown,
    Succeeded,
    /// It ran, and failed: what it changed until then may be applied.
    Failed {
        exit_code: Option<i64>,
    },
    /// It ran, and was stopped from outside before it ended by itself: it may be applied in part.
    Killed {
        exit_code: Option<i64>,
    },
    /// It never ran.
    NeverStarted,
}

impl CommandState {
    pub fn may_have_run(&self) -> bool {
        !matches!(self, Self::NeverStarted)
    }
}

/// The task of `run`.
#[derive(Clone, Debug, Default)]
pub struct OneOffRecord {
    pub task: Option<TaskArn>,
    pub state: OneOffState,
    /// What `run` ends with where that is about the command: its own code, 126 or 127.
    pub exit_code: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OneOffState {
    #[default]
    NotStarted,
    /// RunTask was sent; whether it started is not known.
    Starting,
    Running,
    /// It was started; what became of it could not be seen.
    Unknown,
    /// It was told to stop.
    Stopping,
    Stopped,
}

#[derive(Clone, Debug)]
pub struct ServiceRecord {
    pub key: ServiceKey,
    pub service: ServiceRef,
    pub previous: TaskDefinitionArn,
    pub target: Option<TaskDefinitionArn>,
    /// Release number of the previous revision, where its tags tell.
    pub previous_release: Option<u64>,
    /// Neither a health check nor a smoke check says more than that its tasks started.
    pub is_unchecked: bool,
    pub state: ServiceState,
    pub url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    Untouched,
    /// UpdateService was sent; its answer has not come.
    Updating,
    RollingOut,
    /// The deployment has stages, and requests are moving from the previous revision to the new one.
    ShiftingTraffic,
    /// The deployment has stages: all requests go to the new revision, and ECS may still go back.
    Baking,
    Serving,
    /// It has replaced what ran before it, and so many of its tasks run.
    Short {
        running: i64,
        desired: i64,
    },
    /// The previous revision is being put back.
    RollingBack,
    RolledBack,
    Superseded,
    /// It was deleted.
    Gone,
    /// ECS took the new revision, and then the service could not be read any more.
    Unknown,
    Unsteady,
}

impl ServiceState {
    /// Of a deployment that goes on: who serves is decided by its stage, where it has stages.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html>
    pub fn rolling_out(stage: Option<&str>) -> Self {
        match stage {
            Some("PRODUCTION_TRAFFIC_SHIFT") => Self::ShiftingTraffic,
            Some(stage) if has_shifted(stage) => Self::Baking,
            _ => Self::RollingOut,
        }
    }

    pub fn is_rolling_out(self) -> bool {
        matches!(self, Self::RollingOut | Self::ShiftingTraffic | Self::Baking)
    }
}

/// Of a rehearsal: what its containers and services were is told, and is gone.
const NOTHING_LEFT: &str = "this was a rehearsal: nothing of it is left on this machine";

impl Record {
    /// The state now, one sentence a fact: which revision serves, whether commands were applied, what is left running.
    pub fn state(&self) -> Vec<String> {
        if let Some(one_off) = &self.one_off {
            return vec![one_off.sentence()];
        }
        if self.is_rehearsed && self.services.is_empty() && self.commands.is_empty() {
            return vec![NOTHING_LEFT.to_owned()];
        }
        let mut lines: Vec<String> = self.services.iter().map(ServiceRecord::sentence).collect();
        lines.extend(self.commands.iter().map(CommandRecord::sentence));
        if let Some((instance, snapshot)) = &self.snapshot {
            lines.push(format!("snapshot {snapshot} of {instance} is from before the first release command"));
        }
        lines.extend(self.older_code_meets());
        lines.extend(self.went_back.iter().flat_map(WentBack::sentences));
        let is_moved = |s: &ServiceRecord| !matches!(s.state, ServiceState::Untouched | ServiceState::RolledBack);
        let is_not_held = self.went_back.as_ref().is_some_and(|back| back.is_to_be_held && !back.is_held);
        if is_not_held && self.services.iter().any(is_moved) {
            lines.push("`--hold` was not set: the next deploy undoes this rollback".to_owned());
        }
        lines.extend(self.done.iter().cloned());
        if self.services.is_empty() && self.commands.is_empty() && self.done.is_empty() {
            lines.push("nothing was changed in ECS".to_owned());
        }
        if self.is_rehearsed {
            lines.push(NOTHING_LEFT.to_owned());
            return lines;
        }
        let pushed: Vec<_> = self.images.iter().filter(|i| i.is_new).map(|i| i.image.as_str()).collect();
        let untouched = self.services.iter().all(|s| s.state == ServiceState::Untouched);
        if untouched && !pushed.is_empty() {
            lines.push(format!("pushed and kept for the next run: {}", pushed.join(", ")));
        }
        if untouched && !self.registered.is_empty() {
            let names: Vec<_> = self.registered.iter().map(TaskDefinitionArn::short).collect();
            lines.push(format!("registered, not used by any service: {}", names.join(", ")));
        }
        lines
    }

    /// A plan was made, and a deploy would do something: move a service, or push or tag an image.
    pub fn has_planned_changes(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| !plan.calls.is_empty())
    }

    /// Going back does not undo what a release command did.
    fn older_code_meets(&self) -> Option<String> {
        let is_back = |s: &ServiceRecord| matches!(s.state, ServiceState::RolledBack | ServiceState::RollingBack);
        let applied: Vec<_> =
            self.commands.iter().filter(|c| c.state.may_have_run()).map(|c| format!("`{}`", c.name)).collect();
        (self.services.iter().any(is_back) && !applied.is_empty())
            .then(|| format!("nothing undoes {}: the older code now meets what it changed", applied.join(", ")))
    }

    /// An order was sent to ECS, and its answer has not come.
    pub fn is_ordering(&self) -> bool {
        self.services.iter().any(|s| s.state == ServiceState::Updating)
            || self.commands.iter().any(|c| c.state == CommandState::Starting)
    }

    pub fn service_mut(&mut self, key: &ServiceKey) -> Option<&mut ServiceRecord> {
        self.services.iter_mut().find(|s| s.key == *key)
    }
}

impl OneOffRecord {
    fn sentence(&self) -> String {
        let task = self.task.as_ref().map(|task| format!("task {}", task.id())).unwrap_or_default();
        match self.state {
            OneOffState::NotStarted => "no task was started".to_owned(),
            OneOffState::Starting => "RunTask was sent, whether it started a task is not known".to_owned(),
            OneOffState::Running => format!("{task} is still running"),
            OneOffState::Unknown => format!("{task} was started, whether it has ended is not known"),
            OneOffState::Stopping => format!("{task} was told to stop, and has not stopped yet"),
            OneOffState::Stopped => format!("{task} has stopped"),
        }
    }
}

impl ServiceRecord {
    fn sentence(&self) -> String {
        let previous = match self.previous_release {
            Some(number) => format!("r{number} ({})", self.previous.short()),
            None => self.previous.short().to_owned(),
        };
        let target = self.target.as_ref().map_or("the new revision", |t| t.short());
        let name = &self.service;
        match self.state {
            ServiceState::Untouched => format!("{name}: untouched, {previous} serves"),
            ServiceState::Updating => format!(
                "{name}: UpdateService to {target} was sent, whether ECS took it is not known; before it {previous} served"
            ),
            ServiceState::RollingOut => {
                format!("{name}: ECS is still rolling out {target}; {previous} serves until it is replaced")
            }
            ServiceState::ShiftingTraffic => {
                format!(
                    "{name}: ECS is still rolling out {target}: it and {previous} serve, and requests are being shifted"
                )
            }
            ServiceState::Baking => {
                format!(
                    "{name}: {target} serves; ECS has not ended its deployment, and may still go back to {previous}"
                )
            }
            ServiceState::Serving => format!("{name}: {target} serves"),
            ServiceState::Short { running: 0, desired } => {
                format!("{name}: none of the {desired} tasks of {target} runs: nothing serves")
            }
            ServiceState::Short { running, desired } => {
                format!("{name}: {target} serves, with {running} of its {desired} tasks")
            }
            ServiceState::RollingBack => format!("{name}: ECS is still going back to {previous}"),
            ServiceState::RolledBack => format!("{name}: {previous} serves again, confirmed"),
            ServiceState::Superseded => format!("{name}: a newer deployment owns it"),
            ServiceState::Gone => format!("{name}: the service was deleted"),
            ServiceState::Unknown => {
                format!(
                    "{name}: ECS took {target}, and could not be read since: what serves is not known; before it {previous} served"
                )
            }
            ServiceState::Unsteady if self.target.as_ref() == Some(&self.previous) => {
                format!("{name}: {target} failed, and nothing else is known to serve")
            }
            ServiceState::Unsteady => {
                format!("{name}: {target} failed, and that {previous} serves could not be confirmed")
            }
        }
    }
}

impl CommandRecord {
    /// What became of it, and whether what it does may be applied.
    pub fn sentence(&self) -> String {
        let name = &self.name;
        let task = self.task.as_ref().map(|t| format!(" (task {})", t.id())).unwrap_or_default();
        match &self.state {
            CommandState::Starting => {
                format!("release command `{name}`: RunTask was sent, whether it started is not known")
            }
            CommandState::Running => format!("release command `{name}` is still running{task}"),
            CommandState::Unknown => {
                format!(
                    "release command `{name}` was started{task}, whether it has ended is not known: it may be applied"
                )
            }
            CommandState::Succeeded => format!("release command `{name}` was applied{task}"),
            CommandState::Failed { exit_code: Some(code) } => {
                format!("release command `{name}` exited with {code}{task}: what it did before that may be applied")
            }
            CommandState::Failed { exit_code: None } => {
                format!("release command `{name}` ended without an exit code{task}: it may be applied in part")
            }
            CommandState::Killed { exit_code } => {
                let code = exit_code.map(|code| format!(" and exited with {code}")).unwrap_or_default();
                format!("release command `{name}` was killed before it ended{code}{task}: it may be applied in part")
            }
            CommandState::NeverStarted => {
                format!("release command `{name}` never started{task}: nothing of it was applied")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: ServiceState) -> Record {
        Record {
            services: vec![ServiceRecord {
                key: "web".into(),
                service: ServiceRef { cluster: "shop".into(), name: "web".into() },
                previous: "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:41".into(),
                target: Some("arn:aws:ecs:eu-central-1:111122223333:task-definition/web:42".into()),
                previous_release: Some(7),
                is_unchecked: false,
                state,
                url: None,
            }],
            ..Record::default()
        }
    }

    #[test]
    fn the_state_says_which_revision_serves_and_that_the_migration_was_applied() {
        let mut rolled_back = record(ServiceState::RolledBack);
        rolled_back.commands.push(CommandRecord {
            name: "migrate".to_owned(),
            has_output: false,
            task: Some("arn:aws:ecs:eu-central-1:111122223333:task/shop/9c1e".into()),
            state: CommandState::Succeeded,
        });
        assert_eq!(
            rolled_back.state(),
            [
                "shop/web: r7 (web:41) serves again, confirmed",
                "release command `migrate` was applied (task 9c1e)",
                "nothing undoes `migrate`: the older code now meets what it changed",
            ]
        );
    }

    #[test]
    fn a_command_that_may_be_half_applied_is_said_to_be() {
        let mut failed = record(ServiceState::Untouched);
        failed.commands.push(CommandRecord {
            name: "migrate".to_owned(),
            has_output: false,
            task: None,
            state: CommandState::Failed { exit_code: Some(1) },
        });
        assert!(failed.state()[1].contains("may be applied"), "{:?}", failed.state());
        assert!(failed.state()[0].contains("untouched"), "{:?}", failed.state());
    }

    #[test]
    fn what_was_pushed_and_registered_before_a_failure_is_named() {
        let mut failed = record(ServiceState::Untouched);
        failed.images.push(ImageRecord {
            key: "app".into(),
            image: "r/app@sha256:1".into(),
            digest: Digest::parse(&format!("sha256:{}", "1".repeat(64))).unwrap(),
            is_new: true,
        });
        failed.registered.push("arn:aws:ecs:eu-central-1:111122223333:task-definition/web:42".into());
        assert_eq!(
            failed.state()[1..],
            ["pushed and kept for the next run: r/app@sha256:1", "registered, not used by any service: web:42"]
        );
    }

    #[test]
    fn while_a_deployment_goes_on_its_stage_says_who_serves() {
        let sentence = |stage| record(ServiceState::rolling_out(stage)).state().remove(0);
        for before in [None, Some("SCALE_UP"), Some("TEST_TRAFFIC_SHIFT"), Some("POST_TEST_TRAFFIC_SHIFT")] {
            assert!(sentence(before).ends_with("r7 (web:41) serves until it is replaced"), "{}", sentence(before));
        }
        let shifting = sentence(Some("PRODUCTION_TRAFFIC_SHIFT"));
        assert!(shifting.contains("it and r7 (web:41) serve,"), "{shifting}");
        for after in ["POST_PRODUCTION_TRAFFIC_SHIFT", "BAKE_TIME", "CLEAN_UP"] {
            assert!(sentence(Some(after)).starts_with("shop/web: web:42 serves;"), "{}", sentence(Some(after)));
        }
    }

    #[test]
    fn a_run_that_did_nothing_says_so() {
        assert_eq!(Record::default().state(), ["nothing was changed in ECS"]);
    }
}
