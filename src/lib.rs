//! fargate-deploy: from a Dockerfile to a verified ECS Fargate release, and back when the release is bad.
//!
//! # Layout
//!
//! [`cli`] and [`config`] turn raw inputs into one validated config. [`release::Release::run`] is the page that tells what is
//! done with it; the [`steps`] that it names are a file each. Every choice is made in [`fargate_deploy_core`], which is pure.
//! What reaches AWS, the Docker Engine, GitHub or a smoke check's address goes through [`ports`] and is carried out in
//! [`adapters`]; files of the repository are read where they are needed. What is worth saying is an [`events::Event`], and
//! [`render`] decides how it looks. [`commands`] has a page for each command. `aws_stage` is the stand-in for AWS behind
//! `rehearse`.
//!
//! The program is all that this library is for. What is public is so for the tests; `scripts/dead-code` compiles it with its
//! modules private, so that the compiler finds what nothing uses.

pub mod adapters;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
mod content_key;
pub mod context;
mod definition_checks;
mod definition_file;
pub mod error;
pub mod events;
mod evidence;
mod explanation;
pub mod fence;
pub mod follow;
pub mod history;
mod in_progress;
pub mod lease;
pub mod logs;
mod manual;
mod out_of_reach;
pub mod pace;
pub mod poll;
pub mod ports;
mod registered;
pub mod release;
pub mod release_context;
pub mod render;
pub mod retry;
pub mod rollout_in_progress;
mod session;
mod signals;
mod standard_output;
pub mod steps;
mod terminal;

use cli::{Arguments, Command, DeployFlags, Format, VerifyFormat};
use commands::deploy::{Options, conclude, random};
use commands::plan::PlanOptions;
use commands::verify::Scope;
use context::RunContext;
use events::{Event, Sink, Warning};
use fargate_deploy_core::invocation::NOT_THE_COMMANDS;
use fargate_deploy_core::outcome::{Failure, OneOffRecord, Outcome, Reason, Success};
use futures_util::FutureExt as _;
use render::container_output::ContainerOutput;
use render::ending;
use render::events::EventLog;
use render::log::{Detail, Log, Style, no_commands_in_markdown};
use render::log_lines::{LogStyle, Printer};
use render::stream::{self, Stream};
use signals::{interrupted, interrupted_twice, signals};
use standard_output::{beside_data, json_line, locks_as_printed, print, printed_as, standard_output, written};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The program.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn main() -> ExitCode {
    let code = start(std::env::args().collect(), std::env::vars_os());
    stream::drain();
    code
}

/// With its arguments and environment. A variable that is not UTF-8 is none of ours.
fn start(arguments: Vec<String>, env: impl Iterator<Item = (OsString, OsString)>) -> ExitCode {
    let text = |pair: (OsString, OsString)| Some((pair.0.into_string().ok()?, pair.1.into_string().ok()?));
    let env: BTreeMap<String, String> = env.filter_map(text).collect();
    let is_json = arguments.iter().any(|argument| argument == "--json");
    let arguments = match Arguments::read(arguments.clone(), &env) {
        Ok(arguments) => arguments,
        Err(help) if help.use_stderr() => {
            let is_run = Arguments::are_for_run(&arguments, &env);
            if is_in_actions(&env) {
                return ExitCode::from(bad_input(&help, is_json, is_run, &env));
            }
            let _ = help.print();
            return ExitCode::from(if is_run { NOT_THE_COMMANDS } else { Reason::Config.exit_code() });
        }
        Err(help) => return ExitCode::from(written(help.print())),
    };
    match &arguments.command {
        Command::Version => ExitCode::from(print(&format!("fargate-deploy {}\n", cli::version()))),
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&config::schema()).unwrap_or_default();
            ExitCode::from(print(&format!("{schema}\n")))
        }
        Command::Completions { shell } => {
            let mut script = vec![];
            let mut command = <Arguments as clap::CommandFactory>::command();
            clap_complete::generate(*shell, &mut command, "fargate-deploy", &mut script);
            ExitCode::from(print(&String::from_utf8_lossy(&script)))
        }
        Command::Man { page } => {
            let text = page.as_deref().map_or_else(manual::names, manual::page);
            ExitCode::from(print(&text))
        }
        Command::Explain { code } => match commands::explain::explain(code) {
            Ok(lines) => ExitCode::from(print(&format!("{}\n", lines.join("\n")))),
            Err(failure) => {
                let style = Style { detail: Detail::Normal, fence: is_in_actions(&env).then(random) };
                let mut json = is_json.then(standard_output);
                let log = Log::new(beside_data(is_json), style);
                ExitCode::from(conclude(&failure.into(), json.as_mut(), &env, &log))
            }
        },
        Command::Deploy(_)
        | Command::Plan(_)
        | Command::Rehearse(_)
        | Command::Run(_)
        | Command::Rollback(_)
        | Command::Releases(_)
        | Command::Status(_)
        | Command::Continue(_)
        | Command::Abort(_)
        | Command::Logs(_)
        | Command::Lock(_)
        | Command::Exec(_)
        | Command::Init(_)
        | Command::Policy(_)
        | Command::Verify(_)
        | Command::Post => asynchronous(&arguments, &env),
    }
}

