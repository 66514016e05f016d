//! Parse, run, exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    fargate_deploy::main(std::env::args().collect(), std::env::vars_os())
}
