//! The blocks that are filled in turn, and their repairs.

use super::super::code::{Parity, combine_lengths};
use super::super::kernel::{BLOCK_BYTES, Kernel};
use super::super::payload::{HEADER_BYTES, Header, LENGTH_BYTES, OVERHEAD_BYTES};
use super::super::rows::Rows;
use super::super::shape::Shape;
use super::{BATCH, Repair};

/// Consecutive source packets, and what their blocks' repairs are so far. The memory is used again for the next ones.
#[derive(Debug, Default)]
pub(super) struct Group {
    shape: Shape,
    parity: Parity,
    /// The first packet's index.
    first: u64,
    /// Block after block, a row for each repair. A row's first block ends with what stands in front of the packet's bytes.
    rows: Rows,
    /// The longest packet of each block.
    longest: Vec<usize>,
    /// The length of each packet.
    lengths: Vec<u16>,
    /// Whether all have one length, which a whole block's repairs have then too.
    same: bool,
    /// The repair, and the block's, that is polled next; and how many repairs there will be of each block.
    next: (u8, u8),
    repairs: u8,
}

/// Blocks of a row for packets of so many bytes, and the block in front.
const fn stride(packet_bytes: usize) -> usize {
    packet_bytes.div_ceil(BLOCK_BYTES) + 1
}

impl Group {
    /// Bytes that a group of this shape keeps.
    pub(super) fn memory_of(shape: Shape, packet_bytes: usize) -> usize {
        let rows = usize::from(shape.depth()) * usize::from(shape.repairs());
        Rows::bytes(rows, stride(packet_bytes))
            + usize::from(shape.sources()) * usize::from(shape.repairs())
            + shape.packets() * size_of::<u16>()
            + usize::from(shape.depth()) * size_of::<usize>()
    }

    /// Bytes that it keeps now.
    pub(super) fn memory(&self) -> usize {
        self.rows.memory()
            + usize::from(self.parity.sources()) * usize::from(self.parity.repairs())
            + self.lengths.capacity() * size_of::<u16>()
            + self.longest.capacity() * size_of::<usize>()
    }

    /// Begins anew with the packet `first`.
    pub(super) fn begin(&mut self, shape: Shape, packet_bytes: usize, first: u64) {
        self.shape = shape;
        self.first = first;
        self.parity.set(shape.sources(), shape.repairs());
        self.rows.set(usize::from(shape.depth()) * usize::from(shape.repairs()), stride(packet_bytes));
        self.longest.clear();
        self.longest.resize(usize::from(shape.depth()), 0);
        self.lengths.clear();
        self.same = true;
        self.lengths.reserve_exact(shape.packets());
        self.close(0);
    }

    /// Forgets its packets.
    pub(super) fn clear(&mut self) {
        self.lengths.clear();
        self.close(0);
    }

    /// Whether it has no packet.
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// How many packets there is room for.
    pub(super) fn room(&self) -> usize {
        self.shape.packets().saturating_sub(self.lengths.len())
    }

    /// Adds the packets that come next, at most [`BATCH`] and as many as there is room for.
    pub(super) fn add(&mut self, kernel: Kernel, packets: &[&[u8]]) {
        let depth = usize::from(self.shape.depth());
        if depth == 1 {
            self.add_to(0, kernel, self.lengths.len(), packets);
        } else {
            for turn in 0..depth.min(packets.len()) {
                let at = self.lengths.len() + turn;
                let mut mine: [&[u8]; BATCH] = [&[]; BATCH];
                let mut count = 0;
                for (place, packet) in mine.iter_mut().zip(packets.iter().skip(turn).step_by(depth)) {
                    *place = packet;
                    count += 1;
                }
                self.add_to(at % depth, kernel, at / depth, mine.get(..count).unwrap_or_default());
            }
        }
        self.lengths.extend(packets.iter().map(|packet| packet.len() as u16));
        let first = self.lengths.first().copied().map(usize::from);
        self.same = self.same && packets.iter().all(|packet| Some(packet.len()) == first);
    }

    /// Adds packets of one block, the first of them its `position`.
    fn add_to(&mut self, block: usize, kernel: Kernel, position: usize, packets: &[&[u8]]) {
        let Some(longest) = self.longest.get_mut(block) else { return };
        let valid = longest.div_ceil(BLOCK_BYTES);
        *longest = packets.iter().map(|packet| packet.len()).fold(*longest, usize::max);
        let stride = self.rows.stride();
        let rows = self.rows.blocks(block * usize::from(self.shape.repairs()), 1);
        let coefficients = self.parity.of_sources(position, packets.len());
        let added = kernel.add(rows, stride, valid, coefficients, packets);
        debug_assert!(added, "rows are as long as packets can be");
    }

    /// From now on `repairs` of each block can be polled, or as many as it has.
    pub(super) fn close(&mut self, repairs: u8) {
        self.repairs = repairs.min(self.shape.repairs());
        self.next = (0, 0);
    }

    /// How many repairs have not been polled.
    pub(super) fn waiting(&self) -> u64 {
        let (repair, block) = self.next;
        let blocks = self.lengths.len().min(usize::from(self.shape.depth())) as u64;
        (u64::from(self.repairs.saturating_sub(repair)) * blocks).saturating_sub(u64::from(block))
    }

    /// The next repair: the first of each block, then the second of each, so that a burst of losses hits all alike.
    pub(super) fn poll(&mut self) -> Option<Repair<'_>> {
        if self.waiting() == 0 {
            return None;
        }
        let (repair, block) = self.next;
        let blocks = self.lengths.len().min(usize::from(self.shape.depth()));
        self.next = if usize::from(block) + 1 < blocks { (repair, block + 1) } else { (repair + 1, 0) };

        let (depth, own) = (usize::from(self.shape.depth()), usize::from(block));
        let sources = (self.lengths.len() - own).div_ceil(depth);
        let length = if self.same && self.room() == 0 {
            self.lengths.first().copied()?
        } else {
            let lengths = self.lengths.iter().skip(own).step_by(depth).copied().chain(std::iter::repeat(0));
            combine_lengths(self.parity.of_repair(repair).zip(lengths))
        };
        let index = self.first + u64::from(block);
        let header = Header {
            first: index as u16,
            sources: sources as u8,
            code: self.shape.sources(),
            symbol: self.shape.sources() + repair,
            step: self.shape.depth(),
        };
        let row = own * usize::from(self.shape.repairs()) + usize::from(repair);
        let head = self.rows.blocks(row, 0).first_mut()?;
        let front = head.last_chunk_mut::<OVERHEAD_BYTES>()?;
        let (place, place_of_length) = front.split_at_mut(HEADER_BYTES);
        place.copy_from_slice(&header.to_bytes());
        place_of_length.copy_from_slice(&length.to_be_bytes());
        let end = BLOCK_BYTES + self.longest.get(own)?;
        let payload = self.rows.row(row).get(BLOCK_BYTES - HEADER_BYTES - LENGTH_BYTES..end)?;
        Some(Repair { first: index, sources: header.sources, step: header.step, payload })
    }
}
