//! The command line, and the Action's inputs as the same arguments. Raw: nothing here is checked against anything else.

mod exec;
pub mod inputs;
mod logs;
mod operate;
mod run;

pub use exec::ExecFlags;
use inputs::{action_inputs, of_a_step};
pub use logs::LogsFlags;
pub use operate::{LockAction, LockFlags, PausedFlags, ReleasesAction, ReleasesFlags, RollbackFlags, StatusFlags};
pub use run::RunFlags;

use crate::config::{LockFlag, Request};
use crate::render::log::Detail;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use fargate_deploy_core::verify::Topic;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// From Dockerfile to a healthy ECS Fargate release, and back when the release is bad.
#[derive(Clone, Debug, Parser)]
#[command(name = "fargate-deploy", version = version(), propagate_version = false, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// The config file [default: fargate-deploy.yml, here or above]
    #[arg(short = 'c', long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The environment of the config to use
    #[arg(short = 'e', long, global = true, value_name = "NAME")]
    pub environment: Option<String>,
    /// AWS region
    #[arg(long, global = true)]
    pub region: Option<String>,
    /// Role to assume; give it again for a chain
    #[arg(long, global = true, value_name = "ARN")]
    pub role: Vec<String>,
    /// ECS cluster
    #[arg(long, global = true)]
    pub cluster: Option<String>,
    /// One JSON object with everything, on standard output; the log goes to standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Every event as one JSON object a line, as it happens, to this file; `-` is standard output
    #[arg(long, global = true, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// More of what builds and pushes say
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Warnings and failures only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Build, push, migrate, roll out, watch, and go back if it is bad
    Deploy(Box<DeployFlags>),
    /// What deploy would do: changes nothing, reads no secret
    Plan(Box<PlanFlags>),
    /// The same pipeline on this machine: real containers, no AWS account
    Rehearse(RehearseFlags),
    /// A command or a shell in a container that runs
    Exec(Box<ExecFlags>),
    /// A one-off task from what a service runs: its log, its exit code
    Run(Box<RunFlags>),
    /// What the tasks of services say, and go on to say
    Logs(Box<LogsFlags>),
    /// An earlier release again: all services or none, and no release command
    Rollback(RollbackFlags),
    /// What was deployed, by whom, and what became of it
    Releases(ReleasesFlags),
    /// What serves, what moves, what died last and why, who keeps deploys out
    Status(StatusFlags),
    /// Let a deployment go on that waits for a person at a PAUSE hook
    #[command(after_help = operate::CONTINUE_EXAMPLES)]
    Continue(PausedFlags),
    /// Stop a rollout: ECS goes back to what served before
    #[command(after_help = operate::ABORT_EXAMPLES)]
    Abort(PausedFlags),
    /// Who keeps deploys out, and a lock of your own
    Lock(LockFlags),
    /// Write a config from what is there: a compose file, a Procfile, another platform's file
    Init(InitFlags),
    /// Everything that can be seen before a deploy: changes nothing, reads no secret
    Verify(VerifyFlags),
    /// The least IAM policy for this config, and who may assume its role
    Policy(PolicyFlags),
    /// A cause of a failure, or an exit code, in full
    Explain {
        /// `missing-variable`, `rolled-back`, `6`
        code: String,
    },
    /// The JSON Schema of the config
    Schema,
    /// Completions for a shell
    Completions { shell: clap_complete::Shell },
    /// A page of the manual: of the program, or of one of its commands; without a name, which pages there are
    #[command(hide = true)]
    Man { page: Option<String> },
    /// Version and commit
    Version,
    /// What the Action does after a job's step, whatever became of it
    #[command(hide = true)]
    Post,
}

