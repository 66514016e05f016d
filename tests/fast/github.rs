//! GitHub: the real adapter against a stand-in that keeps state, over HTTP. Nothing reads the environment of the test run.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod comments;
mod deployments;
mod plans;
mod refusals;
mod scene;
