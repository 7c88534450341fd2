//! The receiver's half.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::counts::ReceiverCounts;
use super::ends::block_of;
use super::report::Next;
use super::reporting::{Reporting, SETTLED};
use super::types::{ReceiverConfig, ToSender};
use crate::nack::{Arrival, Requester, RequesterConfig};
use crate::order::{Delivered, Source, Verdict, Window};
use crate::paths::{Admit, Merge, MergeConfig, Mode, PathStats};
use crate::rs::decoder::{Decoder, DecoderConfig, Taken};
use crate::rs::ring::Ring;

/// Packets that the source ring keeps, once there are repair packets.
const RING: usize = 2048;
/// What a repair packet has beside its payload: the header of RTP.
const RTP_BYTES: usize = 12;
/// What a packet that is sent again has more: its number (RFC 4588 §4).
const RTX_BYTES: usize = 2;
/// What a message of the sender costs with all headers: IP, UDP, SRTCP.
const NEXT_BYTES: u64 = 69;
/// Packets of different paths that are no further apart than this come together, and so do repair packets of a block.
const TOGETHER: Duration = Duration::from_millis(1);

/// A budget with room for a round trip, as far as is known before one was measured.
const BLIND: Duration = Duration::from_millis(100);

/// How long a request waits before it is known whether there is time for it.
fn blind(config: &ReceiverConfig) -> Duration {
    if config.budget < BLIND { config.budget } else { Duration::ZERO }
}

/// Puts together what comes.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    requester: Requester,
    window: Window,
    decoder: Decoder,
    ring: Option<Ring>,
    /// Where there is more than one path.
    merge: Option<Merge>,
    /// Recovered packets that were the next ones, and buffers for such.
    passed: VecDeque<(u64, Instant, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    out: Vec<u8>,
    reporting: Reporting,
    hold_off: Duration,
    counts: ReceiverCounts,
}

impl Receiver {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(config: ReceiverConfig) -> Self {
        let merge = MergeConfig { window: config.copies, ..MergeConfig::default() };
        let mut requester = Requester::new(RequesterConfig::new(config.budget));
        requester.set_hold_off(blind(&config));
        Self {
            config,
            requester,
            window: Window::new(config.window),
            decoder: Decoder::new(DecoderConfig::default()),
            ring: None,
            merge: (config.paths > 1).then(|| Merge::new(merge)),
            passed: VecDeque::new(),
            spare: Vec::new(),
            out: Vec::new(),
            reporting: Reporting::default(),
            hold_off: Duration::ZERO,
            counts: ReceiverCounts::default(),
        }
    }

    /// The line begins with `index`, as its sender said before it sent anything: what is lost first is recovered, too. Nothing if a packet
    /// has come already.
    pub fn begin(&mut self, index: u64) {
        self.requester.begin(index);
        self.window.begin(index);
    }

    /// A source packet came, or came again. [`Verdict::Pass`]: the caller hands it on, and then what
    /// [`poll_delivered`](Self::poll_delivered) has; [`Verdict::Again`]: it gives it once more after that.
    #[inline]
    pub fn handle_packet(&mut self, now: Instant, index: u64, source: Source, packet: &[u8]) -> Verdict {
        self.handle_packet_by(now, 0, index, source, packet)
    }

    /// A source packet came by `path`, or came again: as [`handle_packet`](Self::handle_packet).
    pub fn handle_packet_by(
        &mut self,
        now: Instant,
        path: usize,
        index: u64,
        source: Source,
        packet: &[u8],
    ) -> Verdict {
        if source == Source::Nack && self.requester.next_index().is_none_or(|next| index >= next) {
            // Nobody asked for it: what is sent first, and its sender, tell where the line is.
            return Verdict::Stray;
        }
        let mut source = source;
        if let Some(merge) = self.merge.as_mut().filter(|_| source == Source::Media) {
            match merge.handle_packet(now, path, index) {
                Admit::First => {}
                Admit::Recovered => source = Source::Path,
                Admit::Copy => {
                    self.counts.beside_bytes += packet.len() as u64;
                    return Verdict::Duplicate;
                }
                Admit::Late => return Verdict::Late,
                // The line may begin anew: that is for the window to say.
                Admit::Stray => {}
            }
        }
        let verdict = self.window.handle_packet(now, index, source, packet);
        if matches!(verdict, Verdict::Again | Verdict::Stray) {
            if verdict == Verdict::Again
                && let Some(merge) = &mut self.merge
            {
                merge.take_back(path, index);
            }
            return verdict;
        }
        let arrival = match source {
            Source::Nack | Source::Fec => {
                self.counts.retransmitted += 1;
                self.counts.beside_bytes += (packet.len() + RTX_BYTES) as u64;
                Arrival::Retransmission
            }
            // Of another path it is late by the paths' difference, and not lost.
            Source::Media | Source::Path => {
                self.counts.media_bytes += packet.len() as u64;
                Arrival::Media
            }
        };
        self.requester.handle_packet(now, index, arrival);
        if let Some(ring) = &mut self.ring {
            ring.insert(index, packet);
            self.decoder.handle_source(index, ring);
            self.take_recovered(now);
        }
        self.reporting.handle_packet(now);
        verdict
    }

