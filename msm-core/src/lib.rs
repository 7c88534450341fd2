//! Packets, bursts, stream statistics, hub and routing logic of Media Streaming Mesh, without I/O.
//!
//! Nothing here opens a socket, reads a clock or owns a source of randomness: time comes in as `now: Instant`,
//! randomness as a seed. Every state machine keeps one contract: inputs are `handle_*(now, …)`, outputs are
//! `poll_*`, and after any input the caller drains the outputs until they are empty.

pub mod burst;
pub mod cluster;
pub mod codec;
pub mod frames;
pub mod hop;
pub mod hub;
pub mod ntp;
pub mod rng;
pub mod route;
pub mod rtcp;
pub mod rtp;
pub mod seq;
pub mod stats;
