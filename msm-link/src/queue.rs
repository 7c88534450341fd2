//! The bottleneck: one packet leaves at a time, the others wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Packet;
use crate::settings::Rate;

/// Bits × nanoseconds a second: what is left of a packet is counted in these, so that no rounding adds up.
const SECOND: u128 = 1_000_000_000;

/// Packets before a bottleneck.
#[derive(Debug, Clone)]
pub(crate) struct Queue<P> {
    /// The first is leaving.
    packets: VecDeque<P>,
    /// Bytes behind the first.
    waiting: usize,
    /// What was left of the first at `since`, in bits × [`SECOND`].
    left: u128,
    since: Option<Instant>,
}

impl<P: Packet> Queue<P> {
    pub(crate) fn new() -> Self {
        Self { packets: VecDeque::new(), waiting: 0, left: 0, since: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Bytes that wait behind the packet that is leaving.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Queues `packet`; whether there was room. Packets that have left by `now` must have been taken before.
    pub(crate) fn push(&mut self, now: Instant, packet: P, rate: Rate) -> bool {
        if self.packets.is_empty() {
            self.begin(now, packet.size());
        } else {
            let waiting = self.waiting.saturating_add(packet.size());
            if waiting > rate.queue_bytes {
                return false;
            }
            self.waiting = waiting;
        }
        self.packets.push_back(packet);
        true
    }

    /// When the first has left.
    pub(crate) fn next(&self, rate: Rate) -> Option<Instant> {
        let takes = self.left.div_ceil(u128::from(rate.bits_per_second).max(1));
        let takes = u64::try_from(takes).ok().filter(|_| rate.bits_per_second > 0)?;
        self.since?.checked_add(Duration::from_nanos(takes))
    }

    /// The first, and when it left, if it has by `now`.
    pub(crate) fn pop(&mut self, now: Instant, rate: Rate) -> Option<(Instant, P)> {
        let left_at = self.next(rate).filter(|&at| at <= now)?;
        Some((left_at, self.take(left_at)?))
    }

    /// The first, whether it has left or not: there is no bottleneck any more.
    pub(crate) fn take(&mut self, now: Instant) -> Option<P> {
        let packet = self.packets.pop_front()?;
        match self.packets.front().map(Packet::size) {
            Some(size) => {
                self.waiting = self.waiting.saturating_sub(size);
                self.begin(now, size);
            }
            None => self.since = None,
        }
        Some(packet)
    }

    /// From `now` on the rate is another than `old`: what has left of the first stays so.
    pub(crate) fn change(&mut self, now: Instant, old: Rate) {
        if let Some(since) = &mut self.since {
            let gone = now.saturating_duration_since(*since).as_nanos() * u128::from(old.bits_per_second);
            self.left = self.left.saturating_sub(gone);
            *since = now.max(*since);
        }
    }

    fn begin(&mut self, now: Instant, bytes: usize) {
        self.left = bytes as u128 * 8 * SECOND;
        self.since = Some(now);
    }
}
