//! Everything worth telling, as data. Steps emit; `render` decides how it looks. Nothing else prints.

use fargate_deploy_core::redact::{Secret, without_credentials};
use serde::Serialize;
use std::time::Duration;

/// Where events go. Implementations must not fail: telling is never worth breaking a deploy for.
pub trait Sink {
    fn emit(&self, event: Event);

    /// `text` as it may leave the run, in a comment for one: without every secret that was told of until now.
    fn redacted(&self, text: &str) -> String {
        without_credentials(text)
    }
}

/// The steps of a release, in the order in which they can occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Identity,
    Preflight,
    Build,
    Push,
    Register,
    Lease,
    Release,
    RollOut,
    Smoke,
    RollBack,
}

#[derive(Clone, Debug)]
pub enum Event {
    /// The value must be masked before any later line: sent before anything could print it.
    Mask(Secret),
    /// A value of the config that is shown as it is written there.
    ShowAs {
        value: Secret,
        written: String,
    },
    Started {
        step: Step,
        subject: String,
    },
    /// A change of state worth a line of its own.
    Progress {
        step: Step,
        text: String,
    },
    /// Raw output of a container or a build: never trusted, always fenced.
    Output {
        step: Step,
        source: String,
        line: String,
    },
    Finished {
        step: Step,
        text: String,
        took: Option<Duration>,
    },
    /// The step had nothing to do.
    Skipped {
        step: Step,
        why: String,
    },
    Failed {
        step: Step,
        text: String,
    },
    Warning(String),
    /// Worth a note beside the run, and nothing wrong.
    Notice(String),
    /// A lease is held, under this parameter and with this token: what a killed run leaves behind.
    Held {
        parameter: String,
        token: String,
    },
    /// It is held no more, or on purpose.
    LetGo {
        parameter: String,
    },
    /// Still waiting: printed only when nothing else was for 30 seconds.
    Heartbeat {
        step: Step,
        text: String,
    },
}
