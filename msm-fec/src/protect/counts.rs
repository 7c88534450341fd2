//! What status and metrics show.

/// What a sender sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SenderCounts {
    /// Packets of the media, each once.
    pub packets: u64,
    /// Their bytes.
    pub media_bytes: u64,
    /// Repair packets.
    pub repair_packets: u64,
    /// Packets that were sent again.
    pub retransmitted: u64,
    /// Bytes of everything that was sent beside the media: repair packets, packets sent again, where the line ends; and copies on
    /// further paths.
    pub beside_bytes: u64,
    /// Packets that requests named and that were not sent again: named within a round trip, not kept, or too many.
    pub refused: u64,
    /// Repair packets that were not sent, as everything beside the media had its share of it already.
    pub withheld: u64,
    /// Packets that are too long to be protected by repair packets.
    pub skipped: u64,
}

impl SenderCounts {
    /// What was sent beside the media, as a share of it.
    #[must_use]
    pub fn overhead(&self) -> f64 {
        self.beside_bytes as f64 / self.media_bytes.max(1) as f64
    }
}

/// What a receiver got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiverCounts {
    /// Packets that were handed on, each once.
    pub packets: u64,
    /// Packets that the way lost: those that were recovered, and those that were not. One that a path lost counts, too, where another
    /// had it.
    pub lost: u64,
    /// Lost packets that were computed from repair packets in time.
    pub recovered_by_fec: u64,
    /// Those that were sent again in time.
    pub recovered_by_nack: u64,
    /// Those that another path had.
    pub recovered_by_path: u64,
    /// Packets that the reader did not get.
    pub unrecovered: u64,
    /// Bytes of packets of the media, as they came first.
    pub media_bytes: u64,
    /// Repair packets that came.
    pub repair_packets: u64,
    /// Packets that came again: copies, too.
    pub retransmitted: u64,
    /// Bytes of everything that came beside the media.
    pub beside_bytes: u64,
    /// Packets that were asked for, each round and copy counted.
    pub requested: u64,
}

impl ReceiverCounts {
    /// What came beside the media, as a share of it.
    #[must_use]
    pub fn overhead(&self) -> f64 {
        self.beside_bytes as f64 / self.media_bytes.max(1) as f64
    }
}
