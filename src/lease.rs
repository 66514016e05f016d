//! One release of a service at a time, across workflows, repositories and laptops: a lease on SSM parameters.
//!
//! The lease is a chain of generations, `/fargate-deploy/CLUSTER/SERVICE/lease/N`. A parameter is created with
//! `Overwrite=false`, which is atomic, so each generation has exactly one creator; the newest generation is the
//! holder. A generation ends by its own holder writing `released` into it, or by a successor taking over: only when
//! its value has not changed for [`STALE`] on the successor's own clock (clocks are never compared), and when the task
//! that it recorded is known not to run. A dead runner is not a dead migration. `docs/adr/0005` has the argument.

use crate::domain::names::{ClusterName, ServiceRef, TaskArn, short};
use crate::domain::outcome::{Failure, Reason};
use crate::error::call_failed;
use crate::events::Step;
use crate::ports::{CallError, CallErrorKind, Cloud};
use crate::world::World;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The holder writes a new beat this often.
const BEAT: Duration = Duration::from_secs(20);
/// Unchanged for this long, a holder counts as dead.
const STALE: Duration = Duration::from_secs(90);
/// The same where a task was about to start: DescribeTasks can miss a task right after RunTask.
const STALE_WHILE_STARTING: Duration = Duration::from_secs(300);
/// A holder that could not write for this long must not touch anything: somebody may be about to take over.
const FENCE: Duration = Duration::from_secs(60);
/// Generations that stay readable as history.
const KEPT: u64 = 3;

/// What a generation's parameter says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Tells two claims apart whatever else is equal.
    pub token: String,
    pub owner: Owner,
    #[serde(default)]
    pub is_released: bool,
    #[serde(default)]
    pub beat: u64,
    /// The one-off task that runs, or is about to run, under this claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<ClaimedTask>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Owner {
    /// The run's URL, or the host's name.
    pub run: String,
    pub actor: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedTask {
    pub cluster: String,
    pub started_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
}

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    name: String,
    path: String,
    generation: u64,
    service: ServiceRef,
    claim: RefCell<Claim>,
    last_beat: Cell<Instant>,
}

