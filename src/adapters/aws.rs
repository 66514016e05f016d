//! AWS: who we are there ([`session`]) and the calls of a release ([`client`]).
//!
//! SDK types stop here. What the SDK reads from the process environment is read from the map in
//! [`session::SessionInputs`] instead wherever that is possible, so that a rehearsal cannot reach a real account.

pub mod caller;
mod client;
mod credentials;
mod ecr;
mod ecs;
mod failure;
pub mod identity;
mod logs;
mod lookups;
mod oidc;
mod preconditions;
mod query;
mod raw_json;
mod rds;
pub mod session;
mod sigv4;
mod ssm;
mod sts;
mod surroundings;

pub use crate::adapters::network::Network;
pub use client::AwsClient;
pub use identity::IdentityFailure;
pub use session::{Session, SessionInputs, is_loopback};
