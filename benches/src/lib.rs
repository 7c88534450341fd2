//! What the benches share: relays to compare with, a source, sinks, a minimal RTSP client, and the accounting of a
//! child process.
//!
//! [`matrix`] is apart from that: protection over a lossy link in virtual time (`make loss-matrix`).
//!
//! The data-plane bench (`cargo bench -p msm-benches --bench data_plane`) runs each relay in its own process and
//! divides that process's CPU time by the packets that arrived at the sinks.

pub mod addresses;
pub mod cell;
pub mod delay;
pub mod fanout;
pub mod feed;
pub mod handshakes;
pub mod matrix;
pub mod members;
pub mod modes;
pub mod msm;
pub mod oneway;
pub mod packets;
pub mod pickers;
pub mod process;
pub mod protected;
pub mod rate;
pub mod relay;
pub mod repair;
pub mod report;
pub mod routing;
pub mod rs;
pub mod rtp;
pub mod rtsp;
pub mod setup;
pub mod sinks;
pub mod srtp;

/// Whatever ends a bench: its text is for a person.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Result of a step of a bench.
pub type Result<T> = std::result::Result<T, Error>;

/// Size of every RTP packet, header included.
pub const PACKET_BYTES: usize = 1200;
