//! The services on one screen, and each as an object.

use super::screen::{ScreenLine, age, columns};
use crate::history::Missing;
use fargate_deploy_core::history::Now;
use fargate_deploy_core::names::short;
use fargate_deploy_core::service::ServiceDeployment;
use fargate_deploy_core::status::{Condition, Drift, Seen};
use serde_json::{Value, json};

/// Whose services these are.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    pub environment: Option<String>,
    pub region: String,
}

/// `now`: seconds since the epoch.
pub fn screen(heading: &Heading, services: &[Seen], missing: &[Missing], now: f64) -> Vec<ScreenLine> {
    let clusters: Vec<&str> = services.iter().map(|seen| short(seen.service.cluster.as_str())).collect();
    let mut parts: Vec<&str> = heading.environment.iter().map(String::as_str).collect();
    parts.push(&heading.region);
    for cluster in clusters {
        if !parts.contains(&cluster) {
            parts.push(cluster);
        }
    }
    let mut lines = vec![ScreenLine::plain(parts.join(" · "))];
    let rows: Vec<Vec<String>> = services.iter().map(|seen| row(seen, now)).collect();
    for (seen, text) in services.iter().zip(columns(&rows)) {
        lines.push(ScreenLine::plain(text));
        lines.extend(below(seen, now).into_iter().map(|text| ScreenLine::plain(format!("  {text}"))));
    }
    let mut locks: Vec<(String, Vec<String>)> = vec![];
    for (locked, seen) in services.iter().filter_map(|seen| Some((seen.locked.clone()?, seen))) {
        match locks.iter_mut().find(|(known, _)| *known == locked) {
            Some((_, keys)) => keys.push(seen.key.to_string()),
            None => locks.push((locked, vec![seen.key.to_string()])),
        }
    }
    for (locked, keys) in locks {
        lines.push(ScreenLine::plain(format!("locked  {} by {locked}", keys.join(", "))));
    }
    for (seen, drift) in services.iter().filter_map(|seen| Some((seen, seen.drift.as_ref()?))) {
        lines.push(ScreenLine::plain(format!("drift  {}: {}", seen.key, drifted(seen, drift))));
    }
    for (seen, command) in services.iter().filter_map(|seen| Some((seen, seen.command.as_ref()?))) {
        let task = command.task.as_ref().map_or_else(|| "starts".to_owned(), |task| format!("task {}", short(task)));
        let by = seen.released_by.as_ref().map(|by| format!(", {by}")).unwrap_or_default();
        lines.push(ScreenLine::plain(format!("running  {} ({task}{by})", command.name)));
    }
    lines.extend(missing.iter().map(|missing| ScreenLine::dim(missing.sentence())));
    lines.extend(services.iter().flat_map(|seen| &seen.unread).map(ScreenLine::dim));
    lines
}

fn row(seen: &Seen, now: f64) -> Vec<String> {
    let condition = seen.condition();
    let release = seen.release.map_or_else(|| "-".to_owned(), |number| format!("r{number}"));
    let (count, since) = match &seen.now {
        Now::Known(service) => {
            let counts = service.primary().map_or(service.counts, |primary| primary.counts);
            let finished = seen.newest.as_ref().and_then(|newest| newest.deployment.finished_at);
            let began = seen.newest.as_ref().map(|newest| newest.deployment.created_at);
            let primary = service.primary().and_then(|primary| primary.created_at);
            let at = if is_moving(condition) { began.or(primary) } else { finished.or(primary).or(began) };
            (format!("{}/{}", counts.running, counts.desired), at)
        }
        Now::Gone | Now::Unknown => (String::new(), None),
    };
    let since = since.map(|at| format!(" {}", age(now - at))).unwrap_or_default();
    let mut more: Vec<String> = vec![];
    if let Some(newest) = seen.newest.as_ref().filter(|_| is_moving(condition)) {
        let way = if condition == Condition::RollingBack { "from" } else { "to" };
        more.extend(newest.release.filter(|other| Some(*other) != seen.release).map(|other| format!("{way} r{other}")));
        more.extend(progress(&newest.deployment));
    }
    more.extend(seen.url.clone());
    more.extend(seen.targets.map(|(healthy, all)| format!("target group {healthy}/{all}")));
    vec![seen.key.to_string(), release, count, format!("{}{since}", condition.word()), more.join(", ")]
}

fn is_moving(condition: Condition) -> bool {
    matches!(condition, Condition::RollingOut | Condition::RollingBack | Condition::Paused)
}

