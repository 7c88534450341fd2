//! Who may come, and what is protected on plain hops: routes' `allow`, passwords, SRTP.
// What goes wrong here fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod authorization;
mod srtp;
mod srtp_attacks;
mod users;
