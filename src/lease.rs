//! One release of a service at a time, across workflows, repositories and laptops: a lease on SSM parameters.
//!
//! The lease is a chain of generations, `/fargate-deploy/CLUSTER/SERVICE/lease/N`. A parameter is created with
//! `Overwrite=false`, which is atomic, so each generation has exactly one creator; the newest generation is the
//! holder. A generation ends by its own holder writing `released` into it, or by a successor: a later attempt of the
//! same run at once, anybody else only when its value has not changed for [`STALE`] on the successor's own clock
//! (clocks are never compared) and when the task that it recorded is known not to run. A dead runner is not a dead
//! migration. `docs/adr/0005` has the argument.

mod claim;
mod sticky;

pub use claim::{Claim, ClaimedTask, Owner, RunKey};
pub use sticky::{State, Sticky, clear, set, state};

use crate::error::call_failed;
use crate::events::{Event, Step};
use crate::ports::{Aws, CallError, CallErrorKind};
use crate::release_context::ReleaseContext;
use claim::{Chain, Generation, chain, denied, locked, path, text};
use fargate_deploy_core::names::{ClusterName, ServiceRef, TaskArn};
use fargate_deploy_core::outcome::{Failure, Reason};
use futures_util::future::join_all;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

/// The holder writes a new beat this often.
const BEAT: Duration = Duration::from_secs(20);
/// Unchanged for this long, a holder counts as dead.
const STALE: Duration = Duration::from_secs(90);
/// A task that was about to start, or that AWS does not know, counts as stopped only after this long: DescribeTasks can
/// miss a task right after RunTask.
const STALE_WHILE_STARTING: Duration = Duration::from_secs(300);
/// An order goes out, and is waited for, at most this long after the holder's last sign of life was sent: then nobody can
/// have seen it silent for [`STALE`] yet.
const FENCE: Duration = Duration::from_secs(60);
/// Half of the fence is left when an order is about to be given.
const FRESH: Duration = Duration::from_secs(30);
/// Generations that stay readable as history, and keep a late reader from creating their names again. With the newest
/// one they are a single page of GetParametersByPath.
const KEPT: u64 = 8;
/// Between two looks at a lease, or at a task, of somebody else.
const PAUSE: Duration = Duration::from_secs(2);

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    name: String,
    path: String,
    generation: u64,
    service: ServiceRef,
    claim: RefCell<Claim>,
    /// Tasks of earlier holders that are not known to have stopped.
    left: RefCell<Vec<ClaimedTask>>,
    since: Instant,
    last_beat: Cell<Instant>,
    /// One write at a time: a late heartbeat must not undo the note of a task.
    writing: Mutex<()>,
}

/// Who asks for a lease.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    pub owner: &'a Owner,
    pub run: &'a RunKey,
    /// Different for every process.
    pub token: &'a str,
}

