//! The whole story against a hand-written AWS, on a paused clock: which calls are made in which order, and what a run
//! says about its ending.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed"
)]

mod fake;
mod scene;

mod cancel;
mod endings;
mod graph;
mod lease;
mod migration;
mod policies;
mod promotion;
mod race;
mod refusals;
mod release;
mod values;
