//! One release of a service at a time, across workflows, repositories and laptops: a lease on SSM parameters.
//!
//! The lease is a chain of generations, `/fargate-deploy/CLUSTER/SERVICE/lease/N`. A parameter is created with
//! `Overwrite=false`, which is atomic, so each generation has exactly one creator; the newest generation is the
//! holder. A generation ends by its own holder writing `released` into it, or by a successor: a later attempt of the
//! same run at once, anybody else only when its value has not changed for [`STALE`] on the successor's own clock
//! (clocks are never compared) and when the task that it recorded is known not to run. A dead runner is not a dead
//! migration. `docs/adr/0005` has the argument.

mod claim;
mod line;
mod lock;
mod manual_lock;
mod order;
mod owner;
mod ran;
mod takeover;

pub use claim::{Claim, ClaimedTask, ReleaseRecord, RunKey, SucceededCommand};
pub use line::in_order;
pub use lock::{State, clear, set, state};
pub use manual_lock::ManualLock;
pub use order::{order, start_task};
pub use owner::Owner;
pub use ran::{look, recorded};
pub use takeover::{ReleaseResult, ended_well, release_left};

use crate::clock::Elapsed;
use crate::error::call_failed;
use crate::events::{Event, Wait, Warning};
use crate::fence::Fence;
use crate::ports::{Aws, CallError};
use crate::release_context::ReleaseContext;
use claim::{chain, locked, path, text};
use fargate_deploy_core::names::{ServiceRef, TaskArn, TaskDefinitionArn};
use fargate_deploy_core::outcome::{Failure, Reason};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use takeover::{TaskState, last_release, task_state};
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

/// The holder writes a sign of life this often.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Unchanged for this long, a holder counts as dead.
const STALE: Duration = Duration::from_secs(90);
/// A task that was about to start, or that AWS does not know, counts as stopped only after this long: DescribeTasks can
/// miss a task right after RunTask.
const STALE_WHILE_STARTING: Duration = Duration::from_secs(300);
/// An order goes out, and is waited for, at most this long after the holder's last sign of life was sent: then nobody can
/// have seen it silent for [`STALE`] yet. By a clock that goes on while the machine is suspended.
const FENCE: Duration = Duration::from_secs(60);
/// Half of the fence is left when an order is about to be given.
const FRESH: Duration = Duration::from_secs(30);
/// Lists that are older than our own write are read again this often, a second apart.
const STALE_READS: u32 = 15;
/// Generations that stay readable as history, and keep a late reader from creating their names again. With the newest
/// one they are a single page of GetParametersByPath.
const KEPT: u64 = 8;
/// Between two looks at a lease whose turn has not come: as often as its holder writes a sign of life.
const WATCH: Duration = HEARTBEAT;
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
    /// The release's first lease, whose renewals keep this one too; `None`: this is it.
    first: Option<Rc<Lease>>,
    /// The run that held it when this one came.
    held_by: Option<String>,
    /// What the parameter says, as far as that is known.
    written: RefCell<Option<Claim>>,
    /// Tasks of earlier holders that are not known to have stopped.
    left: RefCell<Vec<ClaimedTask>>,
    /// An order of an earlier holder may still be on its way, until [`STALE`] after `since`.
    follows_order: Cell<bool>,
    /// The revision that it names, where it is of an earlier attempt of this run.
    ordered_earlier: RefCell<Option<TaskDefinitionArn>>,
    since: Instant,
    clock: Elapsed,
    /// When the last write that arrived was sent.
    last_write: Cell<Duration>,
    /// As long as it is open, nobody can have taken over since the last look.
    confirmed: RefCell<Option<Fence>>,
    /// What went out of the order that is noted, or of the task without an ARN.
    sent: RefCell<Option<Fence>>,
    /// One write at a time: a late heartbeat must not undo the note of a task.
    writing: Mutex<()>,
}

/// Who asks for a lease.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest<'a> {
    pub owner: &'a Owner,
    pub run: &'a RunKey,
    /// Different for every process.
    pub token: &'a str,
    /// The first lease that the release took: where it is renewed, so is this one. SSM takes three writes a second.
    pub first: Option<&'a Rc<Lease>>,
}

/// What earlier runs have left behind at a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeftBehind {
    /// An earlier attempt of this run ended without releasing its lease: the next attempt puts that in order, even where it
    /// finds nothing else to do.
    pub is_held_by_earlier_attempt: bool,
    pub release: Option<ReleaseRecord>,
}

