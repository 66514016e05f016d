//! How a run looks. The only module, beside `main`, that prints.

pub mod ending;
pub mod log;
pub mod outputs;
pub mod plan;
pub mod summary;
pub mod terraform;