fn progress(deployment: &ServiceDeployment) -> Vec<String> {
    let mut parts = vec![];
    if let Some((failures, threshold)) = deployment.failures.filter(|(failures, _)| *failures > 0) {
        parts.push(format!("breaker {failures} of {threshold} failures"));
    }
    parts.extend(deployment.lifecycle_stage.as_ref().map(|stage| format!("stage {stage}")));
    parts.extend(deployment.triggered_alarms.iter().map(|alarm| format!("alarm {alarm} went off")));
    parts
}

/// What a row has no room for.
fn below(seen: &Seen, now: f64) -> Vec<String> {
    let mut lines = vec![];
    let deployment = seen.newest.as_ref().map(|newest| &newest.deployment);
    if seen.condition() == Condition::Gone {
        lines.push(format!("there is no service `{}` in its cluster", seen.service));
    }
    if let Some(hook) =
        deployment.filter(|_| seen.condition() == Condition::Paused).and_then(|d| d.awaiting_hook.as_ref())
    {
        lines.push(format!("waits for a person at hook {hook}"));
        lines.push(format!("on     fargate-deploy continue -s {}", seen.key));
        lines.push(format!("back   fargate-deploy abort -s {}", seen.key));
    }
    if matches!(seen.condition(), Condition::RolledBack | Condition::RollingBack) {
        let release = seen.newest.as_ref().and_then(|newest| newest.release).map(|number| format!("r{number}: "));
        let why = deployment.and_then(|d| d.rollback_reason.clone().or(d.reason.clone()));
        lines.extend(why.map(|why| format!("why    {}{why}", release.unwrap_or_default())));
    }
    if let Some(stop) = &seen.last_stop {
        let ago = stop.at.map(|at| format!(", {} ago", age(now - at))).unwrap_or_default();
        let alike = if stop.alike > 1 { format!(", {} alike", stop.alike) } else { String::new() };
        let why = stop.cause.as_ref().map_or(&stop.ending, |cause| &cause.sentence);
        lines.push(format!("last stop  {}{ago}{alike}: {why}", short(&stop.task)));
        if let Some(cause) = &stop.cause {
            lines.extend(cause.alternatives());
            lines.push(format!("do     {}", cause.next));
        }
        lines.push(format!("log    fargate-deploy logs -s {} --previous", seen.key));
    }
    lines
}

fn drifted(seen: &Seen, drift: &Drift) -> String {
    let runs = match &seen.now {
        Now::Known(service) => service.task_definition.short(),
        Now::Gone | Now::Unknown => "its revision",
    };
    match drift {
        Drift::Foreign { registered_by } => {
            let by = registered_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            format!("{runs} was registered{by}, not by a release")
        }
        Drift::Other { last } => format!("it runs {runs}, and the last release is {last}"),
    }
}

/// A service for a program.
pub fn json(seen: &Seen) -> Value {
    let service = match &seen.now {
        Now::Known(service) => Some(service),
        Now::Gone | Now::Unknown => None,
    };
    let deployment = seen.newest.as_ref().map(|newest| {
        let d = &newest.deployment;
        json!({
            "arn": d.arn, "revision": newest.revision, "release": newest.release.map(|number| format!("r{number}")),
            "status": d.status.word(), "stage": d.lifecycle_stage, "hook": d.awaiting_hook,
            "failures": d.failures.map(|(failures, _)| failures), "threshold": d.failures.map(|(_, threshold)| threshold),
            "reason": d.rollback_reason.clone().or(d.reason.clone()), "alarms": d.triggered_alarms,
        })
    });
    let stop = seen.last_stop.as_ref().map(|stop| {
        json!({"task": stop.task, "at": stop.at, "ending": stop.ending, "alike": stop.alike, "cause": stop.cause})
    });
    json!({
        "key": seen.key, "cluster": seen.service.cluster, "service": seen.service.name, "condition": seen.condition(),
        "exit-code": seen.condition().exit_code(), "release": seen.release.map(|number| format!("r{number}")),
        "revision": service.map(|service| &service.task_definition),
        "counts": service.map(|s| s.primary().map_or(s.counts, |primary| primary.counts)),
        "deployment": deployment, "last-stop": stop, "drift": seen.drift, "locked": seen.locked, "unread": seen.unread,
        "released-by": seen.released_by, "release-command": seen.command, "url": seen.url,
        "targets": seen.targets.map(|(healthy, all)| json!({"healthy": healthy, "all": all})),
    })
}
