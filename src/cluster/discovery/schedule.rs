//! When DNS is asked again.

use std::time::{Duration, Instant};

use msm_core::rng::Rng;

/// An answer that expires sooner is used so long all the same.
pub(super) const TTL_FLOOR: Duration = Duration::from_secs(1);
/// An answer that expires later is asked for again after this.
pub(super) const TTL_CEILING: Duration = Duration::from_secs(300);
/// Wait after the first failure; doubled with each further one, up to a ceiling.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_CEILING: Duration = Duration::from_secs(60);

/// Says when to ask: [`Self::poll_timeout`]. Told what became of it.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Instead of the TTL.
    interval: Option<Duration>,
    failures: u32,
    next: Instant,
    rng: Rng,
}

impl Schedule {
    /// Asks at once.
    pub(super) fn new(now: Instant, interval: Option<Duration>, seed: u64) -> Self {
        Self { interval, failures: 0, next: now, rng: Rng::new(seed) }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// An answer has come that lives for `ttl`.
    pub(super) fn handle_answer(&mut self, now: Instant, ttl: Duration) {
        self.failures = 0;
        let wait = self.interval.unwrap_or_else(|| ttl.clamp(TTL_FLOOR, TTL_CEILING));
        self.next = now + wait;
    }

    /// There was no answer. Up to a quarter more is waited, so that not all members come back to a name server at once.
    pub(super) fn handle_failure(&mut self, now: Instant) {
        let wait = BACK_OFF.saturating_mul(1 << self.failures.min(10)).min(BACK_OFF_CEILING);
        self.failures = self.failures.saturating_add(1);
        let more = self.rng.next_u64() % 256;
        self.next = now + wait + wait.saturating_mul(u32::try_from(more).unwrap_or(0)) / 1024;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn wait(schedule: &Schedule, now: Instant) -> Duration {
        schedule.poll_timeout().saturating_duration_since(now)
    }

    #[test]
    fn an_answer_is_used_until_it_expires_between_the_bounds() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, None, 1);
        assert_eq!(wait(&schedule, now), Duration::ZERO);
        for (ttl, wanted) in [(0, 1), (1, 1), (30, 30), (300, 300), (86_400, 300)] {
            schedule.handle_answer(now, ttl * SECOND);
            assert_eq!(wait(&schedule, now), wanted * SECOND);
        }
        let mut fixed = Schedule::new(now, Some(7 * SECOND), 1);
        fixed.handle_answer(now, 86_400 * SECOND);
        assert_eq!(wait(&fixed, now), 7 * SECOND);
    }

    #[test]
    fn failures_are_asked_about_less_and_less_often_until_an_answer_comes() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, None, 7);
        let mut waits = Vec::new();
        for _ in 0..40 {
            schedule.handle_failure(now);
            waits.push(wait(&schedule, now));
        }
        for (index, wait) in waits.iter().enumerate() {
            let least = (1u32 << index.min(6)).min(60) * SECOND;
            assert!((least..=least * 5 / 4).contains(wait), "{index}: {wait:?}");
        }
        assert!(waits[10..].iter().any(|wait| *wait != waits[10]), "all the same");
        schedule.handle_answer(now, SECOND);
        schedule.handle_failure(now);
        assert!(wait(&schedule, now) < 2 * SECOND);
    }
}
