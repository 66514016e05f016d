//! Random inputs to what reads things from outside: a few in every run, many by `make fuzz`. See `test_support::fuzz`.

mod comments;
mod config;
mod definitions;
mod secrets;
mod tokens;
