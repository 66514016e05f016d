//! `Cloud` by hand: a line in the journal, a fault if one was ordered, the effect, the answer.

use super::builder::tagged;
use super::ecs::Aws;
use super::{ACCOUNT, Journal, REGION, REGISTRY, RUN};
use async_trait::async_trait;
use fargate_deploy::fence::may_send;
use fargate_deploy::pace::Pace;
use fargate_deploy::ports::*;
use fargate_deploy::retry::{Again, RetryPolicy, retry};
use fargate_deploy_core::cause::{SeenTarget, TargetCheck};
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::names::*;
use fargate_deploy_core::redact::Secret;
use fargate_deploy_core::service::{Service, ServiceDeployment, ServiceRevision};
use fargate_deploy_core::task::Task;
use fargate_deploy_core::task_definition::TaskDefinition;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Half of the time that a call takes: the other half is the answer's way back.
pub const WAY: Duration = Duration::from_millis(40);

/// A standard parameter's value.
const LARGEST_PARAMETER: usize = 4096;

struct Fault {
    action: String,
    kind: CallErrorKind,
    /// The effect takes place, the answer is lost.
    is_late: bool,
    skip: usize,
    times: usize,
}

/// How AWS does not answer for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outage {
    /// At once, with this.
    Says(CallErrorKind),
    /// Not at all.
    Hangs,
}

struct Trouble {
    action: String,
    outage: Outage,
    skip: usize,
    lasts: Duration,
    since: Option<Instant>,
}

/// A run whose calls hang, because it is suspended or cut off from AWS. They go on afterwards.
struct Freeze {
    run: String,
    /// The call that it begins at.
    call: String,
    at: Moment,
    skip: usize,
    lasts: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is about to be sent.
    BeforeSending,
    /// It has been sent, and has not arrived.
    OnItsWay,
    /// It has had its effect, and has not been answered.
    BeforeTheAnswer,
}

pub struct FakeCloud {
    pub journal: Journal,
    aws: RefCell<Aws>,
    faults: RefCell<Vec<Fault>>,
    troubles: RefCell<Vec<Trouble>>,
    /// Lists of parameters that are shown instead of the true one.
    pub stale_lists: RefCell<VecDeque<BTreeMap<String, String>>>,
    /// How long DescribeServices shows what was before an UpdateService.
    pub service_lag: Cell<Duration>,
    outdated: RefCell<BTreeMap<String, (Instant, Service)>>,
    /// What UpdateService answers, of the service before and after it.
    pub update_answer: Cell<fn(Service, Service) -> Service>,
    /// How long the answer of a PutParameter with Overwrite stays on its way to SSM, next first.
    pub slow_puts: RefCell<VecDeque<Duration>>,
    freezes: RefCell<Vec<Freeze>>,
    frozen: RefCell<BTreeMap<String, Instant>>,
    pub region: Cell<&'static str>,
    pace: Pace,
    /// StopTask is answered, and the task goes on.
    pub ignores_stops: Cell<bool>,
    /// RunTask with tags is refused, as to a role that lacks `ecs:TagResource`.
    pub refuses_tags: Cell<bool>,
    /// AWS's limits: calls beyond them are refused.
    buckets: RefCell<Option<Buckets>>,
}

/// What is left in each bucket, and when that was.
#[derive(Default)]
struct Buckets {
    left: BTreeMap<&'static str, (f64, Instant)>,
    refused: usize,
}

/// By the name of the bucket: what it holds, what it gets back a second, and which calls take of it.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/request-throttling.html>, and AWS's support of SSM.
const BUCKETS: [(&str, f64, f64, &[&str]); 11] = [
    ("register", 20.0, 1.0, &["ecs:RegisterTaskDefinition"]),
    ("update", 50.0, 5.0, &["ecs:UpdateService"]),
    ("services", 100.0, 20.0, &["ecs:DescribeServices"]),
    ("tasks", 100.0, 20.0, &["ecs:DescribeTasks", "ecs:ListTasks"]),
    ("definitions", 50.0, 20.0, &["ecs:DescribeTaskDefinition"]),
    ("deployments", 50.0, 20.0, &["ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments"]),
    ("revisions", 50.0, 20.0, &["ecs:DescribeServiceRevisions"]),
    ("parameters", 40.0, 40.0, &["ssm:GetParametersByPath"]),
    ("writes", 3.0, 3.0, &["ssm:PutParameter"]),
    ("log events", 10.0, 10.0, &["logs:GetLogEvents"]),
    ("found events", 5.0, 5.0, &["logs:FilterLogEvents"]),
];