/// Waits for the lease of a service at most `wait`.
///
/// # Errors
/// `locked`: somebody else holds it. `permission`: SSM is not allowed. Nothing was touched.
pub async fn acquire(
    service: &ServiceRef,
    claimant: Claimant<'_>,
    wait: Duration,
    context: &ReleaseContext<'_>,
) -> Result<Lease, Failure> {
    let step = context.start(Step::Lease, service.to_string()).of(service.name.as_str());
    let path = path(service);
    let began = Instant::now();
    let mut seen: Option<(Generation, Instant)> = None;
    let mut told: Option<String> = None;
    // The last generation that had ended when we came.
    let mut waits_since = None;
    loop {
        let mut found = chain(&path, context.aws).await?;
        if let Some(sticky) = &found.sticky {
            return Err(sticky.refuses(service));
        }
        let newest = found.generations.pop();
        let waits_since = *waits_since.get_or_insert(newest.as_ref().map_or(0, Generation::last_ended));
        let unchanged_since = match (&newest, &seen) {
            (Some(newest), Some((last, since))) if newest == last => *since,
            _ => Instant::now(),
        };
        seen = newest.clone().map(|generation| (generation, unchanged_since));
        if let Some(way) = way_in(newest.as_ref(), claimant.run, unchanged_since.elapsed(), context.aws).await
            && let Some((lease, found)) = succeed(service, &path, newest.as_ref(), way, claimant, context.aws).await?
        {
            if newest.as_ref().is_some_and(|held| !held.is_released()) {
                context
                    .warn(format!("the lease of {service} was taken over from a run that ended without releasing it"));
            }
            context.sink.emit(Event::Held { parameter: lease.name.clone(), token: claimant.token.to_owned() });
            if let Err(failure) = lease.gives_way(waits_since, &claimant, &found) {
                lease.release(context.aws).await;
                context.sink.emit(Event::LetGo { parameter: lease.name.clone() });
                return Err(failure);
            }
            step.done(format!("{service}, generation {}", lease.generation));
            return Ok(lease);
        }
        let holder = newest.as_ref().and_then(Generation::owner).cloned().unwrap_or_default();
        if began.elapsed() >= wait {
            let failure = locked(service, &holder);
            return Err(failure.with_next("wait until that run has ended, then run this again"));
        }
        let waiting = format!("waiting for {holder}");
        // Said at once for each holder, then as a sign of life.
        if told.replace(waiting.clone()).as_ref() == Some(&waiting) {
            step.heartbeat(waiting);
        } else {
            step.progress(waiting);
        }
        sleep(PAUSE).await;
    }
}

/// Whether an earlier attempt of this run ended without releasing one of these: the next attempt puts that in order, even
/// where it finds nothing else to do. What cannot be read is left to go stale.
pub async fn is_left_by_earlier_attempt(
    services: impl Iterator<Item = &ServiceRef>,
    run: &RunKey,
    aws: Aws<'_>,
) -> bool {
    if run.is_first_attempt() {
        return false;
    }
    let looks = services.map(async |service| {
        let newest = chain(&path(service), aws).await.ok().and_then(|mut found| found.generations.pop());
        newest.and_then(|g| g.claim).is_some_and(|held| !held.is_released && held.is_earlier_attempt_of(run))
    });
    join_all(looks).await.contains(&true)
}

/// Renews what `leases` says is held, while `body` runs: also while a further one is waited for.
pub async fn hold<T>(
    leases: impl Fn() -> Vec<Rc<Lease>>,
    context: &ReleaseContext<'_>,
    body: impl Future<Output = T>,
) -> T {
    let renewing = async {
        loop {
            sleep(BEAT).await;
            let held = leases();
            join_all(held.iter().map(|lease| lease.renew(context))).await;
        }
    };
    tokio::select! {
        ended = body => ended,
        never = renewing => never,
    }
}

impl Lease {
    pub fn service(&self) -> &ServiceRef {
        &self.service
    }

    /// Asked right before RunTask and UpdateService: is this still the newest generation, and freshly renewed?
    ///
    /// # Errors
    /// `locked`: another run took over. Ours changes nothing further.
    pub async fn check(&self, aws: Aws<'_>) -> Result<(), Failure> {
        if self.last_beat.get().elapsed() >= FRESH {
            self.write(aws).await.map_err(|e| call_failed("renewing the lease", &e))?;
        }
        match chain(&self.path, aws).await?.generations.pop() {
            Some(newest) if newest.number == self.generation => Ok(()),
            other => {
                let holder = other.as_ref().and_then(Generation::owner).cloned().unwrap_or_default();
                Err(locked(&self.service, &holder).with_next(
                    "that run took the lease over, so this one changes nothing further; run it again when that one has ended",
                ))
            }
        }
    }

