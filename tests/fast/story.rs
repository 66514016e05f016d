//! The whole story against a hand-written AWS, on a paused clock: which calls are made in which order, and what a run
//! says about its ending.

pub mod fake;
pub mod scene;

mod cancel;
mod causes;
mod endings;
mod graph;
mod history;
mod interleavings;
mod kills;
mod known_bad;
mod lease;
mod logs;
mod many;
mod migration;
mod newer;
mod one_off;
mod outages;
mod owed;
mod planned;
mod policies;
mod promotion;
mod race;
mod refusals;
mod release;
mod reuse;
mod screens;
mod several_leases;
mod several_services;
mod status;
mod takeover;
mod unfinished;
mod values;
