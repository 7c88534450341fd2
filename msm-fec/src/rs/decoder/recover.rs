//! Lost packets of one block.

use super::super::code::{Solution, combine_lengths};
use super::super::kernel::{BLOCK_BYTES, Batch, Kernel};
use super::super::payload::Symbol;
use super::super::ring::Sources;
use super::super::rows::Rows;
use super::block::Block;
use super::seen::Seen;

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
    /// Of each symbol that is used, its point, and what it is multiplied with for each of the lost: the repairs first.
    points: Vec<u8>,
    coefficients: Vec<u8>,
    /// What these are for: the code, and what of it is lost. A burst takes the same of all blocks that interleave.
    solved: (u8, Vec<u8>),
    /// The length that all symbols have; or else that of each.
    same: Option<u16>,
    lengths: Vec<u16>,
    /// Index, row and length of each packet, and which is polled next.
    found: Vec<(u64, usize, usize)>,
    next: usize,
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
        let code = block.header.code;
        let known = self.solved.0 == code
            && self.solved.1 == self.lost
            && used.clone().map(|(number, _)| number).eq(self.points.iter().copied().take(self.lost.len()));
        if !known {
            self.solved.0 = 0;
            self.points.clear();
            self.points.extend(used.clone().map(|(number, _)| number));
            if !self.solution.set(code, &self.lost, &self.points) {
                return Err(Gap::Inconsistent);
            }
            let mut start = 0;
            for lost in self.lost.iter().copied().chain([code]) {
                self.points.extend(start..lost);
                start = lost + 1;
            }
            self.coefficients.clear();
            self.solution.coefficients(&self.points, &mut self.coefficients);
            self.solved.0 = code;
            self.solved.1.clone_from(&self.lost);
        }
        self.add_up(kernel, block, used.map(|(_, symbol)| symbol), sources)
    }

    /// Adds up all symbols, each times its coefficients. The repairs are first: they are as long as the longest symbol.
    fn add_up<'a>(
        &mut self,
        kernel: Kernel,
        block: &Block,
        used: impl Iterator<Item = Symbol<'a>> + Clone,
        sources: &'a impl Sources,
    ) -> Result<(), Gap> {
        let Self { rows, lost, points, coefficients, .. } = self;
        rows.set(lost.len(), block.bytes.div_ceil(BLOCK_BYTES));
        let others = points.iter().skip(lost.len()).take_while(|position| **position < block.header.sources);
        let packet = |position: &u8| match sources.get(block.index(*position)) {
            Some(packet) if packet.len() <= block.bytes => Ok(packet),
            Some(_) => Err(Gap::Inconsistent),
            None => Err(Gap::Gone),
        };
        let mut sum = Sum { kernel, rows, coefficients, lost: lost.len(), batch: Batch::default(), done: 0 };
        let mut lengths = used.clone().map(|symbol| symbol.length);
        let first = lengths.next().unwrap_or(0);
        let mut same = lengths.all(|length| length == first);
        for symbol in used.clone() {
            sum.push(symbol.body)?;
        }
        for position in others.clone() {
            let packet = packet(position)?;
            same &= packet.len() == usize::from(first);
            sum.push(packet)?;
        }
        sum.flush()?;
        self.lengths.clear();
        self.same = (same && block.header.sources == block.header.code).then_some(first);
        if self.same.is_none() {
            self.lengths.extend(used.map(|symbol| symbol.length));
            for position in others {
                self.lengths.push(packet(position)?.len() as u16);
            }
            // The zeros that nobody sends count for the lengths, for which all coefficients have to add up to 1.
            self.lengths.resize(points.len(), 0);
        }
        Ok(())
    }

    /// Whether all that was recovered are packets.
    fn judge(&mut self, block: &Block, seen: &Seen, verify: fn(u64, &[u8]) -> bool) -> Outcome {
        for (row, position) in self.lost.iter().enumerate() {
            let index = block.index(*position);
            let length = self.same.unwrap_or_else(|| {
                let coefficients = self.coefficients.iter().skip(row).step_by(self.lost.len());
                combine_lengths(coefficients.copied().zip(self.lengths.iter().copied()))
            });
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

/// A sum that grows by a batch of symbols at a time.
struct Sum<'a, 'r> {
    kernel: Kernel,
    rows: &'r mut Rows,
    coefficients: &'r [u8],
    lost: usize,
    batch: Batch<'a>,
    /// Symbols that have been added up.
    done: usize,
}

impl<'a> Sum<'a, '_> {
    #[inline]
    fn push(&mut self, symbol: &'a [u8]) -> Result<(), Gap> {
        self.batch.push(symbol);
        if self.batch.is_full() { self.flush() } else { Ok(()) }
    }

    /// Adds the symbols that wait, of which each has as many coefficients as are lost.
    fn flush(&mut self) -> Result<(), Gap> {
        let stride = self.rows.stride();
        let valid = if self.done == 0 { 0 } else { stride };
        let until = self.done + self.batch.len();
        if until == self.done {
            return Ok(());
        }
        let coefficients =
            self.coefficients.get(self.done * self.lost..until * self.lost).unwrap_or_default();
        let added = self.kernel.add(self.rows.blocks(0, 0), stride, valid, coefficients, &self.batch);
        self.done = until;
        self.batch.clear();
        added.then_some(()).ok_or(Gap::Inconsistent)
    }
}
