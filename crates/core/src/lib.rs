//! The functional core: what production's state means and what to do about it.
//!
//! Pure: no async, no SDK, no environment, no clock (its dependencies and `tests/fast/spec/architecture.rs` keep it so). The three
//! judgements that users bet production on live here and are tested on literal tables: [`rollout`] (what the
//! observations of a rolling deployment mean), [`task`] (what a stopped task means) and [`rollback`] (what to
//! put back after a failure).

pub mod cause;
pub mod comment;
pub mod exec;
pub mod failure;
pub mod github_deployment;
pub mod history;
pub mod iam_policy;
pub mod iam_role;
pub mod iam_role_check;
pub mod image;
pub mod invocation;
pub mod kinds;
pub mod log_lines;
pub mod markdown;
pub mod names;
pub mod outcome;
pub mod permission;
pub mod plan;
pub mod promotion;
pub mod redact;
pub mod resolved;
pub mod resume;
pub mod rollback;
pub mod rollout;
pub mod service;
pub mod smoke;
pub mod snapshot;
pub mod status;
pub mod task;
pub mod task_definition;
pub mod terraform;
pub mod validated_config;
pub mod verify;
pub mod wording;
