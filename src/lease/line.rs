//! Waiting for the leases of a release: they are taken one after the other, and all of them are watched from the first look
//! on. A holder of ten services that died is silent at all of them, and is waited for once.

use super::claim::{Chain, Generation, chain, denied, locked, path};
use super::owner::Owner;
use super::takeover::{create_generation, may_take_over};
use super::{Lease, LeaseRequest, PAUSE, WATCH};
use crate::events::{Event, Wait, Warning};
use crate::ports::Aws;
use crate::release_context::ReleaseContext;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::Failure;
use fargate_deploy_core::redact::Secret;
use futures_util::future::{join_all, try_join_all};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tokio::time::{Instant, sleep, sleep_until};

/// The services whose leases are to be taken, the next one first.
#[derive(Debug)]
pub struct Line<'s> {
    waiting: VecDeque<InLine<'s>>,
    watch_at: Cell<Instant>,
}

/// A service whose lease is to be taken.
#[derive(Debug)]
struct InLine<'s> {
    service: &'s ServiceRef,
    /// What the parameters of it said before any was taken, and when they were asked.
    first: (Chain, Instant),
    seen: RefCell<Option<Seen>>,
}

/// What a lease said when it was last read, and since when it says so on our clock.
#[derive(Debug)]
struct Seen {
    newest: Generation,
    /// What its release's first lease says.
    renewal: Option<String>,
    since: Instant,
}

/// The services in the order in which every release takes their leases, so that two never wait for each other, however
/// their configs write the names. Refuses at once where a person keeps deploys out of any of them.
///
/// # Errors
/// `locked`: a person's lock. `permission`: SSM is not allowed.
pub async fn in_order<'s>(services: impl Iterator<Item = &'s ServiceRef>, aws: Aws<'_>) -> Result<Line<'s>, Failure> {
    let mut services: Vec<_> = services.collect();
    services.sort_by_key(|service| path(service));
    let asked = Instant::now();
    let looks = services.into_iter().map(async |service| {
        let first = chain(&path(service), aws).await?;
        match &first.manual_lock {
            Some(lock) => Err(lock.refuses(service)),
            None => Ok(InLine { service, first: (first, asked), seen: RefCell::default() }),
        }
    });
    let line = Line { waiting: try_join_all(looks).await?.into(), watch_at: Cell::new(Instant::now() + WATCH) };
    let newest = line.waiting.iter().map(|next| (next, next.first.0.generations.last().cloned()));
    see(&newest.collect::<Vec<_>>(), aws).await?;
    Ok(line)
}

impl Line<'_> {
    /// Waits for the lease of the next service until `deadline`. `None`: all were taken.
    ///
    /// # Errors
    /// `locked`: somebody else holds it. `permission`: SSM is not allowed. Nothing was touched.
    pub async fn acquire_next(
        &mut self,
        request: LeaseRequest<'_>,
        deadline: Instant,
        context: &ReleaseContext<'_>,
    ) -> Result<Option<Lease>, Failure> {
        let Some(next) = self.waiting.pop_front() else { return Ok(None) };
        tokio::select! {
            lease = next.acquire(request, deadline, context) => lease.map(Some),
            never = self.watch(context.aws) => never,
        }
    }

    /// Looks at those whose turn has not come. A look that fails says nothing of its holder: its silence begins anew.
    async fn watch<T>(&self, aws: Aws<'_>) -> T {
        loop {
            sleep_until(self.watch_at.get()).await;
            self.watch_at.set(Instant::now() + WATCH);
            let looks = self.waiting.iter().map(async |next| match chain(&path(next.service), aws).await {
                Ok(mut found) => Some((next, found.generations.pop())),
                Err(_) => {
                    next.seen.take();
                    None
                }
            });
            let found: Vec<_> = join_all(looks).await.into_iter().flatten().collect();
            if see(&found, aws).await.is_err() {
                found.iter().for_each(|(next, _)| drop(next.seen.take()));
            }
        }
    }
}