    /// Waits until the tasks that earlier holders left are known to have stopped. The one that `ours` started, in an
    /// earlier attempt of this run, is found and left running: whoever runs the command attaches to it.
    ///
    /// # Errors
    /// `locked`: one still runs after `wait`. The lease stays claimed with it.
    pub async fn settle(
        &self,
        ours: Option<&str>,
        wait: Duration,
        context: &ReleaseContext<'_>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let Some(task) = self.left.borrow().iter().find(|t| !is_attachable(t, ours)).cloned() else { break };
            let look = look_at(&task, context.aws)
                .await
                .map_err(|e| call_failed("looking at the task of an earlier run", &e))?;
            let unknown_for_long = self.since.elapsed() >= STALE_WHILE_STARTING;
            match look {
                Look::Stopped => self.left.borrow_mut().retain(|t| *t != task),
                Look::Unknown if unknown_for_long => self.left.borrow_mut().retain(|t| *t != task),
                Look::Found(arn) => {
                    for left in self.left.borrow_mut().iter_mut().filter(|t| **t == task) {
                        left.arn = Some(arn.to_string());
                    }
                }
                Look::Running | Look::Unknown if began.elapsed() >= wait => {
                    let what = format!("{}: task `{}` of an earlier run may still run", self.service, task.started_by);
                    return Err(
                        Failure::new(Reason::Locked, what).with_next("wait until it has stopped, then run this again")
                    );
                }
                Look::Running | Look::Unknown => {
                    context
                        .start(Step::Lease, self.service.to_string())
                        .heartbeat("waiting for the task of an earlier run");
                    sleep(PAUSE).await;
                }
            }
        }
        let remaining = self.left.borrow().first().cloned();
        if self.claim.borrow().task != remaining {
            self.claim.borrow_mut().task = remaining;
            self.write(context.aws).await.map_err(|e| call_failed("noting the task in the lease", &e))?;
        }
        Ok(())
    }

    /// Gives an order only while this run is known to hold the lease, and waits for its answer no longer than until
    /// somebody else could take over. A process that was suspended between the look and the order looks again.
    ///
    /// # Errors
    /// `locked`: another run took over, and nothing was sent. The inner one: the call's own; `Unreachable` where the lease
    /// ran out before an answer came.
    pub async fn order<T>(
        &self,
        action: &str,
        aws: Aws<'_>,
        send: impl AsyncFnOnce() -> Result<T, CallError>,
    ) -> Result<Result<T, CallError>, Failure> {
        let until = loop {
            self.check(aws).await?;
            let until = self.last_beat.get() + FENCE;
            if Instant::now() < until {
                break until;
            }
        };
        Ok(timeout_at(until, send()).await.unwrap_or_else(|_| {
            Err(CallError {
                action: action.to_owned(),
                kind: CallErrorKind::Unreachable,
                code: String::new(),
                message: "no answer as long as the lease was sure".to_owned(),
                request_id: None,
            })
        }))
    }

    /// The task that an earlier attempt of this run started for the same command.
    pub fn left_by_earlier_attempt(&self, started_by: &str) -> Option<TaskArn> {
        let left = self.left.borrow();
        left.iter().find(|t| t.started_by == started_by).and_then(|t| t.arn.as_deref()).map(TaskArn::new)
    }

    /// Notes the task that is about to run, or runs, so that nobody takes over while it does.
    ///
    /// # Errors
    /// The claim could not be written: the task must not be started.
    pub async fn note_task(
        &self,
        cluster: &ClusterName,
        started_by: &str,
        arn: Option<&TaskArn>,
        aws: Aws<'_>,
    ) -> Result<(), Failure> {
        self.claim.borrow_mut().task = Some(ClaimedTask {
            cluster: cluster.to_string(),
            started_by: started_by.to_owned(),
            arn: arn.map(ToString::to_string),
        });
        self.write(aws).await.map_err(|e| call_failed("noting the task in the lease", &e))
    }

    /// The task has stopped, or was never started.
    pub async fn forget_task(&self, aws: Aws<'_>) {
        self.claim.borrow_mut().task = None;
        self.left.borrow_mut().clear();
        // What stays noted is looked up by a successor, and found stopped.
        let _ = self.write(aws).await;
    }

    /// Who waited gives way to a newer run that deployed meanwhile; and a person's lock that came with the lease holds.
    fn gives_way(&self, since: u64, ours: &Claimant<'_>, found: &Chain) -> Result<(), Failure> {
        if let Some(sticky) = &found.sticky {
            return Err(sticky.refuses(&self.service));
        }
        let meanwhile = found.generations.iter().filter(|g| g.number > since && g.number < self.generation);
        let newer = meanwhile.filter_map(|g| g.claim.as_ref()).find(|c| c.has_deployed && c.is_newer_than(ours));
        match newer {
            Some(newer) => {
                let what =
                    format!("{}: the newer {} deployed while this run waited for its turn", self.service, newer.owner);
                Err(Failure::new(Reason::Superseded, what)
                    .with_next("nothing: to go back to this commit, start this run again"))
            }
            None => Ok(()),
        }
    }

    /// The release under it was a good one.
    pub fn note_deployed(&self) {
        self.claim.borrow_mut().has_deployed = true;
    }

    /// Lets the next one in. A task that still runs keeps its claim: then this does nothing.
    pub async fn release(&self, aws: Aws<'_>) {
        if self.claim.borrow().task.is_some() || !self.left.borrow().is_empty() {
            return;
        }
        self.claim.borrow_mut().is_released = true;
        // Not written, the claim goes stale by itself.
        let _ = self.write(aws).await;
    }

    /// The parameter that the claim is written in.
    pub fn parameter(&self) -> &str {
        &self.name
    }

    /// One sign of life. What cannot be written is a warning: the next one may be.
    async fn renew(&self, context: &ReleaseContext<'_>) {
        self.claim.borrow_mut().beat += 1;
        if let Err(e) = self.write(context.aws).await {
            context.warn(format!("the lease of {} could not be renewed: {e}", self.service));
        }
    }

    async fn write(&self, aws: Aws<'_>) -> Result<(), CallError> {
        let _one_at_a_time = self.writing.lock().await;
        let text = text(&self.claim.borrow());
        let sent = Instant::now();
        aws.parameters.put_parameter(&self.name, &text).await?;
        self.last_beat.set(sent);
        Ok(())
    }
}