    /// A packet came by `path` that has come already, as SRTP knows by its replay list. Nobody vouches for it: it is counted, and nothing
    /// else.
    pub fn handle_copy(&mut self, now: Instant, path: usize, number: u16, bytes: usize) {
        if let Some(merge) = &mut self.merge {
            merge.handle_copy(now, path, number);
            self.counts.beside_bytes += bytes as u64;
        }
    }

    /// Another budget, from the next packet that is missing on: both ends agreed to it after packets had come.
    pub fn set_budget(&mut self, budget: Duration) {
        self.config.budget = budget;
        self.requester.set_config(RequesterConfig::new(budget));
        self.window.set_latency(budget);
        self.hold_off = self.hold_off.min(budget);
        self.wait_for_paths();
    }

    /// A repair packet came, by whatever path.
    pub fn handle_repair(&mut self, now: Instant, payload: &[u8]) {
        self.counts.repair_packets += 1;
        self.counts.beside_bytes += (payload.len() + RTP_BYTES) as u64;
        let Some(next) = self.requester.next_index() else { return };
        let ring = self.ring.get_or_insert_with(|| Ring::new(RING, self.config.ring_bytes));
        // The decoder counts what it refuses.
        let Ok(taken) = self.decoder.handle_repair(next.saturating_sub(1), payload, ring) else { return };
        self.take_recovered(now);
        let Some(block) = block_of(next, payload) else { return };
        if block.end > next {
            // It was sent: whatever of it is not there is missing.
            self.requester.handle_next(now, block.end);
            self.window.handle_next(now, block.end);
        }
        if taken == Taken::Kept {
            self.requester.handle_unrepaired(now, block, TOGETHER);
        }
    }

    fn take_recovered(&mut self, now: Instant) {
        while let Some(recovered) = self.decoder.poll_recovered() {
            let index = recovered.index;
            if self.window.handle_packet(now, index, Source::Fec, recovered.packet) == Verdict::Pass {
                let mut packet = self.spare.pop().unwrap_or_default();
                packet.clear();
                packet.extend_from_slice(recovered.packet);
                self.passed.push_back((index, now, packet));
            }
            self.requester.handle_packet(now, index, Arrival::Repaired);
        }
    }

    /// The sender told where its line ends, by whatever path.
    pub fn handle_next(&mut self, now: Instant, next: Next) {
        self.counts.beside_bytes += NEXT_BYTES;
        self.hold_off = next.hold_off.min(self.config.budget);
        self.wait_for_paths();
        self.requester.handle_next(now, next.next);
        self.window.handle_next(now, next.next);
        if let Some(id) = next.echo
            && let Some(rtt) = self.reporting.handle_echo(now, id)
        {
            let first = self.requester.rtt().smoothed().is_none();
            self.requester.handle_rtt(rtt);
            self.wait_for_paths();
            if first {
                self.requester.handle_unrepaired(now, 0..u64::MAX, self.hold_off);
            }
        }
    }

    /// What one path lacks another may have, and that is later. And each may be the last.
    fn wait_for_paths(&mut self) {
        if let Some(merge) = self.merge.as_ref().filter(|_| self.config.mode == Mode::Duplicate) {
            self.requester.set_loss_floor(merge.worst());
        }
        let skew = self.merge.as_ref().map_or(Duration::ZERO, Merge::skew);
        let skew = if skew > TOGETHER { (skew * 5 / 4).min(self.config.budget / 2) } else { Duration::ZERO };
        let known = self.requester.rtt().smoothed().is_some();
        self.requester.set_hold_off(if known { self.hold_off.max(skew) } else { blind(&self.config) });
    }

