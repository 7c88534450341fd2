//! By look-up, for CPUs of any kind.

use super::super::gf::NIBBLES;
use super::{BLOCK_BYTES, Block, Work};

/// See [`Kernel::add`](super::Kernel::add).
pub(super) fn add(rows: &mut [Block], work: &Work<'_>) {
    for row in 0..work.count {
        let blocks = &mut rows[row * work.stride..][..work.longest];
        if let Some(empty) = blocks.get_mut(work.valid..) {
            empty.fill([0; BLOCK_BYTES]);
        }
        let bytes = blocks.as_flattened_mut();
        let coefficients = work.coefficients.iter().skip(row).step_by(work.count);
        for (coefficient, source) in coefficients.zip(work.sources) {
            let products = products(*coefficient);
            for (byte, factor) in bytes.iter_mut().zip(*source) {
                *byte ^= products[usize::from(*factor)];
            }
        }
    }
}

/// All multiples of a constant.
fn products(constant: u8) -> [u8; 256] {
    let nibbles = &NIBBLES[usize::from(constant)];
    let mut products = [0; 256];
    for (high, sixteen) in products.chunks_exact_mut(16).enumerate() {
        for (product, low) in sixteen.iter_mut().zip(nibbles) {
            *product = low ^ nibbles[16 + high];
        }
    }
    products
}