impl Buckets {
    fn take(&mut self, action: &str) -> bool {
        let Some((name, burst, rate, _)) = BUCKETS.iter().find(|(.., actions)| actions.contains(&action)) else {
            return true;
        };
        let (left, since) = self.left.get(name).copied().unwrap_or((*burst, Instant::now()));
        let now = (left + since.elapsed().as_secs_f64() * rate).min(*burst);
        let is_there = now >= 1.0;
        self.left.insert(name, (if is_there { now - 1.0 } else { now }, Instant::now()));
        self.refused += usize::from(!is_there);
        is_there
    }
}

impl FakeCloud {
    pub fn ports(&self) -> fargate_deploy::ports::Aws<'_> {
        fargate_deploy::ports::Aws::of(self)
    }

    pub fn new(journal: Journal) -> Self {
        Self {
            journal,
            aws: RefCell::default(),
            faults: RefCell::default(),
            troubles: RefCell::default(),
            stale_lists: RefCell::default(),
            service_lag: Cell::default(),
            outdated: RefCell::default(),
            update_answer: Cell::new(|_, after| after),
            slow_puts: RefCell::default(),
            freezes: RefCell::default(),
            frozen: RefCell::default(),
            region: Cell::new(REGION),
            pace: Pace::default(),
            ignores_stops: Cell::default(),
            refuses_tags: Cell::default(),
            buckets: RefCell::default(),
        }
    }

    /// From now on calls beyond AWS's limits are refused.
    pub fn limit_rates(&self) {
        self.buckets.replace(Some(Buckets::default()));
    }

    /// How many calls were refused for their rate.
    pub fn refused(&self) -> usize {
        self.buckets.borrow().as_ref().map_or(0, |buckets| buckets.refused)
    }

    /// What AWS knows now.
    pub fn aws(&self) -> RefMut<'_, Aws> {
        let mut aws = self.aws.borrow_mut();
        aws.tick();
        aws
    }

    pub fn deny(&self, action: &str) {
        self.fail(action, CallErrorKind::Denied, 0, usize::MAX);
    }

    /// After `skip` calls, the next one and all further ones do not get through for `lasts`. They are repeated as the
    /// program repeats them.
    pub fn trouble(&self, action: &str, outage: Outage, skip: usize, lasts: Duration) {
        let action = action.to_owned();
        self.troubles.borrow_mut().push(Trouble { action, outage, skip, lasts, since: None });
    }

    /// One attempt gets through, or not.
    async fn attempt(&self, action: &str, limit: Duration) -> Call<()> {
        if !may_send() {
            return Err(error(action, CallErrorKind::Invalid));
        }
        if !self.buckets.borrow_mut().as_mut().is_none_or(|buckets| buckets.take(action)) {
            self.pace.was_throttled(action);
            return Err(error(action, CallErrorKind::Throttled));
        }
        let outage = {
            let mut troubles = self.troubles.borrow_mut();
            let Some(trouble) = troubles.iter_mut().find(|t| t.action == action) else { return Ok(()) };
            if trouble.skip > 0 {
                trouble.skip -= 1;
                return Ok(());
            }
            let since = *trouble.since.get_or_insert_with(Instant::now);
            if since.elapsed() >= trouble.lasts {
                return Ok(());
            }
            trouble.outage
        };
        match outage {
            Outage::Says(kind) => Err(error(action, kind)),
            Outage::Hangs => {
                sleep(limit).await;
                Err(error(action, CallErrorKind::Unreachable))
            }
        }
    }

    /// An answered one fails at once, after the repetitions; lets `skip` calls pass, then fails `times`. `action` may be a
    /// whole line of the journal.
    pub fn fail(&self, action: &str, kind: CallErrorKind, skip: usize, times: usize) {
        self.faults.borrow_mut().push(Fault { action: action.to_owned(), kind, is_late: false, skip, times });
    }

    /// The effect takes place and its answer is lost.
    pub fn lose_answer(&self, action: &str, skip: usize) {
        self.lose_answers(action, skip, 1);
    }

    /// The same of `times` calls.
    pub fn lose_answers(&self, action: &str, skip: usize, times: usize) {
        let action = action.to_owned();
        let kind = CallErrorKind::Unreachable;
        self.faults.borrow_mut().push(Fault { action, kind, is_late: true, skip, times });
    }

    /// What was ordered to go wrong goes well from now on.
    pub fn recover(&self) {
        self.faults.borrow_mut().clear();
        self.troubles.borrow_mut().clear();
    }

    /// All calls of a run hang from such a call on, after `skip` of them, for so long.
    pub fn freeze(&self, run: &str, call: &str, at: Moment, skip: usize, lasts: Duration) {
        let (run, call) = (run.to_owned(), call.to_owned());
        self.freezes.borrow_mut().push(Freeze { run, call, at, skip, lasts });
    }

    /// Hangs as long as the run that calls is frozen.
    async fn thaw(&self, line: &str, at: Moment) {
        let run = RUN.try_with(Clone::clone).unwrap_or_default();
        {
            let mut freezes = self.freezes.borrow_mut();
            let is_it = |f: &Freeze| f.run == run && f.at == at && line.starts_with(&f.call);
            if let Some(found) = freezes.iter().position(is_it) {
                if freezes[found].skip == 0 {
                    let freeze = freezes.remove(found);
                    self.frozen.borrow_mut().insert(run.clone(), Instant::now() + freeze.lasts);
                } else {
                    freezes[found].skip -= 1;
                }
            }
        }
        let until = self.frozen.borrow().get(&run).copied();
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    pub fn push(&self, repository: &str, digest: &Digest, tag: &str, platform: &str) {
        tagged(&mut self.aws().images, repository, digest, tag, platform);
    }

    fn fault(&self, action: &str, line: &str) -> Option<(CallErrorKind, bool)> {
        let mut faults = self.faults.borrow_mut();
        let fault = faults.iter_mut().find(|f| (f.action == action || f.action == line) && f.times > 0)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        Some((fault.kind, fault.is_late))
    }

    async fn call<T>(&self, action: &str, detail: &str, effect: impl FnOnce(&mut Aws) -> Call<T>) -> Call<T> {
        let is_safe_twice = !detail.ends_with(" by force");
        let again = |e: &CallError| match e.kind {
            CallErrorKind::Throttled => Again::Soon,
            CallErrorKind::Unreachable if is_safe_twice => Again::Soon,
            _ => Again::Never,
        };
        let line = format!("{action} {detail}").trim_end().to_owned();
        self.thaw(&line, Moment::BeforeSending).await;
        if self.buckets.borrow().is_some() {
            self.pace.turn(action).await;
        }
        retry(RetryPolicy::of(Duration::from_millis(500)), |limit| self.attempt(action, limit), again, |_| {}).await?;
        self.journal.note(line.clone());
        self.thaw(&line, Moment::OnItsWay).await;
        sleep(WAY).await;
        let fault = self.fault(action, &line);
        if let Some((kind, false)) = fault {
            return Err(error(action, kind));
        }
        let answer = effect(&mut self.aws());
        sleep(WAY).await;
        self.thaw(&line, Moment::BeforeTheAnswer).await;
        match fault {
            Some((kind, true)) => Err(error(action, kind)),
            _ => answer,
        }
    }
}

