//! With vectors of x86-64. Rows are held in registers while all sources of a pass are added to them, a few rows at a time.
//!
//! GFNI's own multiplication is modulo another polynomial (`0x11B`), but its affine transformation multiplies by any matrix of
//! bits, and a constant of any field is one.

use super::super::gf;
use super::{BATCH, BLOCK_BYTES, Block, Work};

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

/// The passes of one kind of vectors. `$vectors` has what is done with a block, how many rows go together, and how many columns of
/// theirs.
macro_rules! passes {
    ($vectors:ident, $features:literal) => {
        /// See [`Kernel::add`](crate::rs::kernel::Kernel::add).
        #[target_feature(enable = $features)]
        pub(in super::super) fn add(rows: &mut [Block], work: &Work<'_>) {
            if let [source] = work.sources {
                return one(rows, source, work);
            }
            // As few groups as there can be, and of equal sizes: each reads all sources again.
            let groups = work.count.div_ceil($vectors::ROWS);
            let most = work.count.div_ceil(groups);
            let mut row = 0;
            while row < work.count {
                let count = most.min(work.count - row);
                let rows = &mut rows[row * work.stride..];
                match count {
                    1 => some::<1>(rows, row, work),
                    2 => some::<2>(rows, row, work),
                    3 => some::<3>(rows, row, work),
                    4 => some::<4>(rows, row, work),
                    5 => some::<5>(rows, row, work),
                    _ => some::<6>(rows, row, work),
                }
                row += count;
            }
        }

        /// A single source: row after row, as there is nothing to be kept in registers but a factor.
        #[inline]
        #[target_feature(enable = $features)]
        fn one(rows: &mut [Block], source: &[u8], work: &Work<'_>) {
            let (whole, rest) = source.as_chunks::<BLOCK_BYTES>();
            let (old, new) = whole.split_at(work.valid.min(whole.len()));
            for (row, coefficient) in rows.chunks_mut(work.stride).zip(work.coefficients) {
                let factor = $vectors::factor(*coefficient);
                let (rows, others) = row.split_at_mut(old.len());
                for (row, block) in rows.iter_mut().zip(old) {
                    let block = $vectors::prepare($vectors::load(block));
                    $vectors::store($vectors::add_product($vectors::load(row), block, &factor), row);
                }
                for (row, block) in others.iter_mut().zip(new) {
                    let block = $vectors::prepare($vectors::load(block));
                    $vectors::store($vectors::add_product($vectors::zero(), block, &factor), row);
                }
                if !rest.is_empty() {
                    let row = &mut row[whole.len()];
                    let old = if whole.len() < work.valid { $vectors::load(row) } else { $vectors::zero() };
                    let block = $vectors::prepare($vectors::load_part(rest));
                    $vectors::store($vectors::add_product(old, block, &factor), row);
                }
            }
        }

        /// `N` rows from `row` on, which `rows` begins with.
        #[inline]
        #[target_feature(enable = $features)]
        fn some<const N: usize>(rows: &mut [Block], row: usize, work: &Work<'_>) {
            let mut each = rows.chunks_mut(work.stride);
            let mut rows: [&mut [Block]; N] = std::array::from_fn(|_| each.next().unwrap_or_default());
            let mut factors = [[$vectors::factor(0); N]; BATCH];
            for (factors, coefficients) in factors.iter_mut().zip(work.coefficients.chunks(work.count)) {
                for (factor, coefficient) in factors.iter_mut().zip(&coefficients[row..]) {
                    *factor = $vectors::factor(*coefficient);
                }
            }
            // What all sources have whole; the more columns at a time, the less is spent on finding them.
            let whole = work.sources.iter().map(|source| source.len() / BLOCK_BYTES).min().unwrap_or(0);
            let column = match N {
                1 => columns::<N, 4>(&mut rows, whole, &factors, work),
                2 => columns::<N, 2>(&mut rows, whole, &factors, work),
                _ => columns::<N, { $vectors::COLUMNS }>(&mut rows, whole, &factors, work),
            };
            for column in column..work.longest {
                let mut sums = [$vectors::zero(); N];
                if column < work.valid {
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        *sum = $vectors::load(&row[column]);
                    }
                }
                for (source, factors) in work.sources.iter().zip(&factors) {
                    let (whole, rest) = source.as_chunks::<BLOCK_BYTES>();
                    let block = match whole.get(column) {
                        Some(block) => $vectors::load(block),
                        None if column == whole.len() => $vectors::load_part(rest),
                        None => continue,
                    };
                    let block = $vectors::prepare(block);
                    for (sum, factor) in sums.iter_mut().zip(factors) {
                        *sum = $vectors::add_product(*sum, block, factor);
                    }
                }
                for (sum, row) in sums.iter().zip(&mut rows) {
                    $vectors::store(*sum, &mut row[column]);
                }
            }
        }

        /// The columns before `end`, which all sources have whole, `W` at a time. Returns where fewer are left.
        #[inline]
        #[target_feature(enable = $features)]
        fn columns<const N: usize, const W: usize>(
            rows: &mut [&mut [Block]; N],
            end: usize,
            factors: &[[$vectors::Factor; N]; BATCH],
            work: &Work<'_>,
        ) -> usize {
            let mut column = 0;
            while column + W <= end {
                let mut sums = [[$vectors::zero(); W]; N];
                for (sums, row) in sums.iter_mut().zip(rows.iter()) {
                    for (at, (sum, block)) in (column..).zip(sums.iter_mut().zip(&row[column..column + W])) {
                        if at < work.valid {
                            *sum = $vectors::load(block);
                        }
                    }
                }
                for (source, factors) in work.sources.iter().zip(factors) {
                    let (blocks, _) = source.as_chunks::<BLOCK_BYTES>();
                    let blocks = &blocks[column..column + W];
                    for (at, block) in blocks.iter().enumerate() {
                        let block = $vectors::prepare($vectors::load(block));
                        for (sums, factor) in sums.iter_mut().zip(factors) {
                            sums[at] = $vectors::add_product(sums[at], block, factor);
                        }
                    }
                }
                for (sums, row) in sums.iter().zip(rows.iter_mut()) {
                    for (sum, block) in sums.iter().zip(&mut row[column..column + W]) {
                        $vectors::store(*sum, block);
                    }
                }
                column += W;
            }
            column
        }
    };
}

