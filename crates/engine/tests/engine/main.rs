//! The Docker Engine adapter against a real Engine, a real registry and, for what those do not do on demand, an Engine
//! of our own on a socket. Base images are `scratch` plus a static busybox, so nothing is pulled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test sets its clock, its environment and its client up itself")]

mod build;
mod cancel;
mod classic;
mod content;
mod context;
mod fake_engine;
mod memory;
mod negotiation;
mod private_base;
mod push;
mod remote_builder;
mod scripted_builder;
mod solve;
mod support;
