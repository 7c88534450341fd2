//! The receiver's side.

mod block;
mod recover;
mod refusal;
mod seen;

use std::collections::{BTreeMap, VecDeque};

use msm_core::seq;

use super::encoder::MAX_PACKET_BYTES;
use super::kernel::Kernel;
use super::payload::{Header, Symbol};
use super::ring::Sources;
use block::{Block, Stored};
use recover::{Outcome, Recovery};
pub use refusal::Refusal;
use seen::Seen;

/// Most indices that a decoder looks back and ahead: with more, 16 bits would not say which packet is meant.
pub const MAX_WINDOW: usize = 16_384;

/// Limits of a [`Decoder`].
#[derive(Debug, Clone, Copy)]
pub struct DecoderConfig {
    /// Longest packet that can be recovered, at most [`MAX_PACKET_BYTES`].
    pub packet_bytes: usize,
    /// How many packets a block may be older than the newest, or ahead of it, at most [`MAX_WINDOW`].
    pub window: usize,
    /// Most blocks with gaps that are kept: the oldest is given up for another one.
    pub blocks: usize,
    /// Most memory for repairs of such blocks, as much again for packets that are recovered and wait to be polled, and a
    /// little more for the sums of the block that is recovered.
    pub memory_bytes: usize,
    /// Whether what was recovered as the packet of an index is one. What does not is given up with its block.
    pub verify: fn(index: u64, packet: &[u8]) -> bool,
}

impl Default for DecoderConfig {
    /// Packets of an Ethernet frame, 8192 of them, 64 blocks, 1 MiB, and RTP's sequence number.
    fn default() -> Self {
        Self { packet_bytes: 1500, window: 8192, blocks: 64, memory_bytes: 1 << 20, verify: is_rtp }
    }
}

/// Whether `packet` is RTP (RFC 3550 §5.1) with the index's sequence number.
#[must_use]
pub fn is_rtp(index: u64, packet: &[u8]) -> bool {
    let [first, _, high, low, ..] = packet else { return false };
    packet.len() >= 12 && first >> 6 == 2 && u16::from_be_bytes([*high, *low]) == index as u16
}

/// What became of a repair packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All source packets of its block were there.
    Unneeded,
    /// It is kept until enough of its block is there.
    Kept,
    /// It made its block complete: see [`Decoder::poll_recovered`].
    Recovered,
}

/// A packet that was lost, and is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered<'a> {
    /// Its index.
    pub index: u64,
    /// Its bytes, as they were protected.
    pub packet: &'a [u8],
}

/// How often what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Packets that were recovered.
    pub recovered: u64,
    /// Repair packets of blocks that were complete.
    pub unneeded: u64,
    /// Blocks that were given up with gaps as they left the window.
    pub expired: u64,
    /// Blocks that were given up with gaps for another one.
    pub crowded: u64,
    /// Packets that were recovered and not polled before memory was needed again.
    pub unpolled: u64,
}

