//! The fault matrix.

use super::cells::{Play, play, write_table};
use super::right::wrong;
use super::server::Call;
use super::shop::{Ended, FIRST, Shop};
use super::wire::is_read;
use super::{in_a_world, sample};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// What is wrong with a call, from then on where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    ThrottledTwice,
    ThrottledAMinute,
    /// 500, from then on.
    Fails,
    ResetBefore,
    ResetAfter,
    NoAnswer,
    Truncated,
    /// From then on.
    Denied,
    /// The session with which it was sent has ended.
    Expired,
    /// Reads of its kind show the world of three seconds before, from then on.
    Stale,
    /// The network of the runner, for 100 s.
    Cut,
}

pub const FAULTS: [Fault; 11] = [
    Fault::ThrottledTwice,
    Fault::ThrottledAMinute,
    Fault::Fails,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::NoAnswer,
    Fault::Truncated,
    Fault::Denied,
    Fault::Expired,
    Fault::Stale,
    Fault::Cut,
];

const MINUTE: Duration = Duration::from_secs(60);
const CUT: Duration = Duration::from_secs(100);

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passes,
    /// It never arrives.
    Lost,
    AnswerLost,
    Unanswered,
    CutOff,
    Throttled,
    Fails,
    Denied,
    Expires,
    Stale,
}

/// A fault that begins with a call.
pub struct Disturbance {
    fault: Fault,
    from: Call,
    began: Option<Instant>,
    hits: usize,
}

impl Disturbance {
    pub fn new(fault: Fault, from: Call) -> Self {
        Self { fault, from, began: None, hits: 0 }
    }

    pub fn needs_the_past(&self) -> bool {
        self.fault == Fault::Stale
    }

    pub fn is_cut(&self) -> bool {
        self.fault == Fault::Cut && self.began.is_some_and(|began| began.elapsed() < CUT)
    }

    pub fn verdict(&mut self, call: &Call) -> Verdict {
        let is_first = *call == self.from;
        if is_first {
            self.began = Some(Instant::now());
        }
        let Some(began) = self.began else { return Verdict::Passes };
        if self.fault == Fault::Cut {
            return if self.is_cut() { Verdict::Lost } else { Verdict::Passes };
        }
        if call.operation != self.from.operation {
            return Verdict::Passes;
        }
        self.hits += 1;
        match self.fault {
            Fault::ThrottledTwice if self.hits <= 2 => Verdict::Throttled,
            Fault::ThrottledAMinute if began.elapsed() < MINUTE => Verdict::Throttled,
            Fault::Fails => Verdict::Fails,
            Fault::Denied => Verdict::Denied,
            Fault::Stale => Verdict::Stale,
            Fault::ResetBefore if is_first => Verdict::Lost,
            Fault::ResetAfter if is_first => Verdict::AnswerLost,
            Fault::NoAnswer if is_first => Verdict::Unanswered,
            Fault::Truncated if is_first => Verdict::CutOff,
            Fault::Expired if is_first => Verdict::Expires,
            _ => Verdict::Passes,
        }
    }
}

impl Fault {
    /// Whether it can happen to a call.
    fn can_meet(self, call: &Call) -> bool {
        match self {
            // The token of GitHub's, and what GitHub and the shop are asked with, are no session on AWS.
            Self::Expired => {
                !["oidc:", "github:", "shop:", "sts:AssumeRole"].iter().any(|s| call.operation.starts_with(s))
            }
            Self::Stale => is_read(&call.operation),
            _ => true,
        }
    }

    /// It passes by itself.
    pub fn passes(self) -> bool {
        !matches!(self, Self::Fails | Self::Denied)
    }

    fn words(self) -> &'static str {
        match self {
            Self::ThrottledTwice => "throttled twice",
            Self::ThrottledAMinute => "throttled for 60 s",
            Self::Fails => "500, from then on",
            Self::ResetBefore => "connection reset before the effect",
            Self::ResetAfter => "connection reset after the effect",
            Self::NoAnswer => "no answer",
            Self::Truncated => "a truncated answer",
            Self::Denied => "denied, from then on",
            Self::Expired => "the session has expired",
            Self::Stale => "reads 3 s old, from then on",
            Self::Cut => "no network for 100 s",
        }
    }
}

/// A command that is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    Deploy,
    /// A deploy of three services, with two commands before them and one after.
    Release,
    /// A deploy whose smoke check fails: what it does from there on.
    GoingBack,
    Plan,
    LockAcquire,
    LockStatus,
    LockRelease,
    /// Of the Action, after a job that was killed while it deployed.
    Post,
}

pub const COMMANDS: [Command; 8] = [
    Command::Deploy,
    Command::Release,
    Command::GoingBack,
    Command::Plan,
    Command::LockAcquire,
    Command::LockStatus,
    Command::LockRelease,
    Command::Post,
];

