//! fargate-deploy: from a Dockerfile to a verified ECS Fargate release, and back when the release is bad.

pub mod adapters;
pub mod commands;
pub mod config;
pub mod context;
pub mod deploy;
pub mod domain;
pub mod error;
pub mod events;
pub mod evidence;
pub mod lease;
pub mod moving;
pub mod ports;
pub mod render;
pub mod stage;
pub mod steps;
pub mod world;
