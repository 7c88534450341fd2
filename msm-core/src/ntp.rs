//! NTP timestamps as RTCP carries them (RFC 3550 §4), and what is computed from them (RFC 3550 §6.4.1).

use std::time::Duration;

/// Seconds from the NTP epoch, 1900-01-01, to the Unix epoch.
const UNIX_EPOCH_SECONDS: u32 = 2_208_988_800;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A wall-clock time in 1/2^32 seconds since 1900, as the 64 bits on the wire.
///
/// The seconds wrap in 2036: values with the top bit clear are read as the era that starts then. Other clocks than
/// the wall clock are allowed in sender reports, so differences are what counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NtpTime(u64);

impl NtpTime {
    /// A time from its 64 bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The wall-clock time `since_unix_epoch`, rounded to the nearest 1/2^32 second; wraps with the era.
    #[must_use]
    pub fn from_unix(since_unix_epoch: Duration) -> Self {
        let seconds = since_unix_epoch.as_secs().wrapping_add(u64::from(UNIX_EPOCH_SECONDS));
        Self((seconds << 32).wrapping_add(fraction(since_unix_epoch)))
    }

    /// The time since the Unix epoch, rounded to the nearest nanosecond. Zero for times before 1970.
    #[must_use]
    pub fn to_unix(self) -> Duration {
        let seconds = u64::from(self.seconds());
        let era = if seconds >> 31 == 0 { 1_u64 << 32 } else { 0 };
        match (seconds + era).checked_sub(u64::from(UNIX_EPOCH_SECONDS)) {
            Some(seconds) => Duration::from_secs(seconds).saturating_add(span(self.0 & 0xffff_ffff)),
            None => Duration::ZERO,
        }
    }

    /// The seconds since 1900, modulo 2^32.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The middle 32 bits, in 1/65536 seconds: the form of LSR (RFC 3550 §6.4.1).
    #[must_use]
    pub const fn compact(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The time from `earlier` to this one; zero if `earlier` is the later one. Right for spans below 68 years.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        match u64::try_from(self.0.wrapping_sub(earlier.0).cast_signed()) {
            Ok(elapsed) => span(elapsed),
            Err(_) => Duration::ZERO,
        }
    }

    /// This time and `later` on; wraps with the era.
    #[must_use]
    pub fn wrapping_add(self, later: Duration) -> Self {
        Self(self.0.wrapping_add(later.as_secs() << 32).wrapping_add(fraction(later)))
    }

    /// This time less `earlier`; wraps with the era.
    #[must_use]
    pub fn wrapping_sub(self, earlier: Duration) -> Self {
        Self(self.0.wrapping_sub(earlier.as_secs() << 32).wrapping_sub(fraction(earlier)))
    }
}

/// The part of `duration` below a second, in 1/2^32 seconds, to the nearest.
fn fraction(duration: Duration) -> u64 {
    ((u64::from(duration.subsec_nanos()) << 32) + NANOS_PER_SECOND / 2) / NANOS_PER_SECOND
}

/// `units` of 1/2^32 seconds, to the nearest nanosecond.
fn span(units: u64) -> Duration {
    let nanos = ((units & 0xffff_ffff) * NANOS_PER_SECOND + (1 << 31)) >> 32;
    Duration::from_secs(units >> 32) + Duration::from_nanos(nanos)
}

/// A span in 1/65536 seconds, as DLSR is, to a duration.
#[must_use]
pub fn compact_to_duration(compact: u32) -> Duration {
    span(u64::from(compact) << 16)
}