/// AVX2: two look-ups of 16 halves of bytes each.
pub(super) mod avx2 {
    use super::{BATCH, BLOCK_BYTES, Block, Work};

    passes!(vectors, "avx2");

    mod vectors {
        use std::arch::x86_64::*;

        use super::super::super::super::gf::NIBBLES;
        pub(super) use super::super::halves::{load, load_part, store, zero};

        pub(super) const ROWS: usize = 4;
        pub(super) const COLUMNS: usize = 1;

        pub(super) type Factor = &'static [u8; 32];

        pub(super) const fn factor(constant: u8) -> Factor {
            &NIBBLES[constant as usize]
        }

        /// The low and the high halves of the bytes.
        #[inline]
        #[target_feature(enable = "avx2")]
        pub(super) fn prepare(block: [__m256i; 2]) -> [[__m256i; 2]; 2] {
            let mask = _mm256_set1_epi8(0x0f);
            block.map(|half| {
                [_mm256_and_si256(half, mask), _mm256_and_si256(_mm256_srli_epi64::<4>(half), mask)]
            })
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(super) fn add_product(
            sum: [__m256i; 2],
            block: [[__m256i; 2]; 2],
            factor: &Factor,
        ) -> [__m256i; 2] {
            let (low, high) = factor.split_at(16);
            // SAFETY: the first half of a factor's 32 bytes; the load needs no alignment.
            let low = unsafe { _mm_loadu_si128(low.as_ptr().cast()) };
            // SAFETY: the other half.
            let high = unsafe { _mm_loadu_si128(high.as_ptr().cast()) };
            let (low, high) = (_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high));
            let product = |[lows, highs]: [__m256i; 2]| {
                _mm256_xor_si256(_mm256_shuffle_epi8(low, lows), _mm256_shuffle_epi8(high, highs))
            };
            [_mm256_xor_si256(sum[0], product(block[0])), _mm256_xor_si256(sum[1], product(block[1]))]
        }
    }
}

/// GFNI with vectors of 32 bytes.
pub(super) mod gfni_avx2 {
    use super::{BATCH, BLOCK_BYTES, Block, Work};

    passes!(vectors, "avx2,gfni");

    mod vectors {
        use std::arch::x86_64::*;

        use super::super::MATRICES;
        pub(super) use super::super::halves::{load, load_part, store, zero};

        pub(super) const ROWS: usize = 4;
        pub(super) const COLUMNS: usize = 1;

        pub(super) type Factor = u64;

        pub(super) const fn factor(constant: u8) -> Factor {
            MATRICES[constant as usize]
        }

        pub(super) const fn prepare(block: [__m256i; 2]) -> [__m256i; 2] {
            block
        }

        #[inline]
        #[target_feature(enable = "avx2,gfni")]
        pub(super) fn add_product(sum: [__m256i; 2], block: [__m256i; 2], factor: &Factor) -> [__m256i; 2] {
            let matrix = _mm256_set1_epi64x(factor.cast_signed());
            let product = |half| _mm256_gf2p8affine_epi64_epi8::<0>(half, matrix);
            [_mm256_xor_si256(sum[0], product(block[0])), _mm256_xor_si256(sum[1], product(block[1]))]
        }
    }
}

/// GFNI with vectors of 64 bytes.
pub(super) mod gfni_avx512 {
    use super::{BATCH, BLOCK_BYTES, Block, Work};

    passes!(vectors, "avx512f,avx512bw,gfni");

    mod vectors {
        use std::arch::x86_64::*;

        use super::super::{Block, MATRICES};

        pub(super) const ROWS: usize = 6;
        pub(super) const COLUMNS: usize = 2;

        pub(super) type Factor = u64;

        pub(super) const fn factor(constant: u8) -> Factor {
            MATRICES[constant as usize]
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

        /// Fewer bytes than a block, and zeros.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        pub(super) fn load_part(rest: &[u8]) -> __m512i {
            let mask = (1_u64 << (rest.len() % 64)) - 1;
            // SAFETY: the mask lets only bytes of `rest` be read; those that it leaves out are not touched.
            unsafe { _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast()) }
        }

        pub(super) const fn prepare(block: __m512i) -> __m512i {
            block
        }

        #[inline]
        #[target_feature(enable = "avx512f,gfni")]
        pub(super) fn add_product(sum: __m512i, block: __m512i, factor: &Factor) -> __m512i {
            let matrix = _mm512_set1_epi64(factor.cast_signed());
            _mm512_xor_si512(sum, _mm512_gf2p8affine_epi64_epi8::<0>(block, matrix))
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(super) fn store(sum: __m512i, block: &mut Block) {
            // SAFETY: writes the 64 bytes of a block; the store needs no alignment.
            unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), sum) }
        }
    }
}

/// A block in two vectors of 32 bytes.
mod halves {
    use std::arch::x86_64::*;

    use super::{BLOCK_BYTES, Block};

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

    /// Fewer bytes than a block, and zeros.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn load_part(rest: &[u8]) -> [__m256i; 2] {
        let mut block = [0; BLOCK_BYTES];
        block[..rest.len()].copy_from_slice(rest);
        load(&block)
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
}
