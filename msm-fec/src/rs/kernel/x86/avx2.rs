//! AVX2: two look-ups of 16 halves of bytes each.

use super::passes::passes;
use super::{BATCH, BLOCK_BYTES, Block, Work};

passes!(vectors, "avx2");

mod vectors {
    use std::arch::x86_64::*;

    use super::super::super::super::gf::NIBBLES;
    pub(super) use super::super::halves::{load, load_part, store, zero};

    pub(super) const ROWS: usize = 4;

    /// Columns at a time for so many rows.
    pub(super) const fn columns(rows: usize) -> usize {
        match rows {
            1 => 4,
            2 => 2,
            _ => 1,
        }
    }

    pub(super) type Factor = &'static [u8; 32];

    /// The products of the low and of the high halves.
    pub(super) type Multiplier = [__m256i; 2];

    pub(super) const fn factor(constant: u8) -> Factor {
        &NIBBLES[constant as usize]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn multiplier(factor: Factor) -> Multiplier {
        let (low, high) = factor.split_at(16);
        // SAFETY: the first half of a factor's 32 bytes; the load needs no alignment.
        let low = unsafe { _mm_loadu_si128(low.as_ptr().cast()) };
        // SAFETY: the other half.
        let high = unsafe { _mm_loadu_si128(high.as_ptr().cast()) };
        [_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high)]
    }

    /// The low and the high halves of the bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn prepare(block: [__m256i; 2]) -> [[__m256i; 2]; 2] {
        let mask = _mm256_set1_epi8(0x0f);
        block.map(|half| [_mm256_and_si256(half, mask), _mm256_and_si256(_mm256_srli_epi64::<4>(half), mask)])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn add_product(
        sum: [__m256i; 2],
        block: [[__m256i; 2]; 2],
        [low, high]: Multiplier,
    ) -> [__m256i; 2] {
        let product = |[lows, highs]: [__m256i; 2]| {
            _mm256_xor_si256(_mm256_shuffle_epi8(low, lows), _mm256_shuffle_epi8(high, highs))
        };
        [_mm256_xor_si256(sum[0], product(block[0])), _mm256_xor_si256(sum[1], product(block[1]))]
    }
}
