//! Deployments and their statuses.
//! <https://docs.github.com/en/rest/deployments/deployments>, <https://docs.github.com/en/rest/deployments/statuses>

use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::{Request, State};

const STATES: [&str; 7] = ["error", "failure", "inactive", "in_progress", "queued", "pending", "success"];

/// In characters.
const LONGEST_DESCRIPTION: usize = 140;

/// A Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Unique among all deployments.
    pub id: u64,
    /// The commit.
    pub sha: String,
    /// `production` if the request names none.
    pub environment: String,
    /// What it is for, `deploy` if the request does not say.
    pub task: String,
    /// Whether users see the environment.
    pub is_production: bool,
    /// Free text.
    pub description: String,
    /// Who made it.
    pub creator: String,
    /// Oldest first.
    pub statuses: Vec<Status>,
}

/// One status of a Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// E.g. `in_progress`.
    pub state: String,
    /// Free text.
    pub description: String,
    /// The run.
    pub log_url: String,
    /// Where it can be seen.
    pub environment_url: String,
}

pub(super) fn create(state: &mut State, creator: &str, body: &Value) -> Reply {
    let text = |name: &str, default: &str| body[name].as_str().unwrap_or(default).to_owned();
    let sha = text("ref", "");
    if sha.is_empty() || sha.contains(char::is_whitespace) {
        return reply::invalid("Deployment", "ref", &format!("No ref found for: {sha}"));
    }
    if body["auto_merge"] != false {
        return Reply::new(202, json!({"message": "Auto-merged main into topic branch on deployment."}));
    }
    // No check of this repository ever ran.
    if body["required_contexts"].as_array().is_none_or(|contexts| !contexts.is_empty()) {
        return reply::conflict(&format!("Conflict: Commit status checks failed for {sha}."));
    }
    if text("description", "").chars().count() > LONGEST_DESCRIPTION {
        return reply::invalid("Deployment", "description", "description is too long (maximum is 140 characters)");
    }
    let environment = text("environment", "production");
    let deployment = Deployment {
        id: state.next_id(),
        sha,
        task: text("task", "deploy"),
        is_production: body["production_environment"].as_bool().unwrap_or(environment == "production"),
        environment,
        description: text("description", ""),
        creator: creator.to_owned(),
        statuses: vec![],
    };
    let answer = json!({
        "id": deployment.id, "sha": deployment.sha, "ref": deployment.sha, "task": deployment.task,
        "environment": deployment.environment, "production_environment": deployment.is_production,
        "description": deployment.description, "creator": reply::account(creator), "payload": {},
        "node_id": format!("DE_{}", deployment.id), "original_environment": deployment.environment,
        "url": format!("https://api.github.com/repos/o/r/deployments/{}", deployment.id),
        "statuses_url": format!("https://api.github.com/repos/o/r/deployments/{}/statuses", deployment.id),
        "repository_url": "https://api.github.com/repos/o/r",
        "created_at": "2026-11-20T09:00:00Z", "updated_at": "2026-11-20T09:00:00Z",
    });
    state.deployments.push(deployment);
    Reply::new(201, answer)
}

pub(super) fn set_status(state: &mut State, id: u64, body: &Value) -> Reply {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let status = Status {
        state: text("state"),
        description: text("description"),
        log_url: text("log_url"),
        environment_url: text("environment_url"),
    };
    let Some(at) = state.deployments.iter().position(|deployment| deployment.id == id) else {
        return reply::not_found();
    };
    if !STATES.contains(&status.state.as_str()) {
        return reply::invalid("DeploymentStatus", "state", "state is not included in the list");
    }
    if status.description.chars().count() > LONGEST_DESCRIPTION {
        return reply::invalid(
            "DeploymentStatus",
            "description",
            "description is too long (maximum is 140 characters)",
        );
    }
    if status.state == "success" && body["auto_inactive"] != false {
        let (before, _) = state.deployments.split_at_mut(at + 1);
        retire(before);
    }
    let answer = status.json();
    state.deployments[at].statuses.push(status);
    Reply::new(201, answer)
}

pub(super) fn statuses(state: &State, id: u64, request: &Request) -> Reply {
    match state.deployments.iter().find(|deployment| deployment.id == id) {
        Some(deployment) => {
            let newest_first: Vec<_> = deployment.statuses.iter().rev().map(Status::json).collect();
            request.page(state, &newest_first)
        }
        None => reply::not_found(),
    }
}

/// The last deployment is about to succeed: earlier ones of its environment that had, and that are no production, become
/// inactive.
fn retire(deployments: &mut [Deployment]) {
    let Some((last, earlier)) = deployments.split_last_mut() else { return };
    for old in earlier.iter_mut().filter(|old| old.environment == last.environment && !old.is_production) {
        if old.statuses.last().is_some_and(|status| status.state == "success") {
            let inactive = Status {
                state: "inactive".to_owned(),
                description: String::new(),
                log_url: String::new(),
                environment_url: String::new(),
            };
            old.statuses.push(inactive);
        }
    }
}

impl Status {
    fn json(&self) -> Value {
        json!({
            "state": self.state, "description": self.description, "log_url": self.log_url,
            "environment_url": self.environment_url, "id": 1, "node_id": "DES_1",
            "url": "https://api.github.com/repos/o/r/deployments/1/statuses/1",
            "deployment_url": "https://api.github.com/repos/o/r/deployments/1",
            "repository_url": "https://api.github.com/repos/o/r",
            "created_at": "2026-11-20T09:00:00Z", "updated_at": "2026-11-20T09:00:00Z",
        })
    }
}
