//! Who kills holders of the lease: frozen first and looked at, then killed where the dice want it.

use crate::cluster::Cluster;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;
use test_support::Random;
use tokio::time::sleep;

/// Where a holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    BeforeRunTask,
    Migrating,
    RollingOut,
}

/// Processes that run, by run id: process id and log.
#[derive(Default)]
pub struct Alive(Mutex<BTreeMap<u64, (u32, PathBuf)>>);

impl Alive {
    pub fn insert(&self, run: u64, process: u32, log: &Path) {
        self.0.lock().unwrap().insert(run, (process, log.to_owned()));
    }

    pub fn remove(&self, run: u64) {
        self.0.lock().unwrap().remove(&run);
    }

    fn get(&self, run: u64) -> Option<(u32, PathBuf)> {
        self.0.lock().unwrap().get(&run).cloned()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    pub run: u64,
    pub point: Point,
    /// Of the attempt that was killed.
    pub log: PathBuf,
}

pub fn signal(process: u32, name: &str) -> bool {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).output();
    sent.is_ok_and(|output| output.status.success())
}

/// The run that holds the lease.
fn holder(lease: &Value) -> Option<u64> {
    let is_held = lease["isReleased"] == false;
    lease["run"]["key"].as_str().filter(|_| is_held)?.parse().ok()
}

/// `None`: between two points. An intent without a task is none of them: whoever succeeds it has to wait for five minutes,
/// which `tests/fast/story/lease.rs` does on a clock of its own.
fn point(lease: &Value, log: &str) -> Option<Point> {
    match &lease["task"] {
        Value::Null if log.contains("deployment ecs-svc/") => Some(Point::RollingOut),
        Value::Null if log.contains("exited with 0") => None,
        Value::Null => Some(Point::BeforeRunTask),
        task => task["arn"].as_str().map(|_| Point::Migrating),
    }
}

/// Kills one holder at each of these points, in this order, as long as there are holders.
pub async fn kill(field: &Cluster, alive: &Alive, points: Vec<Point>, dice: &mut Random, kills: &Mutex<Vec<Kill>>) {
    for wanted in points {
        loop {
            sleep(Duration::from_millis(20)).await;
            let Some((run, process, log)) = at(wanted, field, alive).await else { continue };
            sleep(Duration::from_millis(dice.roll(300))).await;
            if !signal(process, "STOP") {
                continue;
            }
            // What it had sent arrives; it sends nothing more.
            sleep(Duration::from_millis(300)).await;
            if at(wanted, field, alive).await.is_some_and(|(still, ..)| still == run) {
                kills.lock().unwrap().push(Kill { run, point: wanted, log });
                signal(process, "KILL");
                break;
            }
            signal(process, "CONT");
        }
    }
}

async fn at(wanted: Point, field: &Cluster, alive: &Alive) -> Option<(u64, u32, PathBuf)> {
    let lease = field.scene.lease().await;
    let run = holder(&lease)?;
    let (process, log) = alive.get(run)?;
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    (point(&lease, &text)? == wanted).then_some((run, process, log))
}
