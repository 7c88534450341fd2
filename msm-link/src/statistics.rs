//! What a link did.

/// What a link did to packets since it was made.
///
/// `sent = too_large + queue_full + outage + lost + passed`; and `arrived = passed + duplicated` once all have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Packets that were handed to it.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Refused: larger than the MTU.
    pub too_large: u64,
    /// Dropped: the queue of the bottleneck was full.
    pub queue_full: u64,
    /// Lost in an outage.
    pub outage: u64,
    /// Lost by the loss model.
    pub lost: u64,
    /// Runs of packets in a row that the loss model lost.
    pub runs: u64,
    /// Packets that were not lost.
    pub passed: u64,
    /// Second copies.
    pub duplicated: u64,
    /// Packets that were held back until others had overtaken them.
    pub reordered: u64,
    /// Packets that were handed over at the other end, copies included.
    pub arrived: u64,
    /// Their bytes.
    pub arrived_bytes: u64,
}

impl Statistics {
    /// Packets that the line lost, for whatever reason but their size.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.queue_full + self.outage + self.lost
    }

    /// Share of the packets on the line that the loss model lost; 0 before the first.
    #[must_use]
    pub fn loss_rate(&self) -> f64 {
        self.lost as f64 / (self.lost + self.passed).max(1) as f64
    }

    /// Mean length of the runs that the loss model lost; 0 before the first.
    #[must_use]
    pub fn mean_run(&self) -> f64 {
        self.lost as f64 / self.runs.max(1) as f64
    }
}
