//! Tail probes: where the sender's line ends.
//!
//! A missing packet shows when a later one comes. Behind the last packet of a frame none comes before the next frame,
//! which can be all the time that there is. So the sender tells the index after the last packet ([`msm_core::hop::NextIndex`] on
//! hops), again and again, as a probe can be lost like the packet: as often as it takes until the loss of all is as unlikely as
//! wanted. A probe is a few dozen bytes.

use std::time::{Duration, Instant};

use super::plan::POWER;
#[cfg(doc)]
use super::requester::Requester;

/// Probes after one packet, at most.
const MOST: u32 = 12;

/// Most time between two probes of a row.
const SPACING: Duration = Duration::from_millis(2);

/// The same as [`TailConfig::target`] where packets are lost in bursts: less is out of reach.
const BURST_TARGET: f64 = 1e-5;

/// What a number of probes is rounded by.
const EPSILON: f64 = 1e-6;

/// What probes may do.
#[derive(Debug, Clone, Copy)]
pub struct TailConfig {
    /// The receiver's latency budget: all probes of a row go out in a quarter of it.
    pub budget: Duration,
    /// After so long without a packet the one before was the last of its frame, if the caller did not say so. Default 2 ms.
    pub idle: Duration,
    /// Probability with which a frame's end may go unseen. Default 1e-8; not less than is promised of requests at the loss.
    pub target: f64,
    /// Bytes of one probe on the wire, as they count. Default 41: with SRTCP.
    pub probe_bytes: usize,
    /// Probes, as a share of the media's bytes, without loss. Default 0.0045. Loss adds half of its rate.
    pub share: f64,
}

impl TailConfig {
    /// The defaults, for a latency budget.
    #[must_use]
    pub const fn new(budget: Duration) -> Self {
        Self { budget, idle: Duration::from_millis(2), target: 1e-8, probe_bytes: 41, share: 0.0045 }
    }
}

/// Decides when to tell a receiver where the line ends. The receiver's part is [`Requester::handle_next`].
#[derive(Debug)]
pub struct Tail {
    config: TailConfig,
    loss: f64,
    burst: f64,
    late: f64,
    next: u64,
    /// When the next probe goes, and how many are left.
    due: Option<Instant>,
    left: u32,
    now: Option<Instant>,
    tokens: f64,
    sent: u64,
    throttled: u64,
}

impl Tail {
    /// One that expects 2 % of loss until it is told.
    #[must_use]
    pub const fn new(config: TailConfig) -> Self {
        let tokens = 20.0 * config.probe_bytes as f64;
        Self {
            config,
            loss: 0.02,
            burst: 1.0,
            late: 1.0,
            next: 0,
            due: None,
            left: 0,
            now: None,
            tokens,
            sent: 0,
            throttled: 0,
        }
    }

    /// How many packets are lost in a row, on average.
    pub const fn set_burst(&mut self, burst: f64) {
        self.burst = burst.clamp(1.0, 100.0);
    }

    /// Share of what only the next frame tells of that stays lost: nothing need be told that the next frame tells in time.
    pub const fn set_late(&mut self, late: f64) {
        self.late = late.clamp(1e-9, 1.0);
    }

    /// Loss on the way, to be prepared for: [`crate::estimate::Loss::bound`] of the receiver.
    pub const fn set_loss(&mut self, loss: f64) {
        self.loss = loss.clamp(0.0, 0.9);
    }

    /// Changes what it may do.
    pub const fn set_config(&mut self, config: TailConfig) {
        self.config = config;
    }

    /// Probes after a frame: as many as make it unlikely enough that its last packet and all of them are lost, and that what the next
    /// frame tells of is too late.
    #[must_use]
    pub fn probes(&self) -> u32 {
        let loss = self.loss.max(1e-9);
        // What took the last packet is still there for the first probe, and so on.
        let again = (1.0 - 1.0 / self.burst).max(loss);
        let target = self.config.target.max(loss.powi(POWER));
        let target = if again > 2.0 * loss { target.max(BURST_TARGET) } else { target };
        let probes = ((target / self.late / loss).ln() / again.ln() - EPSILON).ceil();
        (probes as u32).clamp(1, MOST)
    }

