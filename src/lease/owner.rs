//! Who holds a lease or a lock.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Owner {
    /// The run's URL, or the host's name.
    pub run: String,
    pub actor: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.run.as_str(), self.actor.as_str()) {
            ("", _) => f.write_str("a run that does not say who it is"),
            (run, "") => f.write_str(run),
            (run, actor) => write!(f, "{run} ({actor})"),
        }
    }
}
