//! The sender's half.

use std::time::{Duration, Instant};

use super::blocks::{BATCH, Blocks};
use super::choice::Choice;
use super::counts::SenderCounts;
use super::report::{Next, Report};
use super::traffic::Meter;
use super::types::{SenderConfig, SourcePacket, ToReceiver};
use super::ways::Ways;
use crate::control::{Limits, Plan, TELLING};
use crate::nack::{History, Responder, ResponderConfig, Tail, TailConfig};
use crate::paths::Mode;

/// Repair packets that are all lost less often than this tell of what is before them, as [`TELLING`] of them do.
const SELDOM: f64 = 1e-4;

/// What a tail probe costs with all headers: IP, UDP, SRTCP.
const PROBE_BYTES: usize = 69;
/// What a repair packet has beside its payload: the header of RTP.
const RTP_BYTES: usize = 12;
/// What a packet that is sent again has more: its number (RFC 4588 §4).
const RTX_BYTES: u64 = 2;
/// What may be sent beside the media before there was enough of it to have a share of: a dozen long packets.
pub const START_BYTES: usize = 16 << 10;
/// What may be sent beside the media at once after a time in which less than its share was.
pub const BURST_BYTES: usize = 256 << 10;

/// Protects what is sent.
#[derive(Debug)]
pub struct Sender<R: Copy> {
    config: SenderConfig,
    history: History<R>,
    responder: Responder,
    tail: Tail,
    blocks: Blocks,
    meter: Meter,
    choice: Choice,
    ways: Ways,
    next: u64,
    echo: Option<u8>,
    reported: Option<u8>,
    /// Whether the end of a burst is told: not where nothing is asked for, or repair packets tell it.
    probes: bool,
    counts: SenderCounts,
}

impl<R: Copy> Sender<R> {
    /// One that has sent nothing.
    #[must_use]
    pub fn new(config: SenderConfig) -> Self {
        Self {
            config,
            history: History::new(config.history),
            responder: Responder::new(ResponderConfig {
                share: config.limits.overhead,
                start: START_BYTES,
                burst: BURST_BYTES,
                ..Default::default()
            }),
            tail: Tail::new(TailConfig {
                probe_bytes: PROBE_BYTES,
                share: 0.004,
                ..TailConfig::new(config.budget)
            }),
            blocks: Blocks::new(config.packet_bytes),
            meter: Meter::default(),
            choice: Choice::new(config.limits, config.budget),
            ways: Ways::new(config.mode, config.paths),
            next: 0,
            echo: None,
            reported: None,
            probes: true,
            counts: SenderCounts::default(),
        }
    }

