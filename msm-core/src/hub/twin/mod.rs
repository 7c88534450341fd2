//! Two sources that bring the same packets: found out, watched, and merged into one line.
//!
//! Two servers may relay one multicast group, or two members one publisher's stream. What they send differs by constants alone: each has
//! an SSRC, a first sequence number and a first timestamp of its own, and one is behind the other by some time. [`Twin`] sees what both
//! bring while both play. It finds the constants of each track by payloads, and holds all that follow against them. While they hold, what
//! the second source brings first fills the line of the first one, in the first one's numbers, as SMPTE ST 2022-7 merges two paths. So when
//! the first is lost, the second goes on with the very next packet.
//!
//! Nothing but equal payloads in a row, with numbers and timestamps that go together, counts as proof; and what occurs more than once
//! in what is remembered, as silence does, is none.

mod alone;
mod lag;
mod line;
mod print;
mod prove;
mod store;
#[cfg(test)]
mod tests;
mod track;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::line::Entry;
use self::track::Track;
use super::TrackInfo;
use crate::burst::{Burst, MAX_RUN_BYTES, MAX_SEGMENTS};
use crate::rtp::{Header, patch_header};

/// Packets of each source and track that are remembered: how far apart the two may be.
pub const REMEMBERED: usize = 2048;
/// Packets in a row that must be the same before two tracks count as identical.
pub const PROOF: usize = 32;
/// Bytes of the second source's packets of a track that are kept until the first one has brought them.
pub const KEPT_BYTES: usize = 2 * 1024 * 1024;
/// How far the second source may be ahead, in media time, for its packets to be used at once. What is further ahead waits until the
/// first source is lost: readers would get so much at once, and wait for so long when the second one is lost.
pub const LEAD: Duration = Duration::from_millis(250);

/// How long after the first source's packets the second one's may come, for it to go on where the first one ends: readers get everything
/// so much later from then on. One that is further behind takes over as any other source does.
pub const LAG: Duration = Duration::from_millis(100);

/// How one source's numbers are those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// To be added to the second source's sequence numbers.
    pub sequence: u16,
    /// To be added to its timestamps.
    pub timestamp: u32,
}

/// One of the two sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that readers have.
    First,
    /// The one that is kept ready.
    Second,
}

/// See the [module](self).
///
/// * **Inputs:** [`handle_first`](Self::handle_first), [`handle_second`](Self::handle_second): bursts that each source's
///   [`Ingest`](super::Ingest) has validated, before a [`Fanout`](super::Fanout) has them. [`forget`](Self::forget) where a source
///   begins anew.
/// * **Commands:** [`take_over`](Self::take_over), when the first is lost; [`leave`](Self::leave), when the second is.
/// * **Output**, after each: [`poll_burst`](Self::poll_burst), packets for the first one's readers.
///
/// It has no timers, and allocates when it is made, and as what it keeps grows to its limit.
#[derive(Debug)]
pub struct Twin {
    tracks: Vec<Track>,
    seed: u64,
    /// What times of arrival are counted from.
    epoch: Option<Instant>,
    /// All tracks were identical, and none was found not to be since.
    merges: bool,
    /// The only source that is left.
    alone: Option<Side>,
    filled: u64,
}

impl Twin {
    /// A twin that knows nothing. `numbers` are the second source's payload types of each track, and the first one's for the same; no
    /// entry for a track leaves them as they are. `seed` decides by which hash payloads are told apart.
    pub fn new(tracks: &Arc<[TrackInfo]>, numbers: &[Vec<(u8, u8)>], seed: u64) -> Self {
        let tracks = tracks.iter().enumerate().map(|(index, info)| {
            let numbers = numbers.get(index).cloned().unwrap_or_default();
            Track::new(info.clock_rate(), numbers)
        });
        Twin { tracks: tracks.collect(), seed, epoch: None, merges: false, alone: None, filled: 0 }
    }

    /// Whether both bring the same packets, as far as is known now, and the second is no more than [`LAG`] behind: all tracks of which
    /// anything has come.
    pub fn is_identical(&self) -> bool {
        self.alone.is_none()
            && self.tracks.iter().any(Track::is_near)
            && self.tracks.iter().all(|track| track.is_near() || track.is_unused())
    }

    /// How the second source's numbers of a track become the first one's, where that is known.
    pub fn offset(&self, track: usize) -> Option<Offset> {
        self.tracks.get(track)?.offset()
    }

    /// Packets of the second source that readers have got.
    pub fn filled(&self) -> u64 {
        self.filled
    }

    /// Takes a burst of the first source. What readers have from the second is marked invalid in it.
    pub fn handle_first(&mut self, track: usize, burst: &mut Burst<'_>) {
        let (seed, merges, is_alone) = (self.seed, self.merges, self.alone.is_some());
        let arrival = self.millis(burst.arrival());
        let Some(state) = self.tracks.get_mut(track) else { return };
        let mut changed = false;
        each(burst, |header, packet| {
            let print = if is_alone { 1 } else { print::of(seed, header.payload(packet)) };
            let entry = Entry { print, arrival, ..Entry::of(header) };
            let taken =
                if is_alone { state.first_alone(entry) } else { state.first(entry, header.ssrc, merges) };
            changed |= taken.changed;
            taken.fresh
        });
        if changed {
            self.look();
        }
    }

