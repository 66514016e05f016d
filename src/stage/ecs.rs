//! ECS: task definitions, tasks as real containers, services with AWS's rolling deployments.

pub mod services;
pub mod task;
