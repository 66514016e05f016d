//! fargate-deploy: from a Dockerfile to a verified ECS Fargate release, and back when the release is bad.

pub mod adapters;
pub mod config;
pub mod domain;
pub mod events;
pub mod ports;
pub mod stage;
