//! GFNI with vectors of 32 bytes.

use super::passes::passes;
use super::{BATCH, BLOCK_BYTES, Block, Work};

passes!(vectors, "avx2,gfni");

mod vectors {
    use std::arch::x86_64::*;

    use super::super::MATRICES;
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

    pub(super) type Factor = u64;
    pub(super) type Multiplier = __m256i;

    pub(super) const fn factor(constant: u8) -> Factor {
        MATRICES[constant as usize]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn multiplier(factor: Factor) -> Multiplier {
        _mm256_set1_epi64x(factor.cast_signed())
    }

    pub(super) const fn prepare(block: [__m256i; 2]) -> [__m256i; 2] {
        block
    }

    #[inline]
    #[target_feature(enable = "avx2,gfni")]
    pub(super) fn add_product(sum: [__m256i; 2], block: [__m256i; 2], matrix: Multiplier) -> [__m256i; 2] {
        let product = |half| _mm256_gf2p8affine_epi64_epi8::<0>(half, matrix);
        [_mm256_xor_si256(sum[0], product(block[0])), _mm256_xor_si256(sum[1], product(block[1]))]
    }
}
