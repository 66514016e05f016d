//! THE STORY. Reads top to bottom: every line of [`deploy`] is a chapter in `steps/`, and order lives only here.

mod confirm;
mod planning;
mod take_back;

use crate::config::{Config, ImageSource, Lock};
use crate::domain::names::ServiceRef;
use crate::domain::outcome::{Failure, Reason, ServiceRecord, ServiceState, Success};
use crate::domain::plan::document::{PlanDocument, Shown};
use crate::domain::plan::{Before, ImageAction, ImageBefore, ImagePlan, Plan, Provenance, ServicePlan};
use crate::domain::rollout::Verdict;
use crate::domain::service::Counts;
use crate::events::{Event, Step};
use crate::lease::{self, Claimant, Lease, Owner};
use crate::moving::Moving;
use crate::ports::{Builder, Cloud, Web};
use crate::steps::preflight::Tags;
use crate::steps::register::Revision;
use crate::steps::release::RunKey;
use crate::steps::{authenticate, build, preflight, push, register, release, roll_out, smoke, verify, watch};
use crate::world::World;
use futures_util::future::{FutureExt as _, join_all, try_join_all};
use std::collections::BTreeMap;
use std::time::Duration;

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

/// Image key and `HOST/NAME@DIGEST`.
type Images = Vec<(String, String)>;

/// From a Dockerfile to a verified release, and back when the release is bad.
///
/// # Errors
/// Every expected bad ending. What was done until then is in the world's record.
pub async fn deploy<C: Cloud, B: Builder, W: Web>(
    order: &Order,
    world: &World<'_, C, B, W>,
) -> Result<Success, Failure> {
    deploy_until(std::future::pending(), order, world).await
}

/// The same, until `interrupt` resolves. Then nothing further is changed, and what ECS was told to do goes on: a running
/// migration is left to end, and keeps the lease closed until it has.
///
/// # Errors
/// `cancelled` beside the others.
pub async fn deploy_until<C: Cloud, B: Builder, W: Web>(
    interrupt: impl Future<Output = ()>,
    order: &Order,
    world: &World<'_, C, B, W>,
) -> Result<Success, Failure> {
    let interrupt = interrupt.shared();
    authenticate::authenticate(world).await?;
    let sha = order.provenance.sha.as_deref();
    let before = or_cancelled(&interrupt, preflight::preflight(&order.config, &order.tags, sha, world)).await?;
    let images_before = before.images.clone();
    let plan = plan(order, before, world)?;
    let document = PlanDocument::of(&plan, &order.config, order.skips_commands);
    if order.is_dry_run {
        return or_cancelled(&interrupt, planning::planned(&plan, document, order, world)).await;
    }
    for warning in &plan.warnings {
        world.warn(&warning.text);
    }
    planning::require(order, &document)?;

    let images = or_cancelled(&interrupt, build_and_push(&plan, order, world)).await?;
    if plan.changes(&images).is_empty() && !order.config.force {
        return or_cancelled(&interrupt, confirm::unchanged(&plan, order, world)).await;
    }

    let leases = or_cancelled(&interrupt, take_leases(&plan, order, world)).await?;
    let releasing = or_cancelled(&interrupt, release_under_lease(order, images_before, &images, &leases, world));
    let ending = lease::hold(&leases, world, releasing).await;
    let letting_go = join_all(leases.iter().map(|lease| lease.release(world.cloud)));
    // What is not released in time goes stale by itself; the runner kills us 10 s after the first signal.
    let _ = tokio::time::timeout(Duration::from_secs(3), letting_go).await;
    for lease in &leases {
        world.sink.emit(Event::LetGo { parameter: lease.parameter().to_owned() });
    }
    ending
}

async fn or_cancelled<T>(
    interrupt: &(impl Future<Output = ()> + Clone),
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        ended = work => ended,
        () = interrupt.clone() => Err(Failure::new(Reason::Cancelled, "cancelled: this run changes nothing further")
            .with_next("run it again: it goes on from what is there")),
    }
}

/// What may only be done by one release at a time. The services are read again: they may have moved while this one
/// was building, or waiting for its turn, and then there may be nothing left to do.
async fn release_under_lease<C: Cloud, B: Builder, W: Web>(
    order: &Order,
    images_before: Vec<ImageBefore>,
    images: &Images,
    leases: &[Lease],
    world: &World<'_, C, B, W>,
) -> Result<Success, Failure> {
    settle(order, leases, world).await?;
    let before = preflight::services_again(&order.config, images_before, patience(order), world).await?;
    let plan = plan(order, before, world)?;
    if plan.changes(images).is_empty() && !order.config.force {
        return confirm::unchanged(&plan, order, world).await;
    }
    planning::require(order, &PlanDocument::of(&plan, &order.config, order.skips_commands))?;
    let revisions = try_join_all(
        plan.services.iter().map(|s| register::register(s, plan.number, images, &order.provenance, world)),
    )
    .await?;
    note_targets(&revisions, world);
    run_commands(&plan, &revisions, order, leases, world).await?;
    move_services(&plan, &revisions, order, leases, world).await
}

