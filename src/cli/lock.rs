//! The flags of `lock`.

use clap::{Args, ValueEnum};

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
