//! The publisher's mapping of wall clock and media clock, and timestamps extrapolated from it.

use std::time::{Duration, Instant};

use crate::ntp::NtpTime;

/// One sender report's clocks (RFC 3550 §6.4.1): `rtp` and `ntp` are the same moment, which reached us at `arrival`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderClock {
    /// The publisher's wall clock.
    pub ntp: NtpTime,
    /// The track's media clock, in its RTP timestamp units.
    pub rtp: u32,
    /// When the report was received.
    pub arrival: Instant,
}

impl SenderClock {
    /// The same clocks at `now`, for a media clock of `rate` ticks a second.
    pub fn at(&self, now: Instant, rate: u32) -> (NtpTime, u32) {
        let elapsed = now.saturating_duration_since(self.arrival);
        (self.ntp.wrapping_add(elapsed), self.rtp.wrapping_add(ticks(elapsed, rate)))
    }

    /// The wall clock at which the media clock shows `timestamp`.
    pub(super) fn ntp_of(&self, timestamp: u32, rate: u32) -> NtpTime {
        let ahead = timestamp.wrapping_sub(self.rtp).cast_signed();
        let span = duration(ahead.unsigned_abs(), rate);
        if ahead < 0 { self.ntp.wrapping_sub(span) } else { self.ntp.wrapping_add(span) }
    }

    /// What the media clock shows at the wall clock `ntp`.
    pub(super) fn rtp_of(&self, ntp: NtpTime, rate: u32) -> u32 {
        let ahead = ntp.to_bits().wrapping_sub(self.ntp.to_bits()).cast_signed();
        if ahead < 0 {
            self.rtp.wrapping_sub(ticks(self.ntp.saturating_since(ntp), rate))
        } else {
            self.rtp.wrapping_add(ticks(ntp.saturating_since(self.ntp), rate))
        }
    }
}

/// A span in ticks of a media clock, rounded to the nearest; wraps as timestamps do.
pub(super) fn ticks(span: Duration, rate: u32) -> u32 {
    let nanos = span.as_nanos().wrapping_mul(u128::from(rate)).wrapping_add(500_000_000);
    (nanos / 1_000_000_000) as u32
}

/// A span in ticks of a media clock as a duration. A rate of 0 gives zero.
pub(super) fn duration(ticks: u32, rate: u32) -> Duration {
    let nanos = u64::from(ticks).saturating_mul(1_000_000_000).checked_div(u64::from(rate));
    Duration::from_nanos(nanos.unwrap_or(0))
}
