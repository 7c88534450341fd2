//! The receiver's half.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::report::{Next, Report};
use crate::nack::{Arrival, Request, Requester, RequesterConfig};
use crate::order::{Delivered, Limits, Source, Verdict, Window};
use crate::rs::decoder::{Decoder, DecoderConfig};
use crate::rs::ring::Ring;

/// Reports of what does not change are this far apart.
const REPORT: Duration = Duration::from_secs(1);
/// Reports of what does, and how many of them, as they can be lost.
const URGENT: Duration = Duration::from_millis(100);
/// See [`URGENT`].
const TIMES: u8 = 3;
/// A change that is told at once.
const CHANGE: f64 = 1.25;
/// Packets that the source ring keeps, once there are repair packets.
const RING: usize = 2048;

/// What a receiver may do.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverConfig {
    /// The latency budget.
    pub budget: Duration,
    /// Whether packets are asked for.
    pub nack: bool,
    /// Limits of the window.
    pub window: Limits,
    /// Bytes of source packets that are kept for the code, once there are repair packets. Default 4 MiB.
    pub ring_bytes: usize,
}

impl ReceiverConfig {
    /// The defaults, for a latency budget.
    #[must_use]
    pub const fn new(budget: Duration) -> Self {
        Self { budget, nack: true, window: Limits::new(budget), ring_bytes: 4 << 20 }
    }
}

/// What is to be sent to the sender.
#[derive(Debug, Clone, Copy)]
pub enum ToSender<'a> {
    /// A request for packets.
    Request(Request<'a>),
    /// What was measured.
    Report(Report),
}

/// Puts together what comes.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    requester: Requester,
    window: Window,
    decoder: Decoder,
    ring: Option<Ring>,
    /// Recovered packets that were the next ones.
    passed: VecDeque<(u64, Instant, Vec<u8>)>,
    out: Vec<u8>,
    report: Reporting,
}

#[derive(Debug, Default)]
struct Reporting {
    id: u8,
    sent: Option<(u8, Instant)>,
    told: (f64, f64),
    due: Option<Instant>,
    left: u8,
}

impl Receiver {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(config: ReceiverConfig) -> Self {
        Self {
            config,
            requester: Requester::new(RequesterConfig::new(config.budget)),
            window: Window::new(config.window),
            decoder: Decoder::new(DecoderConfig::default()),
            ring: None,
            passed: VecDeque::new(),
            out: Vec::new(),
            report: Reporting::default(),
        }
    }

    /// A source packet came, or came again. [`Verdict::Pass`]: the caller hands it on, and then what
    /// [`poll_delivered`](Self::poll_delivered) has; [`Verdict::Again`]: it gives it once more after that.
    pub fn handle_packet(&mut self, now: Instant, index: u64, source: Source, packet: &[u8]) -> Verdict {
        let verdict = self.window.handle_packet(now, index, source, packet);
        if matches!(verdict, Verdict::Again | Verdict::Stray) {
            return verdict;
        }
        let arrival = match source {
            // Late by the paths' difference, and no loss.
            Source::Media | Source::Path => Arrival::Media,
            Source::Nack | Source::Fec => Arrival::Retransmission,
        };
        self.requester.handle_packet(now, index, arrival);
        if let Some(ring) = &mut self.ring {
            ring.insert(index, packet);
            self.decoder.handle_source(index, ring);
            self.take_recovered(now);
        }
        if self.report.due.is_none() {
            self.report.due = Some(now + URGENT);
        }
        verdict
    }

    /// A repair packet came.
    pub fn handle_repair(&mut self, now: Instant, payload: &[u8]) {
        let ring = self.ring.get_or_insert_with(|| Ring::new(RING, self.config.ring_bytes));
        let newest = self.requester.next_index().unwrap_or(0).saturating_sub(1);
        // The decoder counts what it refuses.
        if self.decoder.handle_repair(newest, payload, ring).is_ok() {
            self.take_recovered(now);
        }
    }

    fn take_recovered(&mut self, now: Instant) {
        while let Some(recovered) = self.decoder.poll_recovered() {
            let index = recovered.index;
            if self.window.handle_packet(now, index, Source::Fec, recovered.packet) == Verdict::Pass {
                self.passed.push_back((index, now, recovered.packet.to_vec()));
            }
            self.requester.handle_packet(now, index, Arrival::Repaired);
        }
    }

    /// The sender told where its line ends.
    pub fn handle_next(&mut self, now: Instant, next: Next) {
        self.requester.set_hold_off(next.hold_off);
        self.requester.handle_next(now, next.next);
        self.window.handle_next(now, next.next);
        if let Some((id, sent)) = self.report.sent
            && next.echo == Some(id)
        {
            self.report.sent = None;
            self.requester.handle_rtt(now.saturating_duration_since(sent));
        }
    }

    /// It is as late as [`poll_timeout`](Self::poll_timeout) said.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.requester.handle_timeout(now);
        self.window.handle_timeout(now);
    }

    /// What leaves now, until there is nothing.
    pub fn poll_delivered(&mut self) -> Option<Delivered<'_>> {
        if let Some((index, since, packet)) = self.passed.pop_front() {
            self.out = packet;
            return Some(Delivered { index, source: Source::Fec, since, packet: &self.out });
        }
        self.window.poll_ready()
    }

    /// What to send now, until there is nothing.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<ToSender<'_>> {
        while self.requester.poll_event().is_some() {}
        while self.window.poll_event().is_some() {}
        if let Some(report) = self.next_report(now) {
            return Some(ToSender::Report(report));
        }
        let request = self.requester.poll_transmit()?;
        self.config.nack.then_some(ToSender::Request(request))
    }

    fn next_report(&mut self, now: Instant) -> Option<Report> {
        if self.report.due.is_none_or(|due| due > now) {
            return None;
        }
        let loss = self.requester.loss();
        let (rate, burst) = (loss.rate().max(loss.recent()), loss.burst());
        let differs = |new: f64, old: f64| new > old * CHANGE || new * CHANGE < old;
        let told = self.report.told;
        if differs(rate, told.0) && (rate - told.0).abs() > 0.0005 || differs(burst, told.1) {
            self.report.told = (rate, burst);
            self.report.left = TIMES;
        } else if self.requester.rtt().smoothed().is_none() {
            self.report.left = self.report.left.max(1);
        }
        self.report.left = self.report.left.saturating_sub(1);
        self.report.due = Some(now + if self.report.left > 0 { URGENT } else { REPORT });
        self.report.id = self.report.id.wrapping_add(1);
        self.report.sent = Some((self.report.id, now));
        let rtt = self.requester.rtt();
        Some(Report {
            id: self.report.id,
            loss: rate,
            burst,
            rtt: rtt.smoothed().map(|smoothed| smoothed + rtt.variation()),
            reorder: self.requester.reorder().delay(now),
        })
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let requester = self.requester.poll_timeout().map(|(at, _)| at);
        let window = self.window.poll_timeout().map(|(at, _)| at);
        [requester, window, self.report.due].into_iter().flatten().min()
    }

    /// Whether packets' bytes are looked at before they leave: once there were repair packets.
    #[must_use]
    pub const fn wants_bytes(&self) -> bool {
        self.ring.is_some()
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
