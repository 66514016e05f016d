//! The flags of `run`.

use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// The rest of the line is the command: a lone string runs through `sh -c`, several words are a program and its arguments.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  fargate-deploy run -s web -- bin/rails runner 'User.count'
  fargate-deploy run 'node backfill.js && node verify.js'
  fargate-deploy run --env BATCH=500 --memory 4096 --cpu 1024 --timeout 1h -- node backfill.js
  fargate-deploy run --release r41 -- node report.js
  fargate-deploy run --detach -- node reindex.js
  fargate-deploy run -i -- bash
  fargate-deploy run --attach 9c1e40a2b7f84d1c9e0b6a3d5f7c8e21

It ends with the command's own exit code; with 126 or 127 where the command could not be run; with 125 for everything else.")]
pub struct RunFlags {
    /// The service that the task is like: its key, or its ECS name with `--cluster`
    #[arg(short, long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// The container that the command runs in [default: the service's own]
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,
    /// A variable for the command: NAME=VALUE, or NAME for the value that it has here; give it again for several
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Variables from a file, one a line, as `docker run` takes it
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// CPU units of the task [default: those of the service]
    #[arg(long, value_name = "UNITS")]
    pub cpu: Option<String>,
    /// MiB of memory of the task [default: those of the service]
    #[arg(long, value_name = "MIB")]
    pub memory: Option<String>,
    /// Run this image instead of the one that serves
    #[arg(long, value_name = "REF", conflicts_with = "release")]
    pub image: Option<String>,
    /// Run what this release is, such as r41, instead of the one that serves
    #[arg(long, value_name = "RELEASE", value_parser = release_number)]
    pub release: Option<u64>,
    /// A console: a task of its own that waits, and the command, or a shell, on this terminal in it
    #[arg(short, long, conflicts_with_all = ["detach", "attach", "spot", "run_command"])]
    pub interactive: bool,
    /// With `--interactive`: the built-in data channel, although the Session Manager plugin is there
    #[arg(long, requires = "interactive")]
    pub no_plugin: bool,
    /// On Fargate Spot, which AWS may end at any time
    #[arg(long)]
    pub spot: bool,
    /// Print the task's ARN and leave it running
    #[arg(long)]
    pub detach: bool,
    /// Follow a task that `run` started before, by its id or ARN
    #[arg(long, value_name = "TASK", conflicts_with_all = ["env", "env_file", "cpu", "memory", "image", "release", "spot", "detach", "run_command", "words"])]
    pub attach: Option<String>,
    /// Stop the task after this long, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = crate::config::duration, conflicts_with = "detach")]
    pub timeout: Option<Duration>,
    /// On GitHub Actions: the command's lines alone, without the fence that keeps the runner from taking one for its own command
    #[arg(long)]
    pub raw: bool,
    /// The command as one string, for `sh -c`
    #[arg(long, value_name = "LINE", conflicts_with = "words")]
    pub run_command: Option<String>,
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub words: Vec<String>,
}

pub(super) fn release_number(text: &str) -> Result<u64, String> {
    text.strip_prefix('r').unwrap_or(text).parse().map_err(|_| "a release is named like `r41`".to_owned())
}
