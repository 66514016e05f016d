//! A snapshot of the database, before a release command changes its schema: what a rollback cannot give back.

use crate::error::call_failed;
use crate::events::{Event, Wait};
use crate::ports::CallErrorKind;
use crate::release_context::ReleaseContext;
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::snapshot::SnapshotState;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A large instance takes long the first time; later snapshots are incremental.
const WAIT: Duration = Duration::from_secs(60 * 60);
const PAUSE: Duration = Duration::from_secs(5);

/// Takes it, and waits until it can be restored from.
///
/// # Errors
/// `config` without such an instance, `permission`, `release-command` where it fails, `timeout`: nothing was run, and no
/// service was touched.
pub async fn snapshot(instance: &str, name: &str, context: &ReleaseContext<'_>) -> Result<(), Failure> {
    let step = context.begin(Event::SnapshotRequested { instance: instance.to_owned() });
    let named = || name.to_owned();
    match context.aws.snapshots.create_snapshot(instance, name).await {
        Ok(()) => step.emit(Event::SnapshotStarted { snapshot: named() }),
        Err(e) if e.kind == CallErrorKind::Conflict => step.emit(Event::SnapshotFound { snapshot: named() }),
        Err(e) if e.kind == CallErrorKind::NotFound => {
            let what = format!("snapshot: there is no RDS instance `{instance}` in {}", context.aws.identity.region());
            return Err(Failure::new(Reason::Config, what).with_next("check `snapshot` and `region`"));
        }
        Err(e) if e.kind == CallErrorKind::Invalid => {
            let what = format!("the snapshot of `{instance}` was refused: {e}");
            return Err(Failure::new(Reason::ReleaseCommand, what).with_next("wait until the instance is available"));
        }
        Err(e) => return Err(call_failed(&format!("ordering a snapshot of `{instance}`"), &e)),
    }
    let began = Instant::now();
    loop {
        let found = context.aws.snapshots.snapshot(name).await;
        let state = match found {
            Ok(Some(found)) if found.status == "available" => {
                context.record.borrow_mut().snapshot = Some((instance.to_owned(), name.to_owned()));
                step.emit(Event::SnapshotAvailable {
                    snapshot: named(),
                    instance: instance.to_owned(),
                    took: step.took(),
                });
                return Ok(());
            }
            Ok(Some(found)) if found.status == "failed" => {
                let what = format!("the snapshot `{name}` of `{instance}` failed: no release command was run");
                return Err(Failure::new(Reason::ReleaseCommand, what).with_next("see why in RDS, and deploy again"));
            }
            Ok(Some(found)) => SnapshotState::Listed { status: found.status, percent: found.percent },
            Ok(None) => SnapshotState::NotListed,
            Err(e) if matches!(e.kind, CallErrorKind::Denied | CallErrorKind::Identity) => {
                return Err(call_failed(&format!("watching the snapshot `{name}`"), &e));
            }
            Err(e) => SnapshotState::Unreadable { error: e.to_string() },
        };
        if began.elapsed() >= WAIT {
            let what = format!("the snapshot `{name}` of `{instance}` is still {state} after {} s", WAIT.as_secs());
            let next = "RDS goes on; run this again when it is available: a second attempt takes the same one";
            return Err(Failure::new(Reason::Timeout, what).with_next(next));
        }
        step.waiting(Wait::Snapshot { snapshot: named(), state });
        sleep(PAUSE).await;
    }
}