/// Tasks that earlier holders left must have stopped, but for the one that our first command attaches to.
async fn settle<C: Cloud, B, W>(order: &Order, leases: &[Lease], world: &World<'_, C, B, W>) -> Result<(), Failure> {
    let first = order.config.release.first().filter(|_| !order.skips_commands);
    let ours = first.map(|command| release::started_by(&command.name, &order.run.key));
    try_join_all(leases.iter().map(|lease| lease.settle(ours.as_deref(), patience(order), world))).await?;
    Ok(())
}

fn plan<C, B, W>(order: &Order, before: Before, world: &World<'_, C, B, W>) -> Result<Plan, Failure> {
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

/// Images do not wait for each other.
async fn build_and_push<C: Cloud, B: Builder, W>(
    plan: &Plan,
    order: &Order,
    world: &World<'_, C, B, W>,
) -> Result<Images, Failure> {
    try_join_all(plan.images.iter().map(|image| provide(image, order, world))).await
}

async fn provide<C: Cloud, B: Builder, W>(
    image: &ImagePlan,
    order: &Order,
    world: &World<'_, C, B, W>,
) -> Result<(String, String), Failure> {
    let source = order.config.images.iter().find(|i| i.key == image.key).map(|i| &i.source);
    let (digest, name) = match (&image.action, source) {
        (ImageAction::Build { platform, tags }, Some(ImageSource::Build(config))) => {
            let to = push::destination(config, order.push_endpoint.as_deref(), world).await?;
            let key = &image.key;
            let what = build::Order {
                key,
                config,
                platform,
                name: &to.push_name,
                login: to.login.as_ref(),
                provenance: &order.provenance,
                env: &order.env,
            };
            let built = build::build(what, world).await?;
            (push::push(key, &built, tags, &to, world).await?, to.name)
        }
        (ImageAction::Reuse { digest, missing_tags }, Some(ImageSource::Build(config))) if !missing_tags.is_empty() => {
            let to = push::destination(config, order.push_endpoint.as_deref(), world).await?;
            push::retag(&image.key, digest, missing_tags, &to, world).await?;
            (digest.clone(), to.name)
        }
        (ImageAction::Reuse { digest, .. } | ImageAction::Existing { digest }, _) => {
            world.skip(Step::Build, format!("{}: {} is in the repository already", image.key, digest.short()));
            push::record(&image.key, &image.name, digest, false, world);
            (digest.clone(), image.name.clone())
        }
        (ImageAction::Build { .. }, _) => {
            return Err(Failure::new(
                Reason::Internal,
                format!("image `{}` is planned to be built and has no build", image.key),
            ));
        }
    };
    Ok((image.key.clone(), format!("{name}@{digest}")))
}

async fn take_leases<C: Cloud, B, W>(
    plan: &Plan,
    order: &Order,
    world: &World<'_, C, B, W>,
) -> Result<Vec<Lease>, Failure> {
    let Lock::Lease { wait } = order.config.lock else { return Ok(vec![]) };
    let mut services: Vec<&ServiceRef> = plan.services.iter().map(|s| &s.service).collect();
    // Always in the same order, so that two releases never wait for each other.
    services.sort();
    let claimant = Claimant { owner: &order.owner, run: &order.run, token: &order.token };
    let mut leases = vec![];
    for service in services {
        // Those that are held already must not go stale while the next one is waited for.
        match lease::hold(&leases, world, lease::acquire(service, claimant, wait, world)).await {
            Ok(lease) => leases.push(lease),
            Err(failure) => {
                for lease in &leases {
                    lease.release(world.cloud).await;
                }
                return Err(failure);
            }
        }
    }
    Ok(leases)
}

/// How long another deployment of the same service is waited for.
fn patience(order: &Order) -> Duration {
    match order.config.lock {
        Lock::Lease { wait } => wait,
        Lock::None => Duration::from_secs(600),
    }
}

fn note_targets<C, B, W>(revisions: &[Revision], world: &World<'_, C, B, W>) {
    let mut record = world.record.borrow_mut();
    for revision in revisions {
        if let Some(service) = record.service_mut(&revision.key) {
            service.target = Some(revision.arn.clone());
        }
    }
}

async fn run_commands<C: Cloud, B, W>(
    plan: &Plan,
    revisions: &[Revision],
    order: &Order,
    leases: &[Lease],
    world: &World<'_, C, B, W>,
) -> Result<(), Failure> {
    if order.skips_commands && !plan.commands.is_empty() {
        world.skip(Step::Release, "--skip-release-commands");
        return Ok(());
    }
    for command in &plan.commands {
        let service = plan.service(&command.service);
        let revision = revisions.iter().find(|r| r.key == command.service);
        let (Some(service), Some(revision)) = (service, revision) else { continue };
        let lease = lease_of(service, leases);
        release::run(command, service, &revision.definition, &revision.arn, &order.run, lease, world).await?;
    }
    Ok(())
}

fn lease_of<'a>(service: &ServicePlan, leases: &'a [Lease]) -> Option<&'a Lease> {
    leases.iter().find(|l| l.service() == &service.service)
}