/// Recovers lost packets from repair packets.
///
/// * [`handle_source`](Self::handle_source) for each source packet, after it is put where `sources` finds it: a few comparisons while no block
///   has a gap. Nothing is copied.
/// * [`handle_repair`](Self::handle_repair) for each repair payload: kept only if its block has a gap.
/// * [`poll_recovered`](Self::poll_recovered) until `None`, after either. A packet is recovered as soon as any k of its block's packets are
///   there, at most once, and never after it came. It does not have to be put in `sources`.
///
/// Memory is `window / 4` bytes for what has been seen, and grows with losses up to three times `memory_bytes` and a twentieth.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    kernel: Kernel,
    seen: Seen,
    blocks: VecDeque<Block>,
    /// Where a block ends that leaves the window first.
    oldest: u64,
    /// Buffers for symbols, and how many of them there are in blocks; and lists of such.
    spare: Vec<Vec<u8>>,
    lists: Vec<Vec<Stored>>,
    stored: usize,
    recovery: Recovery,
    /// What was recovered: index and length of each, the bytes one after the other.
    ready: VecDeque<(u64, usize)>,
    bytes: Vec<u8>,
    polled: usize,
    counts: Counts,
    refused: BTreeMap<&'static str, u64>,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new(config: DecoderConfig) -> Self {
        Self::with_kernel(config, Kernel::detect())
    }

    /// As [`new`](Self::new), with a kernel of choice.
    #[must_use]
    pub fn with_kernel(config: DecoderConfig, kernel: Kernel) -> Self {
        let config = DecoderConfig {
            packet_bytes: config.packet_bytes.clamp(1, MAX_PACKET_BYTES),
            window: config.window.clamp(1, MAX_WINDOW),
            ..config
        };
        Self {
            config,
            kernel,
            seen: Seen::new(2 * config.window),
            blocks: VecDeque::new(),
            oldest: u64::MAX,
            spare: Vec::new(),
            lists: Vec::new(),
            stored: 0,
            recovery: Recovery::default(),
            ready: VecDeque::new(),
            bytes: Vec::new(),
            polled: 0,
            counts: Counts::default(),
            refused: BTreeMap::new(),
        }
    }

    /// How often what happened.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How often repairs and blocks were refused, by [`Refusal::name`].
    #[must_use]
    pub const fn refused(&self) -> &BTreeMap<&'static str, u64> {
        &self.refused
    }

    /// Blocks that have gaps.
    #[must_use]
    pub fn open_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn memory(&self) -> usize {
        (self.stored + self.spare.len()) * self.config.packet_bytes
            + self.bytes.capacity()
            + self.recovery.memory()
    }

    /// A source packet came, and `sources` has it. False if it came before or was recovered, or is too old to tell.
    #[inline]
    pub fn handle_source(&mut self, index: u64, sources: &impl Sources) -> bool {
        let new = self.seen.insert(index);
        if new && !self.blocks.is_empty() {
            self.fill(index, sources);
        }
        new
    }

    /// A packet came, and some block has a gap.
    fn fill(&mut self, index: u64, sources: &impl Sources) {
        self.expire();
        let mut at = 0;
        while let Some(block) = self.blocks.get_mut(at) {
            let has = block.has(index);
            block.missing -= usize::from(has).min(block.missing);
            let taken = if has { self.try_block(at, None, sources) } else { Ok(Taken::Kept) };
            if let Err(refusal) = &taken {
                self.refuse(refusal);
            }
            at += usize::from(taken == Ok(Taken::Kept));
        }
    }

    /// A repair packet came. `newest` is the index of the newest packet that its sender can be taken to have sent: of the newest
    /// source packet, however it came.
    ///
    /// # Errors
    ///
    /// It is refused, and counted by the name of the reason.
    pub fn handle_repair(
        &mut self,
        newest: u64,
        payload: &[u8],
        sources: &impl Sources,
    ) -> Result<Taken, Refusal> {
        let taken = self.repair(newest, payload, sources);
        if let Err(refusal) = &taken {
            self.refuse(refusal);
        }
        taken
    }

    fn refuse(&mut self, refusal: &Refusal) {
        *self.refused.entry(refusal.name()).or_default() += 1;
    }

    fn repair(&mut self, newest: u64, payload: &[u8], sources: &impl Sources) -> Result<Taken, Refusal> {
        let (header, symbol) = Header::parse(payload)?;
        if symbol.body.len() > self.config.packet_bytes {
            return Err(Refusal::Long(symbol.body.len()));
        }
        let newest = newest.max(self.seen.end().saturating_sub(1));
        let first = self.place(newest, header)?;
        self.expire();
        let same = |block: &Block| (block.first, block.header.step) == (first, header.step);
        let at = match self.blocks.iter().position(same) {
            Some(at) => at,
            None => {
                let mut block =
                    Block { first, header, bytes: symbol.body.len(), repairs: Vec::new(), missing: 0 };
                block.count(&self.seen);
                if block.missing == 0 {
                    self.counts.unneeded += 1;
                    return Ok(Taken::Unneeded);
                }
                block.repairs = self.lists.pop().unwrap_or_default();
                self.open(block)
            }
        };
        self.judge(at, header, symbol)?;
        match self.try_block(at, Some((header.symbol, symbol)), sources)? {
            Taken::Kept => self.store(at, header.symbol, symbol),
            taken => Ok(taken),
        }
    }

    /// The index of a block's first packet: nearest to the newest, within the window.
    fn place(&self, newest: u64, header: Header) -> Result<u64, Refusal> {
        let distance = i64::from(seq::distance(newest as u16, header.first));
        let far = Refusal::Far { first: header.first, distance };
        let first = newest.checked_add_signed(distance).ok_or(far)?;
        let window = self.config.window as u64;
        let end = first.checked_add(header.span()).ok_or(far)?;
        if end + window <= newest || end > newest.saturating_add(window) || header.span() > window {
            return Err(far);
        }
        Ok(first)
    }

    /// Takes in a block, and gives up the oldest if there are too many.
    fn open(&mut self, block: Block) -> usize {
        while !self.blocks.is_empty() && self.blocks.len() >= self.config.blocks {
            self.counts.crowded += 1;
            self.close(0);
        }
        self.oldest = self.oldest.min(block.last());
        self.blocks.push_back(block);
        self.blocks.len() - 1
    }

    /// Whether a repair can be one of the block, and is new.
    fn judge(&self, at: usize, header: Header, symbol: Symbol<'_>) -> Result<(), Refusal> {
        let Some(block) = self.blocks.get(at) else { return Ok(()) };
        let first = block.first;
        if !block.agrees(header, symbol.body.len()) {
            Err(Refusal::Disagrees(first))
        } else if block.repairs.iter().any(|repair| repair.number == header.symbol) {
            Err(Refusal::Duplicate { first, symbol: header.symbol })
        } else {
            Ok(())
        }
    }

    /// Keeps a repair of the block, for whose memory older blocks are given up.
    fn store(&mut self, at: usize, number: u8, symbol: Symbol<'_>) -> Result<Taken, Refusal> {
        let mut at = at;
        while (self.stored + 1) * self.config.packet_bytes > self.config.memory_bytes {
            if at == 0 {
                let first = self.blocks.front().map_or(0, |block| block.first);
                if self.blocks.front().is_some_and(|block| block.repairs.is_empty()) {
                    self.close(0);
                }
                return Err(Refusal::Memory(first));
            }
            self.counts.crowded += 1;
            self.close(0);
            at -= 1;
        }
        if let Some(block) = self.blocks.get_mut(at) {
            let spare = self.spare.pop();
            let mut body = spare.unwrap_or_else(|| Vec::with_capacity(self.config.packet_bytes));
            body.clear();
            body.extend_from_slice(symbol.body);
            self.stored += 1;
            block.repairs.push(Stored { number, length: symbol.length, body });
        }
        Ok(Taken::Kept)
    }

    /// Recovers what the block lacks if enough is there, with `one` more repair, and closes it if nothing is missing any more.
    fn try_block(
        &mut self,
        at: usize,
        one: Option<(u8, Symbol<'_>)>,
        sources: &impl Sources,
    ) -> Result<Taken, Refusal> {
        if !self.recovery.is_empty() {
            self.put_aside();
        }
        let Some(block) = self.blocks.get(at) else { return Ok(Taken::Kept) };
        let first = block.first;
        let taken = match self.recovery.run(self.kernel, block, one, &self.seen, sources, self.config.verify)
        {
            Outcome::Waiting => return Ok(Taken::Kept),
            Outcome::Complete => Ok(Taken::Unneeded),
            Outcome::Recovered => Ok(Taken::Recovered),
            Outcome::Inconsistent => Err(Refusal::Inconsistent(first)),
        };
        self.close(at);
        for index in self.recovery.indices() {
            self.counts.recovered += 1;
            self.seen.insert(index);
            for block in self.blocks.iter_mut().filter(|block| block.has(index)) {
                block.missing -= block.missing.min(1);
            }
        }
        taken
    }

    /// Copies what was recovered and not polled, as its memory is needed.
    fn put_aside(&mut self) {
        if self.ready.is_empty() {
            self.bytes.clear();
            self.polled = 0;
        }
        while let Some((index, packet)) = self.recovery.poll() {
            if self.bytes.len() + packet.len() > self.config.memory_bytes {
                self.counts.unpolled += self.ready.len() as u64;
                self.ready.clear();
                self.bytes.clear();
                self.polled = 0;
            }
            if self.bytes.capacity() - self.bytes.len() < packet.len() {
                let most = (2 * self.bytes.capacity()).min(self.config.memory_bytes);
                self.bytes.reserve_exact(most.max(self.bytes.len() + packet.len()) - self.bytes.len());
            }
            self.bytes.extend_from_slice(packet);
            self.ready.push_back((index, packet.len()));
        }
    }

    /// Takes back a block's memory.
    fn close(&mut self, at: usize) {
        if let Some(mut block) = self.blocks.remove(at) {
            self.stored -= block.repairs.len();
            self.spare.extend(block.repairs.drain(..).map(|repair| repair.body));
            self.lists.push(block.repairs);
        }
        self.oldest = self.blocks.iter().map(Block::last).min().unwrap_or(u64::MAX);
    }

    /// Gives up blocks that have left the window.
    fn expire(&mut self) {
        let start = self.seen.end().saturating_sub(1 + self.config.window as u64);
        while self.oldest < start {
            let Some(at) = self.blocks.iter().position(|block| block.last() < start) else { return };
            self.counts.expired += 1;
            self.close(at);
        }
    }

    /// The next packet that was recovered, those of a block in order.
    pub fn poll_recovered(&mut self) -> Option<Recovered<'_>> {
        let Some((index, length)) = self.ready.pop_front() else {
            return self.recovery.poll().map(|(index, packet)| Recovered { index, packet });
        };
        let start = self.polled;
        self.polled += length;
        self.bytes.get(start..self.polled).map(|packet| Recovered { index, packet })
    }
}

#[cfg(test)]
mod tests;