pub fn error(action: &str, kind: CallErrorKind) -> CallError {
    let (code, message) = match kind {
        CallErrorKind::Denied => ("AccessDeniedException", "User is not authorized"),
        CallErrorKind::Identity => ("ExpiredTokenException", "The security token is expired"),
        CallErrorKind::Throttled => ("ThrottlingException", "Rate exceeded"),
        CallErrorKind::NotFound => ("NotFound", "it does not exist"),
        CallErrorKind::Conflict => ("ConflictException", "the state forbids it"),
        CallErrorKind::Invalid => ("InvalidParameterException", "the request is wrong"),
        CallErrorKind::Unreachable => ("", "no answer within 30 s"),
    };
    CallError { action: action.to_owned(), kind, code: code.to_owned(), message: message.to_owned(), request_id: None }
}

/// Task definitions by their short name, and the hash of a content tag by its name: what tests can write down.
fn shown(tag: &str) -> &str {
    if tag.starts_with("content-") { "CONTENT" } else { tag }
}

fn names(services: &[ServiceRef]) -> String {
    services.iter().map(|s| short(s.name.as_str())).collect::<Vec<_>>().join(" ")
}

/// `web 3` of `/fargate-deploy/shop/web/lease/3`.
fn lease_of(name: &str) -> String {
    let mut parts = name.rsplit('/');
    let generation = parts.next().unwrap_or_default();
    format!("{} {generation}", parts.nth(1).unwrap_or_default())
}

