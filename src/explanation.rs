//! Why it failed: what is seen of it is gathered here, and the table of causes says what it means. Every look is
//! optional: what may not be read, or not in time, leaves a cause that is less certain, and never hides the failure.

use crate::ports::{Aws, CallErrorKind, EcrAddress, LogEvent, LogStream};
use fargate_deploy_core::cause::{Cause, Seen, SeenLine, SeenNetwork, SeenSubnet, WayOut, find, most_telling};
use fargate_deploy_core::image::ImageRef;
use fargate_deploy_core::markdown::stripped;
use fargate_deploy_core::names::{ContainerName, ServiceRef};
use fargate_deploy_core::service::Service;
use fargate_deploy_core::task::Task;
use fargate_deploy_core::task_definition::TaskDefinition;
use futures_util::future::join3;
use std::time::Duration;
use tokio::time::timeout;

/// How many lines of the failed container's log are read: an error stands before what follows from it.
const LINES: usize = 200;
/// How many tasks are asked for lines: the newest can have died without one.
const TASKS: usize = 3;
/// One look, with what is repeated of it.
const LOOK: Duration = Duration::from_secs(4);

/// A cause, as far as one was found, and the log that it was looked for in, oldest line first.
#[derive(Debug, Default)]
pub struct Explanation {
    pub cause: Option<Cause>,
    pub log: Vec<String>,
    /// The action without which the log may not be read.
    pub log_denied: Option<String>,
}

/// What is known of a failed deployment before its tasks are looked at.
pub struct Deployment<'a> {
    pub service: &'a ServiceRef,
    pub definition: &'a TaskDefinition,
    /// When it began, in seconds since the epoch: events before are not its own.
    pub since: Option<f64>,
    /// How ECS ended it, where it did.
    pub reason: Option<&'a str>,
    /// Nothing waits for the explanation. While a deployment goes on its tasks alone are looked at, so that reads of the
    /// service itself are not kept waiting.
    pub is_over: bool,
}

/// Of the tasks of one deployment that have stopped, none of which has to be there.
pub async fn of_deployment(aws: Aws<'_>, deployment: &Deployment<'_>, tasks: &[Task]) -> Explanation {
    let read = aws.services.services(std::slice::from_ref(deployment.service));
    let service = match deployment.is_over {
        true => timeout(LOOK, read).await.ok().and_then(Result::ok).and_then(|mut all| all.pop().flatten()),
        false => None,
    };
    let mut seen = Seen { deployment_reason: deployment.reason.map(str::to_owned), ..Seen::default() }
        .with_definition(deployment.definition);
    if let Some(service) = &service {
        seen = seen.with_service(service, deployment.since);
    }
    let mut log_denied = None;
    if let Some(task) = most_telling(tasks) {
        seen = seen.with_task(task);
        let alike = tasks.iter().filter(|other| other.arn != task.arn && other.stop_code == task.stop_code);
        let asked: Vec<&Task> = std::iter::once(task).chain(alike).take(TASKS).collect();
        log_denied = read_log(aws, deployment.definition, &asked, &mut seen).await;
    }
    Explanation { log_denied, ..explained(aws, service.as_ref(), seen).await }
}

/// Of the one task of a release command.
pub async fn of_command(
    aws: Aws<'_>,
    command: &str,
    container: &ContainerName,
    definition: &TaskDefinition,
    task: &Task,
) -> Explanation {
    let main = Some(container.to_string());
    let mut seen = Seen { command: Some(command.to_owned()), main, ..Seen::default() };
    seen = seen.with_definition(definition).with_task(task);
    read_log(aws, definition, &[task], &mut seen).await;
    explained(aws, None, seen).await
}

/// Of the task of `run`.
pub async fn of_one_off(
    aws: Aws<'_>,
    container: &ContainerName,
    definition: &TaskDefinition,
    task: &Task,
) -> Explanation {
    let mut seen = Seen { main: Some(container.to_string()), ..Seen::default() };
    seen = seen.with_definition(definition).with_task(task);
    read_log(aws, definition, &[task], &mut seen).await;
    explained(aws, None, seen).await
}

