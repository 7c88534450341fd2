//! What a link does to packets.

use std::time::Duration;

use crate::Loss;

/// Variation of the delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Jitter {
    /// None.
    #[default]
    None,
    /// The delay is spread evenly over ± this around [`Settings::delay`].
    Uniform(Duration),
    /// The delay is normally distributed around [`Settings::delay`] with this standard deviation.
    Normal(Duration),
}

/// Packets that are held back until others have overtaken them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    /// Share of packets that is held back.
    pub probability: f64,
    /// How many packets overtake each.
    pub distance: u32,
    /// A packet that fewer overtake, because none are sent, is not held back longer.
    pub at_most: Duration,
}

/// A bottleneck: packets leave one after the other at a rate, and wait for that in a bounded queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits a second. With 0 nothing leaves until it is changed.
    pub bits_per_second: u64,
    /// Bytes that may wait behind the packet that is leaving. What does not fit is dropped (tail drop).
    pub queue_bytes: usize,
}

/// What a link does to packets. The default is a perfect link: no delay, no loss, any rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Which packets are lost.
    pub loss: Loss,
    /// How long a packet is under way, once it has left the queue.
    pub delay: Duration,
    /// Variation of that. No delay is below 0.
    pub jitter: Jitter,
    /// Whether jitter, and a delay that shrinks, leave packets in their order, as a queue would: then no packet arrives before one
    /// that left earlier, and the mean delay is longer than [`Settings::delay`] says. Packets of [`Settings::reorder`] and second
    /// copies are apart from it.
    pub keep_order: bool,
    /// Packets that are held back until others have overtaken them.
    pub reorder: Option<Reorder>,
    /// Share of packets that arrives twice. The copy has a jitter of its own; packets that are held back are not copied.
    pub duplicate: f64,
    /// A bottleneck.
    pub rate: Option<Rate>,
    /// Largest packet that passes, in bytes.
    pub mtu: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            loss: Loss::None,
            delay: Duration::ZERO,
            jitter: Jitter::None,
            keep_order: true,
            reorder: None,
            duplicate: 0.0,
            rate: None,
            mtu: None,
        }
    }
}
