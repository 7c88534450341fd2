//! Media Streaming Mesh: routing, fan-out and metrics for real-time media, as a library.

pub mod config;
