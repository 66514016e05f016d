//! The stage's front over the wire: identity, policies, images, parameters, protocols and faults.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clients;
mod elsewhere;
mod identity;
mod images;
mod parameters;
mod policies;
mod wire;
