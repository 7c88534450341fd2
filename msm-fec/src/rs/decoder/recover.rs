//! Lost packets of one block.

use super::super::code::{Solution, combine_lengths};
use super::super::kernel::{BLOCK_BYTES, Kernel};
use super::super::payload::Symbol;
use super::super::ring::Sources;
use super::super::rows::Rows;
use super::block::Block;
use super::seen::Seen;

/// Packets that are added up at a time.
const BATCH: usize = 16;

/// What came of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Too few symbols are at hand.
    Waiting,
    /// Nothing is missing.
    Complete,
    /// The lost packets are there to be polled.
    Recovered,
    /// The block contradicts itself.
    Inconsistent,
}

/// Why a block can't be added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// A packet that was seen is at hand no more.
    Gone,
    /// It contradicts itself.
    Inconsistent,
}

/// Memory for a block's recovery, used again for the next.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    solution: Solution,
    rows: Rows,
    lost: Vec<u8>,
    /// Of each symbol that is used, its point, its length, and what it is multiplied with for each of the lost.
    points: Vec<u8>,
    lengths: Vec<u16>,
    coefficients: Vec<u8>,
    /// Index, row and length of each packet, and which is polled next.
    found: Vec<(u64, usize, usize)>,
    next: usize,
}

/// A part of a sum: source packets or repairs that wait for the kernel.
struct Sum<'a> {
    batch: [&'a [u8]; BATCH],
    filled: usize,
    /// Symbols that have been added up.
    done: usize,
}

