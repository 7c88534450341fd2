//! Protection of a hop under one latency budget: forward error correction, retransmission, several paths, and the controller
//! that chooses among them. Without I/O: time comes in as `now: Instant`, randomness as a seed.

pub mod control;
pub mod estimate;
pub mod nack;
pub mod order;
pub mod paths;
pub mod protect;
pub mod rs;
pub mod sources;
pub mod xor;
