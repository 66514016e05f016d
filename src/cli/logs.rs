//! The flags of `logs`.

use clap::Args;

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  fargate-deploy logs
  fargate-deploy logs -f -s web -s worker
  fargate-deploy logs --since 15m --grep 'ERROR|WARN'
  fargate-deploy logs --previous -n 50
  fargate-deploy logs --task 9c1e --no-prefix
  fargate-deploy logs --since 2026-11-30T14:00:00Z --until 2026-11-30T14:30:00Z --json")]
pub struct LogsFlags {
    /// Only this service: its key, or its ECS name with `--cluster`; give it again for several
    #[arg(short, long, value_name = "SERVICE")]
    pub service: Vec<String>,
    /// Go on with new lines, and with new tasks as they come
    #[arg(short, long, conflicts_with_all = ["until", "previous"])]
    pub follow: bool,
    /// From when on: how long ago, such as 15m, or a time, such as 2026-11-30T14:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Until when, in the same forms
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// So many lines, the newest ones [default: 100; with `--since` all]
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub lines: Option<usize>,
    /// Only this task, by its ARN, its id, or the beginning of it
    #[arg(long, value_name = "TASK", conflicts_with = "previous")]
    pub task: Option<String>,
    /// Tasks that stopped in the last hour, and how they ended
    #[arg(long)]
    pub previous: bool,
    /// Only containers of this name
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,
    /// Only tasks of this release, such as r41
    #[arg(long, value_name = "RELEASE", value_parser = super::run::release_number)]
    pub release: Option<u64>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub grep: Option<String>,
    /// Only lines with this text, as CloudWatch finds it: quicker over a long time
    #[arg(long, value_name = "TEXT", conflicts_with = "grep")]
    pub filter: Option<String>,
    /// The lines alone, without task and time
    #[arg(long)]
    pub no_prefix: bool,
    /// Times in UTC instead of the zone of this machine
    #[arg(long)]
    pub utc: bool,
}
