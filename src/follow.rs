//! What a one-off task's container says, while it runs and after.

use crate::ports::{Aws, Call, CallErrorKind, LogStream};
use crate::retry;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between two looks at the log of a task that has stopped.
const DRAIN_PAUSE: Duration = Duration::from_millis(500);
/// A log that goes on for longer after the end than this many looks is read no further.
const MOST_LOOKS: usize = 40;

/// The container's own lines, in order, each once.
pub struct Follow<'a> {
    stream: Option<&'a LogStream>,
    next: Option<String>,
    told: usize,
}

impl<'a> Follow<'a> {
    pub fn new(stream: Option<&'a LogStream>) -> Self {
        Self { stream, next: None, told: 0 }
    }

    /// It had something to say.
    pub fn has_told(&self) -> bool {
        self.told > 0
    }

    /// Reads what is new; how many lines that were. Dropped while it waits for an answer, it has told what it read.
    pub async fn follow(&mut self, aws: Aws<'_>, tell: &dyn Fn(String)) -> Call<usize> {
        let Some(stream) = self.stream else { return Ok(0) };
        let mut lines = 0;
        loop {
            let page = match aws.logs.log_events(stream, self.next.as_deref()).await {
                // Until the first line is there.
                Err(e) if e.kind == CallErrorKind::NotFound => return Ok(lines),
                page => page?,
            };
            lines += page.events.len();
            self.told += page.events.len();
            for event in page.events {
                tell(event.message);
            }
            // The end is reached when the token does not change.
            let is_end = page.next.is_none() || page.next == self.next;
            self.next = page.next.or(self.next.take());
            if is_end {
                return Ok(lines);
            }
        }
    }

    /// Reads on and on, `pause` apart; `has_told` is called as often as it is read once there was a line. What cannot be read now
    /// may be read later: the exit code is the truth.
    pub async fn go_on<T>(&mut self, pause: Duration, aws: Aws<'_>, tell: &dyn Fn(String), has_told: impl Fn()) -> T {
        loop {
            let _ = retry::each_within(retry::POLL, self.follow(aws, tell)).await;
            if self.has_told() {
                has_told();
            }
            sleep(pause).await;
        }
    }

    /// Lines arrive after the exit: reads until it stays quiet for so many looks, half a second apart. What cannot be read
    /// keeps nobody waiting longer than that.
    ///
    /// # Errors
    /// Why the rest could not be read.
    pub async fn drain(&mut self, looks: u32, aws: Aws<'_>, tell: &dyn Fn(String)) -> Result<(), String> {
        if self.stream.is_none() {
            return Ok(());
        }
        let limit = looks * DRAIN_PAUSE;
        let mut quiet = 0;
        for _ in 0..MOST_LOOKS {
            let read = timeout(limit, retry::all_within(limit, self.follow(aws, tell))).await;
            match read {
                Ok(Ok(0)) => quiet += 1,
                Ok(Ok(_)) => quiet = 0,
                Ok(Err(e)) => return Err(e.to_string()),
                Err(_) => return Err(format!("no answer within {} s", limit.as_secs())),
            }
            if quiet >= looks {
                return Ok(());
            }
            sleep(DRAIN_PAUSE).await;
        }
        Ok(())
    }
}
