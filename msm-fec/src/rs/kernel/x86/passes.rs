//! How rows, columns and sources go together: the same for all kinds of vectors.

/// The passes of one kind of vectors. `$vectors` has what is done with a block, how many rows go together, and how many columns of
/// theirs.
macro_rules! passes {
    ($vectors:ident, $features:literal) => {
        /// See [`Kernel::add`](crate::rs::kernel::Kernel::add).
        #[target_feature(enable = $features)]
        pub(in super::super) fn add(rows: &mut [Block], work: &Work<'_>) {
            // As few groups as there can be, and of equal sizes: each reads all sources again.
            let groups = work.count.div_ceil($vectors::ROWS);
            let most = work.count.div_ceil(groups);
            let mut row = 0;
            while row < work.count {
                let count = most.min(work.count - row);
                let rows = &mut rows[row * work.stride..];
                match count {
                    1 => some::<1, { $vectors::columns(1) }>(rows, row, work),
                    2 => some::<2, { $vectors::columns(2) }>(rows, row, work),
                    3 => some::<3, { $vectors::columns(3) }>(rows, row, work),
                    4 => some::<4, { $vectors::columns(4) }>(rows, row, work),
                    5 => some::<5, { $vectors::columns(5) }>(rows, row, work),
                    _ => some::<6, { $vectors::columns(6) }>(rows, row, work),
                }
                row += count;
            }
        }

        /// `N` rows from `row` on, which `rows` begins with, `W` columns at a time.
        #[inline]
        #[target_feature(enable = $features)]
        fn some<const N: usize, const W: usize>(rows: &mut [Block], row: usize, work: &Work<'_>) {
            let mut each = rows.chunks_mut(work.stride);
            let mut rows: [&mut [Block]; N] = std::array::from_fn(|_| each.next().unwrap_or_default());
            if let [source] = work.sources {
                return one(&mut rows, source, row, work);
            }
            let mut factors = [[$vectors::factor(0); N]; BATCH];
            for (factors, coefficients) in factors.iter_mut().zip(work.coefficients.chunks(work.count)) {
                let coefficients = coefficients[row..].first_chunk::<N>().copied().unwrap_or([0; N]);
                *factors = coefficients.map($vectors::factor);
            }
            // The more columns at a time, the less is spent on finding sources and factors.
            let mut column = columns::<N, W>(&mut rows, 0, &factors, work);
            if W > 2 {
                column = columns::<N, 2>(&mut rows, column, &factors, work);
            }
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
                        None if column == whole.len() => $vectors::load_part(source, rest),
                        None => continue,
                    };
                    let block = $vectors::prepare(block);
                    for (sum, factor) in sums.iter_mut().zip(factors) {
                        *sum = $vectors::add_product(*sum, block, $vectors::multiplier(*factor));
                    }
                }
                for (sum, row) in sums.iter().zip(&mut rows) {
                    $vectors::store(*sum, &mut row[column]);
                }
            }
        }

        /// A single source: it is the factors that are kept in registers.
        #[inline]
        #[target_feature(enable = $features)]
        fn one<const N: usize>(rows: &mut [&mut [Block]; N], source: &[u8], row: usize, work: &Work<'_>) {
            let mut factors = [$vectors::multiplier($vectors::factor(0)); N];
            for (factor, coefficient) in factors.iter_mut().zip(&work.coefficients[row..]) {
                *factor = $vectors::multiplier($vectors::factor(*coefficient));
            }
            let (whole, rest) = source.as_chunks::<BLOCK_BYTES>();
            let (old, new) = whole.split_at(work.valid.min(whole.len()));
            for (column, block) in old.iter().enumerate() {
                let block = $vectors::prepare($vectors::load(block));
                for (row, factor) in rows.iter_mut().zip(&factors) {
                    let row = &mut row[column];
                    $vectors::store($vectors::add_product($vectors::load(row), block, *factor), row);
                }
            }
            for (column, block) in new.iter().enumerate() {
                let block = $vectors::prepare($vectors::load(block));
                for (row, factor) in rows.iter_mut().zip(&factors) {
                    let sum = $vectors::add_product($vectors::zero(), block, *factor);
                    $vectors::store(sum, &mut row[old.len() + column]);
                }
            }
            if !rest.is_empty() {
                let block = $vectors::prepare($vectors::load_part(source, rest));
                for (row, factor) in rows.iter_mut().zip(&factors) {
                    let row = &mut row[whole.len()];
                    let old = if whole.len() < work.valid { $vectors::load(row) } else { $vectors::zero() };
                    $vectors::store($vectors::add_product(old, block, *factor), row);
                }
            }
        }

        /// The columns from `column` on that all sources have whole, `W` at a time. Returns where fewer are left.
        #[inline]
        #[target_feature(enable = $features)]
        fn columns<const N: usize, const W: usize>(
            rows: &mut [&mut [Block]; N],
            column: usize,
            factors: &[[$vectors::Factor; N]; BATCH],
            work: &Work<'_>,
        ) -> usize {
            let mut column = column;
            while column + W <= work.whole {
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
                            let multiplier = $vectors::multiplier(*factor);
                            sums[at] = $vectors::add_product(sums[at], block, multiplier);
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

pub(super) use passes;
