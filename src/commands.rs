//! One page a command, over the same steps.

pub mod cleanup_state;
pub mod configure;
pub mod deploy;
pub mod exec;
pub mod explain;
pub mod github_deployment;
pub mod init;
pub mod lock;
pub mod logs;
mod masks;
pub mod paused;
pub mod plan;
mod plan_comment;
pub mod policy;
mod policy_bootstrap;
pub mod policy_check;
pub mod post;
#[cfg(feature = "rehearse")]
pub mod rehearse;
pub mod releases;
pub mod rollback;
pub mod run;
pub mod scope;
pub mod status;
pub mod verify;

pub(crate) use masks::mask_credentials;

use crate::config::ConfigErrors;
use crate::context::{PullRequestState, RunContext};
use fargate_deploy_core::outcome::{Failure, Place, Reason};
use std::time::Duration;

/// How long GitHub is told how a run ended that was interrupted: the comment and the Deployment at once. The runner kills us
/// ten seconds after the signal, and what is told to AWS comes first.
const LAST_STATUS: Duration = Duration::from_millis(900);

/// A run that somebody outside of the repository can start with their own files changes nothing.
///
/// # Errors
/// `config`: nothing was touched.
pub fn refuse_foreign(context: &RunContext, command: &str) -> Result<(), Failure> {
    // What was merged is this repository's own.
    let is_merged = context.pull_request.is_some_and(|pull| pull.state == PullRequestState::Merged);
    if !context.is_fork_pull_request || is_merged {
        return Ok(());
    }
    let event = context.event.as_deref().unwrap_or("pull_request");
    let what = format!(
        "`{command}` on `{event}`: this run belongs to a pull request whose files are not known to be this repository's"
    );
    Err(Failure::new(Reason::Config, what).with_next(
        "deploy what was merged: on `push`, or by `workflow_dispatch`; `plan` works here, from the files alone",
    ))
}

/// Every error of a config as one failure: the first with its place, the others as evidence.
pub fn bad_config(errors: &ConfigErrors) -> Failure {
    let mut all = errors.iter();
    let Some(first) = all.next() else { return Failure::new(Reason::Config, "the config is not readable") };
    let mut failure = Failure::new(Reason::Config, first.message.clone());
    failure.next.clone_from(&first.hint);
    failure.place = first.file.as_ref().filter(|_| first.line > 0).map(|file| Place {
        file: file.clone(),
        line: u32::try_from(first.line).unwrap_or_default(),
        column: u32::try_from(first.column).unwrap_or_default(),
    });
    failure.evidence = all.map(ToString::to_string).collect();
    failure
}