fn is_in_actions(env: &BTreeMap<String, String>) -> bool {
    env.get("GITHUB_ACTIONS").is_some_and(|v| v == "true")
}

/// A person watches: the log goes to a terminal that can move its cursor.
fn is_watched(arguments: &Arguments, is_data: bool, env: &BTreeMap<String, String>) -> bool {
    let is_pipeline = matches!(arguments.command, Command::Deploy(_) | Command::Plan(_) | Command::Rehearse(_));
    let is_terminal = if is_data { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
    let can_move = env.get("TERM").is_some_and(|term| term != "dumb");
    is_pipeline && is_terminal && can_move && !is_in_actions(env) && arguments.detail() != Detail::Quiet
}

/// Quiet only where something is waited for: what follows tasks, or a person, may be quiet for hours.
fn is_at_work(command: &Command) -> bool {
    match command {
        Command::Rehearse(flags) => !flags.serve,
        Command::Deploy(_) | Command::Plan(_) | Command::Rollback(_) | Command::Lock(_) | Command::Verify(_) => true,
        _ => false,
    }
}

async fn tick<W: Write>(log: Arc<Log<W>>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        log.tick();
    }
}

/// A job is told of a bad input as of every other failure: one annotation, and the outputs.
fn bad_input(error: &clap::Error, is_json: bool, is_run: bool, env: &BTreeMap<String, String>) -> u8 {
    let text = error.to_string();
    let mut lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let what = lines.next().unwrap_or_default();
    let mut failure = Failure::new(Reason::Config, what.strip_prefix("error: ").unwrap_or(what));
    failure.evidence = lines.map(str::to_owned).collect();
    let style = Style { detail: Detail::Normal, fence: Some(random()) };
    let mut json = is_json.then(standard_output);
    let mut outcome = Outcome::from(failure);
    outcome.record.one_off = is_run.then(OneOffRecord::default);
    conclude(&outcome, json.as_mut(), env, &Log::new(beside_data(is_json || is_run), style))
}

fn asynchronous(arguments: &Arguments, env: &BTreeMap<String, String>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let code = match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(Box::pin(run(arguments, env)));
            // A hashing thread of a cancelled build must not hold the exit up.
            runtime.shutdown_background();
            code
        }
        Err(_) => Reason::Internal.exit_code(),
    };
    ExitCode::from(code)
}

/// The program, and the output that every step has.
async fn run(arguments: &Arguments, env: &BTreeMap<String, String>) -> u8 {
    let code = ended(arguments, env).await;
    // Where there are outputs besides, this is one of them already.
    let prints = matches!(
        arguments.command,
        Command::Status(_)
            | Command::Releases(_)
            | Command::Continue(_)
            | Command::Abort(_)
            | Command::Logs(_)
            | Command::Lock(_)
            | Command::Exec(_)
    );
    if prints && is_in_actions(env) {
        commands::deploy::say_exit_code(code, env);
    }
    code
}

