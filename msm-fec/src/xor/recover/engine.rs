//! Open repair packets, and the packets that come out of them.

use super::cover::Bits;
use super::parity::{FIXED, Head, add};
use super::repair::{Level, Repair};
use super::seen::Seen;
use super::{Counters, Limits, Recovered, Refusal, Sources, Store, StoreLimits};
use std::collections::VecDeque;

#[derive(Clone, Debug)]
struct Open {
    repair: Repair,
    /// Packets of level 0 that are missing.
    missing: Bits,
    bytes: Vec<u8>,
}

/// What came of an attempt.
enum Attempt {
    Done(u64),
    /// A further level still lacks a packet.
    Later,
    Never(Refusal),
}

/// See [`super`].
#[derive(Clone, Debug)]
pub struct Engine {
    limits: Limits,
    ssrc: u32,
    seen: Seen,
    open: Vec<Open>,
    /// Memory of repair packets that are done with.
    free: Vec<Vec<u8>>,
    recovered: Store,
    ready: VecDeque<u64>,
    scratch: Vec<u8>,
    pub(crate) counters: Counters,
}

impl Engine {
    pub(crate) fn new(ssrc: u32, limits: Limits) -> Self {
        let window = limits.window.clamp(1, 0x7fff);
        let limits = Limits { window, open: limits.open.max(1), ..limits };
        let store = StoreLimits { bytes: limits.recovered_bytes, packets: 2 * usize::from(window) + 2 };
        Self {
            limits,
            ssrc,
            seen: Seen::new(u64::from(window)),
            open: Vec::new(),
            free: Vec::new(),
            recovered: Store::new(store),
            ready: VecDeque::new(),
            scratch: Vec::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    pub(crate) const fn set_ssrc(&mut self, ssrc: u32) {
        self.ssrc = ssrc;
    }

    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// The index of a 16-bit number of the stream.
    pub(crate) fn place(&self, sequence: u16) -> Result<u64, Refusal> {
        if self.seen.newest().is_none() {
            return Err(Refusal::NoSource);
        }
        self.seen.place(sequence).ok_or(Refusal::FarAway)
    }

    /// A source packet came, and is where `sources` finds it.
    pub(crate) fn handle_source(&mut self, index: u64, sources: &impl Sources) {
        self.seen.arrive(index);
        if !self.open.is_empty() {
            self.expire();
            self.arrived(index);
            self.settle(sources);
        }
    }

    /// Takes a repair packet that was read.
    pub(crate) fn handle_repair(
        &mut self,
        packet: &[u8],
        repair: Repair,
        sources: &impl Sources,
    ) -> Result<(), Refusal> {
        if packet.len() > self.limits.packet {
            return Err(Refusal::TooLong);
        }
        let ends = repair.levels.iter().flatten().filter_map(|level| level.cover.end());
        let (Some(start), Some(end)) = (repair.cover.start(), repair.cover.end()) else {
            return Err(Refusal::Empty);
        };
        let end = ends.fold(end, u64::max);
        if !self.seen.near(start) || !self.seen.near(end) {
            return Err(Refusal::FarAway);
        }
        let mut missing = repair.cover.bits;
        for at in repair.cover.bits.iter() {
            if self.seen.has(repair.cover.index(at)) {
                missing.clear(at);
            }
        }
        if missing.count() == 0 {
            self.counters.unneeded += 1;
            return Ok(());
        }
        self.expire();
        if self.open.len() >= self.limits.open {
            self.close(0, Some(Refusal::Crowded));
        }
        let mut bytes = self.free.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        self.open.push(Open { repair, missing, bytes });
        self.settle(sources);
        Ok(())
    }

    /// A source packet that came whole in a repair packet (RFC 8627 §4.2.2.3).
    pub(crate) fn handle_copy(&mut self, packet: &[u8], sources: &impl Sources) -> Result<(), Refusal> {
        let header = msm_core::rtp::Header::parse(packet).map_err(|_| Refusal::Inconsistent)?;
        if packet.len() > self.limits.packet {
            return Err(Refusal::TooLong);
        }
        let index = self.place(header.sequence)?;
        if !self.seen.near(index) {
            return Err(Refusal::FarAway);
        }
        if self.seen.has(index) {
            self.counters.unneeded += 1;
            return Ok(());
        }
        self.keep(index, packet)?;
        self.arrived(index);
        self.settle(sources);
        Ok(())
    }

    pub(crate) fn poll_recovered(&mut self) -> Option<Recovered<'_>> {
        while let Some(index) = self.ready.pop_front() {
            if self.recovered.get(index).is_some() {
                return self.recovered.get(index).map(|packet| Recovered { index, packet });
            }
            self.counters.refuse(Refusal::Overrun);
        }
        None
    }

    /// Gives up what protects packets that are no longer in the window.
    fn expire(&mut self) {
        let mut at = 0;
        while let Some(open) = self.open.get(at) {
            if open.repair.cover.start().is_some_and(|start| self.seen.near(start)) {
                at += 1;
            } else {
                self.close(at, Some(Refusal::Expired));
            }
        }
    }

    fn arrived(&mut self, index: u64) {
        for open in &mut self.open {
            if let Some(at) = open.repair.cover.position(index) {
                open.missing.clear(at);
            }
        }
    }

    fn close(&mut self, at: usize, refusal: Option<Refusal>) {
        if at < self.open.len() {
            let open = self.open.remove(at);
            self.free.push(open.bytes);
        }
        if let Some(refusal) = refusal {
            self.counters.refuse(refusal);
        }
    }

    /// Recovers until nothing changes (RFC 8627 §6.3.4). Each round closes a repair packet, so it ends.
    fn settle(&mut self, sources: &impl Sources) {
        let mut at = 0;
        while let Some(open) = self.open.get(at) {
            match open.missing.count() {
                0 => {
                    self.counters.unneeded += 1;
                    self.close(at, None);
                }
                1 => match self.attempt(at, sources) {
                    Attempt::Done(index) => {
                        self.close(at, None);
                        self.arrived(index);
                        at = 0;
                    }
                    Attempt::Later => at += 1,
                    Attempt::Never(refusal) => self.close(at, Some(refusal)),
                },
                _ => at += 1,
            }
        }
    }

    /// Recovers the one packet that is missing: its length first (RFC 8627 §6.3.2), then as much of it as that says.
    fn attempt(&mut self, at: usize, sources: &impl Sources) -> Attempt {
        let mut scratch = std::mem::take(&mut self.scratch);
        let result =
            self.open.get(at).ok_or(Refusal::Empty).and_then(|open| self.solve(open, sources, &mut scratch));
        let attempt = match result {
            Ok(Some(index)) => match self.keep(index, &scratch) {
                Ok(()) => Attempt::Done(index),
                Err(refusal) => Attempt::Never(refusal),
            },
            Ok(None) => Attempt::Later,
            Err(refusal) => Attempt::Never(refusal),
        };
        self.scratch = scratch;
        attempt
    }

    /// Writes the missing packet to `out`, and tells its index. `None`: not yet.
    fn solve(&self, open: &Open, sources: &impl Sources, out: &mut Vec<u8>) -> Result<Option<u64>, Refusal> {
        let repair = &open.repair;
        let lost = repair.cover.index(open.missing.first().ok_or(Refusal::Empty)?);
        let find = |index| {
            let packet = sources.get(index).or_else(|| self.recovered.get(index));
            Head::split(packet.ok_or(Refusal::Expired)?)
        };
        let mut head = repair.head;
        for index in repair.cover.indices().filter(|index| *index != lost) {
            head.add(find(index)?.0);
        }
        let length = usize::from(head.length);
        let protected =
            repair.levels.iter().flatten().map(|level| level.len).sum::<usize>() + repair.body.len();
        if length > protected {
            return Err(Refusal::Length);
        }
        if length + FIXED > self.limits.packet {
            return Err(Refusal::TooLong);
        }
        let [flags, marker] = head.flags;
        out.clear();
        out.extend([0x80 | flags & 0x3f, marker]);
        out.extend((lost as u16).to_be_bytes());
        out.extend(head.timestamp.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        let level0 = Level { cover: repair.cover, at: repair.body.start, len: repair.body.len() };
        let mut offset = 0;
        for level in std::iter::once(&level0).chain(repair.levels.iter().flatten()) {
            if offset >= length {
                break;
            }
            let len = level.len.min(length - offset);
            if level.cover.position(lost).is_none() {
                return Err(Refusal::Length);
            }
            let others = || level.cover.indices().filter(|index| *index != lost);
            if others().any(|index| !self.seen.has(index)) {
                return Ok(None);
            }
            let begin = out.len();
            out.extend_from_slice(open.bytes.get(level.at..level.at + len).ok_or(Refusal::LevelLength)?);
            let Some(sum) = out.get_mut(begin..) else { return Ok(None) };
            for index in others() {
                add(sum, find(index)?.1.get(offset..).unwrap_or_default());
            }
            offset += level.len;
        }
        if msm_core::rtp::Header::parse(out).is_err() {
            return Err(Refusal::Inconsistent);
        }
        Ok(Some(lost))
    }

    fn keep(&mut self, index: u64, packet: &[u8]) -> Result<(), Refusal> {
        if !self.recovered.insert(index, packet) {
            return Err(Refusal::Overrun);
        }
        self.seen.mark(index);
        // Who does not poll loses what is older than the window.
        if self.ready.len() > 2 * usize::from(self.limits.window) {
            self.ready.pop_front();
            self.counters.refuse(Refusal::Overrun);
        }
        self.ready.push_back(index);
        self.counters.recovered += 1;
        Ok(())
    }
}
