//! What protection has done, for the counters.

/// Counts of one flow, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Lost packets that forward error correction brought back.
    pub(crate) fec: u64,
    /// Lost packets that were sent again.
    pub(crate) nack: u64,
    /// Lost packets that another path brought.
    pub(crate) path: u64,
    /// Lost packets that nothing brought back in time.
    pub(crate) unrecovered: u64,
    /// Bytes of protected media that were sent.
    pub(crate) media_bytes: u64,
    /// Bytes that were sent beside it.
    pub(crate) beside_bytes: u64,
    /// Repair packets among them.
    pub(crate) repair_packets: u64,
    /// Retransmissions among them.
    pub(crate) retransmitted: u64,
}

impl Counts {
    fn with(self, other: Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            fec: each(self.fec, other.fec),
            nack: each(self.nack, other.nack),
            path: each(self.path, other.path),
            unrecovered: each(self.unrecovered, other.unrecovered),
            media_bytes: each(self.media_bytes, other.media_bytes),
            beside_bytes: each(self.beside_bytes, other.beside_bytes),
            repair_packets: each(self.repair_packets, other.repair_packets),
            retransmitted: each(self.retransmitted, other.retransmitted),
        }
    }

    /// Both together.
    pub(crate) fn add(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// The higher of each.
    pub(crate) fn max(self, other: Self) -> Self {
        self.with(other, u64::max)
    }

    /// What came since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    /// What the way lost, as its receiver counted it.
    pub(crate) fn lost(self) -> u64 {
        self.fec + self.nack + self.path + self.unrecovered
    }
}
