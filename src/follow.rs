//! What a one-off task's container says, while it runs and after.

use crate::ports::{Aws, Call, CallError, CallErrorKind, LogStream};
use crate::retry;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Between two looks at the log of a task that has stopped.
const DRAIN_PAUSE: Duration = Duration::from_millis(500);

/// How long is waited for what a log still holds when its task has stopped. As long as lines come it is read.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// It has had nothing new for so long: that was all.
    pub quiet: Duration,
    /// The same of a log that is not there yet.
    pub absent: Duration,
    /// Reads that fail are repeated for so long since one went well.
    pub unread: Duration,
}

/// The container's own lines, in order, each once.
pub struct Follow<'a> {
    stream: Option<&'a LogStream>,
    next: Option<String>,
    told: usize,
    is_there: bool,
}

/// How many lines a page had, and whether there is none behind it.
struct Page {
    lines: usize,
    is_last: bool,
}

impl<'a> Follow<'a> {
    pub fn new(stream: Option<&'a LogStream>) -> Self {
        Self { stream, next: None, told: 0, is_there: false }
    }

    /// It had something to say.
    pub fn has_told(&self) -> bool {
        self.told > 0
    }

    /// It was read; a container that runs has one, with or without a line.
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// Reads what is new. Dropped while it waits for an answer, it has told what it read.
    async fn follow(&mut self, aws: Aws<'_>, tell: &dyn Fn(String)) -> Call<()> {
        while !self.page(aws, tell).await?.is_last {}
        Ok(())
    }

    async fn page(&mut self, aws: Aws<'_>, tell: &dyn Fn(String)) -> Call<Page> {
        let Some(stream) = self.stream else { return Ok(Page { lines: 0, is_last: true }) };
        let page = match aws.logs.log_events(stream, self.next.as_deref()).await {
            // Until the first line is there.
            Err(e) if e.kind == CallErrorKind::NotFound => return Ok(Page { lines: 0, is_last: true }),
            page => page?,
        };
        let lines = page.events.len();
        (self.is_there, self.told) = (true, self.told + lines);
        for event in page.events {
            tell(event.message);
        }
        // The end is reached when the token does not change.
        let is_last = page.next.is_none() || page.next == self.next;
        self.next = page.next.or(self.next.take());
        Ok(Page { lines, is_last })
    }

    /// Reads on and on, `pause` apart; `has_told` is called as often as it is read once there was a line, and `not_read` as often
    /// as it could not be. What cannot be read now may be read later.
    pub async fn go_on<T>(
        &mut self,
        pause: Duration,
        aws: Aws<'_>,
        tell: &dyn Fn(String),
        has_told: impl Fn(),
        not_read: impl Fn(&CallError),
    ) -> T {
        loop {
            if let Err(error) = retry::each_within(retry::POLL, self.follow(aws, tell)).await {
                not_read(&error);
            }
            if self.has_told() {
                has_told();
            }
            sleep(pause).await;
        }
    }

    /// Lines arrive after the exit, and of a busy task many are still to be read: reads on until nothing new comes.
    ///
    /// # Errors
    /// Why the rest could not be read.
    pub async fn drain(&mut self, patience: Patience, aws: Aws<'_>, tell: &dyn Fn(String)) -> Call<()> {
        if self.stream.is_none() {
            return Ok(());
        }
        let (mut read, mut news) = (Instant::now(), Instant::now());
        loop {
            let left = patience.unread.saturating_sub(read.elapsed()).min(retry::POLL);
            let lost = || CallError::lost("logs:GetLogEvents", format!("no answer within {} s", left.as_secs()));
            let reading = timeout(left, retry::all_within(left, self.page(aws, tell)));
            match reading.await.unwrap_or_else(|_| Err(lost())) {
                Ok(page) => {
                    read = Instant::now();
                    if page.lines > 0 {
                        news = read;
                    }
                    if !page.is_last {
                        continue;
                    }
                    if news.elapsed() >= if self.is_there { patience.quiet } else { patience.absent } {
                        return Ok(());
                    }
                }
                Err(e) if e.may_pass() && read.elapsed() + DRAIN_PAUSE < patience.unread => {}
                Err(e) => return Err(e),
            }
            sleep(DRAIN_PAUSE).await;
        }
    }
}
