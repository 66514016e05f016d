//! The sentences of warnings and notices.

use crate::events::{DeploymentProblem, Notice, Warning};
use crate::lease::Owner;

/// A warning may have several lines.
pub fn warning(warning: &Warning) -> String {
    match warning {
        Warning::Plan(risk) => risk.text.clone(),
        Warning::LeaseTakenOver { service } => {
            format!("the lease of {service} was taken over from a run that ended without releasing it")
        }
        Warning::LeftToNewerRun { service, run } => {
            format!("{service}: the newer {run} deployed it while this run waited for its turn: it is left as it is")
        }
        Warning::LeaseNotConfirmed { service, error } => {
            format!("whether this run still holds the lease of {service} could not be read: {error}")
        }
        Warning::LeaseNotRenewed { service, error } => format!("the lease of {service} could not be renewed: {error}"),
        Warning::ContainerBesideFailed { command, container, exit_code: Some(code), reason } => {
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("release command `{command}` exited with 0, and container `{container}` beside it with {code}{why}")
        }
        Warning::ContainerBesideFailed { command, container, exit_code: None, reason } => format!(
            "release command `{command}` exited with 0, and container `{container}` beside it did not run: {}",
            reason.as_deref().unwrap_or("AWS gives no reason")
        ),
        Warning::WordForShell { word } => format!(
            "`{word}` is an argument of the command, since several words run without a shell: for a shell give it as one string"
        ),
        Warning::ReleaseUnderWay { service, run, actor, command } => {
            let by = Owner { run: run.clone(), actor: actor.clone() };
            format!("release command `{command}` of {service} is under way, of {by}: this task does not wait for it")
        }
        Warning::AgentSilent { task, container, seconds } => format!(
            "the agent in container {container} of task {} has not answered yet: it is given up after {seconds} s",
            task.id()
        ),
        Warning::LogElsewhere { container, driver, place } => {
            let place = place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
            format!("container `{container}` logs by `{driver}`{place}, not to CloudWatch: its lines are there and not here")
        }
        Warning::CommandNotRunnable { exit_code, entrypoint } => {
            let what = if *exit_code == 127 { "was not found" } else { "cannot be executed" };
            let stays = match entrypoint {
                Some(entrypoint) => format!("the definition's entry point `{entrypoint}` stays before it"),
                None => "the entry point of the image, where it has one, stays before it".to_owned(),
            };
            format!("exit {exit_code}: the command {what} in the container; it replaces CMD alone, and {stays}")
        }
        Warning::NoTasks { is_previous: true } => "no task has stopped in the last hour".to_owned(),
        Warning::NoTasks { is_previous: false } => {
            "no task of these services runs, or has stopped in the last hour".to_owned()
        }
        Warning::LogsNotRead { error } => format!("the logs could not be read just now: {error}"),
        Warning::LogNotRead { command, task, error } => format!(
            "release command `{command}`: the end of its log could not be read: {error}: its lines are in `fargate-deploy logs --task {}`",
            task.id()
        ),
        Warning::LinesNotRead { task, error } => {
            format!("the log of task {} cannot be read now, and is read again: {error}", task.id())
        }
        Warning::LinesLost { task, error, again } => format!(
            "the log of task {} was not read to its end, lines are missing: {error}: all of them again: {again}, or fargate-deploy logs --task {}",
            task.id(),
            task.id()
        ),
        Warning::LogAbsent { task, again } => {
            format!("task {} has ended, and its log was not there: if it had lines, they come with {again}", task.id())
        }
        Warning::TaskWithoutTags { command } => format!(
            "release command `{command}`: its task has no tags, `ecs:TagResource` is not allowed for RunTask (docs/iam.md)"
        ),
        Warning::DigestsNotCompared { service, error } => format!(
            "the running tasks of {service} could not be read, so their digests were not compared: {error}"
        ),
        Warning::DeploymentsNotReadable { service, action } => format!(
            "the deployments of {service} may not be read (`{action}`): the service alone tells how they end"
        ),
        Warning::DeploysNotHeld { service, error } => format!(
            "{service} is not locked, so that the next deploy may undo this rollback: {error}"
        ),
        Warning::ImageNotChecked { image, error } => {
            format!("whether `{image}` is still in its registry could not be read: {error}")
        }
        Warning::CredentialsNotRenewable => {
            "the AWS credentials in the environment end with their session and cannot be renewed: set `role`, so that a deploy may outlive them"
                .to_owned()
        }
        Warning::GithubDeployment { problem, error, advice } => {
            let what = match problem {
                DeploymentProblem::NotReachable => String::new(),
                DeploymentProblem::NotCreated => "it was not created: ".to_owned(),
                DeploymentProblem::FirstStatusNotSet => "its first status was not set: ".to_owned(),
                DeploymentProblem::StatusNotSet(word) => format!("it does not say `{word}`: "),
            };
            let advice = advice.as_ref().map(|advice| format!("\n{advice}")).unwrap_or_default();
            format!("GitHub Deployment: {what}{error}{advice}")
        }
        Warning::PlannedOffline { why, next } => format!("planned from the files alone: {why}\n{next}"),
        Warning::FailureNotCommented { error } => format!(
            "the pull request does not say that this commit has no plan, and may show the one of an earlier commit: {error}"
        ),
        Warning::PlanNotCommented { error } => {
            format!("the plan is not on the pull request, which may show the one of an earlier commit: {error}")
        }
        Warning::OutcomeNotCommented { error } => {
            format!("the pull request does not say how its plan ended: {error}")
        }
        Warning::CacheNotKept { error } => {
            format!("the next build on another machine runs more steps again: {error}")
        }
        Warning::TagTaken { tag, repository, digest } => format!(
            "`{tag}` of {repository} is immutable and stays with {}, an earlier build of this commit",
            digest.short()
        ),
        Warning::EndpointWithoutTls { variable } => format!(
            "`{variable}` names another machine without TLS: calls to AWS and what they carry can be read on the way"
        ),
        Warning::EventsNotWritten { file, error } => {
            format!("`--events`: `{file}` cannot be written, and gets no further events: {error}")
        }
    }
}

