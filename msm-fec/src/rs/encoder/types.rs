//! What an encoder is told, and what it tells.

use super::super::payload::OVERHEAD_BYTES;

/// Longest packet that can be protected: its repair has to fit a datagram with all headers.
pub const MAX_PACKET_BYTES: usize = 65_400;

const _: () = assert!(MAX_PACKET_BYTES + OVERHEAD_BYTES < u16::MAX as usize);

/// Most groups of blocks whose repairs wait to be polled. A burst of packets can fill several.
pub const MAX_WAITING_GROUPS: usize = 16;

/// Limits of an [`Encoder`](super::Encoder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Longest packet that is protected, at most [`MAX_PACKET_BYTES`]. Repairs are up to [`OVERHEAD_BYTES`] and an RTP header longer.
    pub packet_bytes: usize,
    /// Most memory for blocks, those whose repairs wait included: a shape that takes more than half of it is refused.
    pub memory_bytes: usize,
}

impl Default for EncoderConfig {
    /// Packets of an Ethernet frame, 4 MiB.
    fn default() -> Self {
        Self { packet_bytes: 1500, memory_bytes: 4 << 20 }
    }
}

/// Why a source packet is not protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It has no bytes.
    #[error("an empty packet")]
    Empty,
    /// It is longer than configured.
    #[error("a packet of {length} bytes where {allowed} are allowed")]
    Long {
        /// Its length.
        length: usize,
        /// The configured length.
        allowed: usize,
    },
}

/// A repair payload to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair<'a> {
    /// Index of the block's first source packet.
    pub first: u64,
    /// How many source packets the block has.
    pub sources: u8,
    /// From one source packet's index to the next one's.
    pub step: u8,
    /// What the repair packet carries behind its RTP header.
    pub payload: &'a [u8],
}
