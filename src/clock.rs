//! Our clock: compared with AWS's only where a difference of minutes means nothing.

use std::time::{SystemTime, UNIX_EPOCH};

/// Our clock, in seconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "compared with the times in AWS's answers, with a margin")]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
