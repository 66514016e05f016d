//! One deploy as a process, killed at a call that AWS has answered, or suspended there for a moment. `tests/fast/matrix` does
//! the same at every call, on a clock of its own; here it is a real process, and what it started runs in real containers.

use crate::chaos::signal;
use crate::cluster::Cluster;
use crate::program::Job;
use std::time::Duration;
use test_support::Random;
use tokio::time::sleep;

/// What is done to the process, after how many calls.
#[derive(Clone, Copy, Debug)]
pub enum Blow {
    /// SIGKILL; the job is started again.
    Killed,
    /// SIGSTOP, and SIGCONT after two seconds.
    Suspended,
}

/// At so many places of an undisturbed run, or at all.
pub async fn play(field: &Cluster, most: usize, dice: &mut Random) {
    let scene = &field.scene;
    let mark = scene.stage.calls().len();
    deploy(field, 0, None).await;
    let calls = scene.stage.calls().len() - mark;
    let mut blows: Vec<_> = (0..calls).flat_map(|at| [(at, Blow::Killed), (at, Blow::Suspended)]).collect();
    dice.shuffle(&mut blows);
    blows.truncate(most);
    let played = blows.len();
    for (number, blow) in (1..).zip(blows) {
        deploy(field, number, Some(blow)).await;
    }
    println!("processes: {calls} calls, {played} of {} kills played, {played} right", 2 * calls);
}

/// Deploys a commit of its own, and looks at what has come of it.
async fn deploy(field: &Cluster, number: u64, blow: Option<(usize, Blow)>) {
    let scene = &field.scene;
    let name = format!("k{number}");
    let directory = field.checkout(&name, 0.5);
    let job = Job { id: 9_000_000 + number, attempt: 1, sha: format!("{number:040x}") };
    let mark = scene.stage.calls().len();
    let process = scene.start_job(&job, &directory);
    let id = process.id().expect("it has just been started");
    let strike = async {
        if let Some((calls, blow)) = blow {
            while scene.stage.calls().len() <= mark + calls {
                sleep(Duration::from_millis(2)).await;
            }
            match blow {
                Blow::Killed => assert!(signal(id, "KILL")),
                Blow::Suspended => {
                    signal(id, "STOP");
                    sleep(Duration::from_secs(2)).await;
                    signal(id, "CONT");
                }
            }
        }
        std::future::pending::<()>().await;
    };
    // It may end before: its polls fall otherwise than those of the run that was counted.
    let ended = tokio::select! {
        ended = process.ended_or_killed() => ended,
        () = strike => unreachable!("it waits for the process"),
    };
    let run = match ended {
        Some(run) => run,
        None => scene.start_job(&Job { attempt: 2, ..job }, &directory).ended().await,
    };
    let what = format!("{blow:?}: exit {}: {}", run.code, run.log);
    assert_eq!(run.code, 0, "{what}");
    assert_eq!(scene.answer().await.as_deref(), Some(name.as_str()), "{what}");
    let migrations = field.database.ask(&format!("SELECT count(*) FROM migration WHERE release = '{name}'"));
    assert_eq!(migrations, "1", "{what}");
    let calls = scene.stage.calls();
    let updates = calls[mark..].iter().filter(|call| call.operation == "UpdateService" && call.status == 200).count();
    assert_eq!(updates, 1, "{what}");
    assert_eq!(scene.lease().await["isReleased"], true, "{what}");
}
