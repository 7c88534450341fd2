//! Blocks of source packets whose repair packets name them by masks.

use super::recover::{Head, Parity};

/// One repair packet in the making.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) parity: Parity,
    pub(crate) base: u64,
    /// Its most significant bit is `base`.
    pub(crate) mask: u128,
}

/// `repairs` sums of up to `packets` source packets, dealt out in turn: of a burst, each sum has one packet.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    parts: Vec<Part>,
    packets: usize,
    /// Numbers that a mask reaches.
    reach: u64,
    count: usize,
    last: Option<u64>,
}

impl Block {
    pub(crate) fn new(packets: usize, repairs: usize, reach: u64, packet: usize) -> Self {
        let part = Part { parity: Parity::with_capacity(packet), base: 0, mask: 0 };
        Self { parts: vec![part; repairs], packets, reach, count: 0, last: None }
    }

    /// Whether the packet of an index has a place in it. If not, it is to be taken out first.
    pub(crate) fn has_room(&self, index: u64) -> bool {
        let turn = self.count % self.parts.len().max(1);
        let near = |part: &Part| part.parity.count == 0 || index.saturating_sub(part.base) < self.reach;
        self.count < self.packets && self.parts.get(turn).is_none_or(near)
    }

    /// Adds a packet, and tells whether the block is full. What is not newer than the last one is passed over.
    pub(crate) fn add(&mut self, index: u64, head: Head, body: &[u8]) -> bool {
        if self.last.is_some_and(|last| index <= last) {
            return false;
        }
        self.last = Some(index);
        let turn = self.count % self.parts.len().max(1);
        if let Some(part) = self.parts.get_mut(turn) {
            if part.parity.count == 0 {
                part.base = index;
            }
            part.mask |= 1_u128.checked_shl(127_u32.saturating_sub((index - part.base) as u32)).unwrap_or(0);
            part.parity.add(head, body);
            self.count += 1;
        }
        self.count >= self.packets
    }

    /// The sums so far.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.parity.count > 0)
    }

    pub(crate) fn clear(&mut self) {
        self.count = 0;
        for part in &mut self.parts {
            part.parity.clear();
            part.mask = 0;
        }
    }
}
