//! End to end: the built program against the stage, with real containers. Every test looks at the world afterwards: what
//! the load balancer answers, which digests run, what AWS was asked for, what is left in the Engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::disallowed_methods, reason = "a test sets its clock, its environment and its client up itself")]

mod action;
mod aws_cli;
mod bad_days;
mod cancellations;
mod causes;
mod command_policies;
mod database;
mod examples;
mod exec;
mod history;
mod identity;
mod imports;
mod interrupts;
mod locks;
mod logs;
mod logs_at_speed;
mod ministack;
mod one_offs;
mod plan;
mod planted;
mod policies;
mod postgres;
mod probe;
mod program;
mod recorder;
mod references;
mod rehearsals;
mod releases;
mod reports;
mod resolved_values;
mod rollbacks;
mod scene;
mod served;
mod stranger;
mod strict;
mod support;
mod unchanged;
