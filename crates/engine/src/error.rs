//! What can go wrong between us and the Engine, as far as a caller decides by it.

use std::time::Duration;

/// One failure of a call to the Engine. `Display` is `{what}: {why}`; [`EngineError::hint`] is the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No Engine answers, or the connection to it broke.
    #[error("cannot reach the Docker Engine at `{endpoint}`: {why}")]
    Unreachable { endpoint: String, why: String },
    /// A BuildKit that is not an Engine's does not answer, is not trusted, or the connection to it broke.
    #[error("cannot reach the builder at `{endpoint}`: {why}")]
    BuilderUnreachable { endpoint: String, why: String },
    /// The request or the machine's Docker configuration is wrong; nothing was sent.
    #[error("{what}: {why}")]
    Config { what: String, why: String },
    /// The build ran and failed.
    #[error("build failed{}: {why}", at(step))]
    Build {
        /// The step as the Engine names it, e.g. `[build 3/4] RUN make`; absent when no step had begun.
        step: Option<String>,
        why: String,
        /// The last lines that the failing step wrote, oldest first.
        log_tail: Vec<String>,
    },
    /// The registry or the Engine refused the push for a reason not named below.
    #[error("cannot push `{image}`: {why}")]
    Push { image: String, why: String },
    /// The registry does not accept the credentials, or got none.
    #[error("registry `{registry}` refused the credentials: {why}")]
    Auth { registry: String, why: String },
    /// The registry has no such repository (`name unknown`).
    #[error("repository `{repository}` does not exist: {why}")]
    RepositoryMissing { repository: String, why: String },
    /// The tag exists and the repository does not let it move.
    #[error("tag `{image}` cannot be overwritten: {why}")]
    TagImmutable { image: String, why: String },
    /// The call did not end in the time it was given.
    #[error("{what}: no end after {}", seconds(after))]
    Timeout { what: String, after: Duration },
    /// Any other answer of the Engine that is not a success.
    #[error("{what}: {why} (HTTP {status})")]
    Refused { what: String, status: u16, why: String },
}

impl EngineError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable { why, .. } if why.contains("ermission denied") => {
                "add this user to the `docker` group, or run as root"
            }
            Self::Unreachable { .. } => {
                "start Docker, or point DOCKER_HOST at a running Engine, e.g. DOCKER_HOST=unix:///var/run/docker.sock"
            }
            Self::BuilderUnreachable { why, .. } if why.contains("ertificate") || why.contains("fatal alert") => {
                "`builder.ca` must have signed the builder's certificate, `builder.server-name` be in it, and the builder trust \
                 who signed `builder.cert`"
            }
            Self::BuilderUnreachable { .. } => {
                "start the builder, or take `builder` out of the config to build on this machine's Docker Engine"
            }
            Self::Build { why, .. } if why.contains("no active session") => {
                "the connection to the Engine broke during the build; run it again"
            }
            Self::Build { step, why, .. }
                if why.contains("ssh forward") || step.as_ref().is_some_and(|step| step.contains("type=ssh")) =>
            {
                "no SSH agent reaches a build here: give a deploy token as a build secret, and use it with \
                 `RUN --mount=type=secret,id=...`"
            }
            Self::Auth { .. } => {
                "log in to the registry, or check that the credentials may push to it; where ECR names no action it is \
                 `ecr:BatchCheckLayerAvailability`"
            }
            Self::RepositoryMissing { .. } => "create the repository first",
            Self::TagImmutable { .. } => "push under a new tag, or deploy the image that has this tag already",
            _ => return None,
        })
    }

    /// The failing step's last lines; empty for everything but a failed build.
    pub fn log_tail(&self) -> &[String] {
        match self {
            Self::Build { log_tail, .. } => log_tail,
            _ => &[],
        }
    }

    pub(super) fn config(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Config { what: what.into(), why: why.into() }
    }
}

fn at(step: &Option<String>) -> String {
    step.as_ref().map(|step| format!(" at `{step}`")).unwrap_or_default()
}

fn seconds(after: &Duration) -> String {
    format!("{} s", after.as_secs_f64())
}
