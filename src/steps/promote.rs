//! What does the other environment run? Reads only, as that environment's own identity.

use crate::config::{Config, ServiceConfig};
use crate::error::call_failed;
use crate::events::{Event, Sink, Warning};
use crate::ports::{Aws, Call, CallErrorKind};
use fargate_deploy_core::names::{ImageKey, ServiceDeploymentArn, ServiceRef};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::plan::running_revision;
use fargate_deploy_core::promotion::{Promoted, RunningService, promoted, users};
use fargate_deploy_core::service::{Service, ServiceDeployment, ServiceRevision};
use futures_util::future::try_join_all;

/// The images `wanted`, by the exact digests that the services of `source` run.
///
/// # Errors
/// `config`, `permission`, or `locked` while a rollout is on there: nothing was touched.
pub async fn promote(
    source: &Config,
    wanted: &[ImageKey],
    aws: Aws<'_>,
    sink: &dyn Sink,
) -> Result<Vec<Promoted>, Failure> {
    let services = users(source, wanted);
    let names: Vec<ServiceRef> = services.iter().map(|s| s.reference()).collect();
    let environment = source.environment.as_deref().unwrap_or("the source");
    let found = match names.is_empty() {
        true => vec![],
        false => aws
            .services
            .services(&names)
            .await
            .map_err(|e| call_failed(&format!("describing the services of `{environment}`"), &e))?,
    };
    let standings = services.iter().zip(&names).zip(found).map(async |((service, name), found)| {
        let Some(found) = found.filter(|s| s.status == "ACTIVE") else {
            return Err(Failure::new(
                Reason::Config,
                format!("service `{}` of `{environment}` does not exist in {}", name.name, aws.identity.region()),
            )
            .with_next(format!("check `name`, `cluster` and `region` of `{environment}`")));
        };
        stand(service, name, found, aws, sink).await
    });
    promoted(source, wanted, &try_join_all(standings).await?)
}

async fn stand(
    config: &ServiceConfig,
    name: &ServiceRef,
    service: Service,
    aws: Aws<'_>,
    sink: &dyn Sink,
) -> Result<RunningService, Failure> {
    let doing = format!("reading the task definition that {} runs", service.name);
    let running = aws
        .task_definitions
        .task_definition(running_revision(&service.name, &service)?.as_str())
        .await
        .map_err(|e| call_failed(&doing, &e))?;
    let last = match history(name, aws).await {
        Ok(history) => history,
        Err(e) if e.kind == CallErrorKind::Denied => {
            sink.emit(Event::Warning(Warning::DeploymentsNotReadable { service: name.clone(), action: e.action }));
            History::default()
        }
        Err(e) => return Err(call_failed(&format!("reading the deployments of {name}"), &e)),
    };
    let resolved = last.revision.filter(|r| r.task_definition == service.task_definition).map(|r| r.images);
    Ok(RunningService {
        key: config.key.clone(),
        service,
        running,
        deployment: last.deployment,
        release_before: last.release_before,
        resolved: resolved.unwrap_or_default(),
    })
}

#[derive(Default)]
struct History {
    deployment: Option<ServiceDeployment>,
    revision: Option<ServiceRevision>,
    release_before: Option<u64>,
}

/// The last deployment of a service, and the release that the one before it brought.
async fn history(name: &ServiceRef, aws: Aws<'_>) -> Call<History> {
    // Newest first.
    let mut arns = aws.services.service_deployments(name, 0.0).await?.into_iter();
    let (deployment, revision) = match arns.next() {
        Some(arn) => brought(&arn, aws).await?,
        None => (None, None),
    };
    let before = match arns.next() {
        Some(arn) => brought(&arn, aws).await?.1,
        None => None,
    };
    let release_before = match before {
        Some(revision) => match aws.task_definitions.task_definition(revision.task_definition.as_str()).await {
            Ok(definition) => definition.release(),
            // A revision that was deleted since.
            Err(e) if matches!(e.kind, CallErrorKind::NotFound | CallErrorKind::Invalid) => None,
            Err(e) => return Err(e),
        },
        None => None,
    };
    Ok(History { deployment, revision, release_before })
}

async fn brought(
    arn: &ServiceDeploymentArn,
    aws: Aws<'_>,
) -> Call<(Option<ServiceDeployment>, Option<ServiceRevision>)> {
    let deployment = aws.services.service_deployment(arn).await?;
    let revision = match deployment.as_ref().and_then(|d| d.target_revision.as_ref()) {
        Some(revision) => aws.services.service_revision(revision).await?,
        None => None,
    };
    Ok((deployment, revision))
}
