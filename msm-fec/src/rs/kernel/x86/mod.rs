//! With vectors of x86-64. Rows are held in registers while all sources of a pass are added to them, a few rows at a time.
//!
//! GFNI's own multiplication is modulo another polynomial (`0x11B`), but its affine transformation multiplies by any matrix of
//! bits, and a constant of any field is one.

use super::super::gf;
use super::{BATCH, BLOCK_BYTES, Block, Work};

pub(super) mod avx2;
pub(super) mod gfni_avx2;
pub(super) mod gfni_avx512;
mod halves;
mod passes;

/// The constants as matrices for `gf2p8affineqb`: bit `i` of the product is the parity of the byte 7 − i and the factor.
static MATRICES: [u64; 256] = matrices();

const fn matrices() -> [u64; 256] {
    let mut matrices = [0; 256];
    let mut constant = 0;
    while constant < 256 {
        let mut input = 0;
        while input < 8 {
            let product = gf::mul(constant as u8, 1 << input);
            let mut output = 0;
            while output < 8 {
                if product & (1 << output) != 0 {
                    matrices[constant] |= 1 << (8 * (7 - output) + input);
                }
                output += 1;
            }
            input += 1;
        }
        constant += 1;
    }
    matrices
}
