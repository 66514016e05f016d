//! Orders to ECS under a lease: each attempt goes out only while nobody else can hold the lease.

use super::Lease;
use crate::fence::Fence;
use crate::ports::{Call, CallError, CallErrorKind};
use crate::release_context::ReleaseContext;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::outcome::Failure;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Before the lease of an order that was held up is confirmed again.
const PAUSE: Duration = Duration::from_secs(2);

/// Tells a service something (to run the revision `to`, where that is all of it), only while this run is known to hold its lease, and waits for the answer no longer than until
/// somebody else could take over. The intent is noted first: whoever takes over meanwhile waits until it must have arrived.
///
/// # Errors
/// `locked`: another run took over, and nothing further was sent. The inner one: the call's own; `Unreachable` where the
/// lease ran out before an answer came.
pub async fn order<T>(
    lease: Option<&Lease>,
    to: Option<&TaskDefinitionArn>,
    context: &ReleaseContext<'_>,
    send: impl AsyncFn() -> Call<T>,
) -> Result<Call<T>, Failure> {
    if let Some(lease) = lease {
        lease.note_order(to, context.aws).await?;
    }
    let answer = start_task(lease, context, send).await;
    // Without an answer it may arrive yet.
    let is_open = matches!(&answer, Ok(Err(e)) if e.kind == CallErrorKind::Unreachable && !e.is_answered());
    if let Some(lease) = lease.filter(|_| !is_open) {
        lease.order_has_arrived();
    }
    answer
}

/// The same for RunTask, whose intent is the note of its task.
///
/// # Errors
/// As of [`order`].
pub async fn start_task<T>(
    lease: Option<&Lease>,
    context: &ReleaseContext<'_>,
    send: impl AsyncFn() -> Call<T>,
) -> Result<Call<T>, Failure> {
    let Some(lease) = lease else { return Ok(send().await) };
    loop {
        let fence = lease.check(context.aws).await?;
        match within(lease, &fence, &send).await {
            Try::Answered(answer) => return Ok(answer),
            Try::HeldUp => sleep(PAUSE).await,
        }
    }
}

enum Try<T> {
    Answered(Call<T>),
    /// Nothing was sent: the lease has to be confirmed again.
    HeldUp,
}

async fn within<T>(lease: &Lease, fence: &Fence, send: &impl AsyncFn() -> Call<T>) -> Try<T> {
    lease.sends_within(fence);
    let answer = timeout(fence.remaining(), fence.around(send())).await;
    match answer {
        Ok(Ok(answer)) => Try::Answered(Ok(answer)),
        Ok(Err(error)) if !fence.has_refused() => Try::Answered(Err(error)),
        _ if fence.has_let_out() => {
            Try::Answered(Err(CallError::lost("the order to ECS", "no answer as long as the lease was sure")))
        }
        _ => Try::HeldUp,
    }
}
