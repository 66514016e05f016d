//! THE STORY. Reads top to bottom: every line of [`deploy`] is a chapter in `steps/`, and order lives only here.

mod confirm;
mod moves;
mod planning;
mod provide;
mod shelf;
mod take_back;

use crate::config::{Config, Lock, When};
use crate::events::{Event, Step};
use crate::lease::{self, Claimant, Lease, Owner};
use crate::steps::preflight::Tags;
use crate::steps::register::Revision;
use crate::steps::release::RunKey;
use crate::steps::{authenticate, preflight, register, release, snapshot};
use crate::world::World;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceRecord, ServiceState, Success};
use fargate_deploy_core::plan::document::{PlanDocument, Shown};
use fargate_deploy_core::plan::{Before, CommandPlan, Found, Plan, Provenance, ServicePlan};
use fargate_deploy_core::snapshot::snapshot_name;
use futures_util::future::{FutureExt as _, join_all, try_join_all};
use shelf::{Images, Shelf, has_all};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// The runner kills 10 s after the first signal; within 5 s everything is said.
const LAST_ANSWER: Duration = Duration::from_secs(3);

/// One order to deploy: the config, and what the command line and the run add to it.
#[derive(Clone, Debug)]
pub struct Order {
    pub config: Config,
    /// Tags of each image, placeholders resolved.
    pub tags: Tags,
    pub provenance: Provenance,
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
/// # Errors
/// Every expected bad ending. What was done until then is in the world's record.
pub async fn deploy(order: &Order, world: &World<'_>) -> Result<Success, Failure> {
    deploy_until(std::future::pending(), order, world).await
}

/// The same, until `interrupt` resolves. Then nothing further is changed, but for what `on-cancel` asks, and what ECS
/// was told to do goes on: a running migration is left to end, and keeps the lease closed until it has.
///
/// # Errors
/// `cancelled` beside the others.
pub async fn deploy_until(
    interrupt: impl Future<Output = ()>,
    order: &Order,
    world: &World<'_>,
) -> Result<Success, Failure> {
    let interrupt = interrupt.shared();
    or_cancelled(&interrupt, world, authenticate::authenticate(world)).await?;
    let sha = order.provenance.sha.as_deref();
    let before = or_cancelled(&interrupt, world, preflight::preflight(&order.config, &order.tags, sha, world)).await?;
    let found = before.found.clone();
    let plan = plan(order, before, world)?;
    let document = PlanDocument::of(&plan, &order.config, order.skips_commands);
    if order.is_dry_run {
        return or_cancelled(&interrupt, world, planning::planned(&plan, document, order, world)).await;
    }
    for warning in &plan.warnings {
        world.warn(&warning.text);
    }
    planning::require(order, &document)?;
    let shelf = Shelf::new(plan.images.len());
    let releasing = release(order, &plan, found, &shelf, &interrupt, world);
    beside(Box::pin(releasing), Box::pin(provide::all(&plan, order, &shelf, world))).await
}

/// While images are still being built: what does not need them.
async fn release(
    order: &Order,
    plan: &Plan,
    found: Found,
    shelf: &Shelf,
    interrupt: &(impl Future<Output = ()> + Clone),
    world: &World<'_>,
) -> Result<Success, Failure> {
    let images = or_cancelled(interrupt, world, enough_to_begin(plan, order, shelf)).await?;
    let services = plan.services.iter().map(|s| &s.service);
    let has_lease = matches!(order.config.lock, Lock::Lease { .. });
    if is_nothing(plan, &images, order)
        && !(has_lease && lease::is_left_by_earlier_attempt(services, &order.run, world.aws).await)
    {
        return or_cancelled(interrupt, world, confirm::unchanged(plan, order, world)).await;
    }
    let mut leases = vec![];
    let taken = or_cancelled(interrupt, world, take_leases(plan, order, world, &mut leases)).await;
    let ending = match taken {
        Ok(()) => {
            let releasing = release_under_lease(order, found, shelf, &leases, interrupt, world);
            lease::hold(&leases, world, Box::pin(releasing)).await
        }
        Err(failure) => Err(failure),
    };
    if ending.as_ref().is_ok_and(|success| matches!(success, Success::Deployed | Success::DeployedNotVerified)) {
        leases.iter().for_each(Lease::note_deployed);
    }
    let_go(&leases, world).await;
    ending
}

/// What may only be done by one release at a time. The services are read again: they may have moved while this one
/// was building, or waiting for its turn, and then there may be nothing left to do.
async fn release_under_lease(
    order: &Order,
    found: Found,
    shelf: &Shelf,
    leases: &[Lease],
    interrupt: &(impl Future<Output = ()> + Clone),
    world: &World<'_>,
) -> Result<Success, Failure> {
    let plan = or_cancelled(interrupt, world, plan_again(order, found, leases, world)).await?;
    let images = or_cancelled(interrupt, world, enough_to_begin(&plan, order, shelf)).await?;
    if is_nothing(&plan, &images, order) {
        // No command of ours attaches to the task that an earlier attempt left.
        let settling = leases.iter().map(|lease| lease.settle(None, patience(order), world));
        or_cancelled(interrupt, world, try_join_all(settling)).await?;
        return or_cancelled(interrupt, world, confirm::unchanged(&plan, order, world)).await;
    }
    planning::require(order, &PlanDocument::of(&plan, &order.config, order.skips_commands))?;
    let mut revisions = vec![];
    let preparing = prepare(&plan, order, shelf, leases, &mut revisions, world);
    or_cancelled(interrupt, world, preparing).await?;
    let success = moves::move_services(&plan, &revisions, order, leases, interrupt, world).await?;
    if !order.is_unwatched {
        let images = shelf.all().await?;
        for command in due(&plan, order, When::After) {
            let running = run_command(command, &plan, &revisions, &images, order, leases, world);
            or_cancelled(interrupt, world, running).await?;
        }
    }
    Ok(success)
}

/// Everything before the first service moves. A release command waits for the images that it runs, not for the others;
/// a service waits for all of them: nothing moves for a release that cannot be complete.
async fn prepare(
    plan: &Plan,
    order: &Order,
    shelf: &Shelf,
    leases: &[Lease],
    revisions: &mut Vec<Revision>,
    world: &World<'_>,
) -> Result<(), Failure> {
    for (at, command) in due(plan, order, When::Before).enumerate() {
        let images = shelf.wait_until(|ready| has_all(ready, command.images())).await?;
        register_ready(plan, &images, order, revisions, world).await?;
        if let Some(instance) = order.config.snapshot.as_ref().filter(|_| at == 0) {
            let name = snapshot_name(instance, &order.run.key);
            snapshot::snapshot(instance, &name, world).await?;
        }
        run_command(command, plan, revisions, &images, order, leases, world).await?;
    }
    if order.skips_commands && !plan.commands.is_empty() {
        world.skip(Step::Release, "--skip-release-commands");
    }
    register_ready(plan, &shelf.all().await?, order, revisions, world).await
}

/// Waits until there is something to begin with: a change that is certain, and the images of the first release
/// command; or every image.
async fn enough_to_begin(plan: &Plan, order: &Order, shelf: &Shelf) -> Result<Images, Failure> {
    let first = due(plan, order, When::Before).next();
    shelf
        .wait_until(|ready| {
            let is_certain = || order.config.force || !plan.certain_changes(ready).is_empty();
            first.is_some_and(|command| has_all(ready, command.images()) && is_certain())
        })
        .await
}

fn is_nothing(plan: &Plan, images: &Images, order: &Order) -> bool {
    plan.changes(images).is_empty() && !order.config.force
}

/// Runs `beside` as long as `main` runs.
async fn beside<T>(main: impl Future<Output = T>, beside: impl Future<Output = ()>) -> T {
    let beside = beside.then(|()| std::future::pending());
    tokio::select! {
        biased;
        ended = main => ended,
        () = beside => unreachable!("it waits for ever"),
    }
}

/// Ends `work` when the signal comes, but for an order that is on its way: without its answer nobody could say what is
/// running now.
async fn or_cancelled<T>(
    interrupt: &(impl Future<Output = ()> + Clone),
    world: &World<'_>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        ended = &mut work => return ended,
        () = interrupt.clone() => {}
    }
    let answered = poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if world.record.borrow().is_ordering() => Poll::Pending,
        Poll::Pending => Poll::Ready(None),
    });
    match tokio::time::timeout(LAST_ANSWER, answered).await {
        Ok(Some(ended)) => ended,
        Ok(None) | Err(_) => Err(cancelled()),
    }
}

