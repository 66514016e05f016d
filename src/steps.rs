//! One chapter each, in the order of the story. Steps never call steps.

pub mod authenticate;
pub mod build;
pub mod comment;
pub mod deployment;
pub mod look_up;
pub mod preflight;
pub mod promote;
pub mod push;
pub mod register;
pub mod release;
pub mod resume;
pub mod roll_back;
pub mod roll_out;
pub mod smoke;
pub mod snapshot;
pub mod verify;
pub mod watch;
