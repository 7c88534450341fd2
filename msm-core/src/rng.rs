//! A small deterministic generator of pseudo-random numbers, for state machines that must not own randomness.
//!
//! **Not cryptographic**: whoever sees a few outputs can compute all others. It spreads report intervals, picks
//! SSRCs and drives tests; session identifiers, nonces and keys come from the operating system.

use std::ops::Range;

/// `SplitMix64` (Steele, Lea, Flood 2014): one addition and a mix a number, every seed is a good one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator whose whole output follows from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next 32 bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// The next 16 bits.
    #[inline]
    pub fn next_u16(&mut self) -> u16 {
        (self.next_u64() >> 48) as u16
    }

    /// A number of `range`; its start if the range is empty.
    ///
    /// The bias of the multiplication method is below `length / 2^64`.
    #[inline]
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        let length = range.end.saturating_sub(range.start);
        let offset = ((u128::from(self.next_u64()) * u128::from(length)) >> 64) as u64;
        range.start.wrapping_add(offset)
    }

    /// A number of `0.0..1.0`.
    #[inline]
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next_u64().to_le_bytes();
            for (byte, value) in chunk.iter_mut().zip(random) {
                *byte = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_reference_implementation() {
        // First outputs of the C reference for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
        assert_eq!(rng.next_u64(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn range_covers_its_ends_and_survives_odd_ranges() {
        let mut rng = Rng::new(1);
        let mut seen = [0_u32; 6];
        for _ in 0..6_000 {
            let value = rng.range(10..16);
            assert!((10..16).contains(&value));
            seen[(value - 10) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1_200).contains(&count)), "{seen:?}");
        assert_eq!(rng.range(5..5), 5);
        #[expect(clippy::reversed_empty_ranges)]
        let reversed = 9..3;
        assert_eq!(rng.range(reversed), 9);
        rng.range(0..u64::MAX);
    }

    #[test]
    fn floats_stay_below_one_and_fill_takes_any_length() {
        let mut rng = Rng::new(2);
        let mean = (0..10_000)
            .map(|_| rng.next_f64())
            .inspect(|value| assert!((0.0..1.0).contains(value)))
            .sum::<f64>()
            / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
        let mut bytes = [0_u8; 13];
        rng.fill(&mut bytes);
        assert!(bytes.iter().any(|&byte| byte != 0));
        assert_ne!(bytes[8..], [0; 5]);
    }
}
