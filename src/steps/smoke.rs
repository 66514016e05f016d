//! Does it answer? Asked after ECS says that the release serves.

use crate::config::SmokeCheck;
use crate::events::{Event, Wait};
use crate::release_context::ReleaseContext;
use fargate_deploy_core::smoke::{SmokeFailure, WrongAnswer};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Tries until the check passes or its time is over.
///
/// # Errors
/// The last answer.
pub async fn smoke(check: &SmokeCheck, context: &ReleaseContext<'_>) -> Result<(), SmokeFailure> {
    let url = || check.url.to_string();
    let step = context.begin(Event::SmokeStarted { url: url() });
    let began = Instant::now();
    loop {
        let left = check.within.saturating_sub(began.elapsed());
        let attempt =
            context.web.get(check.url.value(), left.clamp(Duration::from_secs(1), Duration::from_secs(10))).await;
        let wrong = match attempt {
            Ok((status, _)) if status != check.status => WrongAnswer::Status { status, expected: check.status },
            Ok((_, body)) => match &check.contains {
                Some(text) if !body.contains(text.value()) => WrongAnswer::Body { lacks: text.to_string() },
                _ => {
                    step.emit(Event::SmokePassed { url: url(), status: check.status, took: step.took() });
                    return Ok(());
                }
            },
            Err(error) => WrongAnswer::None { error },
        };
        if began.elapsed() >= check.within {
            let failure = SmokeFailure { url: url(), within: check.within.as_secs(), last: wrong };
            step.emit(Event::SmokeFailed(failure.clone()));
            return Err(failure);
        }
        step.waiting(Wait::Smoke { url: url(), last: wrong });
        sleep(Duration::from_secs(1)).await;
    }
}
