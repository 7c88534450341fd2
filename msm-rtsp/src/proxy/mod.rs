//! What a proxy does to messages that cross it.

pub mod via;
