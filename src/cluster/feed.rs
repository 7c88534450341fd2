//! What the media of a session says of its endpoint, once a second: how much came, what was lost on the way here, and what is no media.
//!
//! Losses are those of the source's line as it came in, behind whatever brought packets back: never what readers report.

use std::time::{Duration, Instant};

use msm_core::cluster::Outcome;
use msm_core::hub::Ingest;

/// How often something is said. Whoever asks does so on a grid of half seconds, more or less.
const EVERY: Duration = Duration::from_millis(900);

/// Figures of a stream, over all its tracks and sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    packets: u64,
    bytes: u64,
    lost: u64,
    garbage: u64,
}

impl Totals {
    pub(super) fn of(ingest: &Ingest) -> Self {
        let mut totals = Self::default();
        let mut track = 0;
        while let Some(stats) = ingest.stats(track) {
            totals.packets = totals.packets.saturating_add(stats.packets);
            totals.bytes = totals.bytes.saturating_add(stats.bytes);
            totals.lost = totals.lost.saturating_add(stats.lost);
            track += 1;
        }
        let garbage = ["malformed", "unknown_payload_type", "foreign_ssrc"];
        let counted = ingest.counters().iter().filter(|(name, _)| garbage.contains(name));
        totals.garbage = counted.map(|(_, count)| count).sum();
        totals
    }
}

/// What is to be said.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) outcomes: Vec<Outcome>,
    /// What comes now.
    pub(super) bits_per_second: u64,
}

/// Knows what one session has said already.
#[derive(Debug, Default)]
pub(super) struct Feed {
    last: Option<(Instant, Totals)>,
}

impl Feed {
    /// What is new, if it is time. The first call only learns what other sources of the stream have left.
    pub(super) fn look(&mut self, now: Instant, totals: Totals) -> Option<Said> {
        let Some((at, before)) = self.last else {
            self.last = Some((now, totals));
            return None;
        };
        let passed = now.saturating_duration_since(at);
        if passed < EVERY {
            return None;
        }
        // A packet that was counted lost may still come: what was said of it is not said again.
        let kept = Totals { lost: totals.lost.max(before.lost), ..totals };
        self.last = Some((now, kept));
        let lost = kept.lost.saturating_sub(before.lost);
        let expected = totals.packets.saturating_sub(before.packets).saturating_add(lost);
        let garbage = totals.garbage.saturating_sub(before.garbage);
        let mut outcomes = Vec::new();
        if expected > 0 {
            outcomes.push(Outcome::Loss { lost, expected });
        }
        if garbage > 0 {
            outcomes.push(Outcome::Garbage { packets: garbage });
        }
        let bits = totals.bytes.saturating_sub(before.bytes).saturating_mul(8);
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
        Some(Said { outcomes, bits_per_second: bits.saturating_mul(1000) / millis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn totals(packets: u64, lost: u64, garbage: u64) -> Totals {
        Totals { packets, bytes: packets * 1000, lost, garbage }
    }

    #[test]
    fn each_second_says_what_is_new_in_it() {
        let start = Instant::now();
        let mut feed = Feed::default();
        // What another source has left.
        assert_eq!(feed.look(start, totals(5000, 300, 70)), None);
        assert_eq!(feed.look(start + SECOND / 2, totals(5050, 300, 70)), None);
        let said = feed.look(start + SECOND, totals(5090, 310, 75)).unwrap();
        assert_eq!(
            said.outcomes,
            [Outcome::Loss { lost: 10, expected: 100 }, Outcome::Garbage { packets: 5 }]
        );
        assert_eq!(said.bits_per_second, 720_000);
        let said = feed.look(start + 3 * SECOND, totals(5290, 310, 75)).unwrap();
        assert_eq!(said.outcomes, [Outcome::Loss { lost: 0, expected: 200 }]);
        assert_eq!(said.bits_per_second, 800_000);
        let silent = feed.look(start + 4 * SECOND, totals(5290, 310, 75)).unwrap();
        assert_eq!(silent, Said { outcomes: Vec::new(), bits_per_second: 0 });
    }

    #[test]
    fn what_comes_late_is_not_lost_twice() {
        let start = Instant::now();
        let mut feed = Feed::default();
        feed.look(start, totals(100, 0, 0));
        let said = feed.look(start + SECOND, totals(190, 10, 0)).unwrap();
        assert_eq!(said.outcomes, [Outcome::Loss { lost: 10, expected: 100 }]);
        // Five of them come after all; then five others are lost.
        let said = feed.look(start + 2 * SECOND, totals(295, 5, 0)).unwrap();
        assert_eq!(said.outcomes, [Outcome::Loss { lost: 0, expected: 105 }]);
        let said = feed.look(start + 3 * SECOND, totals(390, 10, 0)).unwrap();
        assert_eq!(said.outcomes, [Outcome::Loss { lost: 0, expected: 95 }]);
    }
}
