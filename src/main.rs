//! The program is the library: the tests need one.

use std::process::ExitCode;

fn main() -> ExitCode {
    fargate_deploy::main()
}
