//! What a build tells while it runs, from BuildKit's trace.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex};
use prost::Message as _;
use serde_json::Value;

/// How many of the failing step's lines an error carries.
const TAIL: usize = 30;

/// One thing that happened during a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    /// A step changed its state. `step` is its identity within this build.
    Step { step: String, name: String, state: StepState },
    /// A step wrote something; not necessarily whole lines.
    Log { step: String, bytes: Vec<u8> },
    /// A part of a step, e.g. one layer of a base image, at most twice a second. `total` 0 is unknown.
    Progress { step: String, part: String, current: u64, total: u64 },
    /// How much of the context has been sent so far.
    Sent { bytes: u64 },
    /// The builder has an objection, e.g. to the Dockerfile's style.
    Warning { text: String },
}

/// Where a step is. A step may start again after it completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    Started,
    Completed,
    /// Completed without work, from the cache.
    Cached,
    Failed {
        why: String,
    },
}

/// Lets an event through at most every half second for each key.
#[derive(Debug, Default)]
pub(super) struct Throttle(HashMap<String, Instant>);

impl Throttle {
    pub fn admits(&mut self, key: &str, now: Instant) -> bool {
        match self.0.get(key) {
            Some(last) if now.duration_since(*last) < Duration::from_millis(500) => false,
            _ => {
                self.0.insert(key.to_owned(), now);
                true
            }
        }
    }
}

/// Follows the steps of one build and remembers what an error has to show.
#[derive(Debug, Default)]
pub(super) struct Steps {
    known: HashMap<String, Step>,
    throttle: Throttle,
    failed: Option<String>,
}

#[derive(Debug, Default)]
struct Step {
    name: String,
    state: Option<StepState>,
    tail: LogTail,
}

impl Steps {
    /// Decodes the `aux` of a `moby.buildkit.trace` object: base64 of a StatusResponse. An undecodable one tells nothing.
    pub fn trace(&mut self, aux: &Value, now: Instant, sink: &mut (dyn FnMut(BuildEvent) + Send)) {
        let decoded = aux.as_str().and_then(|text| STANDARD.decode(text).ok());
        let Some(status) = decoded.and_then(|bytes| StatusResponse::decode(bytes.as_slice()).ok()) else { return };
        self.status(status, now, sink);
    }

    /// The same as BuildKit's own API gives it.
    pub fn status(&mut self, status: StatusResponse, now: Instant, sink: &mut (dyn FnMut(BuildEvent) + Send)) {
        for vertex in status.vertexes {
            self.vertex(vertex, sink);
        }
        for log in status.logs {
            self.known.entry(log.vertex.clone()).or_default().tail.push(&log.msg);
            sink(BuildEvent::Log { step: log.vertex, bytes: log.msg });
        }
        for part in status.statuses {
            let key = format!("{} {}", part.vertex, part.id);
            if part.completed.is_some() || self.throttle.admits(&key, now) {
                let count = |value: i64| u64::try_from(value).unwrap_or_default();
                let (current, total) = (count(part.current), count(part.total));
                sink(BuildEvent::Progress { step: part.vertex, part: part.id, current, total });
            }
        }
        for warning in status.warnings {
            sink(BuildEvent::Warning { text: String::from_utf8_lossy(&warning.short).into_owned() });
        }
    }

    /// The step that failed first, and its last lines.
    pub fn failure(&self) -> (Option<String>, Vec<String>) {
        match self.failed.as_ref().and_then(|step| self.known.get(step)) {
            Some(step) => (Some(step.name.clone()), step.tail.lines()),
            None => (None, Vec::new()),
        }
    }

    fn vertex(&mut self, vertex: Vertex, sink: &mut (dyn FnMut(BuildEvent) + Send)) {
        let state = if !vertex.error.is_empty() {
            Some(StepState::Failed { why: vertex.error })
        } else if vertex.cached {
            Some(StepState::Cached)
        } else if vertex.completed.is_some() {
            Some(StepState::Completed)
        } else {
            vertex.started.map(|_| StepState::Started)
        };
        let step = self.known.entry(vertex.digest.clone()).or_default();
        step.name = vertex.name;
        let Some(state) = state.filter(|state| step.state.as_ref() != Some(state)) else { return };
        if let StepState::Failed { why } = &state {
            // Steps that were running beside the failing one end as cancelled; they are not the cause.
            let is_consequence = why.contains("context canceled");
            // A build goes on without a cache that cannot be read, or written.
            let is_export = is_cache_export(&step.name);
            if is_export {
                sink(cache_not_written(why));
            }
            let is_cache = is_export || step.name.starts_with("importing cache manifest");
            if !is_consequence && !is_cache && self.failed.is_none() {
                self.failed = Some(vertex.digest.clone());
            }
        }
        let starts_late = step.state.is_none() && !matches!(state, StepState::Started | StepState::Cached);
        if starts_late {
            sink(BuildEvent::Step { step: vertex.digest.clone(), name: step.name.clone(), state: StepState::Started });
        }
        step.state = Some(state.clone());
        sink(BuildEvent::Step { step: vertex.digest, name: step.name.clone(), state });
    }
}

/// The step that leaves the cache elsewhere.
fn is_cache_export(name: &str) -> bool {
    name.starts_with("exporting cache") || name.starts_with("preparing build cache for export")
}

pub(super) fn cache_not_written(why: &str) -> BuildEvent {
    BuildEvent::Warning { text: format!("the cache was not written: {why}") }
}

/// The last lines of a log that arrives in pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct LogTail {
    lines: VecDeque<String>,
    open: Vec<u8>,
}

