//! `run`: a one-off task from what a service runs. Its lines on standard output, its exit code ours.

use crate::adapters::aws::AwsClient;
use crate::adapters::builder::EngineBuilder;
use crate::adapters::web::HttpWeb;
use crate::cli::{Arguments, RunFlags};
use crate::commands::deploy::{open_session, random};
use crate::commands::refuse_foreign;
use crate::commands::scope::{Scope, ScopedService, only};
use crate::config::read_text;
use crate::context::RunContext;
use crate::events::{Event, Sink, Warning};
use crate::ports::{Identity as _, Sessions};
use crate::release_context::ReleaseContext;
use crate::session::{self, Place, Plugin, Shown, ready};
use crate::signals::signalled;
use crate::steps::one_off::{self, Order, Started};
use crate::steps::preflight::given_image;
use crate::terminal;
use fargate_deploy_core::image::ImageRef;
use fargate_deploy_core::invocation::{Invocation, argv, for_a_shell, merged, variable, variables_of_file};
use fargate_deploy_core::names::{ContainerName, PinnedImage, ServiceRef};
use fargate_deploy_core::outcome::{Failure, OneOffRecord, OneOffState, Outcome, Reason, Record, Success};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// How long a task waits for whoever types into it, where nobody says so.
const LONGEST_CONSOLE: Duration = Duration::from_secs(3600);
/// Provisioning, the image, and the agent.
const UNTIL_READY: Duration = Duration::from_secs(300);

/// A file of variables is no longer than what RunTask takes of them, with room for comments.
const MOST_BYTES_OF_VARIABLES: u64 = 1024 * 1024;

/// What is asked for, with a service to ask it of.
#[derive(Clone, Debug)]
pub enum Asked {
    /// `image` is looked up first.
    Start {
        order: Order,
        image: Option<String>,
    },
    Attach {
        service: ServiceRef,
        task: String,
        container: Option<ContainerName>,
    },
}

/// How it is followed.
#[derive(Clone, Debug, Default)]
pub struct Following {
    pub is_detached: bool,
    pub timeout: Option<Duration>,
    /// The command line that follows a task of this run again, up to the task's id.
    pub attach: String,
}

/// Runs it, and follows it to its end. `signals` counts SIGINT and SIGTERM.
pub async fn run(
    flags: &RunFlags,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
    signals: Receiver<usize>,
) -> Outcome {
    let record = RefCell::new(Record { one_off: Some(OneOffRecord::default()), ..Record::default() });
    let running = Box::pin(async {
        refuse_foreign(&RunContext::read(env, directory), "run")?;
        let given = given(flags, env, directory)?;
        if let Some(word) = for_a_shell(&flags.words) {
            sink.emit(Event::Warning(Warning::WordForShell { word: word.to_owned() }));
        }
        let named: Vec<String> = flags.service.iter().cloned().collect();
        let scope = Scope::read(&named, arguments, env, directory, Arc::clone(&sink)).await?;
        let chosen = only(&scope.services)?.clone();
        let context = RunContext::read(env, &scope.root);
        let is_in_actions = context.is_in_actions;
        let asked = asked(flags, given, chosen, &context);
        let session = open_session(scope.region, scope.roles, &context, env, Arc::clone(&sink)).await?;
        let web = HttpWeb::new(session.network());
        let cloud = AwsClient::new(session);
        let builder = EngineBuilder::new(env.clone());
        let context = ReleaseContext {
            aws: cloud.ports(),
            builder: &builder,
            web: &web,
            sink: sink.as_ref(),
            clock: crate::clock::since_boot,
            record: &record,
        };
        let following =
            Following { is_detached: flags.detach, timeout: flags.timeout, attach: attach_line(flags, arguments) };
        if !flags.interactive {
            return run_with(&asked, &following, signals.clone(), &context).await;
        }
        if arguments.global.json {
            return Err(Failure::new(Reason::Config, "`--interactive`: a terminal and JSON are not the same output"));
        }
        let fence = (is_in_actions && !flags.raw).then(random);
        let shown = Shown { is_terminal: terminal::is_there(), fence };
        let plugin = Plugin::find(env, cloud.region()).filter(|_| !flags.no_plugin);
        let console = Console { words: &flags.words, shown: &shown, plugin: plugin.as_ref(), sessions: &cloud };
        console_with(&asked, &console, signals.clone(), &context).await
    });
    let mut interrupts = signals.clone();
    // What was not yet sent is not sent any more; what was is waited for, until a second signal.
    let cut_off = async {
        signalled(&mut interrupts, 1).await;
        let is_untouched = || record.borrow().one_off.as_ref().is_none_or(|o| o.state == OneOffState::NotStarted);
        if !is_untouched() {
            signalled(&mut interrupts, 2).await;
            if record.borrow().one_off.as_ref().is_some_and(|one_off| one_off.state != OneOffState::Starting) {
                // Whoever follows the task answers that signal.
                std::future::pending::<()>().await;
            }
        }
    };
    let result = tokio::select! {
        biased;
        result = running => result,
        () = cut_off => Err(Failure::new(Reason::Cancelled, "interrupted before the task was there")),
    };
    Outcome { result, record: record.into_inner() }.redacted(|text| sink.redacted(text))
}

/// The same with the session open.
///
/// # Errors
/// Every reason; `task` for a task that did not start, or that AWS or a person ended.
pub async fn run_with(
    asked: &Asked,
    following: &Following,
    signals: Receiver<usize>,
    context: &ReleaseContext<'_>,
) -> Result<Success, Failure> {
    let started = match asked {
        Asked::Start { order, image } => start(order, image.as_deref(), context).await?,
        Asked::Attach { service, task, container } => {
            one_off::attach(task, &service.cluster, container.as_ref(), context).await?
        }
    };
    if following.is_detached {
        return Ok(Success::Detached);
    }
    let attach = format!("{} {}", following.attach, started.task.id());
    one_off::follow(&started, following.timeout, signals, &attach, context).await
}

