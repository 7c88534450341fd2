//! Memory for sums: rows of blocks, on cache lines.

use super::kernel::{BLOCK_BYTES, Block};

/// Rows of one length, in one piece of memory that grows when it must and is never given back.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
    /// Where blocks begin: a vector of 64 bytes that lies across two cache lines costs twice as much.
    start: usize,
    /// Blocks of a row.
    stride: usize,
}

impl Rows {
    /// Makes room for `count` rows of `stride` blocks. What they hold is undefined.
    pub(crate) fn set(&mut self, count: usize, stride: usize) {
        self.stride = stride;
        let bytes = Self::bytes(count, stride);
        if self.bytes.len() < bytes {
            self.bytes = vec![0; bytes];
            self.start = self.bytes.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        }
    }

    /// The bytes that so many rows take.
    pub(crate) const fn bytes(count: usize, stride: usize) -> usize {
        (count * stride + 1) * BLOCK_BYTES
    }

    /// Blocks of a row.
    pub(crate) const fn stride(&self) -> usize {
        self.stride
    }

    /// All blocks from block `from` of row `row` on.
    pub(crate) fn blocks(&mut self, row: usize, from: usize) -> &mut [Block] {
        let bytes = self.bytes.get_mut(self.start..).unwrap_or_default();
        let (blocks, _) = bytes.as_chunks_mut::<BLOCK_BYTES>();
        blocks.get_mut(row * self.stride + from..).unwrap_or_default()
    }

    /// Row `row`, up to the last block of memory.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        self.bytes.get(self.start + row * self.stride * BLOCK_BYTES..).unwrap_or_default()
    }

    /// The bytes that it takes.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }
}
