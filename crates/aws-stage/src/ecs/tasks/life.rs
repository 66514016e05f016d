//! The life of one task.

use super::container::{self, Container};
use super::volumes;
use super::{Health, InjectedFailure, Status, TaskView, Tasks};
use crate::request::epoch_seconds;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How AWS shows the end of a task whose essential container ended, with whatever code.
const EXITED: (&str, &str) = ("EssentialContainerExited", "Essential container in task exited");

/// What AWS does between the decision to stop a task and SIGTERM, such as deregistering it, takes about this long.
const DEACTIVATION_SECONDS: f64 = 1.0;

pub(super) async fn live(tasks: Arc<Tasks>, arn: String) {
    let Some(view) = tasks.get(&arn) else { return };
    let behavior = tasks.deps.behavior.clone();
    let slow = if tasks.failure_injection(&arn) == InjectedFailure::SlowStarts {
        Duration::from_secs(15)
    } else {
        Duration::ZERO
    };
    let provisioning = behavior.waiting(10.0) + slow;
    let mut monitors = JoinSet::new();
    let ended = tokio::select! {
        () = sleep(provisioning) => start(&tasks, &view, &mut monitors).await,
        stop = stop_wanted(&tasks, &arn) => Err(stop),
    };
    let (stop_code, reason) = match ended {
        Ok(()) => {
            tasks.change(&arn, |entry| {
                entry.view.status = Status::Running;
                entry.view.started_at = Some(epoch_seconds());
                entry.view.running_since = Some(Instant::now());
            });
            run(&tasks, &view).await
        }
        Err(why) => why,
    };
    stop(&tasks, &view, &stop_code, &reason, &mut monitors).await;
}

/// Starts the containers in order. `Err`: stop code and reason.
async fn start(tasks: &Arc<Tasks>, view: &TaskView, monitors: &mut JoinSet<()>) -> Result<(), (String, String)> {
    let arn = &view.arn;
    let failed = |reason: String| ("TaskFailedToStart".to_owned(), reason);
    tasks.change(arn, |entry| entry.view.status = Status::Pending);
    tasks.check_execution_role(&view.spec, &view.id).map_err(failed)?;
    tasks.check_resources(&view.spec).map_err(failed)?;
    let mut images = vec![];
    for container in container::containers(&view.spec.definition) {
        let (reference, digest) = tasks.image(&view.spec, container).await.map_err(failed)?;
        tasks.change_container(arn, container::name(container), |c| c.image_digest.clone_from(&digest));
        images.push((container::name(container).to_owned(), reference));
    }
    tasks.change(arn, |entry| entry.view.status = Status::Activating);
    volumes::create(tasks, &view.spec, &view.id).await.map_err(failed)?;
    let pause_container = pause_container(tasks, view).await.map_err(failed)?;
    for container in container::in_order(&view.spec.definition) {
        let name = container::name(container);
        let may_start = wait_for(tasks, arn, container).await?;
        // An essential container that ends takes the task along, whatever others are still waiting for.
        if has_ended(tasks, view, true) {
            return Err((EXITED.0.to_owned(), EXITED.1.to_owned()));
        }
        if !may_start {
            let reason = format!("Dependency of container {name} did not reach its condition");
            return Err(failed(reason));
        }
        let image = images.iter().find(|(n, _)| n == name).map(|(_, reference)| reference.clone()).unwrap_or_default();
        let spec = tasks.spec_of(&view.spec, &view.id, container, image, pause_container.as_ref()).map_err(failed)?;
        let started = tasks.containers.start(&spec).await;
        let id = started.map_err(|e| failed(format!("CannotStartContainerError: {e}")))?;
        let network_owner = pause_container.as_ref().unwrap_or(&id);
        let mut ports = vec![];
        for port in container::ports(container) {
            ports.extend(tasks.containers.address(network_owner, port).await.map(|address| (port, address)));
        }
        if let Some((group, stream)) = container::log_stream(container, &view.id) {
            tasks.deps.logs.open(&group, &stream);
        }
        tasks.change_container(arn, name, |c| {
            c.container_id = Some(id.clone());
            c.status = Status::Running;
            c.ports = ports;
        });
        monitors.spawn(monitor(tasks.clone(), view.clone(), container.clone(), id));
    }
    Ok(())
}

/// On AWS nothing but the task itself holds its network. A container that is alone and never starts again may as well.
async fn pause_container(tasks: &Arc<Tasks>, view: &TaskView) -> Result<Option<String>, String> {
    let definition = &view.spec.definition;
    let is_restarted = |c: &Container| restart_policy(c).is_some();
    if container::containers(definition).nth(1).is_none() && !container::containers(definition).any(is_restarted) {
        return Ok(None);
    }
    let ports = container::containers(definition).flat_map(container::ports).collect();
    let id = tasks
        .containers
        .start_pause_container(ports, tasks.labels())
        .await
        .map_err(|why| format!("ResourceInitializationError: {why}"))?;
    tasks.change(&view.arn, |entry| entry.pause_container = Some(id.clone()));
    Ok(Some(id))
}

