//! A release, from who we are to what serves: [`Release::run`] is the page that tells what happens, in the order in which
//! it happens. Every choice is in the [`Plan`]; the steps only carry it out.

mod cancellation;
mod commands;
mod earlier;
mod images;
mod newer;
mod progress;
mod ready_images;
mod review;
mod rollback;
mod rollouts;
mod service_rollout;
mod serving;
mod unchanged;

pub use cancellation::cancelled;
pub use earlier::{GoesBack, Rollback};

use crate::config::{Config, Lock};
use crate::context::CacheBranches;
use crate::events::{Event, Warning};
use crate::lease::{self, Lease, LeaseRequest, Owner};
use crate::release_context::ReleaseContext;
use crate::retry;
use crate::steps::preflight::{Commit, Tags};
use crate::steps::register::Revision;
use crate::steps::release::RunKey;
use crate::steps::{authenticate, preflight, register};
use cancellation::{LAST_LOOK, LAST_WRITES, run_alongside};
use fargate_deploy_core::names::ServiceKey;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceRecord, ServiceState, Success};
use fargate_deploy_core::plan::document::{PlanDocument, RunOptions, Shown};
use fargate_deploy_core::plan::{Before, Found, Plan, Provenance, ServicePlan};
use fargate_deploy_core::task_definition::compare;
use futures_util::future::{FutureExt as _, LocalBoxFuture, Shared, join_all, try_join_all};
use ready_images::{Images, ReadyImages, has_all};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch::Sender;
use tokio::time::Instant;

/// One order to deploy: the config, and what the command line and the run add to it.
#[derive(Clone, Debug)]
pub struct Order {
    pub config: Config,
    /// Tags of each image, placeholders resolved.
    pub tags: Tags,
    pub provenance: Provenance,
    /// It puts an earlier release back.
    pub rollback: Option<Rollback>,
    pub cache_branches: CacheBranches,
    pub run: RunKey,
    pub owner: Owner,
    /// Different for every process.
    pub token: String,
    /// For build secrets.
    pub env: BTreeMap<String, String>,
    /// Plan only: nothing is changed.
    pub is_dry_run: bool,
    /// Of a plan: also build what a deploy would build, and push nothing.
    pub builds_images: bool,
    pub required_plan: RequiredPlan,
    /// `--no-wait`: return once ECS has accepted the deployments.
    pub is_unwatched: bool,
    pub skips_commands: bool,
    /// `HOST:PORT` to push to instead of the host that the repository names (stand-ins).
    pub push_endpoint: Option<String>,
}

/// What the deploy must be: the plan that was reviewed.
#[derive(Clone, Debug, Default)]
pub enum RequiredPlan {
    #[default]
    None,
    Shown(Shown),
    /// One is required, and was not found.
    Missing(String),
}

/// From a Dockerfile to a verified release, and back when the release is bad.
///
/// What was done is in the record of its [`ReleaseContext`], written before and after each effect.
pub struct Release<'a> {
    order: &'a Order,
    context: ReleaseContext<'a>,
    /// Resolves when the run is told to end.
    interrupt: Shared<LocalBoxFuture<'a, ()>>,
    /// Somebody on the page answers the interrupt by itself: nothing is cut off meanwhile.
    answers_interrupt: Cell<bool>,
    /// What preflight found beside the services, for the second look.
    found: OnceCell<Found>,
    /// Empty until production was read.
    plan: RefCell<Rc<Plan>>,
    images: ReadyImages,
    /// Nothing of a build is still being kept for the next one.
    has_kept_caches: Sender<bool>,
    leases: RefCell<Vec<Rc<Lease>>>,
    /// Services that a newer run has deployed while this one waited, and the run.
    left_to_newer: RefCell<Vec<(ServiceKey, String)>>,
    revisions: RefCell<Vec<Revision>>,
    /// What ECS has begun to take back, and why.
    going_back: RefCell<Vec<String>>,
}

impl<'a> Release<'a> {
    /// Until `interrupt` resolves. Then nothing further is changed, but for what `on-cancel` asks, and what ECS was told to
    /// do goes on: a running migration is left to end, and keeps the lease closed until it has.
    pub fn until(interrupt: impl Future<Output = ()> + 'a, order: &'a Order, context: ReleaseContext<'a>) -> Self {
        Self {
            order,
            context,
            interrupt: interrupt.boxed_local().shared(),
            answers_interrupt: Cell::default(),
            found: OnceCell::new(),
            plan: RefCell::default(),
            images: ReadyImages::new(order.config.images.len()),
            has_kept_caches: Sender::new(false),
            leases: RefCell::default(),
            left_to_newer: RefCell::default(),
            revisions: RefCell::default(),
            going_back: RefCell::default(),
        }
    }