/// Waits for the lease of a service at most `wait`.
///
/// # Errors
/// `locked`: somebody else holds it. `permission`: SSM is not allowed. Nothing was touched.
pub async fn acquire<C: Cloud, B, W>(
    service: &ServiceRef,
    owner: &Owner,
    token: &str,
    wait: Duration,
    world: &World<'_, C, B, W>,
) -> Result<Lease, Failure> {
    let chapter = world.start(Step::Lease, service.to_string());
    let path = path(service);
    let claim = Claim { token: token.to_owned(), owner: owner.clone(), is_released: false, beat: 0, task: None };
    let began = Instant::now();
    let mut seen: Option<(u64, Claim, Instant)> = None;
    loop {
        let newest = newest(&path, world.cloud).await?;
        let free = match &newest {
            None => true,
            Some((_, held)) if held.is_released => true,
            Some((generation, held)) => {
                let unchanged_since = match &seen {
                    Some((g, c, since)) if g == generation && c == held => *since,
                    _ => Instant::now(),
                };
                seen = Some((*generation, held.clone(), unchanged_since));
                is_abandoned(held, unchanged_since.elapsed(), world.cloud).await
            }
        };
        if free {
            let generation = newest.as_ref().map_or(1, |(generation, _)| generation + 1);
            if let Some(lease) = claim_generation(service, &path, generation, &claim, world.cloud).await? {
                if newest.as_ref().is_some_and(|(_, held)| !held.is_released) {
                    world.warn(format!(
                        "the lease of {service} was taken over from a run that ended without releasing it"
                    ));
                }
                chapter.done(format!("{service}, generation {generation}"));
                return Ok(lease);
            }
            continue;
        }
        if began.elapsed() >= wait {
            return Err(locked(service, newest.map(|(_, held)| held.owner)));
        }
        if let Some((_, held)) = &newest {
            chapter.heartbeat(format!("waiting for {} ({})", held.owner.run, held.owner.actor));
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// Beats for all leases while `body` runs.
pub async fn hold<C: Cloud, B, W, T>(leases: &[Lease], world: &World<'_, C, B, W>, body: impl Future<Output = T>) -> T {
    let beat = async {
        loop {
            sleep(BEAT).await;
            for lease in leases {
                lease.claim.borrow_mut().beat += 1;
                if let Err(e) = lease.write(world.cloud).await {
                    world.warn(format!("the lease of {} could not be renewed: {e}", lease.service));
                }
            }
        }
    };
    tokio::select! {
        ended = body => ended,
        () = beat => unreachable!("the beat has no end"),
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
    pub async fn check<C: Cloud>(&self, cloud: &C) -> Result<(), Failure> {
        if self.last_beat.get().elapsed() >= FENCE {
            self.write(cloud).await.map_err(|e| call_failed("renewing the lease", &e))?;
        }
        match newest(&self.path, cloud).await? {
            Some((generation, _)) if generation == self.generation => Ok(()),
            other => Err(locked(&self.service, other.map(|(_, held)| held.owner))),
        }
    }

    /// Notes the task that is about to run, or runs, so that nobody takes over while it does.
    ///
    /// # Errors
    /// The claim could not be written: the task must not be started.
    pub async fn note_task<C: Cloud>(
        &self,
        cluster: &ClusterName,
        started_by: &str,
        arn: Option<&TaskArn>,
        cloud: &C,
    ) -> Result<(), Failure> {
        self.claim.borrow_mut().task = Some(ClaimedTask {
            cluster: cluster.to_string(),
            started_by: started_by.to_owned(),
            arn: arn.map(ToString::to_string),
        });
        self.write(cloud).await.map_err(|e| call_failed("noting the task in the lease", &e))
    }

    /// The task has stopped.
    pub async fn forget_task<C: Cloud>(&self, cloud: &C) {
        self.claim.borrow_mut().task = None;
        // What stays noted is looked up by a successor, and found stopped.
        let _ = self.write(cloud).await;
    }

    /// Lets the next one in. A task that still runs keeps its claim: then this does nothing.
    pub async fn release<C: Cloud>(&self, cloud: &C) {
        if self.claim.borrow().task.is_some() {
            return;
        }
        self.claim.borrow_mut().is_released = true;
        // Not written, the claim goes stale by itself.
        let _ = self.write(cloud).await;
    }

    async fn write<C: Cloud>(&self, cloud: &C) -> Result<(), CallError> {
        let text = text(&self.claim.borrow());
        cloud.put_parameter(&self.name, &text).await?;
        self.last_beat.set(Instant::now());
        Ok(())
    }
}

/// `/fargate-deploy/CLUSTER/SERVICE/lease`.
fn path(service: &ServiceRef) -> String {
    format!("/fargate-deploy/{}/{}/lease", short(service.cluster.as_str()), short(service.name.as_str()))
}

fn text(claim: &Claim) -> String {
    serde_json::to_string(claim).unwrap_or_default()
}

async fn newest<C: Cloud>(path: &str, cloud: &C) -> Result<Option<(u64, Claim)>, Failure> {
    let found = cloud.parameters_under(path).await.map_err(|e| denied(&e))?;
    let generations = found.into_iter().filter_map(|(name, value)| {
        let generation = short(&name).parse::<u64>().ok()?;
        // What cannot be read was written by something newer: it counts as held.
        let unknown =
            || Claim { token: String::new(), owner: Owner::default(), is_released: false, beat: 0, task: None };
        Some((generation, serde_json::from_str(&value).unwrap_or_else(|_| unknown())))
    });
    Ok(generations.max_by_key(|(generation, _)| *generation))
}

/// Creates one generation. `None`: somebody was faster, or a later one exists already (the list was stale).
async fn claim_generation<C: Cloud>(
    service: &ServiceRef,
    path: &str,
    generation: u64,
    claim: &Claim,
    cloud: &C,
) -> Result<Option<Lease>, Failure> {
    let name = format!("{path}/{generation}");
    match cloud.create_parameter(&name, &text(claim)).await {
        Ok(()) => {}
        Err(e) if e.kind == CallErrorKind::Conflict => return Ok(None),
        Err(e) => return Err(denied(&e)),
    }
    let lease = Lease {
        name,
        path: path.to_owned(),
        generation,
        service: service.clone(),
        claim: RefCell::new(claim.clone()),
        last_beat: Cell::new(Instant::now()),
    };
    let all = cloud.parameters_under(path).await.map_err(|e| denied(&e))?;
    let numbers = all.iter().filter_map(|(name, _)| Some((name, short(name).parse::<u64>().ok()?)));
    let mut old = vec![];
    for (name, number) in numbers {
        if number > generation {
            let _ = cloud.delete_parameter(&lease.name).await;
            return Ok(None);
        }
        if number + KEPT < generation {
            old.push(name.clone());
        }
    }
    for name in old {
        let _ = cloud.delete_parameter(&name).await;
    }
    Ok(Some(lease))
}

/// A holder is dead when it stopped writing and its task, if any, does not run. Doubt means alive.
async fn is_abandoned<C: Cloud>(held: &Claim, unchanged: Duration, cloud: &C) -> bool {
    let Some(task) = &held.task else { return unchanged >= STALE };
    let cluster = ClusterName::new(&task.cluster);
    match &task.arn {
        Some(arn) if unchanged >= STALE => match cloud.tasks(&cluster, &[TaskArn::new(arn)]).await {
            // Missing means that it stopped more than an hour ago: a started task is described while it runs.
            Ok(tasks) => tasks.iter().all(|t| t.is_stopped()),
            Err(_) => false,
        },
        None if unchanged >= STALE_WHILE_STARTING => {
            cloud.tasks_started_by(&cluster, &task.started_by).await.is_ok_and(|running| running.is_empty())
        }
        _ => false,
    }
}

fn locked(service: &ServiceRef, holder: Option<Owner>) -> Failure {
    let holder = holder.unwrap_or_default();
    Failure::new(Reason::Locked, format!("{service} is being released by {} ({})", holder.run, holder.actor))
        .with_next("wait until that run has ended, then run this again; nothing was changed by this run")
}

fn denied(error: &CallError) -> Failure {
    let failure = call_failed("taking the lease (one release at a time)", error);
    match error.kind {
        CallErrorKind::Denied => failure.with_next(format!(
            "allow `{}` on arn:aws:ssm:REGION:ACCOUNT:parameter/fargate-deploy/*, or set `lock: none` and make sure by \
             other means that only one release runs at a time",
            error.action
        )),
        _ => failure,
    }
}
