use msm_core::rng::Rng;

use super::super::gf;
use super::*;

fn below(rng: &mut Rng, end: usize) -> usize {
    rng.range(0..end as u64) as usize
}

fn bytes(rng: &mut Rng, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    rng.fill(&mut bytes);
    bytes
}

/// The definition, a byte at a time.
fn plainly(
    rows: &[Block],
    stride: usize,
    valid: usize,
    coefficients: &[u8],
    sources: &[&[u8]],
) -> Vec<Block> {
    let count = coefficients.len() / sources.len();
    let longest = sources.iter().map(|source| source.len().div_ceil(BLOCK_BYTES)).max().unwrap();
    let mut rows = rows.to_vec();
    for (j, row) in rows.chunks_mut(stride).take(count).enumerate() {
        if longest > valid {
            row[valid..longest].fill([0; BLOCK_BYTES]);
        }
        for (i, source) in sources.iter().enumerate() {
            for (byte, factor) in row.as_flattened_mut().iter_mut().zip(*source) {
                *byte ^= gf::mul(coefficients[i * count + j], *factor);
            }
        }
    }
    rows
}

/// Sources of any number, a batch at a time.
fn add(
    kernel: Kernel,
    rows: &mut [Block],
    stride: usize,
    valid: usize,
    coefficients: &[u8],
    sources: &[&[u8]],
) -> bool {
    let (mut valid, mut rest) = (valid, coefficients);
    let each = coefficients.len() / sources.len().max(1);
    let mut batches = sources.chunks(BATCH).peekable();
    while let Some(sources) = batches.next() {
        let batch: Batch<'_> = sources.iter().copied().collect();
        // What is too much is the last one's.
        let mine = if batches.peek().is_some() { each * batch.len() } else { rest.len() };
        let (now, later) = rest.split_at(mine);
        if !kernel.add(rows, stride, valid, now, &batch) {
            return false;
        }
        rest = later;
        valid = valid.max(batch.longest().div_ceil(BLOCK_BYTES));
    }
    true
}

#[test]
fn every_kernel_multiplies_by_every_constant() {
    let all: Vec<u8> = (0..=255).collect();
    for kernel in Kernel::available() {
        for constant in 0..=255 {
            let mut rows = [[0xee; BLOCK_BYTES]; 4];
            assert!(add(kernel, &mut rows, 4, 0, &[constant], &[&all]));
            for (factor, product) in all.iter().zip(rows.as_flattened()) {
                assert_eq!(*product, gf::mul(constant, *factor), "{}: {constant} × {factor}", kernel.name());
            }
        }
    }
}

#[test]
fn every_kernel_adds_sources_of_any_length_at_any_address() {
    let mut rng = Rng::new(41);
    for round in 0..400 {
        let (count, stride) = (1 + below(&mut rng, 13), 6);
        let most = 1 + below(&mut rng, 40);
        let same = below(&mut rng, 2) == 0;
        let length = below(&mut rng, stride * 64 + 1);
        let packets: Vec<(usize, Vec<u8>)> = (0..most)
            .map(|_| {
                let (offset, length) =
                    (below(&mut rng, 64), if same { length } else { below(&mut rng, stride * 64 + 1) });
                (offset, bytes(&mut rng, offset + length))
            })
            .collect();
        let sources: Vec<&[u8]> = packets.iter().map(|(offset, packet)| &packet[*offset..]).collect();
        if sources.iter().all(|source| source.is_empty()) {
            continue;
        }
        let coefficients = bytes(&mut rng, count * most);
        let valid = below(&mut rng, stride + 1);
        // Blocks at any address, too.
        let shift = below(&mut rng, 64);
        let before = bytes(&mut rng, shift + (count * stride) * BLOCK_BYTES);
        let expected = {
            let (rows, _) = before[shift..].as_chunks::<BLOCK_BYTES>();
            plainly(rows, stride, valid, &coefficients, &sources)
        };
        for kernel in Kernel::available() {
            let mut after = before.clone();
            let (rows, _) = after[shift..].as_chunks_mut::<BLOCK_BYTES>();
            assert!(add(kernel, rows, stride, valid, &coefficients, &sources));
            assert!(rows == expected, "{} in round {round}", kernel.name());
            assert_eq!(after[..shift], before[..shift]);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for kernel in Kernel::available() {
        let mut rows = [[1; BLOCK_BYTES]; 4];
        let long = [7; 3 * BLOCK_BYTES];
        assert!(!add(kernel, &mut rows, 2, 2, &[3, 3], &[&long]), "longer than a row");
        assert!(!add(kernel, &mut rows, 3, 2, &[3, 3], &[&long]), "the last row is cut");
        assert!(!add(kernel, &mut rows, 1, 1, &[3, 3, 3], &[&[1], &[2]]), "a coefficient too many");
        assert!(!add(kernel, &mut rows, 1, 1, &[], &[&[1]]), "no coefficient");
        assert!(!add(kernel, &mut rows, usize::MAX, 1, &[1, 1, 1], &[&[1]]));
        assert!(add(kernel, &mut rows, 1, 1, &[], &[]));
        assert!(add(kernel, &mut rows, 1, 1, &[1], &[&[]]));
        assert!(kernel.add(&mut rows, 1, 1, &[], &Batch::default()));
        assert_eq!(rows, [[1; BLOCK_BYTES]; 4]);
    }
}