/// A duration to 1/65536 seconds, as DLSR is: rounded down, at most `u32::MAX` (18 hours).
#[must_use]
pub fn duration_to_compact(duration: Duration) -> u32 {
    let units = (duration.as_nanos() << 16) / u128::from(NANOS_PER_SECOND);
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// The round-trip time `A − LSR − DLSR` (RFC 3550 §6.4.1), all three in 1/65536 seconds.
///
/// `None` when `last_sr` is zero: the peer had no sender report yet. Zero when clock steps or a lying peer make the
/// result negative.
///
/// ```
/// use std::time::Duration;
/// // The example of RFC 3550 §6.4.1, figure 2.
/// let rtt = msm_core::ntp::round_trip(0xb710_8000, 0xb705_2000, 0x0005_4000);
/// assert_eq!(rtt, Some(Duration::from_millis(6_125)));
/// ```
#[must_use]
pub fn round_trip(arrival: u32, last_sr: u32, delay_since_last_sr: u32) -> Option<Duration> {
    (last_sr != 0).then(|| {
        let elapsed = arrival.wrapping_sub(last_sr);
        // A difference in the upper half means that the report arrived "before" it was asked for.
        let elapsed = if elapsed > u32::MAX / 2 { 0 } else { elapsed };
        compact_to_duration(elapsed.saturating_sub(delay_since_last_sr))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_unix_epoch_is_where_rfc_5905_puts_it() {
        assert_eq!(NtpTime::from_unix(Duration::ZERO).to_bits(), 0x83aa_7e80_0000_0000);
        assert_eq!(NtpTime::from_unix(Duration::from_millis(500)).to_bits(), 0x83aa_7e80_8000_0000);
        assert_eq!(NtpTime::from_bits(0x83aa_7e80_4000_0000).to_unix(), Duration::from_millis(250));
        // 2 ns are 8.59 units, 3 units are 0.70 ns.
        assert_eq!(NtpTime::from_unix(Duration::from_nanos(2)).to_bits(), 0x83aa_7e80_0000_0009);
        assert_eq!(NtpTime::from_bits(0x83aa_7e80_0000_0003).to_unix(), Duration::from_nanos(1));
    }

    #[test]
    fn compact_is_the_middle() {
        // RFC 3550 §6.4.1, figure 2: SR with ntp_sec 0xb44db705, ntp_frac 0x20000000.
        assert_eq!(NtpTime::from_bits(0xb44d_b705_2000_0000).compact(), 0xb705_2000);
    }

    #[test]
    fn the_era_of_2036_follows_the_first() {
        let last = NtpTime::from_bits(0xffff_ffff_0000_0000);
        let first = NtpTime::from_bits(0x0000_0001_0000_0000);
        assert_eq!(first.saturating_since(last), Duration::from_secs(2));
        assert_eq!(first.to_unix() - last.to_unix(), Duration::from_secs(2));
        assert_eq!(NtpTime::from_unix(first.to_unix()), first);
        assert_eq!(last.wrapping_add(Duration::from_secs(2)), first);
        assert_eq!(first.wrapping_sub(Duration::from_secs(2)), last);
    }

    #[test]
    fn odd_times_saturate() {
        assert_eq!(NtpTime::from_bits(0x8000_0000_0000_0000).to_unix(), Duration::ZERO);
        let earlier = NtpTime::from_bits(5);
        assert_eq!(earlier.saturating_since(NtpTime::from_bits(6 << 32)), Duration::ZERO);
        let _ = NtpTime::from_unix(Duration::MAX);
        let _ = earlier.wrapping_add(Duration::MAX);
        assert_eq!(duration_to_compact(Duration::MAX), u32::MAX);
        assert_eq!(NtpTime::from_bits(u64::MAX >> 1).saturating_since(NtpTime::default()).as_secs(), 1 << 31);
    }

    #[test]
    fn round_trip_times_never_go_negative() {
        assert_eq!(round_trip(100, 0, 0), None);
        assert_eq!(round_trip(100, 90, 20), Some(Duration::ZERO), "delay longer than the time that passed");
        assert_eq!(round_trip(90, 100, 0), Some(Duration::ZERO), "arrival before sending");
        assert_eq!(round_trip(0x1_0000 - 0x8000, u32::MAX - 0x7fff, 0), Some(Duration::from_secs(1)), "wrap");
    }

    proptest! {
        #[test]
        fn unix_times_survive_the_round_trip(seconds in 0..4_294_967_296_u64, nanos in 0..1_000_000_000_u32) {
            // Up to 2104 less 68 years: the two eras around 2036.
            let time = Duration::new(seconds.min(2_085_978_496 + (1 << 31) - 1), nanos);
            prop_assert_eq!(NtpTime::from_unix(time).to_unix(), time);
        }

        #[test]
        fn compact_spans_survive_the_round_trip(compact: u32) {
            let back = duration_to_compact(compact_to_duration(compact));
            // Down to a nanosecond and down again to 15 microseconds may cross one boundary.
            prop_assert!(compact.abs_diff(back) <= 1);
        }

        #[test]
        fn round_trip_agrees_with_the_formula(lsr in 1..u32::MAX, dlsr in 0..1_000_000_u32, rtt in 0..1_000_000_u32) {
            let arrival = lsr.wrapping_add(dlsr).wrapping_add(rtt);
            prop_assert_eq!(round_trip(arrival, lsr, dlsr), Some(compact_to_duration(rtt)));
        }
    }
}
