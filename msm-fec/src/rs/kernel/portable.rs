//! By additions alone, for CPUs of any kind: compilers make vectors of these.
//!
//! A coefficient is a sum of powers of two. So a row is, over the bits of the coefficients from the highest on, twice what it was and the sum
//! of those sources whose coefficients have the bit: half as many additions as there are bits, and seven doublings for all sources. Where
//! there are more rows than sources, it is the sources that are doubled, for all rows.

use super::{BATCH, BLOCK_BYTES, Block, Work};

/// Rows for which a column's blocks are looked up once.
const ROWS: usize = 16;

/// A bit for each source, for each bit of coefficients.
type Masks = [u16; 8];

const _: () = assert!(BATCH <= u16::BITS as usize);

/// See [`Kernel::add`](super::Kernel::add).
pub(super) fn add(rows: &mut [Block], work: &Work<'_>) {
    if work.sources.len() < work.count {
        return double_sources(rows, work);
    }
    let mut ends = [[0; BLOCK_BYTES]; BATCH];
    for (end, source) in ends.iter_mut().zip(work.sources) {
        let (_, rest) = source.as_chunks::<BLOCK_BYTES>();
        end[..rest.len()].copy_from_slice(rest);
    }
    for start in (0..work.count).step_by(ROWS) {
        let count = ROWS.min(work.count - start);
        let mut masks = [[0; 8]; ROWS];
        for (row, masks) in masks.iter_mut().take(count).enumerate() {
            let coefficients = work.coefficients.iter().skip(start + row).step_by(work.count);
            *masks = of_bits(coefficients);
        }
        for column in 0..work.longest {
            let mut blocks = [&[0; BLOCK_BYTES]; BATCH];
            for ((block, source), end) in blocks.iter_mut().zip(work.sources).zip(&ends) {
                let (whole, _) = source.as_chunks::<BLOCK_BYTES>();
                match whole.get(column) {
                    Some(found) => *block = found,
                    None if column == whole.len() => *block = end,
                    None => {}
                }
            }
            for (row, masks) in masks.iter().take(count).enumerate() {
                let place = &mut rows[(start + row) * work.stride + column];
                let sum = sum(masks, &blocks);
                *place = if column < work.valid { plus(*place, &sum) } else { sum };
            }
        }
    }
}

fn double_sources(rows: &mut [Block], work: &Work<'_>) {
    for row in rows.chunks_mut(work.stride).take(work.count) {
        if let Some(empty) = row.get_mut(work.valid..work.longest) {
            empty.fill([0; BLOCK_BYTES]);
        }
    }
    for (source, coefficients) in work.sources.iter().zip(work.coefficients.chunks(work.count)) {
        let (whole, rest) = source.as_chunks::<BLOCK_BYTES>();
        let mut end = [0; BLOCK_BYTES];
        end[..rest.len()].copy_from_slice(rest);
        for (column, block) in whole.iter().chain((!rest.is_empty()).then_some(&end)).enumerate() {
            let mut powers = [*block; 8];
            for bit in 1..powers.len() {
                powers[bit] = twice(powers[bit - 1]);
            }
            for (row, coefficient) in coefficients.iter().enumerate() {
                let place = &mut rows[row * work.stride + column];
                let mut left = *coefficient;
                let mut sum = *place;
                while left != 0 {
                    sum = plus(sum, &powers[left.trailing_zeros() as usize % powers.len()]);
                    left &= left - 1;
                }
                *place = sum;
            }
        }
    }
}

fn of_bits<'a>(coefficients: impl Iterator<Item = &'a u8>) -> Masks {
    let mut masks = [0; 8];
    for (source, coefficient) in coefficients.enumerate() {
        for (bit, mask) in masks.iter_mut().enumerate() {
            *mask |= u16::from(coefficient >> bit & 1) << source;
        }
    }
    masks
}

#[inline]
fn sum(masks: &Masks, blocks: &[&Block; BATCH]) -> Block {
    let mut sum = [0; BLOCK_BYTES];
    for mask in masks.iter().rev() {
        sum = twice(sum);
        let mut left = *mask;
        while left != 0 {
            sum = plus(sum, blocks[left.trailing_zeros() as usize % BATCH]);
            left &= left - 1;
        }
    }
    sum
}

#[inline]
fn plus(mut sum: Block, block: &Block) -> Block {
    for (sum, byte) in sum.iter_mut().zip(block) {
        *sum ^= byte;
    }
    sum
}

#[inline]
fn twice(mut sum: Block) -> Block {
    for byte in &mut sum {
        // The sign is the bit that leaves.
        let carry = (byte.cast_signed() >> 7).cast_unsigned();
        *byte = (*byte << 1) ^ (carry & super::super::gf::POLYNOMIAL);
    }
    sum
}
