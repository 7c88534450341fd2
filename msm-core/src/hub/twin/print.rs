//! What tells payloads apart.

const ONE: u64 = 0x9e37_79b9_7f4a_7c15;
const TWO: u64 = 0xd6e8_feb8_6659_fd93;

/// A hash of 64 bits, 16 bytes a step; never 0. It is no proof against who makes payloads on purpose, which a source gains nothing by: it
/// can bring what it likes.
#[inline]
pub(super) fn of(seed: u64, payload: &[u8]) -> u64 {
    let mut state = seed ^ (payload.len() as u64).wrapping_mul(ONE);
    let mut steps = payload.chunks_exact(16);
    for step in &mut steps {
        state = fold(word(step) ^ ONE, word(step.get(8..).unwrap_or_default()) ^ state);
    }
    let rest = steps.remainder();
    state = fold(word(rest) ^ ONE, word(rest.get(8..).unwrap_or_default()) ^ state);
    fold(state ^ TWO, ONE).max(1)
}

/// The first eight bytes, as far as there are so many.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    if let Some(whole) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*whole);
    }
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[inline]
fn fold(one: u64, two: u64) -> u64 {
    let product = u128::from(one) * u128::from(two);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn any_byte_and_the_length_count() {
        let payload: Vec<u8> = (1..101).collect();
        let mut seen = BTreeSet::new();
        for length in 0..=payload.len() {
            assert!(seen.insert(of(7, &payload[..length])), "length {length}");
            assert!(seen.insert(of(7, &vec![0; length + 1])), "zeros {length}");
        }
        for at in 0..payload.len() {
            for bit in 0..8 {
                let mut other = payload.clone();
                other[at] ^= 1 << bit;
                assert!(seen.insert(of(7, &other)), "byte {at}, bit {bit}");
            }
        }
        assert_ne!(of(7, &payload), of(8, &payload));
        assert_eq!(of(7, &payload), of(7, &payload.clone()));
    }
}