fn restart_policy(container: &Container) -> Option<&Value> {
    container.get("restartPolicy").filter(|policy| policy.get("enabled") == Some(&Value::Bool(true)))
}

/// An essential container has ended, or all have.
fn has_ended(tasks: &Tasks, view: &TaskView, only_essential: bool) -> bool {
    let Some(now) = tasks.get(&view.arn) else { return true };
    let over = |c: &super::ContainerView| c.status == Status::Stopped;
    let essential = |c: &super::ContainerView| {
        container::container(&view.spec.definition, &c.name).is_none_or(container::is_essential)
    };
    now.containers.iter().any(|c| essential(c) && over(c)) || (!only_essential && now.containers.iter().all(over))
}

/// Waits for what a container depends on. False when it can't come any more.
async fn wait_for(tasks: &Arc<Tasks>, arn: &str, container: &Container) -> Result<bool, (String, String)> {
    let mut changes = tasks.changed();
    loop {
        if let Some(stop) = tasks.stop_wanted(arn) {
            return Err(stop);
        }
        let Some(view) = tasks.get(arn) else { return Ok(false) };
        if has_ended(tasks, &view, true) {
            return Ok(false);
        }
        let mut is_ready = true;
        for (on, condition) in container::dependencies(container) {
            let Some(other) = view.containers.iter().find(|c| c.name == on) else { continue };
            let is_over = other.status == Status::Stopped;
            let met = match condition.as_str() {
                "COMPLETE" => is_over,
                "SUCCESS" => is_over && other.exit_code == Some(0),
                "HEALTHY" => other.health == Health::Healthy,
                _ => other.container_id.is_some(),
            };
            if !met && (is_over || (condition == "HEALTHY" && other.health == Health::Unhealthy)) {
                return Ok(false);
            }
            is_ready &= met;
        }
        if is_ready {
            return Ok(true);
        }
        let _ = changes.changed().await;
    }
}

/// Runs until somebody wants it stopped, or an essential container has ended.
async fn run(tasks: &Arc<Tasks>, view: &TaskView) -> (String, String) {
    let arn = &view.arn;
    if is_killed(tasks, view) {
        for container in tasks.get(arn).into_iter().flat_map(|v| v.containers) {
            if let Some(id) = container.container_id {
                tasks.containers.signal(&id, "SIGKILL").await;
            }
        }
    }
    let mut changes = tasks.changed();
    loop {
        if let Some(stop) = tasks.stop_wanted(arn) {
            return stop;
        }
        if has_ended(tasks, view, false) {
            return (EXITED.0.to_owned(), EXITED.1.to_owned());
        }
        let _ = changes.changed().await;
    }
}

/// SIGTERM, `stopTimeout`, SIGKILL; then the logs to their end, and the containers are gone.
async fn stop(tasks: &Arc<Tasks>, view: &TaskView, stop_code: &str, reason: &str, monitors: &mut JoinSet<()>) {
    let arn = &view.arn;
    tasks.change(arn, |entry| {
        entry.view.is_wanted = false;
        entry.view.status = Status::Deactivating;
        entry.view.stopping_at.get_or_insert_with(epoch_seconds);
        entry.view.stop_code = Some(stop_code.to_owned());
        entry.view.stopped_reason = Some(reason.to_owned());
    });
    sleep(tasks.deps.behavior.waiting(DEACTIVATION_SECONDS)).await;
    tasks.change(arn, |entry| entry.view.status = Status::Stopping);
    let running: Vec<_> = tasks.get(arn).map(|v| v.containers).unwrap_or_default();
    let stopping = running.iter().filter(|c| c.status == Status::Running).filter_map(|c| {
        let id = c.container_id.clone()?;
        let limit = container::container(&view.spec.definition, &c.name).map_or(30, container::stop_timeout);
        Some(async move {
            tasks.containers.signal(&id, "SIGTERM").await;
            if tokio::time::timeout(Duration::from_secs(limit), tasks.containers.wait(&id)).await.is_err() {
                tasks.containers.signal(&id, "SIGKILL").await;
            }
        })
    });
    futures_util::future::join_all(stopping).await;
    while monitors.join_next().await.is_some() {}
    tasks.change(arn, |entry| entry.view.status = Status::Deprovisioning);
    for container in &running {
        if let Some(id) = &container.container_id {
            tasks.containers.remove(id).await;
        }
    }
    if let Some(pause_container) = tasks.pause_container(arn) {
        tasks.containers.remove(&pause_container).await;
    }
    volumes::remove(tasks, &view.spec, &view.id).await;
    tasks.change(arn, |entry| {
        for container in &mut entry.view.containers {
            container.status = Status::Stopped;
        }
        entry.view.status = Status::Stopped;
        entry.view.stopped_at = Some(epoch_seconds());
    });
}