pub(crate) fn cancelled() -> Failure {
    Failure::new(Reason::Cancelled, "cancelled: this run changes nothing further")
        .with_next("run it again: it goes on from what is there")
}

/// Tasks that earlier holders left must have stopped, but for the one that our first command attaches to.
async fn plan_again(order: &Order, found: Found, leases: &[Lease], world: &World<'_>) -> Result<Plan, Failure> {
    let first = order.config.release.first().filter(|_| !order.skips_commands);
    let ours = first.map(|command| release::started_by(&command.name, &order.run.key));
    try_join_all(leases.iter().map(|lease| lease.settle(ours.as_deref(), patience(order), world))).await?;
    plan(order, preflight::services_again(&order.config, found, patience(order), world).await?, world)
}

fn plan(order: &Order, before: Before, world: &World<'_>) -> Result<Plan, Failure> {
    let plan = Plan::new(&order.config, before)?;
    let mut record = world.record.borrow_mut();
    record.release = Some(plan.number);
    record.services = plan.services.iter().map(noted).collect();
    Ok(plan)
}

fn noted(service: &ServicePlan) -> ServiceRecord {
    ServiceRecord {
        key: service.key.clone(),
        service: service.service.clone(),
        previous: service.before.task_definition.clone(),
        target: None,
        previous_release: service.running.release(),
        state: ServiceState::Untouched,
        url: service.smoke.first().map(|s| s.url.clone()),
    }
}

