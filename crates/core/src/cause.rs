//! Why it failed, in words: from what is seen to a cause, the evidence that proves it, and what to do.
//!
//! Causes are rows of a table ([`codes`] lists them). A row holds where what proves it is there; where the same facts fit
//! more than one cause, the row says what is known and names the two most likely ones, as such. A single word never
//! proves anything: it may stand in a line that the program itself calls harmless, or belong to something that worked at
//! the next try.

mod health;
mod listening;
mod log;
mod pattern;
mod row;
mod seen;
mod signs;
mod table;
#[cfg(test)]
mod tests;
mod values;

pub use row::Row;
pub use seen::{Looks, Seen, SeenContainer, SeenLine, SeenNetwork, SeenSubnet, SeenTarget, TargetCheck, WayOut};

use crate::task::Task;
use pattern::filled;
use row::{Case, Held, Proof};
use serde::Serialize;
use table::PARTS;

/// What was found out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cause {
    /// Stable, with a section in the docs: `image-tag-missing`.
    pub code: &'static str,
    /// One sentence, lowercase, without a full stop.
    pub sentence: String,
    /// What proves it, as AWS and the containers said it.
    pub evidence: Vec<String>,
    /// Where what is known fits more than one cause: the most likely ones. Else it is certain, and this is empty.
    pub likely: Vec<String>,
    /// What to do.
    pub next: String,
}

impl Cause {
    pub fn is_certain(&self) -> bool {
        self.likely.is_empty()
    }

    /// The alternatives, said to be so.
    pub fn alternatives(&self) -> Option<String> {
        (!self.is_certain()).then(|| format!("most likely {}", self.likely.join("; or ")))
    }

    /// As it may leave the run.
    #[must_use]
    pub fn redacted(self, redacted: impl Fn(&str) -> String) -> Self {
        let all = |texts: Vec<String>| texts.iter().map(|text| redacted(text)).collect();
        Self {
            sentence: redacted(&self.sentence),
            evidence: all(self.evidence),
            likely: all(self.likely),
            next: redacted(&self.next),
            ..self
        }
    }
}

/// Every cause that there is, in the order of the table.
pub fn codes() -> impl Iterator<Item = &'static Row> {
    table::all()
}

/// The cause of a failure, or what is known of it. `None`: nothing that is seen says anything.
///
/// What the task itself tells comes before events of its service, which tell effects too.
pub fn find(seen: &Seen) -> Option<Cause> {
    let held = |with_events| {
        let case = Case::of(seen, with_events);
        PARTS.iter().filter(|part| with_events || !part.is_last).find_map(|part| case.held(part))
    };
    held(false).or_else(|| held(true)).map(|held| told(held, seen))
}

fn told(held: Held, seen: &Seen) -> Cause {
    let Held { row, mut values, proof } = held;
    values.extend(values::of_case(seen));
    let image = values.get("image").map(str::to_owned);
    values.set("reference", image.unwrap_or_default());
    let container = values.get("container").map(str::to_owned);
    let mut evidence: Vec<String> = proof
        .into_iter()
        .map(|proof| match (proof, &container) {
            (Proof::Said(text), _) => text,
            (Proof::Line(line), Some(container)) => {
                format!("container `{container}` said: {}", values::shortened(&line))
            }
            (Proof::Line(line), None) => format!("its log says: {}", values::shortened(&line)),
            (Proof::Target(text), _) => format!("the load balancer says of a task: {text}"),
        })
        .collect();
    if let (Some(heard), Some(container)) = (values.get("heard"), &container) {
        evidence.push(format!("container `{container}` said: {}", values::shortened(heard)));
    }
    evidence.dedup();
    Cause {
        code: row.code,
        sentence: filled(row.cause, &values),
        evidence,
        likely: row.likely.iter().map(|likely| filled(likely, &values)).collect(),
        next: filled(row.next, &values),
    }
}

/// The stopped task that a failure of a deployment is explained by: the newest of those that ended in the most frequent
/// way. What the scheduler scaled in, what Spot took and what a person stopped is so only where there is nothing else.
pub fn most_telling(tasks: &[Task]) -> Option<&Task> {
    let rank = |task: &Task| match task.stop_code.as_deref() {
        Some("ServiceSchedulerInitiated")
            if task.stopped_reason.as_deref().is_some_and(|reason| reason.starts_with("Scaling activity")) =>
        {
            3
        }
        Some("UserInitiated") => 2,
        Some("SpotInterruption" | "TerminationNotice" | "InfrastructureHealth") => 1,
        _ => 0,
    };
    let ending = |task: &Task| {
        let exits: Vec<_> = task.containers.iter().map(|c| (c.name.clone(), c.exit_code)).collect();
        (task.stop_code.clone(), exits)
    };
    let best = tasks.iter().map(rank).min()?;
    let of_best: Vec<&Task> = tasks.iter().filter(|task| rank(task) == best).collect();
    let count = |task: &Task| of_best.iter().filter(|other| ending(other) == ending(task)).count();
    let at = |task: &Task| task.stopped_at.unwrap_or(f64::MAX);
    of_best.iter().copied().max_by(|a, b| count(a).cmp(&count(b)).then(at(a).total_cmp(&at(b))))
}