/// What became of a claim that a killed run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Released,
    /// Its task runs on, and keeps everybody else out until it has stopped.
    StillRunning,
    /// Released already, taken over, or somebody else's.
    NotOurs,
}

/// Releases the claim that a killed run left in `parameter` under `token`, unless a task still runs under it.
///
/// # Errors
/// AWS could not be asked: the claim goes stale by itself.
pub async fn release_left(parameter: &str, token: &str, aws: Aws<'_>) -> Result<Left, CallError> {
    let path = parameter.rsplit_once('/').map_or(parameter, |(path, _)| path);
    let found = aws.parameters.parameters_under(path).await?.into_iter().find(|(name, _)| name == parameter);
    let claim: Option<Claim> = found.and_then(|(_, value)| serde_json::from_str(&value).ok());
    let Some(mut claim) = claim.filter(|claim| claim.token == token && !claim.is_released) else {
        return Ok(Left::NotOurs);
    };
    if let Some(task) = &claim.task
        && look_at(task, aws).await? != Look::Stopped
    {
        return Ok(Left::StillRunning);
    }
    claim.task = None;
    claim.is_released = true;
    aws.parameters.put_parameter(parameter, &text(&claim)).await?;
    Ok(Left::Released)
}

/// Why a successor may be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nobody holds it, and no task is left.
    Free,
    /// It is an earlier attempt's: its task is ours to wait for.
    Adopt,
}

