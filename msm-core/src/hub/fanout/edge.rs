//! Where a track's media is by the time that it arrives: what a new source's line is joined by.

use std::time::{Duration, Instant};

use super::super::clock::ticks;
use crate::seq;

/// How long the packet that came earliest counts; the window before it counts, too.
const WINDOW: Duration = Duration::from_secs(1);

/// A timestamp, and when the media that has it comes if nothing holds it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivePoint {
    /// In the source's own line.
    pub timestamp: u32,
    /// When it came.
    pub arrival: Instant,
}

impl LivePoint {
    /// The timestamp that would come at `moment`.
    pub(super) fn at(&self, moment: Instant, rate: u32) -> u32 {
        match moment.checked_duration_since(self.arrival) {
            Some(after) => self.timestamp.wrapping_add(ticks(after, rate)),
            None => {
                let before = self.arrival.saturating_duration_since(moment);
                self.timestamp.wrapping_sub(ticks(before, rate))
            }
        }
    }
}

/// The packets that came earliest, by their timestamps: the others waited in queues, are of pictures that take long to send,
/// or are shown before others that were sent first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Edge {
    current: Option<LivePoint>,
    previous: Option<LivePoint>,
    since: Option<Instant>,
}

impl Edge {
    #[inline]
    pub(super) fn note(&mut self, point: LivePoint, rate: u32) {
        let in_window =
            self.since.is_some_and(|since| point.arrival.saturating_duration_since(since) < WINDOW);
        if !in_window {
            (self.previous, self.current, self.since) = (self.current, Some(point), Some(point.arrival));
        } else if self
            .current
            .is_none_or(|current| seq::timestamp_newer(point.timestamp, current.at(point.arrival, rate)))
        {
            self.current = Some(point);
        }
    }

    /// The newest timestamp that can be expected at `moment`.
    pub(super) fn at(&self, moment: Instant, rate: u32) -> Option<u32> {
        let own = |point: Option<LivePoint>| point.map(|point| point.at(moment, rate));
        match (own(self.current), own(self.previous)) {
            (Some(one), Some(other)) if seq::timestamp_newer(other, one) => Some(other),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::at;

    fn note(edge: &mut Edge, millis: u64, timestamp: u32) {
        edge.note(LivePoint { timestamp, arrival: at(millis) }, 90_000);
    }

    #[test]
    fn the_earliest_packet_of_the_last_windows_counts() {
        let mut edge = Edge::default();
        assert_eq!(edge.at(at(0), 90_000), None);
        note(&mut edge, 0, u32::MAX);
        assert_eq!(edge.at(at(10), 90_000), Some(899));
        note(&mut edge, 100, 8_999 - 450);
        assert_eq!(edge.at(at(200), 90_000), Some(17_999), "what comes late moves nothing");
        note(&mut edge, 200, 17_999 + 900);
        assert_eq!(edge.at(at(200), 90_000), Some(18_899));
        // A clock that is slow: what was long ago does not count for ever.
        note(&mut edge, 1_200, 100_000);
        assert_eq!(edge.at(at(1_200), 90_000), Some(18_899 + 90_000));
        note(&mut edge, 2_300, 199_000);
        assert_eq!(edge.at(at(2_300), 90_000), Some(199_000));
    }
}
