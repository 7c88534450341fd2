//! One direction of a link.

use std::time::{Duration, Instant};

use msm_core::rng::Rng;

use crate::chance::{happens, normal, spread};
use crate::flight::Flight;
use crate::held::Held;
use crate::loss::Chain;
use crate::outage::Line;
use crate::queue::Queue;
use crate::{Jitter, Outage, Packet, Settings, Statistics};

/// A packet that was larger than the link's MTU, and so not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// Its size in bytes.
    pub bytes: usize,
    /// The largest that passes.
    pub mtu: usize,
}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "a packet of {} bytes does not fit the link's MTU of {}", self.bytes, self.mtu)
    }
}

impl std::error::Error for TooLarge {}

/// One direction of a link. How it is driven, and what happens to a packet in which order, is told in the crate's documentation.
///
/// * **Commands**: [`new`](Self::new), [`set`](Self::set), [`set_up`](Self::set_up), [`schedule`](Self::schedule).
/// * **Input**: [`handle_send`](Self::handle_send).
/// * **Output**: [`poll_arrival`](Self::poll_arrival) until `None`, [`poll_timeout`](Self::poll_timeout).
/// * **Getters**: [`settings`](Self::settings), [`statistics`](Self::statistics), [`waiting_bytes`](Self::waiting_bytes).
#[derive(Debug, Clone)]
pub struct Link<P> {
    settings: Settings,
    line: Line,
    queue: Queue<P>,
    chain: Chain,
    held: Held<P>,
    flight: Flight<P>,
    /// Arrival of the latest packet that keeps its order.
    latest: Option<Instant>,
    /// Whether the last packet on the line was lost.
    in_run: bool,
    delays: Rng,
    order: Rng,
    copies: Rng,
    statistics: Statistics,
}

impl<P: Packet + Clone> Link<P> {
    /// A link on which everything follows from `settings`, `seed` and what is sent.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        let mut seeds = Rng::new(seed);
        Self {
            settings,
            line: Line::new(),
            queue: Queue::new(),
            chain: Chain::new(settings.loss, seeds.next_u64()),
            held: Held::new(),
            flight: Flight::new(),
            latest: None,
            in_run: false,
            delays: Rng::new(seeds.next_u64()),
            order: Rng::new(seeds.next_u64()),
            copies: Rng::new(seeds.next_u64()),
            statistics: Statistics::default(),
        }
    }

    /// What it does to packets now.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// From `now` on it does `settings`. Packets under way arrive as they would have; those in the queue leave at the new rate.
    pub fn set(&mut self, now: Instant, settings: Settings) {
        self.advance(now);
        if self.settings.rate != settings.rate
            && let Some(old) = self.settings.rate
        {
            self.queue.change(now, old);
        }
        self.chain.set(settings.loss);
        self.settings = settings;
        if settings.rate.is_none() {
            while let Some(packet) = self.queue.take(now) {
                self.leave(now, packet);
            }
        }
    }

    /// Ends or begins an outage at `now`. Packets under way arrive.
    pub fn set_up(&mut self, now: Instant, up: bool) {
        self.advance(now);
        self.line.up = up;
    }

    /// Whatever leaves in `outage` is lost. Several may be scheduled; one that is over is forgotten.
    pub fn schedule(&mut self, outage: Outage) {
        self.line.schedule(outage);
    }

    /// Sends `packet` at `now`.
    ///
    /// Losses are not errors: who sends does not see them. They are counted.
    ///
    /// # Errors
    ///
    /// It is larger than the MTU. A sender learns that, as from a socket that does not fragment.
    pub fn handle_send(&mut self, now: Instant, packet: P) -> Result<(), TooLarge> {
        self.advance(now);
        let bytes = packet.size();
        self.statistics.sent += 1;
        self.statistics.sent_bytes += bytes as u64;
        if let Some(mtu) = self.settings.mtu
            && bytes > mtu
        {
            self.statistics.too_large += 1;
            return Err(TooLarge { bytes, mtu });
        }
        match self.settings.rate {
            None => self.leave(now, packet),
            Some(rate) => {
                if !self.queue.push(now, packet, rate) {
                    self.statistics.queue_full += 1;
                }
            }
        }
        Ok(())
    }

    /// The next packet that has arrived by `now`, in the order of arrival.
    pub fn poll_arrival(&mut self, now: Instant) -> Option<P> {
        self.advance(now);
        let packet = self.flight.pop(now)?;
        self.statistics.arrived += 1;
        self.statistics.arrived_bytes += packet.size() as u64;
        Some(packet)
    }

    /// When [`Self::poll_arrival`] is to be called next. It may hand over nothing then: a packet may have left a queue.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let leaves = self.settings.rate.and_then(|rate| self.queue.next(rate));
        [leaves, self.held.next(), self.flight.next()].into_iter().flatten().min()
    }

    /// What it did.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Bytes that wait in the queue of the bottleneck, behind the packet that is leaving.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.queue.waiting()
    }

    /// Does what was due by `now`, at the time when it was due.
    fn advance(&mut self, now: Instant) {
        if !self.queue.is_empty()
            && let Some(rate) = self.settings.rate
        {
            while let Some((at, packet)) = self.queue.pop(now, rate) {
                self.leave(at, packet);
            }
        }
        if !self.held.is_empty() {
            self.held.expire(now, &mut self.flight);
        }
    }

    /// `packet` is on the line at `at`.
    fn leave(&mut self, at: Instant, packet: P) {
        if !self.held.is_empty() {
            self.held.expire(at, &mut self.flight);
        }
        if !self.line.passes(at) {
            self.statistics.outage += 1;
            return;
        }
        if self.chain.is_lost() {
            self.statistics.lost += 1;
            self.statistics.runs += u64::from(!self.in_run);
            self.in_run = true;
            return;
        }
        self.in_run = false;
        self.statistics.passed += 1;
        let arrives = self.arrival(at);
        if let Some(reorder) = self.settings.reorder
            && happens(&mut self.order, reorder.probability)
        {
            self.statistics.reordered += 1;
            self.held.hold(arrives, packet, reorder);
            return;
        }
        self.latest = self.latest.max(Some(arrives));
        if self.settings.duplicate > 0.0 && happens(&mut self.copies, self.settings.duplicate) {
            self.statistics.duplicated += 1;
            self.flight.insert(arrives, packet.clone());
            let again = self.arrival(at);
            self.flight.insert(again, packet);
        } else {
            self.flight.insert(arrives, packet);
        }
        if !self.held.is_empty() {
            self.held.overtaken(arrives, &mut self.flight);
        }
    }

    /// When what leaves at `at` arrives.
    fn arrival(&mut self, at: Instant) -> Instant {
        let delay = self.delay();
        let arrives = at.checked_add(delay).unwrap_or(at);
        if self.settings.keep_order {
            self.latest.map_or(arrives, |latest| latest.max(arrives))
        } else {
            arrives
        }
    }

    fn delay(&mut self) -> Duration {
        let delay = self.settings.delay;
        match self.settings.jitter {
            Jitter::None => delay,
            Jitter::Uniform(around) => spread(delay, around, 2.0 * self.delays.next_f64() - 1.0),
            Jitter::Normal(deviation) => spread(delay, deviation, normal(&mut self.delays)),
        }
    }
}