async fn ended(arguments: &Arguments, env: &BTreeMap<String, String>) -> u8 {
    let style = Style { detail: arguments.detail(), fence: is_in_actions(env).then(random) };
    let is_data = match &arguments.command {
        Command::Rehearse(flags) => flags.serve,
        Command::Plan(flags) => flags.format != Format::Text,
        Command::Verify(flags) => flags.format != VerifyFormat::Text,
        Command::Policy(_)
        | Command::Exec(_)
        | Command::Run(_)
        | Command::Logs(_)
        | Command::Releases(_)
        | Command::Status(_) => true,
        _ => false,
    } || arguments.global.json
        || arguments.global.events.as_deref() == Some(Path::new("-"));
    let fence = style.fence.clone();
    let mut log = Log::new(beside_data(is_data), style);
    let is_watched = is_watched(arguments, is_data, env);
    if is_watched {
        log = log.on_terminal(env.get("NO_COLOR").is_none_or(String::is_empty));
    }
    let log = Arc::new(log);
    if is_watched || is_at_work(&arguments.command) {
        tokio::spawn(tick(log.clone()));
    }
    let directory = directory(env);
    // With `--json` what `run` says is its events, the container's lines among them.
    let streams_events = arguments.global.json && matches!(arguments.command, Command::Run(_));
    let events = if streams_events { Some(PathBuf::from("-")) } else { arguments.global.events.clone() };
    let container_output = match &arguments.command {
        Command::Run(flags) => {
            let is_told_elsewhere = events.as_deref() == Some(Path::new("-"));
            let out = (!is_told_elsewhere).then(standard_output);
            Some(Arc::new(ContainerOutput::new(out, fence.filter(|_| !flags.raw), log.clone())))
        }
        _ => None,
    };
    let shown: Arc<dyn Sink + Send + Sync> = match &container_output {
        Some(output) => output.clone(),
        None => log.clone(),
    };
    let sink: Arc<dyn Sink + Send + Sync> = match &events {
        None => shown,
        Some(file) => match open_events(&directory.join(file), file) {
            Ok(out) => Arc::new(EventLog::new(out, &file.display().to_string(), Box::new(rfc3339), shown)),
            Err(error) => {
                let file = file.display().to_string();
                log.emit(Event::Warning(Warning::EventsNotWritten { file, error: error.to_string() }));
                shown
            }
        },
    };
    commands::mask_credentials(env, sink.as_ref());
    let outcome = match &arguments.command {
        #[cfg(not(feature = "rehearse"))]
        Command::Rehearse(_) => {
            let what = "`rehearse`: this build was made without the stand-in for AWS";
            let failure = Failure::new(Reason::Config, what).with_next("use a build with the feature `rehearse`");
            failure.into()
        }
        #[cfg(feature = "rehearse")]
        Command::Rehearse(flags) => {
            match commands::rehearse::run(flags, &arguments.global, &directory, env, &log, &sink).await {
                Some(outcome) => outcome,
                None => return 0,
            }
        }
        Command::Deploy(flags) if flags.dry_run => {
            let how = PlanOptions { options: options(flags), ..PlanOptions::default() };
            let request = arguments.request();
            commands::plan::plan(&request, how, env, &directory, sink.clone(), interrupted()).await
        }
        Command::Plan(flags) => {
            let how = PlanOptions {
                options: options(&flags.deploy),
                is_offline: flags.offline,
                has_detailed_exit_code: flags.detailed_exitcode,
                builds_images: flags.build,
                comments: flags.comment,
                terraform_plan: flags.terraform_plan.clone(),
            };
            let request = arguments.request();
            commands::plan::plan(&request, how, env, &directory, sink.clone(), interrupted()).await
        }
        Command::Deploy(flags) => {
            let options = options(flags);
            let request = arguments.request();
            let interrupt = interrupted().shared();
            let deploying = async {
                if let Err(failure) = commands::refuse_foreign(&RunContext::read(env, &directory), "deploy") {
                    return failure.into();
                }
                match commands::configure::configure(&request, env, &directory, sink.clone(), interrupt.clone()).await {
                    Ok(config) => {
                        let context = RunContext::read(env, &config.root);
                        Box::pin(commands::deploy::deploy(config, options, &context, env, sink.clone(), interrupt))
                            .await
                    }
                    Err(failure) => {
                        let ending = commands::deploy::end_without_config(
                            failure,
                            &request,
                            &options,
                            env,
                            &directory,
                            sink.clone(),
                            interrupt,
                        );
                        Box::pin(ending).await
                    }
                }
            };
            match until_interrupted_twice(deploying, &log).await {
                Some(outcome) => outcome,
                None => return Reason::Cancelled.exit_code(),
            }
        }
        Command::Exec(flags) => {
            match Box::pin(commands::exec::exec(flags, arguments, env, &directory, sink.clone())).await {
                Ok(code) => return code,
                Err(failure) => {
                    let is_ours = failure.reason != Reason::Cancelled;
                    let mut json = arguments.global.json.then(standard_output);
                    let code = conclude(&failure.into(), json.as_mut(), env, &log);
                    return if is_ours { NOT_THE_COMMANDS } else { code };
                }
            }
        }
        Command::Run(flags) => {
            let running = commands::run::run(flags, arguments, env, &directory, sink.clone(), signals());
            let mut outcome = Box::pin(running).await;
            if let Some(error) = container_output.and_then(|output| output.unwritten()) {
                // With an exit code of 0 all of its lines are there.
                let what = format!("standard output: lines of the container are missing: {error}");
                match outcome.exit_code() {
                    0 => {
                        outcome.result = Err(Failure::new(Reason::Internal, what));
                        outcome.record.one_off.iter_mut().for_each(|one_off| one_off.exit_code = None);
                    }
                    _ => log.finish(&[what]),
                }
            }
            let task = outcome.record.one_off.as_ref().and_then(|one_off| one_off.task.as_ref());
            if let (Ok(Success::Detached), Some(task), false) = (&outcome.result, task, streams_events)
                && print(&format!("{task}\n")) != 0
            {
                return NOT_THE_COMMANDS;
            }
            outcome
        }
        Command::Rollback(flags) => {
            let going = commands::rollback::rollback(flags, arguments, env, &directory, sink.clone(), interrupted());
            match until_interrupted_twice(Box::pin(going), &log).await {
                Some(outcome) => outcome,
                None => return Reason::Cancelled.exit_code(),
            }
        }
        Command::Releases(flags) => {
            match Box::pin(commands::releases::releases(flags, arguments, env, &directory, sink.clone())).await {
                Ok(printed) => {
                    return print(&printed_as(&printed.lines, &printed.objects, arguments.global.json, &log));
                }
                Err(failure) => failure.into(),
            }
        }
        Command::Status(flags) => {
            let looking = commands::status::status(flags, arguments, env, &directory, sink.clone(), interrupted());
            match Box::pin(looking).await {
                Ok(shown) => {
                    let code = print(&printed_as(&shown.lines, &shown.objects, arguments.global.json, &log));
                    return if code == 0 && flags.exit_code { shown.exit_code } else { code };
                }
                Err(failure) => failure.into(),
            }
        }
        Command::Continue(flags) | Command::Abort(flags) => {
            let decision = match &arguments.command {
                Command::Continue(_) => commands::paused::Decision::Continue,
                _ => commands::paused::Decision::Abort,
            };
            match Box::pin(commands::paused::decide(decision, flags, arguments, env, &directory, sink.clone())).await {
                Ok((lines, objects)) => return print(&printed_as(&lines, &objects, arguments.global.json, &log)),
                Err(failure) => failure.into(),
            }
        }
        Command::Logs(flags) => {
            let is_terminal = std::io::stdout().is_terminal();
            let style = LogStyle {
                is_json: arguments.global.json,
                has_prefix: !flags.no_prefix,
                is_utc: flags.utc,
                is_terminal,
                is_coloured: is_terminal && env.get("NO_COLOR").is_none_or(String::is_empty),
                is_in_actions: is_in_actions(env),
            };
            let mut printer = Printer::new(std::io::stdout(), style);
            let reading =
                commands::logs::logs(flags, arguments, env, &directory, sink.clone(), signals(), &mut printer);
            match Box::pin(reading).await {
                Ok(()) => return written(printer.ended()),
                // Lines are data: what went wrong is not among them.
                Err(failure) => failure.into(),
            }
        }
        Command::Lock(flags) => match commands::lock::lock(flags, arguments, env, &directory, sink.clone()).await {
            Ok(lines) => {
                return print(&locks_as_printed(&lines, arguments.global.json, &log));
            }
            Err(failure) => failure.into(),
        },
        Command::Verify(flags) => {
            let (request, interrupt) = (arguments.request(), interrupted());
            let scope = Scope { is_offline: flags.offline, only: flags.only.clone(), is_deep: flags.deep };
            match Box::pin(commands::verify::verify(&request, &scope, env, &directory, &sink, interrupt)).await {
                Ok(checks) => {
                    let is_json = arguments.global.json || flags.format == VerifyFormat::Json;
                    let text = match flags.format {
                        VerifyFormat::Sarif => {
                            let file = request.file.as_deref().unwrap_or(Path::new("fargate-deploy.yml"));
                            format!("{}\n", commands::verify::sarif(&checks, &file.display().to_string()))
                        }
                        _ if is_json => {
                            format!("{}\n", json_line(&serde_json::to_string(&checks).unwrap_or_default(), &log))
                        }
                        _ => commands::verify::text(&checks),
                    };
                    let _ = write!(standard_output(), "{}", log.redacted(&text));
                    match definition_checks::failure(&checks) {
                        // What is data stays one document.
                        Some(failure) if is_json || flags.format == VerifyFormat::Sarif => {
                            log.finish(std::slice::from_ref(&failure.what));
                            return failure.reason.exit_code();
                        }
                        Some(failure) => failure.into(),
                        None => return 0,
                    }
                }
                Err(failure) => failure.into(),
            }
        }
        Command::Policy(flags) => {
            let (request, is_json) = (arguments.request(), arguments.global.json);
            let printed = commands::policy::policy(flags, &request, env, &directory, &sink, is_json, interrupted());
            match Box::pin(printed).await {
                Ok(printed) => {
                    let _ = write!(standard_output(), "{}", log.redacted(&printed.text));
                    log.finish(&printed.notes);
                    match printed.failure {
                        // What is data stays one document.
                        Some(failure) if is_json => return failure.reason.exit_code(),
                        Some(failure) => failure.into(),
                        None => return 0,
                    }
                }
                Err(failure) => failure.into(),
            }
        }
        Command::Init(flags) => match commands::init::init(flags, arguments, env, &directory, &sink).await {
            Ok(done) => {
                let text = match arguments.global.json {
                    true => format!("{}\n", json_line(&serde_json::to_string(&done).unwrap_or_default(), &log)),
                    false => done.text(),
                };
                return print(&text);
            }
            Err(failure) => failure.into(),
        },
        Command::Post => {
            let lines = commands::post::post(env, sink.clone()).await;
            log.finish(&lines);
            return 0;
        }
        _ => return 0,
    };
    sink.emit(Event::RunEnded {
        exit_code: outcome.exit_code(),
        failure_reason: outcome.result.as_ref().err().map(|failure| failure.reason.word().to_owned()),
    });
    let mut json = (arguments.global.json && !streams_events).then(standard_output);
    let code = conclude(&outcome, json.as_mut(), env, &log);
    if let (Command::Plan(flags), false) = (&arguments.command, arguments.global.json) {
        let text = render::plan::printed(flags.format, &outcome.record);
        let text = match flags.format {
            Format::Json if !text.is_empty() => format!("{}\n", json_line(&text, &log)),
            _ if is_in_actions(env) => no_commands_in_markdown(&log.redacted(&text)),
            _ => log.redacted(&text),
        };
        // What was asked for is the plan: one that could not be written was not made.
        return match print(&text) {
            0 => code,
            unwritten => unwritten,
        };
    }
    code
}

