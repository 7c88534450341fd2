//! Flows that come by several paths: the same datagram by each, so the first copy opens and the others are replays (SMPTE ST 2022-7).

use std::time::Duration;

use msm_core::route::PathMode;
use msm_fec::paths::{Mode, window_for};

/// The highest rate that copies are still told from packets at whose index is long past: what passes between two members at
/// all is less.
const MOST_PACKETS_A_SECOND: f64 = 100_000.0;
/// The skew that is met if no budget says how much is borne: that of the second class of ST 2022-7 §6.
const SKEW: Duration = Duration::from_millis(50);

/// How a flow comes by several paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copies {
    /// How its packets use them.
    pub(super) mode: Mode,
    /// Packets behind the newest that are remembered, so that a copy which comes by a slower path is known for one.
    pub(super) window: u64,
}

impl Copies {
    /// What comes so far apart at most, where that is known.
    pub(super) fn new(mode: PathMode, latency: Option<Duration>) -> Self {
        let mode = match mode {
            PathMode::Duplicate => Mode::Duplicate,
            PathMode::Spread => Mode::Spread,
        };
        let window = window_for(MOST_PACKETS_A_SECOND, latency.unwrap_or(SKEW), Duration::ZERO);
        Self { mode, window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_for_the_budget() {
        let window = |latency: Option<u64>| {
            Copies::new(PathMode::Duplicate, latency.map(Duration::from_millis)).window
        };
        assert_eq!(window(Some(5)), 1024);
        assert_eq!(window(Some(100)), 32_768);
        assert_eq!(window(None), 16_384);
    }
}
