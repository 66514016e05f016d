//! A session in a running container: what is missing is said before it starts; then a command or a shell, and its exit code.

mod plugin;

pub(crate) use plugin::Plugin;

use crate::error::call_failed;
use crate::events::{Event, Notice, Sink, Warning};
use crate::ports::{Aws, CallError, CallErrorKind, ExecSession, ExecuteCommand, Sessions};
use crate::terminal::{self, Raw};
use fargate_deploy_core::exec::{ExecTask, Missing, TASK_ROLE_ACTIONS, task_role};
use fargate_deploy_core::names::{ClusterName, ContainerName, TaskArn, short};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_session::{
    Connect, ConnectError, Conversation, DataKeys, Ended, Event as SessionEvent, Filter, Input, KeyRequest, Leave,
    Marker, Size, StandardInput, Stream, command_line,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read as _, Write};
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// As the plugin has it where there is no terminal: wide enough for what looks at it.
const NO_WINDOW: Size = Size { columns: 300, rows: 100 };
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// An agent that is there is not connected at once.
const UNTIL_CONNECTED: Duration = Duration::from_secs(20);
/// A look that nothing depends on.
const LOOK: Duration = Duration::from_secs(5);
/// A shell: the better one that the image has.
const SHELL: [&str; 3] = ["/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec /bin/sh"];

/// Where a session is wanted.
pub(crate) struct Place<'a> {
    pub cluster: &'a ClusterName,
    pub task: TaskArn,
    pub container: ContainerName,
    /// Where it could be read.
    pub definition: Option<&'a TaskDefinition>,
}

/// How its output is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// A person's terminal, for keys and for the screen.
    pub is_terminal: bool,
    /// What ends GitHub's commands until it comes again; the runner must not take a container's line for one.
    pub fence: Option<String>,
}

/// The words of a command as a person gave them: a lone one is a line for a shell.
pub(crate) fn words(given: &[String]) -> Vec<String> {
    match given {
        [] => SHELL.map(str::to_owned).to_vec(),
        [line] => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        words => words.to_vec(),
    }
}

/// Waits until the container takes sessions.
///
/// # Errors
/// `config`, `permission`: what is missing, and how to have it. Nothing was started.
pub(crate) async fn ready(
    place: &Place<'_>,
    patience: Duration,
    sessions: &dyn Sessions,
    sink: &dyn Sink,
) -> Result<ExecTask, Failure> {
    let began = Instant::now();
    let mut has_told = false;
    let task = loop {
        let found = sessions.exec_tasks(place.cluster, std::slice::from_ref(&place.task)).await;
        let found = found.map_err(|error| call_failed("looking at the task", &error))?;
        let Some(task) = found.into_iter().next() else {
            // Right after RunTask it can be missing.
            if began.elapsed() < patience {
                sleep(BETWEEN_LOOKS).await;
                continue;
            }
            return Err(Failure::new(Reason::Config, format!("task `{}`: there is none", place.task.id())));
        };
        let Some(missing) = task.missing(&place.container, place.definition) else { break task };
        let is_over = matches!(task.last_status.as_str(), "DEACTIVATING" | "STOPPING" | "DEPROVISIONING" | "STOPPED");
        if is_over || !missing.may_come() || began.elapsed() >= patience {
            return Err(refused(place, &task, &missing));
        }
        if !std::mem::replace(&mut has_told, true) {
            sink.emit(Event::AgentAwaited { task: place.task.clone(), container: place.container.clone() });
        }
        sleep(BETWEEN_LOOKS).await;
    };
    let role = place.definition.and_then(task_role);
    if let Some(role) = role
        && let Ok(Ok(denied)) = timeout(LOOK, sessions.denied_actions(role, &TASK_ROLE_ACTIONS)).await
        && !denied.is_empty()
    {
        let what = format!("task role `{}`: it may not {}", short(role), denied.join(", "));
        return Err(Failure::new(Reason::Permission, what).with_next(TASK_ROLE));
    }
    Ok(task)
}

