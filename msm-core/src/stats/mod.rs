//! Statistics of one RTP stream: what a receiver measures (RFC 3550 App. A), and what a sender learns from reports.

mod jitter;
mod receiver;
mod sender;

pub use receiver::{LastSenderReport, MAX_DROPOUT, MAX_MISORDER, MIN_SEQUENTIAL, ReceiverStats, Verdict};
pub use sender::{PeerReport, SenderStats};

use std::time::Duration;

/// `ticks` of a clock of `rate` per second, as a duration; zero if the rate is zero.
pub(crate) fn ticks_to_duration(ticks: u32, rate: u32) -> Duration {
    match (u64::from(ticks) * 1_000_000_000).checked_div(u64::from(rate)) {
        Some(nanos) => Duration::from_nanos(nanos),
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests;
