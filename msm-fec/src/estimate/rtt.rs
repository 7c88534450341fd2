//! Round trips (RFC 6298 §2), with a minimum that is forgotten.

use std::time::Duration;

/// Share of the way back to the mean that the minimum goes with each sample above it.
const FORGET: u32 = 256;

/// Longer samples say that something else waited.
const MOST: Duration = Duration::from_secs(10);

/// Smoothed round trip, its variation, and its minimum.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    least: Duration,
    samples: u32,
}

impl Rtt {
    /// An estimate that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A round trip was measured.
    pub fn handle_sample(&mut self, sample: Duration) {
        let sample = sample.min(MOST);
        self.samples = self.samples.saturating_add(1);
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(sample);
            self.variation = sample / 2;
            self.least = sample;
            return;
        };
        self.variation = self.variation * 3 / 4 + smoothed.abs_diff(sample) / 4;
        let smoothed = smoothed * 7 / 8 + sample / 8;
        self.smoothed = Some(smoothed);
        self.least = sample.min(self.least + smoothed.saturating_sub(self.least) / FORGET);
    }

    /// The smoothed round trip, once one was measured.
    #[must_use]
    pub const fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Mean deviation.
    #[must_use]
    pub const fn variation(&self) -> Duration {
        self.variation
    }

    /// Round trips that were measured.
    #[must_use]
    pub const fn samples(&self) -> u32 {
        self.samples
    }

    /// The shortest of late.
    #[must_use]
    pub fn least(&self) -> Option<Duration> {
        self.smoothed.map(|_| self.least)
    }

    /// After how long an answer is overdue: the mean and four deviations (RFC 6298 §2.3), and `granularity` at least.
    #[must_use]
    pub fn overdue(&self, granularity: Duration) -> Option<Duration> {
        Some(self.smoothed? + (self.variation * 4).max(granularity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn follows_the_round_trip_and_keeps_its_minimum_for_a_while() {
        let mut rtt = Rtt::new();
        assert_eq!((rtt.smoothed(), rtt.least(), rtt.overdue(ms(1))), (None, None, None));
        rtt.handle_sample(ms(20));
        assert_eq!(rtt.overdue(ms(1)), Some(ms(60)), "RFC 6298 §2.2: R + 4 * R/2");
        for _ in 0..100 {
            rtt.handle_sample(ms(20));
        }
        assert!(rtt.overdue(ms(1)).is_some_and(|overdue| overdue < ms(22)));
        for _ in 0..20 {
            rtt.handle_sample(ms(80));
        }
        assert!(rtt.smoothed().is_some_and(|mean| mean > ms(70)));
        assert!(rtt.least().is_some_and(|least| least < ms(30)));
        for _ in 0..2000 {
            rtt.handle_sample(ms(80));
        }
        assert!(rtt.least().is_some_and(|least| least > ms(79)));
        rtt.handle_sample(Duration::MAX);
        assert!(rtt.smoothed().is_some_and(|mean| mean < ms(1500)));
    }
}
