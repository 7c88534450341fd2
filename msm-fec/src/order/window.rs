//! The order window.

mod release;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::pool::Pool;
use super::types::{Delivered, Event, Limits, Source, Stats, Verdict};

/// Events, and ranges that were given up, that are remembered.
const MAX_REMEMBERED: usize = 64;

/// No index is higher: those of SRTP have 48 bits.
const MAX_INDEX: u64 = 1 << 48;

/// What a timeout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The time of a missing packet is over.
    Deadline,
}

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    since: Instant,
    source: Source,
}

/// Lets packets out in order.
///
/// **When a packet could have arrived** is when the first packet with a higher index came, or a tail probe told of one
/// ([`handle_next`](Self::handle_next)): packets do not overtake each other by nature, so it would have been there. `latency`
/// after that it is given up, and what waits for it leaves. RTP timestamps are not asked: those of pictures with B frames go
/// back and forth, and packets that are paced over a frame's time share one, so both would cost a part of the budget or all of it.
/// What is behind a gap waits for `latency` at most, and what is behind none does not wait.
///
/// A packet that is expected while nothing is held costs a few comparisons, and is not copied. Others are copied into buffers
/// that are used again; packets and bytes have limits, beyond which the oldest gap is given up early ([`Verdict::Again`]).
#[derive(Debug)]
pub struct Window {
    limits: Limits,
    started: bool,
    /// The index that leaves next.
    next: u64,
    /// The index after the highest that came or was told of.
    end: u64,
    /// A power of two; the packet `index` is at `index % len`.
    slots: Vec<Option<Held>>,
    held: usize,
    bytes: usize,
    /// When it showed that packets below the index are missing, if they are.
    shown: VecDeque<(u64, Instant)>,
    given_up: VecDeque<(u64, u64)>,
    /// What is missing below is not waited for any more; and for lack of room.
    release: u64,
    forced: u64,
    pool: Pool,
    out: Option<Held>,
    behind: Option<u64>,
    events: VecDeque<Event>,
    stats: Stats,
}

impl Window {
    /// An empty window.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let packets = limits.packets.clamp(2, 1 << 16).next_power_of_two();
        let slots = std::iter::repeat_with(|| None).take(packets).collect();
        Self {
            limits,
            started: false,
            next: 0,
            end: 0,
            slots,
            held: 0,
            bytes: 0,
            shown: VecDeque::new(),
            given_up: VecDeque::new(),
            release: 0,
            forced: 0,
            pool: Pool::default(),
            out: None,
            behind: None,
            events: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Another budget, for the packets that are missing now, too.
    pub const fn set_latency(&mut self, latency: Duration) {
        self.limits.latency = latency;
    }

    /// The line begins with `index`, as its sender said: what is lost first is waited for, too. Nothing if a packet has come already.
    pub fn begin(&mut self, index: u64) {
        if self.started || index >= MAX_INDEX {
            return;
        }
        self.started = true;
        self.next = index;
        self.end = index;
        if let Some(before) = index.checked_sub(1) {
            self.given_up.push_back((0, before));
        }
    }

    /// The packet `index` came.
    #[inline]
    pub fn handle_packet(&mut self, now: Instant, index: u64, source: Source, packet: &[u8]) -> Verdict {
        if index == self.next && self.held == 0 && self.started {
            self.pass(source);
            return Verdict::Pass;
        }
        self.handle_other(now, index, source, packet)
    }

    /// `count` packets from `index` on came: how many of them leave at once, as one run. The others are to be given to
    /// [`handle_packet`](Self::handle_packet) one by one.
    #[inline]
    pub fn handle_run(&mut self, index: u64, count: u64) -> u64 {
        if index != self.next || self.held != 0 || !self.started || index >= MAX_INDEX {
            return 0;
        }
        self.next = index.saturating_add(count);
        self.end = self.end.max(self.next);
        self.stats.delivered += count;
        count
    }

    #[inline]
    const fn count(&mut self, source: Source) {
        self.stats.delivered += 1;
        match source {
            Source::Media => {}
            Source::Nack => self.stats.recovered_nack += 1,
            Source::Fec => self.stats.recovered_fec += 1,
            Source::Path => self.stats.recovered_path += 1,
        }
    }

    #[cold]
    fn handle_other(&mut self, now: Instant, index: u64, source: Source, packet: &[u8]) -> Verdict {
        if index >= MAX_INDEX {
            self.stats.strays += 1;
            return Verdict::Stray;
        }
        self.begin(index);
        if index < self.next {
            return self.handle_behind(index, source);
        }
        if index - self.next >= self.room() {
            if matches!(source, Source::Nack | Source::Fec) {
                // Only what is sent first tells where the line goes on.
                self.stats.strays += 1;
                return Verdict::Stray;
            }
            if self.held > 0 || self.next < self.release {
                self.release_all();
                return Verdict::Again;
            }
            self.restart(index);
        }
        if self.slot(index).is_some() {
            self.stats.duplicates += 1;
            return Verdict::Duplicate;
        }
        if index == self.next {
            self.pass(source);
            return Verdict::Pass;
        }
        if self.held > 0 && self.bytes.saturating_add(packet.len()) > self.limits.bytes {
            self.release_first();
            return Verdict::Again;
        }
        self.hold(now, index, source, packet);
        Verdict::Held
    }

    #[inline]
    const fn pass(&mut self, source: Source) {
        self.next = self.next.wrapping_add(1);
        if self.end < self.next {
            self.end = self.next;
        }
        self.count(source);
    }

    fn hold(&mut self, now: Instant, index: u64, source: Source, packet: &[u8]) {
        if index >= self.end {
            self.show(now, index);
            self.end = index + 1;
        }
        let held = Held { bytes: self.pool.copy(packet), since: now, source };
        self.bytes += packet.len();
        self.held += 1;
        self.stats.held += 1;
        let mask = self.slots.len() - 1;
        if let Some(slot) = self.slots.get_mut(index as usize & mask) {
            *slot = Some(held);
        }
    }

    fn room(&self) -> u64 {
        u64::try_from(self.slots.len()).unwrap_or(u64::MAX)
    }

    fn slot(&self, index: u64) -> Option<&Held> {
        self.slots.get(index as usize & (self.slots.len() - 1))?.as_ref()
    }

    /// A packet that was held, and leaves now. To be called until there is none.
    #[inline]
    pub fn poll_ready(&mut self) -> Option<Delivered<'_>> {
        if self.held == 0 && self.shown.is_empty() { None } else { self.poll_held() }
    }

    fn poll_held(&mut self) -> Option<Delivered<'_>> {
        if self.slot(self.next).is_none() {
            self.skip();
        }
        let index = self.next;
        let mask = self.slots.len() - 1;
        let Some(held) = self.slots.get_mut(index as usize & mask).and_then(Option::take) else {
            while self.shown.front().is_some_and(|(below, _)| *below <= self.next) {
                self.shown.pop_front();
            }
            return None;
        };
        self.held -= 1;
        self.bytes = self.bytes.saturating_sub(held.bytes.len());
        self.pass(held.source);
        if let Some(old) = self.out.take() {
            self.pool.give_back(old.bytes);
        }
        let Held { bytes, since, source } = self.out.insert(held);
        Some(Delivered { index, source: *source, since: *since, packet: bytes })
    }

    /// What happened. To be called until there is nothing.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The index that leaves next; none before the first packet.
    #[must_use]
    pub fn next_index(&self) -> Option<u64> {
        self.started.then_some(self.next)
    }

    /// Packets and bytes that are held.
    #[must_use]
    pub const fn held(&self) -> (usize, usize) {
        (self.held, self.bytes)
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
