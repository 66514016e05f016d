//! What does the other environment run? Reads only, as that environment's own identity.

use crate::config::{Config, ServiceConfig};
use crate::domain::names::ServiceRef;
use crate::domain::outcome::{Failure, Reason};
use crate::domain::promotion::{Promoted, Standing, promoted, users};
use crate::domain::service::Service;
use crate::error::call_failed;
use crate::events::{Event, Sink};
use crate::ports::{CallErrorKind, Cloud};
use futures_util::future::try_join_all;

/// The images `wanted`, by the exact digests that the services of `source` run.
///
/// # Errors
/// `config`, `permission`, or `locked` while a rollout is on there: nothing was touched.
pub async fn promote<C: Cloud>(
    source: &Config,
    wanted: &[String],
    cloud: &C,
    sink: &dyn Sink,
) -> Result<Vec<Promoted>, Failure> {
    let services = users(source, wanted);
    let names: Vec<ServiceRef> =
        services.iter().map(|s| ServiceRef { cluster: s.cluster.clone(), name: s.name.clone() }).collect();
    let environment = source.environment.as_deref().unwrap_or("the source");
    let found = match names.is_empty() {
        true => vec![],
        false => cloud
            .services(&names)
            .await
            .map_err(|e| call_failed(&format!("describing the services of `{environment}`"), &e))?,
    };
    let standings = services.iter().zip(&names).zip(found).map(async |((service, name), found)| {
        let Some(found) = found.filter(|s| s.status == "ACTIVE") else {
            return Err(Failure::new(
                Reason::Config,
                format!("service `{}` of `{environment}` does not exist in {}", name.name, cloud.region()),
            )
            .with_next(format!("check `name`, `cluster` and `region` of `{environment}`")));
        };
        stand(service, name, found, cloud, sink).await
    });
    promoted(source, wanted, &try_join_all(standings).await?)
}

async fn stand<C: Cloud>(
    config: &ServiceConfig,
    name: &ServiceRef,
    service: Service,
    cloud: &C,
    sink: &dyn Sink,
) -> Result<Standing, Failure> {
    let doing = format!("reading the task definition that {} runs", service.name);
    let running = cloud.task_definition(service.task_definition.as_str()).await.map_err(|e| call_failed(&doing, &e))?;
    let latest = match cloud.task_definition(running.family()).await {
        Ok(latest) => latest.release(),
        Err(e) if matches!(e.kind, CallErrorKind::NotFound | CallErrorKind::Invalid) => None,
        Err(e) => return Err(call_failed("reading the family's latest revision", &e)),
    };
    let last = async {
        // Newest first.
        let Some(arn) = cloud.service_deployments(name, 0.0).await?.into_iter().next() else { return Ok(None) };
        let Some(deployment) = cloud.service_deployment(&arn).await? else { return Ok(None) };
        let revision = match &deployment.target_revision {
            Some(revision) => cloud.service_revision(revision).await?,
            None => None,
        };
        Ok(Some((deployment, revision)))
    };
    let last = match last.await {
        Ok(last) => last,
        Err(e) => {
            let e: crate::ports::CallError = e;
            if e.kind != CallErrorKind::Denied {
                return Err(call_failed(&format!("reading the deployments of {name}"), &e));
            }
            sink.emit(Event::Warning(format!(
                "the deployments of {name} may not be read (`{}`): whether its last one succeeded is told from the service alone",
                e.action
            )));
            None
        }
    };
    let (deployment, revision) = last.unzip();
    let resolved = revision.flatten().filter(|r| r.task_definition == service.task_definition).map(|r| r.images);
    Ok(Standing {
        key: config.key.clone(),
        latest_release: latest,
        service,
        running,
        deployment,
        resolved: resolved.unwrap_or_default(),
    })
}
