//! A block with a gap.

use super::super::payload::{Header, Symbol};
use super::seen::Seen;

/// What is known of a block, and its repairs that came.
#[derive(Debug)]
pub(super) struct Block {
    /// Index of its first source packet.
    pub(super) first: u64,
    /// As all its repairs have it, but for the symbol.
    pub(super) header: Header,
    /// Bytes of a symbol behind the length.
    pub(super) bytes: usize,
    pub(super) repairs: Vec<Stored>,
    /// How many source packets are neither there nor recovered.
    pub(super) missing: usize,
}

/// A repair's symbol.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) number: u8,
    pub(super) length: u16,
    pub(super) body: Vec<u8>,
}

impl Stored {
    pub(super) fn symbol(&self) -> Symbol<'_> {
        Symbol { length: self.length, body: &self.body }
    }
}

impl Block {
    /// The index of the source packet at `position`.
    pub(super) fn index(&self, position: u8) -> u64 {
        self.first + u64::from(position) * u64::from(self.header.step)
    }

    /// Index of its last source packet.
    pub(super) fn last(&self) -> u64 {
        self.index(self.header.sources.saturating_sub(1))
    }

    /// Whether `index` is one of its source packets.
    pub(super) fn has(&self, index: u64) -> bool {
        (self.first..=self.last()).contains(&index)
            && (index - self.first).is_multiple_of(u64::from(self.header.step))
    }

    /// Counts again how many of its source packets are missing.
    pub(super) fn count(&mut self, seen: &Seen) {
        let mut missing = 0;
        seen.unseen(self.first, self.header.step, self.header.sources, |_| missing += 1);
        self.missing = missing;
    }

    /// Whether a repair with `header` and so many bytes can be one of its.
    pub(super) fn agrees(&self, header: Header, bytes: usize) -> bool {
        Header { symbol: header.symbol, ..self.header } == header && self.bytes == bytes
    }
}
