//! By how much a new source's packets come later than its line says: what the line can be moved forward by.

use std::time::{Duration, Instant};

/// A source of which fewer bursts came has not been seen for long enough: the earliest of so few may be late itself.
const ARRIVALS: u32 = 4;

/// What is late by less is late by chance.
const LATE: Duration = Duration::from_millis(5);

/// What is late by more has stalled, or is another place of the stream.
const FARTHEST: Duration = Duration::from_secs(1);

/// The least of a while.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slack {
    least: Option<Duration>,
    arrivals: u32,
    last: Option<Instant>,
}

impl Slack {
    /// A frame came that was behind its time by so much.
    pub(super) fn note(&mut self, arrival: Instant, behind: Duration) {
        self.least = Some(self.least.map_or(behind, |least| least.min(behind)));
        if self.last != Some(arrival) {
            self.last = Some(arrival);
            self.arrivals = self.arrivals.saturating_add(1);
        }
    }

    /// By how much the line is to be moved, if the source is late at all.
    pub(super) fn lateness(&self) -> Option<Duration> {
        self.least.filter(|least| self.arrivals >= ARRIVALS && (LATE..=FARTHEST).contains(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::at;

    fn slack(behind: &[(u64, u64)]) -> Option<Duration> {
        let mut slack = Slack::default();
        for (millis, behind) in behind {
            slack.note(at(*millis), Duration::from_millis(*behind));
        }
        slack.lateness()
    }

    #[test]
    fn the_least_of_enough_bursts_counts() {
        assert_eq!(slack(&[]), None);
        assert_eq!(slack(&[(0, 70), (20, 60), (40, 90), (60, 65)]), Some(Duration::from_millis(60)));
        assert_eq!(slack(&[(0, 70), (20, 60), (20, 90), (20, 65), (40, 80)]), None, "three bursts");
        assert_eq!(slack(&[(0, 70), (20, 60), (40, 4), (60, 65)]), None, "by chance");
        assert_eq!(slack(&[(0, 5), (20, 60), (40, 9), (60, 65)]), Some(LATE));
        assert_eq!(slack(&[(0, 1000), (20, 1000), (40, 1000), (60, 1000)]), Some(FARTHEST));
        assert_eq!(slack(&[(0, 1001), (20, 1001), (40, 1001), (60, 1001)]), None, "it has stalled");
    }
}
