//! End to end: the built program against the stage, with real containers. Every test looks at the world afterwards: what
//! the load balancer answers, which digests run, what AWS was asked for, what is left in the Engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed"
)]

mod act;
mod aws_cli;
mod bad_days;
mod cancellations;
mod database;
mod elsewhere;
mod examples;
mod identity;
mod interrupts;
mod locks;
mod plan;
mod postgres;
mod program;
#[path = "../docker/support.rs"]
#[allow(dead_code, reason = "only its registry is used here")]
mod registry;
mod releases;
mod reports;
mod rollbacks;
mod scene;
mod served;
#[path = "../support/mod.rs"]
mod support;
mod unchanged;
