//! ECS services.

pub mod configuration;
pub mod history;
pub mod model;
mod rollout;
pub mod scheduler;
