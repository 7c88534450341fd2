//! The receiver's half: which packets are missing, and when to ask for them.

mod learn;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::gap::{GRANULARITY, Gap, Step, Timing};
use super::plan::Plan;
use super::types::{Arrival, Event, Reason, Request, RequesterConfig, RequesterStats};
use super::{ASKS_PER_PACKET, MAX_ANSWERS, MAX_REQUEST};
use crate::estimate::{Loss, Reorder, Rtt};

/// Events that wait for being polled; the oldest give way.
const MAX_EVENTS: usize = 64;

/// Answers in a row that came after more than one round, before the first request is believed to be what was answered. Many, as the
/// loss of one request makes all its answers such.
const AMBIGUOUS: u32 = 64;

/// Packets that came as answers, of which it is noticed if they come again by themselves.
const MAX_ANSWERED: usize = 64;

/// No index is higher: those of SRTP have 48 bits.
const MAX_INDEX: u64 = 1 << 48;

/// Finds gaps and asks for what is missing, as long as it can come in time.
///
/// A packet with a later index tells that one is missing. It is asked for at once, unless packets were seen to overtake each other:
/// then as much later as they came late ([`Reorder`]). It is asked for again when the answer is overdue (RFC 6298 of the round
/// trips), with copies in the last rounds, and not any more when a round trip does not fit before its deadline: `budget`
/// after it was found missing. Whoever waits for repair otherwise first sets a [hold-off](Self::set_hold_off).
#[derive(Debug)]
pub struct Requester {
    config: RequesterConfig,
    /// The index that is expected; none before the first packet.
    next: u64,
    started: bool,
    now: Option<Instant>,
    gaps: VecDeque<Gap>,
    /// Nothing is due before.
    wake: Option<Instant>,
    /// Packets that came, those of them that are counted in `credit`, and how many may be asked for.
    came: u64,
    credited: u64,
    credit: u64,
    hold_off: Duration,
    /// Where a second packet far behind would confirm that the line starts anew.
    behind: Option<u64>,
    ambiguous: u32,
    /// Packets that were sent again of late, and when they were found missing.
    answered: VecDeque<(u64, Instant)>,
    loss: Loss,
    reorder: Reorder,
    rtt: Rtt,
    /// No less loss is expected.
    floor: f64,
    plan: Plan,
    passes: [Vec<u64>; MAX_ANSWERS as usize],
    events: VecDeque<Event>,
    stats: RequesterStats,
}

impl Requester {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(config: RequesterConfig) -> Self {
        let loss = Loss::new();
        Self {
            plan: Plan::new(loss.bound(), loss.burst(), config.limits()),
            config,
            next: 0,
            started: false,
            now: None,
            gaps: VecDeque::new(),
            wake: None,
            came: 0,
            credited: 0,
            credit: most_credit(&config),
            hold_off: Duration::ZERO,
            behind: None,
            ambiguous: 0,
            answered: VecDeque::new(),
            loss,
            reorder: Reorder::new(),
            rtt: Rtt::new(),
            floor: 0.0,
            passes: Default::default(),
            events: VecDeque::new(),
            stats: RequesterStats::default(),
        }
    }

    /// The line begins with `index`, as its sender said: what is lost first is missing, too. Nothing if a packet has come already.
    pub const fn begin(&mut self, index: u64) {
        if !self.started && index < MAX_INDEX {
            self.started = true;
            self.next = index;
        }
    }

    /// Changes what it may do, from the next gap or round on.
    pub fn set_config(&mut self, config: RequesterConfig) {
        self.config = config;
    }

    /// A round trip was measured otherwise: by RTCP, or on the path.
    pub fn handle_rtt(&mut self, sample: Duration) {
        self.rtt.handle_sample(sample);
    }

    /// Does not ask before so long after a packet was found missing, because it may be repaired without.
    pub const fn set_hold_off(&mut self, hold_off: Duration) {
        self.hold_off = hold_off;
    }

    /// Is prepared for so much loss at least, because what makes it less may end.
    pub const fn set_loss_floor(&mut self, loss: f64) {
        self.floor = loss.clamp(0.0, 0.9);
    }

    /// The packet `index` came.
    #[inline]
    pub fn handle_packet(&mut self, now: Instant, index: u64, arrival: Arrival) {
        self.came += 1;
        if index == self.next && self.started {
            self.next = index.wrapping_add(1);
            self.loss.handle_received();
        } else {
            self.handle_other(now, index, arrival);
        }
    }

    /// `count` packets from `index` on came, without a gap between them.
    #[inline]
    pub fn handle_run(&mut self, now: Instant, index: u64, count: u64) {
        for index in index..index.saturating_add(count) {
            self.handle_packet(now, index, Arrival::Media);
        }
    }

