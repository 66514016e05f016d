//! GitHub's Deployment of a release: what it says at the start and how it ends.
//! <https://docs.github.com/en/rest/deployments/deployments>

use super::failure::Reason;
use super::markdown::stripped;
use super::outcome::{Outcome, Success};

/// The longest description that GitHub takes, in characters.
const DESCRIPTION: usize = 140;

/// A Deployment to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeployment {
    /// The commit.
    pub sha: String,
    pub environment: String,
    pub is_production: bool,
    pub description: String,
}

impl NewDeployment {
    /// Of an environment of the config; without one GitHub's own default, `production`.
    pub fn new(sha: &str, environment: Option<&str>, description: &str) -> Self {
        let environment = environment.unwrap_or("production");
        // `production/apps/api` is the production of a folder.
        let lower = environment.split('/').next().unwrap_or_default().to_ascii_lowercase();
        Self {
            sha: sha.to_owned(),
            is_production: matches!(lower.as_str(), "production" | "prod" | "live"),
            environment: environment.to_owned(),
            description: described(description),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeploymentState {
    InProgress,
    Success,
    Failure,
    /// Of this commit nothing serves, and nothing of it failed: another deployment has the environment.
    Inactive,
}

impl DeploymentState {
    /// As the API spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Inactive => "inactive",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentStatus {
    pub state: DeploymentState,
    pub description: String,
    /// The run.
    pub log_url: Option<String>,
    /// Where the release can be seen.
    pub environment_url: Option<String>,
    /// Whether earlier deployments of the environment stop being the active one.
    pub auto_inactive: bool,
}

/// The status at the start.
pub fn started(log_url: Option<&str>) -> DeploymentStatus {
    DeploymentStatus {
        state: DeploymentState::InProgress,
        description: "deploying".to_owned(),
        log_url: log_url.map(str::to_owned),
        environment_url: None,
        auto_inactive: false,
    }
}

/// The status at the end. A release that was taken back leaves the one before active.
pub fn ended(outcome: &Outcome, log_url: Option<&str>) -> DeploymentStatus {
    let Outcome { result, record } = outcome;
    let release = record.release.map(|n| format!("r{n}: ")).unwrap_or_default();
    let (state, text) = match result {
        Ok(success) => (of_success(*success), success.word().to_owned()),
        Err(failure) => (of_failure(failure.reason), format!("{}: {}", failure.reason.word(), failure.what)),
    };
    DeploymentStatus {
        state,
        description: described(&format!("{release}{text}")),
        log_url: log_url.map(str::to_owned),
        environment_url: record.services.iter().find_map(|service| service.url.clone()),
        auto_inactive: state == DeploymentState::Success,
    }
}

fn of_success(success: Success) -> DeploymentState {
    match success {
        Success::Deployed | Success::DeployedNotVerified | Success::Unchanged => DeploymentState::Success,
        Success::Started => DeploymentState::InProgress,
        Success::Planned | Success::Exited | Success::Detached => DeploymentState::Inactive,
    }
}

fn of_failure(reason: Reason) -> DeploymentState {
    match reason {
        Reason::Locked | Reason::Superseded => DeploymentState::Inactive,
        Reason::Internal
        | Reason::Config
        | Reason::PlanStale
        | Reason::Identity
        | Reason::Permission
        | Reason::Build
        | Reason::Push
        | Reason::ReleaseCommand
        | Reason::RolledBack
        | Reason::Unsteady
        | Reason::Timeout
        | Reason::Unavailable
        | Reason::AfterCommand
        | Reason::Task
        | Reason::Cancelled => DeploymentState::Failure,
    }
}

fn described(text: &str) -> String {
    let text = stripped(text).replace(['\n', '\t'], " ");
    match text.char_indices().nth(DESCRIPTION) {
        None => text,
        Some(_) => text.chars().take(DESCRIPTION - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::names::ServiceRef;
    use crate::outcome::{Record, ServiceRecord, ServiceState};

    fn record() -> Record {
        let service = ServiceRecord {
            key: "web".into(),
            service: ServiceRef { cluster: "shop".into(), name: "web".into() },
            previous: "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:41".into(),
            target: None,
            previous_release: None,
            is_unchecked: false,
            state: ServiceState::Serving,
            url: Some("https://shop.test/health".to_owned()),
        };
        Record { release: Some(42), services: vec![service], ..Record::default() }
    }

    #[test]
    fn each_ending_has_its_state_and_only_success_retires_what_was_active() {
        let endings = [
            (Ok(Success::Deployed), "success"),
            (Ok(Success::DeployedNotVerified), "success"),
            (Ok(Success::Unchanged), "success"),
            (Ok(Success::Started), "in_progress"),
            (Err(Failure::new(Reason::RolledBack, "x")), "failure"),
            (Err(Failure::new(Reason::Cancelled, "x")), "failure"),
            (Err(Failure::new(Reason::Unavailable, "x")), "failure"),
            (Err(Failure::new(Reason::AfterCommand, "x")), "failure"),
            (Err(Failure::new(Reason::Superseded, "x")), "inactive"),
            (Err(Failure::new(Reason::Locked, "x")), "inactive"),
        ];
        for (ending, word) in endings {
            let status = ended(&Outcome { result: ending.clone(), record: record() }, Some("https://run"));
            assert_eq!(status.state.word(), word, "{ending:?}");
            assert_eq!(status.auto_inactive, word == "success", "{ending:?}");
            assert_eq!(status.environment_url.as_deref(), Some("https://shop.test/health"));
            assert_eq!(status.log_url.as_deref(), Some("https://run"));
        }
    }

    #[test]
    fn a_description_is_one_line_of_at_most_140_characters() {
        let failure = Failure::new(Reason::Build, format!("\u{1b}[31mbad\nthing{}", "ü".repeat(200)));
        let text = ended(&Outcome { result: Err(failure), record: record() }, None).description;
        assert!(text.starts_with("r42: build: bad thingü"), "{text}");
        assert_eq!((text.chars().count(), text.ends_with('…')), (140, true));
        assert_eq!(
            ended(&Outcome { result: Ok(Success::Deployed), record: record() }, None).description,
            "r42: deployed"
        );
    }

    #[test]
    fn an_environment_that_is_not_named_is_githubs_default() {
        let unnamed = NewDeployment::new("4f2c1d6", None, "x");
        assert_eq!((unnamed.environment.as_str(), unnamed.is_production), ("production", true));
        assert!(!NewDeployment::new("4f2c1d6", Some("staging"), "x").is_production);
    }
}
