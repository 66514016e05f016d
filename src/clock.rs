//! Our clocks: one that is compared with AWS's only where a difference of minutes means nothing, and one that measures how
//! long ago something was, whatever became of the machine meanwhile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since some moment in the past that stays the same.
pub type Elapsed = fn() -> Duration;

/// Goes on while the process is stopped and while the machine is suspended, which `Instant` on Linux does not.
/// <https://man7.org/linux/man-pages/man2/clock_gettime.2.html>
pub fn since_boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    // On macOS the monotonic clock goes on during sleep.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Our clock, in seconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "compared with the times in AWS's answers, with a margin")]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
