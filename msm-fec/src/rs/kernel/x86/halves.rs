//! A block in two vectors of 32 bytes.

use std::arch::x86_64::*;

use super::{BLOCK_BYTES, Block};

/// Bytes of the smallest vector.
const QUARTER: usize = BLOCK_BYTES / 4;

/// Which of 16 bytes are moved to the front: from `r` on, those of the last `r` bytes, and zeros behind.
static TO_THE_FRONT: [u8; 2 * QUARTER] = to_the_front();

const fn to_the_front() -> [u8; 2 * QUARTER] {
    let mut order = [0x80; 2 * QUARTER];
    let mut at = 0;
    while at < QUARTER {
        order[at] = at as u8;
        at += 1;
    }
    order
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn zero() -> [__m256i; 2] {
    [_mm256_setzero_si256(); 2]
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(block: &Block) -> [__m256i; 2] {
    let (first, second) = block.split_at(32);
    // SAFETY: reads the first 32 bytes of a block; the load needs no alignment.
    let first = unsafe { _mm256_loadu_si256(first.as_ptr().cast()) };
    // SAFETY: the other 32 bytes.
    let second = unsafe { _mm256_loadu_si256(second.as_ptr().cast()) };
    [first, second]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_quarter(quarter: &[u8; QUARTER]) -> __m128i {
    // SAFETY: reads the 16 bytes; the load needs no alignment.
    unsafe { _mm_loadu_si128(quarter.as_ptr().cast()) }
}

/// The end of `source` that is fewer bytes than a block, `rest`, and zeros.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_part(source: &[u8], rest: &[u8]) -> [__m256i; 2] {
    let Some(last) = source.last_chunk() else {
        let mut block = [0; BLOCK_BYTES];
        block[..rest.len()].copy_from_slice(rest);
        return load(&block);
    };
    let (whole, few) = rest.as_chunks();
    let mut quarters = [_mm_setzero_si128(); 4];
    for (quarter, bytes) in quarters.iter_mut().zip(whole) {
        *quarter = load_quarter(bytes);
    }
    if let (Some(quarter), Some(order)) =
        (quarters.get_mut(whole.len()), TO_THE_FRONT[QUARTER - few.len()..].first_chunk())
    {
        // The last bytes of the source end where they do: what stands before these few is shifted out.
        *quarter = _mm_shuffle_epi8(load_quarter(last), load_quarter(order));
    }
    let [a, b, c, d] = quarters;
    [_mm256_set_m128i(b, a), _mm256_set_m128i(d, c)]
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store(sum: [__m256i; 2], block: &mut Block) {
    let (first, second) = block.split_at_mut(32);
    // SAFETY: writes the first 32 bytes of a block; the store needs no alignment.
    unsafe { _mm256_storeu_si256(first.as_mut_ptr().cast(), sum[0]) };
    // SAFETY: the other 32 bytes.
    unsafe { _mm256_storeu_si256(second.as_mut_ptr().cast(), sum[1]) };
}
