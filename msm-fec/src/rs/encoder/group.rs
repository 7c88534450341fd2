//! The blocks that are filled in turn, and their repairs.

use super::super::code::{Parity, combine_lengths};
use super::super::kernel::{BLOCK_BYTES, Batch, Kernel};
use super::super::payload::{HEADER_BYTES, Header, LENGTH_BYTES, OVERHEAD_BYTES};
use super::super::rows::Rows;
use super::super::shape::Shape;
use super::Repair;

/// Consecutive source packets, and what their blocks' repairs are so far. The memory is used again for the next ones.
#[derive(Debug, Default)]
pub(super) struct Group {
    shape: Shape,
    /// The longest packet that it has room for.
    packet_bytes: usize,
    parity: Parity,
    /// The first packet's index, and how many there are.
    first: u64,
    count: usize,
    /// Block after block, a row for each repair. A row's first block ends with what stands in front of the packet's bytes.
    rows: Rows,
    /// The longest packet of each block.
    longest: Vec<usize>,
    /// The one length that all packets have, as a whole block's repairs have then too; or else that of each.
    same: Option<u16>,
    lengths: Vec<u16>,
    /// The repair, and the block's, that is polled next; how many blocks there are; and how many repairs are left.
    next: (u8, u8),
    blocks: usize,
    left: u64,
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
        self.first = first;
        if (self.shape, self.packet_bytes) != (shape, packet_bytes) {
            (self.shape, self.packet_bytes) = (shape, packet_bytes);
            self.parity.set(shape.sources(), shape.repairs());
            self.rows.set(usize::from(shape.depth()) * usize::from(shape.repairs()), stride(packet_bytes));
            self.longest.resize(usize::from(shape.depth()), 0);
            self.lengths.clear();
            self.lengths.reserve_exact(shape.packets());
        }
        self.longest.fill(0);
        self.clear();
    }

    /// Forgets its packets.
    pub(super) const fn clear(&mut self) {
        (self.count, self.left) = (0, 0);
    }

    /// Whether it has no packet.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many packets there is room for.
    pub(super) fn room(&self) -> usize {
        self.shape.packets().saturating_sub(self.count)
    }

    /// Adds the packets that come next, no more than there is room for.
    pub(super) fn add(&mut self, kernel: Kernel, batch: &Batch<'_>) {
        let depth = usize::from(self.shape.depth());
        if depth == 1 {
            self.add_to(0, kernel, self.count, batch);
        } else {
            for turn in 0..depth.min(batch.len()) {
                let at = self.count + turn;
                let mine: Batch<'_> = batch.sources().iter().skip(turn).step_by(depth).copied().collect();
                self.add_to(at % depth, kernel, at / depth, &mine);
            }
        }
        self.note_lengths(batch);
        self.count += batch.len();
    }

    /// Of packets of one length, as they are mostly, one length is kept.
    fn note_lengths(&mut self, batch: &Batch<'_>) {
        if self.count == 0 {
            self.same = Some(batch.longest() as u16);
        }
        if let Some(same) = self.same {
            if batch.shortest() == batch.longest() && batch.longest() == usize::from(same) {
                return;
            }
            self.same = None;
            self.lengths.clear();
            self.lengths.resize(self.count, same);
        }
        self.lengths.extend(batch.sources().iter().map(|packet| packet.len() as u16));
    }

    /// Adds packets of one block, the first of them its `position`.
    fn add_to(&mut self, block: usize, kernel: Kernel, position: usize, batch: &Batch<'_>) {
        let Some(longest) = self.longest.get_mut(block) else { return };
        let valid = longest.div_ceil(BLOCK_BYTES);
        *longest = batch.longest().max(*longest);
        let stride = self.rows.stride();
        let rows = self.rows.blocks(block * usize::from(self.shape.repairs()), 1);
        let coefficients = self.parity.of_sources(position, batch.len());
        let added = kernel.add(rows, stride, valid, coefficients, batch);
        debug_assert!(added, "rows are as long as packets can be");
    }

    /// From now on `repairs` of each block can be polled, or as many as it has.
    pub(super) fn close(&mut self, repairs: u8) {
        self.next = (0, 0);
        self.blocks = self.count.min(usize::from(self.shape.depth()));
        self.left = u64::from(repairs.min(self.shape.repairs())) * self.blocks as u64;
    }

    /// How many repairs have not been polled.
    pub(super) const fn waiting(&self) -> u64 {
        self.left
    }

    /// The next repair: the first of each block, then the second of each, so that a burst of losses hits all alike.
    pub(super) fn poll(&mut self) -> Option<Repair<'_>> {
        self.left = self.left.checked_sub(1)?;
        let (repair, block) = self.next;
        let (depth, own) = (usize::from(self.shape.depth()), usize::from(block));
        self.next = if own + 1 < self.blocks { (repair, block + 1) } else { (repair + 1, 0) };

        // Nearly all groups are a single block: a division costs as much as the rest.
        let sources = if depth == 1 { self.count } else { (self.count - own).div_ceil(depth) };
        let length = match self.same {
            Some(same) if self.room() == 0 => same,
            Some(same) => self.combined_length(repair, std::iter::repeat_n(same, sources)),
            None => self.combined_length(repair, self.lengths.iter().skip(own).step_by(depth).copied()),
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

    /// The length of a repair of packets that have not one length all, or are fewer than the code's.
    #[cold]
    fn combined_length(&self, repair: u8, lengths: impl Iterator<Item = u16>) -> u16 {
        combine_lengths(self.parity.of_repair(repair).zip(lengths.chain(std::iter::repeat(0))))
    }
}
