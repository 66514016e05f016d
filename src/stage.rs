//! The stage: an in-process stand-in for the AWS API surface that we use, running every task as a real container.
//!
//! Its semantics come from AWS's documentation, never from what our client happens to do.

pub mod api;
pub mod ecr;
pub mod ecs;
pub mod members;
pub mod play;
pub mod registry;
pub mod secrets;
pub mod ssm;
