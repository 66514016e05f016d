//! Parse, run, exit code; nothing else.

use std::process::ExitCode;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn main() -> ExitCode {
    fargate_deploy::main(std::env::args().collect(), std::env::vars_os())
}
