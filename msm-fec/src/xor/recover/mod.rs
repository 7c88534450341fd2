//! What the three schemes share: sums of packets, sets of packets, a store, and the engine that recovers.

mod cover;
mod decoder;
mod engine;
mod parity;
mod refusal;
mod repair;
mod seen;
mod store;
#[cfg(test)]
mod tests;

pub use crate::sources::{Recovered, Sources};
pub use decoder::{Decoder, Scheme};
pub use parity::MAX_PACKET;
pub use refusal::{Counters, Refusal};
pub use repair::Limits;
pub use store::{Store, StoreLimits};

pub(crate) use cover::Cover;
pub(crate) use engine::Engine;
pub(crate) use parity::{FIXED, Head, Parity};
pub(crate) use repair::{EXTRA_LEVELS, Level, Repair};
