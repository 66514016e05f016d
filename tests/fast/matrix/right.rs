//! What must be true after a command that something was wrong with.

use super::faults::{Cell, Command, Fault};
use super::shop::{Ended, SECOND, Shop, World};

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing comes of the command without it.
    Needed,
    /// The command does without it.
    Extra,
    /// Whether the new release is well.
    Health,
    /// How what was begun goes on: without it that is not known.
    Outcome,
}

fn need(cell: &Cell) -> Need {
    let operation = cell.place.call.operation.as_str();
    match (cell.command, operation) {
        (Command::Plan, _) if operation.starts_with("github:") => Need::Needed,
        (Command::Post, _) => Need::Extra,
        _ if operation.starts_with("github:") || operation.starts_with("logs:") => Need::Extra,
        (Command::Deploy | Command::Release, "shop:GET") => Need::Health,
        (_, "shop:GET") => Need::Extra,
        (_, "ecs:ListServiceDeployments" | "ecs:DescribeServiceDeployments" | "ecs:DescribeServiceRevisions") => {
            Need::Extra
        }
        (_, "ecs:ListTasks") => Need::Extra,
        (Command::Release, "ecs:DescribeTasks") => Need::Outcome,
        // Of the command first, then of what serves.
        (Command::Deploy, "ecs:DescribeTasks") if !cell.place.has_updated => Need::Outcome,
        (_, "ecs:DescribeTasks") => Need::Extra,
        (Command::Deploy, "ecs:DescribeServices") if cell.place.has_updated => Need::Outcome,
        // The lease, once the service has been told to move, is read and let go as well as it can be.
        (Command::Deploy | Command::GoingBack, _) if operation.starts_with("ssm:") && cell.place.has_updated => {
            Need::Extra
        }
        _ => Need::Needed,
    }
}

/// The exit codes that are right.
fn right_codes(cell: &Cell) -> &'static [u8] {
    let is_good: &[u8] = if cell.command == Command::GoingBack { &[6] } else { &[0] };
    match (cell.command, need(cell), cell.fault) {
        // Which of them is right depends on what has been done by then: see `wrong_release`.
        (Command::Release, Need::Needed | Need::Outcome, fault) if !fault.passes() => &[0, 3, 5, 6, 7, 10, 11],
        // GitHub is not asked for two minutes.
        (Command::Plan, _, Fault::Cut) if cell.place.call.operation.starts_with("github:") => &[10],
        (_, _, fault) if fault.passes() => is_good,
        // A run that cannot show that it has its lease puts nothing back, and says that a person is needed.
        (Command::GoingBack, ..) if is_of_lease(cell) => &[6, 7],
        // The lock is set; whether a release runs could not be seen.
        (Command::LockAcquire, ..) if cell.place.call.operation == "ssm:GetParametersByPath" => &[0],
        (_, Need::Extra, _) => is_good,
        // Notes of a task that runs: its starter tells as much.
        (Command::Deploy, _, _) if cell.place.call.operation == "ssm:PutParameter" && cell.place.call.ordinal > 1 => {
            &[0, 3, 5, 10]
        }
        // Going back is what could not be done.
        (Command::GoingBack, ..) => &[7],
        (_, Need::Health, _) => &[6],
        // The command was started: no code that promises that nothing was.
        (_, Need::Outcome, Fault::Denied) if !cell.place.has_updated => &[5],
        (_, Need::Outcome, _) => &[10],
        // What has run by then decides: see `wrong_deploy`.
        (Command::Deploy, _, Fault::Denied) => &[3, 5],
        (_, _, Fault::Denied) => &[3],
        _ => &[10],
    }
}

fn is_of_lease(cell: &Cell) -> bool {
    cell.place.has_updated
        && ["ssm:PutParameter", "ssm:GetParametersByPath"].contains(&cell.place.call.operation.as_str())
}

/// Why an ending is wrong, if it is.
pub async fn wrong(cell: &Cell, shop: &Shop, ended: &Ended) -> Option<String> {
    let (codes, world) = (right_codes(cell), shop.world());
    if !codes.contains(&ended.code) {
        return Some(format!("exit code {} instead of {codes:?}; {world:?}", ended.code));
    }
    if let Some(words) = ["a bug", "internal"].iter().find(|words| ended.said.contains(*words)) {
        return Some(format!("`{words}` is said of trouble in AWS"));
    }
    match cell.command {
        Command::Deploy => wrong_deploy(cell, shop, ended, &world).await,
        Command::Release => wrong_release(cell, shop, ended, &world).await,
        Command::GoingBack => wrong_return(shop, ended, &world),
        Command::Plan => (world != shop.untouched()).then(|| format!("a plan changed the world: {world:?}")),
        Command::LockAcquire => {
            (world.is_locked != (ended.code == 0)).then(|| format!("exit {} and {world:?}", ended.code))
        }
        Command::LockStatus => (!world.is_locked).then(|| "looking at the lock released it".to_owned()),
        Command::LockRelease => {
            (world.is_locked != (ended.code != 0)).then(|| format!("exit {} and {world:?}", ended.code))
        }
        Command::Post => wrong_post(cell, shop, ended, &world),
    }
}

