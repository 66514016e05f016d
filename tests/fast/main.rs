//! Fast and hermetic: no Docker, no network but loopback. What `make quick` runs beside the unit tests.

// A whole run of a command is one future of many layers.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::disallowed_methods, reason = "a test sets its clock, its environment and its client up itself")]

mod contract;
mod fuzzed;
mod github;
mod loaded;
mod matrix;
mod model;
mod recorded_events;
mod spec;
mod story;
