//! The stage over the wire: identity, policies, images, parameters, protocols and faults; and services with real containers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clients;
mod identity;
mod images;
mod parameters;
mod policies;
mod services;
mod unplayed;
mod wire;