    /// Takes a burst of the second source, which nothing is changed in.
    pub fn handle_second(&mut self, track: usize, burst: &Burst<'_>) {
        let (seed, merges) = (self.seed, self.merges);
        let arrival = self.millis(burst.arrival());
        let Some(state) = self.tracks.get_mut(track).filter(|_| self.alone.is_none()) else { return };
        let mut changed = false;
        for segment in burst.segments().iter().filter(|segment| segment.valid) {
            let Some(packet) = burst.bytes().get(segment.range()) else { continue };
            let header = &segment.header;
            let print = print::of(seed, header.payload(packet));
            let entry = Entry { print, arrival, ..Entry::of(header) };
            changed |= state.second(entry, header, packet, merges && !changed);
        }
        if changed {
            self.look();
        }
    }

    /// Takes a burst of the source that is left: what readers have got of the other one is marked invalid in it.
    pub fn handle_alone(&mut self, track: usize, burst: &mut Burst<'_>) {
        let Some(side) = self.alone else { return };
        if side == Side::First {
            return self.handle_first(track, burst);
        }
        let Some(state) = self.tracks.get_mut(track) else { return };
        each(burst, |header, _| state.second_alone(header.sequence));
    }

    /// Whether the source that is left has come past all that the other one has brought: there is nothing to be done any more.
    pub fn is_over(&self) -> bool {
        self.alone.is_some_and(|side| self.tracks.iter().all(|track| track.is_past(side)))
    }

    /// The next packets for readers, in the first source's numbers: one right after the other in `bytes`, with the offset and length of
    /// each. `false` when there are none. Both are emptied first.
    pub fn poll_burst(&mut self, track: usize, bytes: &mut Vec<u8>, parts: &mut Vec<(usize, usize)>) -> bool {
        bytes.clear();
        parts.clear();
        let Some(state) = self.tracks.get_mut(track) else { return false };
        while parts.len() < MAX_SEGMENTS
            && let Some((entry, offset)) =
                state.next_due(MAX_RUN_BYTES.saturating_sub(bytes.len()), parts.is_empty())
        {
            let start = bytes.len();
            let Some(packet) = state.packet(&entry) else { continue };
            bytes.extend_from_slice(packet);
            let Some(own) = bytes.get_mut(start..) else { continue };
            let sequence = (entry.number as u16).wrapping_add(offset.sequence);
            patch_header(
                own,
                entry.marker_pt,
                sequence,
                entry.timestamp.wrapping_add(offset.timestamp),
                state.ssrc(),
            );
            parts.push((start, own.len()));
        }
        self.filled = self.filled.saturating_add(parts.len() as u64);
        !parts.is_empty()
    }

    /// The first source is lost. If both are identical, the second is its continuation: its numbers become the first one's by these
    /// offsets (`None` for a track of which nothing has come), and what only it has brought so far is [due](Self::poll_burst). From then on its
    /// packets go through [`handle_alone`](Self::handle_alone). `None` where they are not identical, or packets are missing that the
    /// second has brought and that are not kept any more.
    pub fn take_over(&mut self) -> Option<Vec<Option<Offset>>> {
        if !self.is_identical() || !self.tracks.iter().all(Track::has_all) {
            return None;
        }
        self.alone = Some(Side::Second);
        Some(self.tracks.iter_mut().map(Track::take_over).collect())
    }

    /// The second source is gone. What it brought that the first one has not yet is not to be sent again when it does:
    /// [`handle_alone`](Self::handle_alone).
    pub fn leave(&mut self) {
        self.alone = Some(Side::First);
        self.tracks.iter_mut().for_each(Track::leave);
    }

    /// A source has begun its line of a track anew.
    pub fn forget(&mut self, side: Side, track: usize) {
        if let Some(state) = self.tracks.get_mut(track) {
            state.forget(side);
            self.look();
        }
    }

    /// A time of arrival; it wraps after longer than anything is remembered.
    fn millis(&mut self, arrival: Instant) -> u32 {
        let epoch = *self.epoch.get_or_insert(arrival);
        arrival.saturating_duration_since(epoch).as_millis() as u32
    }

    fn look(&mut self) {
        self.merges = self.is_identical();
    }
}

/// Has `keep` decide about each valid packet.
fn each(burst: &mut Burst<'_>, mut keep: impl FnMut(&Header, &[u8]) -> bool) {
    let (bytes, segments) = burst.parts_mut();
    for segment in segments.iter_mut().filter(|segment| segment.valid) {
        let Some(packet) = bytes.get(segment.range()) else { continue };
        segment.valid = keep(&segment.header, packet);
    }
}