const TASK_ROLE: &str = "allow the four actions to the task's role (not to the execution role), on every resource: \
     `fargate-deploy policy task` prints the policy; docs/exec.md";

fn refused(place: &Place<'_>, task: &ExecTask, missing: &Missing) -> Failure {
    let Place { container, .. } = place;
    let id = task.arn.id();
    let config = |what: String, next: &str| Failure::new(Reason::Config, what).with_next(next);
    let because = |reason: &Option<String>| reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match missing {
        Missing::NotEnabled => config(
            format!("task `{id}`: it was started without ECS Exec"),
            "set `enableExecuteCommand` on the service (aws ecs update-service --enable-execute-command), then \
             `fargate-deploy deploy --force-new-deployment`: only tasks that start after it have the agent",
        ),
        Missing::ReadOnlyRoot => config(
            format!(
                "container `{container}`: `readonlyRootFilesystem` is true, and the agent of ECS Exec writes into it"
            ),
            "take `readonlyRootFilesystem` out of the task definition and deploy, or use `run -i` with another image",
        ),
        Missing::NoTaskRole => config(
            format!("task `{id}`: its task definition has no `taskRoleArn`, and the agent of ECS Exec needs one"),
            TASK_ROLE,
        ),
        Missing::NotRunning(status) => config(
            format!(
                "container `{container}` of task `{id}` is {}{}",
                status.as_deref().unwrap_or("not there"),
                because(&task.stopped_reason)
            ),
            "choose a task that runs: `fargate-deploy exec --newest`",
        ),
        Missing::Agent { status, reason } => config(
            format!(
                "container `{container}` of task `{id}`: its ExecuteCommandAgent is {}{}",
                status.as_deref().unwrap_or("not there"),
                because(reason)
            ),
            "the agent needs some memory, a root file system that can be written to, and `AWS_ACCESS_KEY_ID` not set in the \
             container; a task that is started anew has a new one",
        ),
    }
}

/// Runs the command, or a shell where there is none, to its end.
///
/// # Errors
/// Everything but the command's own exit code.
pub(crate) async fn run(
    place: &Place<'_>,
    task: &ExecTask,
    given: &[String],
    shown: &Shown,
    plugin: Option<&Plugin<'_>>,
    sessions: &dyn Sessions,
    sink: &dyn Sink,
) -> Result<u8, Failure> {
    // On a terminal the plugin hands over no exit code: it is for shells.
    let plugin = plugin.filter(|_| given.is_empty() || !shown.is_terminal);
    let is_through_plugin = plugin.is_some();
    let is_bare = is_through_plugin && shown.is_terminal;
    let marker = Marker::random();
    let words = words(given);
    let command = match (is_bare, shown.is_terminal) {
        (true, _) => command_line(&words),
        (false, true) => marker.wrap(&words, StandardInput::Terminal),
        (false, false) => marker.wrap(&words, StandardInput::Empty),
    };
    sink.emit(Event::SessionRequested {
        task: place.task.clone(),
        container: place.container.clone(),
        is_through_plugin,
    });
    let session = opened(place, command, sessions).await?;
    let cluster = short(place.cluster.as_str());
    let target = task.target(cluster, &place.container).unwrap_or_default();
    if let Some(plugin) = plugin.filter(|_| is_bare) {
        return plugin.shell(&session, &target, sessions).await;
    }
    let mut out = Out { filter: Filter::new(marker, !shown.is_terminal), shown, is_open: true };
    out.fence("::stop-commands::", "");
    let line = Line { place, session: &session, target: &target, sessions };
    let mut ended = match plugin {
        Some(plugin) => plugin.command(&session, &target, sessions, &mut |bytes| out.push(bytes)).await?,
        None => converse(&line, shown, &mut out, sink).await?,
    };
    if let (Ended::Closed(said), None) = (&ended, out.filter.exit_code())
        && let Some(why) = line.over().await
    {
        ended = Ended::Closed([said.as_str(), &why].join("\n"));
    }
    out.finish();
    out.fence("::", "::");
    match out.filter.exit_code() {
        Some(code) => Ok(code),
        None => Err(without_code(&ended, &out)),
    }
}