impl Command {
    pub fn words(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Release => "deploy of three services",
            Self::GoingBack => "going back",
            Self::Plan => "plan",
            Self::LockAcquire => "lock acquire",
            Self::LockStatus => "lock status",
            Self::LockRelease => "lock release",
            Self::Post => "post step",
        }
    }

    pub async fn prepare(self) -> Shop {
        let shop = if self == Self::Release { Shop::of_three().await } else { Shop::open().await };
        match self {
            Self::GoingBack => return shop.breaks(),
            Self::LockStatus | Self::LockRelease => assert_eq!(shop.lock("acquire").await.code, 0),
            Self::Post => shop.deploy_until_killed().await,
            _ => {}
        }
        shop.server.forget_calls();
        shop
    }

    async fn run(self, shop: &Shop) -> Ended {
        match self {
            Self::Deploy | Self::Release | Self::GoingBack => shop.deploy(FIRST).await,
            Self::Plan => shop.plan().await,
            Self::LockAcquire => shop.lock("acquire").await,
            Self::LockStatus => shop.lock("status").await,
            Self::LockRelease => shop.lock("release").await,
            Self::Post => shop.post().await,
        }
    }

    /// What the undisturbed command asks for.
    pub async fn recorded(self) -> Vec<Place> {
        let shop = self.prepare().await;
        let ended = self.run(&shop).await;
        assert_eq!(ended.code, if self == Self::GoingBack { 6 } else { 0 }, "{self:?}: {}", ended.said);
        let mut has_updated = false;
        let places = shop.server.calls().into_iter().map(|call| {
            let place = Place { has_updated, call };
            has_updated |= place.call.operation == "ecs:UpdateService";
            place
        });
        let begins = |place: &Place| self != Self::GoingBack || place.call.operation == "shop:GET";
        places.skip_while(|place| !begins(place)).collect()
    }
}

/// A call of the recording.
#[derive(Clone, Debug)]
pub struct Place {
    pub call: Call,
    /// The service was told to move before it.
    pub has_updated: bool,
}

/// One call with one fault.
#[derive(Clone, Debug)]
pub struct Cell {
    pub command: Command,
    pub place: Place,
    pub fault: Fault,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.command.words(), self.place.call, self.fault.words())
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = vec![];
    for command in COMMANDS {
        for place in in_a_world(command.recorded()) {
            let faults = FAULTS.into_iter().filter(|fault| fault.can_meet(&place.call));
            cells.extend(faults.map(|fault| Cell { command, place: place.clone(), fault }));
        }
    }
    cells
}

async fn play_one(cell: &Cell) -> Play {
    let shop = cell.command.prepare().await;
    let from = cell.place.call.clone();
    shop.server.played.disturbance.replace(Some(Disturbance::new(cell.fault, from)));
    let ended = cell.command.run(&shop).await;
    shop.server.played.disturbance.take();
    Play { wrong: wrong(cell, &shop, &ended).await, said: ended.said }
}

#[test]
fn every_call_meets_every_fault_and_the_outcome_is_right() {
    let all = cells();
    let sample = sample(&all, 60);
    let wrong = play("faults", &sample, play_one);
    if sample.len() == all.len() {
        let is_wrong: Vec<&Cell> = wrong.iter().map(|(cell, _)| *cell).collect();
        write_table("faults", &table(&all, &is_wrong));
    }
    assert!(wrong.is_empty(), "{} cells came out wrong", wrong.len());
}

/// Rows are faults, columns commands: how many cells were right, of how many.
fn table(all: &[Cell], wrong: &[&Cell]) -> String {
    let count = |of: &dyn Fn(&Cell) -> bool| {
        let played = all.iter().filter(|cell| of(cell)).count();
        let bad = wrong.iter().filter(|cell| of(cell)).count();
        match (played, bad) {
            (0, _) => "-".to_owned(),
            (_, 0) => played.to_string(),
            _ => format!("{} of {played}", played - bad),
        }
    };
    let row = |name: &str, of: &dyn Fn(&Cell) -> bool| {
        let by_command = COMMANDS.map(|command| count(&|cell| cell.command == command && of(cell)));
        format!("| {name} | {} | {} |\n", by_command.join(" | "), count(of))
    };
    let mut table = format!(
        "| | {} | all |\n|---|{}\n",
        COMMANDS.map(Command::words).join(" | "),
        "--:|".repeat(1 + COMMANDS.len())
    );
    let mut calls: BTreeMap<Command, Vec<&Call>> = BTreeMap::new();
    for cell in all {
        let of = calls.entry(cell.command).or_default();
        if !of.contains(&&cell.place.call) {
            of.push(&cell.place.call);
        }
    }
    let counts = COMMANDS.map(|command| calls[&command].len());
    let texts = counts.map(|n| n.to_string());
    table += &format!("| calls | {} | {} |\n", texts.join(" | "), counts.iter().sum::<usize>());
    for fault in FAULTS {
        table += &row(fault.words(), &|cell| cell.fault == fault);
    }
    table + &row("**right, of all cells**", &|_| true)
}
