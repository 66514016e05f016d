//! What is true of one world: written down by a seed, and simple enough to be made simpler when it has failed.

use fargate_deploy_core::service::{Alarms, Breaker};
use serde_json::Value;
use std::sync::LazyLock;
use test_support::Random;

/// What the file of `PREMISES` says, an answer of `scripts/probe`; null without one.
fn premises() -> &'static Value {
    static PREMISES: LazyLock<Value> = LazyLock::new(|| {
        let Ok(file) = std::env::var("PREMISES") else { return Value::Null };
        let answers: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        answers["setting"].clone()
    });
    &PREMISES
}

#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// For the lag of each single read.
    pub seed: u64,
    pub strategy: Kind,
    pub breaker: Breaker,
    pub alarms_roll_back: bool,
    /// What ECS has to go back to.
    pub past: Past,
    /// The revision that serves is deployed again, by force.
    pub is_same_revision: bool,
    pub desired: i64,
    pub fate: Fate,
    /// How long the rollback takes; `None`: it fails too.
    pub rollback: Option<f64>,
    /// Between a deployment's failure and the switch to the one before it.
    pub switch_after: f64,
    pub other: Option<Other>,
    /// Somebody changes the desired count.
    pub rescale: Option<(f64, i64)>,
    /// A pause hook waits for a person, from when and for how long. Only in time before our deployment ends.
    pub hook: Option<(f64, f64)>,
    /// A rollback makes the old deployment primary again, under its old id; else it gets a new one.
    pub reuses_ids: bool,
    /// Where it gets a new one, the texts name it; else the old one.
    pub names_new_id: bool,
    /// A superseded service deployment is `STOPPED`; else it stays in progress.
    pub stops_superseded: bool,
    /// ECS says in a text that it rolls back.
    pub has_texts: bool,
    /// Seconds by which our clock is ahead of AWS's.
    pub skew: f64,
    /// How far DescribeServices, ListServiceDeployments, DescribeServiceDeployments and the tasks' reads lag, at most.
    pub lags: [Lag; 4],
    pub faults: Vec<Fault>,
    pub wait: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Rolling,
    /// Blue/green, linear or canary, and what `rolloutState` shows outside of rolling deployments.
    Native(NativeState),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NativeState {
    Absent,
    /// From the start.
    Completed,
    Honest,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Past {
    /// The revision before ours had completed.
    Completed,
    /// The one before ours never completed, one before that had.
    Third,
    /// None had.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Completes {
        at: f64,
    },
    /// It completes, and from `after` on its tasks end by themselves, every `every` seconds, so many times.
    CompletesAndDies {
        at: f64,
        after: f64,
        every: f64,
        times: u32,
    },
    /// The circuit breaker's threshold is reached at `at`; without a breaker tasks go on failing.
    Crashes {
        at: f64,
    },
    AlarmGoesOff {
        at: f64,
    },
    /// A person stops it, with a rollback or (`STOPPED`) without.
    StoppedByAPerson {
        at: f64,
        rolls_back: bool,
    },
    Hangs,
    ServiceDeleted {
        at: f64,
    },
}

/// Somebody else's UpdateService.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Other {
    pub at: f64,
    pub to: OtherRevision,
    pub takes: f64,
    /// Else it fails, and is put back where the breaker does that.
    pub completes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OtherRevision {
    Newer,
    Ours,
    Previous,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    pub most: f64,
    /// Each read its own lag, so that a later one can show less; else they all lag by `most`.
    pub varies: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    pub call: CallKind,
    pub from: f64,
    pub to: f64,
    pub kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Services,
    List,
    Deployments,
    Tasks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    Denied,
    /// Given up after this many seconds of retrying.
    Throttled(u32),
    Unreachable(u32),
}

impl FaultKind {
    /// Seconds until a call is given up.
    pub fn takes(self) -> f64 {
        match self {
            Self::Denied => 0.0,
            Self::Throttled(seconds) | Self::Unreachable(seconds) => f64::from(seconds),
        }
    }
}

