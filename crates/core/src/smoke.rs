//! What a smoke check that did not pass was answered.

use serde::Serialize;
use std::fmt;

/// An answer that is not the expected one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum WrongAnswer {
    Status {
        status: u16,
        expected: u16,
    },
    /// The status is right, and the body lacks this text.
    Body {
        lacks: String,
    },
    /// No answer came, and why.
    None {
        error: String,
    },
}

impl fmt::Display for WrongAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, expected } => write!(f, "answered {status}, expected {expected}"),
            Self::Body { lacks } => write!(f, "the body does not contain `{lacks}`"),
            Self::None { error } => f.write_str(error),
        }
    }
}

/// A check whose time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SmokeFailure {
    pub url: String,
    /// How long it was tried, in seconds.
    pub within: u64,
    #[serde(flatten)]
    pub last: WrongAnswer,
}

impl fmt::Display for SmokeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} did not pass within {} s: {}", self.url, self.within, self.last)
    }
}
