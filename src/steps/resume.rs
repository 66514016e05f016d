//! What did a release that stopped leave behind? Reads only.

use crate::config::Config;
use crate::definition_file::read_definition;
use crate::error::call_failed;
use crate::ports::Aws;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::plan::running_revision;
use fargate_deploy_core::promotion::Promoted;
use fargate_deploy_core::resume::{Stopped, resumed};
use futures_util::future::try_join_all;

/// The images of the config, as the release that stopped pushed them.
///
/// # Errors
/// `config` where there is nothing to resume, `permission`: nothing was touched.
pub async fn resume(config: &Config, sha: Option<&str>, aws: Aws<'_>) -> Result<Vec<Promoted>, Failure> {
    let names: Vec<ServiceRef> = config.services.iter().map(|s| s.reference()).collect();
    let found = aws.services.services(&names).await.map_err(|e| call_failed("describing the services", &e))?;
    let stopped = config.services.iter().zip(&names).zip(found).map(async |((service, name), found)| {
        let Some(found) = found.filter(|s| s.status == "ACTIVE") else {
            return Err(Failure::new(
                Reason::Config,
                format!("service `{name}` does not exist in {}", aws.identity.region()),
            ));
        };
        let doing = format!("reading the task definition that {name} runs");
        let running = aws
            .task_definitions
            .task_definition(running_revision(&found.name, &found)?.as_str())
            .await
            .map_err(|e| call_failed(&doing, &e))?;
        let family = match &service.task_definition {
            Some(file) => read_definition(file).await?.family().to_owned(),
            None => running.family().to_owned(),
        };
        let newest = aws.task_definitions.task_definition(&family).await;
        let newest = newest.map_err(|e| call_failed(&format!("reading the newest revision of `{family}`"), &e))?;
        Ok(Stopped { key: service.key.clone(), running, newest })
    });
    resumed(config, sha, &try_join_all(stopped).await?)
}
