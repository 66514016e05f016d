//! The inputs of the Action, as flags of the command line.

use super::Arguments;
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use std::collections::BTreeMap;

/// An input of the Action: the flag that it stands for, and what it means there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    pub name: &'static str,
    pub kind: InputKind,
    /// Given instead of the flag's own help, where there is no flag.
    pub help: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// The command to run.
    Command,
    /// The folder to run in.
    Directory,
    /// `--name value`.
    Value,
    /// One `--name value` a line.
    List,
    /// `true`: `--name`.
    Switch,
    /// Read from the environment where it is needed: other processes can see arguments.
    Token,
    /// For the step that starts the program.
    Shim,
}

/// The inputs of `action.yml`, which is generated from this table.
pub const INPUTS: &[Input] = &[
    Input {
        name: "command",
        kind: InputKind::Command,
        help: Some(
            "deploy (the default), plan, verify, policy, run, exec, logs, rollback, releases (info r41, diff r41 r42, output r41), status, continue, abort, lock status, lock acquire, lock release, rehearse, schema or version",
        ),
    },
    Input {
        name: "working-directory",
        kind: InputKind::Directory,
        help: Some("The folder to run in, relative to the workspace"),
    },
    value("config"),
    value("environment"),
    value("region"),
    list("role"),
    value("cluster"),
    Input {
        name: "service",
        kind: InputKind::List,
        help: Some(
            "The service: its key in the config, or its ECS name beside `cluster`; for `deploy` and `plan` without a config file only. \
             Several for `logs`, `status`, `releases`, `continue`, `abort` and `lock`",
        ),
    },
    Input {
        name: "container",
        kind: InputKind::Value,
        help: Some(
            "The container that `run`, `exec` and `logs` are about; for `deploy` without a config file the one that gets the image",
        ),
    },
    list("image"),
    value("from"),
    value("context"),
    value("repository"),
    value("release-command"),
    list("only"),
    switch("resume"),
    switch("skip-release-commands"),
    switch("no-wait"),
    switch("dry-run"),
    value("require-plan"),
    value("label"),
    value("format"),
    switch("comment"),
    value("terraform-plan"),
    switch("offline"),
    switch("deep"),
    value("check"),
    switch("detailed-exitcode"),
    value("build"),
    value("wait"),
    switch("force-new-deployment"),
    value("lock"),
    value("to"),
    Input {
        name: "reason",
        kind: InputKind::Value,
        help: Some("Why, for `rollback`, `lock acquire`, `continue` and `abort`: it is said again where it matters"),
    },
    value("run-command"),
    list("env"),
    list("env-file"),
    value("cpu"),
    value("memory"),
    Input {
        name: "release",
        kind: InputKind::Value,
        help: Some("A release such as r41: `run` runs what it is, `logs` shows its tasks alone"),
    },
    switch("spot"),
    switch("detach"),
    value("attach"),
    value("timeout"),
    switch("raw"),
    value("since"),
    value("until"),
    value("lines"),
    value("task"),
    switch("previous"),
    value("grep"),
    value("filter"),
    switch("follow"),
    switch("no-prefix"),
    switch("utc"),
    value("hold"),
    value("hook"),
    switch("exit-code"),
    switch("yes"),
    switch("oldest"),
    value("number"),
    switch("all"),
    value("events"),
    switch("verbose"),
    switch("quiet"),
    Input {
        name: "github-token",
        kind: InputKind::Token,
        help: Some("Reports to GitHub: a Deployment with `deployments: write`, comments with `pull-requests: write`"),
    },
    Input {
        name: "binary",
        kind: InputKind::Shim,
        help: Some(
            "A program of the runner to use instead of the one of the release, such as on a runner without the internet",
        ),
    },
];

const fn value(name: &'static str) -> Input {
    Input { name, kind: InputKind::Value, help: None }
}

const fn list(name: &'static str) -> Input {
    Input { name, kind: InputKind::List, help: None }
}

const fn switch(name: &'static str) -> Input {
    Input { name, kind: InputKind::Switch, help: None }
}

/// GitHub hands the input `dry-run` over as `INPUT_DRY-RUN`; an empty one was not given. A switch that is neither on nor
/// off is an error: `dry-run: yes` must not deploy.
pub(super) fn action_inputs(env: &BTreeMap<String, String>) -> Option<Result<Vec<String>, clap::Error>> {
    let get = |name: &str| {
        let value = env.get(&format!("INPUT_{}", name.to_ascii_uppercase()))?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    // Set, if only to nothing, in every step that uses the Action.
    env.get("INPUT_COMMAND")?;
    let command = get("command").unwrap_or_else(|| "deploy".to_owned());
    let mut arguments = vec!["fargate-deploy".to_owned()];
    arguments.extend(command.split_whitespace().map(str::to_owned));
    for input in INPUTS {
        let Some(given) = get(input.name) else { continue };
        let flag = format!("--{}", input.name);
        let before = arguments.len();
        match input.kind {
            InputKind::Command | InputKind::Directory | InputKind::Token | InputKind::Shim => {}
            InputKind::Value => arguments.extend([format!("{flag}={given}")]),
            InputKind::List => {
                arguments.extend(given.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| format!("{flag}={l}")))
            }
            InputKind::Switch if given.eq_ignore_ascii_case("true") => arguments.push(flag),
            InputKind::Switch if given.eq_ignore_ascii_case("false") => {}
            InputKind::Switch => {
                let why = format!("input `{}`: expected `true` or `false`, found `{given}`\n", input.name);
                return Some(Err(Arguments::command().error(ErrorKind::InvalidValue, why)));
            }
        }
        if arguments.len() > before
            && let Some(why) = of_another_command(input.name, &arguments[1])
        {
            return Some(Err(Arguments::command().error(ErrorKind::UnknownArgument, why)));
        }
    }
    Some(Ok(arguments))
}

/// A step that prints its help instead of doing what it is there for has failed.
pub(super) fn of_a_step(error: clap::Error, env: &BTreeMap<String, String>) -> clap::Error {
    if error.use_stderr() {
        return error;
    }
    let given = env.get("INPUT_COMMAND").map(|command| command.trim()).unwrap_or_default();
    let why = format!("input `command`: `{given}` only explains itself, and nothing was done\n");
    Arguments::command().error(ErrorKind::InvalidSubcommand, why)
}

/// Why an input means nothing to a command: which ones it is for. `None` where it means something, and for a command that
/// there is not, which is refused by its name.
fn of_another_command(input: &str, command: &str) -> Option<String> {
    let all = Arguments::command();
    let takes = |command: &clap::Command| command.get_arguments().any(|argument| argument.get_long() == Some(input));
    let chosen = all.find_subcommand(command)?;
    if takes(&all) || takes(chosen) {
        return None;
    }
    let others: Vec<_> = all.get_subcommands().filter(|c| takes(c)).map(|c| format!("`{}`", c.get_name())).collect();
    let for_whom = match others.as_slice() {
        [] => "no command".to_owned(),
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        [one, ..] => one.clone(),
    };
    Some(format!("input `{input}` is for {for_whom}, and `command` is `{command}`\n"))
}
