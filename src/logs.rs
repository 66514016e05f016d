//! The logs of a service's tasks as one: what they have said, and what they go on to say.
//!
//! What is followed is read again and again from a little before its end, since CloudWatch takes lines late and out of order;
//! each event has an id there, and is told once. Every so often more of the end is read again, for what came later still.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html>

use crate::ports::{Aws, Call, CallErrorKind, FoundEvent, LogEvent, LogQuery, LogStream};
use fargate_deploy_core::log_lines::{Told, merged};
use fargate_deploy_core::names::{ContainerName, ServiceKey, TaskArn};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use tokio::time::{Duration, Instant};

/// FilterLogEvents takes this many streams by their names.
const STREAMS: usize = 100;
/// How many events of a group are remembered, and so read again at most.
const REMEMBERED: usize = 200_000;
/// What is read again each time: so many events of the end, or what is so young, in milliseconds.
const AGAIN: (usize, i64) = (1_000, 60_000);
/// The same, every so often.
const FURTHER_BACK: (usize, i64) = (100_000, 60_000);
const FURTHER_BACK_EVERY: Duration = Duration::from_secs(10);
/// How long a new stream is read by itself: its first lines can come late, behind what the others have said meanwhile.
const ALONE: Duration = Duration::from_secs(8);
/// A stream that still is not there so long after its task stopped never will be, and nothing more comes into one that is.
const AFTER_THE_END: f64 = 60.0;

/// The log of one container of one task.
#[derive(Clone, Debug)]
pub struct Source {
    pub service: ServiceKey,
    pub task: TaskArn,
    pub container: ContainerName,
    pub stream: LogStream,
    /// Seconds since the epoch.
    pub stopped_at: Option<f64>,
}

/// One line, or several where the container's log driver puts them together.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    pub source: Rc<Source>,
    pub message: String,
}

/// The time that is asked for, in milliseconds since the epoch: `from` is in it, `until` is not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Period {
    pub from: Option<i64>,
    pub until: Option<i64>,
}