impl Setting {
    pub fn of(seed: u64) -> Self {
        let dice = &mut Random::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let strategy = match dice.roll(4) {
            0 => Kind::Native(dice.pick(&[NativeState::Absent, NativeState::Completed, NativeState::Honest])),
            _ => Kind::Rolling,
        };
        let breaker = match dice.roll(6) {
            0 => Breaker::default(),
            1 => Breaker { is_enabled: true, rolls_back: false },
            _ => Breaker { is_enabled: true, rolls_back: true },
        };
        let at = if dice.one_in(4) { dice.between(0.5, 4.0) } else { dice.between(4.0, 90.0) };
        let fate = match dice.roll(14) {
            0 => Fate::CompletesAndDies {
                at,
                after: dice.between(0.0, 6.0),
                every: dice.between(3.0, 20.0),
                times: dice.pick(&[1, 200]),
            },
            1..=3 => Fate::Crashes { at: at + 6.0 },
            4 => Fate::AlarmGoesOff { at },
            5 => Fate::StoppedByAPerson { at, rolls_back: !dice.one_in(3) },
            6 => Fate::Hangs,
            7 if dice.one_in(3) => Fate::ServiceDeleted { at },
            _ => Fate::Completes { at },
        };
        let other = dice.one_in(3).then(|| Other {
            at: dice.between(0.3, 100.0),
            to: dice.pick(&[
                OtherRevision::Newer,
                OtherRevision::Newer,
                OtherRevision::Newer,
                OtherRevision::Ours,
                OtherRevision::Previous,
            ]),
            takes: dice.between(1.0, 60.0),
            completes: !dice.one_in(3),
        });
        let mut lag = |most: f64| match dice.roll(4) {
            0 => Lag { most: 0.0, varies: false },
            1 => Lag { most: dice.between(0.0, 3.0), varies: dice.one_in(2) },
            2 => Lag { most: dice.between(0.0, 9.0), varies: dice.one_in(2) },
            _ => Lag { most: dice.between(0.0, most), varies: dice.one_in(2) },
        };
        let lags = [lag(25.0), lag(25.0), lag(25.0), lag(10.0)];
        Self {
            seed,
            strategy,
            breaker: if strategy == Kind::Rolling { breaker } else { Breaker::default() },
            alarms_roll_back: matches!(fate, Fate::AlarmGoesOff { .. }) || dice.one_in(10),
            past: match dice.roll(12) {
                0 => Past::Third,
                1 => Past::Nothing,
                _ => Past::Completed,
            },
            is_same_revision: dice.one_in(10),
            desired: dice.pick(&[2, 2, 2, 1, 4, 0]),
            fate,
            rollback: (!dice.one_in(6)).then(|| dice.between(0.0, 40.0)),
            switch_after: if dice.one_in(2) { 0.0 } else { dice.between(0.0, 20.0) },
            other,
            rescale: dice.one_in(8).then(|| (dice.between(0.5, 60.0), dice.pick(&[0, 1, 3, 6]))),
            hook: dice.one_in(8).then(|| (dice.between(0.5, 30.0), dice.between(5.0, 60.0))),
            reuses_ids: dice.one_in(2),
            names_new_id: dice.one_in(2),
            stops_superseded: dice.one_in(2),
            has_texts: !dice.one_in(5),
            skew: if dice.one_in(3) { dice.between(-20.0, 20.0) } else { 0.0 },
            lags,
            faults: faults(dice),
            wait: dice.pick(&[120, 240, 400]),
        }
        .with_probed(premises())
        .made_consistent()
    }

    /// As `scripts/probe` found it on AWS, where it did.
    fn with_probed(mut self, setting: &Value) -> Self {
        let plays = |name: &str, way: &str| setting[name].as_str().map(|found| found == way);
        self.reuses_ids = plays("rollback-primary", "reused-id").unwrap_or(self.reuses_ids);
        self.stops_superseded = plays("superseded-service-deployment", "stopped").unwrap_or(self.stops_superseded);
        if let (Kind::Native(_), Some(is_absent)) = (self.strategy, plays("native-rollout-state", "absent")) {
            self.strategy = Kind::Native(if is_absent { NativeState::Absent } else { NativeState::Honest });
        }
        self
    }