#[async_trait(?Send)]
impl Identity for FakeCloud {
    async fn caller(&self) -> Call<Caller> {
        let caller = Caller { arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/deploy/1") };
        self.call("sts:GetCallerIdentity", "", |_| Ok(caller)).await
    }

    fn region(&self) -> &str {
        self.region.get()
    }
}

#[async_trait(?Send)]
impl Services for FakeCloud {
    async fn services(&self, services: &[ServiceRef]) -> Call<Vec<Option<Service>>> {
        self.call("ecs:DescribeServices", &names(services), |aws| {
            let outdated = self.outdated.borrow();
            let shown = |name: &str| match outdated.get(name) {
                Some((since, service)) if since.elapsed() < self.service_lag.get() => Some(service.clone()),
                _ => aws.services.get(name).cloned(),
            };
            Ok(services.iter().map(|s| shown(short(s.name.as_str()))).collect())
        })
        .await
    }

    async fn update_service(&self, service: &ServiceRef, to: &TaskDefinitionArn, force: bool) -> Call<Service> {
        let detail =
            format!("{} -> {}{}", short(service.name.as_str()), to.short(), if force { " by force" } else { "" });
        self.call("ecs:UpdateService", &detail, |aws| {
            let name = short(service.name.as_str());
            let before = aws.services.get(name).cloned().unwrap();
            self.outdated.borrow_mut().insert(name.to_owned(), (Instant::now(), before.clone()));
            Ok(self.update_answer.get()(before, aws.update(name, to, force)))
        })
        .await
    }

    async fn service_deployments(&self, service: &ServiceRef, since: f64) -> Call<Vec<ServiceDeploymentArn>> {
        self.call("ecs:ListServiceDeployments", short(service.name.as_str()), |aws| {
            let ours = aws.service_deployments.iter().filter(|(name, _)| name == short(service.name.as_str()));
            let is_listed = |arn| aws.listed_from.get(arn).is_none_or(|from| *from <= Instant::now());
            let ours = ours.filter(|(_, d)| d.created_at >= since && is_listed(&d.arn));
            Ok(ours.map(|(_, d)| d.arn.clone()).collect())
        })
        .await
    }

    async fn service_deployments_by_arn(&self, arns: &[ServiceDeploymentArn]) -> Call<Vec<Option<ServiceDeployment>>> {
        self.call("ecs:DescribeServiceDeployments", "", |aws| {
            let find = |arn: &ServiceDeploymentArn| {
                aws.service_deployments.iter().find(|(_, d)| d.arn == *arn).map(|(_, d)| d.clone())
            };
            Ok(arns.iter().map(find).collect())
        })
        .await
    }

    async fn service_revisions(&self, arns: &[ServiceRevisionArn]) -> Call<Vec<Option<ServiceRevision>>> {
        self.call("ecs:DescribeServiceRevisions", "", |aws| {
            let images: Vec<_> =
                aws.resolved.iter().map(|(name, digest)| (name.clone(), Some(digest.clone()))).collect();
            let found = arns.iter().map(|arn| {
                let task_definition = aws.revisions.get(arn).cloned()?;
                Some(ServiceRevision { arn: arn.clone(), task_definition, images: images.clone() })
            });
            Ok(found.collect())
        })
        .await
    }

