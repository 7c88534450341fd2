//! The sender's half.

use std::time::{Duration, Instant};

use super::choice::Choice;
use super::report::{Next, Report};
use super::traffic::Meter;
use crate::control::{Code, Limits, Plan};
use crate::nack::{Answer, History, HistoryLimits, Responder, ResponderConfig, Tail, TailConfig};
use crate::rs::encoder::{Encoder, EncoderConfig, Repair, Shape};

/// A burst whose end was not marked is over after so long.
const IDLE: Duration = Duration::from_millis(2);

/// What a tail probe costs with all headers: IP, UDP, SRTCP.
const PROBE_BYTES: usize = 69;

/// What a sender may do.
#[derive(Debug, Clone, Copy)]
pub struct SenderConfig {
    /// The receiver's latency budget.
    pub budget: Duration,
    /// What protection may cost, and is to reach.
    pub limits: Limits,
    /// What is kept to be sent again.
    pub history: HistoryLimits,
    /// Longest packet.
    pub packet_bytes: usize,
}

impl SenderConfig {
    /// The defaults, for a latency budget.
    #[must_use]
    pub fn new(budget: Duration) -> Self {
        Self { budget, limits: Limits::default(), history: HistoryLimits::default(), packet_bytes: 1500 }
    }
}

/// What is to be sent to the receiver, beside the source packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ToReceiver<'a, R> {
    /// A repair packet.
    Repair(Repair<'a>),
    /// A packet that was asked for.
    Again(Answer<R>),
    /// Where the line ends.
    Next(Next),
}

/// Protects what is sent.
#[derive(Debug)]
pub struct Sender<R: Copy> {
    config: SenderConfig,
    history: History<R>,
    responder: Responder,
    tail: Tail,
    /// There is one always: without a shape it has no limit to break.
    encoder: Option<Encoder>,
    meter: Meter,
    choice: Choice,
    /// The code of the block that is open, how many packets and bursts it has, and when the burst is over if nobody says so.
    code: Option<Code>,
    in_block: usize,
    bursts: usize,
    idle: Option<Instant>,
    next: u64,
    echo: Option<u8>,
    skipped: u64,
}

impl<R: Copy> Sender<R> {
    /// One that has sent nothing.
    #[must_use]
    pub fn new(config: SenderConfig) -> Self {
        let packet_bytes = config.packet_bytes;
        let encoder = EncoderConfig { packet_bytes, ..EncoderConfig::default() };
        Self {
            config,
            history: History::new(config.history),
            responder: Responder::new(ResponderConfig {
                share: config.limits.overhead,
                ..Default::default()
            }),
            tail: Tail::new(TailConfig {
                probe_bytes: PROBE_BYTES,
                share: 0.004,
                ..TailConfig::new(config.budget)
            }),
            encoder: Encoder::new(encoder, None).ok(),
            meter: Meter::default(),
            choice: Choice::new(config.limits, config.budget),
            code: None,
            in_block: 0,
            bursts: 0,
            idle: None,
            next: 0,
            echo: None,
            skipped: 0,
        }
    }

    /// The packet `index` is sent; indices are consecutive. `last`: no other is expected at once, as at a frame's end.
    pub fn handle_source(&mut self, now: Instant, index: u64, packet: &[u8], last: bool, reference: R) {
        self.next = index.wrapping_add(1);
        self.history.push(now, index, packet.len(), reference);
        self.responder.handle_media(packet.len());
        self.tail.handle_packet(now, index, packet.len(), last);
        let begins = self.meter.handle_packet(now, packet.len());
        if begins && self.in_block > 0 && self.idle.is_some() {
            self.end_burst();
        }
        if self.in_block == 0 {
            self.begin_block();
        }
        if let Some(encoder) = self.encoder.as_mut().filter(|_| self.code.is_some()) {
            self.in_block += 1;
            if encoder.handle_source(index, packet).is_err() {
                self.skipped += 1;
            }
            self.idle = Some(now + IDLE);
            if !encoder.has_open() {
                self.in_block = 0;
                self.bursts = 0;
            }
            if last {
                self.end_burst();
            }
        }
    }

    fn begin_block(&mut self) {
        self.bursts = 0;
        self.code = self.choice.plan().and_then(|plan| plan.code);
        let shape = self.code.and_then(|code| {
            // Bursts are not all as long as their mean.
            let room = (code.source + code.source / 2).min(255 - code.repair.min(127));
            let repair = u8::try_from(code.repair).ok()?;
            Shape::new(u8::try_from(room).ok()?, repair, 1).ok()
        });
        let set = self.encoder.as_mut().is_some_and(|encoder| encoder.set_shape(shape).is_ok());
        if shape.is_none() || !set {
            self.code = None;
        }
    }

    fn end_burst(&mut self) {
        self.idle = None;
        self.bursts += 1;
        let Some(code) = self.code.filter(|code| self.in_block > 0 && self.bursts >= code.span) else {
            return;
        };
        let repairs = (code.repair * self.in_block).div_ceil(code.source.max(1)).min(code.repair);
        if let Some(encoder) = &mut self.encoder {
            encoder.finish_with(u8::try_from(repairs).unwrap_or(u8::MAX));
        }
        self.in_block = 0;
    }

    /// A request came: the numbers that it names.
    pub fn handle_request(&mut self, now: Instant, numbers: impl IntoIterator<Item = u16>) {
        self.responder.handle_request(now, &mut self.history, numbers);
    }

    /// The receiver's report came. Whether the plan changed: see [`explain`](Self::explain).
    pub fn handle_report(&mut self, now: Instant, report: &Report) -> bool {
        let report = &report.bounded();
        self.echo = Some(report.id);
        self.tail.set_loss(report.loss);
        if let Some(rtt) = report.rtt {
            self.responder.set_rtt(rtt);
        }
        self.meter.traffic().is_some_and(|traffic| self.choice.handle_report(now, report, traffic))
    }

    /// It is as late as [`poll_timeout`](Self::poll_timeout) said.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tail.handle_timeout(now);
        if self.idle.is_some_and(|idle| idle <= now) {
            self.end_burst();
        }
    }

    /// What to send now, until there is nothing.
    pub fn poll_transmit(&mut self) -> Option<ToReceiver<'_, R>> {
        if let Some(answer) = self.responder.poll_transmit(&self.history) {
            return Some(ToReceiver::Again(answer));
        }
        let hold_off = self.choice.plan().map_or(Duration::ZERO, |plan| plan.hold_off);
        if let Some(id) = self.echo.take() {
            return Some(ToReceiver::Next(Next { next: self.next, hold_off, echo: Some(id) }));
        }
        if let Some(next) = self.tail.poll_transmit() {
            return Some(ToReceiver::Next(Next { next, hold_off, echo: None }));
        }
        self.encoder.as_mut()?.poll_repair().map(ToReceiver::Repair)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tail = self.tail.poll_timeout().map(|(at, _)| at);
        [tail, self.idle].into_iter().flatten().min()
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

    /// Packets that are too long to be protected.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The budget that it was made for.
    #[must_use]
    pub const fn budget(&self) -> Duration {
        self.config.budget
    }
}
