//! How the timestamps of a new source settle on the line of the one before.
//!
//! A source may begin with what it has kept since its last keyframe: at the splice nobody knows how old its first packet is. If
//! that were taken for live, all that follow would run ahead of their arrival by its age, and players would be late by as much
//! for good. So for a while each new timestamp is held against what the old source would have shown at this time: what is ahead
//! of that shows that the first packets were older, and moves the line back; those that came before keep their order, squeezed.
//!
//! A source may begin early, too: servers send their first packets before their pipeline's delay is in force, and all later ones
//! are behind them for good. By the first of them a packet that is early and one that waited for nothing look the same, so
//! [`Edge`] does not forget them sooner: without them a source that is less than a second old would be placed by its late packets, and without
//! a standby there is nothing to forget. Only time tells. What is still behind when the first packets have long passed is the
//! source's own delay, and moves the line forward, once. The first track decides so a while before, for a moment of capture that
//! is still to come, and all tracks move with the first frame of that moment: they stay in sync, and no frame is torn.

use std::time::{Duration, Instant};

use super::super::clock::{duration, ticks};
use super::clocks::{Clocks, Jump, Moment, Reference};
use super::edge::Edge;
use super::slack::Slack;
use crate::seq;

/// A source that has not been ahead for this long has shown where it is.
const SETTLED: Duration = Duration::from_secs(2);

/// The first of that time says nothing of how far behind the source is: what comes then may be early.
const EARLY: Duration = Duration::from_secs(1);

/// How long before it comes a move forward is decided on: tracks arrive apart.
const NOTICE: Duration = Duration::from_millis(500);

/// How long its sender report is waited for, which tells how its tracks relate, and the first track's decision.
pub(super) const REPORT: Duration = Duration::from_secs(10);

/// What is ahead by less does not prolong the time: clocks differ.
const NEGLIGIBLE: Duration = Duration::from_millis(1);

/// Frames that are squeezed keep this part of their distance, so that they keep their order.
const SQUEEZED: i32 = 256;

/// Timestamps of frames whose packets may still come.
const RECENT: usize = 16;

/// A packet's time of arrival, and what that is held against.
pub(super) struct Arrived<'a> {
    pub(super) at: Instant,
    /// The track's media clock.
    pub(super) rate: u32,
    /// Where the old source was.
    pub(super) edge: &'a Edge,
    /// The new source's clocks.
    pub(super) clocks: &'a Clocks,
}

/// Whether the line moves forward.
#[derive(Debug, Clone, Copy)]
enum Forward {
    /// That is not known yet.
    Open,
    Due(Jump),
    /// It has, or does not.
    Done,
}

/// What a track takes its time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The first track of the splice: from when its packets arrive. The others follow it.
    First,
    /// Another one, as long as no clock tells how it relates to the first.
    Own,
    /// From the first track's, by the source's clocks. So much of what that was moved back has been followed.
    Follows(Duration),
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Settling {
    pub(super) role: Role,
    /// The newest of the source's timestamps.
    newest: u32,
    /// No frame comes before the line through this point, of the source's timestamps and ours, that rises by the squeezed distance.
    floor: (u32, u32),
    /// The last frame before the line was moved forward, in the source's timestamps and ours: up to there it is where it was.
    before: Option<(u32, u32)>,
    began: Instant,
    /// When the source was ahead last, or the line was moved.
    ahead: Instant,
    slack: Slack,
    forward: Forward,
    /// The line has moved by the splice's jump.
    jumped: bool,
    /// With the last packet.
    just_now: bool,
    recent: [Option<(u32, u32)>; RECENT],
    next: usize,
}

impl Settling {
    /// The source begins with `first`, behind `last` of our line.
    pub(super) fn new(role: Role, first: u32, last: u32, arrival: Instant) -> Self {
        Settling {
            role,
            newest: first.wrapping_sub(1),
            floor: (first, last.wrapping_add(1)),
            before: None,
            began: arrival,
            ahead: arrival,
            slack: Slack::default(),
            forward: Forward::Open,
            jumped: false,
            just_now: false,
            recent: [None; RECENT],
            next: 0,
        }
    }

