//! Both directions between two ends.

use std::time::Instant;

use msm_core::rng::Rng;

use crate::{Link, Packet, Settings};

/// Both directions between two ends, with losses of their own.
#[derive(Debug, Clone)]
pub struct Pair<P> {
    /// From the first end to the second.
    pub there: Link<P>,
    /// From the second end to the first.
    pub back: Link<P>,
}

impl<P: Packet + Clone> Pair<P> {
    /// Two links with the same settings; what happens on each is independent of the other, and follows from `seed`.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self::of(settings, settings, seed)
    }

    /// Two links with different settings.
    #[must_use]
    pub fn of(there: Settings, back: Settings, seed: u64) -> Self {
        let mut seeds = Rng::new(seed);
        Self { there: Link::new(there, seeds.next_u64()), back: Link::new(back, seeds.next_u64()) }
    }

    /// From `now` on both do `settings`.
    pub fn set(&mut self, now: Instant, settings: Settings) {
        self.there.set(now, settings);
        self.back.set(now, settings);
    }

    /// Ends or begins an outage of both at `now`.
    pub fn set_up(&mut self, now: Instant, up: bool) {
        self.there.set_up(now, up);
        self.back.set_up(now, up);
    }

    /// When arrivals of either are to be polled next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.there.poll_timeout(), self.back.poll_timeout()) {
            (Some(there), Some(back)) => Some(there.min(back)),
            (there, back) => there.or(back),
        }
    }
}