    #[cold]
    fn handle_other(&mut self, now: Instant, index: u64, arrival: Arrival) {
        if index >= MAX_INDEX {
            return;
        }
        self.now = Some(now);
        if !self.started {
            self.started = true;
            self.next = index + 1;
        } else if index >= self.next {
            if arrival == Arrival::Retransmission {
                // Nobody asked for it, and what is sent first tells where the line is.
                return;
            }
            self.handle_next(now, index);
            self.loss.handle_received();
            self.next = index + 1;
        } else if let Some(place) = self.missing(index) {
            self.fill(now, place, arrival);
        } else if arrival == Arrival::Media {
            self.handle_duplicate(now, index);
        }
    }

    /// The sender says that `next` is the index after its last packet ([`super::Tail`]): what is below it and did not come is missing.
    pub fn handle_next(&mut self, now: Instant, next: u64) {
        if !self.started || next <= self.next || next >= MAX_INDEX {
            return;
        }
        self.now = Some(now);
        let count = next - self.next;
        let most = u64::try_from(self.config.max_gaps.max(1)).unwrap_or(u64::MAX);
        if count > most {
            self.restart(next);
            return;
        }
        self.loss.handle_gap(count);
        let loss = self.loss.bound().max(self.floor);
        self.plan = Plan::new(loss, self.loss.burst(), self.config.limits());
        self.stats.gaps += count;
        let first = now + self.reorder.delay(now).min(self.config.budget / 2).max(self.hold_off);
        let deadline = now + self.config.budget;
        for index in self.next..next {
            self.gaps.push_back(Gap::new(index, now, first, deadline, self.plan.loss()));
        }
        while self.gaps.len() > self.config.max_gaps.max(1) {
            let dropped = self.gaps.pop_front();
            self.stats.overflow += u64::from(dropped.is_some_and(|gap| gap.open));
        }
        self.next = next;
        self.wake_at(first.min(deadline));
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn timing(&self) -> Timing {
        // Before any round trip is known, four are taken to fit.
        let rtt = self.rtt.smoothed().unwrap_or(self.config.budget / 5);
        let overdue = self.rtt.overdue(GRANULARITY).unwrap_or(rtt + GRANULARITY);
        Timing { rtt, overdue, margin: self.rtt.variation().max(GRANULARITY / 2) }
    }

    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// A request to send now. To be called until there is none.
    pub fn poll_transmit(&mut self) -> Option<Request<'_>> {
        let now = self.now?;
        if self.wake.is_none_or(|wake| wake > now) {
            return None;
        }
        self.passes.iter_mut().for_each(Vec::clear);
        let timing = self.timing();
        self.earn();
        let room = MAX_REQUEST.min(usize::try_from(self.credit).unwrap_or(MAX_REQUEST));
        let mut wake: Option<Instant> = None;
        let mut named = 0;
        for place in 0..self.gaps.len() {
            let Some(gap) = self.gaps.get_mut(place).filter(|gap| gap.open) else { continue };
            if named >= room && now < gap.deadline {
                let due = if room < MAX_REQUEST && gap.due <= now {
                    self.stats.throttled += 1;
                    now + GRANULARITY
                } else {
                    gap.due
                };
                wake = Some(wake.map_or(due, |wake| wake.min(due)));
                continue;
            }
            match gap.step(now, &timing, &self.plan) {
                Step::Wait => {}
                Step::Ask { answers, copy } => {
                    named += 1;
                    self.stats.requested += u64::from(!copy);
                    self.stats.request_copies += u64::from(copy);
                    for pass in self.passes.iter_mut().take(usize::from(answers)) {
                        pass.push(gap.index);
                    }
                }
                Step::GiveUp => {
                    gap.open = false;
                    let event = Event::GaveUp { index: gap.index, rounds: gap.rounds };
                    self.stats.gave_up += 1;
                    self.tell(event);
                    continue;
                }
            }
            wake = Some(wake.map_or(gap.due, |wake| wake.min(gap.due)));
        }
        self.credit -= named as u64;
        self.wake = wake;
        self.forget_closed();
        (named > 0).then_some(Request { passes: &self.passes })
    }

    /// What came since allows so many requests.
    fn earn(&mut self) {
        let earned = (self.came - self.credited).saturating_mul(ASKS_PER_PACKET);
        self.credited = self.came;
        self.credit = self.credit.saturating_add(earned).min(most_credit(&self.config));
    }

    /// What happened. To be called until there is nothing.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.wake.map(|wake| (wake, Reason::Gap))
    }
}

/// What may be asked for at once after a time without: everything that is tracked, and three times again.
fn most_credit(config: &RequesterConfig) -> u64 {
    u64::try_from(config.max_gaps.max(MAX_REQUEST)).unwrap_or(u64::MAX).saturating_mul(4)
}

#[cfg(test)]
#[path = "requester_tests.rs"]
mod tests;
