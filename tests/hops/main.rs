//! Members and what goes between them: keys, trust, paths, loss, and those who keep no rule.
// What goes wrong here fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/stalls.rs"]
mod stalls;

mod attacks;
mod fallback;
mod hop;
mod members;
mod paths;
mod protection;
mod rogues;
mod streams;
mod trust;
mod ways;