    /// # Errors
    /// Every expected bad ending.
    pub async fn run(self) -> Result<Success, Failure> {
        // On the heap: a release is a deep story, and some threads have small stacks.
        let releasing = lease::hold(|| self.leases.borrow().clone(), &self.context, Box::pin(self.release()));
        let ended = self.until_cancelled(releasing).await;
        let ended = ended.map_err(|failure| self.saying_what_failed(self.keeping_promise(failure)));
        if matches!(&ended, Err(failure) if matches!(failure.reason, Reason::Locked | Reason::Superseded)) {
            self.look_at_leases().await;
        }
        self.release_leases(&ended).await;
        ended
    }

    /// No reason that promises that nothing was touched, where a release command ran before it.
    fn keeping_promise(&self, failure: Failure) -> Failure {
        let promises_nothing = [Reason::Config, Reason::Identity, Reason::Permission, Reason::Build, Reason::Push];
        let has_run = self.context.record.borrow().commands.iter().any(|c| c.state.may_have_run());
        match has_run && promises_nothing.contains(&failure.reason) {
            true => Failure { reason: Reason::ReleaseCommand, ..failure },
            false => failure,
        }
    }

    /// A run that was told to end while ECS took a service back: the release was bad before.
    fn saying_what_failed(&self, failure: Failure) -> Failure {
        let (going_back, record) = (self.going_back.borrow(), self.context.record.borrow());
        let is_going_back = record.services.iter().any(|service| service.state == ServiceState::RollingBack);
        match failure.reason == Reason::Cancelled && is_going_back && !going_back.is_empty() {
            true => failure.with_evidence(going_back.clone()).with_next(
                "ECS goes back by itself; fix what the lines above show and push again: started again as it is, this \
                 release would fail once more",
            ),
            false => failure,
        }
    }

    /// Of a service whose lease another run has taken over, this one says nothing: what became of it is that run's to say.
    async fn look_at_leases(&self) {
        let plan = self.plan();
        join_all(plan.services.iter().map(|service| self.confirm_lease(service))).await;
    }

    async fn release(&self) -> Result<Success, Failure> {
        self.require_what_is_promised()?;
        self.authenticate().await?;
        self.read_production().await?;
        self.note_rollback();
        if self.order.is_dry_run {
            let planned = self.show_plan().await?;
            return self.require_reviewed_plan().map(|()| planned);
        }
        self.require_reviewed_plan()?;
        let deploying = async {
            let ended = self.deploy().await;
            if ended.is_ok() {
                self.await_caches().await;
            }
            ended
        };
        let deployed = run_alongside(Box::pin(deploying), self.build_images()).await?;
        self.hold_deploys().await;
        Ok(deployed)
    }

    /// While images are still being built: what does not need them.
    async fn deploy(&self) -> Result<Success, Failure> {
        self.first_images().await?;
        if self.changes_nothing() && !self.has_left_something().await {
            return Box::pin(self.confirm_unchanged()).await;
        }
        let seen_first = self.plan();
        self.acquire_leases().await?;
        self.look_at_earlier_orders().await?;
        self.wait_for_left_tasks(self.started_by_first_command()).await?;
        self.read_services_again().await?;
        self.give_way_to_newer(&seen_first)?;
        self.still_to_go_back()?;
        self.first_images().await?;
        // Another command may be the first to be run now.
        self.wait_for_left_tasks(self.started_by_first_command()).await?;
        if self.changes_nothing() {
            return Box::pin(self.confirm_unchanged()).await;
        }
        self.require_reviewed_plan()?;
        self.run_commands_before().await?;
        self.register_task_definitions().await?;
        let assignments = self.assignments().await;
        let serving = Box::pin(self.move_services(&assignments)).await?;
        let mut serving = Box::pin(self.confirm_serving(serving, &assignments)).await?;
        if self.run_commands_after().await? {
            serving = Box::pin(self.confirm_serving(serving, &assignments)).await?;
        }
        self.confirm_leases().await?;
        self.success_beside_newer(self.success_of(&serving))
    }

    async fn authenticate(&self) -> Result<(), Failure> {
        authenticate::authenticate(&self.order.config, &self.context).await.map(drop)
    }

    /// Reads everything that the choices depend on, and chooses.
    async fn read_production(&self) -> Result<(), Failure> {
        let Order { config, tags, provenance, cache_branches, is_dry_run, .. } = self.order;
        let commit = Commit { sha: provenance.sha.as_deref(), cache_branches };
        let before = preflight::preflight(config, tags, commit, self.earlier_attempt(), &self.context).await?;
        let _ = self.found.set(before.found.clone());
        self.choose(before)?;
        if !is_dry_run {
            self.plan().warnings.iter().for_each(|risk| self.context.warn(Warning::Plan(risk.clone())));
            self.tell_what_is_left_out();
        }
        Ok(())
    }

