//! The whole of a command with the real SDK and real adapters, over the wire, against the simulated AWS and GitHub, on
//! virtual time: a minute of throttling takes no minute. Each call that an undisturbed run makes, as it was recorded, is a
//! place where something goes wrong ([`faults`]), and an event at which the run is killed, suspended or interrupted
//! ([`kills`]). Judged is the world: what runs, how often it was changed, and what the exit code promises of it.
//!
//! `make quick` plays a sample, whose seed it prints, `make soak` every cell: `MATRIX=all`; `MATRIX_SEED` chooses another
//! sample. `MATRIX_CELL` plays those whose name contains it, and prints what the run said.

mod cells;
mod faults;
mod kills;
mod right;
mod server;
mod shop;
mod wire;

use test_support::Random;

/// On a paused clock, on the thread that calls it.
fn in_a_world<T>(played: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, played)
}

/// So many of them, or all with `MATRIX=all`.
fn sample<C: Clone>(all: &[C], most: usize) -> Vec<C> {
    let setting = |name: &str| std::env::var(name).ok();
    if setting("MATRIX").is_some_and(|which| which == "all") || setting("MATRIX_CELL").is_some() {
        return all.to_vec();
    }
    let seed = setting("MATRIX_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("MATRIX_SEED={seed}: {most} of {}", all.len());
    let mut all = all.to_vec();
    Random::new(seed).shuffle(&mut all);
    all.truncate(most);
    all
}
