//! Expected bad endings: values with an exit code, a word and a promise about the state.

use crate::cause::Cause;
use serde::Serialize;
use std::path::PathBuf;

/// Why a run did not succeed: one word for the exit code, the outputs, the JSON and the comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    Internal,
    Config,
    /// The deploy is not what was reviewed.
    PlanStale,
    Identity,
    Permission,
    Build,
    Push,
    ReleaseCommand,
    RolledBack,
    Unsteady,
    Locked,
    Superseded,
    Timeout,
    /// AWS, the Docker Engine or GitHub could not do its part within the step's deadline: safe to run again.
    Unavailable,
    /// The services serve the new release; a release command with `when: after` failed.
    AfterCommand,
    /// The task of `run` did not start, or AWS or a person ended it: the command has no exit code of its own.
    Task,
    Cancelled,
}

impl Reason {
    pub const ALL: [Reason; 17] = [
        Reason::Internal,
        Reason::Config,
        Reason::PlanStale,
        Reason::Identity,
        Reason::Permission,
        Reason::Build,
        Reason::Push,
        Reason::ReleaseCommand,
        Reason::RolledBack,
        Reason::Unsteady,
        Reason::Locked,
        Reason::Superseded,
        Reason::Timeout,
        Reason::Unavailable,
        Reason::AfterCommand,
        Reason::Task,
        Reason::Cancelled,
    ];

    pub fn exit_code(self) -> u8 {
        match self {
            Reason::Internal => 1,
            Reason::Config | Reason::PlanStale => 2,
            Reason::Identity | Reason::Permission => 3,
            Reason::Build | Reason::Push => 4,
            Reason::ReleaseCommand => 5,
            Reason::RolledBack => 6,
            Reason::Unsteady => 7,
            Reason::Locked | Reason::Superseded => 8,
            Reason::Timeout => 9,
            Reason::Unavailable => 10,
            Reason::AfterCommand => 11,
            Reason::Task => 125,
            Reason::Cancelled => 130,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Reason::Internal => "internal",
            Reason::Config => "config",
            Reason::PlanStale => "plan-stale",
            Reason::Identity => "identity",
            Reason::Permission => "permission",
            Reason::Build => "build",
            Reason::Push => "push",
            Reason::ReleaseCommand => "release-command",
            Reason::RolledBack => "rolled-back",
            Reason::Unsteady => "unsteady",
            Reason::Locked => "locked",
            Reason::Superseded => "superseded",
            Reason::Timeout => "timeout",
            Reason::Unavailable => "unavailable",
            Reason::AfterCommand => "after-command",
            Reason::Task => "task",
            Reason::Cancelled => "cancelled",
        }
    }

    /// What an exit code promises about the state of production: the table of the README.
    pub fn promise(self) -> &'static str {
        match self {
            Reason::Internal => "a bug: says what was and was not changed",
            Reason::Config => "nothing was touched; the message has file, line and column",
            Reason::PlanStale => "nothing was touched: the deploy would do something else than the reviewed plan",
            Reason::Identity | Reason::Permission => "nothing was touched; names the missing trust condition or action",
            Reason::Build | Reason::Push => {
                "no service was touched; a release command that did not need the missing image may have run, and is named"
            }
            Reason::ReleaseCommand => {
                "services untouched; says if the command started, its exit code, its last lines. Also when something else failed after a command had run"
            }
            Reason::RolledBack => "the previous release serves again, confirmed",
            Reason::Unsteady => "the new release failed and the old one could not be confirmed: a person is needed",
            Reason::Locked | Reason::Superseded => {
                "somebody else's deploy owns the service; ours changed nothing further"
            }
            Reason::Timeout => "we stopped waiting; AWS goes on; how to look again",
            Reason::Unavailable => {
                "AWS, the Docker Engine or GitHub could not do its part in time (5xx, throttling, no answer): says what was \
                 and was not changed; safe to run again"
            }
            Reason::AfterCommand => {
                "the services serve the new release; a release command with `when: after` failed: says which, and how to run \
                 it again alone"
            }
            Reason::Task => {
                "of `run`: its task did not start, or AWS or a person ended it. `run` ends with 125 for every other reason of this \
                 table too, with 126 or 127 for a command that could not be run, and else with the command's own exit code"
            }
            Reason::Cancelled => "interrupted: what was left running, and how to resume",
        }
    }
}