/// Log, health and end of one container, through its restarts.
/// Whether its containers are to be killed, as a fault that was asked for.
fn is_killed(tasks: &Tasks, view: &TaskView) -> bool {
    let is_of_service = view.spec.started_by.as_deref().is_some_and(|by| by.starts_with("ecs-svc/"));
    match tasks.failure_injection(&view.arn) {
        InjectedFailure::CrashNewTasks => is_of_service,
        InjectedFailure::FailOneOffs => !is_of_service,
        _ => false,
    }
}

async fn monitor(tasks: Arc<Tasks>, view: TaskView, container: Container, id: String) {
    let name = container::name(&container).to_owned();
    let stream = container::log_stream(&container, &view.id);
    let policy = restart_policy(&container).cloned();
    let health = tokio::spawn(watch_health(tasks.clone(), view.clone(), container.clone(), id.clone()));
    let exit = loop {
        let started = Instant::now();
        let (exit, ()) = tokio::join!(tasks.containers.wait(&id), async {
            tasks
                .containers
                .follow(&id, |at, line| {
                    if let Some((group, stream)) = &stream {
                        tasks.deps.logs.append(group, stream, at, line);
                    }
                })
                .await;
        });
        if !restarts(&tasks, &view.arn, policy.as_ref(), exit.map(|e| e.code), started.elapsed())
            || tasks.containers.restart(&id).await.is_err()
        {
            break exit;
        }
    };
    health.abort();
    // One that is to be killed and was quicker has not ended well either.
    let is_killed = is_killed(&tasks, &view);
    let killed = |code: i64| if code == 0 && is_killed { 137 } else { code };
    tasks.change_container(&view.arn, &name, |c| {
        c.status = Status::Stopped;
        c.exit_code = exit.map(|e| killed(e.code));
        if exit.is_some_and(|e| e.out_of_memory) {
            c.reason = Some("OutOfMemoryError: Container killed due to memory usage".to_owned());
        }
    });
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-restart-policy.html>
fn restarts(tasks: &Tasks, arn: &str, policy: Option<&Value>, code: Option<i64>, ran: Duration) -> bool {
    let Some(policy) = policy else { return false };
    let ignored =
        policy.get("ignoredExitCodes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_i64);
    let period = policy.get("restartAttemptPeriod").and_then(Value::as_f64).unwrap_or(300.0);
    let is_ignored = code.is_some_and(|code| ignored.into_iter().any(|i| i == code));
    tasks.stop_wanted(arn).is_none() && !is_ignored && ran >= tasks.deps.behavior.patience(period)
}

/// The health check of the task definition; the image's own is not looked at.
async fn watch_health(tasks: Arc<Tasks>, view: TaskView, container: Container, id: String) {
    let name = container::name(&container);
    let behavior = &tasks.deps.behavior;
    let is_of_service = view.spec.started_by.as_deref().is_some_and(|by| by.starts_with("ecs-svc/"));
    let is_made_to_fail = is_of_service && tasks.failure_injection(&view.arn) == InjectedFailure::UnhealthyNewTasks;
    let check = container.get("healthCheck");
    if check.is_none() && !is_made_to_fail {
        return;
    }
    let of = |member: &str, default: f64| check.and_then(|c| c.get(member)?.as_f64()).unwrap_or(default);
    let command: Vec<String> = check
        .and_then(|c| c.get("command")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect();
    let command = match command.split_first() {
        Some((kind, rest)) if kind == "CMD-SHELL" => vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")],
        Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
        Some((kind, _)) if kind == "NONE" => return,
        _ => command,
    };
    let limit = Duration::from_secs_f64(of("timeout", 5.0));
    let interval = behavior.between_checks(of("interval", 30.0));
    let start_period = behavior.patience(of("startPeriod", 0.0));
    // Checks come sooner than on AWS; a container is not given up sooner. A failure that was asked for need not be waited for.
    let patience = match is_made_to_fail {
        true => Duration::ZERO,
        false => behavior.patience(of("interval", 30.0) * (of("retries", 3.0) - 1.0)),
    };
    let began = Instant::now();
    let mut failing_since = None;
    let mut failures = 0.0;
    loop {
        sleep(interval.max(Duration::from_millis(50))).await;
        let passes = !is_made_to_fail && tasks.containers.passes(&id, &command, limit).await;
        let health = if passes {
            (failures, failing_since) = (0.0, None);
            Health::Healthy
        } else if began.elapsed() < start_period && !is_made_to_fail {
            continue;
        } else {
            failures += 1.0;
            let since: Instant = *failing_since.get_or_insert_with(Instant::now);
            if failures < of("retries", 3.0) || since.elapsed() < patience {
                continue;
            }
            Health::Unhealthy
        };
        tasks.change_container(&view.arn, name, |c| c.health = health);
    }
}

async fn stop_wanted(tasks: &Arc<Tasks>, arn: &str) -> (String, String) {
    let mut changes = tasks.changed();
    loop {
        if let Some(stop) = tasks.stop_wanted(arn) {
            return stop;
        }
        let _ = changes.changed().await;
    }
}
