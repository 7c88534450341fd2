//! Publishers, readers, applications and upstream servers, and what they may count on.
// What goes wrong here fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod api;
mod bad_input;
#[cfg(feature = "blocking")]
mod blocking;
mod events;
mod examples;
mod frames;
mod mending;
mod retransmission;
mod rtp_info;
mod sessions;
mod succession;
mod upstream;