/// A bad ending, told completely: what happened, the evidence, the state now, and the next step.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub reason: Reason,
    /// `{what}: {why}`, one sentence.
    pub what: String,
    /// Stop codes, reasons, exit codes, health-check results.
    pub evidence: Vec<String>,
    /// The failed container's last lines; never trusted.
    pub log: Vec<String>,
    /// What to do now.
    pub next: Option<String>,
    pub place: Option<Place>,
    /// What was done before it failed and stays so, a sentence each, where no record of the run tells it.
    pub done: Vec<String>,
    /// Why, where the table of causes knows it: `what`, `evidence` and `next` say it already.
    pub cause: Option<Box<Cause>>,
}

impl Failure {
    pub fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self {
            reason,
            what: what.into(),
            evidence: vec![],
            log: vec![],
            next: None,
            place: None,
            done: vec![],
            cause: None,
        }
    }

    #[must_use]
    pub fn with_evidence(mut self, evidence: Vec<String>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    #[must_use]
    pub fn with_done(mut self, done: Vec<String>) -> Self {
        self.done.extend(done);
        self
    }

    #[must_use]
    pub fn with_log(mut self, log: Vec<String>) -> Self {
        self.log = log;
        self
    }

    #[must_use]
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The cause of what is told already.
    #[must_use]
    pub fn with_cause(mut self, cause: Option<Cause>) -> Self {
        self.cause = cause.map(Box::new);
        self
    }

    /// With the cause for its headline, after `of`. What was the headline is evidence then, and what proves the cause
    /// follows where it is not told already; in place of general advice stands what to do about this cause.
    #[must_use]
    pub fn because(mut self, of: &str, cause: Option<Cause>) -> Self {
        let Some(cause) = cause else { return self };
        let is_named = cause.sentence.starts_with(of);
        let headline = if is_named { cause.sentence.clone() } else { format!("{of}: {}", cause.sentence) };
        let before = std::mem::replace(&mut self.what, headline);
        let before = before.strip_prefix(&format!("{of}: ")).map(str::to_owned).unwrap_or(before);
        let told = std::mem::take(&mut self.evidence);
        let proof = cause.evidence.iter().filter(|text| !told.iter().any(|told| told.contains(text.as_str())));
        let proof: Vec<String> = proof.cloned().collect();
        self.evidence = cause.alternatives().into_iter().chain([before]).chain(told).chain(proof).collect();
        self.next = Some(cause.next.clone());
        self.cause = Some(Box::new(cause));
        self
    }

    /// As it may leave the run: every text of it, before it is escaped or cut for wherever it goes. What was escaped does
    /// not look like the secret any more, and a cut leaves a part of it.
    #[must_use]
    pub fn redacted(self, redacted: impl Fn(&str) -> String) -> Self {
        let all = |texts: Vec<String>| texts.iter().map(|text| redacted(text)).collect();
        Self {
            what: redacted(&self.what),
            evidence: all(self.evidence),
            log: all(self.log),
            done: all(self.done),
            next: self.next.as_deref().map(&redacted),
            cause: self.cause.map(|cause| Box::new(cause.redacted(&redacted))),
            ..self
        }
    }
}

/// Where in the user's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: PathBuf,
    pub line: u32,
    pub column: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_codes_are_those_of_the_contract() {
        let table: Vec<_> = Reason::ALL.iter().map(|r| (r.exit_code(), r.word())).collect();
        assert_eq!(
            table,
            [
                (1, "internal"),
                (2, "config"),
                (2, "plan-stale"),
                (3, "identity"),
                (3, "permission"),
                (4, "build"),
                (4, "push"),
                (5, "release-command"),
                (6, "rolled-back"),
                (7, "unsteady"),
                (8, "locked"),
                (8, "superseded"),
                (9, "timeout"),
                (10, "unavailable"),
                (11, "after-command"),
                (125, "task"),
                (130, "cancelled"),
            ]
        );
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.word());
        }
    }
}
