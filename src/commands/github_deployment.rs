//! GitHub's Deployment of this run: when there is one to make, and what it says at the end.

use crate::adapters::aws::{Network, Session};
use crate::adapters::github::{GitHubApi, Patience};
use crate::commands::LAST_STATUS;
use crate::commands::cleanup_state::CleanupState;
use crate::commands::plan_comment::in_repository;
use crate::context::RunContext;
use crate::events::{DeploymentProblem, Event, Sink, Warning};
use crate::release::Order;
use crate::steps::github_deployment::{close, open};
use fargate_deploy_core::github_deployment::{DeploymentState, DeploymentStatus, NewDeployment, ended};
use fargate_deploy_core::outcome::Outcome;
use fargate_deploy_core::validated_config::Config;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is left of a run after its end.
const PATIENCE: Duration = Duration::from_secs(15);

/// A Deployment that says `in_progress`.
pub struct OpenDeployment {
    github: GitHubApi,
    pub id: u64,
    log_url: Option<String>,
}

/// Makes the Deployment of a run in GitHub Actions that was given a token, unless the job has one: GitHub makes it from
/// `environment:`, which only the job's OIDC token tells. Without such a token none is made, lest there be two.
pub async fn begin(
    order: &Order,
    session: &Session,
    context: &RunContext,
    env: &BTreeMap<String, String>,
    held: &CleanupState,
    sink: &dyn Sink,
) -> Option<OpenDeployment> {
    let sha = order.provenance.sha.as_deref().filter(|_| context.is_in_actions && !order.is_dry_run)?;
    let github = github(env, session.network(), sink)?;
    if session.job().await?.environment().is_some() {
        return None;
    }
    let log_url = context.run_url.clone();
    let actor = context.actor.as_deref().map(|actor| format!("fargate-deploy, by {actor}"));
    let description = actor.unwrap_or_else(|| "fargate-deploy".to_owned());
    let environment = order.config.environment.clone().or_else(|| of_folder(&order.config, env));
    let wanted = NewDeployment::new(sha, environment.as_deref(), &description);
    let id = open(&wanted, log_url.as_deref(), &github, &|id| held.set_deployment(Some(id)), sink).await?;
    Some(OpenDeployment { github, id, log_url })
}

/// Of a config without environments in a folder of its own: `production/apps/api`. Two of them in one repository would else
/// end each other's Deployments.
fn of_folder(config: &Config, env: &BTreeMap<String, String>) -> Option<String> {
    let file = config.root.join(config.file.as_ref()?.file_name()?);
    let file = in_repository(&file, env);
    let (folder, _) = file.rsplit_once('/')?;
    Some(format!("production/{folder}"))
}

impl OpenDeployment {
    /// Says how the run ended; a signal meanwhile ends the wait for GitHub.
    pub async fn end(&self, outcome: &Outcome, interrupt: impl Future<Output = ()>, sink: &dyn Sink) {
        let is_hasty = outcome.is_cancelled();
        let patience = if is_hasty { LAST_STATUS } else { PATIENCE };
        let status = ended(outcome, self.log_url.as_deref());
        let closing = close(self.id, &status, patience, &self.github, sink);
        if is_hasty {
            return closing.await;
        }
        tokio::select! {
            biased;
            () = closing => {}
            () = interrupt => {
                sink.emit(Event::Warning(Warning::GithubDeployment {
                    problem: DeploymentProblem::StatusNotSet(status.state.word().to_owned()),
                    error: "interrupted".to_owned(),
                    advice: None,
                }));
            }
        }
    }
}

/// Says of the Deployment of a killed run that it failed.
pub async fn abandon(id: u64, env: &BTreeMap<String, String>, sink: &dyn Sink) {
    let Ok(network) = Network::from_env(env) else { return };
    let Some(github) = github(env, &network, sink) else { return };
    let status = DeploymentStatus {
        state: DeploymentState::Failure,
        description: "the run was killed, or cancelled, before it could say how it ended".to_owned(),
        log_url: RunContext::read(env, std::path::Path::new(".")).run_url,
        environment_url: None,
        auto_inactive: false,
    };
    close(id, &status, PATIENCE, &github, sink).await;
}

fn github(env: &BTreeMap<String, String>, network: &Network, sink: &dyn Sink) -> Option<GitHubApi> {
    GitHubApi::from_env(env, network, Patience::default(), sink).unwrap_or_else(|error| {
        sink.emit(Event::Warning(Warning::GithubDeployment {
            problem: DeploymentProblem::NotReachable,
            error: error.to_string(),
            advice: None,
        }));
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Answers, Request, draft};

    #[test]
    fn two_configs_of_one_repository_have_an_environment_each() {
        let repository = tempfile::tempdir().unwrap();
        std::fs::create_dir(repository.path().join(".git")).unwrap();
        let of = |folder: &str| {
            let folder = repository.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("Dockerfile"), "FROM scratch\n").unwrap();
            let config = "region: eu-central-1\ncluster: shop\nimages: { app: { repository: shop } }\nservices: { web: { containers: { app: app } } }\n";
            std::fs::write(folder.join("fargate-deploy.yml"), config).unwrap();
            let draft = draft(&Request::default(), &BTreeMap::new(), &folder).unwrap();
            of_folder(&draft.finish(&Answers::default()).unwrap(), &BTreeMap::new())
        };
        assert_eq!(of("apps/api").as_deref(), Some("production/apps/api"));
        assert_eq!(of("").as_deref(), None);
    }
}
