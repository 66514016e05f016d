//! How a run looks. What is printed besides is the results of commands (`lib.rs`) and the lines of `rehearse --serve`.

pub mod container_output;
pub mod ending;
pub mod events;
pub mod foundations;
mod live;
pub mod log;
pub mod log_lines;
pub mod outputs;
pub mod plan;
pub mod policy;
pub mod releases;
pub mod screen;
pub mod sentences;
pub mod status;
mod step_names;
pub mod stream;
pub mod summary;
pub mod warnings;
