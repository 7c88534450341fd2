//! What a plan is made from.

use std::time::Duration;

use super::Channel;

/// How the source sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Packets that it sends at once, such as those of a video frame.
    pub packets: f64,
    /// From one such burst to the next.
    pub interval: Duration,
    /// How long a burst takes.
    pub length: Duration,
    /// Bytes of a packet.
    pub bytes: f64,
    /// Bytes of the longest packet of a burst, which repair packets are as long as.
    pub longest: f64,
}

/// What is known of the path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Runs of losses that this is known from.
    pub runs: f64,
    /// Losses of media.
    pub forward: Channel,
    /// Losses of requests.
    pub back: Channel,
    /// Round trip, with what has to be allowed for its variation.
    pub rtt: Duration,
    /// From the time at which a packet should have come to the request for it.
    pub detection: Duration,
    /// How much later than without loss a packet may be handed on.
    pub budget: Duration,
    /// How the source sends.
    pub traffic: Traffic,
}

/// What a plan may cost, and is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Everything sent beside the media, as a share of it.
    pub overhead: f64,
    /// Share of packets that may be lost in the end.
    pub target: f64,
    /// The same where packets are lost several in a row: gaps, as a share of packets. What is left then are few and long ones, and
    /// each decade less of them costs as much as the one before.
    pub gap_target: f64,
    /// Whether repair packets may be used, and whether requests may.
    pub fec: bool,
    /// See [`fec`](Self::fec).
    pub nack: bool,
    /// As many repair packets for each packet, whatever is lost; `None` to have it chosen.
    pub share: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { overhead: 0.5, target: 5e-6, gap_target: 2e-5, fec: true, nack: true, share: None }
    }
}

/// Runs of losses after which random ones are told from bursts: until then what is lost may be those.
const KNOWN: f64 = 30.0;

impl Limits {
    /// The target under these conditions.
    #[must_use]
    pub fn target_in(&self, conditions: &Conditions) -> f64 {
        let gaps = self.gap_target * conditions.forward.sane().burst;
        let bursty = conditions.forward.is_bursty() || conditions.runs < KNOWN;
        if bursty { self.target.max(gaps) } else { self.target }
    }
}
