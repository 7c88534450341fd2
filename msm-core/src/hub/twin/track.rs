//! One track of two sources.

use std::collections::VecDeque;

use super::lag::Lag;
use super::line::{Entry, Line, ahead};
use super::prove::prove;
use super::store::Store;
use super::{LEAD, Offset, REMEMBERED, Side};
use crate::hub::clock::duration;
use crate::rtp::Header;
use crate::seq;

/// Packets between two attempts to find out how the lines go together.
const ATTEMPT: u32 = 16;

/// Packets of both sides without one that both have brought, after which it is not known any more whether they are the same.
const UNMATCHED: u32 = 1024;

/// What became of a packet of the first source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// Readers lack it.
    pub(super) fresh: bool,
    /// It is known now, or not any more, how the lines go together.
    pub(super) changed: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Track {
    rate: u32,
    /// The second source's payload types and the first one's.
    payload_types: Vec<(u8, u8)>,
    pub(super) first: Line,
    pub(super) second: Line,
    store: Store,
    /// What the second's numbers and timestamps are behind the first's.
    pub(super) tie: Option<(u32, u32)>,
    /// What its packets come after the first's.
    lag: Lag,
    /// Packets of each side since the last attempt.
    untried: (u32, u32),
    /// Packets of each side since one that both have brought.
    unmatched: (u32, u32),
    /// Numbers of the first source that readers have from the second, by their last digits.
    given: Box<[u32]>,
    pub(super) has_given: bool,
    /// The highest number that readers have, with its timestamp, in the first source's line.
    pub(super) out: Option<(u32, u32)>,
    /// The second is near enough for its packets to be used at once.
    follows: bool,
    /// Numbers of the second source that readers are to get.
    due: VecDeque<u32>,
    pub(super) passed: u32,
}

impl Track {
    pub(super) fn new(rate: u32, payload_types: Vec<(u8, u8)>) -> Self {
        Track {
            rate,
            payload_types,
            first: Line::new(),
            second: Line::new(),
            store: Store::default(),
            tie: None,
            lag: Lag::default(),
            untried: (0, 0),
            unmatched: (0, 0),
            // No number of a line is 0 before it has counted as far as it can.
            given: vec![0; REMEMBERED].into(),
            has_given: false,
            out: None,
            follows: false,
            due: VecDeque::with_capacity(REMEMBERED),
            passed: 0,
        }
    }

    pub(super) fn offset(&self) -> Option<Offset> {
        self.tie.map(|(numbers, timestamp)| Offset { sequence: numbers as u16, timestamp })
    }

    /// It is known how the lines go together, and the second is not far behind.
    pub(super) fn is_near(&self) -> bool {
        self.tie.is_some() && self.lag.is_near()
    }

    /// Nothing has come of it.
    pub(super) fn is_unused(&self) -> bool {
        self.first.newest().is_none() && self.second.newest().is_none()
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.first.ssrc
    }

    /// A packet of the first source.
    pub(super) fn first(&mut self, mut entry: Entry, ssrc: u32, merges: bool) -> Taken {
        self.first.ssrc = ssrc;
        entry.number = self.first.number_of(entry.number as u16);
        if !self.first.put(entry) {
            return Taken { fresh: true, changed: false };
        }
        let their = self.tie.and_then(|tie| self.second.get(entry.number.wrapping_sub(tie.0)).copied());
        self.unmatched.0 = self.unmatched.0.saturating_add(1);
        let changed = self.differ(Some(entry), their) || self.attempt(&entry, Side::First);
        let fresh = !self.is_given(entry.number);
        let Some((out, _)) = self.out else {
            self.out = Some((entry.number, entry.timestamp));
            return Taken { fresh, changed };
        };
        let step = ahead(out, entry.number);
        if step > 0 {
            if merges && !changed && step > 1 {
                // What it has lost on its way.
                let from = entry.number.wrapping_sub(step.min(REMEMBERED as i32).unsigned_abs());
                (1..step.min(REMEMBERED as i32).unsigned_abs())
                    .for_each(|back| self.give(from.wrapping_add(back)));
            }
            self.out = Some((entry.number, entry.timestamp));
        }
        Taken { fresh, changed }
    }