    fn line(&self, timestamp: u32, shift: u32) -> u32 {
        let natural = match self.before {
            Some((last, own)) if !seq::timestamp_newer(timestamp, last) => {
                own.wrapping_sub(last.wrapping_sub(timestamp))
            }
            _ => timestamp.wrapping_add(shift),
        };
        let (from, to) = self.floor;
        let squeezed = seq::timestamp_distance(from, timestamp) / SQUEEZED;
        let floor = to.wrapping_add_signed(squeezed);
        if seq::timestamp_newer(floor, natural) { floor } else { natural }
    }

    /// Moves what follows by changing the shift; what came keeps its order.
    fn change(&mut self, shift: &mut u32, to: u32) {
        self.floor = (self.newest, self.line(self.newest, *shift));
        *shift = to;
    }

    /// Takes the shift that the source's clocks ask for; the splice's jump comes on top of it.
    pub(super) fn follow(&mut self, shift: &mut u32, to: u32, lowered: Duration) {
        self.role = Role::Follows(lowered);
        self.forward = Forward::Open;
        self.jumped = false;
        self.change(shift, to);
    }

    /// Whether the line has moved by the splice's jump.
    pub(super) fn has_jumped(&self) -> bool {
        self.jumped
    }

    /// Whether it has moved forward with the last packet.
    pub(super) fn take_jump(&mut self) -> bool {
        std::mem::take(&mut self.just_now)
    }

    /// The source's timestamps are others by so much from now on.
    pub(super) fn renumber(&mut self, by: u32) {
        self.newest = self.newest.wrapping_add(by);
        self.floor.0 = self.floor.0.wrapping_add(by);
        if let Some((last, _)) = &mut self.before {
            *last = last.wrapping_add(by);
        }
        for (source, _) in self.recent.iter_mut().flatten() {
            *source = source.wrapping_add(by);
        }
    }

    /// Our timestamp for one of the source's.
    pub(super) fn place(
        &mut self,
        timestamp: u32,
        now: &Arrived<'_>,
        shift: &mut u32,
        mut reference: Option<&mut Reference>,
    ) -> u32 {
        let known = self.recent.iter().flatten().find(|(source, _)| *source == timestamp);
        if let Some((_, own)) = known {
            return *own;
        }
        if !seq::timestamp_newer(timestamp, self.newest) {
            let own = self.line(timestamp, *shift);
            return self.remember(timestamp, own);
        }
        match (self.role, reference.as_deref_mut()) {
            (Role::Follows(followed), Some(reference)) => {
                let by = reference.lowered.saturating_sub(followed);
                if !by.is_zero() {
                    self.role = Role::Follows(reference.lowered);
                    self.ahead = now.at;
                    self.change(shift, shift.wrapping_sub(ticks(by, now.rate)));
                }
            }
            (Role::Follows(_), None) => {}
            (_, reference) if !self.has_settled(now.at) => self.hold_back(timestamp, now, shift, reference),
            _ => {}
        }
        if let Some(jump) = self.jump_of(timestamp, now, reference)
            && jump.has_come(&now.clocks.moment(timestamp, now.rate), now.at)
        {
            self.go_forward(now, shift, jump.by);
        }
        let last = self.line(self.newest, *shift);
        let mut own = self.line(timestamp, *shift);
        if !seq::timestamp_newer(own, last) {
            own = last.wrapping_add(1);
            self.floor = (timestamp, own);
        }
        self.newest = timestamp;
        self.remember(timestamp, own)
    }

    /// Moves the line back if this timestamp is ahead of its time, and takes note of how far it is behind if not.
    fn hold_back(
        &mut self,
        timestamp: u32,
        now: &Arrived<'_>,
        shift: &mut u32,
        reference: Option<&mut Reference>,
    ) {
        let natural = timestamp.wrapping_add(*shift);
        let Some(limit) = now.edge.at(now.at, now.rate) else { return };
        let ahead = seq::timestamp_distance(limit, natural).max(0).unsigned_abs();
        let by = duration(ahead, now.rate);
        if by >= NEGLIGIBLE {
            self.ahead = now.at;
            self.slack = Slack::default();
        } else if now.at.saturating_duration_since(self.ahead) >= EARLY {
            let behind = seq::timestamp_distance(natural, limit).max(0).unsigned_abs();
            self.slack.note(now.at, duration(behind, now.rate));
        }
        if ahead == 0 {
            return;
        }
        self.change(shift, shift.wrapping_sub(ahead));
        if let Some(reference) = reference.filter(|_| self.role == Role::First) {
            reference.lowered += by;
        }
    }