/// A command whose connection ended first.
fn without_code(ended: &Ended, out: &Out<'_>) -> Failure {
    if *ended == Ended::Left && out.is_open {
        return Failure::new(Reason::Cancelled, "cancelled: the session was left, and what ran in it was interrupted");
    }
    if !out.is_open {
        return Failure::new(
            Reason::Unavailable,
            "standard output: nobody reads it any more; the command was interrupted",
        );
    }
    let why = match ended {
        Ended::Closed(why) | Ended::Lost(why) => Some(why.trim()).filter(|why| !why.is_empty()),
        Ended::Left => None,
    };
    let mut evidence: Vec<String> = why.iter().map(|why| (*why).to_owned()).collect();
    let before = out.filter.before();
    evidence.extend((!before.is_empty()).then_some(before));
    if !out.filter.has_begun() {
        return Failure::new(Reason::Unavailable, "the command was not started: the session ended before it")
            .with_evidence(evidence)
            .with_next("the command is run by `/bin/sh`, which the image has to have; the agent says the rest above");
    }
    let goes_on = matches!(ended, Ended::Lost(_));
    let what = "the connection ended before the command did: its exit code is not known";
    Failure::new(Reason::Unavailable, what).with_evidence(evidence).with_next(match goes_on {
        true => "the command may run on in the container: look there before you run it again",
        false => {
            "the session was ended from the other side; a command that takes long is better off in `fargate-deploy run`"
        }
    })
}

async fn opened(place: &Place<'_>, command: String, sessions: &dyn Sessions) -> Result<ExecSession, Failure> {
    let request = ExecuteCommand {
        cluster: place.cluster.clone(),
        task: place.task.clone(),
        container: place.container.clone(),
        command,
    };
    let began = Instant::now();
    loop {
        match sessions.execute_command(&request).await {
            Ok(session) => return Ok(session),
            // Nothing was started.
            Err(error) if error.code == "TargetNotConnectedException" && began.elapsed() < UNTIL_CONNECTED => {
                sleep(BETWEEN_LOOKS).await;
            }
            Err(error) => return Err(not_opened(&error)),
        }
    }
}

fn not_opened(error: &CallError) -> Failure {
    let failure = call_failed("opening a session in the container", error);
    match error.code.as_str() {
        "TargetNotConnectedException" => failure.with_next(
            "the agent in the container does not reach Systems Manager: allow the task's role the four ssmmessages actions \
             (`fargate-deploy policy task`), give its subnets a way to the ssmmessages endpoint, and start the task anew; \
             two sessions in one container are the most",
        ),
        _ => failure,
    }
}

/// How long the first output is waited for.
const UNTIL_HEARD: Duration = Duration::from_secs(60);
/// Between two looks at the task of a session in which nothing is said.
const BETWEEN_SILENT_LOOKS: Duration = Duration::from_secs(10);