    async fn continue_service_deployment(&self, arn: &ServiceDeploymentArn, hook: &str, goes_on: bool) -> Call<()> {
        let detail = format!("{hook} {}", if goes_on { "on" } else { "back" });
        self.call("ecs:ContinueServiceDeployment", &detail, |aws| match aws.continue_deployment(arn, hook, goes_on) {
            true => Ok(()),
            false => Err(error("ecs:ContinueServiceDeployment", CallErrorKind::Conflict)),
        })
        .await
    }

    async fn stop_service_deployment(&self, arn: &ServiceDeploymentArn) -> Call<()> {
        self.call("ecs:StopServiceDeployment", "", |aws| {
            if aws.stop_deployment(arn) {
                Ok(())
            } else {
                Err(error("ecs:StopServiceDeployment", CallErrorKind::Conflict))
            }
        })
        .await
    }
}

#[async_trait(?Send)]
impl TaskDefinitions for FakeCloud {
    async fn task_definition(&self, name: &str) -> Call<TaskDefinition> {
        self.call("ecs:DescribeTaskDefinition", short(name), |aws| {
            aws.definition(name).cloned().ok_or_else(|| error("ecs:DescribeTaskDefinition", CallErrorKind::NotFound))
        })
        .await
    }

    async fn register(&self, task_definition: &TaskDefinition) -> Call<TaskDefinitionArn> {
        let family = task_definition.family().to_owned();
        self.call("ecs:RegisterTaskDefinition", &family, |aws| Ok(aws.register(task_definition))).await
    }

    async fn deregister(&self, revision: &TaskDefinitionArn) -> Call<()> {
        self.call("ecs:DeregisterTaskDefinition", revision.short(), |aws| {
            aws.deregister(revision.short());
            Ok(())
        })
        .await
    }
}

#[async_trait(?Send)]
impl Tasks for FakeCloud {
    async fn run_task(&self, request: &RunTask) -> Call<RunTaskAnswer> {
        let definition = request.task_definition.short();
        self.call("ecs:RunTask", definition, |aws| match self.refuses_tags.get() && !request.tags.is_empty() {
            true => Err(error("ecs:TagResource", CallErrorKind::Denied)),
            false => Ok(aws.start_one_off(request)),
        })
        .await
    }

    async fn stop_task(&self, _cluster: &ClusterName, task: &TaskArn, reason: &str) -> Call<()> {
        self.call("ecs:StopTask", task.id(), |aws| {
            if !self.ignores_stops.get() {
                aws.ask_to_stop(task, reason);
            }
            Ok(())
        })
        .await
    }

    async fn tasks(&self, _cluster: &ClusterName, tasks: &[TaskArn]) -> Call<Vec<Task>> {
        self.call("ecs:DescribeTasks", "", |aws| {
            let known = aws.tasks.iter().filter(|t| tasks.contains(&t.task.arn) && t.known_from <= Instant::now());
            Ok(known.map(|t| t.task.clone()).collect())
        })
        .await
    }

    async fn tasks_started_by(&self, _cluster: &ClusterName, started_by: &str) -> Call<Vec<TaskArn>> {
        self.call("ecs:ListTasks", &format!("started by {started_by}"), |aws| {
            let found = aws.tasks.iter().filter(|t| t.task.started_by.as_deref() == Some(started_by));
            let found = found.filter(|t| t.task.desired_status == "RUNNING" && t.known_from <= Instant::now());
            Ok(found.map(|t| t.task.arn.clone()).collect())
        })
        .await
    }

    async fn stopped_tasks_of_family(&self, _cluster: &ClusterName, family: &str) -> Call<Vec<TaskArn>> {
        self.call("ecs:ListTasks", &format!("stopped of family {family}"), |aws| {
            let of_family = aws.tasks.iter().filter(|t| t.task.task_definition.family() == family);
            let found = of_family.filter(|t| t.task.desired_status == "STOPPED" && t.known_from <= Instant::now());
            Ok(found.map(|t| t.task.arn.clone()).collect())
        })
        .await
    }

