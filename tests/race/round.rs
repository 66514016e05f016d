//! One round: twenty runs, some of one commit, some started a second time; and what must be true afterwards.

use crate::chaos::{Alive, Kill, Point, kill};
use crate::cluster::Cluster;
use crate::program::{Job, Run};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use test_support::Random;

const RUNS: u64 = 20;

/// Far beyond what a round takes, a wait for a dead holder included.
const LIMIT: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Calm,
    /// Holders are killed, and their runs started again.
    Killed,
    /// One holder is killed, and nobody starts its run again.
    Abandoned,
}

struct Entry {
    job: Job,
    /// What its application answers with.
    commit: String,
    directory: PathBuf,
}

/// How an entry ended: `None` was killed and not started again.
struct Ended {
    entry: Entry,
    attempts: u32,
    run: Option<Run>,
    logs: Vec<PathBuf>,
}

impl Ended {
    /// What its attempts printed, one after the other.
    fn said(&self) -> String {
        self.logs.iter().map(|log| std::fs::read_to_string(log).unwrap_or_default()).collect()
    }
}

/// Eight commits in the order of their runs, as pushes come; two of the runs are second attempts, whose first ended
/// before it came to the lease.
fn entries(field: &Cluster, round: u64, dice: &mut Random) -> Vec<Entry> {
    let commits: Vec<(String, PathBuf)> = (0..8)
        .map(|n| {
            let name = format!("c{round}-{n}");
            let directory = field.checkout(&name, 0.2 + dice.roll(8) as f64 / 10.0);
            (name, directory)
        })
        .collect();
    let mut entries: Vec<Entry> = (0..RUNS)
        .map(|n| {
            let at = usize::try_from(n * commits.len() as u64 / RUNS).unwrap();
            let (commit, directory) = commits[at].clone();
            let attempt = if n % 10 == 3 { 2 } else { 1 };
            let job =
                Job { id: 8_000_000 + round * 1000 + n, attempt, sha: format!("{:040x}", round * 1000 + at as u64) };
            Entry { job, commit, directory }
        })
        .collect();
    dice.shuffle(&mut entries);
    entries
}

async fn race(field: &Cluster, entry: Entry, alive: &Alive, is_started_again: bool) -> Ended {
    let (mut job, mut logs) = (entry.job.clone(), vec![]);
    loop {
        let running = field.scene.start_job(&job, &entry.directory);
        if let Some(process) = running.id() {
            alive.insert(job.id, process, running.log());
        }
        logs.push(running.log().to_owned());
        let ended = running.ended_or_killed().await;
        alive.remove(job.id);
        if ended.is_some() || !is_started_again {
            return Ended { attempts: job.attempt, run: ended, entry, logs };
        }
        job.attempt += 1;
    }
}

pub async fn play(field: &Cluster, number: u64, kind: Kind, dice: &mut Random) {
    let began = Instant::now();
    let mut points = match kind {
        Kind::Calm => vec![],
        Kind::Killed => vec![Point::BeforeRunTask, Point::Migrating, Point::RollingOut],
        Kind::Abandoned => vec![[Point::BeforeRunTask, Point::Migrating, Point::RollingOut][dice.roll(3) as usize]],
    };
    dice.shuffle(&mut points);
    let entries = entries(field, number, dice);
    let (alive, kills) = (Alive::default(), Mutex::default());
    let all = join_all(entries.into_iter().map(|entry| race(field, entry, &alive, kind == Kind::Killed)));
    let killing = async {
        kill(field, &alive, points.clone(), dice, &kills).await;
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = tokio::time::timeout(LIMIT, all) => ended.expect("the round came to no end"),
        () = field.never_two_migrations() => unreachable!("it looks for ever"),
        () = killing => unreachable!("it waits for ever"),
    };
    let kills = kills.into_inner().unwrap();
    let tally = tally(&ended);
    let killed: Vec<_> = kills.iter().map(|kill| kill.point).collect();
    println!("round {number}, {kind:?}: {tally:?}, killed {killed:?}, {:.1} s", began.elapsed().as_secs_f64());
    assert!(kind == Kind::Calm || !kills.is_empty(), "nobody was killed");
    everybody_ended_well(&ended);
    attached(&ended, &kills);
    dust_has_settled(field, &ended).await;
}

/// How many ended how.
fn tally(ended: &[Ended]) -> BTreeMap<String, u32> {
    let mut tally = BTreeMap::new();
    for ended in ended {
        let how = match &ended.run {
            None => "killed".to_owned(),
            Some(run) => {
                let word = run.json["failure-reason"].as_str().or(run.json["outcome"].as_str());
                format!("{} {}", run.code, word.unwrap_or_default())
            }
        };
        *tally.entry(how).or_default() += 1;
    }
    tally
}

/// docs/locks.md: deployed or nothing to do, locked or superseded; nothing else.
fn everybody_ended_well(ended: &[Ended]) {
    for Ended { entry, run, attempts, .. } in ended {
        let Some(run) = run else { continue };
        let word = run.json["failure-reason"].as_str().or(run.json["outcome"].as_str()).unwrap_or_default();
        let is_fine = match run.code {
            0 => ["deployed", "unchanged"].contains(&word),
            8 => word == "superseded" && *attempts == 1,
            _ => false,
        };
        assert!(is_fine, "{:?} ended with {} {word}: {}", entry.job, run.code, run.log);
        if run.code == 8 {
            let newer =
                run.log.split("the newer https://github.com/acme/shop/actions/runs/").nth(1).unwrap_or_default();
            let newer: u64 = newer.split(' ').next().unwrap_or_default().parse().unwrap_or_default();
            assert!(newer > entry.job.id, "{:?} gave way to run {newer}: {}", entry.job, run.log);
        }
    }
}

/// A run that was killed while its migration ran starts no other: the next attempt waits for that one.
fn attached(ended: &[Ended], kills: &[Kill]) {
    for kill in kills.iter().filter(|kill| kill.point == Point::Migrating) {
        let Some(ended) = ended.iter().find(|e| e.entry.job.id == kill.run) else { continue };
        let next = ended.logs.iter().skip_while(|log| **log != kill.log).nth(1);
        let said = next.map(|log| std::fs::read_to_string(log).unwrap());
        assert!(said.is_none_or(|said| !said.contains(" started from ")), "run {}: {}", kill.run, ended.said());
    }
}

async fn dust_has_settled(field: &Cluster, ended: &[Ended]) {
    let scene = &field.scene;
    let answer = scene.answer().await.expect("the service answers");
    let digests = scene.running_digests().await;
    let is_it = |e: &&Ended| {
        let run = e.run.as_ref().filter(|run| run.code == 0);
        e.entry.commit == answer && run.is_some_and(|run| digests.iter().eq([run.digest()]))
    };
    assert!(ended.iter().any(|e| is_it(&e)), "`{answer}` with {digests:?} serves, and nobody said so");
    let service = scene.service().await;
    assert_eq!(service["deployments"].as_array().map(Vec::len), Some(1), "{service}");
    assert_eq!(service["runningCount"], 1, "{service}");
    assert_eq!(scene.lease().await["isReleased"], true);
    let running = scene.tasks("RUNNING").await;
    assert!(running.iter().all(|task| task["group"] == "service:web"), "{running:?}");
    assert_eq!(field.database.ask("SELECT count(*) FROM migration WHERE ended IS NULL"), "0");
    assert_eq!(field.database.ask("SELECT count(*) FROM overlap"), "0");
}
