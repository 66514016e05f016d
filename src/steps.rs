//! The steps of a release, a file each. Steps never call steps: [`crate::release`] has the order.

pub mod authenticate;
pub mod build;
pub mod comment;
pub mod github_deployment;
pub mod one_off;
pub mod preflight;
pub mod promote;
pub mod push;
pub mod register;
pub mod release;
pub mod resolve_references;
pub mod resume;
pub mod roll_back;
pub mod roll_out;
pub mod smoke;
pub mod snapshot;
pub mod verify;
pub mod watch;