    /// Other limits, from the next report on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.config.limits = limits;
        self.choice.set_limits(limits);
    }

    /// Whether a path can be used, as its own probes tell.
    pub fn set_path(&mut self, path: usize, usable: bool) {
        self.ways.set_usable(path, usable);
    }

    /// The paths that the next packet takes: bit n is path n. To be called once for each packet, and each takes all of them.
    #[inline]
    pub fn choose_paths(&mut self) -> u8 {
        self.ways.choose()
    }

    /// The packet `index` is sent; indices are consecutive. `last`: no other is expected at once, as at a frame's end.
    pub fn handle_source(&mut self, now: Instant, index: u64, packet: &[u8], last: bool, reference: R) {
        self.handle_burst(now, index, [SourcePacket { bytes: packet, last, reference }]);
    }

    /// Packets that are sent together, with consecutive indices from `first` on. Costs less than one by one where there are repair
    /// packets.
    pub fn handle_burst<'a>(
        &mut self,
        now: Instant,
        first: u64,
        packets: impl IntoIterator<Item = SourcePacket<'a, R>>,
    ) {
        let mut batch: [&[u8]; BATCH] = [&[]; BATCH];
        let (mut filled, mut index) = (0, first);
        for SourcePacket { bytes, last, reference } in packets {
            let begins = self.handle_one(now, index, bytes.len(), last, reference);
            if begins && self.blocks.is_open() && self.blocks.timeout().is_some() {
                self.blocks.end_burst();
            }
            if filled == 0 && !self.blocks.is_open() {
                self.blocks.begin(self.choice.plan(), self.meter.deviation());
            }
            index = index.wrapping_add(1);
            if self.blocks.room() == 0 {
                continue;
            }
            if let Some(place) = batch.get_mut(filled) {
                *place = bytes;
                filled += 1;
            }
            if last || filled == BATCH || filled == self.blocks.room() {
                self.encode(now, index, batch.get(..filled).unwrap_or_default(), last);
                filled = 0;
            }
        }
        self.encode(now, index, batch.get(..filled).unwrap_or_default(), false);
    }

    /// What is kept of a packet. Whether a burst begins with it.
    #[inline]
    fn handle_one(&mut self, now: Instant, index: u64, bytes: usize, last: bool, reference: R) -> bool {
        self.next = index.wrapping_add(1);
        self.counts.packets += 1;
        self.counts.media_bytes += bytes as u64;
        self.history.push(now, index, bytes, reference);
        self.responder.handle_media(bytes);
        if self.probes {
            self.tail.handle_packet(now, index, bytes, last);
        }
        self.meter.handle_packet(now, bytes)
    }

    /// The packets before `next` are of the open block.
    fn encode(&mut self, now: Instant, next: u64, packets: &[&[u8]], last: bool) {
        if packets.is_empty() {
            return;
        }
        self.blocks.handle_packets(now, next.wrapping_sub(packets.len() as u64), packets);
        if last {
            self.blocks.end_burst();
        }
    }

    /// A request came: the numbers that it names.
    pub fn handle_request(&mut self, now: Instant, numbers: impl IntoIterator<Item = u16>) {
        self.handle_request_by(now, 0, numbers);
    }

    /// A request came by `path`.
    pub fn handle_request_by(&mut self, now: Instant, path: usize, numbers: impl IntoIterator<Item = u16>) {
        self.ways.handle_feedback(now, path, true);
        if self.config.limits.nack {
            self.responder.handle_request(now, &mut self.history, numbers);
        }
    }

    /// The receiver's report came. Whether the plan changed: see [`explain`](Self::explain).
    pub fn handle_report(&mut self, now: Instant, report: &Report) -> bool {
        self.handle_report_by(now, 0, report)
    }

    /// The receiver's report came by `path`. Whether the plan changed: see [`explain`](Self::explain).
    pub fn handle_report_by(&mut self, now: Instant, path: usize, report: &Report) -> bool {
        self.ways.handle_feedback(now, path, false);
        if self.reported.replace(report.id) == Some(report.id) {
            return false;
        }
        let report = &report.bounded();
        self.echo = Some(report.id);
        self.tail.set_loss(report.loss);
        if let Some(rtt) = report.rtt {
            self.responder.set_rtt(rtt);
        }
        let Some(traffic) = self.meter.traffic() else { return false };
        let changed = self.choice.handle_report(now, report, traffic, self.counts.packets);
        self.tail.set_burst(self.choice.probes());
        self.tail.set_late(self.choice.late());
        self.follow(now, report);
        changed
    }

    /// What follows from the plan for who answers and who tells.
    fn follow(&mut self, now: Instant, report: &Report) {
        let Some(plan) = self.choice.plan() else { return };
        // Repair packets tell of all that is before them.
        let told = plan.code.is_some_and(|code| {
            // Some blocks have one fewer.
            let fewest = if code.span == 1 { (plan.share * code.source as f64 + 1e-6) as i32 } else { 0 };
            let all_lost = report.loss * report.loss.max(1.0 - 1.0 / report.burst).powi(fewest - 1);
            code.repair * code.depth >= TELLING || fewest > 0 && all_lost <= SELDOM
        });
        self.probes = !(told || plan.code.is_some() && plan.rounds.is_empty());
        let share = self.choice.allowed(now);
        self.responder.set_config(ResponderConfig { share, ..self.responder.config() });
    }

    /// It is as late as [`poll_timeout`](Self::poll_timeout) said.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tail.handle_timeout(now);
        self.blocks.handle_timeout(now);
    }

    /// What to send now, until there is nothing.
    pub fn poll_transmit(&mut self) -> Option<ToReceiver<'_, R>> {
        self.poll_transmit_by().map(|(_, what)| what)
    }

    /// What to send now and the paths that it takes, bit n for path n, until there is nothing.
    ///
    /// All of it together is no more than the share of the media that the limits allow, and [`START_BYTES`] (later [`BURST_BYTES`])
    /// once, copies on further paths aside.
    pub fn poll_transmit_by(&mut self) -> Option<(u8, ToReceiver<'_, R>)> {
        if let Some(answer) = self.responder.poll_transmit(&self.history) {
            let paths = self.ways.answers();
            self.counts.retransmitted += 1;
            let bytes = u64::from(self.history.bytes_of(answer.index)) + RTX_BYTES;
            self.counts.beside_bytes += bytes * u64::from(paths.count_ones());
            return Some((paths, ToReceiver::Again(answer)));
        }
        let echo = self.echo.take();
        if let Some(next) = if echo.is_some() { Some(self.next) } else { self.tail.poll_transmit() } {
            let paths = self.ways.all();
            self.responder.handle_beside(PROBE_BYTES);
            self.counts.beside_bytes += PROBE_BYTES as u64 * u64::from(paths.count_ones());
            let hold_off = self.choice.plan().map_or(Duration::ZERO, |plan| plan.hold_off);
            return Some((paths, ToReceiver::Next(Next { next, hold_off, echo })));
        }
        if !self.responder.has_share_left() {
            while self.blocks.poll_repair().is_some() {
                self.counts.withheld += 1;
            }
            return None;
        }
        let repair = self.blocks.poll_repair()?;
        let paths = self.ways.choose();
        let bytes = RTP_BYTES + repair.payload.len();
        self.responder.handle_beside(bytes);
        self.counts.repair_packets += 1;
        self.counts.beside_bytes += bytes as u64 * u64::from(paths.count_ones());
        Some((paths, ToReceiver::Repair(repair)))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tail = self.tail.poll_timeout().map(|(at, _)| at);
        [tail, self.blocks.timeout()].into_iter().flatten().min()
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.choice.plan()
    }

    /// What was decided last, and why, in one line.
    #[must_use]
    pub fn explain(&self) -> &str {
        self.choice.why()
    }

    /// What was sent.
    #[must_use]
    pub fn counts(&self) -> SenderCounts {
        let stats = self.responder.stats();
        // All paths but the first.
        let copies = match self.config.mode {
            Mode::Duplicate => self.ways.count() as u64 - 1,
            Mode::Spread => 0,
        };
        SenderCounts {
            beside_bytes: self.counts.beside_bytes + self.counts.media_bytes * copies,
            refused: stats.suppressed + stats.unknown + stats.throttled,
            skipped: self.blocks.skipped(),
            ..self.counts
        }
    }

    /// Packets that are too long to be protected.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.blocks.skipped()
    }

    /// The budget that it was made for.
    #[must_use]
    pub const fn budget(&self) -> Duration {
        self.config.budget
    }
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
