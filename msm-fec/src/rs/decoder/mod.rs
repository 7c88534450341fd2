//! The receiver's side.

mod aside;
mod block;
mod blocks;
mod recover;
mod refusal;
mod seen;
mod types;

use std::collections::BTreeMap;

use msm_core::seq;

use super::encoder::MAX_PACKET_BYTES;
use super::kernel::Kernel;
use super::payload::{Header, Symbol};
pub use crate::sources::Recovered;
use crate::sources::Sources;
use aside::Aside;
use block::Block;
use blocks::Blocks;
use recover::{Outcome, Recovery};
pub use refusal::Refusal;
use seen::Seen;
pub use types::{Counts, DecoderConfig, MAX_WINDOW, Taken, is_rtp};

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
    blocks: Blocks,
    recovery: Recovery,
    aside: Aside,
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
            blocks: Blocks::default(),
            recovery: Recovery::default(),
            aside: Aside::default(),
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
        self.blocks.buffers() * self.config.packet_bytes + self.aside.memory() + self.recovery.memory()
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
        let at = match self.blocks.position(first, header.step) {
            Some(at) => at,
            None => {
                let bytes = symbol.body.len();
                let mut block = Block { first, header, bytes, repairs: Vec::new(), missing: 0 };
                block.count(&self.seen);
                if block.missing == 0 {
                    self.counts.unneeded += 1;
                    return Ok(Taken::Unneeded);
                }
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
            self.blocks.close(0);
        }
        self.blocks.open(block)
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
        while (self.blocks.stored() + 1) * self.config.packet_bytes > self.config.memory_bytes {
            if at == 0 {
                let oldest = self.blocks.get(0).map(|block| (block.first, block.repairs.is_empty()));
                let (first, is_empty) = oldest.unwrap_or((0, false));
                if is_empty {
                    self.blocks.close(0);
                }
                return Err(Refusal::Memory(first));
            }
            self.counts.crowded += 1;
            self.blocks.close(0);
            at -= 1;
        }
        self.blocks.store(at, number, symbol, self.config.packet_bytes);
        Ok(Taken::Kept)
    }

    /// Recovers what the block lacks if enough is there, with `one` more repair, and closes it if nothing is missing any more.
    fn try_block(
        &mut self,
        at: usize,
        one: Option<(u8, Symbol<'_>)>,
        sources: &impl Sources,
    ) -> Result<Taken, Refusal> {
        // Copies what was recovered and not polled, as its memory is needed.
        while let Some((index, packet)) = self.recovery.poll() {
            self.counts.unpolled += self.aside.keep(index, packet, self.config.memory_bytes);
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
        self.blocks.close(at);
        for index in self.recovery.indices() {
            self.counts.recovered += 1;
            self.seen.insert(index);
            self.blocks.found(index);
        }
        taken
    }

    /// Gives up blocks that have left the window.
    fn expire(&mut self) {
        let start = self.seen.end().saturating_sub(1 + self.config.window as u64);
        while self.blocks.expire(start) {
            self.counts.expired += 1;
        }
    }

    /// The next packet that was recovered, those of a block in order.
    pub fn poll_recovered(&mut self) -> Option<Recovered<'_>> {
        let next = if self.aside.is_empty() { self.recovery.poll() } else { self.aside.poll() };
        next.map(|(index, packet)| Recovered { index, packet })
    }
}

#[cfg(test)]
mod tests;
