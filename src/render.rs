//! How a run looks. The only module, beside `main`, that prints.

pub mod ending;
pub mod events;
pub mod log;
pub mod outputs;
pub mod plan;
pub mod sentences;
pub mod summary;
