//! Blocks of source packets, by the plan: where they begin and end, and how many repair packets each has.

use std::time::{Duration, Instant};

use crate::control::{Code, Plan};
use crate::rs::encoder::{Encoder, EncoderConfig, Repair, Shape};

/// A burst whose end was not marked is over after so long.
pub(super) const IDLE: Duration = Duration::from_millis(4);

/// So many deviations from the mean burst are room for.
const DEVIATIONS: f64 = 2.5;

/// What a share of repair packets is rounded by, so that 33 × 5/33 are 5.
const EPSILON: f64 = 1e-6;

/// Packets that are encoded at a time, which costs a third of one by one.
pub(super) const BATCH: usize = 16;

/// Forms blocks. Each is of the plan that was in force as it began.
#[derive(Debug)]
pub(super) struct Blocks {
    /// There is one always: without a shape it has no limit to break.
    encoder: Option<Encoder>,
    packet_bytes: usize,
    code: Option<Code>,
    /// Repair packets for each source packet, and what blocks before got less of them.
    share: f64,
    credit: f64,
    /// Packets of the open block, or of those that are filled in turn, and how many they take.
    packets: usize,
    room: usize,
    /// Bursts that are over since it began, and when this one is, if nobody says so.
    bursts: usize,
    idle: Option<Instant>,
    skipped: u64,
}

impl Blocks {
    pub(super) fn new(packet_bytes: usize) -> Self {
        let config = EncoderConfig { packet_bytes, ..EncoderConfig::default() };
        Self {
            encoder: Encoder::new(config, None).ok(),
            packet_bytes,
            code: None,
            share: 0.0,
            credit: 0.0,
            packets: 0,
            room: 0,
            bursts: 0,
            idle: None,
            skipped: 0,
        }
    }

    /// How many packets the open block takes; none is open, or will be before [`begin`](Self::begin): zero.
    #[inline]
    pub(super) const fn room(&self) -> usize {
        self.room - self.packets
    }

    /// Whether a block is open.
    #[inline]
    pub(super) const fn is_open(&self) -> bool {
        self.packets > 0
    }

    /// Begins a block, if the plan has one. `deviation`: by how many packets bursts differ from their mean.
    pub(super) fn begin(&mut self, plan: Option<&Plan>, deviation: f64) {
        self.bursts = 0;
        self.packets = 0;
        self.room = 0;
        self.code = plan.and_then(|plan| plan.code);
        self.share = plan.map_or(0.0, |plan| plan.share);
        let Some(code) = self.code else {
            self.credit = 0.0;
            return;
        };
        let depth = code.depth.max(1);
        let more = (deviation * DEVIATIONS * (code.span as f64).sqrt() / depth as f64).ceil() as usize;
        let sources = code.source + more.min(code.source / 2);
        // A block ends before it is full, so that it is for us to say how many repair packets it gets.
        let repairs = ((self.share * sources as f64 - EPSILON).ceil().max(1.0) as usize).min(127);
        let sources = sources.min(254 - repairs);
        let shape = match [sources + 1, repairs, depth].map(u8::try_from) {
            [Ok(sources), Ok(repairs), Ok(depth)] => Shape::new(sources, repairs, depth).ok(),
            _ => None,
        };
        let set = self.encoder.as_mut().is_some_and(|encoder| encoder.set_shape(shape).is_ok());
        if shape.is_some() && set {
            self.room = sources * depth;
        } else {
            self.code = None;
        }
    }

    /// Packets that are sent, of consecutive indices, no more than there is [`room`](Self::room) for.
    pub(super) fn handle_packets(&mut self, now: Instant, first: u64, packets: &[&[u8]]) {
        let Some(encoder) = self.encoder.as_mut().filter(|_| self.code.is_some()) else { return };
        let refused = encoder.handle_burst(first, packets.iter().copied()).is_err();
        self.packets += packets.len();
        self.idle = Some(now + IDLE);
        if refused {
            let most = self.packet_bytes;
            let skipped = packets.iter().filter(|packet| packet.is_empty() || packet.len() > most).count();
            self.skipped += skipped as u64;
        }
        // A packet that is not protected is a gap between blocks.
        if refused || self.room() == 0 {
            self.end();
        }
    }

    /// The source pauses.
    pub(super) fn end_burst(&mut self) {
        self.idle = None;
        self.bursts += 1;
        if self.is_open() && self.code.is_none_or(|code| self.bursts >= code.span) {
            self.end();
        }
    }

    fn end(&mut self) {
        let depth = self.code.map_or(1, |code| code.depth.max(1)).min(self.packets.max(1));
        let wanted = self.share * self.packets as f64 + self.credit + EPSILON;
        let each = (wanted / depth as f64).floor().clamp(0.0, 127.0);
        self.credit = (wanted - EPSILON - each * depth as f64).clamp(-1.0, 2.0 * depth as f64);
        if let Some(encoder) = &mut self.encoder {
            encoder.finish_with(each as u8);
        }
        self.packets = 0;
        self.room = 0;
    }

    /// It is as late as [`timeout`](Self::timeout) said.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.idle.is_some_and(|idle| idle <= now) {
            self.end_burst();
        }
    }

    pub(super) const fn timeout(&self) -> Option<Instant> {
        self.idle
    }

    pub(super) fn poll_repair(&mut self) -> Option<Repair<'_>> {
        self.encoder.as_mut()?.poll_repair()
    }

    /// Packets that are too long to be protected.
    pub(super) const fn skipped(&self) -> u64 {
        self.skipped
    }
}
