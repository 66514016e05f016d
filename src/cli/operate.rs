//! Flags of the commands that look at what is deployed, go back, and keep deploys out.

use crate::config::LockFlag;
use clap::{Args, Subcommand, ValueEnum};
use std::time::Duration;

const ROLLBACK_EXAMPLES: &str = "\
Examples:
  fargate-deploy rollback                          to the last release that served before this one
  fargate-deploy rollback --to r41 --dry-run       what that would change
  fargate-deploy rollback --hold 'orders fail'     and no deploy until `lock release`";

/// An earlier release again.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = ROLLBACK_EXAMPLES)]
pub struct RollbackFlags {
    /// The release to go back to, such as r41 [default: the last one that served before what serves]
    #[arg(long, value_name = "RELEASE", value_parser = release)]
    pub to: Option<u64>,
    /// Only this service; give it again for several
    #[arg(long, value_name = "SERVICE")]
    pub only: Vec<String>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask at a terminal
    #[arg(short, long)]
    pub yes: bool,
    /// Why: `releases` shows it
    #[arg(long)]
    pub reason: Option<String>,
    /// Keep deploys out afterwards, and say why, until `lock release`: the next push does not undo it
    #[arg(long, value_name = "REASON")]
    pub hold: Option<String>,
    /// How long to watch a rollout, such as 30m
    #[arg(long, value_name = "DURATION", value_parser = crate::config::duration)]
    pub wait: Option<Duration>,
    /// One release at a time, or not
    #[arg(long, value_enum)]
    pub lock: Option<LockFlag>,
}

const RELEASES_EXAMPLES: &str = "\
Examples:
  fargate-deploy releases -e production
  fargate-deploy releases info r41
  fargate-deploy releases diff r41 r42
  fargate-deploy releases output r42               what its release commands said
  fargate-deploy releases prune --keep 20 --dry-run";

/// The history of an environment.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = RELEASES_EXAMPLES)]
pub struct ReleasesFlags {
    #[command(subcommand)]
    pub action: Option<ReleasesAction>,
    /// So many, the newest first
    #[arg(short, long, value_name = "N", default_value_t = 15, value_parser = shown)]
    pub number: usize,
    /// As many as are known, up to 60
    #[arg(long)]
    pub all: bool,
    /// Only this service: its key, or its ECS name with `--cluster`; give it again for several
    #[arg(short, long, value_name = "SERVICE")]
    pub service: Vec<String>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum ReleasesAction {
    /// Everything that is known of one
    Info {
        /// r41
        #[arg(value_parser = release)]
        release: u64,
    },
    /// What its release commands said
    Output {
        /// r41
        #[arg(value_parser = release)]
        release: u64,
    },
    /// Where the task definitions of two differ
    Diff {
        /// r41
        #[arg(value_parser = release)]
        one: u64,
        /// r42
        #[arg(value_parser = release)]
        other: u64,
    },
    /// Deregister the revisions of old ones, which cannot be gone back to then
    Prune {
        /// How many of the newest stay
        #[arg(long, value_name = "N")]
        keep: usize,
        /// Say which, and deregister none
        #[arg(long)]
        dry_run: bool,
    },
}

const STATUS_EXAMPLES: &str = "\
Examples:
  fargate-deploy status -e production
  fargate-deploy status -s web --watch
  fargate-deploy status --exit-code --json         0 steady, 6 rolled back, 7 unsteady, 9 moving";

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub struct StatusFlags {
    /// Only this service: its key, or its ECS name with `--cluster`; give it again for several
    #[arg(short, long, value_name = "SERVICE")]
    pub service: Vec<String>,
    /// Look again every five seconds, until it is interrupted
    #[arg(short, long)]
    pub watch: bool,
    /// End with 0 where everything is steady, 6 where the last rollout was rolled back, 7 where what should run does not, 9
    /// while something moves
    #[arg(long)]
    pub exit_code: bool,
}

pub(super) const CONTINUE_EXAMPLES: &str = "\
Examples:
  fargate-deploy continue -e production            every deployment that waits
  fargate-deploy continue -s web --hook 1c0ffee";

pub(super) const ABORT_EXAMPLES: &str = "\
Examples:
  fargate-deploy abort -e production --reason 'orders fail'
  fargate-deploy abort -s web";

/// Which deployment is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct PausedFlags {
    /// Only this service: its key, or its ECS name with `--cluster`; give it again for several
    #[arg(short, long, value_name = "SERVICE")]
    pub service: Vec<String>,
    /// Only where it waits at this hook
    #[arg(long, value_name = "ID")]
    pub hook: Option<String>,
    /// Why: it is said again
    #[arg(long)]
    pub reason: Option<String>,
}

fn shown(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=60).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to 60, found `{text}`"))
}

/// `r41` or `41`.
fn release(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix('r').unwrap_or(text);
    digits.parse().map_err(|_| format!("expected a release such as `r41`, found `{text}`"))
}

#[derive(Clone, Debug, Args)]
pub struct LockFlags {
    #[arg(value_enum)]
    pub action: LockAction,
    /// Why; deploys that are refused say it
    #[arg(long, required_if_eq("action", "acquire"))]
    pub reason: Option<String>,
    /// Only this service: its key, or its ECS name with `--cluster`; give it again for several
    #[arg(short, long, value_name = "SERVICE")]
    pub service: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LockAction {
    /// Who deploys now, and who has locked
    Status,
    /// No deploys until it is released
    Acquire,
    /// Deploys are welcome again
    Release,
}
