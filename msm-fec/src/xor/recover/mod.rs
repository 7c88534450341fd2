//! What the three schemes share: sums of packets, sets of packets, a store, and the engine that recovers.

mod cover;
mod engine;
mod parity;
mod refusal;
mod seen;
mod store;
#[cfg(test)]
mod tests;

pub use engine::{Limits, Recovered};
pub use parity::MAX_PACKET;
pub use refusal::{Counters, Refusal};
pub use store::{Sources, Store, StoreLimits};

pub(crate) use cover::Cover;
pub(crate) use engine::{EXTRA_LEVELS, Engine, Level, Repair};
pub(crate) use parity::{FIXED, Head, Parity};
