//! GFNI with vectors of 64 bytes.

use super::passes::passes;
use super::{BATCH, BLOCK_BYTES, Block, Work};

passes!(vectors, "avx512f,avx512bw,gfni");

mod vectors {
    use std::arch::x86_64::*;

    use super::super::{Block, MATRICES};

    pub(super) const ROWS: usize = 6;

    /// Columns at a time for so many rows.
    pub(super) const fn columns(rows: usize) -> usize {
        match rows {
            1..=4 => 4,
            _ => 2,
        }
    }

    pub(super) type Factor = u64;
    pub(super) type Multiplier = __m512i;

    pub(super) const fn factor(constant: u8) -> Factor {
        MATRICES[constant as usize]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn multiplier(factor: Factor) -> Multiplier {
        _mm512_set1_epi64(factor.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn zero() -> __m512i {
        _mm512_setzero_si512()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn load(block: &Block) -> __m512i {
        // SAFETY: reads the 64 bytes of a block; the load needs no alignment.
        unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
    }

    /// The end of a source that is fewer bytes than a block, `rest`, and zeros.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn load_part(_: &[u8], rest: &[u8]) -> __m512i {
        let mask = (1_u64 << (rest.len() % 64)) - 1;
        // SAFETY: the mask lets only bytes of `rest` be read; those that it leaves out are not touched.
        unsafe { _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast()) }
    }

    pub(super) const fn prepare(block: __m512i) -> __m512i {
        block
    }

    #[inline]
    #[target_feature(enable = "avx512f,gfni")]
    pub(super) fn add_product(sum: __m512i, block: __m512i, matrix: Multiplier) -> __m512i {
        _mm512_xor_si512(sum, _mm512_gf2p8affine_epi64_epi8::<0>(block, matrix))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn store(sum: __m512i, block: &mut Block) {
        // SAFETY: writes the 64 bytes of a block; the store needs no alignment.
        unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), sum) }
    }
}