    async fn stopped_tasks(&self, service: &ServiceRef) -> Call<Vec<TaskArn>> {
        self.call("ecs:ListTasks", &format!("stopped of {}", service.name), |aws| {
            let of_service = aws.tasks.iter().filter(|t| t.service.as_deref() == Some(short(service.name.as_str())));
            Ok(of_service.filter(|t| t.task.is_stopped()).map(|t| t.task.arn.clone()).collect())
        })
        .await
    }

    async fn running_tasks(&self, service: &ServiceRef) -> Call<Vec<TaskArn>> {
        self.call("ecs:ListTasks", &format!("running of {}", service.name), |aws| {
            let of_service = aws.tasks.iter().filter(|t| t.service.as_deref() == Some(short(service.name.as_str())));
            Ok(of_service.filter(|t| !t.task.is_stopped()).map(|t| t.task.arn.clone()).collect())
        })
        .await
    }
}

#[async_trait(?Send)]
impl Logs for FakeCloud {
    async fn log_events(&self, stream: &LogStream, after: Option<&str>) -> Call<LogPage> {
        self.call("logs:GetLogEvents", "", |aws| {
            let Some(events) = aws.logs.get(&stream.stream) else {
                return Err(error("logs:GetLogEvents", CallErrorKind::NotFound));
            };
            let from: usize = after.map_or(0, |token| token.parse().unwrap());
            // Two lines a page, so that a burst takes several.
            let to = events.len().min(from + 2);
            Ok(LogPage { events: events[from..to].to_vec(), next: Some(to.to_string()) })
        })
        .await
    }

    async fn log_tail(&self, stream: &LogStream, lines: usize, before: Option<i64>) -> Call<Vec<LogEvent>> {
        self.call("logs:GetLogEvents", "tail", |aws| {
            let Some(events) = aws.logs.get(&stream.stream) else {
                return Err(error("logs:GetLogEvents", CallErrorKind::NotFound));
            };
            let is_before = |event: &&LogEvent| before.is_none_or(|before| event.timestamp < before);
            let events: Vec<_> = events.iter().filter(is_before).cloned().collect();
            Ok(events[events.len().saturating_sub(lines)..].to_vec())
        })
        .await
    }

    /// Pages are found anew by their places, as what comes late moves them.
    async fn find_log_events(&self, query: &LogQuery, after: Option<&str>) -> Call<FoundEvents> {
        self.call("logs:FilterLogEvents", &query.streams.join(" "), |aws| {
            if query.streams.iter().any(|stream| !aws.logs.contains_key(stream)) {
                return Err(error("logs:FilterLogEvents", CallErrorKind::NotFound));
            }
            let from = query.from.unwrap_or(i64::MIN);
            let pattern = query.pattern.as_deref().unwrap_or_default().trim_matches('"');
            let at: usize = after.map_or(0, |token| token.parse().unwrap());
            let found = aws.events.range((from, 0)..).map(|(_, event)| event);
            let found = found.take_while(|event| query.until.is_none_or(|until| event.timestamp < until));
            let of_query =
                |event: &&FoundEvent| query.streams.contains(&event.stream) && event.message.contains(pattern);
            let size = if aws.events_per_page == 0 { 10_000 } else { aws.events_per_page };
            let mut events: Vec<_> = found.filter(of_query).skip(at).take(size + 1).cloned().collect();
            let next = (events.len() > size).then(|| (at + size).to_string());
            events.truncate(size);
            Ok(FoundEvents { events, next })
        })
        .await
    }
}

#[async_trait(?Send)]
impl Repositories for FakeCloud {
    async fn repository(&self, _registry: Option<&EcrAddress>, name: &str) -> Call<Option<Repository>> {
        self.call("ecr:DescribeRepositories", name, |aws| Ok(aws.repositories.get(name).cloned())).await
    }

    async fn create_repository(&self, _registry: Option<&EcrAddress>, name: &str) -> Call<Repository> {
        self.call("ecr:CreateRepository", name, |aws| {
            let made = repository(name);
            aws.repositories.insert(name.to_owned(), made.clone());
            Ok(made)
        })
        .await
    }

    async fn registry_login(&self, _registry: Option<&EcrAddress>) -> Call<RegistryLogin> {
        let login = RegistryLogin {
            host: REGISTRY.to_owned(),
            username: "AWS".to_owned(),
            password: Secret::new("registry-password"),
        };
        self.call("ecr:GetAuthorizationToken", "", |_| Ok(login)).await
    }