impl LogTail {
    pub fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.open.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.open.len() > 16 * 1024 {
                let line = std::mem::take(&mut self.open);
                self.keep(&line);
            }
        }
    }

    pub fn lines(&self) -> Vec<String> {
        let mut whole = self.clone();
        if !whole.open.is_empty() {
            let line = std::mem::take(&mut whole.open);
            whole.keep(&line);
        }
        whole.lines.into()
    }

    fn keep(&mut self, line: &[u8]) {
        if self.lines.len() == TAIL {
            self.lines.pop_front();
        }
        self.lines.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_buildkit_proto::google::protobuf::Timestamp;
    use bollard_buildkit_proto::moby::buildkit::v1::{VertexLog, VertexStatus};

    fn vertex(digest: &str) -> Vertex {
        Vertex { digest: digest.to_owned(), name: format!("RUN {digest}"), ..Vertex::default() }
    }

    fn follow(steps: &mut Steps, status: StatusResponse, now: Instant) -> Vec<BuildEvent> {
        let mut seen = Vec::new();
        let aux = Value::String(STANDARD.encode(status.encode_to_vec()));
        steps.trace(&aux, now, &mut |event| seen.push(event));
        seen
    }

    #[test]
    fn a_cache_that_could_not_be_read_is_not_the_step_that_failed() {
        let mut steps = Steps::default();
        let failed = |name: &str| Vertex { name: name.to_owned(), error: "not found".to_owned(), ..vertex(name) };
        let cache = failed("importing cache manifest from registry/app:cache");
        follow(&mut steps, StatusResponse { vertexes: vec![cache], ..Default::default() }, Instant::now());
        assert_eq!(steps.failure().0, None);
        follow(&mut steps, StatusResponse { vertexes: vec![failed("RUN make")], ..Default::default() }, Instant::now());
        assert_eq!(steps.failure().0.as_deref(), Some("RUN make"));
    }

    #[test]
    fn a_step_is_told_once_for_each_state_however_often_the_trace_repeats_it() {
        let mut steps = Steps::default();
        let started = Vertex { started: Some(Timestamp::default()), ..vertex("a") };
        let status = StatusResponse { vertexes: vec![vertex("a"), started.clone(), started], ..Default::default() };
        let seen = follow(&mut steps, status, Instant::now());
        assert_eq!(
            seen,
            [BuildEvent::Step { step: "a".to_owned(), name: "RUN a".to_owned(), state: StepState::Started }]
        );
    }

    #[test]
    fn the_failure_is_the_step_that_failed_not_those_cancelled_by_it() {
        let mut steps = Steps::default();
        let log = |vertex: &str, text: &str| VertexLog {
            vertex: vertex.to_owned(),
            msg: text.as_bytes().to_vec(),
            ..VertexLog::default()
        };
        let status = StatusResponse {
            vertexes: vec![
                Vertex { error: "context canceled".to_owned(), ..vertex("other") },
                Vertex { error: "exit code: 2".to_owned(), ..vertex("culprit") },
            ],
            logs: vec![log("culprit", "compi"), log("other", "fine\n"), log("culprit", "ling\r\nerror: no\n")],
            ..StatusResponse::default()
        };
        follow(&mut steps, status, Instant::now());
        let expected = vec!["compiling".to_owned(), "error: no".to_owned()];
        assert_eq!(steps.failure(), (Some("RUN culprit".to_owned()), expected));
    }

    #[test]
    fn progress_is_throttled_for_each_part_but_its_end_is_always_told() {
        let mut steps = Steps::default();
        let at = |current, completed| VertexStatus {
            vertex: "v".to_owned(),
            id: "layer".to_owned(),
            current,
            total: 9,
            completed,
            ..VertexStatus::default()
        };
        let begin = Instant::now();
        let told = |steps: &mut Steps, current, completed, after| {
            let status = StatusResponse { statuses: vec![at(current, completed)], ..Default::default() };
            follow(steps, status, begin + Duration::from_millis(after)).len()
        };
        assert_eq!(told(&mut steps, 1, None, 0), 1);
        assert_eq!(told(&mut steps, 2, None, 100), 0);
        assert_eq!(told(&mut steps, 3, None, 600), 1);
        assert_eq!(told(&mut steps, 9, Some(Timestamp::default()), 650), 1);
    }

    mod fuzzed {
        use super::*;
        use std::cell::RefCell;
        use test_support::fuzz;
        use test_support::proptest::prelude::*;
        use test_support::proptest::sample::Index;

        #[test]
        fn a_trace_of_any_bytes_tells_something_or_nothing_and_stops_no_build() {
            let whole = StatusResponse {
                vertexes: vec![Vertex { error: "exit code: 1".to_owned(), ..vertex("a") }],
                logs: vec![VertexLog { vertex: "a".to_owned(), msg: b"x\n".to_vec(), ..VertexLog::default() }],
                ..StatusResponse::default()
            };
            let whole = whole.encode_to_vec();
            let steps = RefCell::new(Steps::default());
            let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
            fuzz(3000, (0..=whole.len(), changes), |(length, changes)| {
                let mut bytes = whole[..length].to_vec();
                for (at, byte) in changes.iter().filter(|_| length > 0) {
                    bytes[at.index(length)] = *byte;
                }
                let mut steps = steps.borrow_mut();
                steps.trace(&Value::String(STANDARD.encode(&bytes)), Instant::now(), &mut |_| {});
                steps.trace(&Value::String(String::from_utf8_lossy(&bytes).into_owned()), Instant::now(), &mut |_| {});
                steps.failure();
            });
        }
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut tail = LogTail::default();
        for line in 0..100 {
            tail.push(format!("{line}\n").as_bytes());
        }
        tail.push(b"open");
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].as_str(), lines[TAIL - 1].as_str()), (TAIL, "71", "open"));
    }
}