#[derive(Clone, Debug, Default, Args)]
pub struct DeployFlags {
    /// Deploy only this service; give it again for several
    #[arg(long, value_name = "SERVICE")]
    pub only: Vec<String>,
    /// Deploy an image that is already built: KEY=REF, or REF when there is one image
    #[arg(long, value_name = "[KEY=]REF")]
    pub image: Vec<String>,
    /// Deploy what another environment runs, by the same digests: nothing is built
    #[arg(long, value_name = "ENVIRONMENT", conflicts_with = "image")]
    pub from: Option<String>,
    /// Without a config file: build this folder
    #[arg(long, value_name = "DIR")]
    pub context: Option<PathBuf>,
    /// Without a config file: push to this repository
    #[arg(long)]
    pub repository: Option<String>,
    /// Without a config file: the ECS service
    #[arg(long)]
    pub service: Option<String>,
    /// Without a config file: the container that gets the image
    #[arg(long)]
    pub container: Option<String>,
    /// Without a config file: run this once before the service moves
    #[arg(long, value_name = "COMMAND")]
    pub release_command: Option<String>,
    /// Go on with a release that stopped before its services moved: its images, no build
    #[arg(long, conflicts_with_all = ["from", "image", "context"])]
    pub resume: bool,
    /// Leave the release commands out
    #[arg(long)]
    pub skip_release_commands: bool,
    /// Return once ECS has accepted the deployments
    #[arg(long)]
    pub no_wait: bool,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Stop unless this is the plan with this digest, as `plan` printed it
    #[arg(long, value_name = "DIGEST", value_parser = plan_digest)]
    pub require_plan: Option<String>,
    /// Tells several plans of one config apart on a pull request, in `plan` and in `deploy` alike
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// How long to watch a rollout, such as 30m
    #[arg(long, value_name = "DURATION", value_parser = crate::config::duration)]
    pub wait: Option<Duration>,
    /// Roll out although nothing changed
    #[arg(long)]
    pub force_new_deployment: bool,
    /// One release at a time, or not
    #[arg(long, value_enum)]
    pub lock: Option<LockFlag>,
}

/// Every flag of `deploy` too, so that the same arguments can be planned and deployed.
#[derive(Clone, Debug, Default, Args)]
pub struct PlanFlags {
    #[command(flatten)]
    pub deploy: DeployFlags,
    /// How the plan is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Show it on the pull request, in one comment that is edited in place
    #[arg(long)]
    pub comment: bool,
    /// Say beside it what this Terraform plan would do, from `terraform show -json`
    #[arg(long, value_name = "FILE")]
    pub terraform_plan: Option<PathBuf>,
    /// Plan from the files alone, without AWS
    #[arg(long)]
    pub offline: bool,
    /// End with 2 when there are changes, with 0 when there are none
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Build the images that a deploy would build, and push nothing [default: on a pull request]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub build: Option<bool>,
}

/// The forms of a plan. What is no text goes to standard output alone, and the log to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Markdown,
    Json,
}

fn plan_digest(text: &str) -> Result<String, String> {
    fargate_deploy_core::image::Digest::parse(text).map(String::from)
}

#[derive(Clone, Debug, Default, Args)]
pub struct RehearseFlags {
    /// The folder of the config
    #[arg(default_value = ".")]
    pub directory: PathBuf,
    /// A bad day to rehearse
    #[arg(long, value_enum)]
    pub fault: Option<Fault>,
    /// Do not deploy: keep the stage open for other clients, and print their environment
    #[arg(long)]
    pub serve: bool,
    /// The port to serve on [default: any free one]
    #[arg(long)]
    pub port: Option<u16>,
    /// Keep the stage open after the deploy
    #[arg(long)]
    pub keep: bool,
    /// What serves before the release: a commit, `none` for a first release, `neutral` for a server that is not yours, or
    /// `same` for these very files [default: the last commit whose rehearsal was good, else none]
    #[arg(long, value_name = "COMMIT|none|neutral|same")]
    pub previous: Option<String>,
    /// How long the platform takes
    #[arg(long, value_enum, default_value_t)]
    pub pace: Pace,
    /// Rehearse nothing: remove what rehearsals left that did not end by themselves
    #[arg(long, exclusive = true)]
    pub clean: bool,
}

/// How long AWS's own waits are in a rehearsal: provisioning, health check intervals, draining.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// As short as they can be
    #[default]
    Short,
    /// As long as on AWS
    Real,
}

#[derive(Clone, Debug, Default, Args)]
pub struct VerifyFlags {
    /// From the files alone, without AWS
    #[arg(long)]
    pub offline: bool,
    /// Look at this alone; give it again for several
    #[arg(long, value_name = "CHECK", value_parser = topic())]
    pub only: Vec<Topic>,
    /// Also what no deploy has a permission for: whom the roles of the task definitions trust
    #[arg(long, conflicts_with = "offline")]
    pub deep: bool,
    /// How what was found is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: VerifyFormat,
}