    /// The move forward that is still to come, if there is one.
    fn jump_of(
        &mut self,
        timestamp: u32,
        now: &Arrived<'_>,
        reference: Option<&mut Reference>,
    ) -> Option<Jump> {
        match (self.forward, self.role, reference) {
            (Forward::Done, ..) => None,
            (Forward::Due(jump), ..) => Some(jump),
            (Forward::Open, Role::Follows(_), reference) => reference?.jump,
            (Forward::Open, Role::First, reference) => {
                if !self.is_quiet(now.at) {
                    return None;
                }
                self.forward = Forward::Done;
                let by = self.slack.lateness();
                let Some(reference) = reference else { return self.will_jump(now.at, by?) };
                let in_time = !reference.is_decided(now.at);
                reference.decided = true;
                let at = timestamp.wrapping_add(ticks(NOTICE, now.rate));
                let at = now.clocks.moment(at, now.rate);
                let jump = Jump { at, due: now.at + NOTICE, by: by.filter(|_| in_time)? };
                reference.jump = Some(jump);
                self.forward = Forward::Due(jump);
                Some(jump)
            }
            (Forward::Open, Role::Own, reference) => {
                // Together with the first track, although each by how late it is.
                let waits = reference.as_ref().is_some_and(|reference| !reference.is_decided(now.at));
                if waits || !self.is_quiet(now.at) {
                    return None;
                }
                self.forward = Forward::Done;
                let first = reference.and_then(|reference| reference.jump).map(|jump| jump.due);
                let due = first.map_or(now.at, |first| first.max(now.at));
                self.will_jump(due, self.slack.lateness()?)
            }
        }
    }

    fn will_jump(&mut self, due: Instant, by: Duration) -> Option<Jump> {
        let jump = Jump { at: Moment::default(), due, by };
        self.forward = Forward::Due(jump);
        Some(jump)
    }

    /// Moves what follows forward; what came, or comes late, stays where it is.
    fn go_forward(&mut self, now: &Arrived<'_>, shift: &mut u32, by: Duration) {
        self.before = Some((self.newest, self.line(self.newest, *shift)));
        *shift = shift.wrapping_add(ticks(by, now.rate));
        self.ahead = now.at;
        self.forward = Forward::Done;
        self.jumped = true;
        self.just_now = true;
    }

    fn remember(&mut self, timestamp: u32, own: u32) -> u32 {
        if let Some(slot) = self.recent.get_mut(self.next) {
            *slot = Some((timestamp, own));
        }
        self.next = (self.next + 1) % RECENT;
        own
    }

    /// Whether the source has not been ahead for long enough.
    fn is_quiet(&self, arrival: Instant) -> bool {
        arrival.saturating_duration_since(self.ahead) >= SETTLED
    }

    /// Whether the line is moved by nothing but the source's clocks any more.
    fn has_settled(&self, arrival: Instant) -> bool {
        matches!(self.forward, Forward::Done) && self.is_quiet(arrival)
    }

    /// Whether the line is where it stays.
    pub(super) fn is_over(&self, arrival: Instant, shift: u32, reference: Option<&Reference>) -> bool {
        let settled = match (self.role, reference) {
            (Role::First, reference) => {
                let waits = reference.is_some_and(Reference::is_open) && self.is_young(arrival);
                self.has_settled(arrival) && !waits
            }
            (Role::Own, _) => self.has_settled(arrival) && !self.is_young(arrival),
            (Role::Follows(followed), Some(reference)) => {
                let behind = followed != reference.lowered || (reference.jump.is_some() && !self.jumped);
                let ends = reference.is_over || arrival >= reference.until;
                self.is_quiet(arrival) && !behind && ends
            }
            (Role::Follows(_), None) => self.is_quiet(arrival),
        };
        settled && self.line(self.newest, shift) == self.newest.wrapping_add(shift)
    }

    /// Whether a sender report may still tell how its tracks relate.
    fn is_young(&self, arrival: Instant) -> bool {
        arrival.saturating_duration_since(self.began) < REPORT
    }
}
