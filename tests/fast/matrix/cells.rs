//! Plays cells on all processors, counts them, and prints those that came out wrong.

use super::in_a_world;
use std::fmt::Display;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How one cell was played.
pub struct Play {
    /// Why its outcome is not right.
    pub wrong: Option<String>,
    pub said: String,
}

/// Plays each, prints the counts, and fails where one is wrong. Those whose name contains `MATRIX_CELL` print what they said.
pub fn play<'a, C: Display + Sync>(
    what: &str,
    cells: &'a [C],
    play_one: impl AsyncFn(&C) -> Play + Sync,
) -> Vec<(&'a C, String)> {
    let began = std::time::Instant::now();
    let only = std::env::var("MATRIX_CELL").ok();
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, String)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(cell) = cells.get(number) else { return };
                    let name = cell.to_string();
                    if only.as_ref().is_some_and(|only| !name.contains(only)) {
                        continue;
                    }
                    let played = in_a_world(play_one(cell));
                    if only.is_some() {
                        println!("== {name}\n{}", played.said);
                    }
                    if let Some(wrong) = played.wrong {
                        println!("wrong: {name}: {wrong}");
                        found.lock().unwrap().push((number, wrong));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort();
    let (played, right) = (cells.len(), cells.len() - found.len());
    println!("{what}: {played} cells, {right} right, {} wrong, in {:?}", found.len(), began.elapsed());
    found.into_iter().map(|(number, wrong)| (&cells[number], wrong)).collect()
}

/// Keeps the counts in docs/reliability.md, between `<!-- counted: NAME -->` and `<!-- /counted -->`.
pub fn write_table(name: &str, table: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let opens = format!("<!-- counted: {name} -->\n");
    let (before, rest) = text.split_once(&opens).unwrap();
    let (_, after) = rest.split_once("<!-- /counted -->").unwrap();
    let current = format!("{before}{opens}{table}<!-- /counted -->{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&page, current).unwrap();
    } else {
        assert_eq!(text, current, "run `MATRIX=all UPDATE_DOCS=1 cargo test --test fast matrix`");
    }
}
