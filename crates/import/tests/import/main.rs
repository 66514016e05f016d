//! What `init` makes of the files of other platforms.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod properties;
mod proposals;