    /// The packet `index` of `bytes` was sent; the last of its frame or not, as far as is known.
    #[inline]
    pub fn handle_packet(&mut self, now: Instant, index: u64, bytes: usize, last: bool) {
        self.next = index.wrapping_add(1);
        let share = if self.loss > 2e-4 { 0.02 } else { self.config.share };
        let more = bytes as f64 * (share + self.loss / 2.0);
        self.tokens = (self.tokens + more).min(20.0 * self.config.probe_bytes as f64);
        self.left = 0;
        self.now = Some(now);
        self.due = Some(if last { now } else { now + self.config.idle });
    }

    /// Time has come to `now`.
    pub const fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// The index to tell now: the one after the last packet.
    pub fn poll_transmit(&mut self) -> Option<u64> {
        let now = self.now?;
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        if self.left == 0 {
            self.left = self.probes();
        }
        self.left -= 1;
        let spacing = SPACING.min(self.config.budget / 4 / MOST);
        self.due = (self.left > 0).then(|| now + spacing);
        let cost = self.config.probe_bytes as f64;
        if self.tokens < cost {
            self.due = None;
            self.throttled += 1;
            return None;
        }
        self.tokens -= cost;
        self.sent += 1;
        Some(self.next)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, super::Reason)> {
        self.due.map(|due| (due, super::Reason::Tail))
    }

    /// Probes sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Frames whose probes were cut short because probes would take too much of the media's rate.
    #[must_use]
    pub const fn throttled(&self) -> u64 {
        self.throttled
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{epoch, ms};
    use super::*;

    /// Probes of a frame that ends at `now`, over its 40 ms.
    fn frame(tail: &mut Tail, now: Instant, index: u64, packets: u64, marked: bool) -> Vec<Duration> {
        let mut probes = Vec::new();
        for number in 0..packets {
            let last = marked && number + 1 == packets;
            tail.handle_packet(now, index + number, 1200, last);
        }
        let mut time = now;
        loop {
            while let Some(next) = tail.poll_transmit() {
                assert_eq!(next, index + packets);
                probes.push(time - now);
            }
            let Some((due, super::super::Reason::Tail)) = tail.poll_timeout() else { return probes };
            assert!(due > time && due < now + ms(40));
            time = due;
            tail.handle_timeout(time);
        }
    }

    #[test]
    fn probes_follow_a_frame_as_often_as_the_loss_makes_it_worth() {
        let mut now = epoch();
        let mut tail = Tail::new(TailConfig::new(ms(100)));
        assert_eq!(tail.poll_timeout(), None);
        let mut index = 0;
        for (loss, count) in [(0.0, 1), (5e-5, 1), (0.001, 2), (0.009, 3), (0.09, 7), (0.2, 8), (1.0, 8)] {
            tail.set_loss(loss);
            for _ in 0..20 {
                let probes = frame(&mut tail, now, index, 33, true);
                assert_eq!((probes.len(), probes[0]), (count, Duration::ZERO), "{loss}");
                assert!(*probes.last().unwrap() < ms(25));
                now += ms(40);
                index += 33;
            }
        }
    }

    #[test]
    fn what_the_next_frame_tells_in_time_takes_fewer_probes() {
        let mut tail = Tail::new(TailConfig::new(ms(400)));
        for (loss, burst, alone, few) in
            [(0.001, 1.0, 2, 1), (0.1, 1.0, 7, 5), (0.2, 1.0, 8, 6), (0.05, 3.0, 12, 10)]
        {
            tail.set_loss(loss);
            tail.set_burst(burst);
            tail.set_late(1.0);
            assert_eq!(tail.probes(), alone, "{loss}");
            // Of a hundred packets that only the next frame tells of, one stays lost.
            tail.set_late(0.01);
            assert_eq!(tail.probes(), few, "{loss}");
            // None does: one probe tells most readers sooner all the same.
            tail.set_late(0.0);
            assert_eq!(tail.probes(), 1, "{loss}");
        }
    }

    #[test]
    fn an_end_that_is_not_marked_shows_by_a_pause_and_small_streams_are_not_swamped() {
        let mut tail = Tail::new(TailConfig::new(ms(100)));
        tail.set_loss(0.0);
        assert_eq!(frame(&mut tail, epoch(), 0, 8, false), [ms(2)]);
        // 50 packets of 172 bytes a second, each a frame: 0.45 % of 430 kB are 47 probes.
        let mut tail = Tail::new(TailConfig::new(ms(100)));
        tail.set_loss(0.0);
        for index in 0..2500 {
            tail.handle_packet(epoch(), index, 172, true);
            while tail.poll_transmit().is_some() {}
        }
        assert!((40..=70).contains(&tail.sent()), "{}", tail.sent());
        assert!(tail.throttled() > 2000);
    }
}
