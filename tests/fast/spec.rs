//! Fast and hermetic: what the program promises without a network, an Engine or a clock.

mod action_yml;
mod architecture;
mod circles;
mod cli;
pub mod config;
mod docs;
mod init;
mod plan;
mod policies;
mod policy;
mod policy_check;
mod references;
mod schema;
mod terraform;
mod values;
mod verify;
mod verify_aws;
