//! Interarrival jitter (RFC 3550 §6.4.1, App. A.8).

use std::time::{Duration, Instant};

use super::ticks_to_duration;

/// The estimator. Its unit is the tick of the clock that the last packet had.
#[derive(Clone, Debug, Default)]
pub(super) struct Jitter {
    clock_rate: u32,
    /// Ticks in a nanosecond, in 1/2^48: one multiplication a packet in place of a division.
    ticks_per_nano: u64,
    /// Where arrival times count from: the first packet's arrival.
    epoch: Option<Instant>,
    /// Arrival less timestamp of the last packet; unknown behind a restart or a change of clock.
    transit: Option<u32>,
    /// In 1/16 ticks.
    scaled: u32,
}

impl Jitter {
    /// Takes a packet with `timestamp` that arrived `now`. A clock rate of zero (unknown) changes nothing.
    #[inline]
    pub(super) fn handle(&mut self, now: Instant, timestamp: u32, clock_rate: u32) {
        if clock_rate != self.clock_rate {
            self.change_clock(clock_rate);
        }
        if clock_rate == 0 {
            return;
        }
        let elapsed = now.saturating_duration_since(*self.epoch.get_or_insert(now));
        let nanos =
            elapsed.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(elapsed.subsec_nanos()));
        let arrival = ((u128::from(nanos) * u128::from(self.ticks_per_nano)) >> 48) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(last) = self.transit {
            let difference = transit.wrapping_sub(last).cast_signed().unsigned_abs();
            // (scaled + 8) >> 4, without its overflow; never more than `scaled`.
            let decay = (self.scaled >> 4) + (self.scaled >> 3 & 1);
            self.scaled = self.scaled.wrapping_sub(decay).saturating_add(difference);
        }
        self.transit = Some(transit);
    }

    /// Forgets the last packet: its timestamp and the next one's have no relation.
    pub(super) const fn break_line(&mut self) {
        self.transit = None;
    }

    /// Goes to another clock. The estimate is a time, so it is kept and told in the new unit; no difference is taken
    /// across the change, where timestamps have no relation (RFC 7160 §3).
    #[cold]
    fn change_clock(&mut self, clock_rate: u32) {
        let scaled = u64::from(self.scaled) * u64::from(clock_rate);
        if let Some(scaled) = scaled.checked_div(u64::from(self.clock_rate))
            && clock_rate != 0
        {
            self.scaled = u32::try_from(scaled).unwrap_or(u32::MAX);
        }
        self.transit = None;
        if clock_rate != 0 {
            self.clock_rate = clock_rate;
            self.ticks_per_nano = ((u128::from(clock_rate) << 48) / 1_000_000_000) as u64;
        }
    }

    /// The estimate in ticks of the last clock.
    pub(super) const fn ticks(&self) -> u32 {
        self.scaled >> 4
    }

    /// The estimate as a time.
    pub(super) fn duration(&self) -> Duration {
        ticks_to_duration(self.scaled, self.clock_rate) / 16
    }
}
