//! Wire level: what we send to AWS and GitHub, byte for byte where it matters, and what we make of their answers, the
//! odd ones included. Everything is played by a small server in the test; nothing reads the environment of the test run.

mod ambient;
mod ecr;
mod ecs;
mod logs;
mod lookups;
mod network;
mod outages;
pub mod scripted_server;
mod sessions;
mod ssm;
mod sts;
mod tasks;
mod web;
