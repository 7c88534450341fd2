//! A mesh at work: another configuration, another process, its end, and what it says of itself.
// What goes wrong here fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod drain;
mod metrics;
mod metrics_security;
mod real_time;
mod reload;
mod upgrade;
mod upgrade_ends;
mod upgrade_hops;
