//! Members that hold all keys and keep no rule, as readers and as publishers, against protection on the hop.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here fails the test"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/log.rs"]
mod log;
#[path = "../common/member.rs"]
mod member;
#[path = "../common/pair.rs"]
mod pair;

mod publisher;
mod reader;
mod rogue;
mod setup;