    async fn image(&self, repository: &Repository, reference: &str) -> Call<Option<RegistryImage>> {
        let detail = format!("{}:{}", repository.name, shown(reference));
        self.call("ecr:DescribeImages", &detail, |aws| {
            let mut of_repository = aws.images.iter().filter(|(name, _)| *name == repository.name).map(|(_, i)| i);
            let found = of_repository.find(|i| i.digest.as_str() == reference || i.tags.iter().any(|t| t == reference));
            Ok(found.cloned())
        })
        .await
    }

    async fn is_pullable(&self, repository: &Repository, digest: &Digest) -> Call<bool> {
        self.call("ecr:BatchGetImage", &format!("{}@{}", repository.name, digest.short()), |aws| {
            Ok(aws.images.iter().any(|(name, image)| *name == repository.name && image.digest == *digest))
        })
        .await
    }

    async fn only_platform(&self, repository: &Repository, digest: &Digest) -> Call<Option<String>> {
        self.call("ecr:BatchGetImage", &format!("{}@{}", repository.name, digest.short()), |aws| {
            let found = aws.images.iter().find(|(name, i)| *name == repository.name && i.digest == *digest);
            Ok(found.and_then(|(_, image)| image.platform.clone()))
        })
        .await
    }

    async fn tag_image(&self, repository: &Repository, digest: &Digest, tag: &str) -> Call<()> {
        self.call("ecr:PutImage", &format!("{}:{}", repository.name, shown(tag)), |aws| {
            let is_immutable = aws.repositories.get(&repository.name).is_some_and(|r| r.is_immutable);
            let is_other = |image: &RegistryImage| image.digest != *digest && image.tags.iter().any(|t| t == tag);
            if is_immutable && aws.images.iter().any(|(name, image)| *name == repository.name && is_other(image)) {
                return Err(CallError {
                    action: "ecr:PutImage".to_owned(),
                    kind: CallErrorKind::Conflict,
                    code: "ImageTagAlreadyExistsException".to_owned(),
                    message: "the tag is immutable".to_owned(),
                    request_id: None,
                });
            }
            tagged(&mut aws.images, &repository.name, digest, tag, "linux/amd64");
            Ok(())
        })
        .await
    }
}

#[async_trait(?Send)]
impl Parameters for FakeCloud {
    async fn create_parameter(&self, name: &str, value: &str) -> Call<()> {
        self.call("ssm:PutParameter", &format!("create {}", lease_of(name)), |aws| {
            if value.len() > LARGEST_PARAMETER {
                return Err(error("ssm:PutParameter", CallErrorKind::Invalid));
            }
            if aws.parameters.contains_key(name) {
                return Err(error("ssm:PutParameter", CallErrorKind::Conflict));
            }
            aws.parameters.insert(name.to_owned(), value.to_owned());
            Ok(())
        })
        .await
    }

    async fn write_turn(&self) {
        if self.buckets.borrow().is_some() {
            self.pace.turn(fargate_deploy::pace::WRITES).await;
        }
    }

    async fn put_parameter(&self, name: &str, value: &str) -> Call<()> {
        let delay = self.slow_puts.borrow_mut().pop_front();
        if let Some(delay) = delay {
            sleep(delay).await;
        }
        let claim: serde_json::Value = serde_json::from_str(value).unwrap();
        let says = match (&claim["isReleased"], &claim["task"]["arn"], &claim["task"]) {
            (serde_json::Value::Bool(true), _, _) => "released",
            (_, serde_json::Value::String(_), _) => "with task",
            (_, _, serde_json::Value::Object(_)) => "with intent",
            _ => "held",
        };
        self.call("ssm:PutParameter", &format!("{} {says}", lease_of(name)), |aws| {
            if value.len() > LARGEST_PARAMETER {
                return Err(error("ssm:PutParameter", CallErrorKind::Invalid));
            }
            aws.parameters.insert(name.to_owned(), value.to_owned());
            Ok(())
        })
        .await
    }

