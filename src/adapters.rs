//! Every effect on the world outside: SDK, Engine and GitHub types stop in this module.

pub mod aws;
pub mod docker;
pub mod web;
