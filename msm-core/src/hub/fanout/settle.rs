//! How the timestamps of a new source settle on the line of the one before.
//!
//! A source may begin with what it has kept since its last keyframe: at the splice nobody knows how old its first packet is. If
//! that were taken for live, all that follow would run ahead of their arrival by its age, and players would be late by as much
//! for good. So for a while each new timestamp is held against what the old source would have shown at this time: what is ahead
//! of that shows that the first packets were older, and moves the line back; those that came before keep their order, squeezed.

use std::time::{Duration, Instant};

use super::super::clock::{duration, ticks};
use super::edge::Edge;
use super::upstream::Reference;
use crate::seq;

/// A source that has not been ahead for this long has shown where it is.
const SETTLED: Duration = Duration::from_secs(2);

/// How long its sender report is waited for, which tells how its tracks relate.
const REPORT: Duration = Duration::from_secs(10);

/// What is ahead by less does not prolong the time: clocks differ.
const NEGLIGIBLE: Duration = Duration::from_millis(1);

/// Frames that are squeezed keep this part of their distance, so that they keep their order.
const SQUEEZED: i32 = 256;

/// Timestamps of frames whose packets may still come.
const RECENT: usize = 16;

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
    began: Instant,
    /// When the source was ahead last.
    ahead: Instant,
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
            began: arrival,
            ahead: arrival,
            recent: [None; RECENT],
            next: 0,
        }
    }

    fn line(&self, timestamp: u32, shift: u32) -> u32 {
        let natural = timestamp.wrapping_add(shift);
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

    /// Takes the shift that the source's clocks ask for.
    pub(super) fn follow(&mut self, shift: &mut u32, to: u32, lowered: Duration) {
        self.role = Role::Follows(lowered);
        self.change(shift, to);
    }

    /// The source's timestamps are others by so much from now on.
    pub(super) fn renumber(&mut self, by: u32) {
        self.newest = self.newest.wrapping_add(by);
        self.floor.0 = self.floor.0.wrapping_add(by);
        for (source, _) in self.recent.iter_mut().flatten() {
            *source = source.wrapping_add(by);
        }
    }

    /// Our timestamp for one of the source's. `edge` is where the old source was.
    pub(super) fn place(
        &mut self,
        timestamp: u32,
        (arrival, rate): (Instant, u32),
        edge: &Edge,
        shift: &mut u32,
        reference: &mut Option<Reference>,
    ) -> u32 {
        let known = self.recent.iter().flatten().find(|(source, _)| *source == timestamp);
        if let Some((_, own)) = known {
            return *own;
        }
        if !seq::timestamp_newer(timestamp, self.newest) {
            let own = self.line(timestamp, *shift);
            return self.remember(timestamp, own);
        }
        match (self.role, reference.as_mut()) {
            (Role::Follows(followed), Some(reference)) => {
                let by = reference.lowered.saturating_sub(followed);
                if !by.is_zero() {
                    self.role = Role::Follows(reference.lowered);
                    self.ahead = arrival;
                    self.change(shift, shift.wrapping_sub(ticks(by, rate)));
                }
            }
            (Role::Follows(_), None) => {}
            (_, reference) => self.hold_back(timestamp, (arrival, rate), edge, shift, reference),
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

    /// Moves the line back if this timestamp is ahead of its time.
    fn hold_back(
        &mut self,
        timestamp: u32,
        (arrival, rate): (Instant, u32),
        edge: &Edge,
        shift: &mut u32,
        reference: Option<&mut Reference>,
    ) {
        let natural = timestamp.wrapping_add(*shift);
        let Some(limit) = edge.at(arrival, rate).filter(|limit| seq::timestamp_newer(natural, *limit)) else {
            return;
        };
        let ahead = natural.wrapping_sub(limit);
        let by = duration(ahead, rate);
        self.change(shift, shift.wrapping_sub(ahead));
        if by >= NEGLIGIBLE {
            self.ahead = arrival;
        }
        if let Some(reference) = reference.filter(|_| self.role == Role::First) {
            reference.lowered += by;
        }
    }

    fn remember(&mut self, timestamp: u32, own: u32) -> u32 {
        if let Some(slot) = self.recent.get_mut(self.next) {
            *slot = Some((timestamp, own));
        }
        self.next = (self.next + 1) % RECENT;
        own
    }

    /// Whether the line is where it stays.
    pub(super) fn is_over(&self, arrival: Instant, shift: u32) -> bool {
        let waits = self.role == Role::Own && arrival.saturating_duration_since(self.began) < REPORT;
        arrival.saturating_duration_since(self.ahead) >= SETTLED
            && !waits
            && self.line(self.newest, shift) == self.newest.wrapping_add(shift)
    }
}