    /// A packet of the second source. Whether it is known now, or not any more, how the lines go together.
    pub(super) fn second(&mut self, mut entry: Entry, header: &Header, packet: &[u8], merges: bool) -> bool {
        let Some(payload_type) = self.payload_type(header.payload_type) else { return false };
        entry.marker_pt = entry.marker_pt & 0x80 | payload_type;
        self.second.ssrc = header.ssrc;
        entry.number = self.second.number_of(entry.number as u16);
        entry.len = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        entry.place = self.store.push(packet);
        if !self.second.put(entry) {
            return false;
        }
        self.unmatched.1 = self.unmatched.1.saturating_add(1);
        let our = self.tie.and_then(|tie| self.first.get(entry.number.wrapping_add(tie.0)).copied());
        if self.differ(our, Some(entry)) || self.attempt(&entry, Side::Second) {
            return true;
        }
        if merges {
            self.merge(&entry);
        }
        false
    }

    /// Lets readers have a packet of the second source, if it is their turn.
    fn merge(&mut self, entry: &Entry) {
        let (Some(tie), Some((out, timestamp))) = (self.tie, self.out) else { return };
        let number = entry.number.wrapping_add(tie.0);
        let step = ahead(out, number);
        if step <= 0 {
            if step > -(REMEMBERED as i32) {
                self.give(number);
            }
            return;
        }
        let lead = seq::timestamp_distance(timestamp, entry.timestamp.wrapping_add(tie.1)).max(0);
        let is_near = duration(lead.unsigned_abs(), self.rate) <= LEAD;
        self.follows |= is_near;
        if !self.follows {
            return;
        }
        let mut next = out.wrapping_add(1);
        while self.advance(next) {
            next = next.wrapping_add(1);
        }
        // What is missing now has been waited for: neither has it.
        if !is_near && ahead(next, number) >= 0 {
            self.advance_to(number);
        }
    }

    /// Gives what there is up to `number`, over all that is missing.
    fn advance_to(&mut self, number: u32) {
        let Some((out, _)) = self.out else { return };
        let step = ahead(out, number).clamp(0, REMEMBERED as i32).unsigned_abs();
        for back in (0..step).rev() {
            self.advance(number.wrapping_sub(back));
        }
    }

    /// Gives readers the packet with this number next.
    fn advance(&mut self, number: u32) -> bool {
        let Some(tie) = self.tie else { return false };
        let Some(entry) = self.second.get(number.wrapping_sub(tie.0)).copied() else { return false };
        if self.packet(&entry).is_none() {
            return false;
        }
        self.give(number);
        self.out = Some((number, entry.timestamp.wrapping_add(tie.1)));
        true
    }

    /// Gives readers the packet with this number of the first source from the second, if that has it and the first has not.
    fn give(&mut self, number: u32) {
        let Some(tie) = self.tie else { return };
        let own = number.wrapping_sub(tie.0);
        let is_kept = self.second.get(own).is_some_and(|entry| self.packet(entry).is_some());
        if !is_kept
            || self.is_given(number)
            || self.first.get(number).is_some()
            || self.due.len() >= REMEMBERED
        {
            return;
        }
        if let Some(given) = self.given.get_mut(number as usize % REMEMBERED) {
            *given = number;
            self.has_given = true;
        }
        self.due.push_back(own);
    }

    pub(super) fn is_given(&self, number: u32) -> bool {
        self.has_given && self.given.get(number as usize % REMEMBERED) == Some(&number)
    }

    /// The next packet that readers are to get, if it fits into so many bytes, or is the first.
    pub(super) fn next_due(&mut self, room: usize, is_first: bool) -> Option<(Entry, Offset)> {
        let offset = self.offset()?;
        let entry = self.second.get(*self.due.front()?).copied();
        if !is_first && entry.is_some_and(|entry| usize::from(entry.len) > room) {
            return None;
        }
        self.due.pop_front();
        // What has been written over since is told by its length.
        Some((entry.unwrap_or_default(), offset))
    }

