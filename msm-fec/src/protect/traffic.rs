//! How the source sends, as measured.

use std::time::{Duration, Instant};

use crate::control::Traffic;

/// A pause that ends a burst.
const PAUSE: Duration = Duration::from_millis(4);

/// Weight of the newest burst.
const WEIGHT: f64 = 1.0 / 8.0;

/// Bursts of packets, and what is between them.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    first: Option<Instant>,
    last: Option<Instant>,
    packets: u32,
    bytes: f64,
    mean: Option<Traffic>,
}

impl Meter {
    /// A packet was sent. Whether a burst begins with it.
    #[inline]
    pub(super) fn handle_packet(&mut self, now: Instant, bytes: usize) -> bool {
        let begins = self.last.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE);
        if begins {
            self.end(now);
            self.first = Some(now);
            self.packets = 0;
            self.bytes = 0.0;
        }
        self.packets = self.packets.saturating_add(1);
        self.bytes += bytes as f64;
        self.last = Some(now);
        begins
    }

    fn end(&mut self, now: Instant) {
        let (Some(first), Some(last)) = (self.first, self.last) else { return };
        let packets = f64::from(self.packets);
        let new = Traffic {
            packets,
            interval: now.saturating_duration_since(first),
            length: last.saturating_duration_since(first),
            bytes: self.bytes / packets.max(1.0),
        };
        let mix = |old: f64, new: f64| old + (new - old) * WEIGHT;
        let time = |old: Duration, new: Duration| {
            Duration::try_from_secs_f64(mix(old.as_secs_f64(), new.as_secs_f64())).unwrap_or(new)
        };
        self.mean = Some(self.mean.map_or(new, |old| Traffic {
            packets: mix(old.packets, new.packets),
            interval: time(old.interval, new.interval),
            length: time(old.length, new.length),
            bytes: mix(old.bytes, new.bytes),
        }));
    }

    /// What is known; of a source that never pauses nothing, at first.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nack::testing::epoch;

    #[test]
    fn frames_are_told_apart_by_the_pauses_between_them() {
        let mut meter = Meter::default();
        let start = epoch();
        let mut begun = 0;
        for frame in 0..20u32 {
            for packet in 0..33u32 {
                let at = start + Duration::from_millis(40) * frame + Duration::from_micros(100) * packet;
                begun += u32::from(meter.handle_packet(at, 1200));
            }
        }
        assert_eq!(begun, 20);
        let traffic = meter.traffic().unwrap();
        assert!((traffic.packets - 33.0).abs() < 1e-9 && (traffic.bytes - 1200.0).abs() < 1e-9);
        assert_eq!(traffic.length, Duration::from_micros(3200));
        assert_eq!(traffic.interval.as_millis(), 40);
    }
}
