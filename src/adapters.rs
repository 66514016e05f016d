//! Every effect: SDK, Engine and GitHub types stop in this module.

pub mod aws;
pub mod builder;
pub mod github;
pub mod github_files;
pub mod network;
pub mod remote_builder;
pub mod web;
