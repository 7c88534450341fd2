//! What a decoder is told, and what it tells.

/// Most indices that a decoder looks back and ahead: with more, 16 bits would not say which packet is meant.
pub const MAX_WINDOW: usize = 16_384;

/// Limits of a [`Decoder`](super::Decoder).
#[derive(Debug, Clone, Copy)]
pub struct DecoderConfig {
    /// Longest packet that can be recovered, at most [`MAX_PACKET_BYTES`](super::super::encoder::MAX_PACKET_BYTES).
    pub packet_bytes: usize,
    /// How many packets a block may be older than the newest, or ahead of it, at most [`MAX_WINDOW`].
    pub window: usize,
    /// Most blocks with gaps that are kept: the oldest is given up for another one.
    pub blocks: usize,
    /// Most memory for repairs of such blocks, as much again for packets that are recovered and wait to be polled, and a
    /// little more for the sums of the block that is recovered.
    pub memory_bytes: usize,
    /// Whether what was recovered as the packet of an index is one. What does not is given up with its block.
    pub verify: fn(index: u64, packet: &[u8]) -> bool,
}

impl Default for DecoderConfig {
    /// Packets of an Ethernet frame, 8192 of them, 64 blocks, 1 MiB, and RTP's sequence number.
    fn default() -> Self {
        Self { packet_bytes: 1500, window: 8192, blocks: 64, memory_bytes: 1 << 20, verify: is_rtp }
    }
}

/// Whether `packet` is RTP (RFC 3550 §5.1) with the index's sequence number.
#[must_use]
pub fn is_rtp(index: u64, packet: &[u8]) -> bool {
    let [first, _, high, low, ..] = packet else { return false };
    packet.len() >= 12 && first >> 6 == 2 && u16::from_be_bytes([*high, *low]) == index as u16
}

/// What became of a repair packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All source packets of its block were there.
    Unneeded,
    /// It is kept until enough of its block is there.
    Kept,
    /// It made its block complete: see [`Decoder::poll_recovered`](super::Decoder::poll_recovered).
    Recovered,
}

/// How often what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Packets that were recovered.
    pub recovered: u64,
    /// Repair packets of blocks that were complete.
    pub unneeded: u64,
    /// Blocks that were given up with gaps as they left the window.
    pub expired: u64,
    /// Blocks that were given up with gaps for another one.
    pub crowded: u64,
    /// Packets that were recovered and not polled before memory was needed again.
    pub unpolled: u64,
}