    /// What cannot be together is not.
    fn made_consistent(mut self) -> Self {
        if self.past != Past::Completed {
            self.is_same_revision = false;
        }
        if matches!(self.fate, Fate::CompletesAndDies { .. }) && self.rescale.is_some_and(|(_, to)| to == 0) {
            self.rescale = None;
        }
        if self.desired == 0 {
            if let Fate::CompletesAndDies { at, .. } | Fate::Crashes { at } = self.fate {
                self.fate = Fate::Completes { at };
            }
            self.rescale = None;
        }
        self
    }

    pub fn alarms(&self) -> Alarms {
        Alarms { is_enabled: self.alarms_roll_back, rolls_back: self.alarms_roll_back, names: vec![] }
    }

    pub fn rolls_back(&self) -> bool {
        self.past != Past::Nothing
    }

    /// A call of this kind is denied from the start.
    pub fn is_denied(&self, call: CallKind) -> bool {
        self.faults.iter().any(|f| f.call == call && f.kind == FaultKind::Denied)
    }

    /// The same world with one thing less that makes it hard to read.
    pub fn simpler(&self) -> Vec<Self> {
        let mut all = vec![];
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut other = self.clone();
            change(&mut other);
            let other = other.made_consistent();
            if other != *self {
                all.push(other);
            }
        };
        for at in 0..self.faults.len() {
            with(&|s| {
                s.faults.remove(at);
            });
        }
        for at in 0..4 {
            with(&|s| s.lags[at] = Lag { most: 0.0, varies: false });
            with(&|s| s.lags[at].varies = false);
        }
        with(&|s| s.other = None);
        with(&|s| s.rescale = None);
        with(&|s| s.hook = None);
        with(&|s| s.skew = 0.0);
        with(&|s| s.is_same_revision = false);
        with(&|s| s.past = Past::Completed);
        with(&|s| s.alarms_roll_back = false);
        with(&|s| s.switch_after = 0.0);
        with(&|s| s.rollback = Some(10.0));
        with(&|s| s.desired = 2);
        with(&|s| s.has_texts = true);
        with(&|s| s.stops_superseded = true);
        with(&|s| s.reuses_ids = true);
        with(&|s| s.names_new_id = true);
        with(&|s| s.strategy = Kind::Rolling);
        with(&|s| s.breaker = Breaker { is_enabled: true, rolls_back: true });
        with(&|s| s.fate = Fate::Completes { at: 20.0 });
        with(&|s| s.wait = 240);
        with(&|s| {
            if let Some(other) = &mut s.other {
                other.completes = true;
            }
        });
        with(&|s| {
            if let Some(other) = &mut s.other {
                other.to = OtherRevision::Newer;
            }
        });
        all
    }
}

fn faults(dice: &mut Random) -> Vec<Fault> {
    let mut faults = vec![];
    if dice.one_in(4) {
        faults.push(Fault { call: CallKind::List, from: 0.0, to: f64::MAX, kind: FaultKind::Denied });
        faults.push(Fault { call: CallKind::Deployments, from: 0.0, to: f64::MAX, kind: FaultKind::Denied });
    }
    if dice.one_in(12) {
        faults.push(Fault { call: CallKind::Tasks, from: 0.0, to: f64::MAX, kind: FaultKind::Denied });
    }
    for _ in 0..dice.pick(&[0, 0, 0, 0, 1, 2]) {
        let call = dice.pick(&[CallKind::Services, CallKind::List, CallKind::Deployments, CallKind::Tasks]);
        let from = dice.between(0.0, 60.0);
        let is_long = dice.one_in(4);
        let after = u32::try_from(dice.pick(&[0, 1, 5, 20_u64])).unwrap();
        let kind = dice.pick(&[FaultKind::Throttled(after), FaultKind::Unreachable(after)]);
        let to = if is_long { 10_000.0 } else { from + dice.between(1.0, 70.0) };
        faults.push(Fault { call, from, to, kind });
        if matches!(call, CallKind::List | CallKind::Deployments) && dice.one_in(2) {
            let call = if call == CallKind::List { CallKind::Deployments } else { CallKind::List };
            faults.push(Fault { call, from, to, kind });
        }
    }
    faults
}