/// May a successor be created? What cannot be read is held: by whom, and for how long, is not known.
async fn way_in(newest: Option<&Generation>, run: &RunKey, unchanged: Duration, aws: Aws<'_>) -> Option<Way> {
    let Some(newest) = newest else { return Some(Way::Free) };
    let held = newest.claim.as_ref()?;
    let is_ours = held.is_earlier_attempt_of(run);
    match &held.task {
        _ if held.is_released => Some(Way::Free),
        None => (is_ours || unchanged >= STALE).then_some(Way::Free),
        Some(task) if is_ours && task.arn.is_some() => Some(Way::Adopt),
        Some(_) if !is_ours && unchanged < STALE => None,
        Some(task) => match look_at(task, aws).await {
            Ok(Look::Stopped) => Some(Way::Free),
            Ok(Look::Found(_)) if is_ours => Some(Way::Adopt),
            Ok(Look::Unknown) => (unchanged >= STALE_WHILE_STARTING).then_some(Way::Free),
            // Doubt means that it runs.
            Ok(Look::Running | Look::Found(_)) | Err(_) => None,
        },
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Look {
    Running,
    Stopped,
    /// Only its starter was known; this is the task.
    Found(TaskArn),
    /// AWS does not know it: it starts just now, was never started, or stopped more than an hour ago.
    Unknown,
}

async fn look_at(task: &ClaimedTask, aws: Aws<'_>) -> Result<Look, CallError> {
    let cluster = ClusterName::new(&task.cluster);
    let answer = match &task.arn {
        Some(arn) => aws.tasks.tasks(&cluster, &[TaskArn::new(arn)]).await.map(|found| match found.first() {
            Some(task) if task.is_stopped() => Look::Stopped,
            Some(_) => Look::Running,
            None => Look::Unknown,
        }),
        None => {
            let found = aws.tasks.tasks_started_by(&cluster, &task.started_by).await;
            found.map(|found| found.into_iter().next().map_or(Look::Unknown, Look::Found))
        }
    };
    match answer {
        Err(e) if matches!(e.kind, CallErrorKind::Throttled | CallErrorKind::Unreachable) => Ok(Look::Running),
        other => other,
    }
}

fn is_attachable(task: &ClaimedTask, ours: Option<&str>) -> bool {
    task.arn.is_some() && ours == Some(task.started_by.as_str())
}

/// Creates the generation after `newest`, then looks again: a holder that slept may have noted a task in between.
/// `None`: somebody was faster, or a later generation exists already (the list was stale).
async fn succeed(
    service: &ServiceRef,
    path: &str,
    newest: Option<&Generation>,
    way: Way,
    claimant: Claimant<'_>,
    aws: Aws<'_>,
) -> Result<Option<(Lease, Chain)>, Failure> {
    let generation = newest.map_or(1, |newest| newest.number + 1);
    let name = format!("{path}/{generation}");
    let claim = Claim {
        token: claimant.token.to_owned(),
        owner: claimant.owner.clone(),
        run: claimant.run.clone(),
        is_released: false,
        has_deployed: false,
        beat: 0,
        task: None,
    };
    match aws.parameters.create_parameter(&name, &text(&claim)).await {
        Ok(()) => {}
        Err(e) if e.kind == CallErrorKind::Conflict => return Ok(None),
        Err(e) => return Err(denied(&e)),
    }
    let now = Instant::now();
    let found = chain(path, aws).await?;
    let chain = &found.generations;
    if chain.iter().any(|other| other.number > generation) {
        let _ = aws.parameters.delete_parameter(&name).await;
        return Ok(None);
    }
    let left = left_over(chain, generation, newest.filter(|_| way == Way::Free));
    let lease = Lease {
        name,
        path: path.to_owned(),
        generation,
        service: service.clone(),
        claim: RefCell::new(Claim { task: left.first().cloned(), ..claim }),
        left: RefCell::new(left),
        since: now,
        last_beat: Cell::new(now),
        writing: Mutex::default(),
    };
    if lease.claim.borrow().task.is_some() {
        lease.write(aws).await.map_err(|e| call_failed("noting the task in the lease", &e))?;
    }
    for old in chain.iter().filter(|old| old.number + KEPT < generation) {
        let _ = aws.parameters.delete_parameter(&format!("{path}/{}", old.number)).await;
    }
    Ok(Some((lease, found)))
}

/// Tasks of holders that did not release, but for the one of `over`, which was found to be over. Whoever released had
/// settled everything before itself.
fn left_over(chain: &[Generation], ours: u64, over: Option<&Generation>) -> Vec<ClaimedTask> {
    let earlier = chain.iter().rev().filter(|g| g.number < ours).take_while(|g| !g.is_released());
    let mut left = vec![];
    for generation in earlier {
        let Some(claim) = &generation.claim else { continue };
        let Some(task) = &claim.task else { continue };
        let is_over = over.is_some_and(|over| {
            over.number == generation.number && over.claim.as_ref().is_some_and(|c| c.task.as_ref() == Some(task))
        });
        if !is_over && !left.contains(task) {
            left.push(task.clone());
        }
    }
    left
}
