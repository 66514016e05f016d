//! `logs`: what the tasks of services say, merged by time, and what they go on to say.

use crate::cli::{Arguments, LogsFlags};
use crate::commands::scope::{Scope, ScopedService};
use crate::context::RunContext;
use crate::error::call_failed;
use crate::events::{Event, Sink, Warning};
use crate::evidence;
use crate::logs::{Follower, LogLine, Period, Source, all_of, newest};
use crate::ports::{Aws, Call, CallError, LogStream};
use crate::render::log_lines::Printer;
use crate::retry;
use crate::signals::signalled;
use fargate_deploy_core::names::{ContainerName, ServiceKey, ServiceRef, TaskArn, TaskDefinitionArn, short};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task::Task;
use fargate_deploy_core::task_definition::TaskDefinition;
use futures_util::FutureExt as _;
use regex_lite::Regex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

/// How many lines are shown where neither a number nor a beginning is given.
const LINES: usize = 100;
/// How far back is looked for a text where no beginning is given, in seconds.
const LOOKING_BACK: f64 = 3600.0;
/// Between two looks for new tasks and lines.
const PAUSE: Duration = Duration::from_secs(1);
/// What is so young when following begins is read as what follows: CloudWatch may not have taken all of it yet.
const YOUNG: f64 = 10.0;
/// How many tasks that have stopped are looked at beside those that run, the newest first, and with `--previous`.
const STOPPED: [usize; 2] = [20, 100];

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub follows: bool,
    /// Milliseconds since the epoch.
    pub since: Option<i64>,
    pub until: Option<i64>,
    pub lines: Option<usize>,
    /// The beginning of a task's id, or its ARN.
    pub task: Option<String>,
    /// Only tasks that have stopped.
    pub is_previous: bool,
    pub container: Option<ContainerName>,
    pub release: Option<u64>,
    pub grep: Option<Regex>,
    /// What CloudWatch looks for.
    pub filter: Option<String>,
}

impl Asked {
    fn shows(&self, line: &LogLine) -> bool {
        let grep = self.grep.as_ref();
        self.until.is_none_or(|until| line.timestamp < until) && grep.is_none_or(|grep| grep.is_match(&line.message))
    }
}

/// Prints what was asked for; with `-f` until a signal comes or nobody reads any more.
///
/// # Errors
/// `config`, `identity`, `permission`, `unavailable`.
pub async fn logs<W: Write>(
    flags: &LogsFlags,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
    mut signals: Receiver<usize>,
    printer: &mut Printer<W>,
) -> Result<(), Failure> {
    let reading = Box::pin(async {
        let asked = asked(flags, crate::clock::now())?;
        let scope = Scope::read(&flags.service, arguments, env, directory, Arc::clone(&sink)).boxed_local().await?;
        let context = RunContext::read(env, &scope.root);
        let cloud = scope.open(&context, env, Arc::clone(&sink)).boxed_local().await?;
        // What awaits a call is nested deeply enough without it.
        logs_of(&asked, &scope.services, cloud.ports(), sink.as_ref(), crate::clock::now, printer).boxed_local().await
    });
    tokio::select! {
        read = reading => read,
        () = signalled(&mut signals, 1) => Ok(()),
    }
}