/// The newest lines of all sources before `until`, oldest first.
///
/// # Errors
/// A stream cannot be read. One that does not exist has no lines.
pub async fn newest(sources: &[Rc<Source>], lines: usize, until: Option<i64>, aws: Aws<'_>) -> Call<Vec<LogLine>> {
    let mut lists = vec![];
    for source in sources {
        match aws.logs.log_tail(&source.stream, lines, until).await {
            Ok(events) => {
                let line =
                    |e: LogEvent| LogLine { timestamp: e.timestamp, source: Rc::clone(source), message: e.message };
                lists.push(events.into_iter().map(line).collect());
            }
            Err(e) if e.kind == CallErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    let mut all = merged(lists, |line: &LogLine| line.timestamp);
    Ok(all.split_off(all.len().saturating_sub(lines)))
}

/// Streams that are asked for together.
struct Group {
    group: String,
    region: Option<String>,
    known: BTreeMap<String, Followed>,
    told: Told,
    /// What is asked for as long as nothing was told.
    from: i64,
    read_further_back: Instant,
}

struct Followed {
    source: Rc<Source>,
    /// Not with the others yet: FilterLogEvents refuses a list with a stream that does not exist.
    alone: Option<Alone>,
}

/// A stream that is read by itself.
#[derive(Clone, Copy)]
struct Alone {
    from: i64,
    /// It joins the others then; `None`: it was not there yet.
    until: Option<Instant>,
}

/// Follows sources that come and go.
pub struct Follower {
    groups: Vec<Group>,
    pattern: Option<String>,
}

impl Follower {
    /// `pattern`: only what CloudWatch finds it in.
    pub fn new(pattern: Option<String>) -> Self {
        Self { groups: vec![], pattern }
    }

    /// Follows a source, from that time on; one that is followed already is only known to have stopped, where it has.
    pub fn add(&mut self, source: &Rc<Source>, from: i64) {
        let LogStream { group, stream, region } = &source.stream;
        let at = match self.groups.iter().position(|known| known.group == *group && known.region == *region) {
            Some(at) => at,
            None => {
                let (group, region) = (group.clone(), region.clone());
                let (known, told) = (BTreeMap::new(), Told::new(REMEMBERED));
                self.groups.push(Group { group, region, known, told, from, read_further_back: Instant::now() });
                self.groups.len() - 1
            }
        };
        let known = &mut self.groups[at].known;
        match known.get_mut(stream) {
            Some(followed) => followed.source = Rc::clone(source),
            None => {
                let alone = Some(Alone { from, until: None });
                known.insert(stream.clone(), Followed { source: Rc::clone(source), alone });
            }
        }
    }

    /// Tells everything that was not told before, a page at a time, each page sorted by time. False where `tell` has enough.
    ///
    /// # Errors
    /// A group cannot be read.
    pub async fn read(&mut self, aws: Aws<'_>, now: f64, tell: &mut dyn FnMut(Vec<LogLine>) -> bool) -> Call<bool> {
        let pattern = self.pattern.clone();
        for group in &mut self.groups {
            group.known.retain(|_, followed| followed.source.stopped_at.is_none_or(|at| now - at < AFTER_THE_END));
            if !group.read(pattern.as_deref(), aws, tell).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Group {
    async fn read(
        &mut self,
        pattern: Option<&str>,
        aws: Aws<'_>,
        tell: &mut dyn FnMut(Vec<LogLine>) -> bool,
    ) -> Call<bool> {
        let is_further_back = self.read_further_back.elapsed() >= FURTHER_BACK_EVERY;
        let (events, most_back) = if is_further_back { FURTHER_BACK } else { AGAIN };
        if is_further_back {
            self.read_further_back = Instant::now();
        }
        let from = self.told.window(events, most_back).unwrap_or(self.from);
        let together: Vec<String> =
            self.known.iter().filter(|(_, known)| known.alone.is_none()).map(|(name, _)| name.clone()).collect();
        for names in together.chunks(STREAMS) {
            match self.pages(names, from, pattern, aws, tell).await {
                Ok(true) => {}
                // Somebody has deleted one of them: each is looked for by itself.
                Err(e) if e.kind == CallErrorKind::NotFound => {
                    for name in names {
                        if let Some(followed) = self.known.get_mut(name) {
                            followed.alone = Some(Alone { from, until: None });
                        }
                    }
                }
                ended => return ended,
            }
        }
        let alone: Vec<(String, Alone)> =
            self.known.iter().filter_map(|(name, known)| Some((name.clone(), known.alone?))).collect();
        for (name, Alone { from, until }) in alone {
            // What it has said is known, as far back as anything is.
            let again = self.told.window(FURTHER_BACK.0, FURTHER_BACK.1).unwrap_or(from);
            let from = if until.is_some() { from.max(again) } else { from };
            match self.pages(std::slice::from_ref(&name), from, pattern, aws, tell).await {
                Ok(true) => {
                    let until = until.unwrap_or_else(|| Instant::now() + ALONE);
                    let is_over = Instant::now() >= until;
                    if let Some(followed) = self.known.get_mut(&name) {
                        followed.alone = (!is_over).then_some(Alone { from, until: Some(until) });
                    }
                }
                Err(e) if e.kind == CallErrorKind::NotFound => {}
                ended => return ended,
            }
        }
        Ok(true)
    }

    /// Every page of these streams from that time on.
    async fn pages(
        &mut self,
        names: &[String],
        from: i64,
        pattern: Option<&str>,
        aws: Aws<'_>,
        tell: &mut dyn FnMut(Vec<LogLine>) -> bool,
    ) -> Call<bool> {
        let query = LogQuery {
            group: self.group.clone(),
            region: self.region.clone(),
            streams: names.to_vec(),
            from: Some(from),
            until: None,
            pattern: pattern.map(str::to_owned),
        };
        let mut next = None;
        loop {
            let page = aws.logs.find_log_events(&query, next.as_deref()).await?;
            let mut lines = vec![];
            for FoundEvent { id, stream, timestamp, message } in page.events {
                if self.told.is_new(timestamp, &stream, &id)
                    && let Some(followed) = self.known.get(&stream)
                {
                    lines.push(LogLine { timestamp, source: Rc::clone(&followed.source), message });
                }
            }
            if !lines.is_empty() && !tell(merged(vec![lines], |line| line.timestamp)) {
                return Ok(false);
            }
            match page.next {
                Some(token) if next.as_ref() != Some(&token) => next = Some(token),
                _ => return Ok(true),
            }
        }
    }
}

/// Everything of a period, sorted by time over all sources, whatever it takes: a page of each group is held at a time.
///
/// # Errors
/// A group cannot be read.
pub async fn all_of(
    sources: &[Rc<Source>],
    period: Period,
    pattern: Option<&str>,
    aws: Aws<'_>,
    tell: &mut dyn FnMut(LogLine) -> bool,
) -> Call<()> {
    let mut readers: Vec<Reader> = vec![];
    let mut by_group: BTreeMap<(String, Option<String>), Vec<Rc<Source>>> = BTreeMap::new();
    for source in sources {
        // FilterLogEvents refuses a list with a stream that does not exist.
        if exists(source, aws).await? {
            let group = (source.stream.group.clone(), source.stream.region.clone());
            by_group.entry(group).or_default().push(Rc::clone(source));
        }
    }
    for ((group, region), sources) in by_group {
        for sources in sources.chunks(STREAMS) {
            let query = LogQuery {
                group: group.clone(),
                region: region.clone(),
                streams: sources.iter().map(|source| source.stream.stream.clone()).collect(),
                from: period.from,
                until: period.until,
                pattern: pattern.map(str::to_owned),
            };
            let sources = sources.iter().map(|source| (source.stream.stream.clone(), Rc::clone(source))).collect();
            readers.push(Reader { query, sources, page: VecDeque::new(), next: None, is_over: false });
        }
    }
    loop {
        for reader in &mut readers {
            reader.fill(aws).await?;
        }
        let first = readers.iter_mut().filter(|reader| !reader.page.is_empty());
        let Some(reader) = first.min_by_key(|reader| reader.page.front().map(|event| event.timestamp)) else {
            return Ok(());
        };
        let Some(event) = reader.page.pop_front() else { return Ok(()) };
        let Some(source) = reader.sources.get(&event.stream) else { continue };
        if !tell(LogLine { timestamp: event.timestamp, source: Rc::clone(source), message: event.message }) {
            return Ok(());
        }
    }
}

async fn exists(source: &Source, aws: Aws<'_>) -> Call<bool> {
    match aws.logs.log_tail(&source.stream, 1, None).await {
        Ok(_) => Ok(true),
        Err(e) if e.kind == CallErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Pages of one query.
struct Reader {
    query: LogQuery,
    sources: BTreeMap<String, Rc<Source>>,
    page: VecDeque<FoundEvent>,
    next: Option<String>,
    is_over: bool,
}

impl Reader {
    /// A page can be empty although there is more behind it.
    async fn fill(&mut self, aws: Aws<'_>) -> Call<()> {
        while self.page.is_empty() && !self.is_over {
            let page = aws.logs.find_log_events(&self.query, self.next.as_deref()).await?;
            self.page.extend(page.events);
            self.is_over = page.next.is_none() || page.next == self.next;
            self.next = page.next;
        }
        Ok(())
    }
}