/// Reads what earlier runs have left behind at each service. What cannot be read is left to go stale, and owes nothing.
pub async fn left_behind(services: impl Iterator<Item = &ServiceRef>, run: &RunKey, aws: Aws<'_>) -> Vec<LeftBehind> {
    let looks = services.map(async |service| {
        let generations = chain(&path(service), aws).await.map(|found| found.generations).unwrap_or_default();
        let newest = generations.last().and_then(|g| g.claim.as_ref());
        LeftBehind {
            is_held_by_earlier_attempt: newest.is_some_and(|held| !held.is_released && held.is_earlier_attempt_of(run)),
            release: last_release(&generations),
        }
    });
    join_all(looks).await
}

/// Renews what `leases` says is held, while `body` runs: also while a further one is waited for. That is one write for all of
/// a release, of its first lease, and one of each that has something new to say. Each by itself: where the first one's hangs,
/// the others are renewed too.
pub async fn hold<T>(
    leases: impl Fn() -> Vec<Rc<Lease>>,
    context: &ReleaseContext<'_>,
    body: impl Future<Output = T>,
) -> T {
    let renewing = async {
        let mut writes = FuturesUnordered::new();
        let mut writing: Vec<Rc<Lease>> = vec![];
        let mut due = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(written) = writes.next() => writing.retain(|lease| !Rc::ptr_eq(lease, &written)),
                _ = due.tick() => {
                    let hanging = writing.clone();
                    let hangs = |lease: &Rc<Lease>| hanging.iter().any(|other| Rc::ptr_eq(other, lease));
                    for lease in leases() {
                        let is_due = lease.first.as_ref().is_none_or(hangs) || lease.has_news();
                        if is_due && !hangs(&lease) {
                            writing.push(Rc::clone(&lease));
                            writes.push(async move {
                                lease.renew(context).await;
                                lease
                            });
                        }
                    }
                }
            }
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

    /// The run, by its URL, that was releasing the service when this one came for the lease.
    pub fn held_by(&self) -> Option<&str> {
        self.held_by.as_deref()
    }

    /// Asked right before each order: is this still the newest generation, and until when may the order go out?
    ///
    /// # Errors
    /// `locked`: another run took over. Ours changes nothing further. `unavailable`: that cannot be told.
    pub async fn check(&self, aws: Aws<'_>) -> Result<Fence, Failure> {
        if (self.clock)().saturating_sub(self.last_sign()) >= FRESH {
            let is_renewed = match &self.first {
                Some(first) => first.write(aws).await.is_ok(),
                None => false,
            };
            if !is_renewed {
                self.write(aws).await.map_err(|e| call_failed("renewing the lease", &e))?;
            }
        }
        for _ in 0..STALE_READS {
            let fence = Fence::new(self.last_sign() + FENCE, self.clock);
            match chain(&self.path, aws).await?.generations.pop() {
                Some(newest) if newest.number == self.generation => {
                    self.confirmed.replace(Some(fence.clone()));
                    return Ok(fence);
                }
                Some(newest) if newest.number > self.generation => {
                    let holder = newest.owner().cloned().unwrap_or_default();
                    return Err(locked(&self.service, &holder).with_next(
                        "that run took the lease over, and decides what serves: this one changes nothing further; started again, it \
                         would replace what that one deploys",
                    ));
                }
                // Ours was created: a list without it is older than that.
                _ => sleep(Duration::from_secs(1)).await,
            }
        }
        let what = format!("{}: SSM does not show the lease that this run holds", self.service);
        Err(Failure::new(Reason::Unavailable, what).with_next("see who has removed it, and run this again"))
    }

    /// After an order was answered, and before a run says that it deployed: who lost the lease meanwhile does not go on as if
    /// it held it. As long as the fence of the last look is open nobody can have taken over, and nothing is asked.
    ///
    /// # Errors
    /// `locked`: another run took over.
    pub async fn is_still_ours(&self, context: &ReleaseContext<'_>) -> Result<(), Failure> {
        let is_sure = self.confirmed.borrow().as_ref().is_some_and(Fence::is_open);
        if is_sure { Ok(()) } else { self.look_again(context).await }
    }

    /// The same, asked in any case. Where it cannot be told, what comes next is checked by itself.
    ///
    /// # Errors
    /// `locked`: another run took over.
    pub async fn look_again(&self, context: &ReleaseContext<'_>) -> Result<(), Failure> {
        match self.check(context.aws).await {
            Err(lost) if lost.reason == Reason::Locked => Err(lost),
            Err(unknown) => {
                let error = unknown.what;
                context.warn(Warning::LeaseNotConfirmed { service: self.service.clone(), error });
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Waits until the tasks that earlier holders left are known to have stopped, and until an order that one of them was
    /// giving must have arrived. The task that `ours` started, in an earlier attempt of this run, is found and left
    /// running: whoever runs the command attaches to it.
    ///
    /// # Errors
    /// `locked`: one still runs after `wait`. The lease stays claimed with it.
    pub async fn wait_for_left_tasks(
        &self,
        ours: Option<&str>,
        wait: Duration,
        context: &ReleaseContext<'_>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        while self.follows_order.get() {
            let earlier = chain(&self.path, context.aws).await?.generations;
            let is_on_its_way = earlier.iter().any(|g| g.number < self.generation && g.is_updating());
            self.follows_order.set(is_on_its_way && self.since.elapsed() < STALE);
            if self.follows_order.get() {
                context.emit(Event::Waiting(Wait::EarlierOrder { service: self.service.clone() }));
                sleep(PAUSE).await;
            }
        }
        loop {
            let Some(task) = self.left.borrow().iter().find(|t| !is_attachable(t, ours)).cloned() else { break };
            let look = task_state(&task, context.aws)
                .await
                .map_err(|e| call_failed("looking at the task of an earlier run", &e))?;
            let unknown_for_long = self.since.elapsed() >= STALE_WHILE_STARTING;
            match look {
                TaskState::Stopped(_) => self.left.borrow_mut().retain(|t| *t != task),
                TaskState::EndedWell(arn) if ours == Some(task.started_by.as_str()) => self.found(&task, &arn),
                TaskState::EndedWell(_) | TaskState::Unknown if unknown_for_long => {
                    self.left.borrow_mut().retain(|t| *t != task);
                }
                TaskState::Found(arn) => self.found(&task, &arn),
                TaskState::Running | TaskState::EndedWell(_) | TaskState::Unknown if began.elapsed() >= wait => {
                    let what = format!("{}: task `{}` of an earlier run may still run", self.service, task.started_by);
                    return Err(
                        Failure::new(Reason::Locked, what).with_next("wait until it has stopped, then run this again")
                    );
                }
                TaskState::Running | TaskState::EndedWell(_) | TaskState::Unknown => {
                    let (service, started_by) = (self.service.clone(), task.started_by.clone());
                    context.emit(Event::Waiting(Wait::EarlierTask { service, started_by }));
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

    /// What was known by its starter only is this task.
    fn found(&self, task: &ClaimedTask, arn: &TaskArn) {
        for left in self.left.borrow_mut().iter_mut().filter(|left| *left == task) {
            left.arn = Some(arn.to_string());
        }
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
    pub async fn note_task(&self, task: ClaimedTask, aws: Aws<'_>) -> Result<(), Failure> {
        self.sent.take();
        if task.arn.is_none() {
            // Whoever starts one has waited for those that were left.
            self.left.borrow_mut().clear();
        }
        self.claim.borrow_mut().task = Some(task);
        self.write(aws).await.map_err(|e| call_failed("noting the task in the lease", &e))
    }

    /// The task of an earlier attempt of this run that has run this command to a good end.
    pub fn succeeded_earlier(&self, command: &str) -> Option<TaskArn> {
        let claim = self.claim.borrow();
        claim.succeeded.iter().find(|done| done.command == command).map(|done| TaskArn::new(&done.task))
    }

    /// The task has ended well: an attempt that comes after this one need not run its command again.
    pub async fn command_succeeded(&self, command: &str, task: &TaskArn, aws: Aws<'_>) {
        self.note_success(command, task);
        self.forget_task(aws).await;
    }

    /// The same, written with whatever comes next.
    pub fn note_success(&self, command: &str, task: &TaskArn) {
        let mut claim = self.claim.borrow_mut();
        claim.task = None;
        claim.succeeded.retain(|done| done.command != command);
        claim.succeeded.push(SucceededCommand { command: command.to_owned(), task: task.id().to_owned() });
        self.left.borrow_mut().clear();
    }

    /// The task has ended, and not well: written with whatever comes next.
    pub fn note_failure(&self) {
        self.claim.borrow_mut().task = None;
        self.left.borrow_mut().clear();
    }

    /// What the service was told to run last, and what of that has not been done.
    pub fn release_record(&self) -> Option<ReleaseRecord> {
        self.claim.borrow().release.clone()
    }

    /// What the service is about to be told to run: written with the order.
    pub fn note_release(&self, release: Option<ReleaseRecord>) {
        self.claim.borrow_mut().release = release;
    }

    /// The service was seen to serve and to answer: written with whatever comes next.
    pub fn note_verified(&self) {
        if let Some(release) = &mut self.claim.borrow_mut().release {
            release.owes_verification = false;
        }
    }

    /// A command with `when: after` has ended well: written with whatever comes next.
    pub fn note_command_after(&self, name: &str) {
        if let Some(release) = &mut self.claim.borrow_mut().release {
            release.owes_commands.retain(|owed| owed != name);
        }
    }

    /// The task has stopped, or was never started.
    pub async fn forget_task(&self, aws: Aws<'_>) {
        self.claim.borrow_mut().task = None;
        self.left.borrow_mut().clear();
        // What stays noted is looked up by a successor, and found stopped.
        let _ = self.write(aws).await;
    }

    /// Notes that the service is about to be told something: whoever takes over waits until it must have arrived.
    ///
    /// # Errors
    /// The claim could not be written: the order must not be given.
    async fn note_order(&self, to: Option<&TaskDefinitionArn>, aws: Aws<'_>) -> Result<(), Failure> {
        self.sent.take();
        {
            let mut claim = self.claim.borrow_mut();
            claim.is_updating = true;
            claim.updates_to = to.map(ToString::to_string);
        }
        self.write(aws).await.map_err(|e| {
            self.order_has_arrived();
            call_failed("noting the order in the lease", &e)
        })
    }

    /// It was answered, or was seen to have arrived, or was never sent. The next heartbeat writes it.
    pub fn order_has_arrived(&self) {
        let mut claim = self.claim.borrow_mut();
        claim.is_updating = false;
        claim.updates_to = None;
    }

    /// What an earlier attempt of this run was telling the service to run when it ended, where nobody else was telling it
    /// anything.
    pub fn ordered_earlier(&self) -> Option<TaskDefinitionArn> {
        self.ordered_earlier.borrow().clone()
    }

    /// What is on its way is what this run would order: whenever it arrives, it does no harm.
    pub fn follows_the_same_order(&self) {
        self.follows_order.set(false);
    }

    fn sends_within(&self, fence: &Fence) {
        self.sent.replace(Some(fence.clone()));
    }

    /// Lets the next one in. A task that still runs, or an order that may still arrive, keeps its claim, also where it is an
    /// earlier holder's; what was noted and never sent does not.
    pub async fn release(&self, aws: Aws<'_>) {
        self.note_end();
        // Not written, the claim goes stale by itself.
        let _ = self.write(aws).await;
    }

    fn note_end(&self) {
        let is_sent = self.sent.borrow().as_ref().is_some_and(Fence::has_let_out);
        let has_left = !self.left.borrow().is_empty();
        let follows_order = self.follows_order.get() && self.since.elapsed() < STALE;
        let mut claim = self.claim.borrow_mut();
        if !is_sent {
            claim.is_updating = false;
            claim.updates_to = None;
            claim.task.take_if(|task| task.arn.is_none() && !has_left);
        }
        claim.is_released = claim.task.is_none() && !claim.is_updating && !has_left && !follows_order;
    }

    /// The parameter that the claim is written in.
    pub fn parameter(&self) -> &str {
        &self.name
    }

    /// Writes what was noted, which is one sign of life. What cannot be written is a warning: the next one may be.
    pub async fn renew(&self, context: &ReleaseContext<'_>) {
        if let Err(e) = self.write(context.aws).await {
            context.warn(Warning::LeaseNotRenewed { service: self.service.clone(), error: e.to_string() });
        }
    }

    /// When a sign of life that arrived was sent last.
    fn last_sign(&self) -> Duration {
        let own = self.last_write.get();
        self.first.as_ref().map_or(own, |first| own.max(first.last_write.get()))
    }

    /// What was noted since the last write.
    fn has_news(&self) -> bool {
        let claim = self.claim.borrow();
        self.written.borrow().as_ref() != Some(&*claim)
    }

    /// Every write is a sign of life: no two say the same.
    async fn write(&self, aws: Aws<'_>) -> Result<(), CallError> {
        let _one_at_a_time = self.writing.lock().await;
        aws.parameters.write_turn().await;
        self.claim.borrow_mut().heartbeat += 1;
        let claim = self.claim.borrow().clone();
        let sent = (self.clock)();
        aws.parameters.put_parameter(&self.name, &text(&claim)).await?;
        self.last_write.set(sent);
        self.written.replace(Some(claim));
        Ok(())
    }
}

fn is_attachable(task: &ClaimedTask, ours: Option<&str>) -> bool {
    task.arn.is_some() && ours == Some(task.started_by.as_str())
}