/// The task, of the image that is asked for as it is now.
async fn start(order: &Order, image: Option<&str>, context: &ReleaseContext<'_>) -> Result<Started, Failure> {
    let service = one_off::service(&order.service, context).await?;
    let image = match image {
        Some(text) => Some(pinned(text, context).await?),
        None => order.image.clone(),
    };
    one_off::start(&Order { image, ..order.clone() }, &service, context).await
}

/// A session in the task, instead of its log.
pub struct Console<'a> {
    words: &'a [String],
    shown: &'a Shown,
    plugin: Option<&'a Plugin<'a>>,
    sessions: &'a dyn Sessions,
}

/// Starts a task that waits, opens a session in it, and tells it to stop, whatever ended the session.
async fn console_with(
    asked: &Asked,
    console: &Console<'_>,
    mut signals: Receiver<usize>,
    context: &ReleaseContext<'_>,
) -> Result<Success, Failure> {
    let Asked::Start { order, image } = asked else { return Ok(Success::Detached) };
    let started = start(order, image.as_deref(), context).await?;
    let place = Place {
        cluster: &started.cluster,
        task: started.task.clone(),
        container: started.container.clone(),
        definition: Some(&started.definition),
    };
    let Console { words, shown, plugin, sessions } = *console;
    let talking = async {
        let task = tokio::select! {
            task = ready(&place, UNTIL_READY, sessions, context.sink) => task?,
            () = signalled(&mut signals, 1) => return Err(Failure::new(Reason::Cancelled, "interrupted before the session was there")),
        };
        session::run(&place, &task, words, shown, plugin, sessions, context.sink).await
    };
    let ended = talking.await;
    let stopped = one_off::stop_after_session(&started, context).await;
    let code = ended?;
    stopped?;
    if let Some(record) = &mut context.record.borrow_mut().one_off {
        record.exit_code = Some(code);
    }
    Ok(Success::Exited)
}

/// What the task runs while somebody types into it: nothing, for so long. It ends by itself where nobody can stop it any more.
fn holder(limit: Option<Duration>) -> Vec<String> {
    let seconds = limit.unwrap_or(LONGEST_CONSOLE).as_secs();
    ["sh".to_owned(), "-c".to_owned(), format!("trap 'exit 0' TERM INT; sleep {seconds} & wait")].to_vec()
}

/// By the digest that it has now.
async fn pinned(text: &str, context: &ReleaseContext<'_>) -> Result<PinnedImage, Failure> {
    let reference = ImageRef::parse(text).map_err(|why| Failure::new(Reason::Config, format!("`--image`: {why}")))?;
    let found = given_image(&reference, text, context).await?;
    Ok(PinnedImage::of(&reference.name(), &found.digest))
}

/// The command and its variables.
fn given(flags: &RunFlags, env: &BTreeMap<String, String>, directory: &Path) -> Result<Invocation, Failure> {
    let wrong = |why: String| Failure::new(Reason::Config, why);
    let words = flags.run_command.as_ref().map_or_else(|| flags.words.clone(), |line| vec![line.clone()]);
    if flags.attach.is_none() && !flags.interactive && words.iter().all(|word| word.trim().is_empty()) {
        return Err(wrong("what shall it run? a command is missing".to_owned())
            .with_next("give it after `--`: `fargate-deploy run -- bin/migrate --dry-run`"));
    }
    let own = |name: &str| env.get(name).cloned();
    let mut variables = vec![];
    for file in &flags.env_file {
        let named = format!("`--env-file`: `{}`", file.display());
        let text = read_text(&directory.join(file), MOST_BYTES_OF_VARIABLES)
            .map_err(|why| wrong(format!("{named}: {why}")))?;
        variables.extend(variables_of_file(&text, own).map_err(|why| wrong(format!("{named}: {why}")))?);
    }
    for text in &flags.env {
        variables.push(variable(text, own).map_err(|why| wrong(format!("`--env`: {why}")))?);
    }
    Ok(Invocation {
        command: if flags.interactive { holder(flags.timeout) } else { argv(&words) },
        environment: merged(variables),
        cpu: flags.cpu.clone(),
        memory: flags.memory.clone(),
    })
}

fn asked(flags: &RunFlags, invocation: Invocation, chosen: ScopedService, context: &RunContext) -> Asked {
    let container = flags.container.as_deref().map(ContainerName::new);
    if let Some(task) = &flags.attach {
        return Asked::Attach { service: chosen.service, task: task.clone(), container };
    }
    let order = Order {
        service: chosen.service,
        container: container.or(chosen.container),
        release: flags.release,
        image: None,
        invocation,
        is_spot: flags.spot,
        enables_exec: flags.interactive,
        started_by: one_off::started_by(context.actor.as_deref().unwrap_or_default()),
        client_token: random(),
    };
    Asked::Start { order, image: flags.image.clone() }
}

/// With the flags that lead to the same cluster.
fn attach_line(flags: &RunFlags, arguments: &Arguments) -> String {
    let global = &arguments.global;
    let mut line = "fargate-deploy run".to_owned();
    let file = global.config.as_ref().map(|file| file.display().to_string());
    for (flag, value) in [
        ("-c", file.as_ref()),
        ("-e", global.environment.as_ref()),
        ("--region", global.region.as_ref()),
        ("--cluster", global.cluster.as_ref()),
        ("-s", flags.service.as_ref()),
        ("--container", flags.container.as_ref()),
    ] {
        if let Some(value) = value {
            line.push_str(&format!(" {flag} {value}"));
        }
    }
    line.push_str(" --attach");
    line
}