/// Always in the same order, so that two releases never wait for each other.
async fn take_leases(plan: &Plan, order: &Order, world: &World<'_>, leases: &mut Vec<Lease>) -> Result<(), Failure> {
    let Lock::Lease { wait } = order.config.lock else { return Ok(()) };
    let mut services: Vec<&ServiceRef> = plan.services.iter().map(|s| &s.service).collect();
    services.sort();
    let claimant = Claimant { owner: &order.owner, run: &order.run, token: &order.token };
    for service in services {
        // Those that are held already must not go stale while the next one is waited for.
        let lease = lease::hold(leases, world, lease::acquire(service, claimant, wait, world)).await?;
        leases.push(lease);
    }
    Ok(())
}

/// What is not released in time goes stale by itself; the runner kills us 10 s after the first signal.
async fn let_go(leases: &[Lease], world: &World<'_>) {
    let letting_go = join_all(leases.iter().map(|lease| lease.release(world.aws)));
    let _ = tokio::time::timeout(Duration::from_secs(3), letting_go).await;
    for lease in leases {
        world.sink.emit(Event::LetGo { parameter: lease.parameter().to_owned() });
    }
}

/// How long another deployment of the same service is waited for.
fn patience(order: &Order) -> Duration {
    match order.config.lock {
        Lock::Lease { wait } => wait,
        Lock::None => Duration::from_secs(600),
    }
}

/// Registers the services whose images are ready, and that have no revision yet.
async fn register_ready(
    plan: &Plan,
    images: &Images,
    order: &Order,
    revisions: &mut Vec<Revision>,
    world: &World<'_>,
) -> Result<(), Failure> {
    let is_new = |s: &&ServicePlan| !revisions.iter().any(|r| r.key == s.key);
    let is_ready = |s: &&ServicePlan| has_all(images, s.containers.iter().map(|(_, key)| key.as_str()));
    let ready = plan.services.iter().filter(is_new).filter(is_ready);
    let registering = ready.map(|s| register::register(s, plan.number, images, &order.provenance, world));
    for registered in join_all(registering).await {
        let revision = registered?;
        if let Some(service) = world.record.borrow_mut().service_mut(&revision.key) {
            service.target = Some(revision.arn.clone());
        }
        revisions.push(revision);
    }
    Ok(())
}

/// The release commands of one time, in order.
fn due<'a>(plan: &'a Plan, order: &Order, when: When) -> impl Iterator<Item = &'a CommandPlan> {
    let commands = if order.skips_commands { &[][..] } else { &plan.commands };
    commands.iter().filter(move |command| command.command.when == when)
}

async fn run_command(
    command: &CommandPlan,
    plan: &Plan,
    revisions: &[Revision],
    images: &Images,
    order: &Order,
    leases: &[Lease],
    world: &World<'_>,
) -> Result<(), Failure> {
    let service = plan.service(&command.service);
    let revision = revisions.iter().find(|r| r.key == command.service);
    let (Some(service), Some(revision)) = (service, revision) else { return Ok(()) };
    let definition = command.definition(plan.number, &revision.definition, images, &order.provenance);
    let from = release::From { definition, revision: &revision.definition, arn: &revision.arn };
    release::run(command, service, from, &order.run, lease_of(service, leases), world).await
}

fn lease_of<'a>(service: &ServicePlan, leases: &'a [Lease]) -> Option<&'a Lease> {
    leases.iter().find(|l| l.service() == &service.service)
}
