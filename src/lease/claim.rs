//! What the parameters of a lease say.

use super::manual_lock::{self, ManualLock};
use super::owner::Owner;
use crate::error::call_failed;
use crate::ports::{Aws, CallError, CallErrorKind};
use fargate_deploy_core::names::{ServiceRef, short};
use fargate_deploy_core::outcome::{Failure, Reason};
use serde::{Deserialize, Serialize};

/// Nothing of ours has a larger number: what has one is none of ours.
const LAST_GENERATION: u64 = u32::MAX as u64;

/// Which run this is: retries of one run share the key and differ in the attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunKey {
    pub key: String,
    pub attempt: String,
}

impl RunKey {
    /// By the numbers that GitHub gives the attempts. What is no number is neither earlier nor later.
    fn is_earlier_than(&self, other: &Self) -> bool {
        let number = |run: &Self| run.attempt.parse::<u64>().ok();
        number(self).zip(number(other)).is_some_and(|(ours, theirs)| ours < theirs)
    }

    /// There was nothing of this run before: what another job of it started is not ours.
    pub fn is_first_attempt(&self) -> bool {
        self.attempt.parse::<u64>().map_or(true, |attempt| attempt <= 1)
    }
}

/// What a generation's parameter says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Tells two claims apart whatever else is equal.
    pub token: String,
    pub owner: Owner,
    #[serde(default)]
    pub run: RunKey,
    #[serde(default)]
    pub is_released: bool,
    /// Counts the writes: each is a sign of life.
    #[serde(default, rename = "beat")]
    pub heartbeat: u64,
    /// The parameter of the release's first lease: as long as that is renewed, so is this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed_by: Option<String>,
    /// UpdateService or StopServiceDeployment is about to be sent, or is on its way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_updating: bool,
    /// The revision that UpdateService names, where that is all of the order: given twice, it has no further effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates_to: Option<String>,
    /// The one-off task that runs, or is about to run, under this claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<ClaimedTask>,
    /// Release commands of this run that ended well: no later attempt runs them again, however the run ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub succeeded: Vec<SucceededCommand>,
    /// The last release that told the service to move, whichever run's it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseRecord>,
}

/// A release command that ended well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SucceededCommand {
    /// Tells it from every other command of the run.
    pub command: String,
    /// The id of the task that ran it.
    pub task: String,
}

/// What a service was told to run, and what of that release has not been done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRecord {
    /// The revision that the service was told to run.
    pub revision: String,
    /// What it ran before.
    pub previous: String,
    /// The id of the deployment that it had before: as long as it has that one, it has not moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The run that told it so, by its URL: a revision has no tag of its run where the user's tags leave no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// It has not been seen to serve and to answer.
    #[serde(default)]
    pub owes_verification: bool,
    /// The commands with `when: after` that have not ended well, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owes_commands: Vec<String>,
    /// The commands of this service that ran for it to a good end, by name: where their logs are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ran: Vec<SucceededCommand>,
}

impl Claim {
    /// The run that holds it was started again, which it is only after it has ended. Jobs of one attempt run beside
    /// each other and wait for each other.
    pub(super) fn is_earlier_attempt_of(&self, run: &RunKey) -> bool {
        !run.key.is_empty() && self.run.key == run.key && self.run.is_earlier_than(run)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedTask {
    pub cluster: String,
    /// Of its task definition: what stopped tasks are looked up by.
    #[serde(default)]
    pub family: String,
    pub started_by: String,
    /// The release command that it runs, as in [`SucceededCommand`].
    #[serde(default)]
    pub command: String,
    /// Whose exit code says how the command ended.
    #[serde(default)]
    pub container: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
}

/// A generation as it was read. What cannot be read was written by something newer: it counts as held.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Generation {
    pub number: u64,
    pub claim: Option<Claim>,
}

impl Generation {
    pub fn is_released(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.is_released)
    }

    pub fn is_updating(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.is_updating && !claim.is_released)
    }

    pub fn owner(&self) -> Option<&Owner> {
        self.claim.as_ref().map(|claim| &claim.owner)
    }

    /// The release command that was started under it: the second part of what its task was started by.
    pub fn command_name(&self) -> Option<String> {
        let task = self.claim.as_ref()?.task.as_ref()?;
        task.started_by.split('/').nth(1).map(str::to_owned)
    }
}

/// `/fargate-deploy/CLUSTER/SERVICE/lease`: the same for a service that is written as a name and as an ARN, and what leases
/// are sorted by.
pub(super) fn path(service: &ServiceRef) -> String {
    format!("/fargate-deploy/{}/{}/lease", short(service.cluster.as_str()), short(service.name.as_str()))
}

/// A standard parameter holds this much.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html>
const MOST: usize = 4096;

/// As much as fits: where logs are is left out first, then the commands that succeeded longest ago. Their tasks are looked
/// up in AWS.
pub(super) fn text(claim: &Claim) -> String {
    let mut claim = claim.clone();
    loop {
        let text = serde_json::to_string(&claim).unwrap_or_default();
        let ran = claim.release.as_mut().map(|release| &mut release.ran).filter(|ran| !ran.is_empty());
        match ran {
            _ if text.len() <= MOST => return text,
            Some(ran) => drop(ran.remove(0)),
            None if claim.succeeded.is_empty() => return text,
            None => drop(claim.succeeded.remove(0)),
        }
    }
}

/// What is under the path of a service's lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// The newest last.
    pub generations: Vec<Generation>,
    pub manual_lock: Option<ManualLock>,
}

/// Everything in one read, so that a person's lock is seen with the generation that it must keep out.
pub(super) async fn chain(path: &str, aws: Aws<'_>) -> Result<Chain, Failure> {
    let found = aws.parameters.parameters_under(path).await.map_err(|e| denied(&e))?;
    let mut chain = Chain::default();
    for (name, value) in found {
        match short(&name) {
            manual_lock::NAME => chain.manual_lock = Some(ManualLock::read(&value)),
            number => {
                let claim = serde_json::from_str(&value).ok();
                let number = number.parse().ok().filter(|number| *number <= LAST_GENERATION);
                chain.generations.extend(number.map(|number| Generation { number, claim }));
            }
        }
    }
    chain.generations.sort_by_key(|generation| generation.number);
    Ok(chain)
}

pub(super) fn locked(service: &ServiceRef, holder: &Owner) -> Failure {
    Failure::new(Reason::Locked, format!("{service} is being released by {holder}"))
}

pub(super) fn denied(error: &CallError) -> Failure {
    let failure = call_failed("taking the lease (one release at a time)", error);
    match error.kind {
        CallErrorKind::Denied => failure.with_next(format!(
            "allow `{}` on arn:aws:ssm:REGION:ACCOUNT:parameter/fargate-deploy/*, or set `lock: none` and make sure by \
             other means that only one release runs at a time",
            error.action
        )),
        _ => failure,
    }
}
