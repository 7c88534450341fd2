//! How a new source's line of a track is joined to the one before, and put where its clocks say.

use std::time::{Duration, Instant};

use super::super::clock::{duration, ticks};
use super::clocks::Reference;
use super::settle::{REPORT, Role, Settling};
use super::upstream::Upstream;
use crate::rtp::Header;
use crate::seq;

/// When clocks of sender reports and times of arrival disagree by more than this about a splice, arrival decides.
pub(super) const TRUST: Duration = Duration::from_secs(1);

impl Upstream {
    /// Joins the new source's line to the old one at its first packet: the next sequence number, and the timestamp that
    /// belongs to the time that really passed. Returns whether that packet is to be marked (RFC 3551 §4.1: the marker
    /// of audio says that the receiver may adjust its playout).
    pub(super) fn join(
        &mut self,
        arrival: Instant,
        header: &Header,
        reference: &mut Option<Reference>,
    ) -> bool {
        self.splice = false;
        let Some(newest) = self.newest else { return false };
        let by_arrival = self.edge.at(arrival, self.rate).unwrap_or(newest.timestamp);
        let live = self.expected.take().map_or(header.timestamp, |live| live.at(arrival, self.rate));
        self.sequence_shift = newest.sequence.wrapping_add(1).wrapping_sub(header.sequence);
        self.timestamp_shift = by_arrival.wrapping_sub(live);
        let role = if reference.is_some() { Role::Own } else { Role::First };
        let reference = reference.get_or_insert_with(|| Reference::new(self.spliced, arrival, REPORT));
        self.spliced = reference.splice;
        let mut settling = Box::new(Settling::new(role, header.timestamp, newest.timestamp, arrival));
        self.relate(&mut settling, header.timestamp, Some(reference));
        self.settling = Some(settling);
        !self.keyed
    }

    /// Puts a track of the new source where its clocks say that it is, by the splice's first track: both sides by the sources'
    /// clocks, or none. Else the difference between when tracks arrive would be in only one of them, and move them apart.
    pub(super) fn relate(
        &mut self,
        settling: &mut Settling,
        timestamp: u32,
        reference: Option<&mut Reference>,
    ) {
        let Some(reference) = reference else { return };
        match settling.role {
            Role::First if reference.is_open() => {
                let own = timestamp.wrapping_add(self.timestamp_shift);
                let own = own.wrapping_add(ticks(reference.lowered, self.rate));
                let jump = reference.jump.filter(|_| settling.has_jumped());
                let own = own.wrapping_sub(jump.map_or(0, |jump| ticks(jump.by, self.rate)));
                reference.old = self.old_clocks.moment(own, self.rate);
                reference.new = self.clocks.moment(timestamp, self.rate);
            }
            Role::Own => {
                let moment = self.clocks.moment(timestamp, self.rate);
                let own = moment
                    .since(&reference.new)
                    .and_then(|later| self.old_clocks.timestamp(&reference.old, later, self.rate));
                let Some(own) = own else { return };
                let own = own.wrapping_sub(ticks(reference.lowered, self.rate));
                let by_arrival = timestamp.wrapping_add(self.timestamp_shift);
                let apart = seq::timestamp_distance(by_arrival, own).unsigned_abs();
                if duration(apart, self.rate) <= TRUST {
                    settling.follow(
                        &mut self.timestamp_shift,
                        own.wrapping_sub(timestamp),
                        reference.lowered,
                    );
                }
            }
            Role::First | Role::Follows(_) => {}
        }
    }

    /// Goes on settling, unless that is over.
    pub(super) fn keep_settling(
        &mut self,
        settling: Box<Settling>,
        arrival: Instant,
        reference: &mut Option<Reference>,
    ) {
        let reference = reference.as_mut().filter(|reference| reference.splice == self.spliced);
        if !settling.is_over(arrival, self.timestamp_shift, reference.as_deref()) {
            self.settling = Some(settling);
        } else if let Some(reference) = reference.filter(|_| settling.role == Role::First) {
            reference.is_over = true;
        }
    }
}