pub fn notice(notice: &Notice) -> String {
    match notice {
        Notice::PlannedOffline { why } => format!("planned from the files alone: {why}"),
        Notice::NotReadable { what, action } => format!("{what}: not known, `{action}` is not allowed"),
        Notice::CommandStays { command, release, is_certain } => match is_certain {
            true => format!("`{command}` of r{release} stays applied: going back does not undo it"),
            false => format!("`{command}` of r{release} may have run: going back does not undo it"),
        },
        Notice::NoPullRequest { why } => format!("the plan is on no pull request: {why}"),
        Notice::Unverified { service } => format!(
            "{service}: its tasks started, nothing more was verified: it has neither a health check nor a smoke check"
        ),
        Notice::RoleNotAssumed { role, caller } => {
            format!("`{role}` may not be assumed from here: this runs as `{caller}`, in the same account")
        }
        Notice::SmokeNotRehearsed { service } => format!(
            "the smoke checks of `{service}` were not rehearsed: its image has no EXPOSE and its task definition no port, and a rehearsal asks nobody but the stage"
        ),
        Notice::CommandsLeftOut { flag, commands } => {
            let names: Vec<_> = commands.iter().map(|name| format!("`{name}`")).collect();
            format!("release commands left out by `{flag}`: {}", names.join(", "))
        }
        Notice::OrderLeftOut { service, after } => {
            format!("service `{service}` does not wait for `{after}`, which `--only` leaves out")
        }
        Notice::NothingStarted { service } => {
            format!("{service}: its desired count is 0, so nothing of it started, and nothing was verified")
        }
    }
}