    /// The services may have moved while this run was building, or waiting for its turn, and then there may be nothing
    /// left to do.
    async fn read_services_again(&self) -> Result<(), Failure> {
        if self.changes_nothing() {
            // What still moves is this release, left by an earlier run.
            self.read_once_more(None).await?;
            if self.changes_nothing() {
                return Ok(());
            }
        }
        self.read_once_more(Some(self.lock_timeout())).await
    }

    async fn read_once_more(&self, settle: Option<Duration>) -> Result<(), Failure> {
        let found = self.found.get().cloned().unwrap_or_default();
        let config = &self.order.config;
        let known = self.plan().services.iter().map(|s| s.running.clone()).collect();
        let again = preflight::services_again(config, found, known, settle, self.earlier_attempt(), &self.context);
        self.choose(again.await?)
    }

    /// The URL of this run, where an attempt of it came before this one.
    fn earlier_attempt(&self) -> Option<&str> {
        self.order.provenance.run_url.as_deref().filter(|_| !self.order.run.is_first_attempt())
    }

    fn choose(&self, before: Before) -> Result<(), Failure> {
        let plan = Plan::new(&self.order.config, self.with_earlier_definitions(before))?;
        let mut record = self.context.record.borrow_mut();
        record.release = Some(plan.number);
        record.services = plan.services.iter().map(untouched).collect();
        self.plan.replace(Rc::new(plan));
        Ok(())
    }

    fn plan(&self) -> Rc<Plan> {
        Rc::clone(&self.plan.borrow())
    }

    fn document(&self) -> PlanDocument {
        let Order { config, skips_commands, is_unwatched, .. } = self.order;
        let run = RunOptions { skips_commands: *skips_commands, is_unwatched: *is_unwatched };
        PlanDocument::of(&self.plan(), config, run)
    }

    fn changes_nothing(&self) -> bool {
        self.plan().changes(&self.images.ready()).is_empty() && !self.plan().settings.force
    }

    /// An earlier attempt of this run still holds a lease, or an earlier run owes something of what the services run.
    async fn has_left_something(&self) -> bool {
        if self.lock_wait().is_none() {
            return false;
        }
        let plan = self.plan();
        let services = plan.services.iter().map(|s| &s.service);
        let left = lease::left_behind(services, &self.order.run, self.context.aws).await;
        plan.services.iter().zip(left).any(|(service, left)| {
            left.is_held_by_earlier_attempt
                || left.release.is_some_and(|release| !self.order.is_unwatched && self.owes(&release, service))
        })
    }

    /// Always in the same order, so that two releases never wait for each other; all within one `lock-timeout`.
    async fn acquire_leases(&self) -> Result<(), Failure> {
        let Some(wait) = self.lock_wait() else { return Ok(()) };
        let deadline = Instant::now() + wait;
        let plan = self.plan();
        let mut line = lease::in_order(plan.services.iter().map(|s| &s.service), self.context.aws).await?;
        loop {
            let first = self.leases.borrow().first().cloned();
            let Order { owner, run, token, .. } = self.order;
            let request = LeaseRequest { owner, run, token, first: first.as_ref() };
            let Some(lease) = line.acquire_next(request, deadline, &self.context).await? else { break };
            self.leases.borrow_mut().push(Rc::new(lease));
        }
        Ok(())
    }

    /// Tasks that earlier holders left must have stopped, but for the one that our command attaches to.
    async fn wait_for_left_tasks(&self, ours: Option<String>) -> Result<(), Failure> {
        let leases = self.leases.borrow().clone();
        let waiting =
            leases.iter().map(|lease| lease.wait_for_left_tasks(ours.as_deref(), self.lock_timeout(), &self.context));
        try_join_all(waiting).await.map(drop)
    }

    /// An order that an earlier attempt of this run was giving is waited for, unless it is the one that this run would give.
    async fn look_at_earlier_orders(&self) -> Result<(), Failure> {
        let plan = self.plan();
        for service in &plan.services {
            let Some(lease) = self.lease_of(service) else { continue };
            let Some(ordered) = lease.ordered_earlier() else { continue };
            let is_ready = |images: &Images| has_all(images, service.containers.iter().map(|(_, key)| key));
            let images = self.images.wait_until(is_ready).await?;
            let definition = service.definition(plan.number, &images, &self.order.provenance);
            let is_same = match compare::differences(&service.running, &definition).is_empty() {
                true => service.before.task_definition == ordered,
                false => {
                    let left = register::left_by(self.earlier_attempt(), &definition, &self.context).await;
                    left.as_ref() == Some(&ordered)
                }
            };
            if is_same {
                lease.follows_the_same_order();
            }
        }
        Ok(())
    }