/// The same with the session open. `now` is our clock, in seconds since the epoch.
///
/// # Errors
/// As [`logs`].
pub async fn logs_of<W: Write>(
    asked: &Asked,
    services: &[ScopedService],
    aws: Aws<'_>,
    sink: &dyn Sink,
    now: impl Fn() -> f64,
    printer: &mut Printer<W>,
) -> Result<(), Failure> {
    let began = now();
    let mut tasks = Tasks {
        asked,
        services,
        sink,
        known: BTreeMap::new(),
        definitions: BTreeMap::new(),
        said: BTreeSet::new(),
        others: BTreeSet::new(),
    };
    tasks.look(aws).await?;
    tasks.refuse_unknown_task(aws).await?;
    tasks.tell_endings();
    let sources = tasks.sources(aws).await?;
    if sources.is_empty() && !asked.follows {
        tasks.refuse_what_is_not_there()?;
    }
    if sources.is_empty() && tasks.said.is_empty() && !asked.follows {
        sink.emit(Event::Warning(Warning::NoTasks { is_previous: asked.is_previous }));
    }
    let history = Period { from: asked.since, until: asked.until };
    if !asked.follows {
        return past(asked, &sources, history, aws, printer).boxed_local().await.map_err(|e| not_read(&e));
    }
    let young = milliseconds(began - YOUNG);
    let mut follower = Follower::new(asked.filter.clone());
    for source in &sources {
        follower.add(source, asked.since.map_or(young, |since| since.max(young)));
    }
    let older = Period { until: Some(young), ..history };
    let has_older = asked.since.is_none_or(|since| since < young);
    let mut recent = Kept::new(asked);
    if recent.is_bounded() {
        // What is young is read first: how many older lines are wanted depends on it.
        let mut keep = |lines: Vec<LogLine>| {
            lines.into_iter().filter(|line| asked.shows(line)).for_each(|line| recent.keep(line));
            true
        };
        follower.read(aws, began, &mut keep).boxed_local().await.map_err(|e| not_read(&e))?;
    }
    if has_older {
        let missing = Asked { lines: recent.missing(), ..asked.clone() };
        past(&missing, &sources, older, aws, printer).boxed_local().await.map_err(|e| not_read(&e))?;
    }
    let mut goes_on = printer.print(recent.lines.into());
    let mut next = Instant::now();
    while goes_on {
        let mut show = |mut lines: Vec<LogLine>| {
            lines.retain(|line| asked.shows(line));
            lines.is_empty() || printer.print(lines)
        };
        goes_on = match retry::each_within(retry::POLL, follower.read(aws, now(), &mut show).boxed_local()).await {
            Ok(goes_on) => goes_on,
            // It may be read later.
            Err(e) if e.may_pass() => {
                sink.emit(Event::Warning(Warning::LogsNotRead { error: e.to_string() }));
                true
            }
            Err(e) => return Err(not_read(&e)),
        };
        next = (next + PAUSE).max(Instant::now());
        sleep_until(next).await;
        let looking = async {
            tasks.look(aws).await?;
            tasks.sources(aws).await
        };
        match retry::each_within(retry::POLL, looking.boxed_local()).await {
            Ok(sources) => {
                for source in sources {
                    // A task that came since is told from its first line.
                    let is_older = tasks.known.get(&source.task).is_some_and(|known| known.is_older);
                    follower.add(&source, if is_older { young } else { 0 });
                }
            }
            Err(failure) if failure.reason == Reason::Unavailable => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// What was said until now.
async fn past<W: Write>(
    asked: &Asked,
    sources: &[Rc<Source>],
    period: Period,
    aws: Aws<'_>,
    printer: &mut Printer<W>,
) -> Call<()> {
    if asked.lines == Some(0) {
        return Ok(());
    }
    if asked.since.is_none() && asked.grep.is_none() && asked.filter.is_none() {
        let lines = newest(sources, asked.lines.unwrap_or(LINES), period.until, aws).await?;
        printer.print(lines);
        return Ok(());
    }
    let from = period.from.unwrap_or_else(|| {
        let end = period.until.map_or_else(crate::clock::now, |until| until as f64 / 1000.0);
        milliseconds(end - LOOKING_BACK)
    });
    let mut kept = Kept::new(asked);
    let period = Period { from: Some(from), ..period };
    all_of(sources, period, asked.filter.as_deref(), aws, &mut |line| {
        if !asked.shows(&line) {
            return true;
        }
        match kept.is_bounded() {
            true => {
                kept.keep(line);
                true
            }
            false => printer.print(vec![line]),
        }
    })
    .await?;
    printer.print(kept.lines.into());
    Ok(())
}

/// The last lines, as many as were asked for.
struct Kept {
    lines: VecDeque<LogLine>,
    most: Option<usize>,
}

impl Kept {
    fn new(asked: &Asked) -> Self {
        let most = asked.lines.or_else(|| asked.since.is_none().then_some(LINES));
        Self { lines: VecDeque::new(), most }
    }

    fn is_bounded(&self) -> bool {
        self.most.is_some()
    }

    fn keep(&mut self, line: LogLine) {
        // Late ones go where they belong.
        let at = self.lines.partition_point(|known| known.timestamp <= line.timestamp);
        self.lines.insert(at, line);
        if self.most.is_some_and(|most| self.lines.len() > most) {
            self.lines.pop_front();
        }
    }

    /// How many more would be kept.
    fn missing(&self) -> Option<usize> {
        self.most.map(|most| most.saturating_sub(self.lines.len()))
    }
}

/// A task that is known.
struct Known {
    service: ServiceKey,
    task: Task,
    /// It was there when we came.
    is_older: bool,
}

/// The tasks of the services, as they come and go.
struct Tasks<'a> {
    asked: &'a Asked,
    services: &'a [ScopedService],
    sink: &'a dyn Sink,
    known: BTreeMap<TaskArn, Known>,
    definitions: BTreeMap<TaskDefinitionArn, TaskDefinition>,
    /// Containers whose lines are elsewhere, of which that was said.
    said: BTreeSet<(ServiceKey, ContainerName)>,
    /// Releases or containers that are there, and were not asked for.
    others: BTreeSet<String>,
}

impl Tasks<'_> {
    /// Looks for tasks that are new, and at those that were not running yet or have stopped since.
    async fn look(&mut self, aws: Aws<'_>) -> Result<(), Failure> {
        let is_first = self.known.is_empty();
        for ScopedService { key, service, .. } in self.services {
            let running = match self.asked.is_previous {
                true => vec![],
                false => aws.tasks.running_tasks(service).await.map_err(|e| not_listed(service, &e))?,
            };
            let stopped = aws.tasks.stopped_tasks(service).await.map_err(|e| not_listed(service, &e))?;
            let is_settled = |arn: &TaskArn, has_stopped: bool| {
                let task = self.known.get(arn).map(|known| &known.task);
                task.is_some_and(|task| task.is_stopped() || (!has_stopped && task.last_status == "RUNNING"))
            };
            let unsettled: Vec<TaskArn> = running
                .into_iter()
                .map(|arn| (arn, false))
                .chain(stopped.into_iter().map(|arn| (arn, true)))
                .filter(|(arn, has_stopped)| !is_settled(arn, *has_stopped))
                .map(|(arn, _)| arn)
                .collect();
            let found = aws.tasks.tasks(&service.cluster, &unsettled).await.map_err(|e| not_listed(service, &e))?;
            for task in found {
                let is_older = self.known.get(&task.arn).map_or(is_first, |known| known.is_older);
                self.known.insert(task.arn.clone(), Known { service: key.clone(), task, is_older });
            }
        }
        Ok(())
    }

    /// A task that is named may be none of a service: what `run` or a release started.
    async fn refuse_unknown_task(&mut self, aws: Aws<'_>) -> Result<(), Failure> {
        let Some(wanted) = &self.asked.task else { return Ok(()) };
        if self.known.keys().any(|arn| is_meant(arn, wanted)) {
            return Ok(());
        }
        let clusters: BTreeSet<_> = self.services.iter().map(|scoped| &scoped.service.cluster).collect();
        let arn = TaskArn::new(wanted.as_str());
        for cluster in clusters {
            // What AWS does not know as an id, such as its beginning, it may also call wrong.
            let found = aws.tasks.tasks(cluster, std::slice::from_ref(&arn)).await.unwrap_or_default();
            if let Some(task) = found.into_iter().next() {
                let service = ServiceKey::from(task.task_definition.family());
                self.known.insert(task.arn.clone(), Known { service, task, is_older: true });
                return Ok(());
            }
        }
        let what = format!("task `{}`: there is none in these services", short(wanted));
        Err(Failure::new(Reason::Config, what).with_next(
            "AWS forgets a task an hour after it stopped; a task that `run` started is named by its whole id",
        ))
    }

    /// There are tasks, and none of what is asked for.
    fn refuse_what_is_not_there(&self) -> Result<(), Failure> {
        let wanted = match (&self.asked.container, self.asked.release) {
            (Some(container), _) => format!("container `{container}`"),
            (None, Some(number)) => format!("release r{number}"),
            (None, None) => return Ok(()),
        };
        if self.others.is_empty() || !self.said.is_empty() {
            return Ok(());
        }
        let others: Vec<&str> = self.others.iter().map(String::as_str).collect();
        Err(Failure::new(Reason::Config, format!("{wanted}: no task of these services is of it"))
            .with_next(format!("there are {}", others.join(", "))))
    }

    fn chosen(&self) -> impl Iterator<Item = &Known> {
        let most = STOPPED[usize::from(self.asked.is_previous)];
        let mut ended: Vec<f64> = self.known.values().filter_map(|known| known.task.stopped_at).collect();
        ended.sort_by(|a, b| b.total_cmp(a));
        let since = ended.get(most).copied().unwrap_or(f64::MIN);
        self.known.values().filter(move |Known { task, .. }| match &self.asked.task {
            Some(wanted) => is_meant(&task.arn, wanted),
            None => task.stopped_at.is_none_or(|at| at > since),
        })
    }

    /// How the tasks ended that are asked for because they did.
    fn tell_endings(&self) {
        if !self.asked.is_previous {
            return;
        }
        let mut ended: Vec<&Known> = self.chosen().collect();
        ended.sort_by(|a, b| a.task.stopped_at.unwrap_or_default().total_cmp(&b.task.stopped_at.unwrap_or_default()));
        for Known { service, task, .. } in ended {
            let (service, task, ending) = (service.clone(), task.arn.clone(), evidence::ending(task));
            self.sink.emit(Event::TaskEnded { service, task, ending });
        }
    }

    /// The logs of the chosen tasks whose containers may have written.
    async fn sources(&mut self, aws: Aws<'_>) -> Result<Vec<Rc<Source>>, Failure> {
        let not_begun = ["PROVISIONING", "PENDING"];
        let chosen: Vec<_> = self
            .chosen()
            .filter(|known| !not_begun.contains(&known.task.last_status.as_str()))
            .map(|known| (known.service.clone(), known.task.clone()))
            .collect();
        let mut sources = vec![];
        for (service, task) in chosen {
            let definition = match self.definitions.get(&task.task_definition) {
                Some(known) => known,
                None => {
                    let read = aws.task_definitions.task_definition(task.task_definition.as_str()).await;
                    let doing = format!("reading task definition `{}`", task.task_definition.short());
                    let read = read.map_err(|e| call_failed(&doing, &e))?;
                    self.definitions.entry(task.task_definition.clone()).or_insert(read)
                }
            };
            if self.asked.release.is_some() && definition.release() != self.asked.release {
                let name = definition.release().map(|number| format!("r{number}"));
                self.others.insert(name.unwrap_or_else(|| "tasks of no release".to_owned()));
                continue;
            }
            for name in definition.container_names() {
                let container = ContainerName::new(name);
                if self.asked.container.as_ref().is_some_and(|wanted| *wanted != container) {
                    self.others.insert(format!("`{container}`"));
                    continue;
                }
                match LogStream::of(definition, &container, &task.arn) {
                    Some(stream) => sources.push(Rc::new(Source {
                        service: service.clone(),
                        task: task.arn.clone(),
                        container,
                        stream,
                        stopped_at: task.stopped_at,
                    })),
                    None if self.said.insert((service.clone(), container.clone())) => {
                        let (driver, place) = definition.log_elsewhere(&container);
                        self.sink.emit(Event::Warning(Warning::LogElsewhere { container, driver, place }));
                    }
                    None => {}
                }
            }
        }
        Ok(sources)
    }
}

fn is_meant(arn: &TaskArn, wanted: &str) -> bool {
    arn.as_str() == wanted || arn.id().starts_with(wanted)
}

fn not_listed(service: &ServiceRef, error: &CallError) -> Failure {
    let failure = call_failed(&format!("listing the tasks of {service}"), error);
    match failure.reason {
        Reason::Config => failure.with_next("check `name`, `cluster` and `region` of the service"),
        _ => failure,
    }
}

fn not_read(error: &CallError) -> Failure {
    call_failed("reading the logs", error)
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

fn asked(flags: &LogsFlags, now: f64) -> Result<Asked, Failure> {
    let grep = flags.grep.as_deref().map(Regex::new).transpose();
    let grep = grep.map_err(|e| Failure::new(Reason::Config, format!("`--grep`: {e}")))?;
    let time = |text: &Option<String>, flag: &str| {
        text.as_deref()
            .map(|text| time(text, now))
            .transpose()
            .map_err(|why| Failure::new(Reason::Config, format!("`--{flag}`: {why}")))
    };
    let (since, until) = (time(&flags.since, "since")?, time(&flags.until, "until")?);
    if since.is_some_and(|since| since > until.unwrap_or_else(|| milliseconds(now))) {
        let end = if until.is_some() { "`--until`" } else { "now" };
        return Err(Failure::new(Reason::Config, format!("`--since`: it is later than {end}")));
    }
    Ok(Asked {
        follows: flags.follow,
        since,
        until,
        lines: flags.lines,
        task: flags.task.clone(),
        is_previous: flags.previous,
        container: flags.container.as_deref().map(ContainerName::new),
        release: flags.release,
        grep,
        // Quotes make a term of whatever is in it.
        filter: flags.filter.as_ref().map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))),
    })
}

/// So long ago, or a time with its zone.
fn time(text: &str, now: f64) -> Result<i64, String> {
    if let Ok(ago) = crate::config::duration(text) {
        return Ok(milliseconds(now - ago.as_secs_f64()));
    }
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed.map(|at| at.as_millisecond()).map_err(|_| {
        format!("`{text}` is no time: how long ago, such as `15m`, or when, such as `2026-11-30T14:00:00Z`")
    })
}