/// The session to its end, with what a person types and what a person sees.
async fn converse(line: &Line<'_>, shown: &Shown, out: &mut Out<'_>, sink: &dyn Sink) -> Result<Ended, Failure> {
    let (keys, input) = mpsc::channel(64);
    let is_terminal = shown.is_terminal;
    let size = if is_terminal { terminal::size() } else { Some(NO_WINDOW) };
    let raw = match is_terminal {
        true => Some(Raw::enter().map_err(|error| Failure::new(Reason::Config, format!("the terminal: {error}")))?),
        false => None,
    };
    if is_terminal {
        let keys = keys.clone();
        std::thread::spawn(move || typed(&keys));
    }
    let conversation = Conversation::new(line, input, size);
    let heard = Cell::new(None);
    let shows = |event| match event {
        SessionEvent::Output(bytes) => {
            heard.set(Some(Instant::now()));
            out.push(&bytes)
        }
        _ => ControlFlow::Continue(()),
    };
    let (task, container) = (line.place.task.clone(), line.place.container.clone());
    let say = || sink.emit(Event::Warning(Warning::AgentSilent { task, container, seconds: UNTIL_HEARD.as_secs() }));
    let silence = given_up(&heard, || line.over(), say);
    let hang_up = async {
        if is_terminal {
            return crate::signals::interrupted().await;
        }
        // The first one is the command's own.
        crate::signals::told_to_end().await;
        let _ = keys.send(Input::Bytes(vec![3])).await;
        crate::signals::told_to_end().await;
    };
    let resizing = async {
        if is_terminal {
            resized(&keys).await;
        }
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = conversation.run(shows, hang_up) => ended,
        () = resizing => Ended::Left,
        why = silence => Ended::Lost(why),
    };
    drop(raw);
    Ok(ended)
}

/// Returns when nothing can be expected of the other side any more, and why: no output has come at all, though a command begins
/// with our own; or what it runs in is over, and the channel was left open.
async fn given_up<F: Future<Output = Option<String>>>(
    heard: &Cell<Option<Instant>>,
    over: impl Fn() -> F,
    say: impl FnOnce(),
) -> String {
    let (began, mut say) = (Instant::now(), Some(say));
    loop {
        sleep(BETWEEN_SILENT_LOOKS).await;
        if heard.get().is_none() {
            if began.elapsed() >= UNTIL_HEARD {
                return format!("the agent in the container gave no answer within {} s", UNTIL_HEARD.as_secs());
            }
            if let Some(say) = say.take() {
                say();
            }
        }
        if heard.get().is_none_or(|at| at.elapsed() >= BETWEEN_SILENT_LOOKS)
            && let Some(why) = over().await
        {
            return why;
        }
    }
}

/// Keys, until there are no more or nobody takes them.
fn typed(keys: &mpsc::Sender<Input>) {
    let mut buffer = [0; 1024];
    while let Ok(read) = std::io::stdin().read(&mut buffer) {
        // The end of input is the key for it.
        let bytes = if read == 0 { vec![4] } else { buffer[..read].to_vec() };
        if keys.blocking_send(Input::Bytes(bytes)).is_err() || read == 0 {
            return;
        }
    }
}

async fn resized(keys: &mpsc::Sender<Input>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    while changes.recv().await.is_some() {
        if let Some(size) = terminal::size() {
            let _ = keys.send(Input::Size(size)).await;
        }
    }
}

/// Standard output, without the marker.
struct Out<'a> {
    filter: Filter,
    shown: &'a Shown,
    is_open: bool,
}

impl Out<'_> {
    fn push(&mut self, bytes: &[u8]) -> ControlFlow<Leave> {
        let text = self.filter.push(bytes);
        if !self.write(&text) {
            return ControlFlow::Break(Leave::Interrupt);
        }
        match self.filter.exit_code() {
            Some(_) => ControlFlow::Break(Leave::Done),
            None => ControlFlow::Continue(()),
        }
    }

    fn finish(&mut self) {
        let rest = self.filter.finish();
        self.write(&rest);
    }

    /// Whether somebody reads it.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let mut out = std::io::stdout();
        if !bytes.is_empty() && out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            self.is_open = false;
        }
        self.is_open
    }

    fn fence(&mut self, before: &str, after: &str) {
        if let Some(token) = &self.shown.fence {
            let line = format!("\n{before}{token}{after}\n");
            self.write(line.as_bytes());
        }
    }
}

/// What a session needs of AWS.
struct Line<'a> {
    place: &'a Place<'a>,
    session: &'a ExecSession,
    target: &'a str,
    sessions: &'a dyn Sessions,
}

