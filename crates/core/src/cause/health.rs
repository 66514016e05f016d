//! Signs about health checks that are no texts: ports, addresses and times, from logs and settings.

use super::listening::{Listening, places};
use super::pattern::Values;
use super::row::Case;
use super::seen::{Seen, SeenContainer};

/// Until then a program may start without being called slow, in seconds: two checks at the least interval and more.
const QUICK: u64 = 20;

/// The status is one of these; one digit stands for its hundred.
pub(super) fn status(_: &Case<'_>, values: &mut Values, wanted: &[&str]) -> bool {
    let Some(status) = values.get("status") else { return false };
    wanted.iter().any(|wanted| match wanted.len() {
        1 => status.starts_with(wanted),
        _ => status == *wanted,
    })
}

/// ECS took the task off because of its load balancer, whatever reason is told.
pub(super) fn failed_load_balancer(case: &Case<'_>, _: &mut Values) -> bool {
    let said = |text: &&str| {
        let text = text.to_ascii_lowercase();
        text.contains("failed elb health checks") || text.contains("is unhealthy in (target-group")
    };
    case.said.iter().any(said) || case.seen.targets.iter().any(|t| t.state == "unhealthy")
}

pub(super) fn container_is_unhealthy(case: &Case<'_>, _: &mut Values) -> bool {
    let said = |text: &&str| text.to_ascii_lowercase().contains("failed container health checks");
    case.said.iter().any(said) || case.seen.containers.iter().any(|c| c.health.as_deref() == Some("UNHEALTHY"))
}

/// The container that the load balancer asks, and the port.
fn asked(seen: &Seen) -> Option<(&SeenContainer, Option<u16>)> {
    let (name, port) = match &seen.load_balanced {
        Some((name, port)) => (Some(name.as_str()), Some(*port)),
        None => (None, seen.targets.iter().find_map(|t| t.port)),
    };
    let container = match name {
        Some(name) => seen.container(name),
        None => seen.failed_container(),
    }?;
    let mapped = match container.ports.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    Some((container, port.or(mapped)))
}

fn listens(seen: &Seen) -> Option<(Vec<Listening>, Option<u16>)> {
    let (container, port) = asked(seen)?;
    Some((places(&container.log), port))
}

pub(super) fn listens_locally(case: &Case<'_>, values: &mut Values) -> bool {
    let Some((places, port)) = listens(case.seen) else { return false };
    let is_there = |place: &&Listening| place.port.is_none() || port.is_none() || place.port == port;
    // A place that everybody reaches, at the port that is asked, is the better one.
    if places.iter().filter(is_there).any(|place| !place.is_local) {
        return false;
    }
    // Where it is open at another port, that is told.
    let local = places.iter().filter(is_there).find(|place| place.is_local);
    let local = local.or_else(|| places.iter().all(|p| p.is_local).then(|| places.first()).flatten());
    local.is_some_and(|place| {
        values.set("own-port", place.port.map(|p| p.to_string()).unwrap_or_default());
        values.set("heard", place.line.clone());
        true
    })
}

pub(super) fn listens_elsewhere(case: &Case<'_>, values: &mut Values) -> bool {
    let Some((places, Some(port))) = listens(case.seen) else { return false };
    if places.iter().any(|place| place.port == Some(port) || place.port.is_none()) {
        return false;
    }
    places.iter().find(|place| !place.is_local && place.port.is_some()).is_some_and(|place| {
        values.set("own-port", place.port.map(|p| p.to_string()).unwrap_or_default());
        values.set("heard", place.line.clone());
        true
    })
}

/// Its own log says that it is open at the port that is asked.
pub(super) fn listens_where_asked(case: &Case<'_>, values: &mut Values) -> bool {
    let Some((places, Some(port))) = listens(case.seen) else { return false };
    let is_there = |place: &&Listening| place.port == Some(port) && !place.is_local;
    places.iter().find(is_there).is_some_and(|place| {
        values.set("own-port", port.to_string());
        values.set("heard", place.line.clone());
        true
    })
}

/// The target group asks a fixed port that is not the traffic's, where the program does listen.
pub(super) fn check_port_differs(case: &Case<'_>, values: &mut Values) -> bool {
    let Some((places, Some(port))) = listens(case.seen) else { return false };
    let fixed = case.seen.target_check.as_ref().and_then(|check| check.port);
    values.set("traffic-port", port.to_string());
    fixed.is_some_and(|fixed| {
        fixed != port
            && places.iter().any(|p| p.port == Some(port) && !p.is_local)
            && !places.iter().any(|p| p.port == Some(fixed))
    })
}

/// No status was answered: the connection itself failed.
pub(super) fn is_fresh_port(case: &Case<'_>, _: &mut Values) -> bool {
    !case.targets.iter().any(|target| target.contains("with these codes"))
}

/// It does listen where it is asked, later than its failed checks are borne.
pub(super) fn is_slow(case: &Case<'_>, values: &mut Values) -> bool {
    let Some((container, port)) = asked(case.seen) else { return false };
    let Some(ready) = ready_after(case.seen, container, port) else { return false };
    let grace = case.seen.grace_seconds.unwrap_or(0);
    if ready <= grace {
        return false;
    }
    // With no grace period a program that is quick is not called slow.
    if grace == 0 && ready < QUICK {
        return false;
    }
    let told = if grace == 0 { "its start".to_owned() } else { format!("{grace} s") };
    values.set("ready", ready.to_string());
    values.set("grace-told", told);
    true
}

pub(super) fn is_slow_for_its_check(case: &Case<'_>, values: &mut Values) -> bool {
    let Some(container) = case.seen.failed_container() else { return false };
    let Some(ready) = ready_after(case.seen, container, None) else { return false };
    let borne = container.check_start_period.unwrap_or(0) + container.check_takes.unwrap_or(90);
    values.set("ready", ready.to_string());
    values.set("borne", borne.to_string());
    ready > borne
}

/// Seconds from the task's start until the program said that it listens; a program may say itself how long it took.
fn ready_after(seen: &Seen, container: &SeenContainer, port: Option<u16>) -> Option<u64> {
    let places = places(&container.log);
    let place = places.iter().find(|p| !p.is_local && (port.is_none() || p.port == port || p.port.is_none()));
    let timed = place.and_then(|p| Some((p.at? - seen.started_at?).max(0.0).round() as u64));
    let told = container.log.iter().find_map(|line| {
        let found = super::pattern::captured("Started *in {seconds} seconds", &line.text)?;
        found.get("seconds")?.parse::<f64>().ok().map(|s| s.round() as u64)
    });
    timed.or(told)
}

/// The port in the container's own check is not the one that the program tells of.
pub(super) fn check_asks_elsewhere(case: &Case<'_>, values: &mut Values) -> bool {
    let Some(container) = case.seen.failed_container() else { return false };
    let Some(command) = &container.check else { return false };
    let after_host = |host: &str| {
        let rest = &command[command.find(host)? + host.len()..];
        let digits = rest.strip_prefix(':')?;
        digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())].parse::<u16>().ok()
    };
    let asked = ["localhost", "127.0.0.1", "0.0.0.0", "[::1]"].iter().find_map(|host| after_host(host));
    let places = places(&container.log);
    let (Some(asked), Some(own)) = (asked, places.iter().find_map(|p| p.port)) else { return false };
    values.set("asked-port", asked.to_string());
    values.set("own-port", own.to_string());
    values.set("heard", places.iter().find(|p| p.port.is_some()).map(|p| p.line.clone()).unwrap_or_default());
    !places.iter().any(|p| p.port == Some(asked))
}
