//! For how long an endpoint is left out.

use std::time::{Duration, Instant};

use super::super::view::Why;
use super::OutlierOptions;

/// The ejections of one endpoint.
#[derive(Debug, Default)]
pub(in super::super) struct Ejections {
    /// Until when it is out, and why.
    pub(in super::super) now: Option<(Instant, Why)>,
    /// How many there have been.
    pub(in super::super) count: u64,
    /// How many of them in a row.
    streak: u32,
    returned: Option<Instant>,
}

impl Ejections {
    /// Leaves it out: for `ejection` the first time, twice that the second, and so on up to `max_ejection`. Each `ejection` that it has been back without
    /// another one takes one of them off. Returns until when.
    pub(in super::super) fn eject(&mut self, now: Instant, options: &OutlierOptions, why: Why) -> Instant {
        let base = options.ejection.max(Duration::from_millis(1));
        if let Some(returned) = self.returned {
            let good = now.saturating_duration_since(returned).as_nanos() / base.as_nanos();
            self.streak = self.streak.saturating_sub(u32::try_from(good).unwrap_or(u32::MAX));
        }
        self.streak = self.streak.saturating_add(1);
        self.count = self.count.saturating_add(1);
        let length =
            base.checked_mul(self.streak).unwrap_or(options.max_ejection).min(options.max_ejection.max(base));
        let until = now + length;
        self.now = Some((until, why));
        until
    }

    /// It is back.
    pub(in super::super) fn end(&mut self, now: Instant) {
        if self.now.take().is_some() {
            self.returned = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_longer_than_the_one_before_and_good_times_make_it_shorter_again() {
        let options = OutlierOptions::default();
        let mut own = Ejections::default();
        let mut now = crate::cluster::some_instant();
        let mut length = |own: &mut Ejections, good: u64| {
            now += Duration::from_secs(good);
            let until = own.eject(now, &options, Why::Failures(5));
            let length = until - now;
            now = until;
            own.end(now);
            length.as_secs()
        };
        let lengths: Vec<u64> = (0..12).map(|_| length(&mut own, 1)).collect();
        assert_eq!(lengths, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
        assert_eq!(length(&mut own, 30 * 10), 90);
        assert_eq!(length(&mut own, 30 * 10), 30);
        assert_eq!(own.count, 14);
    }
}
