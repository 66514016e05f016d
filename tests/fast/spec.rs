//! Fast and hermetic: what the program promises without a network, an Engine or a clock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed"
)]

mod action_yml;
mod architecture;
mod cli;
mod config;
mod docs;
mod plan;
mod schema;
mod terraform;
mod values;