/// The forms of what `verify` finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum VerifyFormat {
    #[default]
    Text,
    Json,
    /// For GitHub's code scanning
    Sarif,
}

const POLICY_EXAMPLES: &str = "\
Examples:
  fargate-deploy policy                            the role of a pipeline
  fargate-deploy policy deploy run logs            of a pipeline that also runs commands and reads logs
  fargate-deploy policy all --format terraform     of everything that a team does
  fargate-deploy policy plan --trust --github org/shop
  fargate-deploy policy run exec                   whoever types `run -i`";

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = POLICY_EXAMPLES)]
pub struct PolicyFlags {
    /// What the role is for; several are one policy [default: deploy]
    #[arg(value_enum)]
    pub purposes: Vec<PolicyPurpose>,
    /// How it is printed; the two others than JSON have the role and its trust policy too
    #[arg(long, value_enum, default_value_t)]
    pub format: PolicyFormat,
    /// The trust policy alone
    #[arg(long, conflicts_with = "format")]
    pub trust: bool,
    /// Each action with the step that calls it, and what is not possible without
    #[arg(long, conflicts_with_all = ["format", "trust"])]
    pub explain: bool,
    /// Compare with the policies of this role on AWS, a name or an ARN: what is missing, and what nobody asks for
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["format", "trust", "explain"])]
    pub check: Option<String>,
    /// Also the OIDC provider, the repositories and the log groups, to be read and applied
    #[arg(long, conflicts_with_all = ["trust", "explain", "check"])]
    pub bootstrap: bool,
    /// The AWS account, twelve digits [default: the one of the config's role]
    #[arg(long, value_name = "ID", value_parser = account)]
    pub account: Option<String>,
    /// The repository whose jobs assume the role [default: the one of this job]
    #[arg(long, value_name = "OWNER/REPO")]
    pub github: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyPurpose {
    Deploy,
    /// Reads, and can run nothing: for pull requests
    Plan,
    /// One-off commands; with `exec` also `run -i`
    Run,
    /// Gets into running containers
    Exec,
    Rollback,
    /// The history, without `releases prune`
    Releases,
    Status,
    Logs,
    Continue,
    Abort,
    Lock,
    /// Every command above
    All,
    /// The role of the tasks, so that somebody can get into their containers
    Task,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PolicyFormat {
    #[default]
    Json,
    Terraform,
    Cloudformation,
}

#[derive(Clone, Debug, Default, Args)]
pub struct InitFlags {
    /// The folder to read and to write to
    #[arg(default_value = ".")]
    pub directory: PathBuf,
    /// Read this file of the folder [default: the first that is found]
    #[arg(long, value_name = "FILE")]
    pub from: Option<String>,
    /// Read a service that runs on AWS instead of a file
    #[arg(long, value_name = "CLUSTER/SERVICE", conflicts_with = "from")]
    pub service: Option<String>,
    /// The AWS account, twelve digits
    #[arg(long, value_name = "ID", value_parser = account)]
    pub account: Option<String>,
    /// Also write a Dockerfile where there is none, for Node.js, Python, Ruby or Go
    #[arg(long, conflicts_with = "service")]
    pub dockerfile: bool,
    /// Show what would be written, and write nothing
    #[arg(long)]
    pub print: bool,
    /// Write over files that are there
    #[arg(long)]
    pub force: bool,
}

fn topic() -> impl TypedValueParser<Value = Topic> {
    PossibleValuesParser::new(Topic::ALL.map(Topic::name))
        .try_map(|name| Topic::ALL.into_iter().find(|topic| topic.name() == name).ok_or("no such check"))
}

fn account(text: &str) -> Result<String, String> {
    match text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("an account id has 12 digits".to_owned()),
    }
}

/// What goes wrong in a rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// The new release's containers die soon after their start
    Crash,
    /// The new release never becomes healthy
    Unhealthy,
    /// The release command is killed
    MigrationFails,
    /// Tasks take long to start
    Slow,
    /// AWS throttles a third of the calls
    Throttle,
    /// AWS answers a quarter of the calls with a 503
    Errors,
    /// A fifth of the answers is lost after the effect
    LostAnswers,
}

