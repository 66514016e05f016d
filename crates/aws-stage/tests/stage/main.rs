//! The stage over the wire: identity, policies, images, parameters, protocols and faults; and services with real containers.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::disallowed_methods, reason = "a test sets its clock, its environment and its client up itself")]

mod clients;
mod containers;
mod identity;
mod images;
mod parameters;
mod policies;
mod services;
mod unplayed;
mod wire;