/// `None`: it was told to end twice, and says what that leaves behind.
async fn until_interrupted_twice<W: Write>(work: impl Future<Output = Outcome>, log: &Log<W>) -> Option<Outcome> {
    tokio::select! {
        biased;
        outcome = work => Some(outcome),
        () = interrupted_twice() => {
            log.finish(&ending::cut_off());
            None
        }
    }
}

fn open_events(path: &Path, given: &Path) -> std::io::Result<Box<dyn Write + Send>> {
    if given == Path::new("-") {
        return Ok(Box::new(Stream::of(std::io::stdout())));
    }
    Ok(Box::new(std::fs::File::create(path)?))
}

#[expect(clippy::disallowed_methods, reason = "says when a line was written; nothing is decided by it")]
fn rfc3339() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

fn options(flags: &DeployFlags) -> Options {
    Options {
        is_unwatched: flags.no_wait,
        skips_commands: flags.skip_release_commands,
        required_plan: flags.require_plan.clone(),
        label: flags.label.clone(),
        only: flags.only.clone(),
        ..Options::default()
    }
}

/// The Action may be told to run in another folder than the workspace.
pub(crate) fn directory(env: &BTreeMap<String, String>) -> std::path::PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| Path::new(".").to_owned());
    match env.get("INPUT_WORKING-DIRECTORY").filter(|d| !d.trim().is_empty()) {
        Some(directory) => here.join(directory.trim()),
        None => here,
    }
}