async fn explained(aws: Aws<'_>, service: Option<&Service>, mut seen: Seen) -> Explanation {
    look_around(aws, service, &mut seen).await;
    let log = seen.failed_container().map(|c| c.log.iter().map(|line| line.text.clone()).collect()).unwrap_or_default();
    Explanation { cause: find(&seen), log, log_denied: None }
}

/// The log of the failed container, of the first task that has one. The answer is the action that is missing for it.
async fn read_log(aws: Aws<'_>, definition: &TaskDefinition, tasks: &[&Task], seen: &mut Seen) -> Option<String> {
    let name = seen.failed_container().map(|c| c.name.clone())?;
    let container = ContainerName::new(name.as_str());
    for task in tasks {
        let stream = LogStream::of(definition, &container, &task.arn)?;
        let events = match timeout(LOOK, aws.logs.log_tail(&stream, LINES, None)).await {
            Ok(Ok(events)) => events,
            Ok(Err(e)) if e.kind == CallErrorKind::Denied => return Some(e.action),
            _ => continue,
        };
        if !events.is_empty() {
            seen.container_mut(&name).log = events.into_iter().map(line).collect();
            return None;
        }
    }
    None
}

fn line(event: LogEvent) -> SeenLine {
    SeenLine { at: Some(event.timestamp as f64 / 1000.0), text: stripped(&event.message) }
}

/// What else can tell causes apart, at once.
async fn look_around(aws: Aws<'_>, service: Option<&Service>, seen: &mut Seen) {
    let looks = seen.looks();
    let targets = async {
        let group = service.and_then(|s| s.target_groups.first()).filter(|_| looks.targets)?;
        let health = timeout(LOOK, aws.surroundings.target_health(group)).await;
        let check = timeout(LOOK, aws.surroundings.target_check(group)).await;
        Some((health.ok().and_then(Result::ok).unwrap_or_default(), check.ok().and_then(Result::ok).flatten()))
    };
    let subnets = async {
        let network = seen.network.clone().filter(|_| looks.network)?;
        timeout(LOOK, of_subnets(aws, network)).await.ok().flatten()
    };
    let platform = async {
        let image = seen.failed_container().and_then(|c| c.image.clone()).filter(|_| looks.image)?;
        timeout(LOOK, platform(aws, &image)).await.ok().flatten()
    };
    let (targets, subnets, platform) = join3(targets, subnets, platform).await;
    if let Some((health, check)) = targets {
        (seen.targets, seen.target_check) = (health, check);
    }
    if let Some(network) = subnets {
        seen.network = Some(network);
    }
    if let Some((name, platform)) = seen.failed_container().map(|c| c.name.clone()).zip(platform) {
        seen.container_mut(&name).image_platform = Some(platform);
    }
}

/// The same subnets with what EC2 tells of them.
async fn of_subnets(aws: Aws<'_>, mut network: SeenNetwork) -> Option<SeenNetwork> {
    let ids: Vec<String> = network.subnets.iter().map(|subnet| subnet.id.clone()).collect();
    if ids.is_empty() {
        return None;
    }
    let found = aws.surroundings.subnets(&ids).await.ok()?;
    let vpc = found.first()?.vpc.clone();
    let tables = aws.surroundings.route_tables(&vpc).await.unwrap_or_default();
    let way_out = |id: &String| -> Option<WayOut> {
        let own = tables.iter().find(|table| table.subnets.contains(id));
        own.or_else(|| tables.iter().find(|table| table.is_main)).map(|table| table.way_out)
    };
    let seen = |subnet: crate::ports::Subnet| SeenSubnet {
        way_out: way_out(&subnet.id),
        id: subnet.id,
        free_addresses: subnet.free_addresses,
    };
    network.subnets = found.into_iter().map(seen).collect();
    Some(network)
}

/// The only platform that an image of ECR is built for.
async fn platform(aws: Aws<'_>, image: &str) -> Option<String> {
    let reference = ImageRef::parse(image).ok()?;
    let host = reference.ecr()?;
    let address = EcrAddress { account: host.account, region: host.region };
    let repository = aws.repositories.repository(Some(&address), &reference.repository).await.ok().flatten()?;
    let digest = match reference.digest {
        Some(digest) => digest,
        None => aws.repositories.image(&repository, &reference.tag?).await.ok().flatten()?.digest,
    };
    aws.repositories.only_platform(&repository, &digest).await.ok().flatten()
}
