//! The whole story against a hand-written AWS, on a paused clock: which calls are made in which order, and what a run
//! says about its ending.

pub mod fake;
pub mod scene;

mod cancel;
mod endings;
mod graph;
mod lease;
mod migration;
mod outages;
mod owed;
mod policies;
mod promotion;
mod race;
mod refusals;
mod release;
mod several_leases;
mod takeover;
mod values;
