//! How far packets overtake each other.

use std::time::{Duration, Instant};

/// After so long without any reordering the estimate is half of what it was.
const HALF_LIFE: Duration = Duration::from_secs(5);

/// Below this it is nothing.
const FLOOR: Duration = Duration::from_micros(50);

/// How late packets come that others overtook: zero while none did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reorder {
    worst: Duration,
    at: Option<Instant>,
    depth: u64,
    count: u64,
}

impl Reorder {
    /// An estimate that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet came `late` after the first that had overtaken it, `depth` numbers behind the highest.
    pub fn handle_late(&mut self, now: Instant, late: Duration, depth: u64) {
        // A fixed delay of some packets is reordering that is always the same: a little above is enough for all of them.
        let late = late + late / 4;
        let (worst, before) = (self.delay(now), self.depth(now));
        self.worst = worst.max(late);
        self.depth = before.max(depth);
        self.at = Some(now);
        self.count += 1;
    }

    /// How long to wait for a packet that others overtook before it is taken for lost.
    #[must_use]
    pub fn delay(&self, now: Instant) -> Duration {
        let kept = self.worst.mul_f64(self.kept(now));
        if kept < FLOOR { Duration::ZERO } else { kept }
    }

    /// By how many packets others are overtaken.
    #[must_use]
    pub fn depth(&self, now: Instant) -> u64 {
        (self.depth as f64 * self.kept(now)) as u64
    }

    /// Packets that were overtaken, ever.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    fn kept(&self, now: Instant) -> f64 {
        let Some(at) = self.at else { return 0.0 };
        let lives = now.saturating_duration_since(at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        (-lives).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_until_it_is_seen_and_is_forgotten() {
        let start = crate::nack::testing::epoch();
        let mut reorder = Reorder::new();
        assert_eq!((reorder.delay(start), reorder.depth(start)), (Duration::ZERO, 0));
        reorder.handle_late(start, Duration::from_millis(8), 3);
        reorder.handle_late(start, Duration::from_millis(1), 1);
        assert_eq!((reorder.delay(start), reorder.depth(start)), (Duration::from_millis(10), 3));
        assert!(reorder.delay(start + HALF_LIFE) <= Duration::from_millis(5));
        assert_eq!(reorder.delay(start + 20 * HALF_LIFE), Duration::ZERO);
        // A clock that steps back changes nothing.
        assert_eq!(reorder.delay(start.checked_sub(HALF_LIFE).unwrap_or(start)), Duration::from_millis(10));
    }
}