    /// Who lost a lease meanwhile says nothing of its service: the run that took it over does.
    async fn confirm_leases(&self) -> Result<(), Failure> {
        let plan = self.plan();
        let looks = plan.services.iter().map(|service| self.confirm_sure_lease(service));
        join_all(looks).await.into_iter().collect()
    }

    /// Asks AWS only where the time since the last heartbeat leaves a doubt.
    async fn confirm_sure_lease(&self, service: &ServicePlan) -> Result<(), Failure> {
        match self.lease_of(service) {
            Some(lease) => self.noting_loss(service, lease.is_still_ours(&self.context).await),
            None => Ok(()),
        }
    }

    async fn confirm_lease(&self, service: &ServicePlan) -> Result<(), Failure> {
        match self.lease_of(service) {
            Some(lease) => self.noting_loss(service, lease.look_again(&self.context).await),
            None => Ok(()),
        }
    }

    fn noting_loss(&self, service: &ServicePlan, looked: Result<(), Failure>) -> Result<(), Failure> {
        looked.inspect_err(|_| self.context.set_state(&service.key, ServiceState::Superseded))
    }

    /// What is not released in time goes stale by itself; the runner kills us 10 s after the first signal.
    async fn release_leases(&self, ended: &Result<Success, Failure>) {
        let is_cancelled = matches!(ended, Err(failure) if failure.reason == Reason::Cancelled);
        if is_cancelled {
            let _ = tokio::time::timeout(LAST_LOOK, self.look_at_running_commands()).await;
        }
        let leases = self.leases.take();
        let releasing = join_all(leases.iter().map(|lease| lease.release(self.context.aws)));
        let patience = if is_cancelled { LAST_WRITES } else { retry::CALL };
        let _ = tokio::time::timeout(patience, releasing).await;
        for lease in leases {
            self.context.emit(Event::LeaseReleased { parameter: lease.parameter().to_owned() });
        }
    }

    fn lease_of(&self, service: &ServicePlan) -> Option<Rc<Lease>> {
        self.leases.borrow().iter().find(|lease| lease.service() == &service.service).cloned()
    }

    fn lock_wait(&self) -> Option<Duration> {
        match self.plan().settings.lock {
            Lock::Lease { wait } => Some(wait),
            Lock::None => None,
        }
    }

    /// How long another deployment of the same service is waited for.
    fn lock_timeout(&self) -> Duration {
        self.lock_wait().unwrap_or(Duration::from_secs(600))
    }

    async fn register_task_definitions(&self) -> Result<(), Failure> {
        let images = self.images.all().await?;
        self.register_ready(&images).await
    }

    /// Registers the services whose images are ready, and that have no revision yet: those of a family one after the other,
    /// since equal ones are one revision, and AWS makes one of a family at a time.
    async fn register_ready(&self, images: &Images) -> Result<(), Failure> {
        let plan = self.plan();
        let is_new = |s: &&ServicePlan| !self.revisions.borrow().iter().any(|r| r.key == s.key);
        let is_ready = |s: &&ServicePlan| has_all(images, s.containers.iter().map(|(_, key)| key));
        let mut families: BTreeMap<&str, Vec<&ServicePlan>> = BTreeMap::new();
        for service in plan.services.iter().filter(is_new).filter(is_ready) {
            families.entry(service.base.family()).or_default().push(service);
        }
        let registering = families.values().map(|services| self.register_family(services, plan.number, images));
        join_all(registering).await.into_iter().collect()
    }

    async fn register_family(&self, services: &[&ServicePlan], number: u64, images: &Images) -> Result<(), Failure> {
        for service in services {
            self.confirm_sure_lease(service).await?;
            let registered = self.revisions.borrow().clone();
            let (provenance, earlier) = (&self.order.provenance, self.earlier_attempt());
            let revision =
                register::register(service, number, images, provenance, earlier, &registered, &self.context).await?;
            if let Some(service) = self.context.record.borrow_mut().service_mut(&revision.key) {
                service.target = Some(revision.arn.clone());
            }
            self.revisions.borrow_mut().push(revision);
        }
        Ok(())
    }
}

fn untouched(service: &ServicePlan) -> ServiceRecord {
    ServiceRecord {
        key: service.key.clone(),
        service: service.service.clone(),
        previous: service.previous().clone(),
        target: None,
        previous_release: service.running.release().filter(|_| *service.previous() == service.before.task_definition),
        is_unchecked: false,
        state: ServiceState::Untouched,
        url: service.smoke.first().and_then(|s| s.url.public_url()),
    }
}