impl Arguments {
    /// The arguments that a run of the Action means: its inputs where it has any, else the command line's.
    ///
    /// # Errors
    /// As clap says them.
    pub fn read(arguments: Vec<String>, env: &BTreeMap<String, String>) -> Result<Self, clap::Error> {
        match action_inputs(env) {
            Some(inputs) if arguments.len() <= 1 => {
                Self::try_parse_from(inputs?).map_err(|error| of_a_step(error, env))
            }
            _ => Self::try_parse_from(arguments),
        }
    }

    /// Whether `run` is asked for, however wrong the rest is.
    pub fn are_for_run(arguments: &[String], env: &BTreeMap<String, String>) -> bool {
        if let (Some(command), true) = (env.get("INPUT_COMMAND"), arguments.len() <= 1) {
            return command.split_whitespace().next() == Some("run");
        }
        let read = Self::command().ignore_errors(true).try_get_matches_from(arguments);
        read.is_ok_and(|matches| matches.subcommand_name() == Some("run"))
    }

    pub fn detail(&self) -> Detail {
        match (self.global.quiet, self.global.verbose) {
            (true, _) => Detail::Quiet,
            (_, true) => Detail::Verbose,
            _ => Detail::Normal,
        }
    }

    /// What the flags ask of the config.
    pub fn request(&self) -> Request {
        let global = &self.global;
        let flags = match &self.command {
            Command::Deploy(flags) => flags.as_ref().clone(),
            Command::Plan(flags) => flags.deploy.clone(),
            _ => DeployFlags::default(),
        };
        Request {
            needs_no_sources: false,
            file: global.config.clone(),
            environment: global.environment.clone(),
            region: global.region.clone(),
            roles: global.role.clone(),
            cluster: global.cluster.clone(),
            images: flags.image,
            from: flags.from,
            resume: flags.resume,
            only: flags.only,
            skip_release_commands: flags.skip_release_commands,
            force_new_deployment: flags.force_new_deployment,
            wait: flags.wait,
            lock: flags.lock,
            service: flags.service,
            container: flags.container,
            context: flags.context,
            repository: flags.repository,
            release_command: flags.release_command,
        }
    }
}

/// `1.4.0 (3f2c1ab)`.
pub fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("FARGATE_DEPLOY_COMMIT"), ")")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(pairs: &[(&str, &str)]) -> Arguments {
        let env = pairs.iter().map(|(n, v)| (format!("INPUT_{}", n.to_ascii_uppercase()), (*v).to_owned())).collect();
        Arguments::read(vec!["fargate-deploy".to_owned()], &env).unwrap()
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn inputs_mean_the_same_as_flags() {
        let arguments = inputs(&[
            ("command", "deploy"),
            ("environment", "production"),
            ("image", "app=repo:1\n  web=repo:2\n"),
            ("dry-run", "true"),
            ("no-wait", "false"),
            ("wait", "45m"),
            ("release-command", "--weird: value"),
            ("cluster", ""),
        ]);
        let request = arguments.request();
        assert_eq!(request.environment.as_deref(), Some("production"));
        assert_eq!(request.images, ["app=repo:1", "web=repo:2"]);
        assert_eq!(request.wait, Some(Duration::from_secs(45 * 60)));
        assert_eq!(request.release_command.as_deref(), Some("--weird: value"));
        assert_eq!(request.cluster, None);
        assert!(matches!(&arguments.command, Command::Deploy(flags) if flags.dry_run && !flags.no_wait));
    }

    #[test]
    fn a_switch_that_is_neither_true_nor_false_is_refused() {
        let env = [("INPUT_COMMAND", "deploy"), ("INPUT_DRY-RUN", "yes")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let error = Arguments::read(vec!["fargate-deploy".to_owned()], &env).unwrap_err().to_string();
        assert!(error.contains("input `dry-run`: expected `true` or `false`, found `yes`"), "{error}");
    }

    #[test]
    fn the_token_is_no_argument() {
        let env = [("INPUT_COMMAND", "deploy"), ("INPUT_GITHUB-TOKEN", "ghs_secret")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let arguments = action_inputs(&env).unwrap().unwrap();
        assert_eq!(arguments, ["fargate-deploy", "deploy"]);
    }

    #[test]
    fn flags_given_beside_inputs_win() {
        let env = BTreeMap::from([("INPUT_COMMAND".to_owned(), "deploy".to_owned())]);
        let arguments = Arguments::read(["fargate-deploy", "post"].map(str::to_owned).to_vec(), &env).unwrap();
        assert!(matches!(arguments.command, Command::Post));
    }
}
