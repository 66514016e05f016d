//! Does it answer? Asked after ECS says that the release serves.

use crate::config::SmokeCheck;
use crate::events::Step;
use crate::release_context::ReleaseContext;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Tries until the check passes or its time is over.
///
/// # Errors
/// The last answer, as a sentence.
pub async fn smoke(check: &SmokeCheck, context: &ReleaseContext<'_>) -> Result<(), String> {
    let step = context.start(Step::Smoke, check.url.to_string());
    let began = Instant::now();
    loop {
        let left = check.within.saturating_sub(began.elapsed());
        let attempt =
            context.web.get(check.url.value(), left.clamp(Duration::from_secs(1), Duration::from_secs(10))).await;
        let wrong = match attempt {
            Ok((status, _)) if status != check.status => format!("answered {status}, expected {}", check.status),
            Ok((_, body)) => match &check.contains {
                Some(text) if !body.contains(text.value()) => format!("the body does not contain `{text}`"),
                _ => {
                    step.done(format!("{} answered {}", check.url, check.status));
                    return Ok(());
                }
            },
            Err(why) => why,
        };
        if began.elapsed() >= check.within {
            let why = format!("{} did not pass within {} s: {wrong}", check.url, check.within.as_secs());
            step.failed(why.clone());
            return Err(why);
        }
        step.heartbeat(wrong);
        sleep(Duration::from_secs(1)).await;
    }
}