    pub(super) fn packet(&self, entry: &Entry) -> Option<&[u8]> {
        self.store.get(entry.place, entry.len).filter(|packet| !packet.is_empty())
    }

    /// Whether all is kept that the second source has brought and readers have not got.
    pub(super) fn has_all(&self) -> bool {
        let (Some(tie), Some((out, _)), Some(newest)) = (self.tie, self.out, self.second.newest()) else {
            return true;
        };
        let step = ahead(out, newest.wrapping_add(tie.0));
        let is_kept = |back: u32| {
            let entry = self.second.get(newest.wrapping_sub(back));
            entry.is_none_or(|entry| self.packet(entry).is_some())
        };
        step < REMEMBERED as i32 && (0..step.max(0).unsigned_abs()).all(is_kept)
    }

    /// The first source is lost: readers get all that the second has brought.
    pub(super) fn take_over(&mut self) -> Option<Offset> {
        let offset = self.offset()?;
        if let (Some(newest), Some(tie)) = (self.second.newest(), self.tie) {
            self.advance_to(newest.wrapping_add(tie.0));
        }
        self.passed = 0;
        Some(offset)
    }

    /// The second source is gone.
    pub(super) fn leave(&mut self) {
        self.tie = None;
        self.due.clear();
        self.passed = 0;
    }

    /// A source has begun anew.
    pub(super) fn forget(&mut self, side: Side) {
        self.part();
        match side {
            Side::First => {
                self.first.clear();
                self.given.fill(0);
                self.has_given = false;
                self.out = None;
            }
            Side::Second => self.second.clear(),
        }
    }

    /// They are not known to be the same any more.
    fn part(&mut self) {
        self.tie = None;
        self.lag = Lag::default();
        self.follows = false;
        self.due.clear();
        self.untried = (0, 0);
        self.unmatched = (0, 0);
    }

    /// Whether a packet of the first source and the second's for the same change what was known.
    fn differ(&mut self, our: Option<Entry>, their: Option<Entry>) -> bool {
        let Some(tie) = self.tie else { return false };
        let (Some(our), Some(their)) = (our, their) else { return self.part_unmatched() };
        self.unmatched = (0, 0);
        if our.print == their.print && our.timestamp == their.timestamp.wrapping_add(tie.1) {
            return self.lag.measure(their.arrival.wrapping_sub(our.arrival).cast_signed());
        }
        self.part();
        true
    }

    /// Both bring packets, and none that the other one has brought.
    fn part_unmatched(&mut self) -> bool {
        if self.unmatched.0.min(self.unmatched.1) < UNMATCHED {
            return false;
        }
        self.part();
        true
    }

    /// Tries now and then to find out how the lines go together; whether it did.
    fn attempt(&mut self, newest: &Entry, side: Side) -> bool {
        if self.tie.is_some() {
            return false;
        }
        let untried = if side == Side::First { &mut self.untried.0 } else { &mut self.untried.1 };
        *untried = untried.saturating_add(1);
        if *untried < ATTEMPT {
            return false;
        }
        *untried = 0;
        self.tie = match side {
            Side::First => prove(&self.first, &self.second, newest),
            Side::Second => prove(&self.second, &self.first, newest)
                .map(|(numbers, timestamps)| (0u32.wrapping_sub(numbers), 0u32.wrapping_sub(timestamps))),
        };
        self.unmatched = (0, 0);
        self.tie.is_some()
    }

    /// The first source's number for a payload type of the second's.
    fn payload_type(&self, number: u8) -> Option<u8> {
        if self.payload_types.is_empty() {
            return Some(number);
        }
        self.payload_types.iter().find(|(from, _)| *from == number).map(|(_, to)| to & 0x7f)
    }
}
