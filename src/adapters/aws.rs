//! AWS: who we are there ([`session`]) and the calls of a release ([`cloud`]).
//!
//! SDK types stop here. What the SDK reads from the process environment is read from the map in
//! [`session::SessionInputs`] instead wherever that is possible, so that a rehearsal cannot reach a real account.

pub mod cloud;
mod credentials;
mod ecr;
mod ecs;
mod ecs_wire;
mod elsewhere;
mod failure;
pub mod identity;
mod logs;
pub mod network;
mod oidc;
pub(super) mod pace;
mod raw;
mod rds;
pub mod session;
mod signed;
mod ssm;
mod sts;

pub use cloud::AwsCloud;
pub use identity::IdentityFailure;
pub use network::Network;
pub use session::{Session, SessionInputs};
