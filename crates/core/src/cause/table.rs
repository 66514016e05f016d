//! The table: what is seen -> why it failed -> what to do. Rows are data, in the order in which they are held against a case.

mod boot;
mod connections;
mod database;
mod deployment;
mod exits;
mod health;
mod identity;
mod image;
mod permissions;
mod registry;
mod resources;
mod start;

use super::row::{Part, Read, Row};
use super::seen::Seen;

/// In this order: what ECS says of a deployment's end (a refused call may be named as one is, and ended nothing), then what kept tasks from starting, how they ended, and last how
/// they were found to be.
pub(super) const PARTS: &[Part] = &[
    Part { rows: &[deployment::ENDED], is_about: |seen| seen.refusal.is_none(), read: Read::Rows, is_last: false },
    Part { rows: &[permissions::ROWS], is_about: |_| true, read: Read::Rows, is_last: false },
    Part { rows: &[identity::ROWS], is_about: |seen| seen.refusal.is_some(), read: Read::Rows, is_last: false },
    Part { rows: &[registry::ROWS], is_about: |seen| seen.refusal.is_some(), read: Read::Rows, is_last: false },
    Part { rows: &[image::ROWS], is_about: |_| true, read: Read::Rows, is_last: false },
    Part { rows: &[resources::ROWS], is_about: |_| true, read: Read::Rows, is_last: false },
    Part { rows: &[start::ROWS], is_about: |_| true, read: Read::Rows, is_last: false },
    Part { rows: &[exits::SIGNALS], is_about: |_| true, read: Read::Rows, is_last: false },
    Part {
        rows: &[database::ROWS, boot::ROWS, connections::ROWS],
        is_about: speaks_at_its_end,
        read: Read::Lines,
        is_last: false,
    },
    Part { rows: &[permissions::ROWS], is_about: speaks_at_its_end, read: Read::Lines, is_last: false },
    Part { rows: &[database::MENTIONED], is_about: speaks_at_its_end, read: Read::Lines, is_last: false },
    Part { rows: &[exits::CODES], is_about: Seen::ended_by_itself, read: Read::Rows, is_last: false },
    Part { rows: &[health::ROWS], is_about: |seen| !seen.ended_by_itself(), read: Read::Rows, is_last: false },
    Part { rows: &[deployment::STUCK], is_about: |_| true, read: Read::Rows, is_last: true },
];

/// Every row of it, once.
pub(super) fn all() -> impl Iterator<Item = &'static Row> {
    let parts = PARTS.iter().enumerate();
    let code = |part: &Part| part.all().next().map(|row| row.code);
    parts.filter(move |(at, part)| !PARTS[..*at].iter().any(|p| code(p) == code(part))).flat_map(|(_, part)| part.all())
}

/// Its own last words can be its cause: it ended by itself, and neither well nor by a signal of ECS.
fn speaks_at_its_end(seen: &Seen) -> bool {
    let code = seen.failed_container().and_then(|c| c.exit_code);
    seen.ended_by_itself() && !matches!(code, Some(0 | 137 | 143))
}