impl Connect for Line<'_> {
    async fn connect(&self, is_again: bool) -> Result<(Box<dyn Stream>, String), ConnectError> {
        let failed = |error: CallError| match error.kind {
            CallErrorKind::Unreachable | CallErrorKind::Throttled => ConnectError::Failed(error.to_string()),
            _ => ConnectError::Refused(error.to_string()),
        };
        let token = match is_again {
            false => self.session.token.clone(),
            true => match self.sessions.resume_session(&self.session.id).await.map_err(failed)? {
                Some(token) => token,
                None => {
                    return Err(ConnectError::Refused("the connection was lost, and the session is over".to_owned()));
                }
            },
        };
        let stream = self.sessions.data_channel(&self.session.stream_url).await.map_err(failed)?;
        Ok((stream, token.expose().clone()))
    }

    async fn keys(&self, request: &KeyRequest) -> Result<DataKeys, String> {
        let mut context = BTreeMap::from([
            ("aws:ssm:SessionId".to_owned(), self.session.id.clone()),
            ("aws:ssm:TargetId".to_owned(), self.target.to_owned()),
        ]);
        if let Some(challenge) = &request.challenge {
            context.insert("aws:ssm:RandomChallenge".to_owned(), challenge.clone());
        }
        let key = self.sessions.data_key(&request.kms_key, &context).await;
        let (encrypted, plain) = key.map_err(|error| error.to_string())?;
        DataKeys::new(encrypted, plain.expose()).ok_or_else(|| "KMS gave a key of another length".to_owned())
    }

    async fn over(&self) -> Option<String> {
        let found = self.sessions.exec_tasks(self.place.cluster, std::slice::from_ref(&self.place.task)).await.ok()?;
        match found.into_iter().next() {
            None => Some("its task is gone".to_owned()),
            Some(task) => {
                let container = task.container(&self.place.container);
                let is_over = container.is_none_or(|c| c.last_status.as_deref() == Some("STOPPED"));
                let why = task.stopped_reason.map(|why| format!(": {why}")).unwrap_or_default();
                is_over.then(|| format!("its container has stopped{why}"))
            }
        }
    }
}

/// The definition of a task, where it may be read.
pub(crate) async fn definition_of(task: &ExecTask, aws: Aws<'_>, sink: &dyn Sink) -> Option<TaskDefinition> {
    let read = aws.task_definitions.task_definition(task.task_definition.as_str()).await;
    if let Err(CallError { kind: CallErrorKind::Denied, action, .. }) = &read {
        let (what, action) = ("what the task's definition lacks for a session".to_owned(), action.clone());
        sink.emit(Event::Notice(Notice::NotReadable { what, action }));
    }
    read.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_says_nothing_is_told_of_once_and_given_up_after_a_minute() {
        let (began, told) = (Instant::now(), Cell::new(None));
        let why = given_up(&Cell::new(None), || std::future::ready(None), || told.set(Some(began.elapsed()))).await;
        assert!(why.contains("no answer within 60 s"), "{why}");
        assert_eq!((told.get(), began.elapsed()), (Some(Duration::from_secs(10)), UNTIL_HEARD));
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_says_nothing_more_goes_on_as_long_as_its_task_does() {
        let heard = Cell::new(None);
        let began = Instant::now();
        let over = || std::future::ready((began.elapsed() > HOUR).then(|| "its container has stopped".to_owned()));
        let hearing = async {
            sleep(Duration::from_secs(5)).await;
            heard.set(Some(Instant::now()));
            std::future::pending::<()>().await;
        };
        let why = tokio::select! {
            why = given_up(&heard, over, || panic!("it has answered")) => why,
            () = hearing => unreachable!("it waits"),
        };
        assert_eq!(why, "its container has stopped");
        assert!(began.elapsed() > HOUR && began.elapsed() < HOUR + Duration::from_secs(30), "{:?}", began.elapsed());
    }
}
