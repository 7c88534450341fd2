//! How the source sends, as measured.

use std::time::{Duration, Instant};

use crate::control::Traffic;

/// A pause that ends a burst.
const PAUSE: Duration = Duration::from_millis(4);

/// A source that never pauses is taken for one that does so often.
const LONGEST: Duration = Duration::from_millis(20);

/// Weight of the newest burst.
const WEIGHT: f64 = 1.0 / 8.0;

/// Bursts of packets, and what is between them.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    first: Option<Instant>,
    last: Option<Instant>,
    packets: u32,
    bytes: f64,
    longest: usize,
    mean: Option<Traffic>,
    deviation: f64,
}

impl Meter {
    /// A packet was sent. Whether a burst begins with it.
    #[inline]
    pub(super) fn handle_packet(&mut self, now: Instant, bytes: usize) -> bool {
        let since = |at: Option<Instant>, time| at.is_none_or(|at| now.saturating_duration_since(at) >= time);
        let begins = since(self.last, PAUSE) || since(self.first, LONGEST);
        if begins {
            self.end(now);
            self.first = Some(now);
            self.packets = 0;
            self.bytes = 0.0;
            self.longest = 0;
        }
        self.packets = self.packets.saturating_add(1);
        self.bytes += bytes as f64;
        self.longest = self.longest.max(bytes);
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
            longest: self.longest as f64,
        };
        let mix = |old: f64, new: f64| old + (new - old) * WEIGHT;
        let differs = self.mean.map_or(0.0, |mean| (packets - mean.packets).abs());
        self.deviation = mix(self.deviation, differs);
        let time = |old: Duration, new: Duration| {
            Duration::try_from_secs_f64(mix(old.as_secs_f64(), new.as_secs_f64())).unwrap_or(new)
        };
        self.mean = Some(self.mean.map_or(new, |old| Traffic {
            packets: mix(old.packets, new.packets),
            interval: time(old.interval, new.interval),
            length: time(old.length, new.length),
            bytes: mix(old.bytes, new.bytes),
            longest: mix(old.longest, new.longest),
        }));
    }

    /// By how many packets bursts differ from their mean, on average.
    pub(super) const fn deviation(&self) -> f64 {
        self.deviation
    }

    /// What is known: nothing before the first burst is over.
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
        assert!((traffic.longest - 1200.0).abs() < 1e-9);
        assert_eq!(traffic.length, Duration::from_micros(3200));
        assert_eq!(traffic.interval.as_millis(), 40);
        assert!(meter.deviation() < 1e-9);
    }

    #[test]
    fn frames_of_other_sizes_deviate() {
        let mut meter = Meter::default();
        for frame in 0..40u32 {
            // Each tenth is larger.
            for packet in 0..if frame % 10 == 0 { 40 } else { 8 } {
                let at = epoch_of(frame) + Duration::from_micros(100) * packet;
                meter.handle_packet(at, 1200);
            }
        }
        assert!((1.0..12.0).contains(&meter.deviation()), "{}", meter.deviation());
    }

    fn epoch_of(frame: u32) -> Instant {
        thread_local!(static START: Instant = epoch());
        START.with(|start| *start) + Duration::from_millis(40) * frame
    }

    #[test]
    fn who_never_pauses_sends_bursts_of_20_ms() {
        let (mut meter, start) = (Meter::default(), epoch());
        for packet in 0..1000u32 {
            meter.handle_packet(start + Duration::from_millis(1) * packet, 1316);
        }
        let traffic = meter.traffic().unwrap();
        assert!((traffic.packets - 20.0).abs() < 1e-9, "{traffic:?}");
        assert_eq!((traffic.interval.as_millis(), traffic.length.as_millis()), (20, 19));
    }
}
