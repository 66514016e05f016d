//! GitHub: the real adapter against a stand-in that keeps state, over HTTP. Nothing reads the environment of the test run.

mod comments;
mod deployments;
mod plans;
mod refusals;
mod scene;