impl Recovery {
    /// Recovers what `block` lacks from its repairs and `one` more, if enough is at hand. A packet that has been seen, but is at
    /// hand no more, counts as lost for that.
    pub(super) fn run(
        &mut self,
        kernel: Kernel,
        block: &Block,
        one: Option<(u8, Symbol<'_>)>,
        seen: &Seen,
        sources: &impl Sources,
        verify: fn(u64, &[u8]) -> bool,
    ) -> Outcome {
        self.found.clear();
        self.next = 0;
        let repairs = block.repairs.len() + usize::from(one.is_some());
        if block.missing == 0 {
            return Outcome::Complete;
        }
        if block.missing > repairs {
            return Outcome::Waiting;
        }
        self.lost.clear();
        seen.unseen(block.first, block.header.step, block.header.sources, |position| {
            self.lost.push(position)
        });
        let mut added = self.solve(kernel, block, one, sources);
        if added == Err(Gap::Gone) {
            // Rare, so that packets are looked for only once otherwise.
            self.lost.clear();
            let positions = 0..block.header.sources;
            self.lost.extend(positions.filter(|position| {
                let index = block.index(*position);
                !seen.contains(index) || sources.get(index).is_none()
            }));
            if self.lost.len() > repairs {
                return Outcome::Waiting;
            }
            added = self.solve(kernel, block, one, sources);
        }
        if added.is_err() { Outcome::Inconsistent } else { self.judge(block, seen, verify) }
    }

    /// Solves for what is lost, from as many repairs.
    fn solve(
        &mut self,
        kernel: Kernel,
        block: &Block,
        one: Option<(u8, Symbol<'_>)>,
        sources: &impl Sources,
    ) -> Result<(), Gap> {
        let stored = block.repairs.iter().map(|repair| (repair.number, repair.symbol()));
        let used = stored.chain(one).take(self.lost.len());
        self.points.clear();
        self.points.extend(used.clone().map(|(number, _)| number));
        if !self.solution.set(block.header.code, &self.lost, &self.points) {
            return Err(Gap::Inconsistent);
        }
        let mut start = 0;
        for lost in self.lost.iter().copied().chain([block.header.code]) {
            self.points.extend(start..lost);
            start = lost + 1;
        }
        self.coefficients.clear();
        self.solution.coefficients(&self.points, &mut self.coefficients);
        self.add_up(kernel, block, used.map(|(_, symbol)| symbol), sources)
    }

    /// Adds up all symbols, each times its coefficients. The repairs are first: they are as long as the longest symbol.
    fn add_up<'a>(
        &mut self,
        kernel: Kernel,
        block: &Block,
        used: impl Iterator<Item = Symbol<'a>>,
        sources: &'a impl Sources,
    ) -> Result<(), Gap> {
        let Self { rows, lost, points, lengths, coefficients, .. } = self;
        rows.set(lost.len(), block.bytes.div_ceil(BLOCK_BYTES));
        lengths.clear();
        let mut sum = Sum { batch: [&[]; BATCH], filled: 0, done: 0 };
        for symbol in used {
            lengths.push(symbol.length);
            sum.push(symbol.body);
            sum.flush_if_full(kernel, rows, coefficients, lost.len())?;
        }
        let others = points.iter().skip(lost.len()).take_while(|position| **position < block.header.sources);
        for position in others {
            let packet = sources.get(block.index(*position)).ok_or(Gap::Gone)?;
            if packet.len() > block.bytes {
                return Err(Gap::Inconsistent);
            }
            lengths.push(packet.len() as u16);
            sum.push(packet);
            sum.flush_if_full(kernel, rows, coefficients, lost.len())?;
        }
        // The zeros that nobody sends count for the lengths, for which all coefficients have to add up to 1.
        lengths.resize(points.len(), 0);
        sum.flush(kernel, rows, coefficients, lost.len())
    }

    /// Whether all that was recovered are packets.
    fn judge(&mut self, block: &Block, seen: &Seen, verify: fn(u64, &[u8]) -> bool) -> Outcome {
        let first = self.lengths.first().copied().unwrap_or(0);
        let same = self.lengths.iter().all(|length| *length == first);
        for (row, position) in self.lost.iter().enumerate() {
            let index = block.index(*position);
            let coefficients = self.coefficients.iter().skip(row).step_by(self.lost.len()).copied();
            let lengths = self.lengths.iter().copied();
            let length = if same { first } else { combine_lengths(coefficients.zip(lengths)) };
            let length = usize::from(length);
            let symbol = self.rows.row(row).get(..block.bytes).unwrap_or_default();
            let Some((packet, zeros)) = symbol.split_at_checked(length) else { return Outcome::Inconsistent };
            if packet.is_empty() || zeros.iter().any(|byte| *byte != 0) || !verify(index, packet) {
                return Outcome::Inconsistent;
            }
            if !seen.contains(index) {
                self.found.push((index, row, length));
            }
        }
        Outcome::Recovered
    }

    /// The indices of what was recovered.
    pub(super) fn indices(&self) -> impl Iterator<Item = u64> {
        self.found.iter().map(|(index, ..)| *index)
    }

    /// The next packet that was recovered. Those that are not polled are gone with the next run.
    pub(super) fn poll(&mut self) -> Option<(u64, &[u8])> {
        let (index, row, length) = *self.found.get(self.next)?;
        self.next += 1;
        Some((index, self.rows.row(row).get(..length).unwrap_or_default()))
    }

    /// Bytes that it keeps.
    pub(super) fn memory(&self) -> usize {
        self.rows.memory() + self.coefficients.capacity()
    }
}

impl<'a> Sum<'a> {
    fn push(&mut self, symbol: &'a [u8]) {
        if let Some(place) = self.batch.get_mut(self.filled) {
            *place = symbol;
            self.filled += 1;
        }
    }

    fn flush_if_full(
        &mut self,
        kernel: Kernel,
        rows: &mut Rows,
        coefficients: &[u8],
        lost: usize,
    ) -> Result<(), Gap> {
        if self.filled < BATCH { Ok(()) } else { self.flush(kernel, rows, coefficients, lost) }
    }

    /// Adds the symbols that wait to `rows`, of which each has as many coefficients as are `lost`.
    fn flush(
        &mut self,
        kernel: Kernel,
        rows: &mut Rows,
        coefficients: &[u8],
        lost: usize,
    ) -> Result<(), Gap> {
        let stride = rows.stride();
        let valid = if self.done == 0 { 0 } else { stride };
        let until = self.done + self.filled;
        let coefficients = coefficients.get(self.done * lost..until * lost).unwrap_or_default();
        let symbols = self.batch.get(..self.filled).unwrap_or_default();
        self.done = until;
        self.filled = 0;
        let added = kernel.add(rows.blocks(0, 0), stride, valid, coefficients, symbols);
        added.then_some(()).ok_or(Gap::Inconsistent)
    }
}