    async fn parameters_under(&self, path: &str) -> Call<Vec<(String, String)>> {
        let stale = self.stale_lists.borrow_mut().pop_front();
        self.call("ssm:GetParametersByPath", path.rsplit('/').nth(1).unwrap_or_default(), |aws| {
            let start = format!("{path}/");
            let all = stale.as_ref().unwrap_or(&aws.parameters).iter();
            Ok(all.filter(|(name, _)| name.starts_with(&start)).map(|(n, v)| (n.clone(), v.clone())).collect())
        })
        .await
    }

    async fn delete_parameter(&self, name: &str) -> Call<()> {
        self.call("ssm:DeleteParameter", &lease_of(name), |aws| {
            aws.parameters.remove(name);
            Ok(())
        })
        .await
    }

    async fn parameter(&self, name: &str) -> Call<Option<Parameter>> {
        self.call("ssm:GetParameter", name, |aws| Ok(aws.values.get(name).cloned())).await
    }
}

#[async_trait(?Send)]
impl Snapshots for FakeCloud {
    async fn create_snapshot(&self, instance: &str, snapshot: &str) -> Call<()> {
        self.call("rds:CreateDBSnapshot", instance, |aws| match aws.snapshots.insert(snapshot.to_owned(), 0) {
            None => Ok(()),
            Some(reads) => {
                aws.snapshots.insert(snapshot.to_owned(), reads);
                Err(error("rds:CreateDBSnapshot", CallErrorKind::Conflict))
            }
        })
        .await
    }

    async fn snapshot(&self, snapshot: &str) -> Call<Option<DatabaseSnapshot>> {
        self.call("rds:DescribeDBSnapshots", "one", |aws| {
            Ok(aws.snapshots.get_mut(snapshot).map(|reads| {
                *reads += 1;
                let status = if *reads > 2 { "available" } else { "creating" };
                DatabaseSnapshot { status: status.to_owned(), percent: Some(50) }
            }))
        })
        .await
    }
}

#[async_trait(?Send)]
impl Surroundings for FakeCloud {
    async fn target_health(&self, _: &str) -> Call<Vec<SeenTarget>> {
        self.call("elasticloadbalancing:DescribeTargetHealth", "", |aws| Ok(aws.target_health.clone())).await
    }

    async fn target_check(&self, _: &str) -> Call<Option<TargetCheck>> {
        self.call("elasticloadbalancing:DescribeTargetGroups", "", |aws| Ok(aws.target_check.clone())).await
    }

    async fn subnets(&self, _: &[String]) -> Call<Vec<Subnet>> {
        self.call("ec2:DescribeSubnets", "", |aws| Ok(aws.subnets.clone())).await
    }

    async fn route_tables(&self, vpc: &str) -> Call<Vec<RouteTable>> {
        self.call("ec2:DescribeRouteTables", vpc, |aws| Ok(aws.route_tables.clone())).await
    }

    async fn has_role(&self, name: &str) -> Call<bool> {
        self.call("iam:GetRole", name, |aws| Ok(!aws.gone.contains(name))).await
    }

    async fn has_secret(&self, arn: &str) -> Call<bool> {
        self.call("secretsmanager:DescribeSecret", arn, |aws| Ok(!aws.gone.contains(arn))).await
    }

    async fn has_parameter(&self, name: &str) -> Call<bool> {
        self.call("ssm:ListTagsForResource", name, |aws| Ok(!aws.gone.contains(name))).await
    }
}

#[async_trait(?Send)]
impl Outputs for FakeCloud {
    async fn stack_outputs(&self, stack: &str) -> Call<Option<BTreeMap<String, String>>> {
        self.call("cloudformation:DescribeStacks", stack, |aws| Ok(aws.stacks.get(stack).cloned())).await
    }

    async fn object(&self, bucket: &str, key: &str) -> Call<Option<Vec<u8>>> {
        let name = format!("s3://{bucket}/{key}");
        self.call("s3:GetObject", &name, |aws| Ok(aws.objects.get(&name).cloned())).await
    }
}

pub fn repository(name: &str) -> Repository {
    Repository {
        registry_id: ACCOUNT.to_owned(),
        region: None,
        name: name.to_owned(),
        uri: format!("{REGISTRY}/{name}"),
        is_immutable: false,
    }
}
