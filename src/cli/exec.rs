//! The flags of `exec`.

use clap::Args;

/// The rest of the line is the command: a lone string runs through `sh -c`, several words are a program and its arguments.
/// Without a command it is a shell.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  fargate-deploy exec -s web
  fargate-deploy exec -s web -- bin/rails console
  fargate-deploy exec -s web 'ls -l /app | wc -l'
  fargate-deploy exec -s worker --oldest --container app -- cat /proc/1/status
  fargate-deploy exec --cluster shop -t 9c1e40a2b7f84d1c9e0b6a3d5f7c8e21 -- env
  fargate-deploy exec --yes -s web -- node healthcheck.js

It ends with the command's own exit code; with 126 or 127 where the command could not be run; with 125 for everything else.")]
pub struct ExecFlags {
    /// The service whose task it is: its key, or its ECS name with `--cluster`
    #[arg(short, long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// The task: its ARN, its id, or how that begins [default: the newest that runs]
    #[arg(short, long, value_name = "TASK")]
    pub task: Option<String>,
    /// Of several tasks, the one that was started first
    #[arg(long, conflicts_with_all = ["newest", "task"])]
    pub oldest: bool,
    /// Of several tasks, the one that was started last
    #[arg(long, conflicts_with = "task")]
    pub newest: bool,
    /// The container [default: the service's own]
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,
    /// No terminal, although there is one: lines end as in a file, and nothing is typed
    #[arg(short = 'T', long)]
    pub no_tty: bool,
    /// The built-in data channel, although the Session Manager plugin is there
    #[arg(long)]
    pub no_plugin: bool,
    /// Yes, in a pipeline too: a command in a container that serves
    #[arg(short, long)]
    pub yes: bool,
    /// On GitHub Actions: the command's output alone, without the fence that keeps the runner from taking a line for its own command
    #[arg(long)]
    pub raw: bool,
    /// The command as one string, for `sh -c`
    #[arg(long, value_name = "LINE", conflicts_with = "words")]
    pub run_command: Option<String>,
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub words: Vec<String>,
}