async fn wrong_deploy(cell: &Cell, shop: &Shop, ended: &Ended, world: &World) -> Option<String> {
    if world.commands > 1 || world.deployments > 1 + usize::from(ended.code == 6) || world.revisions > 1 {
        return Some(format!("something was done twice: {world:?}"));
    }
    // 3 promises that nothing was touched, and 5 that a release command was concerned.
    if ended.code == 3 && world.commands > 0 || ended.code == 5 && world.commands == 0 && need(cell) == Need::Needed {
        return Some(format!("exit {}, and {world:?}", ended.code));
    }
    // What cannot be written for longer than the end of a run is waited for is not released: it goes stale by itself.
    // A task that may still run keeps the lease closed.
    let may_run = need(cell) == Need::Outcome || cell.place.call.operation == "ecs:RunTask";
    let is_long = !cell.fault.passes() || matches!(cell.fault, Fault::ThrottledAMinute | Fault::NoAnswer | Fault::Cut);
    let lets_go = (cell.place.call.operation != "ssm:PutParameter" || !is_long) && !may_run;
    if lets_go && world.is_lease_released == Some(false) {
        return Some("the lease was not released".to_owned());
    }
    match ended.code {
        0 if *world != (World { is_lease_released: world.is_lease_released, ..shop.deployed() }) => {
            return Some(format!("exit 0, and {world:?}"));
        }
        0 => return None,
        6 => return (world.runs != shop.untouched().runs).then(|| format!("rolled back, and {world:?}")),
        _ if cell.place.has_updated => {}
        _ if world.deployments > 0 || world.runs != shop.untouched().runs => {
            return Some(format!("exit {}, and {world:?}", ended.code));
        }
        _ => {}
    }
    // Run again when AWS is well, it comes to the same as an undisturbed run.
    let again = shop.deploy(SECOND).await;
    let world = shop.world();
    (again.code != 0 || world != shop.deployed())
        .then(|| format!("run again: exit {}, {world:?}:\n{}", again.code, again.said))
}

/// Whatever has been done when something begins to be missing: each exit code keeps its promise, and run again when AWS is
/// well, the release is where an undisturbed one is.
async fn wrong_release(cell: &Cell, shop: &Shop, ended: &Ended, world: &World) -> Option<String> {
    let (before, right) = (shop.untouched(), shop.deployed());
    let is_twice = world.commands > right.commands
        || world.revisions > right.revisions
        || world.deployments > right.deployments * if [6, 7].contains(&ended.code) { 2 } else { 1 };
    if is_twice || !shop.runs_each_command_once() {
        return Some(format!("something was done twice: {world:?}"));
    }
    let is_kept = match ended.code {
        0 => *world == World { is_lease_released: world.is_lease_released, ..shop.deployed() },
        3 => world.commands == 0 && world.deployments == 0,
        5 => world.commands > 0 && world.deployments == 0,
        6 => world.runs == before.runs && world.is_settled,
        7 => world.deployments > 0,
        11 => world.runs == right.runs && world.is_settled,
        _ => true,
    };
    if !is_kept {
        return Some(format!("exit {}, and {world:?}", ended.code));
    }
    if cell.fault == Fault::Denied && world.deployments == 0 && ![3, 5].contains(&ended.code) {
        return Some(format!("exit {} of what is denied, and {world:?}", ended.code));
    }
    if ended.code == 0 {
        return None;
    }
    let again = shop.deploy(SECOND).await;
    let world = shop.world();
    (again.code != 0 || world != World { deployments: world.deployments, ..right })
        .then(|| format!("exit {}, and run again: exit {}, {world:?}:\n{}", ended.code, again.code, again.said))
}

/// `web:41` serves again where that is said, by one deployment more.
fn wrong_return(shop: &Shop, ended: &Ended, world: &World) -> Option<String> {
    let is_back = world.runs == shop.untouched().runs && world.is_settled && world.deployments == 2;
    let is_wrong = world.commands != 1 || world.revisions != 1 || world.deployments > 2 || ended.code == 6 && !is_back;
    is_wrong.then(|| format!("exit {}, and {world:?}", ended.code))
}

/// What a killed run held is released, or it is said that it is not.
fn wrong_post(cell: &Cell, shop: &Shop, ended: &Ended, world: &World) -> Option<String> {
    let is_released = world.is_lease_released == Some(true);
    let is_closed = shop.told_github().iter().all(|states| states.last().is_some_and(|last| last == "failure"));
    let is_about_github = cell.place.call.operation.starts_with("github:");
    let is_short = cell.fault.passes() && !matches!(cell.fault, Fault::ThrottledAMinute | Fault::Cut);
    if (is_short || is_about_github && cell.fault != Fault::Cut) && !is_released {
        return Some(format!("the lease is still held: {}", ended.said));
    }
    if !is_released && !ended.said.contains("was not released") {
        return Some(format!("the lease is still held, and nobody says so: {}", ended.said));
    }
    // GitHub wants a minute's rest after its 429, which is more than is left of a job.
    let is_lost = matches!(cell.fault, Fault::ResetBefore | Fault::ResetAfter | Fault::Truncated);
    (is_lost && !is_closed).then(|| format!("GitHub shows the deployment as {:?}", shop.told_github()))
}
