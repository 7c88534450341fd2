//! Arithmetic of numbers that wrap: 16-bit sequence numbers and 32-bit media timestamps (RFC 3550 §5.1, App. A.1).
//!
//! Two wrapping numbers have no order of their own; the shorter way around the circle decides. Exactly half the
//! circle apart, both directions are equally long: then `distance` is negative, and neither number is newer.

/// Steps from `from` to `to`, the shorter way around: positive when `to` comes later.
///
/// ```
/// assert_eq!(msm_core::seq::distance(65_535, 2), 3);
/// assert_eq!(msm_core::seq::distance(2, 65_535), -3);
/// ```
#[inline]
#[must_use]
pub const fn distance(from: u16, to: u16) -> i16 {
    to.wrapping_sub(from).cast_signed()
}

/// Whether sequence number `a` comes after `b`.
#[inline]
#[must_use]
pub const fn newer(a: u16, b: u16) -> bool {
    distance(b, a) > 0
}

/// Ticks from timestamp `from` to timestamp `to`, the shorter way around: positive when `to` comes later.
#[inline]
#[must_use]
pub const fn timestamp_distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

/// Whether timestamp `a` comes after `b`.
#[inline]
#[must_use]
pub const fn timestamp_newer(a: u32, b: u32) -> bool {
    timestamp_distance(b, a) > 0
}

/// Turns 16-bit sequence numbers into 64-bit ones that do not wrap.
///
/// Each number is placed nearest to the highest one so far. The low 16 bits of a result are the number that was
/// put in. Counting starts in the second cycle (`65536 + first`), so that packets from before the first one,
/// arriving late, have a place too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwrapper {
    highest: Option<u64>,
}

impl Unwrapper {
    /// An unwrapper that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// The unwrapped form of `sequence`; becomes the new reference if it is the highest so far.
    #[inline]
    pub fn unwrap(&mut self, sequence: u16) -> u64 {
        let unwrapped = self.peek(sequence);
        if self.highest.is_none_or(|highest| unwrapped > highest) {
            self.highest = Some(unwrapped);
        }
        unwrapped
    }

    /// The unwrapped form of `sequence`, without remembering it.
    #[inline]
    #[must_use]
    pub fn peek(&self, sequence: u16) -> u64 {
        match self.highest {
            None => 0x1_0000 + u64::from(sequence),
            Some(highest) => highest.wrapping_add_signed(i64::from(distance(highest as u16, sequence))),
        }
    }

    /// The highest unwrapped number so far.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// Turns 32-bit media timestamps into 64-bit ones that do not wrap.
///
/// Each timestamp is placed nearest to the one before it, because timestamps may step back (video with B frames).
/// The first one keeps its value; results may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimestampUnwrapper {
    last: Option<i64>,
}

impl TimestampUnwrapper {
    /// An unwrapper that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The unwrapped form of `timestamp`, which becomes the new reference.
    #[inline]
    pub fn unwrap(&mut self, timestamp: u32) -> i64 {
        let unwrapped = self.peek(timestamp);
        self.last = Some(unwrapped);
        unwrapped
    }

    /// The unwrapped form of `timestamp`, without remembering it.
    #[inline]
    #[must_use]
    pub fn peek(&self, timestamp: u32) -> i64 {
        match self.last {
            None => i64::from(timestamp),
            Some(last) => last.wrapping_add(i64::from(timestamp_distance(last as u32, timestamp))),
        }
    }

    /// The last unwrapped timestamp.
    #[must_use]
    pub const fn last(&self) -> Option<i64> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn distance_goes_the_shorter_way() {
        assert_eq!(distance(0, 0), 0);
        assert_eq!(distance(65_535, 0), 1);
        assert_eq!(distance(0, 65_535), -1);
        assert_eq!(distance(0, 32_767), 32_767);
        assert_eq!(distance(0, 32_768), -32_768);
        assert!(newer(0, 65_535));
        assert!(!newer(65_535, 0));
        assert!(!newer(7, 7));
        assert!(!newer(0, 32_768) && !newer(32_768, 0), "half the circle: neither is newer");
        assert_eq!(timestamp_distance(u32::MAX, 1), 2);
        assert!(timestamp_newer(1, u32::MAX));
        assert!(!timestamp_newer(1, 1));
    }

    #[test]
    fn unwrapper_passes_the_wrap_both_ways() {
        let mut unwrapper = Unwrapper::new();
        assert_eq!(unwrapper.highest(), None);
        assert_eq!(unwrapper.unwrap(65_534), 0x1_fffe);
        assert_eq!(unwrapper.unwrap(1), 0x2_0001);
        assert_eq!(unwrapper.unwrap(65_535), 0x1_ffff, "late, from before the wrap");
        assert_eq!(unwrapper.highest(), Some(0x2_0001), "a late packet is no new reference");
        assert_eq!(unwrapper.peek(2), 0x2_0002);
        assert_eq!(unwrapper.highest(), Some(0x2_0001));
    }

    #[test]
    fn unwrapper_has_room_below_its_first_number() {
        let mut unwrapper = Unwrapper::new();
        assert_eq!(unwrapper.unwrap(0), 0x1_0000);
        assert_eq!(unwrapper.unwrap(65_535), 0xffff);
        assert_eq!(unwrapper.unwrap(32_768), 0x1_0000 - 32_768);
    }

    #[test]
    fn timestamps_unwrap_and_step_back() {
        let mut unwrapper = TimestampUnwrapper::new();
        assert_eq!(unwrapper.unwrap(10), 10);
        assert_eq!(unwrapper.unwrap(u32::MAX), -1);
        assert_eq!(unwrapper.unwrap(u32::MAX - 3_000), -3_001);
        assert_eq!(unwrapper.unwrap(5), 5);
        assert_eq!(unwrapper.last(), Some(5));
    }

    proptest! {
        #[test]
        fn unwrapping_keeps_the_wire_number_and_the_steps(first: u16, steps in proptest::collection::vec(-300i32..3_000, 1..200)) {
            let mut unwrapper = Unwrapper::new();
            let mut truth = unwrapper.unwrap(first) as i64;
            let mut highest = truth;
            for step in steps {
                // Steps are taken from the highest, as reordering is bounded against it.
                truth = highest + i64::from(step);
                highest = highest.max(truth);
                let wire = (truth & 0xffff) as u16;
                prop_assert_eq!(unwrapper.unwrap(wire), truth as u64);
            }
        }

        #[test]
        fn newer_is_antisymmetric(a: u16, b: u16) {
            prop_assert!(!(newer(a, b) && newer(b, a)));
            if a != b && a.wrapping_sub(b) != 0x8000 {
                prop_assert!(newer(a, b) || newer(b, a));
            }
        }
    }
}
