//! What a plan shows of the config's choices, release commands and smoke checks.

use super::Settings;
use crate::names::{ContainerName, ServiceKey};
use crate::resolved::Resolved;
use crate::validated_config::{Lock, OnCancel, OnFailure, SmokeCheck};
use serde::Serialize;

/// The choices of the config and the command line that are about the whole release.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedSettings {
    /// What becomes of the other services when one fails.
    pub on_failure: OnFailure,
    pub fail_fast: bool,
    /// What becomes of rollouts on SIGINT or SIGTERM.
    pub on_cancel: OnCancel,
    /// How long a rollout is watched.
    pub wait_seconds: u64,
    /// How long another run's lease is waited for; `null`: `lock: none`.
    pub lock_timeout_seconds: Option<u64>,
    /// The RDS instance of which a snapshot is taken before the first release command.
    pub snapshot: Option<String>,
    /// Rolls on although nothing changed.
    pub forced: bool,
    /// `--no-wait`: no rollout is watched, and no command runs after them.
    pub no_wait: bool,
    pub skips_release_commands: bool,
}

impl PlannedSettings {
    pub(super) fn of(settings: &Settings, run: RunOptions) -> Self {
        Self {
            on_failure: settings.on_failure,
            fail_fast: settings.fail_fast,
            on_cancel: settings.on_cancel,
            wait_seconds: settings.wait.as_secs(),
            lock_timeout_seconds: match settings.lock {
                Lock::Lease { wait } => Some(wait.as_secs()),
                Lock::None => None,
            },
            snapshot: settings.snapshot.clone(),
            forced: settings.force,
            no_wait: run.is_unwatched,
            skips_release_commands: run.skips_commands,
        }
    }
}

/// What the command line leaves out of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// `--skip-release-commands`
    pub skips_commands: bool,
    /// `--no-wait`
    pub is_unwatched: bool,
}

/// One request that must be answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedSmoke {
    pub url: Resolved,
    pub status: u16,
    pub within_seconds: u64,
    /// What the body must contain.
    pub contains: Option<Resolved>,
}

impl PlannedSmoke {
    pub(super) fn of(check: &SmokeCheck) -> Self {
        Self {
            url: check.url.clone(),
            status: check.status,
            within_seconds: check.within.as_secs(),
            contains: check.contains.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedCommand {
    pub name: String,
    pub service: ServiceKey,
    pub container: ContainerName,
    /// As it is written in the config, references and all.
    pub command: Vec<Resolved>,
    pub timeout_seconds: u64,
    /// Only when every service of the release serves; else before any of them moves.
    pub runs_after: bool,
    /// The family of its own task definition, where it has one.
    pub family: Option<String>,
}