    /// A round trip was measured otherwise: on the path. Who knows it from the start protects from the start.
    pub fn handle_rtt(&mut self, rtt: Duration) {
        // It is not the first of its kind, so it is no guess.
        let missing = SETTLED.saturating_sub(self.requester.rtt().samples()).max(1);
        (0..missing).for_each(|_| self.requester.handle_rtt(rtt));
        self.wait_for_paths();
    }

    /// It is as late as [`poll_timeout`](Self::poll_timeout) said.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.requester.handle_timeout(now);
        self.window.handle_timeout(now);
        if let Some(merge) = &mut self.merge {
            merge.handle_timeout(now);
            while merge.poll_event().is_some() {}
            self.wait_for_paths();
        }
    }

    /// What leaves now, until there is nothing.
    pub fn poll_delivered(&mut self) -> Option<Delivered<'_>> {
        if let Some((index, since, packet)) = self.passed.pop_front() {
            self.spare.push(std::mem::replace(&mut self.out, packet));
            return Some(Delivered { index, source: Source::Fec, since, packet: &self.out });
        }
        self.window.poll_ready()
    }

    /// What to send now, by all paths, until there is nothing.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<ToSender<'_>> {
        while self.requester.poll_event().is_some() {}
        while self.window.poll_event().is_some() {}
        if let Some(report) = self.reporting.poll(now, &self.requester) {
            return Some(ToSender::Report(report));
        }
        let request = self.requester.poll_transmit()?;
        self.config.nack.then_some(ToSender::Request(request))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let requester = self.requester.poll_timeout().map(|(at, _)| at);
        let window = self.window.poll_timeout().map(|(at, _)| at);
        let merge = self.merge.as_ref().and_then(|merge| merge.poll_timeout().map(|(at, _)| at));
        [requester, window, merge, self.reporting.timeout()].into_iter().flatten().min()
    }

    /// Whether packets' bytes are looked at before they leave: once there were repair packets.
    #[must_use]
    pub const fn wants_bytes(&self) -> bool {
        self.ring.is_some()
    }

    /// What came, and what became of it.
    #[must_use]
    pub fn counts(&self) -> ReceiverCounts {
        let (window, requests) = (self.window.stats(), self.requester.stats());
        let merge = self.merge.as_ref().filter(|_| self.config.mode == Mode::Duplicate);
        let by_path = merge.map_or(window.recovered_path, Merge::covered);
        ReceiverCounts {
            packets: window.delivered,
            lost: window.recovered_fec + window.recovered_nack + by_path + window.unrecovered,
            recovered_by_fec: window.recovered_fec,
            recovered_by_nack: window.recovered_nack,
            recovered_by_path: by_path,
            unrecovered: window.unrecovered,
            requested: requests.requested + requests.request_copies,
            ..self.counts
        }
    }

    /// What is measured and done about it, in one line.
    #[must_use]
    pub fn explain(&self) -> String {
        let (loss, burst) = self.requester.loss().current();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let rtt = self.requester.rtt().smoothed();
        let rtt = rtt.map_or("unknown".to_owned(), |rtt| format!("{:.0} ms", ms(rtt)));
        let asks = match (self.config.nack, self.hold_off.is_zero()) {
            (false, _) => "does not ask for packets".to_owned(),
            (true, true) => "asks for packets at once".to_owned(),
            (true, false) => format!("asks for packets after {:.0} ms", ms(self.hold_off)),
        };
        let budget = ms(self.config.budget);
        format!(
            "loss {:.2} % in runs of {burst:.1}, round trip {rtt}, budget {budget:.0} ms: {asks}",
            loss * 100.0
        )
    }

    /// What came by a path: nothing is known of it where there is but one.
    #[must_use]
    pub fn path(&self, path: usize) -> Option<PathStats> {
        self.merge.as_ref().filter(|_| path < self.config.paths).and_then(|merge| merge.stats(path))
    }

    /// The window, for its counters.
    #[must_use]
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// The requester, for its counters and estimates.
    #[must_use]
    pub const fn requester(&self) -> &Requester {
        &self.requester
    }
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
