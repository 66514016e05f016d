//! What a task finds about itself: the task metadata endpoint, and the credentials of its role.
//!
//! It listens where containers reach the host, which the stage's API does not.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html>,
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::credentials::Issued;
use super::ecs::task::{ContainerView, Status, TaskView};
use super::request::text;
use super::services::Services;

/// What AWS gives the credentials of a task's role.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// A listener that the containers of a network with that gateway reach, and the URL under which they do. Where the gateway
/// is no address of this machine (an Engine in a virtual machine), the Engine's name for the host leads to the loopback.
pub(crate) async fn listen(gateway: Option<IpAddr>) -> anyhow::Result<(TcpListener, String)> {
    if let Some(gateway) = gateway
        && let Ok(listener) = TcpListener::bind(SocketAddr::new(gateway, 0)).await
    {
        let url = format!("http://{}", listener.local_addr()?);
        return Ok((listener, url));
    }
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://host.docker.internal:{}", listener.local_addr()?.port());
    Ok((listener, url))
}

/// Serves until the task is aborted.
pub(crate) async fn serve(services: Arc<Services>, listener: TcpListener) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let services = services.clone();
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let response = respond(&services, request.uri().path());
                    async move { Ok::<_, Infallible>(response) }
                });
                connections.spawn(async move {
                    // A container that hangs up is not the stage's concern.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn respond(services: &Services, path: &str) -> Response {
    let found = match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
        ["v2", "credentials", task] => credentials(services, task),
        ["v3" | "v4", id] => container(services, id),
        ["v3" | "v4", id, "task" | "taskWithTags"] => of_task(services, id),
        ["v3" | "v4", id, "stats"] => container(services, id).map(|_| json!({})),
        _ => None,
    };
    let (status, body) = match found {
        Some(body) => (StatusCode::OK, body),
        None => (StatusCode::NOT_FOUND, json!({ "message": "not found" })),
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Of `TASK-CONTAINER`, the id that the variables carry.
fn find<'a>(services: &Services, id: &'a str) -> Option<(TaskView, &'a str)> {
    let (task, container) = id.split_once('-')?;
    Some((services.ecs.task(task)?, container))
}

fn container(services: &Services, id: &str) -> Option<Value> {
    let (task, name) = find(services, id)?;
    let container = task.containers.iter().find(|container| container.name == name)?;
    let mut shown = described(&task, container);
    if container.status < Status::Running {
        // The Engine has started it, or it could not ask.
        shown["KnownStatus"] = json!(Status::Running.word());
    }
    Some(shown)
}

fn of_task(services: &Services, id: &str) -> Option<Value> {
    let (task, _) = find(services, id)?;
    let definition = &task.spec.definition;
    let units = |name: &str| text(&Value::Object(definition.body.clone()), name).and_then(|n| n.parse::<f64>().ok());
    let containers: Vec<Value> = task.containers.iter().map(|container| described(&task, container)).collect();
    let mut shown = json!({
        "Cluster": task.spec.cluster_arn, "TaskARN": task.arn, "Family": definition.family,
        "Revision": definition.arn.rsplit(':').next(), "DesiredStatus": if task.is_wanted { "RUNNING" } else { "STOPPED" },
        "KnownStatus": task.status.word(), "Containers": containers, "AvailabilityZone": "stage-1a", "LaunchType": "FARGATE",
        "Limits": { "CPU": units("cpu").map(|cpu| cpu / 1024.0), "Memory": units("memory") },
    });
    if let Some(service) = task.spec.group.strip_prefix("service:") {
        shown["ServiceName"] = json!(service);
    }
    Some(shown)
}

fn described(task: &TaskView, container: &ContainerView) -> Value {
    let definition = &task.spec.definition;
    json!({
        "DockerId": container.container_id, "Name": container.name, "DockerName": container.name,
        "Image": container.image, "ImageID": container.image_digest, "Type": "NORMAL",
        "Labels": {
            "com.amazonaws.ecs.cluster": task.spec.cluster_arn,
            "com.amazonaws.ecs.container-name": container.name,
            "com.amazonaws.ecs.task-arn": task.arn,
            "com.amazonaws.ecs.task-definition-family": definition.family,
            "com.amazonaws.ecs.task-definition-version": definition.arn.rsplit(':').next(),
        },
        "DesiredStatus": if task.is_wanted { "RUNNING" } else { "STOPPED" }, "KnownStatus": container.status.word(),
        "ContainerARN": format!("{}/{}", task.arn.replace(":task/", ":container/"), container.name),
        "Networks": [{ "NetworkMode": "awsvpc" }],
    })
}

fn credentials(services: &Services, task: &str) -> Option<Value> {
    let view = services.ecs.task(task)?;
    let role = super::ecs::task_role(&view.spec)?;
    let mut fields = role.split(':').skip(1);
    let (partition, account) = (fields.next()?, fields.nth(2)?);
    let name = role.rsplit('/').next()?;
    let session = format!("arn:{partition}:sts::{account}:assumed-role/{name}/{task}");
    let Issued { access_key, secret_key, session_token } =
        services.credentials.issue(account, &session, LIFETIME, None);
    let expiration = jiff::Timestamp::now() + LIFETIME;
    Some(json!({
        "RoleArn": role, "AccessKeyId": access_key, "SecretAccessKey": secret_key, "Token": session_token,
        "Expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }))
}