impl InLine<'_> {
    async fn acquire(
        &self,
        request: LeaseRequest<'_>,
        deadline: Instant,
        context: &ReleaseContext<'_>,
    ) -> Result<Lease, Failure> {
        let service = self.service;
        let step = context.begin(Event::LeaseRequested { service: service.clone() });
        let path = path(service);
        let mut told: Option<Owner> = None;
        let mut first = Some(self.first.clone());
        let held_by = self.first.0.generations.last().filter(|newest| !newest.is_released());
        let held_by = held_by.and_then(Generation::owner).map(|owner| owner.run.clone());
        loop {
            // What was read was true at some time after `asked`: a process that is suspended after the read has not seen
            // the holder silent meanwhile.
            let (found, asked) = match first.take().filter(|(_, asked)| asked.elapsed() < PAUSE) {
                Some(first) => first,
                None => {
                    let asked = Instant::now();
                    (chain(&path, context.aws).await?, asked)
                }
            };
            if let Some(manual_lock) = &found.manual_lock {
                return Err(manual_lock.refuses(service));
            }
            let newest = found.generations.last().cloned();
            see(&[(self, newest.clone())], context.aws).await?;
            let since = self.seen.borrow().as_ref().map_or(asked, |seen| seen.since);
            let unchanged = asked.saturating_duration_since(since);
            if let Some(kind) = may_take_over(newest.as_ref(), request.run, unchanged, context.aws).await
                && let Some((mut lease, found)) =
                    create_generation(service, &path, &found.generations, kind, request, context).await?
            {
                lease.held_by = held_by;
                if newest.as_ref().is_some_and(|held| !held.is_released()) {
                    context.warn(Warning::LeaseTakenOver { service: service.clone() });
                }
                step.emit(Event::LeaseAcquired {
                    service: service.clone(),
                    parameter: lease.name.clone(),
                    generation: lease.generation,
                    token: Secret::new(request.token),
                    took: step.took(),
                });
                // A person's lock that came with the lease holds.
                if let Some(manual_lock) = &found.manual_lock {
                    lease.release(context.aws).await;
                    step.emit(Event::LeaseReleased { parameter: lease.name.clone() });
                    return Err(manual_lock.refuses(service));
                }
                return Ok(lease);
            }
            let holder = newest.as_ref().and_then(Generation::owner).cloned().unwrap_or_default();
            if Instant::now() >= deadline {
                let next = match newest.as_ref().filter(|newest| newest.claim.is_none()) {
                    Some(unreadable) => format!(
                        "`{path}/{}` says what this version cannot read: wait until no deploy runs, remove it with `aws ssm \
                         delete-parameter --name {path}/{}`, and run this again",
                        unreadable.number, unreadable.number
                    ),
                    None => "wait until that run has ended, then run this again".to_owned(),
                };
                return Err(locked(service, &holder).with_next(next));
            }
            let (service, is_told) = (service.clone(), told.as_ref() == Some(&holder));
            told = Some(holder.clone());
            let Owner { run, actor } = holder;
            // Said at once for each holder, then as a sign of life.
            match is_told {
                true => step.waiting(Wait::Lease { service, run, actor }),
                false => step.emit(Event::LeaseWaiting { service, run, actor }),
            }
            sleep(PAUSE).await;
        }
    }
}

/// Notes what the leases say, as just read, and how long they have said so. What renews one is read too: a lease is as alive
/// as its release's first one.
async fn see(found: &[(&InLine<'_>, Option<Generation>)], aws: Aws<'_>) -> Result<(), Failure> {
    let parameters: BTreeSet<&str> = found.iter().filter_map(|(_, newest)| renewed_by(newest.as_ref())).collect();
    let looks = parameters.into_iter().map(async |parameter| {
        let path = parameter.rsplit_once('/').map_or(parameter, |(path, _)| path);
        let found = aws.parameters.parameters_under(path).await.map_err(|e| denied(&e))?;
        let value = found.into_iter().find(|(name, _)| name == parameter).map(|(_, value)| value);
        Ok::<_, Failure>((parameter, value))
    });
    let renewals: BTreeMap<_, _> = try_join_all(looks).await?.into_iter().collect();
    for (next, newest) in found {
        let renewal = renewed_by(newest.as_ref()).and_then(|parameter| renewals.get(parameter).cloned().flatten());
        let mut seen = next.seen.borrow_mut();
        let since = match &*seen {
            Some(last) if Some(&last.newest) == newest.as_ref() && last.renewal == renewal => last.since,
            _ => Instant::now(),
        };
        *seen = newest.clone().map(|newest| Seen { newest, renewal, since });
    }
    Ok(())
}

/// The parameter that keeps this lease alive beside its own, as long as it is held.
fn renewed_by(newest: Option<&Generation>) -> Option<&str> {
    let claim = newest?.claim.as_ref().filter(|claim| !claim.is_released)?;
    claim.renewed_by.as_deref()
}
