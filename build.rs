//! The commit that a binary was built from, for `version`. Without git it is `unknown`.

use std::process::Command;

fn main() {
    let output = Command::new("git").args(["rev-parse", "--short=7", "HEAD"]).output();
    let commit = output.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
    let commit = commit.map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=FARGATE_DEPLOY_COMMIT={commit}");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
}
