//! The blocks that have gaps, and memory for their repairs.

use std::collections::VecDeque;

use super::super::payload::Symbol;
use super::block::{Block, Stored};

/// Blocks in the order of their coming. The memory of those that are closed is used again.
#[derive(Debug)]
pub(super) struct Blocks {
    open: VecDeque<Block>,
    /// Where a block ends that leaves the window first.
    oldest: u64,
    /// Buffers for symbols, and how many of them there are in blocks; and lists of such.
    spare: Vec<Vec<u8>>,
    lists: Vec<Vec<Stored>>,
    stored: usize,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { open: VecDeque::new(), oldest: u64::MAX, spare: Vec::new(), lists: Vec::new(), stored: 0 }
    }
}

impl Blocks {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Block> {
        self.open.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Block> {
        self.open.get_mut(at)
    }

    /// Where the block is that begins at `first`.
    pub(super) fn position(&self, first: u64, step: u8) -> Option<usize> {
        self.open.iter().position(|block| (block.first, block.header.step) == (first, step))
    }

    /// Takes in a block without repairs, and tells where it is.
    pub(super) fn open(&mut self, mut block: Block) -> usize {
        block.repairs = self.lists.pop().unwrap_or_default();
        self.oldest = self.oldest.min(block.last());
        self.open.push_back(block);
        self.open.len() - 1
    }

    /// Takes back a block's memory.
    pub(super) fn close(&mut self, at: usize) {
        if let Some(mut block) = self.open.remove(at) {
            self.stored -= block.repairs.len();
            self.spare.extend(block.repairs.drain(..).map(|repair| repair.body));
            self.lists.push(block.repairs);
        }
        self.oldest = self.open.iter().map(Block::last).min().unwrap_or(u64::MAX);
    }

    /// Closes a block that ends before `start`, if there is one.
    pub(super) fn expire(&mut self, start: u64) -> bool {
        if self.oldest >= start {
            return false;
        }
        let old = self.open.iter().position(|block| block.last() < start);
        if let Some(at) = old {
            self.close(at);
        }
        old.is_some()
    }

    /// Repairs that are kept.
    pub(super) const fn stored(&self) -> usize {
        self.stored
    }

    /// Buffers that were ever made, each as long as a packet can be.
    pub(super) fn buffers(&self) -> usize {
        self.stored + self.spare.len()
    }

    /// Copies a repair to a block.
    pub(super) fn store(&mut self, at: usize, number: u8, symbol: Symbol<'_>, packet_bytes: usize) {
        let Some(block) = self.open.get_mut(at) else { return };
        let spare = self.spare.pop();
        let mut body = spare.unwrap_or_else(|| Vec::with_capacity(packet_bytes));
        body.clear();
        body.extend_from_slice(symbol.body);
        self.stored += 1;
        block.repairs.push(Stored { number, length: symbol.length, body });
    }

    /// The packet `index` is there: whoever lacked it lacks one fewer.
    pub(super) fn found(&mut self, index: u64) {
        for block in self.open.iter_mut().filter(|block| block.has(index)) {
            block.missing -= block.missing.min(1);
        }
    }
}
