//! What the two ends tell each other besides requests.

use std::time::Duration;

/// What a receiver measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Which report it is: [`Next::echo`] names it.
    pub id: u8,
    /// Share of packets that is lost, the higher one of late and over a longer time.
    pub loss: f64,
    /// Mean number of packets that are lost in a row.
    pub burst: f64,
    /// Round trip with its variation, once it was measured.
    pub rtt: Option<Duration>,
    /// How much later than in order packets come.
    pub reorder: Duration,
}

impl Report {
    /// The same, in bounds that arithmetic can take: a receiver may tell anything.
    pub(super) fn bounded(self) -> Self {
        let most = Duration::from_secs(60);
        Self {
            loss: if self.loss.is_nan() { 0.0 } else { self.loss.clamp(0.0, 1.0) },
            burst: if self.burst.is_nan() { 1.0 } else { self.burst.clamp(1.0, 1e6) },
            rtt: self.rtt.map(|rtt| rtt.min(most)),
            reorder: self.reorder.min(most),
            ..self
        }
    }
}

/// What a sender tells: where its line ends, and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The index after the last packet.
    pub next: u64,
    /// How long a request may wait for repair packets.
    pub hold_off: Duration,
    /// The last report that came, if this answers it: the receiver measures the round trip by it.
    pub echo: Option<u8>,
}
