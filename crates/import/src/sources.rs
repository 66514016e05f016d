//! A file each: what it says, read to an [`App`](crate::app::App), and a row for everything in it.

pub(crate) mod compose;
pub(crate) mod copilot;
pub(crate) mod dockerfile;
pub(crate) mod dockerrun;
pub(crate) mod ecs_params;
pub(crate) mod fly;
pub(crate) mod heroku;
pub(crate) mod kamal;
pub(crate) mod procfile;
pub(crate) mod railway;
pub(crate) mod render;

mod process;