/// A service that was told to move, and how that ended.
struct Moved<'a> {
    service: &'a ServicePlan,
    revision: &'a Revision,
    /// `None`: ECS made no deployment of it.
    moving: Option<Moving>,
    verdict: Verdict,
}

/// Wave after wave; a wave starts when the one before serves and answers.
async fn move_services<C: Cloud, B: Builder, W: Web>(
    plan: &Plan,
    revisions: &[Revision],
    order: &Order,
    leases: &[Lease],
    world: &World<'_, C, B, W>,
) -> Result<Success, Failure> {
    let mut moved: Vec<Moved<'_>> = vec![];
    let waves = plan.services.iter().map(|s| s.wave).max().unwrap_or(0);
    for wave in 0..=waves {
        let of_wave = plan.services.iter().filter(|s| s.wave == wave);
        let pairs = of_wave.filter_map(|s| Some((s, revisions.iter().find(|r| r.key == s.key)?)));
        let chosen: Vec<_> = pairs.filter(|(_, r)| !r.is_unchanged || order.config.force).collect();
        let ended =
            join_all(chosen.into_iter().map(|(s, r)| move_service(s, r, order, lease_of(s, leases), world))).await;
        let first_of_wave = moved.len();
        let mut refused = None;
        for result in ended {
            match result {
                Ok(done) => moved.push(done),
                Err(failure) => refused = refused.or(Some(failure)),
            }
        }
        let trouble = match refused {
            Some(failure) => Some(failure),
            None if order.is_unwatched => None,
            None => trouble_of(&moved[first_of_wave..], world).await,
        };
        if let Some(failure) = trouble {
            return Err(take_back::take_back(failure, moved, leases, world).await);
        }
    }
    if order.is_unwatched {
        return Ok(Success::Started);
    }
    let is_empty = |m: &Moved<'_>| matches!(m.verdict, Verdict::Stable(Counts { desired: 0, .. }));
    Ok(if moved.iter().any(is_empty) { Success::DeployedNotVerified } else { Success::Deployed })
}

async fn move_service<'a, C: Cloud, B, W: Web>(
    service: &'a ServicePlan,
    revision: &'a Revision,
    order: &Order,
    lease: Option<&Lease>,
    world: &World<'_, C, B, W>,
) -> Result<Moved<'a>, Failure> {
    // A revision that runs already is rolled only by force.
    let force = revision.is_unchanged;
    let moving = roll_out::roll_out(service, &revision.arn, force, order.config.wait, lease, world).await?;
    let Some(mut moving) = moving else {
        return Ok(Moved { service, revision, moving: None, verdict: Verdict::Stable(service.before.counts) });
    };
    if order.is_unwatched {
        return Ok(Moved { service, revision, moving: Some(moving), verdict: Verdict::Stable(service.before.counts) });
    }
    let verdict = watch::watch(&service.service, &revision.definition, &mut moving, world).await;
    world.set_state(&service.key, state_of(&verdict));
    Ok(Moved { service, revision, moving: Some(moving), verdict })
}

fn state_of(verdict: &Verdict) -> ServiceState {
    match verdict {
        Verdict::Stable(_) => ServiceState::Serving,
        Verdict::RolledBack { .. } => ServiceState::RolledBack,
        Verdict::Superseded { .. } => ServiceState::Superseded,
        Verdict::TimedOut { .. } => ServiceState::RollingOut,
        Verdict::Failed { .. } | Verdict::Unsteady { .. } | Verdict::Lost { .. } => ServiceState::Unsteady,
    }
}

/// The worst ending among the services of a wave, or the first of their checks that fails. One that failed comes
/// before one that is only slow or replaced: what failed has to go back.
async fn trouble_of<C: Cloud, B, W: Web>(moved: &[Moved<'_>], world: &World<'_, C, B, W>) -> Option<Failure> {
    let is_bad = |m: &&Moved<'_>| !matches!(m.verdict, Verdict::Stable(_));
    let is_open = |m: &&Moved<'_>| matches!(m.verdict, Verdict::TimedOut { .. } | Verdict::Superseded { .. });
    if let Some(bad) = moved.iter().filter(is_bad).min_by_key(is_open) {
        return Some(take_back::failure_of(bad, world).await);
    }
    let manifests: Vec<String> =
        world.record.borrow().images.iter().filter(|i| i.is_new).map(|i| i.digest.clone()).collect();
    for done in moved {
        let Some(moving) = &done.moving else { continue };
        let id = &moving.target.deployment;
        if let Err(why) = verify::verify(&done.service.service, id, &done.revision.definition, &manifests, world).await
        {
            let failure = Failure::new(Reason::RolledBack, format!("{}: {why}", done.service.service));
            return Some(failure.with_next("find out who moved the tag or pushed the image, and deploy again"));
        }
        if matches!(done.verdict, Verdict::Stable(Counts { desired: 0, .. })) {
            continue;
        }
        for check in &done.service.smoke {
            if let Err(why) = smoke::smoke(check, world).await {
                return Some(take_back::failure_of_smoke(done, why, world).await);
            }
        }
    }
    None
}
